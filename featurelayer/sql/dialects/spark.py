"""Spark: a running maximum over whole rows, kept in cached views.

- Spark has no temporary tables; a cached temporary view is one, and ends with the session.
- Times are compared as TIMESTAMP_NTZ, made of an instant's microseconds, so the session's zone has no effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from sqlglot import exp

from featurelayer.model import Column, DType, Kind
from featurelayer.sql.ast import call, col, table
from featurelayer.sql.dialects._spark_json import json_text
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.measures import ArrayQuantiles, int_literal
from featurelayer.sql.plan import Statement
from featurelayer.sql.scripts.row_maximum import RowMaximumScript

_SIZES = {8: "TINYINT", 16: "SMALLINT", 32: "INT", 64: "BIGINT", 128: "DECIMAL(38, 0)"}
_WIDER = {8: "SMALLINT", 16: "INT", 32: "BIGINT", 64: "DECIMAL(20, 0)", 128: "DECIMAL(38, 0)"}
_UNSIGNED_NATIVE = {8: "int16", 16: "int32", 32: "int64", 64: "decimal(20,0)", 128: "decimal(38,0)"}
_EPOCH = "1970-01-01 00:00:00"


class SparkMeasures(ArrayQuantiles):
    """Approximate percentiles of all shares at once; samples by hash."""

    def __init__(self) -> None:
        super().__init__("PERCENTILE_APPROX")

    def sample(self, columns: Sequence[exp.Expression], one_in: int) -> exp.Expression:
        return exp.EQ(this=call("PMOD", call("XXHASH64", *columns), int_literal(one_in)), expression=int_literal(0))


class Spark(Dialect):
    """Spark 3.4 and later, with TIMESTAMP_NTZ for naive times; and, with tables in place of views, Databricks."""

    text_type = "STRING"
    timestamp_type = "TIMESTAMP_NTZ"  # Spark's TIMESTAMP is an instant
    insert_types: ClassVar = {Kind.TIMESTAMP: "TIMESTAMP_NTZ", Kind.TIMESTAMPTZ: "TIMESTAMP"}
    has_cte_hint = False  # a CTE is computed once if its rows are numbered in it
    measures = SparkMeasures()
    script_type = RowMaximumScript

    def __init__(self, name: str, *, ansi: str, has_temporary_tables: bool) -> None:
        """`ansi` is the session's statement that makes a failed cast an error."""
        self.name = name
        self._has_temporary_tables = has_temporary_tables
        self.session = (
            Statement(sql="SET TIME ZONE 'UTC'", comment="Times without a zone are UTC (rule 8)."),
            Statement(sql=ansi, comment="What can't be cast is an error, never a NULL."),
        )

    def type_text(self, dtype: DType) -> str:
        match dtype.kind:
            case Kind.INT:
                return _SIZES[dtype.bits or 64]
            case Kind.UINT:
                return _WIDER[dtype.bits or 64]
            case Kind.FLOAT:
                return "FLOAT" if dtype.bits == 32 else "DOUBLE"
            case Kind.TIMESTAMP:
                return "TIMESTAMP_NTZ"
            case Kind.TIMESTAMPTZ:
                return "TIMESTAMP"
            case Kind.BYTES:
                return "BINARY"
            case Kind.UUID | Kind.JSON | Kind.TIME:
                return "STRING"
            case _:
                return super().type_text(dtype)

    def native(self, dtype: DType) -> DType:
        match dtype.kind:
            case Kind.INT if dtype.bits == 128:
                return DType.parse("decimal(38,0)")
            case Kind.UINT:
                return DType.parse(_UNSIGNED_NATIVE[dtype.bits or 64])
            case Kind.UUID | Kind.TIME:
                return DType(kind=Kind.TEXT)
        return dtype

    def instant(self, expression: exp.Expression) -> exp.Expression:
        return exp.cast(expression, exp.DataType.build("TIMESTAMPTZ"))

    def utc(self, expression: exp.Expression, dtype: DType, *, nanoseconds: bool = False) -> exp.Expression:
        if dtype.kind is not Kind.TIMESTAMPTZ:
            return super().utc(expression, dtype, nanoseconds=nanoseconds)
        epoch = exp.cast(exp.Literal.string(_EPOCH), exp.DataType.build("TIMESTAMP"))
        micros = exp.Anonymous(this="UNIX_MICROS", expressions=[expression])
        return exp.Anonymous(this="TIMESTAMPADD", expressions=[exp.var("MICROSECOND"), micros, epoch])

    def micros(self, expression: exp.Expression) -> exp.Expression:
        instant = exp.cast(expression, exp.DataType.build("TIMESTAMPTZ"))
        return exp.Anonymous(this="UNIX_MICROS", expressions=[instant])

    def json_text(self, value: exp.Expression, dtype: DType, *, key: bool) -> exp.Expression | None:
        return json_text(value, dtype, key=key)

    def finer_than_microseconds(self, value: exp.Expression) -> exp.Expression:  # noqa: ARG002 (no such type)
        return exp.false()

    def create(self, name: str, query: exp.Query) -> str:
        if not self._has_temporary_tables:
            return self.sql(exp.Cache(this=table(name), expression=query))
        # Set the kind: sqlglot turns a temporary table into a view, for Spark versions without such tables.
        return self.sql(exp.Create(kind="TEMPORARY TABLE", this=table(name), expression=query, replace=True))

    def row_number(self, by: Sequence[str] = ()) -> exp.Expression:
        """Return a row number from 0; without `by` it increases along the rows, with gaps that the script closes."""
        return super().row_number(by) if by else exp.Anonymous(this="MONOTONICALLY_INCREASING_ID")

    def fail(self, message: exp.Expression) -> exp.Expression:
        return exp.cast(exp.Anonymous(this="RAISE_ERROR", expressions=[message]), exp.DataType.build("INT"))

    def comparable(self, column: Column, alias: str) -> list[exp.Expression]:
        value = col(column.name, alias)
        if column.dtype.kind in (Kind.ARRAY, Kind.STRUCT, Kind.MAP):
            keep = exp.Anonymous(
                this="MAP", expressions=[exp.Literal.string("ignoreNullFields"), exp.Literal.string("false")]
            )
            return [exp.Anonymous(this="TO_JSON", expressions=[value, keep])]
        if column.dtype.kind is Kind.FLOAT:
            # 0.0 and -0.0 compare equal; their text differs, and is computed for zeros only.
            zero = exp.EQ(this=value.copy(), expression=exp.Literal.number(0))
            text = exp.cast(value.copy(), self.type(DType(kind=Kind.TEXT)))
            return [value, exp.Case().when(zero, text)]
        return super().comparable(column, alias)


DIALECT = Spark("spark", ansi="SET spark.sql.ansi.enabled = true", has_temporary_tables=False)
