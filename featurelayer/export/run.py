"""Use case: the snapshot of a view at a time T into the online store, so that nothing is lost whatever happens.

The steps of an export, view by view:

1. *Intend.* In one transaction the warehouse computes the snapshot at its own present, compares it with what the store
   is known to hold, and writes down what this run is going to write (`featurelayer.sql.delta`).
2. *Send.* What was written down is written to the store, each item only over an older one. Readers see old or new.
3. *Commit.* A control item in the store says that the run is complete, conditionally: the newest run wins.
4. *Finish.* The ledger gets the run's end, and what nobody needs any more is forgotten.

A run may be killed between any two instructions. The next one finds its intent without an end: it may have written any
of those keys, so they are written again. A run that sleeps and wakes after a newer one is refused item by item, because
the newer one has written every key that the older one meant to. A key that is gone gets a tombstone, never a deletion,
or the sleeper could bring it back. If the warehouse has forgotten (it was rebuilt) or tells of another state than the
store does, nothing is assumed: every row is written and the store is asked for the keys it has.

A lease in the store keeps two exporters from doing the same work; nothing depends on it.
"""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from featurelayer.durations import microseconds
from featurelayer.errors import OnlineStoreError, PlanError, Problem, StoreNotFound
from featurelayer.export.ledger import Ledger, LedgerRow, Tables
from featurelayer.model import FeatureView
from featurelayer.online.base import Item, OnlineStore, Written
from featurelayer.online.codec import from_microseconds, to_microseconds
from featurelayer.online.definitions import Lease, ViewCommit, commit_key, lease_key, view_schema, view_sk
from featurelayer.sql.delta import DIFFERENT, IN_DOUBT, NEW, REMOVED, Delta
from featurelayer.sql.dialects import dialect
from featurelayer.warehouse.base import Warehouse

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlglot import exp

_ROWS_PER_WRITE = 2_000
# Garbage is collected so long after a value expired or was removed that no run of before can still be awake.
_GRACE_SECONDS = microseconds(timedelta(days=14)) // 1_000_000
_OLDEST_RUN = timedelta(days=13)
_LEASE = timedelta(seconds=30)
_PRESENT = (NEW, DIFFERENT, IN_DOUBT)

Connect = Callable[[bool], AbstractContextManager[Warehouse]]
"""Opens the warehouse, for writing if True; on a DuckDB file a writer excludes everybody else."""
Progress = Callable[[str, int], None]
"""Called with a view and the number of items done since it was last called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A view at the time `as_of`, and how its encoded rows are had.

    `rows` is called inside the transaction with the warehouse and a folder for files; it returns the FROM item of the
    encoded rows (`pk`, `f`, `event_time`, `valid_to`) and how many rows had no whole key.
    """

    view: FeatureView
    as_of: datetime
    rows: Callable[[Warehouse, Path], tuple[exp.Expression, int]]
    temporary: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewExport:
    """What an export of one view did: every entity is written, unchanged or refused (somebody newer won).

    `null_keys` are rows without a whole key, `tombstones` the removed keys, `bytes` the size of what was written as
    DynamoDB counts it. `superseded` says that a newer export committed first, so that this one had nothing left to do.
    """

    view: str
    run: str
    as_of: datetime
    rows: int
    written: int
    unchanged: int
    refused: int
    null_keys: int
    tombstones: int
    bytes: int
    seconds: float
    superseded: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON can hold them."""
        return asdict(self) | {"as_of": self.as_of.isoformat(), "seconds": round(self.seconds, 3)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a run is going to write for a view, as it stands in the warehouse."""

    view: FeatureView
    row: LedgerRow
    counts: Mapping[str, int]
    null_keys: int
    source_time: int | None
    rewind: bool
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def to_write(self) -> int:
        return sum(self.counts.values())


@dataclass(slots=True)
class _Sent:
    """What became of an intent."""

    written: Written = field(default_factory=Written)
    tombstones: int = 0
    refused: list[str] = field(default_factory=list)
    superseded: bool = False


