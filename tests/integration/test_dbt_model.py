"""The demo's training set as a dbt model: current, built by dbt with lineage, and row for row what the CLI builds."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from featurelayer.cli import main
from featurelayer.layer import FeatureLayer
from tests.integration.conftest import REPOSITORY

pytestmark = pytest.mark.slow
NAME = "late_arrival_training_set"


@pytest.fixture(scope="module")
def layer(demo_project: Path) -> FeatureLayer:
    return FeatureLayer(demo_project, profiles_dir=demo_project)


def test_the_committed_model_is_what_the_project_says_now(
    layer: FeatureLayer, capsys: pytest.CaptureFixture[str]
) -> None:
    (model,) = layer.dbt_models()
    assert str(model.path) == f"models/featurelayer/{NAME}.sql"
    again = f"{model.command} --project-dir dbt_project, after dbt parse, writes it anew"
    assert model.text == (REPOSITORY / "dbt_project" / model.path).read_text(), again
    root = str(layer.project.root)
    assert main(["dbt-model", "check", "--project-dir", root, "--profiles-dir", root]) == 0
    assert f"{model.path}  current" in capsys.readouterr().out


def test_dbt_knows_what_it_is_made_of(layer: FeatureLayer) -> None:
    manifest = json.loads((layer.project.target_path / "manifest.json").read_text())
    node = manifest["nodes"][f"model.featurelayer_demo.{NAME}"]
    service = layer.registry.service("late_arrival")
    views = {layer.registry.views[join.view].unique_id for join in service.views}
    assert set(node["depends_on"]["nodes"]) == views | {f"model.featurelayer_demo.{service.labels}"}
    assert node["config"]["materialized"] == "table"


def test_its_rows_are_those_of_a_build(layer: FeatureLayer, tmp_path: Path) -> None:
    with layer.build_training_set("late_arrival") as training_set:
        training_set.to_parquet(tmp_path / "built.parquet")
    with duckdb.connect(str(layer.project.root / "featurelayer_demo.duckdb"), read_only=True) as connection:
        built = f"SELECT * FROM read_parquet('{tmp_path / 'built.parquet'}')"
        model = f"SELECT * FROM {NAME}"
        columns = [connection.execute(f"DESCRIBE {query}").fetchall() for query in (model, built)]
        assert [column[:2] for column in columns[0]] == [column[:2] for column in columns[1]]
        assert connection.execute(f"SELECT count(*) FROM {NAME}").fetchall() == [(327_346,)]
        for one, other in ((model, built), (built, model)):
            assert connection.execute(f"SELECT count(*) FROM ({one} EXCEPT ALL {other})").fetchall() == [(0,)]
