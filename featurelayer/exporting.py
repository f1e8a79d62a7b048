"""Composes an export: snapshots compiled to SQL, rows encoded where that is fastest, the protocol, the services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from sqlglot import exp

from featurelayer.errors import PlanError, Problem
from featurelayer.export import Exporter, Progress, Snapshot, Tables, ViewExport, encode_to_file, publish_services
from featurelayer.model import FeatureService, FeatureView
from featurelayer.online import OnlineStore
from featurelayer.online.definitions import service_definition, view_schema
from featurelayer.online.keys import key_prefix
from featurelayer.sql.compiler import compile_plan
from featurelayer.sql.dialects import dialect
from featurelayer.sql.encoding import encoded
from featurelayer.sql.plan import Plan, Script
from featurelayer.sql.planner import plan_snapshot
from featurelayer.training import describe_views, run_checks, run_step
from featurelayer.warehouse import Warehouse


class Opener(Protocol):
    """Connects to the warehouse of the target."""

    def __call__(self, *, writable: bool) -> Warehouse: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What an export did, view by view, and the time its snapshot was taken at."""

    as_of: datetime
    store: str
    views: tuple[ViewExport, ...]
    services: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "as_of": self.as_of.isoformat(),
            "store": self.store,
            "services": list(self.services),
            "views": [view.to_dict() for view in self.views],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What is to be exported: views, the services to publish with all their views by id, and how.

    `as_of` is the time of the snapshot, by default the warehouse's own; `full` writes every row again.
    """

    views: Sequence[FeatureView]
    services: Sequence[FeatureService]
    known_views: Mapping[str, FeatureView]
    invocation_id: str
    as_of: datetime | None = None
    full: bool = False


def export_views(
    request: ExportRequest, opener: Opener, store: OnlineStore, tables: Tables, *, shown: str, progress: Progress | None
) -> ExportReport:
    """Bring the store to the views as they are now, or were at `as_of`, and publish the services.

    Everything is checked, and in the warehouse it is written down what will be sent, before anything is sent.
    """
    for view in request.views:
        view_schema(view)
    for service in request.services:
        service_definition(service, request.known_views)
    with closing(opener(writable=False)) as warehouse:
        _snapshots(warehouse, request)

    @contextmanager
    def connected(writable: bool) -> Iterator[Warehouse]:
        with closing(opener(writable=writable)) as warehouse:
            yield warehouse

    exporter = Exporter(connected, store, tables, invocation_id=request.invocation_id, progress=progress)
    with connected(True) as warehouse, warehouse.transaction():
        at, snapshots = _snapshots(warehouse, request)
        rewind = request.as_of is not None
        intents = [exporter.intend(warehouse, each, full=request.full, rewind=rewind) for each in snapshots]
    done = tuple(exporter.finish(intent) for intent in intents)
    # Last, so that a service never points at values that are not there yet.
    newest = max(intent.row.version for intent in intents)
    publish_services(store, request.services, request.known_views, newest)
    return ExportReport(as_of=at, store=shown, views=done, services=tuple(s.name for s in request.services))


def _snapshots(warehouse: Warehouse, request: ExportRequest) -> tuple[datetime, list[Snapshot]]:
    """Return the snapshots' time and what makes each, checked against the warehouse."""
    now, at = warehouse.now(), request.as_of
    at = now if at is None else at if at.tzinfo else at.replace(tzinfo=UTC)
    if at > now:
        raise PlanError(
            [Problem(what=f"the snapshot's time {at.isoformat()} is in the future", fix="export without --as-of")]
        )
    columns = describe_views(warehouse, request.views)
    plans = [plan_snapshot(view, columns[view.id], as_of=at) for view in request.views]
    scripts = [compile_plan(plan, warehouse.dialect) for plan in plans]
    for script in scripts:
        run_checks(warehouse, script.checks)
    return at, [
        _snapshot(view, at, plan, script) for view, plan, script in zip(request.views, plans, scripts, strict=True)
    ]


def _snapshot(view: FeatureView, at: datetime, plan: Plan, script: Script) -> Snapshot:
    def rows(warehouse: Warehouse, folder: Path) -> tuple[exp.Expression, int]:
        for step in script.steps:
            run_step(warehouse, step)
        writer = dialect(warehouse.dialect)
        query = encoded(writer, plan, view, key_prefix(view.entities))
        if query is not None:
            return query, 0
        with warehouse.arrow(script.query.sql) as reader:
            null_keys = encode_to_file(view, reader, folder / "encoded.parquet")
        source = warehouse.attach(folder / "encoded.parquet").sql
        return exp.maybe_parse(source, into=exp.Table, dialect=writer.name), null_keys

    return Snapshot(view=view, as_of=at, rows=rows, temporary=script.temporary)
