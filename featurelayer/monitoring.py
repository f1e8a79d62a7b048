"""Composes a run of the monitors: views read, profiled and judged, the online store asked, the history kept."""

from __future__ import annotations

from featurelayer.dbt import Project
from featurelayer.monitor import History, HistoryTables
from featurelayer.observed import MonitorResult, Profile
from featurelayer.warehouse import Warehouse


def kept_profiles(warehouse: Warehouse, project: Project, view: str | None) -> tuple[Profile, ...]:
    """Return the profiles in the warehouse, of one view by its id or of all."""
    return History(warehouse, _tables(project)).profiles(view)


def kept_results(warehouse: Warehouse, project: Project, view: str | None) -> tuple[MonitorResult, ...]:
    """Return the results in the warehouse, of one view by its id or of all."""
    return History(warehouse, _tables(project)).results(view)


def _tables(project: Project) -> HistoryTables:
    return HistoryTables.of_schema(str(project.connection.get("schema") or "main"))
