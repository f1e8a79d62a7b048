"""Rows differ exactly where the checksum of that row does."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.warehouse.compare import differing, side_by_side
from tests.profiles import examples
from tests.properties.test_digest import VALUES, digest

KINDS = [
    pytest.param(kind, id=str(kind)) for kind in (*VALUES, pa.list_(pa.int64(), 2), pa.map_(pa.string(), pa.int64()))
]
MORE: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.list_(pa.int64(), 2): st.lists(st.integers(0, 1) | st.none(), min_size=2, max_size=2),
    pa.map_(pa.string(), pa.int64()): st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 1)), max_size=2),
    pa.float64(): st.sampled_from([0.0, -0.0, 1.5, float("nan"), float("inf")]),
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=examples(25))
def test_rows_differ_where_their_checksums_do(kind: pa.DataType, data: st.DataObject) -> None:
    value = st.none() | MORE.get(kind, VALUES.get(kind, st.nothing()))
    pool = data.draw(st.lists(value, min_size=1, max_size=3))  # few values, so that many rows are equal
    rows = data.draw(st.lists(st.tuples(st.sampled_from(pool), st.sampled_from(pool)), max_size=12))
    one, other = (
        (pa.array([None, *side], kind).slice(1) for side in zip(*rows, strict=True))
        if rows
        else (pa.array([], kind),) * 2
    )
    expected = [digest(one.slice(row, 1)) != digest(other.slice(row, 1)) for row in range(len(rows))]
    assert differing(one, other).to_pylist() == expected


def test_nan_is_nan_and_zero_has_a_sign() -> None:
    nan = float("nan")
    one, other = pa.array([nan, 0.0, None, 1.0]), pa.array([nan, -0.0, 0.0, 1.0])
    assert differing(one, other).to_pylist() == [False, True, True, False]
    inside = pa.array([[nan], [0.0], None, []]), pa.array([[nan], [-0.0], [], []])
    assert differing(*inside).to_pylist() == [False, True, True, False]
    odd = pa.array([struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]])
    assert differing(odd, pa.array([nan])).to_pylist() == [digest(odd) != digest(pa.array([nan]))]


def test_encodings_do_not_count_and_types_do() -> None:
    text = pa.array(["a", None, "b"])
    for same in (text.cast(pa.large_string()), text.dictionary_encode(), text.cast(pa.string_view())):
        assert differing(text, same).to_pylist() == [False] * 3
    for other in (pa.array([1, None, 2]), pa.array([["a"], None, []]), pa.array([{"a": 1}, None, None])):
        assert differing(text, other).to_pylist() == [True] * 3
    assert differing(pa.array([1], pa.int32()), pa.array([1], pa.int64())).to_pylist() == [True]
    assert differing(pa.array([{"a": 1}]), pa.array([{"b": 1}])).to_pylist() == [True]
    assert differing(pa.nulls(1), pa.nulls(1)).to_pylist() == [False]


@given(data=st.data())
@settings(max_examples=examples(30))
def test_streams_are_read_side_by_side(data: st.DataObject) -> None:
    rows = data.draw(st.integers(0, 20))
    table = pa.table({"n": list(range(rows))})

    def pieces() -> list[pa.RecordBatch]:
        cuts = sorted({0, rows, *data.draw(st.lists(st.integers(0, rows), max_size=4))})
        found = [batch for start, end in pairwise(cuts) for batch in table.slice(start, end - start).to_batches()]
        return [*found, pa.record_batch({"n": pa.array([], pa.int64())})]

    pairs = list(side_by_side(pieces(), pieces()))
    assert all(one.equals(other) for one, other in pairs)
    assert [value for one, _ in pairs for value in one.column(0).to_pylist()] == list(range(rows))
