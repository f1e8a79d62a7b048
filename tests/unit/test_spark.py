"""What a project on Spark does beside the kit: tables, explanations, and what is refused before anything is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from featurelayer.cli import main
from featurelayer.errors import ConfigError, WarehouseError
from featurelayer.layer import FeatureLayer
from featurelayer.warehouse.engines.spark.warehouse import SparkWarehouse, connect
from tests.unit import dbt_projects as made
from tests.unit import warehouses
from tests.unit.test_postgres import LABELS

pytestmark = pytest.mark.slow

LEGS = """
CREATE TABLE legs USING parquet AS SELECT * FROM VALUES
  ('N1', TIMESTAMP_NTZ '2024-01-01 10:00', 5.0D),
  ('N1', TIMESTAMP_NTZ '2024-01-01 12:00', NULL),
  ('N2', TIMESTAMP_NTZ '2024-01-01 11:00', -3.5D),
  ("'; DROP TABLE legs; --", TIMESTAMP_NTZ '2024-01-01 09:00', 7.0D),
  (NULL, TIMESTAMP_NTZ '2024-01-01 09:00', 9.0D)
AS t (tailnum, landed_at, arr_delay)
"""


@pytest.fixture
def root(tmp_path: Path, spark_target: dict[str, Any]) -> Path:
    """A project on Spark, in a schema of the test's name."""
    node = {"relation_name": f"`{tmp_path.name}`.`legs`"}
    exposures = (made.exposure("legs.arr_delay", label_timestamp="at"),)
    made.project(tmp_path, made.manifest(made.model(node=node, online=True), exposures=exposures, adapter="spark"))
    write_target(tmp_path, spark_target)
    return tmp_path


@pytest.fixture
def warehouse(root: Path, spark_target: dict[str, Any]) -> Iterator[SparkWarehouse]:
    with closing(connect(spark_target, root=root)) as before:
        before.execute(f"CREATE SCHEMA `{root.name}`")
    with closing(connect({**spark_target, "schema": root.name}, root=root)) as found:
        found.execute(LEGS)
        yield found
        found.execute(f"DROP SCHEMA `{root.name}` CASCADE")


def write_target(root: Path, target: dict[str, Any], **more: Any) -> None:
    said = {**target, "schema": root.name, **more}
    (root / "profiles.yml").write_text(json.dumps({"shop": {"target": "dev", "outputs": {"dev": said}}}))


def tables(warehouse: SparkWarehouse, root: Path) -> set[str]:
    return {name for _, name, temporary in warehouse.rows(f"SHOW TABLES IN `{root.name}`") if not temporary}


def test_a_table_is_duckdbs_set_and_replaces_only_its_own(root: Path, warehouse: SparkWarehouse) -> None:
    (root / "duck").mkdir()
    with warehouses.layer(root / "duck").build_training_set("late", LABELS) as duck:
        expected = [tuple(row.values()) for row in duck.to_arrow().to_pylist()]
    for _ in range(2):
        with FeatureLayer(root, profiles_dir=root).build_training_set("late", LABELS) as built:
            assert built.to_table("train") == 6
        order = "ORDER BY _metadata.file_name, _metadata.row_index"
        warehouse.execute(f"REFRESH TABLE `{root.name}`.train")  # another session remembers the files of before
        assert warehouse.rows(f"SELECT * FROM `{root.name}`.train {order}") == expected
        assert tables(warehouse, root) == {"legs", "train"}
    with FeatureLayer(root, profiles_dir=root).build_training_set("late", LABELS) as built:
        with pytest.raises(WarehouseError, match="legs exists and is not a training set"):
            built.to_table("legs")

        def other(*_: object) -> None:
            raise WarehouseError("these are other rows")

        with pytest.raises(WarehouseError, match="other rows"):
            warehouse.write_table("SELECT 1 AS x", "train", rows=1, labels=["x"], same=other)
    assert warehouse.rows("SELECT count(*) FROM train") == [(6,)]
    assert tables(warehouse, root) == {"legs", "train"}


