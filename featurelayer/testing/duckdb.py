"""DuckDB in memory as an engine to try, in the forms of the join that it can run."""

from __future__ import annotations

from dataclasses import replace

import duckdb

from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.dialects.duckdb import DuckDB
from featurelayer.sql.plan import Entities, Plan, Script, Statement
from featurelayer.testing.engines import WarehouseEngine
from featurelayer.warehouse.duckdb import DuckDBWarehouse


class Portable(DuckDB):
    """The portable form in DuckDB's words."""

    compile = Dialect.compile
    query = Dialect.query
    spine_step = Dialect.spine_step


class DuckDBStatement(DuckDB):
    """A training set as one query, as a dbt model has it."""

    def compile(self, plan: Plan) -> Script:
        script = super().compile(plan)
        if isinstance(plan.spine, Entities):
            return script
        return replace(script, steps=(), temporary=(), query=Statement(sql=self.statement(plan, ordered=True)))


FORMS: dict[str, Dialect] = {"native": DuckDB(), "portable": Portable(), "statement": DuckDBStatement()}


class DuckDBEngine(WarehouseEngine):
    """A DuckDB of its own, in memory; `form` is one of FORMS, or a dialect that writes DuckDB's SQL."""

    def __init__(self, form: str | Dialect = "native", *, threads: int = 2) -> None:
        self.connection = duckdb.connect(config={"threads": threads})
        dialect = FORMS[form] if isinstance(form, str) else form
        super().__init__(DuckDBWarehouse(self.connection), dialect, schema='"memory"."main"')
