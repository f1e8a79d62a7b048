"""A store in one DynamoDB table: the one for production.

Reads are one call per hundred keys, further calls in parallel (see `featurelayer.online.reader`); what DynamoDB leaves
unprocessed is asked for again until the deadline. Writes are conditional PutItem calls in parallel; a batch is first
read consistently, so that equal rows cost a read (1 unit) and no write (5 times the price), and rows that would be
refused are not sent. Unlike the other stores this one leaves the version of an equal row as it is: renewing it would
cost as much as writing it.

`live` scans the table (4 KB of it per unit, consistent): correct with nothing but the table, about $0.30 and minutes
for 10 million rows of 1 KB.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from featurelayer.errors import CodecError, ConfigError, OnlineStoreError, Problem
from featurelayer.online.aws import Clients, aws_errors, unreadable
from featurelayer.online.base import (
    Item,
    ItemKey,
    LiveKey,
    ReadBudget,
    StoreUrl,
    Usage,
    Written,
    sort_out,
)
from featurelayer.online.provision import Creation, TableCalls, Tell
from featurelayer.online.reader import TableReader, in_parallel
from featurelayer.online.tables import (
    PK_LIMIT,
    SETTINGS,
    SK_LIMIT,
    TableSettings,
    check_endpoint,
    check_name,
    is_too_long,
)
from featurelayer.online.transport import TRANSPORTS

_ITEM_LIMIT = 400 * 1024

# Item.replaces, where the row is.
_BY_VERSION = "attribute_not_exists(pk) OR #v < :v"
_BY_EVENT_TIME = "attribute_not_exists(pk) OR #e < :e OR ((#e = :e OR attribute_not_exists(#e)) AND #v < :v)"
_BY_KIND = (
    "attribute_not_exists(pk) OR ((attribute_not_exists(#w) OR attribute_not_exists(#e) OR #e = :e) AND #v < :v) "
    "OR (attribute_exists(#w) AND #e < :e)"
)


def connect(url: StoreUrl) -> DynamoDBStore:
    """Return the store that `dynamodb://table?region=...` names; it takes what `DynamoDBStore` takes."""
    options = url.only("region", "endpoint_url", "timeout", "threads", "transport", configured=SETTINGS)
    numbers, problems = {}, []
    for name, kind, default, noun in (("timeout", float, 0.4, "seconds"), ("threads", int, 16, "threads")):
        try:
            numbers[name] = kind(options.get(name) or default)
            if not 0 < numbers[name] < 10_000:
                raise ValueError
        except ValueError:
            problems.append(Problem(what=f"{name}={options[name]} is no number of {noun}", where=url.shown))
    transport = options.get("transport") or TRANSPORTS[0]
    if transport not in TRANSPORTS:
        fix = f"transports are {' and '.join(TRANSPORTS)}"
        problems.append(Problem(what=f"there is no transport '{transport}'", where=url.shown, fix=fix))
    if problems:
        raise ConfigError(problems)
    return DynamoDBStore(
        url.location,
        region=options.get("region") or None,
        endpoint_url=options.get("endpoint_url") or None,
        timeout=numbers["timeout"],
        threads=int(numbers["threads"]),
        transport=transport,
    )


class DynamoDBStore:
    """An `OnlineStore` in the table `table`. Safe to share between threads and to use after a fork.

    `timeout` is how long, in seconds, one of the two attempts of a serving call may take to connect and to answer;
    `threads` bounds the calls that one read has under way at once, and the connections that are kept. `transport` says
    how lookups are sent: `boto3`, or `lean` (see `featurelayer.online.lean`). Credentials are boto3's own.
    """

    def __init__(
        self,
        table: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        timeout: float = 0.4,
        threads: int = 16,
        transport: str = "boto3",
    ) -> None:
        check_name(table)
        check_endpoint(endpoint_url)
        self.table = table
        self._clients = Clients(
            table, region=region, endpoint_url=endpoint_url, timeout=timeout, threads=threads, transport=transport
        )
        self._reader = TableReader(table, lambda: self._clients.pool)

    def read(
        self,
        keys: Collection[ItemKey],
        *,
        consistent: bool = False,
        deadline: float | None = None,
        usage: Usage | None = None,
    ) -> dict[ItemKey, Item]:
        """Return the items that exist, by one call per hundred keys, in parallel."""
        return self._reader.read(
            self._clients.transport(), keys, consistent=consistent, budget=ReadBudget(deadline), usage=usage or Usage()
        )

    def write(
        self,
        items: Sequence[Item],
        *,
        rewind: bool = False,
        rewrite: bool = False,
        new: bool = False,  # noqa: ARG002
    ) -> Written:
        """Put what replaces what is there and differs from it; each item under its own condition.

        Raises:
            CodecError: an item is larger than DynamoDB allows; nothing of this call has been sent then.
        """
        _check_sizes(items)
        client = self._clients.exporting
        stored = self._reader.read(
            self._clients.transport(exporting=True),
            [item.key for item in items],
            consistent=True,
            budget=ReadBudget(None),
            usage=Usage(),
        )
        work = sort_out(items, stored, rewind=rewind, rewrite=rewrite)
        calls = [(self._put, client, item, rewind) for item in work.put]
        outcomes = in_parallel(self._clients.pool, calls, ReadBudget(None))
        put = [item for item, won in zip(work.put, outcomes, strict=True) if won]
        return Written(
            written=len(put),
            unchanged=work.unchanged,
            lost=(*work.lost, *(item.key for item, won in zip(work.put, outcomes, strict=True) if not won)),
            bytes=sum(item.size for item in put),
        )

    def live(self, sk: str) -> Iterator[LiveKey]:
        """Yield the entities that a view has values for. Scans the whole table."""
        request = {
            "ConsistentRead": True,
            "FilterExpression": "sk = :sk AND attribute_not_exists(#d)",
            "ProjectionExpression": "pk, #v, #e",
            "ExpressionAttributeNames": {"#d": "_d", "#v": "_v", "#e": "_e"},
            "ExpressionAttributeValues": {":sk": {"S": sk}},
        }
        for raw in self._pages(self._clients.exporting.scan, request):
            yield LiveKey(raw["pk"]["S"], int(raw["_v"]["N"]), _number(raw, "_e"))

    def names(self, pk: str) -> list[str]:
        """Return every `sk` under one `pk`."""
        return self._reader.names(self._clients.transport(), pk)

    def create(self, settings: TableSettings | None = None, tell: Tell | None = None) -> Creation:
        """Create the table (on demand, TTL on the attribute `ttl`) and wait for it, or complete one of ours.

        Raises:
            StoreNotFound: a table of that name exists and is not a featurelayer store; says what differs.
        """
        return self._calls().create(settings or TableSettings(), tell or (lambda _text: None))

    def check(self) -> None:
        """Raise StoreNotFound unless the table exists and is one of ours."""
        self._calls().check()

    def describe(self) -> dict[str, Any]:
        """Return what DynamoDB tells of the table; its counts are up to six hours old."""
        return self._calls().describe()

    def close(self) -> None:
        """Close connections and stop the threads."""
        self._clients.close()

    def _calls(self) -> TableCalls:
        return TableCalls(self._clients.exporting, self.table, lambda: aws_errors(self.table))

    def _put(self, client: Any, item: Item, rewind: bool) -> bool:
        """Put one item under its condition; False if somebody newer won."""
        by_event_time = item.event_time is not None and not rewind
        names, values = {"#v": "_v"}, {":v": {"N": str(item.version)}}
        if by_event_time:
            names["#e"], values[":e"] = "_e", {"N": str(item.event_time)}
            if not item.streamed:
                names["#w"] = "_w"
        condition = _BY_VERSION if not by_event_time else _BY_EVENT_TIME if item.streamed else _BY_KIND
        try:
            with aws_errors(self.table):
                client.put_item(
                    TableName=self.table,
                    Item=_to_wire(item),
                    ConditionExpression=condition,
                    ExpressionAttributeNames=names,
                    ExpressionAttributeValues=values,
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
        except OnlineStoreError as error:
            if error.code != "ConditionalCheckFailedException":
                raise
            # An attempt whose answer got lost has written; its retry is refused by our own item.
            there = error.__cause__.response.get("Item") if isinstance(error.__cause__, ClientError) else None
            return there is not None and _from_wire(there) == item
        return True

    def _pages(self, operation: Any, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        start: dict[str, Any] = {}
        while True:
            with aws_errors(self.table):
                page = operation(TableName=self.table, **request, **start)
            if "Items" not in page:
                raise unreadable(self.table)
            yield from page["Items"]
            if not page.get("LastEvaluatedKey"):
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def _check_sizes(items: Sequence[Item]) -> None:
    problems = [
        f"{item.pk} of view {item.sk}: the item has about {item.size:,} bytes, DynamoDB allows {_ITEM_LIMIT:,}"
        for item in items if len(item.f) * 4 > _ITEM_LIMIT and item.size > _ITEM_LIMIT
    ]  # fmt: skip
    problems += [
        f"{item.pk[:80]}... of view {item.sk[:80]}: the key has more than the {PK_LIMIT} bytes that DynamoDB allows, "
        f"or the view's name more than {SK_LIMIT}"
        for item in items if is_too_long(item.key)
    ]  # fmt: skip
    if problems:
        shown = problems[:10] + ([f"... and {len(problems) - 10} more"] if len(problems) > 10 else [])
        fix = "  fix  split the view, or shorten its texts and arrays; nothing of this batch was sent"
        raise CodecError("\n".join([*shown, fix]))


def _to_wire(item: Item) -> dict[str, Any]:
    wire: dict[str, Any] = {
        "pk": {"S": item.pk}, "sk": {"S": item.sk}, "f": {"S": item.f},
        "_v": {"N": str(item.version)}, "_t": {"N": str(item.as_of)},
    }  # fmt: skip
    for name, number in (("_e", item.event_time), ("_u", item.valid_to), ("ttl", item.ttl)):
        if number is not None:
            wire[name] = {"N": str(number)}
    if item.schema:
        wire["_s"] = {"S": item.schema}
    if item.deleted:
        wire["_d"] = {"BOOL": True}
    if item.streamed:
        wire["_w"] = {"BOOL": True}
    return wire


def _from_wire(raw: Mapping[str, Any]) -> Item:
    return Item(
        pk=raw["pk"]["S"],
        sk=raw["sk"]["S"],
        version=int(raw["_v"]["N"]),
        f=raw["f"]["S"],
        schema=raw["_s"]["S"] if "_s" in raw else "",
        as_of=int(raw["_t"]["N"]),
        event_time=_number(raw, "_e"),
        valid_to=_number(raw, "_u"),
        ttl=_number(raw, "ttl"),
        deleted="_d" in raw,
        streamed="_w" in raw,
    )


def _number(raw: Mapping[str, Any], name: str) -> int | None:
    return int(raw[name]["N"]) if name in raw else None
