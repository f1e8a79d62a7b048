"""Senders: how the items that a run intends to write get into the store, row by row or as one import."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from featurelayer.callbacks import Progress, ignore_progress
from featurelayer.durations import microseconds
from featurelayer.errors import OnlineStoreError
from featurelayer.export.changes import can_expire
from featurelayer.export.files import KeyFile, Outbox, read_batches
from featurelayer.export.lease import Clock, HeldLease
from featurelayer.export.records import Intent
from featurelayer.model import FeatureView
from featurelayer.online.base import Item, OnlineStore, store_capabilities
from featurelayer.online.codec import to_microseconds
from featurelayer.online.definitions import ViewRunStart, commit_key, view_schema, view_sk
from featurelayer.retry import call_with_retry
from featurelayer.sql.delta import NEW, REMOVED
from featurelayer.tempdirs import TempDir

if TYPE_CHECKING:
    import pyarrow as pa

    from featurelayer.online.stores.dynamodb.s3_import import ImportFiles

# Garbage is collected so late after expiry or removal that no earlier run can still be writing.
GRACE_SECONDS = microseconds(timedelta(days=14)) // 1_000_000
_OLDEST_RUN = timedelta(days=13)

Load = Callable[[str, Iterator[Sequence[Item]], str], "ImportFiles"]
"""Makes the table that has a view's `sk` from batches of items, by a run's id; it has all of them afterwards."""


@dataclass(slots=True)
class SendResult:
    """The outcome of sending one intent; counts are items.

    `files` hold the keys that may have been written, `refused_keys` those that the store refused, as files because
    there may be millions. `items` counts sent items, accepted or not; `units` is the estimated write units.
    """

    refused_keys: Path
    files: Sequence[Path] = ()
    written: int = 0
    unchanged: int = 0
    refused: int = 0
    tombstones: int = 0
    bytes: int = 0
    items: int = 0
    units: int = 0
    superseded: bool = False


class Sender(Protocol):
    """Writes intents to a store. The exporter commits."""

    @property
    def path(self) -> str:
        """The write path, if the store has several."""

    def group(self, intents: Sequence[Intent]) -> Sequence[Sequence[Intent]]:
        """Group the intents that are sent, and then committed, together."""

    def send(self, intents: Sequence[Intent], outbox: Outbox, folder: Path) -> AbstractContextManager[list[SendResult]]:
        """Send intents of one group; files go to `folder`.

        Other exporters wait as long as the context lasts.

        Raises:
            OnlineStoreError: the store failed; exporting again finishes the work.
        """


class RowSender:
    """Writes to a store that is being read: each item conditionally, so that newer values win."""

    def __init__(self, store: OnlineStore, *, clock: Clock | None = None, progress: Progress | None = None) -> None:
        self._store, self._clock = store, clock or Clock()
        self._patience = store_capabilities(store).patience
        self._progress = progress or ignore_progress

    @property
    def path(self) -> str:
        return str(getattr(self._store, "write_path", ""))

    def group(self, intents: Sequence[Intent]) -> Sequence[Sequence[Intent]]:
        return [[intent] for intent in intents]

    @contextmanager
    def send(self, intents: Sequence[Intent], outbox: Outbox, folder: Path) -> Iterator[list[SendResult]]:
        (intent,) = intents
        result = SendResult(refused_keys=folder / "refused.parquet", units=intent.units)
        lease = HeldLease(self._store, view_sk(intent.view), intent.row.run, self._clock)
        try:
            if intent.to_write:
                self._send(intent, result, lease, outbox, folder)
            yield [result]
        finally:
            lease.release()

    def _send(self, intent: Intent, result: SendResult, lease: HeldLease, outbox: Outbox, folder: Path) -> None:
        lease.renew()
        if self._is_superseded(intent):  # and the warehouse may have dropped this run's intent
            result.superseded = True
            return
        # Written before the first item: the schema that items refer to, and the version, so that a rebuilt
        # warehouse never reuses it.
        begun = ViewRunStart(version=intent.row.version, run=intent.row.run).item(view_sk(intent.view))
        call_with_retry(lambda: self._store.write([view_schema(intent.view).item(), begun]), self._patience)
        files = outbox.fetch(intent, folder)
        result.files = [path for _, path in files]
        with KeyFile(result.refused_keys) as refused:
            for kind, path in files:
                for batch in read_batches(path):
                    lease.renew()
                    if self._is_superseded(intent):
                        result.superseded = True
                        return
                    refused.add(self._write(intent, kind, batch, result))

    def _write(self, intent: Intent, kind: str, batch: pa.RecordBatch, result: SendResult) -> list[str]:
        """Write a batch, count it, and return the keys that the store refused."""
        _validate_run_age(intent)
        items = build_items(intent, batch)
        counts = self._store.write(items, rewind=intent.rewind, rewrite=True, new=kind == NEW)
        if kind == REMOVED:
            result.tombstones += counts.written
        else:
            result.written += counts.written
        result.unchanged += counts.unchanged
        result.refused += counts.refused
        result.bytes += counts.bytes
        result.items += len(items)
        self._progress(intent.view.id, result.items, intent.to_write)
        return [pk for pk, _ in counts.lost]

    def _is_superseded(self, intent: Intent) -> bool:
        key = commit_key(view_sk(intent.view))
        commit = call_with_retry(lambda: self._store.read([key], consistent=True), self._patience).get(key)
        return commit is not None and commit.version > intent.row.version


class ImportSender:
    """Creates a new table, of all views together or one per view, by an import.

    It takes no lease: a lease would be an item of a table that does not exist yet, and AWS creates a table only once. A
    run that dies leaves an unfinished intent, as any run does, and the next export writes its keys again.
    """

    def __init__(self, load: Load, *, has_table_per_view: bool = False, progress: Progress | None = None) -> None:
        self._load, self._has_table_per_view = load, has_table_per_view
        self._progress = progress or ignore_progress
        self._files: list[ImportFiles] = []

    @property
    def path(self) -> str:
        return "ImportTable from " + ", ".join(f"s3://{each.bucket}/{each.prefix}" for each in self._files)

    def group(self, intents: Sequence[Intent]) -> Sequence[Sequence[Intent]]:
        return [[intent] for intent in intents] if self._has_table_per_view else [list(intents)]

    @contextmanager
    def send(self, intents: Sequence[Intent], outbox: Outbox, folder: Path) -> Iterator[list[SendResult]]:
        results = [SendResult(refused_keys=folder / "refused.parquet") for _ in intents]
        first = intents[0]
        self._files.append(self._load(view_sk(first.view), self._batches(intents, results, outbox), first.row.run))
        yield results

    def _batches(
        self, intents: Sequence[Intent], results: Sequence[SendResult], outbox: Outbox
    ) -> Iterator[list[Item]]:
        """Yield the schemas and then all intents; only one view's files are on disk at a time."""
        schemas = {schema.item().key: schema.item() for schema in (view_schema(intent.view) for intent in intents)}
        yield list(schemas.values())
        for intent, result in zip(intents, results, strict=True):
            yield [ViewRunStart(version=intent.row.version, run=intent.row.run).item(view_sk(intent.view))]
            with TempDir() as folder:
                for kind, path in outbox.fetch(intent, folder, shuffled=True):
                    for batch in read_batches(path):
                        items = build_items(intent, batch)
                        yield items
                        self._count(intent, kind, items, result)

    def _count(self, intent: Intent, kind: str, items: Sequence[Item], result: SendResult) -> None:
        if kind == REMOVED:
            result.tombstones += len(items)
        else:
            result.written += len(items)
        result.bytes += sum(item.size for item in items)
        result.items += len(items)
        self._progress(f"{intent.view.id} to S3", result.items, intent.to_write)


