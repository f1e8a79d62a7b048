"""A SQLite store is one file: after an export, as a backup, copied, on read-only media, replaced, and whose it is."""

import gc
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from featurelayer.errors import ConfigError, FeatureLayerError, PlanError, StoreNotFound
from featurelayer.online import Item, open_store
from featurelayer.online.stores.sqlite import SqliteStore

pytestmark = pytest.mark.slow

NOBODY = 65534
COPIED = "was copied without online.db-wal"
SERVE = """
import os, sys
from featurelayer.online.stores.sqlite import SqliteStore
from featurelayer.errors import FeatureLayerError
store = SqliteStore(sys.argv[1])
if len(sys.argv) > 2:  # only now: Python itself may be where only root can read
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
for line in sys.stdin:
    try:
        print(len(list(store.live("legs@0"))), flush=True)
    except FeatureLayerError as error:
        print(str(error).replace("\\n", " "), flush=True)
"""


def rows(numbers, v: int = 1) -> list[Item]:
    return [Item(pk=f"plane[{number}]", sk="legs@0", version=v, event_time=v, f=f"[{v}]", schema="5c", as_of=v)
            for number in numbers]  # fmt: skip


def content(store: SqliteStore) -> list:
    return list(store.live("legs@0"))


def alone(path: Path, folder: Path) -> Path:
    """Copy the file, and only the file, as people do."""
    folder.mkdir(exist_ok=True)
    return Path(shutil.copy(path, folder / path.name))


