"""Real processes: `featurelayer export` of a DuckDB file into a SQLite file, killed by SIGKILL, frozen by SIGSTOP.

Where it is hit is found by looking into the store, so nothing in the exporter knows of the tests.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest

from featurelayer.online.stores.sqlite import SqliteStore
from tests.profiles import trials
from tests.unit import dbt_projects as made
from tests.unit.warehouses import layer

ROWS = 20_000
SK = "legs@0"
MAKE = f"""
CREATE TABLE legs AS SELECT 'N' || i AS tailnum, TIMESTAMP '2024-01-01 10:00' AS landed_at, i::DOUBLE AS arr_delay
FROM range({ROWS}) t(i)
"""
POINTS = ("begun", "some", "most", "committed")


class Exports:
    """A project, its store, and a server of processes that export it."""

    def __init__(self, root: Path) -> None:
        self.root, self.path, self.runs = root, root / "store.db", 0
        layer(root, made.model(online=True, ttl="10000 days"), sql=MAKE)
        with (root / "featurelayer.yml").open("a") as settings:
            settings.write("online_store: {dev: {type: sqlite, path: store.db}}\n")
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.forks"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip

    def start(self) -> int:
        self.runs += 1
        arguments = ["export", "--project-dir", str(self.root), "--profiles-dir", str(self.root)]
        return self._ask(["run", arguments, str(self.root / f"output-{self.runs}.txt")])

    def wait(self, pid: int) -> int:
        return self._ask(["wait", pid])

    def output(self) -> str:
        return (self.root / f"output-{self.runs}.txt").read_text()

    def complete(self) -> None:
        """Export undisturbed, and find in the store exactly what is in the warehouse."""
        assert self.wait(self.start()) == 0, self.output()
        assert self.stored() == self.source()

    def change(self, chance: Random) -> None:
        """Change, remove and add some rows of the source."""
        one, other = chance.randrange(2, 7), chance.randrange(1_000_000)
        with duckdb.connect(str(self.root / "db.duckdb")) as connection:
            connection.execute(
                f"UPDATE legs SET arr_delay = {other} + hash(tailnum) % 97, landed_at = landed_at + INTERVAL 1 HOUR "
                f"WHERE hash(tailnum || '{other}') % {one} = 0"
            )
            connection.execute(f"DELETE FROM legs WHERE hash(tailnum || '{other}') % 11 = 5 AND tailnum > 'N2'")
            connection.execute(
                f"INSERT INTO legs SELECT 'P{other}-' || i, TIMESTAMP '2024-06-01', i FROM range(50) t(i)"
            )

    def source(self) -> dict[str, str]:
        with duckdb.connect(str(self.root / "db.duckdb"), read_only=True) as connection:
            rows = connection.execute("SELECT tailnum, arr_delay FROM legs").fetchall()
        return {f'plane["{tail}"]': f"[{delay}]" for tail, delay in rows}

    def stored(self) -> dict[str, str]:
        with sqlite3.connect(self.path) as connection:
            return dict(connection.execute("SELECT pk, f FROM items WHERE sk = ? AND d = 0", (SK,)))

    def reached(self, before: int) -> dict[str, bool]:
        """Say how far the run has come that began after the version `before`."""
        with sqlite3.connect(self.path) as connection:
            begun = _version(connection, "begun")
            committed = _version(connection, "commit")
            (written,) = connection.execute("SELECT count(*) FROM items WHERE sk = ? AND v = ?", (SK, begun)).fetchone()
        new = begun > before
        return {
            "begun": new,
            "some": new and written > 0,
            "most": new and written > 2_000,
            "committed": committed > before,
        }

    def version(self) -> int:
        with sqlite3.connect(self.path) as connection:
            return max(_version(connection, "begun"), _version(connection, "commit"))

    def until(self, pid: int, point: str, before: int) -> bool:
        """Wait until a run has come to a point; False if it was over before that was seen."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if self.reached(before)[point]:
                return True
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
        raise AssertionError(f"no run came to {point}: {self.output()}")

    def freeze(self, pid: int) -> None:
        """Freeze a process where it does not hold the lock of the store's file, which would keep everybody out."""
        while True:
            os.kill(pid, signal.SIGSTOP)
            with sqlite3.connect(self.path, timeout=0, isolation_level=None) as connection:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute("ROLLBACK")
                except sqlite3.OperationalError:
                    os.kill(pid, signal.SIGCONT)
                else:
                    return

    def close(self) -> None:
        self._server.communicate(timeout=60)

    def _ask(self, question: list[Any]) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(question) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


