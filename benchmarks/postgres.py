"""When is it cheaper on PostgreSQL to look rows up label by label, and when to sort labels and rows together?

    python benchmarks/postgres.py                      # a million rows, some minutes
    python benchmarks/postgres.py --rows 10000000
    python benchmarks/postgres.py --per-key 10 1000    # how many rows a key has, one table each

It starts a server of its own (Debian's `postgresql`, or initdb on the PATH) on loopback in a temporary folder. Both
forms of a whole training set are run, spine to tie-break, with an index on the key and the event time. Printed is the
CPU time of the server's process, which does not depend on what else the machine does, and the ratio of both.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1]))

from featurelayer.testing import make_service, make_view
from featurelayer.testing.postgres import PostgresEngine
from featurelayer.warehouse.execute import run_step
from tests.servers import postgres

START = datetime(2024, 1, 1)  # noqa: DTZ001 (naive is UTC)
SHARES = (0.0001, 0.001, 0.01, 0.1, 0.3, 0.5, 1.0)
VIEW = make_view(
    "v", {"k": "int64"}, {"e": "timestamp", "x": "float64", "y": "float64", "z": "text"}, ["x", "y", "z"],
    event_time="e", ttl=timedelta(days=90),
)  # fmt: skip


def moments(count: int, chance: np.random.Generator) -> pa.Array:
    """Random times of a year."""
    micros = chance.integers(0, 365 * 86_400_000_000, count)
    return pa.array(np.datetime64(START, "us") + micros.astype("timedelta64[us]"))


def rows_of_view(count: int, keys: int) -> pa.Table:
    """Rows of so many keys."""
    chance = np.random.default_rng(1)
    numbers = chance.random(count)
    texts = pa.array(np.char.add("text ", chance.integers(0, 1000, count).astype(str)))
    return pa.table({
        "k": chance.integers(0, keys, count), "e": moments(count, chance), "x": numbers, "y": numbers,
        "z": texts,
    })  # fmt: skip


def labels_of(count: int, keys: int) -> pa.Table:
    """Labels of the same keys."""
    chance = np.random.default_rng(2)
    return pa.table({"k": chance.integers(0, keys, count), "t": moments(count, chance)})


def spent(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


@contextmanager
def engines(server: postgres.Server, rows: int, keys: int) -> Iterator[dict[str, PostgresEngine]]:
    """Both forms, on one schema with the rows in it."""
    found = {form: PostgresEngine(server.target("bench"), form) for form in ("portable", "lateral")}
    first = found["portable"]
    first.load(VIEW, rows_of_view(rows, keys))
    first.warehouse.execute("CREATE INDEX ON bench.v (k, e)")
    first.warehouse.execute("VACUUM ANALYZE bench.v")
    for engine in found.values():
        # All of the work in one process, and as much memory as a warehouse gives a query.
        for setting in ("max_parallel_workers_per_gather = 0", "work_mem = '256MB'", "jit = off"):
            engine.warehouse.execute(f"SET {setting}")
    yield found
    for engine in found.values():
        engine.close()


def cpu(engine: PostgresEngine, labels: pa.Table) -> float:
    """CPU seconds of the server for a training set, without loading the labels."""
    plan = engine.plan(labels, make_service((VIEW, None, None)), {"v": VIEW})
    script = engine.compile(plan)
    [(pid,)] = engine.warehouse.rows("SELECT pg_backend_pid()")
    before = spent(pid)
    for step in script.steps:
        run_step(engine.warehouse, step)
    after = spent(pid)
    engine.warehouse.drop(script.temporary)
    return after - before


def compare(server: postgres.Server, rows: int, per_key: int) -> None:
    """Print the table of one shape."""
    keys = rows // per_key
    with engines(server, rows, keys) as both:
        print(f"{rows:,} rows, {keys:,} keys, index on (k, e); CPU seconds of the server")
        print(f"{'labels':>10}  {'per row':>7}  {'portable':>8}  {'lateral':>8}  portable / lateral")
        for share in SHARES:
            labels = labels_of(int(rows * share), keys)
            portable, lateral = (cpu(both[form], labels) for form in ("portable", "lateral"))
            ratio = portable / max(lateral, 0.01)
            print(f"{labels.num_rows:>10,}  {share:>7}  {portable:>8.2f}  {lateral:>8.2f}  {ratio:.2f}", flush=True)


def main() -> None:
    """Print a table for every number of rows per key."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--per-key", type=int, nargs="+", default=[100])
    arguments = parser.parse_args()
    if reason := postgres.why_not():
        sys.exit(reason)
    with postgres.running("shared_buffers=1GB", "max_wal_size=4GB") as server:
        for per_key in arguments.per_key:
            compare(server, arguments.rows, per_key)


if __name__ == "__main__":
    main()
