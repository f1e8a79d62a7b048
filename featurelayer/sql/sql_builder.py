"""The words of one engine: types, literals, times and statements as sqlglot expressions.

Everything here depends on the engine alone. Rules of a point-in-time join are in `join_rules`, the order in which
statements follow each other in `scripts`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect as SqlglotDialect

from featurelayer.durations import microseconds
from featurelayer.errors import Problem, UnsupportedByDialect
from featurelayer.model import Column, DType, Kind
from featurelayer.sql.ast import call, col, not_null, table
from featurelayer.sql.generator import sqlglot_dialect
from featurelayer.sql.measures import Measures
from featurelayer.sql.plan import Statement

# Naive UTC timestamps have no daylight saving time, so a day is 24 hours in every engine.
UNITS = (
    ("DAY", 86_400_000_000),
    ("HOUR", 3_600_000_000),
    ("MINUTE", 60_000_000),
    ("SECOND", 1_000_000),
    ("MICROSECOND", 1),
)
NESTED = (Kind.ARRAY, Kind.STRUCT, Kind.MAP)
_INSERT_TYPES = {
    Kind.BOOL: "BOOLEAN",
    Kind.TEXT: "VARCHAR",
    Kind.DATE: "DATE",
    Kind.TIME: "TIME",
    Kind.TIMESTAMP: "TIMESTAMP",
    Kind.TIMESTAMPTZ: "TIMESTAMPTZ",
    Kind.UUID: "VARCHAR",
    Kind.JSON: "VARCHAR",
    Kind.INTERVAL: "INTERVAL",
}


class SqlBuilder:
    """Builds the SQL of one engine. Subclasses set flags first and override methods where flags are not enough.

    Attributes:
        name: the engine's name in sqlglot.
        text_type: the type of text.
        timestamp_type: how a naive timestamp is written; empty for sqlglot's own word.
        null_order: sqlglot's word for where NULLs go unless a query says otherwise.
        insert_types: types of columns that are loaded by INSERT, where sqlglot's word means something else.
        session: the statements that a session needs before a script: the time zone is UTC.
        has_try_cast: any cast can be tried, and gives NULL where it fails.
        rounds_floats: ROUND takes a float and a number of decimals.
        has_cte_hint: CTEs can be marked MATERIALIZED.
        has_correlated_subqueries: a subquery in a condition may name columns of the query around it.
        has_stable_order: a source that is read twice gives its rows in the same order.
        has_zoned_literals: text with an offset is read as an instant.
        folds_names: column names are compared without case, quoted or not.
        without_null: types that can't be NULL.
        measures: how distributions are measured.
    """

    name = ""
    text_type = "TEXT"
    timestamp_type = ""
    null_order = "nulls_are_large"
    insert_types: ClassVar[Mapping[Kind, str]] = {}
    session: tuple[Statement, ...] = ()
    has_try_cast = True
    rounds_floats = True
    has_cte_hint = True
    has_correlated_subqueries = True
    has_stable_order = True
    has_zoned_literals = True
    folds_names = False
    without_null: tuple[Kind, ...] = ()
    measures = Measures()

    def sql(self, expression: exp.Expression) -> str:
        """Return the text of an expression."""
        if not self.has_cte_hint:
            for cte in expression.find_all(exp.CTE):
                cte.set("materialized", None)
        # Expressions are not reused after rendering; skipping the copy saves a third of the compile time.
        return expression.sql(dialect=self._sqlglot, pretty=True, identify=True, copy=False)

    @cached_property
    def _sqlglot(self) -> SqlglotDialect:
        return sqlglot_dialect(self.name, timestamp=self.timestamp_type, null_order=self.null_order)

    def capability_error(self, capability: str, fix: str) -> UnsupportedByDialect:
        """Return the error for something that the engine can't do."""
        return UnsupportedByDialect([Problem(what=f"{self.name} has no {capability}", fix=fix)])

    # --- types and literals --------------------------------------------------------------------------------------

    def type(self, dtype: DType) -> exp.DataType:
        """Return a type."""
        return exp.DataType.build(self.type_text(dtype), dialect=self.name)

    def type_text(self, dtype: DType) -> str:
        """Return the text of a type."""
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

    def insert_type(self, dtype: DType) -> str:
        """Return the type of a column that is loaded by INSERT; any of them may be NULL."""
        if dtype.kind in self.insert_types:
            return self.insert_types[dtype.kind]
        match dtype.kind:
            case Kind.DECIMAL:
                kind = exp.DataType.build(f"DECIMAL({dtype.precision}, {dtype.scale})")
            case Kind.FLOAT:
                kind = exp.DataType.build("DOUBLE" if dtype.bits == 64 else "FLOAT", dialect="duckdb")
            case Kind.INT | Kind.UINT:
                wide = dtype.kind is Kind.UINT and (dtype.bits or 64) >= 64
                narrow = dtype.kind is Kind.INT and (dtype.bits or 64) <= 32
                kind = exp.DataType.build("DECIMAL(20, 0)" if wide else "INT" if narrow else "BIGINT")
            case _:
                kind = exp.DataType.build(_INSERT_TYPES[dtype.kind], dialect="duckdb")
        return kind.sql(dialect=self.name)

    def insert_value(self, value: Any) -> str:
        """Return a value of an INSERT: a word, digits, or a text in quotes, so that none can become SQL."""
        match value:
            case None:
                return "NULL"
            case bool():
                return "TRUE" if value else "FALSE"
            case int() | Decimal():
                return str(value)
            case float() if math.isfinite(value) and not (value == 0 and math.copysign(1, value) < 0):
                return repr(value)
            case datetime():
                value = value if value.tzinfo is None else value.astimezone(UTC)
                text = (value if self.has_zoned_literals else value.replace(tzinfo=None)).isoformat(" ")
            case date():
                text = value.isoformat()
            case _:
                text = str(value)
        return exp.Literal.string(text).sql(dialect=self.name)

    # --- times ---------------------------------------------------------------------------------------------------

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

    def micros(self, expression: exp.Expression) -> exp.Expression:
        """Return a naive UTC timestamp as whole microseconds since 1970."""
        return call("EPOCH_US", expression)

    def micros_between(self, later: exp.Expression, earlier: exp.Expression) -> exp.Expression:
        """Return the microseconds between two naive times."""
        return exp.Sub(this=self.micros(later), expression=self.micros(earlier))

    def finer_than_microseconds(self, value: exp.Expression) -> exp.Expression:
        """Return whether a nanosecond timestamp has a non-zero part below the microsecond."""
        raise NotImplementedError(f"{self.name} has no nanosecond timestamps")

    def full_text(self, value: exp.Expression) -> exp.Expression:
        """Return a timestamp as text with all of its digits: a value that is read loses those past a microsecond."""
        return exp.cast(value, exp.DataType.build("TEXT"))

    # --- values --------------------------------------------------------------------------------------------------

    def json_text(self, value: exp.Expression, dtype: DType, *, key: bool) -> exp.Expression | None:  # noqa: ARG002
        """Return a value's JSON as the online store holds it, or None where this engine can't write it exactly.

        A NULL becomes null. Of a `key`, equal values must be equal text.
        """
        return None

    def canonical_json(self, value: exp.Expression) -> exp.Expression:  # noqa: ARG002 (engines that can override)
        """Return a nested value as JSON text that is the same for equal values."""
        raise self.capability_error("canonical text of nested values", "declare a tie_breaker over plain columns only")

    def is_nan(self, value: exp.Expression) -> exp.Expression | None:  # noqa: ARG002 (engines that sort it otherwise)
        """Return whether a float is NaN; None where the engine sorts it above all numbers."""
        return None

    def comparable(self, column: Column, alias: str) -> list[exp.Expression]:
        """Return the sort expression of a column: itself, or canonical text if it is nested."""
        value = col(column.name, alias)
        match column.dtype.kind:
            case kind if kind in NESTED:
                return [exp.Case().when(not_null(value), self.canonical_json(value.copy()))]
            case Kind.JSON | Kind.UNKNOWN:
                return [exp.cast(value, self.type(DType(kind=Kind.TEXT)))]
            case Kind.FLOAT:
                nan = self.is_nan(value.copy())
                # 0.0 and -0.0 compare equal; their text differs.
                values = [value, exp.cast(value.copy(), exp.DataType.build("TEXT"))]
                if nan is None:
                    return values
                flag = exp.Case().when(nan, exp.Literal.number(1)).else_(exp.Literal.number(0))
                return [exp.Case().when(not_null(value.copy()), flag), *values]
        return [value]

    def bytes_of(self, text: exp.Expression) -> exp.Expression:
        """Return the length of a text in UTF-8 bytes."""
        return call("OCTET_LENGTH", text)

    # --- statements ----------------------------------------------------------------------------------------------

    def create(self, name: str, query: exp.Query) -> str:
        """Return `CREATE TEMPORARY TABLE name AS query`."""
        return self.sql(
            exp.Create(
                kind="TABLE",
                this=table(name),
                expression=query,
                properties=exp.Properties(expressions=[exp.TemporaryProperty()]),
            )
        )

    def row_number(self, by: Sequence[str] = ()) -> exp.Expression:
        """Return the number of a row from 0 on: by these columns, or in the order in which the source delivers rows."""
        order = exp.Order(expressions=[exp.Ordered(this=col(name)) for name in by]) if by else None
        return exp.Sub(this=exp.Window(this=exp.RowNumber(), order=order), expression=exp.Literal.number(1))

    def fail(self, message: exp.Expression) -> exp.Expression:
        """Return an expression that ends the query with this message when it is evaluated."""
        return exp.cast(message, exp.DataType.build("INT"))

    def join_asof(self, moments: exp.Expression, on: list[exp.Expression], at: exp.Expression) -> exp.Join:  # noqa: ARG002
        """Return the engine's as-of join of labels with `moments`: `on` the keys, by the one inequality `at`."""
        raise self.capability_error("as-of join", "use a script that needs none")

    def as_non_null(self, at: exp.Expression) -> exp.Expression:
        """Return a time as non-nullable, for engines that require it of an as-of join."""
        return at
