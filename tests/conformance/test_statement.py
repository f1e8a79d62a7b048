"""The portable form as one query: what an engine gets that brings no form of its own. DuckDB's is among FORMS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import duckdb
import pytest

from featurelayer.errors import WarehouseError
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.plan import Entities, Plan, Script, Statement
from featurelayer.testing import Case, DuckDBEngine, cases, check
from featurelayer.testing.builders import make_service, make_table, make_view
from featurelayer.testing.duckdb import Portable


class PortableStatement(Portable):
    """The portable form in DuckDB's words, as one query."""

    statement_ctes = Dialect.statement_ctes
    fail = Dialect.fail

    def compile(self, plan: Plan) -> Script:
        script = super().compile(plan)
        assert not isinstance(plan.spine, Entities)
        return replace(script, steps=(), temporary=(), query=Statement(sql=self.statement(plan, ordered=True)))


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    found = DuckDBEngine(PortableStatement())
    yield found
    found.close()


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_the_case(engine: DuckDBEngine, case: Case) -> None:
    assert check(engine, case) == []


def test_a_key_that_a_static_view_has_twice_fails_it(engine: DuckDBEngine) -> None:
    view = make_view("v", {"k": "int64", "n": "text"}, {"x": "int64"}, ["x"], static=True)
    rows = [{"k": 1, "n": "a", "x": 1}, {"k": 1, "n": "b", "x": 2}, {"k": 1, "n": "b", "x": 3}]
    engine.load(view, make_table(view.columns, rows))
    labels = make_table(view.columns[:2], [{"k": 1, "n": "a"}, {"k": 1, "n": "b"}])
    service = make_service((view, None, None), label_timestamp=None)
    sql = PortableStatement().statement(engine.plan(labels, service, {"v": view}))
    with pytest.raises((WarehouseError, duckdb.Error), match="several for k, n = 1 b"):
        engine.warehouse.arrow(sql).read_all()
