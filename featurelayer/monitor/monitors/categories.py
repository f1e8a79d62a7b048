"""Monitor the categories of a feature: codes that are new, and codes that are no longer sent."""

from __future__ import annotations

from featurelayer.model import Feature
from featurelayer.monitor.context import MonitorContext
from featurelayer.monitor.statistics import ColumnStats
from featurelayer.monitor_records import MonitorValue, feature_monitor
from featurelayer.terminal_text import format_share

_NAMED = 3


@feature_monitor(text="Share of rows whose category the baseline lacks; up to 50 categories.", warn=0.01)
def new_categories(context: MonitorContext, feature: Feature, stats: ColumnStats) -> MonitorValue | None:
    """Measure the rows of categories that the baseline lacks."""
    before = _find_baseline(context, feature, stats)
    return None if before is None else _measure("new", stats, before, context, context.when)


@feature_monitor(text="Share of the baseline's rows whose category no longer occurs.", warn=0.05)
def vanished_categories(context: MonitorContext, feature: Feature, stats: ColumnStats) -> MonitorValue | None:
    """Measure the baseline's rows of categories that no longer occur."""
    before = _find_baseline(context, feature, stats)
    return None if before is None else _measure("missing", before, stats, context, "the baseline")


def _find_baseline(context: MonitorContext, feature: Feature, stats: ColumnStats) -> ColumnStats | None:
    """Return the baseline's statistics if both sides have enough values, every one of them counted."""
    before = context.baseline.features.get(feature.name)
    if before is None or not before.top or not stats.top or not (before.complete and stats.complete):
        return None
    return before if min(before.values, stats.values) >= context.settings.minimum_rows else None


def _measure(word: str, these: ColumnStats, those: ColumnStats, context: MonitorContext, where: str) -> MonitorValue:
    """Measure the share of rows whose category only the first of two sets of rows has."""
    exclusive = _exclusive_values(these, those)
    share = sum(count for _, count in exclusive) / these.values
    meaning = f"no category is {word}"
    if exclusive:
        names = ", ".join(repr(value) for value, _ in exclusive[:_NAMED]) + (", ..." if len(exclusive) > _NAMED else "")
        kinds = "category is" if len(exclusive) == 1 else "categories are"
        meaning = f"{len(exclusive)} {kinds} {word}, in {format_share(share)} of the rows of {where}: {names}"
    return MonitorValue(value=share, meaning=meaning, baseline=context.baseline.name)


def _exclusive_values(these: ColumnStats, those: ColumnStats) -> list[tuple[str, int]]:
    others = {value for value, _ in those.top}
    return [(value, count) for value, count in these.top if value not in others]
