"""A store in one DynamoDB table: the one for production.

Reads are one call per hundred keys, further calls in parallel (see `featurelayer.online.reader`); what DynamoDB leaves
unprocessed is asked for again until the deadline. Exports know what has changed, so they write without looking, by
PartiQL (see `featurelayer.online.writer`), or, where the server has none, by conditional PutItem calls in parallel.
Which it is, is found out once per store. Other writes read their items consistently first, so that equal rows cost a
read (1 unit) and no write (5 times the price), and are PutItem calls. Unlike the other stores this one leaves the
version of an equal row as it is then: renewing it would cost as much as writing it.

`live` scans the table (4 KB of it per unit, consistent): correct with nothing but the table, about $0.30 and minutes
for 10 million rows of 1 KB.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import ClientError

from featurelayer.errors import CodecError, ConfigError, OnlineStoreError, Problem
from featurelayer.online.aws import Clients, aws_errors, unreadable
from featurelayer.online.base import (
    Item,
    ItemKey,
    Limits,
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
    CONFIGURED,
    PK_LIMIT,
    SK_LIMIT,
    TableSettings,
    check_endpoint,
    check_name,
    is_too_long,
)
from featurelayer.online.transport import TRANSPORTS
from featurelayer.online.writer import TableWriter

if TYPE_CHECKING:
    from random import Random

    from featurelayer.online.imports import BulkPlace, Files, Told
    from featurelayer.online.sampling import Spend

PATIENCE = 300.0
_ITEM_LIMIT = 400 * 1024
_LIMITS = Limits(item=_ITEM_LIMIT, pk=PK_LIMIT)

# Item.replaces, where the row is.
_BY_VERSION = "attribute_not_exists(pk) OR #v < :v"
_BY_EVENT_TIME = "attribute_not_exists(pk) OR #e < :e OR ((#e = :e OR attribute_not_exists(#e)) AND #v < :v)"
_BY_KIND = (
    "attribute_not_exists(pk) OR ((attribute_not_exists(#w) OR attribute_not_exists(#e) OR #e = :e) AND #v < :v) "
    "OR (attribute_exists(#w) AND #e < :e)"
)


def connect(url: StoreUrl) -> DynamoDBStore:
    """Return the store that `dynamodb://table?region=...` names; it takes what `DynamoDBStore` takes."""
    options = url.only("region", "endpoint_url", "timeout", "threads", "transport", "patience", configured=CONFIGURED)
    numbers, problems = {}, []
    for name, kind, default, noun in (
        ("timeout", float, 0.4, "seconds"), ("threads", int, 16, "threads"), ("patience", float, PATIENCE, "seconds"),
    ):  # fmt: skip
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
        patience=numbers["patience"],
    )


class DynamoDBStore:
    """An `OnlineStore` in the table `table`. Safe to share between threads and to use after a fork.

    `timeout` is how long, in seconds, one of the two attempts of a serving call may take to connect and to answer;
    `threads` bounds the calls that one read has under way at once, and the connections that are kept. `transport` says
    how lookups and exports are sent: `boto3`, or `lean` (see `featurelayer.online.lean`). `patience` is how many
    seconds an export that is throttled, or finds nobody there, goes on trying. Credentials are boto3's own.
    """

    limits: Limits | None = _LIMITS

    def __init__(
        self,
        table: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        timeout: float = 0.4,
        threads: int = 16,
        transport: str = "boto3",
        patience: float = PATIENCE,
    ) -> None:
        check_name(table)
        check_endpoint(endpoint_url)
        self.table = table
        self._clients = Clients(
            table, region=region, endpoint_url=endpoint_url, timeout=timeout, threads=threads, transport=transport
        )
        self._reader = TableReader(table, lambda: self._clients.pool)
        self._writer = TableWriter(table, lambda: self._clients.pool, threads=threads, patience=patience)
        self._no_partiql: str | None = None  # not asked yet

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
        new: bool = False,
    ) -> Written:
        """Put what replaces what is there and differs from it; each item under its own condition.

        With `rewrite` nothing is read first.

        Raises:
            CodecError: an item is larger than DynamoDB allows; nothing of this call has been sent then.
            StoreThrottled: DynamoDB refused to go on for longer than patience lasts; writing again finishes it.
        """
        _check_sizes(items)
        return self._rewrite(items, rewind, new) if rewrite else self._look_and_write(items, rewind)

    @property
    def write_path(self) -> str:
        """How this store has written what `rewrite` asks for; empty if it has not."""
        if self._no_partiql is None:
            return ""
        return f"conditional PutItem (no PartiQL: {self._no_partiql})" if self._no_partiql else "PartiQL"

    def _rewrite(self, items: Sequence[Item], rewind: bool, new: bool) -> Written:
        if not items:
            return Written()
        transport, usage = self._clients.transport(exporting=True), Usage()
        if self._no_partiql is None:
            self._no_partiql = self._writer.why_not(transport)
        if self._no_partiql:
            refused = self._put_all(items, rewind, looked=False)
        else:
            refused = self._writer.write(transport, items, rewind=rewind, new=new, usage=usage)
        return self._settled(items, refused, retried=usage.retries > 0)

    def _look_and_write(self, items: Sequence[Item], rewind: bool) -> Written:
        work = sort_out(items, self._stored(items), rewind=rewind, rewrite=False)
        done = self._settled(work.put, self._put_all(work.put, rewind, looked=True), retried=False)
        return msgspec.structs.replace(done, unchanged=done.unchanged + work.unchanged, lost=(*work.lost, *done.lost))

    def _settled(self, items: Sequence[Item], refused: Sequence[Item], *, retried: bool) -> Written:
        """Return what became of items, of which some were refused.

        What an equal item refused is there. Where calls were `retried`, it is ours: the answer of an attempt got lost.
        """
        there = self._stored(refused) if refused else {}
        equal = [item for item in refused if (found := there.get(item.key)) is not None and item.same_content(found)]
        ours = {item.key for item in equal if retried and there[item.key] == item}
        same = {item.key for item in equal} - ours
        lost = tuple(item.key for item in refused if item.key not in same | ours)
        without = same.union(lost)
        put = [item for item in items if item.key not in without] if without else items
        return Written(written=len(put), unchanged=len(same), lost=lost, bytes=sum(item.size for item in put))

    def _stored(self, items: Sequence[Item]) -> dict[ItemKey, Item]:
        return self._reader.read(
            self._clients.transport(exporting=True),
            [item.key for item in items],
            consistent=True,
            budget=ReadBudget(None),
            usage=Usage(),
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

    def sample(self, sk: str, count: int, *, rows: int, random: Random, spend: Spend) -> list[str]:
        """Return up to `count` keys that a view has values for, from parts of the table chosen at random."""
        from featurelayer.online.sampling import scan_some

        def scan(request: Mapping[str, Any]) -> Mapping[str, Any]:
            with aws_errors(self.table):
                page: Mapping[str, Any] = self._clients.exporting.scan(TableName=self.table, **request)
            if "Items" not in page:
                raise unreadable(self.table)
            return page

        request = {
            "FilterExpression": "sk = :sk AND attribute_not_exists(#d)",
            "ProjectionExpression": "pk",
            "ExpressionAttributeNames": {"#d": "_d"},
            "ExpressionAttributeValues": {":sk": {"S": sk}},
            "ReturnConsumedCapacity": "TOTAL",
        }
        return scan_some(scan, request, count, rows=rows, random=random, spend=spend)

    def names(self, pk: str) -> list[str]:
        """Return every `sk` under one `pk`."""
        return self._reader.names(self._clients.transport(), pk)

    def remove(self, keys: Collection[ItemKey]) -> None:
        """Delete items, one call each, in parallel."""
        client = self._clients.exporting
        in_parallel(self._clients.pool, [(self._remove, client, key) for key in keys], ReadBudget(None))

    def _remove(self, client: Any, key: ItemKey) -> None:
        pk, sk = key
        with aws_errors(self.table):
            client.delete_item(TableName=self.table, Key={"pk": {"S": pk}, "sk": {"S": sk}})

    def create(self, settings: TableSettings | None = None, tell: Tell | None = None) -> Creation:
        """Create the table (on demand, TTL on the attribute `ttl`) and wait for it, or complete one of ours.

        Raises:
            StoreNotFound: a table of that name exists and is not a featurelayer store; says what differs.
        """
        return self._calls().create(settings or TableSettings(), tell or (lambda _text: None))

    def load(
        self, batches: Iterable[Sequence[Item]], place: BulkPlace, settings: TableSettings, run: str, progress: Told
    ) -> Files:
        """Make the table from items, each of another key, by an import from S3; return what was sent.

        `run` names the files and the import. The table is ours when this returns, and has every item.

        Raises:
            CodecError: an item is larger than DynamoDB allows; there is no table then.
            OnlineStoreError: S3 or the import failed.
        """
        from featurelayer.online.imports import check_whole, import_files, upload

        def wired() -> Iterator[dict[str, Any]]:
            for items in batches:
                _check_sizes(items)
                yield from map(_to_wire, items)

        s3 = self._clients.s3(place.endpoint_url)
        try:
            files = upload(s3, place, f"{self.table}/{run}", wired())
        finally:
            s3.close()
        client = self._clients.exporting
        found = import_files(client, self.table, files, run, lambda: aws_errors(self.table), progress)
        # Ours first, so that what is amiss can be mended by an export.
        self._calls().adopt(settings, lambda _text: None)
        check_whole(self.table, files, found)
        return files

    def exists(self) -> bool:
        """Return whether there is a table of that name, whoever's it is."""
        return self._calls().exists()

    def check(self) -> None:
        """Raise StoreNotFound unless the table exists and is one of ours."""
        self._calls().check()

    def describe(self) -> dict[str, Any]:
        """Return what DynamoDB tells of the table; its counts are up to six hours old."""
        return self._calls().describe() | ({"writes": self.write_path} if self.write_path else {})

    def close(self) -> None:
        """Close connections and stop the threads."""
        self._clients.close()

    def _calls(self) -> TableCalls:
        return TableCalls(self._clients.exporting, self.table, lambda: aws_errors(self.table))

    def _put_all(self, items: Sequence[Item], rewind: bool, *, looked: bool) -> list[Item]:
        """Put items one by one, in parallel, and return those that were refused.

        `looked` says that none of them was there a moment ago.
        """
        client = self._clients.exporting
        calls = [(self._put, client, item, rewind, looked) for item in items]
        outcomes = in_parallel(self._clients.pool, calls, ReadBudget(None))
        return [item for item, won in zip(items, outcomes, strict=True) if not won]

    def _put(self, client: Any, item: Item, rewind: bool, looked: bool) -> bool:
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
            told = error.__cause__.response if isinstance(error.__cause__, ClientError) else {}
            retried = told.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0
            return (looked or retried) and "Item" in told and _from_wire(told["Item"]) == item
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
