"""Exports under everything that goes wrong, by the thousand: see docs/reliability.md.

`simulation` runs the real exporter in threads that hand over at named points, `trials` draws what happens to it and
holds what readers see against the snapshots, `protocols` has the protocols that must not pass.
"""
