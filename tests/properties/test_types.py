"""One type everywhere: training and lookup give one value of the declared type, or both refuse.

A type for the column, a declared type and values are drawn. Either the training set and the export both refuse, and a
value really does not fit; or both give the same values, in the same Python type, and each is the value of the column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.errors import PlanError
from featurelayer.model import DType, Kind
from featurelayer.online.keys import key_prefix
from featurelayer.online.rows import RowCodec
from featurelayer.sql.casts import can_convert
from featurelayer.sql.item_encoding import encode_snapshot
from featurelayer.testing import DuckDBEngine, make_service, make_view
from featurelayer.testing.engines import WarehouseEngine
from featurelayer.testing.postgres import PostgresEngine
from featurelayer.testing.spark import SparkEngine
from featurelayer.warehouse.execute import run_checks, run_step
from tests.profiles import examples
from tests.servers.postgres import Server

AT = datetime(2024, 1, 2)
SMALL = st.sampled_from([0, 1, -1, 2, 7, 127, 128, 255, 256, 32_768, 2**24, 2**24 + 1, 2**31, 2**53, 2**53 + 1])
WIDE = st.sampled_from([2**63 - 1, -(2**63), 2**63 - 1024, 10**18 - 1])
FLOATS = st.sampled_from(
    [0.0, -0.0, 0.1, 0.5, 1.0, 1.25, 1.5, -3.0, 7.0, 1e16, 2.0**53, 2.0**63, -(2.0**63), 3.4e38, 1e300, 1e-50, 5e-324]
)
SPECIAL = st.sampled_from([float("nan"), float("inf"), float("-inf")])
TEXTS = st.sampled_from(["7", "007", "1.50", "true", "false", "yes", "2024-02-29", "2024-02-30", "a", "", "NaN", " 7"])
MIDNIGHTS = st.dates(date(1, 1, 2), date(9999, 12, 30)).map(lambda day: datetime(day.year, day.month, day.day))
TIMES = MIDNIGHTS | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))

STORED: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "bool": (pa.bool_(), st.booleans()),
    "int8": (pa.int8(), st.integers(-128, 127)),
    "int16": (pa.int16(), st.integers(-(2**15), 2**15 - 1)),
    "int32": (pa.int32(), st.integers(-(2**31), 2**31 - 1) | st.integers(-2, 300)),
    "int64": (pa.int64(), SMALL | WIDE),
    "uint8": (pa.uint8(), st.integers(0, 255)),
    "uint32": (pa.uint32(), st.integers(0, 2**32 - 1)),
    "uint64": (pa.uint64(), st.sampled_from([0, 1, 255, 2**53 + 1, 2**63, 2**64 - 1])),
    "float32": (pa.float32(), st.floats(width=32) | st.sampled_from([0.5, 7.0, 1.5])),
    "float64": (pa.float64(), FLOATS | SPECIAL | SMALL.map(float)),
    "decimal(9,2)": (pa.decimal128(9, 2), st.decimals(-9_999_999, 9_999_999, places=2)),
    "decimal(18,4)": (
        pa.decimal128(18, 4),
        st.sampled_from([Decimal(x) for x in ("1.5", "1.505", "7", "99999999999")]),
    ),
    "decimal(38,0)": (pa.decimal128(38, 0), (SMALL | WIDE | st.just(10**38 - 1)).map(Decimal)),
    "text": (pa.string(), TEXTS),
    "bytes": (pa.binary(), st.binary(max_size=3)),
    "date": (pa.date32(), st.dates(date(1, 1, 2), date(9999, 12, 30))),
    "timestamp": (pa.timestamp("us"), TIMES),
    "timestamptz": (pa.timestamp("us", "UTC"), TIMES.map(lambda moment: moment.replace(tzinfo=UTC))),
    "array<float64>": (pa.list_(pa.float64()), st.lists(st.none() | FLOATS, max_size=3)),
    "array<int64>": (pa.list_(pa.int64()), st.lists(st.none() | SMALL, max_size=3)),
}
DECLARED = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint64", "float32", "float64", "decimal(4,2)",
    "decimal(10,2)", "decimal(18,4)", "decimal(38,0)", "text", "bytes", "date", "timestamp", "timestamptz",
    "array<float32>", "array<float64>", "array<int32>",
]  # fmt: skip
NESTED = ("array<float64>", "array<int64>")


@pytest.fixture(scope="module")
def duckdb_engine() -> Iterator[WarehouseEngine]:
    found = DuckDBEngine()
    yield found
    found.close()


@pytest.fixture(scope="module")
def postgres_engine(postgres_server: Server) -> Iterator[WarehouseEngine]:
    found = PostgresEngine(postgres_server.target("types"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def spark_engine(spark_target: dict[str, Any]) -> Iterator[WarehouseEngine]:
    found = SparkEngine(spark_target)
    yield found
    found.close()


@given(data=st.data())
@settings(max_examples=examples(150))
def test_on_duckdb(duckdb_engine: WarehouseEngine, data: st.DataObject) -> None:
    hold(duckdb_engine, data, list(STORED), DECLARED)


@given(data=st.data())
@settings(max_examples=examples(60))
def test_on_postgres(postgres_engine: WarehouseEngine, data: st.DataObject) -> None:
    has = [name for name in STORED if not name.startswith("uint")]
    hold(postgres_engine, data, has, [name for name in DECLARED if not name.startswith("uint") and name != "int8"])


@given(data=st.data())
@settings(max_examples=examples(8))
def test_on_spark(spark_engine: WarehouseEngine, data: st.DataObject) -> None:
    has = [name for name in STORED if not name.startswith("uint")]
    hold(spark_engine, data, has, [name for name in DECLARED if not name.startswith("uint")])


def hold(engine: WarehouseEngine, data: st.DataObject, has: list[str], wanted: list[str]) -> None:
    stored = data.draw(st.sampled_from(has))
    # Half of the time a type that some of its values could be.
    near = [name for name in wanted if can_convert(DType.parse(stored), DType.parse(name))]
    declared = data.draw(st.sampled_from(wanted) | st.sampled_from(near or wanted))
    kind, values = STORED[stored]
    drawn = data.draw(st.lists(st.none() | values, min_size=1, max_size=5))
    rows = pa.table(
        {
            "k": [str(place) for place in range(len(drawn))],
            "e": pa.array([AT - timedelta(days=1)] * len(drawn), pa.timestamp("us")),
            "x": pa.array(drawn, kind),
        }
    )
    view = make_view("v", {"k": "text"}, {"e": "timestamp", "x": declared}, ["x"], event_time="e")
    engine.create(engine.relocate(view).relation_name, rows)
    labels = pa.table({"k": rows["k"], "t": pa.array([AT] * len(drawn), pa.timestamp("us"))})

    training = outcome(
        lambda: [row["v__x"] for row in engine.training_set(labels, make_service((view, None, None)), {"v": view})]
    )
    serving = outcome(lambda: served(engine, view))
    assert words(training) == words(serving)
    if isinstance(training, str):
        assert "'x' is " in training
        assert f"declared {declared}" in training
        return
    for value, original in zip(training, drawn, strict=True):
        assert is_same(value, original), (stored, declared, original, value)


def outcome(run: Callable[[], list[Any]]) -> list[Any] | str:
    try:
        return run()
    except PlanError as error:
        return error.problems[0].what


def served(engine: WarehouseEngine, view: Any) -> list[Any]:
    """The values that a lookup decodes, in the order of the keys."""
    plan = engine.snapshot_plan(view, AT)
    script = engine.compile(plan)
    run_checks(engine.warehouse, script.checks)
    try:
        for step in script.steps:
            run_step(engine.warehouse, step)
        query = encode_snapshot(engine.dialect, plan, engine.relocate(view), key_prefix(view.entities))
        assert query is not None, "the engine writes every type that is drawn"
        found = engine.warehouse.rows(engine.dialect.sql(query))
    finally:
        engine.warehouse.drop(script.temporary)
    codec = RowCodec([("x", view.features[0].dtype)])
    bodies = {row[0]: row[1] for row in found}
    return [codec.decode(bodies[pk])[0] for pk in sorted(bodies)]


def words(found: list[Any] | str) -> Any:
    """Values in words that tell types apart. The zeros at a decimal's end are not its value."""
    if isinstance(found, str):
        return found
    return [_word(value) for value in found]


