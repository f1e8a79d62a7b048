"""`--plan` of a training set: what the engine will read, and nothing that it does."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from featurelayer.cli import main
from featurelayer.errors import LabelError
from featurelayer.layer import FeatureLayer
from featurelayer.training.estimate import plan_build
from featurelayer.warehouse.base import SupportsEstimate, Warehouse
from tests.unit import dbt_projects as made
from tests.unit.test_reproduce import LABELS
from tests.unit.warehouses import LEGS, layer

MORE = "; INSERT INTO legs SELECT 'N' || i, TIMESTAMP '2020-01-01', i FROM range(200000) r(i); CHECKPOINT"


@pytest.fixture
def found(tmp_path: Path) -> FeatureLayer:
    root = tmp_path / "shop"
    wide = {f"c{at}": made.column("double") for at in range(5)}
    sql = LEGS + "".join(f"; ALTER TABLE legs ADD COLUMN c{at} DOUBLE DEFAULT random()" for at in range(5))
    made_of = layer(root, made.model(columns=wide), sql=sql + MORE.replace(", i FROM", f", i{', 1.5' * 5} FROM"))
    pq.write_table(LABELS, root / "labels.parquet")
    return made_of


def test_what_will_be_read(found: FeatureLayer) -> None:
    plan = found.plan_training_set("late", found.project.root / "labels.parquet")
    labels, legs = plan.relations
    assert (labels.relation, labels.kept, labels.columns) == ("read_parquet", 4, ("at", "tailnum", "y"))
    assert (legs.relation, legs.rows) == ("db.main.legs", 200_005)
    assert set(legs.columns) == {
        "tailnum",
        "landed_at",
        "arr_delay",
        "c0",
        "c1",
        "c2",
        "c3",
        "c4",
    }  # content breaks ties
    assert plan.views == {"legs": '"db"."main"."legs"'}
    assert legs.bytes is not None
    assert legs.bytes > 1_000_000
    assert plan.bytes == legs.bytes
    assert json.loads(json.dumps(plan.to_dict()))["relations"][1]["rows"] == 200_005


def test_nothing_is_computed(found: FeatureLayer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even what a build would fail at: a value that ends the query as soon as a row is read."""
    with duckdb.connect(str(found.project.root / "db.duckdb")) as connection:
        connection.execute("ALTER TABLE legs RENAME TO kept")
        connection.execute(
            "CREATE VIEW legs AS SELECT * REPLACE (CASE WHEN true THEN error('read') END AS tailnum) FROM kept"
        )
    root = str(found.project.root)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    arguments = ["build-training-set", "--project-dir", root, "--profiles-dir", root, "--service", "late"]
    arguments += ["--labels", f"{root}/labels.parquet", "--output", str(tmp_path / "o.parquet")]
    assert main(arguments) == 1
    assert main([*arguments, "--plan"]) == 0
    out = capsys.readouterr().out
    assert "nothing was computed" in out
    assert "db.main.kept" in out
    assert main([*arguments, "--plan", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "training set of late, mode known_at"
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_impossible_request_is_refused(found: FeatureLayer) -> None:
    with pytest.raises(LabelError, match="have no column 'tailnum'"):
        found.plan_training_set("late", LABELS.drop_columns(["tailnum"]))


class Silent:
    """A warehouse that can't be asked: all that another has, but for the question."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.dialect, self.engine, self.describe = warehouse.dialect, warehouse.engine, warehouse.describe


def test_an_engine_that_can_not_tell_says_so(found: FeatureLayer) -> None:
    with found.open_warehouse() as warehouse:
        request = found.training.request("late", LABELS).resolve(warehouse)
        assert isinstance(warehouse, SupportsEstimate)
        plan = plan_build(Silent(warehouse), request)
    assert (plan.relations, plan.bytes, plan.how) == ((), None, "duckdb can't be asked")
