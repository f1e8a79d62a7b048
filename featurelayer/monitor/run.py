"""Composes a run of the monitors: views read, profiled and judged, the online store asked, the history kept."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from featurelayer.callbacks import Notify, ignore_notice
from featurelayer.dbt import Project
from featurelayer.dbt.artifacts import read_referable
from featurelayer.dbt.contract import validate_block
from featurelayer.dbt.monitors import AlertsBlock
from featurelayer.dbt.project import CONFIG_FILE
from featurelayer.dbt.source_freshness import FreshSource, read_sources
from featurelayer.errors import (
    ConfigError,
    FeatureLayerError,
    LockError,
    PlanError,
    Problem,
    RelationNotBuilt,
    WarehouseError,
)
from featurelayer.export import Tables
from featurelayer.model import Column, FeatureView
from featurelayer.monitor import (
    Coverage,
    History,
    HistoryTables,
    MonitorReport,
    OnlineFreshness,
    Settings,
    SnapshotRows,
    SourceFreshness,
    TrainingRows,
    ValueChanges,
    ViewHistory,
    build_context,
    cast_rows,
    evaluate_monitors,
    view_settings,
)
from featurelayer.monitor_records import MonitorResult, MonitorStatus, Profile
from featurelayer.online.status import StoreStatus
from featurelayer.sql.casts import check_types
from featurelayer.sql.dialects import dialect
from featurelayer.sql.plan import RESERVED
from featurelayer.sql.planner import match_column, plan_snapshot
from featurelayer.sql.profile import count_coverage, newest, snapshot_into_table
from featurelayer.sql.value_changes import value_changes
from featurelayer.training.lock import Lock, read_lock
from featurelayer.warehouse import Warehouse, schema_of
from featurelayer.warehouse.base import OpenWarehouse, from_item
from featurelayer.warehouse.execute import describe_views, run_checks, run_step

_SNAPSHOT = f"{RESERVED}snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorRequest:
    """What is to be watched: views, at which time (the warehouse's own by default), against which training set.

    `status` asks the online store at a time; without it online items are not looked at. `exports` are the tables that
    remember exports to it; without them it is not known whether exported values changed.
    """

    views: Sequence[FeatureView]
    at: datetime | None = None
    baseline: Path | None = None
    status: Callable[[datetime], StoreStatus] | None = None
    exports: Tables | None = None


def read_profiles(warehouse: Warehouse, project: Project, view: str | None) -> tuple[Profile, ...]:
    """Return the profiles in the warehouse, of one view by its id or of all."""
    return History(warehouse, _history_tables(project)).profiles(view)


def read_results(warehouse: Warehouse, project: Project, view: str | None) -> tuple[MonitorResult, ...]:
    """Return the results in the warehouse, of one view by its id or of all."""
    return History(warehouse, _history_tables(project)).results(view)


def run_monitors(
    project: Project, request: MonitorRequest, open_warehouse: OpenWarehouse, notify: Notify
) -> MonitorReport:
    """Return what the monitors say of the views. Nothing is written.

    Raises:
        PlanError: a view is not built or not what its annotations say, or can't be compared as asked; all reasons.
        LockError: the baseline's lock can't be used.
        WarehouseError: the engine failed.
    """
    said = project.config.monitors
    lock = str(request.baseline) if request.baseline is not None else None
    settings = {view.id: view_settings(view, said, lock) for view in request.views}
    wanted = [view for view in request.views if settings[view.id].enabled]
    sources = read_sources(project.target_path, [view.unique_id for view in wanted])
    with open_warehouse(writable=False) as warehouse:
        now = warehouse.now()
        at = now if request.at is None else request.at if request.at.tzinfo else request.at.replace(tzinfo=UTC)
        if at > now:
            what = f"the time {at.isoformat()} is in the future"
            raise PlanError([Problem(what=what, fix="monitor without --as-of")])
        columns = describe_views(warehouse, wanted)
        _validate_columns(wanted, columns)
        _validate_types(warehouse, wanted, columns, at)
        training = _read_training_rows(warehouse, project, wanted, settings)
        history = History(warehouse, _history_tables(project))
        online = _read_online_freshness(request, wanted, at, notify)
        run = secrets.token_hex(8)
        watched, profiles = [], []
        for view in wanted:
            with _open_snapshot(warehouse, project, view, columns[view.id], settings[view.id], at) as snapshot:
                around = ViewHistory(
                    earlier=history.profiles(view.id),
                    training=training.get(view.id),
                    sources=tuple(
                        _read_source_freshness(warehouse, source, at) for source in sources.get(view.unique_id, ())
                    ),
                    online=online.get(view.id),
                    snapshot=snapshot,
                    changes=_count_changes(warehouse, request.exports, view) if view.static and view.online else None,
                )
                found, seen = build_context(warehouse, view, columns[view.id], settings[view.id], at, around)
            watched.append(found)
            profiles += [replace(profile, run=run, profiled_at=now) for profile in seen]
        results = tuple(
            replace(result, run=run, checked_at=now) for each in watched for result in evaluate_monitors(each)
        )
    return MonitorReport(run=run, at=at, results=results, profiles=tuple(profiles), watched=tuple(watched))


def record_run(project: Project, report: MonitorReport, open_warehouse: OpenWarehouse) -> None:
    """Write what a run has seen and said into its tables."""
    with open_warehouse(writable=True) as warehouse:
        history = History(warehouse, _history_tables(project))
        history.create()
        history.add(report.profiles, report.results)


def read_alerts(project: Project) -> Mapping[str, Any]:
    """Return whom featurelayer.yml names to be told of what fails; empty if nobody.

    Raises:
        ConfigError: `alerts` is not what the contract says.
    """
    config = project.config
    if not config.alerts:
        return {}
    problems: list[Problem] = []
    file = config.path.name if config.path else CONFIG_FILE
    block = validate_block(
        AlertsBlock, dict(config.alerts), file=file, resource="", path="monitors.alerts", problems=problems
    )
    if problems or block is None:
        raise ConfigError(problems)
    return block.model_dump()


def validate_blocking_monitors(
    project: Project, views: Sequence[FeatureView], at: datetime | None, open_warehouse: OpenWarehouse
) -> None:
    """Raise PlanError with every monitor that fails of the views with `block_export`; what is online is not judged."""
    blocking = [view for view in views if view.block_export]
    if not blocking:
        return
    request = MonitorRequest(views=blocking, at=at)
    report = run_monitors(project, request, open_warehouse, ignore_notice)
    yamls = {view.id: view.yaml_path for view in blocking}
    fix = "mend the data or the threshold, or export with --ignore-monitors; nothing was written"
    problems = [
        Problem(
            what=f"{result.name} fails the monitor {result.monitor}: {result.meaning}",
            where=yamls[result.view],
            fix=fix,
        )
        for result in report.of(MonitorStatus.ERROR)
    ]
    if problems:
        raise PlanError(problems)


def _history_tables(project: Project) -> HistoryTables:
    return HistoryTables.from_schema(schema_of(project.connection))


def _validate_columns(views: Sequence[FeatureView], columns: Mapping[str, Sequence[Column]]) -> None:
    """A column that is declared and not built would be watched by nobody."""
    problems = []
    for view in views:
        needed = [*(key.column for key in view.join_keys), *(feature.name for feature in view.features)]
        needed += [view.event_time] if view.event_time and not view.static else []
        missing = [name for name in needed if match_column(name, columns[view.id]) is None]
        if missing:
            what = f"{view.id}: {view.relation_name} has no column {', '.join(missing)}"
            problems.append(Problem(what=what, where=view.yaml_path, fix=f"run `dbt build -s {view.name}`"))
    if problems:
        raise PlanError(problems)


def _validate_types(
    warehouse: Warehouse, views: Sequence[FeatureView], columns: Mapping[str, Sequence[Column]], at: datetime
) -> None:
    """What is watched are the values that are trained on and served: those of the declared types."""
    writer = dialect(warehouse.dialect)
    joins = (plan_snapshot(view, columns[view.id], as_of=at).joins[0] for view in views)
    run_checks(warehouse, [types for join in joins if (types := check_types(writer, join)) is not None])


def _read_source_freshness(warehouse: Warehouse, source: FreshSource, at: datetime) -> SourceFreshness:
    bare = SourceFreshness(name=source.name, freshness=source.freshness)
    if not source.loaded_at or not source.relation:
        return replace(bare, why_not=f"source {source.name} has limits and no loaded_at_field")
    try:
        (found,) = warehouse.rows(newest(warehouse.dialect, source.relation, source.loaded_at, at))[0]
    except WarehouseError as error:
        return replace(bare, why_not=f"source {source.name} can't be read: {error.summary}")
    if found is None:
        return replace(bare, why_not=f"source {source.name} has no rows")
    return replace(bare, newest=found.replace(tzinfo=UTC))


def _count_changes(warehouse: Warehouse, tables: Tables | None, view: FeatureView) -> ValueChanges | None:
    """What the exports that the warehouse remembers tell of changed values, if it remembers any."""
    if tables is None:
        return None
    try:
        warehouse.describe(tables.ledger)
    except RelationNotBuilt:
        return None
    keys, _, exports = warehouse.rows(value_changes(warehouse.dialect, tables.log(view.id)))[0]
    return ValueChanges(keys=int(keys), exports=int(exports))


def _read_online_freshness(
    request: MonitorRequest, views: Sequence[FeatureView], at: datetime, notify: Notify
) -> Mapping[str, OnlineFreshness]:
    """What the store serves of each online view; a store that can't be asked is a warning and no more."""
    online = [view.id for view in views if view.online and not view.static]
    if request.status is None or not online:
        return {}
    try:
        status = {each.view: each for each in request.status(at).views}
    except FeatureLayerError as error:
        reason = error.summary
        notify(f"the online store can't be asked: {reason}")
        return {view: OnlineFreshness(why_not=f"the online store can't be asked: {reason}") for view in online}
    return {
        view: OnlineFreshness(
            newest=status[view].source_time if view in status else None, why_not="it has not been exported"
        )
        for view in online
    }


@contextmanager
def _open_snapshot(
    warehouse: Warehouse,
    project: Project,
    view: FeatureView,
    columns: Sequence[Column],
    settings: Settings,
    at: datetime,
) -> Iterator[SnapshotRows | None]:
    """The view's snapshot as a temporary table, where it is served or its coverage is asked for."""
    wanted = settings.limits["coverage"].is_set
    if view.static:
        source, typed = cast_rows(warehouse, view, columns)
        found = _measure_coverage(warehouse, project, view, settings, source, None) if wanted else None
        yield SnapshotRows(source=source, columns=typed, coverage=found) if wanted else None
        return
    if not view.online and not wanted:
        yield None
        return
    script = snapshot_into_table(warehouse.dialect, plan_snapshot(view, columns, as_of=at), _SNAPSHOT)
    run_checks(warehouse, script.checks)
    try:
        for step in script.steps:
            run_step(warehouse, step)
        source = warehouse.quote(_SNAPSHOT)
        yield SnapshotRows(
            source=source,
            columns=warehouse.describe(_SNAPSHOT),
            coverage=_measure_coverage(warehouse, project, view, settings, source, at) if wanted else None,
        )
    finally:
        warehouse.drop([*script.temporary, _SNAPSHOT])


def _measure_coverage(
    warehouse: Warehouse, project: Project, view: FeatureView, settings: Settings, source: str, at: datetime | None
) -> Coverage:
    population, of = view.relation_name, f"{view.id} at any time"
    if settings.population is not None:
        models = read_referable(project.target_path)
        population = (models[settings.population].relation_name or "") if settings.population in models else ""
        of = settings.population
    try:
        columns = warehouse.describe(population) if population else ()
    except RelationNotBuilt:
        columns = ()
    keys = [
        (column.name, key.column)
        for key in view.join_keys
        if (column := match_column(key.column, columns) or match_column(key.key, columns)) is not None
    ]
    if len(keys) < len(view.join_keys):
        needed = ", ".join(key.column for key in view.join_keys)
        what = f"{view.id}: its population '{of}' is no built dbt model with the columns {needed}"
        raise PlanError([Problem(what=what, where=view.yaml_path, fix="correct `population`, or build it")])
    query = count_coverage(warehouse.dialect, warehouse.quote(population), source, keys, at=at, ttl=view.ttl)
    total, found = warehouse.rows(query)[0]
    return Coverage(population=int(total), covered=int(found), of=of)


def _read_training_rows(
    warehouse: Warehouse,
    project: Project,
    views: Sequence[FeatureView],
    settings: Mapping[str, Settings],
) -> Mapping[str, TrainingRows]:
    """The training sets that views are compared with, each read once."""
    found: dict[str, TrainingRows] = {}
    for path in sorted({settings[view.id].baseline.lock or "" for view in views} - {""}):
        lock = read_lock(project.root / path)
        rows = _training_file(lock)
        attached = warehouse.attach(rows)
        using = [view for view in views if settings[view.id].baseline.lock == path]
        columns = {view.id: _match_lock_columns(lock, view, attached.columns) for view in using}
        if not any(columns.values()):
            known = ", ".join(sorted({join.view for join in lock.joins}))
            what = f"{lock.name} has no feature of {', '.join(columns)}"
            raise LockError([Problem(what=what, fix=f"it has features of {known}; name those with -s")])
        source = from_item(warehouse, rows) if attached.order else attached.sql
        for view in using:
            found[view.id] = TrainingRows(name=lock.name, source=source, columns=columns[view.id])
    return found


def _training_file(lock: Lock) -> Path:
    """The file of a training set, which lies beside its lock."""
    path = lock.path.parent / lock.output.file if lock.path is not None and lock.output is not None else None
    if path is not None and path.exists() and path.suffix != ".csv":
        return path
    if path is not None and path.suffix == ".csv":
        what, fix = f"{path.name} of {lock.name} is a CSV file, which has no types", "write the training set as parquet"
    elif path is not None:
        what, fix = f"the training set {path.name} of {lock.name} is gone", "put it beside the lock again"
    else:
        what, fix = f"{lock.name} has no file beside it", "write the training set with --output PATH.parquet"
    raise LockError([Problem(what=what, where=str(lock.path or ""), fix=fix)])


def _match_lock_columns(lock: Lock, view: FeatureView, columns: Sequence[Column]) -> dict[str, Column]:
    """The columns of a view's features in the training set; of a view with several roles those of the first."""
    found: dict[str, Column] = {}
    for join in lock.joins:
        for name, column in join.columns.items() if join.view == view.id else ():
            attached = match_column(name, columns)
            if attached is not None:
                found.setdefault(column.feature, attached)
    return found
