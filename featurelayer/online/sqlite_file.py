"""One SQLite file on disk: create it, open it, wait for its locks, and copy it whole.

SQLite writes to a second file first, `-wal`. A copy of the store without it would be old, or empty. So as long as
`-wal` may hold something, the file itself is marked: its `user_version` has `_MARK` added. The mark is written and
checkpointed into the file before the first transaction after a checkpoint. That transaction removes the mark, in
`-wal`. A reader of both files sees no mark, a reader of a copy of the file alone does. Any checkpoint leaves the file
whole and unmarked, also one by another program. The checkpoints made here wait for writers: otherwise one could run
between looking at the mark and writing. They do not wait for ever, so a writer that takes long can leave the file
unmarked.

SQLite's own busy timeout is off: waiting for a lock ends with the caller's deadline, in any statement.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TypeVar
from urllib.parse import quote
from uuid import uuid4

from featurelayer.errors import DeadlineExceeded, PlanError, Problem, StoreNotFound
from featurelayer.online.base import foreign_store
from featurelayer.online.budget import ReadBudget
from featurelayer.retry import Backoff, call_with_retry, wait_until

T = TypeVar("T")

MODE = 0o600
LAYOUT = 2
_APPLICATION_ID = 0x666C6179  # "flay": distinguishes our files from other SQLite databases
_MARK = 1 << 16
_BUSY_SECONDS = 30.0  # without a deadline
_PAUSE, _LONGEST_PAUSE = 0.001, 0.05
_MARK_SECONDS = 0.1
_SETTLE_SECONDS = 1.0
_WAL_BYTES = 4_000_000  # as SQLite's own thousand pages
_WAL_HEADER = 32
_STEPS = 20_000  # of SQLite's virtual machine, between two looks at the clock

_CREATE = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS items (
  pk TEXT NOT NULL, sk TEXT NOT NULL, f TEXT NOT NULL, v INTEGER NOT NULL, t INTEGER NOT NULL, e INTEGER, u INTEGER,
  s TEXT NOT NULL, ttl INTEGER, d INTEGER NOT NULL, w INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (sk, pk)
);
-- Definitions are also listed by pk; they are few, so the index is small.
CREATE INDEX IF NOT EXISTS definitions ON items (pk, sk) WHERE pk >= '#' AND pk < '$';
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {LAYOUT};
COMMIT;
"""


