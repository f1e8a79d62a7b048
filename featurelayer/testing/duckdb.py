"""DuckDB in memory as an engine to try, in the forms of the join that it can run."""

from __future__ import annotations

import duckdb

from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.dialects.duckdb import DuckDB, DuckDBScript
from featurelayer.sql.scripts import MaterializedScript
from featurelayer.testing.engines import SingleQuery, WarehouseEngine, with_script
from featurelayer.warehouse.engines.duckdb.warehouse import DuckDBWarehouse


class _DuckDBQuery(SingleQuery, DuckDBScript):
    """A training set as one query, as a dbt model has it."""


FORMS: dict[str, Dialect] = {
    "native": DuckDB(),
    "portable": with_script(DuckDB(), MaterializedScript),
    "statement": with_script(DuckDB(), _DuckDBQuery),
}


class DuckDBEngine(WarehouseEngine):
    """A DuckDB of its own, in memory; `form` is one of FORMS, or a dialect that writes DuckDB's SQL."""

    def __init__(self, form: str | Dialect = "native", *, threads: int = 2) -> None:
        self.connection = duckdb.connect(config={"threads": threads})
        dialect = FORMS[form] if isinstance(form, str) else form
        super().__init__(DuckDBWarehouse(self.connection), dialect, schema='"memory"."main"')
