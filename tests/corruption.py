"""A store with one service of every type, and ways to damage what it holds past featurelayer's own writes."""

import math
import sqlite3
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from featurelayer.model import FeatureView, Freshness
from featurelayer.online import Item, MemoryStore, OnlineStore, service_definition
from featurelayer.online.definitions import ViewCommit, ViewRunStart, view_definition, view_schema
from featurelayer.online.stores.dynamodb.store import DynamoDBStore
from featurelayer.online.stores.sqlite import SqliteStore
from tests.online_cases import feature, service_of, view

NOW = datetime(2100, 11, 1, 12, tzinfo=UTC)
V = int(NOW.timestamp() * 1e6)
TYPES = {
    "delay": "float64", "legs": "int64", "tiny": "int8", "big": "uint64", "name": "text", "paid": "decimal(10,2)",
    "seen": "timestamp", "sent": "timestamptz", "day": "date", "blob": "bytes", "ok": "bool", "code": "uuid",
    "note": "json", "ids": "array<int32>", "scores": "array<float64>", "times": "array<timestamptz>",
}  # fmt: skip
ROW = {
    "delay": 1.5, "legs": 2, "tiny": 3, "big": 2**64 - 1, "name": "Ann", "paid": Decimal("8.25"),
    "seen": datetime(2020, 1, 2), "sent": datetime(2020, 1, 2, tzinfo=UTC), "day": date(2020, 1, 2), "blob": b"\x00a",
    "ok": True, "code": "0123abcd-0123-4567-89ab-0123456789ab", "note": "{}", "ids": [1, None],
    "scores": [0.5, math.inf], "times": [datetime(2020, 1, 2, tzinfo=UTC)],
}  # fmt: skip
LEGS = view(
    "legs", *(feature(name, dtype) for name, dtype in TYPES.items()), event_time="landed_at", ttl=timedelta(days=1),
    freshness=Freshness(error_after=timedelta(days=1)), online=True,
)  # fmt: skip
SEATS = view("seats", feature("seats", "int64", default=7, has_default=True), static=True, online=True)
SERVICE = service_of(LEGS, SEATS)
VIEWS: dict[str, FeatureView] = {each.id: each for each in (LEGS, SEATS)}
SCHEMA, DEFINITION = view_schema(LEGS), service_definition(SERVICE, VIEWS)
PINNED = f"{SERVICE.name}@{DEFINITION.fingerprint}"
BAD, GOOD = ('plane["N1"]', "legs@0"), ('plane["N2"]', "legs@0")

PYTHON = {
    "bool": bool, "int": int, "uint": int, "float": float, "decimal": Decimal, "text": str, "json": str, "uuid": str,
    "bytes": bytes, "date": date, "timestamp": datetime, "timestamptz": datetime,
}  # fmt: skip


