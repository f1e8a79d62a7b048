"""Every named case on engines that run in this process: ClickHouse, DataFusion, and other engines' forms on DuckDB.

What an engine does otherwise is written down here case by case, and has to be so still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.errors import UnsupportedByDialect
from featurelayer.sql.plan import Mode
from featurelayer.testing import Case, DuckDBEngine, WarehouseEngine, abilities, case_named, cases, check
from featurelayer.testing.postgres import LACKS as POSTGRES_LACKS
from featurelayer.testing.spark import LACKS as SPARK_LACKS
from featurelayer.testing.strategies import worlds
from featurelayer.training import Provenance, ResolvedRequest, build_training_set
from featurelayer.training.modes import compare_modes
from tests.engines.duckdb_forms import AsofDuckDB, MaterializedQueryDuckDB
from tests.profiles import examples

NO_NULL_ARRAY = "clickhouse has no NULL of it"
NO_STRUCT_TEXT = "Unsupported CAST from Struct"
EXCEPTIONS: dict[str, dict[str, str]] = {
    "clickhouse": {},  # all that it lacks is refused, and follows from the case (`refused_by_clickhouse`)
    "datafusion": {
        # Its lists and records have no JSON; a NULL in a list and the text 'null' are one text.
        "tie by array with NULL": "got ['null'], expected [None]",
        "tie by struct": NO_STRUCT_TEXT,
        "structs": NO_STRUCT_TEXT,
        # It takes `f.x` for a field of a column that is named f, and a table's column for the result's of that name.
        "label columns named like table aliases": "Cannot access field",
        "label columns named like our internals": "which would be ambiguous",
    },
    "materialized": {},
    "asof": {},
    "statement": {},
}


def clickhouse() -> WarehouseEngine:
    pytest.importorskip("chdb", reason="chdb is not installed; .ci/run installs it (pip install chdb, half a gigabyte)")
    from tests.engines.clickhouse import ClickHouseEngine

    return ClickHouseEngine()


def datafusion() -> WarehouseEngine:
    pytest.importorskip("datafusion", reason="datafusion is not installed (pip install datafusion)")
    from tests.engines.datafusion import DataFusionEngine

    return DataFusionEngine()


def materialized() -> WarehouseEngine:
    return DuckDBEngine("portable")


def asof() -> WarehouseEngine:
    return DuckDBEngine(AsofDuckDB())


def statement() -> WarehouseEngine:
    return DuckDBEngine(MaterializedQueryDuckDB())


ENGINES: dict[str, Callable[[], WarehouseEngine]] = {
    found.__name__: found for found in (clickhouse, datafusion, materialized, asof, statement)
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.engine if name == "clickhouse" else ()) for name in ENGINES],
)
def engine(request: pytest.FixtureRequest) -> Iterator[tuple[str, WarehouseEngine]]:
    found = ENGINES[request.param]()
    yield request.param, found
    found.close()


def refused_by_clickhouse(case: Case) -> bool:
    """Whether a view of the case has a feature of a type that has no NULL there."""
    return any(feature.dtype.kind in ("array", "struct") for view in case.views for feature in view.features) and bool(
        abilities(case) & {"arrays", "structs"}
    )


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_the_case(engine: tuple[str, WarehouseEngine], case: Case) -> None:
    name, tried = engine
    found = check(tried, case)
    expected = EXCEPTIONS[name].get(case.name)
    if name == "clickhouse" and refused_by_clickhouse(case):
        expected = NO_NULL_ARRAY
        assert f"refused with {UnsupportedByDialect.__name__}" in found[0]
    if expected is None:
        assert found == []
    else:
        assert expected in "\n".join(found), "this works now: take it off the list"


@pytest.mark.parametrize("mode", ["known_at", "event_time", "as_served"])
@given(data=st.data())
@settings(max_examples=examples(5), deadline=None)
def test_a_random_world(engine: tuple[str, WarehouseEngine], mode: str, data: Any) -> None:
    """In any row order."""
    case = data.draw(worlds(mode=mode).filter(lambda case: not refused_by_clickhouse(case)))
    assert check(engine[1], case.reordered(seed=data.draw(st.integers(0, 3)))) == []


def test_the_exceptions_are_cases() -> None:
    for names in EXCEPTIONS.values():
        for name in names:
            assert case_named(name)


NANOSECONDS = {
    "nanosecond labels", "aware nanosecond labels", "nanosecond events", "label time finer than a microsecond",
    "aware label time finer than a microsecond", "event time finer than a microsecond",
    "available time finer than a microsecond", "valid_to finer than a microsecond",
}  # fmt: skip
LEFT_OUT = {
    "postgres": NANOSECONDS | {"tie by struct", "structs", "arrays of arrays", "text keys with zero characters"},
    "spark": NANOSECONDS | {"unsigned integers", "default of uint64", "unsigned keys beyond a signed type"},
}


def test_engines_are_held_to_the_same_rows_in_all_cases_but_those_of_types_that_they_lack() -> None:
    """Whatever engine runs a case must give the rows that the case has written out, so all that run it are equal."""
    for name, lacks in (("postgres", POSTGRES_LACKS), ("spark", SPARK_LACKS)):
        assert {case.name for case in cases() if abilities(case) & lacks} == LEFT_OUT[name]
    assert all(case.features is not None or case.error is not None for case in cases())


# --- a build, with its report ----------------------------------------------------------------------------------------


def report_of(engine: WarehouseEngine, case: Case) -> dict[str, Any]:
    """What a build by the engine's own dialect counts."""
    for view in case.views:
        engine.load(view, case.rows[view.id])
    request = ResolvedRequest(
        service=case.service,
        views={view.id: engine.relocate(view) for view in case.views},
        labels=engine.warehouse.attach(case.labels),
        labels_name="labels",
        provenance=Provenance(
            project="p", manifest_sha256="0" * 64, dbt_version="1", dbt_invocation_id="i", service_fingerprint=""
        ),
        mode=Mode(case.mode),
        ledger=engine.ledger(case.exports) if case.mode == "as_served" else None,
    )
    built = build_training_set(engine.warehouse, request)
    engine.warehouse.drop(built.script.temporary)
    return {**built.report.to_dict(), "seconds": None}


