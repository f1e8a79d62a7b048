"""A view in which almost no label finds a row: the warning with its reason, and the share that a build can ask for."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurelayer.cli import main
from featurelayer.errors import PlanError
from featurelayer.layer import FeatureLayer
from tests.unit import dbt_projects as made
from tests.unit.warehouses import layer

pytestmark = pytest.mark.slow

END = datetime(2026, 6, 2)
BEGINS = "its rows begin 2026-06-01, the labels end 2026-06-02"
STATIC: dict[str, Any] = {"drop": ("landed_at",), "static": True, "config": {"event_time": None}}
LEGS = """
CREATE OR REPLACE TABLE legs AS SELECT * FROM (VALUES
  ('N1', TIMESTAMP '2026-06-01 00:00', 5.0::DOUBLE), ('N2', TIMESTAMP '2026-06-01 12:00', 6.0)
) t(tailnum, landed_at, arr_delay)
"""

LOADED = f"{LEGS}; UPDATE legs SET landed_at = TIMESTAMP '2026-12-01'"
ONE = f"{LOADED}; DELETE FROM legs WHERE tailnum = 'N2'"


def shop(root: Path, sql: str = LEGS, *views: str, **more: Any) -> FeatureLayer:
    nodes = [made.model(name=name, **more) for name in ("legs", *views)]
    features = [f"{name}.arr_delay" for name in ("legs", *views)]
    depends = tuple(f"model.shop.{name}" for name in ("legs", *views))
    return layer(root, *nodes, exposures=(made.exposure(*features, label_timestamp="at", depends_on=depends),), sql=sql)


def labels(count: int = 3_000, *, key: str = "N1", step: timedelta = timedelta(days=1)) -> pa.Table:
    """Labels of one plane, the newest on June 2, each a day before the one after it."""
    times = [END - step * position for position in range(count)]
    return pa.table({"tailnum": [key] * count, "at": pa.array(times, pa.timestamp("us"))})


def warnings(found: FeatureLayer, table: pa.Table) -> list[str]:
    with found.build_training_set("late", table) as training_set:
        assert training_set.report.to_dict()["views"][0]["share"] == training_set.report.views[0].share
        return list(training_set.report.warnings)


@pytest.mark.parametrize(
    ("how", "sql", "table", "said"),
    [
        ({}, LEGS, labels(), "only 2 of 3,000 labels found a row in legs: " + BEGINS),
        ({}, LEGS, labels(150), None),
        ({}, LEGS, labels(10, step=timedelta(minutes=1)), None),
        ({}, LEGS, labels(step=timedelta(0)).slice(0, 0), None),
        ({"delay": "1 day"}, LEGS, labels(), "its rows can be seen from 2026-06-02 00:00:00 on"),
        ({}, LEGS, labels(key="n1"), "none of the labels has a key (tailnum) that the view has"),
        ({}, f"{LEGS}; DELETE FROM legs", labels(), "no label found a row in legs: the view has no rows"),
        ({"ttl": "1 hour"}, LEGS, labels(step=timedelta(seconds=1)), "for 3,000 labels the newest row is older"),
        (STATIC, LEGS, labels(key="X"), "none of the labels has a key"),
        ({}, LOADED, labels(), "the labels end 2026-06-02; all 2 rows have the same event time, which may be that of"),
        ({}, ONE, labels(), "no label found a row in legs: its rows begin 2026-12-01, the labels end 2026-06-02"),
    ],
    ids=["begins late", "enough", "all", "no labels", "delay", "keys", "empty", "expired", "static", "loaded", "one"],
)  # fmt: skip
def test_almost_nothing_is_warned_of_with_its_reason(
    tmp_path: Path, how: dict[str, Any], sql: str, table: pa.Table, said: str | None
) -> None:
    found = warnings(shop(tmp_path, sql, **how), table)
    if said is None:
        assert found == []
    else:
        (warning,) = found
        assert said in warning
        assert ("same event time" in warning) is ("same event time" in said)


def test_keys_that_only_few_labels_have(tmp_path: Path) -> None:
    mixed = pa.concat_tables([labels(1_990, key="lost", step=timedelta(0)), labels(10, step=timedelta(0))])
    (warning,) = warnings(shop(tmp_path), mixed)
    assert (
        warning
        == "legs: only 10 of 2,000 labels found a row in legs: only 10 labels have a key (tailnum) that the view has"
    )


def test_a_build_that_matches_too_little_fails_before_anything_is_written(tmp_path: Path) -> None:
    sql = f"{LEGS}; CREATE TABLE other AS SELECT * REPLACE ('x' AS tailnum) FROM legs; CREATE TABLE fine AS SELECT "
    sql += "'N1' AS tailnum, TIMESTAMP '2000-01-01' AS landed_at, 1.0::DOUBLE AS arr_delay"
    found = shop(tmp_path, sql, "other", "fine")
    with pytest.raises(PlanError) as caught:
        found.build_training_set("late", labels(4), min_matched=0.9)
    first, second = caught.value.problems
    assert first.what.startswith("legs: only 2 of 4 labels found a row in legs")
    assert "(50.00%, and 90.00% is asked for)" in first.what
    assert second.what.startswith("other: no label found a row in other: none of the labels has a key")
    with found.build_training_set("late", labels(4), min_matched=0) as training_set:
        assert len(training_set) == 4
    for wrong in (-0.1, 90):
        with pytest.raises(PlanError, match="between 0 and 1"):
            found.build_training_set("late", labels(4), min_matched=wrong)


@pytest.mark.parametrize(("share", "code"), [("0.5", 0), ("50%", 0), ("51%", 1), ("0.9", 1), ("100%", 1)])
def test_the_command_keeps_the_share(tmp_path: Path, share: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    shop(tmp_path)
    pq.write_table(labels(4), tmp_path / "labels.parquet")
    out = tmp_path / "set.parquet"
    out.write_bytes(b"before")
    place = ("--project-dir", str(tmp_path), "--profiles-dir", str(tmp_path), "--service", "late")
    arguments = ("--labels", str(tmp_path / "labels.parquet"), "--output", str(out), "--min-matched", share)
    assert main(["build-training-set", *place, *arguments, "--format", "json"]) == code
    said = capsys.readouterr()
    if code:
        assert (out.read_bytes(), said.out) == (b"before", "")
        assert "legs: only 2 of 4 labels found a row" in said.err
        assert not (tmp_path / "set.lock.json").exists()
    else:
        assert json.loads(said.out)["views"][0]["share"] == 0.5


@pytest.mark.parametrize("share", ["90", "-1%", "many", "101%", "nan"])
def test_a_share_that_is_none_is_a_usage_error(tmp_path: Path, share: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--service", "late", "--labels", "x.parquet", "--output", "y.parquet", "--min-matched", share]
    assert main(["build-training-set", "--project-dir", str(tmp_path), *arguments]) == 2
    assert "takes a share such as 0.9 or 90%" in capsys.readouterr().err
