"""SQL text for people and for any session: sqlglot's dialects with an explicit NULL order and readable windows."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.generator import Generator

_ON_ONE_LINE = 3


def sqlglot_dialect(engine: str, *, timestamp: str = "", null_order: str = "nulls_are_large") -> Dialect:
    """Return sqlglot's dialect of the engine with two changes.

    The order of NULLs is always written, because a session can change it. A window that is ordered by many columns has
    one on each line. `timestamp` is how a naive timestamp is written, where sqlglot's word for it means something else.
    """
    dialect = Dialect.get_or_raise(engine)
    dialect.NULL_ORDERING = null_order
    # Change the instance only: the class is shared by all users of sqlglot.
    dialect.generator_class = _readable_generator(dialect.generator_class, timestamp)
    return dialect


def _readable_generator(generator: type[Generator], timestamp: str) -> type[Generator]:
    types = generator.TYPE_MAPPING

    class Readable(generator):  # type: ignore[misc, valid-type]
        TYPE_MAPPING: ClassVar[Any] = {**types, exp.DataType.Type.TIMESTAMP: timestamp} if timestamp else types

        def order_sql(self, expression: exp.Order, flat: bool = False) -> str:
            many = len(expression.expressions) > _ON_ONE_LINE
            text: str = super().order_sql(expression, flat=flat and not many)
            return text.lstrip() if flat else text

    return Readable
