"""PostgreSQL's types: what its catalog calls them, what label columns become, and how results become Arrow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from featurelayer.errors import LabelError, Problem, WarehouseError
from featurelayer.model import Column, DType, Kind

_BITS = {"smallint": (Kind.INT, 16), "integer": (Kind.INT, 32), "bigint": (Kind.INT, 64),
         "real": (Kind.FLOAT, 32), "double precision": (Kind.FLOAT, 64)}  # fmt: skip
_KINDS = {
    "boolean": Kind.BOOL, "text": Kind.TEXT, "character varying": Kind.TEXT, "character": Kind.TEXT, "name": Kind.TEXT,
    "bytea": Kind.BYTES, "date": Kind.DATE, "time without time zone": Kind.TIME, "uuid": Kind.UUID,
    "timestamp without time zone": Kind.TIMESTAMP, "timestamp with time zone": Kind.TIMESTAMPTZ,
    "json": Kind.JSON, "jsonb": Kind.JSON, "interval": Kind.INTERVAL,
}  # fmt: skip
_BARE = DType(kind=Kind.DECIMAL, precision=38, scale=18)
"""What a numeric without a precision comes out as, if all its digits have room there."""

_MOST_EXAMPLES = 3

REFUSED = "featurelayer: "
"""What the text starts with that a query of ours was ended with (featurelayer.sql.dialects._postgres_json)."""
# Infinity as the driver returns it: the greatest number, moved from 2000 to 1970 with overflow.
_INFINITE = (946_684_800_000_000 - 1 - 2**63, 10_957 - 1 - 2**31)
SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "cmin", "xmax", "cmax", "tableoid"})


def dtype_of(text: str, *, is_enum: bool = False) -> DType:
    """Parse a type name written by `format_type`."""
    if text.endswith("[]"):
        return DType(kind=Kind.ARRAY, element=dtype_of(text[:-2], is_enum=is_enum))
    if is_enum:
        return DType(kind=Kind.TEXT)
    arguments = re.search(r"\(([\d,-]+)\)", text)
    name = re.sub(r"\([\d,-]+\)", "", text)
    if name in _BITS:
        kind, bits = _BITS[name]
        return DType(kind=kind, bits=bits)
    if name == "numeric" and arguments:
        precision, scale = (int(part) for part in arguments[1].split(","))
        # A numeric(2, -3) is a whole number of thousands, a numeric(2, 5) a fraction with leading zeros.
        return DType(kind=Kind.DECIMAL, precision=max(precision - min(scale, 0), scale), scale=max(scale, 0))
    return DType(kind=_KINDS.get(name, Kind.UNKNOWN))


# --- labels on their way in ---------------------------------------------------------------------------------------


def loadable(reader: pa.RecordBatchReader) -> tuple[pa.RecordBatchReader, list[str]]:
    """Return label batches in types that can be loaded, and the type of each column in PostgreSQL's words.

    Raises:
        LabelError: PostgreSQL lacks a column's type or, when rows are read, can't hold a text.
    """
    homes, problems = [], []
    for field in reader.schema:
        home = _home(field.type)
        if home is None:
            what = f"label column '{field.name}' is {field.type}, for which PostgreSQL has no type"
            problems.append(Problem(what=what, fix="split it into columns, or make it text"))
        elif field.name in SYSTEM_COLUMNS:
            what = f"label column '{field.name}' has the name of a column that every table of PostgreSQL has"
            problems.append(Problem(what=what, fix="rename it"))
        else:
            homes.append(home)
    if problems:
        raise LabelError(problems)
    schema = pa.schema([field.with_type(kind) for field, (kind, _) in zip(reader.schema, homes, strict=True)])

    def batches() -> Iterator[pa.RecordBatch]:
        start = 0
        for batch in reader:
            arrays = [_as(column, kind) for column, kind in zip(batch.columns, schema.types, strict=True)]
            _refuse_zeros(schema.names, arrays, start)
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            start += batch.num_rows

    return pa.RecordBatchReader.from_batches(schema, batches()), [name for _, name in homes]


def _refuse_zeros(names: Sequence[str], columns: Sequence[pa.Array], start: int) -> None:
    """Raise with the columns and rows whose text the server would refuse; the batch begins at row `start`."""
    problems = []
    for name, column in zip(names, columns, strict=True):
        is_list = pa.types.is_list(column.type)
        texts = pc.list_flatten(column) if is_list else column
        if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
            continue
        indices = pc.indices_nonzero(pc.fill_null(pc.match_substring(texts, "\0"), False))[:_MOST_EXAMPLES]
        if len(indices):
            rows = pc.unique(pc.list_parent_indices(column).take(indices) if is_list else indices).to_pylist()
            what = (
                f"label column '{name}' has a zero character (U+0000) in row {', '.join(str(start + n) for n in rows)} "
                "(rows are counted from 0), which PostgreSQL's text can't hold"
            )
            problems.append(Problem(what=what, fix="take the character out, or leave the column out"))
    if problems:
        raise LabelError(problems)


def _as(column: pa.Array, kind: pa.DataType) -> pa.Array:
    column = column.storage if isinstance(column, pa.ExtensionArray) else column
    return column if column.type == kind else column.cast(kind)


_Home = tuple[pa.DataType, str]
_HOMES: tuple[tuple[Callable[[pa.DataType], bool], _Home], ...] = (
    (pa.types.is_null, (pa.string(), "TEXT")),
    (pa.types.is_boolean, (pa.bool_(), "BOOLEAN")),
    (pa.types.is_int8, (pa.int16(), "SMALLINT")),
    (pa.types.is_int16, (pa.int16(), "SMALLINT")),
    (pa.types.is_uint8, (pa.int16(), "SMALLINT")),
    (pa.types.is_int32, (pa.int32(), "INTEGER")),
    (pa.types.is_uint16, (pa.int32(), "INTEGER")),
    (pa.types.is_int64, (pa.int64(), "BIGINT")),
    (pa.types.is_uint32, (pa.int64(), "BIGINT")),
    (pa.types.is_uint64, (pa.decimal128(20, 0), "NUMERIC(20, 0)")),
    (pa.types.is_float16, (pa.float32(), "REAL")),
    (pa.types.is_float32, (pa.float32(), "REAL")),
    (pa.types.is_float64, (pa.float64(), "DOUBLE PRECISION")),
    (pa.types.is_string, (pa.string(), "TEXT")),
    (pa.types.is_large_string, (pa.large_string(), "TEXT")),
    (pa.types.is_string_view, (pa.large_string(), "TEXT")),
    (pa.types.is_binary, (pa.binary(), "BYTEA")),
    (pa.types.is_large_binary, (pa.large_binary(), "BYTEA")),
    (pa.types.is_binary_view, (pa.large_binary(), "BYTEA")),
    (pa.types.is_fixed_size_binary, (pa.binary(), "BYTEA")),
    (pa.types.is_date, (pa.date32(), "DATE")),
    (pa.types.is_time, (pa.time64("us"), "TIME")),
)


def _home(kind: pa.DataType) -> _Home | None:
    """Return the Arrow type in which a column is loaded, and its PostgreSQL type."""
    if isinstance(kind, pa.BaseExtensionType):
        uuid = kind.extension_name == "arrow.uuid"
        return (kind.storage_type, "UUID") if uuid else _home(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _home(kind.value_type)
    if pa.types.is_decimal(kind):
        return kind, f"NUMERIC({kind.precision}, {kind.scale})"
    if pa.types.is_timestamp(kind):
        return (pa.timestamp("us", "UTC"), "TIMESTAMPTZ") if kind.tz else (pa.timestamp("us"), "TIMESTAMP")
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        element = _home(kind.value_type)
        if element is None or element[1].endswith("[]"):
            return None
        return pa.list_(element[0]), f"{element[1]}[]"
    return next((home for test, home in _HOMES if test(kind)), None)


# --- results on their way out -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A query's column as Arrow is to have it: what is selected for it, and the decimal that its text is, if any."""

    name: str
    selected: exp.Expression
    decimal: pa.DataType | None = None


