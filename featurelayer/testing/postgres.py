"""PostgreSQL as an engine to try, in the forms of the join that it can run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlglot import exp

from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.dialects.postgres import Postgres, PostgresScript
from featurelayer.sql.plan import AsofJoin, Plan
from featurelayer.testing.engines import SingleQuery, WarehouseEngine, with_script
from featurelayer.warehouse.engines.postgres.warehouse import connect


class _LookupScript(PostgresScript):
    """Look every view up label by label, whether there is an index or not."""

    def match(self, plan: Plan, join: AsofJoin, *, cut: bool) -> exp.Query:
        return super().match(plan, replace(join, probe=True), cut=cut)


class _PostgresQuery(SingleQuery, PostgresScript):
    """A training set as one query, as a dbt model has it."""


FORMS: dict[str, Dialect] = {
    "portable": Postgres(),
    "lateral": with_script(Postgres(), _LookupScript),
    "statement": with_script(Postgres(), _PostgresQuery),
}
LACKS = frozenset({"structs", "nested arrays", "nanoseconds", "zero characters"})
"""What PostgreSQL's types can't hold."""


class PostgresEngine(WarehouseEngine):
    """A schema of a PostgreSQL server; `target` is as in profiles.yml, `form` one of FORMS."""

    def __init__(self, target: Mapping[str, Any], form: str = "portable") -> None:
        warehouse = connect(target, root=Path.cwd())
        schema = exp.to_identifier(str(target["schema"]), quoted=True).sql(dialect="postgres")
        warehouse.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        super().__init__(warehouse, FORMS[form], schema=schema, lacks=LACKS)
