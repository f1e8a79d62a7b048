"""BigQuery: the portable script; it has no as-of join.

Not run by us: reviewed against the documentation, which is cited where it decided something. The form of the script is
run on DuckDB.

- A naive time is a DATETIME, an instant a TIMESTAMP.
- Temporary tables belong to a script or a session, so the statements must run in one of them
  (cloud.google.com/bigquery/docs/sessions).
- NULL is the lowest value, which is what rule 3 asks for, and windows take no NULLS LAST; NaN is the next lowest, which
  is not (cloud.google.com/bigquery/docs/reference/standard-sql/data-types, "Ordering floating points").
- A NULL array becomes an empty one where it is stored (the same page, "NULLs and the ARRAY type").
- INTERVAL takes a number and not a text.
"""

from __future__ import annotations

from datetime import timedelta

from sqlglot import exp

from featurelayer.durations import microseconds
from featurelayer.model import DType, Kind
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.measures import Measures, int_literal
from featurelayer.sql.plan import Statement
from featurelayer.sql.sql_builder import UNITS

_PLAIN = {
    Kind.BOOL: "BOOL",
    Kind.FLOAT: "FLOAT64",
    Kind.TEXT: "STRING",
    Kind.UUID: "STRING",
    Kind.BYTES: "BYTES",
    Kind.DATE: "DATE",
    Kind.TIME: "TIME",
    Kind.TIMESTAMP: "DATETIME",
    Kind.TIMESTAMPTZ: "TIMESTAMP",
    Kind.JSON: "JSON",
    Kind.INTERVAL: "INTERVAL",
}
# NUMERIC has 29 digits before the point and nine after it.
_WHOLE, _FRACTION = 29, 9


class _BigQueryMeasures(Measures):
    """Approximate percentiles by their rank among a thousand."""

    def quantile(self, value: exp.Expression, share: float) -> exp.Expression:
        ranks = exp.Anonymous(this="APPROX_QUANTILES", expressions=[value, int_literal(1000)])
        return exp.Bracket(
            this=ranks, expressions=[exp.Anonymous(this="OFFSET", expressions=[int_literal(round(share * 1000))])]
        )


class BigQuery(Dialect):
    """BigQuery, in a session or as one script."""

    name = "bigquery"
    text_type = "STRING"
    without_null = (Kind.ARRAY,)
    null_order = "nulls_are_small"
    has_cte_hint = False
    has_stable_order = False
    folds_names = True
    measures = _BigQueryMeasures()
    session = (Statement(sql="SET @@time_zone = 'UTC'", comment="Times without a zone are UTC (rule 8)."),)

    def sql(self, expression: exp.Expression) -> str:
        for ordered in expression.find_all(exp.Ordered):
            # The engine's default order: NULL before all values, and after them if descending.
            ordered.set("nulls_first", not ordered.args.get("desc"))
        return super().sql(expression)

    def type_text(self, dtype: DType) -> str:
        match dtype.kind:
            case Kind.INT | Kind.UINT:
                return "INT64" if dtype.kind is Kind.INT or (dtype.bits or 64) < 64 else "NUMERIC(20, 0)"
            case Kind.DECIMAL:
                precision, scale = dtype.precision or 0, dtype.scale or 0
                small = scale <= _FRACTION and precision - scale <= _WHOLE
                return f"{'NUMERIC' if small else 'BIGNUMERIC'}({precision}, {scale})"
        if dtype.kind not in _PLAIN:
            raise self.capability_error(f"columns of {dtype} that can be cast to", "split it into columns")
        return _PLAIN[dtype.kind]

    def utc(self, expression: exp.Expression, dtype: DType, *, nanoseconds: bool = False) -> exp.Expression:
        if dtype.kind is Kind.TIMESTAMPTZ:
            return exp.Anonymous(this="DATETIME", expressions=[expression, exp.Literal.string("UTC")])
        return super().utc(expression, dtype, nanoseconds=nanoseconds)

    def instant(self, expression: exp.Expression) -> exp.Expression:
        return exp.Anonymous(this="TIMESTAMP", expressions=[expression, exp.Literal.string("UTC")])

    def shift(self, expression: exp.Expression, by: timedelta) -> exp.Expression:
        micros = microseconds(by)
        if micros == 0:
            return expression
        unit, size = next((unit, size) for unit, size in UNITS if micros % size == 0)
        function = exp.DatetimeAdd if micros > 0 else exp.DatetimeSub
        return function(this=expression, expression=exp.Literal.number(abs(micros) // size), unit=exp.var(unit))

    def micros(self, expression: exp.Expression) -> exp.Expression:
        instant = exp.Anonymous(this="TIMESTAMP", expressions=[expression, exp.Literal.string("UTC")])
        return exp.Anonymous(this="UNIX_MICROS", expressions=[instant])

    def is_nan(self, value: exp.Expression) -> exp.Expression:
        return exp.Anonymous(this="IS_NAN", expressions=[value])

    def canonical_json(self, value: exp.Expression) -> exp.Expression:
        return exp.Anonymous(this="TO_JSON_STRING", expressions=[value])

    def fail(self, message: exp.Expression) -> exp.Expression:
        return exp.cast(exp.Anonymous(this="ERROR", expressions=[message]), exp.DataType.build("BIGINT"))


DIALECT = BigQuery()
