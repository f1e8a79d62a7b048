"""Spark as an engine to try: a session in this process, in the forms of the join that it can run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.dialects.spark import Spark
from featurelayer.sql.plan import Entities, Plan, Script, Statement
from featurelayer.testing.engines import WarehouseEngine
from featurelayer.warehouse.spark import SparkWarehouse, connect


class SparkStatement(Spark):
    """A training set as one query, as a dbt model has it."""

    def compile(self, plan: Plan) -> Script:
        script = super().compile(plan)
        if isinstance(plan.spine, Entities):
            return script
        return replace(script, steps=(), temporary=(), query=Statement(sql=self.statement(plan, ordered=True)))


FORMS: dict[str, Dialect] = {"native": Spark(), "statement": SparkStatement()}
LACKS = frozenset({"nanoseconds", "unsigned"})
"""What Spark has no types for."""


class SparkEngine(WarehouseEngine):
    """A Spark that runs in this process, or is started there; `target` is as in profiles.yml, `form` one of FORMS."""

    warehouse: SparkWarehouse

    def __init__(self, target: Mapping[str, Any], form: str = "native") -> None:
        super().__init__(connect(target, root=Path.cwd()), FORMS[form], lacks=LACKS)

    def create(self, relation: str, rows: pa.Table) -> None:
        """Create a view of Arrow rows, in place of what was there; a table would leave files."""
        source = self.warehouse.attach(rows)
        self.warehouse.session.table(source.sql).createOrReplaceTempView(relation)
