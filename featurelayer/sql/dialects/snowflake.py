"""Snowflake: its own as-of join, over keys and times alone.

Not run by us: reviewed against the documentation, which is cited where it decided something. The form of the script is
run on DuckDB, with its own way to write an as-of join.

- `ASOF JOIN ... MATCH_CONDITION` has one inequality, the left table first, and pads labels without a match with NULL;
  of several rows of one time any may be taken (docs.snowflake.com/en/sql-reference/constructs/asof-join).
- A TIMESTAMP column may have nanoseconds; times are compared as TIMESTAMP_NTZ(6). Values that are finer are refused.
- REGEXP_LIKE matches whole texts only, so a place in the text is asked for.
"""

from __future__ import annotations

from typing import ClassVar

from sqlglot import exp

from featurelayer.model import DType, Kind
from featurelayer.sql.ast import all_of
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.measures import Measures
from featurelayer.sql.plan import Statement
from featurelayer.sql.scripts.asof import AsofScript

_PLAIN = {
    Kind.BYTES: "BINARY",
    Kind.TIMESTAMP: "TIMESTAMP_NTZ(6)",
    Kind.TIMESTAMPTZ: "TIMESTAMP_TZ(6)",
    Kind.UUID: "VARCHAR",
    Kind.JSON: "VARIANT",
    Kind.ARRAY: "ARRAY",
}
# Every whole number is a NUMBER(38, 0), and comes as 64 bits.
_NUMBER = DType(kind=Kind.INT, bits=64)


class _SnowflakeMeasures(Measures):
    """Approximate percentiles, one by one."""

    def quantile(self, value: exp.Expression, share: float) -> exp.Expression:
        return exp.Anonymous(this="APPROX_PERCENTILE", expressions=[value, exp.Literal.number(share)])


class Snowflake(Dialect):
    """Snowflake; names are quoted, so their case is kept."""

    name = "snowflake"
    text_type = "VARCHAR"
    timestamp_type = "TIMESTAMP_NTZ(6)"  # what TIMESTAMP means is a parameter of the session
    insert_types: ClassVar = {Kind.TIMESTAMP: "TIMESTAMP_NTZ(6)", Kind.TIMESTAMPTZ: "TIMESTAMP_TZ(6)"}
    has_try_cast = False  # of numbers
    has_cte_hint = False
    has_stable_order = False
    measures = _SnowflakeMeasures()
    script_type = AsofScript
    session = (Statement(sql="ALTER SESSION SET TIMEZONE = 'UTC'", comment="Times without a zone are UTC (rule 8)."),)

    def type_text(self, dtype: DType) -> str:
        if dtype.kind is Kind.UINT:
            return "NUMBER(20, 0)"
        return _PLAIN[dtype.kind] if dtype.kind in _PLAIN else super().type_text(dtype)

    def native(self, dtype: DType) -> DType:
        match dtype.kind:
            case Kind.INT | Kind.UINT:
                return _NUMBER
            case Kind.DECIMAL if (dtype.precision, dtype.scale) == (38, 0):
                return _NUMBER
            case Kind.FLOAT:
                return DType(kind=Kind.FLOAT, bits=64)
            case Kind.UUID:
                return DType(kind=Kind.TEXT)
            case Kind.ARRAY | Kind.STRUCT | Kind.MAP:
                return DType(kind=Kind.JSON)
        return dtype

    def instant(self, expression: exp.Expression) -> exp.Expression:
        return exp.cast(expression, self.type(DType(kind=Kind.TIMESTAMPTZ)))

    def utc(self, expression: exp.Expression, dtype: DType, *, nanoseconds: bool = False) -> exp.Expression:
        if dtype.kind is Kind.TIMESTAMPTZ:
            zone = exp.Literal.string("UTC")
            expression = exp.Anonymous(this="CONVERT_TIMEZONE", expressions=[zone, expression])
            return exp.cast(expression, exp.DataType.build("TIMESTAMP"))
        return super().utc(expression, dtype, nanoseconds=nanoseconds)

    def micros(self, expression: exp.Expression) -> exp.Expression:
        return exp.Anonymous(this="DATE_PART", expressions=[exp.var("EPOCH_MICROSECOND"), expression])

    def finer_than_microseconds(self, value: exp.Expression) -> exp.Expression:
        nanos = exp.Anonymous(this="DATE_PART", expressions=[exp.var("NANOSECOND"), value])
        return exp.NEQ(this=exp.Mod(this=nanos, expression=exp.Literal.number(1000)), expression=exp.Literal.number(0))

    def full_text(self, value: exp.Expression) -> exp.Expression:
        # Its default format has milliseconds.
        return exp.Anonymous(this="TO_CHAR", expressions=[value, exp.Literal.string("YYYY-MM-DD HH24:MI:SS.FF9")])

    def canonical_json(self, value: exp.Expression) -> exp.Expression:
        return exp.Anonymous(this="TO_JSON", expressions=[exp.Anonymous(this="TO_VARIANT", expressions=[value])])

    def join_asof(self, moments: exp.Expression, on: list[exp.Expression], at: exp.Expression) -> exp.Join:
        return exp.Join(this=moments, method="ASOF", match_condition=at, on=all_of(*on))


DIALECT = Snowflake()