class Exporter:
    """Exports views of one warehouse to one store.

    `tables` are where the warehouse remembers, `invocation_id` names the dbt run that built the views, `keep` is how
    many committed exports of a view can be rolled back to.
    """

    def __init__(
        self,
        connect: Connect,
        store: OnlineStore,
        tables: Tables,
        *,
        invocation_id: str = "",
        keep: int = 7,
        progress: Progress | None = None,
    ) -> None:
        self._connect, self._store, self._tables = connect, store, tables
        self._invocation_id, self._keep, self._progress = invocation_id, keep, progress
        self._run = uuid4().hex

    # --- intend --------------------------------------------------------------------------------------------------

    def intend(
        self,
        warehouse: Warehouse,
        snapshot: Snapshot,
        *,
        version: int | None = None,
        full: bool = False,
        rewind: bool = False,
    ) -> Intent:
        """Write down what bringing the store to the snapshot takes; `warehouse` is open for writing, in a transaction.

        `version` orders runs, in microseconds; by default the warehouse's present. `full` writes every key again, also
        over newer events; `rewind` lets rows with older events win.

        Raises:
            PlanError: a key is in the snapshot twice.
            CodecError: a value does not fit its declared type.
        """
        ledger = Ledger(warehouse, self._tables)
        ledger.create()
        view, sk = snapshot.view, view_sk(snapshot.view)
        delta = Delta(dialect(warehouse.dialect), self._tables.log(view.id))
        known = self._known(ledger, view)
        with TemporaryDirectory(prefix="featurelayer-") as folder:
            rows, null_keys = snapshot.rows(warehouse, Path(folder))
            fingerprint = view_schema(view).fingerprint
            warehouse.execute(delta.now(rows, fingerprint))
            _refuse_twins(warehouse.rows(delta.twins()), view)
            entities, source_time = warehouse.rows(delta.extent())[0]
            if known.trusted:
                warehouse.execute(delta.state())
            else:
                self._ask_the_store(warehouse, delta, sk, Path(folder))
            warehouse.execute(delta.doubt())
            warehouse.execute(delta.changed(full=full, alive_since=_alive_since(view, snapshot.as_of)))
            counts = {kind: int(count) for kind, count in warehouse.rows(delta.counts())}
            now = warehouse.now()
            # Greater than every version that was ever seen, whatever the clocks say.
            version = max(to_microseconds(now) if version is None else version, known.version + 1)
            row = LedgerRow(
                run=self._run, store=self._tables.store, view=view.id, definition=fingerprint,
                dbt_invocation_id=self._invocation_id, version=version, as_of=snapshot.as_of, started_at=now,
                entities=int(entities), unchanged=int(entities) - sum(counts.get(kind, 0) for kind in _PRESENT),
            )  # fmt: skip
            ledger.start([row])
            for statement in delta.intend(rows, run=self._run, version=version, schema=fingerprint):
                warehouse.execute(statement)
        warehouse.drop([*delta.temporary, *snapshot.temporary])
        return Intent(
            view=view, row=row, counts=counts, null_keys=null_keys, rewind=full or rewind,
            source_time=source_time if source_time is not None else known.source_time,
        )  # fmt: skip

    def restore(self, warehouse: Warehouse, view: FeatureView, run: str) -> Intent:
        """Write down what bringing the store back to an earlier run's state takes.

        Raises:
            PlanError: there is no such run that has committed and is still kept.
        """
        ledger = Ledger(warehouse, self._tables)
        ledger.create()
        known = self._known(ledger, view)
        done = [row for row in known.rows if row.finished_at is not None]
        found = next((row for row in done[-self._keep :] if run in (row.run, str(row.version))), None)
        if found is None:
            kept = ", ".join(f"{row.run} (as of {row.as_of.isoformat()})" for row in reversed(done[-self._keep :]))
            raise PlanError(
                [Problem(what=f"{view.id} can't go back to run '{run}'", fix=f"runs that are kept: {kept or 'none'}")]
            )
        if not known.trusted:
            raise PlanError([Problem(
                what=f"{view.id}: the warehouse does not know what the store holds, so it can't go back",
                fix=f"run featurelayer export -s {view.id} --full first",
            )])  # fmt: skip
        delta = Delta(dialect(warehouse.dialect), self._tables.log(view.id))
        for statement in (delta.state(), delta.doubt(), delta.restored(until=found.version)):
            warehouse.execute(statement)
        counts = {kind: int(count) for kind, count in warehouse.rows(delta.counts())}
        now = warehouse.now()
        row = replace(
            found, run=self._run, started_at=now, finished_at=None, dbt_invocation_id=self._invocation_id,
            version=max(to_microseconds(now), known.version + 1), unchanged=None,
        )  # fmt: skip
        ledger.start([row])
        for statement in delta.intend_restored(until=found.version, run=self._run, version=row.version):
            warehouse.execute(statement)
        warehouse.drop(delta.temporary)
        return Intent(view=view, row=row, counts=counts, null_keys=0, rewind=True, source_time=known.source_time)

    def _known(self, ledger: Ledger, view: FeatureView) -> _Known:
        """Compare what the warehouse remembers with what the store says; end what committed and was not told so."""
        sk = view_sk(view)
        try:
            control = self._store.read([commit_key(sk), lease_key(sk)], consistent=True)
        except StoreNotFound:  # whoever makes stores by writing to them is about to
            control = {}
        item = control.get(commit_key(sk))
        commit = ViewCommit.from_item(item) if item is not None else None
        rows = ledger.rows(view.id)
        if commit is not None:
            for index, row in enumerate(rows):
                if row.version == commit.version and row.finished_at is None:
                    rows[index] = replace(row, finished_at=from_microseconds(commit.finished))
                    ledger.finish(rows[index])
        finished = [row.version for row in rows if row.finished_at is not None]
        begun = item is not None or lease_key(sk) in control
        return _Known(
            rows=rows,
            # What was begun and is not known to the warehouse, or committed and not known to the store, is no baseline.
            trusted=max(finished, default=None) == (commit.version if commit is not None else None)
            and (commit is not None or bool(rows) or not begun),
            version=max([0, *(row.version for row in rows), *([commit.version] if commit is not None else [])]),
            source_time=commit.source_time if commit is not None else None,
        )

    def _ask_the_store(self, warehouse: Warehouse, delta: Delta, sk: str, folder: Path) -> None:
        """Take the keys that the store lists for what it holds, with content that is not known."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = folder / "live.parquet"
        schema = pa.schema([("pk", pa.string()), ("event_time", pa.int64())])
        with pq.ParquetWriter(path, schema) as writer:
            for batch in _batches(((key.pk, key.event_time) for key in self._store.live(sk)), _ROWS_PER_WRITE):
                pks, events = zip(*batch, strict=True)
                writer.write_table(pa.table({"pk": pks, "event_time": pa.array(events, pa.int64())}, schema=schema))
        warehouse.execute(delta.listed(warehouse.attach(path).sql))

    # --- send ----------------------------------------------------------------------------------------------------

    def finish(self, intent: Intent) -> ViewExport:
        """Write what was intended to the store, commit, and tell the ledger.

        Raises:
            OnlineStoreError: the store failed; running the export again finishes the work.
        """
        started = time.monotonic()
        sent = self._send(intent)
        if not sent.superseded:
            sent.superseded = not self._commit(intent, started)
        done = sent.written
        row = replace(
            intent.row,
            written=done.written - sent.tombstones,
            refused=done.refused,
            tombstones=sent.tombstones,
            bytes=done.bytes,
        )
        if not sent.superseded:
            # The ledger's clock is the warehouse's; so much time has passed since it was read.
            row = replace(row, finished_at=self._finished_at(intent, started))
            self._remember(intent, row, sent.refused)
        return ViewExport(
            view=intent.view.id, run=row.run, as_of=row.as_of, rows=(row.entities or 0) + intent.null_keys,
            written=done.written - sent.tombstones, unchanged=row.unchanged or 0, refused=done.refused,
            null_keys=intent.null_keys, tombstones=sent.tombstones, bytes=done.bytes,
            seconds=time.monotonic() - started, superseded=sent.superseded,
        )  # fmt: skip

    def _finished_at(self, intent: Intent, started: float) -> datetime:
        return intent.row.started_at + timedelta(seconds=time.monotonic() - started)

    def _send(self, intent: Intent) -> _Sent:
        sent, sk = _Sent(), view_sk(intent.view)
        if not intent.to_write:
            return sent
        schema = view_schema(intent.view)
        # The schema is there before the first item that names it.
        self._store.write([schema.item()])
        lease = _HeldLease(self._store, sk, self._run)
        with self._connect(False) as warehouse:
            delta = Delta(dialect(warehouse.dialect), self._tables.log(intent.view.id))
            for kind in intent.counts:
                with warehouse.arrow(delta.intended(self._run, kind), batch_rows=_ROWS_PER_WRITE) as reader:
                    for batch in reader:
                        lease.renew()
                        if self._is_superseded(intent):
                            sent.superseded = True
                            return sent
                        self._write(sent, kind, batch, intent)
        return sent

    def _write(self, sent: _Sent, kind: str, batch: pa.RecordBatch, intent: Intent) -> None:
        _refuse_old(intent)
        items = [
            _item(intent, *values) for values in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        ]
        rewind = intent.rewind or kind == REMOVED
        done = self._store.write(items, rewind=rewind, rewrite=True, new=kind == NEW)
        sent.written = _added(sent.written, done)
        sent.tombstones += done.written if kind == REMOVED else 0
        sent.refused += [pk for pk, _ in done.lost]
        if self._progress is not None:
            self._progress(intent.view.id, len(items))

    def _commit(self, intent: Intent, started: float) -> bool:
        """Say in the store that the run is complete; False if a newer one is."""
        sk, row = view_sk(intent.view), intent.row
        commit = ViewCommit(
            version=row.version, as_of=to_microseconds(row.as_of), source_time=intent.source_time,
            schema=row.definition, rows=row.entities or 0, finished=to_microseconds(self._finished_at(intent, started)),
        )  # fmt: skip
        return not self._store.write([commit.item(sk)]).refused

    def _is_superseded(self, intent: Intent) -> bool:
        key = commit_key(view_sk(intent.view))
        commit = self._store.read([key], consistent=True).get(key)
        return commit is not None and commit.version > intent.row.version

    def _remember(self, intent: Intent, row: LedgerRow, refused: Sequence[str]) -> None:
        with self._connect(True) as warehouse, warehouse.transaction():
            ledger = Ledger(warehouse, self._tables)
            delta = Delta(dialect(warehouse.dialect), self._tables.log(intent.view.id))
            for start in range(0, len(refused), _ROWS_PER_WRITE):
                warehouse.execute(delta.refuse(row.run, refused[start : start + _ROWS_PER_WRITE]))
            ledger.finish(row)
            done = [each.version for each in ledger.rows(intent.view.id) if each.finished_at is not None]
            for statement in delta.prune(keep_since=done[-self._keep :][0], committed=row.version):
                warehouse.execute(statement)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known before a run: the view's ledger, whether the store agrees, and the newest version anybody used."""

    rows: Sequence[LedgerRow]
    trusted: bool
    version: int
    source_time: int | None


