"""Build the catalog: collect dbt's facts and the warehouse's, if it can be reached, and write the site."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TypeVar

from sqlglot import exp
from sqlglot.errors import SqlglotError

from featurelayer.callbacks import Notify
from featurelayer.catalog import (
    BuiltSite,
    CatalogInput,
    ExportRun,
    FeatureChange,
    FeatureLineage,
    Origin,
    SiteOptions,
    check_folder,
    write_site,
)
from featurelayer.catalog.pages import site_files
from featurelayer.dbt import Project
from featurelayer.dbt.artifacts import read_raw
from featurelayer.dbt.documentation import read_docs, read_source_descriptions, read_tests
from featurelayer.dbt.inventory import Inventory, Model
from featurelayer.dbt.lineage import trace
from featurelayer.diff.run import diff_projects
from featurelayer.errors import FeatureLayerError, RelationNotBuilt
from featurelayer.export import Ledger, LedgerRow, Tables
from featurelayer.lineage import ColumnKind, Lineage
from featurelayer.lint import lint
from featurelayer.model import FeatureView, Finding
from featurelayer.monitor.run import read_profiles, read_results
from featurelayer.monitor_records import MonitorResult, Profile
from featurelayer.registry import Registry
from featurelayer.sql.ast import col, with_alias
from featurelayer.sql.dialects import dialect
from featurelayer.warehouse import Warehouse
from featurelayer.warehouse.base import OpenWarehouse

_T = TypeVar("_T")
_PLACE = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+|(?<![\w.])/(?:[\w.@-]+/)+[\w.@-]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogRequest:
    """The inputs of a catalog, and its folder.

    `open_warehouse` connects to the warehouse, None to skip it; `tables` are those of its export ledger. Parts
    that can't be read are omitted with a warning to `notify`. `state` is the folder of an earlier manifest.
    """

    project: Project
    registry: Registry
    options: SiteOptions
    folder: Path
    open_warehouse: OpenWarehouse | None
    tables: Callable[[], Tables]
    notify: Notify
    state: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _WarehouseFacts:
    """The facts in the warehouse; `why` is the reason if it was not read."""

    newest: Mapping[str, datetime]
    exports: tuple[ExportRun, ...] = ()
    profiles: tuple[Profile, ...] = ()
    monitors: tuple[MonitorResult, ...] = ()
    why: str = ""


def build_catalog(request: CatalogRequest) -> BuiltSite:
    """Write the site.

    Raises:
        ConfigError: the folder has other files, or can't be written.
        ArtifactError: dbt's files can't be read.
    """
    check_folder(request.folder)
    return write_site(request.folder, site_files(collect(request), request.options))


def collect(request: CatalogRequest) -> CatalogInput:
    """Collect everything that the site shows."""
    project, registry = request.project, request.registry
    raw, path, _ = read_raw(project.target_path)
    inventory = Inventory(raw, path)
    views = list(registry.views.values())
    models = _collect_models(inventory, views)
    lineage = (
        _try_read(lambda: _trace_features(inventory, registry.adapter, views), "column lineage", request.notify) or {}
    )
    facts = _read_warehouse(request)
    absent = {part: facts.why for part in ("profiles", "monitors", "exports") if facts.why}
    return CatalogInput(
        registry=registry,
        models=models,
        docs=read_docs(raw, path),
        tests=tuple(read_tests(raw, path)),
        descriptions=read_source_descriptions(raw, path),
        lineage=lineage,
        findings=_try_read(lambda: _lint_findings(project), "checks", request.notify),
        profiles=facts.profiles,
        monitors=facts.monitors,
        exports=facts.exports,
        newest=facts.newest,
        changes=None if request.state is None else _diff_changes(project, request.state),
        absent=absent,
    )


def collect_view(project: Project, registry: Registry, view: FeatureView) -> CatalogInput:
    """Collect what dbt's files contain about one view and its upstream models: less than `collect`, for `show`."""
    raw, path, _ = read_raw(project.target_path)
    inventory = Inventory(raw, path)
    return CatalogInput(
        registry=registry,
        models=_collect_models(inventory, [view]),
        tests=tuple(test for test in read_tests(raw, path) if test.model == view.unique_id),
        lineage=_trace_features(inventory, registry.adapter, [view]),
    )


def _collect_models(inventory: Inventory, views: Iterable[FeatureView]) -> dict[str, Model]:
    """Collect the views' models and everything upstream of them, by unique id."""
    models: dict[str, Model] = {}
    queue = [view.unique_id for view in views]
    for unique_id in queue:  # grows while it is walked
        model = None if unique_id in models else inventory.model(unique_id)
        if model is not None:
            models[unique_id] = model
            queue += model.depends_on
    return models


def _lint_findings(project: Project) -> tuple[Finding, ...]:
    return lint(project).findings


def _diff_changes(project: Project, state: Path) -> tuple[FeatureChange, ...]:
    """Return the changes per feature, and per service under its own name."""
    return tuple(
        FeatureChange(
            kind=str(change.kind).replace("_", " "),
            view=change.view or change.service,
            feature=feature,
            message=" ".join(filter(None, (*change.details, change.fix))),
            breaking=change.breaking,
        )
        for change in diff_projects(project, state).changes
        for feature in change.features or ("",)
    )


