"""Use case: the snapshot of a view at a time T into the online store.

An export is safe to repeat and to kill: every write is conditional (newer wins), rows the store already has are not
written again, and the view's commit is recorded last. A row that the store refuses lost against a newer one, which is
success. A key that is gone from the snapshot gets a tombstone, unless it is gone only because it expired: readers
decide that by themselves.

The keys of the snapshot are kept in a temporary file while it streams, then compared with what the store lists, so
memory stays bounded and nothing but the store is needed to know what was removed. On DynamoDB that listing is a scan.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from featurelayer.durations import microseconds
from featurelayer.errors import CodecError, PlanError, Problem
from featurelayer.model import DType, FeatureService, FeatureView, Kind
from featurelayer.online.base import Item, OnlineStore, Written
from featurelayer.online.codec import Column, encode_column, encode_microseconds, join_rows, to_microseconds
from featurelayer.online.definitions import (
    ServiceDefinition,
    ViewCommit,
    commit_key,
    service_definition,
    view_schema,
    view_sk,
)
from featurelayer.online.keys import encode_key_column, join_key, key_prefix
from featurelayer.sql.plan import EVENT_MICROS as EVENT_TIME
from featurelayer.sql.plan import VALID_TO_MICROS as VALID_TO

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_PER_WRITE = 2_000
# Garbage is collected so long after a value expired or was removed that no run of before can still be awake.
_GRACE_SECONDS = microseconds(timedelta(days=14)) // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewExport:
    """What an export of one view did: every row is written, unchanged, refused (somebody newer won) or without a key.

    `tombstones` counts the removed keys; `bytes` is the size of what was written, as DynamoDB counts it. `superseded`
    says that a newer export committed first, so that the rest of this one had nothing left to do.
    """

    view: str
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


def publish_services(
    store: OnlineStore, services: Iterable[FeatureService], views: Mapping[str, FeatureView], version: int
) -> tuple[ServiceDefinition, ...]:
    """Write the schemas and definitions that serving needs, and point each service's name at its definition.

    `views` are by id; `version` is the run's write version in microseconds: of two runs the greater one's pointers win.

    Raises:
        UnknownNameError: a service names a view or feature that `views` lacks.
        CodecError: a feature can't be stored, or a default does not fit its type. Nothing has been written then.
    """
    definitions = tuple(service_definition(service, views) for service in services)
    used = {joined.view for definition in definitions for joined in definition.views}
    schemas = {view_schema(views[view]) for view in sorted(used)}
    items = [schema.item() for schema in schemas] + [item for each in definitions for item in each.items(version)]
    if items:
        store.write(list({item.key: item for item in items}.values()))
    return definitions


def export_view(
    store: OnlineStore,
    view: FeatureView,
    snapshot: Iterable[pa.RecordBatch],
    *,
    as_of: datetime,
    version: int | None = None,
    full: bool = False,
    rewind: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ViewExport:
    """Bring the store's values of `view` to `snapshot`, the view at the time `as_of`.

    Each batch has the view's join key columns and features by name, `__fl_event_time` and `__fl_valid_to` (int64
    microseconds or NULL), one row per key. `version` orders runs, in microseconds; it is `as_of` unless an older time
    is exported on purpose: then give the present time and `rewind=True`, which lets rows with an older event time win.
    `full` does so too, and writes unchanged rows again.
    `progress` is told the number of rows done since it was last told.

    Raises:
        CodecError: a feature can't be stored, or a value does not fit its declared type.
        PlanError: columns are missing from the snapshot, or a key is in it twice.
    """
    run = _Run(store, view, as_of=as_of, version=version, full=full, rewind=rewind)
    try:
        for batch in snapshot:
            done = run.take(batch)
            if progress is not None:
                progress(done)
        return run.finish()
    finally:
        run.close()


class _Run:
    """One export of one view under way."""

    def __init__(
        self, store: OnlineStore, view: FeatureView, *, as_of: datetime, version: int | None, full: bool, rewind: bool
    ) -> None:
        self._started = time.monotonic()
        self._store, self._view, self._full, self._rewind = store, view, full, full or rewind
        self._sk = view_sk(view)
        self._as_of_time, self._as_of = as_of, to_microseconds(as_of)
        self._version = self._as_of if version is None else version
        self._ttl = microseconds(view.ttl) if view.ttl is not None and not view.static else None
        self._schema = view_schema(view)
        self._fingerprint = self._schema.fingerprint
        self._prefix = key_prefix(view.entities)
        self._seen = _KeyFile()
        self._rows = self._null_keys = 0
        self._written = Written()
        self._source_time: int | None = None
        # The schema is there before the first item that names it.
        store.write([self._schema.item()])
        self._superseded = self._is_superseded()

    def take(self, batch: pa.RecordBatch) -> int:
        """Write a batch; return its number of rows."""
        self._check_columns(batch.schema.names)
        for start in range(0, batch.num_rows, _ROWS_PER_WRITE):
            self._take(batch.slice(start, _ROWS_PER_WRITE))
        return int(batch.num_rows)

    def finish(self) -> ViewExport:
        """Write tombstones for removed keys and the view's commit; return the counts."""
        tombstones = Written()
        if not self._superseded:
            tombstones = self._remove_gone()
            self._commit()
        done = self._written
        return ViewExport(
            view=self._view.id, as_of=self._as_of_time, rows=self._rows, written=done.written,
            unchanged=done.unchanged, refused=done.refused, null_keys=self._null_keys,
            tombstones=tombstones.written, bytes=done.bytes + tombstones.bytes,
            seconds=time.monotonic() - self._started, superseded=self._superseded,
        )  # fmt: skip

    def close(self) -> None:
        """Drop the temporary file."""
        self._seen.close()

    def _take(self, batch: pa.RecordBatch) -> None:
        items = self._items(batch)
        self._rows += batch.num_rows
        self._null_keys += batch.num_rows - len(items)
        self._seen.add([item.pk for item in items], self._view.id)
        newest = max((item.event_time for item in items if item.event_time is not None), default=None)
        if newest is not None:
            self._source_time = max(newest, self._source_time or newest)
        # A run that slept while a newer one committed must not bring keys back that the newer one saw disappear.
        self._superseded = self._superseded or self._is_superseded()
        if self._superseded:
            self._written = _added(self._written, Written(refused=len(items)))
        elif items:
            self._written = _added(self._written, self._store.write(items, rewind=self._rewind, rewrite=self._full))

    def _items(self, batch: pa.RecordBatch) -> list[Item]:
        """Return an item for every row that has a whole key."""
        view = self._view
        parts = [self._encoded(batch, key.column, key.dtype, encode_key_column) for key in view.join_keys]
        columns = [self._encoded(batch, feature.name, feature.dtype, encode_column) for feature in view.features]
        names = [feature.name for feature in view.features]
        texts = join_rows(columns, batch.num_rows, names, where=view.id)
        event_times = _optional(batch, EVENT_TIME, static=view.static)
        valid_tos = _optional(batch, VALID_TO)
        return [
            Item(
                pk=join_key(self._prefix, key, where=view.id), sk=self._sk, version=self._version, f=text,
                schema=self._fingerprint, as_of=self._as_of, event_time=event_time, valid_to=valid_to,
                ttl=self._garbage_after(event_time),
            )
            for key, text, event_time, valid_to in zip(
                zip(*parts, strict=True), texts, event_times, valid_tos, strict=True
            )
            if None not in key
        ]  # fmt: skip

    def _encoded(self, batch: pa.RecordBatch, name: str, dtype: DType, encode: Callable[..., Column]) -> Column:
        where = self._where(name)
        column = batch.column(name)
        if dtype.kind in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ) and _is_timestamp(column.type):
            return encode_microseconds(_microsecond_values(column, where), where=where)
        return encode(dtype, _values(column, dtype, where), where=where)

    def _garbage_after(self, event_time: int | None) -> int | None:
        """Return the epoch second after which the item is garbage: long after it expired; never without a TTL."""
        if self._ttl is None or event_time is None:
            return None
        return math.ceil(max(event_time + self._ttl, self._as_of) / 1_000_000) + _GRACE_SECONDS

    def _remove_gone(self) -> Written:
        total = Written()
        gone = (self._tombstone(pk) for pk in self._gone())
        while batch := list(islice(gone, _ROWS_PER_WRITE)):
            total = _added(total, self._store.write(batch, rewind=True))
        return total

    def _gone(self) -> Iterator[str]:
        """Yield the keys that the store has and the snapshot lacks, but for those that merely expired."""
        oldest = self._as_of - self._ttl if self._ttl is not None else None
        listed = (
            live.pk for live in self._store.live(self._sk)
            if live.version < self._version
            and (oldest is None or live.event_time is None or live.event_time >= oldest or self._full)
        )  # fmt: skip
        while batch := list(islice(listed, _ROWS_PER_WRITE)):
            yield from self._seen.absent(batch)

    def _tombstone(self, pk: str) -> Item:
        ttl = math.ceil(max(self._as_of, self._version) / 1_000_000) + _GRACE_SECONDS
        return Item(pk=pk, sk=self._sk, version=self._version, as_of=self._as_of, ttl=ttl, deleted=True)

    def _commit(self) -> None:
        key = commit_key(self._sk)
        previous = self._store.read([key], consistent=True).get(key)
        if self._source_time is None and previous is not None:
            # An empty snapshot is no news of the source: its newest row stays the newest that was seen.
            self._source_time = ViewCommit.from_item(previous).source_time
        commit = ViewCommit(
            version=self._version, as_of=self._as_of, source_time=self._source_time, schema=self._fingerprint,
            rows=self._rows - self._null_keys,
        )  # fmt: skip
        if self._store.write([commit.item(self._sk)]).refused:
            self._superseded = self._is_superseded()

    def _is_superseded(self) -> bool:
        key = commit_key(self._sk)
        commit = self._store.read([key], consistent=True).get(key)
        return commit is not None and commit.version > self._version

    def _check_columns(self, present: Sequence[str]) -> None:
        wanted = [key.column for key in self._view.join_keys] + [feature.name for feature in self._view.features]
        missing = [name for name in [*wanted, EVENT_TIME, VALID_TO] if name not in present]
        if missing:
            raise PlanError(
                Problem(what=f"the snapshot has no column '{name}'", where=self._view.id, fix="this is ours to fix")
                for name in missing
            )

    def _where(self, column: str) -> str:
        return f"{self._view.id}.{column}"


