"""Convert a DB-API cursor's description to types of ours and of Arrow, and its rows to Arrow columns.

A driver describes a column's type by its name (DuckDB, Trino, ClickHouse), by PostgreSQL's number for it (psycopg2,
redshift_connector), or by Snowflake's. A type that none tells is text, as the driver writes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from sqlglot import exp
from sqlglot.errors import SqlglotError

from featurelayer.model import Column, DType, Kind

_T = exp.DataType.Type
_SIZED = {
    _T.TINYINT: (Kind.INT, 8), _T.SMALLINT: (Kind.INT, 16), _T.INT: (Kind.INT, 32), _T.BIGINT: (Kind.INT, 64),
    _T.UTINYINT: (Kind.UINT, 8), _T.USMALLINT: (Kind.UINT, 16), _T.UINT: (Kind.UINT, 32), _T.UBIGINT: (Kind.UINT, 64),
    _T.FLOAT: (Kind.FLOAT, 32), _T.DOUBLE: (Kind.FLOAT, 64),
}  # fmt: skip
_KINDS = {
    _T.BOOLEAN: Kind.BOOL, _T.VARCHAR: Kind.TEXT, _T.TEXT: Kind.TEXT, _T.CHAR: Kind.TEXT, _T.NVARCHAR: Kind.TEXT,
    _T.NCHAR: Kind.TEXT, _T.BINARY: Kind.BYTES, _T.VARBINARY: Kind.BYTES, _T.BLOB: Kind.BYTES, _T.DATE: Kind.DATE,
    _T.DATE32: Kind.DATE, _T.TIME: Kind.TIME, _T.TIMESTAMP: Kind.TIMESTAMP, _T.TIMESTAMPNTZ: Kind.TIMESTAMP,
    _T.DATETIME: Kind.TIMESTAMP, _T.DATETIME64: Kind.TIMESTAMP, _T.TIMESTAMP_NS: Kind.TIMESTAMP,
    _T.TIMESTAMP_MS: Kind.TIMESTAMP, _T.TIMESTAMP_S: Kind.TIMESTAMP, _T.TIMESTAMPTZ: Kind.TIMESTAMPTZ,
    _T.TIMESTAMPLTZ: Kind.TIMESTAMPTZ, _T.UUID: Kind.UUID, _T.JSON: Kind.JSON, _T.JSONB: Kind.JSON,
    _T.VARIANT: Kind.JSON, _T.SUPER: Kind.JSON, _T.INTERVAL: Kind.INTERVAL, _T.STRUCT: Kind.STRUCT, _T.MAP: Kind.MAP,
}  # fmt: skip
# PostgreSQL's type OIDs, those of arrays separately.
_NUMBERS = {
    16: "BOOLEAN", 17: "BYTEA", 18: "TEXT", 19: "TEXT", 20: "BIGINT", 21: "SMALLINT", 23: "INTEGER", 25: "TEXT",
    114: "JSON", 700: "REAL", 701: "DOUBLE PRECISION", 1042: "TEXT", 1043: "TEXT", 1082: "DATE", 1083: "TIME",
    1114: "TIMESTAMP", 1184: "TIMESTAMPTZ", 1186: "INTERVAL", 1700: "NUMERIC", 2950: "UUID", 3802: "JSON",
}  # fmt: skip
_ARRAYS = {1000: 16, 1005: 21, 1007: 23, 1009: 25, 1015: 25, 1016: 20, 1021: 700, 1022: 701, 1115: 1114, 1182: 1082,
           1185: 1184, 1231: 1700, 2951: 2950}  # fmt: skip
_NUMERIC = 1700
# Snowflake's connector: FIELD_TYPES, in the order of their numbers, the first of which is FIXED.
_SNOWFLAKE = (
    "NUMBER", "DOUBLE", "TEXT", "DATE", "TIMESTAMP", "VARIANT", "TIMESTAMP_LTZ", "TIMESTAMP_TZ", "TIMESTAMP_NTZ",
    "OBJECT", "ARRAY", "BINARY", "TIME", "BOOLEAN",
)  # fmt: skip
# Every integer there is NUMBER(38, 0), however it was declared.
_WHOLE_DIGITS = 38
# The size assumed for an unsized NUMERIC: it has any number of digits, an Arrow decimal 38 or 76.
_LARGEST = DType(kind=Kind.DECIMAL, precision=76, scale=38)
_ARROW = {
    Kind.BOOL: pa.bool_(), Kind.BYTES: pa.binary(), Kind.DATE: pa.date32(), Kind.TIME: pa.time64("us"),
    Kind.TIMESTAMP: pa.timestamp("us"), Kind.TIMESTAMPTZ: pa.timestamp("us", "UTC"), Kind.INTERVAL: pa.duration("us"),
}  # fmt: skip
_MIDNIGHT = time()


def columns_of(description: Sequence[Sequence[Any]], dialect: str) -> tuple[Column, ...]:
    """Return the columns of a cursor's description."""
    return tuple(_column(entry, dialect) for entry in description)


