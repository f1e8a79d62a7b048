"""What a lookup costs the process that serves: CPU per call, and latency over one round trip.

    python benchmarks/lookup.py [--rounds 15] [--json]

A stub in a process of its own answers BatchGetItem and Query like a DynamoDB whose work is free: answers are canned
after the first time. Compared within one run, rounds interleaved, the best of each printed:
`boto3.client("dynamodb")` with `TypeDeserializer` and one native attribute per feature, as one would write it by hand;
FeatureClient with either transport, values taken out of every vector; and the floor, the same items over a raw socket,
signed and decoded by msgspec into one list of values per key. CPU is that of the whole process, threads included.
Latency is wall time against a stub that waits 4 ms.

The claims, for the default transport: 50 features x 100 keys at least 25 times less CPU than plain boto3 and at most
twice the floor; one key of 10 features at least 4 times less; 10 views within 1.5 ms of one round trip.
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
from datetime import UTC, datetime, timedelta
from decimal import Decimal

NOW = datetime.now(UTC)
REGION = "eu-west-1"
WORDS = ("web", "app", "store", "phone", "partner")


# --- the stub --------------------------------------------------------------------------------------------------------


async def serve(delay: float) -> None:
    """Answer on a free port, whose number is printed, until killed. PutItem fills, the other two read."""
    items: dict[str, dict[str, dict[str, dict]]] = {}  # table -> pk -> sk -> item
    canned: dict[bytes, bytes] = {}

    def answer(operation: str, request: dict) -> dict:
        if operation == "PutItem":
            item = request["Item"]
            items.setdefault(request["TableName"], {}).setdefault(item["pk"]["S"], {})[item["sk"]["S"]] = item
            canned.clear()
            return {}
        if operation == "Query":
            values = request["ExpressionAttributeValues"]
            first, last = values.get(":first", {"S": ""})["S"], values.get(":last", {"S": "\uffff"})["S"]
            under = items.get(request["TableName"], {}).get(values[":pk"]["S"], {})
            found = [item for sk, item in sorted(under.items()) if first <= sk <= last]
            return {"Items": found, "Count": len(found), "ScannedCount": len(found)}
        responses = {}
        for table, asked in request["RequestItems"].items():
            stored = items.get(table, {})
            found = (stored.get(key["pk"]["S"], {}).get(key["sk"]["S"]) for key in asked["Keys"])
            responses[table] = [item for item in found if item is not None]
        return {"Responses": responses, "UnprocessedKeys": {}}

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
                body = await reader.readexactly(length)
                known = canned.get(body)
                if known is None:
                    operation = head.partition(b"x-amz-target:")[2].split(b"\r\n", 1)[0].rpartition(b".")[2].strip()
                    names = {b"putitem": "PutItem", b"query": "Query"}
                    content = json.dumps(answer(names.get(operation, "BatchGetItem"), json.loads(body))).encode()
                    known = (
                        b"HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\nx-amzn-requestid: stub\r\n"
                        b"content-length: %d\r\n\r\n" % len(content)
                    ) + content
                    canned[body] = known
                if delay:
                    await asyncio.sleep(delay)
                writer.write(known)

    server = await asyncio.start_server(connection, "127.0.0.1", 0, limit=2**20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def stub(delay: float = 0.0) -> Iterator[str]:
    """Yield the address of a stub that runs in a process of its own."""
    command = [sys.executable, __file__, "--serve", str(delay)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# --- what is stored --------------------------------------------------------------------------------------------------


def kind(position: int) -> str:
    """Of ten features six are floats, three integers and one is a text."""
    return "float64" if position % 10 < 6 else "int64" if position % 10 < 9 else "text"


def row(rng: random.Random, features: int) -> list:
    """One entity's values, three of a hundred NULL."""
    makers = {"float64": lambda: rng.uniform(0, 1000), "int64": lambda: rng.randrange(100_000),
              "text": lambda: rng.choice(WORDS)}  # fmt: skip
    return [None if rng.random() < 0.03 else makers[kind(position)]() for position in range(features)]


