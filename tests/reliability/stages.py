"""What trials share: a store, a warehouse, and which protocol is put to the test."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from featurelayer.export import Ledger
from featurelayer.online import MemoryStore, OnlineStore
from featurelayer.online.stores.sqlite import SqliteStore
from featurelayer.sql.delta import Delta
from tests.reliability.warehouse import QuickLedger, RememberedDelta, SimulatedDuckDB, SqliteWarehouse


@dataclass(slots=True)
class Stage:
    """Where trials take place, one after the other.

    `wipe` empties the store, `collect` deletes what is garbage at a second. With `fresh_names` each trial has a view
    and keys of its own instead. `points` counts what exporters were about to do when they were stepped, `happened`
    the rest.
    """

    store: OnlineStore
    wipe: Callable[[], object]
    collect: Callable[[int], object]
    warehouse: Any = field(default_factory=SqliteWarehouse)
    delta: Any = RememberedDelta
    ledger: Any = QuickLedger
    trial: Any = None
    fresh_names: bool = False
    trials: int = 0
    points: dict[str, int] = field(default_factory=dict)
    happened: dict[str, int] = field(default_factory=dict)

    def use_duckdb(self, warehouse: SimulatedDuckDB) -> Stage:
        """Let DuckDB run the exporter's own statements, as in production."""
        self.warehouse, self.delta, self.ledger = warehouse, Delta, Ledger
        return self


def memory_stage(store: MemoryStore | None = None, **more: Any) -> Stage:
    store = store or MemoryStore()

    def collect(second: int) -> None:
        for key in [key for key, item in store._items.items() if item.ttl is not None and item.ttl < second]:
            del store._items[key]

    return Stage(store=store, wipe=store._items.clear, collect=collect, **more)


def sqlite_stage(folder: Path, **more: Any) -> Stage:
    store = SqliteStore(folder / "store.db")
    store.create()
    database = sqlite3.connect(folder / "store.db", isolation_level=None, check_same_thread=False)
    return Stage(
        store=store,
        wipe=lambda: database.execute("DELETE FROM items"),
        collect=lambda second: database.execute("DELETE FROM items WHERE ttl < ?", (second,)),
        **more,
    )


def dynamodb_stage(store: OnlineStore, **more: Any) -> Stage:
    """A stage in one table: trials have names of their own, and DynamoDB collects no garbage at our command."""
    return Stage(store=store, wipe=lambda: None, collect=lambda _second: None, fresh_names=True, **more)
