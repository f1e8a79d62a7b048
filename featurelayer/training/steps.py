"""Runs the parts of a script."""

from __future__ import annotations

from featurelayer.sql.plan import Step
from featurelayer.warehouse.base import Warehouse


def run_step(warehouse: Warehouse, step: Step) -> None:
    """Run the statements of one step."""
    for statement in step.statements:
        warehouse.execute(statement.sql)