def items() -> list[Item]:
    """Return what an export of two planes leaves."""
    codec, seats = SCHEMA.codec(), view_schema(SEATS)
    f = codec.encode([ROW[name] for name in TYPES])
    commits = [
        ViewCommit(version=V, as_of=V, source_time=V, schema=schema.fingerprint, rows=2, finished=V).item(sk)
        for sk, schema in (("legs@0", SCHEMA), ("seats@0", seats))
    ]
    return [
        *DEFINITION.items(1), SCHEMA.item(), seats.item(), *commits, ViewRunStart(version=V, run="r").item("legs@0"),
        *(view_definition(each).item(1) for each in VIEWS.values()),
        *(Item(pk=pk, sk=sk, version=V, as_of=V, event_time=V, ttl=V // 10**6, schema=SCHEMA.fingerprint, f=f)
          for pk, sk in (BAD, GOOD)),
        *(Item(pk=pk, sk="seats@0", version=V, as_of=V, schema=seats.fingerprint, f="[5]") for pk, _ in (BAD, GOOD)),
    ]  # fmt: skip


def slot(name: str, text: str) -> str:
    """Return the row's JSON with one feature's value replaced by a JSON text."""
    parts = _fragments()
    parts[list(TYPES).index(name)] = text
    return f"[{','.join(parts)}]"


def _fragments() -> list[str]:
    f = SCHEMA.codec().encode([ROW[name] for name in TYPES])
    return [bytes(raw).decode() for raw in msgspec.json.decode(f, type=list[msgspec.Raw])]


# What is stored where a feature's value should be.
SLOTS: dict[str, tuple[str, ...]] = {
    "delay": ('"abc"', "true", "[]", "{}", "1e999", '"nan"', "[" * 30_000),
    "legs": ('"7"', '"abc"', "1.5", "true", "9223372036854775808", "1" + "0" * 5_000, "1e400"),
    "tiny": ("128", "-129"),
    "big": ("-1", "18446744073709551616"),
    "name": ("5", "true", '["a"]', '"\\ud800"'),
    "paid": ('"abc"', '"NaN"', '"Infinity"', '"1e20"', '"1.234"', '"1e-400000000"', "true", "[]"),
    "seen": ("1" + "0" * 30, '"2020-01-01"', "4611686018427387904", "-62135596800000001", "true", "1.5"),
    "sent": ("1" + "0" * 30, "253402300800000000"),
    "day": ('"2013-13-31"', '"0000-01-01"', "5", '"yesterday"'),
    "blob": ('"%%%"', '"YQ"', "5"),
    "ok": ("1", '"true"', "0"),
    "code": ('"xyz"', "5"),
    "note": ("{}", "5"),
    "ids": ("5", '["a"]', "[2147483648]", "[[1]]", "[true]", '"[1]"'),
    "scores": ('["abc"]', "[[0.5]]", "[true]"),
    "times": ("[4611686018427387904]", '["2020-01-01"]'),
}
# What is stored where a row, or a definition, should be.
BODIES = (
    "hello", "5", "null", "{}", '"x"', "", "[", "[]", "[1]", "[null]", "[" * 30_000, '{"a":' * 30_000, "[1,2",
    "\x00", "[1]]", '{"features":5}', '{"name":1,"views":[]}', '{"definition":{}}', "[" + "null," * 16 + "null]",
)  # fmt: skip
# Attributes as DynamoDB's wire has them; None takes one away.
ATTRIBUTES: tuple[tuple[str, dict[str, Any] | None], ...] = (
    ("f", {"N": "5"}), ("f", {"B": b"\xff\xfe"}), ("f", {"L": []}), ("f", None),
    ("_v", {"S": "abc"}), ("_v", {"N": "1" + "0" * 30}), ("_v", {"N": "1.5"}), ("_v", None), ("_v", {"BOOL": True}),
    ("_t", {"S": "abc"}), ("_t", None), ("_e", {"S": "abc"}), ("_e", {"B": b"\xff"}), ("_e", {"N": "1" + "0" * 30}),
    ("_e", {"N": "0.5"}), ("_e", {"NULL": True}), ("_u", {"S": "x"}), ("ttl", {"S": "x"}), ("_s", {"N": "5"}),
    ("_s", {"S": "abc"}), ("_s", None), ("_d", {"S": "yes"}), ("_d", {"N": "1"}), ("_w", {"M": {}}),
)  # fmt: skip
COLUMNS = {"f": "f", "_v": "v", "_t": "t", "_e": "e", "_u": "u", "_s": "s", "ttl": "ttl", "_d": "d", "_w": "w"}


def set_body(store: OnlineStore, key: tuple[str, str], f: str) -> None:
    """Put another text in place of an item's content, past every rule of writing."""
    if isinstance(store, MemoryStore):
        store._items[key] = msgspec.structs.replace(store._items[key], f=f)
    else:
        set_attribute(store, key, "f", {"S": f})


def set_attribute(store: OnlineStore, key: tuple[str, str], name: str, value: dict[str, Any] | None) -> None:
    """Put another value in place of an attribute, of any type that the store takes; None takes it away."""
    if isinstance(store, SqliteStore):
        kept = None if value is None else _column(value)
        _execute(store, f"UPDATE items SET {COLUMNS[name]} = ? WHERE pk = ? AND sk = ?", (kept, *key))
        return
    assert isinstance(store, DynamoDBStore)
    table = store._layout.table(*key)
    names, where = {"#n": name}, {"pk": {"S": key[0]}, "sk": {"S": key[1]}}
    more = (
        {"UpdateExpression": "REMOVE #n"}
        if value is None
        else {"UpdateExpression": "SET #n = :v", "ExpressionAttributeValues": {":v": value}}
    )
    store._call("UpdateItem", {"TableName": table, "Key": where, "ExpressionAttributeNames": names, **more})


def set_raw_text(store: SqliteStore, key: tuple[str, str], name: str, raw: bytes) -> None:
    """Store bytes as SQLite's text, whether they are UTF-8 or not."""
    statement = f"UPDATE items SET {COLUMNS[name]} = CAST(? AS TEXT) WHERE pk = ? AND sk = ?"
    _execute(store, statement, (raw, *key))


def restore(store: OnlineStore, key: tuple[str, str]) -> None:
    """Put an item back as it was."""
    original = next(item for item in items() if item.key == key)
    store.remove([key])
    store.write([original])


def _column(value: dict[str, Any]) -> Any:
    ((kind, content),) = value.items()
    if kind == "N":
        return float(content) if "." in content or len(content) > 18 else int(content)
    return {"L": "[]", "M": "{}", "BOOL": b"\x01", "NULL": b""}.get(kind, content)


def _execute(store: SqliteStore, statement: str, values: tuple[Any, ...]) -> None:
    connection = sqlite3.connect(store.path)
    try:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        with connection:
            connection.execute(statement, values)
    finally:
        connection.close()


def is_typed(value: Any, dtype: str) -> bool:
    """Whether a value is one of the declared type, or None."""
    if value is None:
        return True
    if dtype.startswith("array<"):
        return isinstance(value, list) and all(is_typed(part, dtype[6:-1]) for part in value)
    return type(value) is PYTHON[dtype.split("(", maxsplit=1)[0].rstrip("0123456789")]


def opened(scheme: str, moto: Callable[[], str], folder: Any) -> OnlineStore:
    """Return a filled store of a kind; `moto` returns the address of moto's server."""
    from featurelayer.online import open_store

    addresses = {
        "memory": lambda: f"memory://{uuid.uuid4().hex}",
        "sqlite": lambda: f"sqlite:///{folder / 'online.db'}",
        "dynamodb": lambda: f"dynamodb://t-{uuid.uuid4().hex}?region=eu-west-1&endpoint_url={moto()}&timeout=20",
    }
    store = open_store(addresses[scheme]())
    if isinstance(store, DynamoDBStore):
        store.create()
    store.write(items())
    return store
