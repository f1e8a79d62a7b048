"""The figures and columns of docs/export.md are those of the price table and of the ledger."""

from __future__ import annotations

import re
import tomllib

import pytest

from featurelayer.dbt.contract import PricesBlock
from featurelayer.export.ledger import LEDGER
from featurelayer.export.prices import TABLE, Prices
from featurelayer.sql.delta import DIFFERENT, IN_DOUBT, ITEMS, NEW, REMOVED
from tests.docs.pages import REPOSITORY, tables

PAGE = REPOSITORY / "docs" / "export.md"
NAME = re.compile(r"`(\w+)`")
FILE = tomllib.loads(TABLE.read_text(encoding="utf-8"))
BYTES, OVERHEAD, GIGABYTE = 1024, 100, 10**9


def dollars(amount: float) -> str:
    return f"${amount + 1e-9:,.2f}"


def test_the_costs_are_those_of_the_price_table() -> None:
    prices = Prices.for_dynamodb({})
    (table,) = tables(PAGE, "What it costs")
    assert [row["entities"] for row in table] == ["1,000,000", "100,000,000"]
    for row in table:
        entities = int(row["entities"].replace(",", ""))
        for heading, share in (("first export", 1), ("1 % changed", 0.01), ("10 % changed", 0.1)):
            rows = int(entities * share)
            assert row[heading] == dollars(prices.cost(rows=rows, units=rows).usd), heading
        stored = entities * (BYTES + OVERHEAD) / GIGABYTE * FILE["serving"]["gigabyte_month"]
        assert row["storage a month"] == dollars(stored)


def test_the_text_beside_them_too() -> None:
    text = PAGE.read_text(encoding="utf-8")
    prices = Prices.for_dynamodb({})
    reads = FILE["serving"]["million_read_units"]
    assert f"costs {dollars(reads / 2)} at ${reads:g} per million read units" in " ".join(text.split())
    assert f"${FILE['serving']['gigabyte_month']:.2f} a month per GB" in text
    assert f"{FILE['region']} on {FILE['looked_up'].isoformat()}" in text
    hours = prices.cost(rows=10**8, units=10**8).minutes / 60
    assert f"takes {hours:.0f} hours" in text


def test_the_prices_that_can_be_said_are_listed_with_their_defaults() -> None:
    (table,) = tables(PAGE, "Plan")
    assert {NAME.findall(row["key"])[0]: float(row["default"]) for row in table} == FILE["export"]
    assert set(PricesBlock.model_fields) == set(FILE["export"])


@pytest.mark.parametrize(("number", "columns"), [(0, LEDGER), (1, ITEMS)])
def test_the_tables_have_the_columns_that_the_page_names(number: int, columns: dict[str, str]) -> None:
    named = [
        name
        for row in list(tables(PAGE, "What the warehouse remembers"))[number]
        for name in NAME.findall(row["column"])
    ]
    assert sorted(named) == sorted(columns)


def test_the_reasons_are_named() -> None:
    rows = list(tables(PAGE, "What the warehouse remembers"))[1]
    (kind,) = (row for row in rows if row["column"] == "`kind`")
    assert NAME.findall(kind["meaning"]) == [NEW, DIFFERENT, IN_DOUBT, REMOVED]
