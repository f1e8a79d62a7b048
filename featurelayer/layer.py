"""`FeatureLayer`: one dbt project and every operation on its features, for Python and the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Unpack

from featurelayer.callbacks import Notify, Progress
from featurelayer.dbt import Project, load_project
from featurelayer.errors import RelationNotBuilt
from featurelayer.registry import Registry
from featurelayer.workspace import Workspace

if TYPE_CHECKING:
    from featurelayer.catalog import BuiltSite
    from featurelayer.dbt_model import DbtModel
    from featurelayer.diff import DiffReport
    from featurelayer.export import DrainReport, ErasureReport, LedgerRow
    from featurelayer.export.online import OnlineOperations
    from featurelayer.export.records import ExportPlan, ExportReport
    from featurelayer.lint import LintReport
    from featurelayer.model import Column
    from featurelayer.monitor import MonitorReport
    from featurelayer.monitor_records import MonitorResult, Profile
    from featurelayer.online import FeatureClient, OnlineStore
    from featurelayer.online.status import StoreStatus
    from featurelayer.sql.plan import Ledger
    from featurelayer.training import TrainingSet
    from featurelayer.training.estimate import BuildPlan
    from featurelayer.training.explain import Explanation
    from featurelayer.training.mismatch_reasons import Reproduction
    from featurelayer.training.operations import TrainingOperations
    from featurelayer.training.request import RequestOptions
    from featurelayer.verify import Lateness, VerifyReport
    from featurelayer.warehouse import Warehouse

_LOCK_TIMEOUT = timedelta(seconds=60)


class FeatureLayer:
    """The features of one dbt project: `FeatureLayer("dbt_project", target="dev")`.

    The everyday operations are methods; the others are in the namespaces `training` and `online`.

    Args:
        project_dir: the folder of dbt_project.yml; the working directory or one above it by default.
        profiles_dir: the folder of profiles.yml, found as dbt finds it by default.
        profile: a profile other than the project's.
        target: the target of the profile.
        target_path: the folder of dbt's artifacts.
        vars: dbt variables for rendering featurelayer.yml and profiles.yml, a mapping or YAML text.
        assume_target: treat the manifest as built for this target, if neither dbt's record nor the schemas of the
            models tell.
        warn: called with what is doubtful but usable, such as a stale manifest.
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
        assume_target: bool = False,
        warn: Notify | None = None,
    ) -> None:
        project = load_project(
            project_dir, profiles_dir=profiles_dir, profile=profile, target=target, target_path=target_path, vars=vars,
            assume_target=assume_target,
        )  # fmt: skip
        self._workspace = Workspace(project, warn)

    @classmethod
    def from_project(cls, project: Project, *, warn: Notify | None = None) -> FeatureLayer:
        """Return the layer of a project that is already loaded."""
        layer = cls.__new__(cls)
        layer._workspace = Workspace(project, warn)
        return layer

    @property
    def project(self) -> Project:
        """The dbt project."""
        return self._workspace.project

    @property
    def registry(self) -> Registry:
        """Every entity, view and service of the project, read once from dbt's manifest."""
        return self._workspace.registry

    @cached_property
    def training(self) -> TrainingOperations:
        """Training sets as requests that can be built, planned, explained or shown as SQL."""
        from featurelayer.training.operations import TrainingOperations

        return TrainingOperations(self._workspace, self._find_ledger)

    @cached_property
    def online(self) -> OnlineOperations:
        """The online store of the target: create, inspect, back up, drain, erase."""
        from featurelayer.export.online import OnlineOperations

        return OnlineOperations(self._workspace)

    # --- checks --------------------------------------------------------------------------------------------------

    def lint(self, names: Sequence[str] = (), *, checks: Sequence[str] = ()) -> LintReport:
        """Check annotations, ownership, names and SQL of the features, from dbt's files alone.

        Args:
            names: models, views, features or services to report on; all by default.
            checks: codes (`FL203`) or families (`FL2`) to run; all that featurelayer.yml does not disable by default.

        Raises:
            UnknownNameError: there is no such name, or no such check.
        """
        from featurelayer.lint import lint

        return lint(self.project, names, checks, warn=self._workspace.notify)

    def diff(self, state: str | Path) -> DiffReport:
        """Compare the features of this project with those of the manifest.json in a folder, from dbt's files alone.

        Returns:
            The report: `.changes`, each with its kind, features, services and owner, and `.breaking` of them.

        Raises:
            PlanError: there is no manifest in the folder.
            ArtifactError, MetadataError: this project's or the other manifest can't be used.
        """
        from featurelayer.diff.run import diff_projects

        return diff_projects(self.project, Path(state))

    # --- catalog -------------------------------------------------------------------------------------------------

    def build_catalog(
        self,
        output: str | Path | None = None,
        *,
        base_url: str = "",
        title: str = "",
        logo: str | Path | None = None,
        dbt_docs: str = "",
        state: str | Path | None = None,
        warehouse: bool = True,
    ) -> BuiltSite:
        """Write a static site of all features; return its folder and size.

        Args:
            output: the folder, all of which is replaced; `catalog` in dbt's target folder by default.
            base_url: the URL of the published site, for absolute links.
            title: the title of the site.
            logo: the image file of the site's logo.
            dbt_docs: the URL of the site of `dbt docs generate`, for links to it.
            state: the folder of an earlier manifest.json, to show what has changed since.
            warehouse: read profiles, monitor results, exports and newest rows from the warehouse. What can't be read is
                left out with a warning.

        Raises:
            ConfigError: the folder holds something else, or it or the logo can't be used.
            ArtifactError: dbt's files can't be read.
            PlanError: there is no manifest in `state`.
        """
        from featurelayer.catalog import SiteOptions, read_logo
        from featurelayer.catalog.run import CatalogRequest, build_catalog

        options = SiteOptions(
            title=title, base_url=base_url, dbt_docs=dbt_docs, logo=read_logo(Path(logo)) if logo else None
        )
        request = CatalogRequest(
            project=self.project,
            registry=self.registry,
            options=options,
            folder=Path(output) if output else self.project.target_path / "catalog",
            open_warehouse=self._workspace.opener() if warehouse else None,
            tables=self.online.export_tables,
            notify=self._workspace.notify,
            state=Path(state) if state else None,
        )
        return build_catalog(request)

    # --- training sets -------------------------------------------------------------------------------------------

    def build_training_set(
        self,
        service: str | None = None,
        labels: Any = None,
        *,
        compare_modes: bool = False,
        min_matched: float | None = None,
        writable: bool = False,
        extends: str | Path | None = None,
        progress: Progress | None = None,
        **options: Unpack[RequestOptions],
    ) -> TrainingSet:
        """Join features to labels, each as of the label's own time; `featurelayer.sql.planner` defines what that means.

        Args:
            service: a feature service of the project; or pass `features`.
            labels: a pandas, polars or Arrow table, the path of a parquet or CSV file, or the name of a dbt model or
                relation of the warehouse; by default the dbt model that the service names.
            compare_modes: also build the other modes and report, per feature, the share of cells that differ.
            min_matched: the share of the labels, 0 to 1, that must find a row in every view.
            writable: open the warehouse for writing, as `to_table` needs.
            extends: the lock of a set that the rows will be appended to; rows that do not fit are rejected before
                anything is computed, not only by `to_parquet(path, append=True)`.
            progress: called before each step with its name, the number of steps done and of all steps.
            options: `features` (`view.feature` or `view.*`, instead of a service), `label_timestamp`, `keys` (label
                column by request key), `mode` and `csv_types`, as `TrainingSetRequest` documents them.

        Returns:
            The set, still in the warehouse: `to_arrow()`, `to_pandas()`, `to_polars()`, `to_parquet(path)`,
            `to_csv(path)`, `to_table(name)`, `.report`, `.lock`, `.sql`.

        Raises:
            UnknownNameError: there is no such service or feature.
            LabelError, PlanError: the request is impossible, or a view matches less than `min_matched`; the message
                lists every reason.
            LockError: the rows do not fit the set of `extends`.
            WarehouseError: the engine failed.
        """
        return self.training.request(service, labels, **options).build(
            compare_modes=compare_modes, min_matched=min_matched, writable=writable, extends=extends, progress=progress
        )

    def plan_training_set(
        self, service: str | None = None, labels: Any = None, **options: Unpack[RequestOptions]
    ) -> BuildPlan:
        """Return what `build_training_set` would read, as far as the engine can tell; nothing is computed."""
        return self.training.request(service, labels, **options).plan()

    def training_set_sql(
        self,
        service: str | None = None,
        labels: Any = None,
        *,
        dialect: str | None = None,
        **options: Unpack[RequestOptions],
    ) -> str:
        """Return the SQL of `build_training_set` without running it; `dialect` is another engine to write for."""
        return self.training.request(service, labels, **options).sql(dialect=dialect)

    def explain_row(self, service: str | None, labels: Any, row: int, **options: Unpack[RequestOptions]) -> Explanation:
        """Return why one label, counted from 0, gets its values: per view its candidates, the winner and the reasons.

        Raises:
            LabelError: there is no such row; and, like the others, as `build_training_set`.
            UnknownNameError, PlanError, WarehouseError: as `build_training_set`.
        """
        return self.training.request(service, labels, **options).explain(row)

    def reproduce(
        self, lock: str | Path | Mapping[str, Any], labels: Any = None, *, progress: Progress | None = None
    ) -> Reproduction:
        """Rebuild a training set from its lock and report whether it is identical, or which columns differ and why.

        The old output is read if it is still next to the lock; nothing is written.

        Args:
            lock: the path of a `.lock.json`, or the value of `TrainingSet.lock`.
            labels: the labels of that build, as in `build_training_set`, if they are not where the lock has them.
            progress: called before each step with its name, the number of steps done and of all steps.

        Raises:
            LockError: it is not a lock, was edited, or is of another version.
            LabelError: the labels do not exist any more, or are not those of the build.
            WarehouseError: the engine failed.
        """
        return self.training.reproduce(lock, labels, progress=progress)

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
        """Return training sets as dbt models: the expected and the present content of their files; writes nothing.

        Args:
            service: a feature service; by default all that name their `labels`, and all whose file was written before.
            labels: the dbt model of the labels; by default the one that the service names.
            label_timestamp: the label column with the time, if not the one the service names.
            keys: label column by request key, where they differ.
            mode: `known_at` or `event_time`.
            folder: the folder of the file, relative to the project; by default `featurelayer` in the first of its
                model-paths.

        Raises:
            UnknownNameError, PlanError: as `build_training_set`, and where a file could not be a model of the project.
        """
        from featurelayer.dbt_model import ModelRequest, training_set_models
        from featurelayer.training.resolved_request import parse_mode

        request = None
        if service is not None:
            request = ModelRequest(
                service=service, labels=labels, label_timestamp=label_timestamp, keys=keys, mode=parse_mode(mode),
                folder=PurePosixPath(folder) if folder else None,
            )  # fmt: skip
        return training_set_models(
            self.project, self.registry, request, describe=self._describe, notify=self._workspace.notify
        )

    # --- online store --------------------------------------------------------------------------------------------

    def export(
        self,
        views: Sequence[str] = (),
        *,
        as_of: datetime | None = None,
        full: bool = False,
        max_cost: float | None = None,
        bulk: bool = False,
        ignore_monitors: bool = False,
        allow_removals: bool = False,
        store: OnlineStore | None = None,
        lock_timeout: timedelta = _LOCK_TIMEOUT,
        progress: Progress | None = None,
    ) -> ExportReport:
        """Write the newest row of every entity, as of one time, to the online store: changed rows only.

        Args:
            views: names of views with `online: true`; all of them by default.
            as_of: the time of the snapshot (naive means UTC); the warehouse's own time by default.
            full: write every row again, also where the store holds a newer event.
            max_cost: write nothing if the estimated cost in US dollars is higher.
            bulk: bulk-load a new DynamoDB table with an S3 import (`bulk:` in featurelayer.yml); of all views, unless
                each has a table of its own.
            ignore_monitors: export views with `block_export` even if their monitors fail.
            allow_removals: remove any number of keys; by default not more than a view's `removal_guard` allows.
            store: a store other than the target's.
            lock_timeout: the longest wait for a DuckDB file that another process holds.
            progress: called with a view's name, the number of its items done, and the number of all.

        Raises:
            PlanError: nothing to export, a view that is not `online: true`, a monitor of one with `block_export` that
                fails, more than `max_cost`, too many removals, or a time before that of the last export.
            WarehouseError, OnlineStoreError: either side failed; running it again finishes the work.
        """
        from featurelayer.export.operations import export_views
        from featurelayer.monitor.run import validate_blocking_monitors

        request = self.online.make_request(
            views, as_of=as_of, full=full, max_cost=max_cost, allow_removals=allow_removals
        )
        if bulk:
            self.online.validate_bulk(views, store)
        if not ignore_monitors:
            with self._workspace.line_numbers():
                validate_blocking_monitors(self.project, request.views, as_of, self._workspace.opener())
        with (
            self.online.open_target(store, bulk=request.views if bulk else ()) as target,
            self._workspace.line_numbers(),
        ):
            return export_views(
                request, self._workspace.opener(lock_timeout), target, progress=progress, notify=self._workspace.notify
            )

    def plan_export(
        self,
        views: Sequence[str] = (),
        *,
        as_of: datetime | None = None,
        full: bool = False,
        max_cost: float | None = None,
        bulk: bool = False,
        allow_removals: bool = False,
        store: OnlineStore | None = None,
    ) -> ExportPlan:
        """Return what `export` would write and an estimate of its cost; nothing is written anywhere.

        Args and errors are those of `export`, except that removals, clocks and items that the store can't take are in
        the plan, as `refused`.
        """
        from featurelayer.export.operations import plan_export

        request = self.online.make_request(
            views, as_of=as_of, full=full, max_cost=max_cost, allow_removals=allow_removals
        )
        if bulk:
            self.online.validate_bulk(views, store)
        with (
            self.online.open_target(store, bulk=request.views if bulk else ()) as target,
            self._workspace.line_numbers(),
        ):
            return plan_export(request, self._workspace.opener(), target)

    def rollback(
        self,
        view: str,
        run: str,
        *,
        store: OnlineStore | None = None,
        lock_timeout: timedelta = _LOCK_TIMEOUT,
        progress: Progress | None = None,
    ) -> ExportReport:
        """Restore a view in the online store to its state after an earlier export.

        Args:
            view: the name of a view with `online: true`.
            run: the id of that export, a prefix of it, or its version; `kept_exports` lists them.
            store: a store other than the target's.
            lock_timeout: as in `export`.
            progress: as in `export`.

        Raises:
            PlanError: there is no such export, or it is no longer kept.
            WarehouseError, OnlineStoreError: either side failed; running it again finishes the work.
        """
        from featurelayer.export.operations import roll_back

        (found,) = self.online.find_views([view])
        with self.online.open_target(store) as target:
            return roll_back(
                found, run, self._workspace.opener(lock_timeout), target, invocation_id=self.registry.invocation_id,
                progress=progress, notify=self._workspace.notify,
            )  # fmt: skip

    def verify(
        self,
        views: Sequence[str] = (),
        *,
        sample: int = 1000,
        tolerance: float = 0.0,
        read_units: float | None = 100,
        seed: int | None = None,
        store: OnlineStore | None = None,
        progress: Progress | None = None,
    ) -> VerifyReport:
        """Compare the online store with the warehouse at the last committed export, key by key; nothing is written.

        Args:
            views: names of views with `online: true`; all of them by default.
            sample: the number of keys of each view to sample from the warehouse, and from the store.
            tolerance: the share of a view's compared keys, from 0 to 1, that may differ.
            read_units: the limit of DynamoDB read units per second, None for no limit.
            seed: random seed; pass a report's seed to sample the same keys.
            store: a store other than the target's.
            progress: called with a view's name, the number of keys read, and the number of all.

        Returns:
            The report: `.ok`, `.mismatches`, and per view the counts by class and by feature, and examples.

        Raises:
            PlanError: no view is online, or a relation is not what the annotations say.
            WarehouseError, OnlineStoreError: either side failed.
        """
        from secrets import randbelow

        from featurelayer.verify.run import VerifyRequest, verify_views

        found = self.online.find_views(views)
        request = VerifyRequest(
            views=found,
            code=self.online.code_fingerprints(found),
            sample=sample,
            seed=randbelow(1_000_000) if seed is None else seed,
            tolerance=tolerance,
            read_units=read_units,
        )
        with self.online.open_target(store) as target, self._workspace.line_numbers():
            return verify_views(
                request,
                self._workspace.opener(),
                target.store,
                target.shown,
                target.tables,
                progress=progress,
            )

    def lateness(self, view: str, *, coverage: float = 0.99, since: datetime | None = None) -> Lateness:
        """Return how long after their events a view's rows arrive, and the `delay` that covers most of them.

        Args:
            view: the name of a view with an event time.
            coverage: the share of rows, up to 1, that the delay is to cover.
            since: leave out earlier events (naive means UTC), such as those of a backfill.

        Returns:
            The lateness by the view's `available_at` and `created_timestamp` columns and by the first export of each
            row: `.observed`, with quantiles and the shares that delays cover, and `.recommended`.

        Raises:
            PlanError: the view is static, or has nothing to tell when its rows arrived.
            WarehouseError: the engine failed.
        """
        from featurelayer.verify.run import observe_lateness

        tables, found = self.online.find_export_tables(), self.registry.view(view)
        return observe_lateness(found, self._workspace.opener(), tables, coverage=coverage, since=since)

    def kept_exports(self, view: str, *, store: OnlineStore | None = None) -> list[LedgerRow]:
        """Return the exports of a view that `rollback` can restore, newest first; the first is the one in use."""
        return self.online.kept_exports(view, store=store)

    def drain(self, views: Sequence[str] = (), **options: Any) -> list[DrainReport]:
        """Append what clients wrote between exports to the warehouse; as `online.drain`."""
        return self.online.drain(views, **options)

    def forget(self, keys: Mapping[str, str], **options: Any) -> list[ErasureReport]:
        """Erase a subject from the online store and the warehouse's record of exports; as `online.forget`."""
        return self.online.forget(keys, **options)

    def client(self, *, patient: bool = False, **options: Any) -> FeatureClient:
        """Return a lookup client of the online store; a `patient` one waits longer than a service would."""
        return self.online.client(patient=patient, **options)

    def store_status(self, *, now: datetime | None = None) -> StoreStatus:
        """Return facts about the online store and the newest export of each view; as `online.status`."""
        return self.online.status(now=now)

    def backup_store(self, path: str | Path, *, overwrite: bool = False) -> dict[str, Any]:
        """Copy the online store, while it is in use, to one file that can be served from; as `online.backup`."""
        return self.online.backup(path, overwrite=overwrite)

    # --- monitors ------------------------------------------------------------------------------------------------

    def monitor(
        self,
        views: Sequence[str] = (),
        *,
        baseline: str | Path | None = None,
        as_of: datetime | None = None,
        record: bool = True,
        lock_timeout: timedelta = _LOCK_TIMEOUT,
    ) -> MonitorReport:
        """Profile the features in the warehouse and compare them with the thresholds of the project.

        Args:
            views: names of views; all of them by default.
            baseline: the lock of a training set to compare with, instead of what the annotations say.
            as_of: the reference time (naive means UTC); the warehouse's own time by default.
            record: write profiles and results to the warehouse, and send the alerts of the project.
            lock_timeout: the longest wait for a DuckDB file that another process holds.

        Raises:
            UnknownNameError: there is no such view.
            PlanError, LockError: a view or the baseline can't be used; the message lists every reason.
            ConfigError: `alerts` in featurelayer.yml is wrong.
            MissingDependency: the extra `monitor` is not installed.
            WarehouseError: the engine failed.
        """
        from featurelayer.monitor.alerts import send_alerts
        from featurelayer.monitor.run import MonitorRequest, read_alerts, record_run, run_monitors

        alerts = read_alerts(self.project) if record else {}
        registry = self.registry
        request = MonitorRequest(
            views=[registry.view(name) for name in views] or list(registry.views.values()),
            at=as_of,
            baseline=Path(baseline).resolve() if baseline is not None else None,
            status=lambda at: self.store_status(now=at),
            exports=self.online.find_export_tables(),
        )
        with self._workspace.line_numbers():
            report = run_monitors(self.project, request, self._workspace.opener(), self._workspace.notify)
        if record:
            record_run(self.project, report, self._workspace.opener(lock_timeout))
            send_alerts(report, alerts, self.project.name, self._workspace.notify)
        return report

    def profiles(self, view: str | None = None) -> tuple[Profile, ...]:
        """Return the profiles that `monitor` has recorded in the warehouse, of one view or of all, oldest first.

        Raises:
            UnknownNameError: there is no such view.
            WarehouseError: the engine failed; before the first run there is no table and nothing is returned.
        """
        from featurelayer.monitor.run import read_profiles

        name = None if view is None else self.registry.view(view).id
        with self._workspace.open_warehouse() as warehouse:
            return read_profiles(warehouse, self.project, name)

    def monitor_results(self, view: str | None = None) -> tuple[MonitorResult, ...]:
        """Return the recorded monitor results, of one view or of all, oldest run first; errors as `profiles`."""
        from featurelayer.monitor.run import read_results

        name = None if view is None else self.registry.view(view).id
        with self._workspace.open_warehouse() as warehouse:
            return read_results(warehouse, self.project, name)

    # --- warehouse -----------------------------------------------------------------------------------------------

    def open_warehouse(self, *, writable: bool = False) -> AbstractContextManager[Warehouse]:
        """Open the warehouse of the target as a context manager that closes it."""
        return self._workspace.open_warehouse(writable=writable)

    def _describe(self, relation: str) -> Sequence[Column]:
        with self._workspace.open_warehouse() as warehouse:
            return warehouse.describe(relation)

    def _find_ledger(self, warehouse: Warehouse) -> Ledger | None:
        """Return the record of exports, if the warehouse has one."""
        from featurelayer.sql.plan import Ledger

        tables = self.online.find_export_tables()
        if tables is None:
            return None
        try:
            warehouse.describe(tables.ledger)
        except RelationNotBuilt:
            return None
        return Ledger(relation=tables.ledger, store=tables.store)
