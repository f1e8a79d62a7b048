"""Values between exports: rows of a client to items, newer wins, and the log that brings them to the warehouse.

A row becomes two items: an entry of the log, written first, and the value. So whatever is being served is in the log,
too, until the warehouse has it. The log of a view lies in a few partitions, so that no single one is the hottest of
the table, and every entry has a name of its own that begins with its time: clients never overwrite each other there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4
from zlib import crc32

import msgspec

from featurelayer.errors import CodecError, PlanError, Problem, did_you_mean
from featurelayer.online.arguments import plain_keys, plain_value
from featurelayer.online.base import Item, Moment, OnlineStore
from featurelayer.online.codec import encode_column, join_rows, parse_dtype, timestamp_value
from featurelayer.online.definitions import ViewDefinition, decode_content
from featurelayer.online.keys import encode_key_column, join_key, key_prefix
from featurelayer.online.rows import decode_json

LOG = "#log"
SHARDS = 8
# Clocks differ a little. An event further ahead would win over everything until then.
AHEAD = 5 * 60 * 1_000_000
GRACE_SECONDS = 14 * 86_400
_READ_AT_ONCE = 1_000

_json = msgspec.json.Encoder().encode
_parts = msgspec.json.Decoder(list[msgspec.Raw]).decode


class WriteResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a `FeatureClient.write`.

    `refused` are the positions of rows that lost against a newer value, which is not a failure; `unchanged` is how many
    were there already.
    """

    written: int
    unchanged: int
    refused: tuple[int, ...] = ()


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A row that a client wrote: the key's text, the values, and the times in microseconds."""

    pk: str
    f: str
    schema: str
    written_at: Moment
    event_time: Moment | None = None

    def item(self, sk: str) -> Item:
        """Return the entry as the store holds it, under a name of its own."""
        shard = crc32(self.pk.encode()) % SHARDS
        name = f"{self.written_at:020d}-{uuid4().hex}"
        return Item(pk=log_partitions(sk)[shard], sk=name, version=self.written_at, as_of=self.written_at,
                    schema=self.schema, f=_json(self).decode())  # fmt: skip

    @classmethod
    def from_item(cls, item: Item) -> LogEntry:
        """Read an entry back.

        Raises:
            CorruptItem: it is not one.
        """
        return decode_content(item, cls)


def log_partitions(sk: str) -> list[str]:
    """Return the partitions of a view's log."""
    return [f"{LOG}#{sk}#{shard}" for shard in range(SHARDS)]


def read_log_entries(store: OnlineStore, sk: str) -> Iterator[tuple[Item, LogEntry]]:
    """Yield a view's log."""
    for pk in log_partitions(sk):
        names = store.names(pk)
        for start in range(0, len(names), _READ_AT_ONCE):
            keys = [(pk, name) for name in names[start : start + _READ_AT_ONCE]]
            found = store.read(keys, consistent=True)
            yield from ((found[key], LogEntry.from_item(found[key])) for key in keys if key in found)


def write_rows(
    store: OnlineStore, view: ViewDefinition, rows: Sequence[Mapping[str, Any]], *, deadline: float | None = None
) -> WriteResult:
    """Put rows of a view into the log and then, newer wins, among the values.

    Raises:
        PlanError: rows lack columns or have unknown ones, or a time is in the future; all problems are named.
        CodecError: values are not of the declared types; all of them are named.
    """
    now = time.time_ns() // 1_000
    entries = _build_entries(view, rows, now)
    if not entries:
        return WriteResult(written=0, unchanged=0)
    items = [_build_item(view, entry) for entry in entries]
    newest: dict[str, int] = {}
    for position, item in enumerate(items):
        known = newest.get(item.pk)
        if known is None or item.replaces(items[known]):
            newest[item.pk] = position
    store.write([entry.item(view.sk) for entry in entries], rewrite=True, new=True, deadline=deadline)
    done = store.write([items[position] for position in newest.values()], deadline=deadline)
    lost = {pk for pk, _ in done.lost}
    refused = tuple(position for position, item in enumerate(items) if item.pk in lost or newest[item.pk] != position)
    return WriteResult(written=done.written, unchanged=done.unchanged, refused=refused)


def key_values(view: ViewDefinition, pk: str) -> dict[str, Any] | None:
    """Return the values of a key by column, from its text; None if the text is of another key."""
    prefix = key_prefix(view.entities)
    if not pk.startswith(prefix):
        return None
    try:
        parts = _parts(pk[len(prefix) :])
        pairs = zip(view.keys, parts, strict=True)
        return {key.column: decode_json(parse_dtype(key.dtype), part) for key, part in pairs}
    except (msgspec.DecodeError, CodecError, ValueError, RecursionError):
        return None


