"""A column's checksum depends on its values alone: not on batches, offsets, or what lies under a NULL."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.warehouse.digest import ColumnDigest, TableDigest, file_checksums
from tests.profiles import examples

VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int8(): st.integers(-128, 127),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(max_size=5),
    pa.binary(): st.binary(max_size=5),
    pa.date32(): st.dates(),
    pa.time64("us"): st.times(),
    pa.timestamp("us"): st.datetimes(),
    pa.timestamp("us", "UTC"): st.datetimes(),
    pa.decimal128(20, 3): st.decimals(-(10**9), 10**9, places=3),
    pa.list_(pa.int64()): st.lists(st.none() | st.integers(-5, 5), max_size=3),
    pa.list_(pa.list_(pa.string())): st.lists(st.lists(st.text(max_size=2), max_size=2), max_size=2),
    pa.struct({"a": pa.int64(), "b": pa.string()}): st.fixed_dictionaries(
        {"a": st.integers(0, 3), "b": st.text(max_size=2)}
    ),
}
KINDS = [pytest.param(kind, id=str(kind)) for kind in VALUES]


def digest(*arrays: pa.Array) -> str:
    total = ColumnDigest()
    for array in arrays:
        total.update(array)
    return total.hexdigest()


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=examples(15))
def test_batches_and_offsets_do_not_matter(kind: pa.DataType, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | VALUES[kind], max_size=30))
    whole = pa.array(values, kind)
    cuts = sorted({0, len(values), *data.draw(st.lists(st.integers(0, len(values)), max_size=4))})
    pieces = [whole.slice(start, end - start) for start, end in pairwise(cuts)] or [whole]
    shifted = pa.concat_arrays([pa.array([None], kind), whole]).slice(1)
    assert digest(whole) == digest(*pieces) == digest(shifted)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=examples(15))
def test_other_values_have_another_checksum(kind: pa.DataType, data: st.DataObject) -> None:
    values = st.lists(st.none() | VALUES[kind], max_size=4)
    one, other = data.draw(values), data.draw(values)
    same = pa.array(one, kind).equals(pa.array(other, kind)) and repr(one) == repr(other)
    assert (digest(pa.array(one, kind)) == digest(pa.array(other, kind))) == same


def test_what_lies_under_a_null_does_not_count() -> None:
    valid = pa.py_buffer(b"\x01")
    arrays = [pa.Array.from_buffers(pa.int64(), 2, [valid, pa.array([7, under]).buffers()[1]]) for under in (0, 99)]
    assert digest(arrays[0]) == digest(arrays[1]) != digest(pa.array([7, 0]))


def test_encodings_do_not_count() -> None:
    plain = pa.array(["a", None, "b", "a"])
    same = [plain.dictionary_encode(), plain.cast(pa.large_string()), plain.cast(pa.string_view())]
    assert {digest(array) for array in (plain, *same)} == {digest(plain)}


def test_a_parquet_file_has_the_checksums_of_the_stream(tmp_path: Any) -> None:
    table = pa.table(
        {
            "i": pa.array([1, None, 3], pa.int16()),
            "d": pa.array([Decimal("1.5"), None, Decimal("-2.25")], pa.decimal128(30, 4)),
            "t": [datetime(2024, 1, 1), None, datetime(2024, 6, 1)],
            "day": [date(2024, 1, 1), None, date(1969, 1, 1)],
            "clock": [time(1), None, time(2)],
            "s": ["a", "", None],
            "l": [[1, None], None, []],
            "b": [True, None, False],
            "r": [{"x": 1}, None, {"x": None}],
            "r.x": [7, 8, 9],
            "": ["", None, "a"],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    rows, checksums = file_checksums(tmp_path / "t.parquet")
    assert rows == 3
    found = [dict(zip(table.column_names, checksums, strict=True))]
    for batches in (table.to_batches(max_chunksize=1), pq.ParquetFile(tmp_path / "t.parquet").iter_batches(2)):
        total = TableDigest(table.column_names)
        for batch in batches:
            total.update(batch)
        found.append(total.finish())
    assert found[0] == found[1] == found[2]
    assert len(set(found[0].values())) == len(table.column_names)