def _word(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_word, value))}]"
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC)
    if isinstance(value, Decimal):
        return f"Decimal {value:f}"
    return f"{type(value).__name__} {value!r}"


def is_same(value: Any, original: Any) -> bool:
    """Whether a cast has kept what a value says."""
    if value is None or original is None:
        return value is None and original is None
    if isinstance(original, list):
        return len(value) == len(original) and all(map(is_same, value, original))
    if isinstance(original, float) and original != original:
        return value != value
    if isinstance(value, str) or isinstance(original, str):
        return _spelled(value) == _spelled(original)
    if isinstance(original, datetime) and not isinstance(value, datetime):
        return original.time() == datetime.min.time() and value == original.date()
    if isinstance(value, datetime):
        moments = [x if isinstance(x, datetime) else datetime(x.year, x.month, x.day) for x in (value, original)]
        return moments[0].replace(tzinfo=None) == moments[1].replace(tzinfo=None)
    if isinstance(value, float) or isinstance(original, float):
        return float(value) == float(original)
    return bool(value == original)


def _spelled(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_every_kind_is_drawn() -> None:
    """What a store can hold is declared somewhere above, but for UUID and JSON, which Arrow has no type for."""
    kinds = {DType.parse(name).kind for name in DECLARED}
    storable = {kind for kind in Kind if kind is Kind.ARRAY or DType(kind=kind).is_storable}
    assert storable - kinds == {Kind.UUID, Kind.JSON}
