"""How far the modes lie apart: every share counted by hand, and by the oracle's own rows where there are many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from featurelayer.errors import PlanError
from featurelayer.layer import FeatureLayer
from featurelayer.sql.plan import Mode
from featurelayer.training.modes import ModeComparison
from tests.unit import dbt_projects as made
from tests.unit.test_ledger import YML
from tests.unit.warehouses import layer

COLUMNS = {"loaded_at": made.column("timestamp"), "seats": made.column("integer", default=0)}
SQL = """
CREATE TABLE legs AS SELECT * FROM (VALUES
  ('N1', TIMESTAMP '2024-01-01 10:00', 1.0::DOUBLE, 100, TIMESTAMP '2024-01-01 10:00'),
  ('N1', TIMESTAMP '2024-01-01 11:00', 2.0, 100, TIMESTAMP '2024-01-01 13:00'),
  ('N2', TIMESTAMP '2024-01-01 10:00', 'NaN', NULL, TIMESTAMP '2024-01-01 12:00'),
  ('N2', TIMESTAMP '2024-01-01 11:00', 'NaN', NULL, TIMESTAMP '2024-01-01 12:00')
) t(tailnum, landed_at, arr_delay, seats, loaded_at)
"""
LEDGER = """
CREATE TABLE featurelayer_exports (store VARCHAR, view VARCHAR, version BIGINT, as_of TIMESTAMP, finished_at TIMESTAMP);
INSERT INTO featurelayer_exports VALUES
  ('sqlite:online.db', 'legs', 1, TIMESTAMP '2024-01-01 10:30', TIMESTAMP '2024-01-01 10:40'),
  ('sqlite:online.db', 'legs', 2, TIMESTAMP '2024-01-01 13:30', NULL),
  ('sqlite:other.db', 'legs', 3, TIMESTAMP '2024-01-01 13:30', TIMESTAMP '2024-01-01 13:40')
"""


def hours(*times: float) -> list[datetime]:
    return [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=time) for time in times]


# known_at: 1, 1, 2, NaN; event_time: 1, 2, 2, NaN; as_served: missing, 1, 1, missing (which is 0 for seats)
LABELS = pa.table({"tailnum": ["N1", "N1", "N1", "N2"], "at": hours(10.5, 11, 14, 14)})


def project(root: Path, sql: str = SQL, **more: object) -> FeatureLayer:
    node = made.model(**{"online": True, "ttl": "30 days", "available_at": "loaded_at", "columns": COLUMNS} | more)
    layer(root, node, exposures=(made.exposure("legs.*", label_timestamp="at"),), sql=sql)
    (root / "featurelayer.yml").write_text(YML)
    return FeatureLayer(root, profiles_dir=root)


def shares(found: FeatureLayer, **options: object) -> dict[tuple[str, str], dict[str, float]]:
    with found.build_training_set("late", LABELS, compare_modes=True, **options) as training_set:
        assert training_set.report.modes is not None
        return {(str(pair.one), str(pair.other)): dict(pair.shares) for pair in training_set.report.modes.pairs}


@pytest.mark.parametrize("mode", list(Mode))
def test_each_pair_of_modes_is_compared_cell_by_cell(tmp_path: Path, mode: Mode) -> None:
    found = project(tmp_path, SQL + ";" + LEDGER)
    assert shares(found, mode=str(mode)) == {
        ("known_at", "event_time"): {"legs__arr_delay": 0.25, "legs__seats": 0.0},
        ("known_at", "as_served"): {"legs__arr_delay": 0.75, "legs__seats": 0.5},
        ("event_time", "as_served"): {"legs__arr_delay": 1.0, "legs__seats": 0.5},
    }


def test_comparing_changes_nothing_of_the_set(tmp_path: Path) -> None:
    found = project(tmp_path, SQL + ";" + LEDGER)
    with (
        found.build_training_set("late", LABELS) as one,
        found.build_training_set("late", LABELS, compare_modes=True) as other,
    ):
        assert one.lock["columns"] == other.lock["columns"]
        assert one.report.modes is None


def test_a_mode_that_cannot_be_built_is_left_out_with_its_reason(tmp_path: Path) -> None:
    found = project(tmp_path)
    assert list(shares(found)) == [("known_at", "event_time")]
    with found.build_training_set("late", LABELS, compare_modes=True) as training_set:
        assert training_set.report.warnings == (
            "mode as_served is not compared: no export has been recorded in this warehouse, "
            "so what was being served is unknown",
        )
    later = project(tmp_path / "later", SQL + ";" + LEDGER.replace("2024", "2030"))
    with later.build_training_set("late", LABELS, compare_modes=True) as training_set:
        assert [(pair.one, pair.other) for pair in training_set.report.modes.pairs] == [
            (Mode.KNOWN_AT, Mode.EVENT_TIME)
        ]
        assert training_set.report.warnings[-1].endswith("no label is as late as the first recorded export")


def test_no_labels_differ_in_nothing(tmp_path: Path) -> None:
    with project(tmp_path).build_training_set("late", LABELS.slice(0, 0), compare_modes=True) as training_set:
        (pair,) = training_set.report.modes.pairs
    assert pair == ModeComparison(
        one=Mode.KNOWN_AT, other=Mode.EVENT_TIME, shares={"legs__arr_delay": 0.0, "legs__seats": 0.0}
    )


def test_a_plan_that_is_wrong_is_wrong_in_every_mode(tmp_path: Path) -> None:
    found = project(tmp_path, SQL.replace("loaded_at)", "loaded)"))
    with pytest.raises(PlanError, match="loaded_at"):
        found.build_training_set("late", LABELS, compare_modes=True)
