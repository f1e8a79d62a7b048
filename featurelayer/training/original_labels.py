"""Return label columns in their original types, some of which engines change.

An engine returns Asia/Tokyo as UTC, a duration as an interval, categories as text. A training set has each label row
once and in order, so the columns of a file or a frame can replace the engine's. The types show which columns to
replace; the values that the engine returned are checked as always.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from featurelayer.errors import WarehouseError

if TYPE_CHECKING:
    import pandas
    import polars

_BATCH_ROWS = 131_072
_NUMPY_TYPE = re.compile(r"object|str|bool|u?int\d+|float\d+|datetime64\[\w+\]|timedelta64\[\w+\]")
_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalLabels:
    """The original labels: `rows` of a parquet file or an Arrow table, and the `frame` that these came from."""

    rows: Path | pa.Table
    frame: Any = None

    @property
    def schema(self) -> pa.Schema:
        """The columns in their original types, with pandas' metadata."""
        if isinstance(self.rows, pa.Table):
            return self.rows.schema
        import pyarrow.parquet as pq

        return pq.read_schema(self.rows)

    @property
    def metadata(self) -> dict[bytes, bytes] | None:
        """Schema metadata, from which pandas restores its own types; rows have no index here."""
        notes = dict(self.schema.metadata or {})
        if b"pandas" in notes:
            notes[b"pandas"] = json.dumps({**json.loads(notes[b"pandas"]), "index_columns": []}).encode()
        return notes or None

    @property
    def has_pandas_types(self) -> bool:
        """True if only pandas' metadata distinguishes the types of columns, such as `Int64` from `int64`."""
        noted = json.loads((self.schema.metadata or {}).get(b"pandas", b"{}")).get("columns", ())
        return any(not _NUMPY_TYPE.fullmatch(str(column.get("numpy_type"))) for column in noted)

    def find_type_changes(self, returned: pa.Schema) -> list[int]:
        """Return the positions of columns whose type an engine changed; the width of text is ignored."""
        return [
            position
            for position, (field, output) in enumerate(zip(self.schema, returned, strict=True))
            # An interval of an engine has microseconds.
            if pa.types.is_interval(field.type)
            or (field.type != output.type and not _is_alike(field.type, output.type))
        ]

    def to_pandas(self, table: pa.Table) -> pandas.DataFrame:
        """Return the rows of a training set as a pandas frame, with the labels as in their own frame."""
        if not is_pandas(self.frame):
            return to_exact_pandas(table)
        import pandas as pd

        features = to_exact_pandas(table.select(range(len(self.schema), table.num_columns)))
        frame = pd.concat([self.frame.reset_index(drop=True), features], axis="columns")
        frame.columns = pd.Index(table.column_names)
        return frame

    def to_polars(self, table: pa.Table) -> polars.DataFrame:
        """Return the rows of a training set as a polars frame, with the labels as in their own frame."""
        import polars as pl

        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        if not isinstance(self.frame, pl.DataFrame):
            return frame
        return self.frame.hstack(frame.get_columns()[len(self.schema) :])

    @contextmanager
    def open(self, positions: Sequence[int]) -> Iterator[ColumnReader]:
        """Open the columns at these positions for reading in order."""
        if isinstance(self.rows, pa.Table):
            table = self.rows.select(list(positions)).unify_dictionaries()
            yield ColumnReader(iter(table.to_batches(_BATCH_ROWS)))
            return
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.rows) as file:
            names = [file.schema_arrow.names[position] for position in positions]
            # Selecting a column `a` also returns `a.b`, so select by name again.
            batches = file.iter_batches(_BATCH_ROWS, columns=names)
            yield ColumnReader(batch.select(names) for batch in batches)


class ColumnReader:
    """A reader of columns in pieces of any number of rows."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._rest: list[pa.RecordBatch] = []

    def read(self, rows: int) -> list[pa.Array]:
        """Return the next rows of each column.

        Raises:
            WarehouseError: there are fewer rows, so the file changed while the build ran.
        """
        taken: list[pa.RecordBatch] = []
        while rows > 0:
            batch = self._rest.pop() if self._rest else next(self._batches, None)
            if batch is None:
                raise WarehouseError(
                    "the labels have fewer rows than when the build began; nothing was kept",
                    fix="the labels changed while the build ran: run it again",
                )
            taken.append(batch.slice(0, rows))
            if batch.num_rows > rows:
                self._rest.append(batch.slice(rows))
            rows -= taken[-1].num_rows
        return [pa.concat_arrays(pieces) for pieces in zip(*(batch.columns for batch in taken), strict=True)]


def to_exact_pandas(table: pa.Table) -> pandas.DataFrame:
    """Convert a table to pandas without rounding: integers with NULLs become `Int64`, also inside lists."""
    import pandas as pd

    # pandas' default is float64, which can't hold every integer above 2^53.
    nullable = {
        pa.int8(): pd.Int8Dtype(), pa.int16(): pd.Int16Dtype(), pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(), pa.uint8(): pd.UInt8Dtype(), pa.uint16(): pd.UInt16Dtype(),
        pa.uint32(): pd.UInt32Dtype(), pa.uint64(): pd.UInt64Dtype(),
    }  # fmt: skip
    rounded = [name for name in table.column_names if _is_rounded(table[name])]
    try:
        frame: pandas.DataFrame = table.to_pandas()
    except pa.ArrowException as error:
        names = ", ".join(f"'{name}' ({table[name].type})" for name in table.column_names if not _fits(table[name]))
        raise WarehouseError(
            f"pandas can't hold the column {names}: {error}", fix="use to_arrow() or to_polars(), or cast it"
        ) from error
    for name in rounded:
        column = table[name]
        frame[name] = (
            column.to_pandas(types_mapper=nullable.get)
            if pa.types.is_integer(column.type)
            else pd.Series(column.to_pylist(), dtype=object)
        )
    return frame


def _fits(column: pa.ChunkedArray) -> bool:
    """Return whether pandas can hold the values of a column."""
    try:
        column.to_pandas()
    except pa.ArrowException:
        return False
    return True


def _is_rounded(column: pa.ChunkedArray) -> bool:
    """Return whether pandas would convert integers to floats because of a NULL."""
    if pa.types.is_integer(column.type):
        return bool(column.null_count)
    if isinstance(column.type, pa.BaseExtensionType) or not pa.types.is_nested(column.type):
        return False
    return any(_has_integer_null(chunk) for chunk in column.chunks)


def _has_integer_null(array: pa.Array) -> bool:
    kind = array.type
    if pa.types.is_struct(kind):
        return any(_has_integer_null(child) for child in array.flatten() if pa.types.is_nested(child.type))
    if pa.types.is_map(kind) or not hasattr(array, "flatten"):
        return False
    values = array.flatten()
    return (
        bool(values.null_count)
        if pa.types.is_integer(values.type)
        else (pa.types.is_nested(values.type) and _has_integer_null(values))
    )


def widen_float16(table: pa.Table) -> pa.Table:
    """Return a table with float16 as float32, which holds all its values: few engines have float16."""
    for position, field in enumerate(table.schema):
        if pa.types.is_float16(field.type):
            table = table.set_column(position, field.name, table.column(position).cast(pa.float32()))
    return table


def is_pandas(frame: Any) -> bool:
    """Return whether a frame is one of pandas, without importing pandas."""
    return hasattr(frame, "iloc") and hasattr(frame, "reset_index")


def _is_alike(one: pa.DataType, other: pa.DataType) -> bool:
    families = (_TEXTS, _BYTES)
    return any(any(test(one) for test in tests) and any(test(other) for test in tests) for tests in families)
