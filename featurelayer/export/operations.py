"""Use cases: export views, plan an export, roll a view back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from featurelayer.callbacks import Notify, Progress, ignore_progress
from featurelayer.errors import PlanError
from featurelayer.export.exporter import Exporter
from featurelayer.export.guard import Guard, clock_problems
from featurelayer.export.ledger import LedgerRow, Tables
from featurelayer.export.prices import Prices
from featurelayer.export.records import ExportPlan, ExportReport, Intent
from featurelayer.export.senders import ImportSender, RowSender, Sender
from featurelayer.export.services import publish_services
from featurelayer.export.snapshot import take_snapshots
from featurelayer.model import FeatureService, FeatureView
from featurelayer.online import Item, OnlineStore
from featurelayer.online.base import store_capabilities
from featurelayer.online.definitions import service_definition, view_schema
from featurelayer.retry import retry_on_conflict
from featurelayer.warehouse.base import OpenWarehouse, Warehouse

if TYPE_CHECKING:
    from featurelayer.online.stores.dynamodb.s3_import import ImportFiles, ImportLocation
    from featurelayer.online.stores.dynamodb.store import DynamoDBStore
    from featurelayer.online.stores.dynamodb.tables import TableSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """A table that an import creates: its store, the location of the files, and the table's settings."""

    store: DynamoDBStore
    place: ImportLocation
    settings: TableSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The target of an export: the store, its display name, the warehouse tables that record exports, and prices.

    `keep` is the number of exports kept for rollback, `bulk` the table to load by an import, if any.
    """

    store: OnlineStore
    shown: str
    tables: Tables
    prices: Prices
    keep: int = 7
    bulk: Bulk | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """An export request: views, the services to publish with all their views by id, and options.

    `as_of` is the time of the snapshot, by default the warehouse's present; `full` writes every row again; above
    `max_cost` US dollars nothing is written. `allow_removals` permits any number of removed keys. `code` holds a
    fingerprint of each view's code.
    """

    views: Sequence[FeatureView]
    services: Sequence[FeatureService]
    known_views: Mapping[str, FeatureView]
    invocation_id: str
    as_of: datetime | None = None
    full: bool = False
    max_cost: float | None = None
    allow_removals: bool = False
    code: Mapping[str, str] = field(default_factory=dict)

    @property
    def guard(self) -> Guard:
        return Guard(allow_removals=self.allow_removals, chosen_time=self.as_of is not None)


def export_views(
    request: ExportRequest, open_warehouse: OpenWarehouse, target: Target, *, progress: Progress | None, notify: Notify
) -> ExportReport:
    """Bring the store to the state of the views now, or at `as_of`, and publish the services.

    Everything is checked, and the intent is recorded in the warehouse, before anything is sent.
    """
    _validate_request(request)
    sender = _make_sender(target, progress)
    exporter = _make_exporter(open_warehouse, target, request.invocation_id, sender, notify)
    if target.bulk is None:
        exporter.wait({view.id: view for view in request.views})
    at, intents, usd = retry_on_conflict(partial(_record_intents, request, exporter, target))
    exports = exporter.finish_all(intents)
    # Last, so that a service never points at values that are not written yet.
    newest = max(intent.row.version for intent in intents)
    publish_services(target.store, request.services, request.known_views, newest)
    return ExportReport(
        as_of=at, store=target.shown, views=exports, services=tuple(s.name for s in request.services), usd=usd,
        path=sender.path,
    )  # fmt: skip


def _record_intents(request: ExportRequest, exporter: Exporter, target: Target) -> tuple[datetime, list[Intent], float]:
    """Record the intents in the warehouse; return them with the snapshots' time and the cost."""
    with exporter.transaction() as warehouse:
        at = _snapshot_time(warehouse, request)
        if problems := clock_problems(at):
            raise PlanError(problems)
        snapshots = take_snapshots(warehouse, request.views, at, request.code)
        rewind = request.as_of is not None
        intents = exporter.intend_all(warehouse, snapshots, full=request.full, rewind=rewind, guard=request.guard)
        usd = _intents_usd(target, intents)
        # Raised inside the transaction, so that the recorded intents are rolled back.
        _validate_cost(usd, request.max_cost, target.prices)
        return at, intents, usd


