"""Every public call of both clients takes a deadline and keeps it: against a silent store, and locks of a process."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Event

import pytest

from featurelayer.errors import DeadlineExceeded, PlanError, StoreUnavailable
from featurelayer.export import publish_services
from featurelayer.online import AsyncFeatureClient, FeatureClient, MemoryStore
from featurelayer.online.stores.sqlite import SqliteStore
from tests.exporting import export_view
from tests.online_cases import PLANE_LEGS, legs_batch, service_of

pytestmark = pytest.mark.slow

T = datetime(2026, 11, 1, 12, tzinfo=UTC)
N1 = {"tailnum": "N1"}
ROW = {"tailnum": "N1", "arr_delay": 1.0, "legs": 1}
CALLS = {
    "lookup": lambda client, **more: client.lookup("late_arrival", N1, **more),
    "lookup_many": lambda client, **more: client.lookup_many("late_arrival", [N1], **more),
    "unknown": lambda client, **more: client.lookup("early_arrival", N1, **more),
    "write": lambda client, **more: client.write("plane_legs", [ROW], **more),
    "service": lambda client, **more: client.service("late_arrival", **more),
    "services": lambda client, **more: client.services(**more),
    "warm_up": lambda client, **more: client.warm_up(**more),
    "warm_up one": lambda client, **more: client.warm_up(["late_arrival"], **more),
}  # fmt: skip
# Generous: other people's tests run on the same machine. What is tested took 30 seconds or for ever.
SOON = 25.0
LOCKED = "locked by another process"


def filled(store):
    publish_services(store, [service_of(PLANE_LEGS)], {"plane_legs": PLANE_LEGS}, 1)
    export_view(store, PLANE_LEGS, [legs_batch([("N1", T, 1.5, 2)])], as_of=T)
    return store


class Silent(MemoryStore):
    """A store that notes the deadlines of its calls, and answers none once it is mute."""

    def __init__(self):
        super().__init__()
        self.deadlines, self.speak = [], Event()
        self.speak.set()

    def _heard(self, deadline):
        self.deadlines.append(deadline)
        self.speak.wait(30)

    def read(self, keys, *, deadline=None, **options):
        self._heard(deadline)
        return super().read(keys, **options)

    def write(self, items, *, deadline=None, **options):
        self._heard(deadline)
        return super().write(items, **options)

    def names(self, pk, *, deadline=None):
        self._heard(deadline)
        return super().names(pk)

    def warm_up(self, *, deadline=None):
        self._heard(deadline)


def run(call, kind, store, **more):
    """Call a fresh client of that kind."""
    if kind is FeatureClient:
        return call(FeatureClient(store), **more)
    return asyncio.run(_await(call, store, more))


async def _await(call, store, more):
    return await call(AsyncFeatureClient(store), **more)


@pytest.mark.parametrize("kind", [FeatureClient, AsyncFeatureClient])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("deadline", ["1", -1, -0.001, float("nan"), True, [1], timedelta(seconds=-1)])
def test_what_is_no_length_of_time_is_named_before_anything_is_read(kind, call, deadline):
    store = filled(Silent())
    store.deadlines.clear()
    with pytest.raises(PlanError, match="`deadline` is ") as caught:
        run(CALLS[call], kind, store, deadline=deadline)
    assert repr(deadline) in str(caught.value)
    assert store.deadlines == []


@pytest.mark.parametrize("deadline", ["soon", -1, True])
def test_connect_names_a_wrong_deadline_too(deadline):
    for kind in (FeatureClient, AsyncFeatureClient):
        with pytest.raises(PlanError, match="`deadline` is "):
            kind.connect("memory://deadlines", deadline=deadline)


@pytest.mark.parametrize("kind", [FeatureClient, AsyncFeatureClient])
@pytest.mark.parametrize("call", [name for name in CALLS if name != "unknown"])
def test_every_call_to_the_store_gets_what_is_left(kind, call):
    store = filled(Silent())
    for deadline, bound in ((60, 60), (timedelta(minutes=1), 60), (None, None), (float("inf"), 400 * 86_400),
                            (10**400, 400 * 86_400)):  # fmt: skip
        store.deadlines.clear()
        began = time.monotonic()
        run(CALLS[call], kind, store, deadline=deadline)
        assert store.deadlines
        for each in store.deadlines:
            assert each is None if bound is None else began < each <= time.monotonic() + bound


@pytest.mark.parametrize("kind", [FeatureClient, AsyncFeatureClient])
@pytest.mark.parametrize("call", [name for name in CALLS if name != "unknown"])
def test_every_call_has_a_deadline_of_its_own(kind, call):
    store = filled(Silent())
    store.deadlines.clear()
    run(CALLS[call], kind, store)
    assert store.deadlines
    assert None not in store.deadlines


@pytest.mark.parametrize("call", CALLS)
def test_an_async_call_ends_in_time_whatever_the_store_does(call):
    store = filled(Silent())

    async def work() -> float:
        client = AsyncFeatureClient(store)
        store.speak.clear()
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="allow it more time"):
            await CALLS[call](client, deadline=0.2)
        took = time.monotonic() - began
        store.speak.set()
        return took

    assert asyncio.run(work()) < SOON


def test_an_async_client_closes_while_its_threads_are_busy(monkeypatch):
    monkeypatch.setattr("featurelayer.online.aio._CLOSE_SECONDS", 0.3)
    store = filled(Silent())
    store.close = lambda: store.speak.wait(30)

    async def work() -> float:
        client = AsyncFeatureClient(store, concurrency=1)
        store.speak.clear()
        lookup = asyncio.create_task(client.lookup("late_arrival", N1, deadline=None))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        await client.close()
        took = time.monotonic() - began
        store.speak.set()
        assert (await lookup).service.startswith("late_arrival@")
        return took

    assert asyncio.run(work()) < SOON


def test_what_an_async_close_raises_is_raised():
    class Broken(MemoryStore):
        def close(self):
            raise StoreUnavailable("it is stuck")

    with pytest.raises(StoreUnavailable, match="it is stuck"):
        asyncio.run(AsyncFeatureClient(Broken()).close())


# --- SQLite, and locks of another process ----------------------------------------------------------------------------

EXCLUSIVE = """
import sqlite3
held = sqlite3.connect(path, isolation_level=None)
held.execute("PRAGMA locking_mode = EXCLUSIVE")
held.execute("BEGIN EXCLUSIVE")
"""
WRITING = """
import sqlite3
held = sqlite3.connect(path, isolation_level=None)
held.execute("BEGIN IMMEDIATE")
"""
# What a process does that finds -wal after a crash, stopped in the middle: it has the locks of SQLite's format
# (WRITE and RECOVER, bytes 120 and 122 of -shm), and the index is not valid.
RECOVERING = """
import fcntl
held = open(path + "-shm", "r+b")
for byte in (120, 122):
    fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
