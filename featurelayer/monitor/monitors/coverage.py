"""Entities without a value that still holds: what a lookup would answer with a default or nothing."""

from __future__ import annotations

from collections.abc import Iterator

from featurelayer.monitor.context import MonitorContext
from featurelayer.monitor_records import MonitorResult
from featurelayer.terminal_text import format_share


def check(watched: MonitorContext) -> Iterator[MonitorResult]:
    """Judge the share of the population that has a row in the snapshot."""
    limit, found = watched.settings.limits["coverage"], watched.coverage
    if not limit.is_set or found is None:
        return
    share = found.covered / found.population if found.population else None
    if share is None:
        meaning = f"there is no key in {found.of}"
    else:
        found_of = f"{found.covered:,} of {found.population:,} keys in {found.of}"
        meaning = f"{found_of} ({format_share(share)}) have a row that holds"
    yield watched.result("coverage", share, limit, meaning)
