"""A real `featurelayer build-training-set` is stopped by Ctrl-C or killed while it writes: nothing is left behind.

What a killed process can't take away itself is named, and gone with the next build.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from featurelayer.warehouse.engines.postgres.warehouse import PostgresWarehouse
from tests.integration.test_spark import in_spark
from tests.integration.test_spark import profile as spark_profile
from tests.postgres_projects import layer as postgres_layer
from tests.postgres_projects import session
from tests.servers import spark
from tests.servers.postgres import Server
from tests.unit import dbt_projects as made
from tests.unit.warehouses import layer as duckdb_layer

pytestmark = pytest.mark.slow

HOW = [signal.SIGINT, signal.SIGKILL]
MANY = 400_000  # labels, so that writing what comes of them takes about a second
MANY_FOR_DUCKDB = 2_000_000
FEW = 3
PATIENCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A project with few labels and with many, and a place for temporary files of its own."""

    root: Path

    @property
    def temporary(self) -> Path:
        return self.root / "tmp"

    @property
    def tables(self) -> Path:
        """Where Spark keeps them."""
        return self.root / "spark" / "spark-warehouse" / "features.db"

    @property
    def output(self) -> Path:
        return self.root / "out" / "train.parquet"

    def begin(self, many: int = MANY) -> Shop:
        for folder in (self.temporary, self.output.parent):
            folder.mkdir()
        start = np.datetime64("2024-01-01T10:00", "us")
        for name, count in (("many", many), ("few", FEW)):
            numbers = np.arange(count)
            labels = {"tailnum": pa.repeat("N1", count), "at": start + numbers % 60 * 1_000_000, "n": numbers}
            pq.write_table(pa.table(labels), self.root / f"{name}.parquet")
        return self

    def command(self, labels: str, *place: str) -> list[str]:
        root = str(self.root)
        asked = ["--project-dir", root, "--profiles-dir", root, "--service", "late"]
        said = ["--labels", str(self.root / f"{labels}.parquet"), *(place or ("--output", str(self.output)))]
        return [sys.executable, "-m", "featurelayer", "build-training-set", *asked, *said]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "TMPDIR": str(self.temporary)}

    def build(self, *place: str) -> None:
        """Build a small set, whole."""
        done = subprocess.run(self.command("few", *place), env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]

    @contextmanager
    def building(self, *place: str) -> Iterator[subprocess.Popen[str]]:
        """The build of a large set while it runs."""
        process = subprocess.Popen(
            self.command("many", *place), env=self.environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def partial(self) -> list[Path]:
        return list(self.output.parent.glob(".*"))

    def stopped(self, how: signal.Signals, writing: Callable[[], object], *place: str) -> None:
        """Stop a build as soon as it writes, as a terminal does: with all that it started."""
        with self.building(*place) as process:
            _until(lambda: writing() or process.poll() is not None)
            os.killpg(process.pid, how) if how is signal.SIGINT else process.send_signal(how)
            _, said = process.communicate(timeout=PATIENCE)
        if how is signal.SIGINT:
            assert (process.returncode, said.splitlines()[-1:]) == (1, ["Error: interrupted"])
            assert self.partial() == []
            assert list(self.temporary.iterdir()) == []
        else:
            assert process.returncode == -signal.SIGKILL


def _until(there: Callable[[], object], patience: float = PATIENCE) -> None:
    until = time.monotonic() + patience
    while not there():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.01)


def rows_of(output: Path) -> int:
    return int(pq.ParquetFile(output).metadata.num_rows)


# --- DuckDB ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def duckdb_shop(tmp_path: Path) -> Shop:
    root = tmp_path / "shop"
    root.mkdir()
    duckdb_layer(root)
    return Shop(root=root).begin(MANY_FOR_DUCKDB)


@pytest.mark.parametrize("how", HOW)
def test_a_file_by_duckdb(duckdb_shop: Shop, how: signal.Signals) -> None:
    shop = duckdb_shop
    before = {path.name for path in shop.root.iterdir()}
    shop.stopped(how, shop.partial)
    assert not shop.output.exists(), "half of a set, or one without a lock"
    shop.build()
    assert rows_of(shop.output) == FEW
    assert shop.partial() == list(shop.temporary.iterdir()) == []
    assert {path.name for path in shop.root.iterdir()} == before