def _trace_features(inventory: Inventory, adapter: str, views: Sequence[FeatureView]) -> dict[str, FeatureLineage]:
    """Return the lineage of each feature by `view.feature`."""
    lineage = trace(inventory, adapter=adapter, unique_ids=[view.unique_id for view in views])
    return {
        f"{view.id}.{feature.name}": described
        for view in views
        for feature in view.features
        if (described := _feature_lineage(lineage, inventory, view, feature.name)) is not None
    }


def _feature_lineage(lineage: Lineage, inventory: Inventory, view: FeatureView, feature: str) -> FeatureLineage | None:
    column = lineage.column(view.unique_id, feature)
    if column is None:
        problem = lineage.problems.get(view.unique_id, "")
        return FeatureLineage(note=f"The SQL could not be followed: {problem}") if problem else None
    way = [step for step in lineage.upstream(view.unique_id, feature) if step.unique_id != view.unique_id]
    steps = {(step.unique_id, step.column.casefold()) for step in way}
    origins = [
        Origin(relation=_relation_name(inventory, source.unique_id, source.relation), column=source.column)
        for source in sorted(lineage.ancestors(view.unique_id, feature))
        if (source.unique_id, source.column.casefold()) not in steps
    ]
    through = tuple(dict.fromkeys(_relation_name(inventory, step.unique_id, "") for step in reversed(way)))
    return FeatureLineage(
        expression="" if column.kind is ColumnKind.PASSTHROUGH else column.sql,
        origins=tuple(origins),
        through=through,
        # Columns passed on unchanged share a computation by intention; they are not repetitions.
        fingerprint=column.fingerprint,
    )


def _relation_name(inventory: Inventory, unique_id: str, relation: str) -> str:
    model = inventory.model(unique_id) if unique_id else None
    return model.id if model else relation or unique_id


def _read_warehouse(request: CatalogRequest) -> _WarehouseFacts:
    """Read the facts in the warehouse, each independently of the others."""
    if request.open_warehouse is None:
        return _WarehouseFacts(newest={}, why="The warehouse was not read.")
    project, notify = request.project, request.notify
    with ExitStack() as stack:
        try:
            warehouse = stack.enter_context(request.open_warehouse(writable=False))
        except FeatureLayerError as error:
            notify(f"the catalog has no data of the warehouse, which can't be reached: {error.summary}")
            return _WarehouseFacts(newest={}, why="The warehouse could not be reached when this catalog was built.")
        return _WarehouseFacts(
            newest=_read_newest(warehouse, request.registry),
            exports=_try_read(lambda: _read_exports(warehouse, request.tables(), project.root), "exports", notify)
            or (),
            profiles=_try_read(lambda: read_profiles(warehouse, project, None), "profiles", notify) or (),
            monitors=tuple(
                replace(result, meaning=redact_locations(result.meaning, project.root), baseline="")
                for result in _try_read(lambda: read_results(warehouse, project, None), "monitors", notify) or ()
            ),
        )


def redact_locations(text: str, root: Path) -> str:
    """Remove addresses, which may hold credentials, and paths of this machine from a message to publish."""
    return _PLACE.sub("(left out)", text.replace(f"{root}{os.sep}", ""))


def _try_read(read: Callable[[], _T], what: str, notify: Notify) -> _T | None:
    """Read a part; on failure warn and return None."""
    try:
        return read()
    except FeatureLayerError as error:
        notify(f"the catalog has no {what}: {error.summary}")
        return None


def _read_newest(warehouse: Warehouse, registry: Registry) -> dict[str, datetime]:
    """Read the event time of each view's newest row; views that can't be read are omitted."""
    writer, newest_times = dialect(warehouse.dialect), {}
    for view in registry.views.values():
        if view.event_time is None:
            continue
        try:
            relation = exp.to_table(view.relation_name, dialect=writer.name)
            query = exp.select(with_alias(exp.Max(this=col(view.event_time)), "newest")).from_(relation)
            ((value,),) = warehouse.rows(writer.sql(query))
        except (FeatureLayerError, SqlglotError):
            continue
        if isinstance(value, datetime):
            newest_times[view.id] = value if value.tzinfo else value.replace(tzinfo=UTC)
        elif isinstance(value, date):
            newest_times[view.id] = datetime.combine(value, time(), UTC)
    return newest_times


def _read_exports(warehouse: Warehouse, tables: Tables, root: Path) -> tuple[ExportRun, ...]:
    try:
        rows = Ledger(warehouse, tables).all_rows()
    except RelationNotBuilt:
        return ()
    return tuple(_export_run(replace(row, store=redact_locations(row.store, root))) for row in rows)


def _export_run(row: LedgerRow) -> ExportRun:
    return ExportRun(
        view=row.view,
        run=row.run,
        store=row.store,
        as_of=row.as_of,
        started_at=row.started_at,
        finished_at=row.finished_at,
        entities=row.entities,
        written=row.written,
        unchanged=row.unchanged,
        removed=row.tombstones,
    )
