"""Compare a snapshot, or an earlier state, with the known content of the store: the changes to export.

Only temporary tables of the warehouse are written, so a plan and an export find the same changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurelayer.durations import microseconds
from featurelayer.errors import PlanError, Problem, StoreNotFound
from featurelayer.export.ledger import Ledger, LedgerRow, Tables
from featurelayer.export.snapshot import Snapshot
from featurelayer.model import FeatureView
from featurelayer.online.base import Item, OnlineStore
from featurelayer.online.codec import from_microseconds, to_microseconds
from featurelayer.online.definitions import ViewCommit, ViewRunStart, commit_key, run_start_key, view_schema, view_sk
from featurelayer.sql.delta import DIFFERENT, IN_DOUBT, NEW, REMOVED, Delta
from featurelayer.sql.dialects import dialect
from featurelayer.tempdirs import TempDir
from featurelayer.warehouse.base import Warehouse, from_item

if TYPE_CHECKING:
    from sqlglot import exp

PRESENT = (NEW, DIFFERENT, IN_DOUBT)
# Removals go last: readers of an old key find its value until the new one is written.
KINDS = (*PRESENT, REMOVED)
_LISTED_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Entities to be written for one reason, their bytes as DynamoDB counts them, and the write units they take."""

    keys: int
    bytes: int
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The state before a run: the view's ledger, whether the store agrees, and the newest version in use.

    `as_of` and `source_time` are those of the last export that committed, in microseconds.
    """

    rows: Sequence[LedgerRow]
    trusted: bool
    version: int
    source_time: int | None
    as_of: int | None

    @property
    def commits(self) -> list[LedgerRow]:
        """The committed exports, oldest first."""
        return [row for row in self.rows if row.finished_at is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The changes to export; their keys are in a temporary table, as long as the context lasts.

    `source` is the query of the values. `counts` are entities by reason.
    """

    view: FeatureView
    delta: Delta
    source: exp.Expression
    baseline: Baseline
    as_of: datetime
    entities: int
    null_keys: int
    null_times: int
    source_time: int | None
    counts: Mapping[str, int]
    code: str = ""

    @property
    def unchanged(self) -> int:
        return self.entities - sum(self.counts.get(kind, 0) for kind in PRESENT)

    @property
    def removed(self) -> int:
        return self.counts.get(REMOVED, 0)

    def sizes(self, warehouse: Warehouse) -> dict[str, Size]:
        """Return the number and size of the items to write, by reason."""
        return read_sizes(warehouse, self.delta.sizes(self.source, item_overhead(self.view)))


@contextmanager
def find_changes(
    warehouse: Warehouse, store: OnlineStore, ledger: Ledger, tables: Tables, snapshot: Snapshot, *, full: bool
) -> Iterator[Changes]:
    """Compare a snapshot with the content of the store.

    Raises:
        PlanError: a key is in the snapshot twice.
        CodecError: a value does not fit its declared type.
    """
    view = snapshot.view
    delta = Delta(dialect(warehouse.dialect), tables.log(view.id))
    baseline = read_baseline(store, ledger, view)
    with TempDir() as folder:
        rows, keyless = snapshot.rows(warehouse, folder)
        null_keys, null_times = warehouse.rows(snapshot.skipped)[0] if snapshot.skipped else (0, 0)
        warehouse.execute(delta.create_now(rows, _item_layout(view)))
        _validate_unique_keys(warehouse.rows(delta.duplicate_keys()), view)
        entities, source_time = warehouse.rows(delta.snapshot_stats())[0]
        trusted = baseline.trusted and not full  # a full export trusts no record of the store's content
        if trusted:
            warehouse.execute(delta.create_state())
        else:
            _list_store_keys(warehouse, store, delta, view_sk(view), folder)
        warehouse.execute(delta.create_doubt())
        # Keys listed by the store are not recorded in the warehouse, so merely expired ones are removed too.
        since = expiry_cutoff(view, snapshot.as_of) if trusted else None
        moved = _has_new_keys(baseline, view, int(entities))
        warehouse.execute(delta.create_changes(full=full, alive_since=since, moved=moved))
        yield Changes(
            view=view, delta=delta, source=rows, baseline=baseline, as_of=snapshot.as_of, entities=int(entities),
            null_keys=int(null_keys) + keyless, null_times=int(null_times), counts=_read_counts(warehouse, delta),
            source_time=source_time if source_time is not None else baseline.source_time, code=snapshot.code,
        )  # fmt: skip
    warehouse.drop([*delta.temporary, *snapshot.temporary])


@contextmanager
def find_rollback_changes(
    warehouse: Warehouse, baseline: Baseline, tables: Tables, view: FeatureView, then: LedgerRow
) -> Iterator[Changes]:
    """Compare the store's content after the run `then` committed with its content now."""
    delta = Delta(dialect(warehouse.dialect), tables.log(view.id))
    for statement in (delta.create_state(), delta.create_doubt(), delta.create_rollback_changes(until=then.version)):
        warehouse.execute(statement)
    entities, source_time = warehouse.rows(delta.stats_at(then.version))[0]
    yield Changes(
        view=view,
        delta=delta,
        source=delta.rows_in_store(then.version),
        baseline=baseline,
        as_of=then.as_of,
        entities=int(entities),
        null_keys=0,
        null_times=0,
        counts=_read_counts(warehouse, delta),
        source_time=source_time,
    )
    warehouse.drop(delta.temporary)


