"""Rebuild a training set from its lock and compare it column by column, with the reasons of every difference.

The joins are those of the lock, the definitions those of today, each with its times as further columns, which tell when
a label's current row arrived. Joins that are no longer possible are left out and reported; the rest is compared.
Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from featurelayer.callbacks import Progress
from featurelayer.errors import LabelError, PlanError, Problem
from featurelayer.model import DType, FeatureService
from featurelayer.registry import Registry
from featurelayer.sql.compiler import compile_preamble
from featurelayer.sql.plan import Mode
from featurelayer.sql.table_stats import late_rows
from featurelayer.training.build import build_training_set
from featurelayer.training.differences import ChangedJoin, ColumnTally, OldOutput, count_differences, find_old_output
from featurelayer.training.labels import attach_labels, find_locked_labels, keep_original_labels, normalize_labels
from featurelayer.training.lock import Lock, LockedJoin, read_lock
from featurelayer.training.lock_parts import merge_reproductions, split_labels, split_lock
from featurelayer.training.mismatch_reasons import (
    Cause,
    ColumnDifference,
    JoinDifference,
    JoinEvidence,
    Reason,
    Reproduction,
    definition_changes,
    find_reasons,
)
from featurelayer.training.reproducibility import (
    ReproducibleJoin,
    find_reproducible_joins,
    find_request_changes,
    make_request,
)
from featurelayer.training.resolved_request import (
    FindLedger,
    ResolvedRequest,
    parse_mode,
    plan_request,
    read_provenance,
)
from featurelayer.training.result import TrainingSet
from featurelayer.warehouse.base import Warehouse
from featurelayer.warehouse.execute import run_checks
from featurelayer.workspace import Workspace


def reproduce(
    workspace: Workspace,
    find_ledger: FindLedger,
    lock: str | Path | Mapping[str, Any],
    labels: Any = None,
    *,
    progress: Progress | None = None,
) -> Reproduction:
    """Rebuild a training set from its lock and report any difference.

    Raises:
        LockError: it is not a lock, was edited, or is of another version.
        LabelError: the labels no longer exist, or differ from those of the lock.
        WarehouseError: the engine failed.
    """
    locked = read_lock(lock)
    parts = split_lock(locked)
    given = (
        [normalize_labels(find_locked_labels(part, workspace.project.root)) for part in parts]
        if labels is None
        else split_labels(locked, normalize_labels(labels))
    )
    reproductions = []
    for part, rows in zip(parts, given, strict=True):
        with workspace.open_warehouse() as warehouse:
            base = _resolve_locked(workspace, find_ledger, warehouse, part, rows)
            reproductions.append(_reproduce_part(warehouse, part, workspace.registry, base, progress=progress))
    return merge_reproductions(locked, parts, reproductions)


def _resolve_locked(
    workspace: Workspace, find_ledger: FindLedger, warehouse: Warehouse, lock: Lock, labels: Path | str | pa.Table
) -> ResolvedRequest:
    """Return the request of a lock with its labels, but without service and views."""
    asked, registry = lock.request, workspace.registry
    nothing = FeatureService(name="", views=(), request_keys=())
    views = {name: registry.views[name] for name in lock.views if name in registry.views}
    source, name = attach_labels(
        warehouse,
        labels,
        target_path=workspace.project.target_path,
        keys={asked.keys.get(key, key): DType.parse(dtype) for key, dtype in lock.service.request_keys.items()},
        time=lock.labels.timestamp,
        csv_types=asked.csv_types,
    )
    mode = parse_mode(asked.mode)
    return ResolvedRequest(
        service=nothing,
        views={},
        labels=source,
        labels_name=name,
        given=keep_original_labels(labels, labels),
        provenance=read_provenance(workspace.project, registry, nothing, views),
        label_timestamp=lock.labels.timestamp,
        keys=asked.keys,
        mode=mode,
        ledger=find_ledger(warehouse) if mode is Mode.AS_SERVED else None,
    )


def _reproduce_part(
    warehouse: Warehouse, lock: Lock, registry: Registry, base: ResolvedRequest, *, progress: Progress | None = None
) -> Reproduction:
    """Rebuild a training set, or one part of it, and compare it with its lock.

    `base` is the request with the labels, but without service and views: those follow from the lock.

    Raises:
        LabelError: the labels are not those of the lock.
        WarehouseError: the engine failed.
    """
    joins, request = _keep_joinable(warehouse, find_reproducible_joins(warehouse, lock, registry, base), lock, base)
    with build_training_set(warehouse, request, progress=progress) as rebuilt:
        now = read_lock(rebuilt.lock)
        _validate_labels(lock, now)
        changed = {
            join.locked.name: tuple(
                name
                for name in join.locked.columns
                if name not in join.lost and now.columns.get(name) != lock.columns[name]
            )
            for join in joins
        }
        compared = _compare(warehouse, rebuilt, lock, [join for join in joins if changed[join.locked.name]], changed)
        differences: list[ColumnDifference] = []
        explained: list[JoinDifference] = []
        for join in joins:
            found = tuple(_differences(join, changed[join.locked.name], compared))
            if found:
                reasons = _find_join_reasons(
                    warehouse, join, lock, now, compared, changed=bool(changed[join.locked.name])
                )
                explained.append(JoinDifference(name=join.locked.name, view=join.locked.view, reasons=reasons))
            differences += found
    return Reproduction(
        lock=lock.name,
        rows=lock.labels.rows,
        columns=len(lock.columns),
        differences=tuple(differences),
        joins=tuple(explained),
        reasons=tuple(find_request_changes(lock, registry)),
        notes=tuple(_harmless_changes(joins, lock, now, {join.name for join in explained})),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """The comparison of the rows. `unknown` is the reason why there were no old rows to compare with."""

    columns: Mapping[str, ColumnTally]
    watched: Mapping[str, ChangedJoin]
    unknown: str


def _keep_joinable(
    warehouse: Warehouse, joins: Sequence[ReproducibleJoin], lock: Lock, base: ResolvedRequest
) -> tuple[list[ReproducibleJoin], ResolvedRequest]:
    """Plan every join separately; drop those that fail, with the planner's reasons."""
    checked = []
    for join in joins:
        cause = Cause.GONE if base.mode is Mode.AS_SERVED and base.ledger is None else Cause.DEFINITION
        try:
            if join.view is not None:
                plan = plan_request(warehouse, make_request([join], lock, base))
                cause = Cause.IN_PLACE
                run_checks(warehouse, compile_preamble(plan, warehouse.dialect).checks)
            checked.append(join)
        except PlanError as error:
            reasons = tuple(Reason(cause=cause, evidence=problem.what) for problem in error.problems)
            checked.append(join.drop_all_columns(reasons))
    left = [join for join in checked if join.view is not None]
    if not left:
        # Only the labels are compared; they are the same in every mode and at any time.
        base, lock = replace(base, mode=Mode.KNOWN_AT, label_timestamp=None), lock.drop_time()
    return checked, make_request(left, lock, base)


