"""A row encoded by Spark reads back as a row that the codec encoded, bit for bit, and its key is the same text."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from featurelayer.errors import WarehouseError
from featurelayer.model import DType
from featurelayer.online.keys import encode_key_column, join_key
from featurelayer.online.rows import RowCodec
from featurelayer.sql.dialects.spark import DIALECT
from featurelayer.warehouse.engines.spark.warehouse import SparkWarehouse, connect
from tests.profiles import examples
from tests.properties.test_encoding import KEYS, VALUES, bits

SMALL = {"decimal(38,12)": st.decimals("-99999999999999", "99999999999999", places=12)}
HAS = {name: values for name, values in (VALUES | SMALL).items() if name != "uuid"}
ARROW = {
    "bool": pa.bool_(), "int8": pa.int8(), "int64": pa.int64(), "uint64": pa.uint64(), "float32": pa.float32(),
    "float64": pa.float64(), "decimal(38,0)": pa.decimal128(38, 0), "decimal(18,4)": pa.decimal128(18, 4),
    "decimal(38,12)": pa.decimal128(38, 12), "text": pa.string(), "bytes": pa.binary(), "date": pa.date32(),
    "timestamp": pa.timestamp("us"), "timestamptz": pa.timestamp("us", "UTC"),
    "array<float64>": pa.list_(pa.float64()), "array<int64>": pa.list_(pa.int64()),
    "array<text>": pa.list_(pa.string()),
}  # fmt: skip


@pytest.fixture(scope="module")
def warehouse(spark_target: dict[str, Any]) -> Iterator[SparkWarehouse]:
    found = connect(spark_target, root=Path.cwd())
    yield found
    found.close()


def encoded(warehouse: SparkWarehouse, name: str, values: list[Any], *, key: bool) -> list[str]:
    """The values' JSON, written by the engine."""
    text = DIALECT.json_text(exp.column("x", quoted=True), DType.parse(name), key=key)
    assert text is not None
    rows = pa.table({"n": range(len(values)), "x": pa.array(values, ARROW[name])})
    source = warehouse.attach(rows).sql
    return [found for (found,) in warehouse.rows(f"SELECT {DIALECT.sql(text)} FROM {source} ORDER BY n")]


@pytest.mark.parametrize("name", HAS)
@given(data=st.data())
@settings(max_examples=examples(3))
def test_the_engines_json_reads_back_as_the_codecs(warehouse: SparkWarehouse, name: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | HAS[name], min_size=1, max_size=40))
    codec = RowCodec([("x", DType.parse(name))])
    for value, text in zip(values, encoded(warehouse, name, values, key=False), strict=True):
        assert bits(codec.decode(f"[{text}]")) == bits(codec.decode(codec.encode([value])))


@pytest.mark.parametrize("name", [name for name in HAS if name in KEYS or name in SMALL])
@given(data=st.data())
@settings(max_examples=examples(3))
def test_the_engines_key_is_the_clients_text(warehouse: SparkWarehouse, name: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(HAS[name], min_size=1, max_size=40))
    expected = [join_key("", [part]) for part in encode_key_column(DType.parse(name), values, where="x")]
    assert [f"[{text}]" for text in encoded(warehouse, name, values, key=True)] == expected


def test_keys_with_backslashes_beside_control_characters(warehouse: SparkWarehouse) -> None:
    values = ["\\\x0b", "\\u000B\x0b", "\\\\u001F", '"\\\x1f\\"', "".join(map(chr, range(128))), "\\u000B"]
    expected = [join_key("", [part]) for part in encode_key_column(DType.parse("text"), values, where="x")]
    assert [f"[{text}]" for text in encoded(warehouse, "text", values, key=True)] == expected


def test_a_small_decimal_is_written_plainly(warehouse: SparkWarehouse) -> None:
    assert encoded(warehouse, "decimal(38,12)", [Decimal("0.000000000001")], key=False) == ['"0.000000000001"']


@pytest.mark.parametrize("moment", ["+10000-01-01", "0000-12-31"])
@pytest.mark.parametrize("name", ["timestamp", "timestamptz", "date"])
def test_a_time_that_no_reader_could_hold_ends_the_export(warehouse: SparkWarehouse, name: str, moment: str) -> None:
    dtype = DType.parse(name)
    text = DIALECT.sql(DIALECT.json_text(exp.column("x", quoted=True), dtype, key=False))
    with pytest.raises(WarehouseError, match=r"before year 1 or after 9999 can't be stored"):
        warehouse.rows(f"SELECT {text} FROM (SELECT CAST('{moment}' AS {DIALECT.type_text(dtype)}) AS x)")


def test_what_a_type_of_sparks_has_no_json_for_is_left_to_the_codec() -> None:
    column = exp.column("x", quoted=True)
    assert [DIALECT.json_text(column, DType.parse(name), key=False) for name in ("json", "array<array<int64>>")] == [
        None, None,
    ]  # fmt: skip
