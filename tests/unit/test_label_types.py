"""Label columns come out as they went in, whatever their type, and no value is rounded on the way to pandas."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurelayer.errors import LabelError, WarehouseError
from featurelayer.layer import FeatureLayer
from featurelayer.training.original_labels import to_exact_pandas
from tests.unit import dbt_projects as made
from tests.unit.warehouses import layer

pytestmark = pytest.mark.slow

KEYS = {"tailnum": ["N1", "N2", "N9"], "at": [datetime(2024, 1, 1, 10, 30)] * 3}
BIG = 2**53 + 1


@pytest.fixture(scope="module")
def legs(tmp_path_factory: pytest.TempPathFactory) -> FeatureLayer:
    return layer(tmp_path_factory.mktemp("legs") / "project")


def scaled(unit: str, seconds: int) -> int:
    return seconds * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]


ARROW: dict[str, pa.Array] = {
    **{str(kind): pa.array([1, None, 3], kind) for kind in (
        pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16(), pa.uint32(), pa.float32(), pa.float64(),
    )},
    "int64": pa.array([BIG, None, -BIG]),
    "uint64": pa.array([2**64 - 1, None, 0], pa.uint64()),
    "float16": pa.array(np.array([1.5, 65504, -0.0], "float16")),
    **{str(kind): pa.array(["a", None, ""], kind) for kind in (pa.string(), pa.large_string(), pa.string_view())},
    **{str(kind): pa.array([b"a", None, b""], kind) for kind in (pa.binary(), pa.large_binary(), pa.binary_view())},
    "binary(2)": pa.array([b"ab", None, b"cd"], pa.binary(2)),
    "bool": pa.array([True, None, False]),
    "null": pa.nulls(3),
    **{f"timestamp {unit} {zone}": pa.array([scaled(unit, 1_704_103_200), None, 0], pa.timestamp(unit, zone))
       for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "Asia/Tokyo", "+05:30")},
    **{f"duration {unit}": pa.array([5, None, -7], pa.duration(unit)) for unit in ("s", "ms", "us", "ns")},
    "date32": pa.array([5, None, 0], pa.date32()),
    "date64": pa.array([86_400_000, None, 0], pa.date64()),
    **{str(kind): pa.array([5000, None, 0], kind) for kind in (
        pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"),
    )},
    "decimal(5,2)": pa.array([Decimal("1.50"), None, Decimal(2)], pa.decimal128(5, 2)),
    "decimal(38,10)": pa.array([Decimal("1.5"), None, Decimal(2)], pa.decimal128(38, 10)),
    "list": pa.array([[BIG, None], None, []], pa.list_(pa.int64())),
    "large_list": pa.array([[1, None], None, []], pa.large_list(pa.int64())),
    "fixed_size_list": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int32(), 2)),
    "list of zoned": pa.array([[5], None, []], pa.list_(pa.timestamp("us", "Asia/Tokyo"))),
    "struct": pa.array([{"a": BIG}, None, {"a": None}], pa.struct([("a", pa.int64())])),
    "map": pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    "dictionary": pa.array(["a", None, "b"]).dictionary_encode(),
    "ordered dictionary": pa.DictionaryArray.from_arrays(pa.array([1, None, 0]), pa.array(["b", "a"]), ordered=True),
    "dictionary of numbers": pa.array([1, None, 2]).dictionary_encode(),
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"a" * 16, None, b"b" * 16], pa.binary(16))),
}  # fmt: skip


@pytest.mark.parametrize("name", ARROW)
def test_arrow_columns_come_out_of_every_sink(legs: FeatureLayer, tmp_path: Path, name: str) -> None:
    labels = pa.table({**KEYS, "x": ARROW[name]})
    pq.write_table(labels, tmp_path / "in.parquet")
    stored = pq.read_table(tmp_path / "in.parquet")
    with legs.build_training_set("late", labels) as built:
        assert is_same(built.to_arrow(), labels)
        assert is_same(pq.read_table(built.to_parquet(tmp_path / "out.parquet")), stored)
        checksums = built.lock["columns"]
    with legs.build_training_set("late", tmp_path / "in.parquet") as built:
        assert is_same(built.to_arrow(), stored)
        assert is_same(pq.read_table(built.to_parquet(tmp_path / "again.parquet")), stored)
        assert built.lock["columns"] == checksums
    assert legs.reproduce(tmp_path / "again.lock.json").identical
    assert legs.reproduce(tmp_path / "out.lock.json", labels).identical


def is_same(found: pa.Table, wanted: pa.Table) -> bool:
    """Compare the label columns; engines and parquet have one type of text and one of bytes."""
    widths = {pa.large_string(): pa.string(), pa.string_view(): pa.string(),
              pa.large_binary(): pa.binary(), pa.binary_view(): pa.binary()}  # fmt: skip
    narrow = pa.schema([field.with_type(widths.get(field.type, field.type)) for field in wanted.schema])
    found = found.select(wanted.column_names)
    kept = [widths.get(field.type, field.type) for field in found.schema] == narrow.types
    return kept and bool(found.cast(narrow).equals(wanted.cast(narrow)))


PANDAS: dict[str, Callable[[], Any]] = {
    **{kind: lambda kind=kind: np.array([1, 0, 3], kind) for kind in (
        "int8", "int64", "uint8", "uint64", "float16", "float32", "float64", "bool",
    )},
    **{kind: lambda kind=kind: pd.array([1, None, 0], dtype=kind) for kind in (
        "Int8", "Int32", "UInt64", "Float32", "Float64", "boolean",
    )},
    "Int64": lambda: pd.array([BIG, None, -BIG], dtype="Int64"),
    "int64[pyarrow]": lambda: pd.array([BIG, None, 3], dtype=pd.ArrowDtype(pa.int64())),
    "string": lambda: pd.array(["a", None, ""], dtype="string"),
    "text": lambda: ["a", None, ""],
    "bytes": lambda: [b"a", None, b""],
    "integers as objects": lambda: pd.Series([BIG, None, 3], dtype=object),
    "decimals": lambda: [Decimal("1.50"), None, Decimal("2.25")],
    "dates": lambda: [date(2024, 1, 1), None, date(2024, 1, 3)],
    "times": lambda: [time(1, 2, 3), None, time(0)],
    "lists": lambda: [[BIG, None], [], None],
    "dicts": lambda: [{"a": BIG}, {"a": None}, None],
    "category": lambda: pd.Categorical(["a", None, "b"]),
    "ordered category": lambda: pd.Categorical(["a", None, "b"], categories=["b", "a", "c"], ordered=True),
    "datetime64[s]": lambda: pd.Series(np.array(["2024-01-01", "NaT", "1970-01-01"], "datetime64[s]")),
    "datetime64[ns]": lambda: pd.Series(np.array(["2024-01-01", "NaT", "1970-01-01"], "datetime64[ns]")),
    "Asia/Tokyo": lambda: pd.Series(pd.to_datetime(["2024-01-01", None, "2024-07-01"])).dt.tz_localize("Asia/Tokyo"),
    "timedelta": lambda: pd.to_timedelta(["1 day", None, "-3 s"]),
    "timedelta[ns]": lambda: pd.Series(np.array([1, 2, 3], "timedelta64[ns]")),
    "period": lambda: pd.period_range("2024-01", periods=3, freq="M"),
    "interval": lambda: pd.interval_range(0, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", PANDAS)
def test_pandas_columns_come_out_of_every_sink(legs: FeatureLayer, tmp_path: Path, name: str) -> None:
    labels = pd.DataFrame({**KEYS, "x": PANDAS[name]()}, index=[7, 7, 9])
    labels.to_parquet(tmp_path / "in.parquet", index=False)
    stored = pd.read_parquet(tmp_path / "in.parquet")
    with legs.build_training_set("late", labels) as built:
        found = built.to_pandas()
        built.to_parquet(tmp_path / "out.parquet")
    assert list(found.index) == [0, 1, 2]
    pd.testing.assert_frame_equal(found[list(labels)], labels.reset_index(drop=True))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet")[list(labels)], stored)
    with legs.build_training_set("late", tmp_path / "in.parquet") as built:
        built.to_parquet(tmp_path / "again.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "again.parquet")[list(labels)], stored)


POLARS: dict[str, pl.Series] = {
    **{str(kind): pl.Series([1, None, 3], dtype=kind) for kind in (
        pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt16, pl.UInt32, pl.Float32, pl.Float64,
    )},
    "Int64": pl.Series([BIG, None, -BIG]),
    "UInt64": pl.Series([2**64 - 1, None, 0], dtype=pl.UInt64),
    "String": pl.Series(["a", None, ""]),
    "Binary": pl.Series([b"a", None, b""]),
    "Boolean": pl.Series([True, None, False]),
    "Null": pl.Series([None, None, None]),
    "Date": pl.Series([date(2024, 1, 1), None, date(1970, 1, 1)]),
    "Time": pl.Series([time(1, 2, 3), None, time(0)]),
    **{f"Datetime {unit} {zone}": pl.Series([1, None, 3], dtype=pl.Int64).cast(pl.Datetime(unit, zone))
       for unit in ("ms", "us", "ns") for zone in (None, "UTC", "Asia/Tokyo")},
    **{f"Duration {unit}": pl.Series([1, None, 3], dtype=pl.Int64).cast(pl.Duration(unit))
       for unit in ("ms", "us", "ns")},
    "Decimal": pl.Series([Decimal("1.50"), None, Decimal("2.25")]),
    "Categorical": pl.Series(["a", None, "b"], dtype=pl.Categorical),
    "Enum": pl.Series(["a", None, "b"], dtype=pl.Enum(["b", "a", "c"])),
    "List": pl.Series([[BIG, None], None, []], dtype=pl.List(pl.Int64)),
    "Array": pl.Series([[1, 2], None, [3, 4]], dtype=pl.Array(pl.Int32, 2)),
    "Struct": pl.Series([{"a": BIG}, None, {"a": None}], dtype=pl.Struct({"a": pl.Int64})),
}  # fmt: skip


@pytest.mark.parametrize("name", POLARS)
def test_polars_columns_come_out_of_every_sink(legs: FeatureLayer, tmp_path: Path, name: str) -> None:
    labels = pl.DataFrame({**KEYS, "x": POLARS[name]})
    labels.write_parquet(tmp_path / "in.parquet")
    with legs.build_training_set("late", labels) as built:
        found = built.to_polars()
    assert found.columns == [*labels.columns, "legs__arr_delay"]
    assert found.select(labels.columns).equals(labels)
    assert found.select(labels.columns).schema == labels.schema
    with legs.build_training_set("late", tmp_path / "in.parquet") as built:
        built.to_parquet(tmp_path / "out.parquet")
    assert (
        pl.read_parquet(tmp_path / "out.parquet")
        .select(labels.columns)
        .equals(pl.read_parquet(tmp_path / "in.parquet"))
    )


REFUSED = {
    "decimal256": (pa.array([Decimal(1)] * 3, pa.decimal256(50, 2)), "label column 'x' is decimal256"),
    "list view": (pa.array([[1], None, []], pa.list_view(pa.int64())), "label column 'x' is a list_view"),
    "run end": (pa.RunEndEncodedArray.from_arrays([2, 3], [1, 2]), "label column 'x' is a run_end_encoded"),
    "union": (
        pa.UnionArray.from_sparse(pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, 3]), pa.array(["a", "b", "c"])]),
        "label column 'x' is a sparse_union",
    ),
    "complex": (np.array([1j, 2, 3]), "column x"),
    "mixed objects": ([1, "a", 2.0], "column x"),
    "sparse": (pd.arrays.SparseArray([0, 0, 1]), "column x"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_type_that_is_refused_is_named_with_its_column(legs: FeatureLayer, name: str) -> None:
    column, message = REFUSED[name]
    labels = pa.table({**KEYS, "x": column}) if isinstance(column, pa.Array) else pd.DataFrame({**KEYS, "x": column})
    with pytest.raises(LabelError, match="fix") as caught:
        legs.build_training_set("late", labels)
    assert message in str(caught.value)
    assert "'at'" not in str(caught.value)


def test_what_a_sink_can_not_hold_is_named_with_its_column(legs: FeatureLayer, tmp_path: Path) -> None:
    interval = pa.array([pa.MonthDayNano([1, 2, 3]), None, pa.MonthDayNano([0, 0, 0])])
    with legs.build_training_set("late", pa.table({**KEYS, "x": interval})) as built:
        assert built.to_arrow()["x"].to_pylist() == interval.to_pylist()
        with pytest.raises(WarehouseError, match=r"x\.parquet can't hold these columns: 'x' \(month_day_nano"):
            built.to_parquet(tmp_path / "x.parquet")
    finer = pa.table({**KEYS, "x": pa.array([5, None, 0], pa.time64("ns"))})
    with (
        legs.build_training_set("late", finer) as built,
        pytest.raises(WarehouseError, match=r"pandas can't hold the column 'x' \(time64\[ns\]\)"),
    ):
        built.to_pandas()
    assert not (tmp_path / "x.parquet").exists()


def test_many_rows_keep_their_places(legs: FeatureLayer, tmp_path: Path) -> None:
    """Batches of the engine, of the file and of the frame have other sizes."""
    count = 300_000
    days = pa.array(range(count), pa.duration("s"))
    labels = pa.table({
        "tailnum": [f"N{row % 3}" for row in range(count)], "at": [datetime(2024, 1, 2)] * count,
        "x": days, "c": pa.array([str(row % 1000) for row in range(count)]).dictionary_encode(),
    })  # fmt: skip
    pq.write_table(labels, tmp_path / "in.parquet", row_group_size=70_001)
    for given in (labels, tmp_path / "in.parquet"):
        with legs.build_training_set("late", given) as built:
            found = built.to_arrow()
            assert found["x"].combine_chunks().equals(days)
            assert found["c"].cast(pa.string()).equals(labels["c"].cast(pa.string()))
            assert found["legs__arr_delay"].to_pylist()[:3] == [None, None, -3.5]


def test_labels_that_shrank_while_the_build_ran_are_refused(legs: FeatureLayer, tmp_path: Path) -> None:
    labels = pa.table({**KEYS, "x": pa.array([5, None, 0], pa.duration("s"))})
    pq.write_table(labels, tmp_path / "in.parquet")
    with legs.build_training_set("late", tmp_path / "in.parquet") as built:
        pq.write_table(labels.slice(0, 2), tmp_path / "in.parquet")
        with pytest.raises(WarehouseError, match="the labels changed while the build ran"):
            built.to_arrow()


def test_a_frame_may_change_after_the_build(legs: FeatureLayer) -> None:
    labels = pd.DataFrame({**KEYS, "x": pd.Categorical(["a", "b", "c"])})
    with legs.build_training_set("late", labels) as built:
        labels["x"] = 0
        assert built.to_pandas()["x"].tolist() == ["a", "b", "c"]


def test_no_labels_have_their_types_too(legs: FeatureLayer, tmp_path: Path) -> None:
    labels = pa.table({**KEYS, "x": ARROW["ordered dictionary"]}).slice(0, 0)
    with legs.build_training_set("late", labels) as built:
        assert built.to_arrow().schema.field("x").type == labels.schema.field("x").type
        built.to_parquet(tmp_path / "out.parquet")
        assert built.to_pandas().shape == (0, 4)
    assert pq.read_schema(tmp_path / "out.parquet").field("x").type == labels.schema.field("x").type


# --- features --------------------------------------------------------------------------------------------------------


def test_features_are_not_rounded(tmp_path: Path) -> None:
    """An integer beside NULL is no float64, which holds none above 2^53; neither is one inside a list."""
    names = {"whole": "bigint", "small": "smallint", "full": "bigint", "many": "bigint[]"}
    sql = (
        "CREATE TABLE legs AS SELECT tailnum, TIMESTAMP '2024-01-01' AS landed_at, 1.0::DOUBLE AS arr_delay, "
        f"{BIG}::BIGINT AS whole, 7::SMALLINT AS small, {BIG}::BIGINT AS full, [{BIG}, NULL]::BIGINT[] AS many "
        "FROM (VALUES ('N1'), ('N2')) t(tailnum)"
    )
    found = layer(
        tmp_path / "p",
        made.model(columns={name: made.column(kind) for name, kind in names.items()}),
        exposures=(made.exposure("legs.*", label_timestamp="at"),),
        sql=sql,
    )
    with found.build_training_set("late", pa.table(KEYS)) as built:
        frame = built.to_pandas()
    assert frame["legs__whole"].tolist() == [BIG, BIG, pd.NA]
    assert str(frame["legs__whole"].dtype) == "Int64"
    assert str(frame["legs__small"].dtype) == "Int16"
    assert frame["legs__many"].tolist() == [[BIG, None], [BIG, None], None]


@pytest.mark.parametrize(
    ("values", "kind", "dtype"),
    [
        ([1, 2], pa.int64(), "int64"),
        ([BIG, None], pa.int64(), "Int64"),
        ([2**64 - 1, None], pa.uint64(), "UInt64"),
        ([1.5, None], pa.float64(), "float64"),
        ([[1, 2], None], pa.list_(pa.int64()), "object"),
        ([[[BIG, None]], None], pa.list_(pa.list_(pa.int64())), "object"),
        ([{"a": [BIG, None]}, None], pa.struct([("a", pa.list_(pa.int64()))]), "object"),
    ],
)
def test_exact_pandas(values: list[Any], kind: pa.DataType, dtype: str) -> None:
    frame = to_exact_pandas(pa.table({"x": pa.array(values, kind)}))
    assert str(frame["x"].dtype) == dtype
    again = pa.Table.from_pandas(frame, schema=pa.schema([("x", kind)]))
    assert again["x"].to_pylist() == values
