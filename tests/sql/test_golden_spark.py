"""The SQL of Spark, which the kit runs, and of Databricks, which can't run here, for a reader.

`UPDATE_GOLDEN=1 pytest tests/sql` writes the files anew.
"""

from __future__ import annotations

import pytest
import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel

from featurelayer.sql.compiler import compile_plan, compile_statement
from tests.sql.test_golden import HERE, PLANS
from tests.sql.test_golden_dialects import ALL, placed, same

ENGINES = ("spark", "databricks")


@pytest.mark.parametrize("name", ALL)
def test_golden_sql(name: str) -> None:
    same(str(compile_plan(placed(ALL[name], "spark"), "spark")), HERE / "spark" / f"{name}.sql")


def test_golden_statement() -> None:
    plan = placed(ALL["available_time_in_two_roles"], "spark")
    same(compile_statement(plan, "spark") + "\n", HERE / "spark" / "statement.sql")


def test_golden_databricks() -> None:
    plan = placed(PLANS["delay_ttl_tie_breaker_default"], "databricks")
    same(str(compile_plan(plan, "databricks")), HERE / "databricks" / "delay_ttl_tie_breaker_default.sql")


@pytest.mark.parametrize("name", ALL)
def test_databricks_says_what_the_kit_runs_on_spark(name: str) -> None:
    """Statement by statement, but for where rows are kept and how a session is told."""
    spark, databricks = (compile_plan(placed(ALL[name], engine), engine) for engine in ENGINES)
    for ours, theirs in zip(spark.steps, databricks.steps, strict=True):
        for one, other in zip(ours.statements, theirs.statements, strict=True):
            assert one.sql.startswith("CACHE TABLE `")
            assert other.sql == one.sql.replace("CACHE TABLE", "CREATE OR REPLACE TEMPORARY TABLE", 1)
    assert databricks.query == spark.query
    assert [check.sql for check in databricks.checks] == [check.sql for check in spark.checks]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ALL)
def test_it_parses_in_its_dialect(engine: str, name: str) -> None:
    script = compile_plan(placed(ALL[name], engine), engine)
    for statement in (*(s for step in script.steps for s in step.statements), script.query):
        parsed = sqlglot.parse_one(statement.sql, dialect=engine, error_level=ErrorLevel.RAISE)
        assert not list(parsed.find_all(exp.Command))
        # Naive times are TIMESTAMP_NTZ: a bare TIMESTAMP would be an instant in the session's zone.
        assert "AS TIMESTAMP)" not in statement.sql or (engine in ENGINES and name in ("snapshot", *_INSTANTS))
    assert str(script) == str(compile_plan(placed(ALL[name], engine), engine))


# The cut to the labels' range compares an instant as it is.
_INSTANTS = ("available_time_in_two_roles", "as_served")
