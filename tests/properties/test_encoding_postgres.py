"""A row encoded by PostgreSQL reads back as a row that the codec encoded, bit for bit, and its key is the same text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from featurelayer.errors import WarehouseError
from featurelayer.model import DType
from featurelayer.online.keys import encode_key_column, join_key
from featurelayer.online.rows import RowCodec
from featurelayer.sql.dialects.postgres import DIALECT
from featurelayer.warehouse.engines.postgres.warehouse import PostgresWarehouse, connect
from tests.profiles import examples
from tests.properties.test_encoding import KEYS, VALUES, bits
from tests.servers.postgres import Server


@pytest.fixture(scope="module")
def warehouse(postgres_server: Server) -> Iterator[PostgresWarehouse]:
    found = connect(postgres_server.target(), root=Path.cwd())
    yield found
    found.close()


def storable(value: Any) -> bool:
    """PostgreSQL's text has no NUL."""
    return not any("\x00" in part for part in (value if isinstance(value, list) else [value]) if isinstance(part, str))


def encoded(warehouse: PostgresWarehouse, dtype: DType, values: list[Any], *, key: bool) -> list[str]:
    """The values' JSON, written by the engine."""
    literals = ", ".join(f"({place}, {DIALECT.sql(literal(dtype, value))})" for place, value in enumerate(values))
    text = DIALECT.json_text(exp.column("x", quoted=True), dtype, key=key)
    assert text is not None
    return [
        found for (found,) in warehouse.rows(f"SELECT {DIALECT.sql(text)} FROM (VALUES {literals}) t(n, x) ORDER BY n")
    ]


def literal(dtype: DType, value: Any) -> exp.Expression:
    if isinstance(value, bytes):
        return exp.func("DECODE", exp.Literal.string(value.hex()), exp.Literal.string("hex"))
    return DIALECT.literal(value, dtype)


@pytest.mark.parametrize("name", VALUES)
@given(data=st.data())
@settings(max_examples=examples(12))
def test_the_engines_json_reads_back_as_the_codecs(
    warehouse: PostgresWarehouse, name: str, data: st.DataObject
) -> None:
    dtype = DType.parse(name)
    values = data.draw(st.lists(st.none() | VALUES[name].filter(storable), min_size=1, max_size=12))
    codec = RowCodec([("x", dtype)])
    for value, text in zip(values, encoded(warehouse, dtype, values, key=False), strict=True):
        given_value = UUID(value) if name == "uuid" and value is not None else value
        assert bits(codec.decode(f"[{text}]")) == bits(codec.decode(codec.encode([given_value])))


@pytest.mark.parametrize("name", KEYS)
@given(data=st.data())
@settings(max_examples=examples(12))
def test_the_engines_key_is_the_clients_text(warehouse: PostgresWarehouse, name: str, data: st.DataObject) -> None:
    dtype = DType.parse(name)
    values = data.draw(st.lists(VALUES[name].filter(storable), min_size=1, max_size=12))
    expected = [join_key("", [part]) for part in encode_key_column(dtype, values, where="x")]
    assert [f"[{text}]" for text in encoded(warehouse, dtype, values, key=True)] == expected


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "10000-01-01", "0001-01-01 BC"])
@pytest.mark.parametrize("name", ["timestamp", "timestamptz", "date"])
def test_a_time_that_no_reader_could_hold_ends_the_export(warehouse: PostgresWarehouse, name: str, moment: str) -> None:
    text = DIALECT.json_text(exp.column("x", quoted=True), DType.parse(name), key=False)
    with pytest.raises(WarehouseError, match=r"before year 1 or after 9999 can't be stored"):
        warehouse.rows(f"SELECT {DIALECT.sql(text)} FROM (SELECT CAST('{moment}' AS {name}) AS x) AS t")


@pytest.mark.parametrize(("value", "name"), [("NaN", "decimal(18,4)"), ("{{1,2},{3,4}}", "array<int64>")])
def test_what_the_store_has_no_place_for_ends_the_export(warehouse: PostgresWarehouse, value: str, name: str) -> None:
    dtype = DType.parse(name)
    text = DIALECT.json_text(exp.column("x", quoted=True), dtype, key=False)
    with pytest.raises(WarehouseError, match=r"can't be stored|can be stored"):
        warehouse.rows(f"SELECT {DIALECT.sql(text)} FROM (SELECT CAST('{value}' AS {DIALECT.type_text(dtype)}) AS x) t")


def test_a_row_of_hundreds_of_features_is_one_text(warehouse: PostgresWarehouse) -> None:
    """A function of PostgreSQL takes at most a hundred arguments."""
    parts = [exp.Literal.string(str(number)) for number in range(400)]
    joined = DIALECT.sql(exp.select(exp.Concat(expressions=parts)))
    assert warehouse.rows(joined) == [("".join(map(str, range(400))),)]


def test_the_warehouse_says_the_present_in_utc(warehouse: PostgresWarehouse) -> None:
    assert abs((warehouse.now() - datetime.now(UTC)).total_seconds()) < 60
