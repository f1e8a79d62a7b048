"""A store in DynamoDB: the one for production, in one table or in one per view (see `layout`).

Reads are one call per hundred keys, further calls in parallel (see `reader`); what DynamoDB leaves
unprocessed is asked for again until the deadline. Exports know what has changed, so they write without looking, by
PartiQL (see `writer`), or, where the server has none, by conditional PutItem calls in parallel.
Which it is, is found out once per store. Other writes read their items consistently first, so that equal rows cost a
read (1 unit) and no write (5 times the price), and are PutItem calls. Unlike the other stores this one leaves the
version of an equal row as it is then: renewing it would cost as much as writing it.

`live` scans the view's table (4 KB of it per unit, consistent): correct with nothing but the table, about $0.30 and
minutes for 10 million rows of 1 KB.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from featurelayer.callbacks import Notify, Progress
from featurelayer.errors import ConfigError, PlanError, Problem, StoreNotFound
from featurelayer.online.base import (
    Capabilities,
    CreateResult,
    Item,
    ItemKey,
    LiveKey,
    StoreProvisioner,
    StoreUrl,
    Written,
    plan_write,
)
from featurelayer.online.budget import ReadBudget, Usage
from featurelayer.online.definitions import VIEWS, ViewDefinition, view_id
from featurelayer.online.stores.dynamodb.attribute_values import (
    LIMITS,
    decode_item,
    encode_item,
    read_number,
    validate_sizes,
)
from featurelayer.online.stores.dynamodb.clients import Clients
from featurelayer.online.stores.dynamodb.errors import ConditionRefused, unreadable_error
from featurelayer.online.stores.dynamodb.layout import parse_layout
from featurelayer.online.stores.dynamodb.provision import TableProvisioner
from featurelayer.online.stores.dynamodb.reader import TableReader, run_parallel
from featurelayer.online.stores.dynamodb.table_per_view import TableSet
from featurelayer.online.stores.dynamodb.tables import (
    CONFIGURED,
    TableSettings,
    validate_endpoint,
)
from featurelayer.online.stores.dynamodb.transport import ALIASES, TRANSPORTS, Transport
from featurelayer.online.stores.dynamodb.writer import TableWriter

_json = msgspec.json.Encoder().encode

if TYPE_CHECKING:
    from random import Random

    from featurelayer.online.base import Spend
    from featurelayer.online.stores.dynamodb.s3_import import ImportFiles, ImportLocation

PATIENCE = 300.0
_NO_ITEM = ("#service", "#")

# Item.replaces, where the row is.
_BY_VERSION = "attribute_not_exists(pk) OR #v < :v"
_BY_EVENT_TIME = "attribute_not_exists(pk) OR #e < :e OR ((#e = :e OR attribute_not_exists(#e)) AND #v < :v)"
_BY_KIND = (
    "attribute_not_exists(pk) OR ((attribute_not_exists(#w) OR attribute_not_exists(#e) OR #e = :e) AND #v < :v) "
    "OR (attribute_exists(#w) AND #e < :e)"
)


def connect(url: StoreUrl) -> DynamoDBStore:
    """Return the store that `dynamodb://table?region=...` names; it takes what `DynamoDBStore` takes.

    `dynamodb://features-{view}?region=...` names one with a table for each view. Region, endpoint and credentials are
    found here, so that the first lookup need not; nothing is sent to DynamoDB.

    Raises:
        ConfigError: the address is not understood.
        OnlineStoreError: there is no region, or no credentials.
    """
    known = ("region", "endpoint_url", "timeout", "threads", "transport", "patience")
    options = url.read_options(*known, configured=CONFIGURED)
    numbers, problems = {}, []
    for name, kind, default, noun in (
        ("timeout", float, 0.4, "seconds"), ("threads", int, 16, "threads"), ("patience", float, PATIENCE, "seconds"),
    ):  # fmt: skip
        try:
            numbers[name] = kind(options.get(name) or default)
            if not 0 < numbers[name] < 10_000:
                raise ValueError
        except ValueError:
            problems.append(Problem(what=f"{name}={options[name]} is not a number of {noun}", where=url.display))
    transport = options.get("transport") or TRANSPORTS[0]
    if transport not in (*TRANSPORTS, *ALIASES):
        fix = f"transports are {' and '.join(TRANSPORTS)}"
        problems.append(Problem(what=f"unknown transport '{transport}'", where=url.display, fix=fix))
    if problems:
        raise ConfigError(problems)
    store = DynamoDBStore(
        url.location,
        region=options.get("region") or None,
        endpoint_url=options.get("endpoint_url") or None,
        timeout=numbers["timeout"],
        threads=int(numbers["threads"]),
        transport=transport,
        patience=numbers["patience"],
    )
    store.prepare()
    return store


class DynamoDBStore:
    """An `OnlineStore` in the table `table`. Safe to share between threads and to use after a fork.

    A `{view}` in that name stands for the view: one table for each, and one for what is of no view.

    `timeout` is how long, in seconds, one of the two attempts of a serving call may take to connect and to answer;
    `threads` bounds the calls that one read has under way at once, and the connections that are kept. `patience` is how
    many seconds an export, or any other call without a deadline, goes on trying while it is throttled or can't
    connect. `transport` is `http`, or `boto3` for mocks and unusual setups. Credentials are boto3's own.
    """

    def __init__(
        self,
        table: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        timeout: float = 0.4,
        threads: int = 16,
        transport: str = TRANSPORTS[0],
        patience: float = PATIENCE,
    ) -> None:
        self._layout = parse_layout(table)
        validate_endpoint(endpoint_url)
        self.table, self.patience = table, patience
        self._clients = Clients(
            table, region=region, endpoint_url=endpoint_url, timeout=timeout, threads=threads, patience=patience,
            transport=ALIASES.get(transport, transport),
        )  # fmt: skip
        self._reader = TableReader(self._layout, lambda: self._clients.pool, patience=patience)
        self._writer = TableWriter(self._layout, lambda: self._clients.pool, threads=threads, patience=patience)
        self._no_partiql: str | None = None  # not asked yet

    def prepare(self) -> None:
        """Find region, endpoint and credentials, so that no call has to; they outlive a fork.

        Raises:
            OnlineStoreError: there is no region, or no credentials.
        """
        self._clients.prepare()

    def read(
        self,
        keys: Collection[ItemKey],
        *,
        consistent: bool = False,
        deadline: float | None = None,
        usage: Usage | None = None,
    ) -> dict[ItemKey, Item]:
        """Return the items that exist, by one call per hundred keys, in parallel. Without a deadline it is patient."""
        return self._read(keys, consistent, ReadBudget(deadline), usage)

    def write(
        self,
        items: Sequence[Item],
        *,
        rewind: bool = False,
        rewrite: bool = False,
        new: bool = False,
        deadline: float | None = None,
    ) -> Written:
        """Put the items that replace and differ from the stored ones; each under its own condition.

        With `rewrite` nothing is read first.

        Raises:
            CodecError: an item is larger than DynamoDB allows; nothing of this call has been sent then.
            StoreThrottled: DynamoDB refused to go on for longer than patience lasts; writing again finishes it.
        """
        budget = ReadBudget(deadline, "written")
        budget.remaining()
        validate_sizes(items)
        return self._rewrite(items, rewind, new, budget) if rewrite else self._read_and_write(items, rewind, budget)

    @property
    def write_path(self) -> str:
        """Name of the call that `rewrite` used; empty before the first."""
        if self._no_partiql is None:
            return ""
        return f"conditional PutItem (no PartiQL: {self._no_partiql})" if self._no_partiql else "PartiQL"

    def _rewrite(self, items: Sequence[Item], rewind: bool, new: bool, budget: ReadBudget) -> Written:
        if not items:
            return Written()
        transport, usage = self._clients.transport(exporting=True), Usage()
        if self._no_partiql is None:  # two threads may both ask, and learn the same
            self._no_partiql = self._writer.probe_partiql(transport, budget)
        if self._no_partiql:
            refused = self._write_each(items, rewind, budget, looked=False)
        else:
            refused = self._writer.write(transport, items, rewind=rewind, new=new, budget=budget, usage=usage)
        return self._summarize_write(items, refused, budget, retried=usage.retries > 0)

    def _read_and_write(self, items: Sequence[Item], rewind: bool, budget: ReadBudget) -> Written:
        work = plan_write(items, self._read_stored(items, budget), rewind=rewind, rewrite=False)
        done = self._summarize_write(
            work.put, self._write_each(work.put, rewind, budget, looked=True), budget, retried=False
        )
        return msgspec.structs.replace(done, unchanged=done.unchanged + work.unchanged, lost=(*work.lost, *done.lost))

    def _summarize_write(
        self, items: Sequence[Item], refused: Sequence[Item], budget: ReadBudget, *, retried: bool
    ) -> Written:
        """Summarize the write of items, some of which were refused.

        What an equal item refused is there. Where calls were `retried`, it is ours: the answer of an attempt got lost.
        """
        there = self._read_stored(refused, budget) if refused else {}
        equal = [item for item in refused if (found := there.get(item.key)) is not None and item.same_content(found)]
        ours = {item.key for item in equal if retried and there[item.key] == item}
        same = {item.key for item in equal} - ours
        lost = tuple(item.key for item in refused if item.key not in same | ours)
        without = same.union(lost)
        put = [item for item in items if item.key not in without] if without else items
        return Written(written=len(put), unchanged=len(same), lost=lost, bytes=sum(item.size for item in put))

    def _read_stored(self, items: Sequence[Item], budget: ReadBudget) -> dict[ItemKey, Item]:
        return self._read([item.key for item in items], True, budget, None)

    def _read(
        self, keys: Collection[ItemKey], consistent: bool, budget: ReadBudget, usage: Usage | None
    ) -> dict[ItemKey, Item]:
        transport = self._clients.transport(exporting=budget.until is None)
        return self._reader.read(transport, keys, consistent=consistent, budget=budget, usage=usage or Usage())

    def _call(self, operation: str, request: Mapping[str, Any], budget: ReadBudget | None = None) -> dict[str, Any]:
        """Return DynamoDB's answer to one call, with the patience of an export."""
        budget = budget or ReadBudget(None)
        answer = self._clients.transport(exporting=True).call(operation, _json(request), budget, Usage())
        try:
            found: dict[str, Any] = msgspec.json.decode(answer, type=dict)
        except msgspec.DecodeError as error:
            raise unreadable_error(self.table) from error
        return found

    def live(self, sk: str) -> Iterator[LiveKey]:
        """Yield the entities that a view has values for. Scans the whole table that they are in."""
        request = {
            "ConsistentRead": True,
            "FilterExpression": "sk = :sk AND attribute_not_exists(#d)",
            "ProjectionExpression": "pk, #v, #e",
            "ExpressionAttributeNames": {"#d": "_d", "#v": "_v", "#e": "_e"},
            "ExpressionAttributeValues": {":sk": {"S": sk}},
        }
        for raw in self._scan_pages(self._layout.table("", sk), request):
            yield LiveKey(raw["pk"]["S"], int(raw["_v"]["N"]), read_number(raw, "_e"))

    def sample(self, sk: str, count: int, *, rows: int, random: Random, spend: Spend) -> list[str]:
        """Return up to `count` keys that a view has values for, from parts of the table chosen at random."""
        from featurelayer.online.stores.dynamodb.key_sample import scan_sample

        table = self._layout.table("", sk)

        def scan(request: Mapping[str, Any]) -> Mapping[str, Any]:
            return self._page(table, request)

        request = {
            "FilterExpression": "sk = :sk AND attribute_not_exists(#d)",
            "ProjectionExpression": "pk",
            "ExpressionAttributeNames": {"#d": "_d"},
            "ExpressionAttributeValues": {":sk": {"S": sk}},
            "ReturnConsumedCapacity": "TOTAL",
        }
        return scan_sample(scan, request, count, rows=rows, random=random, spend=spend)

    def names(self, pk: str, *, deadline: float | None = None) -> list[str]:
        """Return every `sk` under one `pk`, in the tables of all views that clients can write to."""
        budget = ReadBudget(deadline)
        budget.remaining()
        transport, table = self._clients.transport(exporting=deadline is None), self._layout.partition(pk)
        if table is not None:
            return self._reader.names(transport, table, pk, budget)
        home = self._layout.home
        definitions = [(VIEWS, name) for name in self._reader.names(transport, home, VIEWS, budget)]
        known = self._read(definitions, True, budget, None).values()
        tables = {self._layout.table("", ViewDefinition.from_item(item).sk) for item in known}
        calls = [(self._names, transport, each, pk, budget) for each in sorted(tables)]
        found = run_parallel(self._clients.pool, calls, budget)
        own = [name for _, name in definitions] if pk == VIEWS else []
        return sorted({*own, *(name for names in found for name in names)})

    def _names(self, transport: Transport, table: str, pk: str, budget: ReadBudget) -> list[str]:
        try:
            return self._reader.names(transport, table, pk, budget)
        except StoreNotFound as error:
            if error.code != "ResourceNotFoundException":
                raise
            return []  # of a removed view whose definition is still stored

    def remove(self, keys: Collection[ItemKey], *, deadline: float | None = None) -> None:
        """Delete items, one call each, in parallel."""
        budget = ReadBudget(deadline, "removed")
        budget.remaining()
        run_parallel(self._clients.pool, [(self._remove, key, budget) for key in keys], budget)

    def warm_up(self, *, deadline: float | None = None) -> None:
        """Open a connection, renew the credentials, and read an item that is not there, which is half a read unit."""
        ReadBudget(deadline).remaining()
        self.read([_NO_ITEM], deadline=deadline)

    def _remove(self, key: ItemKey, budget: ReadBudget) -> None:
        pk, sk = key
        request = {"TableName": self._layout.table(pk, sk), "Key": {"pk": {"S": pk}, "sk": {"S": sk}}}
        self._call("DeleteItem", request, budget)

    def provisioner(self, views: Collection[str]) -> StoreProvisioner:
        """Return the provisioner that creates, checks and describes the tables of these views (their `sk`).

        Raises:
            ConfigError: names of views make no names of tables, or the same one; all of them are named.
        """
        if not self._layout.has_table_per_view:
            return self
        return TableSet(self.table, list(self._layout.tables(views).values()), self._calls)

    def create(self, settings: TableSettings | None = None, notify: Notify | None = None) -> CreateResult:
        """Create the table (on demand, TTL on the attribute `ttl`) and wait for it, or complete one of ours.

        With a table for each view this is about the one of the services, as are `check` and `describe`; see `of_views`.

        Raises:
            StoreNotFound: a table of that name exists and is not a featurelayer store; the message lists what differs.
        """
        return self._calls(self._layout.home).create(settings or TableSettings(), notify or (lambda _text: None))

    def load(
        self,
        sk: str,
        batches: Iterable[Sequence[Item]],
        place: ImportLocation,
        settings: TableSettings,
        run: str,
        progress: Progress,
    ) -> ImportFiles:
        """Create the table of a view from items with distinct keys, by an import from S3; return the files sent.

        `run` names the files and the import. The table is ours when this returns, and has every item. With a table for
        each view, items of no view are written to theirs, which is made if need be.

        Raises:
            CodecError: an item is larger than DynamoDB allows; no table is created then.
            OnlineStoreError: S3 or the import failed.
        """
        from featurelayer.online.stores.dynamodb.s3_import import (
            import_files,
            import_token,
            upload_items,
            validate_complete,
        )

        table = self._layout.table("", sk)
        if self._layout.has_table_per_view:
            self.create(settings)

        def encode_items() -> Iterator[dict[str, Any]]:
            for items in batches:
                validate_sizes(items)
                mine = [self._layout.table(*item.key) == table for item in items]
                self.write([item for item, is_mine in zip(items, mine, strict=True) if not is_mine])
                yield from (encode_item(item) for item, is_mine in zip(items, mine, strict=True) if is_mine)

        s3 = self._clients.s3(place.endpoint_url)
        try:
            files = upload_items(s3, place, f"{table}/{run}", encode_items())
        finally:
            s3.close()
        token = import_token(run, table) if self._layout.has_table_per_view else run
        found = import_files(self._call, table, files, token, progress)
        # Tagged first, so that an export can complete an import that lacks items.
        self._calls(table).adopt(settings, lambda _text: None)
        validate_complete(table, files, found)
        return files

    @property
    def has_table_per_view(self) -> bool:
        """Whether each view has a table of its own."""
        return self._layout.has_table_per_view

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(limits=LIMITS, patience=self.patience, is_metered=True, expires_items=True)

    def validate_import(self, views: Collection[str], new: Collection[str]) -> None:
        """Raise PlanError unless AWS can import the views `new`: it imports only into tables that it creates.

        Both are `sk`; `views` are all that the store is to hold.
        """
        self.provisioner(views)  # their names are validated before any table is asked for
        existing = self._existing_tables(views)
        without_table = [view_id(sk) for sk in new if sk not in existing]
        fix = "export without --bulk"
        if self.has_table_per_view and without_table:
            fix += f", or only what has no table yet: -s {' -s '.join(without_table)}"
        problems = [
            Problem(what=f"the table '{table}' exists already, and AWS imports only into new tables", fix=fix)
            for table in sorted({existing[sk] for sk in new if sk in existing})
        ]
        # Once services are published, a lookup needs the tables of all their views.
        problems += [
            Problem(what=f"the table of view {view_id(sk)} is missing, and the view is not among those to be imported",
                    fix="import it, too: name both, or none")
            for sk in sorted(set(views) - set(new)) if self.has_table_per_view and sk not in existing
        ]  # fmt: skip
        if problems:
            raise PlanError(problems)
        if self.has_table_per_view and self._calls(self._layout.home).exists():
            self.provisioner(set(views) - set(new)).check()

    def _existing_tables(self, views: Collection[str]) -> dict[str, str]:
        """Return the tables of views (their `sk`) that exist, featurelayer's or not."""
        tables = {sk: self._layout.table("", sk) for sk in views}
        existing = {table for table in {*tables.values()} if self._calls(table).exists()}
        return {sk: table for sk, table in tables.items() if table in existing}

    def check(self) -> None:
        """Raise StoreNotFound unless the table exists and is one of ours."""
        self._calls(self._layout.home).check()

    def describe(self) -> dict[str, Any]:
        """Return DynamoDB's facts about the table; its counts are up to six hours old."""
        return self._calls(self._layout.home).describe() | ({"writes": self.write_path} if self.write_path else {})

    def close(self) -> None:
        """Close connections and stop the threads."""
        self._clients.close()

    def _calls(self, table: str) -> TableProvisioner:
        return TableProvisioner(self._call, table)

    def _write_each(self, items: Sequence[Item], rewind: bool, budget: ReadBudget, *, looked: bool) -> list[Item]:
        """Put items one by one, in parallel, and return those that were refused.

        `looked`: none of them was stored a moment ago.
        """
        calls = [(self._write_item, item, rewind, looked, budget) for item in items]
        outcomes = run_parallel(self._clients.pool, calls, budget)
        return [item for item, won in zip(items, outcomes, strict=True) if not won]

    def _write_item(self, item: Item, rewind: bool, looked: bool, budget: ReadBudget) -> bool:
        """Put one item under its condition; False if a newer one is stored."""
        by_event_time = item.event_time is not None and not rewind
        names, values = {"#v": "_v"}, {":v": {"N": str(item.version)}}
        if by_event_time:
            names["#e"], values[":e"] = "_e", {"N": str(item.event_time)}
            if not item.streamed:
                names["#w"] = "_w"
        condition = _BY_VERSION if not by_event_time else _BY_EVENT_TIME if item.streamed else _BY_KIND
        request = {
            "TableName": self._layout.table(item.pk, item.sk),
            "Item": encode_item(item),
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        try:
            self._call("PutItem", request, budget)
        except ConditionRefused as refusal:
            # An attempt whose answer got lost has written; its retry is refused by our own item.
            return (looked or refusal.retried) and refusal.item is not None and decode_item(refusal.item) == item
        return True

    def _scan_pages(self, table: str, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        start: dict[str, Any] = {}
        while True:
            page = self._page(table, {**request, **start})
            yield from page["Items"]
            if not page.get("LastEvaluatedKey"):
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _page(self, table: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        page = self._call("Scan", {"TableName": table, **request})
        if "Items" not in page:
            raise unreadable_error(table)
        return page