def _build_entries(view: ViewDefinition, rows: Sequence[Mapping[str, Any]], now: int) -> list[LogEntry]:
    problems: list[Problem] = []
    misfits: list[str] = []
    entries = []
    for position, given in enumerate(rows):
        row = _plain_row(view, given)
        where = f"{view.view}, row {position}"
        problems += _column_problems(view, row, where)
        entry, wrong = _build_entry(view, row, now + position, where)
        misfits += wrong
        if entry is not None:
            entries.append(entry)
            if entry.event_time is not None and entry.event_time > now + AHEAD:
                what = f"the event time is in the future: {row[view.event_time or '']}"
                problems.append(Problem(what=what, where=where, fix="write what has happened; a naive time is UTC"))
    if problems:
        raise PlanError([*problems, *(Problem(what=text) for text in misfits)])
    if misfits:
        raise CodecError("\n".join(misfits))
    return entries


def _plain_row(view: ViewDefinition, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as plain Python values, with None for pandas' missing values."""
    plain = {name: plain_value(value) for name, value in row.items()}
    for key in view.keys:
        if key.column in plain:
            whole = parse_dtype(key.dtype).kind in ("int", "uint")
            (plain[key.column],) = plain_keys([plain[key.column]], whole=whole)
    return plain


def _column_problems(view: ViewDefinition, row: Mapping[str, Any], where: str) -> Iterator[Problem]:
    keys = [key.column for key in view.keys]
    features = [name for name, _ in view.schema.features]
    optional = [view.event_time] if view.event_time else []
    for name in [*keys, *features]:
        if name not in row:
            fix = "a feature that has no value is None" if name in features else "every part of the key is needed"
            yield Problem(what=f"'{name}' is missing", where=where, fix=fix)
    for name in keys:
        if name in row and row[name] is None:
            yield Problem(what=f"the key '{name}' is None", where=where, fix="write rows that have a key")
    known = [*keys, *features, *optional]
    for name in row:
        if name not in known:
            fix = f"the view has {', '.join(known)}"
            yield Problem(what=f"unknown column '{name}'{did_you_mean(str(name), known)}", where=where, fix=fix)


def _build_entry(
    view: ViewDefinition, row: Mapping[str, Any], at: int, where: str
) -> tuple[LogEntry | None, list[str]]:
    """Return the log entry of a row, and its problems."""
    wrong: list[str] = []
    parts = [
        _encode_value(encode_key_column, key.dtype, row.get(key.column), f"{where}.{key.column}", wrong)
        for key in view.keys
    ]
    if not wrong:  # a key beyond its type would be in the log for ever, since the warehouse can't take it
        for key in view.keys:
            _encode_value(encode_column, key.dtype, row.get(key.column), f"{where}.{key.column}", wrong)
    values = [
        _encode_value(encode_column, dtype, row.get(name), f"{where}.{name}", wrong)
        for name, dtype in view.schema.features
    ]
    event_time = None
    if view.event_time:
        given = row.get(view.event_time)
        try:
            event_time = at if given is None else timestamp_value(given)
        except TypeError:
            wrong.append(f"{where}.{view.event_time}: {given!r} ({type(given).__name__}) is not a time")
    if wrong:
        return None, wrong
    try:
        pk = join_key(key_prefix(view.entities), parts, where=where)
        [text] = join_rows([[value] for value in values], 1, [name for name, _ in view.schema.features], where=where)
    except CodecError as error:
        return None, [str(error)]
    fingerprint = view.schema.fingerprint
    return LogEntry(pk=pk, f=text, schema=fingerprint, written_at=at, event_time=event_time), []


def _encode_value(encode: Any, dtype: str, value: Any, where: str, wrong: list[str]) -> Any:
    try:
        return encode(parse_dtype(dtype), [value], where=where)[0]
    except CodecError as error:
        wrong.append(str(error))
        return None


def _build_item(view: ViewDefinition, entry: LogEntry) -> Item:
    ttl = None
    if view.ttl is not None and entry.event_time is not None:
        ttl = math.ceil(max(entry.event_time + view.ttl, entry.written_at) / 1_000_000) + GRACE_SECONDS
    return Item(
        pk=entry.pk, sk=view.sk, version=entry.written_at, f=entry.f, schema=entry.schema, as_of=entry.written_at,
        event_time=entry.event_time, ttl=ttl, streamed=True,
    )  # fmt: skip