class _HeldLease:
    """Tells other exporters that this one is at work. It runs out by itself when this process dies."""

    def __init__(self, store: OnlineStore, sk: str, run: str) -> None:
        self._store, self._sk, self._run = store, sk, run
        self._until = 0.0

    def renew(self) -> None:
        """Say so again, when half of the time is over."""
        now = time.time()
        if now + _LEASE.total_seconds() / 2 > self._until:
            self._until = now + _LEASE.total_seconds()
            lease = Lease(run=self._run, until=int(self._until * 1_000_000), host=platform.node(), process=os.getpid())
            self._store.write([lease.item(self._sk)])


def _item(intent: Intent, pk: str, f: str | None, schema: str, event_time: int | None, valid_to: int | None) -> Item:
    """Return what goes to the store; without values it is a tombstone."""
    row, sk = intent.row, view_sk(intent.view)
    as_of = to_microseconds(row.as_of)
    if f is None:
        garbage = math.ceil(max(as_of, row.version) / 1_000_000) + _GRACE_SECONDS
        return Item(pk=pk, sk=sk, version=row.version, as_of=as_of, ttl=garbage, deleted=True)
    return Item(
        pk=pk, sk=sk, version=row.version, f=f, schema=schema, as_of=as_of, event_time=event_time, valid_to=valid_to,
        ttl=_garbage_after(intent.view, event_time, as_of),
    )  # fmt: skip


