"""Parses a warehouse's type text to a `DType`, by adapter: `DECIMAL(18,4)`, `FLOAT[3]`, `STRUCT<a INT64>`.

Scalars are read from a table; sqlglot is asked (and imported) only for nested types and unusual spellings.
"""

from __future__ import annotations

import functools
import re

from featurelayer.model import DType, Kind

UNKNOWN = DType(kind=Kind.UNKNOWN)
BARE_NUMBER = re.compile(r"\s*(?:number|numeric|decimal|dec|bignumeric)\s*", re.IGNORECASE)
"""What the catalogs of some engines call every number, whatever its size."""
_SCALAR = re.compile(
    r"\s*([a-z_][a-z0-9_ ]*?)\s*(?:\(\s*([^()]*?)\s*\))?\s*((?:with|without)(?: local)? time zone)?\s*", re.IGNORECASE
)
_WRAPPER = re.compile(r"\s*(?:nullable|lowcardinality)\s*\((.*)\)\s*", re.IGNORECASE | re.DOTALL)
_VECTOR = re.compile(r"\s*vector\s*\(\s*(?:(float|int)\s*,\s*)?\d+\s*\)\s*", re.IGNORECASE)
_TEXT_LIKE = re.compile(r"\s*enum\d*\s*\(", re.IGNORECASE)

_BITS = {
    (Kind.INT, 8): "tinyint byteint byte int1",
    (Kind.INT, 16): "smallint short int2 int16 smallserial",
    (Kind.INT, 32): "integer int signed int4 int32 mediumint serial",
    (Kind.INT, 64): "bigint long int8 int64 oid bigserial",
    (Kind.INT, 128): "hugeint int128",
    (Kind.UINT, 8): "utinyint uint8",
    (Kind.UINT, 16): "usmallint uint16",
    (Kind.UINT, 32): "uinteger uint32",
    (Kind.UINT, 64): "ubigint uint64",
    (Kind.UINT, 128): "uhugeint uint128",
    (Kind.FLOAT, 32): "float real float4 float32",
    (Kind.FLOAT, 64): "double float8 float64 double precision",
}
_PLAIN = {
    Kind.BOOL: "boolean bool logical",
    Kind.TEXT: (
        "varchar text string char character bpchar nvarchar nchar character varying nvarchar2 varchar2 "
        "fixedstring enum citext name"
    ),
    Kind.BYTES: "blob bytea binary varbinary bytes",
    Kind.DATE: "date date32",
    Kind.TIME: "time timetz",
    Kind.TIMESTAMP: (
        "timestamp datetime timestamp_s timestamp_ms timestamp_us timestamp_ns timestamp_ntz timestampntz "
        "datetime2 datetime64"
    ),
    Kind.TIMESTAMPTZ: "timestamptz timestamp_tz timestamp_ltz timestampltz timestamptz_ns datetimeoffset",
    Kind.UUID: "uuid uniqueidentifier guid",
    Kind.JSON: "json jsonb variant super object",
    Kind.INTERVAL: "interval",
}
_MULTI_WORD = ("double precision", "character varying")


def _table() -> dict[str, DType]:
    table: dict[str, DType] = {}
    for (kind, bits), names in _BITS.items():
        table |= {name: DType(kind=kind, bits=bits) for name in _words(names)}
    for kind, names in _PLAIN.items():
        table |= {name: DType(kind=kind) for name in _words(names)}
    return table


def _words(names: str) -> list[str]:
    phrases = []
    for phrase in _MULTI_WORD:
        if phrase in names:
            phrases.append(phrase)
            names = names.replace(phrase, "")
    return phrases + names.split()


_SCALARS = _table()
_INT64, _FLOAT32, _FLOAT64 = (DType.parse(name) for name in ("int64", "float32", "float64"))
_INSTANT, _NAIVE, _JSON = (DType(kind=kind) for kind in (Kind.TIMESTAMPTZ, Kind.TIMESTAMP, Kind.JSON))

# Type names that mean another type than in most engines.
_WHOLE = dict.fromkeys(("int", "integer", "smallint", "tinyint", "byteint"), _INT64)
_OVERRIDES: dict[str, dict[str, DType]] = {
    "bigquery": {**_WHOLE, "float": _FLOAT64, "timestamp": _INSTANT},
    "snowflake": {
        **_WHOLE,
        "float": _FLOAT64,
        "float4": _FLOAT64,
        "real": _FLOAT64,
        "double": _FLOAT64,
        "array": _JSON,
    },
    "postgres": {"float": _FLOAT64},
    "redshift": {"float": _FLOAT64},
    "spark": {"timestamp": _INSTANT},
    "databricks": {"timestamp": _INSTANT},
    "clickhouse": {
        **{f"int{bits}": DType(kind=Kind.INT, bits=bits) for bits in (8, 16, 32, 64, 128)},
        "datetime": _INSTANT,
        "datetime64": _INSTANT,
        "timestamp": _INSTANT,
    },
}
# Default precision and scale of a decimal; PostgreSQL's is unbounded, so it has none.
_BARE_DECIMAL = {
    "duckdb": (18, 3),
    "snowflake": (38, 0),
    "bigquery": (38, 9),
    "spark": (10, 0),
    "databricks": (10, 0),
    "redshift": (18, 0),
    "trino": (38, 0),
}
_WIDEST = 128
_DECIMALS = frozenset({"decimal", "numeric", "number", "dec", "bignumeric", "bigdecimal"})
_SQLGLOT = {"sqlserver": "tsql", "fabric": "tsql", "athena": "athena", "synapse": "tsql"}


