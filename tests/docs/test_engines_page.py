"""The page on engines says what the code has: which dialects, which connections, what is golden and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from featurelayer.errors import UnsupportedByDialect
from featurelayer.sql.compiler import compile_plan
from featurelayer.sql.dialects import available, dialect
from featurelayer.sql.scripts import AsofScript
from featurelayer.warehouse.base import SupportsEstimate
from featurelayer.warehouse.dbt_adapter.facts import facts_of
from featurelayer.warehouse.dbt_adapter.warehouse import AdapterWarehouse
from featurelayer.warehouse.engines import available as engines_available
from featurelayer.warehouse.engines import load_engine
from featurelayer.warehouse.engines.bigquery import BigQueryWarehouse
from tests.docs.pages import REPOSITORY, tables
from tests.sql.plans import ALL, placed

PAGE = REPOSITORY / "docs" / "engines.md"
ENGINES = {re.findall(r"`(\w+)`", row["dbt adapter"])[0]: row for row in next(tables(PAGE, "Engines"))}


def test_every_dialect_is_on_the_page_and_no_other() -> None:
    assert sorted(ENGINES) == sorted(available())


def test_connections_are_what_the_code_has() -> None:
    by_driver = {name for name, row in ENGINES.items() if row["connection"] == "driver"}
    assert by_driver == {name for name in engines_available() if not hasattr(load_engine(name), "ADAPTER")} - {
        "bigquery"
    }
    assert {name for name, row in ENGINES.items() if row["connection"].startswith("none")} == {"bigquery", "trino"}
    assert BigQueryWarehouse._cursor is not AdapterWarehouse._cursor
    with pytest.raises(UnsupportedByDialect):
        compile_plan(placed(ALL["static"], "trino"), "trino")


def test_the_form_is_the_codes() -> None:
    for name, row in ENGINES.items():
        own = issubclass(dialect(name).script_type, AsofScript) or name == "duckdb"
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

    def engines(said: str) -> set[str]:
        text = next(engine for what, engine in lacking.items() if what.startswith(said))
        return {name.strip().lower() for name in text.split(",")}

    assert engines("a NULL in place of an array") == {name for name, each in found.items() if each.without_null}
    assert engines("telling columns apart") == {name for name, each in found.items() if each.folds_names}
    assert engines("an order that tables keep") == {name for name, each in found.items() if not each.has_stable_order}


def test_what_goes_through_an_adapter_is_what_the_engines_have() -> None:
    lacking = {row["what it lacks"]: row["engine"] for row in next(tables(PAGE, "What an engine can't do"))}
    ways = {row["what"]: row["where"] for row in list(tables(PAGE, "Engines"))[1] if "through dbt" in row["what"]}
    without_driver = {name for name, row in ENGINES.items() if row["connection"] != "driver"}

    def said(rows: dict[str, str], start: str) -> str:
        return next(text for what, text in rows.items() if what.startswith(start)).lower()

    def having(part: str) -> set[str]:
        return {name for name in without_driver if getattr(facts_of(load_engine(name)), part) is not None}

    dry_runs = {"bigquery"}
    for way, told in (("`export`", having("transactions")), ("`--as-table`", having("notes")),
                      ("`--plan`", having("explain") | dry_runs)):  # fmt: skip
        assert {name for name in without_driver if name in said(ways, way)} == told, way
    for lack, part in (("transactions over several", "transactions"), ("comments", "notes")):
        assert set(said(lacking, lack).split(", ")) == without_driver - having(part), lack


def test_plans_are_told_where_the_page_says() -> None:
    from featurelayer.warehouse.engines.duckdb.warehouse import DuckDBWarehouse
    from featurelayer.warehouse.engines.postgres.warehouse import PostgresWarehouse

    for kind in (DuckDBWarehouse, PostgresWarehouse, AdapterWarehouse):
        assert issubclass(kind, SupportsEstimate)


def test_the_page_names_files_that_are_there() -> None:
    for path in re.findall(r"`((?:tests|featurelayer)/[\w/]+/)`", PAGE.read_text(encoding="utf-8")):
        assert Path(REPOSITORY / path).is_dir(), path
