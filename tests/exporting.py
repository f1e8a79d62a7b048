"""Exports of rows that a test writes down: the real protocol, with one DuckDB in memory per store as its warehouse."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import duckdb
import pyarrow as pa
from sqlglot import exp

from featurelayer.export import Exporter, Intent, Snapshot, Tables, ViewExport, encode_to_file
from featurelayer.model import FeatureView
from featurelayer.online import OnlineStore
from featurelayer.online.codec import to_microseconds
from featurelayer.warehouse.engines.duckdb.warehouse import DuckDBWarehouse

TABLES = Tables.from_schema("main", "test")
_databases: WeakKeyDictionary[OnlineStore, duckdb.DuckDBPyConnection] = WeakKeyDictionary()


def warehouse_of(store: OnlineStore) -> DuckDBWarehouse:
    """A connection of its own to the warehouse that remembers what was exported to a store."""
    if store not in _databases:
        _databases[store] = duckdb.connect(config={"threads": 1})
    return DuckDBWarehouse(_databases[store].cursor())


def forget(store: OnlineStore) -> None:
    """Lose the warehouse, as when it is rebuilt."""
    _databases.pop(store, None)


def snapshot_of(view: FeatureView, batches: Iterable[pa.RecordBatch], as_of: datetime) -> Snapshot:
    """A snapshot whose rows are given."""

    def rows(warehouse: DuckDBWarehouse, folder: Path) -> tuple[exp.Expression, int]:
        null_keys = encode_to_file(view, batches, folder / "rows.parquet")
        source = warehouse.attach(folder / "rows.parquet").sql
        return exp.maybe_parse(source, into=exp.Table, dialect="duckdb"), null_keys

    return Snapshot(view=view, as_of=as_of, rows=rows)


def exporter_of(store: OnlineStore, **options: Any) -> Exporter:
    @contextmanager
    def open_warehouse(*, writable: bool) -> Iterator[DuckDBWarehouse]:
        with closing(warehouse_of(store)) as warehouse:
            yield warehouse

    return Exporter(open_warehouse, store, TABLES, **options)


def intend(exporter: Exporter, store: OnlineStore, snapshot: Snapshot, **options: Any) -> Intent:
    """The first step alone: a run that is killed here has written nothing to the store."""
    with closing(warehouse_of(store)) as warehouse, warehouse.transaction():
        return exporter.intend(warehouse, snapshot, **options)


def export_view(
    store: OnlineStore,
    view: FeatureView,
    batches: Iterable[pa.RecordBatch],
    *,
    as_of: datetime,
    version: int | None = None,
    full: bool = False,
    rewind: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ViewExport:
    """Bring the store to these rows; the version is `as_of` unless said, so that a test can say it in one number."""
    told = None if progress is None else lambda _view, done, _total: progress(done)
    exporter = exporter_of(store, progress=told)
    version = to_microseconds(as_of) if version is None else version
    snapshot = snapshot_of(view, batches, as_of)
    return exporter.finish(intend(exporter, store, snapshot, version=version, full=full, rewind=rewind))
