"""dbt-postgres on a server of its own: the demo's features and all that is made of them equal DuckDB's; the macros."""

from __future__ import annotations

import json
import math
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from featurelayer.cli import main
from featurelayer.layer import FeatureLayer
from featurelayer.monitor.distances import SharePair, psi
from featurelayer.online import FeatureClient
from tests.integration import test_macros_generic_tests as generic
from tests.integration import test_macros_psi as drift
from tests.integration import test_macros_rolling as rolling
from tests.integration.conftest import REPOSITORY, run_dbt, write_project
from tests.postgres_projects import session
from tests.servers.postgres import Server

pytestmark = pytest.mark.slow
UNTIL = "2013-01-10"
VARS = ("--vars", json.dumps({"data_until": UNTIL}))
LEFT = shutil.ignore_patterns(
    "target", "logs", "dbt_packages", "package-lock.yml", ".user.yml", "*.duckdb", "*.wal", ".featurelayer"
)


def profile(folder: Path, name: str, target: dict[str, Any]) -> None:
    (folder / "profiles.yml").write_text(yaml.safe_dump({name: {"target": "dev", "outputs": {"dev": target}}}))


# --- the demo --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def layers(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: Server, moto_endpoint: str
) -> dict[str, FeatureLayer]:
    """The demo on a few flights, built by dbt on DuckDB and on PostgreSQL, each with a DynamoDB table."""
    root = tmp_path_factory.mktemp("demo")
    shutil.copytree(REPOSITORY / "macros", root / "macros", ignore=LEFT)
    found = {}
    for engine in ("duckdb", "postgres"):
        project = root / engine
        shutil.copytree(REPOSITORY / "dbt_project", project, ignore=LEFT)
        cut(project / "data")
        store = {"type": "dynamodb", "table": f"demo-{engine}", "region": "us-east-1", "endpoint_url": moto_endpoint}
        settings = yaml.safe_load((project / "featurelayer.yml").read_text()) | {"online_store": {"dev": store}}
        (project / "featurelayer.yml").write_text(yaml.safe_dump(settings))
        # The model that was written for DuckDB; it is written anew.
        shutil.rmtree(project / "models" / "featurelayer")
        if engine == "postgres":
            profile(project, "featurelayer_demo", postgres_server.target("demo"))
            load_sources(postgres_server, project / "data")
        run_dbt(project, "deps")
        run_dbt(project, "build" if engine == "postgres" else "run", *VARS)
        found[engine] = FeatureLayer(project, profiles_dir=project)
    return found


def cut(data: Path) -> None:
    """Leave two airlines' flights of nine days, and their planes: what a test can wait for."""
    flights = f"SELECT * FROM '{data}/flights.parquet' WHERE sched_dep_utc < '{UNTIL}' AND carrier IN ('B6', 'US')"
    planes = f"SELECT * FROM '{data}/planes.parquet' WHERE tailnum IN (SELECT tailnum FROM ({flights}))"
    found = {name: duckdb.sql(query).to_arrow_table() for name, query in (("flights", flights), ("planes", planes))}
    for name, table in found.items():
        pq.write_table(table, data / f"{name}.parquet")


def load_sources(server: Server, data: Path) -> None:
    warehouse = session(server, "nycflights")
    warehouse.execute("CREATE SCHEMA nycflights")
    for file in sorted(data.glob("*.parquet")):
        source = warehouse.attach(file)
        warehouse.execute(f"CREATE TABLE nycflights.{file.stem} AS SELECT * FROM {source.sql}")
        warehouse.execute(f"ANALYZE nycflights.{file.stem}")
    warehouse.close()


def assert_same(one: pa.Table, other: pa.Table) -> None:
    """The same rows, types and values; a mean may differ in its last bits, which depend on the order of summation."""
    assert one.schema == other.schema
    assert one.num_rows == other.num_rows > 0
    for name in one.column_names:
        for left, right in zip(one[name].to_pylist(), other[name].to_pylist(), strict=True):
            same = left == right or (isinstance(left, float) and math.isclose(left, right, rel_tol=1e-12))
            assert same, (name, left, right)


def test_a_training_set_is_that_of_duckdb(layers: dict[str, FeatureLayer], tmp_path: Path) -> None:
    tables = {}
    for engine, layer in layers.items():
        labels = tmp_path / "labels.parquet"
        if engine == "duckdb":
            with layer.open_warehouse() as warehouse:
                pq.write_table(warehouse.arrow("SELECT * FROM late_arrival_labels").read_all(), labels)
        with layer.build_training_set("late_arrival", labels) as built:
            built.to_parquet(tmp_path / f"{engine}.parquet")
            tables[engine] = built.to_arrow()
        assert layer.reproduce(tmp_path / f"{engine}.lock.json", labels).identical
    assert_same(tables["postgres"], tables["duckdb"])
    assert tables["postgres"]["plane_legs__air_time"].null_count < tables["postgres"].num_rows


