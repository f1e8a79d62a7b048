"""The rule behind the checks of joins: may the rows that make a feature be later than its event?

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

from featurelayer.lineage.time_names import is_audit_name, is_end_name, is_written_name
from featurelayer.lineage.values import Bound, Fact, FactKind, SourceColumn
from featurelayer.lint.lineage import ViewLineage, is_key_name
from featurelayer.model import Severity

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


def judge_join(seen: ViewLineage, fact: Fact) -> Severity | None:
    """Return the severity of a value from a joined row; None if that row is no later than the event."""
    if fact.kind is not FactKind.JOIN or is_event(seen, fact) or is_fixed(seen, fact) or is_separate(seen, fact):
        return None
    if fact.bound in (Bound.FUTURE, Bound.AHEAD):
        return None if is_earlier(seen, fact) else Severity.ERROR
    if fact.bound is Bound.PAST:
        return Severity.WARNING if _ends_later(seen, fact) else None
    times = _has_times(seen, fact, but_written=not fact.joined)
    if fact.bound is Bound.PERIOD or not times or seen.is_key(fact.own):
        return None
    if seen.is_key(fact.keys) and not _is_entity(seen, fact.keys):
        return Severity.WARNING
    return Severity.ERROR if fact.joined else Severity.WARNING


def judge_aggregate(seen: ViewLineage, fact: Fact) -> Severity | None:
    """Return the severity of a joined aggregate; None if all its rows are no later than the event."""
    if fact.kind is not FactKind.JOINED or is_event(seen, fact) or is_fixed(seen, fact):
        return None
    if fact.bound is Bound.PERIOD:
        return Severity.ERROR if fact.unit and not _is_over(seen, fact.unit) else None
    if fact.bound is Bound.PAST and _ends_later(seen, fact):
        return Severity.WARNING
    if fact.bound is not Bound.NONE or _is_one_row(seen, fact) or _is_first(seen, fact):
        return None  # an aggregate bound to later rows is a join to the future
    times = _has_times(seen, fact)
    if seen.is_key(fact.keys):
        if not times:
            return None
        return Severity.ERROR if _is_entity(seen, fact.keys) else Severity.WARNING
    by_time = fact.timed or not seen.lineage.reaches(fact.keys).isdisjoint(seen.times)
    return Severity.ERROR if times and not by_time else Severity.WARNING


def find_aggregated(seen: ViewLineage) -> frozenset[str]:
    """Return the places of aggregated or picked relations, which have their own checks."""
    return frozenset(
        fact.place
        for column in seen.features
        for fact in column.facts
        if fact.kind is FactKind.JOINED or (fact.kind is FactKind.WINDOW and is_picked(seen, fact))
    )


def find_lookahead(seen: ViewLineage) -> frozenset[tuple[str, str]]:
    """Return the models and CTEs that join later rows, to report aggregates there only once."""
    return frozenset(
        (fact.model, fact.within)
        for column in seen.features
        for fact in column.facts
        if fact.bound in (Bound.FUTURE, Bound.AHEAD) and judge_join(seen, fact) is not None
    )


def is_picked(seen: ViewLineage, fact: Fact) -> bool:
    """Whether the newest rows of a key, by event times, were joined to others by that key."""
    if not fact.joined or is_event(seen, fact) or is_fixed(seen, fact) or fact.bound is not Bound.NONE:
        return False
    if fact.order and all(is_written_name(source.column) for source in fact.order):
        return False  # versions of one row; FL216 checks the newest
    return seen.lineage.reaches(fact.own).issuperset(fact.partition)


def is_event(seen: ViewLineage, fact: Fact) -> bool:
    """Whether the rows belong to the relation of the event time."""
    return bool(fact.place) and fact.place in seen.places


def is_separate(seen: ViewLineage, fact: Fact) -> bool:
    """Whether the rows are first in a FROM without the event: its result is joined to the event elsewhere."""
    return not fact.function and _is_inner(seen, fact)


def is_reported_elsewhere(seen: ViewLineage, fact: Fact, names: Iterable[str]) -> bool:
    """Whether a join without the event only feeds aggregates that are reported themselves."""
    if fact.bound is not Bound.NONE or not _is_inner(seen, fact):
        return False
    columns = [column for column in seen.features if column.column in names]
    return all(any(judge_aggregate(seen, each) for each in column.facts) for column in columns)


def is_now(seen: ViewLineage) -> bool:
    """Whether the event time of all rows is the build's time."""
    column = seen.column(seen.view.event_time)
    return not seen.times and column is not None and any(fact.kind is FactKind.CLOCK for fact in column.facts)


