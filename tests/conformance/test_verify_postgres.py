"""Verification and lateness with PostgreSQL as the warehouse: the same classes and the same numbers as with DuckDB."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from featurelayer.layer import FeatureLayer
from featurelayer.verify import MismatchClass
from tests.postgres_projects import session
from tests.servers.postgres import Server
from tests.unit import dbt_projects as made

NOON = datetime(2024, 1, 1, 13, tzinfo=UTC)
SCHEMA = "verified"
LEGS = """
CREATE TABLE legs (tailnum text, landed_at timestamp, arr_delay double precision, seats bigint, loaded_at timestamptz);
INSERT INTO legs VALUES
  ('N1', '2024-01-01 10:00', 5.1, 10, '2024-01-01 10:05+00'),
  ('N1', '2024-01-01 12:00', 7.3, 20, '2024-01-01 12:04+00'),
  ('N2', '2024-01-01 11:00', 'NaN', 30, '2024-01-01 11:05+00'),
  ('é"3', '2024-01-01 11:30', NULL, 40, '2024-01-01 12:10+00')
"""


@pytest.fixture
def layer(tmp_path: Path, postgres_server: Server) -> FeatureLayer:
    warehouse = session(postgres_server, SCHEMA)
    for statement in (f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE", f"CREATE SCHEMA {SCHEMA}", *LEGS.split(";\n")):
        warehouse.execute(statement)
    warehouse.close()
    columns = {"seats": made.column("bigint"), "loaded_at": made.column("timestamptz")}
    node = {"relation_name": f'"postgres"."{SCHEMA}"."legs"'}
    legs = made.model(online=True, created_timestamp="loaded_at", columns=columns, node=node)
    made.project(tmp_path, made.manifest(legs, adapter="postgres"))
    target = postgres_server.target(SCHEMA)
    (tmp_path / "profiles.yml").write_text(yaml.safe_dump({"shop": {"target": "dev", "outputs": {"dev": target}}}))
    with (tmp_path / "featurelayer.yml").open("a") as config:
        config.write("online_store: {dev: {type: sqlite, path: online.db}}\n")
    return FeatureLayer(tmp_path, profiles_dir=tmp_path)


def test_every_side_is_compared(layer: FeatureLayer, postgres_server: Server) -> None:
    def change(statement: str) -> None:
        warehouse = session(postgres_server, SCHEMA)
        warehouse.execute(statement)
        warehouse.close()

    def classes(**more: Any) -> dict[MismatchClass, int]:
        return dict(layer.verify(seed=1, **more).views[0].classes)

    layer.export(as_of=NOON)
    report = layer.verify()
    assert (report.ok, report.views[0].compared, report.views[0].equal) == (True, 3, 3)
    assert report.views[0].remembered
    change("INSERT INTO legs VALUES ('N1', '2024-01-01 12:30', 1, 1, now())")
    assert classes() == {MismatchClass.LATE: 1}
    layer.export(as_of=NOON)
    assert classes() == {}
    change("DELETE FROM legs WHERE tailnum = 'N2'")
    assert classes() == {MismatchClass.DELETED: 1}
    layer.export(as_of=NOON)
    assert classes() == {}
    with sqlite3.connect(layer.project.root / "online.db") as store:
        store.execute("DELETE FROM items WHERE pk LIKE '%3%' AND sk = 'legs@0'")
    assert classes() == {MismatchClass.MISSING: 1}
    assert classes(sample=1) in ({}, {MismatchClass.MISSING: 1})


def test_lateness_is_measured(layer: FeatureLayer) -> None:
    layer.export(as_of=NOON - timedelta(hours=2))
    layer.export(as_of=NOON)
    found = layer.lateness("legs")
    columns, exports = found.observed
    assert (columns.source, columns.rows, columns.early) == ("loaded_at", 4, 0)
    assert columns.quantiles["max"] == timedelta(minutes=40)
    assert columns.share(timedelta(minutes=5)) == 0.75
    assert found.recommended == timedelta(minutes=45)
    assert (exports.source, exports.rows, exports.share(timedelta(0))) == ("exports", 2, 1.0)
