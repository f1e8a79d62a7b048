"""The warehouse through dbt's own adapters, tried for real on dbt-duckdb and dbt-postgres: every named case of the kit.

Both engines have drivers of ours; here they are reached as any other would be.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurelayer.errors import ConfigError, LabelError, RelationNotBuilt, WarehouseError
from featurelayer.layer import FeatureLayer
from featurelayer.sql.dialects import available as dialects
from featurelayer.sql.dialects import dialect
from featurelayer.sql.dialects.duckdb import DuckDB
from featurelayer.sql.inserts import insert_statements
from featurelayer.sql.scripts import MaterializedScript
from featurelayer.testing import Case, WarehouseEngine, applies, cases, check
from featurelayer.warehouse import available as warehouses
from featurelayer.warehouse import connect
from featurelayer.warehouse.dbt_adapter import warehouse as adapter
from featurelayer.warehouse.dbt_adapter.facts import AdapterFacts
from featurelayer.warehouse.dbt_adapter.warehouse import AdapterWarehouse
from featurelayer.warehouse.streams import column_of
from tests.engines.adapters import FACTS, use_adapters
from tests.servers import postgres
from tests.unit.test_reproduce import LABELS
from tests.unit.warehouses import layer

DUCKDB = {"type": "duckdb", "path": ":memory:", "threads": 4}
# Rows of these types can't be loaded by INSERT, which is how the kit makes a view here; a label may have none of them.
LACKS = ("arrays", "structs", "nanoseconds")
BYTES = ("tie by bytes", "label columns untouched", "bytes")


class Unordered(DuckDB):
    """Labels are named by their places and numbered by a column, as for an engine whose tables keep no order."""

    script_type = MaterializedScript
    has_stable_order = False


def duckdb(_: pytest.FixtureRequest) -> WarehouseEngine:
    return WarehouseEngine(AdapterWarehouse(DUCKDB, FACTS["duckdb"]), schema='"memory"."main"', lacks=LACKS)


def numbered(_: pytest.FixtureRequest) -> WarehouseEngine:
    return WarehouseEngine(
        AdapterWarehouse(DUCKDB, replace(FACTS["duckdb"], keeps_order=False)), Unordered(), lacks=LACKS
    )


def on_postgres(request: pytest.FixtureRequest) -> WarehouseEngine:
    server = request.getfixturevalue("postgres_server")
    lacks = (*LACKS, "zero characters")
    return WarehouseEngine(AdapterWarehouse(server.target("public"), FACTS["postgres"]), schema='"public"', lacks=lacks)


ENGINES: dict[str, Callable[[pytest.FixtureRequest], WarehouseEngine]] = {
    found.__name__: found for found in (duckdb, numbered, on_postgres)
}


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[WarehouseEngine]:
    found = ENGINES[request.param](request)
    yield found
    found.close()


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_the_case(engine: WarehouseEngine, case: Case) -> None:
    if not applies(engine, case):
        pytest.skip("it needs what can't be loaded there")
    if case.name in BYTES:
        with pytest.raises((LabelError, AssertionError), match="is bytes, which can't be loaded by INSERT"):
            assert check(engine, case) == []
        return
    assert check(engine, case) == []


# --- a project ----------------------------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureLayer:
    """A project on DuckDB that is reached as if we had no driver for it."""
    found = layer(tmp_path / "shop")
    use_adapters(monkeypatch)
    monkeypatch.chdir(tmp_path / "shop")
    pq.write_table(LABELS, "labels.parquet")
    Path("labels.csv").write_text("tailnum,at,y\nN1,2024-01-01 10:30:00,1\nN2,2024-01-01 11:00:00,0\n")
    return found


def test_a_training_set(shop: FeatureLayer) -> None:
    with shop.build_training_set("late", "labels.parquet") as built:
        assert built._warehouse.__class__ is AdapterWarehouse
        table = built.to_arrow()
        built.to_parquet("train.parquet")
        built.to_csv("train.csv")
        assert built.lock["engine"].startswith("duckdb, by dbt-duckdb ")
        assert built.report.views[0].matched == 3
    assert table["legs__arr_delay"].to_pylist() == [5.0, None, -3.5, None]
    assert table.drop_columns(["legs__arr_delay"]).equals(LABELS)
    assert pq.read_table("train.parquet").equals(table)
    assert Path("train.csv").read_text().splitlines()[1] == "N1,2024-01-01 10:30:00,1,5.0"
    assert shop.reproduce("train.lock.json").identical
    with shop.build_training_set("late", "labels.csv") as built:
        assert built.to_arrow()["legs__arr_delay"].to_pylist() == [5.0, -3.5]
    assert shop.explain_row("late", "labels.parquet", 0).views[0].result


def test_what_an_engine_does_not_have_is_said(shop: FeatureLayer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of an engine of which nothing is known but that it takes SQL."""
    use_adapters(monkeypatch, duckdb=AdapterFacts(keeps_order=True))
    with shop.build_training_set("late", LABELS, writable=True) as built:
        for append in (False, True):
            with pytest.raises(WarehouseError, match="make the set a dbt model"):
                built.to_table("train", append=append)
        with pytest.raises(WarehouseError, match="has no transactions over several"), built._warehouse.transaction():
            pass
    plan = shop.plan_training_set("late", LABELS)
    assert (plan.relations, plan.how) == ((), "EXPLAIN, in the engine's words")
    assert "legs" in plan.text


