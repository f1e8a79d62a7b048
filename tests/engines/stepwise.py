"""The portable script in DuckDB's words: the form of the engines that can't run here, on one that can."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from featurelayer.sql.ast import all_of
from featurelayer.sql.dialects._asof import Asof
from featurelayer.sql.dialects._stepwise import Stepwise
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.dialects.duckdb import DuckDB
from featurelayer.sql.plan import Entities, Labels, Plan, Script, Statement


class StepwiseDuckDB(Stepwise, DuckDB):
    """Labels come in DuckDB's own order, which it keeps, and not by their columns."""

    spine_step = Dialect.spine_step
    statement_ctes = Dialect.statement_ctes
    comparable = DuckDB.comparable
    label_source = Dialect.label_source
    _label_values = Dialect._label_values

    def _order(self, labels: Labels) -> list[str]:
        return []

    def numbered_by(self, names: list[str]) -> exp.Expression:
        return super().numbered_by(names) if names else self.row_number()


class AsofDuckDB(StepwiseDuckDB, Asof):
    """With an as-of join in the place of the running maximum, as Snowflake's and ClickHouse's scripts have it."""

    match = Asof.match
    moments = Asof.moments

    def join_asof(self, moments: exp.Expression, on: list[exp.Expression], at: exp.Expression) -> exp.Join:
        return exp.Join(this=moments, method="ASOF", side="LEFT", on=all_of(*on, at))


class StepwiseStatement(StepwiseDuckDB):
    """The same as one query."""

    def compile(self, plan: Plan) -> Script:
        script = super().compile(plan)
        assert not isinstance(plan.spine, Entities)
        return replace(script, steps=(), temporary=(), query=Statement(sql=self.statement(plan, ordered=True)))
