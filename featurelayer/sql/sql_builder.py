"""An engine's words: types, literals, times, and each rule of a point-in-time join as an expression."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect as SqlglotDialect

from featurelayer.durations import microseconds
from featurelayer.model import Column, DType, Kind
from featurelayer.sql.ast import all_of, call, col, key_alias, not_null, table, with_alias
from featurelayer.sql.casts import can_convert, can_convert_by_range, is_lossy_by_range, is_lossy_round_trip
from featurelayer.sql.generator import sqlglot_dialect
from featurelayer.sql.plan import AsofJoin, Statement

# Naive UTC timestamps have no daylight saving time, so a day is 24 hours in every engine.
UNITS = (
    ("DAY", 86_400_000_000),
    ("HOUR", 3_600_000_000),
    ("MINUTE", 60_000_000),
    ("SECOND", 1_000_000),
    ("MICROSECOND", 1),
)


class SqlBuilder:
    """How an engine says values, times and rules. `name` is sqlglot's.

    `session` is what a warehouse of ours says when it connects and another session has to say before a script.
    `has_try_cast` is whether any cast can be tried, and gives NULL where it fails.
    `rounds_floats` is whether ROUND takes a float and a number of decimals.
    """

    name = ""
    text_type = "TEXT"
    has_try_cast = True
    rounds_floats = True
    session: tuple[Statement, ...] = ()

    def sql(self, expression: exp.Expression) -> str:
        """Return the text of an expression in this dialect."""
        # No expression is used after it is text, so it need not be copied first: a third of the time of a compilation.
        return expression.sql(dialect=self._writer, pretty=True, identify=True, copy=False)

    @cached_property
    def _writer(self) -> SqlglotDialect:
        return sqlglot_dialect(self.name)

    def type(self, dtype: DType) -> exp.DataType:
        """Return a type in this dialect."""
        return exp.DataType.build(self.type_text(dtype), dialect=self.name)

    def type_text(self, dtype: DType) -> str:
        match dtype.kind:
            case Kind.BOOL:
                return "BOOLEAN"
            case Kind.INT | Kind.UINT:
                return "BIGINT" if dtype.kind is Kind.INT or (dtype.bits or 64) < 64 else "DECIMAL(20, 0)"
            case Kind.FLOAT:
                return "DOUBLE"
            case Kind.DECIMAL:
                return f"DECIMAL({dtype.precision}, {dtype.scale})"
            case Kind.ARRAY:
                assert dtype.element is not None
                return f"ARRAY<{self.type_text(dtype.element)}>"
            case Kind.TEXT:
                return self.text_type
            case _:
                return str(dtype.kind).upper()

    def native(self, dtype: DType) -> DType:
        """Return the type that a column of a declared type has in this engine."""
        return dtype

    def can_cast(self, stored: DType, declared: DType) -> bool:
        """Whether values can be cast between these types, those that keep their worth."""
        return (can_convert if self.has_try_cast else can_convert_by_range)(stored, declared)

    def cast_changes(self, value: exp.Expression, stored: DType, declared: DType) -> exp.Expression:
        """Whether a value that is no time would not survive its cast to the declared type."""
        compare = is_lossy_round_trip if self.has_try_cast else is_lossy_by_range
        return compare(self, value, stored, declared)

    def literal(self, value: Any, dtype: DType) -> exp.Expression:
        """Return a value as a literal of a type: always a cast of text or number, so no value can become SQL."""
        if value is None:
            return exp.cast(exp.Null(), self.type(dtype))
        if isinstance(value, list | tuple):
            assert dtype.element is not None
            return exp.cast(
                exp.Array(expressions=[self.literal(item, dtype.element) for item in value]), self.type(dtype)
            )
        if isinstance(value, bool):
            return exp.cast(exp.Boolean(this=value), self.type(dtype))
        text = value.isoformat() if hasattr(value, "isoformat") else str(value)
        return exp.cast(exp.Literal.string(text), self.type(dtype))

    def utc(self, expression: exp.Expression, dtype: DType, *, nanoseconds: bool = False) -> exp.Expression:
        """Return a time as a naive UTC timestamp with microseconds."""
        naive = exp.DataType.build("TIMESTAMP")
        if dtype.kind is Kind.TIMESTAMPTZ:
            return exp.AtTimeZone(this=expression, zone=exp.Literal.string("UTC"))
        if dtype.kind is Kind.TIMESTAMP and not nanoseconds:
            return expression
        return exp.cast(expression, naive)

    def instant(self, expression: exp.Expression) -> exp.Expression:
        """Return a naive UTC timestamp as an instant."""
        return exp.AtTimeZone(this=expression, zone=exp.Literal.string("UTC"))

    def moment(self, at: datetime) -> exp.Expression:
        """Return an aware time as a literal naive UTC timestamp."""
        text = at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
        return exp.cast(exp.Literal.string(text), exp.DataType.build("TIMESTAMP"))

    def shift(self, expression: exp.Expression, by: timedelta) -> exp.Expression:
        """Return a timestamp plus a duration, exact to the microsecond."""
        micros = microseconds(by)
        if micros == 0:
            return expression
        unit, size = next((unit, size) for unit, size in UNITS if micros % size == 0)
        interval = exp.Interval(this=exp.Literal.string(str(abs(micros) // size)), unit=exp.var(unit))
        return (exp.Add if micros > 0 else exp.Sub)(this=expression, expression=interval)

    def json_text(self, value: exp.Expression, dtype: DType, *, key: bool) -> exp.Expression | None:  # noqa: ARG002
        """Return a value's JSON as the online store holds it, or None where this engine can't write it exactly.

        A NULL becomes null. Of a `key`, equal values must be equal text.
        """
        return None

    def bytes_of(self, text: exp.Expression) -> exp.Expression:
        """How many bytes a text has in UTF-8."""
        return call("OCTET_LENGTH", text)

    def micros(self, expression: exp.Expression) -> exp.Expression:
        """A naive UTC timestamp as whole microseconds since 1970."""
        return call("EPOCH_US", expression)

    def create(self, name: str, query: exp.Query) -> str:
        """`CREATE TEMPORARY TABLE name AS query`."""
        return self.sql(
            exp.Create(
                kind="TABLE",
                this=table(name),
                expression=query,
                properties=exp.Properties(expressions=[exp.TemporaryProperty()]),
            )
        )

    def event(self, join: AsofJoin, alias: str) -> exp.Expression:
        """The event time of a row as naive UTC."""
        assert join.event is not None
        return self.utc(col(join.event.name, alias), join.event.dtype, nanoseconds=join.event.nanoseconds)

    def effective(self, join: AsofJoin, alias: str) -> exp.Expression:
        """The first moment at which a row may be seen: rule 1 in one expression (module essay of the planner)."""
        earliest = self.shift(self.event(join, alias), join.wait)
        if join.available is None:
            return earliest
        available = self.utc(
            col(join.available.name, alias), join.available.dtype, nanoseconds=join.available.nanoseconds
        )
        # CASE and not GREATEST: engines differ in what GREATEST does with NULL.
        return exp.Case().when(exp.GT(this=available, expression=earliest), available.copy()).else_(earliest.copy())

    def usable(self, join: AsofJoin, alias: str) -> exp.Expression:
        """Rows with every time and key known; the others are never visible."""
        times = [column for column in (join.event, join.available) if column is not None]
        return all_of(*(not_null(col(column.name, alias)) for column in (*(key for key, _ in join.keys), *times)))

    def fresh(self, join: AsofJoin, event: exp.Expression, at: exp.Expression) -> list[exp.Expression]:
        """Rule 2, if the view has a TTL."""
        return [exp.GTE(this=event, expression=self.shift(at, -join.ttl))] if join.ttl is not None else []

    def relation(self, join: AsofJoin, alias: str) -> exp.Table:
        """The view's relation, quoted as dbt quotes it."""
        relation = exp.to_table(join.relation, dialect=self.name)
        relation.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
        return relation

    def keys_equal(self, join: AsofJoin, left: str, right: str) -> exp.Expression:
        """`left` has the script's key names, `right` the view's."""
        return all_of(
            *(
                exp.EQ(this=col(key_alias(position), left), expression=col(key.name, right))
                for position, (key, _) in enumerate(join.keys)
            )
        )

    def view_keys(self, join: AsofJoin, alias: str) -> list[exp.Expression]:
        """The view's keys under the script's names."""
        return [with_alias(col(key.name, alias), key_alias(position)) for position, (key, _) in enumerate(join.keys)]

    def valid_until(self, join: AsofJoin, row: str) -> exp.Expression:
        """From when on a row no longer holds, as naive UTC."""
        assert join.valid_to is not None
        return self.utc(col(join.valid_to.name, row), join.valid_to.dtype, nanoseconds=join.valid_to.nanoseconds)

    def greatest_first(self, columns: Iterable[Column], alias: str) -> list[exp.Ordered]:
        """Rule 3's order: greatest wins, NULL is lowest."""
        return [
            exp.Ordered(this=expression, desc=True, nulls_first=False)
            for column in columns
            for expression in self.comparable(column, alias)
        ]

    def comparable(self, column: Column, alias: str) -> list[exp.Expression]:
        """What a column is ordered by: itself, or canonical text if it is nested."""
        value = col(column.name, alias)
        if column.dtype.kind in (Kind.ARRAY, Kind.STRUCT, Kind.MAP, Kind.JSON, Kind.UNKNOWN):
            return [exp.cast(value, self.type(DType(kind=Kind.TEXT)))]
        return [value]

    def tie_columns(self, join: AsofJoin) -> tuple[Column, ...]:
        """What breaks ties: created, available, declared tie-breakers, then the content in declared column order."""
        equal = {join.event, *(key for key, _ in join.keys)}
        return (*join.order, *(column for column in join.content if column not in join.order and column not in equal))

    def tie_order(self, join: AsofJoin, alias: str) -> list[exp.Ordered]:
        """Rule 3 among the rows of one event time."""
        return self.greatest_first(self.tie_columns(join), alias)

    def finer_than_microseconds(self, value: exp.Expression) -> exp.Expression:
        """Whether a nanosecond timestamp has a non-zero sub-microsecond part."""
        raise NotImplementedError(f"{self.name} has no nanosecond timestamps")

    def full_text(self, value: exp.Expression) -> exp.Expression:
        """Return a timestamp as text with all of its digits: a value that is read loses those past a microsecond."""
        return exp.cast(value, exp.DataType.build("TEXT"))

    def row_number(self) -> exp.Expression:
        """Number the rows in the order in which the source delivers them."""
        over = exp.Window(this=exp.RowNumber())
        return exp.Sub(this=over, expression=exp.Literal.number(1))

    def fail(self, message: exp.Expression) -> exp.Expression:
        """An expression that ends the query with this message when it is evaluated."""
        return exp.cast(message, exp.DataType.build("INT"))