class _KeyFile:
    """A set of keys of any size, in a temporary file that SQLite removes by itself."""

    def __init__(self) -> None:
        self._keys = sqlite3.connect("", isolation_level=None)
        self._keys.execute("PRAGMA journal_mode = OFF")
        self._keys.execute("CREATE TABLE keys (pk TEXT PRIMARY KEY) WITHOUT ROWID")

    def add(self, pks: Sequence[str], view: str) -> None:
        """Remember keys.

        Raises:
            PlanError: one is there already: which of its rows to serve would be chance.
        """
        self._keys.execute("BEGIN")
        try:
            self._keys.executemany("INSERT INTO keys VALUES (?)", [(pk,) for pk in pks])
        except sqlite3.IntegrityError:
            twice = sorted({pk for pk in pks if pks.count(pk) > 1} or set(pks) - set(self.absent(pks)))
            raise PlanError([Problem(
                what=f"the snapshot has more than one row for the same key, such as {', '.join(twice[:3])}", where=view,
                fix="make the view unique per key and time, or declare a tie_breaker",
            )]) from None  # fmt: skip
        self._keys.execute("COMMIT")

    def absent(self, pks: Sequence[str]) -> list[str]:
        """Return those that were never added."""
        has = self._keys.execute
        return [pk for pk in pks if has("SELECT 1 FROM keys WHERE pk = ?", (pk,)).fetchone() is None]

    def close(self) -> None:
        self._keys.close()


def _added(one: Written, other: Written) -> Written:
    return Written(
        written=one.written + other.written,
        unchanged=one.unchanged + other.unchanged,
        refused=one.refused + other.refused,
        bytes=one.bytes + other.bytes,
    )


def _is_timestamp(arrow_type: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_timestamp(arrow_type))


def _microsecond_values(column: Any, where: str) -> Column:
    import pyarrow as pa

    try:
        # Safe casts: a part below the microsecond is an error, not a truncation.
        values: Column = column.cast(pa.timestamp("us", tz=column.type.tz)).cast(pa.int64()).to_pylist()
    except pa.ArrowInvalid as error:
        raise CodecError(f"{where}: a timestamp is finer than a microsecond or out of range: {error}") from error
    return values


def _values(column: Any, dtype: DType, where: str) -> Column:
    """Return a column as Python values."""
    try:
        values: Column = column.to_pylist()
    except (ValueError, OverflowError) as error:
        raise CodecError(f"{where}: a value can't be represented as {dtype}: {error}") from error
    return values


def _optional(batch: pa.RecordBatch, name: str, *, static: bool = False) -> Column:
    if static:
        return [None] * int(batch.num_rows)
    values: Column = batch.column(name).to_pylist()
    return values