def test_its_dbt_model_holds_the_same_rows(layers: dict[str, FeatureLayer], postgres_server: Server) -> None:
    layer = layers["postgres"]
    root = layer.project.root
    arguments = ["--project-dir", str(root), "--profiles-dir", str(root), "--vars", VARS[1]]
    assert main(["dbt-model", "write", "--service", "late_arrival", *arguments]) == 0
    run_dbt(root, "run", "-s", "late_arrival_training_set", *VARS)
    warehouse = session(postgres_server, "demo")
    found = warehouse.arrow("SELECT * FROM late_arrival_training_set").read_all().sort_by("flight_id")
    with layer.build_training_set("late_arrival") as built:
        assert found.equals(built.to_arrow().sort_by("flight_id"))
    warehouse.close()


def test_what_is_exported_is_looked_up_as_from_duckdb(layers: dict[str, FeatureLayer]) -> None:
    answers: dict[str, list[dict[str, Any]]] = {}
    for engine, layer in layers.items():
        layer.online.create()
        first = layer.export()
        assert sum(view.written for view in first.views) > 300
        again = layer.export()
        assert sum(view.written for view in again.views) == 0
        with layers["duckdb"].open_warehouse() as warehouse:
            keys = warehouse.arrow(
                "SELECT DISTINCT tailnum, carrier, origin, hour FROM late_arrival_labels ORDER BY ALL LIMIT 200"
            ).read_all()
        client = FeatureClient.connect(layer.online.url)
        answers[engine] = [vector.to_dict() for vector in client.lookup_many("late_arrival", keys.to_pylist())]
    for one, other in zip(answers["postgres"], answers["duckdb"], strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            right = other[name]
            assert value == right or math.isclose(value, right, rel_tol=1e-12), (name, value, right)
    assert any(value is not None for answer in answers["postgres"] for value in answer.values())


# --- the macros ------------------------------------------------------------------------------------------------------

SOURCES = "sources: [{name: raw, schema: macros, tables: [{name: events}, {name: daily}]}]"


@pytest.fixture(scope="module")
def seed() -> int:
    return random.randrange(1_000_000)


@pytest.fixture(scope="module")
def database(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: Server, seed: int
) -> Iterator[duckdb.DuckDBPyConnection]:
    """What dbt-postgres made of random events, copied to where the tests of the macros look."""
    variants = [(when, late) for when in rolling.WHENS for late in (False, True)]
    models = {rolling.name_of("duckdb", *each): rolling.rolling_model(form="duckdb", when=each[0], late=each[1])
              for each in variants}  # fmt: skip
    models |= {
        "daily_events": "{{ config(event_time='happened_at') }} select * from {{ source('raw', 'daily') }}",
        "days_at_once": rolling.DAYS,
        # dbt-postgres merges batches, by a key.
        "days_in_batches": rolling.BATCHED.replace(
            "lookback=0", "lookback=0, unique_key=['k', 'happened_at', 'known_at']"
        )
        + rolling.DAYS,
    }
    folder = write_project(
        tmp_path_factory.mktemp("rolling"),
        {f"models/{name}.sql": sql for name, sql in models.items()} | {"models/sources.yml": SOURCES},
    )
    profile(folder, "small", postgres_server.target("macros"))
    warehouse = session(postgres_server, "macros")
    warehouse.execute("CREATE SCHEMA macros")
    columns = ("case_id", "k", "happened_at", "known_at", "x", "word")
    kinds = (pa.int32(), pa.string(), pa.timestamp("us"), pa.timestamp("us"), pa.int32(), pa.string())
    rows = list(zip(*rolling.random_rows(seed), strict=True))
    events = pa.table([pa.array(values, kind) for values, kind in zip(rows, kinds, strict=True)], names=columns)
    warehouse.execute(f"CREATE TABLE macros.events AS SELECT * FROM {warehouse.attach(events).sql}")
    warehouse.execute("""CREATE TABLE macros.daily AS
        SELECT 'k' || i % 2 AS k, i AS x, timestamp '2026-01-01' + i * interval '7 hours' AS happened_at,
          timestamp '2026-01-01' + i * interval '7 hours' + CASE WHEN i % 5 = 0 THEN interval '11 hours'
          ELSE interval '0 hours' END AS known_at
        FROM generate_series(0, 19) AS numbers (i)""")
    run_dbt(folder, "run", "--event-time-start", "2026-01-01", "--event-time-end", "2026-01-08")
    connection = duckdb.connect()
    for name in [name for name in models if name != "daily_events"] + ["events"]:
        found = warehouse.arrow(f'SELECT * FROM macros."{name}"').read_all()
        connection.register("found", found)
        connection.execute(f'CREATE TABLE "{name}" AS SELECT * FROM found')
        connection.unregister("found")
    warehouse.close()
    yield connection
    connection.close()


@pytest.mark.parametrize("when", rolling.WHENS)
@pytest.mark.parametrize("late", [False, True])
def test_what_is_read_at_any_time_is_the_window_of_what_was_known(database: Any, seed: int, when: str, late: bool):
    rolling.test_what_is_read_at_any_time_is_the_window_of_what_was_known(database, seed, "duckdb", when, late)


def test_rows_are_where_something_changes(database: Any) -> None:
    rolling.test_event_driven_has_a_row_per_change_and_no_other(database)
    rolling.test_the_grid_is_regular_from_the_first_event_on(database)
    rolling.test_microbatches_give_the_rows_of_one_build(database)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, postgres_server: Server) -> dict[str, dict[str, Any]]:
    """The generic tests' project on PostgreSQL."""
    models = "models:" + "".join(
        generic.ANNOTATED.format(model=name, now=generic.NOW.isoformat()) for name in generic.TABLES
    )
    selects = {
        f"models/{name}.sql": generic._select(rows).replace("as double)", "as double precision)")
        for name, rows in {**generic.TABLES, "plain": generic.BAD}.items()
    }
    folder = write_project(
        tmp_path_factory.mktemp("generic_tests"),
        {**selects, "models/models.yml": models + generic.PLAIN},
        settings="data_tests: {+store_failures: true}",
    )
    profile(folder, "small", postgres_server.target("generic"))
    run_dbt(folder, "build", check=False)
    nodes = json.loads((folder / "target/manifest.json").read_text())["nodes"]
    runs = json.loads((folder / "target/run_results.json").read_text())["results"]
    return {
        nodes[run["unique_id"]]["name"]: {**run, "relation": nodes[run["unique_id"]]["relation_name"]} for run in runs
    }


