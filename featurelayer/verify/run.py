"""Verify views: read the last commit, draw keys of both sides, take the commit's snapshot, classify."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random

from featurelayer.callbacks import Progress, ignore_progress
from featurelayer.durations import microseconds
from featurelayer.errors import CorruptItem, PlanError, Problem, RelationNotBuilt
from featurelayer.export import Ledger, Tables
from featurelayer.export.changes import key_signature
from featurelayer.export.snapshot import take_snapshots
from featurelayer.model import FeatureView
from featurelayer.online import OnlineStore
from featurelayer.online.base import store_capabilities
from featurelayer.online.codec import from_microseconds, to_microseconds
from featurelayer.online.definitions import SCHEMAS, Schema, ViewCommit, commit_key, view_schema, view_sk
from featurelayer.online.key_sample import sample_keys
from featurelayer.sql.lateness import clock_lateness, export_lateness
from featurelayer.sql.planner import match_column
from featurelayer.tempdirs import TempDir
from featurelayer.verify import (
    CommittedExport,
    ExportedRow,
    KeyState,
    Lateness,
    LatenessObservation,
    RateLimiter,
    Row,
    VerifyReport,
    ViewFacts,
    ViewVerdict,
    classify_keys,
    read_expected_rows,
    read_exported_rows,
    read_items,
)
from featurelayer.verify.lateness import EXPORTS, format_declaration, ladder_micros, read_observation
from featurelayer.warehouse import Warehouse
from featurelayer.warehouse.base import OpenWarehouse


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """A verification request: views, the fingerprint of each view's `code`, and the sample size per side.

    `tolerance` is the share of a view's compared keys that may differ. `read_units` limits the read units per second.
    """

    views: Sequence[FeatureView]
    code: Mapping[str, str]
    sample: int
    seed: int
    tolerance: float
    read_units: float | None


def verify_views(
    request: VerifyRequest,
    open_warehouse: OpenWarehouse,
    store: OnlineStore,
    shown: str,
    tables: Tables,
    *,
    progress: Progress | None = None,
) -> VerifyReport:
    """Compare the online store with the snapshot at the last committed export of each view; nothing is written.

    Raises:
        PlanError: a relation is not built or is not what the annotations say.
        CodecError: a value of the warehouse does not fit its declared type.
        StoreNotFound: there is no such store.
    """
    # A file or memory has no units to spend.
    pace = RateLimiter(request.read_units if store_capabilities(store).is_metered else None)
    for view in request.views:
        view_schema(view)
    with open_warehouse(writable=False) as warehouse:
        verdicts = tuple(
            _verify_view(warehouse, request, view, store, tables, pace, progress or ignore_progress)
            for view in request.views
        )
    return VerifyReport(store=shown, seed=request.seed, sample=request.sample, views=verdicts)


def observe_lateness(
    view: FeatureView, open_warehouse: OpenWarehouse, tables: Tables | None, *, coverage: float, since: datetime | None
) -> Lateness:
    """Measure how late a view's rows were, by its own columns and by the first exports that contain them.

    Raises:
        PlanError: the view has no event time, or nothing records when its rows arrived.
        RelationNotBuilt: the view is not in the warehouse.
    """
    if view.event_time is None or view.static:
        raise PlanError([Problem(
            what=f"{view.id} is static: its rows have no event that they could be late for", where=view.yaml_path,
            fix="name a view with an event_time",
        )])  # fmt: skip
    with open_warehouse(writable=False) as warehouse:
        observed = [*_observe_columns(warehouse, view, since), *_observe_exports(warehouse, view, tables, since)]
    if not observed:
        raise PlanError([Problem(
            what=f"nothing tells when the rows of {view.id} arrived", where=view.yaml_path,
            fix="declare available_at or created_timestamp, or put the view online and export it some times",
        )])  # fmt: skip
    return Lateness(view=view.id, declared=format_declaration(view), coverage=coverage, observed=tuple(observed))


def _observe_columns(warehouse: Warehouse, view: FeatureView, since: datetime | None) -> Iterator[LatenessObservation]:
    columns = warehouse.describe(view.relation_name)
    event = match_column(view.event_time or "", columns)
    for name in dict.fromkeys(name for name in (view.available_at, view.created_timestamp) if name):
        arrival = match_column(name, columns)
        if event is not None and arrival is not None and arrival.dtype.is_time and arrival != event:
            query = clock_lateness(
                warehouse.dialect, view.relation_name, event, arrival, ladder_micros(), since=_as_utc(since)
            )
            yield read_observation(name, warehouse.rows(query)[0])


def _observe_exports(
    warehouse: Warehouse, view: FeatureView, tables: Tables | None, since: datetime | None
) -> Iterator[LatenessObservation]:
    # Rows that state when they are known are not late because of a later export.
    if tables is None or view.available_at:
        return
    try:
        for relation in (tables.ledger, tables.items):
            warehouse.describe(relation)
    except RelationNotBuilt:
        return
    query = export_lateness(
        warehouse.dialect, tables.log(view.id), ladder_micros(), delay=microseconds(view.delay or timedelta(0)),
        since=to_microseconds(since) if since is not None else None,
    )  # fmt: skip
    yield read_observation(EXPORTS, warehouse.rows(query)[0])


def _as_utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _verify_view(
    warehouse: Warehouse,
    request: VerifyRequest,
    view: FeatureView,
    store: OnlineStore,
    tables: Tables,
    pace: RateLimiter,
    progress: Progress,
) -> ViewVerdict:
    sk, before = view_sk(view), pace.units
    item = store.read([commit_key(sk)], consistent=True).get(commit_key(sk))
    bare = ViewVerdict(view=view.id, as_of=None, tolerance=request.tolerance)
    if item is None:
        return bare
    commit = ViewCommit.from_item(item)
    random = Random(f"{request.seed}|{view.id}")  # noqa: S311 (a sample, not a secret)
    online = sample_keys(store, sk, request.sample, rows=commit.rows, random=random, spend=pace.acquire)
    rows, drawn = _read_expected(warehouse, request, view, commit, online)
    keys = sorted({*online, *drawn})
    progress(view.id, 0, len(keys))
    items = read_items(store, sk, keys, pace, lambda done: progress(view.id, done, len(keys)))
    runs, exported = _read_export_history(warehouse, view, tables, keys, commit)
    facts = ViewFacts(
        view=view, commit=commit, schemas=_read_schemas(store, {item.schema for item in items.values()}), runs=runs,
        keys=key_signature(view), code=request.code.get(view.id, ""), now=to_microseconds(warehouse.now()),
        collects=store_capabilities(store).expires_items,
    )  # fmt: skip
    states = [KeyState(pk=pk, expected=rows.get(pk), item=items.get(pk), held=exported.get(pk)) for pk in keys]
    verdict = replace(
        bare, as_of=from_microseconds(commit.as_of), rows=commit.rows, warehouse_keys=len(drawn),
        online_keys=len(online), read_units=pace.units - before, remembered=bool(runs),
    )  # fmt: skip
    return classify_keys(facts, states, verdict)


def _read_expected(
    warehouse: Warehouse, request: VerifyRequest, view: FeatureView, commit: ViewCommit, online: Sequence[str]
) -> tuple[dict[str, Row], list[str]]:
    (snapshot,) = take_snapshots(warehouse, [view], from_microseconds(commit.as_of))
    with TempDir() as folder:
        source, _ = snapshot.rows(warehouse, folder)
        expected = read_expected_rows(warehouse, source, online, sample=request.sample, seed=request.seed)
    warehouse.drop(list(snapshot.temporary))
    return expected


def _read_export_history(
    warehouse: Warehouse, view: FeatureView, tables: Tables, keys: Sequence[str], commit: ViewCommit
) -> tuple[list[CommittedExport], dict[str, ExportedRow]]:
    """Return the recorded committed exports and what they wrote; empty if the warehouse has no record."""
    try:
        for relation in (tables.ledger, tables.items):
            warehouse.describe(relation)
    except RelationNotBuilt:
        return [], {}
    runs = [
        CommittedExport(version=row.version, definition=row.definition, keys=row.keys)
        for row in Ledger(warehouse, tables).rows(view.id)
        if (row.finished_at is not None or row.version == commit.version) and row.version <= commit.version
    ]
    if not runs or runs[-1].version != commit.version:
        return [], {}
    return runs, read_exported_rows(warehouse, tables.log(view.id), keys, commit.version)


def _read_schemas(store: OnlineStore, names: set[str]) -> dict[str, Schema]:
    items = store.read([(SCHEMAS, name) for name in sorted(names) if name], consistent=True)
    schemas = {}
    for (_, sk), item in items.items():
        with suppress(CorruptItem):  # items that follow it are reported as corrupt
            schemas[sk] = Schema.from_item(item)
    return schemas
