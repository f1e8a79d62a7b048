"""Training sets made again: identical where they should be, and every reason why not produced on purpose."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurelayer.cli import main
from featurelayer.errors import LabelError, LockError
from featurelayer.layer import FeatureLayer
from featurelayer.training.mismatch_reasons import Reproduction
from tests.unit import dbt_projects as made
from tests.unit.warehouses import LEGS, layer

pytestmark = pytest.mark.slow

TIMES = [datetime(2024, 1, 1, 10, 30), datetime(2024, 1, 1, 12), datetime(2024, 1, 1, 11), datetime(2024, 1, 1, 8)]
LABELS = pa.table({"tailnum": ["N1", "N1", "N2", "N9"], "at": TIMES, "y": [1, 0, 1, 0]})
LOADED = LEGS + "; ALTER TABLE legs ADD COLUMN loaded_at TIMESTAMP DEFAULT TIMESTAMP '2024-01-02'"
SHA = {"name": "sha256", "checksum": "a" * 64}


@dataclass
class Shop:
    """A project with a training set that was built from its first state."""

    root: Path
    suffix: str = "parquet"

    @property
    def lock(self) -> Path:
        return self.root / "out" / "train.lock.json"

    @property
    def output(self) -> Path:
        return self.root / "out" / f"train.{self.suffix}"

    def build(self, *nodes: dict, sql: str = LEGS, labels: Any = None, **more: Any) -> Shop:
        """`more` with a dict of arguments as `request` goes to the build."""
        request = more.pop("request", {})
        pq.write_table(LABELS, (self.root.mkdir(parents=True, exist_ok=True) or self.root) / "labels.parquet")
        found = layer(self.root, *nodes, sql=sql, **more)
        labels = self.root / "labels.parquet" if labels is None else labels
        service = None if "features" in request else "late"
        with found.build_training_set(service, labels, **request) as built:
            (built.to_csv if self.suffix == "csv" else built.to_parquet)(self.output)
        return self

    def change(self, *nodes: dict, sql: str = "SELECT 1", exposures: tuple[dict, ...] | None = None) -> Shop:
        """Run SQL in the warehouse; with nodes dbt has parsed the project again."""
        if nodes:
            asked = (made.exposure("legs.arr_delay", label_timestamp="at"),) if exposures is None else exposures
            made.project(self.root, made.manifest(*nodes, exposures=asked))
        with duckdb.connect(str(self.root / "db.duckdb")) as connection:
            connection.execute(sql)
        return self

    def reproduce(self, labels: Any = None) -> Reproduction:
        before = {path: path.read_bytes() for path in self.root.rglob("*") if path.is_file()}
        found = FeatureLayer(self.root, profiles_dir=self.root).reproduce(self.lock, labels)
        assert {path: path.read_bytes() for path in self.root.rglob("*") if path.is_file()} == before
        json.dumps(found.to_dict(), allow_nan=False)
        return found


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop")


def causes(found: Reproduction) -> list[str]:
    return [str(reason.cause) for join in found.joins for reason in join.reasons]


def evidence(found: Reproduction) -> str:
    return "\n".join(reason.evidence for join in found.joins for reason in join.reasons)


def rows(found: Reproduction) -> dict[str, tuple[int | None, tuple[int, ...]]]:
    return {column.name: (column.rows, column.examples) for column in found.differences}


# --- identical ----------------------------------------------------------------------------------------------------


def test_nothing_changed(shop: Shop) -> None:
    found = shop.build().reproduce()
    assert found.identical
    assert (found.rows, found.columns, found.lock) == (4, 4, "train.lock.json")
    assert found.notes == ()


def test_what_does_not_matter_does_not_differ(shop: Shop) -> None:
    shop.build().change(
        made.model(columns={"note": made.column("varchar", feature=False)}),
        sql="CREATE OR REPLACE TABLE legs AS SELECT *, 'x' AS note, 7 AS undeclared FROM legs ORDER BY arr_delay DESC",
    )
    (shop.root / "profiles.yml").write_text(
        "shop: {target: dev, outputs: {dev: {type: duckdb, path: db.duckdb, settings: {threads: 1}}}}"
    )
    shop.output.unlink()
    assert shop.reproduce().identical


@pytest.mark.parametrize("mode", ["known_at", "event_time"])
def test_the_mode_is_that_of_the_lock(shop: Shop, mode: str) -> None:
    shop.build(made.model(delay="1 hour"), request={"mode": mode})
    assert json.loads(shop.lock.read_text())["request"]["mode"] == mode
    assert shop.reproduce().identical


def test_as_served(shop: Shop) -> None:
    shop.build(made.model(online=True))
    with (shop.root / "featurelayer.yml").open("a") as file:
        file.write("online_store: {dev: {type: sqlite, path: online.db}}\n")
    labels = pa.table({"tailnum": ["N1", "N2"], "at": [datetime(2099, 1, 1)] * 2})
    found = FeatureLayer(shop.root, profiles_dir=shop.root)
    found.export()
    with found.build_training_set("late", labels, mode="as_served") as built:
        built.to_parquet(shop.output)
    assert shop.reproduce(labels).identical
    shop.change(sql="UPDATE legs SET arr_delay = 1 WHERE tailnum = 'N2'")
    assert rows(shop.reproduce(labels)) == {"legs__arr_delay": (1, (1,))}
    with duckdb.connect(str(shop.root / "db.duckdb")) as connection:
        for schema, table in connection.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall():
            if table != "legs":
                connection.execute(f'DROP TABLE "{schema}"."{table}"')
    found = shop.reproduce(labels)
    assert causes(found) == ["source gone"]
    assert "no export has been recorded" in evidence(found)


def test_features_keys_and_a_timestamp_that_were_named(shop: Shop) -> None:
    labels = shop.root.parent / "cases.csv"
    labels.write_text("plane,when,zip\nN1,2024-01-01T10:30:00,00123\nN2,2024-01-01T11:00:00,7\n")
    request = {"features": ["legs.*"], "keys": {"tailnum": "plane"}, "label_timestamp": "when"}
    shop.build(labels=labels, request=request)
    recorded = json.loads(shop.lock.read_text())["request"]
    assert recorded == {
        "service": None,
        "features": ["legs.*"],
        "labels": "cases.csv",
        "label_timestamp": "when",
        "keys": {"tailnum": "plane"},
        "csv_types": False,
        "mode": "known_at",
    }
    with pytest.raises(LabelError, match=r"label file cases\.csv"):
        shop.reproduce()
    assert shop.reproduce(labels).identical
    shutil.copy(labels, shop.lock.parent)
    assert shop.reproduce().identical


def test_labels_that_are_a_model_and_a_static_view(shop: Shop) -> None:
    cases = made.model(name="cases", node={"config": {"meta": {}}, "columns": {}})
    fleet = made.model(
        name="fleet", static=True, drop=("landed_at", "arr_delay"), columns={"seats": made.column("integer")},
        config={"event_time": None},
    )  # fmt: skip
    service = made.exposure(
        "legs.arr_delay", "fleet.seats", depends_on=("model.shop.legs", "model.shop.fleet"), label_timestamp="at"
    )
    sql = f"""{LEGS}; CREATE TABLE fleet AS SELECT 'N1' AS tailnum, 100 AS seats;
        CREATE TABLE cases AS FROM (VALUES ('N1', TIMESTAMP '2024-01-01 11:00'), ('N2', NULL)) t(tailnum, "at")"""
    nodes = (made.model(), cases, fleet)
    shop.build(*nodes, exposures=(service,), sql=sql, labels="cases")
    assert json.loads(shop.lock.read_text())["request"]["labels"] == "cases"
    assert shop.reproduce().identical
    shop.change(sql="UPDATE fleet SET seats = 90")
    found = shop.reproduce()
    assert rows(found) == {"fleet__seats": (1, (0,))}
    assert causes(found) == ["rows changed in place"]
    shop.change(sql="DELETE FROM fleet")
    found = shop.reproduce()
    assert causes(found) == ["source gone"]
    assert evidence(found) == "1 fewer row than at the build; 1 label finds no row any more"
    shop.change(sql="INSERT INTO fleet VALUES ('N1', 1), ('N1', 2)")
    found = shop.reproduce()
    assert rows(found) == {"fleet__seats": (None, ())}
    assert "a static view must have one row per key" in evidence(found)


def test_a_change_without_effect_is_a_note(shop: Shop) -> None:
    shop.build().change(made.model(ttl="30 days"))
    found = shop.reproduce()
    assert found.identical
    assert found.notes == ("legs: ttl was none, is 30 days",)


# --- late rows ----------------------------------------------------------------------------------------------------


def test_late_rows_by_when_they_were_created(shop: Shop) -> None:
    node = made.model(created_timestamp="loaded_at", columns={"loaded_at": made.column("timestamp", feature=False)})
    shop.build(node, sql=LOADED).change(
        sql="INSERT INTO legs VALUES ('N2', TIMESTAMP '2024-01-01 10:50', 1, now()::TIMESTAMP + INTERVAL 1 HOUR),"
        "('N1', TIMESTAMP '2024-01-01 10:20', 2, now()::TIMESTAMP + INTERVAL 1 HOUR),"
        "('N1', TIMESTAMP '2030-01-01', 3, now()::TIMESTAMP + INTERVAL 1 HOUR)"
    )
    found = shop.reproduce()
    assert rows(found) == {"legs__arr_delay": (1, (0,))}
    assert causes(found) == ["late rows"]
    assert "2 rows with an event at or before the last label came after the build (loaded_at after" in evidence(found)
    assert "1 of the 1 label that differ now get one of them" in evidence(found)
    shop.output.unlink()
    found = shop.reproduce()
    assert rows(found) == {"legs__arr_delay": (None, ())}
    assert found.differences[0].unknown == "train.parquet is gone"
    assert causes(found) == ["late rows"]
    assert "1 label now gets one of them" in evidence(found)


def test_late_rows_by_when_they_were_available_in_the_leaky_mode(shop: Shop) -> None:
    node = made.model(available_at="loaded_at", columns={"loaded_at": made.column("timestamptz", feature=False)})
    sql = LOADED.replace("loaded_at TIMESTAMP DEFAULT TIMESTAMP", "loaded_at TIMESTAMPTZ DEFAULT TIMESTAMPTZ")
    shop.build(node, sql=sql, request={"mode": "event_time"})
    shop.change(sql="INSERT INTO legs VALUES ('N1', TIMESTAMP '2024-01-01 10:20', 2, now() + INTERVAL 1 HOUR)")
    found = shop.reproduce()
    assert rows(found) == {"legs__arr_delay": (1, (0,))}
    assert causes(found) == ["late rows"]


def test_backfilled_rows_say_that_they_were_known(shop: Shop) -> None:
    node = made.model(available_at="loaded_at", columns={"loaded_at": made.column("timestamp", feature=False)})
    sql = LOADED.replace("2024-01-02", "2024-01-01 09:00")
    shop.build(node, sql=sql).change(
        sql="INSERT INTO legs VALUES ('N1', TIMESTAMP '2024-01-01 10:20', 2, TIMESTAMP '2024-01-01 10:25')"
    )
    found = shop.reproduce()
    assert causes(found) == ["late rows"]
    assert "1 more row" in evidence(found)
    assert "none came after it by loaded_at" in evidence(found)


def test_late_rows_where_nothing_says_when_they_came(shop: Shop) -> None:
    shop.build().change(sql="INSERT INTO legs VALUES ('N1', TIMESTAMP '2024-01-01 10:20', 2)")
    found = shop.reproduce()
    assert rows(found) == {"legs__arr_delay": (1, (0,))}
    assert causes(found) == ["late rows"]
    assert "no column says when rows come" in evidence(found)


def test_one_label_by_a_late_row_another_by_an_update(shop: Shop) -> None:
    node = made.model(created_timestamp="loaded_at", columns={"loaded_at": made.column("timestamp", feature=False)})
    shop.build(node, sql=LOADED).change(
        sql="INSERT INTO legs VALUES ('N1', TIMESTAMP '2024-01-01 10:20', 2, now()::TIMESTAMP + INTERVAL 1 HOUR);"
        "UPDATE legs SET arr_delay = 100 WHERE tailnum = 'N2'"
    )
    found = shop.reproduce()
    assert rows(found) == {"legs__arr_delay": (2, (0, 2))}
    assert causes(found) == ["late rows", "rows changed in place"]
    assert "1 label gets another value, and nothing else tells why" in evidence(found)


# --- definition changed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({}, {"ttl": "10 minutes"}, "ttl was none, is 10 minutes"),
        ({"delay": "0 days"}, {"delay": "1 hour"}, "delay was 0 days, is 1 hour"),
        ({}, {"bound": "exclusive"}, "bound was inclusive, is exclusive"),
        (
            {},
            {"columns": {"arr_delay": made.column("double", default=0.5)}},
            "the default of arr_delay was none, is 0.5",
        ),
    ],
    ids=["ttl", "delay", "bound", "default"],
)  # fmt: skip
def test_definitions(shop: Shop, before: dict, after: dict, said: str) -> None:
    shop.build(made.model(**before)).change(made.model(**after))
    found = shop.reproduce()
    assert found.differences
    assert causes(found) == ["definition changed"]
    assert evidence(found) == said


def test_the_sql_of_a_model_and_of_what_it_is_built_from(shop: Shop) -> None:
    def nodes(own: str, upstream: str) -> tuple[dict, dict]:
        return (
            made.model(
                node={
                    "checksum": {**SHA, "checksum": own},
                    "depends_on": {"nodes": ["model.shop.stg", "source.shop.raw"]},
                }
            ),
            made.model("stg", node={"checksum": {**SHA, "checksum": upstream}, "config": {"meta": {}}, "columns": {}}),
        )

    shop.build(*nodes("a", "b")).change(*nodes("c", "d"), sql="UPDATE legs SET arr_delay = 1")
    found = shop.reproduce()
    assert causes(found) == ["definition changed"] * 2
    assert evidence(found) == (
        "the SQL of model.shop.legs has another checksum\nmodel.shop.stg, which it is built from, has another checksum"
    )


def test_a_type_is_a_definition(shop: Shop) -> None:
    shop.build().change(
        made.model(columns={"arr_delay": made.column("float")}), sql="ALTER TABLE legs ALTER arr_delay TYPE FLOAT"
    )
    found = shop.reproduce()
    assert rows(found) == {"legs__arr_delay": (4, (0, 1, 2, 3))}
    assert evidence(found) == (
        "the type of arr_delay was float64, is float32\narr_delay was float64 in the warehouse, is float32"
    )


def test_another_relation_is_not_compared_by_its_rows(shop: Shop) -> None:
    node = made.model(node={"relation_name": '"db"."main"."legs2"'})
    shop.build().change(node, sql="CREATE TABLE legs2 AS FROM legs LIMIT 1")
    assert evidence(shop.reproduce()) == 'the relation was "db"."main"."legs", is "db"."main"."legs2"'


def test_a_service_that_asks_for_something_else(shop: Shop) -> None:
    columns = {"dep_delay": made.column("double")}
    shop.build()
    sql = "ALTER TABLE legs ADD COLUMN dep_delay DOUBLE"
    shop.change(made.model(columns=columns), sql=sql, exposures=(made.exposure("legs.dep_delay", label_timestamp="y"),))
    found = shop.reproduce()
    assert not found.identical
    assert found.differences == ()
    assert [str(reason) for reason in found.reasons] == [
        "definition changed: late no longer has legs__arr_delay",
        "definition changed: late now has legs__dep_delay",
        "definition changed: label_timestamp of late was at, is y",
    ]
    shop.change(made.model(columns=columns), exposures=(made.exposure("legs.arr_delay", name="early"),))
    (reason,) = shop.reproduce().reasons
    assert reason.evidence == "there is no feature service 'late'"


def test_other_join_keys(shop: Shop) -> None:
    columns = {
        "airport": made.column("varchar", join_key="airport_hour.airport"),
        "hour": made.column("integer", join_key="airport_hour.hour"),
        "tailnum": made.column("varchar"),
    }
    shop.build().change(
        made.model(columns=columns, entity="airport_hour"),
        sql="ALTER TABLE legs ADD COLUMN airport VARCHAR; ALTER TABLE legs ADD COLUMN hour INTEGER",
    )
    found = shop.reproduce()
    assert rows(found) == {"legs__arr_delay": (None, ())}
    assert evidence(found) == "the join keys were tailnum, are airport, hour"
    assert [reason.evidence for reason in found.reasons] == [
        "late joined legs on tailnum=tailnum, now on airport=airport, hour=hour"
    ]


# --- tie ----------------------------------------------------------------------------------------------------------


def test_ties(shop: Shop) -> None:
    twin = "INSERT INTO legs VALUES ('N2', TIMESTAMP '2024-01-01 11:00', 8.0)"
    shop.build(sql=f"{LEGS}; {twin}").change(sql="UPDATE legs SET arr_delay = 9 WHERE arr_delay = 8")
    found = shop.reproduce()
    assert rows(found) == {"legs__arr_delay": (1, (2,))}
    assert causes(found) == ["tie"]
    assert "for 1 of the 1 label that differ, only content chose" in evidence(found)
    shop.output.unlink()
    found = shop.reproduce()
    assert causes(found) == ["tie"]
    assert "for 1 label at the build, for 1 now" in evidence(found)
    shop.change(sql="DELETE FROM legs WHERE arr_delay = 9")
    assert causes(shop.reproduce()) == ["source gone", "tie"]


# --- source gone --------------------------------------------------------------------------------------------------


def two_views() -> tuple[tuple[dict, dict], tuple[dict, ...], str]:
    weather = made.model(name="weather", columns={"wind": made.column("double")}, drop=("arr_delay",))
    asked = made.exposure(
        "legs.arr_delay", "weather.wind", depends_on=("model.shop.legs", "model.shop.weather"), label_timestamp="at"
    )
    sql = f"{LEGS}; CREATE TABLE weather AS SELECT tailnum, landed_at, arr_delay * 2 AS wind FROM legs"
    return (made.model(), weather), (asked,), sql


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DROP TABLE weather", '"db"."main"."weather" is not in the warehouse'),
        ("ALTER TABLE weather DROP wind", '"db"."main"."weather" has no column wind any more'),
        ("ALTER TABLE weather DROP landed_at", '"db"."main"."weather" has no column landed_at any more'),
    ],
)
def test_a_relation_or_column_that_is_gone_beside_one_that_differs(shop: Shop, sql: str, said: str) -> None:
    nodes, exposures, before = two_views()
    shop.build(*nodes, exposures=exposures, sql=before)
    shop.change(sql=f"{sql}; UPDATE legs SET arr_delay = 6 WHERE arr_delay = 5")
    found = shop.reproduce()
    assert rows(found) == {"legs__arr_delay": (1, (0,)), "weather__wind": (None, ())}
    assert causes(found) == ["rows changed in place", "source gone"]
    assert found.joins[1].reasons[0].evidence == said


def test_a_view_that_is_gone(shop: Shop) -> None:
    nodes, exposures, before = two_views()
    shop.build(*nodes, exposures=exposures, sql=before).change(made.model())
    found = shop.reproduce()
    assert rows(found) == {"weather__wind": (None, ())}
    assert evidence(found) == "there is no feature view 'weather' any more"
    assert [reason.evidence for reason in found.reasons] == ["late no longer has weather__wind"]


def test_every_relation_is_gone_and_labels_are_a_csv(shop: Shop) -> None:
    shop.root.mkdir()
    (shop.root / "cases.csv").write_text("tailnum,at\nN1,2024-01-01T10:30:00\n")
    found = shop.build(labels=shop.root / "cases.csv").change(sql="DROP TABLE legs").reproduce()
    assert rows(found) == {"legs__arr_delay": (None, ())}


def test_every_relation_is_gone(shop: Shop) -> None:
    found = shop.build().change(sql="DROP TABLE legs").reproduce()
    assert rows(found) == {"legs__arr_delay": (None, ())}
    pq.write_table(LABELS.slice(1), shop.root / "labels.parquet")
    with pytest.raises(LabelError, match="4 rows at the build, 3 now"):
        shop.reproduce()


def test_a_feature_that_is_gone(shop: Shop) -> None:
    columns = {"dep_delay": made.column("double")}
    sql = f"{LEGS}; ALTER TABLE legs ADD COLUMN dep_delay DOUBLE DEFAULT 3"
    exposures = (made.exposure("legs.*", label_timestamp="at"),)
    shop.build(made.model(columns=columns), exposures=exposures, sql=sql).change(made.model(), exposures=exposures)
    found = shop.reproduce()
    assert rows(found) == {"legs__dep_delay": (None, ())}
    assert evidence(found) == "legs has no feature 'dep_delay' any more"


def test_rows_that_are_gone(shop: Shop) -> None:
    found = shop.build().change(sql="DELETE FROM legs WHERE tailnum = 'N2'").reproduce()
    assert rows(found) == {"legs__arr_delay": (1, (2,))}
    assert causes(found) == ["source gone"]
    assert evidence(found) == (
        "1 fewer row with an event at or before the last label than at the build; 1 label finds no row any more"
    )


def test_keys_that_are_gone(shop: Shop) -> None:
    found = shop.build().change(sql="UPDATE legs SET tailnum = 'N7' WHERE tailnum = 'N2'").reproduce()
    assert causes(found) == ["source gone"]
    assert evidence(found) == "1 label finds no row any more"


# --- the rest -----------------------------------------------------------------------------------------------------


def test_rows_changed_in_place(shop: Shop) -> None:
    shop.build().change(sql="UPDATE legs SET arr_delay = -0.0 WHERE arr_delay = 5")
    found = shop.reproduce()
    assert rows(found) == {"legs__arr_delay": (1, (0,))}
    assert causes(found) == ["rows changed in place"]
    pq.write_table(LABELS, shop.output)
    found = shop.reproduce()
    assert found.differences[0].unknown == "train.parquet is no longer the file that the lock describes"
    assert causes(found) == ["rows changed in place"]
    assert "5 rows, 5 at the build" in evidence(found)
    shop.output.write_text("PAR1 but not really")
    assert shop.reproduce().differences[0].rows is None


def test_other_software(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurelayer.training.result.__version__", "0.0.9")
    monkeypatch.setattr(
        "featurelayer.warehouse.engines.duckdb.warehouse.DuckDBWarehouse.engine", property(lambda _: "duckdb 1.4.1")
    )
    shop.build()
    monkeypatch.undo()
    found = shop.reproduce()
    assert found.identical
    assert [note.partition(":")[0] for note in found.notes] == ["engine changed", "featurelayer changed"]
    found = shop.change(sql="UPDATE legs SET arr_delay = 6 WHERE arr_delay = 5").reproduce()
    assert causes(found) == ["engine changed", "featurelayer changed", "rows changed in place"]
    assert "it was duckdb 1.4.1, is duckdb" in evidence(found)


HARD = """CREATE TABLE legs AS SELECT * FROM (VALUES
  ('N1', TIMESTAMP '2024-01-01 10:00', 0.1::DOUBLE, 'a "b", c', [1, 2], 1.50::DECIMAL(9,2), TIMESTAMP '2024-01-01'),
  ('N2', TIMESTAMP '2024-01-01 10:00', 'nan', '', [], NULL, NULL),
  ('N9', TIMESTAMP '2024-01-01 07:00', NULL, NULL, NULL, -0.01, TIMESTAMP '0001-01-01'),
  ('N3', TIMESTAMP '2024-01-01 10:00', '-inf', E'two\\nlines', [NULL], 0, 'infinity')
) t(tailnum, landed_at, arr_delay, note, sizes, money, seen)"""
HARD_COLUMNS = {"note": made.column("varchar"), "sizes": made.column("integer[]"),
                "money": made.column("decimal(9,2)"), "seen": made.column("timestamp")}  # fmt: skip


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_every_kind_of_value_is_compared(tmp_path: Path, suffix: str) -> None:
    shop, node = Shop(tmp_path / "shop", suffix), made.model(columns=HARD_COLUMNS)
    exposures = (made.exposure("legs.*", label_timestamp="at"),)
    labels = LABELS.set_column(0, "tailnum", pa.array(["N1", "N2", "N3", "N9"]))
    (tmp_path / "shop").mkdir()
    pq.write_table(labels, tmp_path / "given.parquet")
    shop.build(node, exposures=exposures, sql=HARD, labels=tmp_path / "given.parquet")
    assert shop.reproduce(tmp_path / "given.parquet").identical
    shop.change(
        sql="UPDATE legs SET arr_delay = 0.2, seen = NULL WHERE tailnum = 'N1';"
        "UPDATE legs SET note = NULL, sizes = NULL, arr_delay = NULL WHERE tailnum = 'N2';"
        "UPDATE legs SET note = '', money = 0 WHERE tailnum = 'N9'; UPDATE legs SET sizes = [] WHERE tailnum = 'N3'"
    )
    assert rows(shop.reproduce(tmp_path / "given.parquet")) == {
        "legs__arr_delay": (2, (0, 1)),
        "legs__note": (2, (1, 3)),
        "legs__sizes": (2, (1, 2)),
        "legs__money": (1, (3,)),
        "legs__seen": (1, (0,)),
    }
    with shop.output.open("ab") as file:
        file.write(b"\n")
    assert shop.reproduce(tmp_path / "given.parquet").differences[0].rows is None


def test_many_rows_are_compared_in_order(shop: Shop) -> None:
    count = 200_000
    labels = pa.table({"tailnum": [f"N{n}" for n in range(count)], "at": [TIMES[0]] * count})
    sql = (
        f"CREATE TABLE legs AS SELECT 'N' || range AS tailnum, TIMESTAMP '2024-01-01' AS landed_at, "
        f"range::DOUBLE AS arr_delay FROM range({count}) ORDER BY hash(range)"
    )
    shop.root.mkdir()
    pq.write_table(labels, shop.root.parent / "many.parquet")
    shop.build(sql=sql, labels=shop.root.parent / "many.parquet")
    shop.change(sql="UPDATE legs SET arr_delay = 0.5 WHERE arr_delay % 50000 = 49999")
    found = shop.reproduce(shop.root.parent / "many.parquet")
    assert rows(found) == {"legs__arr_delay": (4, (49_999, 99_999, 149_999, 199_999))}


# --- labels and locks that can't be used --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.slice(1), "4 rows at the build, 3 now"),
        (lambda table: table.take([1, 0, 2, 3]), "other values, or another order of rows, in at, y"),
        (lambda table: table.drop(["y"]), "there is no column 'y' any more"),
        (lambda table: table.append_column("z", table["y"]), "column 'z' is new"),
        (lambda table: table.select(["at", "tailnum", "y"]), "in the order tailnum, at, y, now at, tailnum, y"),
        (lambda table: table.set_column(2, "y", table["y"].cast(pa.int32())), "in y"),
    ],
)
def test_labels_that_are_not_those_of_the_lock(shop: Shop, change: Callable[[pa.Table], pa.Table], said: str) -> None:
    shop.build()
    pq.write_table(change(LABELS), shop.root / "labels.parquet")
    with pytest.raises(LabelError) as error:
        shop.reproduce()
    assert said in str(error.value)
    assert "the labels labels.parquet are not those of train.lock.json" in str(error.value)
    assert shop.reproduce(LABELS).identical


def test_labels_that_were_a_frame(shop: Shop) -> None:
    shop.build(labels=LABELS)
    with pytest.raises(LabelError, match=r"were a frame in memory.*\n.*with labels"):
        shop.reproduce()
    assert shop.reproduce(LABELS).identical


def test_a_lock_that_is_a_mapping(shop: Shop) -> None:
    found = shop.build() and FeatureLayer(shop.root, profiles_dir=shop.root)
    with found.build_training_set("late", LABELS) as built:
        lock = built.lock
    assert found.reproduce(lock, LABELS).identical
    shop.change(sql="UPDATE legs SET arr_delay = 6 WHERE arr_delay = 5")
    assert found.reproduce(lock, LABELS).differences[0].unknown == "the lock names no file"


def test_a_lock_in_another_folder(shop: Shop) -> None:
    found = shop.build() and FeatureLayer(shop.root, profiles_dir=shop.root)
    with found.build_training_set("late", shop.root / "labels.parquet") as built:
        built.to_parquet(shop.root / "out" / "deep" / "a.parquet", lock=shop.root / "out" / "a.lock.json")
        built.to_parquet(shop.root / "b.parquet", lock=shop.root / "out" / "b.lock.json")
    locks = {name: (shop.root / "out" / f"{name}.lock.json").read_text() for name in "ab"}
    assert json.loads(locks["a"])["output"]["file"] == "deep/a.parquet"
    assert json.loads(locks["b"])["output"]["file"] == "b.parquet"
    assert json.loads(locks["a"])["request"]["labels"] == "labels.parquet"
    assert not any(str(shop.root) in text.replace(json.dumps(json.loads(text)["sql"]), "") for text in locks.values())
    shop.change(sql="UPDATE legs SET arr_delay = 6 WHERE arr_delay = 5")
    assert found.reproduce(shop.root / "out" / "a.lock.json").differences[0].rows == 1
    assert found.reproduce(shop.root / "out" / "b.lock.json").differences[0].unknown == "b.parquet is gone"


def spoiled(document: dict, **more: Any) -> str:
    return json.dumps({**document, **more})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda _: "{", "the lock is not JSON"),
        (lambda _: "[]", "this is not the lock of a training set"),
        (lambda _: '{"nodes": {}}', "this is not the lock of a training set"),
        (lambda lock: spoiled(lock, format=2), "the lock has format 2, this version of featurelayer reads 1"),
        (lambda lock: spoiled(lock, mode="event_time"), "the lock was changed after it was written"),
        (lambda lock: spoiled(lock, columns={}), "the lock was changed after it was written"),
        (
            lambda lock: json.dumps({key: value for key, value in lock.items() if key != "seal"}),
            "is of an earlier featurelayer",
        ),
    ],
)
def test_locks_that_are_none(shop: Shop, spoil: Callable[[dict], str], said: str) -> None:
    shop.build()
    shop.lock.write_text(spoil(json.loads(shop.lock.read_text())))
    with pytest.raises(LockError) as error:
        shop.reproduce()
    assert said in str(error.value)
    assert "fix" in str(error.value)
    shop.lock.unlink()
    with pytest.raises(LockError, match="there is no such lock"):
        shop.reproduce()


# --- the command --------------------------------------------------------------------------------------------------


def test_the_command(shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shop.build()
    monkeypatch.chdir(shop.root)
    assert main(["reproduce", "out/train.lock.json", "--profiles-dir", "."]) == 0
    assert capsys.readouterr().out == "identical to train.lock.json: 4 rows x 4 columns\n"
    shop.change(made.model(ttl="10 minutes"))
    assert main(["reproduce", "out/train.lock.json", "--profiles-dir", "."]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "column           rows that differ  first of them, from 0",
        "legs__arr_delay  1 of 4            0",
        "",
        "legs: definition changed: ttl was none, is 10 minutes",
        "",
        "1 of 4 columns differ from train.lock.json",
    ]
    assert main(["reproduce", "out/train.lock.json", "--profiles-dir", ".", "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["identical"] is False
    assert found["differences"] == [
        {"name": "legs__arr_delay", "join": "legs", "rows": 1, "examples": [0], "unknown": ""}
    ]
    assert found["joins"][0]["reasons"] == [{"cause": "definition changed", "evidence": "ttl was none, is 10 minutes"}]
    assert main(["reproduce", "out/train.lock.json", "--profiles-dir", ".", "--labels", "legs"]) == 1
    assert "the labels" in capsys.readouterr().err
    assert main(["reproduce"]) == 2
