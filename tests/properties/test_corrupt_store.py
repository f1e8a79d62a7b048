"""A store whose content was changed at random gives values of the declared types or a typed error."""

import json
import uuid

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurelayer.errors import CorruptItem, FeatureLayerError
from featurelayer.online import FeatureClient, MemoryStore, Status
from featurelayer.online.definitions import definition_key, service_key
from tests.corruption import (
    BAD,
    NOW,
    PINNED,
    ROW,
    SCHEMA,
    SERVICE,
    TYPES,
    is_typed,
    items,
    opened,
    restore,
    set_attribute,
    set_body,
    set_raw_text,
)

KEYS = [BAD, service_key(SERVICE.name), service_key(PINNED), ("#schema", SCHEMA.fingerprint),
        ("#view", "legs@0#commit"), definition_key("legs")]  # fmt: skip
ORIGINAL = {item.key: item for item in items()}
PIECES = st.one_of(
    st.sampled_from(['"', "[", "]", "{", "}", ",", ":", "null", "true", "1e400", "-", "NaN", '"NaN"', "\x00", "\ud800",
                     "9" * 40, "[" * 2_000, "\\u0000", "\\ud800", "�", "int8", "text"]),
    st.text(max_size=5),
    st.integers().map(str),
    st.floats().map(str),
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def bodies(draw, key):
    """Return an item's text with a piece replaced at a random place, one JSON value exchanged, or any text at all."""
    f = ORIGINAL[key].f
    kind = draw(st.sampled_from(["cut", "value", "any"]))
    if kind == "any":
        return draw(st.text(max_size=20) | JSON.map(json.dumps))
    if kind == "cut":
        start = draw(st.integers(0, len(f)))
        end = draw(st.integers(start, min(len(f), start + 12)))
        return f[:start] + draw(PIECES) + f[end:]
    document = json.loads(f)
    place = document
    while True:
        step = draw(st.sampled_from(range(len(place)) if isinstance(place, list) else sorted(place)))
        if not (isinstance(place[step], list | dict) and place[step]) or draw(st.integers(0, 3)) == 0:
            break
        place = place[step]
    place[step] = draw(JSON)
    return json.dumps(document)


DAMAGE = st.sampled_from(KEYS).flatmap(lambda key: st.tuples(st.just(key), bodies(key)))


def serve(store) -> None:
    """Hold every read of a client to the promise."""
    for policy in ("raise", "null"):
        client = FeatureClient(store, on_corrupt=policy)
        for service in (SERVICE.name, PINNED):
            try:
                vectors = client.lookup_many(service, [{"tailnum": "N1"}, {"tailnum": "N2"}], now=NOW)
            except FeatureLayerError:
                continue
            types = [feature.dtype for view in client.service(service).views for feature in view.features]
            for vector in vectors:
                repr(vector)
                for dtype, one in zip(types, vector.features.values(), strict=True):
                    assert is_typed(one.value, dtype), (dtype, one)
                    assert one.status is not Status.CORRUPT or (policy == "null" and one.value is None)
                    assert one.status is not Status.PRESENT or one.value is not None


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(DAMAGE)
def test_content_at_random(damage):
    key, body = damage
    store = MemoryStore()
    store.write(items())
    set_body(store, key, body)
    serve(store)
    try:
        FeatureClient(store).write("legs", [{"tailnum": "N1", **ROW}])
    except FeatureLayerError:
        assert key == definition_key("legs")


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    st.sampled_from(KEYS),
    st.sampled_from(["f", "_v", "_t", "_e", "_u", "_s", "ttl", "_d", "_w"]),
    st.binary(max_size=12) | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=8),
)
def test_sqlite_columns_at_random(tmp_path, key, column, value):
    store = opened("sqlite", str, tmp_path / uuid.uuid4().hex)
    if isinstance(value, bytes):
        set_raw_text(store, key, column, value)
    elif not (isinstance(value, str) and "\ud800" <= max(value, default="") <= "\udfff"):
        set_attribute(store, key, column, {"S": value})
    serve(store)
    store.close()


@pytest.fixture(scope="module")
def table(moto_endpoint, tmp_path_factory):
    store = opened("dynamodb", lambda: moto_endpoint, tmp_path_factory.mktemp("moto"))
    yield store
    store.close()


NUMBERS = st.integers(-(10**37), 10**37).map(str) | st.sampled_from(["0.5", "-1.25", "9223372036854775807", "1E+30"])
WIRE = st.one_of(
    st.none(), st.text(max_size=8).map(lambda text: {"S": text}), NUMBERS.map(lambda number: {"N": number}),
    st.binary(min_size=1, max_size=8).map(lambda raw: {"B": raw}), st.booleans().map(lambda value: {"BOOL": value}),
    st.just({"NULL": True}), st.just({"L": [{"S": "x"}]}), st.just({"M": {"N": {"N": "1"}}}), st.just({"SS": ["a"]}),
)  # fmt: skip


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.sampled_from(KEYS), st.sampled_from(["f", "_v", "_t", "_e", "_u", "_s", "ttl", "_d", "_w"]), WIRE)
def test_dynamodb_attributes_at_random(table, key, name, value):
    try:
        set_attribute(table, key, name, value)
        serve(table)
    finally:
        restore(table, key)


@given(st.sampled_from(list(TYPES)), JSON)
def test_a_row_is_read_whole_or_refused_with_the_feature(name, value):
    fragments = [bytes(raw).decode() for raw in msgspec.json.decode(ORIGINAL[BAD].f, type=list[msgspec.Raw])]
    fragments[list(TYPES).index(name)] = json.dumps(value)
    try:
        row = SCHEMA.codec().row(f"[{','.join(fragments)}]", "pk", "sk")
    except CorruptItem as error:
        named = error.feature, error.pk, error.sk
    else:
        assert all(map(is_typed, row, TYPES.values()))
        return
    assert named == (name, "pk", "sk")
