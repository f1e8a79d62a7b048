"""The export protocol: bring the online store to the snapshot of a view at a time T, without losing a write.

The steps of an export, view by view:

1. *Intend.* In one transaction the warehouse computes the snapshot at its own present, compares it with what the store
   is known to hold, and records the changes that this run will write, its intent (`featurelayer.sql.delta`).
2. *Send.* The intent is written to the store; each item replaces only an older one. Readers see old or new
   (`featurelayer.export.senders`).
3. *Commit.* A control item in the store says that the run is complete, conditionally: the newest run wins.
4. *Finish.* The ledger row is completed, and states that no rollback can need any more are dropped.

A run may be killed between any two instructions. The next one finds its unfinished intent: any of those keys may have
been written, so they are written again. A run that sleeps and wakes after a newer one is refused item by item, because
the newer one has written every key of the older intent. A removed key gets a tombstone, never a deletion, or the
sleeping run could restore it. If the warehouse was rebuilt, or disagrees with the store about the last export, nothing
is assumed: every row is written and the store lists the keys it has.

A lease in the store keeps two exporters from doing the same work (`featurelayer.export.lease`); nothing depends on it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

from featurelayer.callbacks import Notify, Progress, ignore_notice
from featurelayer.errors import PlanError, WriteConflict
from featurelayer.export.changes import (
    KINDS,
    Baseline,
    Changes,
    find_changes,
    find_rollback_changes,
    item_overhead,
    key_signature,
    read_baseline,
    read_sizes,
)
from featurelayer.export.compensation import compensate
from featurelayer.export.files import KeyFile, Outbox, read_keys, unknown_export
from featurelayer.export.guard import Guard, Refusal, find_refusal
from featurelayer.export.lease import Clock, wait_for_others
from featurelayer.export.ledger import Ledger, LedgerRow, Tables
from featurelayer.export.records import Intent, ViewExport, ViewPlan
from featurelayer.export.senders import GRACE_SECONDS, RowSender, Sender, SendResult, build_item
from featurelayer.export.snapshot import Snapshot
from featurelayer.model import FeatureView
from featurelayer.online.base import Item, OnlineStore, store_capabilities
from featurelayer.online.codec import from_microseconds, to_microseconds
from featurelayer.online.definitions import ViewCommit, view_schema, view_sk
from featurelayer.retry import call_with_retry, retry_on_conflict
from featurelayer.sql.delta import IN_DOUBT, Delta
from featurelayer.sql.dialects import dialect
from featurelayer.tempdirs import TempDir
from featurelayer.warehouse.base import OpenWarehouse, Warehouse, from_item


class Exporter:
    """Exports views of one warehouse to one store.

    Args:
        open_warehouse: opens the warehouse as a context; on a DuckDB file a writer excludes every other process.
        store: the online store.
        tables: the warehouse tables that record exports.
        sender: writes items to the store, row by row by default.
        invocation_id: the dbt run that built the views.
        keep: how many committed exports of a view can be rolled back to.
        progress: called by the default sender while rows are written.
        notify: called with progress messages for the user.
        clock: the time and the processes of this host; replaced in tests.
    """

    def __init__(
        self,
        open_warehouse: OpenWarehouse,
        store: OnlineStore,
        tables: Tables,
        *,
        sender: Sender | None = None,
        invocation_id: str = "",
        keep: int = 7,
        progress: Progress | None = None,
        notify: Notify | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._open_warehouse, self._store, self._tables = open_warehouse, store, tables
        self._limits, self._patience = store_capabilities(store).limits, store_capabilities(store).patience
        self._invocation_id, self._keep = invocation_id, keep
        self._notify, self._clock = notify or ignore_notice, clock or Clock()
        self._sender = sender or RowSender(store, clock=self._clock, progress=progress)
        self._outbox = Outbox(open_warehouse, tables)
        self._run = uuid4().hex
        self._made = time.monotonic()
        self._began: float | None = None

    def wait(self, views: Mapping[str, FeatureView]) -> None:
        """Wait for other exports of these views to finish, at most as long as a lease lasts."""
        names = {view_sk(view): name for name, view in views.items()}
        wait_for_others(self._store, names, self._run, self._clock, self._notify)

    @contextmanager
    def transaction(self) -> Iterator[Warehouse]:
        """Open the warehouse for writing, for all intents of this run; its present is the run's."""
        try:
            with self._open_warehouse(writable=True) as warehouse, warehouse.transaction():
                self._began = time.monotonic()
                yield warehouse
        except WriteConflict:
            self._run = uuid4().hex  # A retry is a new run: the warehouse may have recorded this one after all.
            raise

    # --- plan ----------------------------------------------------------------------------------------------------

    def plan(
        self, warehouse: Warehouse, snapshot: Snapshot, *, full: bool = False, guard: Guard | None = None
    ) -> ViewPlan:
        """Plan bringing the store to the snapshot. Only temporary tables are written.

        Raises:
            PlanError, CodecError: as `intend`; refusals are part of the plan instead.
        """
        ledger, tables = Ledger.copy_to_temporary(warehouse, self._tables, snapshot.view.id)
        with find_changes(warehouse, self._store, ledger, tables, snapshot, full=full) as changes:
            try:
                refusal = find_refusal(warehouse, changes, self._limits, guard=guard, elapsed=self._run_age())
            except WriteConflict:  # an export would take a new snapshot time
                refusal = Refusal()
            return _build_plan(warehouse, changes, refusal)

    def plan_restore(self, warehouse: Warehouse, view: FeatureView, run: str) -> ViewPlan:
        """Plan restoring the state of an earlier run.

        Raises:
            PlanError: as `restore`.
        """
        ledger, tables = Ledger.copy_to_temporary(warehouse, self._tables, view.id)
        baseline = read_baseline(self._store, ledger, view)
        target = self._select_run(baseline, view, run)
        with find_rollback_changes(warehouse, baseline, tables, view, target) as changes:
            return _build_plan(warehouse, changes, Refusal())

    def list_restore_points(self, warehouse: Warehouse, view: FeatureView) -> list[LedgerRow]:
        """Return the exports of a view that `restore` accepts, newest first; the first one is being served."""
        ledger, _ = Ledger.copy_to_temporary(warehouse, self._tables, view.id)
        return read_baseline(self._store, ledger, view).commits[: -self._keep - 1 : -1]

    # --- intend --------------------------------------------------------------------------------------------------

    def intend(self, warehouse: Warehouse, snapshot: Snapshot, **options: Any) -> Intent:
        """Record the changes that bring the store to a snapshot; arguments and errors as in `intend_all`."""
        return self.intend_all(warehouse, [snapshot], **options)[0]

    def intend_all(self, warehouse: Warehouse, snapshots: Sequence[Snapshot], **options: Any) -> list[Intent]:
        """Record the changes that bring the store to snapshots; `warehouse` is open for writing, in a transaction.

        Args:
            warehouse: roll its transaction back if this raises.
            snapshots: one per view.
            options: `version` orders runs, in microseconds; by default the warehouse's present. `full` writes every
                key again, also over newer events; `rewind` lets rows with older events win. `guard` rejects mistakes.

        Raises:
            PlanError: a snapshot has a duplicate key, or the store can't or must not be written; lists all problems.
            CodecError: a value does not fit its declared type.
        """
        intents = [self._intend(warehouse, snapshot, **options) for snapshot in snapshots]
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
        with find_changes(warehouse, self._store, ledger, self._tables, snapshot, full=full) as changes:
            row = self._new_ledger_row(warehouse, changes, version)
            ledger.start([row])
            for statement in changes.delta.log_changes(
                changes.source, run=self._run, version=row.version, schema=row.definition
            ):
                warehouse.execute(statement)
            refusal = self._find_refusal(warehouse, changes, guard)
            return self._build_intent(warehouse, changes, row, refusal, began, rewind=full or rewind)

    def restore(self, warehouse: Warehouse, view: FeatureView, run: str) -> Intent:
        """Record the changes that restore the state of an earlier run; otherwise like `intend`.

        `run` is its id, a prefix of its id, or its version.

        Raises:
            PlanError: no committed run that is still kept matches.
        """
        began = self._began or time.monotonic()
        ledger = Ledger(warehouse, self._tables)
        ledger.create()
        baseline = read_baseline(self._store, ledger, view)
        target = self._select_run(baseline, view, run)
        with find_rollback_changes(warehouse, baseline, self._tables, view, target) as changes:
            row = self._new_ledger_row(warehouse, changes, None)
            row = replace(row, definition=target.definition, keys=target.keys)
            ledger.start([row])
            for statement in changes.delta.log_rollback(until=target.version, run=self._run, version=row.version):
                warehouse.execute(statement)
            refusal = self._find_refusal(warehouse, changes, None)
            if refusal.problems:
                raise PlanError(refusal.problems)
            return self._build_intent(warehouse, changes, row, refusal, began, rewind=True)

    def _run_age(self) -> timedelta:
        """Return how long ago this run read the warehouse's clock, rounded up."""
        return timedelta(seconds=time.monotonic() - (self._began or self._made))

    def _find_refusal(self, warehouse: Warehouse, changes: Changes, guard: Guard | None) -> Refusal:
        age = self._run_age()
        return find_refusal(warehouse, changes, self._limits, guard=guard, elapsed=age, run=self._run)

    def _new_ledger_row(self, warehouse: Warehouse, changes: Changes, version: int | None) -> LedgerRow:
        now = warehouse.now()
        return LedgerRow(
            run=self._run, store=self._tables.store, view=changes.view.id,
            definition=view_schema(changes.view).fingerprint, keys=key_signature(changes.view),
            dbt_invocation_id=self._invocation_id, as_of=changes.as_of, started_at=now,
            # Greater than every earlier version, even if a clock was set back.
            version=max(to_microseconds(now) if version is None else version, changes.baseline.version + 1),
            entities=changes.entities, unchanged=changes.unchanged,
        )  # fmt: skip

    def _build_intent(
        self, warehouse: Warehouse, changes: Changes, row: LedgerRow, refusal: Refusal, began: float, *, rewind: bool
    ) -> Intent:
        sizes = read_sizes(warehouse, changes.delta.sizes_in_log(self._run, item_overhead(changes.view)))
        return Intent(
            view=changes.view, row=row, sizes=sizes, null_keys=changes.null_keys, null_times=changes.null_times,
            source_time=changes.source_time, rewind=rewind, began=began, code=changes.code, refused=refusal,
        )  # fmt: skip

    def _select_run(self, baseline: Baseline, view: FeatureView, run: str) -> LedgerRow:
        """Return the kept run with this id, id prefix or version."""
        kept = baseline.commits[-self._keep :]
        matches = [row for row in kept if run and (row.run.startswith(run) or run == str(row.version))]
        if len(matches) != 1:
            what = f"{view.id} can't go back to run '{run}'" + (": several ids begin with it" if matches else "")
            runs = ", ".join(f"{row.run[:8]} (as of {row.as_of.isoformat()})" for row in reversed(kept))
            raise PlanError(what, fix=f"pass one of the runs that are kept: {runs or 'none'}")
        if not baseline.trusted:
            raise PlanError(
                f"{view.id}: the warehouse does not know what the store holds, so it can't go back",
                fix=f"run `featurelayer export -s {view.id}` first",
            )
        return matches[0]

    # --- finish --------------------------------------------------------------------------------------------------

    def finish(self, intent: Intent) -> ViewExport:
        """Send the intent, commit, and complete the ledger.

        Raises:
            OnlineStoreError: the store failed; running the export again finishes the work.
        """
        return self.finish_all([intent])[0]

    def finish_all(self, intents: Sequence[Intent]) -> tuple[ViewExport, ...]:
        """Finish the intents of several views, in the groups that the sender sends together."""
        return tuple(view for group in self._sender.group(intents) for view in self._finish(group))

    def _finish(self, intents: Sequence[Intent]) -> list[ViewExport]:
        started = time.monotonic()
        with TempDir() as folder:
            with self._sender.send(intents, self._outbox, folder) as results:
                for intent, result in zip(intents, results, strict=True):
                    self._commit_or_compensate(intent, result, folder)
            for intent, result in zip(intents, results, strict=True):
                if not result.superseded:
                    # The store has been written, so a conflict is resolved now, not by the next run of the command.
                    row = _completed_row(intent, result)
                    retry_on_conflict(partial(self._complete_ledger, intent, result, row))
        return [_view_report(intent, result, started) for intent, result in zip(intents, results, strict=True)]

    def _commit_or_compensate(self, intent: Intent, result: SendResult, folder: Path) -> None:
        """Commit, or revert items that were written after a newer run had committed."""
        if not result.superseded:
            result.superseded = not self._commit(intent)
        if result.superseded:
            keys = chain.from_iterable(read_keys(path) for path in result.files)
            newest = partial(self._read_newest, intent, folder / "overtaken.parquet")
            compensate(self._store, intent, keys, newest, GRACE_SECONDS)

    def _commit(self, intent: Intent) -> bool:
        """Mark the run as complete in the store; return False if a newer one already is."""
        sk, row = view_sk(intent.view), intent.row
        commit = ViewCommit(
            version=row.version, as_of=to_microseconds(row.as_of), source_time=intent.source_time,
            schema=row.definition, rows=row.entities or 0, finished=to_microseconds(_completion_time(intent)),
            code=intent.code,
        )  # fmt: skip
        return not call_with_retry(lambda: self._store.write([commit.item(sk)]), self._patience).refused

    def _read_newest(self, intent: Intent, path: Path, commit: ViewCommit, pks: Sequence[str]) -> dict[str, Item]:
        """Return the newest run's items for the keys that this overtaken run wrote."""
        with KeyFile(path) as file:
            file.add(pks)
        as_of = from_microseconds(commit.as_of)
        newest = replace(intent, row=replace(intent.row, version=commit.version, as_of=as_of))
        with self._open_warehouse(writable=False) as warehouse:
            delta = Delta(dialect(warehouse.dialect), self._tables.log(intent.view.id))
            rows = warehouse.rows(delta.newest_items(from_item(warehouse, path), commit.version))
        return {pk: build_item(newest, pk, *values) for pk, *values in rows}

    def _complete_ledger(self, intent: Intent, result: SendResult, row: LedgerRow) -> None:
        with self._open_warehouse(writable=True) as warehouse, warehouse.transaction():
            ledger = Ledger(warehouse, self._tables)
            delta = Delta(dialect(warehouse.dialect), self._tables.log(intent.view.id))
            if result.refused:
                warehouse.execute(delta.mark_refused(row.run, from_item(warehouse, result.refused_keys)))
            ledger.finish(row)
            finished = [each.version for each in ledger.rows(intent.view.id) if each.finished_at is not None]
            if row.version not in finished:
                raise unknown_export(intent.view)
            garbage = to_microseconds(row.started_at) - GRACE_SECONDS * 1_000_000
            for statement in delta.prune(keep_since=finished[-self._keep :][0], committed=row.version, garbage=garbage):
                warehouse.execute(statement)


def _completed_row(intent: Intent, result: SendResult) -> LedgerRow:
    return replace(
        intent.row,
        written=result.written,
        unchanged=(intent.row.unchanged or 0) + result.unchanged,
        refused=result.refused,
        tombstones=result.tombstones,
        bytes=result.bytes,
        finished_at=_completion_time(intent),
    )


def _view_report(intent: Intent, result: SendResult, started: float) -> ViewExport:
    row = intent.row
    resumed = intent.sizes.get(IN_DOUBT)
    return ViewExport(
        view=intent.view.id, run=row.run, as_of=row.as_of, rows=row.entities or 0, written=result.written,
        unchanged=(row.unchanged or 0) + result.unchanged, refused=result.refused, null_keys=intent.null_keys,
        null_times=intent.null_times, tombstones=result.tombstones, resumed=resumed.keys if resumed else 0,
        bytes=result.bytes, units=result.units, seconds=time.monotonic() - started, superseded=result.superseded,
    )  # fmt: skip


def _build_plan(warehouse: Warehouse, changes: Changes, refusal: Refusal) -> ViewPlan:
    sizes = changes.sizes(warehouse)
    new, changed, in_doubt, removed = (changes.counts.get(kind, 0) for kind in KINDS)
    return ViewPlan(
        view=changes.view.id, as_of=changes.as_of, rows=changes.entities, new=new, changed=changed, in_doubt=in_doubt,
        removed=removed, unchanged=changes.unchanged, null_keys=changes.null_keys, null_times=changes.null_times,
        bytes=sum(size.bytes for size in sizes.values()), units=sum(size.units for size in sizes.values()),
        refused=refusal,
    )  # fmt: skip


def _completion_time(intent: Intent) -> datetime:
    """Return the warehouse's present: its clock when the intent was written plus the time passed since."""
    return intent.row.started_at + timedelta(seconds=time.monotonic() - intent.began)
