"""A checksum per column of a stream of Arrow batches: the same for the same values, whatever the batches' sizes.

A column's values and the places of its NULLs are hashed apart, so that a NULL never looks like a zero; of
variable-length values the lengths too, so that `["a", "bc"]` is not `["ab", "c"]`. What lies under a NULL does not
count.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_BINARY = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary,
           pa.types.is_string_view, pa.types.is_binary_view)  # fmt: skip
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


class ColumnDigest:
    """The running checksum of one column."""

    def __init__(self) -> None:
        self._hashes: dict[str, Any] = {}
        self._counts: dict[str, int] = {}

    def update(self, array: pa.Array) -> None:
        """Add the next values."""
        self._add(array, "")

    def hexdigest(self) -> str:
        """Return the checksum of all values so far: 64 hexadecimal digits."""
        total = hashlib.sha256()
        for path in sorted(self._hashes):
            total.update(path.encode() + b"\0" + self._hashes[path].digest())
        for path in sorted(self._counts):
            total.update(path.encode() + b"\0" + self._counts[path].to_bytes(8, "little"))
        return total.hexdigest()

    def _write(self, path: str, data: Any) -> None:
        self._hashes.setdefault(path, hashlib.sha256()).update(data)

    def _add(self, array: pa.Array, path: str) -> None:
        array = plain(array)
        kind = array.type
        before = self._counts.get(path, 0)
        self._counts[path] = before + len(array)
        if array.null_count:
            places = pc.cast(pc.indices_nonzero(pc.is_null(array)), pa.int64())
            self._write(f"{path}.null", _values(pc.add(places, _int64(before))))
        if is_text(kind):
            array = _fill_nulls(array)
            lengths = pc.cast(pc.binary_length(array), pa.int64())
            self._write(f"{path}.length", _values(lengths))
            self._write(path, _bytes(pc.cast(array, pa.large_binary())))
        elif is_list(kind):
            self._write(f"{path}.length", _values(_fill_nulls(pc.cast(pc.list_value_length(array), pa.int64()))))
            self._add(pc.list_flatten(array), f"{path}[]")
        elif pa.types.is_struct(kind):
            for position, child in enumerate(array.flatten()):
                self._add(child, f"{path}.{kind.field(position).name}")
        elif pa.types.is_null(kind):
            return
        else:
            self._write(path, _values_of_fixed_width(array))


class TableDigest:
    """The running checksums of all columns; hashing releases the GIL, so columns go side by side."""

    def __init__(self, names: Iterable[str], *, threads: int = 2) -> None:
        self.names = tuple(names)
        self.rows = 0
        self._columns = [ColumnDigest() for _ in self.names]
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="digest")

    def update(self, batch: pa.RecordBatch) -> None:
        """Add a batch; its columns are taken by position."""
        self.rows += batch.num_rows
        work = zip(self._columns, batch.columns, strict=True)
        list(self._pool.map(lambda pair: pair[0].update(pair[1]), work))

    def finish(self) -> dict[str, str]:
        """Return the checksum of each column by name."""
        self._pool.shutdown()
        return self.so_far()

    def so_far(self) -> dict[str, str]:
        """Return the checksums of the batches until now; more may follow."""
        return {name: column.hexdigest() for name, column in zip(self.names, self._columns, strict=True)}


def file_checksums(path: Path, *, threads: int = 2) -> tuple[int, list[str]]:
    """Return the row count of a parquet file and the checksum of each column, in file order.

    Each column is read separately, one row group after the other, so that freed memory is reused: that
    costs half as much as new memory for a whole row group of many columns.
    """
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path)
    groups = range(metadata.num_row_groups)

    def checksum(name: str) -> str:
        digest = ColumnDigest()
        with pq.ParquetFile(path, metadata=metadata, pre_buffer=False) as file:
            for group in groups:
                # Asking for `a` also returns a column named `a.b`, since a dot can lead into a struct.
                for chunk in file.read_row_group(group, columns=[name], use_threads=False).column(name).chunks:
                    digest.update(chunk)
        return digest.hexdigest()

    with ThreadPoolExecutor(threads, thread_name_prefix="digest") as pool:
        return metadata.num_rows, list(pool.map(checksum, metadata.schema.to_arrow_schema().names))


def is_text(kind: pa.DataType) -> bool:
    """Whether values of a type are text or bytes of any length."""
    return any(test(kind) for test in _BINARY)


def is_list(kind: pa.DataType) -> bool:
    """Whether values of a type are lists, of a fixed length or not."""
    return any(test(kind) for test in _LISTS)


def plain(array: pa.Array) -> pa.Array:
    """Decode an array: encodings change how values are stored, not the values."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = plain(array.dictionary).take(array.indices)
    if pa.types.is_string_view(array.type):
        array = array.cast(pa.large_string())
    if pa.types.is_binary_view(array.type):
        array = array.cast(pa.large_binary())
    if pa.types.is_timestamp(array.type) and array.type.unit == "s":
        array = array.cast(pa.timestamp("ms", array.type.tz))  # parquet has no seconds
    if array.type == pa.time32("s"):
        array = array.cast(pa.time32("ms"))
    if array.type == pa.date64():
        array = array.cast(pa.date32())
    if pa.types.is_map(array.type):
        entries = pa.struct([array.type.key_field, array.type.item_field])
        array = array.cast(pa.list_(entries))
    return array


def _values_of_fixed_width(array: pa.Array) -> Any:
    """Return the values of a fixed-width array, with zero for NULL."""
    kind = array.type
    return _values(_fill_nulls(pc.cast(array, pa.uint8()) if pa.types.is_boolean(kind) else array))


def _fill_nulls(array: pa.Array) -> pa.Array:
    """Replace NULL by zero, or by an empty value."""
    return pc.coalesce(array, _zero(array.type)) if array.null_count else array


@functools.cache
def _zero(kind: pa.DataType) -> pa.Scalar:
    """Build a type's all-zero value from memory: `pa.scalar` imports pandas, a quarter second."""
    width = 16 if any(test(kind) for test in _BINARY) else kind.bit_width // 8
    zeros = pa.py_buffer(bytes(width))
    buffers = [None, zeros, pa.py_buffer(b"")] if any(test(kind) for test in _BINARY) else [None, zeros]
    return pa.Array.from_buffers(kind, 1, buffers)[0]


def _int64(value: int) -> pa.Scalar:
    """Build a number from memory, as `_zero` does."""
    return pa.Array.from_buffers(pa.int64(), 1, [None, pa.py_buffer(value.to_bytes(8, "little"))])[0]


def _values(array: pa.Array) -> Any:
    width = array.type.bit_width // 8
    data = array.buffers()[1]
    if data is None:
        return b""
    return memoryview(data)[array.offset * width : (array.offset + len(array)) * width]


def _bytes(array: pa.LargeBinaryArray) -> Any:
    _, offsets, data = array.buffers()
    if data is None or len(array) == 0:
        return b""
    ends = memoryview(offsets).cast("q")
    return memoryview(data)[ends[array.offset] : ends[array.offset + len(array)]]
