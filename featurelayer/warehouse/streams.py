"""Arrow batches in and out, for engines that can't read and write local files.

Labels are read here, a CSV by DuckDB's rules whatever the engine, so that one file means the same everywhere; results
become parquet or CSV as they arrive, never more than a batch in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from featurelayer.errors import LabelError, Problem
from featurelayer.model import Column, DType, Kind
from featurelayer.warehouse.base import CsvRows

_BATCH_ROWS = 131_072
_MOST_EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRows:
    """Label rows as a stream and the stream's columns."""

    columns: tuple[Column, ...]
    reader: pa.RecordBatchReader


@contextmanager
def read_labels(labels: Path | CsvRows | pa.Table) -> Iterator[LabelRows]:
    """Read the rows of a parquet file, a CSV or a table once, in order.

    Raises:
        LabelError: the file can't be read.
    """
    if isinstance(labels, pa.Table):
        yield _rows(labels.to_reader(_BATCH_ROWS))
    elif isinstance(labels, CsvRows):
        with _read_csv(labels) as rows:
            yield rows
    else:
        with _parquet(labels) as reader:
            yield _rows(reader)


def split_columns(
    labels: Path | CsvRows | pa.Table, columns: Sequence[Column]
) -> tuple[tuple[Column, ...], dict[str, Column]]:
    """Split loaded columns into label columns and, by label column, parsed ones."""
    parsed = labels.parsed if isinstance(labels, CsvRows) else {}
    count = len(columns) - len(parsed)
    return tuple(columns[:count]), dict(zip(parsed, columns[count:], strict=True))


def column_of(field: pa.Field) -> Column:
    """Convert an Arrow field to a column."""
    nanoseconds = pa.types.is_timestamp(field.type) and field.type.unit == "ns"
    return Column(name=field.name, dtype=dtype_of(field.type), nanoseconds=nanoseconds)


def dtype_of(kind: pa.DataType) -> DType:
    """Convert an Arrow type to ours; a type without an equivalent is unknown."""
    if isinstance(kind, pa.BaseExtensionType):
        named = {"arrow.uuid": Kind.UUID, "arrow.json": Kind.JSON}.get(kind.extension_name)
        return DType(kind=named) if named else dtype_of(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return dtype_of(kind.value_type)
    if pa.types.is_integer(kind):
        return DType(kind=Kind.INT if pa.types.is_signed_integer(kind) else Kind.UINT, bits=kind.bit_width)
    if pa.types.is_floating(kind):
        return DType(kind=Kind.FLOAT, bits=max(32, kind.bit_width))
    if pa.types.is_decimal(kind):
        return DType(kind=Kind.DECIMAL, precision=kind.precision, scale=kind.scale)
    if pa.types.is_timestamp(kind):
        return DType(kind=Kind.TIMESTAMPTZ if kind.tz else Kind.TIMESTAMP)
    if any(test(kind) for test in _LISTS):
        return DType(kind=Kind.ARRAY, element=dtype_of(kind.value_type))
    if pa.types.is_struct(kind):
        return DType(kind=Kind.STRUCT, fields=tuple((each.name, dtype_of(each.type)) for each in kind))
    return DType(kind=next((found for test, found in _PLAIN if test(kind)), Kind.UNKNOWN))


_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view)
_PLAIN: tuple[tuple[Callable[[pa.DataType], bool], Kind], ...] = (
    (pa.types.is_boolean, Kind.BOOL),
    (pa.types.is_string, Kind.TEXT),
    (pa.types.is_large_string, Kind.TEXT),
    (pa.types.is_string_view, Kind.TEXT),
    (pa.types.is_binary, Kind.BYTES),
    (pa.types.is_large_binary, Kind.BYTES),
    (pa.types.is_binary_view, Kind.BYTES),
    (pa.types.is_fixed_size_binary, Kind.BYTES),
    (pa.types.is_date, Kind.DATE),
    (pa.types.is_time, Kind.TIME),
    (pa.types.is_duration, Kind.INTERVAL),
    (pa.types.is_interval, Kind.INTERVAL),
    (pa.types.is_map, Kind.MAP),
)


