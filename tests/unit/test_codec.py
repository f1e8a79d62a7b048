"""What the codec refuses, and the exact text of what it writes: other languages read it too."""

import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest

from featurelayer.errors import CodecError
from featurelayer.model import DType
from featurelayer.online.codec import encode_column, encode_default, encode_microseconds
from featurelayer.online.keys import encode_key_column, join_key, key_prefix, parse_key
from featurelayer.online.rows import RowCodec, decode_value

NAN, INFINITY = float("nan"), float("inf")
LATER = timezone(timedelta(hours=2))


def encoded(dtype: str, value) -> str:
    return RowCodec([("f", DType.parse(dtype))]).encode([value])


@pytest.mark.parametrize(("dtype", "value", "text"), [
    ("bool", True, "[true]"),
    ("int64", -(2**63), "[-9223372036854775808]"),
    ("uint64", 2**64 - 1, "[18446744073709551615]"),
    ("int32", np.int64(7), "[7]"),
    ("int64", Decimal("12"), "[12]"),
    ("float64", -0.0, "[-0.0]"),
    ("float64", 0.1, "[0.1]"),
    ("float64", 3, "[3.0]"),
    ("float64", NAN, '["NaN"]'),
    ("float64", -INFINITY, '["-Infinity"]'),
    ("float32", 0.1, "[0.10000000149011612]"),
    ("decimal(18,2)", Decimal("1.5"), '["1.50"]'),
    ("decimal(38,0)", 10**38 - 1, '["99999999999999999999999999999999999999"]'),
    ("decimal(4,4)", Decimal("-0.0001"), '["-0.0001"]'),
    ("text", "é\u2028😀\0", '["é\u2028😀\\u0000"]'),
    ("uuid", uuid.UUID(int=1), '["00000000-0000-0000-0000-000000000001"]'),
    ("uuid", "00000000-0000-0000-0000-00000000000A", '["00000000-0000-0000-0000-00000000000a"]'),
    ("bytes", b"\x00\xff", '["AP8="]'),
    ("date", date(1, 1, 1), '["0001-01-01"]'),
    ("timestamp", datetime(1970, 1, 1, 0, 0, 1, 1), "[1000001]"),
    ("timestamptz", datetime(1970, 1, 1, 2, tzinfo=LATER), "[0]"),
    ("array<float64>", [1.0, None, NAN], '[[1.0,null,"NaN"]]'),
    ("array<array<int64>>", [[1], None, []], "[[[1],null,[]]]"),
    ("array<float32>", np.array([0.5, 0.25], "float32"), "[[0.5,0.25]]"),
    ("int64", None, "[null]"),
])  # fmt: skip
def test_the_text_of_a_value(dtype, value, text):
    assert encoded(dtype, value) == text


@pytest.mark.parametrize(("dtype", "value"), [
    ("bool", 1), ("int8", 128), ("uint64", -1), ("int64", 2**63), ("int64", 1.0), ("int64", "1"), ("int64", True),
    ("int64", Decimal("1.5")), ("float64", "1.0"), ("float64", True), ("float64", 2**53 + 1), ("float32", 1e300),
    ("decimal(4,2)", Decimal("100")), ("decimal(4,2)", Decimal("1.005")), ("decimal(4,2)", 1.5),
    ("decimal(4,2)", Decimal("NaN")), ("text", 1), ("text", b"x"), ("bytes", "x"), ("uuid", "no"),
    ("date", "2026-01-01"), ("date", datetime(2026, 1, 1, tzinfo=UTC)), ("timestamp", date(2026, 1, 1)),
    ("timestamptz", 5), ("array<int64>", 1), ("array<text>", "abc"), ("array<int64>", [1, "2"]),
    ("array<array<bool>>", [[True], [0]]),
])  # fmt: skip
def test_a_value_of_another_type_is_an_error_that_names_the_feature(dtype, value):
    with pytest.raises(CodecError, match=r"legs\.f.*does not fit the declared type"):
        RowCodec([("f", DType.parse(dtype))]).encode([value], where="legs")


def test_half_a_surrogate_pair_is_named():
    codec = RowCodec([("ok", DType.parse("text")), ("bad", DType.parse("text"))])
    with pytest.raises(CodecError, match=r"^legs\.bad: .*surrogate"):
        codec.encode(["fine", "\ud800"], where="legs")


@pytest.mark.parametrize("dtype", ["struct<a:int64>", "map<key:text,value:text>", "interval", "time", "unknown"])
def test_types_that_a_store_cannot_hold_are_refused_with_the_way_out(dtype):
    with pytest.raises(CodecError, match="cast it in the model"):
        encoded(dtype, None)


def test_timestamps_that_python_could_not_read_back_are_refused():
    assert encode_microseconds([0, None], where="f") == [0, None]
    for value in (2**63 - 1, -(2**63)):
        with pytest.raises(CodecError, match="year 1"):
            encode_microseconds([None, value], where="f")


def test_a_float_written_as_a_whole_number_is_still_a_float():
    (value,) = RowCodec([("f", DType.parse("float64"))]).decode("[3]")
    assert (value, type(value)) == (3.0, float)