def _validate_labels(lock: Lock, now: Lock) -> None:
    """Reject labels that differ from those of the lock: their results could not be compared."""
    problems = []
    if now.labels.rows != lock.labels.rows:
        problems.append(f"{lock.labels.rows:,} rows at the build, {now.labels.rows:,} now")
    then, there = lock.labels.columns, now.labels.columns
    missing, added = [name for name in then if name not in there], [name for name in there if name not in then]
    problems += [f"there is no column '{name}' any more" for name in missing]
    problems += [f"column '{name}' is new" for name in added]
    if not missing and not added and then != there:
        problems.append(f"the columns were in the order {', '.join(then)}, now {', '.join(there)}")
    if now.labels.rows == lock.labels.rows:
        other = [name for name in then if name in there and now.columns[name] != lock.columns[name]]
        if other:
            problems.append(f"other values, or another order of rows, in {', '.join(other)}")
    if problems:
        what = f"the labels {now.labels.source} are not those of {lock.name}: {'; '.join(problems)}"
        raise LabelError([Problem(what=what, fix="pass the labels of that build with --labels")])


def _compare(
    warehouse: Warehouse,
    rebuilt: TrainingSet,
    lock: Lock,
    joins: Sequence[ReproducibleJoin],
    changed: Mapping[str, tuple[str, ...]],
) -> _Comparison:
    """Compare the rebuilt rows with the old ones, if those still exist."""
    if not joins:
        return _Comparison(columns={}, watched={}, unknown="")
    old = find_old_output(lock)
    if (
        isinstance(old, OldOutput)
        and old.is_text
        and len({n.casefold() for n in rebuilt.columns}) < len(rebuilt.columns)
    ):
        old = f"{old.path.name} has columns that differ in case alone"
    ids = _find_tied_labels(warehouse, rebuilt)
    watched = {
        join.locked.name: ChangedJoin(
            name=join.locked.name,
            columns=changed[join.locked.name],
            present=join.present,
            arrivals=tuple(join.arrivals),
            tied=ids.get(join.locked.name, pa.array([], pa.int64())),
        )
        for join in joins
    }
    names = [name for join in watched.values() for name in join.columns]
    query = rebuilt.script.query.sql
    if isinstance(old, OldOutput) and old.is_text:
        query = warehouse.as_text(query, names)
    source = old.batches(names) if isinstance(old, OldOutput) else nullcontext(None)
    with source as before, warehouse.arrow(query) as reader:
        batches = (pa.RecordBatch.from_arrays(batch.columns, names=list(rebuilt.columns)) for batch in reader)
        columns = count_differences(before, batches, tuple(watched.values()), lock.built_at)
    return _Comparison(columns=columns, watched=watched, unknown="" if isinstance(old, OldOutput) else old)