def to_microseconds(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """Convert nanosecond times in the batches to microseconds, for engines without nanoseconds.

    Raises:
        LabelError: (when it is read) a value has a part below the microsecond; the message names column and rows.
    """
    fields = [field.with_type(_microseconds(field.type)) for field in reader.schema]
    if fields == list(reader.schema):
        return reader
    schema = pa.schema(fields)

    def batches() -> Iterator[pa.RecordBatch]:
        start = 0
        for batch in reader:
            for field, column in zip(reader.schema, batch.columns, strict=True):
                _refuse_finer(field, column, start)
            arrays = [column.cast(field.type) for column, field in zip(batch.columns, fields, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            start += batch.num_rows

    return pa.RecordBatchReader.from_batches(schema, batches())


def rename_columns(reader: pa.RecordBatchReader, names: Sequence[str] | None) -> pa.RecordBatchReader:
    """Rename the batches' columns, for engines that truncate or fold the names of a query."""
    if names is None or list(names) == reader.schema.names:
        return reader
    schema = pa.schema([field.with_name(name) for field, name in zip(reader.schema, names, strict=True)])
    batches = (pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in reader)
    return pa.RecordBatchReader.from_batches(schema, batches)


def write_parquet(reader: pa.RecordBatchReader, path: Path) -> int:
    """Write batches to a parquet file and return how many rows there were."""
    import pyarrow.parquet as pq

    rows = 0
    with pq.ParquetWriter(path, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def write_csv(reader: pa.RecordBatchReader, path: Path) -> int:
    """Write batches to a CSV file with a header and return how many rows there were.

    NULL is nothing and empty text is `""`; what is not text is written as Arrow casts it to text, so an engine that
    says its own words for a type has them in the query. Only what needs quotes has them.
    """
    rows = 0
    with path.open("wb") as file:
        header = _csv_lines([pa.array([name], pa.large_string()) for name in reader.schema.names])
        file.write(header)
        for batch in reader:
            file.write(_csv_lines(batch.columns))
            rows += batch.num_rows
    return rows


def _csv_lines(columns: Sequence[pa.Array]) -> bytes:
    fields = [_csv_field(pc.cast(column, pa.large_string())) for column in columns]
    if not fields or not len(fields[0]):
        return b""
    lines = pc.binary_join_element_wise(*fields, pa.scalar(",", pa.large_string()))
    text: bytes = b"\n".join(lines.cast(pa.large_binary()).to_pylist())
    return text + b"\n"


def _csv_field(text: pa.Array) -> pa.Array:
    quote = pa.scalar('"', pa.large_string())
    special = pc.or_(pc.match_substring_regex(text, '[",\r\n]'), pc.equal(text, ""))
    if pc.any(special).as_py():
        doubled = pc.replace_substring(text, '"', '""')
        quoted = pc.binary_join_element_wise(quote, doubled, quote, pa.scalar("", pa.large_string()))
        text = pc.if_else(special, quoted, text)
    return pc.fill_null(text, "")


def _rows(reader: pa.RecordBatchReader) -> LabelRows:
    return LabelRows(columns=tuple(column_of(field) for field in reader.schema), reader=reader)


@contextmanager
def _parquet(path: Path) -> Iterator[pa.RecordBatchReader]:
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, str(error)) from error
    with file:
        yield pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches(_BATCH_ROWS))


@contextmanager
def _read_csv(labels: CsvRows) -> Iterator[LabelRows]:
    import duckdb

    from featurelayer.warehouse.engines.duckdb.warehouse import DuckDBWarehouse

    with closing(DuckDBWarehouse(duckdb.connect())) as files, files.arrow(labels.sql) as reader:
        yield LabelRows(columns=(*labels.columns, *labels.parsed.values()), reader=reader)


def _microseconds(kind: pa.DataType) -> pa.DataType:
    is_finer = pa.types.is_timestamp(kind) and kind.unit == "ns"
    return pa.timestamp("us", kind.tz) if is_finer else kind


def _refuse_finer(field: pa.Field, column: pa.Array, start: int) -> None:
    if _microseconds(field.type) == field.type:
        return
    whole = column.cast(pa.timestamp("us", field.type.tz), safe=False).cast(field.type)
    finer = pc.indices_nonzero(pc.fill_null(pc.not_equal(column, whole), False))[:_MOST_EXAMPLES]
    if len(finer):
        rows = [(column[row.as_py()].cast(pa.string()).as_py(), start + row.as_py()) for row in finer]
        places = ", ".join(f"'{value}' in row {row}" for value, row in rows)
        raise LabelError([Problem(
            what=f"label column '{field.name}' has values finer than a microsecond: {places} "
            "(rows are counted from 0)",
            fix="round them to microseconds; truncating here could move a label past an event",
        )])  # fmt: skip


def _unreadable(path: Path, reason: str) -> LabelError:
    return LabelError([Problem(
        what=f"the labels can't be read: {reason.splitlines()[0]}", where=str(path),
        fix="give a parquet file, a CSV file with a header, or a relation",
    )])  # fmt: skip