def test_long_columns_are_checked_as_a_whole():
    assert encode_column(DType.parse("float64"), [1e308, 1e308, None], where="f") == [1e308, 1e308, None]
    infinite = encode_column(DType.parse("float64"), [1.0, INFINITY, -INFINITY], where="f")
    assert infinite == [1.0, "Infinity", "-Infinity"]
    with pytest.raises(CodecError, match="300"):
        encode_column(DType.parse("uint8"), [1, 300, 2], where="f")


@pytest.mark.parametrize(("dtype", "yaml", "value"), [
    ("float64", 0, 0.0), ("float64", "NaN", NAN), ("decimal(10,2)", 0.1, Decimal("0.10")), ("text", "none", "none"),
    ("decimal(10,2)", "1.5", Decimal("1.50")), ("date", "2026-01-01", date(2026, 1, 1)),
    ("timestamptz", "2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
    ("timestamp", date(2026, 1, 1), datetime(2026, 1, 1)),
    ("array<float32>", [0, 0.5], [0.0, 0.5]), ("bytes", "x", b"x"), ("int64", None, None),
])  # fmt: skip
def test_defaults_may_be_written_as_yaml_writes_them(dtype, yaml, value):
    decoded = decode_value(DType.parse(dtype), encode_default(DType.parse(dtype), yaml, where="legs.f"))
    assert decoded == value or (decoded != decoded and value != value)
    assert type(decoded) is type(value)


@pytest.mark.parametrize(("dtype", "yaml"), [("int64", "x"), ("date", "soon"), ("decimal(4,2)", "x"), ("bool", "yes")])
def test_a_default_of_another_type_is_named(dtype, yaml):
    with pytest.raises(CodecError, match=r"legs\.f"):
        encode_default(DType.parse(dtype), yaml, where="legs.f")


def key(dtype: str, value) -> str:
    return join_key("e", encode_key_column(DType.parse(dtype), [value], where="key 'k'"))


@pytest.mark.parametrize(("dtype", "value", "text"), [
    ("text", "N14228", 'e["N14228"]'), ("int32", 7, "e[7]"), ("uint64", 2**64 - 1, "e[18446744073709551615]"),
    ("bool", False, "e[false]"), ("decimal(10,2)", Decimal("1.50"), 'e["1.5"]'), ("decimal(10,2)", 100, 'e["100"]'),
    ("decimal(10,2)", Decimal("-0.00"), 'e["0"]'), ("decimal(10,0)", Decimal("1E+3"), 'e["1000"]'),
    ("date", date(2026, 1, 31), 'e["2026-01-31"]'), ("timestamptz", datetime(1970, 1, 1, 2, tzinfo=LATER), "e[0]"),
    ("uuid", "00000000-0000-0000-0000-00000000000A", 'e["00000000-0000-0000-0000-00000000000a"]'),
])  # fmt: skip
def test_the_text_of_a_key(dtype, value, text):
    assert key(dtype, value) == text


def test_a_key_of_several_parts_and_entities():
    assert join_key(key_prefix(["airport_hour"]), ["EWR", 7]) == 'airport_hour["EWR",7]'
    assert join_key(key_prefix(["plane", "carrier"]), ["N1", "UA"]) == 'plane,carrier["N1","UA"]'


@pytest.mark.parametrize(("dtype", "value"), [
    ("int64", "7"), ("int64", 7.0), ("int64", True), ("text", 7), ("date", "x"), ("bool", 1), ("uuid", "x"),
    ("decimal(4,2)", Decimal("NaN")),
])  # fmt: skip
def test_a_key_of_another_type_is_no_silent_cast(dtype, value):
    with pytest.raises(CodecError, match=r"key 'k': .*does not fit the declared type"):
        key(dtype, value)


def test_floats_and_arrays_are_no_keys():
    for dtype in ("float64", "array<int64>"):
        with pytest.raises(CodecError, match="can't be a key"):
            key(dtype, None)


@pytest.mark.parametrize("name", ["", "#schema", "a,b", "a[1]", 'a"b'])
def test_an_entity_whose_name_could_be_mistaken_is_refused(name):
    with pytest.raises(CodecError, match="entity"):
        key_prefix([name])


@pytest.mark.parametrize(("dtype", "text", "value"), [
    ("text", "7", "7"), ("int64", "7", 7), ("bool", "True", True), ("decimal(4,2)", "1.5", Decimal("1.5")),
    ("date", "2026-01-31", date(2026, 1, 31)),
    ("timestamptz", "2026-01-31T00:00:00Z", datetime(2026, 1, 31, tzinfo=UTC)),
])  # fmt: skip
def test_a_typed_key_from_a_command_line(dtype, text, value):
    assert parse_key(DType.parse(dtype), text, where="--key k") == value


@pytest.mark.parametrize("dtype", ["int64", "bool", "decimal(4,2)", "date", "timestamp", "uuid"])
def test_a_key_from_a_command_line_that_is_none(dtype):
    with pytest.raises(CodecError, match="k: 'EWR' is not of the key's type"):
        parse_key(DType.parse(dtype), "EWR", where="--key k")
