"""Rows as statements that load them into a temporary table: CREATE, then INSERT by up to a thousand rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect

from featurelayer.model import Column, Kind

_ROWS_AT_ONCE = 1000
# In characters; Snowflake takes a statement of 1 MB (docs.snowflake.com/en/user-guide/query-size-limits).
_TEXT_AT_ONCE = 250_000
_TYPES = {
    Kind.BOOL: "BOOLEAN",
    Kind.TEXT: "VARCHAR",
    Kind.DATE: "DATE",
    Kind.TIME: "TIME",
    Kind.TIMESTAMP: "TIMESTAMP",
    Kind.TIMESTAMPTZ: "TIMESTAMPTZ",
    Kind.UUID: "VARCHAR",
    Kind.JSON: "VARCHAR",
    Kind.INTERVAL: "INTERVAL",
}
# Naive times and instants, where a bare TIMESTAMP has fewer digits or another meaning.
_TIMES = {
    "snowflake": ("TIMESTAMP_NTZ(6)", "TIMESTAMP_TZ(6)"),
    "trino": ("TIMESTAMP(6)", "TIMESTAMP(6) WITH TIME ZONE"),
    "clickhouse": ("Nullable(DateTime64(6, 'UTC'))", "Nullable(DateTime64(6, 'UTC'))"),
    "databricks": ("TIMESTAMP_NTZ", "TIMESTAMP"),
    "spark": ("TIMESTAMP_NTZ", "TIMESTAMP"),
}
# ClickHouse reads a zone only where it is asked to; its times are in UTC.
_WITHOUT_ZONE = ("clickhouse",)


def statements(
    dialect: str,
    table: str,
    names: Sequence[str],
    columns: Sequence[Column],
    reader: pa.RecordBatchReader,
    *,
    order: str | None = None,
) -> Iterator[str]:
    """Yield what makes the table and fills it; with `order` a further column of that name counts the rows."""
    writer = Dialect.get_or_raise(dialect)

    def named(name: str) -> str:
        return exp.to_identifier(name, quoted=True).sql(dialect=writer)

    fields = [f"{named(name)} {type_text(column, dialect)}" for name, column in zip(names, columns, strict=True)]
    fields += [f"{named(order)} {exp.DataType.build('BIGINT').sql(dialect=writer)}"] if order else []
    yield f"CREATE TEMPORARY TABLE {named(table)} ({', '.join(fields)})"
    number = 0
    for batch in reader:
        for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
            piece = batch.slice(start, _ROWS_AT_ONCE)
            values = [column.to_pylist() for column in piece.columns]
            values += [list(range(number, number + piece.num_rows))] if order else []
            rows = (
                f"({', '.join(_literal(value, dialect, writer) for value in row)})" for row in zip(*values, strict=True)
            )
            for some in _short(rows):
                yield f"INSERT INTO {named(table)} VALUES {', '.join(some)}"  # noqa: S608 (values are literals)
            number += piece.num_rows


def _short(rows: Iterable[str]) -> Iterator[list[str]]:
    """The rows, as many at once as are not too long together."""
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


def type_text(column: Column, dialect: str) -> str:
    """Return a column's type in an engine's words; any of them may be NULL."""
    dtype = column.dtype
    match dtype.kind:
        case Kind.DECIMAL:
            kind = exp.DataType.build(f"DECIMAL({dtype.precision}, {dtype.scale})")
        case Kind.FLOAT:
            kind = exp.DataType.build("DOUBLE" if dtype.bits == 64 else "FLOAT", dialect="duckdb")
        case Kind.INT | Kind.UINT:
            wide = dtype.kind is Kind.UINT and (dtype.bits or 64) >= 64
            narrow = dtype.kind is Kind.INT and (dtype.bits or 64) <= 32
            kind = exp.DataType.build("DECIMAL(20, 0)" if wide else "INT" if narrow else "BIGINT")
        case Kind.TIMESTAMP | Kind.TIMESTAMPTZ if dialect in _TIMES:
            return _TIMES[dialect][dtype.kind is Kind.TIMESTAMPTZ]
        case _:
            kind = exp.DataType.build(_TYPES[dtype.kind], dialect="duckdb")
    return kind.sql(dialect=dialect)


def _literal(value: Any, dialect: str, writer: Dialect) -> str:
    """A value as SQL: a word, digits, or a text in quotes, so that none can become SQL."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "TRUE" if value else "FALSE"
        case int() | Decimal():
            return str(value)
        case float() if math.isfinite(value) and not (value == 0 and math.copysign(1, value) < 0):
            return repr(value)
        case datetime():
            naive = value.tzinfo is None
            value = value if naive else value.astimezone(UTC)
            text = value.replace(tzinfo=None).isoformat(" ") if dialect in _WITHOUT_ZONE else value.isoformat(" ")
        case date():
            text = value.isoformat()
        case _:
            text = str(value)
    return exp.Literal.string(text).sql(dialect=writer)