def is_numeric(kind: pa.DataType) -> bool:
    """Whether the driver hands a column on as the text of a numeric, or lists of them."""
    if pa.types.is_list(kind):
        return is_numeric(kind.value_type)
    return _opaque(kind) == "numeric"


def shape_of(field: pa.Field, column: exp.Column, dtype: DType | None) -> Shape:
    """Return how a column becomes Arrow; `dtype` is known of numerics.

    What Arrow has no place for ends the query: infinite times, and arrays whose values have dimensions of their own.
    """
    kind, decimal, selected = field.type, None, cast("exp.Expression", column)
    element = kind.value_type if pa.types.is_list(kind) else kind
    if is_numeric(kind):
        decimal = _decimal(dtype.element if dtype is not None and dtype.kind is Kind.ARRAY else dtype)
    if pa.types.is_list(kind):
        selected = _one_dimension(column)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        selected = _finite(column, kind)
    if decimal is None and (
        _opaque(element) or _extension_name(element) == "arrow.uuid" or pa.types.is_struct(element)
    ):
        selected = exp.cast(selected, "TEXT[]" if pa.types.is_list(kind) else "TEXT", dialect="postgres")
    return Shape(name=field.name, selected=selected, decimal=decimal)


def _finite(column: exp.Column, kind: pa.DataType) -> exp.Expression:
    known = "DATE" if pa.types.is_date(kind) else "TIMESTAMPTZ" if kind.tz else "TIMESTAMP"
    infinite = exp.Not(this=exp.func("ISFINITE", column.copy()))
    message = " has no place in a file or a frame, which have no infinite times; bound it in the model"
    refused = exp.cast(exp.cast(_refusal(column, message), "TEXT"), known, dialect="postgres")
    return exp.Case().when(infinite, refused).else_(column.copy())


