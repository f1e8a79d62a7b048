"""A store in one SQLite file: the embedded default, for one machine and no server.

WAL: readers never wait for an export and always see whole transactions. Only writing creates the file.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from featurelayer.errors import ConfigError, CorruptItem, OnlineStoreError, Problem, StoreNotFound, StoreUnavailable
from featurelayer.online.base import (
    Item,
    ItemKey,
    Limits,
    LiveKey,
    ReadBudget,
    StoreUrl,
    Usage,
    Written,
    damaged_item,
    foreign_store,
    live_key,
    sort_out,
)

if TYPE_CHECKING:
    from featurelayer.online.provision import Creation, Tell
    from featurelayer.online.tables import TableSettings
from featurelayer.online.forks import renew_after_fork

_APPLICATION_ID = 0x666C6179  # "flay": tells our files from anybody's SQLite database
_LAYOUT = 2
_BUSY_SECONDS = 30.0
_PAGE = 2_000

_COLUMNS = "pk, sk, f, v, t, e, u, s, ttl, d, w"
_FIELDS = ("pk", "sk", "v", "f", "s", "t", "e", "u", "ttl", "d", "w")  # as Item has them
_CREATE = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS items (
  pk TEXT NOT NULL, sk TEXT NOT NULL, f TEXT NOT NULL, v INTEGER NOT NULL, t INTEGER NOT NULL, e INTEGER, u INTEGER,
  s TEXT NOT NULL, ttl INTEGER, d INTEGER NOT NULL, w INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (sk, pk)
);
-- Definitions are also listed by pk; they are few, so the index is small.
CREATE INDEX IF NOT EXISTS definitions ON items (pk, sk) WHERE pk >= '#' AND pk < '$';
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_LAYOUT};
COMMIT;
"""
# The keys come as one JSON array, so any number of them is one statement.
_READ = f"""
SELECT {", ".join(f"items.{name}" for name in _FIELDS)} FROM json_each(?) AS wanted
CROSS JOIN items ON items.sk = json_extract(wanted.value, '$[1]') AND items.pk = json_extract(wanted.value, '$[0]')
"""  # noqa: S608 (constants only)
# The newer-wins rule of Item.replaces, where the row is locked.
_PUT = f"""
INSERT INTO items ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (sk, pk) DO UPDATE SET
  f = excluded.f, v = excluded.v, t = excluded.t, e = excluded.e, u = excluded.u, s = excluded.s,
  ttl = excluded.ttl, d = excluded.d, w = excluded.w
WHERE CASE WHEN ? OR NOT (excluded.w OR items.w) OR excluded.e IS NULL OR items.e IS NULL THEN excluded.v > items.v
  ELSE (excluded.e, excluded.v) > (items.e, items.v) END
"""  # noqa: S608 (constants only)
_LIVE = "SELECT pk, v, e FROM items WHERE sk = ? AND pk > ? AND d = 0 ORDER BY pk LIMIT ?"
_NAMES = "SELECT sk FROM items WHERE pk = ? AND pk >= '#' AND pk < '$' ORDER BY sk"

_REMOVE = "DELETE FROM items WHERE pk = ? AND sk = ?"


class _Rows(msgspec.Struct, array_like=True):
    """Rows as items, each column of its type; not strict, since truth values are numbers here."""

    items: list[Item]


_json = msgspec.json.Encoder().encode
_convert = msgspec.convert


def connect(url: StoreUrl) -> SqliteStore:
    """Return the store in the file that the address names: `sqlite:///relative.db`, `sqlite:////absolute.db`."""
    url.only()
    path = url.location.removeprefix("/")
    if not url.location.startswith("/") or not path:
        raise ConfigError([Problem(
            what=f"'{url.text}' names no file", fix="write sqlite:///relative/path.db or sqlite:////absolute/path.db",
        )])  # fmt: skip
    return SqliteStore(path)


