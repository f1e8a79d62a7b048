"""Run the monitors: profile the views, query the online store, evaluate, and record the history."""

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
    did_you_mean,
)
from featurelayer.export import Tables
from featurelayer.model import Column, FeatureView
from featurelayer.monitor.context import Coverage, OnlineFreshness, SourceFreshness, ValueChanges
from featurelayer.monitor.context_builder import SnapshotRows, TrainingRows, ViewHistory, build_context, cast_rows
from featurelayer.monitor.evaluate import evaluate_monitors
from featurelayer.monitor.history import History, HistoryTables
from featurelayer.monitor.result import MonitorReport
from featurelayer.monitor.settings import Settings, view_settings
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
    """The views to monitor, the time (the warehouse's own by default) and the training set to compare with.

    `status` reads the status of the online store at a time; without it online freshness is not evaluated. `exports` are
    the tables of the export ledger; without them changes of exported values are unknown.
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
    """Run the monitors of some views. Nothing is written.

    Raises:
        PlanError: a view is not built, differs from its annotations or can't be compared; lists every reason.
        LockError: the baseline's lock can't be used.
        WarehouseError: the engine failed.
    """
    defaults = project.config.monitors
    lock = str(request.baseline) if request.baseline is not None else None
    settings = {view.id: view_settings(view, defaults, lock) for view in request.views}
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
        contexts, profiles = [], []
        for view in wanted:
            with _open_snapshot(warehouse, project, view, columns[view.id], settings[view.id], at) as snapshot:
                facts = ViewHistory(
                    earlier=history.profiles(view.id),
                    training=training.get(view.id),
                    sources=tuple(
                        _read_source_freshness(warehouse, source, at) for source in sources.get(view.unique_id, ())
                    ),
                    online=online.get(view.id),
                    snapshot=snapshot,
                    changes=_count_changes(warehouse, request.exports, view) if view.static and view.online else None,
                )
                context, measured = build_context(warehouse, view, columns[view.id], settings[view.id], at, facts)
            contexts.append(context)
            profiles += [replace(profile, run=run, profiled_at=now) for profile in measured]
        results = tuple(
            replace(result, run=run, checked_at=now) for each in contexts for result in evaluate_monitors(each)
        )
    return MonitorReport(run=run, at=at, results=results, profiles=tuple(profiles), contexts=tuple(contexts))


def record_run(project: Project, report: MonitorReport, open_warehouse: OpenWarehouse) -> None:
    """Record the profiles and results of a run in the warehouse."""
    with open_warehouse(writable=True) as warehouse:
        history = History(warehouse, _history_tables(project))
        history.create()
        history.add(report.profiles, report.results)


def read_alerts(project: Project) -> Mapping[str, Any]:
    """Return `alerts` of featurelayer.yml; empty if there are none.

    Raises:
        ConfigError: `alerts` does not follow the contract.
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
    """Raise PlanError if a monitor fails for a view with `block_export`; online freshness is not evaluated."""
    blocking = [view for view in views if view.block_export]
    if not blocking:
        return
    request = MonitorRequest(views=blocking, at=at)
    report = run_monitors(project, request, open_warehouse, ignore_notice)
    yamls = {view.id: view.yaml_path for view in blocking}
    fix = "correct the data or the threshold, or export with --ignore-monitors; nothing was written"
    problems = [
        Problem(
            what=f"{result.name} fails the monitor {result.monitor}: {result.meaning}",
            where=yamls[result.view],
            fix=fix,
        )
        for result in report.with_status(MonitorStatus.ERROR)
    ]
    if problems:
        raise PlanError(problems)


def _history_tables(project: Project) -> HistoryTables:
    return HistoryTables.from_schema(schema_of(project.connection))


def _validate_columns(views: Sequence[FeatureView], columns: Mapping[str, Sequence[Column]]) -> None:
    """Raise PlanError for every declared column that the relation lacks."""
    problems = []
    for view in views:
        needed = [*(key.column for key in view.join_keys), *(feature.name for feature in view.features)]
        needed += [view.event_time] if view.event_time and not view.static else []
        missing = [name for name in needed if match_column(name, columns[view.id]) is None]
        if missing:
            existing = [column.name for column in columns[view.id]]
            names = ", ".join(f"{name}{did_you_mean(name, existing)}" for name in missing)
            what = f"{view.id}: {view.relation_name} has no column {names}"
            problems.append(Problem(what=what, where=view.yaml_path, fix=f"run `dbt build -s {view.name}`"))
    if problems:
        raise PlanError(problems)


def _validate_types(
    warehouse: Warehouse, views: Sequence[FeatureView], columns: Mapping[str, Sequence[Column]], at: datetime
) -> None:
    """Check that values fit the declared types, which training and serving cast them to."""
    writer = dialect(warehouse.dialect)
    joins = (plan_snapshot(view, columns[view.id], as_of=at).joins[0] for view in views)
    run_checks(warehouse, [types for join in joins if (types := check_types(writer, join)) is not None])


def _read_source_freshness(warehouse: Warehouse, source: FreshSource, at: datetime) -> SourceFreshness:
    bare = SourceFreshness(name=source.name, freshness=source.freshness)
    if not source.loaded_at or not source.relation:
        return replace(bare, why_not=f"source {source.name} has freshness limits but no loaded_at_field")
    try:
        (found,) = warehouse.rows(newest(warehouse.dialect, source.relation, source.loaded_at, at))[0]
    except WarehouseError as error:
        return replace(bare, why_not=f"source {source.name} can't be read: {error.summary}")
    if found is None:
        return replace(bare, why_not=f"source {source.name} has no rows")
    return replace(bare, newest=found.replace(tzinfo=UTC))


def _count_changes(warehouse: Warehouse, tables: Tables | None, view: FeatureView) -> ValueChanges | None:
    """Count the keys whose values changed between recorded exports; None without a ledger."""
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
    """Read what the store serves of each online view; a store that can't be read is only a warning."""
    online = [view.id for view in views if view.online and not view.static]
    if request.status is None or not online:
        return {}
    try:
        status = {each.view: each for each in request.status(at).views}
    except FeatureLayerError as error:
        reason = error.summary
        notify(f"the online store can't be read: {reason}")
        return {view: OnlineFreshness(why_not=f"the online store can't be read: {reason}") for view in online}
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
    """Build the view's snapshot as a temporary table, if it is online or its coverage has a limit."""
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
        what = f"{view.id}: its population '{of}' is not a built dbt model with the columns {needed}"
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
    """Read the training sets that views are compared with, each once."""
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
    """Return the file of a training set, which is next to its lock."""
    path = lock.path.parent / lock.output.file if lock.path is not None and lock.output is not None else None
    if path is not None and path.exists() and path.suffix != ".csv":
        return path
    if path is not None and path.suffix == ".csv":
        what, fix = f"{path.name} of {lock.name} is a CSV file without types", "write the training set as parquet"
    elif path is not None:
        what, fix = f"the training set {path.name} of {lock.name} does not exist", "put it next to the lock"
    else:
        what, fix = f"{lock.name} has no file next to it", "write the training set with --output PATH.parquet"
    raise LockError([Problem(what=what, where=str(lock.path or ""), fix=fix)])


def _match_lock_columns(lock: Lock, view: FeatureView, columns: Sequence[Column]) -> dict[str, Column]:
    """Return the columns of a view's features in the training set, for its first role."""
    found: dict[str, Column] = {}
    for join in lock.joins:
        for name, column in join.columns.items() if join.view == view.id else ():
            attached = match_column(name, columns)
            if attached is not None:
                found.setdefault(column.feature, attached)
    return found
