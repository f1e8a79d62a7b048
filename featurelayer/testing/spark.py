"""Spark as an engine to try: a session in this process, in the forms of the join that it can run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.dialects.spark import DIALECT
from featurelayer.sql.scripts import RowMaximumScript
from featurelayer.testing.engines import SingleQuery, WarehouseEngine, with_script
from featurelayer.warehouse.engines.spark.warehouse import SparkWarehouse, connect


class _SparkQuery(SingleQuery, RowMaximumScript):
    """A training set as one query, as a dbt model has it."""


FORMS: dict[str, Dialect] = {"native": DIALECT, "statement": with_script(DIALECT, _SparkQuery)}
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
