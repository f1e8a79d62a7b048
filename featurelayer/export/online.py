"""The online store of a project's target: `layer.online`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from featurelayer.callbacks import Notify
from featurelayer.errors import ConfigError, PlanError, Problem
from featurelayer.model import FeatureView
from featurelayer.online import FeatureClient, OnlineStore, open_store
from featurelayer.online.base import CheckpointStore, CopyableStore, find_provisioner
from featurelayer.online.definitions import view_sk
from featurelayer.online.settings import KEEP, open_checked_store, patient_url, read_keep, store_name, store_url
from featurelayer.warehouse import keep_running, schema_of
from featurelayer.workspace import Workspace

if TYPE_CHECKING:
    from featurelayer.export import DrainReport, ErasureReport, LedgerRow, Tables
    from featurelayer.export.operations import ExportRequest, Target
    from featurelayer.export.records import ExportPlan
    from featurelayer.online.base import CreateResult
    from featurelayer.online.status import StoreStatus
    from featurelayer.online.stores.dynamodb.store import DynamoDBStore
    from featurelayer.online.stores.dynamodb.tables import TableSettings

_LOCK_TIMEOUT = timedelta(seconds=60)


class OnlineOperations:
    """Creates, inspects, drains and erases from the online store of one project's target."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._project = workspace.project

    # --- the store -----------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The address of the store, from featurelayer.yml."""
        return store_url(self._project.config.online_store, self._project.root)

    @property
    def table_settings(self) -> TableSettings:
        """The tags and protections of the DynamoDB table, from featurelayer.yml."""
        from featurelayer.online.stores.dynamodb.tables import read_settings

        return read_settings(self._project.config.online_store, self._where)

    @property
    def table_names(self) -> dict[str, str]:
        """The names of the DynamoDB tables: one under the empty name, or that of each view, and `services`.

        Raises:
            PlanError: the store is not a DynamoDB table.
            ConfigError: view names that make no valid table name, or the same one; the message lists all of them.
        """
        from featurelayer.online.stores.dynamodb.layout import parse_layout

        entry = self._project.config.online_store
        if entry["type"] != "dynamodb" or not entry.get("table"):
            what = f"the online store of target '{self._project.target}' is of type {entry['type']}, not dynamodb"
            raise PlanError([Problem(what=what, fix="pass another target with -t")])
        return parse_layout(str(entry["table"])).tables(self._sks_with_tables())

    def create(self, *, notify: Notify | None = None) -> CreateResult:
        """Create the store, or check the one that exists; safe to repeat.

        Raises:
            StoreNotFound: a different store is at its address; the message lists the differences.
        """
        self._workspace.validate_target()
        settings = self.table_settings
        with closing(open_store(self._patient_url)) as store:
            provisioner = find_provisioner(store, self._sks_with_tables())
            if provisioner is None:
                what = f"featurelayer can't create {store!r}"
                raise PlanError([Problem(what=what, fix="create it with the store's own tools")])
            return provisioner.create(settings, notify)

    def backup(self, path: str | Path, *, overwrite: bool = False) -> dict[str, Any]:
        """Copy the store, while it is in use, to one file that can be served from; return facts about it.

        Raises:
            PlanError: the store is not a file, `path` exists, or its folder does not.
            StoreNotFound: the store does not exist.
        """
        with closing(open_store(self._patient_url)) as store:
            if not isinstance(store, CopyableStore):
                kind = self._project.config.online_store["type"]
                what = f"the online store of target '{self._project.target}' is of type {kind}, not a file"
                fix = f"use the backups of {kind} itself, or pass another target with -t"
                raise PlanError([Problem(what=what, fix=fix)])
            return store.backup(path, overwrite=overwrite)

    def status(self, *, now: datetime | None = None) -> StoreStatus:
        """Return facts about the store and the newest export of each view.

        Raises:
            StoreNotFound: the store does not exist.
        """
        from featurelayer.online.status import store_status

        with closing(open_store(self._patient_url)) as store:
            return store_status(store, self._all_views, now or datetime.now(UTC))

    def client(self, *, patient: bool = False, **options: Any) -> FeatureClient:
        """Return a lookup client of the store; a `patient` one waits longer than a service would."""
        return FeatureClient.connect(self._patient_url if patient else self.url, **options)

    # --- streamed rows and erasure -------------------------------------------------------------------------------

    def drain(
        self, views: Sequence[str] = (), *, store: OnlineStore | None = None, lock_timeout: timedelta = _LOCK_TIMEOUT
    ) -> list[DrainReport]:
        """Append what clients wrote between exports to `featurelayer_streamed__<view>`, each row exactly once.

        Args:
            views: names of views with `online: true`, whose tables are created even if there is nothing to append; by
                default all views with streamed rows.
            store: a store other than the target's.
            lock_timeout: the longest wait for a DuckDB file that another process holds.

        Raises:
            PlanError: a view's table no longer fits the view; nothing is appended then.
            WarehouseError, OnlineStoreError: either side failed; running it again finishes the work.
        """
        from featurelayer.export import drain

        selected = self.find_views(views)
        with self.open_target(store) as target:
            opener = self._workspace.opener(lock_timeout)
            return drain(selected, target.store, target.tables, opener, always=bool(views))

    def forget(
        self,
        keys: Mapping[str, str],
        *,
        view: str | None = None,
        store: OnlineStore | None = None,
        lock_timeout: timedelta = _LOCK_TIMEOUT,
    ) -> list[ErasureReport]:
        """Erase a subject from the online store, its log, and the warehouse's tables of exports and streamed rows.

        Args:
            keys: key columns and their values as text; every online view whose key has all of them is searched.
            view: one view only.
            store: a store other than the target's.
            lock_timeout: the longest wait for a DuckDB file that another process holds.

        Raises:
            PlanError: no online view has a key with these columns.
            CodecError: a value does not have its key's type.
            WarehouseError, OnlineStoreError: either side failed; running it again finishes the work.
        """
        from featurelayer.export import find_subjects, forget

        subjects = find_subjects(self.find_views([view] if view else ()), keys)
        open_warehouse = self._workspace.opener(lock_timeout)
        with self.open_target(store) as target, open_warehouse(writable=True) as warehouse:
            return [forget(target.store, warehouse, target.tables, subject) for subject in subjects]

    # --- rollbacks -----------------------------------------------------------------------------------------------

    def kept_exports(self, view: str, *, store: OnlineStore | None = None) -> list[LedgerRow]:
        """Return the exports of a view that a rollback can restore, newest first; the first is the one in use."""
        from featurelayer.export.operations import list_kept_exports

        (selected,) = self.find_views([view])
        with self.open_target(store) as target:
            return list_kept_exports(selected, self._workspace.opener(), target)

    def plan_rollback(self, view: str, run: str, *, store: OnlineStore | None = None) -> ExportPlan:
        """Plan a rollback, with its approximate cost; nothing is written."""
        from featurelayer.export.operations import plan_rollback

        (selected,) = self.find_views([view])
        with self.open_target(store) as target:
            return plan_rollback(selected, run, self._workspace.opener(), target)

    # --- for exports and checks ----------------------------------------------------------------------------------

    def find_views(self, names: Sequence[str] = ()) -> list[FeatureView]:
        """Return the online views with these names, or all of them.

        Raises:
            UnknownNameError: there is no such view.
            PlanError: a view is not online, or there is none.
        """
        views = [self._workspace.registry.view(name) for name in names] if names else self._all_views
        fix = "add online: true to its featurelayer block"
        problems = [
            Problem(what=f"{view.id} is not online", where=view.yaml_path, fix=fix) for view in views if not view.online
        ]
        if not views:
            fix = "add online: true to a view's featurelayer block"
            problems.append(Problem(what="no feature view is online", fix=fix))
        if problems:
            raise PlanError(problems)
        return views

    def make_request(self, views: Sequence[str], **options: Any) -> ExportRequest:
        """Return the request to export these views, or all, with the services that have online views alone."""
        from featurelayer.export.operations import ExportRequest

        registry, selected = self._workspace.registry, self.find_views(views)
        return ExportRequest(
            views=selected,
            code=self.code_fingerprints(selected),
            services=[s for s in registry.services.values() if all(registry.views[v.view].online for v in s.views)],
            known_views=registry.views,
            invocation_id=registry.invocation_id,
            **options,
        )

    def code_fingerprints(self, views: Sequence[FeatureView]) -> dict[str, str]:
        """Return a fingerprint of each view's code; seeds are data and do not count."""
        from featurelayer.dbt.artifacts import sql_checksums
        from featurelayer.export.snapshot import code_fingerprint

        checksums = sql_checksums(self._project.target_path, [view.unique_id for view in views])
        code = {
            view: {node: checksum for node, checksum in sources.items() if not node.startswith("seed.")}
            for view, sources in checksums.items()
        }
        return {view.id: code_fingerprint(view, code[view.unique_id]) for view in views}

    def validate_bulk(self, views: Sequence[str], store: OnlineStore | None) -> None:
        """Raise PlanError if an import can't be used: it creates a whole table, so no view may be left out."""
        problems = []
        if views and not self._has_table_per_view:
            what = "an import creates the table of all online views, and only some were named"
            problems.append(Problem(what=what, fix="leave the names out, or export without --bulk"))
        if store is not None:
            what = "an import loads the store of featurelayer.yml, and another store was passed"
            problems.append(Problem(what=what, fix="leave `store` out, or export without `bulk`"))
        if problems:
            raise PlanError(problems)

    @contextmanager
    def open_target(self, store: OnlineStore | None, *, bulk: Sequence[FeatureView] = ()) -> Iterator[Target]:
        """Open the target of an export; the tables of `bulk` views do not exist yet."""
        from featurelayer.export.operations import Bulk, Target, store_prices
        from featurelayer.online.stores.dynamodb.s3_import import read_import_location

        self._workspace.validate_target()
        config = self._project.config
        url = self._patient_url if store is None else ""
        keep = read_keep(config.online_store, self._where) if store is None else KEEP
        place = read_import_location(config.online_store, self._where) if bulk else None
        new = [view_sk(view) for view in bulk]
        with (
            open_checked_store(store, url, views=self._all_sks, new=new) as opened,
            keep_running(self._project.connection, root=self._project.root),
        ):
            yield Target(
                store=opened,
                shown=self.url if store is None else repr(store),
                tables=self.export_tables(repr(store) if store is not None else None),
                prices=store_prices(opened, config.prices),
                keep=keep,
                bulk=None
                if place is None
                else Bulk(store=cast("DynamoDBStore", opened), place=place, settings=self.table_settings),
            )
            if isinstance(opened, CheckpointStore) and (remains := opened.checkpoint()):
                self._workspace.notify(remains)

    def export_tables(self, store: str | None = None) -> Tables:
        """Return the warehouse tables that record exports to the target's store, or to another one by its name.

        Raises:
            ConfigError: the target has no online store.
        """
        from featurelayer.export import Tables

        schema = schema_of(self._project.connection)
        return Tables.from_schema(schema, store or store_name(self._project.config.online_store))

    def find_export_tables(self) -> Tables | None:
        """Return `export_tables` of the target's store, or None if it has no online store."""
        try:
            return self.export_tables()
        except ConfigError:
            return None

    @property
    def _where(self) -> str:
        return f"{self._project.config.path} -> online_store.{self._project.target}"

    @property
    def _patient_url(self) -> str:
        return patient_url(self._project.config.online_store, self._project.root)

    @property
    def _all_views(self) -> list[FeatureView]:
        return [view for view in self._workspace.registry.views.values() if view.online]

    @property
    def _all_sks(self) -> list[str]:
        return [view_sk(view) for view in self._all_views]

    def _sks_with_tables(self) -> list[str]:
        """The views that have a table of their own."""
        return self._all_sks if self._has_table_per_view else []

    @property
    def _has_table_per_view(self) -> bool:
        from featurelayer.online.stores.dynamodb.layout import parse_layout

        entry = self._project.config.online_store
        if entry["type"] != "dynamodb" or not entry.get("table"):
            return False
        return parse_layout(str(entry["table"])).has_table_per_view
