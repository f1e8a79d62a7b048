"""The page on engines says what the code has: which dialects, which connections, what is golden and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from featurelayer.errors import UnsupportedByDialect
from featurelayer.sql.compiler import compile_plan
from featurelayer.sql.dialects import available, dialect
from featurelayer.sql.dialects._asof import Asof
from featurelayer.sql.dialects._stepwise import Stepwise
from featurelayer.warehouse import adapter
from featurelayer.warehouse import available as drivers
from featurelayer.warehouse._adapter_bigquery import BigQueryWarehouse
from featurelayer.warehouse._adapter_engines import adapter_facts
from featurelayer.warehouse.base import SupportsEstimate
from tests.docs.pages import REPOSITORY, tables
from tests.sql.test_golden_dialects import ALL, placed

PAGE = REPOSITORY / "docs" / "engines.md"
ENGINES = {re.findall(r"`(\w+)`", row["dbt adapter"])[0]: row for row in next(tables(PAGE, "Engines"))}


def test_every_dialect_is_on_the_page_and_no_other() -> None:
    assert sorted(ENGINES) == sorted(available())


def test_connections_are_what_the_code_has() -> None:
    by_driver = {name for name, row in ENGINES.items() if row["connection"] == "driver"}
    assert by_driver == set(drivers())
    assert {name for name, row in ENGINES.items() if row["connection"].startswith("none")} == {"bigquery", "trino"}
    assert BigQueryWarehouse._cursor is not adapter.AdapterWarehouse._cursor
    with pytest.raises(UnsupportedByDialect):
        compile_plan(placed(ALL["static"], "trino"), "trino")


def test_the_form_is_the_codes() -> None:
    for name, row in ENGINES.items():
        own = isinstance(dialect(name), Asof) or name == "duckdb"
        assert (row["form of the join"] == "its own as-of join") == own, name


def test_what_is_not_run_has_golden_sql_that_is() -> None:
    for name, row in ENGINES.items():
        if row["how it is tried"].startswith("not run"):
            assert list((REPOSITORY / "tests" / "sql" / "golden" / name).glob("*.sql")), name
    engines = (REPOSITORY / "tests" / "conformance" / "test_engines.py").read_text(encoding="utf-8")
    assert "tests.engines.clickhouse" in engines


def test_what_an_engine_lacks_is_what_the_code_refuses() -> None:
    lacking = {row["what it lacks"]: row["engine"] for row in next(tables(PAGE, "What an engine can't do"))}
    found = {name: dialect(name) for name in available()}
    stepwise = {name: each for name, each in found.items() if isinstance(each, Stepwise)}

    def engines(said: str) -> set[str]:
        text = next(engine for what, engine in lacking.items() if what.startswith(said))
        return {name.strip().lower() for name in text.split(",")}

    assert engines("a NULL in place of an array") == {name for name, each in stepwise.items() if each.without_null}
    assert engines("telling columns apart") == {name for name, each in stepwise.items() if each.folds_names}
    assert engines("an order that tables keep") == set(stepwise)


def test_what_goes_through_an_adapter_is_what_the_engines_have() -> None:
    lacking = {row["what it lacks"]: row["engine"] for row in next(tables(PAGE, "What an engine can't do"))}
    ways = {row["what"]: row["where"] for row in list(tables(PAGE, "Engines"))[1] if "through dbt" in row["what"]}
    without_driver = {name for name, row in ENGINES.items() if row["connection"] != "driver"}

    def said(rows: dict[str, str], start: str) -> str:
        return next(text for what, text in rows.items() if what.startswith(start)).lower()

    def having(part: str) -> set[str]:
        return {name for name in without_driver if getattr(adapter_facts(name), part) is not None}

    dry_runs = {"bigquery"}
    for way, told in (("`export`", having("transactions")), ("`--as-table`", having("notes")),
                      ("`--plan`", having("explain") | dry_runs)):  # fmt: skip
        assert {name for name in without_driver if name in said(ways, way)} == told, way
    for lack, part in (("transactions over several", "transactions"), ("comments", "notes")):
        assert set(said(lacking, lack).split(", ")) == without_driver - having(part), lack


def test_plans_are_told_where_the_page_says() -> None:
    from featurelayer.warehouse.duckdb import DuckDBWarehouse
    from featurelayer.warehouse.postgres import PostgresWarehouse

    for kind in (DuckDBWarehouse, PostgresWarehouse, adapter.AdapterWarehouse):
        assert issubclass(kind, SupportsEstimate)


def test_the_page_names_files_that_are_there() -> None:
    for path in re.findall(r"`((?:tests|featurelayer)/[\w/]+/)`", PAGE.read_text(encoding="utf-8")):
        assert Path(REPOSITORY / path).is_dir(), path
