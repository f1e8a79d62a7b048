"""Numbers that can't be: outside of the declared range, NaN or infinite."""

from __future__ import annotations

from collections.abc import Iterator

from featurelayer.model import Feature
from featurelayer.monitor.seen import Seen
from featurelayer.monitor.watched import Watched, percent
from featurelayer.observed import MonitorResult


def check(watched: Watched) -> Iterator[MonitorResult]:
    """Judge the share of values outside of the declared range, and of those that are no numbers."""
    for feature, limit, seen in watched.features("out_of_range"):
        if seen.out_of_range is not None and seen.numbers:
            rate = seen.out_of_range / seen.numbers
            yield watched.judged("out_of_range", rate, limit, _outside(feature, seen, watched), feature=feature.name)
    for feature, limit, seen in watched.features("unusable"):
        if seen.is_float and seen.values:
            meaning = f"{seen.unusable:,} of {seen.values:,} values of {watched.when} are NaN, infinite or beyond 1e150"
            yield watched.judged("unusable", seen.unusable / seen.values, limit, meaning, feature=feature.name)


def _outside(feature: Feature, seen: Seen, watched: Watched) -> str:
    low, high = feature.range or (None, None)
    bounds = f"{'-inf' if low is None else f'{low:g}'} to {'inf' if high is None else f'{high:g}'}"
    share = percent((seen.out_of_range or 0) / seen.numbers)
    found = f"{seen.out_of_range:,} of {seen.numbers:,} values of {watched.when} ({share}) are outside of {bounds}"
    return f"{found}; they go from {seen.minimum:g} to {seen.maximum:g}" if seen.out_of_range else found