def _find_tied_labels(warehouse: Warehouse, rebuilt: TrainingSet) -> dict[str, pa.Int64Array]:
    """Return, by join, the ids of labels whose row was chosen by its content only."""
    tied = {}
    for step in rebuilt.script.steps:
        if step.report is not None and step.report.tied is not None:
            ids = warehouse.arrow(step.report.tied.sql).read_all().column(0).cast(pa.int64())
            tied[step.report.join.name] = pa.concat_arrays([*ids.chunks, pa.array([], pa.int64())])
    return tied


def _differences(join: ReproducibleJoin, changed: Sequence[str], compared: _Comparison) -> Iterator[ColumnDifference]:
    for name in join.locked.columns:
        if name in join.lost:
            yield ColumnDifference(name=name, join=join.locked.name, rows=None, unknown="it can't be made again")
        elif name in changed:
            tally = compared.columns.get(name)
            yield ColumnDifference(
                name=name,
                join=join.locked.name,
                rows=tally.rows if tally else None,
                examples=tuple(tally.examples) if tally else (),
                unknown=compared.unknown,
            )


def _find_join_reasons(
    warehouse: Warehouse, join: ReproducibleJoin, lock: Lock, now: Lock, compared: _Comparison, *, changed: bool
) -> tuple[Reason, ...]:
    """Return the reasons why columns are lost or differ, including a change of the software."""
    all_reasons = list(dict.fromkeys(reason for reasons in join.lost.values() for reason in reasons))
    if changed:
        watched = compared.watched[join.locked.name]
        all_reasons += find_reasons(
            JoinEvidence(
                join=join.locked,
                rebuilt=_find_join(now.joins, join.locked.name),
                then=lock.views[join.locked.view],
                now=now.views[join.locked.view],
                before=_find_view_report(lock, join.locked.name),
                after=_find_view_report(now, join.locked.name),
                tally=watched.tally,
                are_known=not compared.unknown,
                built_at=lock.built_at,
                late=_count_late(warehouse, join, lock),
                arrivals=tuple(join.arrivals.values()),
            ),
            tuple(_software_changes(lock, now)),
        )
    return tuple(dict.fromkeys(all_reasons))


def _count_late(warehouse: Warehouse, join: ReproducibleJoin, lock: Lock) -> int | None:
    """Count the rows of the view that arrived after the build with an event time that a label could see."""
    if join.view is None or join.event is None or not join.clocks or lock.labels.newest is None:
        return None
    query = late_rows(
        warehouse.dialect,
        join.view.relation_name,
        join.event,
        join.clocks,
        since=lock.built_at,
        last=lock.labels.newest,
    )
    return int(warehouse.rows(query)[0][0])


def _software_changes(lock: Lock, now: Lock) -> Iterator[Reason]:
    if now.engine != lock.engine:
        yield Reason(cause=Cause.ENGINE, evidence=f"it was {lock.engine}, is {now.engine}")
    if now.featurelayer_version != lock.featurelayer_version:
        evidence = f"it was {lock.featurelayer_version}, is {now.featurelayer_version}"
        yield Reason(cause=Cause.VERSION, evidence=evidence)


def _harmless_changes(joins: Sequence[ReproducibleJoin], lock: Lock, now: Lock, explained: set[str]) -> Iterator[str]:
    """Describe changes that made no difference."""
    for join in joins:
        name = join.locked.name
        if name not in explained and join.locked.view in now.views:
            rebuilt = _find_join(now.joins, name)
            for change in definition_changes(
                join.locked, rebuilt, lock.views[join.locked.view], now.views[join.locked.view]
            ):
                yield f"{name}: {change}"
    if not explained:
        yield from map(str, _software_changes(lock, now))


def _find_join(joins: Sequence[LockedJoin], name: str) -> LockedJoin:
    return next(join for join in joins if join.name == name)


def _find_view_report(lock: Lock, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(view for view in lock.report["views"] if view["name"] == name)
    return found