def _column(description: Sequence[Any], dialect: str) -> Column:
    name, code = description[0], description[1]
    if not isinstance(code, int):
        text = str(code)
        return Column(name=name, dtype=dtype_of(text, dialect), nanoseconds=_has_nanoseconds(text))
    if code in _ARRAYS:
        return Column(name=name, dtype=DType(kind=Kind.ARRAY, element=_dtype_by_oid(_ARRAYS[code])))
    precision, scale = (*description, None, None, None, None)[4:6]
    if dialect == "snowflake":
        return _snowflake_column(name, code, precision, scale or 0)
    if code == _NUMERIC and precision and 0 < precision <= 76:
        return Column(name=name, dtype=DType(kind=Kind.DECIMAL, precision=precision, scale=scale or 0))
    return Column(name=name, dtype=_dtype_by_oid(code))


def _snowflake_column(name: str, code: int, precision: int | None, scale: int) -> Column:
    kind = _SNOWFLAKE[code] if code < len(_SNOWFLAKE) else ""
    if kind == "NUMBER" and scale == 0 and precision in (None, _WHOLE_DIGITS):
        return Column(name=name, dtype=DType(kind=Kind.INT, bits=64))
    if kind == "NUMBER":
        return Column(name=name, dtype=DType(kind=Kind.DECIMAL, precision=precision, scale=scale))
    if kind in ("OBJECT", "ARRAY"):  # arrays of any type arrive as JSON text
        return Column(name=name, dtype=DType(kind=Kind.JSON))
    return Column(name=name, dtype=dtype_of(kind, "snowflake"), nanoseconds="TIMESTAMP" in kind and scale > 6)


def _dtype_by_oid(code: int) -> DType:
    return dtype_of(_NUMBERS[code], "postgres") if code in _NUMBERS else DType(kind=Kind.UNKNOWN)


def _has_nanoseconds(text: str) -> bool:
    return text.upper().startswith(("TIMESTAMP_NS", "TIMESTAMP(9)", "DATETIME64(9"))


def dtype_of(text: str, dialect: str) -> DType:
    """Parse an engine's type text; a type without an equivalent is unknown."""
    try:
        parsed = exp.DataType.build(text, dialect=dialect)
    except SqlglotError:
        return DType(kind=Kind.UNKNOWN)
    return _dtype(parsed)


def _dtype(found: exp.DataType) -> DType:
    kind = found.this
    if kind in _SIZED:
        family, bits = _SIZED[kind]
        return DType(kind=family, bits=bits)
    if kind in (_T.DECIMAL, _T.BIGDECIMAL):
        sizes = [int(size.name) for size in found.expressions if size.name.isdigit()]
        return DType(kind=Kind.DECIMAL, precision=sizes[0], scale=(*sizes, 0)[1]) if sizes else _LARGEST
    if kind in (_T.ARRAY, _T.LIST) and found.expressions:
        return DType(kind=Kind.ARRAY, element=_dtype(found.expressions[0]))
    return DType(kind=_KINDS.get(kind, Kind.UNKNOWN))


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """Return the Arrow schema of columns."""
    return pa.schema([pa.field(column.name, arrow_type(column.dtype)) for column in columns])


def arrow_type(dtype: DType) -> pa.DataType:
    """Return the Arrow type of a column; JSON, records and unknown types arrive as text."""
    match dtype.kind:
        case Kind.INT | Kind.UINT | Kind.FLOAT:
            return getattr(pa, f"{dtype.kind}{dtype.bits}")()
        case Kind.DECIMAL:
            wide = (dtype.precision or 0) > 38
            return (pa.decimal256 if wide else pa.decimal128)(dtype.precision, dtype.scale)
        case Kind.ARRAY:
            assert dtype.element is not None, "an array has an element"
            return pa.list_(arrow_type(dtype.element))
    return _ARROW.get(dtype.kind, pa.string())


def batch_of(rows: Sequence[Sequence[Any]], columns: Sequence[Column], schema: pa.Schema) -> pa.RecordBatch:
    """Convert fetched rows to a batch."""
    arrays = [
        pa.array([_value(row[position], column.dtype) for row in rows], field.type)
        for position, (column, field) in enumerate(zip(columns, schema, strict=True))
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _value(value: Any, dtype: DType) -> Any:
    """Convert a driver's value to one that Arrow accepts."""
    if value is None:
        return None
    convert = _CONVERT.get(dtype.kind)
    if dtype.kind is Kind.ARRAY and not isinstance(value, str):
        assert dtype.element is not None, "an array has an element"
        return [_value(item, dtype.element) for item in value]
    return convert(value) if convert else value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else str(value)


def _instant(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value


def _naive(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo is not None else value
    return value


def _date(value: Any) -> Any:
    return value.date() if isinstance(value, datetime) and value.time() == _MIDNIGHT else value


_CONVERT: dict[Kind, Callable[[Any], Any]] = {
    Kind.BYTES: bytes,
    Kind.FLOAT: float,
    Kind.INT: int,
    Kind.UINT: int,
    Kind.DECIMAL: lambda value: value if isinstance(value, Decimal) else Decimal(str(value)),
    Kind.DATE: _date,
    Kind.TIMESTAMP: _naive,
    Kind.TIMESTAMPTZ: _instant,
    Kind.INTERVAL: lambda value: value if isinstance(value, timedelta) else None,
    **dict.fromkeys((Kind.TEXT, Kind.UUID, Kind.JSON, Kind.STRUCT, Kind.MAP, Kind.UNKNOWN), _text),
}
