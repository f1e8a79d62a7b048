"""Values that are the declared default, as where a source fills gaps with it."""

from __future__ import annotations

from collections.abc import Iterator

from featurelayer.monitor.watched import Watched, percent
from featurelayer.observed import MonitorResult


def check(watched: Watched) -> Iterator[MonitorResult]:
    """Judge the share of rows that hold the default, of features that declare one."""
    for feature, limit, seen in watched.features("default_rate"):
        if seen.defaults is not None and seen.rows:
            rate = seen.defaults / seen.rows
            meaning = f"{percent(rate)} of {seen.rows:,} rows of {watched.when} are the default {feature.default}"
            yield watched.judged("default_rate", rate, limit, meaning, feature=feature.name)
