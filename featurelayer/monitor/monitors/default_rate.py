"""Monitor the share of defaults: a source may fill gaps with the declared default."""

from __future__ import annotations

from featurelayer.model import Feature
from featurelayer.monitor.context import MonitorContext
from featurelayer.monitor.statistics import ColumnStats
from featurelayer.monitor_records import MonitorValue, feature_monitor
from featurelayer.terminal_text import format_share


@feature_monitor(text="Share of rows that hold the declared `default`.", warn=0.9)
def default_rate(context: MonitorContext, feature: Feature, stats: ColumnStats) -> MonitorValue | None:
    """Measure the share of rows that hold the default, of features that declare one."""
    if stats.defaults is None or not stats.rows:
        return None
    rate = stats.defaults / stats.rows
    meaning = f"{format_share(rate)} of {stats.rows:,} rows of {context.when} are the default {feature.default}"
    return MonitorValue(value=rate, meaning=meaning)
