"""Write DynamoDB tables by PartiQL: twenty-five statements a call, each under its own condition, nothing read first.

PartiQL has no upsert. A key that is probably there gets an UPDATE under the newer-wins rule of `Item.replaces`; where
that is refused, the key may be missing or the item newer, so an INSERT tells; where that finds a duplicate, another
writer was faster, or the item is newer after all, which a last UPDATE tells. A key that is probably new begins with the
INSERT. Whatever is still refused has lost.

Status 200 covers none of the statements, so each one's own result is read. What is throttled or fails for
a moment is sent again, with growing pauses, for as long as patience lasts since the batch last made progress.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from time import monotonic
from typing import Any

import msgspec

from featurelayer.errors import DeadlineExceeded, OnlineStoreError, StoreThrottled, StoreUnavailable
from featurelayer.online.base import Item
from featurelayer.online.budget import ReadBudget, Usage
from featurelayer.online.stores.dynamodb.errors import store_error, unreadable_error
from featurelayer.online.stores.dynamodb.layout import Layout
from featurelayer.online.stores.dynamodb.reader import run_parallel
from featurelayer.online.stores.dynamodb.transport import Transport
from featurelayer.retry import Backoff

_STATEMENTS_PER_CALL = 25
_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_REFUSED = frozenset({"ConditionalCheckFailed", "DuplicateItem"})
# A statement's codes, as the calls that we know errors of have them.
_CODES = {
    "ThrottlingError": "ThrottlingException",
    "ProvisionedThroughputExceeded": "ProvisionedThroughputExceededException",
    "ResourceNotFound": "ResourceNotFoundException",
    "AccessDenied": "AccessDeniedException",
    "ValidationError": "ValidationException",
    "TransactionConflict": "ServiceUnavailable",
}
# By version; streamed, which the event time precedes; exported, which yields to what was streamed.
_VERSION, _STREAMED, _EXPORTED = range(3)
_CONDITIONS = (
    ('"_v" < ?', ("version",)),
    ('("_e" < ? OR (("_e" = ? OR "_e" IS MISSING) AND "_v" < ?))', ("event_time", "event_time", "version")),
    (
        '((("_w" IS MISSING OR "_e" IS MISSING OR "_e" = ?) AND "_v" < ?) OR ("_w" IS NOT MISSING AND "_e" < ?))',
        ("event_time", "version", "event_time"),
    ),
)
_OPTIONAL = ("_e", "_u", "ttl", "_s", "_d", "_w")

_json = msgspec.json.Encoder().encode
_TRUE = msgspec.Raw(b'{"BOOL":true}')


class _Text(msgspec.Struct, frozen=True, gc=False):
    S: str


class _Number(msgspec.Struct, frozen=True, gc=False):
    N: str


class _Error(msgspec.Struct, frozen=True, rename="pascal"):
    code: str = ""
    message: str = ""


class _Result(msgspec.Struct, frozen=True, rename="pascal"):
    error: _Error | None = None


class _Answer(msgspec.Struct, frozen=True, rename="pascal"):
    responses: list[_Result]


_read_answer = msgspec.json.Decoder(_Answer).decode


class TableWriter:
    """Writes items, each to the table that the layout has for it. Safe to share between threads.

    At most `threads` calls are under way at once; `patience` is how many seconds a batch may go without progress.
    """

    def __init__(
        self, layout: Layout, pool: Callable[[], ThreadPoolExecutor], *, threads: int, patience: float
    ) -> None:
        self._layout, self._pool, self._threads, self._patience = layout, pool, threads, patience

    def probe_partiql(self, transport: Transport, budget: ReadBudget) -> str:
        """Return why the server can't be written to by PartiQL, or nothing.

        The probe is an UPDATE of an item that does not exist, which a server with PartiQL refuses.
        """
        # One SET: two are the stack of an error for moto, which lacks most of PartiQL.
        where = 'SET "f"=? WHERE "pk"=? AND "sk"=? AND "_v" < ?'
        statement = f'UPDATE "{self._layout.home}" {where}'
        values = [_Text(""), _Text("#probe"), _Text("#probe"), _Number("0")]
        body = _json({"Statements": [{"Statement": statement, "Parameters": values}]})
        try:
            [result] = self._results(transport.call("BatchExecuteStatement", body, budget, Usage()), 1)
        except OnlineStoreError as error:
            if error.retryable:
                raise
            return error.code or "unknown operation"
        if result.error is None or result.error.code in _REFUSED:
            return ""
        failure = _statement_error(result.error, self._layout.home)
        if failure.retryable:
            raise failure
        return result.error.code

    def write(
        self,
        transport: Transport,
        items: Sequence[Item],
        *,
        rewind: bool,
        new: bool,
        budget: ReadBudget,
        usage: Usage,
    ) -> list[Item]:
        """Put every item that may replace what is there and return the others; `usage` is told of each call.

        Raises:
            StoreThrottled: DynamoDB refused to go on for longer than patience lasts.
            OnlineStoreError: the store failed. What was written until then stays; writing all again finishes it.
        """
        left = list(items)
        for insert in (True, False) if new else (False, True, False):
            left = self._send_round(transport, left, insert, rewind, budget, usage)
        return left

    def _send_round(
        self,
        transport: Transport,
        items: Sequence[Item],
        insert: bool,
        rewind: bool,
        budget: ReadBudget,
        usage: Usage,
    ) -> list[Item]:
        """Send one statement per item and return the items that were refused."""
        starts = range(0, len(items), _STATEMENTS_PER_CALL)
        batches = [items[start : start + _STATEMENTS_PER_CALL] for start in starts]
        if len(batches) <= 1:
            return self._batches(transport, batches, insert, rewind, budget, usage)
        shares = [batches[worker :: self._threads] for worker in range(min(self._threads, len(batches)))]
        calls = [(self._batches, transport, share, insert, rewind, budget, usage) for share in shares]
        return [item for refused in run_parallel(self._pool(), calls, budget) for item in refused]

    def _batches(
        self,
        transport: Transport,
        batches: Iterable[Sequence[Item]],
        insert: bool,
        rewind: bool,
        budget: ReadBudget,
        usage: Usage,
    ) -> list[Item]:
        return [item for batch in batches for item in self._batch(transport, batch, insert, rewind, budget, usage)]

    def _batch(
        self,
        transport: Transport,
        items: Sequence[Item],
        insert: bool,
        rewind: bool,
        budget: ReadBudget,
        usage: Usage,
    ) -> list[Item]:
        refused: list[Item] = []
        failure: OnlineStoreError | None = None
        pending, backoff, until = items, Backoff(_PAUSE, _LONGEST_PAUSE), monotonic() + self._patience
        while True:
            statements = [self._statement(item, insert, rewind) for item in pending]
            again: list[Item] = []
            patient = ReadBudget(budget.earliest(until), budget.done)
            try:
                answer = transport.call("BatchExecuteStatement", _json({"Statements": statements}), patient, usage)
                for item, result in zip(pending, self._results(answer, len(pending)), strict=True):
                    if result.error is None:
                        continue
                    if result.error.code in _REFUSED:
                        refused.append(item)
                        continue
                    failure = _statement_error(result.error, self._layout.table(item.pk, item.sk))
                    if not failure.retryable:
                        raise failure
                    again.append(item)
            except DeadlineExceeded as late:
                budget.remaining()  # raises if it is the caller's time that is up
                last = late.__cause__ if isinstance(late.__cause__, OnlineStoreError) else failure or late
                raise self._patience_error(last, len(pending)) from late
            except OnlineStoreError as error:
                if not error.retryable:
                    raise
                failure, again = error, list(pending)
            if not again or failure is None:
                return refused
            if len(again) < len(pending):
                backoff.reset()
                until = monotonic() + self._patience
            if not backoff.wait(budget.earliest(until)):
                budget.remaining()
                raise self._patience_error(failure, len(again)) from failure
            pending = again
            usage.add(bytes=0, retries=1)

    def _results(self, answer: bytes, count: int) -> list[_Result]:
        try:
            results = _read_answer(answer).responses
        except msgspec.DecodeError as error:
            raise unreadable_error(self._layout.text) from error
        if len(results) != count:
            raise unreadable_error(self._layout.text)
        return results

    def _patience_error(self, failure: OnlineStoreError, count: int) -> OnlineStoreError:
        kind = StoreThrottled if isinstance(failure, StoreThrottled) else StoreUnavailable
        return kind(
            f"DynamoDB, table '{self._layout.text}': {count} items of a batch could not be written "
            f"for {self._patience:g} seconds\n  last {failure.summary}",
            fix="run it again, which finishes the work; patience=SECONDS in the store's address waits longer",
            code=failure.code,
        )

    def _statement(self, item: Item, insert: bool, rewind: bool) -> dict[str, Any]:
        mask = (
            item.event_time is not None, item.valid_to is not None, item.ttl is not None, bool(item.schema),
            item.deleted, item.streamed,
        )  # fmt: skip
        values: list[Any] = [_Text(item.f), _Number(str(item.version)), _Number(str(item.as_of))]
        if mask[0]:
            values.append(_Number(str(item.event_time)))
        if mask[1]:
            values.append(_Number(str(item.valid_to)))
        if mask[2]:
            values.append(_Number(str(item.ttl)))
        if mask[3]:
            values.append(_Text(item.schema))
        if mask[4]:
            values.append(_TRUE)
        if mask[5]:
            values.append(_TRUE)
        values += (_Text(item.pk), _Text(item.sk))
        table = self._layout.table(item.pk, item.sk)
        if insert:
            return {"Statement": _insert(table, mask), "Parameters": values}
        rule = _VERSION if rewind or item.event_time is None else _STREAMED if item.streamed else _EXPORTED
        values += [_Number(str(getattr(item, name))) for name in _CONDITIONS[rule][1]]
        return {"Statement": _update(table, mask, rule), "Parameters": values}


def _statement_error(error: _Error, table: str) -> OnlineStoreError:
    return store_error(_CODES.get(error.code, error.code), error.message, 200, table)


def _attribute_names(mask: tuple[bool, ...]) -> list[str]:
    return ["f", "_v", "_t", *(name for name, present in zip(_OPTIONAL, mask, strict=True) if present)]


@lru_cache(maxsize=2048)
def _insert(table: str, mask: tuple[bool, ...]) -> msgspec.Raw:
    pairs = ", ".join(f"'{name}': ?" for name in [*_attribute_names(mask), "pk", "sk"])
    return msgspec.Raw(_json(f'INSERT INTO "{table}" VALUE {{{pairs}}}'))


@lru_cache(maxsize=2048)
def _update(table: str, mask: tuple[bool, ...], rule: int) -> msgspec.Raw:
    """Return the UPDATE under one of the conditions; it removes every attribute that it does not set."""
    sets = " ".join(f'SET "{name}"=?' for name in _attribute_names(mask))
    removes = "".join(f' REMOVE "{name}"' for name, present in zip(_OPTIONAL, mask, strict=True) if not present)
    condition = _CONDITIONS[rule][0]
    text = f'UPDATE "{table}" {sets}{removes} WHERE "pk"=? AND "sk"=? AND {condition}'
    return msgspec.Raw(_json(text))
