"""Exports and tables through dbt's own adapters, run on dbt-duckdb and dbt-postgres, against our drivers' result.

`statements` is PostgreSQL with what Snowflake has: the lock is an UPDATE, and nothing but single statements is kept
together; and rows are encoded in Python and loaded by INSERT, as on all engines without JSON of our form.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurelayer.errors import LockError, PlanError, WarehouseError
from featurelayer.layer import FeatureLayer
from featurelayer.online import FeatureClient, MemoryStore
from featurelayer.online.stores.dynamodb.store import DynamoDBStore
from featurelayer.sql.dialects import dialect
from featurelayer.warehouse.dbt_adapter import warehouse as adapter
from featurelayer.warehouse.dbt_adapter.facts import Transactions
from featurelayer.warehouse.dbt_adapter.transactions import LOCK
from featurelayer.warehouse.dbt_adapter.warehouse import AdapterWarehouse
from tests import postgres_projects
from tests.engines.adapters import FACTS, use_adapters
from tests.unit import dbt_projects as made
from tests.unit import warehouses
from tests.unit.test_reproduce import LABELS

pytestmark = pytest.mark.slow

NOON = datetime(2024, 1, 1, 13, tzinfo=UTC)
HOUR = timedelta(hours=1)
BY_STATEMENT = Transactions(
    lock='UPDATE {table} SET "writers" = "writers" + 1',
    patience="SET statement_timeout TO {milliseconds}",
    locks_rows=True,
    spans_ddl=False,
)
CHANGES = ("UPDATE {legs} SET arr_delay = 6.5 WHERE tailnum = 'N2'", "DELETE FROM {legs} WHERE tailnum LIKE '''%'")
Shop = Callable[..., FeatureLayer]


@pytest.fixture(params=["duckdb", "postgres", "statements"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The engine, and which of its ways."""
    kind: str = request.param
    monkeypatch.setattr(adapter, "_LONGEST_WAIT", timedelta(seconds=1))
    if kind == "statements":
        monkeypatch.setattr(dialect("postgres"), "json_text", lambda *_, **__: None)
    return kind


