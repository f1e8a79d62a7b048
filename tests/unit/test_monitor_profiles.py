"""Profiles of rows that a test writes down, against numpy, and of everything that a column can hold."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.model import Column, DType, Feature
from featurelayer.monitor.profiler import Bins, FeatureFrame, find_bins, measure_features
from featurelayer.monitor.statistics import ColumnStats, combine_stats
from featurelayer.sql.profile import RowSource, Slot
from featurelayer.warehouse.engines.duckdb.warehouse import DuckDBWarehouse
from tests.profiles import examples

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
EDGES = (-1.0, 0.0, 2.5, 10.0)
LONGEST = 2**63 - 1


@pytest.fixture(scope="module")
def warehouse() -> Iterator[DuckDBWarehouse]:
    with closing(DuckDBWarehouse(duckdb.connect(config={"threads": 1}))) as warehouse:
        yield warehouse


def frame(warehouse: DuckDBWarehouse, values: Sequence[Any], kind: pa.DataType, *, slots: int = 0) -> FeatureFrame:
    """The values as feature `x`, an hour apart from START on; in so many slots of equal length, else in one."""
    hours = [START.replace(tzinfo=None) + HOUR * position for position in range(len(values))]
    rows = pa.table({"x": pa.array(values, kind), "at": pa.array(hours, pa.timestamp("us"))})
    source = warehouse.attach(rows)
    columns = {column.name: column for column in source.columns}
    each = len(values) // slots if slots else 0
    parts = tuple(
        Slot(ranges=((START + HOUR * each * number, START + HOUR * each * (number + 1)),)) for number in range(slots)
    )
    time = columns["at"] if slots else None
    return FeatureFrame(rows=RowSource(source=source.sql, time=time, slots=parts), columns={"x": columns["x"]})


def seen(
    warehouse: DuckDBWarehouse, values: Sequence[Any], kind: pa.DataType, bins: Bins | None = None, **said: Any
) -> ColumnStats:
    found = frame(warehouse, values, kind)
    feature = Feature(name="x", dtype=found.columns["x"].dtype, **said)
    (only,) = measure_features(warehouse, found, {"x": feature}, {} if bins is None else {"x": bins})
    return only["x"]


NUMBERS = st.one_of(st.none(), st.floats(-1e6, 1e6), st.sampled_from([*EDGES, math.nan, math.inf, -math.inf, 1e200]))


@given(values=st.lists(NUMBERS, min_size=1, max_size=40), centre=st.floats(-1e6, 1e6))
@settings(max_examples=examples(60))
def test_numbers_are_those_of_numpy(warehouse: DuckDBWarehouse, values: list[float | None], centre: float) -> None:
    found = seen(warehouse, values, pa.float64(), Bins(edges=EDGES, centre=centre), range=(0, 2.5))
    usable = np.array([v for v in values if v is not None and abs(v) <= 1e150])
    assert (found.rows, found.nulls) == (len(values), values.count(None))
    assert found.unusable == len(values) - values.count(None) - len(usable)
    assert sum(found.counts) == found.numbers == len(usable)
    assert found.out_of_range == int(((usable < 0) | (usable > 2.5)).sum())
    ends = [-math.inf, *EDGES, math.inf]
    assert found.counts == tuple(int(((usable > a) & (usable <= b)).sum()) for a, b in itertools.pairwise(ends))
    if len(usable):
        assert (found.minimum, found.maximum) == (usable.min(), usable.max())
        assert found.mean == pytest.approx(usable.mean(), abs=1e-6)
    else:
        assert (found.minimum, found.maximum, found.mean) == (None, None, None)
    expected = usable.std(ddof=1) if len(usable) > 1 else None
    # Around a centre that is a million away the last digits go; the real one is a median.
    assert found.std == (None if expected is None else pytest.approx(expected, rel=1e-4, abs=1))


@given(values=st.lists(NUMBERS, min_size=6, max_size=36).filter(lambda v: len(v) % 3 == 0))
@settings(max_examples=examples(30))
def test_periods_together_are_as_one(warehouse: DuckDBWarehouse, values: list[float | None]) -> None:
    bins = {"x": Bins(edges=EDGES, centre=1.0)}
    found = frame(warehouse, values, pa.float64(), slots=3)
    parts = [slot["x"] for slot in measure_features(warehouse, found, {}, bins)]
    whole, added = seen(warehouse, values, pa.float64(), bins["x"]), combine_stats(parts)
    for name in ("rows", "values", "numbers", "counts", "minimum", "maximum", "unusable"):
        assert getattr(added, name) == getattr(whole, name), name
    for name in ("mean", "std"):
        one, other = getattr(added, name), getattr(whole, name)
        assert one == (None if other is None else pytest.approx(other, rel=1e-6, abs=1e-3)), name


KINDS = [
    ([1, 2, 2, None], pa.int64(), (3, 1, 1.0, 2.0)),
    ([LONGEST, -LONGEST, None], pa.int64(), (2, 1, -float(LONGEST), float(LONGEST))),
    ([2**64 - 1, 0], pa.uint64(), (2, 0, 0.0, 2.0**64)),
    ([None, None], pa.float64(), (0, 2, None, None)),
    ([None], pa.null(), (0, 1, None, None)),
    ([7.0], pa.float64(), (1, 0, 7.0, 7.0)),
    ([3.5] * 50, pa.float32(), (50, 0, 3.5, 3.5)),
    ([True, False, None, True], pa.bool_(), (3, 1, 0.0, 1.0)),
    ([[1.0, 2.0], [], None], pa.list_(pa.float32()), (2, 1, 0.0, 2.0)),
    ([datetime(2024, 1, 1), datetime(9999, 12, 31), None], pa.timestamp("us"), (2, 1, 1704067200.0, 253402214400.0)),
    (["a", "b", None], pa.string(), (2, 1, None, None)),
    ([{"a": 1}, None], pa.struct([("a", pa.int64())]), (1, 1, None, None)),
    ([b"x", None], pa.binary(), (1, 1, None, None)),
    ([], pa.float64(), (0, 0, None, None)),
    ([math.nan, math.inf, -math.inf], pa.float64(), (3, 0, None, None)),
    ([5e-324, 1e150, -1e150], pa.float64(), (3, 0, -1e150, 1e150)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "kind", "expected"), KINDS, ids=[f"{kind}-{n}" for n, (_, kind, _) in enumerate(KINDS)]
)
def test_every_type_has_a_profile(
    warehouse: DuckDBWarehouse, values: list[Any], kind: pa.DataType, expected: tuple[Any, ...]
) -> None:
    found = frame(warehouse, values, kind)
    bins = find_bins(warehouse, found, 20)
    (only,) = measure_features(warehouse, found, {}, bins)
    part = only["x"]
    assert (part.values, part.nulls, part.minimum, part.maximum) == expected
    assert sum(part.counts) == (part.numbers if part.edges else 0)
    assert part.distinct is None or part.distinct <= part.values
    assert part.mean is None or math.isfinite(part.mean)


def test_text_has_its_most_frequent_values_and_knows_when_there_are_more(warehouse: DuckDBWarehouse) -> None:
    few = seen(warehouse, ["b", "a", "b", None, "'; --"], pa.string())
    assert few.top == (("b", 2), ("'; --", 1), ("a", 1))
    assert few.complete
    many = seen(warehouse, [str(number) for number in range(60)], pa.string())
    assert len(many.top) == 50
    assert not many.complete


def test_defaults_are_counted_and_nulls_are_none(warehouse: DuckDBWarehouse) -> None:
    assert seen(warehouse, [0, 0, 1, None], pa.int64(), default=0, has_default=True).defaults == 2
    assert seen(warehouse, ["", "a"], pa.string(), default="", has_default=True).defaults == 1
    assert seen(warehouse, [0, 1], pa.int64()).defaults is None
    assert seen(warehouse, [[0.0]], pa.list_(pa.float64()), default=[0.0], has_default=True).defaults is None


def test_bins_hold_about_as_many_rows_each_and_repeated_values_are_one(warehouse: DuckDBWarehouse) -> None:
    even = find_bins(warehouse, frame(warehouse, [float(n) for n in range(1000)], pa.float64()), 10)["x"]
    counts = seen(warehouse, [float(n) for n in range(1000)], pa.float64(), even).counts
    assert counts[0] == 1
    assert all(95 <= count <= 105 for count in counts[1:-1])
    assert counts[-1] == 0
    assert find_bins(warehouse, frame(warehouse, [0.0] * 90 + [1.0] * 10, pa.float64()), 10)["x"].edges == (0.0, 1.0)
    assert find_bins(warehouse, frame(warehouse, [None], pa.float64()), 10) == {}


def test_many_rows_are_sampled_the_same_each_time(warehouse: DuckDBWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurelayer.monitor.profiler.SHAPE_ROWS", 500)
    found = frame(warehouse, [float(n) for n in range(5000)], pa.float64())
    found = FeatureFrame(rows=RowSource(source=found.rows.source, chosen_by=("x", "at")), columns=found.columns)
    bins = find_bins(warehouse, found, 10)
    (one,), (other,) = (measure_features(warehouse, found, {}, bins) for _ in range(2))
    assert one == other
    assert one["x"].rows == 5000
    assert 300 < one["x"].shape_rows == sum(one["x"].counts) < 700
    assert one["x"].mean == 2499.5


def test_a_time_is_in_one_slot_and_rows_between_slots_in_none(warehouse: DuckDBWarehouse) -> None:
    found = frame(warehouse, [float(n) for n in range(10)], pa.float64())
    at = Column(name="at", dtype=DType.parse("timestamp"))
    one = Slot(ranges=((START, START + 2 * HOUR), (START + 4 * HOUR, START + 5 * HOUR)))
    other = Slot(ranges=((START + 2 * HOUR, START + 3 * HOUR),))
    none = Slot(ranges=((START - 9 * HOUR, START),))
    rows = RowSource(source=found.rows.source, time=at, slots=(one, other, none))
    parts = measure_features(warehouse, FeatureFrame(rows=rows, columns=found.columns), {}, {})
    assert [(part["x"].rows, part["x"].total) for part in parts] == [(3, 5.0), (1, 2.0), (0, 0.0)]
