"""The SQL of the engines that can't run here, for a reader to hold against their documentation.

`UPDATE_GOLDEN=1 pytest tests/sql` writes the files anew. What they mean is tried elsewhere: the same script, in
DuckDB's words, on every case of the conformance kit (tests/conformance/test_engines.py), and ClickHouse's on
ClickHouse itself.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel

from featurelayer.errors import UnsupportedByDialect
from featurelayer.model import Column, DType, Kind
from featurelayer.sql.compiler import compile_plan, compile_statement
from featurelayer.sql.dialects import dialect
from featurelayer.sql.plan import Entities, LabelColumn, Labels, Ledger, Mode, Plan
from featurelayer.sql.planner import plan_training_set
from featurelayer.testing import make_service
from tests.sql.test_golden import HERE, LABELS, PLANS, WEATHER, columns

SCRIPTS = ("bigquery", "clickhouse", "redshift", "snowflake")
STATEMENTS = (*SCRIPTS, "trino")


def as_served() -> Plan:
    columns_of = {WEATHER.id: tuple(Column(name=n, dtype=t) for n, t in WEATHER.columns)}
    return plan_training_set(
        make_service((replace(WEATHER, online=True), None, {"airport": "origin"}), label_timestamp="predicted_at"),
        {WEATHER.id: replace(WEATHER, online=True)},
        columns_of,
        source='"labels"',
        label_columns=columns(*LABELS),
        mode=Mode.AS_SERVED,
        ledger=Ledger(relation='"memory"."main"."featurelayer_exports"', store="dynamodb:features"),
    )


def placed(plan: Plan, engine: str) -> Plan:
    """The plan with its relations, and labels of a relation, quoted as the engine quotes them."""

    def quoted(name: str) -> str:
        return exp.to_table(name, dialect="duckdb").sql(dialect=engine, identify=True)

    joins = tuple(
        replace(
            join,
            relation=quoted(join.relation),
            ledger=join.ledger and replace(join.ledger, relation=quoted(join.ledger.relation)),
        )
        for join in plan.joins
    )
    spine = (
        plan.spine
        if isinstance(plan.spine, Entities)
        else replace(plan.spine, source=quoted('"memory"."main"."labels"'))
    )
    return replace(plan, joins=joins, spine=spine)


ALL = {**PLANS, "as_served": as_served()}


def texts() -> list[tuple[str, str]]:
    scripts = [(engine, name) for engine in SCRIPTS for name in ALL]
    statements = [("trino", name) for name, plan in ALL.items() if isinstance(plan.spine, Labels)]
    return [*scripts, *statements]


def text(engine: str, name: str) -> str:
    plan = placed(ALL[name], engine)
    return str(compile_plan(plan, engine)) if engine in SCRIPTS else compile_statement(plan, engine) + "\n"


def same(found: str, path: Path) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8"), f"UPDATE_GOLDEN=1 pytest tests/sql writes {path.name} anew"


@pytest.mark.parametrize(("engine", "name"), texts())
def test_golden_sql(engine: str, name: str) -> None:
    same(text(engine, name), HERE / engine / f"{name}.sql")


@pytest.mark.parametrize("engine", STATEMENTS)
def test_golden_statement(engine: str) -> None:
    """Two roles of one view, whose labels must be numbered alike each time they are read."""
    plan = placed(ALL["available_time_in_two_roles"], engine)
    same(compile_statement(plan, engine) + "\n", HERE / engine / "statement.sql")


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
