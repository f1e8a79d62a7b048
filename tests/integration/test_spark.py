"""dbt-spark's session method: the demo's features built by Spark, training sets that equal DuckDB's.

Spark is started by dbt, by the command line and by scripts, one after the other, as a team does; the metastore is a
Derby database in a folder, which one of them at a time opens.
"""

from __future__ import annotations

import json
import math
import random
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from featurelayer.layer import FeatureLayer
from featurelayer.monitor.distances import SharePair, psi
from featurelayer.online import FeatureClient
from tests.integration import test_macros_generic_tests as generic
from tests.integration import test_macros_psi as drift
from tests.integration import test_macros_rolling as rolling
from tests.integration.conftest import REPOSITORY, run_dbt, write_project
from tests.integration.test_postgres import LEFT
from tests.servers import spark

pytestmark = [
    pytest.mark.slow,
    pytest.mark.engine,
    pytest.mark.skipif(bool(spark.why_not()), reason=spark.why_not() or "there is Spark"),
]
# What the demo says in the words of other engines: names of types, and of a part of a date.
WORDS = {
    "double precision": "double",
    "extract(isodow ": "extract(dow_iso ",
    "data_type: varchar": "data_type: string",
    "data_type: integer": "data_type: int",
    "data_type: timestamp\n": "data_type: timestamp_ntz\n",
}
UNTIL = "2013-01-05"
VARS = ("--vars", json.dumps({"data_until": UNTIL}))
# Spark as it runs for users: dbt's queries are larger than the kit's.
COMPILED = {"spark.sql.codegen.wholeStage": "true", "spark.sql.codegen.factoryMode": "FALLBACK"}
ROLLING = ("airport_hour_28d", "airport_recent_3h", "carrier_punctuality_7d")


def profile(folder: Path, name: str, schema: str) -> None:
    """Write a target whose Spark is this test's settings, with its tables beside the project."""
    said = {**spark.target(folder / "spark", **COMPILED), "schema": schema, "threads": 1}
    (folder / "spark").mkdir(exist_ok=True)
    (folder / "profiles.yml").write_text(yaml.safe_dump({name: {"target": "dev", "outputs": {"dev": said}}}))


def in_spark(folder: Path, code: str) -> str:
    """Run code that has `warehouse` and `folder` in a process of its own, and return what it printed."""
    opening = f"""
        import json, warnings, yaml
        from contextlib import closing
        from pathlib import Path
        from featurelayer.warehouse import connect
        folder = Path({str(folder)!r})
        ((_, project),) = yaml.safe_load((folder / "profiles.yml").read_text()).items()
        with closing(connect(project["outputs"]["dev"], root=folder)) as warehouse:
    """
    script = textwrap.dedent(opening) + textwrap.indent(textwrap.dedent(code), "    ")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


# --- the demo --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The demo on a few flights, built by dbt on DuckDB and on Spark."""
    root = tmp_path_factory.mktemp("demo")
    shutil.copytree(REPOSITORY / "macros", root / "macros", ignore=LEFT)
    found = {}
    for engine in ("duckdb", "spark"):
        found[engine] = project = root / engine
        shutil.copytree(REPOSITORY / "dbt_project", project, ignore=LEFT)
        cut(project / "data")
        shutil.rmtree(project / "models" / "featurelayer")
        if engine == "spark":
            in_words_of_spark(project)
            profile(project, "featurelayer_demo", "features")
            in_spark(project, """
                for schema in ("nycflights", "features"):
                    warehouse.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
                for file in sorted((folder / "data").glob("*.parquet")):
                    source = warehouse.attach(file).sql
                    warehouse.execute(f"CREATE TABLE nycflights.{file.stem} USING parquet AS SELECT * FROM {source}")
            """)  # fmt: skip
        run_dbt(project, "deps")
        run_dbt(project, "run", *VARS)
    return found


def cut(data: Path) -> None:
    """Leave one airline's flights of four days, and their planes: what a test can wait for."""
    flights = f"SELECT * FROM '{data}/flights.parquet' WHERE sched_dep_utc < '{UNTIL}' AND carrier = 'US'"
    planes = f"SELECT * FROM '{data}/planes.parquet' WHERE tailnum IN (SELECT tailnum FROM ({flights}))"
    found = {name: duckdb.sql(query).to_arrow_table() for name, query in (("flights", flights), ("planes", planes))}
    for name, table in found.items():
        pq.write_table(table, data / f"{name}.parquet")


