"""`--show-sql` can be pasted: the script, in somebody's own session, returns the rows of the build."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurelayer.layer import FeatureLayer
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
