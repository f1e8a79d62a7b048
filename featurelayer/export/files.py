"""Files beside a run: what is to be sent, and keys, of which there may be millions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_WRITE = 2_000
"""How many rows go into one write of the store."""


class KeyFile:
    """Keys on their way into a parquet file, which is made if there are any."""

    def __init__(self, path: Path) -> None:
        self._path, self._keys = path, list[str]()
        self._writer: Any = None

    def add(self, keys: Sequence[str]) -> None:
        """Append keys."""
        self._keys += keys
        if len(self._keys) >= ROWS_PER_WRITE:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table({"pk": pa.array(self._keys, pa.string())})
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema)
        self._writer.write_table(table)
        self._keys.clear()

    def __enter__(self) -> KeyFile:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._keys:
            self._flush()
        if self._writer is not None:
            self._writer.close()


def read_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file, as many as go into one write."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=ROWS_PER_WRITE)


def read_keys(path: Path) -> Iterator[list[str]]:
    """Yield the keys of a file's rows, as many as go into one write."""
    for batch in read_batches(path):
        yield batch.column("pk").to_pylist()
