"""A store in one SQLite file: the embedded default, for one machine and no server.

WAL: readers never wait for an export and always see whole transactions. Only writing creates the file.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Sequence, Set
from contextlib import closing, contextmanager, suppress
from functools import partial
from operator import itemgetter
from pathlib import Path
from time import monotonic
from typing import Any, Self, TypeVar

import msgspec

from featurelayer.callbacks import Notify
from featurelayer.errors import ConfigError, CorruptItem, OnlineStoreError, Problem, StoreNotFound, StoreUnavailable
from featurelayer.online.base import (
    Capabilities,
    CreateResult,
    Item,
    ItemKey,
    LiveKey,
    StoreEntry,
    StoreUrl,
    WritePlan,
    Written,
    corrupt_item,
    foreign_store,
    live_key,
    plan_write,
)
from featurelayer.online.budget import ReadBudget, Usage
from featurelayer.online.fork_safety import register_for_fork
from featurelayer.online.sqlite_file import LAYOUT, MODE, Reader, SqliteFile, wait_for_lock

T = TypeVar("T")

_PAGE = 2_000

_COLUMNS = "pk, sk, f, v, t, e, u, s, ttl, d, w"
_FIELDS = ("pk", "sk", "v", "f", "s", "t", "e", "u", "ttl", "d", "w")  # as Item has them
# The keys come as one JSON array of groups, each of views and of keys that are wanted in all of them: any number of
# keys is one statement, and little text to parse.
_READ = f"""
SELECT {", ".join(f"items.{name}" for name in _FIELDS)} FROM json_each(?) AS wanted
CROSS JOIN json_each(wanted.value, '$[0]') AS sks CROSS JOIN json_each(wanted.value, '$[1]') AS pks
CROSS JOIN items ON items.sk = sks.value AND items.pk = pks.value
"""  # noqa: S608 (constants only)
# The newer-wins rule of Item.replaces, where the row is locked; a row whose numbers are none is replaced by any.
_PUT = f"""
INSERT INTO items ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (sk, pk) DO UPDATE SET
  f = excluded.f, v = excluded.v, t = excluded.t, e = excluded.e, u = excluded.u, s = excluded.s,
  ttl = excluded.ttl, d = excluded.d, w = excluded.w
WHERE CASE WHEN typeof(items.v) || typeof(items.e) NOT IN ('integerinteger', 'integernull') THEN 1
  WHEN ? OR NOT (excluded.w OR items.w) OR excluded.e IS NULL OR items.e IS NULL THEN excluded.v > items.v
  ELSE (excluded.e, excluded.v) > (items.e, items.v) END