def _garbage_after(view: FeatureView, event_time: int | None, as_of: int) -> int | None:
    """Return the epoch second after which an item is garbage: long after it expired; never without a TTL."""
    if not _expires(view) or event_time is None:
        return None
    assert view.ttl is not None
    return math.ceil(max(event_time + microseconds(view.ttl), as_of) / 1_000_000) + _GRACE_SECONDS


def _expires(view: FeatureView) -> bool:
    return view.ttl is not None and not view.static


def _alive_since(view: FeatureView, as_of: datetime) -> int | None:
    """Return the event time before which values have merely expired."""
    if not _expires(view):
        return None
    assert view.ttl is not None
    return to_microseconds(as_of) - microseconds(view.ttl)


def _refuse_twins(twins: Sequence[tuple[Any, ...]], view: FeatureView) -> None:
    """Which of two rows of one key is served would be chance."""
    if twins:
        examples = ", ".join(pk for (pk,) in twins)
        raise PlanError([Problem(
            what=f"the snapshot has more than one row for the same key, such as {examples}", where=view.id,
            fix="make the view unique per key and time, or declare a tie_breaker",
        )])  # fmt: skip


def _refuse_old(intent: Intent) -> None:
    """Tombstones are kept for 14 days; a run that sleeps longer could bring back what they removed."""
    if datetime.now(UTC) - intent.begun > _OLDEST_RUN:
        raise OnlineStoreError(
            f"{intent.view.id}: this export began more than {_OLDEST_RUN.days} days ago and may write no more\n"
            "  fix  run featurelayer export again"
        )


def _added(one: Written, other: Written) -> Written:
    return Written(
        written=one.written + other.written,
        unchanged=one.unchanged + other.unchanged,
        lost=one.lost + other.lost,
        bytes=one.bytes + other.bytes,
    )


def _batches(rows: Iterable[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield lists of up to `size` rows."""
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch
