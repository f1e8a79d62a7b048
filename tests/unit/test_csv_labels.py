"""A CSV says no types: its keys and its time are read exactly, or not at all."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurelayer.errors import LabelError
from featurelayer.layer import FeatureLayer
from featurelayer.model import DType
from featurelayer.training.csv_labels import read_csv_labels
from tests.unit import dbt_projects as made
from tests.unit.warehouses import PROFILES, layer

pytestmark = pytest.mark.slow


def read(path: Path, text: str, dtype: str, **options: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a file with the one key `k`."""
    path = path / "l.csv"
    path.write_bytes(text.encode())
    rows = read_csv_labels(path, keys={"k": DType.parse(dtype)}, time="at", **options)
    with duckdb.connect() as connection:
        connection.execute("SET timezone = 'UTC'")
        return connection.execute(rows.sql).fetchall()


EXACT = [
    ("int64", "7", 7),
    ("int64", "-7", -7),
    ("int64", " +7 ", 7),
    ("int64", "007", 7),
    ("int64", "7.0", 7),
    ("int64", "7.", 7),
    ("int64", "9223372036854775807", 2**63 - 1),
    ("int8", "-128", -128),
    ("uint64", "18446744073709551615", 2**64 - 1),
    ("uint8", "-0", 0),
    ("decimal(10,2)", "1.5", Decimal("1.50")),
    ("decimal(10,2)", "1.500", Decimal("1.50")),
    ("decimal(10,2)", ".5", Decimal("0.50")),
    ("decimal(10,2)", "-3", Decimal("-3.00")),
    ("decimal(5,0)", "3.000", Decimal(3)),
    ("bool", "true", True),
    ("bool", "False", False),
    ("bool", "1", True),
    ("date", "2024-01-02", date(2024, 1, 2)),
    ("date", "2024-01-02 00:00:00", date(2024, 1, 2)),
    ("date", "2024-01-02T00:00:00.000Z", date(2024, 1, 2)),
    ("timestamp", "2024-01-02 05:00:00", datetime(2024, 1, 2, 5)),
    ("timestamp", "2024-01-02T05:00", datetime(2024, 1, 2, 5)),
    ("timestamp", "2024-01-02", datetime(2024, 1, 2)),
    ("timestamp", "2024-01-02 05:00:00-05:00", datetime(2024, 1, 2, 10)),
    ("timestamp", "2024-01-02 05:00:00.000001", datetime(2024, 1, 2, 5, microsecond=1)),
    ("timestamp", "2024-01-02 05:00:00.000001000", datetime(2024, 1, 2, 5, microsecond=1)),
    ("timestamptz", "2024-01-02 05:00:00-05", datetime(2024, 1, 2, 10, tzinfo=UTC)),
    ("timestamptz", "2024-01-02 05:00:00", datetime(2024, 1, 2, 5, tzinfo=UTC)),
    ("uuid", "6F9619FF-8B86-D011-B42D-00C04FC964FF", UUID("6f9619ff-8b86-d011-b42d-00c04fc964ff")),
    ("text", "1_0", "1_0"),
    ("text", '""', ""),
    ("text", '" a "', " a "),
    ("text", "NULL", "NULL"),
    ("int64", "", None),
    ("text", "", None),
]


@pytest.mark.parametrize(("dtype", "text", "value"), EXACT)
def test_text_that_stands_for_one_value_is_that_value(tmp_path: Path, dtype: str, text: str, value: Any) -> None:
    assert read(tmp_path, f"k,n\n{text},\n", dtype) == [(value, None)]


WRONG = [
    *(("int64", text) for text in ("1.7", "0.5", "1_0", "1e3", "0x10", "seven", '""', "NaN", "1,5", "\u0661")),
    *(("uint8", text) for text in ("-1", "1.5")),
    *(("decimal(10,2)", text) for text in ("1.499", "1e2", "1_0.5", ".", "inf", "1,5")),
    *(("bool", text) for text in ("yes", "2", "on", "wahr")),
    *(("date", text) for text in (
        "2024-01-02 23:00:00", "2024-01-02 00:00:00-05:00", "2024-02-30", "2024/01/02", "02.01.2024", "today",
        "20240102", "2024-01-02 00:00:00.5",
    )),
    *(("timestamp", text) for text in (
        "2024-02-30 05:00:00", "2024-01-02 25:00:00", "now", "epoch", "tomorrow", "1704103200", "2024-01-02 5pm",
        "2024-01-02 05:00:00 America/New_York", "2024-01-02 05:00:00.0000001",
    )),
    *(("timestamptz", text) for text in ("now", "2024-01-02 05:00:00 Mars")),
    *(("uuid", text) for text in ("6f9619ff", "g" * 32)),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "text"), WRONG)
def test_other_text_is_an_error_with_row_and_value(tmp_path: Path, dtype: str, text: str) -> None:
    shown = f'"{text}"' if "," in text else text
    with pytest.raises(LabelError) as caught:
        read(tmp_path, f"k,n\n,\n{shown},\n", dtype)
    [problem] = caught.value.problems
    assert "label column 'k'" in problem.what
    assert f"{text.strip(chr(34))!r} in row 1 (rows are counted from 0)" in problem.what


