"""Categories that came or went: a new code of the source, or one that is no longer sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from featurelayer.model import Feature
from featurelayer.monitor.context import MonitorContext
from featurelayer.monitor.statistics import ColumnStats
from featurelayer.monitor_records import MonitorResult
from featurelayer.terminal_text import format_share

_SHOWN = 3


def check(watched: MonitorContext) -> Iterator[MonitorResult]:
    """Judge, by the rows that have them, categories that the baseline lacks and those that only it has.

    A feature with more different values than are counted one by one has none; nor is a handful of rows judged.
    """
    for feature, limit, seen in watched.features("new_categories"):
        before = _find_baseline(watched, feature, seen)
        if before is not None:
            yield watched.result(
                "new_categories", _exclusive_share(seen, before), limit, _meaning("new", seen, before, watched.when),
                feature=feature.name, baseline=watched.baseline.name,
            )  # fmt: skip
    for feature, limit, seen in watched.features("vanished_categories"):
        before = _find_baseline(watched, feature, seen)
        if before is not None:
            yield watched.result(
                "vanished_categories",
                _exclusive_share(before, seen),
                limit,
                _meaning("gone", before, seen, "the baseline"),
                feature=feature.name,
                baseline=watched.baseline.name,
            )


def _find_baseline(watched: MonitorContext, feature: Feature, seen: ColumnStats) -> ColumnStats | None:
    before = watched.baseline.seen.get(feature.name)
    if before is None or not before.top or not seen.top or not (before.complete and seen.complete):
        return None
    return before if min(before.values, seen.values) >= watched.settings.minimum_rows else None


def _exclusive_values(these: ColumnStats, those: ColumnStats) -> Iterable[tuple[str, int]]:
    known = {value for value, _ in those.top}
    return [(value, count) for value, count in these.top if value not in known]


def _exclusive_share(these: ColumnStats, those: ColumnStats) -> float:
    return sum(count for _, count in _exclusive_values(these, those)) / these.values


def _meaning(word: str, these: ColumnStats, those: ColumnStats, where: str) -> str:
    found = list(_exclusive_values(these, those))
    if not found:
        return f"no category is {word}"
    named = ", ".join(repr(value) for value, _ in found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
    kinds = "category is" if len(found) == 1 else "categories are"
    share = format_share(_exclusive_share(these, those))
    return f"{len(found)} {kinds} {word}, in {share} of the rows of {where}: {named}"
