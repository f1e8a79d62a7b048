"""Values that are the declared default, as where a source fills gaps with it."""

from __future__ import annotations

from collections.abc import Iterator

from featurelayer.monitor.context import MonitorContext
from featurelayer.monitor_records import MonitorResult
from featurelayer.terminal_text import format_share


def check(watched: MonitorContext) -> Iterator[MonitorResult]:
    """Judge the share of rows that hold the default, of features that declare one."""
    for feature, limit, seen in watched.features("default_rate"):
        if seen.defaults is not None and seen.rows:
            rate = seen.defaults / seen.rows
            meaning = f"{format_share(rate)} of {seen.rows:,} rows of {watched.when} are the default {feature.default}"
            yield watched.result("default_rate", rate, limit, meaning, feature=feature.name)