class SqliteFile:
    """The file at `path`, which is created with the permissions `mode`."""

    __slots__ = ("_place", "_target", "mode", "path")

    def __init__(self, path: Path, mode: int = MODE) -> None:
        self.path, self.mode = path, mode
        self._place = str(path.absolute())
        self._resolve()

    def _resolve(self) -> None:
        """Follow symbolic links, as SQLite does: `-wal` lies next to the file that they lead to."""
        self._target = str(Path(self._place).resolve())

    def wal_bytes(self) -> int:
        """Return how large `-wal` is; 0 if there is none."""
        try:
            return os.stat(f"{self._target}-wal").st_size  # noqa: PTH116 (every read may ask; Path takes twice as long)
        except FileNotFoundError:
            return 0

    def identity(self) -> tuple[int, ...]:
        """Return which file is at the path, if any: another one may have been put in its place."""
        return self.signature()[:2]

    def signature(self) -> tuple[int, ...]:
        """Return a signature that changes when the file is written to or replaced."""
        try:
            facts = os.stat(self._place)  # noqa: PTH116
        except FileNotFoundError:
            return ()
        return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns

    def open_reader(self, budget: ReadBudget) -> Reader:
        """Return a connection that never writes.

        Raises:
            StoreNotFound: there is no file, it may not be read, it is not ours, or its `-wal` is missing.
        """
        self._resolve()
        if not Path(self._target).is_file():
            fix = "run `featurelayer export`, or `featurelayer online create` for an empty one"
            raise StoreNotFound(f"no online store exists at {self.path}", fix=fix)
        if not os.access(self._target, os.R_OK):
            fix = "let this user read it, for example by `mode=0640` in the address of the process that creates it"
            raise StoreNotFound(f"{self.path} may not be read by this user", fix=fix)
        try:
            return self._open_validated("mode=ro", self.identity(), budget, immutable=False)
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
                raise
            # SQLite can't make `-shm` here, so this process can't write. Others may: hence the signature.
            seen = self.signature()
            if self.wal_bytes() > _WAL_HEADER:
                fix = "make the folder writable for this user, or ship the file of `featurelayer online backup`"
                raise StoreNotFound(f"the values of {self.path} are in its -wal file, which can't be read in a folder "
"that can't be written",
fix=fix) from error  # fmt: skip
        return self._open_validated("immutable=1", seen, budget, immutable=True)

    def open_writer(self, budget: ReadBudget) -> sqlite3.Connection:
        """Return a connection that writes; the file is made if need be, and brought up to date."""
        self._resolve()
        self._create_file()
        connection = self._connect("mode=rw")
        try:
            wait_for_lock(lambda: self._prepare(connection), self.path, budget)
        except BaseException:
            connection.close()
            raise
        return connection

    def run_transaction(self, connection: sqlite3.Connection, work: Callable[[], T], budget: ReadBudget) -> T:
        """Return what `work` does in one transaction, which holds the lock of writers; done again if it was busy."""

        def run(*, anyway: bool) -> list[T]:
            with _Transaction(connection):
                if not anyway and not self._is_marked():
                    return []
                done = work()
                if _user_version(connection) != LAYOUT:
                    connection.execute(f"PRAGMA user_version = {LAYOUT}")
                return [done]

        results = wait_for_lock(partial(run, anyway=False), self.path, budget, connection)
        if not results:
            self._mark(connection, budget)
            results = wait_for_lock(partial(run, anyway=True), self.path, budget, connection)
        if self.wal_bytes() >= _WAL_BYTES:
            _checkpoint_within(connection, "TRUNCATE", budget.clamp(_MARK_SECONDS))
        return results[0]

    def checkpoint(self, connection: sqlite3.Connection) -> int:
        """Move everything from `-wal` into the file; return how many bytes readers keep there."""

        def clear() -> None:
            with _Transaction(connection):
                connection.execute(f"PRAGMA user_version = {LAYOUT}")

        with suppress(sqlite3.OperationalError, DeadlineExceeded):
            if _user_version(connection) != LAYOUT:
                wait_for_lock(clear, self.path, ReadBudget(monotonic() + _SETTLE_SECONDS))
            _checkpoint_within(connection, "TRUNCATE", _SETTLE_SECONDS)
        return self.wal_bytes()

    def write_backup(self, connection: sqlite3.Connection, target: Path, *, overwrite: bool) -> None:
        """Write a reader's view atomically to one file, with the permissions of any new file.

        Raises:
            PlanError: there is something at `target`, or no folder for it.
        """
        self._validate_target(target, overwrite)
        unfinished = target.with_name(f".{target.name}.{uuid4().hex[:8]}")
        try:
            unfinished.touch()
            connection.execute("VACUUM INTO ?", (str(unfinished),))
            with closing(sqlite3.connect(unfinished, isolation_level=None)) as copy:
                copy.execute(f"PRAGMA user_version = {LAYOUT}")
            with unfinished.open("rb") as written:
                os.fsync(written.fileno())
            if overwrite:
                unfinished.replace(target)
            else:
                _move_new(unfinished, target)
        finally:
            unfinished.unlink(missing_ok=True)

    def _validate_target(self, target: Path, overwrite: bool) -> None:
        problem = None
        if target.exists() and target.samefile(self._target):
            problem = Problem(what=f"{target} is the online store itself", fix="pass another path")
        elif not target.parent.is_dir():
            problem = Problem(what=f"the folder {target.parent} does not exist", fix="create it, or pass another path")
        elif target.is_dir():
            problem = Problem(
                what=f"{target} is a folder", fix=f"pass the path of a file, such as {target / 'online.db'}"
            )
        elif target.exists() and not overwrite:
            problem = _target_exists(target)
        elif target.with_name(f"{target.name}-wal").exists():
            what = f"{target} is in use: {target.name}-wal exists"
            problem = Problem(what=what, fix="pass another path, and move the file when nothing uses the old one")
        if problem is not None:
            raise PlanError([problem])

    def _create_file(self) -> None:
        file = Path(self._target)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, self.mode))
            file.chmod(self.mode)  # whatever the umask
        except FileExistsError:
            if not file.is_file():
                raise foreign_store(str(self.path), "pass the path of a file") from None
        except OSError as error:
            fix = "pass another path, or let this user write there"
            raise StoreNotFound(f"{self.path} can't be created: {error.strerror}", fix=fix) from error

    def _connect(self, how: str) -> sqlite3.Connection:
        address = f"file:{quote(self._target)}?{how}"
        return sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, timeout=0)

    def _open_validated(self, how: str, seen: tuple[int, ...], budget: ReadBudget, *, immutable: bool) -> Reader:
        reader = Reader(self, self._connect(how), seen, immutable=immutable)
        try:
            wait_for_lock(lambda: self._validate_reader(reader.connection), self.path, budget)
        except BaseException:
            reader.connection.close()
            raise
        return reader

    def _validate_reader(self, connection: sqlite3.Connection) -> None:
        layout = self._validate_layout(connection)
        if layout < LAYOUT:
            fix = "run `featurelayer online create` once, which brings it up to date"
            raise foreign_store(f"the file {self.path}", fix, "it was made by an older version")

    def _validate_layout(self, connection: sqlite3.Connection) -> int:
        """Return the layout of the file."""
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = _user_version(connection)
        if not application and self._is_bare(connection):
            raise self._wal_missing()
        if application != _APPLICATION_ID:
            raise foreign_store(f"the file {self.path}", "give another path; `featurelayer export` creates the file")
        layout = int(version & ~_MARK)
        if layout > LAYOUT:
            raise foreign_store(f"the file {self.path} (layout {layout})", "upgrade dbt-featurelayer; it is newer")
        # Another process may be between marking and writing, with a checkpoint in the middle: for milliseconds.
        if version & _MARK and not wait_until(lambda: self._is_whole(connection), _MARK_SECONDS):
            raise self._wal_missing()
        return layout

    def _is_whole(self, connection: sqlite3.Connection) -> bool:
        return self.wal_bytes() > _WAL_HEADER or not _user_version(connection) & _MARK

    def _is_bare(self, connection: sqlite3.Connection) -> bool:
        """Return whether this is a file whose tables are all in a `-wal` that is not there."""
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return mode == "wal" and not tables and self.wal_bytes() <= _WAL_HEADER

    def _wal_missing(self) -> StoreNotFound:
        return StoreNotFound(
            f"{self.path} was copied without {self.path.name}-wal, which holds its newest values",
            fix="copy the store with `featurelayer online backup PATH`; if this is the only copy, "
            "delete it and run `featurelayer export --full`",
        )

    def _prepare(self, connection: sqlite3.Connection) -> None:
        made = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        layout = self._validate_layout(connection) if made else 0
        connection.execute("PRAGMA journal_mode = WAL")
        # In WAL mode NORMAL survives a crash of the process, and a power cut leaves a whole older state.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        if layout == LAYOUT:
            return
        if made:
            self._migrate(connection)
        connection.executescript(_CREATE)
        _checkpoint_within(connection, "TRUNCATE", _MARK_SECONDS)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Add what files of the first layout lack; another process may be doing the same."""
        with _Transaction(connection):
            if "w" not in [column[1] for column in connection.execute("PRAGMA table_info(items)")]:
                connection.execute("ALTER TABLE items ADD COLUMN w INTEGER NOT NULL DEFAULT 0")

    def _is_marked(self) -> bool:
        """Return whether the file alone, without its `-wal`, is marked."""
        # By SQLite and not by open(): closing any other handle would drop this process's locks on the file.
        with closing(self._connect("immutable=1")) as alone:
            return bool(_user_version(alone) & _MARK)

    def _mark(self, connection: sqlite3.Connection, budget: ReadBudget) -> None:
        """Mark the file. If a long read prevents the checkpoint, the file stays unmarked; no writer waits."""

        def mark() -> None:
            with _Transaction(connection):
                connection.execute(f"PRAGMA user_version = {LAYOUT | _MARK}")

        wait_for_lock(mark, self.path, budget)
        _checkpoint_within(connection, "FULL", budget.clamp(_MARK_SECONDS))


class Reader:
    """A connection that never writes, and what was at the path when it was opened.

    An `immutable` one takes no locks and sees no `-wal`. It is right while no process writes: what it has read counts
    if the file's signature was the same before and after.
    """

    __slots__ = ("_file", "_seen", "connection", "immutable")

    def __init__(
        self, file: SqliteFile, connection: sqlite3.Connection, seen: tuple[int, ...], *, immutable: bool
    ) -> None:
        self._file, self.connection, self._seen, self.immutable = file, connection, seen, immutable

    def is_current(self) -> bool:
        """Return whether the path still leads to the opened file."""
        if self.immutable:
            return self._seen == self._file.signature() and self._file.wal_bytes() <= _WAL_HEADER
        return self._seen == self._file.identity()


class _Transaction:
    """A transaction that holds the lock of writers from its beginning."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def wait_for_lock(
    action: Callable[[], T], path: Path, budget: ReadBudget, connection: sqlite3.Connection | None = None
) -> T:
    """Return the result of `action`; retry while another process holds the lock.

    With a `connection`, a statement of it that is still running when the time is up is stopped.

    Raises:
        DeadlineExceeded: the time was up first.
    """
    until = budget.until
    if connection is not None:
        connection.set_progress_handler(None if until is None else lambda: monotonic() > until, _STEPS)
    seconds = _BUSY_SECONDS if until is None else until - monotonic()
    backoff = Backoff(_PAUSE, _LONGEST_PAUSE, jitter=False)
    try:
        return call_with_retry(action, seconds, is_transient=is_locked, backoff=backoff)
    except sqlite3.OperationalError as error:
        if until is None:
            raise
        if getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
            budget.remaining()
        if not is_locked(error):
            raise
        what = f"{path} was locked by another process until the deadline passed; allow it more time"
        raise DeadlineExceeded(what) from error


def is_locked(error: Exception) -> bool:
    """Return whether another process's lock is in the way."""
    code = getattr(error, "sqlite_errorname", "")  # Python's own errors have none
    return code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL"))


def _checkpoint_within(connection: sqlite3.Connection, kind: str, seconds: float) -> None:
    """Checkpoint with writers shut out, waiting for them and for readers."""
    # Without a timeout of its own SQLite would not wait for a writer but checkpoint in parallel.
    connection.execute(f"PRAGMA busy_timeout = {max(1, int(seconds * 1000))}")
    try:
        connection.execute(f"PRAGMA wal_checkpoint({kind})").fetchone()
    finally:
        connection.execute("PRAGMA busy_timeout = 0")


def _user_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _target_exists(target: Path) -> Problem:
    return Problem(what=f"{target} exists already", fix="pass --overwrite, or another path")


def _move_new(unfinished: Path, target: Path) -> None:
    """Rename a new file to its target, unless a file with that name has appeared meanwhile."""
    try:
        os.link(unfinished, target)
    except FileExistsError:
        raise PlanError([_target_exists(target)]) from None
    except OSError:  # a file system without links
        if target.exists():
            raise PlanError([_target_exists(target)]) from None
        unfinished.replace(target)
