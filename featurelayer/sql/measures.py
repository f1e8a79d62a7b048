"""How an engine measures a distribution: what differs between engines in a profile, each with a portable form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from sqlglot import exp

from featurelayer.sql.ast import all_of, call

LARGEST = 1e150
"""Greater numbers are not profiled: their squares would overflow."""


class Measures:
    """The portable form; slow where an engine has better."""

    def distinct(self, value: exp.Expression) -> exp.Expression:
        """About how many different values there are."""
        return exp.ApproxDistinct(this=value)

    def quantiles(self, value: exp.Expression, shares: Sequence[float]) -> exp.Expression:
        """An array of the values below which these shares of all lie."""
        return exp.Array(expressions=[self.quantile(value.copy(), share) for share in shares])

    def quantile(self, value: exp.Expression, share: float) -> exp.Expression:
        """One of them."""
        ordered = exp.Order(expressions=[exp.Ordered(this=value)])
        return exp.WithinGroup(this=exp.PercentileCont(this=exp.Literal.number(share)), expression=ordered)

    def ranks(self, value: exp.Expression, shares: Sequence[float]) -> exp.Expression:
        """The same, of few rows: exact, and values that occur, where the engine can do that soon."""
        return self.quantiles(value, shares)

    def bins(self, value: exp.Expression, edges: Sequence[float]) -> exp.Expression:
        """An array of counts: at or below the first edge, up to the second, ..., above the last."""
        return exp.Array(expressions=[self._between(value, low, high) for low, high in _pairs(edges)])

    def _between(self, value: exp.Expression, low: float | None, high: float | None) -> exp.Expression:
        inside: list[exp.Expression] = []
        if low is not None:
            inside.append(exp.GT(this=value.copy(), expression=double_literal(low)))
        if high is not None:
            inside.append(exp.LTE(this=value.copy(), expression=double_literal(high)))
        return count_if(all_of(*inside))

    def sample(self, columns: Sequence[exp.Expression], one_in: int) -> exp.Expression:  # noqa: ARG002 (engines with a hash)
        """A condition that about one row in so many fulfils; the same rows each time where the engine can hash."""
        return exp.LT(this=exp.Rand(), expression=double_literal(1 / one_in))

    def length(self, value: exp.Expression) -> exp.Expression:
        """How many elements an array has."""
        return exp.ArraySize(this=value)


class DuckDBMeasures(Measures):
    """One pass of a t-digest for all quantiles, one search per value for all bins."""

    def quantiles(self, value: exp.Expression, shares: Sequence[float]) -> exp.Expression:
        return call("APPROX_QUANTILE", value, _shares(shares))

    def ranks(self, value: exp.Expression, shares: Sequence[float]) -> exp.Expression:
        return call("QUANTILE_DISC", value, _shares(shares))

    def bins(self, value: exp.Expression, edges: Sequence[float]) -> exp.Expression:
        found = call("HISTOGRAM", value, exp.Array(expressions=[double_literal(edge) for edge in edges]))
        return call("MAP_VALUES", found)

    def sample(self, columns: Sequence[exp.Expression], one_in: int) -> exp.Expression:
        remainder = exp.Mod(this=call("HASH", *columns), expression=int_literal(one_in))
        return exp.EQ(this=remainder, expression=int_literal(0))


class PostgresMeasures(Measures):
    """All quantiles in one sort; there is no approximate count of distinct values without an extension."""

    def distinct(self, value: exp.Expression) -> exp.Expression:
        return exp.Count(this=exp.Distinct(expressions=[value]))

    def quantiles(self, value: exp.Expression, shares: Sequence[float]) -> exp.Expression:
        ordered = exp.Order(expressions=[exp.Ordered(this=value)])
        return exp.WithinGroup(this=exp.PercentileDisc(this=_shares(shares)), expression=ordered)

    def sample(self, columns: Sequence[exp.Expression], one_in: int) -> exp.Expression:
        text = exp.cast(exp.Anonymous(this="ROW", expressions=list(columns)), exp.DataType.build("TEXT"))
        remainder = exp.Mod(this=call("HASHTEXTEXTENDED", text, int_literal(0)), expression=int_literal(one_in))
        return exp.EQ(this=remainder, expression=int_literal(0))

    def length(self, value: exp.Expression) -> exp.Expression:
        return call("CARDINALITY", value)


class SparkMeasures(Measures):
    """Approximate percentiles of all shares at once."""

    def quantiles(self, value: exp.Expression, shares: Sequence[float]) -> exp.Expression:
        return call("PERCENTILE_APPROX", value, _shares(shares))

    def sample(self, columns: Sequence[exp.Expression], one_in: int) -> exp.Expression:
        return exp.EQ(this=call("PMOD", call("XXHASH64", *columns), int_literal(one_in)), expression=int_literal(0))


class TrinoMeasures(Measures):
    """Approximate percentiles of all shares at once."""

    def quantiles(self, value: exp.Expression, shares: Sequence[float]) -> exp.Expression:
        return call("APPROX_PERCENTILE", value, _shares(shares))


class BigQueryMeasures(Measures):
    """Approximate percentiles by their rank among a thousand."""

    def quantile(self, value: exp.Expression, share: float) -> exp.Expression:
        ranks = exp.Anonymous(this="APPROX_QUANTILES", expressions=[value, int_literal(1000)])
        return exp.Bracket(
            this=ranks, expressions=[exp.Anonymous(this="OFFSET", expressions=[int_literal(round(share * 1000))])]
        )


class SnowflakeMeasures(Measures):
    """Approximate percentiles, one by one."""

    def quantile(self, value: exp.Expression, share: float) -> exp.Expression:
        return exp.Anonymous(this="APPROX_PERCENTILE", expressions=[value, exp.Literal.number(share)])


_ENGINES: dict[str, Measures] = {
    "duckdb": DuckDBMeasures(),
    "postgres": PostgresMeasures(),
    "spark": SparkMeasures(),
    "databricks": SparkMeasures(),
    "trino": TrinoMeasures(),
    "bigquery": BigQueryMeasures(),
    "snowflake": SnowflakeMeasures(),
}
_PORTABLE = Measures()


def measures(engine: str) -> Measures:
    """Return how an engine measures."""
    return _ENGINES.get(engine, _PORTABLE)


def count_if(condition: exp.Expression) -> exp.Expression:
    """How many rows fulfil a condition."""
    return exp.Count(this=exp.Case().when(condition, int_literal(1)))


def double_literal(value: float) -> exp.Expression:
    """A number as a literal that no engine takes for a decimal."""
    literal = exp.Literal.number(repr(abs(float(value))))
    signed: exp.Expression = exp.Neg(this=literal) if value < 0 else literal
    return cast("exp.Expression", exp.cast(signed, exp.DataType.build("DOUBLE")))


def int_literal(value: int) -> exp.Expression:
    """A whole number as a literal."""
    return exp.Literal.number(value)


def _shares(shares: Sequence[float]) -> exp.Array:
    return exp.Array(expressions=[exp.Literal.number(share) for share in shares])


def _pairs(edges: Sequence[float]) -> list[tuple[float | None, float | None]]:
    return list(zip((None, *edges), (*edges, None), strict=True))