@pytest.mark.parametrize("test", generic.PASSES)
def test_good_data_passes(results: dict[str, dict[str, Any]], test: str) -> None:
    assert (results[test]["status"], results[test]["failures"]) == ("pass", 0), results[test]["message"]


@pytest.mark.parametrize(("test", "columns", "rows"), generic.FAILS, ids=[case[0] for case in generic.FAILS])
def test_bad_data_fails_with_the_offending_rows(
    results: dict[str, dict[str, Any]], postgres_server: Server, test: str, columns: str, rows: list[tuple[Any, ...]]
) -> None:
    assert results[test]["status"] == "fail", results[test]["message"]
    warehouse = session(postgres_server, "generic")
    rounded = columns.replace("round(null_rate, 4)", "round(null_rate::numeric, 4)::float8")
    found = warehouse.rows(f"SELECT {rounded} FROM {results[test]['relation']}")
    warehouse.close()
    assert sorted(map(repr, found)) == sorted(map(repr, rows))
    assert results[test]["failures"] == len(rows)


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory, postgres_server: Server) -> dict[str, dict[str, Any]]:
    """The project of `psi_below` on PostgreSQL."""
    selects = {
        f"models/{name}.sql": re.sub(r"range\((\d+)\)", r"generate_series(1, \1)", query).replace(
            "::double", "::double precision"
        )
        for name, query in {**drift.MODELS, "legs": drift.MODELS["same"]}.items()
    }
    models = "models:" + "".join(drift.TESTS.format(model=name) for name in drift.MODELS) + drift.LEGS
    folder = write_project(
        tmp_path_factory.mktemp("psi"),
        {**selects, "models/models.yml": models, "seeds/baselines.csv": drift.BASELINE.strip()},
        settings="data_tests: {+store_failures: true}",
    )
    profile(folder, "small", postgres_server.target("psi"))
    run_dbt(folder, "build", check=False)
    nodes = json.loads((folder / "target/manifest.json").read_text())["nodes"]
    runs = json.loads((folder / "target/run_results.json").read_text())["results"]
    return {
        nodes[run["unique_id"]]["name"]: {**run, "relation": nodes[run["unique_id"]]["relation_name"]} for run in runs
    }


@pytest.mark.parametrize("test", drift.SILENT)
def test_what_did_not_move_passes(drifted: dict[str, dict[str, Any]], test: str) -> None:
    assert (drifted[test]["status"], drifted[test]["failures"]) == ("pass", 0), drifted[test]["message"]


@pytest.mark.parametrize(("test", "one", "other"), drift.MOVED)
def test_what_moved_fails_with_the_figure_of_the_monitor(
    drifted: dict[str, dict[str, Any]], postgres_server: Server, test: str, one: Any, other: Any
) -> None:
    assert drifted[test]["status"] == "fail", drifted[test]["message"]
    warehouse = session(postgres_server, "psi")
    rows = warehouse.rows(f"SELECT * FROM {drifted[test]['relation']} ORDER BY bin")
    warehouse.close()
    expected = psi(SharePair(one=tuple(n / 1000 for n in one), other=tuple(n / 1000 for n in other)))
    assert [row[4] for row in rows] == [pytest.approx(expected)] * len(one)
    assert sum(row[3] for row in rows) == pytest.approx(expected)