def in_words_of_spark(project: Path) -> None:
    for file in [*project.rglob("models/**/*.sql"), *project.rglob("models/**/*.yml")]:
        text = file.read_text()
        for word, other in WORDS.items():
            text = text.replace(word, other)
        if file.stem in ROLLING and file.suffix == ".yml":
            # `rolling_features` gives its own time as `dbt.type_timestamp()` has it.
            text = text.replace("timestamp_ntz", "timestamp", 1)
        file.write_text(text)


def featurelayer(*arguments: str) -> None:
    """Run a command in a process of its own: another test's Spark may run in this one, with other tables."""
    done = subprocess.run(
        [sys.executable, "-m", "featurelayer", *arguments], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]


def naive(table: pa.Table) -> list[dict[str, Any]]:
    """The rows, instants as naive UTC, and Spark's decimals beside DuckDB's."""
    rows = table.to_pylist()
    return [
        {
            name: value.astimezone(UTC).replace(tzinfo=None) if getattr(value, "tzinfo", None) else value
            for name, value in row.items()
        }
        for row in rows
    ]


def test_the_commands_give_duckdbs_training_set(projects: dict[str, Path], tmp_path: Path) -> None:
    labels, tables = tmp_path / "labels.parquet", {}
    with duckdb.connect(str(projects["duckdb"] / "featurelayer_demo.duckdb"), read_only=True) as connection:
        pq.write_table(connection.sql("SELECT * FROM late_arrival_labels").to_arrow_table(), labels)
    for engine, project in projects.items():
        asked = ["--project-dir", str(project), "--profiles-dir", str(project)]
        output = tmp_path / f"{engine}.parquet"
        build = ["build-training-set", "--service", "late_arrival", "--labels", str(labels), "--output", str(output)]
        featurelayer(*build, *asked)
        featurelayer("reproduce", str(tmp_path / f"{engine}.lock.json"), *asked)
        tables[engine] = pq.read_table(output)
    left, right = naive(tables["spark"]), naive(tables["duckdb"])
    assert len(left) == len(right) > 100
    for one, other in zip(left, right, strict=True):
        assert list(one) == list(other)
        for name, value in one.items():
            same = value == other[name] or (
                isinstance(value, float) and math.isclose(value, other[name], rel_tol=1e-12)
            )
            assert same, (name, value, other[name])
    reports = [json.loads((tmp_path / f"{engine}.lock.json").read_text())["report"] for engine in projects]
    counts = [
        [{name: view[name] for name in ("name", "matched", "missing", "expired", "ties", "unusable_rows", "age")}
         for view in report["views"]] for report in reports
    ]  # fmt: skip
    assert counts[0] == counts[1]


EXPORT = """
import json, sys
from pathlib import Path
from featurelayer import FeatureLayer
layer = FeatureLayer(Path(sys.argv[1]), profiles_dir=Path(sys.argv[1]))
layer.online.create()
planned = layer.plan_export()
first, again, verified = layer.export(), layer.export(), layer.verify(sample=50, seed=1)
view = first.views[0].view
kept = layer.kept_exports(view)
layer.rollback(view, kept[-1].run)
with layer.build_training_set("late_arrival", sys.argv[2], mode="as_served") as built:
    built.to_parquet(sys.argv[3])
print(json.dumps({
    "planned": {plan.view: [plan.new, plan.bytes] for plan in planned.views},
    "written": {done.view: [done.written, done.bytes] for done in first.views},
    "again": sum(done.written + done.tombstones for done in again.views),
    "verified": [verified.ok, sum(each.compared for each in verified.views) > 0],
    "kept": len(kept),
}))
"""


