"""What the cases of the conformance kit do not say: choices of speed and settings of a session change no result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pyarrow as pa
import pytest

from featurelayer.testing import DuckDBEngine, case_named, check, make_service, make_table, make_view
from featurelayer.testing.duckdb import FORMS

NOON = datetime(2024, 3, 10, 12)
HOUR = timedelta(hours=1)


@pytest.fixture(params=FORMS)
def engine(request: pytest.FixtureRequest) -> Iterator[DuckDBEngine]:
    found = DuckDBEngine(request.param)
    yield found
    found.close()


@pytest.mark.parametrize("name", ["NULL created time", "all created times NULL", "tie by NaN", "tie by empty text"])
def test_ties_are_ordered_the_same_in_any_session(engine: DuckDBEngine, name: str) -> None:
    engine.connection.execute("SET default_null_order = 'nulls_first'")
    case = case_named(name)
    for order in (case, case.reordered()):
        assert check(engine, order) == []


def test_the_cut_to_the_labels_keys_changes_nothing(engine: DuckDBEngine) -> None:
    view = make_view("v", {"k": "text"}, {"e": "timestamp", "x": "int64"}, ["x"], event_time="e")
    engine.load(view, make_table(view.columns, [{"k": key, "e": NOON, "x": n} for n, key in enumerate("abcdef")]))
    plan = engine.plan(pa.table({"k": ["b", "e"], "t": [NOON, NOON]}), make_service((view, None, None)), {"v": view})
    wide = replace(plan, joins=tuple(replace(join, narrow=False) for join in plan.joins))
    assert [row["v__x"] for row in engine.run(plan)] == [1, 4]
    assert engine.run(plan) == engine.run(wide)


def test_views_of_the_same_rows_keys_and_times_are_matched_once() -> None:
    """That they keep their own rules is a case of the kit."""
    case = case_named("views that share a relation")
    engine = DuckDBEngine("native")
    for view in case.views:
        engine.load(view, case.rows[view.id])
    plan = engine.plan(case.labels, case.service, {view.id: view for view in case.views})
    temporary = engine.compile(plan).temporary
    engine.close()
    assert [name for name in temporary if name.endswith("__match")] == [
        "one_x__match",
        "short__match",
        "waiting__match",
    ]
