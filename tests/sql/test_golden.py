"""The SQL itself, for people to read: a change of what we emit shows up as a diff of these files.

Three training sets per engine and what an export asks. `UPDATE_GOLDEN=1 pytest tests/sql` writes the files again; that
they are right is what the conformance kit tells, on every engine that runs here.

- `script`: delay, TTL, a tie-breaker and a default.
- `as_served`: two clocks, and the labels as of the export that was being served.
- `statement`: one query, as a dbt model has it, with a composite key and an exclusive bound.
"""

from __future__ import annotations

import pytest

from featurelayer.sql.compiler import compile_plan, compile_statement
from featurelayer.testing.postgres import FORMS
from tests.sql.goldens import GOLDEN, check_golden
from tests.sql.plans import ALL, PLANS, placed

ENGINES = ("bigquery", "clickhouse", "duckdb", "postgres", "redshift", "snowflake", "spark", "trino")
SCENARIOS = {
    "script": "delay_ttl_tie_breaker_default",
    "as_served": "as_served",
    "statement": "composite_key_date_exclusive",
}
EXPORTING = ("duckdb", "postgres", "spark")  # what Redshift and Snowflake are asked: test_golden_export.py


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_training_set(scenario: str, engine: str) -> None:
    plan = placed(ALL[SCENARIOS[scenario]], engine)
    is_query = scenario == "statement" or engine == "trino"
    check_golden(
        compile_statement(plan, engine) + "\n" if is_query else str(compile_plan(plan, engine)), f"{engine}/{scenario}"
    )


@pytest.mark.parametrize("engine", EXPORTING)
def test_a_snapshot_that_is_exported(engine: str) -> None:
    check_golden(str(compile_plan(placed(PLANS["snapshot"], engine), engine)), f"{engine}/snapshot")


def test_postgres_looks_rows_up_where_an_index_is() -> None:
    check_golden(
        str(FORMS["lateral"].compile(placed(PLANS["delay_ttl_tie_breaker_default"], "postgres"))), "postgres/lateral"
    )


def test_databricks() -> None:
    """Its other scenarios are Spark's, word by word (test_dialects.py)."""
    check_golden(
        str(compile_plan(placed(PLANS["delay_ttl_tie_breaker_default"], "databricks"), "databricks")),
        "databricks/script",
    )


def test_no_file_is_left_over() -> None:
    """Every file here is one that a test compares with."""
    here = {str(path.relative_to(GOLDEN).with_suffix("")) for path in GOLDEN.rglob("*.sql")}
    ours = {f"{engine}/{scenario}" for engine in ENGINES for scenario in SCENARIOS}
    ours |= {f"{engine}/snapshot" for engine in EXPORTING} | {"postgres/lateral", "databricks/script"}
    others = {"redshift/export", "snowflake/export", "dbt_model/late_training_set"}
    assert here - ours - others - {name for name in here if name.startswith("profile/")} == set()
