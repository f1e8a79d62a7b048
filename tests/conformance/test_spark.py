"""Every named case of the kit, and random worlds, on Spark in this process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.testing import ZONES, Case, applies, case_named, cases, check
from featurelayer.testing.spark import LACKS, SparkEngine
from featurelayer.testing.strategies import worlds
from tests.profiles import examples

CASES = cases()
MODES = ("known_at", "event_time", "as_served")
# As one query: what only that form says otherwise, and a little of everything else.
IN_ONE_QUERY = ("tie with created time", "static view", "roles", "duplicate labels", "3000 labels", "TTL edge")


@pytest.fixture(scope="module")
def engine(spark_target: dict[str, Any]) -> Iterator[SparkEngine]:
    found = SparkEngine(spark_target)
    yield found
    found.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_case_in_one_of_the_zones_and_row_orders(engine: SparkEngine, case: Case) -> None:
    if not applies(engine, case):
        pytest.skip(f"Spark has no {', '.join(sorted(LACKS))}")
    turn = CASES.index(case) % len(ZONES)
    order = (case, case.reordered(), case.reordered(seed=1))[turn]
    assert check(engine, replace(order, zone=ZONES[turn])) == []


@pytest.mark.parametrize("mode", MODES)
@given(data=st.data())
@settings(max_examples=examples(5))
def test_random_worlds_equal_the_oracle(engine: SparkEngine, mode: str, data: st.DataObject) -> None:
    case = data.draw(worlds(mode=mode))
    if applies(engine, case):
        assert check(engine, case) == []


@pytest.mark.parametrize("name", IN_ONE_QUERY)
def test_a_case_as_one_query(spark_target: dict[str, Any], name: str) -> None:
    engine = SparkEngine(spark_target, "statement")
    try:
        assert check(engine, case_named(name)) == []
    finally:
        engine.close()


def test_what_users_run_is_compiled_code(engine: SparkEngine) -> None:
    """The cases run interpreted, which is faster for them; some run as Spark does by default."""
    conf = engine.warehouse.session.conf
    compiled = {
        "spark.sql.codegen.wholeStage": "true",
        "spark.sql.codegen.factoryMode": "FALLBACK",
        "spark.sql.adaptive.enabled": "true",
        "spark.sql.shuffle.partitions": "3",
    }
    before = {name: conf.get(name) for name in compiled}
    try:
        for name, value in compiled.items():
            conf.set(name, value)
        for name in ("tie with created time", "late arrival between", "3000 labels", "structs", "tie by struct"):
            assert check(engine, case_named(name)) == []
    finally:
        for name, value in before.items():
            conf.set(name, value)