def _one_dimension(column: exp.Column) -> exp.Expression:
    several = exp.GT(this=exp.func("ARRAY_NDIMS", column.copy()), expression=exp.Literal.number(1))
    message = " is an array of arrays, which can't leave PostgreSQL as one; make it JSON in the model"
    # A slice keeps the array's own type.
    place = exp.Slice(this=exp.Literal.number(1), expression=_refusal(column, message))
    return exp.Case().when(several, exp.Bracket(this=column.copy(), expressions=[place])).else_(column.copy())


def _refusal(column: exp.Column, message: str) -> exp.Expression:
    """End the query by casting the message to a number: PostgreSQL has no function that raises."""
    refusal = exp.DPipe(this=exp.cast(column.copy(), "TEXT"), expression=exp.Literal.string(message))
    refusal = exp.DPipe(this=exp.Literal.string(REFUSED), expression=refusal)
    return exp.cast(exp.paren(refusal), "INT")


def as_arrow(reader: pa.RecordBatchReader, shapes: Sequence[Shape]) -> pa.RecordBatchReader:
    """Return the driver's batches with decimals as such, JSON as text, and the names of the query.

    Raises:
        WarehouseError: (when it is read) a numeric has more digits than its column has room for.
    """
    fields = [
        pa.field(shape.name, _target(field.type, shape)) for field, shape in zip(reader.schema, shapes, strict=True)
    ]
    schema = pa.schema(fields)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            arrays = [
                _convert(column, field.type, shape)
                for column, field, shape in zip(batch.columns, fields, shapes, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def python_rows(table: pa.Table) -> list[tuple[Any, ...]]:
    """Return a small result as Python values: numerics as Decimal, infinite times as the first or last there is."""
    columns = [_python(column.combine_chunks()) for column in table.columns]
    return list(zip(*columns, strict=True)) if columns else []


def _python(column: pa.Array) -> list[Any]:
    numeric = is_numeric(column.type)
    column = (
        column.storage
        if isinstance(column, pa.ExtensionArray) and _extension_name(column.type) != "arrow.uuid"
        else column
    )
    if numeric:
        return [_number(value) for value in column.to_pylist()]
    try:
        found: list[Any] = column.to_pylist()
    except (OverflowError, ValueError):
        return [_moment(value) for value in column]
    return found


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return [_number(each) for each in value]
    return None if value is None else Decimal(value)


def _moment(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        last = value.value > 0 or value.value in _INFINITE
        if pa.types.is_date(value.type):
            return date.max if last else date.min
        aware = datetime.max.replace(tzinfo=UTC) if last else datetime.min.replace(tzinfo=UTC)
        return aware if value.type.tz else aware.replace(tzinfo=None)


def _target(kind: pa.DataType, shape: Shape) -> pa.DataType:
    if shape.decimal is not None:
        return pa.list_(shape.decimal) if pa.types.is_list(kind) else shape.decimal
    if pa.types.is_list(kind):
        return pa.list_(_plain(kind.value_type))
    return _plain(kind)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _convert(column: pa.Array, target: pa.DataType, shape: Shape) -> pa.Array:
    if pa.types.is_list(column.type):
        values = column.values
        values = values.storage if isinstance(values, pa.ExtensionArray) else values
        if shape.decimal is not None:
            values = _decimals(values, shape)
        mask = column.is_null() if column.null_count else None
        return pa.ListArray.from_arrays(column.offsets, values, type=target, mask=mask)
    column = column.storage if isinstance(column, pa.ExtensionArray) else column
    return _decimals(column, shape) if shape.decimal is not None else column.cast(target)


def _decimals(texts: pa.Array, shape: Shape) -> pa.Array:
    try:
        return texts.cast(shape.decimal)
    except pa.ArrowInvalid as error:
        raise WarehouseError(
            f"column '{shape.name}' has a numeric that is no {shape.decimal}: {str(error).splitlines()[0]}",
            fix="cast it in the model, to numeric(precision, scale) or to double precision",
        ) from error


def _decimal(dtype: DType | None) -> pa.DataType:
    if dtype is None or dtype.kind is not Kind.DECIMAL:
        dtype = _BARE
    precision, scale = dtype.precision or 38, dtype.scale or 0
    if precision > 76:
        return _decimal(None)
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def _extension_name(kind: pa.DataType) -> str:
    return kind.extension_name if isinstance(kind, pa.BaseExtensionType) else ""


def _opaque(kind: pa.DataType) -> str | None:
    """Return PostgreSQL's name of a type that Arrow does not have."""
    return kind.type_name if _extension_name(kind) == "arrow.opaque" else None


def as_column(name: str, text: str, *, is_enum: bool) -> Column:
    """Return a column of the catalog."""
    return Column(name=name, dtype=dtype_of(text, is_enum=is_enum))