def test_a_schema_that_is_not_there_takes_no_table(root: Path, warehouse: SparkWarehouse, spark_target: dict[str, Any]):
    with closing(connect({**spark_target, "schema": "nowhere"}, root=root)) as lost:
        with pytest.raises(WarehouseError, match="train can't be written: schema nowhere of the target is not there"):
            lost.write_table("SELECT 1 AS x", "train", rows=1, labels=["x"], same=lambda _: None)
        lost.write_table("SELECT 1 AS x", f"{root.name}.train", rows=1, labels=["x"], same=lambda _: None)
    assert warehouse.rows("SELECT * FROM train") == [(1,)]


def test_a_missing_schema_is_made_where_something_is_to_be_written(
    root: Path, warehouse: SparkWarehouse, spark_target: dict[str, Any]
):
    try:
        with closing(connect({**spark_target, "schema": "made_for_us"}, root=root, writable=True)) as found:
            found.write_table("SELECT 1 AS x", "train", rows=1, labels=["x"], same=lambda _: None)
        assert warehouse.rows("SELECT * FROM made_for_us.train") == [(1,)]
    finally:
        warehouse.execute("DROP SCHEMA IF EXISTS made_for_us CASCADE")


@pytest.mark.usefixtures("warehouse")
def test_a_row_is_explained(root: Path) -> None:
    found = FeatureLayer(root, profiles_dir=root).explain_row("late", LABELS, 4).views[0]
    assert [(feature.value, feature.origin) for feature in found.features] == [(None, "NULL in the winner")]
    assert [str(candidate.outcome) for candidate in found.candidates] == ["won", "older"]


def test_an_export_goes_to_the_store_and_is_remembered(root: Path, warehouse: SparkWarehouse) -> None:
    (root / "featurelayer.yml").write_text(
        "entities: {plane: {keys: {tailnum: varchar}}}\nonline_store: {dev: {type: sqlite, path: online.db}}\n"
    )
    layer = FeatureLayer(root, profiles_dir=root)
    planned = layer.plan_export().views[0]
    assert tables(warehouse, root) == {"legs"}
    first = layer.export().views[0]
    assert (planned.new, first.written) == (3, 3)
    warehouse.execute("INSERT INTO legs VALUES ('N2', TIMESTAMP_NTZ '2024-01-02 11:00', 4.5D)")
    assert main(["export", "--project-dir", str(root), "--profiles-dir", str(root)]) == 0
    assert layer.verify(seed=1).ok
    newest, before = layer.kept_exports("legs")
    assert (newest.written, before.run) == (1, first.run)
    assert layer.rollback("legs", before.run).views[0].written == 1
    with layer.build_training_set("late", LABELS, mode="as_served") as served:
        assert served.to_arrow().num_rows == 6
    (forgotten,) = layer.forget({"tailnum": "N2"})
    assert (forgotten.items, forgotten.export_items) == (1, 3)
    with layer.client() as client:
        client.write("legs", [{"tailnum": "N1", "arr_delay": 8.0}])
    name = "featurelayer_streamed__legs"
    drained = [(done.table, done.appended) for _ in range(2) for done in layer.drain(["legs"])]
    assert drained == [(f"`{root.name}`.`{name}`", 1), (f"`{root.name}`.`{name}`", 0)]
    assert warehouse.rows(f"SELECT tailnum, arr_delay FROM {name}") == [("N1", 8.0)]
    assert {"featurelayer_exports", "featurelayer_export_items", name} < tables(warehouse, root)
    left = warehouse.rows("SELECT pk FROM featurelayer_export_items ORDER BY pk")
    assert [pk for (pk,) in left] == ['plane["\'; DROP TABLE legs; --"]', 'plane["N1"]']


@pytest.mark.parametrize(("method", "said"), [("thrift", "method 'thrift'"), ("", "no method")])
def test_another_method_says_what_to_do(tmp_path: Path, method: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        connect({"type": "spark", "method": method}, root=tmp_path)
    assert f"this target has {said}" in str(caught.value)
    assert "add a target with `method: session`" in str(caught.value)
