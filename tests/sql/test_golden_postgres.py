"""PostgreSQL's SQL for a reader, sorted and looked up; tests/conformance/test_postgres.py says that it is right."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import sqlglot

from featurelayer.sql.plan import Labels, Plan
from featurelayer.testing.postgres import FORMS
from tests.sql.test_golden import PLANS

HERE = Path(__file__).parent / "golden" / "postgres"


def plan_of(case: str) -> Plan:
    """The plan with labels as this engine has them, in a temporary table."""
    plan = PLANS[case]
    spine = replace(plan.spine, source='"__fl_source_1"') if isinstance(plan.spine, Labels) else plan.spine
    return replace(plan, spine=spine)


@pytest.mark.parametrize("form", ["portable", "lateral"])
@pytest.mark.parametrize("case", PLANS)
def test_golden_sql(case: str, form: str) -> None:
    text = str(FORMS[form].compile(plan_of(case)))
    path = HERE / form / f"{case}.sql"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), "UPDATE_GOLDEN=1 pytest tests/sql writes it anew"


@pytest.mark.parametrize("form", FORMS)
def test_sql_is_deterministic_and_parses(form: str) -> None:
    for case in PLANS:
        script = FORMS[form].compile(plan_of(case))
        assert str(script) == str(FORMS[form].compile(plan_of(case)))
        for statement in (*(each for step in script.steps for each in step.statements), script.query):
            assert sqlglot.parse_one(statement.sql, dialect="postgres") is not None
