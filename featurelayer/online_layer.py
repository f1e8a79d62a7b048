"""OnlineLayer: a dbt project and all that is done with its online store. `FeatureLayer` adds training sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from featurelayer.callbacks import Notify, Progress
from featurelayer.dbt import Project, load_project, load_registry
from featurelayer.dbt.yaml_lines import line_numbers
from featurelayer.errors import (
    ConfigError,
    PlanError,
    Problem,
)
from featurelayer.model import FeatureView
from featurelayer.online import FeatureClient, OnlineStore, open_store
from featurelayer.online.base import CheckpointStore, CopyableStore, find_provisioner
from featurelayer.online.definitions import view_sk
from featurelayer.online.once import Once
from featurelayer.online.settings import KEEP, open_checked_store, patient_url, read_keep, store_name, store_url
from featurelayer.registry import Registry
from featurelayer.warehouse import Warehouse, connect, keep_running, schema_of
from featurelayer.warehouse.base import OpenWarehouse

if TYPE_CHECKING:
    from featurelayer.export import DrainReport, ErasureReport, LedgerRow, Tables
    from featurelayer.export.operations import Bulk, ExportPlan, ExportReport, ExportRequest, Target
    from featurelayer.online.base import CreateResult
    from featurelayer.online.status import StoreStatus
    from featurelayer.online.stores.dynamodb.s3_import import ImportLocation
    from featurelayer.online.stores.dynamodb.store import DynamoDBStore
    from featurelayer.online.stores.dynamodb.tables import TableSettings
    from featurelayer.verify import Lateness, VerifyReport


class OnlineLayer:
    """One dbt project and its online store; arguments are those of `FeatureLayer`."""

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
        self._start(project, warn)

    @classmethod
    def from_project(cls, project: Project, *, warn: Notify | None = None) -> Self:
        """Return the layer of a project that is already loaded."""
        layer = cls.__new__(cls)
        layer._start(project, warn)
        return layer

    def _start(self, project: Project, warn: Notify | None) -> None:
        self.project, self._warn = project, warn
        self._registry = Once(lambda: load_registry(project, warn=warn))
        # Before anything is read or written: is the manifest of this target?
        self._validate_target = Once(lambda: _validate_target(project, warn))

    @property
    def registry(self) -> Registry:
        """Every entity, view and service of the project, read once from dbt's manifest."""
        return self._registry()

    @property
    def store_url(self) -> str:
        """The address of this target's online store, from featurelayer.yml."""
        return store_url(self.project.config.online_store, self.project.root)

    @property
    def _patient_url(self) -> str:
        return patient_url(self.project.config.online_store, self.project.root)

    @property
    def table_settings(self) -> TableSettings:
        """The tags and protections of this target's table, from featurelayer.yml."""
        from featurelayer.online.stores.dynamodb.tables import read_settings

        where = f"{self.project.config.path} -> online_store.{self.project.target}"
        return read_settings(self.project.config.online_store, where)

    @property
    def store_tables(self) -> dict[str, str]:
        """The names of this target's DynamoDB tables: one under no name, or that of each view, and `services`.

        Raises:
            PlanError: the store is no DynamoDB table.
            ConfigError: names of views make no names of tables, or the same one; all of them are named.
        """
        from featurelayer.online.stores.dynamodb.layout import parse_layout

        entry = self.project.config.online_store
        if entry["type"] != "dynamodb" or not entry.get("table"):
            what = f"the online store of target '{self.project.target}' is no DynamoDB table, but {entry['type']}"
            raise PlanError([Problem(what=what, fix="choose another target with -t")])
        return parse_layout(str(entry["table"])).tables(self._online_sks() if self._has_table_per_view else ())

    def create_store(self, *, notify: Notify | None = None) -> CreateResult:
        """Make this target's online store, or look whether the one that is there will do; safe to repeat.

        Raises:
            StoreNotFound: something else is at its address; the message says what differs.
        """
        self._validate_target()
        settings = self.table_settings
        with closing(open_store(self._patient_url)) as store:
            place = find_provisioner(store, self._online_sks() if self._has_table_per_view else ())
            if place is None:
                raise PlanError([Problem(what=f"{store!r} can't be made from here", fix="make it with its own tools")])
            return place.create(settings, notify)

    def backup_store(self, path: str | Path, *, overwrite: bool = False) -> dict[str, Any]:
        """Copy this target's online store, while it is in use, to one file that serves by itself; return its facts.

        Raises:
            PlanError: the store is no file, something is at `path` already, or there is no such folder.
            StoreNotFound: there is no such store.
        """
        with closing(open_store(self._patient_url)) as store:
            if not isinstance(store, CopyableStore):
                kind = self.project.config.online_store["type"]
                what = f"the online store of target '{self.project.target}' is no file, but {kind}"
                fix = "use DynamoDB's own backups (point in time recovery), or pass another target with -t"
                raise PlanError([Problem(what=what, fix=fix)])
            return store.backup(path, overwrite=overwrite)

    def store_status(self, *, now: datetime | None = None) -> StoreStatus:
        """Return what this target's online store is and holds: its own facts, and the newest export of each view.

        Raises:
            StoreNotFound: there is no such store.
        """
        from featurelayer.online.status import store_status

        views = [view for view in self.registry.views.values() if view.online]
        with closing(open_store(self._patient_url)) as store:
            return store_status(store, views, now or datetime.now(UTC))

    def client(self, *, patient: bool = False, **options: Any) -> FeatureClient:
        """Return a lookup client of this target's online store; a `patient` one waits longer than a service would."""
        return FeatureClient.connect(self._patient_url if patient else self.store_url, **options)

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
        lock_timeout: timedelta = timedelta(seconds=60),
        progress: Progress | None = None,
    ) -> ExportReport:
        """Write the newest row of every entity, as of one time, to the online store: changed rows only.

        Args:
            views: names of views with `online: true`; all of them by default.
            as_of: the time of the snapshot (naive means UTC); the warehouse's own time by default.
            full: write every row again, also where the store holds a newer event.
            max_cost: write nothing if it is estimated to cost more US dollars than that.
            bulk: have AWS make the table, which must not exist, by an import from S3; of a DynamoDB store that says
                where to (`bulk:` in featurelayer.yml), and of all views, unless each has a table of its own.
            ignore_monitors: export views with `block_export` although their monitors fail.
            allow_removals: remove keys however many they are; by default not more than a view's `removal_guard` allows.
            store: a store other than the target's.
            lock_timeout: how long to wait for a DuckDB file that another process holds, when the ledger is written.
            progress: called with a view's name, the number of its items done, and the number of all.

        Raises:
            PlanError: nothing to export, a view that is not `online: true`, a monitor of one with `block_export` that
                fails, more than `max_cost`, too many removals, or a time before that of the last export.
            WarehouseError, OnlineStoreError: either side failed; running it again finishes the work.
        """
        from featurelayer.export.operations import export_views

        request = self._export_request(views, as_of=as_of, full=full, max_cost=max_cost, allow_removals=allow_removals)
        if bulk:
            self._validate_bulk(views, store)
        if not ignore_monitors:
            with line_numbers(self.project.root):
                self._validate_monitors(request.views, as_of)
        with self._target(store, bulk=request.views if bulk else ()) as target, line_numbers(self.project.root):
            return export_views(request, self._opener(lock_timeout), target, progress=progress, notify=self._notify)

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
        """Return what `export` would write and about what that costs; nothing is written anywhere.

        Args and errors are those of `export`, but for removals, clocks and items that the store can't take: why nothing
        would be written is in the plan, as `refused`.
        """
        from featurelayer.export.operations import plan_export

        request = self._export_request(views, as_of=as_of, full=full, max_cost=max_cost, allow_removals=allow_removals)
        if bulk:
            self._validate_bulk(views, store)
        with self._target(store, bulk=request.views if bulk else ()) as target, line_numbers(self.project.root):
            return plan_export(request, self._opener(), target)

    def rollback(
        self,
        view: str,
        run: str,
        *,
        store: OnlineStore | None = None,
        lock_timeout: timedelta = timedelta(seconds=60),
        progress: Progress | None = None,
    ) -> ExportReport:
        """Bring a view in the online store back to what it held after an earlier export.

        Args:
            view: the name of a view with `online: true`.
            run: the id of that export, the beginning of it, or its version; `kept_exports` has them.
            store: a store other than the target's.
            lock_timeout: as in `export`.
            progress: as in `export`.

        Raises:
            PlanError: there is no such export, or it is not kept any more.
            WarehouseError, OnlineStoreError: either side failed; running it again finishes the work.
        """
        from featurelayer.export.operations import roll_back

        (found,) = self._online_views([view])
        with self._target(store) as target:
            return roll_back(
                found, run, self._opener(lock_timeout), target, invocation_id=self.registry.invocation_id,
                progress=progress, notify=self._notify,
            )  # fmt: skip

    def plan_rollback(self, view: str, run: str, *, store: OnlineStore | None = None) -> ExportPlan:
        """Return what `rollback` would write and about what that costs; nothing is written anywhere."""
        from featurelayer.export.operations import plan_rollback

        (found,) = self._online_views([view])
        with self._target(store) as target:
            return plan_rollback(found, run, self._opener(), target)

    def kept_exports(self, view: str, *, store: OnlineStore | None = None) -> list[LedgerRow]:
        """Return the exports of a view that `rollback` can go back to, newest first; the first is what is served."""
        from featurelayer.export.operations import list_kept_exports

        (found,) = self._online_views([view])
        with self._target(store) as target:
            return list_kept_exports(found, self._opener(), target)

    def drain(
        self,
        views: Sequence[str] = (),
        *,
        store: OnlineStore | None = None,
        lock_timeout: timedelta = timedelta(seconds=60),
    ) -> list[DrainReport]:
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
            return drain(found, target.store, target.tables, self._opener(lock_timeout), always=bool(views))

    def forget(
        self,
        keys: Mapping[str, str],
        *,
        view: str | None = None,
        store: OnlineStore | None = None,
        lock_timeout: timedelta = timedelta(seconds=60),
    ) -> list[ErasureReport]:
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
        from featurelayer.export import find_subjects, forget

        found = find_subjects(self._online_views([view] if view else ()), keys)
        with self._target(store) as target, self._opener(lock_timeout)(writable=True) as warehouse:
            return [forget(target.store, warehouse, target.tables, subject) for subject in found]

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
            sample: how many keys of each view are drawn from the warehouse, and how many from the store.
            tolerance: the share of a view's compared keys, from 0 to 1, that may differ.
            read_units: the most of DynamoDB's read units that are spent in a second, None for no limit.
            seed: draws the same keys again; by chance by default.
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

        found = self._online_views(views)
        request = VerifyRequest(
            views=found, code=self._code(found), sample=sample, seed=randbelow(1_000_000) if seed is None else seed,
            tolerance=tolerance, read_units=read_units,
        )  # fmt: skip
        with self._target(store) as target, line_numbers(self.project.root):
            return verify_views(
                request,
                self._opener(),
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
            What the view's `available_at` and `created_timestamp` columns tell, and what its exports saw first:
            `.observed`, with quantiles and the shares that delays cover, and `.recommended`.

        Raises:
            PlanError: the view is static, or nothing tells when its rows arrived.
            WarehouseError: the engine failed.
        """
        from featurelayer.verify.run import observe_lateness

        tables, found = self._find_export_tables(), self.registry.view(view)
        return observe_lateness(found, self._opener(), tables, coverage=coverage, since=since)

    def _validate_monitors(self, views: Sequence[FeatureView], as_of: datetime | None) -> None:
        from featurelayer.monitor.run import validate_blocking_monitors

        validate_blocking_monitors(self.project, views, as_of, self._opener())

    def _export_request(self, views: Sequence[str], **how: Any) -> ExportRequest:
        from featurelayer.export.operations import ExportRequest

        registry, found = self.registry, self._online_views(views)
        return ExportRequest(
            views=found,
            code=self._code(found),
            services=[s for s in registry.services.values() if all(registry.views[v.view].online for v in s.views)],
            known_views=registry.views,
            invocation_id=registry.invocation_id,
            **how,
        )

    def _code(self, views: Sequence[FeatureView]) -> dict[str, str]:
        """Return, by view, a fingerprint of what computes it."""
        from featurelayer.dbt.artifacts import sql_checksums
        from featurelayer.export.snapshot import code_fingerprint

        checksums = sql_checksums(self.project.target_path, [view.unique_id for view in views])
        # What is in a seed are rows.
        code = {
            view: {node: checksum for node, checksum in found.items() if not node.startswith("seed.")}
            for view, found in checksums.items()
        }
        return {view.id: code_fingerprint(view, code[view.unique_id]) for view in views}

    def _opener(self, wait: timedelta = timedelta(0)) -> OpenWarehouse:
        def open_warehouse(*, writable: bool) -> AbstractContextManager[Warehouse]:
            return closing(self._connect(writable=writable, wait=wait))

        return open_warehouse

    @contextmanager
    def _target(self, store: OnlineStore | None, *, bulk: Sequence[FeatureView] = ()) -> Iterator[Target]:
        """The online store to work on, and what belongs to it; the tables of the views in `bulk` do not exist yet."""
        from featurelayer.export.operations import Target, store_prices

        self._validate_target()
        config, url = self.project.config, self._patient_url if store is None else ""
        where = f"{config.path} -> online_store.{self.project.target}"
        keep = read_keep(config.online_store, where) if store is None else KEEP
        place = self._bulk_place(where) if bulk else None
        with (
            open_checked_store(store, url, views=self._online_sks(), new=[view_sk(view) for view in bulk]) as target,
            self._keep_connections(),
        ):
            yield Target(
                store=target,
                shown=self.store_url if store is None else repr(store),
                tables=self._export_tables(repr(store) if store is not None else None),
                prices=store_prices(target, config.prices),
                keep=keep,
                bulk=self._bulk(target, place),
            )
            if isinstance(target, CheckpointStore) and (remains := target.checkpoint()) and self._warn is not None:
                self._warn(remains)

    @property
    def _has_table_per_view(self) -> bool:
        from featurelayer.online.stores.dynamodb.layout import parse_layout

        entry = self.project.config.online_store
        if entry["type"] != "dynamodb" or not entry.get("table"):
            return False
        return parse_layout(str(entry["table"])).has_table_per_view

    def _online_sks(self) -> list[str]:
        return [view_sk(view) for view in self.registry.views.values() if view.online]

    def _keep_connections(self) -> AbstractContextManager[None]:
        return keep_running(self.project.connection, root=self.project.root)

    def _bulk_place(self, where: str) -> ImportLocation:
        from featurelayer.online.stores.dynamodb.s3_import import read_import_location

        return read_import_location(self.project.config.online_store, where)

    def _bulk(self, store: OnlineStore, place: ImportLocation | None) -> Bulk | None:
        from featurelayer.export.operations import Bulk

        if place is None:
            return None
        return Bulk(store=cast("DynamoDBStore", store), place=place, settings=self.table_settings)

    def _notify(self, line: str) -> None:
        if self._warn is not None:
            self._warn(line)

    def _export_tables(self, store: str | None = None) -> Tables:
        """Where the warehouse of this target remembers exports."""
        from featurelayer.export import Tables

        schema = schema_of(self.project.connection)
        return Tables.from_schema(schema, store or store_name(self.project.config.online_store))

    def _find_export_tables(self) -> Tables | None:
        """The same, or None if the target has no online store."""
        try:
            return self._export_tables()
        except ConfigError:
            return None

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

    def _connect(self, *, writable: bool = False, wait: timedelta = timedelta(0)) -> Warehouse:
        self._validate_target()
        return connect(self.project.connection, root=self.project.root, writable=writable, wait=wait)

    def _validate_bulk(self, views: Sequence[str], store: OnlineStore | None) -> None:
        """An import makes a whole table, once, so what it leaves out would have to be written row by row."""
        problems = []
        if views and not self._has_table_per_view:
            what = "an import makes the table of all online views, and some were named"
            problems.append(Problem(what=what, fix="leave the names out, or export without --bulk"))
        if store is not None:
            what = "an import is for the store of featurelayer.yml, and another was given"
            problems.append(Problem(what=what, fix="leave `store` out, or export without `bulk`"))
        if problems:
            raise PlanError(problems)


def _validate_target(project: Project, warn: Notify | None) -> None:
    from featurelayer.dbt.target import validate_target

    validate_target(project, warn=warn)