def _is_inner(seen: ViewLineage, fact: Fact) -> bool:
    return _select_of(fact.place) not in {_select_of(place) for place in seen.places}


def _select_of(place: str) -> str:
    return place.rpartition(".")[0]


def is_fixed(seen: ViewLineage, fact: Fact) -> bool:
    """Whether the rows belong to a relation declared static, or to a seed without times."""
    return fact.unique_id in seen.parent.static or (fact.unique_id.startswith("seed.") and not fact.times)


def is_earlier(seen: ViewLineage, fact: Fact) -> bool:
    """Whether a condition binds the rows to no later than the event, or than the time at which it is available."""
    if fact.bound is Bound.AHEAD:
        delay = seen.view.delay or timedelta(0)
        return fact.shift in seen.shifts or (_length(fact.shift) or timedelta.max) <= delay
    return fact.bound is Bound.PAST and not _ends_later(seen, fact)


def is_of_one_event(seen: ViewLineage, fact: Fact) -> bool:
    """Whether a window's rows share one moment, or are one event with its lines."""
    if fact.timed:
        return True
    if not seen.is_key(fact.partition):
        return False
    return not (_is_entity(seen, fact.partition) and _has_times(seen, fact, of_event=True))


def _is_over(seen: ViewLineage, unit: str) -> bool:
    """Whether a period is over at the event time, or before the event is available; FL214 is about its start."""
    lengths = [_length(shift) or timedelta(0) for shift in seen.shifts]
    return unit in seen.units or max((*lengths, seen.view.delay or timedelta(0))) >= (
        _length(f"+1 {unit}") or timedelta.max
    )


def _is_first(seen: ViewLineage, fact: Fact) -> bool:
    """Whether it is the first time of a group that includes this event: no later than its own time."""
    own = fact.function == "min" and bool(fact.order)
    return own and all(not seen.lineage.reaches((source,)).isdisjoint(seen.times) for source in fact.order)


def _is_one_row(seen: ViewLineage, fact: Fact) -> bool:
    """Whether each group is one row: the relation is grouped by its unique key."""
    of = [source for source in fact.partition if fact.unique_id and source.unique_id == fact.unique_id]
    return any(seen.parent.is_unique(source) or is_key_name(source) for source in of)


def _has_times(seen: ViewLineage, fact: Fact, *, of_event: bool = False, but_written: bool = False) -> bool:
    """Whether the rows have times of their own.

    Rows of the same event have not if it is the event's own, or when they were written, as for the lines of an order.
    """
    times = fact.times
    of_event = of_event or seen.is_key(fact.keys)
    if of_event or but_written:
        times = tuple(source for source in times if not is_audit_name(source.column))
    if of_event:
        times = tuple(source for source in times if seen.lineage.reaches((source,)).isdisjoint(seen.times))
    return bool(times)


def _is_entity(seen: ViewLineage, columns: Iterable[SourceColumn]) -> bool:
    """Whether columns are the view's join keys: rows of a key's whole life, not of one event."""
    return not seen.lineage.reaches(columns).isdisjoint(seen.join_keys)


def _ends_later(seen: ViewLineage, fact: Fact) -> bool:
    """Whether rows are bounded by the end of what the event begins."""
    ends = bool(fact.by) and all(is_end_name(source.column) for source in fact.by)
    return ends and not is_end_name(seen.view.event_time or "") and seen.lineage.reaches(fact.by).isdisjoint(seen.times)


def _length(shift: str) -> timedelta | None:
    found = re.fullmatch(r"\+(\d+) (\w+)", shift)
    seconds = _UNITS.get(found[2]) if found else None
    return timedelta(seconds=int(found[1]) * seconds) if found and seconds else None
