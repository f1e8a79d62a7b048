"""Appending on PostgreSQL: a table in its own database, and a file, from labels that are loaded or are a relation."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from featurelayer.errors import LockError, WarehouseError
from featurelayer.layer import FeatureLayer
from featurelayer.training.lock import read_lock
from featurelayer.warehouse import connect
from tests.servers import postgres
from tests.unit import dbt_projects as made
from tests.unit.test_reproduce import LABELS
from tests.unit.warehouses import LEGS

pytestmark = pytest.mark.slow

OLD, NEW = LABELS.slice(0, 2), LABELS.slice(2)
SCHEMA = "appending"


@pytest.fixture
def shop(postgres_server: postgres.Server, tmp_path: Path) -> FeatureLayer:
    """A project whose features are in a schema of their own."""
    target = postgres_server.target(SCHEMA)
    with closing(connect(target, root=tmp_path, writable=True)) as warehouse:
        for sql in (f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE", f"CREATE SCHEMA {SCHEMA}"):
            warehouse.execute(sql)
        legs = LEGS.replace("CREATE TABLE legs", f"CREATE TABLE {SCHEMA}.legs").replace("DOUBLE", "DOUBLE PRECISION")
        warehouse.execute(legs)
    built = made.model(node={"relation_name": f'"postgres"."{SCHEMA}"."legs"'})
    service = made.exposure("legs.arr_delay", label_timestamp="at")
    made.project(tmp_path, made.manifest(built, exposures=(service,), adapter="postgres"))
    (tmp_path / "profiles.yml").write_text(yaml.safe_dump({"shop": {"target": "dev", "outputs": {"dev": target}}}))
    return FeatureLayer(tmp_path, profiles_dir=tmp_path)


def rows(shop: FeatureLayer, sql: str) -> list[tuple[Any, ...]]:
    with shop.open_warehouse() as warehouse:
        return warehouse.rows(sql)


def to_table(shop: FeatureLayer, labels: pa.Table, lock: Path) -> None:
    with shop.build_training_set("late", labels, writable=True) as built:
        built.to_table(f"{SCHEMA}.train", lock=lock, append=True)


def test_a_table_and_a_file(shop: FeatureLayer, tmp_path: Path) -> None:
    lock, output = tmp_path / "table.lock.json", tmp_path / "train.parquet"
    for labels in (OLD, NEW):
        to_table(shop, labels, lock)
        with shop.build_training_set("late", labels) as built:
            built.to_parquet(output, append=True)
    with shop.build_training_set("late", LABELS) as whole:
        right = whole.to_arrow()
        assert read_lock(output.with_suffix(".lock.json")).columns == whole.lock["columns"]
    assert pq.read_table(output).equals(right)
    found = rows(shop, f"SELECT * FROM {SCHEMA}.train")
    assert sorted(map(str, found)) == sorted(str(tuple(row.values())) for row in right.to_pylist())
    assert shop.reproduce(lock, LABELS).identical
    assert shop.reproduce(output.with_suffix(".lock.json"), LABELS).identical
    with pytest.raises(LockError, match="the same 2 labels are in the set already"):
        to_table(shop, NEW, lock)
    refused = pytest.raises(WarehouseError, match="is not a training set that featurelayer wrote")
    with shop.build_training_set("late", NEW, writable=True) as built, refused:
        built.to_table(f"{SCHEMA}.legs", append=True)


def test_a_plan(shop: FeatureLayer) -> None:
    plan = shop.plan_training_set("late", LABELS)
    assert any("legs" in relation.relation for relation in plan.relations)
    assert plan.engine.startswith("postgres")
