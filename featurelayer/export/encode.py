"""Encode a snapshot's rows for the online store in Python, for values that an engine can't encode exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurelayer.errors import CodecError, PlanError, Problem
from featurelayer.model import DType, FeatureView, Kind
from featurelayer.online.codec import Column, encode_column, encode_microseconds, join_rows
from featurelayer.online.keys import encode_key_column, join_key, key_prefix
from featurelayer.sql.plan import EVENT_MICROS as EVENT_TIME
from featurelayer.sql.plan import VALID_TO_MICROS as VALID_TO

if TYPE_CHECKING:
    import pyarrow as pa


def encode_to_file(view: FeatureView, snapshot: Iterable[pa.RecordBatch], path: Path) -> int:
    """Write a snapshot's encoded rows to a parquet file; return how many rows were skipped for a NULL in the key.

    Each batch has the view's join key columns and features by name, and `__fl_event_time` and `__fl_valid_to` (int64
    microseconds or NULL). The file has `pk`, `f`, `event_time` and `valid_to`.

    Raises:
        CodecError: a value does not fit its declared type.
        PlanError: columns are missing from the snapshot.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("pk", pa.string()), ("f", pa.string()), ("event_time", pa.int64()), ("valid_to", pa.int64())])
    null_keys = 0
    with pq.ParquetWriter(path, schema) as writer:
        for batch in snapshot:
            columns = _encode_batch(view, batch)
            keep = [index for index, pk in enumerate(columns[0]) if pk is not None]
            null_keys += batch.num_rows - len(keep)
            whole = columns if len(keep) == batch.num_rows else [[column[i] for i in keep] for column in columns]
            arrays = [pa.array(column, field.type) for column, field in zip(whole, schema, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
    return null_keys


def _encode_batch(view: FeatureView, batch: pa.RecordBatch) -> list[Sequence[Any]]:
    _validate_columns(view, batch.schema.names)
    prefix = key_prefix(view.entities)
    parts = [_encode_column(view, batch, key.column, key.dtype, encode_key_column) for key in view.join_keys]
    pks = [None if None in key else join_key(prefix, key, where=view.id) for key in zip(*parts, strict=True)]
    columns = [_encode_feature(view, batch, feature.name, feature.dtype, pks) for feature in view.features]
    names = [feature.name for feature in view.features]
    texts = join_rows(columns, batch.num_rows, names, where=view.id)
    events = [None] * batch.num_rows if view.static else _encode_event_times(view, batch, pks)
    return [pks, texts, events, batch.column(VALID_TO).to_pylist()]


def _encode_feature(
    view: FeatureView, batch: pa.RecordBatch, name: str, dtype: DType, pks: Sequence[str | None]
) -> Column:
    """Encode a column; errors name the key of the value."""
    try:
        return _encode_column(view, batch, name, dtype, encode_column)
    except CodecError:
        for row, pk in enumerate(pks):
            try:
                _encode_column(view, batch.slice(row, 1), name, dtype, encode_column)
            except CodecError as error:
                raise CodecError(error.summary, where=f"{pk or 'a row without a key'} of {view.id}") from error
        raise


def _encode_event_times(view: FeatureView, batch: pa.RecordBatch, pks: Sequence[str | None]) -> Column:
    times: Column = batch.column(EVENT_TIME).to_pylist()
    where = f"{view.id}.{view.event_time}"
    try:
        return encode_microseconds(times, where=where)
    except CodecError:
        for time, pk in zip(times, pks, strict=True):
            try:
                encode_microseconds([time], where=where)
            except CodecError as error:
                raise CodecError(error.summary, where=f"{pk or 'a row without a key'} of {view.id}") from error
        raise


def _encode_column(
    view: FeatureView, batch: pa.RecordBatch, name: str, dtype: DType, encode: Callable[..., Column]
) -> Column:
    import pyarrow as pa

    where, column = f"{view.id}.{name}", batch.column(name)
    if dtype.kind in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ) and pa.types.is_timestamp(column.type):
        return encode_microseconds(_to_microseconds(column, where), where=where)
    try:
        values: Column = column.to_pylist()
    except (ValueError, OverflowError) as error:
        raise CodecError(f"{where}: a value can't be represented as {dtype}: {error}") from error
    return encode(dtype, values, where=where)


def _to_microseconds(column: Any, where: str) -> Column:
    import pyarrow as pa

    try:
        # Safe casts: a part below the microsecond is an error, not a truncation.
        values: Column = column.cast(pa.timestamp("us", tz=column.type.tz)).cast(pa.int64()).to_pylist()
    except pa.ArrowInvalid as error:
        raise CodecError(f"{where}: a timestamp is finer than a microsecond or out of range: {error}") from error
    return values


def _validate_columns(view: FeatureView, present: Sequence[str]) -> None:
    columns = [key.column for key in view.join_keys] + [feature.name for feature in view.features]
    missing = [name for name in [*columns, EVENT_TIME, VALID_TO] if name not in present]
    if missing:
        raise PlanError(
            Problem(what=f"the snapshot has no column '{name}'", where=view.id, fix="this is ours to fix")
            for name in missing
        )
