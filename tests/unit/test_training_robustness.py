"""What a profile, a path, a name or an infinite time may not do to a training set."""

from __future__ import annotations

import os
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurelayer.errors import FeatureLayerError, LabelError, MetadataError, PlanError, WarehouseError
from featurelayer.layer import FeatureLayer
from featurelayer.warehouse.engines.duckdb.warehouse import _translate_errors
from tests.unit import dbt_projects as made
from tests.unit.warehouses import LEGS, layer

pytestmark = pytest.mark.slow

TIMES = [datetime(2024, 1, 1, 10, 30), datetime(2024, 1, 1, 12), datetime(2024, 1, 1, 11), datetime(2024, 1, 1, 8)]
LABELS = pa.table({"tailnum": ["N1", "N1", "N2", "N9"], "at": TIMES, "y": [1, 0, 1, 0]})
EXPECTED = [5.0, None, -3.5, None]


@pytest.fixture
def legs(tmp_path: Path) -> FeatureLayer:
    return layer(tmp_path / "project")


def values(found: FeatureLayer, labels: Any, **options: Any) -> list[Any]:
    with found.build_training_set("late", labels, **options) as training_set:
        return training_set.to_arrow()["legs__arr_delay"].to_pylist()


@pytest.mark.parametrize(
    "setting",
    [
        "default_order: desc",
        "default_null_order: nulls_first",
        "null_order: nulls_first",
        "default_collation: NOCASE",
        "preserve_insertion_order: false",
        "TimeZone: Asia/Tokyo",
    ],
)
def test_no_setting_of_a_profile_changes_a_result(tmp_path: Path, setting: str) -> None:
    node = made.model(created_timestamp="seen_at", columns={"seen_at": made.column("timestamp")})
    found = layer(
        tmp_path,
        node,
        sql="CREATE TABLE legs AS FROM (VALUES "
        "('N1', TIMESTAMP '2024-01-01 10:00', 5.0::DOUBLE, TIMESTAMP '2024-01-02'), "
        "('N1', '2024-01-01 10:00', 6.0, NULL), ('N2', '2024-01-01 10:00', 7.0, NULL)) "
        "t(tailnum, landed_at, arr_delay, seen_at)",
    )
    (tmp_path / "profiles.yml").write_text(
        "shop: {target: dev, outputs: {dev: {type: duckdb, path: db.duckdb, settings: {" + setting + "}}}}\n"
    )
    found = FeatureLayer(tmp_path, profiles_dir=tmp_path)
    labels = pa.table({"tailnum": ["N2", "n1", "N1", "N1"], "at": [TIMES[0], TIMES[0], TIMES[0], TIMES[3]]})
    assert values(found, labels) == [7.0, None, 5.0, None]