@pytest.fixture
def shop(kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Makes projects of one online view and its service; through dbt's adapter, unless it is called for `native`."""

    def made_in(name: str = "adapted", *, native: bool = False) -> FeatureLayer:
        if native:
            monkeypatch.undo()
        else:
            facts = replace(FACTS["postgres"], transactions=BY_STATEMENT, cuts_statements=True)
            use_adapters(monkeypatch, **({"postgres": facts} if kind == "statements" else {}))
        root = tmp_path / name
        if kind == "duckdb":
            warehouses.layer(root, made.model(online=True))
            # In full: an adapter takes a path from where it is called, and dbt-duckdb knows a database by it.
            (root / "profiles.yml").write_text(warehouses.PROFILES.replace("db.duckdb", str(root / "db.duckdb")))
        else:
            server = request.getfixturevalue("postgres_server")
            node = {"relation_name": f'"postgres"."{name}"."legs"'}
            postgres_projects.layer(root, server, made.model(online=True, node=node))
        (root / "featurelayer.yml").write_text(
            (root / "featurelayer.yml").read_text() + "online_store: {dev: {type: sqlite, path: online.db}}\n"
        )
        return FeatureLayer(root, profiles_dir=root)

    return made_in


def items(found: FeatureLayer) -> list[tuple[Any, ...]]:
    """What the store holds of the view, but for the versions, which are times of the run."""
    with closing(sqlite3.connect(found.project.root / "online.db")) as store:
        names = [row[1] for row in store.execute("PRAGMA table_info(items)")]
        kept = ", ".join(name for name in names if name != "v")
        return sorted(store.execute(f"SELECT {kept} FROM items WHERE sk = 'legs@0'"), key=str)


def sql(found: FeatureLayer, *statements: str) -> None:
    with found.open_warehouse(writable=True) as warehouse:
        for statement in statements:
            warehouse.execute(statement)


def rows(found: FeatureLayer, query: str) -> list[tuple[Any, ...]]:
    with found.open_warehouse() as warehouse:
        return warehouse.rows(query)


def place(kind: str, table: str, name: str = "adapted") -> str:
    return table if kind == "duckdb" else f'"{name}".{table}'


def counts(found: FeatureLayer, **options: Any) -> tuple[int, int, int]:
    (view,) = found.export(**options).views
    return view.written, view.unchanged, view.tombstones


def test_an_export_is_that_of_the_driver(shop: Shop, kind: str) -> None:
    found = shop()
    legs = place(kind, "legs")
    with found.open_warehouse() as warehouse:
        assert type(warehouse) is AdapterWarehouse
    plan = found.plan_export(as_of=NOON)
    assert (plan.views[0].new, plan.views[0].rows) == (3, 3)
    assert counts(found, as_of=NOON) == (3, 0, 0)
    assert counts(found, as_of=NOON) == (0, 3, 0)
    with FeatureClient.connect(found.online.url) as client:
        assert client.lookup("late", {"tailnum": "N2"})["legs__arr_delay"] == -3.5
    sql(found, *(change.format(legs=legs) for change in CHANGES))
    assert counts(found, as_of=NOON + HOUR) == (1, 1, 1)
    assert found.verify(seed=1).ok
    first = found.kept_exports("legs")[-1].run
    rolled = found.rollback("legs", first)
    assert rolled.views[0].written == 2
    with FeatureClient.connect(found.online.url) as client:
        assert client.lookup("late", {"tailnum": "N2"})["legs__arr_delay"] == -3.5
    after = items(found)
    native = shop("native", native=True)
    native.export(as_of=NOON)
    sql(native, *(change.format(legs=place(kind, "legs", "native")) for change in CHANGES))
    native.export(as_of=NOON + HOUR)
    native.rollback("legs", native.kept_exports("legs")[-1].run)
    assert after == items(native)


def test_as_served_drain_and_forget(shop: Shop, kind: str) -> None:
    found, store = shop(), MemoryStore()
    found.export(store=store, as_of=NOON)
    client = FeatureClient(store)
    client.write("legs", [{"tailnum": "N2", "arr_delay": 8.25, "landed_at": NOON}])
    for number in (1, 0):
        (drained,) = found.drain(["legs"], store=store)
        assert (drained.appended, drained.known) == (number, 0)
    streamed = place(kind, "featurelayer_streamed__legs")
    assert rows(found, f"SELECT tailnum, arr_delay FROM {streamed}") == [("N2", 8.25)]
    (forgotten,) = found.forget({"tailnum": "N2"}, store=store)
    assert (forgotten.items, forgotten.export_items, forgotten.streamed) == (1, 1, 1)
    assert rows(found, f"SELECT count(*) FROM {streamed}") == [(0,)]
    at = datetime.now(UTC) + timedelta(days=1)
    labels = pa.table({"tailnum": ["N1"], "at": [at], "y": [1]})
    tables = found.online.export_tables
    found.online.export_tables = lambda store_name=None: tables(store_name or repr(store))  # type: ignore[method-assign]
    with found.build_training_set("late", labels, mode="as_served") as built:
        assert built.to_arrow()["legs__arr_delay"].to_pylist() == [None]


@pytest.mark.parametrize("kind", ["statements"], indirect=True)
def test_an_export_to_dynamodb(shop: Shop, kind: str, moto_endpoint: str) -> None:
    found = shop()
    sql(found, CHANGES[1].format(legs=place(kind, "legs")))  # moto's PartiQL does not take a quote in a key
    with closing(DynamoDBStore(f"adapted-{kind}", endpoint_url=moto_endpoint, region="eu-west-1")) as store:
        store.create()
        assert counts(found, store=store, as_of=NOON) == (2, 0, 0)
        with FeatureClient(store) as client:
            assert client.lookup("late", {"tailnum": "N2"})["legs__arr_delay"] == -3.5


def test_a_refused_export_leaves_nothing_or_what_the_next_one_mends(shop: Shop, kind: str) -> None:
    found, store = shop(), MemoryStore()
    with pytest.raises(PlanError, match="would cost"):
        found.export(store=store, as_of=NOON, max_cost=-1.0)
    if kind != "statements":
        with pytest.raises(WarehouseError):
            rows(found, f"SELECT * FROM {place(kind, 'featurelayer_exports')}")
    else:  # an intent that never committed: its keys are in doubt
        assert found.plan_export(store=store, as_of=NOON).views[0].in_doubt == 3
    assert counts(found, store=store, as_of=NOON) == (3, 0, 0)
    assert counts(found, store=store, as_of=NOON) == (0, 3, 0)


# --- one writer at a time -------------------------------------------------------------------------------------------


def test_another_writer_is_waited_for_and_then_named(shop: Shop, kind: str) -> None:
    if kind == "duckdb":
        pytest.skip("its file has one writer")
    found, store = shop(), MemoryStore()
    refused = pytest.raises(WarehouseError, match="another command is writing exports to schema adapted")
    with found.open_warehouse(writable=True) as warehouse, warehouse.transaction(), refused:
        found.export(store=store, as_of=NOON, lock_timeout=timedelta(seconds=1))
    done: list[tuple[int, int, int]] = []

    def late() -> None:
        done.append(counts(found, store=store, as_of=NOON, lock_timeout=timedelta(seconds=20)))

    with found.open_warehouse(writable=True) as warehouse:
        with warehouse.transaction():
            waiting = threading.Thread(target=late)
            waiting.start()
            waiting.join(timeout=1)
            assert waiting.is_alive()
        waiting.join(timeout=30)
    assert done == [(3, 0, 0)]


def test_a_lock_that_was_lost_ends_the_export(shop: Shop, kind: str) -> None:
    if kind == "duckdb":
        pytest.skip("its file has one writer")
    found = shop()
    sql(found, 'CREATE TABLE "adapted".kept (x int)')
    end = (
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE granted AND pid <> pg_backend_pid() "
        f"AND relation = '\"adapted\".{LOCK}'::regclass"
    )
    refused = pytest.raises(WarehouseError, match="no longer holds the lock")
    with found.open_warehouse(writable=True) as warehouse, refused, warehouse.transaction():
        warehouse.execute('INSERT INTO "adapted".kept VALUES (1)')
        sql(found, end)
    left = 1 if kind == "statements" else 0
    assert rows(found, 'SELECT count(*) FROM "adapted".kept') == [(left,)]


def test_two_exporters_at_once(shop: Shop, kind: str) -> None:
    if kind == "duckdb":
        pytest.skip("its file has one writer")
    found, store = shop(), MemoryStore()
    found.export(store=store, as_of=NOON)
    sql(found, 'UPDATE "adapted".legs SET arr_delay = 6.5')
    failed: list[Exception] = []

    def run() -> None:
        try:
            found.export(store=store, as_of=NOON + HOUR, lock_timeout=timedelta(seconds=30))
        except Exception as error:  # noqa: BLE001 (told of below)
            failed.append(error)

    exporters = [threading.Thread(target=run) for _ in range(2)]
    for exporter in exporters:
        exporter.start()
    for exporter in exporters:
        exporter.join()
    assert failed == []
    assert counts(found, store=store, as_of=NOON + 2 * HOUR) == (0, 3, 0)
    with FeatureClient(store) as client:
        assert client.lookup("late", {"tailnum": "N1"})["legs__arr_delay"] == 6.5


# --- tables ---------------------------------------------------------------------------------------------------------


def to_table(found: FeatureLayer, labels: pa.Table, name: str, **options: Any) -> int:
    with found.build_training_set("late", labels, writable=True) as built:
        return built.to_table(name, **options)


def test_a_table_is_that_of_the_driver(shop: Shop, kind: str, tmp_path: Path) -> None:
    found = shop()
    table, legs = place(kind, "train"), place(kind, "legs")
    assert to_table(found, LABELS, "train") == LABELS.num_rows
    written = rows(found, f"SELECT * FROM {table}")
    with found.build_training_set("late", LABELS) as built:
        assert written == [tuple(row.values()) for row in built.to_arrow().to_pylist()]
    lock = tmp_path / "train.lock.json"
    to_table(found, LABELS.slice(0, 2), table, lock=lock)
    assert to_table(found, LABELS.slice(2), table, lock=lock, append=True) == LABELS.num_rows - 2
    assert sorted(map(str, rows(found, f"SELECT * FROM {table}"))) == sorted(map(str, written))
    with pytest.raises(LockError, match="in the set already"):
        to_table(found, LABELS.slice(2), table, lock=lock, append=True)
    for refused in ({}, {"append": True}):
        with pytest.raises(WarehouseError, match="is not a training set that featurelayer wrote"):
            to_table(found, LABELS, legs, **refused)
    native = shop("native", native=True)
    to_table(native, LABELS, "train")
    assert rows(native, f"SELECT * FROM {place(kind, 'train', 'native')}") == written


def test_a_table_that_is_not_what_it_must_be_is_not_kept(shop: Shop, kind: str) -> None:
    found = shop()
    table = place(kind, "train")
    to_table(found, LABELS.slice(0, 1), table)
    with found.build_training_set("late", LABELS, writable=True) as built:
        warehouse, query, columns = built._warehouse, built._script.query.sql, ("tailnum", "at", "y")
        for wrong in ({"rows": 3}, {"rows": 4, "same": _another}):
            options = {"labels": columns, "same": lambda _: None, **wrong}
            for write in (warehouse.write_table, warehouse.append_table):
                with pytest.raises(WarehouseError, match=r"were expected|other values"):
                    write(query, table, **options)
        query = "SELECT q.x FROM (SELECT 1 AS x) AS q ORDER BY q.x"
        with pytest.raises(WarehouseError, match="has other columns than the new rows"):
            warehouse.append_table(query, table, rows=1, labels=("x",), same=lambda _: None)
    assert len(rows(found, f"SELECT * FROM {table}")) == 1


@pytest.mark.parametrize("kind", ["duckdb"], indirect=True)
def test_a_table_is_replaced_in_one_step_where_that_is_so(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Snowflake and Databricks do; DuckDB has the words for it, too."""
    notes = FACTS["duckdb"].notes
    assert notes is not None
    engine = replace(FACTS["duckdb"], notes=replace(notes, replaces=True), transactions=None)
    found = shop()
    use_adapters(monkeypatch, duckdb=engine)
    for labels in (LABELS.slice(0, 1), LABELS):
        to_table(found, labels, "train")
        assert len(rows(found, "SELECT * FROM train")) == labels.num_rows
    with found.build_training_set("late", LABELS) as built:
        assert rows(found, "SELECT * FROM train") == [tuple(row.values()) for row in built.to_arrow().to_pylist()]


def _another(_: pa.RecordBatchReader) -> None:
    raise WarehouseError("other values")


def test_a_plan_tells_what_is_read(shop: Shop, kind: str, tmp_path: Path) -> None:
    found = shop()
    pq.write_table(LABELS, tmp_path / "labels.parquet")
    plan = found.plan_training_set("late", tmp_path / "labels.parquet")
    assert any("legs" in each.relation and "arr_delay" in each.columns for each in plan.relations)
    assert plan.how.startswith("EXPLAIN; bytes are")


def test_a_missing_schema_is_made_where_something_is_to_be_written(shop: Shop) -> None:
    found = shop()
    connection = {**found.project.connection, "schema": "made 'for us"}
    for _ in range(2):
        with closing(adapter.connect(connection, FACTS[connection["type"]], writable=True)) as warehouse:
            warehouse.execute("""CREATE TABLE IF NOT EXISTS "made 'for us".t (x integer)""")
            assert [column.name for column in warehouse.describe("""\"made 'for us\".t""")] == ["x"]
    with closing(adapter.connect(connection, FACTS[connection["type"]])) as warehouse:
        warehouse.execute("""DROP SCHEMA "made 'for us" CASCADE""")