def plan_export(request: ExportRequest, open_warehouse: OpenWarehouse, target: Target) -> ExportPlan:
    """Plan `export_views`. Only temporary tables are written."""
    _validate_request(request)
    exporter = _make_exporter(open_warehouse, target, request.invocation_id)
    with open_warehouse(writable=False) as warehouse:
        at = _snapshot_time(warehouse, request)
        snapshots = take_snapshots(warehouse, request.views, at, request.code)
        views = tuple(exporter.plan(warehouse, each, full=request.full, guard=request.guard) for each in snapshots)
    plan = ExportPlan(
        as_of=at, store=target.shown, views=views, prices=target.prices, bulk=target.bulk is not None,
        clock=tuple(clock_problems(at)),
    )  # fmt: skip
    _validate_cost(plan.import_usd if plan.bulk else plan.cost.usd, request.max_cost, target.prices)
    return plan


def roll_back(
    view: FeatureView,
    run: str,
    open_warehouse: OpenWarehouse,
    target: Target,
    *,
    invocation_id: str,
    progress: Progress | None,
    notify: Notify,
) -> ExportReport:
    """Restore a view in the store to the state of an earlier committed run. Services stay unchanged."""
    sender = _make_sender(target, progress)
    exporter = _make_exporter(open_warehouse, target, invocation_id, sender, notify)
    with open_warehouse(writable=False) as warehouse:
        exporter.plan_restore(warehouse, view, run)  # report an unknown run before waiting
    exporter.wait({view.id: view})

    def record_intent() -> Intent:
        with exporter.transaction() as warehouse:
            return exporter.restore(warehouse, view, run)

    intent = retry_on_conflict(record_intent)
    result = exporter.finish(intent)
    cost = target.prices.cost(rows=intent.to_write, units=intent.units)
    return ExportReport(
        as_of=result.as_of, store=target.shown, views=(result,), services=(), usd=cost.usd, path=sender.path
    )


def plan_rollback(view: FeatureView, run: str, open_warehouse: OpenWarehouse, target: Target) -> ExportPlan:
    """Plan `roll_back`. Only temporary tables are written."""
    with open_warehouse(writable=False) as warehouse:
        plan = _make_exporter(open_warehouse, target, "").plan_restore(warehouse, view, run)
    return ExportPlan(as_of=plan.as_of, store=target.shown, views=(plan,), prices=target.prices)


def list_kept_exports(view: FeatureView, open_warehouse: OpenWarehouse, target: Target) -> list[LedgerRow]:
    """Return the exports of a view that a rollback can restore, newest first; the first one is being served."""
    with open_warehouse(writable=False) as warehouse:
        return _make_exporter(open_warehouse, target, "").list_restore_points(warehouse, view)


def store_prices(store: OnlineStore, settings: Mapping[str, Any]) -> Prices:
    """Return the prices of writing to a store; `settings` is the checked block of featurelayer.yml."""
    return Prices.for_dynamodb(settings) if store_capabilities(store).is_metered else Prices.free(settings)


def _make_exporter(
    open_warehouse: OpenWarehouse,
    target: Target,
    invocation_id: str,
    sender: Sender | None = None,
    notify: Notify | None = None,
) -> Exporter:
    return Exporter(
        open_warehouse, target.store, target.tables, sender=sender, invocation_id=invocation_id, keep=target.keep,
        notify=notify,
    )  # fmt: skip


def _make_sender(target: Target, progress: Progress | None) -> Sender:
    bulk = target.bulk
    if bulk is None:
        return RowSender(target.store, progress=progress)

    def load(sk: str, batches: Iterator[Sequence[Item]], run: str) -> ImportFiles:
        return bulk.store.load(sk, batches, bulk.place, bulk.settings, run, progress or ignore_progress)

    return ImportSender(load, has_table_per_view=bulk.store.has_table_per_view, progress=progress)


def _validate_request(request: ExportRequest) -> None:
    for view in request.views:
        view_schema(view)
    for service in request.services:
        service_definition(service, request.known_views)


def _validate_cost(usd: float, most: float | None, prices: Prices) -> None:
    if most is not None and usd > most:
        raise PlanError(
            f"this would cost about {usd:,.4f} USD, and {most:,.4f} USD is allowed ({prices.source})",
            fix="look at it with --plan, export fewer views, or allow more with --max-cost; nothing was written",
        )


def _intents_usd(target: Target, intents: Sequence[Intent]) -> float:
    if target.bulk is not None:
        return target.prices.import_usd(sum(intent.file_bytes for intent in intents))
    return target.prices.cost(rows=sum(i.to_write for i in intents), units=sum(i.units for i in intents)).usd


def _snapshot_time(warehouse: Warehouse, request: ExportRequest) -> datetime:
    """Return the chosen time, or the warehouse's present."""
    now, at = warehouse.now(), request.as_of
    at = now if at is None else at if at.tzinfo else at.replace(tzinfo=UTC)
    if at > now:
        raise PlanError(f"the snapshot's time {at.isoformat()} is in the future", fix="export without --as-of")
    return at
