"""Spark's types as ours, and Arrow's as Spark's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from featurelayer.model import DType, Kind

if TYPE_CHECKING:
    import pyarrow as pa

_PLAIN = {
    "boolean": DType(kind=Kind.BOOL),
    "tinyint": DType(kind=Kind.INT, bits=8),
    "smallint": DType(kind=Kind.INT, bits=16),
    "int": DType(kind=Kind.INT, bits=32),
    "bigint": DType(kind=Kind.INT, bits=64),
    "float": DType(kind=Kind.FLOAT, bits=32),
    "double": DType(kind=Kind.FLOAT, bits=64),
    "string": DType(kind=Kind.TEXT),
    "binary": DType(kind=Kind.BYTES),
    "date": DType(kind=Kind.DATE),
    "timestamp": DType(kind=Kind.TIMESTAMPTZ),
    "timestamp_ntz": DType(kind=Kind.TIMESTAMP),
    "variant": DType(kind=Kind.JSON),
}


def dtype_of(kind: Any) -> DType:
    """Convert a Spark type to ours; a type without an equivalent is unknown."""
    name = kind.typeName()
    if name == "array":
        return DType(kind=Kind.ARRAY, element=dtype_of(kind.elementType))
    if name == "struct":
        return DType(kind=Kind.STRUCT, fields=tuple((field.name, dtype_of(field.dataType)) for field in kind.fields))
    if name == "decimal":
        return DType(kind=Kind.DECIMAL, precision=kind.precision, scale=kind.scale)
    if name == "map":
        return DType(kind=Kind.MAP)
    if name in ("char", "varchar"):
        return DType(kind=Kind.TEXT)
    if name.startswith("time("):
        return DType(kind=Kind.TIME)
    if "interval" in name:
        return DType(kind=Kind.INTERVAL)
    return _PLAIN.get(kind.simpleString(), DType(kind=Kind.UNKNOWN))


def as_spark_has_them(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """Convert the batches to types that Spark has and that hold each value exactly.

    Unsigned integers become the next wider signed ones, of 64 bits decimals; encodings are undone.
    """
    import pyarrow as pa

    fields = [field.with_type(_spark_type(field.type)) for field in reader.schema]
    if fields == list(reader.schema):
        return reader
    schema = pa.schema(fields)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            arrays = [column.cast(field.type) for column, field in zip(batch.columns, fields, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _spark_type(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _spark_type(kind.value_type)
    if pa.types.is_unsigned_integer(kind):
        return {8: pa.int16(), 16: pa.int32(), 32: pa.int64()}.get(kind.bit_width, pa.decimal128(20, 0))
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_timestamp(kind):
        # Spark stores instants as UTC microseconds, whatever zone they are shown in.
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if pa.types.is_date64(kind):
        return pa.date32()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_spark_type(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_spark_type(field.type)) for field in kind])
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_null(kind):
        return pa.string()
    return kind
