"""What a lookup in a SQLite file costs: CPU of the client against the same by hand.

    python benchmarks/lookup_sqlite.py [--rounds 15] [--calls 30]

By hand means one statement over the same file, msgspec for the stored arrays, the TTL and one dict per request. Nothing
is checked, and what is missing, NULL or expired is not told apart. Rounds are interleaved, medians printed.

The claim: 10 views x 100 entities x 10 features cost at most 1.5 times as much.
"""

import argparse
import random
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from featurelayer.model import DType, Feature, FeatureService, FeatureView, JoinKey, Key, ServiceView
from featurelayer.online import FeatureClient, Item, service_definition
from featurelayer.online.codec import to_microseconds
from featurelayer.online.definitions import view_schema
from featurelayer.online.stores.sqlite import SqliteStore

NOW = datetime.now(UTC)
TTL = timedelta(days=30)
KEYS = 1_000  # fits in SQLite's own cache, so that reading pages is not what is measured
SHAPES = ((10, 100), (10, 1), (1, 100), (1, 1))  # views, entities
FEATURES = 10
STATEMENT = """
SELECT items.sk, items.pk, items.f, items.e FROM json_each(?) AS views CROSS JOIN json_each(?) AS keys
CROSS JOIN items ON items.sk = views.value AND items.pk = keys.value
"""


def kind(position: int) -> str:
    """Of ten features six are floats, three integers and one is a text."""
    return "float64" if position % 10 < 6 else "int64" if position % 10 < 9 else "text"


def fill(store: SqliteStore, views: int) -> list[str]:
    """Store rows of a service of so many views; return the features' names in one view."""
    number, rng = DType.parse("int64"), random.Random(1)
    names = [f"amount_{position:02d}" for position in range(FEATURES)]
    made = {
        f"view_{views}_{view}": FeatureView(
            name=f"view_{views}_{view}", unique_id=f"model.bench.{views}_{view}", relation_name=f"view_{view}",
            entities=("customer",),
            join_keys=(JoinKey(column="customer_id", entity="customer", key="customer_id", dtype=number),),
            features=tuple(Feature(name=name, dtype=DType.parse(kind(each))) for each, name in enumerate(names)),
            columns=(), event_time="at", ttl=TTL, online=True,
        ) for view in range(views)
    }  # fmt: skip
    service = FeatureService(
        name=f"bench_{views}",
        views=tuple(ServiceView(view=view, prefix=view, features=tuple(names), keys=(("customer_id", "customer_id"),))
                    for view in made),
        request_keys=(Key(name="customer_id", dtype=number),),
    )  # fmt: skip
    at = to_microseconds(NOW - timedelta(hours=1))
    items = [*service_definition(service, made).items(1)]
    makers = {"float64": lambda: rng.uniform(0, 1000), "int64": lambda: rng.randrange(100_000),
              "text": lambda: rng.choice(("web", "app", "store"))}  # fmt: skip
    for view in made.values():
        schema = view_schema(view)
        codec = schema.codec()
        items.append(schema.item())
        for key in range(KEYS):
            row = [None if rng.random() < 0.03 else makers[kind(position)]() for position in range(FEATURES)]
            items.append(Item(pk=f"customer[{key}]", sk=f"{view.name}@0", version=at, as_of=at, event_time=at,
                              f=codec.encode(row), schema=schema.fingerprint))  # fmt: skip
    store.write(items)
    return names


def by_hand(connection: sqlite3.Connection, views: int, names: list[str]):
    """Return a function from customers to their features, as one would write it for this file and these views."""
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(list).decode
    columns = {f"view_{views}_{view}@0": [f"view_{views}_{view}__{name}" for name in names] for view in range(views)}
    sks, ttl = encode(list(columns)).decode(), TTL // timedelta(microseconds=1)

    def lookup(customers: list[int]) -> list[dict]:
        pks = [f"customer[{customer}]" for customer in customers]
        vectors: dict[str, dict] = {pk: {} for pk in pks}
        oldest = time.time_ns() // 1_000 - ttl
        for sk, pk, f, event_time in connection.execute(STATEMENT, (sks, encode(pks).decode())):
            if event_time >= oldest:
                vectors[pk].update(zip(columns[sk], decode(f), strict=True))
        return [vectors[pk] for pk in pks]

    return lookup


def measure(function, requests: list) -> float:
    """Return the CPU milliseconds of one call."""
    began = time.process_time()
    for request in requests:
        function(request)
    return (time.process_time() - began) / len(requests) * 1e3


def main() -> None:
    """Print a line per shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=30)
    options = parser.parse_args()
    rng = random.Random(2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "online.db"
        with closing(SqliteStore(path)) as store:
            names = {views: fill(store, views) for views in {views for views, _ in SHAPES}}
        print(
            f"{'views x entities':>18} {'client':>9} {'by hand':>9} {'ratio':>6}   (CPU ms, {FEATURES} features each)"
        )
        with closing(SqliteStore(path)) as store, closing(sqlite3.connect(path, isolation_level=None)) as connection:
            client, ratio = FeatureClient(store), {}
            for views, entities in SHAPES:
                hand = by_hand(connection, views, names[views])

                def ours(customers: list[int], service: str = f"bench_{views}") -> list[dict]:
                    requests = [{"customer_id": customer} for customer in customers]
                    return [vector.to_dict() for vector in client.lookup_many(service, requests, deadline=60)]

                customers = [rng.sample(range(KEYS), entities) for _ in range(options.calls)]
                assert ours(customers[0]) == hand(customers[0])
                taken = [(measure(ours, customers), measure(hand, customers)) for _ in range(options.rounds)]
                client_ms, hand_ms = (statistics.median(each) for each in zip(*taken, strict=True))
                ratio[views, entities] = client_ms / hand_ms
                print(f"{f'{views} x {entities}':>18} {client_ms:9.3f} {hand_ms:9.3f} {client_ms / hand_ms:6.2f}")
    holds = ratio[10, 100] <= 1.5
    print(f"{'yes' if holds else 'NO '}  10 views x 100 entities: at most 1.5 times by hand")


if __name__ == "__main__":
    main()
