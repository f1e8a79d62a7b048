"""`--show-sql` can be pasted: the script, in somebody's own session, returns the rows of the build."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlglot
from sqlglot import exp

from featurelayer.errors import UnsupportedByDialect
from featurelayer.layer import FeatureLayer
from featurelayer.sql.dialects import available, dialect
from tests.postgres_projects import session
from tests.servers.postgres import Server
from tests.unit.warehouses import layer

ROWS = {"tailnum": ["N1", "N1", "N2", None], "at": [datetime(2024, 1, 1, hour) for hour in (10, 13, 11, 12)]}
STANDS = '-- "__fl_frame_1" stands for the labels, which this session alone has: elsewhere, load them by that name.'


@pytest.fixture
def legs(tmp_path: Path) -> FeatureLayer:
    return layer(tmp_path / "project")


def pasted(legs: FeatureLayer, sql: str, **frames: pa.Table) -> pa.Table:
    """What the script returns in a session of another zone, pasted twice."""
    with duckdb.connect(str(legs.project.root / "db.duckdb"), read_only=True) as connection:
        connection.execute("SET TimeZone = 'Asia/Tokyo'")
        for name, frame in frames.items():
            connection.register(name, frame)
        connection.execute(sql).fetchall()
        return connection.sql(sql).to_arrow_table()


@pytest.mark.parametrize("form", ["parquet", "csv", "relation"])
def test_a_pasted_script_returns_the_rows_of_the_build(legs: FeatureLayer, tmp_path: Path, form: str) -> None:
    labels: Any = tmp_path / f"it's.{form}"
    if form == "parquet":
        pq.write_table(pa.table(ROWS), labels)
    elif form == "csv":
        labels.write_text("tailnum,at\nN1,2024-01-01 10:00\nN1,2024-01-01 14:00+01\nN2,2024-01-01\n,2024-01-01 12:00\n")
    else:
        labels = 'lab"els'
        with duckdb.connect(str(legs.project.root / "db.duckdb")) as connection:
            connection.register("given", pa.table(ROWS))
            connection.execute('CREATE TABLE "lab""els" AS SELECT * FROM given')
    sql = legs.training_set_sql("late", labels)
    assert "stands for" not in sql
    with legs.build_training_set("late", labels) as training_set:
        assert pasted(legs, sql).equals(training_set.to_arrow())
        assert pasted(legs, training_set.sql).equals(training_set.to_arrow())


def test_a_script_over_a_frame_says_what_stands_for_it(legs: FeatureLayer) -> None:
    labels = pa.table(ROWS)
    sql = legs.training_set_sql("late", labels)
    assert STANDS in sql.splitlines()[:3]
    with legs.build_training_set("late", labels) as training_set:
        assert training_set.sql.startswith(sql[: sql.index("SET TimeZone")])
        assert pasted(legs, sql, __fl_frame_1=labels).equals(training_set.to_arrow())


def test_the_script_says_what_each_step_does(legs: FeatureLayer) -> None:
    """Every statement has its comment, but for those that go on with what the one before began."""
    sql = legs.training_set_sql("late", pa.table(ROWS))
    blocks = [block for block in sql.split("\n\n") if block.strip()]
    bare = [block.splitlines()[0] for block in blocks if not block.startswith("-- ")]
    assert bare == ["SET VARIABLE __fl_last = (", 'INSERT INTO "legs__rows" (']
    assert max(len(line) for line in sql.splitlines()) <= 120


# --- for another engine ----------------------------------------------------------------------------------------------


def written_for(legs: FeatureLayer, engine: str, labels: Any, **more: Any) -> str:
    """The SQL for another engine, or what its script can't be made of."""
    try:
        return legs.training_set_sql("late", labels, dialect=engine, **more)
    except UnsupportedByDialect as error:
        assert engine == "trino"
        return str(error)


