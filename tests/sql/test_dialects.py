"""The SQL of every engine: it parses in its grammar, is the same each time, and is refused where it can't be right."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel

from featurelayer.errors import UnsupportedByDialect
from featurelayer.model import DType, Kind
from featurelayer.sql.compiler import compile_plan, compile_statement
from featurelayer.sql.dialects import dialect
from featurelayer.sql.plan import LabelColumn, Labels
from featurelayer.testing import duckdb, postgres
from tests.sql.plans import ALL, PLANS, placed

SCRIPTS = ("bigquery", "clickhouse", "redshift", "snowflake")
SPARKS = ("spark", "databricks")
FORMS = {
    **{f"duckdb {name}": found for name, found in duckdb.FORMS.items() if name != "statement"},
    **{f"postgres {name}": found for name, found in postgres.FORMS.items()},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", PLANS)
def test_a_form_is_deterministic(form: str, name: str) -> None:
    engine = form.split()[0]
    plan = placed(PLANS[name], engine)
    script = FORMS[form].compile(plan)
    assert str(script) == str(FORMS[form].compile(plan))
    if engine == "postgres" or form == "duckdb portable":
        for statement in (*(each for step in script.steps for each in step.statements), script.query):
            assert sqlglot.parse_one(statement.sql, dialect=engine) is not None


def texts() -> list[tuple[str, str]]:
    scripts = [(engine, name) for engine in SCRIPTS for name in ALL]
    statements = [("trino", name) for name, plan in ALL.items() if isinstance(plan.spine, Labels)]
    return [*scripts, *statements]


def text(engine: str, name: str) -> str:
    plan = placed(ALL[name], engine)
    return str(compile_plan(plan, engine)) if engine in SCRIPTS else compile_statement(plan, engine) + "\n"


@pytest.mark.parametrize(("engine", "name"), texts())
def test_it_parses_in_its_dialect(engine: str, name: str) -> None:
    """And no word of another engine's as-of join, which many would take for an alias."""
    parsed = sqlglot.parse(text(engine, name), dialect=engine, error_level=ErrorLevel.RAISE)
    assert all(parsed)
    commands = [found for each in parsed if each for found in each.find_all(exp.Command)]
    assert [found.sql() for found in commands if "SET" not in found.sql().upper()] == []
    asofs = [j for each in parsed if each for j in each.find_all(exp.Join) if "ASOF" in (j.method or "", j.kind or "")]
    timed = ALL[name].joins[0].event is not None
    assert bool(asofs) == (timed and engine in ("snowflake", "clickhouse"))
    assert all(bool(join.args.get("match_condition")) == (engine == "snowflake") for join in asofs)
    assert "asof" not in {alias.name.lower() for each in parsed if each for alias in each.find_all(exp.TableAlias)}


@pytest.mark.parametrize(("engine", "name"), texts())
def test_order_and_times_are_said(engine: str, name: str) -> None:
    """Greatest first with NULL last in every tie-break, and no time with fewer than six digits."""
    found = text(engine, name)
    if engine == "bigquery":
        assert "NULLS" not in found  # its own order, and its windows take no other
    elif ALL[name].joins[0].event is not None:
        assert " DESC NULLS LAST" in found
    precise = {
        "snowflake": "TIMESTAMP_NTZ(6)",
        "trino": "TIMESTAMP(6)",
        "clickhouse": "toDateTime64(",
        "bigquery": "DATETIME",
    }
    if engine in precise and name == "available_time_in_two_roles":
        assert precise[engine] in found
    assert "AS TIMESTAMP)" not in found or engine in ("bigquery", "redshift")
    assert "MATERIALIZED" not in found


# --- what an engine can't do --------------------------------------------------------------------------------------


def test_trino_has_no_temporary_tables() -> None:
    with pytest.raises(UnsupportedByDialect, match="trino has no temporary tables") as raised:
        compile_plan(placed(ALL["static"], "trino"), "trino")
    assert "featurelayer dbt-model write" in str(raised.value)


