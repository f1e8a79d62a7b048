"""Profiles as SQL: the distribution of every feature, per slot of rows, in one pass over the columns.

A slot is some of the rows, such as a day of event time. Three statements, of which the first is small:

1. `slot_counts`: how many rows each slot has.
2. `measurement`: counts, sums and extremes of all columns over all rows, and in the same pass (or over a sample, where
   there are many rows) quantiles and the histogram, whose bins are given.
3. `top_values`, per column of text: the values that come most often.

Squares are summed around a given centre, so that they neither overflow nor cancel, and need no division per row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlglot import exp

from featurelayer.durations import microseconds
from featurelayer.model import Column, DType, Kind
from featurelayer.sql.ast import all_of, any_of, col, not_null, parse_from_item, with_alias
from featurelayer.sql.dialects import dialect
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.measures import LARGEST, Measures, count_if, double_literal, int_literal
from featurelayer.sql.plan import EVENT_MICROS, RESERVED, VALID_TO_MICROS, Plan, Script, Statement, Step

QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
# PostgreSQL returns at most 1664 columns.
_MOST_OUTPUTS = 1500
_SLOT, _VALUE, _COUNT, _ROWS = (f"{RESERVED}{name}" for name in ("slot", "value", "count", "rows"))
_TEXTS = (Kind.TEXT, Kind.UUID, Kind.BOOL)
_UNCOUNTED = (Kind.STRUCT, Kind.MAP, Kind.JSON, Kind.UNKNOWN, Kind.ARRAY, Kind.BYTES, Kind.INTERVAL)


class Measure(StrEnum):
    """A measure of a column."""

    VALUES = "values"
    NUMBERS = "numbers"
    DISTINCT = "distinct"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    SUM = "sum"
    SQUARES = "squares"
    DEFAULTS = "defaults"
    OUT_OF_RANGE = "out_of_range"
    QUANTILES = "quantiles"
    BINS = "bins"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredColumn:
    """A column to measure: `centre` is near its mean, `edges` those of its histogram (none: no histogram)."""

    column: Column
    edges: tuple[float, ...] = ()
    centre: float = 0.0
    default: Any = None
    range: tuple[float | None, float | None] | None = None

    @property
    def is_numeric(self) -> bool:
        """Whether it is measured as a number: its value, its length, or its time."""
        kind = self.column.dtype.kind
        return self.column.dtype.is_numeric or kind in (Kind.BOOL, Kind.ARRAY) or self.column.dtype.is_time

    @property
    def has_bins(self) -> bool:
        """Whether its numbers can lie in bins; true and false are two names."""
        return self.is_numeric and self.column.dtype.kind is not Kind.BOOL

    @property
    def is_text(self) -> bool:
        """Whether its values are names rather than amounts."""
        return self.column.dtype.kind in _TEXTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Rows whose time lies in one of these ranges, the end not included; times are aware. Slots don't overlap."""

    ranges: tuple[tuple[datetime, datetime], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSource:
    """Where rows come from: a FROM item in the engine's SQL, and the column of their time, if they have one.

    Without `slots` all rows form one. `one_in` samples one row in that many, by the hash of the columns `chosen_by`.
    """

    source: str
    time: Column | None = None
    slots: tuple[Slot, ...] = ()
    one_in: int = 1
    chosen_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A query of one row per slot with rows: the slot, its row count, then `outputs`."""

    sql: str
    outputs: tuple[tuple[str, Measure], ...]


def slot_counts(engine: str, rows: RowSource) -> str:
    """Return a query of the slots and their row counts."""
    writer = dialect(engine)
    counted = exp.select(*_slot(rows), exp.Count(this=exp.Star())).from_(
        _rows(writer, rows, []).subquery(_ROWS, copy=False)
    )
    return writer.sql(_group_by_slot(counted, rows))


def newest(engine: str, source: str, time: Column | str, at: datetime) -> str:
    """Return a query of the newest time at or before `at`, as a naive UTC timestamp.

    `time` is a column, or an expression in the engine's SQL that gives a timestamp in UTC.
    """
    writer = dialect(engine)
    if isinstance(time, str):
        parsed: exp.Expression = exp.maybe_parse(time, dialect=writer.name)
        value: exp.Expression = exp.cast(parsed, exp.DataType.build("TIMESTAMP"))
    else:
        value = _time(writer, time)
    past = exp.Case().when(exp.LTE(this=value.copy(), expression=writer.moment(at)), value.copy())
    return writer.sql(exp.select(exp.Max(this=past)).from_(_from(writer, source)))


def measurements(
    engine: str, rows: RowSource, columns: Sequence[MeasuredColumn], *, moments: bool, shape: bool
) -> Iterator[Measurement]:
    """Yield queries that measure the columns, as few as the engine's limit of columns allows.

    `moments` are counts, sums and extremes; `shape` are quantiles and bins.
    """
    writer = dialect(engine)
    ways = writer.measures
    part: list[tuple[MeasuredColumn, list[tuple[Measure, exp.Expression]]]] = []
    size = 0
    for column in columns:
        wanted = [*(_moments(writer, ways, column) if moments else ()), *(_shape(ways, column) if shape else ())]
        if part and size + len(wanted) > _MOST_OUTPUTS:
            yield _measurement(writer, rows, part)
            part, size = [], 0
        part.append((column, wanted))
        size += len(wanted)
    yield _measurement(writer, rows, part)


def top_values(engine: str, rows: RowSource, column: Column, most: int) -> str:
    """Return a query of slot, value as text, and how often it comes: the `most` most frequent values of each slot."""
    writer = dialect(engine)
    rank = f"{RESERVED}rank"
    text: exp.Expression = exp.cast(col(column.name), writer.type(DType(kind=Kind.TEXT)))
    if column.dtype.kind is Kind.BOOL:
        text = exp.Case().when(col(column.name), exp.Literal.string("true")).else_(exp.Literal.string("false"))
    present = _rows(writer, rows, [with_alias(text, _VALUE)]).where(not_null(col(column.name)))
    counts = exp.select(col(_SLOT), col(_VALUE), with_alias(exp.Count(this=exp.Star()), _COUNT))
    counts = (
        counts.from_(present.subquery(_ROWS, copy=False)).where(not_null(col(_SLOT))).group_by(col(_SLOT), col(_VALUE))
    )
    order = exp.Order(expressions=[exp.Ordered(this=col(_COUNT), desc=True), exp.Ordered(this=col(_VALUE))])
    ranked = exp.select(
        col(_SLOT), col(_VALUE), col(_COUNT),
        with_alias(exp.Window(this=exp.RowNumber(), partition_by=[col(_SLOT)], order=order), rank),
    ).from_(counts.subquery("counted"))  # fmt: skip
    query = exp.select(col(_SLOT), col(_VALUE), col(_COUNT)).from_(ranked.subquery("ranked"))
    query = query.where(exp.LTE(this=col(rank), expression=int_literal(most)))
    return writer.sql(query.order_by(col(_SLOT), col(rank)))


def snapshot_into_table(engine: str, plan: Plan, name: str) -> Script:
    """Return the script of a view's snapshot with a last step that keeps its rows in the temporary table `name`."""
    writer = dialect(engine)
    script = writer.compile(plan)
    rows = writer.script.query(plan)
    rows.set("order", None)
    keep = Step(name=name, statements=(Statement(sql=writer.create(name, rows)),))
    return replace(script, steps=(*script.steps, keep))


def count_coverage(
    engine: str,
    population: str,
    snapshot: str,
    keys: Sequence[tuple[str, str]],
    *,
    at: datetime | None = None,
    ttl: timedelta | None = None,
) -> str:
    """Return a query that counts the distinct keys of a population, and those with a valid row.

    `keys` are (the population's column, the snapshot's column). Without `at` every row of the snapshot holds.
    """
    writer = dialect(engine)
    names = [f"{RESERVED}k{position}" for position in range(len(keys))]
    wanted = exp.select(*(with_alias(col(key), name) for (key, _), name in zip(keys, names, strict=True)))
    wanted = wanted.from_(_from(writer, population)).where(all_of(*(not_null(col(key)) for key, _ in keys))).distinct()
    same = [exp.EQ(this=col(name, "p"), expression=col(key, "s")) for (_, key), name in zip(keys, names, strict=True)]
    query = exp.select(exp.Count(this=exp.Star()), exp.Count(this=col(keys[0][1], "s"))).from_(wanted.subquery("p"))
    valid = exp.select(*(col(key) for _, key in keys)).distinct().from_(_from(writer, snapshot))
    if at is not None:
        valid = valid.where(all_of(*_validity_conditions(at, ttl)))
    return writer.sql(query.join(valid.subquery("s"), on=all_of(*same), join_type="left"))


def _validity_conditions(at: datetime, ttl: timedelta | None) -> Iterator[exp.Expression]:
    """Apply rules 2 and 4 to the rows of a snapshot, whose times are microseconds."""
    since = (at - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
    ends = col(VALID_TO_MICROS)
    yield any_of(exp.Is(this=ends, expression=exp.Null()), exp.GT(this=ends.copy(), expression=int_literal(since)))
    if ttl is not None:
        yield exp.GTE(this=col(EVENT_MICROS), expression=int_literal(since - microseconds(ttl)))


def _moments(writer: Dialect, ways: Measures, measured: MeasuredColumn) -> Iterator[tuple[Measure, exp.Expression]]:
    column, dtype = col(measured.column.name), measured.column.dtype
    yield Measure.VALUES, exp.Count(this=column.copy())
    if dtype.kind not in _UNCOUNTED:
        yield Measure.DISTINCT, ways.distinct(column.copy())
    if measured.default is not None and dtype.kind not in _UNCOUNTED:
        same = exp.EQ(this=column.copy(), expression=writer.literal(measured.default, dtype))
        yield Measure.DEFAULTS, count_if(same)
    if not measured.is_numeric:
        return
    value = col(_number_name(measured))
    off = exp.Paren(this=exp.Sub(this=value.copy(), expression=double_literal(measured.centre)))
    if dtype.kind is Kind.FLOAT:
        yield Measure.NUMBERS, exp.Count(this=value.copy())
    yield Measure.MINIMUM, exp.Min(this=value.copy())
    yield Measure.MAXIMUM, exp.Max(this=value.copy())
    yield Measure.SUM, exp.Sum(this=off.copy())
    yield Measure.SQUARES, exp.Sum(this=exp.Mul(this=off.copy(), expression=off.copy()))
    if measured.range is not None:
        low, high = measured.range
        outside: list[exp.Expression] = []
        if low is not None:
            outside.append(exp.LT(this=value.copy(), expression=double_literal(low)))
        if high is not None:
            outside.append(exp.GT(this=value.copy(), expression=double_literal(high)))
        if outside:
            yield Measure.OUT_OF_RANGE, count_if(any_of(*outside))


def _shape(ways: Measures, measured: MeasuredColumn) -> Iterator[tuple[Measure, exp.Expression]]:
    if not measured.has_bins:
        return
    value = col(_number_name(measured))
    yield Measure.QUANTILES, ways.quantiles(value.copy(), QUANTILES)
    if measured.edges:
        yield Measure.BINS, ways.bins(value.copy(), measured.edges)


def edge_quantiles(engine: str, rows: RowSource, columns: Sequence[MeasuredColumn], bins: int) -> Iterator[Measurement]:
    """Yield queries of the quantiles at which the bins of histograms end, the least and the greatest value included."""
    writer = dialect(engine)
    ways = writer.measures
    shares = [position / bins for position in range(bins + 1)]
    numeric = [column for column in columns if column.has_bins]
    part = [(column, [(Measure.QUANTILES, ways.ranks(col(_number_name(column)), shares))]) for column in numeric]
    for start in range(0, len(part), _MOST_OUTPUTS):
        yield _measurement(writer, rows, part[start : start + _MOST_OUTPUTS])


def _measurement(
    writer: Dialect, rows: RowSource, part: Sequence[tuple[MeasuredColumn, Sequence[tuple[Measure, exp.Expression]]]]
) -> Measurement:
    numbers = [with_alias(_number(writer, column), _number_name(column)) for column, _ in part if column.is_numeric]
    raw = [col(column.column.name) for column, _ in part]
    outputs = [(column.column.name, measure) for column, wanted in part for measure, _ in wanted]
    selected = [expression for _, wanted in part for _, expression in wanted]
    query = exp.select(*_slot(rows), exp.Count(this=exp.Star()), *selected)
    query = query.from_(_rows(writer, rows, [*raw, *numbers]).subquery(_ROWS, copy=False))
    return Measurement(sql=writer.sql(_group_by_slot(query, rows)), outputs=tuple(outputs))


def _number(writer: Dialect, measured: MeasuredColumn) -> exp.Expression:
    """Cast a value to DOUBLE, NULL if it can't be summed."""
    column, dtype = col(measured.column.name), measured.column.dtype
    double = exp.DataType.build("DOUBLE")
    if dtype.kind is Kind.BOOL:
        zero_or_one = exp.Case().when(column.copy(), int_literal(1)).when(exp.Not(this=column.copy()), int_literal(0))
        return exp.cast(zero_or_one, double)
    if dtype.kind is Kind.ARRAY:
        return exp.cast(writer.measures.length(column), double)
    if dtype.is_time:
        micros = writer.micros(_time(writer, measured.column))
        return exp.Div(this=exp.cast(micros, double), expression=double_literal(1_000_000))
    value = exp.cast(column, double)
    if dtype.kind is not Kind.FLOAT:
        return value
    return exp.Case().when(exp.LTE(this=exp.Abs(this=value.copy()), expression=double_literal(LARGEST)), value.copy())


def _number_name(measured: MeasuredColumn) -> str:
    return f"{RESERVED}n_{measured.column.name}"


def _slot(rows: RowSource) -> list[exp.Expression]:
    return [col(_SLOT)] if len(rows.slots) > 1 else [with_alias(int_literal(0), _SLOT)]


def _group_by_slot(query: exp.Select, rows: RowSource) -> exp.Select:
    """Group the query by slot, leaving out rows outside all slots."""
    if len(rows.slots) <= 1:
        return query
    return query.where(not_null(col(_SLOT))).group_by(col(_SLOT)).order_by(col(_SLOT))


def _rows(writer: Dialect, rows: RowSource, columns: Sequence[exp.Expression]) -> exp.Select:
    """Select the rows of all slots, each with its slot."""
    slot: exp.Expression = int_literal(0)
    where: list[exp.Expression] = []
    if rows.time is not None and rows.slots:
        time = _time(writer, rows.time)
        inside = [_slot_condition(writer, time, each) for each in rows.slots]
        if len(inside) > 1:
            slot = exp.Case(ifs=[exp.If(this=each, true=int_literal(number)) for number, each in enumerate(inside)])
            starts, ends = zip(*(each for one in rows.slots for each in one.ranges), strict=True)
            where.append(_between(writer, time, min(starts), max(ends)))
        else:
            where.append(inside[0])
    if rows.one_in > 1:
        where.append(writer.measures.sample([col(name) for name in rows.chosen_by], rows.one_in))
    query = exp.select(with_alias(slot, _SLOT), *columns).from_(_from(writer, rows.source))
    return query.where(all_of(*where)) if where else query


def _slot_condition(writer: Dialect, time: exp.Expression, slot: Slot) -> exp.Expression:
    ranges = [exp.paren(_between(writer, time, start, end)) for start, end in slot.ranges]
    return any_of(*ranges) if len(ranges) > 1 else ranges[0]


def _between(writer: Dialect, time: exp.Expression, start: datetime, end: datetime) -> exp.Expression:
    return all_of(
        exp.GTE(this=time.copy(), expression=writer.moment(start)),
        exp.LT(this=time.copy(), expression=writer.moment(end)),
    )


def _time(writer: Dialect, column: Column) -> exp.Expression:
    return writer.utc(col(column.name), column.dtype, nanoseconds=column.nanoseconds)


def _from(writer: Dialect, source: str) -> exp.Expression:
    return parse_from_item(source, writer.name)
