"""Use case: one label, and why it got the values it got."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from featurelayer.durations import format_age, format_duration
from featurelayer.errors import LabelError, Problem
from featurelayer.sql.dialects import dialect
from featurelayer.sql.explain import FACTS, JoinQueries, count_labels, explain_join
from featurelayer.sql.plan import AsofJoin, Labels, Plan
from featurelayer.training.resolved_request import ResolvedRequest, plan_request
from featurelayer.warehouse.base import Warehouse
from featurelayer.warehouse.execute import run_checks, run_step

if TYPE_CHECKING:
    import pyarrow as pa

    from featurelayer.sql.dialects.base import Dialect

Moment = datetime | str | None
"""A time in UTC; text where Python has no such time."""

MOST_ROWS = 20
"""How many rows of a view are shown: the winner and the nearest on either side."""


class Outcome(StrEnum):
    """The outcome of a candidate; every one but the first three names the rule that dropped it."""

    WON = "won"
    EXPIRED = "expired"
    ENDED = "ended"
    OLDER = "older"
    LOST_TIE = "lost_tie"
    LOST_CONTENT = "lost_content"
    SAME_AS_WINNER = "same_as_winner"
    AFTER_LABEL = "after_label"
    NOT_AVAILABLE = "not_available"
    NOT_EXPORTED = "not_exported"
    NULL_TIME = "null_time"
    NULL_LABEL_TIME = "null_label_time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A row of the view that has the label's key.

    `visible_from` is the first moment at which it may be seen, `order` the values declared to break ties, and `values`
    its features, by column. `verdict` says `outcome` in words.
    """

    event_time: Moment
    visible_from: Moment
    order: Mapping[str, Any]
    values: Mapping[str, Any]
    outcome: Outcome
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedValue:
    """A feature as the training set has it, and where the value comes from."""

    name: str
    value: Any
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewExplanation:
    """The candidates of one joined view for the label.

    `keys` are the label's, by the view's columns. `candidates` are the nearest of the `rows` that have the key, newest
    first; `newer_left_out` and `older_left_out` count the others. `rules` says how the view is joined and `result` what
    came of it. `served_until` is the time of the export that was being served, in the mode as_served.
    """

    name: str
    view: str
    relation: str
    rules: str
    keys: Mapping[str, Any]
    rows: int
    newer_left_out: int
    older_left_out: int
    candidates: tuple[Candidate, ...]
    features: tuple[ExplainedValue, ...]
    result: str
    served_until: Moment = None

    @property
    def winner(self) -> Candidate | None:
        """The row that won, also if it had expired or ended by then."""
        won = (Outcome.WON, Outcome.EXPIRED, Outcome.ENDED)
        return next((candidate for candidate in self.candidates if candidate.outcome in won), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The explanation of one label: the `row`-th of `labels`, counted from 0; `time` is its time."""

    row: int
    labels: int
    mode: str
    time: Moment
    views: tuple[ViewExplanation, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON values; times are ISO 8601 in UTC."""
        plain: dict[str, Any] = _to_json(asdict(self))
        return plain


def explain_row(warehouse: Warehouse, request: ResolvedRequest, row: int, *, most: int = MOST_ROWS) -> Explanation:
    """Return why the label at `row`, counted from 0, gets what it gets.

    Raises:
        LabelError: the labels can't be used, or there is no such row.
        PlanError: the views can't be joined as annotated.
        WarehouseError: the engine failed.
    """
    return explain_plan(warehouse, plan_request(warehouse, request), row, dialect(warehouse.dialect), most=most)


def explain_plan(warehouse: Warehouse, plan: Plan, row: int, engine: Dialect, *, most: int = MOST_ROWS) -> Explanation:
    """Run a training set's plan for one label and report the outcome of each candidate."""
    assert isinstance(plan.spine, Labels)
    (labels,) = warehouse.rows(count_labels(engine, plan.spine))[0]
    if not 0 <= row < labels:
        raise LabelError([_row_problem(row, labels)])
    plan = replace(plan, spine=replace(plan.spine, row=row))
    script = engine.compile(plan)
    run_checks(warehouse, script.checks)
    for step in script.steps:
        run_step(warehouse, step)
    (values,) = _read_rows(warehouse, script.query.sql)
    built = dict(zip(script.columns, values, strict=True))
    time: Moment = None
    views = []
    for join in plan.joins:
        queries = explain_join(engine, plan, join, most=most)
        ((at, seen, *keys),) = _read_rows(warehouse, queries.label)
        time = _as_utc(at)
        label = _Label(time=time, seen=_as_utc(seen), keys=tuple(keys))
        views.append(_explain_view(warehouse, queries, label, built, most))
    return Explanation(row=row, labels=labels, mode=str(plan.mode), time=time, views=tuple(views))


def _row_problem(row: int, labels: int) -> Problem:
    have = "there is 1 label" if labels == 1 else f"there are {labels:,} labels"
    fix = f"choose a row from 0 to {labels - 1}" if labels else ""
    return Problem(what=f"there is no label in row {row} (rows are counted from 0): {have}", fix=fix)


# --- one view --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Label:
    """The label of a join; `seen` is the time up to which it sees the view."""

    time: Moment
    seen: Moment
    keys: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the view: the results of the queries about it, and its values by column."""

    facts: Mapping[str, Any]
    values: Mapping[str, Any]

    @classmethod
    def from_values(cls, row: Sequence[Any], columns: Sequence[str]) -> _Row:
        facts = dict(zip(FACTS, row[: len(FACTS)], strict=True))
        for name in ("event_time", "visible_from", "valid_to"):
            facts[name] = _as_utc(facts[name])
        return cls(facts, dict(zip(columns, row[len(FACTS) :], strict=True)))


def _explain_view(
    warehouse: Warehouse, queries: JoinQueries, label: _Label, built: Mapping[str, Any], most: int
) -> ViewExplanation:
    join = queries.join
    ((rows, newer),) = _read_rows(warehouse, queries.counts)
    after, others = _read_rows(warehouse, queries.newer), _read_rows(warehouse, queries.older)
    after = after[: max(most // 2, most - len(others))]
    others = others[: most - len(after)]
    found = [_Row.from_values(row, queries.columns) for row in (*reversed(after), *others)]
    # The first row that is not newer, if the join may use it.
    winner = next((row for row in found[len(after) :][:1] if row.facts["tied"]), None)
    candidates = tuple(_candidate(queries, row, winner, label) for row in found)
    first = candidates[len(after)] if winner is not None else None
    return ViewExplanation(
        name=join.name,
        view=join.view,
        relation=join.relation,
        rules=_rules(join),
        keys={key.name: value for (key, _), value in zip(join.keys, label.keys, strict=True)},
        rows=int(rows),
        newer_left_out=int(newer) - len(after),
        older_left_out=int(rows) - int(newer) - len(others),
        candidates=candidates,
        features=tuple(_explain_features(join, first, built)),
        result=_result(join, label, int(rows), first),
        served_until=label.seen if join.ledger is not None else None,
    )


def _candidate(queries: JoinQueries, row: _Row, winner: _Row | None, label: _Label) -> Candidate:
    outcome, verdict = _verdict(queries, row, winner, label)
    return Candidate(
        event_time=row.facts["event_time"],
        visible_from=row.facts["visible_from"] if row.facts["has_times"] else None,
        order={column.name: row.values[column.name] for column in queries.join.order},
        values={feature.source: row.values[feature.source] for feature in queries.join.features},
        outcome=outcome,
        verdict=verdict,
    )


def _verdict(queries: JoinQueries, row: _Row, winner: _Row | None, label: _Label) -> tuple[Outcome, str]:
    """Return the outcome of a row, checking the rules in the order of the join."""
    join, facts = queries.join, row.facts
    if row is winner:
        return _winner_verdict(join, facts, label)
    if not facts["visible"]:
        return _invisible_verdict(join, facts, label)
    assert winner is not None, "of visible rows one wins"
    if not facts["tied"]:
        return (
            Outcome.OLDER,
            f"older than the winner{_format_distance(winner.facts['event_time'], facts['event_time'])}",
        )
    if facts["decided_by"] is None:
        return Outcome.SAME_AS_WINNER, "the same as the winner in every column"
    column = queries.ties[int(facts["decided_by"])]
    if column in {declared.name for declared in join.order}:
        return Outcome.LOST_TIE, f"lost the tie on {column}"
    return Outcome.LOST_CONTENT, f"lost the tie on its content (column {column})"


def _winner_verdict(join: AsofJoin, facts: Mapping[str, Any], label: _Label) -> tuple[Outcome, str]:
    if not facts["fresh"]:
        assert join.ttl is not None
        oldest = label.time - join.ttl if isinstance(label.time, datetime) else None
        late = _format_distance(oldest, facts["event_time"])
        return Outcome.EXPIRED, f"won but expired: older than the ttl of {format_duration(join.ttl)}{late}"
    if facts["ended"]:
        return Outcome.ENDED, f"won but ended at {format_moment(facts['valid_to'])}"
    return Outcome.WON, "won"


def _invisible_verdict(join: AsofJoin, facts: Mapping[str, Any], label: _Label) -> tuple[Outcome, str]:
    if not facts["has_times"]:
        which = join.event if facts["event_time"] is None else join.available
        assert which is not None
        kind = "event time" if which is join.event else "available time"
        return Outcome.NULL_TIME, f"its {kind} {which.name} is NULL"
    if label.time is None:
        return Outcome.NULL_LABEL_TIME, "the label's time is NULL"
    if facts["after_label"]:
        if facts["event_time"] == label.time:
            return Outcome.AFTER_LABEL, "at the label's time, which bound: exclusive leaves out"
        return Outcome.AFTER_LABEL, f"after the label's time{_format_distance(facts['event_time'], label.time)}"
    if not facts["available"]:
        return Outcome.NOT_AVAILABLE, f"not available until {format_moment(facts['visible_from'])}"
    if label.seen is None:
        return Outcome.NOT_EXPORTED, "no export had finished by the label's time"
    return Outcome.NOT_EXPORTED, f"not in the export of {format_moment(label.seen)} that was being served"


def _explain_features(join: AsofJoin, winner: Candidate | None, built: Mapping[str, Any]) -> Iterator[ExplainedValue]:
    """Yield the actual result of the join, checked against the result that the candidates imply."""
    for feature in join.features:
        value = built[feature.name]
        if winner is None or winner.outcome is Outcome.EXPIRED:
            why = "missing" if winner is None else "expired"
            origin, known = (f"default, as it is {why}", value) if feature.has_default else (why, None)
        elif winner.outcome is Outcome.ENDED:
            origin, known = "ended", None
        else:
            known = winner.values[feature.source]
            origin = "NULL in the winner" if known is None else "winner"
        if repr(value) != repr(known):
            raise RuntimeError(f"the join and its explanation disagree on {feature.name}")
        yield ExplainedValue(name=feature.name, value=value, origin=origin)


def _result(join: AsofJoin, label: _Label, rows: int, winner: Candidate | None) -> str:
    null = [key.name for (key, _), value in zip(join.keys, label.keys, strict=True) if value is None]
    if null:
        return f"the label's key is NULL ({', '.join(null)})"
    if join.ledger is not None or join.event is not None:
        if label.time is None:
            return "the label's time is NULL"
        if label.seen is None:
            return "no export of the view had finished by the label's time"
    if not rows:
        return "no row with this key"
    if winner is None:
        return "no row could be seen at the label's time"
    if join.event is None:
        return f"{winner.verdict}: the row with this key" if winner.outcome is Outcome.WON else winner.verdict
    return f"the row of {format_moment(winner.event_time)} {winner.verdict}"


def _rules(join: AsofJoin) -> str:
    """Describe how a view is joined."""
    if join.event is None:
        return "static: joined on its keys alone"
    seen = join.event.name if join.delay == timedelta(0) else f"{join.event.name} + {format_duration(join.delay)}"
    rules = [f"visible from {seen}" if join.available is None else f"visible from {seen} and {join.available.name} on"]
    if join.exclusive:
        rules.append("bound: exclusive")
    if join.ttl is not None:
        rules.append(f"expires after {format_duration(join.ttl)}")
    if join.valid_to is not None:
        rules.append(f"ends at {join.valid_to.name}")
    if join.order:
        rules.append(f"ties: greatest {', '.join(column.name for column in join.order)}")
    return "; ".join(rules)


# --- values ----------------------------------------------------------------------------------------------------------


def format_moment(moment: Moment) -> str:
    """Format a time in UTC for people, without trailing zeros."""
    return moment.replace(tzinfo=None).isoformat(sep=" ") if isinstance(moment, datetime) else str(moment)


def _format_distance(later: Moment, earlier: Moment) -> str:
    """Format a distance as ` by 3 h 20 min`; empty if a time is infinite."""
    if not isinstance(later, datetime) or not isinstance(earlier, datetime):
        return ""
    distance = later - earlier
    return f" by {format_age(distance) if distance >= timedelta(seconds=1) else format_duration(distance)}"


def _as_utc(value: Any) -> Moment:
    """Add the zone to a naive UTC time."""
    moment: Moment = value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
    return moment


def _read_rows(warehouse: Warehouse, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query as Python values, via Arrow, which keeps time zones."""
    with warehouse.arrow(sql) as reader:
        found = reader.read_all()
    columns = [[_to_python(scalar) for scalar in column] for column in found.columns]
    return list(zip(*columns, strict=True))


def _to_python(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        number = getattr(scalar, "value", None)
        if number is None:
            return "beyond what Python can hold"
        return "after the year 9999" if number > 0 else "before the year 1"


def _to_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    if value is None or isinstance(value, bool | int) or type(value) is str:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, date | time):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value)