@functools.lru_cache(maxsize=4096)
def dtype_of(text: str, adapter: str) -> DType:
    """Parse a warehouse's type text for a dbt adapter; the unknown type if it can't be parsed."""
    if wrapped := _WRAPPER.fullmatch(text):
        return dtype_of(wrapped[1], adapter)
    if vector := _VECTOR.fullmatch(text):
        return DType(kind=Kind.ARRAY, element=DType.parse("int32") if (vector[1] or "").lower() == "int" else _FLOAT32)
    if _TEXT_LIKE.match(text):
        return DType(kind=Kind.TEXT)
    scalar = _SCALAR.fullmatch(text)
    dtype = _scalar(scalar[1], scalar[2], scalar[3], adapter) if scalar else None
    return dtype or _through_sqlglot(text, adapter)


def value_type(dtype: DType) -> DType:
    """Return a feature's type for a declared type: 128-bit integers become decimals.

    Frames and files have no such integers: DuckDB writes a HUGEINT, such as a sum of BIGINT, to parquet as a double.
    """
    if dtype.kind is Kind.ARRAY and dtype.element is not None:
        return DType(kind=Kind.ARRAY, element=value_type(dtype.element))
    return DType(kind=Kind.DECIMAL, precision=38, scale=0) if dtype.bits == _WIDEST else dtype


def _scalar(name: str, arguments: str | None, zone: str | None, adapter: str) -> DType | None:
    name = " ".join(name.lower().split())
    if zone:
        if name.startswith("timestamp"):
            return _NAIVE if zone.lower().startswith("without") else _INSTANT
        return DType(kind=Kind.TIME) if name == "time" else None
    if name in _DECIMALS:
        return _decimal(name, arguments, adapter)
    if name == "float" and arguments and arguments.isdigit():
        return _FLOAT32 if int(arguments) <= 24 else _FLOAT64
    return _OVERRIDES.get(adapter, {}).get(name) or _SCALARS.get(name)


def _decimal(name: str, arguments: str | None, adapter: str) -> DType:
    if arguments:
        parts = [part.strip() for part in arguments.split(",")]
        if len(parts) <= 2 and all(part.isdigit() for part in parts):
            return DType(kind=Kind.DECIMAL, precision=int(parts[0]), scale=int(parts[1]) if len(parts) == 2 else 0)
        return UNKNOWN
    bare = (76, 38) if name.startswith("big") else _BARE_DECIMAL.get(adapter)
    return DType(kind=Kind.DECIMAL, precision=bare[0], scale=bare[1]) if bare else UNKNOWN


def _through_sqlglot(text: str, adapter: str) -> DType:
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    name = _SQLGLOT.get(adapter, adapter)
    dialect = name if name in {known.value for known in sqlglot.Dialects} else ""
    try:
        parsed = exp.DataType.build(text, dialect=dialect)
    except (SqlglotError, ValueError):
        return UNKNOWN
    return _from_tree(parsed, dialect, adapter)


def _from_tree(parsed: object, dialect: str, adapter: str) -> DType:
    from sqlglot import exp

    if not isinstance(parsed, exp.DataType):
        return UNKNOWN
    kind = parsed.this
    if kind in (exp.DataType.Type.ARRAY, exp.DataType.Type.LIST):
        element = _from_tree(parsed.expressions[0], dialect, adapter) if parsed.expressions else UNKNOWN
        return DType(kind=Kind.ARRAY, element=element)
    if kind is exp.DataType.Type.MAP and len(parsed.expressions) == 2:
        key, value = (_from_tree(inner, dialect, adapter) for inner in parsed.expressions)
        return DType(kind=Kind.MAP, fields=(("key", key), ("value", value)))
    if kind in exp.DataType.STRUCT_TYPES:
        fields = tuple(
            (inner.name, _from_tree(inner.args.get("kind"), dialect, adapter))
            for inner in parsed.expressions
            if isinstance(inner, exp.ColumnDef)
        )
        return DType(kind=Kind.STRUCT, fields=fields) if fields else UNKNOWN
    # A scalar inside, or a spelling that only the dialect knows: its own name first, then DuckDB's for the same type.
    for spelling, engine in ((parsed.sql(dialect=dialect), adapter), (parsed.sql(dialect="duckdb"), "duckdb")):
        scalar = _SCALAR.fullmatch(spelling)
        found = _scalar(scalar[1], scalar[2], scalar[3], engine) if scalar else None
        if found is not None:
            return found
    return UNKNOWN
