"""Trino: a training set as one query. It has no temporary tables, so there is no script.

Not run by us: reviewed against the documentation, which is cited where it decided something. The form of the query is
run on DuckDB.

- TIMESTAMP alone has milliseconds; with six digits it has microseconds (trino.io/docs/current/language/types.html).
- An interval has milliseconds (the same page, "INTERVAL DAY TO SECOND"), so nothing can be shifted by less.
- Names of columns are compared without case. NaN is above all numbers where it is sorted.
- `LEFT JOIN NEAREST` of newer versions is an as-of join, which sqlglot can't write yet.
"""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from sqlglot import exp

from featurelayer.durations import format_duration, microseconds
from featurelayer.model import DType, Kind
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.measures import ArrayQuantiles
from featurelayer.sql.plan import Plan, Script, Statement
from featurelayer.sql.scripts.materialized import MaterializedScript

_PLAIN = {
    Kind.TEXT: "VARCHAR",
    Kind.BYTES: "VARBINARY",
    Kind.TIMESTAMP: "TIMESTAMP(6)",
    Kind.TIMESTAMPTZ: "TIMESTAMP(6) WITH TIME ZONE",
}
_INTEGERS = {8: "TINYINT", 16: "SMALLINT", 32: "INTEGER", 64: "BIGINT"}


class TrinoScript(MaterializedScript):
    """A single query: without temporary tables there is no script."""

    def compile(self, plan: Plan) -> Script:
        self.validate(plan)
        raise self.dialect.capability_error(
            "temporary tables, which a script is made of",
            "make the training set a dbt model, which is one query: featurelayer dbt-model write",
        )


class Trino(Dialect):
    """Trino 400 and later."""

    name = "trino"
    text_type = "VARCHAR"
    timestamp_type = "TIMESTAMP(6)"  # without digits it has three
    insert_types: ClassVar = {Kind.TIMESTAMP: "TIMESTAMP(6)", Kind.TIMESTAMPTZ: "TIMESTAMP(6) WITH TIME ZONE"}
    has_cte_hint = False
    has_stable_order = False
    folds_names = True
    measures = ArrayQuantiles("APPROX_PERCENTILE")
    script_type = TrinoScript
    session = (Statement(sql="SET TIME ZONE 'UTC'", comment="Times without a zone are UTC (rule 8)."),)

    def type_text(self, dtype: DType) -> str:
        match dtype.kind:
            case Kind.INT:
                return _INTEGERS.get(dtype.bits or 64, "DECIMAL(38, 0)")
            case Kind.FLOAT:
                return "REAL" if dtype.bits == 32 else "DOUBLE"
        return _PLAIN[dtype.kind] if dtype.kind in _PLAIN else super().type_text(dtype)

    def utc(self, expression: exp.Expression, dtype: DType, *, nanoseconds: bool = False) -> exp.Expression:
        if dtype.kind is not Kind.TIMESTAMPTZ:
            return super().utc(expression, dtype, nanoseconds=nanoseconds)
        local = exp.AtTimeZone(this=expression, zone=exp.Literal.string("UTC"))
        return exp.cast(local, exp.DataType.build("TIMESTAMP"))

    def shift(self, expression: exp.Expression, by: timedelta) -> exp.Expression:
        micros = microseconds(by)
        if micros % 1000:
            raise self.capability_error(
                f"interval of {format_duration(by)}, only whole milliseconds",
                "round the ttl or delay; for `bound: exclusive`, which is a microsecond, say a delay of a millisecond",
            )
        if micros % 1_000_000 == 0:
            return super().shift(expression, by)
        seconds = exp.Literal.string(f"{abs(micros) / 1_000_000:.3f}")
        interval = exp.Interval(this=seconds, unit=exp.var("SECOND"))
        return (exp.Add if micros > 0 else exp.Sub)(this=expression, expression=interval)

    def canonical_json(self, value: exp.Expression) -> exp.Expression:
        return exp.Anonymous(this="JSON_FORMAT", expressions=[exp.cast(value, exp.DataType.build("JSON"))])


DIALECT = Trino()
