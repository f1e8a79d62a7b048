"""Redshift: the portable script; it has no as-of join and no lateral join that could use an index.

Not run by us: reviewed against the documentation, which is cited where it decided something. The form of the script is
run on DuckDB.

- Names are folded to lower case even in quotes, unless a session says otherwise
  (docs.aws.amazon.com/redshift/latest/dg/r_names.html), so columns that differ in case alone are refused.
- There is no IS DISTINCT FROM, no CREATE OR REPLACE for tables, and no microseconds in EXTRACT(EPOCH ...).
- Lists and records are SUPER; their text is JSON_SERIALIZE's.
- Text is compared by its bytes, the collation being C
  (docs.aws.amazon.com/redshift/latest/dg/c_collation_sequences.html).
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlglot import exp

from featurelayer.model import DType, Kind
from featurelayer.sql.ast import all_of, table
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.plan import Statement

_INTEGERS = {8: "SMALLINT", 16: "SMALLINT", 32: "INTEGER", 64: "BIGINT"}
_PLAIN = {
    Kind.TEXT: "VARCHAR(MAX)",
    Kind.UUID: "VARCHAR(36)",
    Kind.BYTES: "VARBYTE",
    Kind.TIMESTAMPTZ: "TIMESTAMPTZ",
    Kind.JSON: "SUPER",
    Kind.ARRAY: "SUPER",
    Kind.STRUCT: "SUPER",
    Kind.MAP: "SUPER",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Redshift(Dialect):
    """Redshift, provisioned or serverless."""

    name = "redshift"
    text_type = "VARCHAR(MAX)"
    has_try_cast = False
    has_cte_hint = False
    has_stable_order = False
    folds_names = True
    session = (Statement(sql="SET timezone TO 'UTC'", comment="Times without a zone are UTC (rule 8)."),)

    def sql(self, expression: exp.Expression) -> str:
        for node in list(expression.find_all(exp.NullSafeNEQ)):
            node.replace(_differ(node.this, node.expression))
        return super().sql(expression)

    def type_text(self, dtype: DType) -> str:
        match dtype.kind:
            case Kind.INT:
                return _INTEGERS.get(dtype.bits or 64, "DECIMAL(38, 0)")
            case Kind.UINT:
                return "BIGINT" if (dtype.bits or 64) < 64 else "DECIMAL(20, 0)"
            case Kind.FLOAT:
                return "REAL" if dtype.bits == 32 else "DOUBLE PRECISION"
        return _PLAIN[dtype.kind] if dtype.kind in _PLAIN else super().type_text(dtype)

    def native(self, dtype: DType) -> DType:
        match dtype.kind:
            case Kind.INT if dtype.bits in (8, 128):
                return DType.parse("int16" if dtype.bits == 8 else "decimal(38,0)")
            case Kind.UINT:
                return DType.parse("int64" if (dtype.bits or 64) < 64 else "decimal(20,0)")
            case Kind.UUID:
                return DType(kind=Kind.TEXT)
            case Kind.ARRAY | Kind.STRUCT | Kind.MAP:
                return DType(kind=Kind.JSON)
        return dtype

    def create(self, name: str, query: exp.Query) -> str:
        properties = exp.Properties(expressions=[exp.TemporaryProperty()])
        return self.sql(exp.Create(kind="TABLE", this=table(name), expression=query, properties=properties))

    def micros(self, expression: exp.Expression) -> exp.Expression:
        return exp.Anonymous(this="DATEDIFF", expressions=[exp.var("MICROSECOND"), self.moment(_EPOCH), expression])

    def canonical_json(self, value: exp.Expression) -> exp.Expression:
        return exp.Anonymous(this="JSON_SERIALIZE", expressions=[value])


def _differ(one: exp.Expression, other: exp.Expression) -> exp.Expression:
    neither = all_of(*(exp.Is(this=side.copy(), expression=exp.Null()) for side in (one, other)))
    same = exp.Coalesce(this=exp.EQ(this=one, expression=other), expressions=[neither])
    return exp.Not(this=same)


DIALECT = Redshift()
