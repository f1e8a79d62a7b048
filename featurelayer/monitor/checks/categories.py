"""Categories that came or went: a new code of the source, or one that is no longer sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from featurelayer.model import Feature
from featurelayer.monitor.seen import Seen
from featurelayer.monitor.watched import Watched, percent
from featurelayer.observed import MonitorResult

_SHOWN = 3


def check(watched: Watched) -> Iterator[MonitorResult]:
    """Judge, by the rows that have them, categories that the baseline lacks and those that only it has.

    A feature with more different values than are counted one by one has none; nor is a handful of rows judged.
    """
    for feature, limit, seen in watched.features("new_categories"):
        before = _comparable(watched, feature, seen)
        if before is not None:
            yield watched.judged(
                "new_categories", _share(seen, before), limit, _meaning("new", seen, before, watched.when),
                feature=feature.name, baseline=watched.baseline.name,
            )  # fmt: skip
    for feature, limit, seen in watched.features("vanished_categories"):
        before = _comparable(watched, feature, seen)
        if before is not None:
            yield watched.judged(
                "vanished_categories", _share(before, seen), limit, _meaning("gone", before, seen, "the baseline"),
                feature=feature.name, baseline=watched.baseline.name,
            )  # fmt: skip


def _comparable(watched: Watched, feature: Feature, seen: Seen) -> Seen | None:
    before = watched.baseline.seen.get(feature.name)
    if before is None or not before.top or not seen.top or not (before.complete and seen.complete):
        return None
    return before if min(before.values, seen.values) >= watched.settings.minimum_rows else None


def _only(these: Seen, those: Seen) -> Iterable[tuple[str, int]]:
    known = {value for value, _ in those.top}
    return [(value, count) for value, count in these.top if value not in known]


def _share(these: Seen, those: Seen) -> float:
    return sum(count for _, count in _only(these, those)) / these.values


def _meaning(word: str, these: Seen, those: Seen, where: str) -> str:
    found = list(_only(these, those))
    if not found:
        return f"no category is {word}"
    named = ", ".join(repr(value) for value, _ in found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
    kinds = "category is" if len(found) == 1 else "categories are"
    return f"{len(found)} {kinds} {word}, in {percent(_share(these, those))} of the rows of {where}: {named}"
