"""Whether the rows that make a feature may be later than its event: the one rule behind the checks of joins.

A feature is stamped with its view's event time. Rows of the relation that the event time comes from are the event.
Those of any other relation are no later if
- a condition binds their time by that of the event,
- they are of the same event, by its unique key, and have no time of their own: the lines of an order,
- they are looked up by a key that is theirs: the order of a refund,
- or they never change: static views, and seeds without times.
The rest may be later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from featurelayer.lineage.times import is_audit_name, is_end_name, is_written_name
from featurelayer.lineage.values import Bound, Fact, Seen, Source
from featurelayer.model import Severity

if TYPE_CHECKING:
    from featurelayer.lint.traced import TracedView

_KEY = re.compile(r"_?(id|key|sk|pk|nk|uuid|guid|code|no|number)$")
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400, "month": 31 * 86400,
          "quarter": 92 * 86400, "year": 366 * 86400}  # fmt: skip


def group_causes(found: Iterable[tuple[Fact, tuple[str, ...]]]) -> Iterator[tuple[Fact, tuple[str, ...]]]:
    """Yield each cause once, with all features that it affects: one window, one join, one aggregated relation."""
    causes: dict[tuple[object, ...], tuple[Fact, dict[str, None]]] = {}
    for fact, names in sorted(found, key=lambda each: (each[0].model, each[0].line)):
        window = (fact.within, fact.frame, fact.partition, fact.order) if not fact.place else ()
        cause = (fact.kind, fact.model, fact.place, window)
        causes.setdefault(cause, (fact, {}))[1].update(dict.fromkeys(names))
    for fact, having in causes.values():
        yield fact, tuple(having)


def judge_join(seen: TracedView, fact: Fact) -> Severity | None:
    """Return how bad it is that a value comes of a row that was joined; None if that row is no later than the event."""
    if fact.kind is not Seen.JOIN or is_event(seen, fact) or is_fixed(seen, fact):
        return None
    if fact.bound in (Bound.FUTURE, Bound.AHEAD):
        return None if is_earlier(seen, fact) else Severity.ERROR
    if fact.bound is Bound.PAST:
        return Severity.WARNING if _ends_later(seen, fact) else None
    times = _has_times(seen, fact, but_written=not fact.joined)
    if fact.bound is Bound.PERIOD or not times or is_key(seen, fact.own):
        return None
    if is_key(seen, fact.keys) and not _is_entity(seen, fact.keys):
        return Severity.WARNING
    return Severity.ERROR if fact.joined else Severity.WARNING


def judge_aggregate(seen: TracedView, fact: Fact) -> Severity | None:
    """Return how bad it is that an aggregate was joined; None if all its rows are no later than the event."""
    if fact.kind is not Seen.JOINED or is_event(seen, fact) or is_fixed(seen, fact):
        return None
    if fact.bound is Bound.PERIOD:
        return Severity.ERROR if fact.unit else None
    if fact.bound is not Bound.NONE or _is_one_row(seen, fact):
        return None  # what is bound to later rows is a join that looks ahead
    times = _has_times(seen, fact)
    if is_key(seen, fact.keys):
        if not times:
            return None
        return Severity.ERROR if _is_entity(seen, fact.keys) else Severity.WARNING
    return Severity.ERROR if times and not fact.timed else Severity.WARNING


def find_made(seen: TracedView) -> frozenset[str]:
    """Return the places of relations that are aggregated or picked, which other checks look at than those of rows."""
    return frozenset(
        fact.place
        for column in seen.features
        for fact in column.facts
        if fact.kind is Seen.JOINED or (fact.kind is Seen.WINDOW and is_picked(seen, fact))
    )


def is_picked(seen: TracedView, fact: Fact) -> bool:
    """Whether the newest rows of a key were joined to others by that key, in the order of times that tell of events."""
    if not fact.joined or is_event(seen, fact) or is_fixed(seen, fact) or fact.bound is not Bound.NONE:
        return False
    if fact.order and all(is_written_name(source.column) for source in fact.order):
        return False  # versions of one row, of which FL216 looks at the newest
    return seen.lineage.reaches(fact.own).issuperset(fact.partition)


def is_event(seen: TracedView, fact: Fact) -> bool:
    """Whether the rows are of the relation that the event time comes from."""
    return bool(fact.place) and fact.place in seen.places


def is_fixed(seen: TracedView, fact: Fact) -> bool:
    """Whether the rows are of a relation that is said to have no times, or of a seed that has none."""
    return fact.unique_id in seen.traced.static or (fact.unique_id.startswith("seed.") and not fact.times)


def is_earlier(seen: TracedView, fact: Fact) -> bool:
    """Whether a condition binds the rows to no later than the event, or than the time at which it is available."""
    if fact.bound is Bound.AHEAD:
        delay = seen.view.delay or timedelta(0)
        return fact.shift in seen.shifts or (_length(fact.shift) or timedelta.max) <= delay
    return fact.bound is Bound.PAST and not _ends_later(seen, fact)


def is_key(seen: TracedView, columns: Iterable[Source]) -> bool:
    """Whether columns tell one row of their relation, by a test, a tie-breaker, or the way keys are called."""
    above = seen.lineage.reaches(columns)
    return any(
        seen.traced.is_unique(source) or _is_named_key(source) for source in above
    ) or not seen.tie_breakers.isdisjoint(above)


def is_of_one_event(seen: TracedView, fact: Fact) -> bool:
    """Whether the rows that a window has together are of one moment, or are one event with its lines."""
    if fact.timed:
        return True
    if not is_key(seen, fact.partition):
        return False
    return not (_is_entity(seen, fact.partition) and _has_times(seen, fact, of_event=True))


def _is_one_row(seen: TracedView, fact: Fact) -> bool:
    """Whether each group is one row, as rows of one relation are that are grouped by its unique key."""
    of = [source for source in fact.partition if fact.unique_id and source.unique_id == fact.unique_id]
    return any(seen.traced.is_unique(source) or _is_named_key(source) for source in of)


def _has_times(seen: TracedView, fact: Fact, *, of_event: bool = False, but_written: bool = False) -> bool:
    """Whether the rows have times of their own.

    Rows of the same event have not if it is the event's own, or when they were written, as for the lines of an order.
    """
    times = fact.times
    of_event = of_event or is_key(seen, fact.keys)
    if of_event or but_written:
        times = tuple(source for source in times if not is_audit_name(source.column))
    if of_event:
        times = tuple(source for source in times if seen.lineage.reaches((source,)).isdisjoint(seen.times))
    return bool(times)


def _is_entity(seen: TracedView, columns: Iterable[Source]) -> bool:
    """Whether columns are the view's join keys: of a key's whole life, and not of one event."""
    return not seen.lineage.reaches(columns).isdisjoint(seen.join_keys)


def _ends_later(seen: TracedView, fact: Fact) -> bool:
    """Whether rows are bound by the end of what the event begins."""
    ends = bool(fact.by) and all(is_end_name(source.column) for source in fact.by)
    return ends and not is_end_name(seen.view.event_time or "") and seen.lineage.reaches(fact.by).isdisjoint(seen.times)


def _length(shift: str) -> timedelta | None:
    found = re.fullmatch(r"\+(\d+) (\w+)", shift)
    seconds = _UNITS.get(found[2]) if found else None
    return timedelta(seconds=int(found[1]) * seconds) if found and seconds else None


def _is_named_key(source: Source) -> bool:
    """Whether a column is called like the key of its relation: `id`, or `order_id` in `stg_shop__orders`."""
    column, relation = source.column, source.relation.rpartition(".")[2]
    if column in ("id", "key", "uuid"):
        return True
    thing = _KEY.sub("", column)
    if thing == column or not thing:
        return False
    words = relation.split("_")
    of = thing.split("_")
    return [_singular(word) for word in words[-len(of) :]] == [_singular(word) for word in of]


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