"""  # noqa: S608 (constants only)
_LIVE = "SELECT pk, v, e FROM items WHERE sk = ? AND pk > ? AND d = 0 ORDER BY pk LIMIT ?"
_NAMES = "SELECT sk FROM items WHERE pk = ? AND pk >= '#' AND pk < '$' ORDER BY sk"

_REMOVE = "DELETE FROM items WHERE pk = ? AND sk = ?"


class _Rows(msgspec.Struct, array_like=True):
    """Rows as items, each column of its type; not strict, since truth values are numbers here."""

    items: list[Item]


_CLOSE_SECONDS = 5.0
_json = msgspec.json.Encoder().encode
_convert, _key = msgspec.convert, itemgetter(0, 1)


entry = StoreEntry(location=("path",), default=".featurelayer/online.db")


def connect(url: StoreUrl) -> SqliteStore:
    """Return the store in the file that the address names: `sqlite:///relative.db`, `sqlite:////absolute.db`."""
    options = url.read_options("mode")
    return SqliteStore(url.path, mode=_read_mode(options["mode"], url.display) if "mode" in options else MODE)


class SqliteStore:
    """An `OnlineStore` in the file at `path`. Safe to share between threads; each has its own connections.

    `mode` is the permissions that the file is created with; SQLite gives `-wal` and `-shm` the same.
    """

    capabilities = Capabilities()

    def __init__(self, path: str | Path, *, mode: int = MODE) -> None:
        self.path = Path(path)
        self._file = SqliteFile(self.path, mode)
        self._known: list[_Connections] = []
        self._inherited: list[_Connections] = []
        self._has_written = False
        self.reset_after_fork()
        register_for_fork(self)

    def reset_after_fork(self) -> None:
        """Leave a parent's connections alone: SQLite's must neither be used nor closed in a child."""
        self._inherited += self._known
        self._known = []
        self._local = threading.local()
        self._opening = threading.Lock()

    def read(
        self,
        keys: Collection[ItemKey],
        *,
        consistent: bool = False,  # noqa: ARG002 (the interface's; a file always is)
        deadline: float | None = None,
        usage: Usage | None = None,
    ) -> dict[ItemKey, Item]:
        """Return the items that exist, by one statement."""
        budget = ReadBudget(deadline)
        budget.remaining()
        if not keys:
            return {}
        found = self._query(lambda connection: _read(connection, keys), budget)
        if usage is not None:
            usage.add(bytes=sum(item.size for item in found.values()))
        return found

    def write(
        self,
        items: Sequence[Item],
        *,
        rewind: bool = False,
        rewrite: bool = False,
        new: bool = False,  # noqa: ARG002 (no matter here)
        deadline: float | None = None,
    ) -> Written:
        """Put the items that replace and differ from the stored ones, in one transaction; create the file if needed."""

        def write_items(connection: sqlite3.Connection) -> WritePlan:
            stored = _read(connection, [item.key for item in items])
            work = plan_write(items, stored, rewind=rewind, rewrite=rewrite)
            connection.executemany(_PUT, [(*_row(item), rewind) for item in work.put + work.renew])
            return work

        work = self._change(write_items, ReadBudget(deadline, "written"))
        size = sum(item.size for item in work.put)
        return Written(written=len(work.put), unchanged=work.unchanged, lost=tuple(work.lost), bytes=size)

    def live(self, sk: str) -> Iterator[LiveKey]:
        """Yield the entities that a view has values for; no transaction stays open while the caller works."""
        after = ""
        while True:
            page = self._query(partial(_page, sk=sk, after=after), ReadBudget(None))
            for pk, version, event_time in page:
                yield live_key(pk, version, event_time)
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    def names(self, pk: str, *, deadline: float | None = None) -> list[str]:
        """Return every `sk` under one `pk` of a definition."""
        budget = ReadBudget(deadline)
        budget.remaining()
        return self._query(lambda connection: [sk for (sk,) in connection.execute(_NAMES, (pk,))], budget)

    def remove(self, keys: Collection[ItemKey], *, deadline: float | None = None) -> None:
        """Delete items, in one transaction."""
        self._change(lambda connection: connection.executemany(_REMOVE, keys), ReadBudget(deadline, "removed"))

    def warm_up(self, *, deadline: float | None = None) -> None:
        """Open the file for this thread."""
        budget = ReadBudget(deadline)
        budget.remaining()
        with self._errors(), self._lock_connections() as mine:
            self._reader(mine, budget)

    def create(self, settings: Any = None, notify: Notify | None = None) -> CreateResult:  # noqa: ARG002
        """Make the file, if it is not there; the settings are DynamoDB's."""
        created = not self.path.is_file()
        with self._errors(), self._lock_connections() as mine:
            self._writer(mine, ReadBudget(None))
        return CreateResult(created=created)

    def check(self) -> None:
        """Raise StoreNotFound if the file is not a featurelayer store; the first write creates a missing one."""
        if self.path.is_file() and self.path.stat().st_size:
            with self._errors(), self._lock_connections() as mine:
                self._reader(mine, ReadBudget(None))

    def describe(self) -> dict[str, Any]:
        """Return the file's facts; `wal_bytes` of `bytes` are still in `-wal`."""
        items = self._query(lambda connection: connection.execute("SELECT count(*) FROM items").fetchone()[0],
                          ReadBudget(None))  # fmt: skip
        wal = self._file.wal_bytes()
        size = self.path.stat().st_size + wal
        return {"type": "sqlite", "path": str(self.path), "layout": LAYOUT, "items": items, "bytes": size,
                "wal_bytes": wal}  # fmt: skip

    def checkpoint(self) -> str:
        """Checkpoint writes into the one file, for copying; return what prevents it, if anything."""
        if not self._has_written or not self.path.is_file():
            return ""
        with self._errors(), self._lock_connections() as mine:
            left = self._file.checkpoint(self._writer(mine, ReadBudget(None)))
        if not left:
            return ""
        return (
            f"{left:,} bytes of {self.path} stay in its -wal file, because another process is using the store; copy it "
            "with `featurelayer online backup`"
        )

    def backup(self, target: str | Path, *, overwrite: bool = False) -> dict[str, Any]:
        """Write the whole store to one file that needs no other, while others read and write; return its facts.

        Raises:
            PlanError: there is a file already, or no such folder.
        """
        target = Path(target)
        with self._errors(), self._lock_connections() as mine:
            reader = self._reader(mine, ReadBudget(None))
            write = partial(self._file.write_backup, reader.connection, target, overwrite=overwrite)
            wait_for_lock(write, self.path, ReadBudget(None), reader.connection)
        with closing(SqliteStore(target)) as copy:
            return copy.describe()

    def close(self) -> None:
        """Close the connections of all threads, and leave one file if no other process has it open.

        A call that is under way ends first; its thread opens the file again with its next call.
        """
        with suppress(OnlineStoreError):
            self.checkpoint()
        with self._opening:
            known, self._known, self._local = self._known, [], threading.local()
        until = monotonic() + _CLOSE_SECONDS
        # The last to be closed should be one that may take `-wal` away.
        for each in sorted(known, key=lambda each: each.writer is not None):
            # SQLite crashes if a connection is closed while another thread uses it. One that is in use for longer is
            # closed when its thread lets go of it.
            is_free = each.lock.acquire(timeout=max(0.0, until - monotonic()))
            each.is_closed = True
            if is_free:
                each.close()
                each.lock.release()

    def _lock_connections(self) -> _Connections:
        """Return this thread's connections, locked; a `with` lets them go."""
        while True:
            mine: _Connections | None = getattr(self._local, "connections", None)
            if mine is None:
                mine = self._local.connections = _Connections()
                self._register(mine)
            mine.lock.acquire()
            if not mine.is_closed:
                return mine
            mine.lock.release()
            self._local.connections = None

    def _register(self, mine: _Connections) -> None:
        """Keep a new thread's connections until they are closed, which those of threads that ended are now."""
        with self._opening:
            ended = [each for each in self._known if not each.thread.is_alive()]
            self._known = [mine, *(each for each in self._known if each not in ended)]
        for each in ended:
            each.close()

    def _query(self, ask: Callable[[sqlite3.Connection], T], budget: ReadBudget) -> T:
        """Return a reader's answer from the current file."""
        with self._errors(), self._lock_connections() as mine:
            while True:
                reader = self._reader(mine, budget)
                found = wait_for_lock(partial(ask, reader.connection), self.path, budget, reader.connection)
                if not reader.immutable or reader.is_current():
                    return found

    def _change(self, change: Callable[[sqlite3.Connection], T], budget: ReadBudget) -> T:
        budget.remaining()
        with self._errors(), self._lock_connections() as mine:
            connection = self._writer(mine, budget)
            self._has_written = True
            return self._file.run_transaction(connection, lambda: change(connection), budget)

    def _reader(self, mine: _Connections, budget: ReadBudget) -> Reader:
        if mine.reader is not None:
            if mine.reader.is_current():
                return mine.reader
            mine.reader.connection.close()
            mine.reader = None
        mine.reader = self._file.open_reader(budget)
        return mine.reader

    def _writer(self, mine: _Connections, budget: ReadBudget) -> sqlite3.Connection:
        if mine.writer is not None:
            if mine.writes_to == self._file.identity():
                return mine.writer
            mine.writer.close()
            mine.writer = None
        mine.writer = self._file.open_writer(budget)
        mine.writes_to = self._file.identity()
        return mine.writer

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if _is_encoding(error):
                raise CorruptItem("its key is not UTF-8 text", pk="an item", sk=str(self.path)) from error
            code = error.sqlite_errorname
            if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")):
                raise StoreUnavailable(f"{self.path} is locked by another writer: {error}", code=code) from error
            if code.startswith("SQLITE_CANTOPEN"):
                raise StoreNotFound(f"{self.path} can't be opened: {error}", code=code) from error
            raise OnlineStoreError(f"{self.path}: {error}", code=code) from error
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorname", "") == "SQLITE_NOTADB":
                raise foreign_store(f"the file {self.path}", "give another path") from error
            raise OnlineStoreError(f"{self.path}: {error}") from error