def test_all_columns_and_up_to_three_rows_are_named(tmp_path: Path) -> None:
    rows = "\n".join(["1.5,someday", "2,2024-01-01 00:00:00.0000001", "1.5,x", "1.5,", "1.5,"])
    with pytest.raises(LabelError) as caught:
        read(tmp_path, f"k,at\n{rows}\n", "int64")
    assert [problem.what for problem in caught.value.problems] == [
        "label column 'k' must be int64; it holds '1.5' in row 0, '1.5' in row 2, '1.5' in row 3 "
        "(rows are counted from 0)",
        "label column 'at' must be a timestamp; it holds 'someday' in row 0, 'x' in row 2 (rows are counted from 0)",
        "label column 'at' has values finer than a microsecond: '2024-01-01 00:00:00.0000001' in row 1 "
        "(rows are counted from 0)",
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_header_says_the_delimiter(tmp_path: Path, delimiter: str) -> None:
    """A guess from the rows may take a mark that stands inside a value."""
    rows = [["k", "n"], ["1", '"he said ""a;b"",c|d\te"'], ["2", '";"'], ["3", "'"], ["", '""']]
    text = "\ufeff" + "".join(delimiter.join(row) + "\r\n" for row in rows)
    assert read(tmp_path, text, "int64") == [(1, 'he said "a;b",c|d\te'), (2, ";"), (3, "'"), (None, "")]


def test_a_header_with_quotes_and_one_column(tmp_path: Path) -> None:
    assert read(tmp_path, '"k"\n1\n', "int64") == [(1,)]
    assert read(tmp_path, '"a;b",k\nx;y,1\n', "int64") == [("x;y", 1)]
    assert read(tmp_path, '"a\n;b",k\n"x;\ny",1\n', "int64") == [("x;\ny", 1)]


@pytest.mark.parametrize(("dtype", "text"), [("int8", "128"), ("int64", str(2**63)), ("decimal(4,2)", "100.00")])
def test_a_number_beyond_the_type_matches_nothing_and_stays_what_it_was(tmp_path: Path, dtype: str, text: str) -> None:
    assert read(tmp_path, f"k,n\n{text},x\n1,y\n", dtype) == [(text, "x", None), ("1", "y", 1)]


def test_guessed_types_are_not_for_keys(tmp_path: Path) -> None:
    assert read(tmp_path, "k,at,n\n1.0,2024-01-01,5\n", "int64", csv_types=True) == [(1, date(2024, 1, 1), 5)]
    with pytest.raises(LabelError, match="label column 'k' must be int64; it holds '1_0' in row 0"):
        read(tmp_path, "k,at,n\n1_0,2024-01-01,5\n", "int64", csv_types=True)


def test_a_file_that_is_no_csv(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes(b"k,n\n1,\xff\xfe\n")
    with pytest.raises(LabelError, match="the labels can't be read"):
        read_csv_labels(tmp_path / "l.csv", keys={"k": DType.parse("int64")}, time=None)


# --- through a build -------------------------------------------------------------------------------------------------


@pytest.fixture
def orders(tmp_path: Path) -> FeatureLayer:
    """A view whose key is an integer of 32 bits."""
    entities = {"plane": {"keys": {"tailnum": "integer"}}}
    node = made.model(columns={"tailnum": made.column("integer", join_key="plane")})
    exposure = made.exposure("legs.arr_delay", label_timestamp="at")
    root = tmp_path / "project"
    made.project(root, made.manifest(node, exposures=(exposure,)), entities=entities)
    (root / "profiles.yml").write_text(PROFILES)
    with duckdb.connect(str(root / "db.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE legs AS SELECT * FROM (VALUES (1, TIMESTAMP '2024-01-01', 10.0::DOUBLE), "
            "(2, TIMESTAMP '2024-01-01', 20.0)) t(tailnum, landed_at, arr_delay)"
        )
    return FeatureLayer(root, profiles_dir=root)


KEYS = [1, 2, 3_000_000_000, None]


@pytest.mark.parametrize("form", ["csv", "int64", "uint64", "decimal", "parquet"])
def test_a_key_beyond_the_type_is_missing_whatever_the_source(orders: FeatureLayer, tmp_path: Path, form: str) -> None:
    kind = {"uint64": pa.uint64(), "decimal": pa.decimal128(38, 0)}.get(form, pa.int64())
    keys = [18_446_744_073_709_551_615 if form == "uint64" and key == 3_000_000_000 else key for key in KEYS]
    labels: Any = pa.table({"tailnum": pa.array(keys, kind), "at": [datetime(2024, 1, 2)] * 4})
    if form == "csv":
        labels.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get).to_csv(tmp_path / "l.csv", index=False)
        labels = tmp_path / "l.csv"
    elif form == "parquet":
        pq.write_table(labels, tmp_path / "l.parquet")
        labels = tmp_path / "l.parquet"
    with orders.build_training_set("late", labels) as built:
        found = built.to_arrow()
    assert found["legs__arr_delay"].to_pylist() == [10.0, 20.0, None, None]
    assert found["tailnum"].to_pylist() == (["1", "2", "3000000000", None] if form == "csv" else keys)


def test_a_file_of_ours_is_read_as_it_was_written(orders: FeatureLayer, tmp_path: Path) -> None:
    notes = ["", None, " a ", 'he said "x;y"', "1,5", "line\nbreak", "NULL", "'"]
    stamps = [datetime(2024, 1, 2, tzinfo=timezone(timedelta(hours=9)))] * len(notes)
    labels = pa.table({"tailnum": pa.array([1] * len(notes), pa.int32()), "at": stamps, "note": notes})
    with orders.build_training_set("late", labels) as built:
        first = built.to_csv(tmp_path / "first.csv")
    again = tmp_path / "labels.csv"
    again.write_text(first.read_text().replace("legs__arr_delay", "delay", 1))  # a label column like any other
    with orders.build_training_set("late", again) as built:
        found = built.to_arrow()
        second = built.to_csv(tmp_path / "second.csv")
    assert found["note"].to_pylist() == notes
    assert found["legs__arr_delay"].to_pylist() == [10.0] * len(notes)
    assert second.read_text().splitlines()[1] == first.read_text().splitlines()[1] + ",10.0"


def test_a_static_key_that_is_text_keeps_empty_and_null_apart(tmp_path: Path) -> None:
    found = layer(
        tmp_path / "project",
        sql="CREATE TABLE legs AS SELECT '' AS tailnum, TIMESTAMP '2024-01-01' AS landed_at, 1.0::DOUBLE AS arr_delay",
    )
    path = tmp_path / "l.csv"
    path.write_text('tailnum,at\n"",2024-01-02\n,2024-01-02\n')
    with found.build_training_set("late", path) as built:
        rows = built.to_arrow().to_pylist()
    assert [(row["tailnum"], row["legs__arr_delay"]) for row in rows] == [("", 1.0), (None, None)]
