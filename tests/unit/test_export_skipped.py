"""An export reports how many rows no snapshot can see, for want of a key or of a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from featurelayer.cli import main
from featurelayer.online import MemoryStore
from tests.unit import dbt_projects as made
from tests.unit.warehouses import layer

pytestmark = pytest.mark.slow

STORE = "online_store: {dev: {type: sqlite, path: online.db}}\nentities: {plane: {keys: {tailnum: varchar}}}\n"
LEGS = """
CREATE TABLE legs AS SELECT * FROM (VALUES
  ('N1', TIMESTAMP '2024-01-01', 1.0::DOUBLE, TIMESTAMP '2024-01-01'),
  ('N1', NULL, 2.0, TIMESTAMP '2024-01-01'), ('N2', NULL, 3.0, NULL), ('N3', TIMESTAMP '2024-01-01', 4.0, NULL),
  (NULL, TIMESTAMP '2024-01-01', 5.0, TIMESTAMP '2024-01-01'), (NULL, NULL, 6.0, NULL)
) t(tailnum, landed_at, arr_delay, loaded_at)
"""
LOADED = {"columns": {"loaded_at": made.column("timestamp")}, "available_at": "loaded_at"}
STATIC: dict[str, Any] = {"drop": ("landed_at",), "static": True, "config": {"event_time": None}}
UNIQUE = "; DELETE FROM legs WHERE arr_delay = 2"


@pytest.mark.parametrize(
    ("how", "sql", "counts"),
    [
        ({}, LEGS, (2, 2, 2)),
        (LOADED, LEGS, (1, 2, 3)),
        (STATIC, LEGS + UNIQUE, (3, 2, 0)),
        ({}, f"{LEGS}; DELETE FROM legs WHERE tailnum IS NULL OR landed_at IS NULL", (2, 0, 0)),
        ({}, f"{LEGS}; DELETE FROM legs", (0, 0, 0)),
    ],
    ids=["event time", "available time", "static", "none", "empty"],
)
def test_rows_without_a_key_or_a_time_are_counted(
    tmp_path: Path, how: dict[str, Any], sql: str, counts: tuple[int, ...]
) -> None:
    found = layer(tmp_path, made.model(online=True, **how), sql=sql)
    for view in (found.plan_export(store=MemoryStore()).views[0], found.export(store=MemoryStore()).views[0]):
        assert (view.rows, view.null_keys, view.null_times) == counts
        assert view.to_dict()["null_times"] == counts[2]


def test_the_command_prints_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layer(tmp_path, made.model(online=True), sql=LEGS)
    (tmp_path / "featurelayer.yml").write_text(STORE)
    place = ("--project-dir", str(tmp_path), "--profiles-dir", str(tmp_path))
    line = "legs: rows were skipped, 2 without a key and 2 without an event or available time"
    for how in (("--plan",), ()):
        assert main(["export", *how, *place]) == 0
        assert line in capsys.readouterr().out.splitlines()
    assert main(["export", "--format", "json", *place]) == 0
    (view,) = json.loads(capsys.readouterr().out)["views"]
    assert (view["null_keys"], view["null_times"]) == (2, 2)