def test_errors_are_ours(tmp_path: Path) -> None:
    with closing(AdapterWarehouse(DUCKDB, FACTS["duckdb"])) as warehouse:
        with pytest.raises(RelationNotBuilt, match="nowhere can't be read"):
            warehouse.describe("nowhere")
        with pytest.raises(WarehouseError, match="duckdb: Conversion Error") as raised:
            warehouse.rows("SELECT CAST('x' AS INTEGER)")
        assert raised.value.sql == "SELECT CAST('x' AS INTEGER)"
    with pytest.raises(ConfigError, match="dbt's adapter for postgres does not take this target"):
        adapter.connect({"type": "postgres", "host": "127.0.0.1"}, AdapterFacts())
    nobody = {"type": "postgres", "host": "127.0.0.1", "port": 1, "user": "u", "password": "p", "dbname": "d"}
    with pytest.raises(WarehouseError, match="postgres can't be reached"):
        adapter.connect({**nobody, "schema": "s", "connect_timeout": 2}, AdapterFacts())
    with pytest.raises(ConfigError, match="pip install dbt-oracle"):
        connect({"type": "oracle"}, root=tmp_path)


def test_values_stay_what_they_are(engine: WarehouseEngine) -> None:
    """No value of a label can become SQL, and a batch that is all NULL has the column's type."""
    hostile = ["'; DROP TABLE t; --", "\\'", "$$", "%s", "{x}", "a\nb", "é😀", ""]
    table = pa.table({"s": hostile * 300, "n": pa.array([None] * 2400, pa.int32()), "b": [True, None] * 1200})
    source = engine.warehouse.attach(table)
    order = source.order or "1"
    names = ("c0", "c1", "c2") if source.order else ("s", "n", "b")
    found = engine.warehouse.arrow(
        f"SELECT {', '.join(names)} FROM {source.sql}" + (f" ORDER BY {order}" if source.order else ""), batch_rows=1000
    ).read_all()
    assert found.rename_columns(["s", "n", "b"]).to_pydict() == table.to_pydict()
    assert found.schema.types == table.schema.types


@pytest.mark.engine
def test_rows_are_loaded_into_clickhouse_as_they_are() -> None:
    """A NULL stays one: in a column that can't hold it, ClickHouse would put a 0 in silence."""
    pytest.importorskip("chdb", reason="chdb is not installed; .ci/run installs it")
    from tests.engines.clickhouse import ClickHouseWarehouse

    at = datetime(2024, 1, 1, 10, 30, 0, 5)
    table = pa.table(
        {
            "i": pa.array([1, None], pa.int64()),
            "s": ["it's \\ x", None],
            "d": pa.array([Decimal("1.50"), None], pa.decimal128(9, 2)),
            "f": [1.5, None],
            "b": [True, None],
            "t": pa.array([at, None], pa.timestamp("us")),
            "z": pa.array([at, None], pa.timestamp("us", "Asia/Tokyo")),
            "day": pa.array([date(2024, 1, 1), None], pa.date32()),
        }
    )
    columns = [column_of(field) for field in table.schema]
    with closing(ClickHouseWarehouse()) as warehouse:
        rows = zip(*table.to_pydict().values(), strict=True)
        for sql in insert_statements(dialect("clickhouse"), "labels", table.column_names, columns, rows, order="n"):
            warehouse.execute(sql)
        first, second = warehouse.rows("SELECT * FROM labels ORDER BY n")
    aware = at.replace(tzinfo=UTC)
    assert first == (1, "it's \\ x", Decimal("1.50"), 1.5, True, aware, aware, date(2024, 1, 1), 0)
    assert second == (None,) * 8 + (1,)


def test_only_engines_are_engines() -> None:
    """No helper of the warehouse is one, and every dialect has a connection."""
    assert set(warehouses()) == set(dialects())


# --- Ctrl-C -------------------------------------------------------------------------------------------------------

INTERRUPTED = """
    import sys, json
    import pyarrow as pa
    from contextlib import closing
    from featurelayer.warehouse.dbt_adapter.warehouse import connect
    from tests.engines.adapters import FACTS

    with closing(connect(json.loads(sys.argv[1]), FACTS["postgres"])) as warehouse:
        warehouse.attach(pa.table({"k": [1]}))
        warehouse.execute("CREATE TEMPORARY TABLE kept AS SELECT 1 AS x")
        print("ready", flush=True)
        warehouse.rows("SELECT pg_sleep(120)")
"""


def test_ctrl_c_ends_the_statement_and_leaves_nothing(postgres_server: postgres.Server) -> None:
    target = postgres_server.target("public")
    with closing(AdapterWarehouse(target, FACTS["postgres"])) as watching:
        before = temporary(watching)  # of other tests' sessions
    command = [sys.executable, "-c", textwrap.dedent(INTERRUPTED), json.dumps(target)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    with closing(AdapterWarehouse(target, FACTS["postgres"])) as watching:
        assert temporary(watching) == before + 2
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert "KeyboardInterrupt" in errors
        assert temporary(watching) == before
        others = "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE"
        assert watching.rows(f"{others} '%pg_sleep(120)%'") == [(0,)]


def temporary(warehouse: AdapterWarehouse) -> Any:
    return warehouse.rows("SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND relkind = 'r'")[0][0]