@pytest.mark.parametrize("name", ["year=2024/l.parquet", "year=2024/l.csv", "o'b [1]*.parquet", 'ключ "x";--.csv'])
def test_a_path_is_only_a_path(legs: FeatureLayer, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".csv":
        LABELS.to_pandas().to_csv(path, index=False)
    else:
        pq.write_table(LABELS, path, row_group_size=1)
    with legs.build_training_set("late", path) as training_set:
        assert training_set.columns == ("tailnum", "at", "y", "legs__arr_delay")
        assert training_set.to_arrow()["legs__arr_delay"].to_pylist() == EXPECTED


def test_a_table_needs_columns_that_differ_in_more_than_case(legs: FeatureLayer) -> None:
    labels = LABELS.append_column("Y", LABELS["y"])
    with (
        legs.build_training_set("late", labels, writable=True) as training_set,
        pytest.raises(WarehouseError, match="two of the labels' columns differ in case alone"),
    ):
        training_set.to_table("training")


def test_no_row_of_a_csv_is_lost_or_rewritten(legs: FeatureLayer, tmp_path: Path) -> None:
    """Quotes that first appear far down, quotes of another kind, and what looks like a comment."""
    path = tmp_path / "l.csv"
    plain = "N1,2024-01-01 10:30:00,'a'\n" * 25_000
    path.write_text(f'tailnum,at,n\n#1,2024-01-01 10:30:00,#\n{plain}N1,2024-01-01 10:30:00,"b,\nc ""d"""\n')
    with legs.build_training_set("late", path) as training_set:
        notes = training_set.to_arrow()["n"].to_pylist()
    assert notes == ["#", *["'a'"] * 25_000, 'b,\nc "d"']


def test_a_csv_whose_first_rows_are_ragged_is_refused(legs: FeatureLayer, tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("tailnum,at,n\nN1,2024-01-01 10:30:00\n" + "N1,2024-01-01 10:30:00,x\n" * 3)
    with pytest.raises(FeatureLayerError):
        values(legs, path)


@pytest.mark.parametrize(
    "name", ["table", "self", "", "it's", '"', "read_text('/etc/hostname')", "duckdb_settings()", "labels.json"]
)
def test_only_relations_are_relations(
    legs: FeatureLayer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Not variables of ours, not functions, not files that the engine would read with types of its own guess."""
    (tmp_path / "labels.json").write_text('{"tailnum": "N1", "at": "2024-01-01"}')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LabelError, match="there are no labels"):
        values(legs, name)


def test_names_with_braces_are_said_as_they_are(legs: FeatureLayer, tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("tailnum,a{t}\nN1,nope\n")
    with pytest.raises(
        LabelError,
        match=r"label column 'a\{t\}' must be a timestamp; it holds 'nope' in row 0 \(rows are counted from 0\)",
    ):
        values(legs, path, label_timestamp="a{t}")


@pytest.mark.parametrize("ttl", [{}, {"ttl": "1 hour"}])
def test_infinite_times_match_as_the_ends_of_time(tmp_path: Path, ttl: dict[str, str]) -> None:
    found = layer(tmp_path, made.model(**ttl), sql=LEGS + "; INSERT INTO legs VALUES ('N9', '-infinity', 1.0)")
    with duckdb.connect() as connection:
        labels = connection.sql(
            "SELECT 'N1' AS tailnum, 'infinity'::TIMESTAMP AS \"at\" UNION ALL SELECT 'N9', '-infinity'::TIMESTAMP "
            "UNION ALL SELECT 'N2', '-infinity'::TIMESTAMP UNION ALL SELECT 'N2', '2024-01-01 11:00'::TIMESTAMP"
        )
        labels.write_parquet(str(tmp_path / "l.parquet"))
    with found.build_training_set("late", tmp_path / "l.parquet") as training_set:
        assert training_set.to_arrow()["legs__arr_delay"].to_pylist() == [None, 1.0, None, -3.5]
        age = training_set.report.views[0].age
    assert age is not None
    assert age["max"].total_seconds() == 0


def test_roles_that_differ_in_case_alone_are_refused(tmp_path: Path) -> None:
    lines = (
        {"view": "legs", "features": ["arr_delay"], "role": "home", "keys": {"tailnum": "a"}},
        {"view": "legs", "features": ["dep_delay"], "role": "Home", "keys": {"tailnum": "b"}},
    )
    with pytest.raises((MetadataError, PlanError), match="two joins"):
        layer(
            tmp_path,
            made.model(columns={"dep_delay": made.column("double")}),
            exposures=(made.exposure(*lines, label_timestamp="at"),),
        ).build_training_set("late", LABELS)


# --- types that an engine, a frame or a file would change -----------------------------------------------------------


def test_no_type_is_changed_on_the_way_out(tmp_path: Path) -> None:
    """A sum of integers is a HUGEINT, which DuckDB's own parquet writer would round to a DOUBLE."""
    columns = {"total": made.column("hugeint"), "one": made.column("uuid"), "seconds": made.column("timestamp")}
    found = layer(
        tmp_path,
        made.model(columns=columns),
        exposures=(made.exposure("legs.*", label_timestamp="at"),),
        sql="CREATE TABLE legs AS SELECT 'N1' AS tailnum, TIMESTAMP '2024-01-01' AS landed_at, "
        "1.0::DOUBLE AS arr_delay, sum(9007199254740993) AS total, "
        "'550e8400-e29b-41d4-a716-446655440000'::UUID AS one, "
        "TIMESTAMP_S '2024-01-01 00:00:01' AS seconds",
    )
    with found.build_training_set("late", LABELS) as training_set:
        streamed, columns_of_stream = training_set.to_arrow(), training_set.lock["columns"]
    with found.build_training_set("late", LABELS) as training_set:
        written = pq.read_table(training_set.to_parquet(tmp_path / "o.parquet"))
        assert training_set.lock["columns"] == columns_of_stream
    assert written.to_pylist() == streamed.to_pylist()
    assert written["legs__total"][0].as_py() == 9007199254740993


@pytest.mark.parametrize(
    "labels",
    [
        pd.DataFrame([["N1", TIMES[0], 1, 2]], columns=["tailnum", "at", "a", "a"]),
        pd.DataFrame({"tailnum": ["N1"], "at": TIMES[:1], "p": pd.arrays.SparseArray([1])}),
        pd.DataFrame(),
        pl.DataFrame({"tailnum": ["N1"], "at": TIMES[:1], "x": pl.Series([1], dtype=pl.Int128)}),
        pa.table({"tailnum": ["N1"], "at": TIMES[:1], "x": pa.array([Decimal(1)], pa.decimal256(40, 2))}),
    ],
    ids=["twins", "sparse", "nothing", "int128", "decimal256"],
)
def test_frames_that_cannot_be_read_are_said_to_be(legs: FeatureLayer, labels: Any) -> None:
    with pytest.raises(LabelError, match=r"can't be (converted|read)|'x' is decimal256\(40, 2\), which"):
        values(legs, labels)


def test_a_table_may_be_named_like_one_of_the_builds_own(legs: FeatureLayer) -> None:
    with legs.build_training_set("late", LABELS, writable=True) as training_set:
        for _ in range(2):
            assert training_set.to_table("legs__rows") == 4
        assert training_set.to_arrow()["legs__arr_delay"].to_pylist() == EXPECTED


# --- one connection after the other, and at once ------------------------------------------------------------------


def test_two_sets_at_once(legs: FeatureLayer) -> None:
    with legs.build_training_set("late", LABELS) as one:
        with legs.build_training_set("late", LABELS.slice(0, 2)) as two:
            assert (one.to_arrow().num_rows, two.to_arrow().num_rows) == (4, 2)
        assert one.to_arrow()["legs__arr_delay"].to_pylist() == EXPECTED


def test_one_that_writes_and_one_that_reads_is_said_plainly(legs: FeatureLayer) -> None:
    with (
        duckdb.connect(str(legs.project.root / "db.duckdb")),
        pytest.raises(WarehouseError, match="close the other connection of this process"),
    ):
        legs.build_training_set("late", LABELS)


def test_a_set_closes_twice_and_with_a_reader_open(legs: FeatureLayer) -> None:
    many = pa.table({"tailnum": ["N1"] * 300_000, "at": pa.array([TIMES[0]] * 300_000)})
    training_set = legs.build_training_set("late", many)
    reader = training_set.to_reader()
    assert reader.read_next_batch().num_rows > 0
    training_set.close()
    training_set.close()
    with pytest.raises(WarehouseError):
        training_set.to_arrow()


@pytest.mark.skipif(os.name == "nt", reason="a path of POSIX")
def test_a_place_that_cannot_be_written_to_is_said_and_left_alone(legs: FeatureLayer, tmp_path: Path) -> None:
    (tmp_path / "o.parquet").mkdir()
    with legs.build_training_set("late", LABELS) as training_set:
        for path in (tmp_path / "o.parquet", tmp_path / "project" / "profiles.yml" / "o.parquet"):
            with pytest.raises(WarehouseError, match="can't be written"):
                training_set.to_parquet(path)
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_the_keyboard_stops_a_query_as_it_stops_anything() -> None:
    """DuckDB turns Ctrl-C into a RuntimeError, which the command line would call a bug."""
    with pytest.raises(KeyboardInterrupt), _translate_errors("SELECT 1"):
        raise RuntimeError("Query interrupted")
    with pytest.raises(RuntimeError, match="something else"), _translate_errors("SELECT 1"):
        raise RuntimeError("something else")


def test_the_report_counts_rows_older_than_any_label_reaches(tmp_path: Path) -> None:
    """Rows that the match never looks at, as all labels are too late for them, have expired and are not missing."""
    node = made.model(ttl="1 hour", available_at="seen", columns={"seen": made.column("timestamp")})
    sql = LEGS + "; ALTER TABLE legs ADD COLUMN seen TIMESTAMP; UPDATE legs SET seen = landed_at WHERE arr_delay <> 9"
    found = layer(tmp_path, node, sql=sql)
    three = datetime(2024, 1, 1, 15)
    labels = pa.table({"tailnum": ["N1", "N2", "N9", "N2"], "at": [three, three, three, TIMES[2]]})
    with found.build_training_set("late", labels.slice(0, 3)) as training_set:
        (view,) = training_set.report.views
    assert (view.matched, view.expired, view.missing, view.unusable_rows) == (0, 2, 1, 2)
    with found.build_training_set("late", labels) as training_set:
        (view,) = training_set.report.views
    assert (view.matched, view.expired, view.missing) == (1, 2, 1)


def test_an_enum_is_ordered_by_its_text_where_content_breaks_a_tie(tmp_path: Path) -> None:
    found = layer(
        tmp_path,
        made.model(columns={"mood": made.column("varchar")}, drop=("arr_delay",)),
        exposures=(made.exposure("legs.*", label_timestamp="at"),),
        sql="CREATE TYPE mood AS ENUM ('z', 'a'); CREATE TABLE legs AS SELECT 'N1' AS tailnum, "
        "TIMESTAMP '2024-01-01' AS landed_at, unnest(['a', 'z'])::mood AS mood",
    )
    with found.build_training_set("late", LABELS.slice(0, 1)) as training_set:
        assert training_set.to_arrow()["legs__mood"].to_pylist() == ["z"]


def test_embeddings_of_a_fixed_length_are_missing_where_no_row_is(tmp_path: Path) -> None:
    found = layer(
        tmp_path,
        made.model(columns={"embedding": made.column("float[3]")}, drop=("arr_delay",)),
        exposures=(made.exposure("legs.*", label_timestamp="at"),),
        sql="CREATE TABLE legs AS SELECT 'N1' AS tailnum, TIMESTAMP '2024-01-01' AS landed_at, "
        "[0.5, 1.5, -2.5]::FLOAT[3] AS embedding",
    )
    with found.build_training_set("late", LABELS) as training_set:
        streamed = training_set.lock["columns"]
        rows = [training_set.to_arrow(), pq.read_table(training_set.to_parquet(tmp_path / "o.parquet"))]
    for table in rows:
        assert table["legs__embedding"].to_pylist() == [[0.5, 1.5, -2.5]] * 2 + [None] * 2
    with found.build_training_set("late", LABELS) as training_set:
        training_set.to_parquet(tmp_path / "o.parquet")
        assert training_set.lock["columns"] == streamed


def test_a_type_that_parquet_lacks_is_an_error_that_names_the_file(legs: FeatureLayer, tmp_path: Path) -> None:
    spans = pa.array([(0, 1, 0), None, (0, 2, 0), (1, 0, 0)], pa.month_day_nano_interval())
    with (
        legs.build_training_set("late", LABELS.append_column("span", spans)) as training_set,
        pytest.raises(WarehouseError, match=r"(?s)o\.parquet can't hold these columns: .*fix  cast the column"),
    ):
        training_set.to_parquet(tmp_path / "o.parquet")
    assert list(tmp_path.glob("*.parquet*")) == []


@pytest.mark.parametrize("change", ["order", "value"])
@pytest.mark.parametrize("form", ["to_parquet", "to_csv", "to_arrow", "to_table"])
def test_labels_that_come_out_otherwise_than_they_went_in_are_never_kept(
    legs: FeatureLayer, tmp_path: Path, change: str, form: str
) -> None:
    """The same number of rows, but not the same: here because somebody wrote the file anew meanwhile."""
    path, out = tmp_path / "labels.parquet", tmp_path / f"train.{form.removeprefix('to_')}"
    pq.write_table(LABELS, path)
    with legs.build_training_set("late", path, writable=True) as training_set:
        changed = LABELS.take([1, 0, 2, 3]) if change == "order" else LABELS.set_column(2, "y", pa.array([1, 0, 1, 1]))
        pq.write_table(changed, path)
        columns = "at, y" if change == "order" else "y"
        arguments = {"to_arrow": (), "to_table": ("train",)}.get(form, (out,))
        with pytest.raises(WarehouseError, match=f"label column {columns} came out with other values or in another"):
            getattr(training_set, form)(*arguments)
    assert not out.exists()
    assert not list(tmp_path.glob("*.lock.json"))
    with duckdb.connect(str(tmp_path / "project" / "db.duckdb")) as connection:
        assert connection.execute("SHOW TABLES").fetchall() == [("legs",)]
