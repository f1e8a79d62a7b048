"""Composes an export: snapshots compiled to SQL, rows encoded where that is fastest, the protocol, the services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from featurelayer.callbacks import Notify, Progress, ignore_progress
from featurelayer.errors import PlanError, Problem
from featurelayer.export import (
    BulkExporter,
    Cost,
    Guard,
    Intent,
    LedgerRow,
    Prices,
    Snapshot,
    Tables,
    ViewExport,
    ViewPlan,
    clock_problems,
    publish_services,
    retry_on_conflict,
)
from featurelayer.export.snapshot import take_snapshots
from featurelayer.model import FeatureService, FeatureView
from featurelayer.online import Item, OnlineStore
from featurelayer.online.base import store_capabilities
from featurelayer.online.definitions import service_definition, view_schema, view_sk
from featurelayer.warehouse import Warehouse
from featurelayer.warehouse.base import OpenWarehouse

if TYPE_CHECKING:
    from featurelayer.online.stores.dynamodb.s3_import import ImportFiles, ImportLocation
    from featurelayer.online.stores.dynamodb.store import DynamoDBStore
    from featurelayer.online.stores.dynamodb.tables import TableSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What an export or a rollback did, view by view, and the time its snapshot was taken at.

    `usd` is what the write units cost by the table of prices, `path` how the store was written where there are several
    ways.
    """

    as_of: datetime
    store: str
    views: tuple[ViewExport, ...]
    services: tuple[str, ...]
    usd: float
    path: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "as_of": self.as_of.isoformat(),
            "store": self.store,
            "path": self.path,
            "usd": self.usd,
            "services": list(self.services),
            "views": [view.to_dict() for view in self.views],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlan:
    """What an export or a rollback would do, view by view, with an estimate of money and time.

    `cost` is that of writing row by row, also where it is `bulk` that is planned. `clock` is what is wrong with the
    time of the snapshots.
    """

    as_of: datetime
    store: str
    views: tuple[ViewPlan, ...]
    prices: Prices
    bulk: bool = False
    clock: tuple[Problem, ...] = ()

    @property
    def refused(self) -> tuple[Problem, ...]:
        """Why the export would write nothing; empty if it would be done."""
        return (*self.clock, *(problem for view in self.views for problem in view.refused.problems))

    @property
    def cost(self) -> Cost:
        """The estimate for all views."""
        return _plan_cost(self.prices, self.views)

    @property
    def import_bytes(self) -> int:
        """About how large the files would be that an import into a new table takes."""
        return sum(view.file_bytes for view in self.views)

    @property
    def import_usd(self) -> float:
        """What such an import would cost."""
        return self.prices.import_usd(self.import_bytes)

    @property
    def is_first_load(self) -> bool:
        """Whether the store holds nothing of these views, so that an import could do as well."""
        return any(view.new for view in self.views) and not any(
            view.changed + view.in_doubt + view.removed + view.unchanged for view in self.views
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        views = [(view, self.prices.cost(rows=view.writes, units=view.units)) for view in self.views]
        return {
            "as_of": self.as_of.isoformat(),
            "store": self.store,
            "prices": self.prices.source,
            **asdict(self.cost),
            "bulk": self.bulk,
            "import_bytes": self.import_bytes,
            "import_usd": self.import_usd,
            "refused": [{"what": problem.what, "fix": problem.fix} for problem in self.refused],
            "views": [view.to_dict() | asdict(cost) for view, cost in views],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """A table that is to be made by an import, where its files go, and what the table is to be like."""

    store: DynamoDBStore
    place: ImportLocation
    settings: TableSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where an export goes: the store, what people call it, where the warehouse remembers, and what writing costs.

    `keep` is how many exports can be rolled back to, `bulk` the store itself where it is to be loaded by an import.
    """

    store: OnlineStore
    shown: str
    tables: Tables
    prices: Prices
    keep: int = 7
    bulk: Bulk | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What is to be exported: views, the services to publish with all their views by id, and how.

    `as_of` is the time of the snapshot, by default the warehouse's own; `full` writes every row again; above `max_cost`
    US dollars nothing is written. `allow_removals`: any number of keys may go. `code` is, by view, a fingerprint of
    what computes it.
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
    """Bring the store to the views as they are now, or were at `as_of`, and publish the services.

    Everything is checked, and in the warehouse it is written down what will be sent, before anything is sent.
    """
    _validate_request(request)
    with open_warehouse(writable=False) as warehouse:
        at, _ = _take_snapshots(warehouse, request)
    if problems := clock_problems(at):
        raise PlanError(problems)
    exporter = _make_exporter(open_warehouse, target, request.invocation_id, progress, notify)
    if target.bulk is None:
        exporter.wait({view.id: view for view in request.views})
    at, intents, usd = retry_on_conflict(partial(_record_intents, request, exporter, target))
    path = None
    if target.bulk is None:
        done = tuple(exporter.finish(intent) for intent in intents)
    else:
        done, path = _load_intents(exporter, target.bulk, intents, progress)
    # Last, so that a service never points at values that are not there yet.
    newest = max(intent.row.version for intent in intents)
    publish_services(target.store, request.services, request.known_views, newest)
    return ExportReport(
        as_of=at, store=target.shown, views=done, services=tuple(s.name for s in request.services), usd=usd,
        path=path or _write_path(target.store),
    )  # fmt: skip


def _record_intents(
    request: ExportRequest, exporter: BulkExporter, target: Target
) -> tuple[datetime, list[Intent], float]:
    """Write down in the warehouse what will be sent; return it with the snapshots' time and what it costs."""
    with exporter.transaction() as warehouse:
        at, snapshots = _take_snapshots(warehouse, request)
        rewind = request.as_of is not None
        intents = exporter.intend_all(warehouse, snapshots, full=request.full, rewind=rewind, guard=request.guard)
        usd = _intents_usd(target, intents)
        # What has been written down goes with the transaction.
        _validate_cost(usd, request.max_cost, target.prices)
        return at, intents, usd


def plan_export(request: ExportRequest, open_warehouse: OpenWarehouse, target: Target) -> ExportPlan:
    """Return what `export_views` would do. Nothing is written anywhere."""
    _validate_request(request)
    exporter = _make_exporter(open_warehouse, target, request.invocation_id)
    with open_warehouse(writable=False) as warehouse:
        at, snapshots = _take_snapshots(warehouse, request)
        views = tuple(exporter.plan(warehouse, each, full=request.full, guard=request.guard) for each in snapshots)
    plan = ExportPlan(
        as_of=at, store=target.shown, views=views, prices=target.prices, bulk=target.bulk is not None,
        clock=tuple(clock_problems(at)),
    )  # fmt: skip
    _validate_cost(plan.import_usd if plan.bulk else plan.cost.usd, request.max_cost, target.prices)
    return plan


def roll_back(
    view: FeatureView, run: str, open_warehouse: OpenWarehouse, target: Target, *, invocation_id: str,
    progress: Progress | None, notify: Notify,
) -> ExportReport:  # fmt: skip
    """Bring a view in the store back to what it held when an earlier run had committed. Services stay as they are."""
    exporter = _make_exporter(open_warehouse, target, invocation_id, progress, notify)
    with open_warehouse(writable=False) as warehouse:
        exporter.plan_restore(warehouse, view, run)
    exporter.wait({view.id: view})

    def intended() -> Intent:
        with exporter.transaction() as warehouse:
            return exporter.restore(warehouse, view, run)

    intent = retry_on_conflict(intended)
    done = exporter.finish(intent)
    cost = target.prices.cost(rows=intent.to_write, units=intent.units)
    return ExportReport(
        as_of=done.as_of, store=target.shown, views=(done,), services=(), usd=cost.usd, path=_write_path(target.store)
    )


def plan_rollback(view: FeatureView, run: str, open_warehouse: OpenWarehouse, target: Target) -> ExportPlan:
    """Return what `roll_back` would do. Nothing is written anywhere."""
    exporter = _make_exporter(open_warehouse, target, "")
    with open_warehouse(writable=False) as warehouse:
        plan = exporter.plan_restore(warehouse, view, run)
    return ExportPlan(as_of=plan.as_of, store=target.shown, views=(plan,), prices=target.prices)


def list_kept_exports(view: FeatureView, open_warehouse: OpenWarehouse, target: Target) -> list[LedgerRow]:
    """Return the exports of a view that can be gone back to, newest first; the first is what is served."""
    with open_warehouse(writable=False) as warehouse:
        return _make_exporter(open_warehouse, target, "").kept(warehouse, view)


def store_prices(store: OnlineStore, said: Mapping[str, Any]) -> Prices:
    """Return what writing to a store costs; `said` is the checked block of featurelayer.yml."""
    return Prices.for_dynamodb(said) if store_capabilities(store).is_metered else Prices.free(said)


def _make_exporter(
    open_warehouse: OpenWarehouse, target: Target, invocation_id: str, progress: Progress | None = None,
    notify: Notify | None = None,
) -> BulkExporter:  # fmt: skip
    return BulkExporter(
        open_warehouse, target.store, target.tables, invocation_id=invocation_id, keep=target.keep, progress=progress,
        notify=notify,
    )  # fmt: skip


def _validate_request(request: ExportRequest) -> None:
    for view in request.views:
        view_schema(view)
    for service in request.services:
        service_definition(service, request.known_views)


def _validate_cost(usd: float, most: float | None, prices: Prices) -> None:
    if most is not None and usd > most:
        raise PlanError([Problem(
            what=f"this would cost about {usd:,.4f} USD, and {most:,.4f} USD is allowed ({prices.source})",
            fix="look at it with --plan, export fewer views, or allow more with --max-cost; nothing was written",
        )])  # fmt: skip


def _plan_cost(prices: Prices, views: Sequence[ViewPlan]) -> Cost:
    return prices.cost(rows=sum(view.writes for view in views), units=sum(view.units for view in views))


def _intents_usd(target: Target, intents: Sequence[Intent]) -> float:
    if target.bulk is not None:
        return target.prices.import_usd(sum(intent.file_bytes for intent in intents))
    return target.prices.cost(rows=sum(i.to_write for i in intents), units=sum(i.units for i in intents)).usd


def _load_intents(
    exporter: BulkExporter, bulk: Bulk, intents: Sequence[Intent], progress: Progress | None
) -> tuple[tuple[ViewExport, ...], str]:
    """Have AWS make the table, or that of each view, of what was intended; return what was done and by which way."""
    sent: list[ImportFiles] = []
    done: list[ViewExport] = []
    for together in [[intent] for intent in intents] if bulk.store.has_table_per_view else [list(intents)]:
        sk = view_sk(together[0].view)

        def loader(batches: Iterator[Sequence[Item]], run: str, sk: str = sk) -> None:
            sent.append(bulk.store.load(sk, batches, bulk.place, bulk.settings, run, progress or ignore_progress))

        done += exporter.load(together, loader)
    return tuple(done), "ImportTable from " + ", ".join(f"s3://{each.bucket}/{each.prefix}" for each in sent)


def _write_path(store: OnlineStore) -> str:
    return str(getattr(store, "write_path", ""))


def _take_snapshots(warehouse: Warehouse, request: ExportRequest) -> tuple[datetime, list[Snapshot]]:
    """Return the snapshots' time and what makes each, checked against the warehouse."""
    now, at = warehouse.now(), request.as_of
    at = now if at is None else at if at.tzinfo else at.replace(tzinfo=UTC)
    if at > now:
        raise PlanError(
            [Problem(what=f"the snapshot's time {at.isoformat()} is in the future", fix="export without --as-of")]
        )
    return at, take_snapshots(warehouse, request.views, at, request.code)
