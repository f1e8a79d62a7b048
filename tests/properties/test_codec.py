"""Every value of every type comes back exactly, keys never meet, and newer wins whatever the order of writes."""

import json
import math
import random
import struct
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from featurelayer.model import DType
from featurelayer.online import Item, MemoryStore
from featurelayer.online.codec import from_microseconds, to_microseconds
from featurelayer.online.keys import encode_key_column, join_key, key_prefix
from featurelayer.online.rows import RowCodec
from featurelayer.online.stores.sqlite import SqliteStore
from tests.profiles import examples

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NAIVE = st.datetimes()


def integers(bits: int, *, signed: bool = True) -> st.SearchStrategy[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high) | st.sampled_from([low, high])


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    limit = 10**precision - 1
    digits = st.integers(-limit, limit)
    return digits.map(lambda number: Decimal((number < 0, tuple(map(int, str(abs(number)))), -scale)))


SCALARS: dict[str, st.SearchStrategy] = {
    "bool": st.booleans(),
    **{f"int{bits}": integers(bits) for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": integers(bits, signed=False) for bits in (8, 16, 32, 64)},
    "float64": st.floats(),
    "float32": st.floats(width=32),
    "decimal(38,0)": decimals(38, 0),
    "decimal(18,4)": decimals(18, 4),
    "decimal(38,38)": decimals(38, 38),
    "text": TEXT,
    "json": TEXT,
    "uuid": st.uuids().map(str),
    "bytes": st.binary(),
    "date": st.dates(),
    "timestamp": NAIVE,
    "timestamptz": NAIVE.map(lambda moment: moment.replace(tzinfo=UTC)),
}
ARROW = {"bool": pa.bool_(), "float64": pa.float64(), "float32": pa.float32(), "text": pa.string(),
         "bytes": pa.binary(), "date": pa.date32(), "timestamp": pa.timestamp("us"),
         "timestamptz": pa.timestamp("us", "UTC"),
         "int64": pa.int64(), "uint64": pa.uint64(), "decimal(18,4)": pa.decimal128(18, 4)}  # fmt: skip


def nested(scalar: str):
    """Return dtype and values of a scalar, of an array of it or of arrays of those, each with NULLs."""
    values = st.none() | SCALARS[scalar]
    arrays = st.none() | st.lists(values, max_size=5)
    return st.sampled_from([
        (scalar, values), (f"array<{scalar}>", arrays),
        (f"array<array<{scalar}>>", st.none() | st.lists(arrays, max_size=3)),
    ])  # fmt: skip


def same(one, other) -> bool:
    """Equal in type and to the bit; any NaN is any NaN."""
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or struct.pack("d", one) == struct.pack("d", other)
    if isinstance(one, Decimal):
        return one.as_tuple() == other.as_tuple()
    if isinstance(one, datetime):
        return one == other and one.tzinfo == other.tzinfo
    return one == other


@pytest.mark.parametrize("scalar", SCALARS)
@given(data=st.data())
@settings(max_examples=examples(60), deadline=None)
def test_every_value_comes_back_exactly(scalar, data):
    dtype, values = data.draw(nested(scalar))
    column = data.draw(st.lists(values, min_size=1, max_size=4))
    codec = RowCodec([(f"f{position}", DType.parse(dtype)) for position in range(len(column))])
    text = codec.encode(column)
    json.loads(text, parse_constant=pytest.fail)  # plain JSON that any language reads
    assert same(codec.decode(text), column)


@pytest.mark.parametrize("scalar", ARROW)
@given(data=st.data())
@settings(max_examples=examples(30), deadline=None)
def test_what_arrow_gives_python_is_what_a_lookup_gives(scalar, data):
    if scalar == "timestamptz":
        # Arrow converts through local tables of time zones at the very ends of time.
        values = NAIVE.filter(lambda moment: 1 < moment.year < 9999).map(lambda moment: moment.replace(tzinfo=UTC))
    else:
        values = SCALARS[scalar]
    column = pa.array(data.draw(st.lists(st.none() | values, min_size=1, max_size=4)), ARROW[scalar]).to_pylist()
    codec = RowCodec([(f"f{position}", DType.parse(scalar)) for position in range(len(column))])
    decoded = codec.decode(codec.encode(column))
    assert decoded == column or any(isinstance(value, float) and math.isnan(value) for value in column)
    assert [value.utcoffset() for value in decoded if isinstance(value, datetime)] == [
        value.utcoffset() for value in column if isinstance(value, datetime)
    ]


KEYS: dict[str, st.SearchStrategy] = {
    "text": TEXT | st.sampled_from(["1", "1.5", "true", "null", "", '"', ",", '","', "\\", "a\\", "]", "[1]"]),
    "int64": integers(64), "uint64": integers(64, signed=False), "bool": st.booleans(), "date": st.dates(),
    "decimal(18,4)": decimals(18, 4), "timestamp": NAIVE, "timestamptz": SCALARS["timestamptz"], "uuid": st.uuids(),
}  # fmt: skip


def text_of(entities, parts) -> str:
    encoded = [encode_key_column(DType.parse(dtype), [value], where="key")[0] for dtype, value in parts]
    return join_key(key_prefix(entities), encoded)


@st.composite
def typed_keys(draw):
    """Two keys of one view: the same entities and types, perhaps different values."""
    dtypes = draw(st.lists(st.sampled_from(sorted(KEYS)), min_size=1, max_size=3))
    entities = draw(st.lists(st.sampled_from(["plane", "airport", "airport_hour"]), min_size=1, max_size=2))
    one = [(dtype, draw(KEYS[dtype])) for dtype in dtypes]
    other = [(dtype, draw(st.just(value) | KEYS[dtype])) for dtype, value in one]
    return entities, one, other


@given(keys=typed_keys())
@settings(max_examples=examples(300), deadline=None)
def test_keys_are_equal_text_exactly_where_they_are_equal(keys):
    entities, one, other = keys
    assert (text_of(entities, one) == text_of(entities, other)) == (one == other)


@given(one=st.lists(st.tuples(st.just("text"), KEYS["text"]), min_size=1, max_size=3),
       other=st.lists(st.tuples(st.just("text"), KEYS["text"]), min_size=1, max_size=3),
       names=st.lists(st.sampled_from(["a", "b", "ab", "a b", "é"]), min_size=2, max_size=3))  # fmt: skip
@settings(max_examples=examples(200), deadline=None)
def test_neither_parts_nor_entities_can_be_shifted_into_each_other(one, other, names):
    assert (text_of(["plane"], one) == text_of(["plane"], other)) == (one == other)
    assert text_of(names, one) != text_of(names[:-1], one)


@given(text=TEXT)
@settings(max_examples=examples(200), deadline=None)
def test_the_text_of_a_key_is_the_canonical_json_that_any_writer_can_make(text):
    canonical = json.dumps([text], ensure_ascii=False, separators=(",", ":"))
    assert text_of(["plane"], [("text", text)]) == f"plane{canonical}"


@given(scaled=st.integers(-(10**9), 10**9), zeros=st.integers(0, 5))
@settings(max_examples=examples(100), deadline=None)
def test_decimals_that_are_equal_are_one_key(scaled, zeros):
    short = Decimal(scaled).scaleb(-2)
    long = short.quantize(Decimal(1).scaleb(-2 - zeros))
    assert text_of(["a"], [("decimal(30,10)", short)]) == text_of(["a"], [("decimal(30,10)", long)])


@given(moment=NAIVE, hours=st.integers(-12, 12))
@settings(max_examples=examples(100), deadline=None)
def test_microseconds_are_exact_and_zones_are_instants(moment, hours):
    assume(1 < moment.year < 9999)
    aware = moment.replace(tzinfo=UTC)
    elsewhere = aware.astimezone(timezone(timedelta(hours=hours)))
    assert to_microseconds(moment) == to_microseconds(aware) == to_microseconds(elsewhere)
    assert from_microseconds(to_microseconds(aware)) == aware


WRITE = st.fixed_dictionaries({
    "key": st.integers(0, 2), "version": st.integers(1, 6), "event_time": st.none() | st.integers(1, 4),
    "value": st.integers(0, 2), "deleted": st.booleans(), "rewind": st.booleans(),
    "rewrite": st.booleans(), "streamed": st.booleans(),
})  # fmt: skip


def item_of(write) -> Item:
    common = {"pk": f"a[{write['key']}]", "sk": "v@0", "version": write["version"]}
    if write["deleted"]:
        return Item(**common, deleted=True)
    more = {"event_time": write["event_time"], "streamed": write["streamed"]}
    return Item(**common, f=f"[{write['value']}]", schema="s", **more)


def model(writes) -> dict[str, tuple]:
    """Newer wins, said once more and otherwise: by comparing tuples of what matters."""
    state: dict[str, tuple] = {}
    for write in writes:
        time = None if write["deleted"] else write["event_time"]
        streamed = write["streamed"] and not write["deleted"]
        content = (write["deleted"], None if write["deleted"] else write["value"], time)
        pk = f"a[{write['key']}]"
        if pk in state:
            version, there, was_streamed = state[pk]
            if content == there:
                state[pk] = max(state[pk], (write["version"], content, streamed), key=lambda each: each[0])
                continue
            old, new = (there[2], version), (time, write["version"])
            if write["rewind"] or None in (old[0], new[0]) or not (streamed or was_streamed):
                old, new = old[1:], new[1:]
            if new <= old:
                continue
        state[pk] = (write["version"], content, streamed)
    return state


@given(writes=st.lists(WRITE, max_size=25))
@settings(max_examples=examples(100), deadline=None)
def test_any_order_of_writes_ends_as_the_model_says_in_memory_and_in_sqlite(writes, tmp_path_factory):
    memory = MemoryStore()
    sqlite = SqliteStore(tmp_path_factory.mktemp("online") / "online.db")
    for write in writes:
        how = {name: write[name] for name in ("rewind", "rewrite")}
        assert memory.write([item_of(write)], **how) == sqlite.write([item_of(write)], **how)
    sqlite.write([])
    keys = [(f"a[{key}]", "v@0") for key in range(3)]
    found = memory.read(keys)
    assert found == sqlite.read(keys)
    assert {
        item.pk: (item.version, item.deleted, item.f, item.event_time, item.streamed) for item in found.values()
    } == {
        pk: (version, deleted, "" if deleted else f"[{value}]", time, streamed)
        for pk, (version, (deleted, value, time), streamed) in model(writes).items()
    }
    sqlite.close()


A, B = (
    {
        "key": 0, "event_time": 1, "deleted": False, "rewind": False, "rewrite": False, "streamed": False,
        "value": value,
    }
    for value in (1, 2)
)  # fmt: skip


@example(writes=[A | {"version": 1}, A | {"version": 3}, B | {"version": 2}], seed=random.Random(1))
@given(writes=st.lists(WRITE.filter(lambda write: not write["rewind"] and not write["deleted"]), max_size=12),
       seed=st.randoms())  # fmt: skip
@pytest.mark.parametrize("streamed", [False, True])
@settings(max_examples=examples(50), deadline=None)
def test_writes_of_one_kind_end_alike_in_every_order(streamed, writes, seed):
    """They may interleave as they like. Of all rows of a key the one of the newest run is left, or, of what was
    streamed, that of the greatest (event time, version)."""

    def rank(write) -> tuple:
        return (write["event_time"] or 0, write["version"]) if streamed else (write["version"],)

    rows = {(write["key"], *rank(write)): write for write in writes}
    kind = {"streamed": streamed}
    ranked = [(rank(each), item_of(each | kind | {"event_time": each["event_time"] or 0})) for each in rows.values()]
    shuffled = list(ranked)
    seed.shuffle(shuffled)
    one, other = MemoryStore(), MemoryStore()
    for _, item in ranked:
        one.write([item])
    for _, item in shuffled:
        other.write([item])
    keys = [(f"a[{key}]", "v@0") for key in range(3)]
    contents = [{key: (item.event_time, item.f) for key, item in store.read(keys).items()} for store in (one, other)]
    newest = {}
    for _, item in sorted(ranked, key=lambda each: each[0]):
        newest[item.key] = (item.event_time, item.f)
    assert contents[0] == contents[1] == newest