def build_items(intent: Intent, batch: pa.RecordBatch) -> list[Item]:
    """Convert rows of an intent to items of the store."""
    rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
    return [build_item(intent, *values) for values in rows]


def build_item(
    intent: Intent, pk: str, f: str | None, schema: str, event_time: int | None, valid_to: int | None
) -> Item:
    """Return the item of one row; a row without values gives a tombstone."""
    row, sk = intent.row, view_sk(intent.view)
    as_of = to_microseconds(row.as_of)
    if f is None:
        ttl = math.ceil(max(as_of, row.version) / 1_000_000) + GRACE_SECONDS
        # Keep the event time, so that streamed values unknown to this run win over the tombstone.
        return Item(pk=pk, sk=sk, version=row.version, as_of=as_of, event_time=event_time, ttl=ttl, deleted=True)
    return Item(
        pk=pk, sk=sk, version=row.version, f=f, schema=schema, as_of=as_of, event_time=event_time, valid_to=valid_to,
        ttl=_item_ttl(intent.view, event_time, as_of),
    )  # fmt: skip


def _item_ttl(view: FeatureView, event_time: int | None, as_of: int) -> int | None:
    """Return the epoch second after which an item is garbage, long after its expiry; None without a TTL."""
    if view.ttl is None or not can_expire(view) or event_time is None:
        return None
    return math.ceil(max(event_time + microseconds(view.ttl), as_of) / 1_000_000) + GRACE_SECONDS


def _validate_run_age(intent: Intent) -> None:
    """Reject a run that slept so long that it could restore keys whose tombstones, kept for 14 days, have expired."""
    if datetime.now(UTC) - intent.begun > _OLDEST_RUN:
        raise OnlineStoreError(
            f"{intent.view.id}: this export began more than {_OLDEST_RUN.days} days ago and may write no more",
            fix="run `featurelayer export` again",
        )
