"""A warehouse that is fast enough for ten thousand histories: the exporter's own statements, run by SQLite in memory.

The statements are those that `featurelayer.sql.delta` builds, written in SQLite's dialect. `test_warehouse.py` runs the
same trials with DuckDB and compares what happened step by step.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp

from featurelayer.errors import WarehouseError
from featurelayer.export import Ledger, Tables
from featurelayer.export.ledger import LEDGER, LedgerRow
from featurelayer.model import DType, Kind
from featurelayer.sql.delta import ITEMS, Delta, Log
from featurelayer.sql.dialects import dialect as dialect_of
from featurelayer.sql.dialects.base import Dialect
from featurelayer.warehouse.base import Source
from featurelayer.warehouse.engines.duckdb.warehouse import DuckDBWarehouse

SOURCE = "source"
_BODY = pa.schema([("pk", pa.string()), ("f", pa.string()), ("schema", pa.string()), ("event_time", pa.int64()),
                   ("valid_to", pa.int64())])  # fmt: skip


class Sqlite(Dialect):
    """SQLite has no timestamps: they are texts that sort as time does."""

    name = "sqlite"

    def type_text(self, dtype: DType) -> str:
        return "TEXT" if dtype.kind is Kind.TIMESTAMP else super().type_text(dtype)

    def literal(self, value: Any, dtype: DType) -> exp.Expression:
        return super().literal(_text(value) if isinstance(value, datetime) else value, dtype)


SQLITE = Sqlite()
_duckdb = cache(dialect_of)


def dialect(name: str) -> Dialect:
    """The dialect of a simulated warehouse; looked up once, for a trial asks for it a hundred times."""
    return SQLITE if name == "sqlite" else _duckdb(name)


class SqliteWarehouse:
    """What an `Exporter` uses of a `Warehouse`. The clock is the simulation's."""

    dialect = "sqlite"

    def __init__(self) -> None:
        self.database = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False, cached_statements=900
        )
        self.database.create_function(
            "md5", 1, lambda text: None if text is None else hashlib.md5(text.encode()).hexdigest()
        )
        self.database.create_function("octet_length", 1, lambda text: None if text is None else len(text.encode()))
        self.database.create_function("ceil", 1, lambda number: None if number is None else math.ceil(number))
        self.database.execute("CREATE TEMPORARY TABLE source (pk TEXT, f TEXT, event_time INTEGER, valid_to INTEGER)")
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.execute("BEGIN")
        try:
            yield
        except BaseException:
            self.database.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        self._said(sql, parameters)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._said(sql, parameters).fetchall()

    def _said(self, sql: str, parameters: Sequence[Any]) -> sqlite3.Cursor:
        try:
            return self.database.execute(sql, parameters)
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                raise WarehouseError(str(error)) from error
            raise AssertionError(f"{error} in:\n{sql}") from error

    def attach(self, path: Path) -> Source:
        """Make a table of what is in a file."""
        found = pq.read_table(path)
        self.execute("DROP TABLE IF EXISTS temp.attached")
        self.execute(f"CREATE TEMPORARY TABLE attached ({', '.join(found.column_names)})")
        values = f"INSERT INTO temp.attached VALUES ({', '.join('?' * found.num_columns)})"
        self.database.executemany(values, zip(*(column.to_pylist() for column in found.columns), strict=True))
        return Source(sql='"attached"', columns=())

    def write_file(self, query: str, path: Path, _kind: str) -> int:
        rows = sorted(self.rows(query))
        pq.write_table(pa.table(list(zip(*rows, strict=True)) or [[] for _ in _BODY], schema=_BODY), path)
        return len(rows)

    def fill(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Put the encoded snapshot where the export finds it."""
        self.database.execute("DELETE FROM temp.source")
        self.database.executemany("INSERT INTO temp.source VALUES (?, ?, ?, ?)", rows)

    def drop(self, temporary: Sequence[str]) -> None:
        for name in temporary:
            self.execute(f'DROP TABLE IF EXISTS temp."{name}"')

    def now(self) -> datetime:
        return self.clock()

    def tables(self) -> list[str]:
        return [name for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]


class SimulatedDuckDB(DuckDBWarehouse):
    """The real one, with the simulation's clock."""

    def __init__(self) -> None:
        super().__init__(duckdb.connect(config={"threads": 1}))
        self.execute("CREATE TEMPORARY TABLE source (pk TEXT, f TEXT, event_time BIGINT, valid_to BIGINT)")
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def fill(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Put the encoded snapshot where the export finds it."""
        self.execute("DELETE FROM temp.source")
        if rows:
            self._connection.executemany("INSERT INTO temp.source VALUES (?, ?, ?, ?)", rows)

    def write_file(self, query: str, path: Path, kind: Literal["parquet", "csv"]) -> int:
        """In the order in which the other one has them: no rule says which is sent first."""
        return super().write_file(f"SELECT * FROM ({query}) ORDER BY pk", path, kind)

    def now(self) -> datetime:
        return self.clock()

    def tables(self) -> list[str]:
        return [name for (name,) in self.rows("SELECT table_name FROM duckdb_tables() WHERE NOT temporary")]


class RememberedDelta:
    """`Delta`, whose texts are built once per kind of statement: they differ in their numbers and names alone.

    Each is built with stand-ins for its texts and numbers, which are then replaced.
    """

    temporary = Delta.temporary

    def __init__(self, writer: Dialect, log: Log) -> None:
        self._writer, self._log = writer, log

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def called(*positional: Any, **by_name: Any) -> Any:
            values: list[tuple[str, str]] = [("view_0", self._log.view)]
            counter = itertools.count(1)

            def stand_in(value: Any) -> Any:
                if type(value) is int:
                    number = 7_000_000_000_000_000 + next(counter)
                    values.append((str(number), str(value)))
                    return number
                if type(value) is str and not value.startswith('"'):
                    text = f"text_{next(counter)}_"
                    values.append((text, value.replace("'", "''")))
                    return text
                return tuple(value) if isinstance(value, list) else value

            args = tuple(stand_in(value) for value in positional)
            more = tuple((key, stand_in(value)) for key, value in by_name.items())
            texts = _texts(self._writer.name, self._log.ledger, self._log.items, self._log.store, name, args, more)
            for old, new in values:
                texts = tuple(text.replace(old, new) for text in texts)
            return texts if _several(name) else texts[0]

        return called


def _several(name: str) -> bool:
    return name in ("log_changes", "log_rollback", "prune")


@cache
def _texts(writer: str, ledger: str, items: str, store: str, name: str, args: Any, more: Any) -> tuple[str, ...]:
    delta = Delta(dialect(writer), Log(ledger=ledger, items=items, store=store, view="view_0"))
    made = getattr(delta, name)(*args, **dict(more))
    return made if _several(name) else (made,)


class QuickLedger(Ledger):
    """The ledger in SQLite, by parameters instead of texts."""

    def __init__(self, warehouse: SqliteWarehouse, tables: Tables) -> None:
        self._warehouse, self._tables = warehouse, tables

    def create(self) -> None:
        for relation, columns in ((self._tables.ledger, LEDGER), (self._tables.items, ITEMS)):
            names = ", ".join(f'"{name}" {"INTEGER" if kind == "int64" else "TEXT"}' for name, kind in columns.items())
            self._warehouse.execute(f"CREATE TABLE IF NOT EXISTS {relation} ({names})")

    def rows(self, view: str) -> list[LedgerRow]:
        found = self._warehouse.rows(
            f"SELECT * FROM {self._tables.ledger} WHERE store = ? AND view = ? ORDER BY version, run",
            (self._tables.store, view),
        )
        return [
            LedgerRow(**{name: _read(name, value) for name, value in zip(LEDGER, row, strict=True)}) for row in found
        ]

    def start(self, rows: Any) -> None:
        marks = ", ".join("?" * len(LEDGER))
        for row in rows:
            self._warehouse.execute(f"INSERT INTO {self._tables.ledger} VALUES ({marks})", _values(row))

    def finish(self, row: LedgerRow) -> None:
        sets = ", ".join(f'"{name}" = ?' for name in LEDGER)
        self._warehouse.execute(
            f"UPDATE {self._tables.ledger} SET {sets} WHERE store = ? AND view = ? AND run = ?",
            [*_values(row), self._tables.store, row.view, row.run],
        )


def _values(row: LedgerRow) -> list[Any]:
    return [
        _text(value) if isinstance(value := getattr(row, name), datetime) else value for name in LEDGER
    ]  # fmt: skip


def _text(moment: datetime) -> str:
    return (moment.astimezone(UTC) if moment.tzinfo else moment).replace(tzinfo=None).isoformat(" ", "microseconds")


def _read(name: str, value: Any) -> Any:
    if LEDGER[name] != "timestamp" or value is None:
        return value
    return datetime.fromisoformat(value).replace(tzinfo=UTC)
