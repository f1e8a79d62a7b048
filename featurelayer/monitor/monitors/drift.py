"""Distributions that moved away from the baseline's, by four distances."""

from __future__ import annotations

from collections.abc import Iterator

from featurelayer.model import Feature
from featurelayer.monitor.context import MonitorContext
from featurelayer.monitor.distances import SharePair, jensen_shannon, kolmogorov_smirnov, psi, wasserstein
from featurelayer.monitor.statistics import ColumnStats
from featurelayer.monitor_records import MonitorResult

_DISTANCES = {
    "psi": (psi, "PSI"),
    "jensen_shannon": (jensen_shannon, "Jensen-Shannon distance"),
    "kolmogorov_smirnov": (kolmogorov_smirnov, "Kolmogorov-Smirnov distance"),
    "wasserstein": (wasserstein, "Wasserstein distance in standard deviations"),
}


def check(watched: MonitorContext) -> Iterator[MonitorResult]:
    """Judge each feature that has a histogram or categories, if there are enough rows on both sides."""
    for monitor, (distance, metric) in _DISTANCES.items():
        for feature, limit, seen in watched.features(monitor):
            if not (seen.edges or seen.top) or not watched.rows:
                continue
            pair, why_not = _pair_with_baseline(watched, feature, seen)
            value = distance(pair) if pair is not None else None
            if pair is not None and value is None:
                continue  # names have no order, and numbers that are all the same no spread
            meaning = (
                _describe_change(seen, watched.baseline.seen[feature.name], watched.when)
                if pair is not None
                else why_not
            )
            yield watched.result(
                monitor, value, limit, meaning, feature=feature.name, metric=metric, baseline=watched.baseline.name
            )


def _pair_with_baseline(watched: MonitorContext, feature: Feature, seen: ColumnStats) -> tuple[SharePair | None, str]:
    """What can be compared, or why nothing can."""
    before = watched.baseline.seen.get(feature.name)
    if before is None:
        return None, watched.baseline.why_not or f"{watched.baseline.name} does not have this feature"
    enough = watched.settings.minimum_rows
    if min(seen.values, before.values) < enough:
        return None, (
            f"{seen.values:,} values in {watched.when} and {before.values:,} in the baseline; {enough:,} are needed"
        )
    pair = SharePair.of(before, seen)
    return pair, "" if pair is not None else "too many different values to compare them one by one"


def _describe_change(seen: ColumnStats, before: ColumnStats, when: str) -> str:
    if seen.mean is not None and before.mean is not None and seen.edges:
        spreads = [f" ± {part.std:.3g}" if part.std is not None else "" for part in (before, seen)]
        return f"mean {before.mean:.4g}{spreads[0]} in the baseline, {seen.mean:.4g}{spreads[1]} in {when}"
    shares = {value: count / before.values for value, count in before.top}
    now = {value: count / seen.values for value, count in seen.top}
    most = max({**shares, **now}, key=lambda value: (abs(now.get(value, 0) - shares.get(value, 0)), value))
    return f"{most!r} was {shares.get(most, 0):.1%} of the baseline and is {now.get(most, 0):.1%} of {when}"
