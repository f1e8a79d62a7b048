"""What writing costs the process that exports: CPU microseconds per item of 50 features.

    python benchmarks/export.py [--items 20000] [--rounds 5] [--json]

A stub in a process of its own takes every write at once. Compared within one run, rounds interleaved, medians printed:
boto3's `Table.batch_writer` and `put_item` with one native attribute per feature, as one would write them by hand, and
what an export does, with either transport: into a fresh table (INSERT), and newer-wins (UPDATE) where every tenth key
is not there (so it is refused and inserted). CPU is that of the whole process, threads included; encoding the values is
left out on our side, because the warehouse does that, and on boto3's the values are Python's own numbers.

The claims: at most 40 us per item into a fresh table and 60 us newer-wins, with the default transport.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal

REGION = "eu-west-1"
FEATURES = 50
PER_CALL = 2_000
REFUSED = b'{"Error":{"Code":"ConditionalCheckFailed","Message":"The conditional request failed"},"TableName":"t"}'
TABLE = {
    "TableName": "features", "TableStatus": "ACTIVE", "TableArn": "arn:aws:dynamodb:eu-west-1:0:table/features",
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
}  # fmt: skip
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: %d\r\n\r\n"


async def serve() -> None:
    """Take all writes on a free port, whose number is printed, until killed; only an UPDATE of `missing` is refused.

    Kept, and read again, are the few items by which exports know of each other; their keys begin with #.
    """
    control: dict[tuple[str, str], dict] = {}

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                body = await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]))
                content = b"{}"
                if any(name in head for name in (b"putitem", b"batchgetitem", b".query")):
                    content = json.dumps(answer(json.loads(body), control)).encode()
                elif b"describetable" in head:
                    content = json.dumps({"Table": TABLE}).encode()
                elif b"listtagsofresource" in head:
                    content = b'{"Tags":[{"Key":"created-by","Value":"featurelayer"}]}'
                elif b"batchwriteitem" in head:
                    content = b'{"UnprocessedItems":{}}'
                elif b"batchexecutestatement" in head:
                    statements = body.split(b'{"Statement":')[1:]
                    results = (REFUSED if b'"UPDATE' in each[:9] and (b"missing[" in each or b"#probe" in each)
                               else b'{"TableName":"t"}' for each in statements)  # fmt: skip
                    content = b'{"Responses":[' + b",".join(results) + b"]}"
                writer.write(HEAD % len(content) + content)

    server = await asyncio.start_server(connection, "127.0.0.1", 0, limit=2**20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def answer(request: dict, control: dict[tuple[str, str], dict]) -> dict:
    """Put an item, or give those that were put, by their keys or of one partition."""
    if "Item" in request:
        item = request["Item"]
        if item["pk"]["S"].startswith("#"):
            control[item["pk"]["S"], item["sk"]["S"]] = item
        return {}
    if "KeyConditionExpression" in request:
        pk = request["ExpressionAttributeValues"][":pk"]["S"]
        return {"Items": [item for key, item in sorted(control.items()) if key[0] == pk]}
    [(table, asked)] = request["RequestItems"].items()
    found = (control.get((key["pk"]["S"], key["sk"]["S"])) for key in asked["Keys"])
    return {"Responses": {table: [item for item in found if item is not None]}, "UnprocessedKeys": {}}


@contextlib.contextmanager
def stub() -> Iterator[str]:
    """Yield the address of a stub that runs in a process of its own."""
    process = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def rows(count: int) -> list[list]:
    """Entities' values: of ten features six are floats, three integers and one is a text."""
    rng = random.Random(1)
    kinds = [lambda: rng.uniform(0, 1000)] * 6 + [lambda: rng.randrange(100_000)] * 3 + [lambda: rng.choice("abcde")]
    return [[kinds[position % 10]() for position in range(FEATURES)] for _ in range(count)]


def writers(url: str, count: int) -> dict[str, tuple[Callable[[], object], int]]:
    """Return what is compared: a function, and the items that one call of it writes."""
    import boto3

    from featurelayer.online import Item
    from featurelayer.online.stores.dynamodb.store import DynamoDBStore

    values = rows(count)
    named = [
        {"pk": f"customer[{key}]", "sk": "view@0", "event_time": key}
        | {f"view_amount_{at:02d}": Decimal(str(value)) if isinstance(value, float) else value
           for at, value in enumerate(row)}
        for key, row in enumerate(values[: count // 10])
    ]  # fmt: skip
    encoded = [json.dumps(row, separators=(",", ":")) for row in values]

    def item(key: int, entity: str) -> Item:
        return Item(pk=f"{entity}[{key}]", sk="view@0", version=1_790_000_000_000_000, as_of=1_790_000_000_000_000,
                    event_time=1_780_000_000_000_000 + key, f=encoded[key], schema="0123456789abcdef")  # fmt: skip

    fresh = [item(key, "customer") for key in range(count)]
    known = [item(key, "missing" if key % 10 == 0 else "customer") for key in range(count)]
    table = boto3.resource("dynamodb", region_name=REGION, endpoint_url=url).Table("native")
    stores = {
        transport: DynamoDBStore("features", region=REGION, endpoint_url=url, timeout=5, transport=transport)
        for transport in ("boto3", "http")
    }

    def batch_writer() -> None:
        with table.batch_writer() as batch:
            for each in named:
                batch.put_item(Item=each)

    def put_item() -> None:
        for each in named[: count // 100]:
            table.put_item(Item=each)

    def export(transport: str, items: list, new: bool) -> None:
        for start in range(0, count, PER_CALL):
            part = items[start : start + PER_CALL]
            assert stores[transport].write(part, rewrite=True, new=new).written == len(part)

    return {
        "boto3 put_item": (put_item, count // 100),
        "boto3 batch_writer": (batch_writer, count // 10),
        "fresh table, boto3": (lambda: export("boto3", fresh, True), count),
        "newer-wins, boto3": (lambda: export("boto3", known, False), count),
        "fresh table": (lambda: export("http", fresh, True), count),
        "newer-wins": (lambda: export("http", known, False), count),
    }


def measure(count: int, rounds: int) -> dict[str, float]:
    """Return CPU microseconds per item, medians of rounds that take turns."""
    with stub() as url:
        compared = writers(url, count)
        taken: dict[str, list[float]] = {name: [] for name in compared}
        for round_ in range(rounds + 1):
            for name, (write, items) in compared.items():
                began = time.process_time()
                write()
                if round_:  # the first connects and imports
                    taken[name].append((time.process_time() - began) / items * 1e6)
    return {name: statistics.median(each) for name, each in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "benchmark")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "benchmark")
    found = measure(options.items, options.rounds)
    if options.json:
        print(json.dumps({"microseconds_per_item": found}))
        return
    print(f"{'':22}{'us per item':>12}{'put_item':>12}{'batch_writer':>14}")
    for name, cost in found.items():
        single, batch = found["boto3 put_item"] / cost, found["boto3 batch_writer"] / cost
        print(f"{name:22}{cost:12.1f}{single:11.1f}x{batch:13.1f}x")


if __name__ == "__main__":
    main()