class _Connections:
    """One thread's connections. While it lives they are closed under `lock` alone."""

    __slots__ = ("is_closed", "lock", "reader", "thread", "writer", "writes_to")

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self.lock, self.is_closed = threading.Lock(), False
        self.reader: Reader | None = None
        self.writer: sqlite3.Connection | None = None
        self.writes_to: tuple[int, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    def close(self) -> None:
        """Close both; the one that writes comes last."""
        for connection in (self.reader.connection if self.reader else None, self.writer):
            if connection is not None:
                connection.close()
        self.reader = self.writer = None


def _read_mode(text: str, where: str) -> int:
    """Return permissions from their octal digits, `0640`."""
    digits = text.removeprefix("0o")
    mode = int(digits, 8) if digits and not set(digits) - set("01234567") else 0
    if mode & 0o600 != 0o600 or mode > 0o777:
        fix = "write the octal digits of permissions that let the owner read and write, such as mode=0640"
        raise ConfigError([Problem(what=f"`mode` is '{text}'", where=where, fix=fix)])
    return mode


def _page(connection: sqlite3.Connection, *, sk: str, after: str) -> list[tuple[str, int, int | None]]:
    return connection.execute(_LIVE, (sk, after, _PAGE)).fetchall()


def _row(item: Item) -> tuple[str | int | None, ...]:
    return (item.pk, item.sk, item.f, item.version, item.as_of, item.event_time, item.valid_to, item.schema, item.ttl,
            int(item.deleted), int(item.streamed))  # fmt: skip


def _read(connection: sqlite3.Connection, keys: Collection[ItemKey]) -> dict[ItemKey, Item]:
    wanted = (_json(_groups(keys)).decode(),)
    try:
        rows = connection.execute(_READ, wanted).fetchall()
        return dict(zip(map(_key, rows), _convert((rows,), _Rows, strict=False).items, strict=True))
    except (sqlite3.OperationalError, msgspec.ValidationError) as error:
        if isinstance(error, sqlite3.OperationalError) and not _is_encoding(error):
            raise
        return {(item.pk, item.sk): item for item in _items_one_by_one(connection, wanted)}


def _groups(keys: Collection[ItemKey]) -> list[tuple[list[str], list[str]]]:
    """Return the keys as products of views and entities; each key once."""
    views: dict[str, list[str]] = {}
    for pk, sk in keys if isinstance(keys, Set) else set(keys):
        if (pks := views.get(sk)) is None:
            views[sk] = [pk]
        else:
            pks.append(pk)
    groups: dict[frozenset[str], tuple[list[str], list[str]]] = {}
    for sk, pks in views.items():
        groups.setdefault(frozenset(pks), ([], pks))[0].append(sk)
    return list(groups.values())


def _items_one_by_one(connection: sqlite3.Connection, wanted: tuple[str]) -> Iterator[Item]:
    """Yield items of which some have columns of a wrong type or text that is not UTF-8; those as damaged ones."""
    connection.text_factory = _text
    try:
        rows = connection.execute(_READ, wanted).fetchall()
    finally:
        connection.text_factory = str
    for row in rows:
        try:
            yield _convert(row, Item, strict=False)
        except msgspec.ValidationError as error:
            yield corrupt_item((str(row[0]), str(row[1])), f"a column is not of its type: {error}")


def _text(raw: bytes) -> str | bytes:
    """Return text, or the bytes that are none."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _is_encoding(error: sqlite3.OperationalError) -> bool:
    return "UTF-8" in str(error)
