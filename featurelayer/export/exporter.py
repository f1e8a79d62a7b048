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

A lease in the store keeps two exporters from doing the same work (`featurelayer.export.lease`); nothing depends on it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from featurelayer.callbacks import Notify, Progress, ignore_notice
from featurelayer.durations import microseconds
from featurelayer.errors import OnlineStoreError, PlanError, Problem, WarehouseError, WriteConflict
from featurelayer.export.again import retry_on_conflict
from featurelayer.export.changes import (
    KINDS,
    Baseline,
    Changes,
    Snapshot,
    can_expire,
    find_changes,
    find_rollback_changes,
    item_overhead,
    key_signature,
    read_baseline,
    read_sizes,
)
from featurelayer.export.compensation import compensate
from featurelayer.export.files import KeyFile, read_batches, read_keys
from featurelayer.export.guard import Guard, Refusal, find_refusal
from featurelayer.export.lease import Clock, HeldLease, wait_for_others
from featurelayer.export.ledger import Ledger, LedgerRow, Tables
from featurelayer.export.patience import call_with_retry
from featurelayer.export.records import Intent, ViewExport, ViewPlan
from featurelayer.model import FeatureView
from featurelayer.online.base import Item, OnlineStore, store_capabilities
from featurelayer.online.codec import from_microseconds, to_microseconds
from featurelayer.online.definitions import ViewCommit, ViewRunStart, commit_key, view_schema, view_sk
from featurelayer.sql.delta import IN_DOUBT, NEW, REMOVED, Delta
from featurelayer.sql.dialects import dialect
from featurelayer.warehouse.base import OpenWarehouse, Warehouse, from_item

if TYPE_CHECKING:
    import pyarrow as pa

# Garbage is collected so long after a value expired or was removed that no run of before can still be awake.
_GRACE_SECONDS = microseconds(timedelta(days=14)) // 1_000_000
_OLDEST_RUN = timedelta(days=13)


@dataclass(slots=True)
class SendResult:
    """What became of an intent; the refused keys are in a file, since there may be millions."""

    refused_keys: Path
    items: int = 0
    written: int = 0
    unchanged: int = 0
    refused: int = 0
    bytes: int = 0
    tombstones: int = 0
    superseded: bool = False