class SqliteStore:
    """An `OnlineStore` in the file at `path`. Safe to share between threads; each has its own connection."""

    limits: Limits | None = None

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._open: list[sqlite3.Connection] = []
        self._inherited: list[sqlite3.Connection] = []
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Leave a parent's connections alone: SQLite's must neither be used nor closed in a child."""
        self._inherited += self._open
        self._open = []
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
        ReadBudget(deadline).left()
        if not keys:
            return {}
        with self._errors():
            found = _read(self._reader(), keys)
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
        """Put what replaces what is there and differs from it, in one transaction. Creates the file if need be."""
        ReadBudget(deadline, "written").left()
        with self._errors():
            connection = self._writer()
            connection.execute("BEGIN IMMEDIATE")
            try:
                stored = _read(connection, [item.key for item in items])
                work = sort_out(items, stored, rewind=rewind, rewrite=rewrite)
                connection.executemany(_PUT, [(*_row(item), rewind) for item in work.put + work.renew])
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        size = sum(item.size for item in work.put)
        return Written(written=len(work.put), unchanged=work.unchanged, lost=tuple(work.lost), bytes=size)

    def live(self, sk: str) -> Iterator[LiveKey]:
        """Yield the entities that a view has values for; no transaction stays open while the caller works."""
        after = ""
        while True:
            with self._errors():
                page = self._reader().execute(_LIVE, (sk, after, _PAGE)).fetchall()
            for pk, version, event_time in page:
                yield live_key(pk, version, event_time)
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    def names(self, pk: str, *, deadline: float | None = None) -> list[str]:
        """Return every `sk` under one `pk` of a definition."""
        ReadBudget(deadline).left()
        with self._errors():
            return [sk for (sk,) in self._reader().execute(_NAMES, (pk,))]

    def remove(self, keys: Collection[ItemKey], *, deadline: float | None = None) -> None:
        """Delete items, in one transaction."""
        ReadBudget(deadline, "removed").left()
        with self._errors():
            connection = self._writer()
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_REMOVE, keys)
            connection.execute("COMMIT")

    def warm_up(self, *, deadline: float | None = None) -> None:
        """Open the file for this thread."""
        ReadBudget(deadline).left()
        with self._errors():
            self._reader()

    def create(self, settings: TableSettings | None = None, tell: Tell | None = None) -> Creation:  # noqa: ARG002
        """Make the file, if it is not there; the settings are DynamoDB's."""
        from featurelayer.online.provision import Creation

        created = not self.path.is_file()
        with self._errors():
            self._writer()
        return Creation(created=created)

    def check(self) -> None:
        """Raise StoreNotFound if the file is somebody else's; one that is missing is made by the first write."""
        if self.path.is_file() and self.path.stat().st_size:
            with self._errors():
                self._reader()

    def describe(self) -> dict[str, Any]:
        """Return the file's facts."""
        with self._errors():
            connection = self._reader()
            (items,) = connection.execute("SELECT count(*) FROM items").fetchone()
            (layout,) = connection.execute("PRAGMA user_version").fetchone()
        size = sum(path.stat().st_size for path in (self.path, self._log()) if path.is_file())
        return {"type": "sqlite", "path": str(self.path), "layout": layout, "items": items, "bytes": size}

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._opening:
            for connection in self._open:
                connection.close()
            self._open.clear()
            self._local = threading.local()

    def _log(self) -> Path:
        return self.path.with_name(f"{self.path.name}-wal")

    def _reader(self) -> sqlite3.Connection:
        return self._connection("reader", self._open_reader)

    def _writer(self) -> sqlite3.Connection:
        return self._connection("writer", self._open_writer)

    def _connection(self, role: str, opener: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, role, None)
        if connection is None:
            connection = opener()
            with self._opening:
                self._open.append(connection)
            setattr(self._local, role, connection)
        return connection

    def _open_reader(self) -> sqlite3.Connection:
        if not self.path.is_file():
            fix = "run `featurelayer export`, or `featurelayer online create` for an empty one"
            raise StoreNotFound(f"there is no online store at {self.path}\n  fix  {fix}")
        address = f"file:{quote(str(self.path.resolve()))}?mode=ro"
        connection = sqlite3.connect(
            address, uri=True, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS
        )
        try:
            if self._check_ours(connection) < _LAYOUT:
                fix = "run `featurelayer online create` once, which brings it up to date"
                raise foreign_store(f"the file {self.path}", fix, "it was made by an older version")
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_writer(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS)
        try:
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                self._bring_up(connection, self._check_ours(connection))
            _use_wal(connection)
            # In WAL mode NORMAL survives a crash of the process, and a power cut leaves a whole older state.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(_CREATE)
        except BaseException:
            connection.close()
            raise
        return connection

    def _bring_up(self, connection: sqlite3.Connection, layout: int) -> None:
        """Add what files of the first layout lack; another process may be doing the same."""
        if layout < _LAYOUT:
            connection.execute("BEGIN IMMEDIATE")
            if "w" not in [column[1] for column in connection.execute("PRAGMA table_info(items)")]:
                connection.execute("ALTER TABLE items ADD COLUMN w INTEGER NOT NULL DEFAULT 0")
            connection.execute("COMMIT")

    def _check_ours(self, connection: sqlite3.Connection) -> int:
        """Return the layout of the file."""
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        layout = connection.execute("PRAGMA user_version").fetchone()[0]
        if application != _APPLICATION_ID:
            raise foreign_store(f"the file {self.path}", "give another path; `featurelayer export` creates the file")
        if layout > _LAYOUT:
            raise foreign_store(f"the file {self.path} (layout {layout})", "upgrade dbt-featurelayer; it is newer")
        return int(layout)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if _is_encoding(error):
                raise CorruptItem("its key is not UTF-8 text", pk="an item", sk=str(self.path)) from error
            code = error.sqlite_errorname
            if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise StoreUnavailable(f"{self.path} is locked by another writer: {error}", code=code) from error
            if code.startswith("SQLITE_CANTOPEN"):
                raise StoreNotFound(f"{self.path} can't be opened: {error}", code=code) from error
            raise OnlineStoreError(f"{self.path}: {error}", code=code) from error
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorname", "") == "SQLITE_NOTADB":
                raise foreign_store(f"the file {self.path}", "give another path") from error
            raise OnlineStoreError(f"{self.path}: {error}") from error


def _row(item: Item) -> tuple[str | int | None, ...]:
    return (item.pk, item.sk, item.f, item.version, item.as_of, item.event_time, item.valid_to, item.schema, item.ttl,
            int(item.deleted), int(item.streamed))  # fmt: skip


def _read(connection: sqlite3.Connection, keys: Collection[ItemKey]) -> dict[ItemKey, Item]:
    wanted = (_json(list(keys)).decode(),)
    try:
        items = _convert((connection.execute(_READ, wanted).fetchall(),), _Rows, strict=False).items
    except (sqlite3.OperationalError, msgspec.ValidationError) as error:
        if isinstance(error, sqlite3.OperationalError) and not _is_encoding(error):
            raise
        items = list(_items_one_by_one(connection, wanted))
    return {(item.pk, item.sk): item for item in items}


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
            yield damaged_item((str(row[0]), str(row[1])), f"a column is not of its type: {error}")


def _text(raw: bytes) -> str | bytes:
    """Return text, or the bytes that are none."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _is_encoding(error: sqlite3.OperationalError) -> bool:
    return "UTF-8" in str(error)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Turn WAL mode on, waiting for others who do the same: SQLite waits for no lock that it would upgrade to."""
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > until:
                raise
        time.sleep(0.005)