def fill(url: str, *, views: int, features: int, keys: int) -> None:
    """Store the same rows twice: as native attributes, and as an export would."""
    import boto3

    from featurelayer.model import DType, Feature, FeatureService, FeatureView, JoinKey, Key, ServiceView
    from featurelayer.online import Item, service_definition
    from featurelayer.online.codec import to_microseconds
    from featurelayer.online.definitions import view_schema
    from featurelayer.online.stores.dynamodb.store import DynamoDBStore

    number = DType.parse("int64")
    made = {
        f"view_{view}": FeatureView(
            name=f"view_{view}", unique_id=f"model.bench.view_{view}", relation_name=f"view_{view}",
            entities=("customer",),
            join_keys=(JoinKey(column="customer_id", entity="customer", key="customer_id", dtype=number),),
            features=tuple(Feature(name=name(view, each), dtype=DType.parse(kind(each))) for each in range(features)),
            columns=(), event_time="at", ttl=timedelta(days=30), online=True,
        ) for view in range(views)
    }  # fmt: skip
    service = FeatureService(
        name="bench",
        views=tuple(ServiceView(view=view, prefix=view, features=tuple(each.name for each in made[view].features),
                                keys=(("customer_id", "customer_id"),)) for view in made),
        request_keys=(Key(name="customer_id", dtype=number),),
    )  # fmt: skip
    native = boto3.resource("dynamodb", region_name=REGION, endpoint_url=url).Table(native_table(views, features))
    store = DynamoDBStore(table(views, features), region=REGION, endpoint_url=url, timeout=5)
    at = to_microseconds(NOW - timedelta(hours=1))
    items = [*service_definition(service, made).items(1)]
    rng = random.Random(1)
    for view in made.values():
        schema = view_schema(view)
        codec = schema.codec()
        items.append(schema.item())
        for key in range(keys):
            values = row(rng, features)
            pk, sk = f"customer[{key}]", f"{view.name}@0"
            items.append(Item(pk=pk, sk=sk, version=at, as_of=at, event_time=at, f=codec.encode(values),
                              schema=schema.fingerprint))  # fmt: skip
            named = {name.name: Decimal(str(value)) if isinstance(value, float) else value
                     for name, value in zip(view.features, values, strict=True)}  # fmt: skip
            native.put_item(Item={"pk": pk, "sk": sk, "event_time": at, **named})
    store.write(items)
    store.close()


def name(view: int, feature: int) -> str:
    return f"view_{view}_amount_{feature:02d}"


def table(views: int, features: int) -> str:
    return f"features-{views}-{features}"


def native_table(views: int, features: int) -> str:
    return f"native-{views}-{features}"


# --- what is measured ------------------------------------------------------------------------------------------------


def wanted_keys(views: int, keys: int) -> list[dict]:
    return [{"pk": {"S": f"customer[{key}]"}, "sk": {"S": f"view_{view}@0"}}
            for key in range(keys) for view in range(views)]  # fmt: skip


def plain(url: str, views: int, features: int, keys: int) -> Callable[[], object]:
    """What one writes by hand: one batch_get_item of the client, values by TypeDeserializer."""
    import boto3
    from boto3.dynamodb.types import TypeDeserializer

    client = boto3.client("dynamodb", region_name=REGION, endpoint_url=url)
    name, wanted, read = native_table(views, features), wanted_keys(views, keys), TypeDeserializer().deserialize

    def call() -> object:
        answer = client.batch_get_item(RequestItems={name: {"Keys": wanted}})["Responses"][name]
        found = [{column: read(value) for column, value in item.items()} for item in answer]
        assert len(found) == len(wanted)
        return found

    return call