def test_trino_has_no_microseconds_in_intervals() -> None:
    plan = placed(ALL["composite_key_date_exclusive"], "trino")
    plan = replace(plan, joins=(replace(plan.joins[0], delay=timedelta(0)),))
    with pytest.raises(UnsupportedByDialect, match="only whole milliseconds"):
        compile_statement(plan, "trino")
    shifted = dialect("trino").shift(exp.column("x"), timedelta(milliseconds=1500))
    assert dialect("trino").sql(shifted) == "\"x\" + INTERVAL '1.500' SECOND"


@pytest.mark.parametrize("engine", ["bigquery", "redshift", "trino"])
def test_names_that_differ_in_case_alone(engine: str) -> None:
    plan = placed(ALL["delay_ttl_tie_breaker_default"], engine)
    assert isinstance(plan.spine, Labels)
    twin = LabelColumn(name="DEST", alias="__fl_c5", dtype=DType(kind=Kind.TEXT))
    plan = replace(plan, spine=replace(plan.spine, columns=(*plan.spine.columns, twin)))
    with pytest.raises(UnsupportedByDialect, match="differ in case alone: dest, DEST"):
        compile_statement(plan, engine)


@pytest.mark.parametrize("engine", ["bigquery", "clickhouse"])
def test_types_without_null(engine: str) -> None:
    plan = placed(ALL["delay_ttl_tie_breaker_default"], engine)
    listed = DType(kind=Kind.ARRAY, element=DType(kind=Kind.INT, bits=64))
    join = plan.joins[0]
    join = replace(join, features=tuple(replace(feature, dtype=listed) for feature in join.features))
    with pytest.raises(UnsupportedByDialect, match=f"array<int64>, and {engine} has no NULL of it"):
        compile_plan(replace(plan, joins=(join,)), engine)


def test_labels_of_a_relation_need_an_order() -> None:
    plan = placed(ALL["delay_ttl_tie_breaker_default"], "snowflake")
    assert isinstance(plan.spine, Labels)
    listed = LabelColumn(name="tags", alias="tags", dtype=DType(kind=Kind.JSON))
    labels = replace(plan.spine, columns=(*plan.spine.columns, listed))
    with pytest.raises(UnsupportedByDialect, match="order of the values of tags"):
        compile_plan(replace(plan, spine=labels), "snowflake")
    loaded = compile_plan(replace(plan, spine=replace(labels, order="__fl_row")), "snowflake")
    assert 'ROW_NUMBER() OVER (ORDER BY "__fl_row")' in str(loaded)
    assert '"c5" AS "tags"' in str(loaded)


# --- Spark and Databricks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_databricks_says_what_the_kit_runs_on_spark(name: str) -> None:
    """Statement by statement, but for where rows are kept and how a session is told."""
    spark, databricks = (compile_plan(placed(ALL[name], engine), engine) for engine in SPARKS)
    for ours, theirs in zip(spark.steps, databricks.steps, strict=True):
        for one, other in zip(ours.statements, theirs.statements, strict=True):
            assert one.sql.startswith("CACHE TABLE `")
            assert other.sql == one.sql.replace("CACHE TABLE", "CREATE OR REPLACE TEMPORARY TABLE", 1)
    assert databricks.query == spark.query
    assert [check.sql for check in databricks.checks] == [check.sql for check in spark.checks]


@pytest.mark.parametrize("engine", SPARKS)
@pytest.mark.parametrize("name", ALL)
def test_spark_parses_in_its_dialect(engine: str, name: str) -> None:
    script = compile_plan(placed(ALL[name], engine), engine)
    for statement in (*(s for step in script.steps for s in step.statements), script.query):
        parsed = sqlglot.parse_one(statement.sql, dialect=engine, error_level=ErrorLevel.RAISE)
        assert not list(parsed.find_all(exp.Command))
        # Naive times are TIMESTAMP_NTZ: a bare TIMESTAMP would be an instant in the session's zone.
        assert "AS TIMESTAMP)" not in statement.sql or (engine in SPARKS and name in ("snapshot", *_INSTANTS))
    assert str(script) == str(compile_plan(placed(ALL[name], engine), engine))


# The cut to the labels' range compares an instant as it is.
_INSTANTS = ("available_time_in_two_roles", "as_served")