@contextmanager
def reader_of(path, *, user: int | None = None):
    """A process that says what is in the store, once per line that it is sent."""
    command = [sys.executable, "-c", SERVE, str(path), *([] if user is None else [str(user)])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask() -> str:
            print(file=process.stdin, flush=True)
            return process.stdout.readline().strip()

        try:
            yield ask
        finally:
            process.stdin.close()
            process.wait(10)


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder that other users can reach."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder in (Path(tempfile.gettempdir()), Path("/")):
            break  # xdist makes one folder more than pytest alone
        if folder.stat().st_uid == os.getuid():
            folder.chmod(folder.stat().st_mode | 0o055)
    (tmp_path / "store").mkdir()
    return tmp_path / "store" / "online.db"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- one file --------------------------------------------------------------------------------------------------------


def test_a_closed_store_is_one_file(place):
    store = SqliteStore(place)
    store.write(rows(range(100)))
    assert len(content(store)) == 100  # a reader is open, too, and must not be what keeps -wal
    store.close()
    assert names(place.parent) == ["online.db"]
    with closing(SqliteStore(place)) as again:
        assert len(content(again)) == 100


def test_a_settled_store_is_whole_though_others_have_it_open(place):
    store = SqliteStore(place)
    store.write(rows(range(10)))
    with reader_of(place) as ask:
        assert ask() == "10"
        store.write(rows(range(100), v=2))
        assert store.checkpoint() == ""
        with closing(SqliteStore(alone(place, place.parent / "copy"))) as copy:
            assert content(copy) == content(store)
        assert ask() == "100"
    assert store.describe()["wal_bytes"] == 0
    store.close()


def test_what_remains_is_said(place):
    store = SqliteStore(place)
    store.write(rows(range(10)))
    store.checkpoint()
    with closing(sqlite3.connect(place, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM items").fetchone()
        store.write(rows(range(100), v=2))
        assert "bytes of" in store.checkpoint()
        assert "featurelayer online backup" in store.checkpoint()
        assert store.describe()["wal_bytes"] > 0
    assert store.checkpoint() == ""
    store.close()


def test_a_store_that_was_never_made_settles(place):
    store = SqliteStore(place)
    assert store.checkpoint() == ""
    store.close()
    assert not place.exists()


# --- copies ----------------------------------------------------------------------------------------------------------


def test_a_copy_without_its_wal_is_named(place):
    store = SqliteStore(place)
    store.write(rows(range(10)))
    copied = alone(place, place.parent / "copy")
    for call in (
        lambda copy: copy.read([("a", "b")]), lambda copy: copy.names("#view"), lambda copy: copy.warm_up(),
        lambda copy: copy.check(), lambda copy: copy.describe(), lambda copy: copy.write(rows([1], v=9)),
        lambda copy: copy.create(), lambda copy: copy.backup(place.parent / "backup.db"),
    ):  # fmt: skip
        with closing(SqliteStore(copied)) as copy, pytest.raises(StoreNotFound, match=COPIED):
            call(copy)
    shutil.copy(f"{place}-wal", f"{copied}-wal")
    with closing(SqliteStore(copied)) as copy:
        assert content(copy) == content(store)
    store.close()


def test_a_copy_without_tables_is_named_and_not_called_foreign(place):
    """What stores of the first releases left: everything was in -wal."""
    with closing(sqlite3.connect(place, isolation_level=None)) as made:
        made.execute("PRAGMA journal_mode = WAL")
        made.execute("CREATE TABLE items (pk)")
        copied = alone(place, place.parent / "copy")
    with closing(SqliteStore(copied)) as copy, pytest.raises(StoreNotFound, match=COPIED):
        copy.read([("a", "b")])
    with closing(SqliteStore(place)) as foreign, pytest.raises(StoreNotFound, match="not a featurelayer store"):
        foreign.read([("a", "b")])


@pytest.mark.parametrize("seed", range(5))
def test_a_copy_is_whole_or_refused_at_any_moment(place, monkeypatch, seed):
    """Never silently old: whatever was written, checkpointed, closed or left behind before."""
    monkeypatch.setattr("featurelayer.online.sqlite_file._WAL_BYTES", 40_000)
    monkeypatch.setattr("featurelayer.online.sqlite_file._SETTLE_SECONDS", 0.01)
    chance, version, refused = random.Random(seed), 0, 0
    stores = [SqliteStore(place), SqliteStore(place)]
    for step in range(40):
        store = chance.choice(stores)
        version += 1
        match chance.randrange(8):
            case 0 | 1 | 2 | 3:
                store.write(rows(chance.sample(range(400), chance.randrange(1, 200)), v=version))
            case 4:
                store.remove([(f"plane[{number}]", "legs@0") for number in chance.sample(range(400), 20)])
            case 5:
                store.checkpoint()
            case 6:
                store.close()
            case 7 if place.exists():  # another program, with SQLite's own habits
                with closing(sqlite3.connect(place)) as other:
                    other.execute(f"PRAGMA wal_checkpoint({chance.choice(['PASSIVE', 'FULL', 'TRUNCATE'])})")
        if not place.exists():
            continue
        copied = alone(place, place.parent / f"copy{step}")
        with closing(SqliteStore(copied)) as copy:
            try:
                copied_content = content(copy)
            except StoreNotFound:
                refused += 1
                continue
            assert copied_content == content(store)
    for store in stores:
        store.close()
    assert 0 < refused < 40


def test_a_checkpoint_waits_for_a_writer_and_does_not_run_beside_it(place, monkeypatch):
    """Beside it, the file would lose its mark before the writer's values are in it."""
    monkeypatch.setattr("featurelayer.online.sqlite_file._SETTLE_SECONDS", 20)
    store = SqliteStore(place)
    store.write(rows(range(10)))
    with closing(sqlite3.connect(place, isolation_level=None)) as writer, ThreadPoolExecutor(1) as pool:
        writer.execute("BEGIN IMMEDIATE")
        settling = pool.submit(store.checkpoint)
        time.sleep(0.3)
        with closing(SqliteStore(alone(place, place.parent / "before"))) as copy, pytest.raises(StoreNotFound):
            content(copy)
        writer.execute("COMMIT")
        assert settling.result(30) == ""
    with closing(SqliteStore(alone(place, place.parent / "after"))) as copy:
        assert len(content(copy)) == 10
    store.close()


def test_a_process_that_is_killed_leaves_a_store_that_serves_and_a_copy_that_says_so(place):
    code = """
import os, sys
from featurelayer.online import Item
from featurelayer.online.stores.sqlite import SqliteStore
store = SqliteStore(sys.argv[1])
store.write([Item(pk="plane[1]", sk="legs@0", version=1, f="[1]")])
list(store.live("legs@0"))
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code, str(place)], check=False).returncode == 9
    copied = alone(place, place.parent / "copy")
    with closing(SqliteStore(copied)) as copy, pytest.raises(StoreNotFound, match=COPIED):
        content(copy)
    store = SqliteStore(place)
    assert len(content(store)) == 1
    store.create()
    assert store.checkpoint() == ""
    store.close()
    assert names(place.parent) == ["copy", "online.db"]


def test_a_process_that_ends_without_closing_leaves_a_whole_file_or_its_wal(place):
    code = """
import sys
import threading
from featurelayer.online import Item
from featurelayer.online.stores.sqlite import SqliteStore
store = SqliteStore(sys.argv[1])
store.write([Item(pk="plane[1]", sk="legs@0", version=1, f="[1]")])
"""
    subprocess.run([sys.executable, "-c", code, str(place)], check=True)
    with closing(SqliteStore(place)) as store:
        assert len(content(store)) == 1
    with closing(sqlite3.connect(place)) as other:  # another program takes -wal away
        other.execute("SELECT count(*) FROM items").fetchone()
    with closing(SqliteStore(place)) as store:
        assert len(content(store)) == 1


def test_a_long_read_of_another_program_does_not_stop_writes(place):
    store = SqliteStore(place)
    store.write(rows(range(10)))
    store.checkpoint()
    with closing(sqlite3.connect(place, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM items").fetchone()
        store.write(rows(range(20), v=2))
        assert len(content(store)) == 20
    store.close()


# --- read-only media -------------------------------------------------------------------------------------------------

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user or to mount")


@contextmanager
def unwritable(place: Path):
    place.chmod(0o644)
    place.parent.chmod(0o555)
    yield
    place.parent.chmod(0o755)


@contextmanager
def mounted_read_only(place: Path):
    mount = subprocess.run(
        ["mount", "--bind", "-o", "ro", place.parent, place.parent], capture_output=True, check=False
    )
    if mount.returncode != 0:
        pytest.skip(f"no read-only mount here: {mount.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", place.parent], check=True)


@AS_ROOT
def test_a_folder_that_cannot_be_written(place):
    with closing(SqliteStore(place)) as store:
        store.write(rows(range(50)))
    with unwritable(place), reader_of(place, user=NOBODY) as ask:
        assert ask() == ask() == "50"
        assert names(place.parent) == ["online.db"]


@AS_ROOT
def test_a_read_only_file_system(place):
    with closing(SqliteStore(place)) as store:
        store.write(rows(range(50)))
    with mounted_read_only(place), closing(SqliteStore(place)) as store:
        assert len(content(store)) == 50
        assert store.describe()["items"] == 50
        with pytest.raises(FeatureLayerError):
            store.write(rows([1], v=2))
        assert len(content(store)) == 50
    assert names(place.parent) == ["online.db"]


@AS_ROOT
def test_a_backup_on_a_read_only_file_system(place):
    with closing(SqliteStore(place.with_name("live.db"))) as store:
        store.write(rows(range(50)))
        store.backup(place)
    with mounted_read_only(place), closing(SqliteStore(place)) as store:
        assert len(content(store)) == 50


@AS_ROOT
def test_where_one_process_cannot_write_another_can_and_is_seen(place):
    """The folder is read-only for the reader alone, as in a container beside the exporter."""
    store = SqliteStore(place, mode=0o644)
    store.write(rows(range(10)))
    store.close()
    with unwritable(place), reader_of(place, user=NOBODY) as ask:
        assert ask() == "10"
        for size in range(20, 100, 10):
            store.write(rows(range(size), v=size))
            assert ask() == str(size)  # -wal is there, and -shm to read it by
            store.close()
            assert ask() == str(size)  # and are gone again


@AS_ROOT
def test_values_in_a_wal_that_cannot_be_read_are_an_error_and_not_left_out(place):
    with closing(SqliteStore(place)) as store:
        store.write(rows(range(10)))
        copied = alone(place, place.parent / "copy")
        shutil.copy(f"{place}-wal", f"{copied}-wal")
    (copied.parent / "online.db-wal").chmod(0o644)
    with unwritable(copied), reader_of(copied, user=NOBODY) as ask:
        assert "in its -wal file, which can't be read in a folder that can't be written" in ask()


@AS_ROOT
def test_a_copy_without_its_wal_is_named_on_read_only_media_too(place):
    with closing(SqliteStore(place)) as store:
        store.write(rows(range(10)))
        copied = alone(place, place.parent / "copy")
    with unwritable(copied), reader_of(copied, user=NOBODY) as ask:
        assert COPIED in ask()


@AS_ROOT
def test_a_file_of_another_user_says_how_to_share_it(place):
    with closing(SqliteStore(place)) as store:
        store.write(rows(range(10)))
    with reader_of(place, user=NOBODY) as ask:
        assert "may not be read by this user" in ask()


# --- another file at the same path -----------------------------------------------------------------------------------


def test_a_file_that_was_replaced_is_read_and_written_from_then_on(place):
    store = SqliteStore(place)
    store.write(rows(range(10)))
    store.close()
    assert len(content(store)) == 10
    with closing(SqliteStore(place.with_name("new.db"))) as new:
        new.write(rows(range(30)))
    place.with_name("new.db").replace(place)
    assert len(content(store)) == 30
    store.write(rows(range(40), v=2))
    assert len(content(store)) == 40
    store.close()
    with closing(SqliteStore(place)) as again:
        assert len(content(again)) == 40


def test_a_symbolic_link_is_followed_to_where_it_leads_now(place):
    for number in (1, 2):
        with closing(SqliteStore(place.with_name(f"v{number}.db"))) as store:
            store.write(rows(range(number * 10)))
    place.symlink_to("v1.db")
    with closing(SqliteStore(place)) as store:
        assert len(content(store)) == 10
        place.unlink()
        place.symlink_to("v2.db")
        assert len(content(store)) == 20
        store.write(rows(range(25), v=2))
        store.checkpoint()
    with closing(SqliteStore(place.with_name("v2.db"))) as store:
        assert len(content(store)) == 25


def test_a_relative_path_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///online.db")
    store.write(rows(range(10)))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.write(rows(range(20), v=2))
    assert len(content(store)) == 20
    store.close()
    assert names(tmp_path / "elsewhere") == []


# --- permissions -----------------------------------------------------------------------------------------------------


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
@pytest.mark.parametrize(
    ("option", "mode"), [("", 0o600), ("?mode=0640", 0o640), ("?mode=660", 0o660), ("?mode=0o644", 0o644)]
)
def test_the_live_store_has_the_permissions_that_it_was_given(place, option, mode, umask):
    before = os.umask(umask)
    try:
        store = open_store(f"sqlite:///{place}{option}")
        store.write(rows(range(10)))
        content(store)
        assert modes(place.parent) == dict.fromkeys(["online.db", "online.db-wal", "online.db-shm"], mode)
        store.close()
    finally:
        os.umask(before)


def test_an_existing_file_keeps_its_permissions(place):
    with closing(SqliteStore(place)) as store:
        store.write(rows(range(10)))
    place.chmod(0o640)
    with closing(SqliteStore(place)) as store:
        store.write(rows(range(20), v=2))
        assert set(modes(place.parent).values()) == {0o640}


@pytest.mark.parametrize("mode", ["", "ro", "0440", "1600", "0x1ff", "-600", "9"])
def test_a_mode_that_is_none_is_refused(mode):
    with pytest.raises(ConfigError, match="`mode` is"):
        open_store(f"sqlite:///x.db?mode={mode}")


# --- backup ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_backup_is_one_whole_file_and_follows_the_umask(place, umask):
    store = SqliteStore(place)
    store.write(rows(range(100)))
    target = place.parent / "ship" / "online.db"
    target.parent.mkdir()
    before = os.umask(umask)
    try:
        facts = store.backup(target)
    finally:
        os.umask(before)
    assert (facts["items"], facts["path"], facts["wal_bytes"]) == (100, str(target), 0)
    assert facts["bytes"] == target.stat().st_size
    assert modes(target.parent) == {"online.db": 0o666 & ~umask}
    with closing(SqliteStore(target)) as copy:
        assert content(copy) == content(store)
        assert names(target.parent) == ["online.db"]
        copy.write(rows(range(200), v=2))  # it can go live as well
        assert len(content(copy)) == 200
    store.close()


def test_a_backup_overwrites_only_if_asked(place):
    store = SqliteStore(place)
    store.write(rows(range(10)))
    target = place.with_name("backup.db")
    target.write_text("precious")
    with pytest.raises(PlanError, match="exists already"):
        store.backup(target)
    assert target.read_text() == "precious"
    assert store.backup(target, overwrite=True)["items"] == 10
    with closing(SqliteStore(target)) as live:
        live.write(rows(range(20), v=2))
        with pytest.raises(PlanError, match="is in use"):
            store.backup(target, overwrite=True)
        assert len(content(live)) == 20
    store.close()


@pytest.mark.parametrize(("target", "message"), [
    ("online.db", "is the online store itself"), ("nowhere/backup.db", "does not exist"), (".", "is a folder"),
])  # fmt: skip
def test_a_backup_that_cannot_be(place, target, message):
    with closing(SqliteStore(place)) as store:
        store.write(rows(range(10)))
        with pytest.raises(PlanError, match=message):
            store.backup(place.parent / target, overwrite=True)
        assert len(content(store)) == 10


def test_a_backup_that_fails_leaves_nothing(place, monkeypatch):
    with closing(SqliteStore(place)) as store:
        store.write(rows(range(10)))
        monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("the disk is full")))
        with pytest.raises(OSError, match="the disk is full"):
            store.backup(place.with_name("backup.db"))
    assert names(place.parent) == ["online.db"]


def test_a_backup_of_nothing_says_so(place):
    with closing(SqliteStore(place)) as store, pytest.raises(StoreNotFound, match="no online store exists"):
        store.backup(place.with_name("backup.db"))


CLOSED_IN_USE = """
import sys, threading, time
from featurelayer.online import Item, open_store
from featurelayer.errors import FeatureLayerError

store = open_store("sqlite:///" + sys.argv[1])
keys = [(f'a["{number}"]', "v@0") for number in range(500)]
store.write([Item(pk=pk, sk=sk, version=1, f="[1]", schema="s", as_of=1) for pk, sk in keys])
until, wrong = time.monotonic() + 2, []

def use():
    version = 2
    while time.monotonic() < until:
        try:
            if len(store.read(keys)) != len(keys):
                wrong.append("rows")
            store.write([Item(pk=pk, sk=sk, version=version, f="[1]", schema="s", as_of=1) for pk, sk in keys[:3]])
        except FeatureLayerError as error:
            wrong.append(repr(error))
        version += 1

def close():
    while time.monotonic() < until:
        store.close()
        time.sleep(0.0005)

threads = [threading.Thread(target=use) for _ in range(4)] + [threading.Thread(target=close)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
store.close()
print(sorted(set(wrong)))
"""


def test_a_store_may_be_closed_while_other_threads_use_it(tmp_path: Path) -> None:
    """SQLite crashes the process if a connection is closed under a statement; a server that stops does just that."""
    done = subprocess.run(
        [sys.executable, "-c", CLOSED_IN_USE, str(tmp_path / "o.db")], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr[-2000:]
    assert [file.name for file in tmp_path.iterdir()] == ["o.db"]


def test_connections_of_threads_that_ended_are_not_kept(tmp_path: Path) -> None:
    """A server with a thread per request would run out of files."""
    store = SqliteStore(tmp_path / "o.db")
    store.write([Item(pk='a["1"]', sk="v@0", version=1, f="[1]", schema="s", as_of=1)])
    for _ in range(50):
        thread = threading.Thread(target=store.read, args=([('a["1"]', "v@0")],))
        thread.start()
        thread.join()
    gc.collect()
    opened = [link for link in Path("/proc/self/fd").iterdir() if "o.db" in _target(link)]
    assert len(opened) < 10
    store.close()


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def test_a_thread_that_wrote_and_ended_leaves_one_file(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "o.db")
    items = [Item(pk='a["1"]', sk="v@0", version=1, f="[1]", schema="s", as_of=1)]
    thread = threading.Thread(target=store.write, args=(items,))
    thread.start()
    thread.join()
    assert store.checkpoint() == ""
    store.close()
    assert [file.name for file in tmp_path.iterdir()] == ["o.db"]