def floor(url: str, views: int, features: int, keys: int) -> Callable[[], object]:
    """The same items with nothing but a socket, a signature and msgspec: no client could do with less."""
    import msgspec

    from featurelayer.online.stores.dynamodb.signing import sign_headers

    host = url.removeprefix("http://")
    sock = socket.create_connection((host.partition(":")[0], int(host.partition(":")[2])))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    text = msgspec.defstruct("text", [("S", str)], gc=False)
    item = msgspec.defstruct("item", [("pk", text), ("sk", text), ("f", text)], gc=False)
    answer = msgspec.defstruct("answer", [("Responses", dict[str, list[item]])])
    read, values = msgspec.json.Decoder(answer).decode, msgspec.json.Decoder(list).decode
    name = table(views, features)

    def call() -> object:
        body = msgspec.json.encode({"RequestItems": {name: {"Keys": wanted_keys(views, keys)}}})
        headers = sign_headers(host=host, region=REGION, target="DynamoDB_20120810.BatchGetItem", body=body,
                                 at=datetime.now(UTC), access_key="stub", secret_key="stub", token=None)  # fmt: skip
        lines = "".join(f"{header}: {value}\r\n" for header, value in headers.items())
        sock.sendall(f"POST / HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body)
        received = sock.recv(1 << 20)
        head, _, content = received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        pieces = [content]
        missing = length - len(content)
        while missing:
            pieces.append(sock.recv(1 << 20))
            missing -= len(pieces[-1])
        found = {(each.pk.S, each.sk.S): values(each.f.S) for each in read(b"".join(pieces)).Responses[name]}
        assert len(found) == views * keys
        return found

    return call


def ours(url: str, views: int, features: int, keys: int, transport: str) -> Callable[[], object]:
    """A lookup, and its values."""
    from featurelayer.online import FeatureClient

    address = f"dynamodb://{table(views, features)}?region={REGION}&endpoint_url={url}&transport={transport}"
    client = FeatureClient.connect(address, refresh=timedelta(hours=1))
    requests = [{"customer_id": key} for key in range(keys)]
    first = client.lookup_many("bench", requests)
    assert {str(each.status) for vector in first for each in vector.features.values()} <= {"present", "null"}

    def call() -> object:
        return [vector.to_list() for vector in client.lookup_many("bench", requests)]

    return call


def round_trip(url: str) -> Callable[[], object]:
    """One request and its answer over a bare socket."""
    host, port = url.removeprefix("http://").split(":")
    sock = socket.create_connection((host, int(port)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    body = b'{"RequestItems":{}}'
    request = b"POST / HTTP/1.1\r\ncontent-length: %d\r\nx-amz-target: x.BatchGetItem\r\n\r\n%s" % (len(body), body)

    def call() -> object:
        sock.sendall(request)
        return sock.recv(65536)

    return call


def cpu(calls: dict[str, Callable[[], object]], times: int, rounds: int) -> dict[str, float]:
    """Milliseconds of CPU per call, of each call's best round: what else runs on the machine only ever adds."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            start = time.process_time()
            for _ in range(times):
                call()
            if number:  # the first round warms up
                spent[name].append((time.process_time() - start) / times * 1000)
    return {name: min(values) for name, values in spent.items()}


def wall(calls: dict[str, Callable[[], object]], times: int) -> dict[str, list[float]]:
    """Milliseconds of every call, the calls taking turns."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(times + 10):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if number >= 10:
                spent[name].append((time.perf_counter() - start) * 1000)
    return spent


PLAIN, FLOOR, TRIP = "boto3 client, native", "raw socket, msgspec", "one round trip"
OURS, OURS_BY_BOTO3 = "featurelayer", "featurelayer, boto3"


def measure_cpu(rounds: int) -> list[dict]:
    results = []
    for features, keys, times in ((50, 100, 10), (50, 1, 100), (10, 1, 100)):
        with stub() as url:
            fill(url, views=1, features=features, keys=keys)
            calls = {PLAIN: plain(url, 1, features, keys), OURS: ours(url, 1, features, keys, "http"),
                     OURS_BY_BOTO3: ours(url, 1, features, keys, "boto3"),
                     FLOOR: floor(url, 1, features, keys)}  # fmt: skip
            spent = cpu(calls, times, rounds)
        results.append({"case": f"{features} features x {keys} keys", "ms": spent,
                        "ratio": {name: spent[PLAIN] / spent[name] for name in (OURS, OURS_BY_BOTO3, FLOOR)},
                        "over_floor": spent[OURS] / spent[FLOOR]})  # fmt: skip
    return results


def measure_latency(times: int) -> dict:
    with stub(0.004) as url:
        fill(url, views=10, features=10, keys=1)
        calls = {TRIP: round_trip(url), OURS: ours(url, 10, 10, 1, "http"), PLAIN: plain(url, 10, 10, 1)}
        spent = wall(calls, times)
    p50 = {name: statistics.median(values) for name, values in spent.items()}
    p99 = {name: statistics.quantiles(values, n=100)[98] for name, values in spent.items()}
    over = {name: p50[name] - p50[TRIP] for name in (OURS, PLAIN)}
    return {"case": "10 views, 4 ms stub", "p50": p50, "p99": p99, "over": over}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        asyncio.run(serve(arguments.serve))
        return
    os.environ |= {"AWS_ACCESS_KEY_ID": "stub", "AWS_SECRET_ACCESS_KEY": "stub", "AWS_EC2_METADATA_DISABLED": "true"}
    os.environ.pop("AWS_PROFILE", None)
    results, latency = measure_cpu(arguments.rounds), measure_latency(30 * arguments.rounds)
    if arguments.json:
        print(json.dumps({"cpu": results, "latency": latency}))
        return
    for result in results:
        print(f"{result['case']}: CPU per call")
        for name, spent in result["ms"].items():
            ratio = f"{result['ratio'][name]:6.1f} x less" if name in result["ratio"] else ""
            print(f"  {name:<24} {spent:7.3f} ms  {ratio}")
        print(f"  featurelayer takes {result['over_floor']:.2f} times the raw socket")
    print(f"{latency['case']}: wall time per call, p50 and p99")
    for name, spent in latency["p50"].items():
        over = f"{latency['over'][name]:+6.2f} ms over it" if name in latency["over"] else ""
        print(f"  {name:<24} {spent:7.2f} {latency['p99'][name]:7.2f} ms  {over}")
    many, one, small = results
    claims = [
        ("100 keys x 50 features: at least 25 times less", many["ratio"][OURS] >= 25),
        ("100 keys x 50 features: at most twice the raw socket", many["over_floor"] <= 2),
        ("1 key x 10 features: at least 4 times less", min(one["ratio"][OURS], small["ratio"][OURS]) >= 4),
        ("10 views: within 1.5 ms of a round trip", latency["over"][OURS] <= 1.5),
    ]
    for claim, holds in claims:
        print(f"{'yes' if holds else 'NO '}  {claim}")


if __name__ == "__main__":
    main()
