"""The SQL and the explanations of the demo's services, on the real flights."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from featurelayer import FeatureLayer
from featurelayer.testing.builders import plain

pytestmark = pytest.mark.slow

LABELS = "late_arrival_labels"


@pytest.fixture(scope="module")
def layer(demo_project: Path) -> FeatureLayer:
    return FeatureLayer(demo_project, profiles_dir=demo_project)


@pytest.mark.parametrize("service", ["late_arrival", "flight_weather"])
def test_the_sql_pasted_into_a_plain_connection_returns_the_rows_of_the_build(
    layer: FeatureLayer, service: str
) -> None:
    sql = layer.training_set_sql(service, LABELS)
    with layer.build_training_set(service, LABELS) as training_set:
        built = training_set.to_arrow()
    with duckdb.connect(str(layer.project.root / "featurelayer_demo.duckdb"), read_only=True) as connection:
        pasted = connection.sql(sql).to_arrow_table()
    assert pasted.equals(built)


@pytest.mark.parametrize("service", ["late_arrival", "flight_weather"])
def test_an_explanation_shows_the_values_of_the_build(layer: FeatureLayer, service: str) -> None:
    with layer.build_training_set(service, LABELS) as training_set:
        built = training_set.to_arrow()
    for row in (0, 1_000, built.num_rows - 1):
        found = layer.explain_row(service, LABELS, row)
        values = {feature.name: feature.value for view in found.views for feature in view.features}
        (expected,) = built.select(list(values)).slice(row, 1).to_pylist()
        assert plain(values) == plain(expected)
        assert all(view.winner is not None or "missing" in view.features[0].origin for view in found.views)
