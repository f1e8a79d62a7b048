"""A static view whose values change: past labels get the present ones."""

from __future__ import annotations

from collections.abc import Iterator

from featurelayer.monitor.context import MonitorContext
from featurelayer.monitor_records import MonitorResult


def check(watched: MonitorContext) -> Iterator[MonitorResult]:
    """Judge the share of a static view's keys whose values differed between the exports that are remembered."""
    limit, found = watched.settings.limits["static_changes"], watched.changes
    if not limit.is_set or not watched.view.static or found is None:
        return
    if found.exports < 2:
        meaning = "fewer than two exports are remembered, so there is nothing to compare"
        yield watched.result("static_changes", None, limit, meaning)
        return
    share = found.keys / watched.rows if watched.rows else 0.0
    meaning = f"the values of {found.keys:,} of {watched.rows:,} keys changed between exports"
    if found.keys:
        meaning += ", and past labels get the present ones; a dbt snapshot of the model keeps what was known when"
    yield watched.result("static_changes", min(share, 1.0), limit, meaning, metric="share of changed keys")
