"""Read DynamoDB tables: choose the call, split it, and repeat it until everything is read or the time is up.

A hundred keys, of whichever tables, are one BatchGetItem, which costs half a read unit per item of up to 4 KB, found or
not. In one table the views of one entity lie side by side under its partition key, so one Query reads them for half a
unit per 4 KB of all of them together; but it reads, and bills, whatever else lies between. So the rule: several keys of
one table that share their partition key and nothing else are one Query, unless the last such Query for the same views
cost more than BatchGetItem would have; then BatchGetItem for the next hundred reads of these views, and a Query again
to see whether that has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from itertools import chain
from time import monotonic
from typing import Any, TypeVar, cast

import msgspec

from featurelayer.errors import StoreNotFound, StoreThrottled, StoreUnavailable
from featurelayer.online.base import Item, ItemKey, foreign_store
from featurelayer.online.budget import ReadBudget, Usage
from featurelayer.online.stores.dynamodb.attribute_values import ItemAttributes, TextAttribute, decode_item
from featurelayer.online.stores.dynamodb.layout import Layout
from featurelayer.online.stores.dynamodb.tables import PK_LIMIT, SK_LIMIT, is_key_too_long
from featurelayer.online.stores.dynamodb.transport import Transport
from featurelayer.retry import Backoff

_KEYS_PER_CALL = 100
_UNIT = 4096
_QUERY_AGAIN = 100
_SURELY_FITS = min(PK_LIMIT, SK_LIMIT) // 4  # characters, of four bytes at most
_PAUSE, _LONGEST_PAUSE = 0.02, 1.0

T = TypeVar("T")

_json = msgspec.json.Encoder().encode


# An answer without its list must not read as "nothing is stored"; hence None.
class _Batch(msgspec.Struct):
    responses: dict[str, list[ItemAttributes]] | None = msgspec.field(name="Responses", default=None)
    unprocessed: dict[str, dict[str, Any]] = msgspec.field(name="UnprocessedKeys", default_factory=dict)


class _Name(msgspec.Struct):
    sk: TextAttribute


class _Names(msgspec.Struct):
    items: list[_Name] | None = msgspec.field(name="Items", default=None)
    last: Any = msgspec.field(name="LastEvaluatedKey", default=None)


class _Page(msgspec.Struct):
    items: list[ItemAttributes] | None = msgspec.field(name="Items", default=None)
    last: Any = msgspec.field(name="LastEvaluatedKey", default=None)


# The same answers with items of which some are damaged, for `from_wire` to read one by one.
class _AnyBatch(msgspec.Struct):
    responses: dict[str, list[dict[str, Any]]] | None = msgspec.field(name="Responses", default=None)
    unprocessed: dict[str, dict[str, Any]] = msgspec.field(name="UnprocessedKeys", default_factory=dict)


class _AnyPage(msgspec.Struct):
    items: list[dict[str, Any]] | None = msgspec.field(name="Items", default=None)
    last: Any = msgspec.field(name="LastEvaluatedKey", default=None)


# Not strict: DynamoDB's numbers are text.
_batch_decoder = msgspec.json.Decoder(_Batch, strict=False).decode
_page_decoder = msgspec.json.Decoder(_Page, strict=False).decode
_read_any_batch = msgspec.json.Decoder(_AnyBatch).decode
_read_any_page = msgspec.json.Decoder(_AnyPage).decode


def _read_batch(answer: bytes) -> _Batch:
    try:
        return _batch_decoder(answer)
    except msgspec.ValidationError:
        return cast("_Batch", _read_any_batch(answer))


def _read_page(answer: bytes) -> _Page:
    try:
        return _page_decoder(answer)
    except msgspec.ValidationError:
        return cast("_Page", _read_any_page(answer))


def _items(stored: Iterable[Any]) -> list[Item]:
    return [each.item() if type(each) is ItemAttributes else decode_item(each) for each in stored]


_read_names = msgspec.json.Decoder(_Names).decode


class TableReader:
    """Reads items, wherever the layout has them. Safe to share between threads."""

    def __init__(self, layout: Layout, pool: Callable[[], ThreadPoolExecutor], *, patience: float) -> None:
        self._layout, self._pool, self._patience = layout, pool, patience
        # Reads of these views to go before a Query is tried again.
        self._dear: dict[tuple[str, ...], int] = {}

    def read(
        self, transport: Transport, keys: Collection[ItemKey], *, consistent: bool, budget: ReadBudget, usage: Usage
    ) -> dict[ItemKey, Item]:
        """Return the items that exist.

        Raises:
            DeadlineExceeded: the budget was spent before every item was read.
            StoreThrottled: DynamoDB left items unread for longer than patience lasts.
        """
        # Nothing can be stored under a key that is too long, and asking for it would fail the whole call.
        unique = [
            key for key in dict.fromkeys(keys)
            if (len(key[0]) <= _SURELY_FITS and len(key[1]) <= _SURELY_FITS) or not is_key_too_long(key)
        ]  # fmt: skip
        budget.remaining()
        if len(unique) <= _KEYS_PER_CALL:
            return self._chunk(transport, unique, consistent, budget, usage) if unique else {}
        chunks = [unique[start : start + _KEYS_PER_CALL] for start in range(0, len(unique), _KEYS_PER_CALL)]
        calls = [(self._chunk, transport, chunk, consistent, budget, usage) for chunk in chunks]
        found: dict[ItemKey, Item] = {}
        for part in run_parallel(self._pool(), calls, budget):
            found |= part
        return found

    def names(self, transport: Transport, table: str, pk: str, budget: ReadBudget) -> list[str]:
        """Return every `sk` under one `pk` of a table, sorted."""
        request: dict[str, Any] = {
            "TableName": table,
            "KeyConditionExpression": "pk = :pk",
            "ProjectionExpression": "sk",
            "ExpressionAttributeValues": {":pk": {"S": pk}},
        }
        found: list[str] = []
        while True:
            answer = transport.call("Query", _json(request), budget, Usage())
            with _map_decode_errors(table):
                page = _read_names(answer)
            found += [name.sk.S for name in self._require_content(page.items)]
            if page.last is None:
                return sorted(found)
            request["ExclusiveStartKey"] = page.last

    def _chunk(
        self, transport: Transport, keys: Sequence[ItemKey], consistent: bool, budget: ReadBudget, usage: Usage
    ) -> dict[ItemKey, Item]:
        pk, tables = keys[0][0], self._layout.split(keys)
        if len(keys) > 1 and len(tables) == 1 and all(key[0] == pk for key in keys):
            views = tuple(sorted(sk for _, sk in keys))
            found = self._query(transport, pk, views, consistent, budget, usage) if self._may_query(views) else None
            if found is not None:
                return found
        return self._batch_get(transport, tables, consistent, budget, usage)

    def _require_content(self, content: T | None) -> T:
        if content is None:
            raise StoreUnavailable(f"DynamoDB's answer for table '{self._layout.text}' is empty", fix="try again")
        return content

    def _may_query(self, views: tuple[str, ...]) -> bool:
        wait = self._dear.get(views, 0)
        if wait > 0:
            self._dear[views] = wait - 1
        return wait == 0

    def _query(
        self, transport: Transport, pk: str, views: tuple[str, ...], consistent: bool, budget: ReadBudget, usage: Usage
    ) -> dict[ItemKey, Item] | None:
        """Return the items of one partition by one Query; None if that would take more than one page."""
        body = {
            "TableName": self._layout.table(pk, views[0]),
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :first AND :last",
            "ExpressionAttributeValues": {":pk": {"S": pk}, ":first": {"S": views[0]}, ":last": {"S": views[-1]}},
            "ConsistentRead": consistent,
        }
        answer = transport.call("Query", _json(body), budget, usage)
        with _map_decode_errors(self._layout.text):
            page = _read_page(answer)
        wanted = frozenset(views)
        items = _items(self._require_content(page.items))
        found = {item.key: item for item in items if item.sk in wanted}
        if page.last is not None or _query_units(items) > _batch_units(found.values(), len(views)):
            self._dear[views] = _QUERY_AGAIN
        return found if page.last is None else None

    def _batch_get(
        self,
        transport: Transport,
        tables: Mapping[str, Sequence[ItemKey]],
        consistent: bool,
        budget: ReadBudget,
        usage: Usage,
    ) -> dict[ItemKey, Item]:
        found: dict[ItemKey, Item] = {}
        pending = {table: _keys_request(keys, consistent) for table, keys in tables.items()}
        backoff, patient_until = Backoff(_PAUSE, _LONGEST_PAUSE), monotonic() + self._patience
        while True:
            batch = self._call_batch_get(transport, pending, budget, usage)
            found |= {
                item.key: item for item in _items(chain.from_iterable(self._require_content(batch.responses).values()))
            }
            pending = {table: keys for table, keys in batch.unprocessed.items() if keys.get("Keys")}
            if not pending:
                return found
            if not backoff.wait(budget.earliest(patient_until)):
                budget.remaining()
                count, text = sum(len(keys["Keys"]) for keys in pending.values()), self._layout.text
                raise StoreThrottled(f"DynamoDB left {count} items of '{text}' unread; slow down and try again")

    def _call_batch_get(
        self, transport: Transport, pending: Mapping[str, Any], budget: ReadBudget, usage: Usage
    ) -> _Batch:
        try:
            answer = transport.call("BatchGetItem", _json({"RequestItems": pending}), budget, usage)
        except StoreNotFound as error:
            if error.code != "ResourceNotFoundException" or pending.keys() == {self._layout.text}:
                raise
            raise missing_tables(pending, error.code) from error  # DynamoDB does not name it
        with _map_decode_errors(self._layout.text):
            return _read_batch(answer)


def missing_tables(names: Iterable[str], code: str) -> StoreNotFound:
    """Return the error for tables of which at least one is not there."""
    shown = [f"'{name}'" for name in sorted(names)]
    what = f"there is no table {shown[0]}" if len(shown) == 1 else f"of the tables {', '.join(shown)} not all are there"
    fix = "create what is missing with `featurelayer online create`, or check the address, region and account"
    return StoreNotFound(f"{what} ({code})", fix=fix, code=code)


def run_parallel(pool: ThreadPoolExecutor, calls: Sequence[tuple[Any, ...]], budget: ReadBudget) -> list[Any]:
    """Return the results of calls run by the pool, in order; the first failure stops the rest."""
    futures: list[Future[Any]] = [pool.submit(*call) for call in calls]
    try:
        return [future.result(timeout=budget.remaining()) for future in futures]
    except FutureTimeout:
        budget.remaining()  # a timeout inside a call is the call's own error
        raise
    finally:
        for future in futures:
            future.cancel()


def _keys_request(keys: Sequence[ItemKey], consistent: bool) -> dict[str, Any]:
    asked: dict[str, Any] = {"Keys": [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in keys]}
    if consistent:
        asked["ConsistentRead"] = True
    return asked


def _query_units(items: Iterable[Item]) -> int:
    """Return the cost of a Query in half read units."""
    return max(1, -(-sum(item.size for item in items) // _UNIT))


def _batch_units(found: Collection[Item], asked: int) -> int:
    """Return the cost of the same reads by BatchGetItem in half read units."""
    return asked - len(found) + sum(max(1, -(-item.size // _UNIT)) for item in found)


@contextmanager
def _map_decode_errors(table: str) -> Iterator[None]:
    try:
        yield
    except msgspec.ValidationError as error:
        raise foreign_store(f"the table '{table}'", f"its items are not ours ({error}); use another table") from error
    except msgspec.DecodeError as error:
        raise StoreUnavailable(f"DynamoDB's answer for table '{table}' is not JSON: {error}") from error
