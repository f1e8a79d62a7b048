"""FeatureLayer: one dbt project and everything that can be done with its features, for Python and the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from featurelayer.dbt import Project, load_project, load_registry
from featurelayer.errors import (
    ConfigError,
    LabelError,
    PlanError,
    Problem,
    RelationNotBuilt,
    UnknownNameError,
    WarehouseError,
    did_you_mean,
)
from featurelayer.model import Column, FeatureService, FeatureView
from featurelayer.online import FeatureClient, OnlineStore, open_store, service_definition
from featurelayer.online.provision import Provisioned
from featurelayer.online.settings import KEEP, exports_kept, opened, store_name, store_url
from featurelayer.registry import Registry
from featurelayer.sql.compiler import compile_plan
from featurelayer.sql.plan import Ledger, Mode
from featurelayer.training import (
    Progress,
    Provenance,
    Request,
    TrainingSet,
    build_training_set,
    plan_request,
)
from featurelayer.training.explain import Explanation, explain_row
from featurelayer.training.labels import as_labels, labels_name, locked_labels, recorded_path
from featurelayer.training.lock import LockedRequest, read_lock
from featurelayer.warehouse import Warehouse, connect
from featurelayer.warehouse.base import Source

if TYPE_CHECKING:
    import pyarrow as pa

    from featurelayer.dbt_model import DbtModel
    from featurelayer.export import Drained, Forgotten, LedgerRow, Tables
    from featurelayer.export import Progress as ExportProgress
    from featurelayer.exporting import ExportPlan, ExportReport, ExportRequest, Opener, Target
    from featurelayer.online.provision import Creation
    from featurelayer.online.status import StoreStatus
    from featurelayer.online.tables import TableSettings
    from featurelayer.training.reasons import Reproduction


class FeatureLayer:
    """The features of one dbt project: `FeatureLayer("dbt_project", target="dev")`.

    Args:
        project_dir: the folder of dbt_project.yml; the working directory or one above it by default.
        profiles_dir: the folder of profiles.yml, found as dbt finds it by default.
        profile: a profile other than the project's.
        target: the target of the profile.
        target_path: where dbt writes its artifacts.
        vars: dbt variables for rendering, a mapping or YAML text.
        warn: told of what is doubtful but usable, such as a stale manifest.
    """

    def __init__(
        self,
        project_dir: str | Path | None = None,
        *,
        profiles_dir: str | Path | None = None,
        profile: str | None = None,
        target: str | None = None,
        target_path: str | Path | None = None,
        vars: Mapping[str, Any] | str | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self.project: Project = load_project(
            project_dir, profiles_dir=profiles_dir, profile=profile, target=target, target_path=target_path, vars=vars
        )
        self._warn = warn

    @classmethod
    def of_project(cls, project: Project, *, warn: Callable[[str], None] | None = None) -> FeatureLayer:
        """Return the layer of a project that is already loaded."""
        layer = cls.__new__(cls)
        layer.project, layer._warn = project, warn
        return layer

    @cached_property
    def registry(self) -> Registry:
        """Every entity, view and service of the project, read once from dbt's manifest."""
        return load_registry(self.project, warn=self._warn)

    # --- training sets -------------------------------------------------------------------------------------------

    def build_training_set(
        self,
        service: str | None = None,
        labels: Any = None,
        *,
        features: Sequence[str] = (),
        label_timestamp: str | None = None,
        keys: Mapping[str, str] | None = None,
        mode: str = "known_at",
        compare_modes: bool = False,
        csv_types: bool = False,
        writable: bool = False,
        progress: Progress | None = None,
    ) -> TrainingSet:
        """Join features to labels, each as of the label's own time; see `featurelayer.sql.planner` for what that means.

        Args:
            service: a feature service of the project; or say `features`.
            labels: a pandas, polars or Arrow table, the path of a parquet or CSV file, or the name of a dbt model or
                relation of the warehouse; by default the dbt model that the service names.
            features: `view.feature` or `view.*`, instead of a service.
            label_timestamp: the label column with the time, if not the one the service names.
            keys: label column by request key, where they differ.
            mode: `known_at` (the contract); `as_served`, what the newest export that had finished by then had seen; or
                `event_time`, to measure what ignoring available times would give.
            compare_modes: also build the other modes and report, per feature, the share of cells that differ.
            csv_types: let the engine guess the types of a CSV's other columns instead of leaving them text.
            writable: open the warehouse for writing, as `to_table` needs.
            progress: called before each step with its name, its number and the number of steps.

        Returns:
            The set, still in the warehouse: `to_arrow()`, `to_pandas()`, `to_polars()`, `to_parquet(path)`,
            `to_csv(path)`, `to_table(name)`, `.report`, `.lock`, `.sql`.

        Raises:
            UnknownNameError: no such service or feature.
            LabelError, PlanError: the request is impossible; the message lists every reason.
            WarehouseError: the engine failed.
        """
        warehouse = self._connect(writable=writable)
        try:
            request = self._request(
                warehouse,
                service,
                labels,
                features,
                label_timestamp=label_timestamp,
                keys=keys,
                mode=mode,
                csv_types=csv_types,
            )
            if compare_modes:
                request = replace(request, compare_modes=True, ledger=self._known_ledger(warehouse))
            return build_training_set(warehouse, request, progress=progress)
        except BaseException:
            warehouse.close()
            raise

    def training_set_sql(
        self,
        service: str | None = None,
        labels: Any = None,
        *,
        features: Sequence[str] = (),
        label_timestamp: str | None = None,
        keys: Mapping[str, str] | None = None,
        mode: str = "known_at",
        csv_types: bool = False,
    ) -> str:
        """Return the SQL of `build_training_set` without running it; arguments and errors are the same.

        A build may leave out the cut to the labels' keys where a sample of the view says that it keeps most rows.
        """
        with closing(self._connect()) as warehouse:
            request = self._request(
                warehouse,
                service,
                labels,
                features,
                label_timestamp=label_timestamp,
                keys=keys,
                mode=mode,
                csv_types=csv_types,
            )
            return str(compile_plan(plan_request(warehouse, request), warehouse.dialect))

    def explain_row(
        self,
        service: str | None,
        labels: Any,
        row: int,
        *,
        features: Sequence[str] = (),
        label_timestamp: str | None = None,
        keys: Mapping[str, str] | None = None,
        mode: str = "known_at",
        csv_types: bool = False,
    ) -> Explanation:
        """Return why one label gets its values: per view the rows with its key, which won, and why not the others.

        Args:
            service: as in `build_training_set`, like all that follows here but `row`; None if `features` are said.
            labels: all of them, not the row alone.
            row: which label, counted from 0.
            features: `view.feature` or `view.*`, instead of a service.
            label_timestamp: the label column with the time.
            keys: label column by request key.
            mode: which rows a label may see.
            csv_types: let the engine guess the types of a CSV's other columns.

        Raises:
            LabelError: there is no such row; and, like the others, as in `build_training_set`.
            UnknownNameError, PlanError, WarehouseError: as in `build_training_set`.
        """
        with closing(self._connect()) as warehouse:
            request = self._request(
                warehouse,
                service,
                labels,
                features,
                label_timestamp=label_timestamp,
                keys=keys,
                mode=mode,
                csv_types=csv_types,
            )
            return explain_row(warehouse, request, row)

    def reproduce(
        self, lock: str | Path | Mapping[str, Any], labels: Any = None, *, progress: Progress | None = None
    ) -> Reproduction:
        """Make a training set again and say whether it is identical, or which columns differ, in how many rows and why.

        The old output is read if it still lies beside the lock; nothing is written.

        Args:
            lock: the path of a `.lock.json`, or what `TrainingSet.lock` was.
            labels: the labels of that build, as in `build_training_set`, if they are not where the lock says.
            progress: called before each step with its name, its number and the number of steps.

        Raises:
            LockError: it is no lock, was edited, or is of another version.
            LabelError: the labels are gone, or not those of the build.
            WarehouseError: the engine failed.
        """
        from featurelayer.training.reproduce import reproduce

        locked = read_lock(lock)
        given = as_labels(locked_labels(locked, self.project.root) if labels is None else labels)
        asked, none = locked.request, FeatureService(name="", views=(), request_keys=())
        known = {name: self.registry.views[name] for name in locked.views if name in self.registry.views}
        with closing(self._connect()) as warehouse:
            source, name = self._label_source(warehouse, given, csv_types=asked.csv_types)
            base = Request(
                service=none,
                views={},
                labels=source,
                labels_name=name,
                provenance=self._provenance(none, known),
                label_timestamp=locked.labels.timestamp,
                keys=asked.keys,
                mode=_mode(asked.mode),
                ledger=self._known_ledger(warehouse) if asked.mode == Mode.AS_SERVED else None,
            )
            return reproduce(warehouse, locked, self.registry, base, progress=progress)

    def dbt_models(
        self,
        service: str | None = None,
        labels: str | None = None,
        *,
        label_timestamp: str | None = None,
        keys: Mapping[str, str] | None = None,
        mode: str = "known_at",
        folder: str | None = None,
    ) -> tuple[DbtModel, ...]:
        """Return training sets as dbt models: what their files should hold, and what they do; nothing is written.

        Args:
            service: a feature service; by default all that name their `labels`, and all whose file was written before.
            labels: the dbt model of the labels; the one that the service names by default.
            label_timestamp: the label column with the time, if not the one the service names.
            keys: label column by request key, where they differ.
            mode: `known_at` or `event_time`.
            folder: where the file goes, from the project's folder on; `featurelayer` in the first of its model-paths
                by default.

        Raises:
            UnknownNameError, PlanError: as `build_training_set`, and where a file could not be a model of the project.
        """
        from featurelayer.dbt_model import ModelRequest, training_set_models

        request = None
        if service is not None:
            request = ModelRequest(
                service=service,
                labels=labels,
                label_timestamp=label_timestamp,
                keys=keys,
                mode=_mode(mode),
                folder=PurePosixPath(folder) if folder else None,
            )
        return training_set_models(
            self.project, self.registry, request, describe=self._describe, warn=self._warn or (lambda _message: None)
        )

    def _describe(self, relation: str) -> Sequence[Column]:
        with closing(self._connect()) as warehouse:
            return warehouse.describe(relation)

    def _connect(self, *, writable: bool = False, wait: timedelta = timedelta(0)) -> Warehouse:
        return connect(self.project.connection, root=self.project.root, writable=writable, wait=wait)

    def _request(
        self,
        warehouse: Warehouse,
        service: str | None,
        labels: Any,
        features: Sequence[str],
        *,
        label_timestamp: str | None,
        keys: Mapping[str, str] | None,
        mode: str,
        csv_types: bool,
    ) -> Request:
        found = self._service(service, features, label_timestamp)
        views = {join.view: self.registry.views[join.view] for join in found.views}
        frame = as_labels(_given_labels(found, labels))
        source, name = self._label_source(warehouse, frame, csv_types=csv_types)
        return Request(
            service=found,
            views=views,
            labels=source,
            labels_name=name,
            provenance=self._provenance(found, views),
            label_timestamp=label_timestamp,
            keys=keys or {},
            mode=_mode(mode),
            ledger=self._known_ledger(warehouse) if mode == Mode.AS_SERVED else None,
            asked=LockedRequest(
                service=service,
                features=tuple(features),
                labels=frame if isinstance(frame, str) else recorded_path(frame, self.project.root),
                csv_types=csv_types,
            ),
        )

    def _known_ledger(self, warehouse: Warehouse) -> Ledger | None:
        """The export ledger, if the warehouse has one."""
        try:
            tables = self._export_tables()
            warehouse.describe(tables.ledger)
        except (ConfigError, RelationNotBuilt):
            return None
        return Ledger(relation=tables.ledger, store=tables.store)

    def _service(self, name: str | None, features: Sequence[str], label_timestamp: str | None) -> FeatureService:
        if (name is None) == (not features):
            raise PlanError(
                [
                    Problem(
                        what="say either a service or features",
                        fix="service='late_arrival' or features=['view.feature']",
                    )
                ]
            )
        if name is not None:
            return self.registry.service(name)
        return replace(self.registry.adhoc_service(features, label_timestamp), name="")

    def _label_source(
        self, warehouse: Warehouse, labels: Path | str | pa.Table, *, csv_types: bool
    ) -> tuple[Source, str]:
        """Labels as rows of the warehouse's SQL, and what the lock calls them."""
        if isinstance(labels, str):
            return self._relation_labels(warehouse, labels)
        return warehouse.attach(labels, csv_types=csv_types), labels_name(labels)

    def _relation_labels(self, warehouse: Warehouse, name: str) -> tuple[Source, str]:
        """Labels that are in the warehouse: a dbt model by name, else a relation as SQL writes it."""
        from featurelayer.dbt.artifacts import read_referable

        models = read_referable(self.project.target_path)
        relation = models[name].relation_name if name in models else None
        try:
            columns = warehouse.describe(relation or name)
        except WarehouseError as error:
            what = (
                f"the labels' model '{name}' is not built in the warehouse"
                if relation
                else f"there are no labels '{name}': no file, no dbt model and no relation of that name"
                + did_you_mean(name, models)
            )
            fix = (
                f"dbt build -s {name}"
                if relation
                else "give a path that ends in .parquet or .csv, a model or a relation"
            )
            raise LabelError([Problem(what=what, fix=fix)]) from error
        return Source(sql=warehouse.quote(relation or name), columns=columns), relation or name

    def _provenance(self, service: FeatureService, views: Mapping[str, FeatureView]) -> Provenance:
        from featurelayer.dbt.artifacts import sql_checksums

        return Provenance(
            project=self.registry.project,
            manifest_sha256=self.registry.manifest_hash,
            dbt_version=self.registry.dbt_version,
            dbt_invocation_id=self.registry.invocation_id,
            service_fingerprint=service_definition(service, views).fingerprint if service.name else "",
            sql_checksums=sql_checksums(self.project.target_path, [view.unique_id for view in views.values()]),
        )

    # --- online --------------------------------------------------------------------------------------------------

    @property
    def store_url(self) -> str:
        """The address of this target's online store, from featurelayer.yml."""
        return store_url(self.project.config.online_store, self.project.root)

    @property
    def table_settings(self) -> TableSettings:
        """The tags and protections of this target's table, from featurelayer.yml."""
        from featurelayer.online.tables import read_settings

        where = f"{self.project.config.path} -> online_store.{self.project.target}"
        return read_settings(self.project.config.online_store, where)

    def create_store(self, *, tell: Callable[[str], None] | None = None) -> Creation:
        """Make this target's online store, or look whether the one that is there will do; safe to repeat.

        Raises:
            StoreNotFound: something else is at its address; the message says what differs.
        """
        settings = self.table_settings
        with closing(open_store(self.store_url)) as store:
            if not isinstance(store, Provisioned):
                raise PlanError([Problem(what=f"{store!r} can't be made from here", fix="make it with its own tools")])
            return store.create(settings, tell)

    def store_status(self, *, now: datetime | None = None) -> StoreStatus:
        """Return what this target's online store is and holds: its own facts, and the newest export of each view.

        Raises:
            StoreNotFound: there is no such store.
        """
        from featurelayer.online.status import store_status

        views = [view for view in self.registry.views.values() if view.online]
        with closing(open_store(self.store_url)) as store:
            return store_status(store, views, now or datetime.now(UTC))

    def client(self, **options: Any) -> FeatureClient:
        """Return a lookup client of this target's online store."""
        return FeatureClient.connect(self.store_url, **options)

    def export(
        self,
        views: Sequence[str] = (),
        *,
        as_of: datetime | None = None,
        full: bool = False,
        max_cost: float | None = None,
        store: OnlineStore | None = None,
        lock_timeout: timedelta = timedelta(seconds=60),
        progress: ExportProgress | None = None,
    ) -> ExportReport:
        """Write the newest row of every entity, as of one time, to the online store: changed rows only.

        Args:
            views: names of views with `online: true`; all of them by default.
            as_of: the time of the snapshot (naive means UTC); the warehouse's own time by default.
            full: write every row again, also where the store holds a newer event.
            max_cost: write nothing if it is estimated to cost more US dollars than that.
            store: a store other than the target's.
            lock_timeout: how long to wait for a DuckDB file that another process holds, when the ledger is written.
            progress: called with a view's name, the number of items done since it was last told, and that of all.

        Raises:
            PlanError: nothing to export, a view that is not `online: true`, or more than `max_cost`.
            WarehouseError, OnlineStoreError: either side failed; running it again finishes the work.
        """
        from featurelayer.exporting import export_views

        request = self._export_request(views, as_of=as_of, full=full, max_cost=max_cost)
        with self._target(store) as target:
            return export_views(request, self._opener(lock_timeout), target, progress=progress, tell=self._tell)

    def plan_export(
        self,
        views: Sequence[str] = (),
        *,
        as_of: datetime | None = None,
        full: bool = False,
        max_cost: float | None = None,
        store: OnlineStore | None = None,
    ) -> ExportPlan:
        """Return what `export` would write and about what that costs; nothing is written anywhere.

        Args and errors are those of `export`.
        """
        from featurelayer.exporting import plan_export

        request = self._export_request(views, as_of=as_of, full=full, max_cost=max_cost)
        with self._target(store) as target:
            return plan_export(request, self._opener(), target)

    def rollback(
        self,
        view: str,
        run: str,
        *,
        store: OnlineStore | None = None,
        lock_timeout: timedelta = timedelta(seconds=60),
        progress: ExportProgress | None = None,
    ) -> ExportReport:
        """Bring a view in the online store back to what it held after an earlier export.

        Args:
            view: the name of a view with `online: true`.
            run: the id of that export, the beginning of it, or its version; `kept_exports` has them.
            store: a store other than the target's.
            lock_timeout: as in `export`, like `progress`.
            progress: called while it writes.

        Raises:
            PlanError: there is no such export, or it is not kept any more.
            WarehouseError, OnlineStoreError: either side failed; running it again finishes the work.
        """
        from featurelayer.exporting import roll_back

        (found,) = self._online_views([view])
        with self._target(store) as target:
            return roll_back(
                found, run, self._opener(lock_timeout), target, invocation_id=self.registry.invocation_id,
                progress=progress, tell=self._tell,
            )  # fmt: skip

    def plan_rollback(self, view: str, run: str, *, store: OnlineStore | None = None) -> ExportPlan:
        """Return what `rollback` would write and about what that costs; nothing is written anywhere."""
        from featurelayer.exporting import plan_roll_back

        (found,) = self._online_views([view])
        with self._target(store) as target:
            return plan_roll_back(found, run, self._opener(), target)

    def kept_exports(self, view: str, *, store: OnlineStore | None = None) -> list[LedgerRow]:
        """Return the exports of a view that `rollback` can go back to, newest first; the first is what is served."""
        from featurelayer.exporting import kept_exports

        (found,) = self._online_views([view])
        with self._target(store) as target:
            return kept_exports(found, self._opener(), target)

    def drain(
        self,
        views: Sequence[str] = (),
        *,
        store: OnlineStore | None = None,
        lock_timeout: timedelta = timedelta(seconds=60),
    ) -> list[Drained]:
        """Append what clients wrote between exports to `featurelayer_streamed__<view>`, each row exactly once.

        Args:
            views: names of views with `online: true`, whose tables are made even if there is nothing to append; by
                default all of them that something was written to.
            store: a store other than the target's.
            lock_timeout: as in `export`.

        Raises:
            PlanError: a view's table does not fit the view any more; nothing is appended then.
            WarehouseError, OnlineStoreError: either side failed; running it again finishes the work.
        """
        from featurelayer.export import drain

        found = self._online_views(views)
        with self._target(store) as target:
            return drain(found, target.store, target.tables, self._connected(lock_timeout), always=bool(views))

    def forget(
        self,
        keys: Mapping[str, str],
        *,
        view: str | None = None,
        store: OnlineStore | None = None,
        lock_timeout: timedelta = timedelta(seconds=60),
    ) -> list[Forgotten]:
        """Erase a subject from the online store, its log, and the warehouse's tables of exports and streamed rows.

        Args:
            keys: columns of keys and their values as text; every online view whose key has all of them is searched.
            view: one view only.
            store: a store other than the target's.
            lock_timeout: as in `export`.

        Raises:
            PlanError: no online view has a key with these columns.
            CodecError: a value is not of its key's type.
            WarehouseError, OnlineStoreError: either side failed; running it again finishes the work.
        """
        from featurelayer.export import forget, subjects

        found = subjects(self._online_views([view] if view else ()), keys)
        with self._target(store) as target, self._connected(lock_timeout)(True) as warehouse:
            return [forget(target.store, warehouse, target.tables, subject) for subject in found]

    def _connected(self, wait: timedelta) -> Callable[[bool], AbstractContextManager[Warehouse]]:
        return lambda writable: closing(self._connect(writable=writable, wait=wait))

    def _export_request(self, views: Sequence[str], **how: Any) -> ExportRequest:
        from featurelayer.exporting import ExportRequest

        registry = self.registry
        return ExportRequest(
            views=self._online_views(views),
            services=[s for s in registry.services.values() if all(registry.views[v.view].online for v in s.views)],
            known_views=registry.views,
            invocation_id=registry.invocation_id,
            **how,
        )

    def _opener(self, wait: timedelta = timedelta(0)) -> Opener:
        def opener(*, writable: bool) -> Warehouse:
            return self._connect(writable=writable, wait=wait)

        return opener

    @contextmanager
    def _target(self, store: OnlineStore | None) -> Iterator[Target]:
        """The online store to work on, and what belongs to it."""
        from featurelayer.exporting import Target, prices_of

        config, url = self.project.config, self.store_url if store is None else ""
        where = f"{config.path} -> online_store.{self.project.target}"
        keep = exports_kept(config.online_store, where) if store is None else KEEP
        with opened(store, url) as target:
            yield Target(
                store=target,
                shown=url or repr(store),
                tables=self._export_tables(repr(store) if store is not None else None),
                prices=prices_of(target, config.prices),
                keep=keep,
            )

    def _tell(self, line: str) -> None:
        if self._warn is not None:
            self._warn(line)

    def _export_tables(self, store: str | None = None) -> Tables:
        """Where the warehouse of this target remembers exports."""
        from featurelayer.export import Tables

        schema = str(self.project.connection.get("schema") or "main")
        return Tables.of_schema(schema, store or store_name(self.project.config.online_store))

    def _online_views(self, names: Sequence[str]) -> list[FeatureView]:
        if names:
            views = [self.registry.view(name) for name in names]
            problems = [
                Problem(
                    what=f"{view.id} is not online",
                    where=view.yaml_path,
                    fix="add online: true to its featurelayer block",
                )
                for view in views
                if not view.online
            ]
        else:
            views = [view for view in self.registry.views.values() if view.online]
            problems = (
                []
                if views
                else [Problem(what="no feature view is online", fix="add online: true to a view's featurelayer block")]
            )
        if problems:
            raise PlanError(problems)
        return views


def _given_labels(service: FeatureService, labels: Any) -> Any:
    """The labels that were given, else those that the service names."""
    if labels is None and service.labels is None:
        fix = "pass them, or name their dbt model as `labels` in the exposure's featurelayer block"
        raise LabelError([Problem(what="it is not said where the labels are", where=service.yaml_path, fix=fix)])
    return service.labels if labels is None else labels


def _mode(name: str) -> Mode:
    try:
        return Mode(name)
    except ValueError:
        raise UnknownNameError("mode", name, [str(mode) for mode in Mode]) from None
