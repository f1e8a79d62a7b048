"""Whatever a store holds: a lookup gives values of the declared types or a typed error that names the item."""

import logging
from datetime import timedelta

import pytest

from featurelayer.errors import ConfigError, CorruptItem, FeatureLayerError
from featurelayer.online import AsyncFeatureClient, FeatureClient, Item, Status
from featurelayer.online.definitions import definition_key, service_key
from featurelayer.online.stores.memory import MemoryStore
from featurelayer.online.stores.sqlite import SqliteStore
from tests.corruption import (
    ATTRIBUTES,
    BAD,
    BODIES,
    GOOD,
    NOW,
    PINNED,
    ROW,
    SCHEMA,
    SERVICE,
    SLOTS,
    TYPES,
    V,
    is_typed,
    opened,
    restore,
    set_attribute,
    set_body,
    set_raw_text,
    slot,
)

REQUESTS = [{"tailnum": "N1"}, {"tailnum": "N2"}, {"tailnum": "N3"}]
ROWS = list(ROW.values())


@pytest.fixture(params=["memory", "sqlite", "dynamodb"])
def store(request, tmp_path):
    found = opened(request.param, lambda: request.getfixturevalue("moto_endpoint"), tmp_path)
    yield found
    found.close()


def refused(store, feature: str = "") -> str:
    """Hold both policies to what they promise for one corrupt item; return the message."""
    with pytest.raises(CorruptItem) as raised:
        FeatureClient(store).lookup_many(SERVICE.name, REQUESTS, now=NOW)
    error = raised.value
    assert (error.pk, error.sk, error.retryable) == (*BAD, False)
    assert error.feature == feature
    assert 'plane["N1"] of legs@0' in str(error)
    seen = []
    client = FeatureClient(store, on_corrupt="null", on_lookup=seen.append)
    bad, good, missing = client.lookup_many(SERVICE.name, REQUESTS, now=NOW)
    assert bad.to_list() == [None] * len(ROWS) + [5]
    assert [one.status for one in bad.features.values()] == [Status.CORRUPT] * len(ROWS) + [Status.PRESENT]
    assert {(one.event_time, one.age) for one in bad.features.values()} == {(None, None)}
    assert good.to_list() == [*ROWS, 5]
    assert {one.status for one in missing.features.values()} == {Status.MISSING}
    assert [metrics.corrupt for metrics in seen] == [1]
    return str(error)


def test_a_store_that_is_whole_is_served(store):
    vector = FeatureClient(store).lookup(SERVICE.name, REQUESTS[0], now=NOW)
    assert vector.to_list() == [*ROWS, 5]
    assert all(map(is_typed, vector.to_list(), TYPES.values()))


def test_a_value_of_another_type_names_the_feature(store):
    for feature, texts in SLOTS.items():
        for text in texts:
            set_body(store, BAD, slot(feature, text))
            refused(store, "" if text in UNREADABLE else feature)


# No JSON parser gets past these, so that none can tell whose value it is.
UNREADABLE = ["[" * 30_000, '"\\ud800"']


def test_a_row_that_is_none(store):
    for body in BODIES:
        set_body(store, BAD, body)
        refused(store)


def test_an_attribute_of_another_type(store):
    if isinstance(store, MemoryStore):
        pytest.skip("memory holds Python's own values")
    for name, value in ATTRIBUTES:
        if isinstance(store, SqliteStore) and (name, value) in NOT_ON_SQLITE:
            continue
        set_attribute(store, BAD, name, value)
        refused(store)
        restore(store, BAD)


# There 1.5 is a number that is refused, but a flag is a number, and what must not be NULL can't be.
NOT_ON_SQLITE = [
    ("_d", {"N": "1"}), *((name, None) for name in ("f", "_v", "_t", "_s")),
]  # fmt: skip


@pytest.mark.parametrize("name", ["f", "_s", "_v"])
def test_sqlite_text_that_is_not_utf8(tmp_path, name):
    store = opened("sqlite", str, tmp_path)
    set_raw_text(store, BAD, name, b"[\xff\xfe]")
    refused(store)
    assert FeatureClient(store).lookup(SERVICE.name, REQUESTS[1], now=NOW).to_list() == [*ROWS, 5]
    store.close()


def test_sqlite_keys_that_are_not_utf8_are_a_typed_error(tmp_path):
    store = opened("sqlite", str, tmp_path)
    set_raw_text(store, service_key(SERVICE.name), "f", b"{\xff}")
    with pytest.raises(CorruptItem, match="#service"):
        FeatureClient(store).lookup(SERVICE.name, REQUESTS[0])
    import sqlite3

    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE items SET pk = CAST(? AS TEXT) WHERE pk = ?", (b"plane\xff", BAD[0]))
        connection.execute(
            "UPDATE items SET sk = CAST(? AS TEXT) WHERE pk = '#service' AND sk NOT LIKE '%@%'", (b"\xff",)
        )
    connection.close()
    with pytest.raises(CorruptItem, match="UTF-8"):
        list(store.live("legs@0"))
    with pytest.raises(CorruptItem, match="UTF-8"):
        FeatureClient(store).services()
    store.close()


