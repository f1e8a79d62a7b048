"""Measures of a distribution in an engine's SQL, each with a portable form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from sqlglot import exp

from featurelayer.sql.ast import all_of, call

LARGEST = 1e150
"""Greater numbers are not profiled: their squares would overflow."""


class Measures:
    """Portable measures; a dialect overrides those it can compute faster."""

    def distinct(self, value: exp.Expression) -> exp.Expression:
        """Return the approximate number of distinct values."""
        return exp.ApproxDistinct(this=value)

    def quantiles(self, value: exp.Expression, shares: Sequence[float]) -> exp.Expression:
        """Return an array of the quantiles at these shares."""
        return exp.Array(expressions=[self.quantile(value.copy(), share) for share in shares])

    def quantile(self, value: exp.Expression, share: float) -> exp.Expression:
        """Return one quantile."""
        ordered = exp.Order(expressions=[exp.Ordered(this=value)])
        return exp.WithinGroup(this=exp.PercentileCont(this=exp.Literal.number(share)), expression=ordered)

    def ranks(self, value: exp.Expression, shares: Sequence[float]) -> exp.Expression:
        """Return quantiles of few rows: exact values that occur, where the engine computes them fast."""
        return self.quantiles(value, shares)

    def bins(self, value: exp.Expression, edges: Sequence[float]) -> exp.Expression:
        """Return an array of counts: at or below the first edge, up to the second, ..., above the last."""
        return exp.Array(expressions=[self._between(value, low, high) for low, high in _pairs(edges)])

    def _between(self, value: exp.Expression, low: float | None, high: float | None) -> exp.Expression:
        inside: list[exp.Expression] = []
        if low is not None:
            inside.append(exp.GT(this=value.copy(), expression=double_literal(low)))
        if high is not None:
            inside.append(exp.LTE(this=value.copy(), expression=double_literal(high)))
        return count_if(all_of(*inside))

    def sample(self, columns: Sequence[exp.Expression], one_in: int) -> exp.Expression:  # noqa: ARG002 (engines with a hash)
        """Return a condition that about one row in `one_in` meets, the same rows each time where it can hash."""
        return exp.LT(this=exp.Rand(), expression=double_literal(1 / one_in))

    def length(self, value: exp.Expression) -> exp.Expression:
        """Return the length of an array."""
        return exp.ArraySize(this=value)


class ArrayQuantiles(Measures):
    """Quantiles of all shares at once, by a function that takes an array of shares."""

    def __init__(self, function: str) -> None:
        self._function = function

    def quantiles(self, value: exp.Expression, shares: Sequence[float]) -> exp.Expression:
        return call(self._function, value, share_array(shares))


def count_if(condition: exp.Expression) -> exp.Expression:
    """Return the number of rows that meet a condition."""
    return exp.Count(this=exp.Case().when(condition, int_literal(1)))


def double_literal(value: float) -> exp.Expression:
    """Return a number as a literal that no engine takes for a decimal."""
    literal = exp.Literal.number(repr(abs(float(value))))
    signed: exp.Expression = exp.Neg(this=literal) if value < 0 else literal
    return cast("exp.Expression", exp.cast(signed, exp.DataType.build("DOUBLE")))


def int_literal(value: int) -> exp.Expression:
    """Return a whole number as a literal."""
    return exp.Literal.number(value)


def share_array(shares: Sequence[float]) -> exp.Array:
    """Return shares as an array literal."""
    return exp.Array(expressions=[exp.Literal.number(share) for share in shares])


def _pairs(edges: Sequence[float]) -> list[tuple[float | None, float | None]]:
    return list(zip((None, *edges), (*edges, None), strict=True))