def test_what_is_exported_is_looked_up_as_from_duckdb(
    projects: dict[str, Path], moto_endpoint: str, tmp_path: Path
) -> None:
    labels, later = tmp_path / "labels.parquet", datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=1)
    with duckdb.connect(str(projects["duckdb"] / "featurelayer_demo.duckdb"), read_only=True) as connection:
        asked = "SELECT DISTINCT tailnum, carrier, origin, hour FROM late_arrival_labels ORDER BY ALL"
        keys = connection.sql(asked).to_arrow_table().to_pylist()
        served = f"SELECT * REPLACE (TIMESTAMP '{later}' AS predicted_at) FROM late_arrival_labels"
        pq.write_table(connection.sql(served).to_arrow_table(), labels)
    told, answers = {}, {}
    for engine, project in projects.items():
        store = {"type": "dynamodb", "table": f"spark-{engine}", "region": "us-east-1", "endpoint_url": moto_endpoint}
        settings = yaml.safe_load((project / "featurelayer.yml").read_text()) | {"online_store": {"dev": store}}
        (project / "featurelayer.yml").write_text(yaml.safe_dump(settings))
        arguments = [sys.executable, "-c", EXPORT, str(project), str(labels), str(tmp_path / f"{engine}.parquet")]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr[-3000:]
        told[engine] = json.loads(done.stdout.splitlines()[-1])
        layer = FeatureLayer(project, profiles_dir=project)
        with FeatureClient.connect(f"{layer.online.url}&timeout=10") as client:
            answers[engine] = [found.to_dict() for found in client.lookup_many("late_arrival", keys)]
    assert {name: counts[0] for name, counts in told["spark"]["written"].items()} == {
        name: counts[0] for name, counts in told["duckdb"]["written"].items()
    }
    assert told["spark"]["planned"] == told["spark"]["written"]
    assert [told["spark"][name] for name in ("again", "verified", "kept")] == [0, [True, True], 2]
    tables = [naive(pq.read_table(tmp_path / f"{engine}.parquet")) for engine in projects]
    for left, right in ((answers["spark"], answers["duckdb"]), tables):
        assert len(left) == len(right) > 100
        assert any(value is not None for one in left for value in one.values())
        for one, other in zip(left, right, strict=True):
            assert one.keys() == other.keys()
            for name, value in one.items():
                same = value == other[name] or math.isclose(value, other[name], rel_tol=1e-12)
                assert same, (name, value, other[name])


# --- the macros ------------------------------------------------------------------------------------------------------

SOURCES = "sources: [{name: raw, schema: macros, tables: [{name: events}, {name: daily}]}]"
VARIANTS = [(when, late) for when in rolling.WHENS for late in (False, True)]
# dbt-spark overwrites the partitions of a batch, so the model needs a column that says the batch, its last one.
BATCHED = rolling.BATCHED.replace("lookback=0", "lookback=0, partition_by='day'")
BY_DAY = f"select *, cast(happened_at as date) as day from ({rolling.DAYS})"
BATCHES = {
    "daily_events": "{{ config(event_time='happened_at') }} select * from {{ source('raw', 'daily') }}",
    "days_at_once": BY_DAY,
    "days_in_batches": BATCHED + BY_DAY,
}
DRIFTED = ("moved_delay", "moved_carrier")


@pytest.fixture(scope="module")
def seed() -> int:
    return random.randrange(1_000_000)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Path:
    """Rolling features of random events and the generic tests' cases, run by dbt-spark; copies.db has the tables."""
    models = {rolling.name_of("duckdb", *each): rolling.rolling_model(form="duckdb", when=each[0], late=each[1])
              for each in VARIANTS}  # fmt: skip
    rows = {**generic.TABLES, "plain": generic.BAD}
    selects = {name: generic._select(found) for name, found in rows.items()}
    selects |= {**drift.MODELS, "legs": drift.MODELS["same"]}
    models |= {name: found.replace("as varchar)", "as string)") for name, found in selects.items()} | BATCHES
    annotated = [generic.ANNOTATED.format(model=name, now=generic.NOW.isoformat()) for name in generic.TABLES]
    annotated += [generic.PLAIN, *(drift.TESTS.format(model=name) for name in drift.MODELS), drift.LEGS]
    folder = write_project(
        tmp_path_factory.mktemp("macros"),
        {f"models/{name}.sql": sql for name, sql in models.items()}
        | {"models/sources.yml": SOURCES, "models/models.yml": "models:" + "".join(annotated)}
        | {"seeds/baselines.csv": drift.BASELINE.strip()},
        settings="data_tests: {+store_failures: true}",
    )
    columns = ("case_id", "k", "happened_at", "known_at", "x", "word")
    kinds = (pa.int32(), pa.string(), pa.timestamp("us"), pa.timestamp("us"), pa.int32(), pa.string())
    values = zip(*rolling.random_rows(seed), strict=True)
    events = pa.table([pa.array(v, kind) for v, kind in zip(values, kinds, strict=True)], names=columns)
    pq.write_table(events, folder / "events.parquet")
    profile(folder, "small", "macros")
    in_spark(folder, """
        warehouse.execute("CREATE SCHEMA macros")
        source = warehouse.attach(folder / "events.parquet").sql
        warehouse.execute(f"CREATE TABLE macros.events USING parquet AS SELECT * FROM {source}")
        warehouse.execute("CREATE TABLE macros.daily USING parquet AS SELECT concat('k', i % 2) AS k, i AS x, "
                          "happened_at, happened_at + CASE WHEN i % 5 = 0 THEN INTERVAL '11' HOUR "
                          "ELSE INTERVAL '0' HOUR END AS known_at FROM (SELECT i, TIMESTAMP_NTZ '2026-01-01 00:00:00' "
                          "+ i * INTERVAL '7' HOUR AS happened_at FROM range(20) AS numbers (i))")
    """)  # fmt: skip
    run_dbt(folder, "build", "--event-time-start", "2026-01-01", "--event-time-end", "2026-01-08", check=False)
    return folder


