"""Queries of how late rows are, by a view's own clocks and by what exports saw when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlglot import exp

from featurelayer.model import Column
from featurelayer.sql.ast import all_of, any_of, call, col, not_null, with_alias
from featurelayer.sql.delta import DIFFERENT, NEW, REMOVED, Log
from featurelayer.sql.dialects import dialect
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.measures import count_if, int_literal

SHARES = (0.5, 0.9, 0.99, 1.0)
_LATE = "late"


def clock_lateness(
    engine: str, relation: str, event: Column, arrival: Column, rungs: Sequence[int], *, since: datetime | None
) -> str:
    """Return a query of one row on how long after its event a row of the relation arrived.

    Its columns: rows, rows that arrived before their event, rows at or below each of `rungs` (microseconds), and an
    array of quantiles (`SHARES`). Rows without one of the times do not count, nor do events before `since`.
    """
    writer = dialect(engine)
    late = exp.Sub(this=_micros(writer, arrival), expression=_micros(writer, event))
    wanted: list[exp.Expression] = [not_null(col(event.name)), not_null(col(arrival.name))]
    if since is not None:
        wanted.append(exp.GTE(this=_utc(writer, event), expression=writer.moment(since)))
    source = exp.to_table(relation, dialect=writer.name)
    return _measure(writer, exp.select(with_alias(late, _LATE)).from_(source).where(all_of(*wanted)), rungs)


def export_lateness(engine: str, log: Log, rungs: Sequence[int], *, delay: int, since: int | None) -> str:
    """Return the lateness of rows by the export that saw them first: a row is late if an earlier export missed it.

    A row that no earlier export could have seen, because its event (plus `delay`) came after that one's time, counts
    as 0. The first export, and rows that were written again, tell nothing. Times are microseconds.
    """
    writer = dialect(engine)
    runs = _runs(writer, log)
    order = exp.Order(expressions=[exp.Ordered(this=col("version", "i"))])
    before = exp.Window(this=call("LAG", col("event_time", "i")), partition_by=[col("pk", "i")], order=order)
    mine = [
        exp.EQ(this=col(name, "i"), expression=exp.Literal.string(value))
        for name, value in (("store", log.store), ("view", log.view))
    ]
    accepted = exp.Not(this=exp.Coalesce(this=col("refused", "i"), expressions=[exp.false()]))
    written = exp.NEQ(this=col("kind", "i"), expression=exp.Literal.string(REMOVED))
    items = (
        exp.select(
            col("kind", "i"),
            col("event_time", "i"),
            col("seen", "r"),
            col("before", "r"),
            with_alias(before, "previous"),
        )
        .from_(_alias_table(writer, log.items, "i"))
        .join(runs.subquery("r"), on=exp.EQ(this=col("run", "r"), expression=col("run", "i")), join_type="inner")
        .where(all_of(*mine, accepted, written, not_null(col("event_time", "i"))))
    )
    visible = exp.Add(this=col("event_time"), expression=int_literal(delay))
    on_time = exp.GT(this=visible, expression=col("before"))
    late = exp.Case().when(on_time, int_literal(0)).else_(exp.Sub(this=col("seen"), expression=col("event_time")))
    fresh = any_of(
        exp.EQ(this=col("kind"), expression=exp.Literal.string(NEW)),
        all_of(
            exp.EQ(this=col("kind"), expression=exp.Literal.string(DIFFERENT)),
            exp.LT(this=col("previous"), expression=col("event_time")),
        ),
    )
    # An export as of an earlier time than the last one sees old rows again.
    wanted = [fresh, not_null(col("before")), exp.GT(this=col("seen"), expression=col("before"))]
    if since is not None:
        wanted.append(exp.GTE(this=col("event_time"), expression=int_literal(since)))
    return _measure(
        writer, exp.select(with_alias(late, _LATE)).from_(items.subquery("s")).where(all_of(*wanted)), rungs
    )


def _runs(writer: Dialect, log: Log) -> exp.Select:
    """Select the committed exports: their time and the newest time of an earlier one, in microseconds."""
    mine = [
        exp.EQ(this=col(name), expression=exp.Literal.string(value))
        for name, value in (("store", log.store), ("view", log.view))
    ]
    seen = writer.micros(col("as_of"))
    newest = exp.Window(
        this=exp.Max(this=seen.copy()),
        order=exp.Order(expressions=[exp.Ordered(this=col("version"))]),
        spec=exp.WindowSpec(
            kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end=int_literal(1), end_side="PRECEDING"
        ),
    )
    ledger = exp.to_table(log.ledger, dialect=writer.name)
    return (
        exp.select(col("run"), with_alias(seen, "seen"), with_alias(newest, "before"))
        .from_(ledger)
        .where(all_of(*mine, not_null(col("finished_at"))))
    )


def _measure(writer: Dialect, rows: exp.Select, rungs: Sequence[int]) -> str:
    late = col(_LATE)
    below = [count_if(exp.LTE(this=late.copy(), expression=int_literal(rung))) for rung in rungs]
    early = count_if(exp.LT(this=late.copy(), expression=int_literal(0)))
    quantiles = writer.measures.ranks(late, SHARES)
    return writer.sql(exp.select(exp.Count(this=exp.Star()), early, *below, quantiles).from_(rows.subquery("rows")))


def _utc(writer: Dialect, column: Column) -> exp.Expression:
    return writer.utc(col(column.name), column.dtype, nanoseconds=column.nanoseconds)


def _micros(writer: Dialect, column: Column) -> exp.Expression:
    return writer.micros(_utc(writer, column))


def _alias_table(writer: Dialect, relation: str, alias: str) -> exp.Table:
    table = exp.to_table(relation, dialect=writer.name)
    table.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
    return table