def _version(connection: sqlite3.Connection, name: str) -> int:
    found = connection.execute("SELECT v FROM items WHERE pk = '#view' AND sk = ?", (f"{SK}#{name}",)).fetchone()
    return found[0] if found else 0


class Reader:
    """Reads keys that always are in the source, again and again: each is there, of no older run than before."""

    def __init__(self, path: Path) -> None:
        self._store = SqliteStore(path)
        self._keys = [(f'plane["N1{number}"]', SK) for number in range(0, 400, 13)]
        self._seen: dict[Any, int] = {}
        self.reads = 0

    def look(self) -> None:
        found = self._store.read(self._keys, consistent=True)
        assert set(found) == set(self._keys)
        for key, item in found.items():
            assert not item.deleted
            assert item.version >= self._seen.get(key, 0)
            self._seen[key] = item.version
        self.reads += 1


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> Iterator[Exports]:
    if not sys.platform.startswith("linux"):
        pytest.skip("looks into /proc")
    made_here = Exports(tmp_path_factory.mktemp("exports"))
    try:
        made_here.complete()
        yield made_here
    finally:
        made_here.close()


def _kill_when(exports: Exports, reader: Reader, ready: Callable[[int], bool]) -> int:
    pid = exports.start()
    hit = ready(pid)
    os.kill(pid, signal.SIGKILL)
    code = exports.wait(pid)
    reader.look()
    assert code == -signal.SIGKILL or not hit or code == 0
    return code


@pytest.mark.more
def test_killed_at_any_moment_and_run_again(exports):
    numbers = trials(4)[:40]
    if not numbers:
        pytest.skip("FEATURELAYER_TRIALS leaves no more than `make test` has run")
    chance, reader = Random(4 + numbers.start), Reader(exports.path)
    killed = 0
    for _ in numbers:
        exports.change(chance)
        seconds = chance.random() * 1.2

        def ready(_pid: int, seconds: float = seconds) -> bool:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                reader.look()
            return True

        killed += _kill_when(exports, reader, ready) == -signal.SIGKILL
        if chance.random() < 0.7:
            exports.complete()
            reader.look()
    exports.complete()
    assert killed
    assert reader.reads > 50


@pytest.mark.more
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point_and_run_again(exports, point):
    numbers = trials(1)[:5]
    chance, reader = Random(f"{point}{numbers.start or ''}"), Reader(exports.path)
    for _ in numbers:
        exports.change(chance)
        before = exports.version()
        code = _kill_when(exports, reader, lambda pid, before=before: exports.until(pid, point, before))
        assert code in (0, -signal.SIGKILL)
        exports.change(chance)
        exports.complete()
        reader.look()


def test_frozen_while_a_newer_run_completes_and_woken_late(exports):
    chance, reader = Random(5), Reader(exports.path)
    exports.change(chance)
    before = exports.version()
    older = exports.start()
    assert exports.until(older, "some", before)
    exports.freeze(older)
    exports.change(chance)
    exports.complete()  # waits for the frozen one's lease, then goes on beside it
    assert "at work" in exports.output()
    reader.look()
    os.kill(older, signal.SIGCONT)
    assert exports.wait(older) == 0
    reader.look()
    assert exports.stored() == exports.source()
