"""Monitor implausible numbers: outside the declared range, NaN or infinite."""

from __future__ import annotations

from featurelayer.model import Feature
from featurelayer.monitor.context import MonitorContext
from featurelayer.monitor.statistics import ColumnStats
from featurelayer.monitor_records import MonitorValue, feature_monitor
from featurelayer.terminal_text import format_share


@feature_monitor(text="Share of numbers outside the declared `range`.", warn=0, error=0.01)
def out_of_range(context: MonitorContext, feature: Feature, stats: ColumnStats) -> MonitorValue | None:
    """Measure the share of numbers outside the declared range."""
    if stats.out_of_range is None or not stats.numbers:
        return None
    rate = stats.out_of_range / stats.numbers
    low, high = feature.range or (None, None)
    bounds = f"{'-inf' if low is None else f'{low:g}'} to {'inf' if high is None else f'{high:g}'}"
    counts = f"{stats.out_of_range:,} of {stats.numbers:,} values of {context.when} ({format_share(rate)})"
    meaning = f"{counts} are outside of {bounds}"
    if stats.out_of_range:
        meaning += f"; they go from {stats.minimum:g} to {stats.maximum:g}"
    return MonitorValue(value=rate, meaning=meaning)


@feature_monitor(text="Share of NaN and infinite values.", warn=0)
def unusable(context: MonitorContext, _feature: Feature, stats: ColumnStats) -> MonitorValue | None:
    """Measure the share of floats that are NaN, infinite or too large to add up."""
    if not stats.is_float or not stats.values:
        return None
    counts = f"{stats.unusable:,} of {stats.values:,} values of {context.when}"
    return MonitorValue(value=stats.unusable / stats.values, meaning=f"{counts} are NaN, infinite or beyond 1e150")
