"""Row counts and newest times of relations: a lock keeps them, so that later changes can be explained."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlglot import exp

from featurelayer.model import Column
from featurelayer.sql.ast import all_of, any_of, col, not_null, table, with_alias
from featurelayer.sql.dialects import dialect
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.join_rules import LABELS
from featurelayer.sql.measures import count_if, int_literal
from featurelayer.sql.plan import TIME, AsofJoin


def last_label(engine: str) -> str:
    """Return a query of the newest label time in a script that has run, as text."""
    writer = dialect(engine)
    newest = exp.Max(this=col(TIME))
    return writer.sql(exp.select(_text(newest)).from_(table(LABELS)))


def relation_stats(engine: str, relation: str, times: Sequence[Column], *, last: str | None) -> str:
    """Return a query of one row: how many rows there are, how many at or before `last`, the newest of each time.

    Times are UTC as text. The first of `times` is the event time; with none, or without `last`, no rows are before it.
    """
    writer = dialect(engine)
    everything = exp.select(exp.Count(this=exp.Star())).from_(_relation(writer, relation))
    # One query per fact: an engine with statistics answers most of them without reading a row.
    reached: exp.Expression = exp.Literal.number(0)
    if times and last is not None:
        reached = everything.where(exp.LTE(this=_utc(writer, times[0]), expression=_moment(last))).subquery()
    newest = [
        exp.select(_text(exp.Max(this=_utc(writer, time)))).from_(_relation(writer, relation)).subquery()
        for time in times
    ]
    return writer.sql(exp.select(everything.subquery(), reached, *newest))


def mismatch_stats(engine: str, join: AsofJoin) -> str:
    """Return a query of one row that explains why the loaded labels match few rows of a view.

    How many labels have a key that the view has, how many come before any row of it may be seen, when the first row may
    be, the newest label, and the oldest and the newest event time. Times are UTC as text; of a static view the last
    five are NULL.
    """
    writer = dialect(engine)
    keys = exp.select(*(with_alias(col(key.name, "f"), alias) for key, alias in join.keys)).distinct()
    keys = keys.from_(writer.rules.relation(join, "f"))
    same = all_of(*(exp.EQ(this=col(alias, "l"), expression=col(alias, "v")) for _, alias in join.keys))
    with_known_key = exp.select(exp.Count(this=exp.Star())).from_(table(LABELS, "l")).join(keys.subquery("v"), on=same)
    if join.event is None:
        return writer.sql(exp.select(with_known_key.subquery(), *[exp.Null()] * 5))
    earliest = exp.Min(this=writer.rules.effective_time(join, "f"))
    first_visible = (
        exp.select(earliest).from_(writer.rules.relation(join, "f")).where(writer.rules.is_usable(join, "f"))
    )
    before = exp.select(exp.Count(this=exp.Star())).from_(table(LABELS, "l"))
    before = before.where(exp.LT(this=col(TIME, "l"), expression=first_visible.subquery()))
    first = (
        exp.select(_text(earliest.copy()))
        .from_(writer.rules.relation(join, "f"))
        .where(writer.rules.is_usable(join, "f"))
    )
    last = exp.select(_text(exp.Max(this=col(TIME)))).from_(table(LABELS))
    event = [
        exp.select(_text(bound(this=writer.rules.event_time(join, "f"))))
        .from_(writer.rules.relation(join, "f"))
        .where(writer.rules.is_usable(join, "f"))
        for bound in (exp.Min, exp.Max)
    ]
    return writer.sql(exp.select(*(query.subquery() for query in (with_known_key, before, first, last, *event))))


def unusable_rows(engine: str, join: AsofJoin) -> str:
    """Return a query of one row, in one scan: rows without a whole key, and those with one that lack a time.

    A time is the event time, and the available time where a column has it.
    """
    writer = dialect(engine)
    keyed = all_of(*(not_null(col(key.name)) for key, _ in join.keys))
    times = [not_null(col(time.name)) for time in (join.event, join.available) if time is not None]
    counts = [count_if(exp.Not(this=exp.paren(keyed)))]
    counts.append(count_if(all_of(keyed.copy(), exp.Not(this=exp.paren(all_of(*times))))) if times else int_literal(0))
    return writer.sql(exp.select(*counts).from_(_relation(writer, join.relation)))


def late_rows(
    engine: str, relation: str, event: Column, arrivals: Sequence[Column], *, since: datetime, last: str
) -> str:
    """Return a query that counts the rows which arrived after `since` with an event at or before `last`."""
    writer = dialect(engine)
    after = any_of(*(exp.GT(this=_utc(writer, time), expression=writer.moment(since)) for time in arrivals))
    reached = exp.LTE(this=_utc(writer, event), expression=_moment(last))
    return writer.sql(
        exp.select(exp.Count(this=exp.Star())).from_(_relation(writer, relation)).where(all_of(reached, after))
    )


def _relation(writer: Dialect, relation: str) -> exp.Table:
    return exp.to_table(relation, dialect=writer.name)


def _utc(writer: Dialect, column: Column) -> exp.Expression:
    return writer.utc(col(column.name), column.dtype, nanoseconds=column.nanoseconds)


def _moment(text: str) -> exp.Expression:
    return exp.cast(exp.Literal.string(text), exp.DataType.build("TIMESTAMP"))


def _text(expression: exp.Expression) -> exp.Expression:
    return exp.cast(expression, exp.DataType.build("TEXT"))
