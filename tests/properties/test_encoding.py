"""The warehouse's own encoding of rows is the codec's: every value reads back the same, keys are the same text."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from featurelayer.errors import WarehouseError
from featurelayer.model import DType
from featurelayer.online.keys import encode_key_column, join_key
from featurelayer.online.rows import RowCodec
from featurelayer.sql.dialects.duckdb import DIALECT
from featurelayer.sql.item_encoding import encode_snapshot as encoding
from featurelayer.testing import DuckDBEngine, make_table, make_view
from featurelayer.warehouse.engines.duckdb.warehouse import DuckDBWarehouse
from tests.profiles import examples

TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\x00\x0b\x1f"\\/\u2028'), max_size=8)
TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int8": st.integers(-(2**7), 2**7 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "float32": st.floats(width=32),
    "float64": st.floats(),
    "decimal(38,0)": st.integers(-(10**38) + 1, 10**38 - 1).map(Decimal),
    "decimal(18,4)": st.decimals("-99999999999999", "99999999999999", places=4),
    "text": TEXT,
    "bytes": st.binary(max_size=6),
    "uuid": st.uuids().map(str),
    "date": st.dates(date(1, 1, 1), date(9999, 12, 31)),
    "timestamp": TIMES,
    "timestamptz": TIMES.map(lambda moment: moment.replace(tzinfo=UTC)),
    "array<float64>": st.lists(st.none() | st.floats(), max_size=4),
    "array<int64>": st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=4),
    "array<text>": st.lists(st.none() | TEXT, max_size=3),
}
KEYS = [name for name in VALUES if DType.parse(name).is_key]
ENGINE_TYPES = {"timestamptz": "TIMESTAMPTZ", "text": "VARCHAR"}


@pytest.fixture(scope="module")
def warehouse() -> Iterator[DuckDBWarehouse]:
    found = DuckDBWarehouse(duckdb.connect())
    yield found
    found.close()


def encoded(warehouse: DuckDBWarehouse, dtype: DType, values: list[Any], *, key: bool) -> list[str]:
    """The values' JSON, written by the engine."""
    literals = ", ".join(f"({DIALECT.sql(_literal(dtype, value))})" for value in values)
    text = DIALECT.json_text(exp.column("x", quoted=True), dtype, key=key)
    assert text is not None
    return [found for (found,) in warehouse.rows(f"SELECT {DIALECT.sql(text)} FROM (VALUES {literals}) t(x)")]


def _literal(dtype: DType, value: Any) -> exp.Expression:
    if value is not None and str(dtype) == "bytes":
        return exp.func("FROM_HEX", exp.Literal.string(value.hex()))
    if value is not None and str(dtype) == "text" and "\x00" in value:
        parts = [exp.Literal.string(part) for part in value.split("\x00")]
        joined = parts[0]
        for part in parts[1:]:
            joined = exp.DPipe(
                this=exp.DPipe(this=joined, expression=exp.func("CHR", exp.Literal.number(0))), expression=part
            )
        return exp.paren(joined)
    if isinstance(value, list):
        items = [_literal(dtype.element, item) for item in value]
        return exp.cast(exp.Array(expressions=items), DIALECT.type(dtype))
    return DIALECT.literal(value, dtype)


def bits(value: Any) -> Any:
    """A value with floats as their bits: NaN equals NaN and 0.0 is not -0.0."""
    if isinstance(value, float):
        return "nan" if value != value else struct.pack("d", value)
    return [bits(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", VALUES)
@given(data=st.data())
@settings(max_examples=examples(25))
def test_the_engines_json_reads_back_as_the_codecs(warehouse: DuckDBWarehouse, name: str, data: st.DataObject) -> None:
    dtype = DType.parse(name)
    values = data.draw(st.lists(st.none() | VALUES[name], min_size=1, max_size=12))
    codec = RowCodec([("x", dtype)])
    for value, text in zip(values, encoded(warehouse, dtype, values, key=False), strict=True):
        given_value = UUID(value) if name == "uuid" and value is not None else value
        assert bits(codec.decode(f"[{text}]")) == bits(codec.decode(codec.encode([given_value])))


@pytest.mark.parametrize("name", KEYS)
@given(data=st.data())
@settings(max_examples=examples(25))
def test_the_engines_key_is_the_clients_text(warehouse: DuckDBWarehouse, name: str, data: st.DataObject) -> None:
    dtype = DType.parse(name)
    values = data.draw(st.lists(VALUES[name], min_size=1, max_size=12))
    expected = [join_key("", [part]) for part in encode_key_column(dtype, values, where="x")]
    assert [f"[{text}]" for text in encoded(warehouse, dtype, values, key=True)] == expected


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "10000-01-01", "0001-01-01 (BC)"])
@pytest.mark.parametrize("name", ["timestamp", "timestamptz", "date"])
def test_a_time_that_no_reader_could_hold_ends_the_export(warehouse: DuckDBWarehouse, name: str, moment: str) -> None:
    text = DIALECT.json_text(exp.column("x", quoted=True), DType.parse(name), key=False)
    kind = "TIMESTAMPTZ" if name == "timestamptz" else name
    with pytest.raises(WarehouseError, match="before year 1 or after 9999 can't be stored"):
        warehouse.rows(f"SELECT {DIALECT.sql(text)} FROM (SELECT CAST('{moment}' AS {kind}) AS x)")


def test_keys_that_differ_from_the_declared_are_left_to_the_codec() -> None:
    """It refuses what does not fit, where an engine would cast. Features are cast before; a check finds them exact."""
    engine, at = DuckDBEngine(), datetime(2024, 1, 2, tzinfo=UTC)
    view = make_view("v", {"k": "int64"}, {"e": "timestamp", "x": "int64"}, ["x"], event_time="e")
    engine.load(view, make_table(view.columns, [{"k": 1, "e": datetime(2024, 1, 1), "x": 1}]))
    assert encoding(DIALECT, engine.snapshot_plan(view, at), view, "thing") is not None
    engine.warehouse.execute(f"ALTER TABLE {engine.relation('v')} ALTER x TYPE DOUBLE")
    plan = engine.snapshot_plan(view, at)
    assert encoding(DIALECT, plan, view, "thing") is not None
    [feature] = plan.joins[0].features
    assert (str(feature.stored.dtype), str(feature.dtype)) == ("float64", "int64")
    engine.warehouse.execute(f"ALTER TABLE {engine.relation('v')} ALTER k TYPE INTEGER")
    assert encoding(DIALECT, engine.snapshot_plan(view, at), view, "thing") is None
    engine.close()
