"""Monitor drift: four distances between a feature's distribution and the baseline's."""

from __future__ import annotations

from collections.abc import Callable

from featurelayer.model import Feature
from featurelayer.monitor import distances
from featurelayer.monitor.context import MonitorContext
from featurelayer.monitor.distances import SharePair
from featurelayer.monitor.statistics import ColumnStats
from featurelayer.monitor_records import MonitorValue, feature_monitor


@feature_monitor(text="Population stability index; a bin counts as at least 0.0001.", warn=0.25, metric="PSI")
def psi(context: MonitorContext, feature: Feature, stats: ColumnStats) -> MonitorValue | None:
    """Measure the population stability index."""
    return _measure(distances.psi, context, feature, stats)


@feature_monitor(text="Jensen-Shannon distance, 0 to 1.", metric="Jensen-Shannon distance")
def jensen_shannon(context: MonitorContext, feature: Feature, stats: ColumnStats) -> MonitorValue | None:
    """Measure the Jensen-Shannon distance."""
    return _measure(distances.jensen_shannon, context, feature, stats)


@feature_monitor(
    text="Greatest difference of the cumulative shares at the bins' edges, 0 to 1.",
    metric="Kolmogorov-Smirnov distance",
)
def kolmogorov_smirnov(context: MonitorContext, feature: Feature, stats: ColumnStats) -> MonitorValue | None:
    """Measure the Kolmogorov-Smirnov distance."""
    return _measure(distances.kolmogorov_smirnov, context, feature, stats)


@feature_monitor(
    text="Average shift of the values, in standard deviations of the baseline.",
    metric="Wasserstein distance in standard deviations",
)
def wasserstein(context: MonitorContext, feature: Feature, stats: ColumnStats) -> MonitorValue | None:
    """Measure the Wasserstein distance."""
    return _measure(distances.wasserstein, context, feature, stats)


def _measure(
    distance: Callable[[SharePair], float | None], context: MonitorContext, feature: Feature, stats: ColumnStats
) -> MonitorValue | None:
    """Measure a distance of a feature that has a histogram or categories, if both sides have enough rows."""
    if not (stats.edges or stats.top) or not context.rows:
        return None
    name = context.baseline.name
    before = context.baseline.features.get(feature.name)
    if before is None:
        reason = context.baseline.why_not or f"{name} does not have this feature"
        return MonitorValue(value=None, meaning=reason, baseline=name)
    needed = context.settings.minimum_rows
    if min(stats.values, before.values) < needed:
        counts = f"{stats.values:,} values in {context.when} and {before.values:,} in the baseline"
        return MonitorValue(value=None, meaning=f"{counts}; {needed:,} are needed", baseline=name)
    pair = SharePair.from_stats(before, stats)
    if pair is None:
        return MonitorValue(value=None, meaning="too many different values to compare them one by one", baseline=name)
    value = distance(pair)
    if value is None:
        return None  # categories have no order, and equal numbers no spread
    return MonitorValue(value=value, meaning=_describe_change(stats, before, context.when), baseline=name)


def _describe_change(stats: ColumnStats, before: ColumnStats, when: str) -> str:
    """Return the means of numbers, or the category whose share changed most."""
    if stats.mean is not None and before.mean is not None and stats.edges:
        spreads = [f" ± {part.std:.3g}" if part.std is not None else "" for part in (before, stats)]
        return f"mean {before.mean:.4g}{spreads[0]} in the baseline, {stats.mean:.4g}{spreads[1]} in {when}"
    shares = {value: count / before.values for value, count in before.top}
    now = {value: count / stats.values for value, count in stats.top}
    most = max({**shares, **now}, key=lambda value: (abs(now.get(value, 0) - shares.get(value, 0)), value))
    return f"{most!r} was {shares.get(most, 0):.1%} of the baseline and is {now.get(most, 0):.1%} of {when}"
