"""Rows that did not come, or came twice."""

from __future__ import annotations

from collections.abc import Iterator

from featurelayer.monitor.context import MonitorContext
from featurelayer.monitor_records import MonitorResult


def check(watched: MonitorContext) -> Iterator[MonitorResult]:
    """Judge the number of rows by the baseline's per period; as many times more is as bad as as many times less."""
    limit, expected = watched.settings.limits["volume"], watched.baseline.per_period
    if not limit.is_set:
        return
    if not expected:
        if watched.nothing:
            yield watched.result("volume", None, limit, watched.nothing)
        return
    ratio = watched.rows / expected
    meaning = f"{watched.rows:,} rows in {watched.when}, {expected:,.0f} in a period of the baseline ({ratio:.0%})"
    worse = min(ratio, 1 / ratio) if ratio else 0.0
    yield watched.result("volume", worse, limit, meaning, baseline=watched.baseline.name)
