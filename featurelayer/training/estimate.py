"""Estimate how much a build would read, as far as its engine can tell, without computing anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from featurelayer.errors import UnsupportedByDialect
from featurelayer.sql.compiler import compile_statement
from featurelayer.sql.plan import Plan
from featurelayer.training.resolved_request import ResolvedRequest, plan_request
from featurelayer.warehouse.base import Estimate, SupportsEstimate, Warehouse


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRelation:
    """A relation that a build would read: number of scans, columns read, rows and bytes.

    `kept` is the number of rows that the engine expects after the filters of the largest scan. None means unknown.
    """

    relation: str
    scans: int
    columns: tuple[str, ...]
    rows: int | None
    kept: int | None
    bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """The plan of a build. `views` are relations by the name that a view has in the set.

    `bytes` is the engine's total, which may differ from the sum. `how` explains the source of the numbers, or why there
    are none; `text` is the engine's own plan if it can't be broken down by relation.
    """

    title: str
    engine: str
    labels: str
    views: Mapping[str, str]
    relations: tuple[PlannedRelation, ...]
    bytes: int | None
    how: str
    text: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return asdict(self)


def plan_build(warehouse: Warehouse, request: ResolvedRequest) -> BuildPlan:
    """Estimate how much a build would read. The request is checked as in a build, except for the rows themselves.

    Raises:
        LabelError, PlanError: the request is impossible.
        WarehouseError: the engine refused to explain it.
    """
    plan = plan_request(warehouse, request)
    estimate = _estimate(warehouse, plan)
    return BuildPlan(
        title=plan.title,
        engine=warehouse.engine,
        labels=request.labels_name,
        views={join.name: join.relation for join in plan.joins},
        relations=_group_by_relation(estimate),
        bytes=estimate.bytes,
        how=estimate.how,
        text=estimate.text,
    )


def _estimate(warehouse: Warehouse, plan: Plan) -> Estimate:
    """Explain the set as one query: statements of a script can't be explained before their tables exist."""
    if not isinstance(warehouse, SupportsEstimate):
        return Estimate(how=f"{warehouse.dialect} can't be asked")
    try:
        return warehouse.estimate(compile_statement(plan, warehouse.dialect))
    except UnsupportedByDialect as error:
        return Estimate(how=error.summary)


def _group_by_relation(estimate: Estimate) -> tuple[PlannedRelation, ...]:
    found = []
    for relation in dict.fromkeys(scan.relation for scan in estimate.scans):
        scans = [scan for scan in estimate.scans if scan.relation == relation]
        found.append(
            PlannedRelation(
                relation=relation,
                scans=len(scans),
                columns=tuple(dict.fromkeys(column for scan in scans for column in scan.columns)),
                rows=_largest(scan.rows for scan in scans),
                kept=_largest(scan.kept for scan in scans),
                bytes=_sum(scan.bytes for scan in scans),
            )
        )
    return tuple(found)


def _largest(numbers: Iterable[int | None]) -> int | None:
    return max((number for number in numbers if number is not None), default=None)


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None