@pytest.mark.parametrize("engine", [name for name in available() if name not in ("duckdb", "trino")])
def test_it_is_written_for_another_engine_with_names_in_its_quotes(legs: FeatureLayer, engine: str) -> None:
    sql = written_for(legs, engine, pa.table(ROWS))
    name = dialect(engine).name
    head = sql.splitlines()[2:4]
    labels = exp.to_identifier("labels", quoted=True).sql(dialect=name)
    assert head == [
        f"-- Written for {engine}; columns and types are those that duckdb has.",
        f"-- {labels} stands for the labels, a frame in memory: load them by that name.",
    ]
    assert "__fl_frame" not in sql
    read = {
        table.sql(dialect=name)
        for each in sqlglot.parse(sql, dialect=name)
        if each
        for table in each.find_all(exp.Table)
    }
    legs_there = exp.to_table('"db"."main"."legs"', dialect="duckdb").sql(dialect=name, identify=True)
    assert {labels} <= read
    assert any(found.startswith(legs_there) for found in read)
    assert sql == written_for(legs, engine, pa.table(ROWS))


def test_a_relation_keeps_its_name_and_a_file_is_told_from_it(legs: FeatureLayer, tmp_path: Path) -> None:
    with duckdb.connect(str(legs.project.root / "db.duckdb")) as connection:
        connection.register("given", pa.table(ROWS))
        connection.execute('CREATE TABLE "lab""els" AS SELECT * FROM given')
    sql = legs.training_set_sql("late", 'lab"els', dialect="bigquery")
    assert "stands for" not in sql
    assert 'FROM `lab"els`' in sql
    (tmp_path / "l.csv").write_text("tailnum,at\nN1,2024-01-01 10:00\n")
    sql = legs.training_set_sql("late", tmp_path / "l.csv", dialect="bigquery")
    assert "l.csv: load them by that name, with columns tailnum text, at timestamptz." in sql
    assert "CSV(" not in sql


def test_the_engine_of_the_target_is_no_other_one(legs: FeatureLayer) -> None:
    labels = pa.table(ROWS)
    assert legs.training_set_sql("late", labels, dialect="duckdb") == legs.training_set_sql("late", labels)


def test_an_engine_without_a_dialect_is_refused_with_a_suggestion(legs: FeatureLayer) -> None:
    with pytest.raises(UnsupportedByDialect, match=r"'snowflak' \(did you mean 'snowflake'"):
        legs.training_set_sql("late", pa.table(ROWS), dialect="snowflak")
    assert "dbt-model write" in written_for(legs, "trino", pa.table(ROWS))


@pytest.mark.slow
def test_what_is_written_for_postgresql_runs_there(legs: FeatureLayer, postgres_server: Server) -> None:
    """In a database of the same name, with the same rows, as after a move: pasted whole, it returns the same set."""
    labels = pa.table({**ROWS, "n": [4, 3, 2, 1]})
    with closing(session(postgres_server, "public")) as warehouse:
        warehouse.execute("DROP DATABASE IF EXISTS db")
        warehouse.execute("CREATE DATABASE db")
    with closing(session(postgres_server, "main", dbname="db")) as warehouse:
        warehouse.execute("CREATE SCHEMA main")
        with duckdb.connect(str(legs.project.root / "db.duckdb")) as connection:
            rows = connection.sql("FROM legs").to_arrow_table()
        for name, table in (("legs", rows), ("labels", labels)):
            warehouse.execute(f"CREATE TABLE main.{name} AS SELECT * FROM {warehouse.attach(table).sql}")
    target = postgres_server.target()
    with closing(psycopg2.connect(
        host=target["host"], port=target["port"], user=target["user"], password=target["password"], dbname="db"
    )) as connection, connection.cursor() as cursor:  # fmt: skip
        cursor.execute("SET search_path = main")
        cursor.execute(legs.training_set_sql("late", labels, dialect="postgres"))
        pasted = cursor.fetchall()
    with legs.build_training_set("late", labels) as training_set:
        built = training_set.to_arrow().to_pylist()
    assert sorted(pasted, key=lambda row: row[2]) == sorted(
        (tuple(row.values()) for row in built), key=lambda row: row[2]
    )
