"""The command line. Its code is in app.py: here the module `list` hides Python's own once it is imported."""

from featurelayer.cli.app import cli, main

__all__ = ["cli", "main"]