@pytest.fixture(scope="module")
def two_engines() -> Iterator[tuple[WarehouseEngine, WarehouseEngine]]:
    both = clickhouse(), DuckDBEngine("native")
    yield both
    for each in both:
        each.close()


@pytest.mark.engine
@pytest.mark.parametrize("mode", ["known_at", "as_served"])
@given(data=st.data())
@settings(max_examples=examples(8), deadline=None)
def test_clickhouse_counts_what_duckdb_counts(
    two_engines: tuple[WarehouseEngine, WarehouseEngine], mode: str, data: Any
) -> None:
    """Matched, missing, expired, tied and unusable rows, ages with their quantiles, and the shares of each feature."""
    case = data.draw(worlds(mode=mode).filter(lambda case: not refused_by_clickhouse(case)))
    ours, theirs = (report_of(engine, case) for engine in two_engines)
    assert ours == theirs


# --- the scripts on DuckDB: what they count, compare, and leave behind ------------------------------------------------


@pytest.fixture(params=["native", "materialized", "asof"])
def on_duckdb(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[WarehouseEngine]:
    """An engine whose dialect is also that of builds."""
    found = DuckDBEngine("native") if request.param == "native" else ENGINES[request.param]()
    monkeypatch.setattr("featurelayer.sql.compiler.dialect", lambda _: found.dialect)
    yield found
    found.close()


def temporary(engine: WarehouseEngine) -> list[str]:
    """The temporary tables that there are."""
    names = engine.warehouse.rows("SELECT table_name FROM duckdb_tables() WHERE temporary ORDER BY 1")
    return [name for (name,) in names]


@pytest.mark.parametrize(
    "name", ["roles, as served", "static view, as served", "tie, as served", "tie with created time", "TTL edge"]
)
def test_no_temporary_table_is_left(on_duckdb: WarehouseEngine, name: str) -> None:
    assert check(on_duckdb, case_named(name)) == []
    assert temporary(on_duckdb) == []


def test_modes_are_compared(on_duckdb: WarehouseEngine) -> None:
    """One of four labels sees the row that was being served; by the other two modes all see the same."""
    case = case_named("served from when the export had finished")
    for view in case.views:
        on_duckdb.load(view, case.rows[view.id])
    views = {view.id: view for view in case.views}
    plans = {
        mode: on_duckdb.plan(case.labels, case.service, views, mode=str(mode), exports=case.exports) for mode in Mode
    }
    found = compare_modes(on_duckdb.warehouse, plans)
    assert found.unavailable == ()
    assert {(pair.one, pair.other): dict(pair.shares) for pair in found.pairs} == {
        (Mode.KNOWN_AT, Mode.EVENT_TIME): {"v__x": 0.0},
        (Mode.KNOWN_AT, Mode.AS_SERVED): {"v__x": 0.75},
        (Mode.EVENT_TIME, Mode.AS_SERVED): {"v__x": 0.75},
    }
    assert temporary(on_duckdb) == []


@pytest.mark.parametrize(
    ("name", "counts", "hours"),
    [("TTL and several labels", (3, 1, 0), (0, 1, 1, 1, 1)), ("TTL, as served", (2, 1, 0), (1, 1, 2, 2, 2))],
)
def test_what_has_expired_has_no_age(
    on_duckdb: WarehouseEngine, name: str, counts: tuple[int, ...], hours: tuple[int, ...]
) -> None:
    (view,) = report_of(on_duckdb, case_named(name))["views"]
    assert (view["matched"], view["expired"], view["missing"]) == counts
    assert tuple(view["age"].values()) == tuple(3600 * each for each in hours)