class Exporter:
    """Exports views of one warehouse to one store.

    `tables` are where the warehouse remembers, `invocation_id` names the dbt run that built the views, `keep` is how
    many committed exports of a view can be rolled back to. `notify` is called with the reason for a wait.
    """

    def __init__(
        self,
        open_warehouse: OpenWarehouse,
        store: OnlineStore,
        tables: Tables,
        *,
        invocation_id: str = "",
        keep: int = 7,
        progress: Progress | None = None,
        notify: Notify | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._open_warehouse, self._store, self._tables = open_warehouse, store, tables
        self._limits = store_capabilities(store).limits
        self._invocation_id, self._keep, self._progress = invocation_id, keep, progress
        self._notify, self._clock = notify or ignore_notice, clock or Clock()
        self._run = uuid4().hex
        self._made = time.monotonic()
        self._began: float | None = None

    def wait(self, views: Mapping[str, FeatureView]) -> None:
        """Let whoever is at work on these views finish first, for as long as a lease lasts."""
        named = {view_sk(view): name for name, view in views.items()}
        wait_for_others(self._store, named, self._run, self._clock, self._notify)

    @contextmanager
    def transaction(self) -> Iterator[Warehouse]:
        """Open the warehouse for writing, for all intents of this run; its present is the run's."""
        try:
            with self._open_warehouse(writable=True) as warehouse, warehouse.transaction():
                self._began = time.monotonic()
                yield warehouse
        except WriteConflict:
            self._run = uuid4().hex  # the next try is another run: of this one the warehouse may know after all
            raise

    # --- plan ----------------------------------------------------------------------------------------------------

    def plan(
        self, warehouse: Warehouse, snapshot: Snapshot, *, full: bool = False, guard: Guard | None = None
    ) -> ViewPlan:
        """Return what bringing the store to the snapshot would take. Nothing is written; temporary tables are.

        Raises:
            PlanError, CodecError: as `intend`, but for what is refused: that is in the plan.
        """
        ledger, tables = Ledger.copy_to_temporary(warehouse, self._tables, snapshot.view.id)
        with find_changes(warehouse, self._store, ledger, tables, snapshot, full=full) as found:
            try:
                refused = find_refusal(warehouse, found, self._limits, guard=guard, elapsed=self._run_age())
            except WriteConflict:  # an export would take its time anew
                refused = Refusal()
            return _build_plan(warehouse, found, refused)

    def plan_restore(self, warehouse: Warehouse, view: FeatureView, run: str) -> ViewPlan:
        """Return what bringing the store back to an earlier run's state would take.

        Raises:
            PlanError: as `restore`.
        """
        ledger, tables = Ledger.copy_to_temporary(warehouse, self._tables, view.id)
        known = read_baseline(self._store, ledger, view)
        with find_rollback_changes(warehouse, known, tables, view, self._select_run(known, view, run)) as found:
            return _build_plan(warehouse, found, Refusal())

    def kept(self, warehouse: Warehouse, view: FeatureView) -> list[LedgerRow]:
        """Return the exports of a view that can be gone back to, newest first; the first is what is served."""
        ledger, _ = Ledger.copy_to_temporary(warehouse, self._tables, view.id)
        return read_baseline(self._store, ledger, view).finished[: -self._keep - 1 : -1]

    # --- intend --------------------------------------------------------------------------------------------------

    def intend(self, warehouse: Warehouse, snapshot: Snapshot, **how: Any) -> Intent:
        """Write down what bringing the store to a snapshot takes; arguments and errors are those of `intend_all`."""
        return self.intend_all(warehouse, [snapshot], **how)[0]

    def intend_all(self, warehouse: Warehouse, snapshots: Sequence[Snapshot], **how: Any) -> list[Intent]:
        """Write down what bringing the store to snapshots takes; `warehouse` is open for writing, in a transaction.

        Args:
            warehouse: whose transaction is to be rolled back where this raises.
            snapshots: one per view.
            how: `version` orders runs, in microseconds; by default the warehouse's present. `full` writes every key
                again, also over newer events; `rewind` lets rows with older events win. `guard` refuses mistakes.

        Raises:
            PlanError: a key is in a snapshot twice, or the store can't or must not be written; all such problems.
            CodecError: a value does not fit its declared type.
        """
        intents = [self._intend(warehouse, snapshot, **how) for snapshot in snapshots]
        problems = [problem for intent in intents for problem in intent.refused.problems]
        if problems:
            raise PlanError(problems)
        return intents

    def _intend(
        self,
        warehouse: Warehouse,
        snapshot: Snapshot,
        *,
        version: int | None = None,
        full: bool = False,
        rewind: bool = False,
        guard: Guard | None = None,
    ) -> Intent:
        began = self._began or time.monotonic()
        ledger = Ledger(warehouse, self._tables)
        ledger.create()
        with find_changes(warehouse, self._store, ledger, self._tables, snapshot, full=full) as found:
            row = self._new_ledger_row(warehouse, found, version)
            ledger.start([row])
            for statement in found.delta.log_changes(
                found.source, run=self._run, version=row.version, schema=row.definition
            ):
                warehouse.execute(statement)
            refused = find_refusal(
                warehouse,
                found,
                self._limits,
                guard=guard,
                elapsed=self._run_age(),
                run=self._run,
            )
            return self._build_intent(warehouse, found, row, refused, began, rewind=full or rewind)

    def restore(self, warehouse: Warehouse, view: FeatureView, run: str) -> Intent:
        """Write down what bringing the store back to an earlier run's state takes; otherwise like `intend`.

        `run` is its id, the beginning of it, or its version.

        Raises:
            PlanError: there is no such run that has committed and is still kept.
        """
        began = self._began or time.monotonic()
        ledger = Ledger(warehouse, self._tables)
        ledger.create()
        known = read_baseline(self._store, ledger, view)
        then = self._select_run(known, view, run)
        with find_rollback_changes(warehouse, known, self._tables, view, then) as found:
            row = replace(self._new_ledger_row(warehouse, found, None), definition=then.definition, keys=then.keys)
            ledger.start([row])
            for statement in found.delta.log_rollback(until=then.version, run=self._run, version=row.version):
                warehouse.execute(statement)
            refused = find_refusal(
                warehouse,
                found,
                self._limits,
                guard=None,
                elapsed=self._run_age(),
                run=self._run,
            )
            if refused.problems:
                raise PlanError(refused.problems)
            return self._build_intent(warehouse, found, row, refused, began, rewind=True)

    def _run_age(self) -> timedelta:
        """How long ago this run looked at the warehouse's clock, or a little longer."""
        return timedelta(seconds=time.monotonic() - (self._began or self._made))

    def _new_ledger_row(self, warehouse: Warehouse, found: Changes, version: int | None) -> LedgerRow:
        now = warehouse.now()
        return LedgerRow(
            run=self._run, store=self._tables.store, view=found.view.id,
            definition=view_schema(found.view).fingerprint, keys=key_signature(found.view),
            dbt_invocation_id=self._invocation_id, as_of=found.as_of, started_at=now,
            # Greater than every version that was ever seen, whatever the clocks say.
            version=max(to_microseconds(now) if version is None else version, found.known.version + 1),
            entities=found.entities, unchanged=found.unchanged,
        )  # fmt: skip

    def _build_intent(
        self, warehouse: Warehouse, found: Changes, row: LedgerRow, refused: Refusal, began: float, *, rewind: bool
    ) -> Intent:
        sizes = read_sizes(warehouse, found.delta.sizes_in_log(self._run, item_overhead(found.view)))
        return Intent(
            view=found.view, row=row, sizes=sizes, null_keys=found.null_keys, null_times=found.null_times,
            source_time=found.source_time,
            rewind=rewind, began=began, code=found.code, refused=refused,
        )  # fmt: skip

    def _select_run(self, known: Baseline, view: FeatureView, run: str) -> LedgerRow:
        """Return the run that is asked for, of those that are kept."""
        kept = known.finished[-self._keep :]
        found = [row for row in kept if run and (row.run.startswith(run) or run == str(row.version))]
        if len(found) != 1:
            what = f"{view.id} can't go back to run '{run}'" + (": more than one begins so" if found else "")
            runs = ", ".join(f"{row.run[:8]} (as of {row.as_of.isoformat()})" for row in reversed(kept))
            raise PlanError([Problem(what=what, fix=f"runs that are kept: {runs or 'none'}")])
        if not known.trusted:
            raise PlanError([Problem(
                what=f"{view.id}: the warehouse does not know what the store holds, so it can't go back",
                fix=f"run `featurelayer export -s {view.id}` first",
            )])  # fmt: skip
        return found[0]

    # --- send ----------------------------------------------------------------------------------------------------

    def finish(self, intent: Intent) -> ViewExport:
        """Write what was intended to the store, commit, and tell the ledger.

        Raises:
            OnlineStoreError: the store failed; running the export again finishes the work.
        """
        started = time.monotonic()
        lease = HeldLease(self._store, view_sk(intent.view), self._run, self._clock)
        with TemporaryDirectory(prefix="featurelayer-") as folder:
            sent = SendResult(refused_keys=Path(folder) / "refused.parquet")
            try:
                self._send(intent, sent, lease, Path(folder))
                if not sent.superseded:
                    sent.superseded = not self._commit(intent)
                if sent.superseded:
                    fetched = (Path(folder) / f"{kind}.parquet" for kind in KINDS)
                    written = (read_keys(path) for path in fetched if path.exists())
                    instead = partial(self._newest, intent, Path(folder) / "overtaken.parquet")
                    compensate(self._store, intent, chain.from_iterable(written), instead, _GRACE_SECONDS)
            finally:
                lease.release()
            if not sent.superseded:
                self._remember(intent, sent)
        return self._view_report(intent, sent, started)

    def _view_report(self, intent: Intent, sent: SendResult, started: float) -> ViewExport:
        row = intent.row
        resumed = intent.sizes.get(IN_DOUBT)
        return ViewExport(
            view=intent.view.id, run=row.run, as_of=row.as_of, rows=row.entities or 0,
            written=sent.written, unchanged=(row.unchanged or 0) + sent.unchanged, refused=sent.refused,
            null_keys=intent.null_keys, null_times=intent.null_times,
            tombstones=sent.tombstones, resumed=resumed.keys if resumed else 0,
            bytes=sent.bytes, units=intent.units, seconds=time.monotonic() - started, superseded=sent.superseded,
        )  # fmt: skip

    def _send(self, intent: Intent, sent: SendResult, lease: HeldLease, folder: Path) -> None:
        if not intent.to_write:
            return
        lease.renew()
        if self._is_superseded(intent):  # and what was written down may have been forgotten since
            sent.superseded = True
            return
        schema = view_schema(intent.view)
        begun = ViewRunStart(version=intent.row.version, run=self._run)
        # There before the first item: the schema, which it names, and which versions a rebuilt warehouse may not reuse.
        call_with_retry(self._store, lambda: self._store.write([schema.item(), begun.item(view_sk(intent.view))]))
        with KeyFile(sent.refused_keys) as refused:
            for kind, path in self._fetch_files(intent, folder):
                for batch in read_batches(path):
                    lease.renew()
                    if self._is_superseded(intent):
                        sent.superseded = True
                        return
                    self._write(sent, refused, kind, batch, intent)

    def _fetch_files(self, intent: Intent, folder: Path, *, shuffled: bool = False) -> list[tuple[str, Path]]:
        """Copy what is to be sent to files, so that nobody has to wait for the network to get at the warehouse."""
        with self._open_warehouse(writable=False) as warehouse:
            delta = Delta(dialect(warehouse.dialect), self._tables.log(intent.view.id))
            files = [(kind, folder / f"{kind}.parquet") for kind in KINDS if kind in intent.sizes]
            for kind, path in files:
                found = warehouse.write_file(delta.items_to_write(self._run, kind, shuffled=shuffled), path, "parquet")
                if found != intent.sizes[kind].keys:
                    raise _unknown_export(intent.view)
        return files

    def _write(self, sent: SendResult, refused: KeyFile, kind: str, batch: pa.RecordBatch, intent: Intent) -> None:
        _validate_run_age(intent)
        items = build_items(intent, batch)
        done = self._store.write(items, rewind=intent.rewind, rewrite=True, new=kind == NEW)
        if kind == REMOVED:
            sent.tombstones += done.written
        else:
            sent.written += done.written
        sent.unchanged += done.unchanged
        sent.refused += done.refused
        sent.bytes += done.bytes
        refused.add([pk for pk, _ in done.lost])
        sent.items += len(items)
        if self._progress is not None:
            self._progress(intent.view.id, sent.items, intent.to_write)

    def _commit(self, intent: Intent) -> bool:
        """Say in the store that the run is complete; False if a newer one is."""
        sk, row = view_sk(intent.view), intent.row
        commit = ViewCommit(
            version=row.version, as_of=to_microseconds(row.as_of), source_time=intent.source_time,
            schema=row.definition, rows=row.entities or 0, finished=to_microseconds(_completion_time(intent)),
            code=intent.code,
        )  # fmt: skip
        return not call_with_retry(self._store, lambda: self._store.write([commit.item(sk)])).refused

    def _is_superseded(self, intent: Intent) -> bool:
        key = commit_key(view_sk(intent.view))
        commit = call_with_retry(self._store, lambda: self._store.read([key], consistent=True)).get(key)
        return commit is not None and commit.version > intent.row.version

    def _newest(self, intent: Intent, path: Path, commit: ViewCommit, pks: Sequence[str]) -> dict[str, Item]:
        """What the newest run has for keys that this one wrote though it was overtaken."""
        with KeyFile(path) as file:
            file.add(pks)
        as_of = from_microseconds(commit.as_of)
        newest = replace(intent, row=replace(intent.row, version=commit.version, as_of=as_of))
        with self._open_warehouse(writable=False) as warehouse:
            delta = Delta(dialect(warehouse.dialect), self._tables.log(intent.view.id))
            rows = warehouse.rows(delta.newest_items(from_item(warehouse, path), commit.version))
        return {pk: _build_item(newest, pk, *values) for pk, *values in rows}

    def _remember(self, intent: Intent, sent: SendResult) -> None:
        row = replace(
            intent.row,
            written=sent.written,
            unchanged=(intent.row.unchanged or 0) + sent.unchanged,
            refused=sent.refused,
            tombstones=sent.tombstones,
            bytes=sent.bytes,
            finished_at=_completion_time(intent),
        )
        # The store has been written: this must not be left to somebody who runs the command again.
        retry_on_conflict(partial(self._finish_ledger, intent, row, sent))

    def _finish_ledger(self, intent: Intent, row: LedgerRow, sent: SendResult) -> None:
        with self._open_warehouse(writable=True) as warehouse, warehouse.transaction():
            ledger = Ledger(warehouse, self._tables)
            delta = Delta(dialect(warehouse.dialect), self._tables.log(intent.view.id))
            if sent.refused:
                warehouse.execute(delta.mark_refused(row.run, from_item(warehouse, sent.refused_keys)))
            ledger.finish(row)
            done = [each.version for each in ledger.rows(intent.view.id) if each.finished_at is not None]
            if row.version not in done:
                raise _unknown_export(intent.view)
            garbage = to_microseconds(row.started_at) - _GRACE_SECONDS * 1_000_000
            kept = done[-self._keep :][0]
            for statement in delta.prune(keep_since=kept, committed=row.version, garbage=garbage):
                warehouse.execute(statement)


def build_items(intent: Intent, batch: pa.RecordBatch) -> list[Item]:
    """Return rows of what was intended as the store holds them."""
    rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
    return [_build_item(intent, *values) for values in rows]


def _build_plan(warehouse: Warehouse, found: Changes, refused: Refusal) -> ViewPlan:
    sizes = found.sizes(warehouse)
    new, changed, in_doubt, removed = (found.counts.get(kind, 0) for kind in KINDS)
    return ViewPlan(
        view=found.view.id, as_of=found.as_of, rows=found.entities, null_keys=found.null_keys,
        null_times=found.null_times,
        new=new, changed=changed, in_doubt=in_doubt, removed=removed, unchanged=found.unchanged,
        bytes=sum(size.bytes for size in sizes.values()), units=sum(size.units for size in sizes.values()),
        refused=refused,
    )  # fmt: skip


def _completion_time(intent: Intent) -> datetime:
    """The warehouse's present: its clock counts, and so much time has passed since it was read."""
    return intent.row.started_at + timedelta(seconds=time.monotonic() - intent.began)


def _build_item(
    intent: Intent, pk: str, f: str | None, schema: str, event_time: int | None, valid_to: int | None
) -> Item:
    """Return what goes to the store; without values it is a tombstone."""
    row, sk = intent.row, view_sk(intent.view)
    as_of = to_microseconds(row.as_of)
    if f is None:
        garbage = math.ceil(max(as_of, row.version) / 1_000_000) + _GRACE_SECONDS
        # By its event time it yields to what was streamed and this run has not seen.
        return Item(pk=pk, sk=sk, version=row.version, as_of=as_of, event_time=event_time, ttl=garbage, deleted=True)
    return Item(
        pk=pk, sk=sk, version=row.version, f=f, schema=schema, as_of=as_of, event_time=event_time, valid_to=valid_to,
        ttl=_item_ttl(intent.view, event_time, as_of),
    )  # fmt: skip


def _item_ttl(view: FeatureView, event_time: int | None, as_of: int) -> int | None:
    """Return the epoch second after which an item is garbage: long after it expired; never without a TTL."""
    if view.ttl is None or not can_expire(view) or event_time is None:
        return None
    return math.ceil(max(event_time + microseconds(view.ttl), as_of) / 1_000_000) + _GRACE_SECONDS


def _unknown_export(view: FeatureView) -> WarehouseError:
    return WarehouseError(
        f"{view.id}: the warehouse no longer knows of this export; was it rebuilt meanwhile?",
        fix="run `featurelayer export` again",
    )


def _validate_run_age(intent: Intent) -> None:
    """Tombstones are kept for 14 days; a run that sleeps longer could bring back what they removed."""
    if datetime.now(UTC) - intent.begun > _OLDEST_RUN:
        raise OnlineStoreError(
            f"{intent.view.id}: this export began more than {_OLDEST_RUN.days} days ago and may write no more",
            fix="run `featurelayer export` again",
        )