held.write(bytes(96))
held.flush()
"""


@contextmanager
def process(code: str, path):
    """Another process that has run the code, until the block ends."""
    script = f"import sys, time\npath = sys.argv[1]\n{code}\nprint('ready', flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as it:
        try:
            assert it.stdout.readline() == b"ready\n"
            yield it
        finally:
            it.stdin.close()
            it.wait(10)


def ends_in_time(call, match: str, deadline: float = 0.2) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=match):
        call(deadline=deadline)
    took = time.monotonic() - began
    assert deadline * 0.9 < took < SOON


@pytest.mark.parametrize("kind", [FeatureClient, AsyncFeatureClient])
@pytest.mark.parametrize("call", CALLS)
def test_a_file_that_is_locked_as_a_whole(tmp_path, kind, call):
    path = tmp_path / "online.db"
    filled(SqliteStore(path)).close()
    with process(EXCLUSIVE, path):
        ends_in_time(
            lambda deadline: run(CALLS[call], kind, SqliteStore(path), deadline=deadline), f"{LOCKED}|before every"
        )


@pytest.mark.parametrize("call", [name for name in CALLS if name != "write"])
def test_a_reader_that_is_open_meets_a_lock(tmp_path, call):
    """In a file without WAL, such as a backup, a writer does shut readers out."""
    path = tmp_path / "online.db"
    store = filled(SqliteStore(tmp_path / "live.db"))
    store.backup(path)
    store.close()
    store = SqliteStore(path)
    client = FeatureClient(store)
    assert client.lookup("late_arrival", N1, now=T).to_list() == [1.5, 2]
    with process(EXCLUSIVE.replace("PRAGMA locking_mode = EXCLUSIVE", "SELECT 1"), path):
        ends_in_time(lambda deadline: CALLS[call](FeatureClient(store), deadline=deadline), LOCKED)
        ends_in_time(lambda deadline: client.lookup("late_arrival", N1, deadline=deadline), LOCKED)
    assert client.lookup("late_arrival", N1, now=T, deadline=60).to_list() == [1.5, 2]
    store.close()


def test_a_read_waits_for_a_lock_that_is_released_in_time(tmp_path):
    path = tmp_path / "online.db"
    filled(SqliteStore(path)).close()
    code = EXCLUSIVE + "import threading\nthreading.Timer(0.5, held.close).start()"
    with process(code.replace("isolation_level=None", "isolation_level=None, check_same_thread=False"), path):
        assert FeatureClient(SqliteStore(path)).lookup("late_arrival", N1, now=T, deadline=60).to_list() == [1.5, 2]


@pytest.mark.parametrize("call", [name for name in CALLS if name != "write"])
def test_reads_while_another_process_recovers_the_file(tmp_path, call):
    path = tmp_path / "online.db"
    store = filled(SqliteStore(path))
    client = FeatureClient(store)
    client.warm_up()
    with process(RECOVERING, path):
        ends_in_time(lambda deadline: CALLS[call](FeatureClient(store), deadline=deadline), LOCKED)
        ends_in_time(lambda deadline: client.lookup("late_arrival", N1, deadline=deadline), LOCKED)
    assert client.lookup("late_arrival", N1, now=T, deadline=60).to_list() == [1.5, 2]
    store.close()


@pytest.mark.parametrize("opened", [False, True])
def test_a_write_while_another_process_writes(tmp_path, opened):
    path = tmp_path / "online.db"
    store = filled(SqliteStore(path))
    client = FeatureClient(store)
    if opened:
        client.write("plane_legs", [ROW])
    else:
        store.close()
    with process(WRITING, path):
        ends_in_time(lambda deadline: client.write("plane_legs", [ROW], deadline=deadline), LOCKED)
        ends_in_time(lambda deadline: store.remove([("a", "b")], deadline=time.monotonic() + deadline), LOCKED)
        client.lookup("late_arrival", N1)  # readers do not wait
        began = time.monotonic()
        store.close()  # nor does closing, for long
        assert time.monotonic() - began < SOON
    assert client.write("plane_legs", [ROW | {"legs": 7}], deadline=60).written == 1
    store.close()


def test_a_lock_is_reported_without_a_deadline_too(tmp_path, monkeypatch):
    monkeypatch.setattr("featurelayer.online.sqlite_file._BUSY_SECONDS", 0.2)
    path = tmp_path / "online.db"
    filled(SqliteStore(path)).close()
    with process(EXCLUSIVE, path), pytest.raises(StoreUnavailable, match="is locked by another writer"):
        SqliteStore(path).read([("a", "b")])


def test_a_statement_that_runs_on_is_stopped(tmp_path):
    path = tmp_path / "online.db"
    store = filled(SqliteStore(path))
    keys = [(f"plane[{number}]", "plane_legs@0") for number in range(300_000)]
    store.warm_up()
    with pytest.raises(DeadlineExceeded, match="before every item was read"):
        store.read(keys, deadline=time.monotonic() + 0.02)
    assert len(store.read([('plane["N1"]', "plane_legs@0")])) == 1
    with sqlite3.connect(path) as other:
        other.execute("SELECT 1")
    other.close()
    store.close()