@pytest.mark.parametrize("how", HOW)
def test_a_table_by_duckdb(duckdb_shop: Shop, how: signal.Signals) -> None:
    shop, place = duckdb_shop, ("--as-table", "train")
    shop.build(*place)
    before, database = {path.name for path in shop.root.iterdir()}, shop.root / "db.duckdb"
    size = database.stat().st_size
    shop.stopped(how, lambda: database.stat().st_size > size + 100_000, *place)
    with duckdb.connect(str(database)) as connection:
        assert connection.sql("SELECT count(*) FROM train").fetchall() == [(FEW,)]
        assert connection.sql("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall() == [("legs",), ("train",)]
    shop.build(*place)
    assert list(shop.temporary.iterdir()) == []
    assert {path.name for path in shop.root.iterdir()} == before


# --- PostgreSQL ------------------------------------------------------------------------------------------------------

# Tables of sessions and of ours, sessions but this one, and what they have locked.
LEFT = """
SELECT 'table ' || relname FROM pg_class WHERE relpersistence = 't' OR relname LIKE '%\\_\\_fl\\_%'
UNION ALL SELECT 'session ' || pid FROM pg_stat_activity WHERE application_name = 'stopped'
UNION ALL SELECT 'lock ' || l.mode FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE a.application_name = 'stopped'
"""


@pytest.fixture
def postgres_shop(tmp_path: Path, postgres_server: Server) -> Iterator[tuple[Shop, PostgresWarehouse]]:
    root = tmp_path / "interrupted"
    root.mkdir()
    postgres_layer(root, postgres_server)
    target = postgres_server.target(root.name, application_name="stopped")
    (root / "profiles.yml").write_text(yaml.safe_dump({"shop": {"target": "dev", "outputs": {"dev": target}}}))
    with closing(session(postgres_server, root.name)) as watching:
        yield Shop(root=root).begin(), watching
        watching.execute('DROP SCHEMA "interrupted" CASCADE')


def nothing_left(watching: PostgresWarehouse) -> None:
    """Within ten seconds the server notices that a client has gone, and then all that was its session's goes."""
    until = time.monotonic() + 40
    while (left := watching.rows(LEFT)) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == []


@pytest.mark.parametrize("how", HOW)
def test_a_file_by_postgres(postgres_shop: tuple[Shop, PostgresWarehouse], how: signal.Signals) -> None:
    shop, watching = postgres_shop
    shop.build()
    shop.stopped(how, shop.partial)
    assert rows_of(shop.output) == FEW
    nothing_left(watching)
    shop.build()
    assert shop.partial() == list(shop.temporary.iterdir()) == []


@pytest.mark.parametrize("how", HOW)
def test_a_table_by_postgres(
    postgres_shop: tuple[Shop, PostgresWarehouse], postgres_server: Server, how: signal.Signals
) -> None:
    """Stopped where it waits for a reader of the old table, with all of its temporary tables made."""
    shop, watching = postgres_shop
    place = ("--as-table", "train")
    shop.build(*place)
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'DROP TABLE%'"
    with closing(session(postgres_server, "interrupted")) as reader, reader.transaction():
        reader.rows("SELECT count(*) FROM train")
        shop.stopped(how, lambda: watching.rows(waiting), *place)
    nothing_left(watching)
    tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'interrupted' ORDER BY 1"
    assert watching.rows(tables) == [("legs",), ("train",)]
    assert watching.rows("SELECT count(*) FROM train") == [(FEW,)]


# --- Spark -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spark_shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    if reason := spark.why_not():
        pytest.skip(reason)
    root = tmp_path_factory.mktemp("interrupted")
    legs = made.model(node={"relation_name": "features.legs"})
    service = made.exposure("legs.arr_delay", label_timestamp="at")
    made.project(root, made.manifest(legs, exposures=(service,), adapter="spark"))
    spark_profile(root, "shop", "features")
    in_spark(root, """
        warehouse.execute("CREATE SCHEMA features")
        warehouse.execute("CREATE TABLE features.legs USING parquet AS SELECT 'N1' AS tailnum, "
                          "TIMESTAMP_NTZ '2024-01-01 10:00:00' AS landed_at, CAST(5 AS DOUBLE) AS arr_delay")
    """)  # fmt: skip
    return Shop(root=root).begin()


def jvms(shop: Shop) -> list[str]:
    """The processes of Java that a build of this project started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            said = entry.read_bytes()
        except OSError:
            continue
        if b"java" in said and str(shop.root).encode() in said:
            found.append(entry.parent.name)
    return found


@pytest.mark.engine
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked for in /proc")
@pytest.mark.parametrize("how", HOW)
def test_a_table_by_spark(spark_shop: Shop, how: signal.Signals) -> None:
    shop = spark_shop
    shop.stopped(how, lambda: list(shop.tables.glob("train*")), "--as-table", "train")
    _until(lambda: not jvms(shop))
    # Java takes the folders away, ours too, when it stops.
    assert list(shop.temporary.iterdir()) == []


@pytest.mark.engine
def test_the_next_table_by_spark_takes_away_what_was_left(spark_shop: Shop) -> None:
    shop = spark_shop
    shop.build("--as-table", "train")
    found = in_spark(shop.root, """
        print(json.dumps([name for _, name, _ in warehouse.rows("SHOW TABLES IN features")]))
    """)  # fmt: skip
    assert json.loads(found) == ["legs", "train"]
    assert sorted(path.name for path in shop.tables.iterdir()) == ["legs", "train"]
