"""The compiled SQL, in DuckDB's own form and in the portable one, against the oracle on random small worlds.

What a world costs is drawing and compiling it, so each is run in several ways at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurelayer.testing import Case, DuckDBEngine, check, make_service, make_table, oracle
from featurelayer.testing.builders import plain, rows_of
from featurelayer.testing.duckdb import FORMS
from featurelayer.testing.leaks import leaks
from featurelayer.testing.strategies import altered, moments, rows, views, worlds
from tests import profiles

pytestmark = pytest.mark.more
MODES = ("known_at", "event_time", "as_served")


Engines = dict[tuple[str, int], DuckDBEngine]


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    """Every form of the SQL, on two threads and on one."""
    found = {(form, threads): DuckDBEngine(form, threads=threads) for form in FORMS for threads in (1, 2)}
    yield found
    for engine in found.values():
        engine.close()


@pytest.mark.parametrize("mode", MODES)
@given(data=st.data())
@profiles.worlds(40, base=15)
def test_training_set_equals_the_oracle(engines: Engines, mode: str, data: st.DataObject) -> None:
    """In every form; and so it depends on neither the number of threads nor the order of rows."""
    case = data.draw(worlds(mode=mode))
    shuffled = case.reordered(seed=data.draw(st.integers(0, 9)))
    twice = data.draw(st.sampled_from(list(FORMS)))
    for form in FORMS:
        assert check(engines[form, 2], case) == [], form
    assert check(engines[twice, 1], shuffled) == [], twice


@pytest.mark.parametrize("mode", MODES)
@given(data=st.data())
@profiles.worlds(30, base=12)
def test_rows_that_a_label_may_not_see_never_change_it(engines: Engines, mode: str, data: st.DataObject) -> None:
    before = data.draw(worlds(mode=mode, least=1))
    after = data.draw(altered(before))
    for form in FORMS:
        assert leaks(engines[form, 2], before, after) == [], form


@given(data=st.data())
@profiles.worlds(40, base=15)
def test_snapshot_is_the_newest_visible_row_of_every_entity(engines: Engines, data: st.DataObject) -> None:
    view = data.draw(views())
    drawn = data.draw(st.lists(rows(view), max_size=14))
    at = data.draw(moments)
    names = [key.column for key in view.join_keys]
    features = [feature.name for feature in view.features]
    expected = oracle.snapshot(view, drawn, at)
    for engine in snapshot_engines(engines):
        found = snapshot(engine, view, drawn, at)
        assert found.keys() == expected.keys()
        for entity, row in found.items():
            winner = expected[entity]
            assert list(row)[: len(names)] == names
            assert row["__fl_event_time"] == _micros(winner["e"])
            assert row["__fl_valid_to"] == (_micros(winner["until"]) if view.valid_to else None)
            assert plain({name: row[name] for name in features}) == plain({name: winner[name] for name in features})


@given(data=st.data())
@profiles.worlds(40, base=15)
def test_rows_that_a_snapshot_may_not_see_never_change_it(engines: Engines, data: st.DataObject) -> None:
    view = data.draw(views())
    case = Case(
        name="snapshot",
        why="",
        views=(view,),
        rows={view.id: make_table(view.columns, data.draw(st.lists(rows(view), max_size=14)))},
        labels=pa.table({}),
        service=make_service((view, None, None)),
    )
    drawn = [rows_of(each.rows[view.id]) for each in (case, data.draw(altered(case)))]
    at = data.draw(moments)
    for engine in snapshot_engines(engines):
        first, then = (snapshot(engine, view, each, at) for each in drawn)
        for entity in first.keys() | then.keys():
            key = dict(zip((key.column for key in view.join_keys), entity, strict=True))
            old, new = (
                sorted(str(plain(row)) for row in each if oracle.may_see(view, row, key, at, "known_at"))
                for each in drawn
            )
            if old == new:
                assert plain(first.get(entity, {})) == plain(then.get(entity, {}))


def snapshot_engines(engines: Engines) -> list[DuckDBEngine]:
    """The forms that a snapshot has."""
    return [engines["native", 2], engines["portable", 1]]


def snapshot(engine: DuckDBEngine, view: Any, drawn: list[dict[str, Any]], at: datetime) -> dict[tuple[Any, ...], Any]:
    """A view's snapshot by entity."""
    engine.load(view, make_table(view.columns, drawn))
    found = engine.run(engine.snapshot_plan(view, at))
    by_entity = {tuple(row[key.column] for key in view.join_keys): row for row in found}
    assert len(by_entity) == len(found)
    return by_entity


def _micros(moment: Any) -> int | None:
    return None if moment is None else (oracle.naive_utc(moment) - datetime(1970, 1, 1)) // timedelta(microseconds=1)
