"""dbt-spark's session method: the demo's features built by Spark, training sets that equal DuckDB's.

Spark is started by dbt, by the command line and by scripts, one after the other, as a team does; the metastore is a
Derby database in a folder, which one of them at a time opens.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import textwrap
from datetime import UTC
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from featurelayer.cli import main
from tests.integration.conftest import REPOSITORY, run_dbt
from tests.integration.test_postgres import LEFT
from tests.servers import spark

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(spark.why_not()), reason=spark.why_not() or "there is Spark")]
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
        assert main([*build, *asked]) == 0
        assert main(["reproduce", str(tmp_path / f"{engine}.lock.json"), *asked]) == 0
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
