"""`FeatureVector.to_json` loses nothing: what the service's types read back is what was served, bit for bit."""

import json
import math
import struct
from datetime import UTC, date, datetime
from decimal import Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurelayer.errors import CodecError
from featurelayer.online import FeatureClient
from featurelayer.online.codec import parse_dtype
from featurelayer.online.portable_json import read_json, write_json
from featurelayer.online.rows import RowCodec
from tests.corruption import DEFINITION, NOW, ROW, SERVICE, TYPES, opened


def ints(bits: int, *, signed: bool):
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high) | st.sampled_from([low, high, min(high, 2**53), min(high, 2**53 - 1)])


WIDE = Context(prec=50)
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = {
    "bool": st.booleans(), "float32": st.floats(width=32), "float64": st.floats(), "text": TEXT, "json": TEXT,
    **{f"int{bits}": ints(bits, signed=True) for bits in (8, 16, 32, 64, 128)},
    **{f"uint{bits}": ints(bits, signed=False) for bits in (8, 16, 32, 64)},
    "decimal(38,10)": st.integers(-(10**38) + 1, 10**38 - 1).map(lambda whole: Decimal(whole).scaleb(-10, WIDE)),
    "decimal(5,0)": st.integers(-99_999, 99_999).map(Decimal),
    "uuid": st.uuids().map(str), "bytes": st.binary(max_size=8), "date": st.dates(), "timestamp": st.datetimes(),
    "timestamptz": st.datetimes(timezones=st.just(UTC)),
}  # fmt: skip


def same(one, other) -> bool:
    if isinstance(one, float):
        return type(other) is float and (struct.pack("<d", one) == struct.pack("<d", other) or one != one != other)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Decimal):
        return type(other) is Decimal and one.as_tuple() == other.as_tuple()
    return type(one) is type(other) and one == other


@st.composite
def rows(draw):
    names = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=6))
    types, row = {}, []
    for position, name in enumerate(names):
        shape = draw(st.sampled_from(["scalar", "array", "nested"]))
        value = st.none() | VALUES[name]
        if shape != "scalar":
            value = st.none() | st.lists(value, max_size=3)
        if shape == "nested":
            value = st.none() | st.lists(value, max_size=2)
        dtype = {"scalar": name, "array": f"array<{name}>", "nested": f"array<array<{name}>>"}[shape]
        types[f"c{position}"] = parse_dtype(dtype)
        row.append(draw(value))
    return types, row


def strict(text: str):
    """Parse as JSON's own grammar has it, numbers as JavaScript would."""

    def refuse(name: str):
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse, parse_int=lambda digits: int(float(digits)))


@given(rows())
def test_what_is_read_back_is_what_was_written(drawn):
    types, given_row = drawn
    codec = RowCodec(types.items())
    row = codec.decode(codec.encode(given_row))  # as it is served
    text = write_json(types, row)
    assert all(map(same, row, read_json(types, text).values()))
    # A reader whose numbers are doubles loses nothing, either.
    assert all(map(same, row, read_json(types, json.dumps(strict(text))).values()))


def test_a_vector_and_its_service():
    with FeatureClient(opened("memory", str, None)) as client:
        vectors = client.lookup_many(SERVICE.name, [{"tailnum": "N1"}, {"tailnum": None}], now=NOW)
        for vector in vectors:
            assert client.service(SERVICE.name).read_json(vector.to_json()) == vector.to_dict()
        text = f"[{','.join(vector.to_json() for vector in vectors)}]"
    assert list(json.loads(text)[0]) == list(DEFINITION.columns)
    assert json.loads(text)[0] == {
        "legs__delay": 1.5, "legs__legs": 2, "legs__tiny": 3, "legs__big": "18446744073709551615", "legs__name": "Ann",
        "legs__paid": "8.25", "legs__seen": "2020-01-02T00:00:00", "legs__sent": "2020-01-02T00:00:00Z",
        "legs__day": "2020-01-02", "legs__blob": "AGE=", "legs__ok": True, "legs__code": ROW["code"],
        "legs__note": "{}", "legs__ids": [1, None], "legs__scores": [0.5, "Infinity"],
        "legs__times": ["2020-01-02T00:00:00Z"], "seats__seats": 5,
    }  # fmt: skip


BAD = {
    "bool": [1, "true"], "int64": ["x", 1.5, True, "9223372036854775808", [], "1e3"], "int8": [128],
    "float64": ["x", True],
    "decimal(5,2)": [1.5, "x", "NaN", "1.234", "1000"], "text": [5], "uuid": ["x"], "bytes": ["%", 5],
    "date": ["2020-13-01", 5], "timestamptz": ["x", 5], "array<int8>": [5, ["x"], [300]],
}  # fmt: skip


@pytest.mark.parametrize(("dtype", "value"), [(dtype, value) for dtype, values in BAD.items() for value in values])
def test_json_of_another_type_names_the_column(dtype, value):
    with pytest.raises(CodecError, match=r"^c"):
        read_json({"c": parse_dtype(dtype)}, json.dumps({"c": value}))


@pytest.mark.parametrize(
    "text", ["", "[]", "5", "{}", '{"c":1,"d":2}', "[" * 30_000, '{"c":' * 30_000, b"\xff", "\ud800"]
)
def test_json_of_another_shape(text):
    with pytest.raises(CodecError):
        read_json({"c": parse_dtype("int64")}, text)


def test_every_type_that_a_store_can_hold_has_a_strategy():
    kinds = {parse_dtype(name).kind for name in VALUES}
    assert {parse_dtype(name).kind for name in TYPES.values()} - kinds == {"array"}
    assert math.isnan(read_json({"c": parse_dtype("float64")}, '{"c":"NaN"}')["c"])
    assert read_json({"c": parse_dtype("date")}, '{"c":null}') == {"c": None}
    assert read_json({"c": parse_dtype("date")}, '{"c":"2020-01-02"}') == {"c": date(2020, 1, 2)}
    assert read_json({"c": parse_dtype("timestamp")}, '{"c":"0001-01-01T00:00:00"}') == {"c": datetime(1, 1, 1)}
