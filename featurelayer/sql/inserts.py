"""Rows as statements that load them into a temporary table: CREATE, then INSERT by up to a thousand rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from sqlglot import exp

from featurelayer.model import Column
from featurelayer.sql.sql_builder import SqlBuilder

_ROWS_AT_ONCE = 1000
# In characters; Snowflake takes a statement of 1 MB (docs.snowflake.com/en/user-guide/query-size-limits).
_TEXT_AT_ONCE = 250_000


def insert_statements(
    dialect: SqlBuilder,
    table: str,
    names: Sequence[str],
    columns: Sequence[Column],
    rows: Iterable[Sequence[Any]],
    *,
    order: str | None = None,
) -> Iterator[str]:
    """Yield the statements that create and fill the table; `order` names an extra column that counts the rows.

    A row's values are Python's, in the order of the columns.
    """

    def quote_name(name: str) -> str:
        return exp.to_identifier(name, quoted=True).sql(dialect=dialect.name)

    fields = [
        f"{quote_name(name)} {dialect.insert_type(column.dtype)}" for name, column in zip(names, columns, strict=True)
    ]
    fields += [f"{quote_name(order)} {exp.DataType.build('BIGINT').sql(dialect=dialect.name)}"] if order else []
    yield f"CREATE TEMPORARY TABLE {quote_name(table)} ({', '.join(fields)})"
    numbered = ((*row, number) for number, row in enumerate(rows)) if order else (tuple(row) for row in rows)
    texts = (f"({', '.join(map(dialect.insert_value, row))})" for row in numbered)
    while piece := list(islice(texts, _ROWS_AT_ONCE)):
        for some in _chunk(piece):
            yield f"INSERT INTO {quote_name(table)} VALUES {', '.join(some)}"  # noqa: S608 (values are literals)


def _chunk(rows: Iterable[str]) -> Iterator[list[str]]:
    """Yield the rows in chunks below the size limit."""
    some: list[str] = []
    length = 0
    for row in rows:
        if some and length + len(row) > _TEXT_AT_ONCE:
            yield some
            some, length = [], 0
        some.append(row)
        length += len(row)
    if some:
        yield some
