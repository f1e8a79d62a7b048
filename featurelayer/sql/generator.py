"""Writes an engine's SQL for readers and for any session."""

from __future__ import annotations

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.generator import Generator

_ON_ONE_LINE = 3


def sqlglot_dialect(engine: str) -> Dialect:
    """Return the engine as sqlglot knows it, but for two things.

    The order of NULLs is said always, because a session can change it; and a window that is ordered by many columns
    has one on each line.
    """
    found = Dialect.get_or_raise(engine)
    found.NULL_ORDERING = "nulls_are_large"
    # An instance's own: the class serves everybody who uses sqlglot.
    found.generator_class = _readable(found.generator_class)
    return found


def _readable(generator: type[Generator]) -> type[Generator]:
    class Readable(generator):  # type: ignore[misc, valid-type]
        def order_sql(self, expression: exp.Order, flat: bool = False) -> str:
            many = len(expression.expressions) > _ON_ONE_LINE
            text: str = super().order_sql(expression, flat=flat and not many)
            return text.lstrip() if flat else text

    return Readable
