"""Numbers that can't be: outside of the declared range, NaN or infinite."""

from __future__ import annotations

from collections.abc import Iterator

from featurelayer.model import Feature
from featurelayer.monitor.context import MonitorContext
from featurelayer.monitor.statistics import ColumnStats
from featurelayer.monitor_records import MonitorResult
from featurelayer.terminal_text import format_share


def check(watched: MonitorContext) -> Iterator[MonitorResult]:
    """Judge the share of values outside of the declared range, and of those that are no numbers."""
    for feature, limit, seen in watched.features("out_of_range"):
        if seen.out_of_range is not None and seen.numbers:
            rate = seen.out_of_range / seen.numbers
            yield watched.result(
                "out_of_range", rate, limit, _describe_outliers(feature, seen, watched), feature=feature.name
            )
    for feature, limit, seen in watched.features("unusable"):
        if seen.is_float and seen.values:
            meaning = f"{seen.unusable:,} of {seen.values:,} values of {watched.when} are NaN, infinite or beyond 1e150"
            yield watched.result("unusable", seen.unusable / seen.values, limit, meaning, feature=feature.name)


def _describe_outliers(feature: Feature, seen: ColumnStats, watched: MonitorContext) -> str:
    low, high = feature.range or (None, None)
    bounds = f"{'-inf' if low is None else f'{low:g}'} to {'inf' if high is None else f'{high:g}'}"
    share = format_share((seen.out_of_range or 0) / seen.numbers)
    found = f"{seen.out_of_range:,} of {seen.numbers:,} values of {watched.when} ({share}) are outside of {bounds}"
    return f"{found}; they go from {seen.minimum:g} to {seen.maximum:g}" if seen.out_of_range else found
