"""Snowflake: its own as-of join, over keys and times alone.

Not run by us: reviewed against the documentation, which is cited where it decided something. The form of the script is
run on DuckDB, with its own way to write an as-of join.

- `ASOF JOIN ... MATCH_CONDITION` has one inequality, the left table first, and pads labels without a match with NULL;
  of several rows of one time any may be taken (docs.snowflake.com/en/sql-reference/constructs/asof-join).
- A TIMESTAMP column may have nanoseconds; times are compared as TIMESTAMP_NTZ(6). Values that are finer are refused.
- REGEXP_LIKE matches whole texts only, so a place in the text is asked for.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect as SqlglotDialect
from sqlglot.generator import Generator

from featurelayer.model import DType, Kind
from featurelayer.sql.ast import all_of
from featurelayer.sql.dialects._asof import Asof
from featurelayer.sql.generator import sqlglot_dialect
from featurelayer.sql.plan import Statement

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


class Snowflake(Asof):
    """Snowflake; names are quoted, so their case is kept."""

    name = "snowflake"
    text_type = "VARCHAR"
    has_try_cast = False  # of numbers
    session = (Statement(sql="ALTER SESSION SET TIMEZONE = 'UTC'", comment="Times without a zone are UTC (rule 8)."),)

    @cached_property
    def _writer(self) -> SqlglotDialect:
        found = sqlglot_dialect(self.name)
        found.generator_class = _generator(found.generator_class)
        return found

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

    def nested_text(self, value: exp.Expression) -> exp.Expression:
        return exp.Anonymous(this="TO_JSON", expressions=[exp.Anonymous(this="TO_VARIANT", expressions=[value])])

    def join_asof(self, moments: exp.Expression, on: list[exp.Expression], at: exp.Expression) -> exp.Join:
        return exp.Join(this=moments, method="ASOF", match_condition=at, on=all_of(*on))


def _generator(generator: type[Generator]) -> type[Generator]:
    class Sql(generator):  # type: ignore[misc, valid-type]
        # What TIMESTAMP means is a parameter of the session.
        TYPE_MAPPING: ClassVar[Any] = {**generator.TYPE_MAPPING, exp.DataType.Type.TIMESTAMP: "TIMESTAMP_NTZ(6)"}

    return Sql


DIALECT = Snowflake()