@pytest.fixture(scope="module")
def results(project: Path) -> dict[str, dict[str, Any]]:
    """What dbt says of each test."""
    nodes = json.loads((project / "target/manifest.json").read_text())["nodes"]
    runs = json.loads((project / "target/run_results.json").read_text())["results"]
    return {
        nodes[run["unique_id"]]["name"]: {**run, "relation": nodes[run["unique_id"]]["relation_name"]} for run in runs
    }


@pytest.fixture(scope="module")
def database(project: Path, results: dict[str, dict[str, Any]]) -> Iterator[duckdb.DuckDBPyConnection]:
    """The rolling features, the events and the failures, copied to where the tests of the macros look."""
    wanted = {rolling.name_of("duckdb", *each): f"macros.{rolling.name_of('duckdb', *each)}" for each in VARIANTS}
    wanted |= {test: results[test]["relation"] for test in (*(test for test, _, _ in generic.FAILS), *DRIFTED)}
    wanted |= {name: f"macros.{name}" for name in BATCHES if name != "daily_events"}
    (project / "wanted.json").write_text(json.dumps(wanted))
    in_spark(project, """
        for name, relation in json.loads((folder / "wanted.json").read_text()).items():
            warehouse.write_file(f"SELECT * FROM {relation}", folder / f"{name}.parquet", "parquet")
    """)  # fmt: skip
    with duckdb.connect() as connection:
        for name in [*wanted, "events"]:
            found = pq.read_table(project / f"{name}.parquet")
            naive = [field.with_type(pa.timestamp("us")) if pa.types.is_timestamp(field.type) else field
                     for field in found.schema]  # fmt: skip
            connection.register("found", found.cast(pa.schema(naive)))
            connection.execute(f'CREATE TABLE "{name}" AS SELECT * FROM found')
            connection.unregister("found")
        yield connection


@pytest.mark.parametrize(("when", "late"), VARIANTS)
def test_what_is_read_at_any_time_is_the_window_of_what_was_known(database: Any, seed: int, when: str, late: bool):
    rolling.test_what_is_read_at_any_time_is_the_window_of_what_was_known(database, seed, "duckdb", when, late)


def test_rows_are_where_something_changes(database: Any) -> None:
    rolling.test_event_driven_has_a_row_per_change_and_no_other(database)
    rolling.test_the_grid_is_regular_from_the_first_event_on(database)
    rolling.test_microbatches_give_the_rows_of_one_build(database)


@pytest.mark.parametrize("test", generic.PASSES)
def test_good_data_passes(results: dict[str, dict[str, Any]], test: str) -> None:
    assert (results[test]["status"], results[test]["failures"]) == ("pass", 0), results[test]["message"]


@pytest.mark.parametrize(("test", "columns", "rows"), generic.FAILS, ids=[case[0] for case in generic.FAILS])
def test_bad_data_fails_with_the_offending_rows(
    results: dict[str, dict[str, Any]], database: Any, test: str, columns: str, rows: list[tuple[Any, ...]]
) -> None:
    assert results[test]["status"] == "fail", results[test]["message"]
    columns = columns.replace("null_rate,", "null_rate::DOUBLE,")  # a decimal on Spark
    found = database.execute(f'SELECT {columns} FROM "{test}"').fetchall()
    assert sorted(map(repr, found)) == sorted(map(repr, rows))
    assert results[test]["failures"] == len(rows)


@pytest.mark.parametrize("test", drift.SILENT)
def test_what_did_not_move_passes(results: dict[str, dict[str, Any]], test: str) -> None:
    assert (results[test]["status"], results[test]["failures"]) == ("pass", 0), results[test]["message"]


@pytest.mark.parametrize(("test", "one", "other"), drift.MOVED)
def test_what_moved_fails_with_the_figure_of_the_monitor(
    results: dict[str, dict[str, Any]], database: Any, test: str, one: tuple[int, ...], other: tuple[int, ...]
) -> None:
    assert results[test]["status"] == "fail", results[test]["message"]
    expected = psi(SharePair(one=tuple(n / 1000 for n in one), other=tuple(n / 1000 for n in other)))
    found = database.execute(f"SELECT psi FROM {test}").fetchall()
    assert found == [(pytest.approx(expected),)] * len(one)
