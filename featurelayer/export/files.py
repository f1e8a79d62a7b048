"""Temporary files of a run: the items to send, and sets of possibly millions of keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurelayer.errors import WarehouseError
from featurelayer.export.changes import KINDS
from featurelayer.export.ledger import Tables
from featurelayer.export.records import Intent
from featurelayer.model import FeatureView
from featurelayer.sql.delta import Delta
from featurelayer.sql.dialects import dialect
from featurelayer.warehouse.base import OpenWarehouse

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_WRITE = 2_000
"""How many rows go into one write of the store."""


class KeyFile:
    """A writer of keys to a parquet file, which is created with the first key."""

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
    """Yield the rows of a file in batches of one write."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=ROWS_PER_WRITE)


def read_keys(path: Path) -> Iterator[list[str]]:
    """Yield the keys of a file's rows in batches of one write."""
    for batch in read_batches(path):
        yield batch.column("pk").to_pylist()


class Outbox:
    """Intents copied from the warehouse to files, so that sending does not keep the warehouse open."""

    def __init__(self, open_warehouse: OpenWarehouse, tables: Tables) -> None:
        self._open_warehouse, self._tables = open_warehouse, tables

    def fetch(self, intent: Intent, folder: Path, *, shuffled: bool = False) -> list[tuple[str, Path]]:
        """Write an intent's rows to the folder, one file per kind of change, in sending order.

        Raises:
            WarehouseError: the warehouse no longer has the whole intent.
        """
        view, run = intent.view, intent.row.run
        with self._open_warehouse(writable=False) as warehouse:
            delta = Delta(dialect(warehouse.dialect), self._tables.log(view.id))
            files = [(kind, folder / f"{kind}.parquet") for kind in KINDS if kind in intent.sizes]
            for kind, path in files:
                count = warehouse.write_file(delta.items_to_write(run, kind, shuffled=shuffled), path, "parquet")
                if count != intent.sizes[kind].keys:
                    raise unknown_export(view)
        return files


def unknown_export(view: FeatureView) -> WarehouseError:
    """Return the error for an export that the warehouse has no record of."""
    return WarehouseError(
        f"{view.id}: the warehouse no longer knows of this export; was it rebuilt meanwhile?",
        fix="run `featurelayer export` again",
    )
