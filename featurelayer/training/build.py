"""Build a training set from labels: plan, check, run the script in the warehouse, count the matches."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime

import msgspec

from featurelayer.callbacks import Progress
from featurelayer.errors import PlanError
from featurelayer.sql.compiler import compile_plan, compile_preamble
from featurelayer.sql.plan import Mode, Plan, Preamble
from featurelayer.training.definition import define_build, validate_same_definition
from featurelayer.training.lock import BuildRecord, take_record
from featurelayer.training.memory import working_memory
from featurelayer.training.modes import compare_modes
from featurelayer.training.report import (
    ALMOST_NOTHING,
    Report,
    ViewReport,
    count_view,
    explain_mismatch,
    feature_reports,
    validate_matched,
)
from featurelayer.training.resolved_request import ResolvedRequest, plan_request
from featurelayer.training.result import TrainingSet
from featurelayer.warehouse.base import SupportsCacheLimit, Warehouse
from featurelayer.warehouse.execute import run_checks, run_step

# From this share of kept rows on, filtering a view by the labels' keys costs more than it saves.
_NOT_WORTH_NARROWING = 0.5


def build_training_set(
    warehouse: Warehouse, request: ResolvedRequest, *, progress: Progress | None = None
) -> TrainingSet:
    """Join a service's features to labels, each as of its own time, and return the set, still in the warehouse.

    The set takes the connection over and closes it.

    Raises:
        LabelError: the labels can't be used; nothing was written.
        PlanError: the views can't be joined as annotated, or match less than `min_matched`; nothing was written.
        LockError: the set to append to has a different definition.
        WarehouseError: the engine failed.
    """
    started, built_at = datetime.now(UTC), warehouse.now()
    plan = plan_request(warehouse, request)
    definition = define_build(request, plan)
    if request.extends is not None:
        validate_same_definition(request.extends, definition)
    opening = compile_preamble(plan, warehouse.dialect)
    step_names = ["checks", "modes", opening.spine.name, *(join.name for join in plan.joins)]

    def tell(done: int) -> None:
        if progress is not None:
            progress(step_names[done], done, len(step_names))

    tell(0)
    run_checks(warehouse, opening.checks)
    modes = None
    if request.compare_modes:
        tell(1)
        modes = compare_modes(warehouse, _plan_modes(warehouse, request))
    tell(2)
    run_step(warehouse, opening.spine)
    (rows,) = warehouse.rows(opening.count.sql)[0]
    record = _take_record(warehouse, request, plan, built_at)
    shares = [warehouse.rows(reach.sql)[0][0] if reach is not None else None for reach in opening.reaches]
    script = compile_plan(_tune_joins(warehouse, plan, opening, shares), warehouse.dialect)
    least = request.min_matched or 0.0
    views: list[ViewReport] = []
    nulls: dict[str, int] = {}
    with _limit_memory(warehouse, plan, record, rows, shares):
        for done, step in enumerate(script.steps[1:], start=3):
            tell(done)
            run_step(warehouse, step)
            assert step.report is not None, "every view of a training set is counted"
            counts, values = count_view(warehouse, step.report, rows)
            there = record.views[counts.view].rows
            views.append(explain_mismatch(warehouse, step.report.join, counts, there, max(least, ALMOST_NOTHING)))
            nulls |= values
    validate_matched(views, least)
    report = Report(
        rows=rows,
        mode=str(request.mode),
        seconds=round((datetime.now(UTC) - started).total_seconds(), 3),
        views=tuple(views),
        features=tuple(feature_reports(plan, views, nulls, rows)),
        modes=modes,
    )
    return TrainingSet(
        warehouse=warehouse,
        script=script,
        report=report,
        service=request.service,
        provenance=request.provenance,
        labels=request.labels_name,
        record=record,
        definition=definition,
        given=request.given,
    )


def _plan_modes(warehouse: Warehouse, request: ResolvedRequest) -> dict[Mode, Plan | PlanError]:
    """Plan every mode, or return why it is impossible."""
    plans: dict[Mode, Plan | PlanError] = {}
    for mode in Mode:
        try:
            plans[mode] = plan_request(warehouse, replace(request, mode=mode))
        except PlanError as error:
            plans[mode] = error
    return plans


def _take_record(warehouse: Warehouse, request: ResolvedRequest, plan: Plan, built_at: datetime) -> BuildRecord:
    """Return the inputs of the build for its lock."""
    asked = msgspec.structs.replace(
        request.asked, label_timestamp=request.label_timestamp, keys=dict(request.keys), mode=str(request.mode)
    )
    return take_record(
        warehouse,
        plan,
        asked=asked,
        service=request.service,
        views=request.views,
        checksums=request.provenance.sql_checksums,
        built_at=built_at,
    )


def _tune_joins(warehouse: Warehouse, plan: Plan, opening: Preamble, shares: Sequence[float | None]) -> Plan:
    """Choose the fastest form of each join.

    The filter on the labels' keys is left out where it keeps most rows: it would cost a quarter of the match and save
    nothing.
    """
    joins = []
    for join, share, probe in zip(plan.joins, shares, opening.probes, strict=True):
        narrow = join.narrow if share is None else share < _NOT_WORTH_NARROWING
        looked_up = probe is not None and bool(warehouse.rows(probe.sql)[0][0])
        joins.append(replace(join, narrow=narrow, probe=looked_up))
    return replace(plan, joins=tuple(joins))


def _limit_memory(
    warehouse: Warehouse, plan: Plan, record: BuildRecord, labels: int, shares: Sequence[float | None]
) -> AbstractContextManager[None]:
    """Limit the cache of an engine in this process to the memory that the joins leave free."""
    rows = {name: view.rows for name, view in record.views.items()}
    known = [1.0 if share is None else share for share in shares]
    working = working_memory(plan, labels, rows, known) if isinstance(warehouse, SupportsCacheLimit) else None
    return (
        warehouse.limit_cache(working)
        if isinstance(warehouse, SupportsCacheLimit) and working is not None
        else nullcontext()
    )