def test_a_damaged_definition_always_raises(store):
    keys = {
        service_key(SERVICE.name): lambda client: client.lookup(SERVICE.name, REQUESTS[0], now=NOW),
        service_key(PINNED): lambda client: client.lookup(PINNED, REQUESTS[0], now=NOW),
        ("#schema", SCHEMA.fingerprint): lambda client: client.lookup(SERVICE.name, REQUESTS[0], now=NOW),
        ("#view", "legs@0#commit"): lambda client: client.lookup(SERVICE.name, REQUESTS[0], now=NOW),
        definition_key("legs"): lambda client: client.write("legs", [{"tailnum": "N1", **ROW}]),
    }
    for key, call in keys.items():
        call(FeatureClient(store))
        for body in BODIES:
            set_body(store, key, body)
            for policy in ("raise", "null"):
                with pytest.raises(CorruptItem) as raised:
                    call(FeatureClient(store, on_corrupt=policy))
                assert (raised.value.pk, raised.value.sk) == key
        if not isinstance(store, MemoryStore):
            set_attribute(store, key, "_t", {"S": "abc"})
            with pytest.raises(CorruptItem) as raised:
                call(FeatureClient(store, on_corrupt="null"))
            assert (raised.value.pk, raised.value.sk) == key
        restore(store, key)


def test_a_definition_that_cannot_be_followed_is_corrupt(store):
    def edited(key, old, new):
        body = store.read([key])[key].f
        assert old in body
        set_body(store, key, body.replace(old, new))
        with pytest.raises(FeatureLayerError) as raised:
            FeatureClient(store).lookup(key[1] if key[0] == "#service" else SERVICE.name, REQUESTS[0], now=NOW)
        restore(store, key)
        return raised.value

    pointer, schema = service_key(SERVICE.name), ("#schema", SCHEMA.fingerprint)
    for key, old, new in (
        (schema, '"float64"', '"int64"'), (schema, '"delay"', '"late"'), (schema, "float64", "float"),
        (pointer, '"name":"late_arrival"', '"name":"other"'), (pointer, '"dtype":"float64"', '"dtype":"double"'),
        (pointer, '"request":"tailnum"', '"request":"plane"'), (pointer, '"dtype":"text"', '"dtype":"float64"'),
        (pointer, '"default":7', '"default":"abc"'), (pointer, '"default":7', '"default":' + "[" * 50_000),
        (pointer, '"name":"legs"', '"name":"tiny"'), (pointer, '"entities":["plane"]', '"entities":["#x"]'),
        (pointer, '"dtype":"int8"', '"dtype":"int99999999999"'),
        (pointer, '"dtype":"decimal(10,2)"', '"dtype":"decimal(99999999999,2)"'),
        (pointer, '"ttl":', '"on_stale":"explode","ttl":'), (pointer, '"ttl":', '"ttl":1' + "0" * 30 + ',"x":'),
    ):  # fmt: skip
        error = edited(key, old, new)
        assert isinstance(error, CorruptItem), (key, new)
        assert (error.pk, error.sk) == key
    body = store.read([service_key(PINNED)])[service_key(PINNED)].f
    set_body(store, service_key(PINNED), body.replace('"default":7', '"default":8'))
    with pytest.raises(FeatureLayerError, match="fingerprint"):
        FeatureClient(store).lookup(PINNED, REQUESTS[0], now=NOW)


@pytest.mark.parametrize("event_time", [2**62, -(2**62), -62135596800000001, 2**63 - 1, -(2**63)])
def test_an_event_time_that_no_datetime_can_be_has_an_age(store, event_time):
    item = next(item for item in store.read([BAD]).values())
    if isinstance(store, MemoryStore):
        from msgspec.structs import replace

        store._items[BAD] = replace(item, event_time=event_time)
    else:
        set_attribute(
            store, BAD, "_e", {"N": str(event_time)} if not isinstance(store, SqliteStore) else {"S": event_time}
        )
    vector = FeatureClient(store).lookup(SERVICE.name, REQUESTS[0])
    one = vector.features["legs__delay"]
    assert one.status is (Status.EXPIRED if event_time < 0 else Status.PRESENT)
    assert one.event_time is None
    assert abs(one.age - timedelta(microseconds=-event_time)) < timedelta(days=400_000)
    assert "old" in repr(vector)


def test_a_corrupt_item_is_logged_once_per_view_and_cannot_drive_a_terminal(caplog):
    store = opened("memory", str, None)
    store.write([Item(pk='plane["\x9b2J"]', sk="legs@0", version=V, event_time=V, schema="x\x1b]0;x\x07", f="[]")])
    client = FeatureClient(store, on_corrupt="null")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            client.lookup(SERVICE.name, {"tailnum": "\x9b2J"}, now=NOW)
    (record,) = [record for record in caplog.records if record.name.startswith("featurelayer")]
    assert "legs@0" in record.getMessage()
    assert "\\u009b2J" in record.getMessage()
    assert not any(mark in record.getMessage() for mark in "\x1b\x07\x9b")


async def serve_async(store) -> list:
    async with AsyncFeatureClient(store, on_corrupt="null") as client:
        return await client.lookup_many(SERVICE.name, REQUESTS, now=NOW)


def test_the_async_client_has_the_policy():
    import asyncio

    store = opened("memory", str, None)
    set_body(store, BAD, "hello")
    bad, good, _ = asyncio.run(serve_async(store))
    assert bad.features["legs__legs"].status is Status.CORRUPT
    assert good["legs__legs"] == 2


def test_a_policy_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="'ignore'"):
        FeatureClient(MemoryStore(), on_corrupt="ignore")


def test_a_newer_write_replaces_a_corrupt_item(store):
    whole = store.read([BAD])[BAD]
    if isinstance(store, MemoryStore):
        set_body(store, BAD, "hello")
    else:
        set_attribute(store, BAD, "_t", {"S": "abc"})
    from msgspec.structs import replace

    newer = replace(whole, version=V + 1)
    assert store.write([newer], rewrite=True).written == 1
    assert store.read([BAD])[BAD] == newer
    assert GOOD in store.read([GOOD])
