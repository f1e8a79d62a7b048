"""Labels in every form, outputs in every form, and what is said about labels that can't be used."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurelayer.cli import main
from featurelayer.errors import FeatureLayerError, LabelError, PlanError, UnknownNameError, WarehouseError
from featurelayer.layer import FeatureLayer
from tests.unit import dbt_projects as made
from tests.unit.warehouses import LEGS, layer

TIMES = [datetime(2024, 1, 1, 10, 30), datetime(2024, 1, 1, 12), datetime(2024, 1, 1, 11), datetime(2024, 1, 1, 8)]
LABELS = pa.table({"tailnum": ["N1", "N1", "N2", "N9"], "at": TIMES, "y": [1, 0, 1, 0]})
EXPECTED = [5.0, None, -3.5, None]


@pytest.fixture
def legs(tmp_path: Path) -> FeatureLayer:
    return layer(tmp_path / "project")


def values(found: pa.Table) -> list[Any]:
    return found["legs__arr_delay"].to_pylist()


def write_csv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


# --- labels come in -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["arrow", "pandas", "polars", "parquet", "csv", "relation", "model"])
def test_labels_come_in_any_form(legs: FeatureLayer, tmp_path: Path, form: str) -> None:
    labels: Any = LABELS
    if form == "pandas":
        labels = LABELS.to_pandas()
    elif form == "polars":
        labels = pl.from_arrow(LABELS)
    elif form == "parquet":
        labels = tmp_path / "labels.parquet"
        pq.write_table(LABELS, labels)
    elif form == "csv":
        labels = tmp_path / "labels.csv"
        LABELS.to_pandas().to_csv(labels, index=False)
    elif form in ("relation", "model"):
        with duckdb.connect(str(legs.project.root / "db.duckdb")) as connection:
            connection.register("given", LABELS)
            connection.execute("CREATE SCHEMA lab; CREATE TABLE lab.cases AS SELECT * FROM given")
        labels = "lab.cases"
        if form == "model":
            node = made.model(
                name="cases", node={"relation_name": '"db"."lab"."cases"', "config": {"meta": {}}, "columns": {}}
            )
            made.project(
                legs.project.root,
                made.manifest(made.model(), node, exposures=(made.exposure("legs.arr_delay", label_timestamp="at"),)),
            )
            labels = "cases"
    with legs.build_training_set("late", labels) as training_set:
        found = training_set.to_arrow()
    assert values(found) == EXPECTED
    assert found.column_names == ["tailnum", "at", "y", "legs__arr_delay"]
    if form != "csv":
        assert found.select(["tailnum", "at", "y"]).to_pylist() == LABELS.to_pylist()


def test_csv_columns_stay_text_but_keys_and_time(legs: FeatureLayer, tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "l.csv", "tailnum,at,zip", "N1,2024-01-01T10:30:00Z,00123", "N1,2024-01-01 14:00:00+02,007"
    )
    with legs.build_training_set("late", path) as training_set:
        assert training_set.to_arrow().to_pylist() == [
            {"tailnum": "N1", "at": "2024-01-01T10:30:00Z", "zip": "00123", "legs__arr_delay": 5.0},
            {"tailnum": "N1", "at": "2024-01-01 14:00:00+02", "zip": "007", "legs__arr_delay": None},
        ]
    with legs.build_training_set("late", path, csv_types=True) as training_set:
        assert training_set.to_arrow().schema.field("at").type == pa.timestamp("us", "UTC")


def test_text_keys_of_a_csv_survive(tmp_path: Path) -> None:
    found = layer(
        tmp_path,
        sql="CREATE TABLE legs AS SELECT '007' AS tailnum, TIMESTAMP '2024-01-01' AS landed_at, 1::DOUBLE AS arr_delay",
    )
    path = write_csv(tmp_path / "l.csv", "tailnum,at", "007,2024-01-02", "7,2024-01-02")
    with found.build_training_set("late", path) as training_set:
        assert training_set.to_arrow().to_pylist() == [
            {"tailnum": "007", "at": "2024-01-02", "legs__arr_delay": 1.0},
            {"tailnum": "7", "at": "2024-01-02", "legs__arr_delay": None},
        ]


def test_features_without_a_service(legs: FeatureLayer) -> None:
    with legs.build_training_set(features=["legs.*"], labels=LABELS, label_timestamp="at") as training_set:
        assert values(training_set.to_arrow()) == EXPECTED
    with pytest.raises(PlanError, match="either a service or features"):
        legs.build_training_set("late", LABELS, features=["legs.arr_delay"])


def test_a_label_column_may_be_named_otherwise(legs: FeatureLayer) -> None:
    labels = LABELS.rename_columns(["plane no", "when", "y"])
    with legs.build_training_set("late", labels, keys={"tailnum": "plane no"}, label_timestamp="when") as training_set:
        assert values(training_set.to_arrow()) == EXPECTED


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_aware_labels_are_instants(legs: FeatureLayer, zone: str | None) -> None:
    stamps = pd.to_datetime(pd.Series(TIMES)).dt.tz_localize("UTC")
    frame = LABELS.to_pandas().assign(at=stamps.dt.tz_convert(zone) if zone else stamps.dt.tz_localize(None))
    with legs.build_training_set("late", frame) as training_set:
        assert values(training_set.to_arrow()) == EXPECTED


def test_a_date_label_is_its_midnight(legs: FeatureLayer) -> None:
    labels = pa.table({"tailnum": ["N1", "N1"], "at": [date(2024, 1, 1), date(2024, 1, 2)]})
    with legs.build_training_set("late", labels) as training_set:
        assert values(training_set.to_arrow()) == [None, None]
        assert training_set.report.views[0].matched == 1


def test_empty_labels_give_an_empty_set(legs: FeatureLayer, tmp_path: Path) -> None:
    path = tmp_path / "empty.parquet"
    pq.write_table(LABELS.slice(0, 0), path)
    for labels in (LABELS.slice(0, 0), path, write_csv(tmp_path / "e.csv", "tailnum,at")):
        with legs.build_training_set("late", labels) as training_set:
            out = training_set.to_parquet(tmp_path / "out.parquet")
            assert pq.read_table(out).num_rows == 0
            assert training_set.to_arrow().column_names[-1] == "legs__arr_delay"
            assert training_set.report.features[0].null == 0.0


def test_hostile_names_and_values_are_only_data(tmp_path: Path) -> None:
    awkward = 'select "from" ü; --'
    columns = {awkward: made.column("double")}
    found = layer(
        tmp_path,
        made.model(columns=columns),
        exposures=(made.exposure("legs.*", label_timestamp="at"),),
        sql=LEGS + f'; ALTER TABLE legs ADD COLUMN "{awkward.replace(chr(34), chr(34) * 2)}" DOUBLE DEFAULT 4',
    )
    labels = pa.table(
        {
            "tailnum": ["'; DROP TABLE legs; --", "N1"],
            "at": TIMES[:2],
            "order": [1, 2],
            '"': ["a", "b"],
            "__fl_id": [7, 8],
            "Y": [1, 2],
            "y": [3, 4],
            "ключ": ["x", "y"],
            "l": [0, 0],
        }
    )
    with found.build_training_set("late", labels) as training_set:
        for form in ("arrow", "parquet"):
            rows = (
                training_set.to_arrow()
                if form == "arrow"
                else pq.read_table(training_set.to_parquet(tmp_path / "o.parquet"))
            )
            assert rows.column_names == [*labels.column_names, "legs__arr_delay", f"legs__{awkward}"]
            assert [column.to_pylist() for column in rows.columns[:9]] == [
                column.to_pylist() for column in labels.columns
            ]
            assert rows.columns[9].to_pylist() == [7.0, None]
            assert rows.columns[10].to_pylist() == [4.0, 4.0]
        assert '"Y","y"' in training_set.to_csv(tmp_path / "o.csv").read_text().splitlines()[0]


def test_a_hostile_relation_name_is_a_name(legs: FeatureLayer) -> None:
    with pytest.raises(LabelError, match="no labels 'legs; DROP TABLE legs'"):
        legs.build_training_set("late", "legs; DROP TABLE legs")
    with legs.build_training_set("late", LABELS) as training_set:
        assert len(training_set) == 4


# --- labels that can't be used ------------------------------------------------------------------------------------


def failure(found: FeatureLayer, labels: Any, **options: Any) -> str:
    with pytest.raises((LabelError, PlanError)) as caught:
        found.build_training_set("late", labels, **options)
    return str(caught.value)


def test_every_missing_column_is_reported_at_once(legs: FeatureLayer) -> None:
    message = failure(legs, pa.table({"tail_num": ["N1"], "when": TIMES[:1]}))
    assert "2 problems" in message
    assert "no column 'tailnum' (did you mean 'tail_num'?), which late joins on" in message
    assert "keys={'tailnum': 'COLUMN'}" in message
    assert "no timestamp column 'at'" in message
    assert "pass label_timestamp=COLUMN" in message


def test_text_where_numbers_belong(tmp_path: Path) -> None:
    entities = {"plane": {"keys": {"tailnum": "integer"}}}
    node = made.model(columns={"tailnum": made.column("integer", join_key="plane")})
    made.project(
        tmp_path,
        made.manifest(node, exposures=(made.exposure("legs.arr_delay", label_timestamp="at"),)),
        entities=entities,
    )
    (tmp_path / "profiles.yml").write_text("shop: {target: dev, outputs: {dev: {type: duckdb, path: db.duckdb}}}\n")
    with duckdb.connect(str(tmp_path / "db.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE legs AS SELECT 7 AS tailnum, TIMESTAMP '2024-01-01' AS landed_at, 1.5::DOUBLE AS arr_delay"
        )
    found = FeatureLayer(tmp_path, profiles_dir=tmp_path)
    message = failure(found, pa.table({"tailnum": ["007"], "at": TIMES[:1]}))
    assert "label column 'tailnum' is text, the key tailnum is int32" in message
    assert "'007' is not 7" in message
    path = write_csv(tmp_path / "l.csv", "tailnum,at", "7,2024-01-01", "seven,2024-01-01", "8,someday")
    message = failure(found, path)
    assert "label column 'tailnum' must be int32; it holds 'seven' in row 1" in message
    assert "label column 'at' must be a timestamp; it holds 'someday' in row 2" in message
    path = write_csv(tmp_path / "l.csv", "tailnum,at", "7,2024-01-01")
    with found.build_training_set("late", path) as training_set:
        assert training_set.to_arrow().to_pylist() == [{"tailnum": 7, "at": "2024-01-01", "legs__arr_delay": 1.5}]


def test_numbers_are_no_times(legs: FeatureLayer) -> None:
    message = failure(legs, pa.table({"tailnum": ["N1"], "at": [1704103200]}))
    assert "label column 'at' is int64, not a timestamp" in message


@pytest.mark.parametrize("form", ["arrow", "parquet", "csv", "pandas"])
def test_values_finer_than_a_microsecond_are_refused(legs: FeatureLayer, tmp_path: Path, form: str) -> None:
    stamps = pa.array([1704103200_000_001_000, 1704103200_000_001_001], pa.timestamp("ns"))
    labels: Any = pa.table({"tailnum": ["N1", "N1"], "at": stamps})
    if form == "parquet":
        pq.write_table(labels, tmp_path / "l.parquet")
        labels = tmp_path / "l.parquet"
    elif form == "csv":
        labels = write_csv(
            tmp_path / "l.csv", "tailnum,at", "N1,2024-01-01 10:00:00.000001000", "N1,2024-01-01 10:00:00.000001001"
        )
    elif form == "pandas":
        labels = labels.to_pandas()
    message = failure(legs, labels)
    assert "label column 'at' has values finer than a microsecond" in message
    assert "10:00:00.000001001' in row 1" in message
    assert "in row 1 (rows are counted from 0)" in message
    assert "in row 0" not in message


def test_whole_microseconds_in_a_nanosecond_type_are_fine(legs: FeatureLayer) -> None:
    labels = LABELS.set_column(1, "at", LABELS["at"].cast(pa.timestamp("ns")))
    with legs.build_training_set("late", labels) as training_set:
        found = training_set.to_arrow()
    assert values(found) == EXPECTED
    assert found["at"].type == pa.timestamp("ns")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_aware_nanoseconds_are_not_cut_off(legs: FeatureLayer, tmp_path: Path, zone: str) -> None:
    stamps = pa.array([1704103200_000_000_999], pa.timestamp("ns", zone))
    labels = pa.table({"tailnum": ["N1"], "at": stamps})
    pq.write_table(labels, tmp_path / "l.parquet")
    for given in (labels, tmp_path / "l.parquet"):
        assert "finer than a microsecond" in failure(legs, given)


def test_a_colliding_column_is_refused(legs: FeatureLayer) -> None:
    message = failure(legs, LABELS.append_column("LEGS__arr_delay", pa.array([0] * 4)))
    assert "label column 'LEGS__arr_delay' has the name of the feature column 'legs__arr_delay'" in message
    assert "rename the label column" in message


def test_columns_need_names_of_their_own(legs: FeatureLayer) -> None:
    unnamed = pa.Table.from_arrays([*LABELS.columns, *LABELS.columns[2:]], ["tailnum", "at", "", ""])
    message = failure(legs, unnamed)
    assert "label column 3 has no name" in message
    assert "2 columns named ''" in message


def test_files_that_are_none(legs: FeatureLayer, tmp_path: Path) -> None:
    assert "there is no file" in failure(legs, tmp_path / "nothing.parquet")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 but not really")
    assert "the labels can't be read" in failure(legs, broken)
    assert "give a .parquet or a .csv file" in failure(legs, tmp_path / "labels.json")
    assert "labels can't be a int" in failure(legs, 7)
    assert "did you mean 'legs'" in failure(legs, "legz")


def test_names_that_do_not_exist(legs: FeatureLayer) -> None:
    with pytest.raises(UnknownNameError, match=r"no feature service 'lat' .did you mean 'late'"):
        legs.build_training_set("lat", LABELS)
    with pytest.raises(PlanError, match="arr_dely"):
        legs.build_training_set(features=["legs.arr_dely"], labels=LABELS)
    with pytest.raises(UnknownNameError, match="no mode 'asof'"):
        legs.build_training_set("late", LABELS, mode="asof")
    assert "'tailnr' is not a request key of late (did you mean 'tailnum'?)" in failure(
        legs, LABELS, keys={"tailnr": "y"}
    )


# --- views that can't be joined -----------------------------------------------------------------------------------


def test_a_relation_that_is_not_built(tmp_path: Path) -> None:
    found = layer(tmp_path, sql="SELECT 1")
    message = failure(found, LABELS)
    assert 'legs: "db"."main"."legs" is not built in the warehouse' in message
    assert "dbt build -s legs" in message


def test_no_database_yet(tmp_path: Path) -> None:
    found = layer(tmp_path)
    (tmp_path / "db.duckdb").unlink()
    with pytest.raises(WarehouseError, match="build the features first"):
        found.build_training_set("late", LABELS)


def test_a_relation_that_is_not_what_the_annotations_say(tmp_path: Path) -> None:
    found = layer(tmp_path, sql="CREATE TABLE legs AS SELECT 1 AS tailnum, DATE '2024-01-01' AS landed_at")
    message = failure(found, LABELS)
    assert "join key 'tailnum' is int32" in message
    assert "feature 'arr_delay' is not a column" in message
    assert "'landed_at' is a DATE and neither delay nor available_at is set" in message


def test_a_view_over_a_file_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    with duckdb.connect() as connection:
        connection.execute(LEGS + f"; COPY legs TO '{tmp_path}/data/legs.parquet'")
    monkeypatch.chdir(tmp_path)
    found = layer(tmp_path, sql="CREATE VIEW legs AS FROM read_parquet('data/legs.parquet')")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with found.build_training_set("late", LABELS) as training_set:
        assert values(training_set.to_arrow()) == EXPECTED
    (tmp_path / "data").rename(tmp_path / "files")
    (tmp_path / "files" / "data").mkdir()
    (tmp_path / "files" / "legs.parquet").rename(tmp_path / "files" / "data" / "legs.parquet")
    (tmp_path / "profiles.yml").write_text(
        "shop: {target: dev, outputs: {dev: {type: duckdb, path: db.duckdb, settings: {file_search_path: ./files}}}}"
    )
    with FeatureLayer(tmp_path, profiles_dir=tmp_path).build_training_set("late", LABELS) as training_set:
        assert values(training_set.to_arrow()) == EXPECTED


def test_a_time_that_static_views_do_not_need_comes_out_as_it_went_in(tmp_path: Path) -> None:
    node = made.model(static=True, drop=("landed_at",), config={"event_time": None})
    found = layer(tmp_path, node, sql="CREATE TABLE legs AS SELECT 'N1' AS tailnum, 1::DOUBLE AS arr_delay")
    path = write_csv(tmp_path / "l.csv", "tailnum,at", "N1,2024-01-01T10:30:00Z")
    with found.build_training_set("late", path) as training_set:
        assert training_set.to_arrow().to_pylist() == [
            {"tailnum": "N1", "at": "2024-01-01T10:30:00Z", "legs__arr_delay": 1.0}
        ]


def test_a_static_view_must_be_unique(tmp_path: Path) -> None:
    node = made.model(static=True, drop=("landed_at",), config={"event_time": None})
    found = layer(
        tmp_path,
        node,
        sql="CREATE TABLE legs AS FROM (VALUES ('N1', 1.0::DOUBLE), ('N1', 2.0), ('N2', 1.0)) t(tailnum, arr_delay)",
    )
    message = failure(found, LABELS)
    assert "legs: a static view must have one row per key" in message
    assert "tailnum = 'N1'" in message


def test_event_times_finer_than_a_microsecond(tmp_path: Path) -> None:
    found = layer(
        tmp_path,
        sql="CREATE TABLE legs AS SELECT 'N1' AS tailnum, TIMESTAMP_NS '2024-01-01 00:00:00.000000001' AS landed_at, "
        "1.0::DOUBLE AS arr_delay",
    )
    message = failure(found, LABELS)
    assert "legs: 'landed_at' has values finer than a microsecond" in message
    assert "'2024-01-01 00:00:00.000000001'" in message


# --- results go out -----------------------------------------------------------------------------------------------


def test_every_output_has_the_same_rows(legs: FeatureLayer, tmp_path: Path) -> None:
    with legs.build_training_set("late", LABELS, writable=True) as training_set:
        arrow = training_set.to_arrow()
        assert values(arrow) == EXPECTED
        assert training_set.to_polars().to_arrow().to_pylist() == arrow.to_pylist()
        assert training_set.to_pandas()["legs__arr_delay"].isna().tolist() == [False, True, False, True]
        assert pq.read_table(training_set.to_parquet(tmp_path / "o.parquet")).to_pylist() == arrow.to_pylist()
        lines = training_set.to_csv(tmp_path / "o.csv").read_text().splitlines()
        assert lines[:2] == ["tailnum,at,y,legs__arr_delay", "N1,2024-01-01 10:30:00,1,5.0"]
        assert training_set.to_table("training") == 4
        assert training_set.to_table("main.training") == 4
        with pytest.raises(WarehouseError, match="legs exists and is not a training set"):
            training_set.to_table("legs")
    with duckdb.connect(str(legs.project.root / "db.duckdb")) as connection:
        assert connection.execute("SELECT legs__arr_delay FROM training").fetchall() == [(value,) for value in EXPECTED]
        assert connection.execute("SELECT count(*) FROM legs").fetchone() == (5,)


def test_a_failed_write_leaves_nothing(legs: FeatureLayer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "o.parquet").write_text("yesterday's")
    with legs.build_training_set("late", LABELS) as training_set:

        def fail(*_: Any) -> None:
            raise WarehouseError("the disk is full")

        monkeypatch.setattr(training_set, "_digest_file", fail)
        with pytest.raises(WarehouseError, match="disk is full"):
            training_set.to_parquet(folder / "o.parquet")
    assert [path.name for path in folder.iterdir()] == ["o.parquet"]
    assert (folder / "o.parquet").read_text() == "yesterday's"


def test_more_or_fewer_rows_than_labels_is_never_kept(legs: FeatureLayer, tmp_path: Path) -> None:
    with legs.build_training_set("late", LABELS) as training_set:
        training_set._warehouse.execute('INSERT INTO "legs__rows" SELECT * FROM "legs__rows"')
        with pytest.raises(WarehouseError, match="4 labels went in and 7 rows came out"):
            training_set.to_parquet(tmp_path / "o.parquet")
    assert not (tmp_path / "o.parquet").exists()
    with legs.build_training_set("late", LABELS, writable=True) as training_set:
        training_set.to_table("training")
        training_set._warehouse.execute('INSERT INTO "legs__rows" SELECT * FROM "legs__rows"')
        with pytest.raises(WarehouseError, match="4 rows were expected in training and 7 came; nothing was kept"):
            training_set.to_table("training")
    with duckdb.connect(str(legs.project.root / "db.duckdb")) as connection:
        assert connection.execute("SELECT count(*) FROM training").fetchone() == (4,)


def test_the_lock_says_what_went_in_and_out(legs: FeatureLayer, tmp_path: Path) -> None:
    with legs.build_training_set("late", LABELS) as training_set:
        streamed = training_set.lock
        training_set.to_parquet(tmp_path / "o.parquet")
    lock = json.loads((tmp_path / "o.lock.json").read_text())
    assert lock["columns"] == streamed["columns"]
    assert list(lock["columns"]) == ["tailnum", "at", "y", "legs__arr_delay"]
    assert lock["labels"]["rows"] == 4
    assert lock["labels"]["columns"] == ["tailnum", "at", "y"]
    assert lock["service"]["features"] == ["legs__arr_delay"]
    assert lock["manifest_sha256"] == legs.registry.manifest_hash
    assert lock["dbt_invocation_id"] == "i"
    assert "ASOF JOIN" in lock["sql"]
    with legs.build_training_set("late", LABELS.slice(0, 3)) as other:
        assert other.lock["columns"]["tailnum"] != lock["columns"]["tailnum"]
        assert other.lock["labels"]["sha256"] != lock["labels"]["sha256"]


def test_the_lock_has_the_newest_of_each_time_of_a_view(tmp_path: Path) -> None:
    sql = "CREATE TABLE legs AS SELECT *, landed_at + INTERVAL (30 + arr_delay) MINUTE AS loaded_at, "
    sql += "landed_at + INTERVAL 2 HOUR AS made_at FROM (VALUES ('N1', TIMESTAMP '2024-01-01 10:00', 5.0), "
    sql += "('N1', TIMESTAMP '2024-01-01 11:00', -50.0)) t(tailnum, landed_at, arr_delay)"
    columns = {name: made.column("timestamp") for name in ("loaded_at", "made_at")}
    node = made.model(columns=columns, available_at="loaded_at", created_timestamp="made_at")
    with layer(tmp_path, node, sql=sql).build_training_set("late", LABELS) as training_set:
        view = training_set.lock["views"]["legs"]
    newest = [view[name] for name in ("newest_event", "newest_available", "newest_created")]
    assert newest == ["2024-01-01 11:00:00", "2024-01-01 10:40:00", "2024-01-01 13:00:00"]


def test_the_report_counts_what_happened(legs: FeatureLayer) -> None:
    ttl = {"ttl": "1 hour"}
    made.project(
        legs.project.root,
        made.manifest(
            made.model(**ttl, columns={"arr_delay": made.column("double", default=0.5)}),
            exposures=(made.exposure("legs.arr_delay", label_timestamp="at"),),
        ),
    )
    labels = pa.table({"tailnum": ["N1", "N1", "N2", "N9", None], "at": [*TIMES[:3], TIMES[1], TIMES[0]]})
    with FeatureLayer(legs.project.root, profiles_dir=legs.project.root).build_training_set(
        "late", labels
    ) as training_set:
        assert values(training_set.to_arrow()) == [5.0, None, -3.5, 0.5, 0.5]
        (view,), (feature,) = training_set.report.views, training_set.report.features
    assert (view.matched, view.missing, view.expired, view.ties) == (3, 2, 0, 0)
    assert (feature.null, feature.missing, feature.default) == (0.2, 0.4, 0.4)
    assert view.age["max"].total_seconds() == 1800
    late = pa.table({"tailnum": ["N1", "N2"], "at": [datetime(2024, 1, 1, 15), datetime(2024, 1, 1, 8)]})
    with FeatureLayer(legs.project.root, profiles_dir=legs.project.root).build_training_set(
        "late", late
    ) as training_set:
        (view,) = training_set.report.views
    assert (view.matched, view.missing, view.expired) == (0, 1, 1)
    assert any("no label found a row" in warning for warning in training_set.report.warnings)


def test_ties_that_only_content_broke_are_warned_about(tmp_path: Path) -> None:
    found = layer(tmp_path, sql=LEGS + "; INSERT INTO legs VALUES ('N2', TIMESTAMP '2024-01-01 11:00', 8.0)")
    with found.build_training_set("late", LABELS) as training_set:
        assert values(training_set.to_arrow()) == [5.0, None, 8.0, None]
        assert training_set.report.views[0].ties == 1
        assert "declare created_timestamp or tie_breaker" in training_set.report.warnings[0]


def test_ties_that_a_declared_column_broke_are_no_warning(tmp_path: Path) -> None:
    found = layer(
        tmp_path,
        made.model(tie_breaker=["arr_delay"]),
        sql=LEGS + "; INSERT INTO legs VALUES ('N2', TIMESTAMP '2024-01-01 11:00', 8.0)",
    )
    with found.build_training_set("late", LABELS) as training_set:
        assert values(training_set.to_arrow()) == [5.0, None, 8.0, None]
        assert training_set.report.views[0].ties == 0
        assert training_set.report.warnings == ()


def test_types_come_out_as_they_are_in_the_warehouse(tmp_path: Path) -> None:
    columns = {
        "big": made.column("bigint"),
        "money": made.column("decimal(38,9)"),
        "ids": made.column("bigint[]"),
        "flag": made.column("boolean"),
        "at_": made.column("timestamptz"),
        "huge": made.column("hugeint"),
    }
    found = layer(
        tmp_path,
        made.model(columns=columns),
        exposures=(made.exposure("legs.*", label_timestamp="at"),),
        sql="CREATE TABLE legs AS SELECT 'N1' AS tailnum, TIMESTAMP '2024-01-01' AS landed_at, "
        "'nan'::DOUBLE AS arr_delay, "
        "9007199254740993::BIGINT AS big, 12345678901234567890123456789.123456789::DECIMAL(38,9) AS money, "
        "[9223372036854775807, NULL]::BIGINT[] AS ids, true AS flag, TIMESTAMPTZ '2024-01-01 02:00+02' AS at_, "
        "9223372036854775808::HUGEINT AS huge",
    )
    with found.build_training_set("late", LABELS.slice(0, 1)) as training_set:
        rows = [
            training_set.to_arrow().to_pylist()[0],
            pq.read_table(training_set.to_parquet(tmp_path / "o.parquet")).to_pylist()[0],
        ]
    for row in rows:
        assert row["legs__big"] == 9007199254740993
        assert row["legs__money"] == Decimal("12345678901234567890123456789.123456789")
        assert row["legs__ids"] == [9223372036854775807, None]
        assert row["legs__flag"] is True
        assert row["legs__at_"] == datetime(2024, 1, 1, tzinfo=UTC)
        assert row["legs__huge"] == Decimal(9223372036854775808)


# --- the command --------------------------------------------------------------------------------------------------


def run(found: FeatureLayer, *arguments: str) -> int:
    root = str(found.project.root)
    return main(["build-training-set", "--project-dir", root, "--profiles-dir", root, *arguments])


def test_the_command_writes_a_file_a_lock_and_a_report(
    legs: FeatureLayer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(LABELS, tmp_path / "l.parquet")
    arguments = ["--service", "late", "--labels", str(tmp_path / "l.parquet"), "--output", str(tmp_path / "o.parquet")]
    assert run(legs, *arguments) == 0
    out, _ = capsys.readouterr()
    assert "4 rows x 4 columns" in out
    assert "legs__arr_delay" in out
    assert values(pq.read_table(tmp_path / "o.parquet")) == EXPECTED
    assert (tmp_path / "o.lock.json").exists()
    assert run(legs, *arguments, "--format", "json", "--lock", str(tmp_path / "other.lock.json")) == 0
    assert json.loads(capsys.readouterr().out)["views"][0]["matched"] == 3
    assert (tmp_path / "other.lock.json").exists()


def test_the_command_shows_sql_that_runs_as_it_is(
    legs: FeatureLayer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(LABELS, tmp_path / "l.parquet")
    assert (
        run(
            legs,
            "--features",
            "legs.arr_delay",
            "--label-timestamp",
            "at",
            "--labels",
            str(tmp_path / "l.parquet"),
            "--show-sql",
        )
        == 0
    )
    sql = capsys.readouterr().out
    with duckdb.connect(str(legs.project.root / "db.duckdb")) as connection:
        found = connection.execute(sql).fetchall()
    assert [row[-1] for row in found] == EXPECTED


def test_features_may_be_named_in_several_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(LABELS, tmp_path / "l.parquet")
    found = layer(
        tmp_path / "p",
        made.model(columns={"speed": made.column("double")}),
        sql=LEGS + "; ALTER TABLE legs ADD COLUMN speed DOUBLE",
    )
    options = ["--features", "legs.arr_delay", "--features", " legs.speed, ", "--label-timestamp", "at"]
    assert run(found, *options, "--labels", str(tmp_path / "l.parquet"), "--output", str(tmp_path / "o.parquet")) == 0
    assert pq.read_schema(tmp_path / "o.parquet").names[-2:] == ["legs__arr_delay", "legs__speed"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--service", "late", "--labels", "x.parquet", "--output", "o.parquet"], 1, "there is no file x.parquet"),
        (["--service", "late", "--labels", "x.parquet"], 2, "Pass an output"),
        (["--labels", "x.parquet", "--output", "o.parquet"], 2, "either --service or --features"),
        (["--service", "late", "--labels", "x", "--output", "o.json"], 2, "must end in .parquet or .csv"),
        (["--service", "late", "--labels", "x", "--output", "o.csv", "--key", "a"], 2, "REQUEST_KEY=LABEL_COLUMN"),
        (
            ["--service", "late", "--labels", "x", "--output", "o.csv", "--as-table", "t"],
            2,
            "either --output or --as-table",
        ),
        (["--service", "late", "--labels", "x", "--dialect", "spark"], 2, "Pass an output"),
        (
            ["--service", "late", "--labels", "x", "--dialect", "spark", "--show-sql", "--output", "o.csv"],
            2,
            "--dialect goes with --show-sql alone",
        ),
        (["--service", "late", "--labels", "x", "--dialect", "spark", "--plan"], 2, "--dialect goes with --show-sql"),
    ],
)
def test_the_command_says_what_is_wrong(
    legs: FeatureLayer, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    assert run(legs, *arguments) == code
    assert message in capsys.readouterr().err


def test_the_command_writes_a_table(legs: FeatureLayer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(LABELS, tmp_path / "l.parquet")
    assert run(legs, "--service", "late", "--labels", str(tmp_path / "l.parquet"), "--as-table", "training") == 0
    assert run(legs, "--service", "late", "--labels", str(tmp_path / "l.parquet"), "--as-table", "legs") == 1
    assert "choose another name" in capsys.readouterr().err


def test_errors_share_one_root() -> None:
    assert issubclass(LabelError, FeatureLayerError)
