"""Monitor the share of NULLs: its size, and its difference from the baseline's."""

from __future__ import annotations

from featurelayer.model import Feature
from featurelayer.monitor.context import MonitorContext
from featurelayer.monitor.statistics import ColumnStats
from featurelayer.monitor_records import MonitorValue, feature_monitor
from featurelayer.terminal_text import format_share


@feature_monitor(text="Share of NULLs.", error=0.99)
def null_rate(context: MonitorContext, _feature: Feature, stats: ColumnStats) -> MonitorValue | None:
    """Measure the share of NULLs."""
    if stats.null_rate is None:
        return None
    meaning = f"{format_share(stats.null_rate)} of {stats.rows:,} rows of {context.when} are NULL"
    return MonitorValue(value=stats.null_rate, meaning=meaning)


@feature_monitor(text="Difference between the share of NULLs and the baseline's.", warn=0.1)
def null_rate_change(context: MonitorContext, feature: Feature, stats: ColumnStats) -> MonitorValue | None:
    """Measure how far the share of NULLs is from the baseline's, if both sides have enough rows."""
    before = context.baseline.features.get(feature.name)
    if stats.null_rate is None or before is None or before.null_rate is None:
        return None
    if min(stats.rows, before.rows) < context.settings.minimum_rows:
        return None
    shares = format_share(stats.null_rate), format_share(before.null_rate)
    meaning = f"{shares[0]} of {context.when} are NULL, {shares[1]} of the baseline"
    return MonitorValue(value=abs(stats.null_rate - before.null_rate), meaning=meaning, baseline=context.baseline.name)