def read_baseline(store: OnlineStore, ledger: Ledger, view: FeatureView) -> Baseline:
    """Compare the warehouse's record with the store's; complete committed runs that the ledger lists as unfinished."""
    sk = view_sk(view)
    try:
        control = store.read([commit_key(sk), run_start_key(sk)], consistent=True)
    except StoreNotFound:  # the first write creates the store
        control = {}
    item = control.get(commit_key(sk))
    commit = ViewCommit.from_item(item) if item is not None else None
    begun = control.get(run_start_key(sk))
    begun_version = ViewRunStart.from_item(begun).version if begun is not None else None
    rows = ledger.rows(view.id)
    if commit is not None:
        for index, row in enumerate(rows):
            if row.version == commit.version and row.finished_at is None:
                rows[index] = replace(row, finished_at=from_microseconds(commit.finished))
                ledger.finish(rows[index])
    finished = [row.version for row in rows if row.finished_at is not None]
    return Baseline(
        rows=rows,
        # A run unknown to the warehouse, or a commit unknown to the store, can't be a baseline.
        trusted=max(finished, default=None) == (commit.version if commit is not None else None)
        and (begun_version is None or any(row.version == begun_version for row in rows)),
        version=max([0, *(row.version for row in rows), commit.version if commit else 0, begun_version or 0]),
        source_time=commit.source_time if commit is not None else None,
        as_of=commit.as_of if commit is not None else None,
    )


def key_signature(view: FeatureView) -> str:
    """Return the signature of a view's item keys: its entities and their key types, in order."""
    return json.dumps([list(view.entities), [str(key.dtype) for key in view.join_keys]])


def read_sizes(warehouse: Warehouse, query: str) -> dict[str, Size]:
    """Return the sizes that a query of `Delta` finds."""
    return {
        kind: Size(keys=int(keys), bytes=int(size), units=int(units))
        for kind, keys, size, units in warehouse.rows(query)
    }


def item_overhead(view: FeatureView) -> int:
    """Return the bytes of a view's item without its key and values."""
    fixed = Item(
        pk="", sk=view_sk(view), version=0, schema=view_schema(view).fingerprint,
        event_time=None if view.static else 0, ttl=0 if can_expire(view) else None,
    )  # fmt: skip
    return fixed.size


def can_expire(view: FeatureView) -> bool:
    """Whether rows of the view expire."""
    return view.ttl is not None and not view.static


def _item_layout(view: FeatureView) -> str:
    """The part that all items of a view share. A changed TTL changes the items: they store their expiry."""
    ttl = microseconds(view.ttl) if view.ttl is not None and can_expire(view) else None
    return f"{view_schema(view).fingerprint}|{ttl}"


def _has_new_keys(baseline: Baseline, view: FeatureView, entities: int) -> bool:
    """Whether the key signature differs from the one that readers of the last export use."""
    last = baseline.commits[-1] if baseline.commits and baseline.trusted else None
    return last is not None and last.keys != key_signature(view) and entities > 0


def _read_counts(warehouse: Warehouse, delta: Delta) -> dict[str, int]:
    return {kind: int(count) for kind, count in warehouse.rows(delta.count_changes())}


def _list_store_keys(warehouse: Warehouse, store: OnlineStore, delta: Delta, sk: str, folder: Path) -> None:
    """Assume that the store holds the keys it lists, with unknown content."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "live.parquet"
    schema = pa.schema([("pk", pa.string()), ("event_time", pa.int64()), ("version", pa.int64())])
    with pq.ParquetWriter(path, schema) as writer:
        for batch in _batches(_live_keys(store, sk), _LISTED_AT_ONCE):
            columns = [
                pa.array(values, field.type) for values, field in zip(zip(*batch, strict=True), schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    warehouse.execute(delta.create_state_from_listing(from_item(warehouse, path)))


def _live_keys(store: OnlineStore, sk: str) -> Iterator[tuple[str, int | None, int]]:
    try:
        for key in store.live(sk):
            yield key.pk, key.event_time, key.version
    except StoreNotFound:  # it is about to be created, or was lost
        return


def expiry_cutoff(view: FeatureView, as_of: datetime) -> int | None:
    """Return the event time before which values have merely expired."""
    if view.ttl is None or not can_expire(view):
        return None
    return to_microseconds(as_of) - microseconds(view.ttl)


def _validate_unique_keys(twins: Sequence[tuple[Any, ...]], view: FeatureView) -> None:
    """Reject duplicate keys: it would be arbitrary which of two rows is served."""
    if twins:
        examples = ", ".join(pk for (pk,) in twins)
        raise PlanError([Problem(
            what=f"the snapshot has more than one row for the same key, such as {examples}", where=view.id,
            fix="make the view unique per key and time, or declare a tie_breaker",
        )])  # fmt: skip


def _batches(rows: Iterable[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield lists of up to `size` rows."""
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch
