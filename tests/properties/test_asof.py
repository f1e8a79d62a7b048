"""The compiled SQL, in DuckDB's own form and in the portable one, against the oracle on random small worlds.

Times are a handful of microseconds around one moment, so that every example is full of ties and edges.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.model import FeatureService, FeatureView
from featurelayer.sql.plan import Plan
from tests import oracle
from tests.engine import Engine, make_service, make_view, table
from tests.profiles import examples

START = datetime(2024, 3, 10, 6, 59, 59, 999_998)
FORMS = ("native", "portable")

offsets = st.integers(0, 6)
moments = offsets.map(lambda micros: START + timedelta(microseconds=micros))
ids = st.sampled_from(["a", "ab", "b", ""])
parts = st.sampled_from([1, 2, 11])


@st.composite
def worlds(draw: st.DrawFn) -> tuple[FeatureView, list[dict[str, Any]]]:
    """A view with random annotations, and its rows."""
    keys = draw(st.sampled_from([{"k": "text"}, {"k": "text", "n": "int64"}]))
    aware = draw(st.booleans())
    clock = "timestamptz" if aware else "timestamp"
    columns = {
        "e": clock,
        "a": draw(st.sampled_from(["timestamp", "timestamptz"])),
        "c": "timestamp",
        "u": "int64",
        "until": clock,
        "x": "float64",
        "y": "text",
        "z": "array<int64>",
    }
    lateness = draw(st.sampled_from(["none", "column", "delay"]))
    view = make_view(
        "v",
        keys,
        columns,
        draw(st.permutations(["x", "y", "z"])),
        defaults=draw(st.sampled_from([{}, {"x": -1.0}, {"y": "none", "z": [7]}])),
        event_time="e",
        available_at="a" if lateness == "column" else None,
        delay=timedelta(microseconds=draw(st.integers(0, 3))) if lateness == "delay" else None,
        created_timestamp=draw(st.sampled_from([None, "c", "a"])),
        tie_breaker=draw(st.sampled_from([(), ("u",)])),
        ttl=draw(st.sampled_from([None, timedelta(microseconds=1), timedelta(microseconds=3)])),
        bound=draw(st.sampled_from(["inclusive", "exclusive"])),
        valid_to=draw(st.sampled_from([None, "until"])),
    )

    def at(dtype: str, *, null: bool = True) -> st.SearchStrategy[Any]:
        times = moments.map(lambda time: time.replace(tzinfo=UTC)) if dtype == "timestamptz" else moments
        return st.none() | times if null else times

    row = st.fixed_dictionaries(
        {
            "k": st.none() | ids,
            **({"n": st.none() | parts} if "n" in keys else {}),
            "e": at(clock),
            "a": at(columns["a"]),
            "c": at("timestamp"),
            "u": st.none() | st.integers(0, 1),
            "until": at(clock),
            "x": st.none() | st.sampled_from([0.0, -0.0, 1.5, float("inf"), float("nan")]),
            "y": st.none() | st.sampled_from(["", "a", "é", "z", "\U0001f600"]),
            "z": st.none() | st.lists(st.integers(0, 2), max_size=2),
        }
    )
    return view, draw(st.lists(row, max_size=14))


@st.composite
def label_rows(draw: st.DrawFn, view: FeatureView, aware: bool) -> list[dict[str, Any]]:
    times = moments.map(lambda time: time.replace(tzinfo=UTC)) if aware else moments
    row = {
        "k": st.none() | ids,
        "other": st.none() | ids,
        "t": st.none() | times,
        "note": st.none() | st.text(max_size=3),
    }
    if len(view.join_keys) > 1:
        row["n"] = st.none() | parts
    return draw(st.lists(st.fixed_dictionaries(row), max_size=70))


def label_types(view: FeatureView, aware: bool) -> list[tuple[str, Any]]:
    keys = [(key.column, key.dtype) for key in view.join_keys]
    clock = "timestamptz" if aware else "timestamp"
    from featurelayer.model import DType

    return [*keys, ("other", DType.parse("text")), ("t", DType.parse(clock)), ("note", DType.parse("text"))]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    found = Engine()
    yield found
    found.close()


def both_forms(engine: Engine, plan: Plan, data: st.DataObject) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The rows of a plan in each form, in a session of any zone: what a world costs is drawing and compiling it."""
    engine.to_zone(data.draw(st.sampled_from(["UTC", "Asia/Tokyo", "America/New_York"])))
    for form in FORMS:
        yield form, engine.run(plan, form)


def same(got: list[dict[str, Any]], expected: list[dict[str, Any]]) -> bool:
    """Equal with NaN equal to itself and -0.0 different from 0.0."""
    return [plain(row) for row in got] == [plain(row) for row in expected]


def plain(row: dict[str, Any]) -> dict[str, str]:
    """A row in words: instants in UTC, whatever zone the session shows them in."""
    return {name: repr(oracle.utc(v) if isinstance(v, datetime) and v.tzinfo else v) for name, v in row.items()}


def two_roles(view: FeatureView) -> FeatureService:
    return make_service((view, None, None), (view, "away", {"k": "other"}))


@pytest.mark.parametrize("mode", ["known_at", "event_time"])
@given(data=st.data())
@settings(max_examples=examples(120))
def test_training_set_equals_the_oracle(engine: Engine, mode: str, data: st.DataObject) -> None:
    view, rows = data.draw(worlds())
    aware = data.draw(st.booleans())
    labels = data.draw(label_rows(view, aware))
    engine.load(view, rows)
    service = two_roles(view)
    expected = oracle.training_set(labels, service, {"v": view}, {"v": rows}, mode=mode)
    plan = engine.plan(table(label_types(view, aware), labels), service, {"v": view}, mode=mode)
    for form, got in both_forms(engine, plan, data):
        assert [plain(row) for row in got] == [plain(row) for row in expected], form


@given(data=st.data())
@settings(max_examples=examples(100))
def test_rows_that_a_label_may_not_see_never_change_it(engine: Engine, data: st.DataObject) -> None:
    """No leak: for one label time, add rows that are invisible then; the output stays."""
    view, rows = data.draw(worlds())
    _, more = data.draw(worlds())
    at = data.draw(moments)
    labels = [{"k": k, "other": None, "n": n, "t": at, "note": None} for k in ("a", "ab", "b") for n in (1, 11)]
    names = [name for name, _ in label_types(view, False)]
    labels = [{name: label[name] for name in names} for label in labels]
    columns = [name for name, _ in view.columns]
    unseen = []
    for row in more:
        candidate = {name: row.get(name, 1) for name in columns}
        candidate["e"] = _as(candidate["e"], view.dtype("e"))
        candidate["a"] = _as(candidate["a"], view.dtype("a"))
        candidate["until"] = _as(candidate["until"], view.dtype("until"))
        if not oracle.is_visible(view, candidate, at, "known_at"):
            unseen.append(candidate)
    service = two_roles(view)
    engine.load(view, rows)
    plan = engine.plan(table(label_types(view, False), labels), service, {"v": view})
    before = dict(both_forms(engine, plan, data))
    engine.load(view, [*unseen, *rows])
    for form, got in both_forms(engine, plan, data):
        assert same(got, before[form]), form


def _as(moment: datetime | None, dtype: Any) -> datetime | None:
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if str(dtype) == "timestamptz" else moment.replace(tzinfo=None)


@given(data=st.data())
@settings(max_examples=examples(100))
def test_snapshot_is_the_newest_visible_row_of_every_entity(engine: Engine, data: st.DataObject) -> None:
    view, rows = data.draw(worlds())
    at = data.draw(moments)
    engine.load(view, rows)
    names = [key.column for key in view.join_keys]
    entities = {tuple(row[name] for name in names) for row in rows if all(row[name] is not None for name in names)}
    expected = {}
    for entity in entities:
        winner = oracle.newest(view, rows, dict(zip(names, entity, strict=True)), at, ttl=False)
        if winner is not None:
            expected[entity] = winner
    plan = engine.snapshot_plan(view, at.replace(tzinfo=UTC))
    for form, found in both_forms(engine, plan, data):
        got = {tuple(row[name] for name in names): row for row in found}
        assert got.keys() == expected.keys(), form
        for entity, row in got.items():
            winner = expected[entity]
            assert row["__fl_event_time"] == _micros(winner["e"])
            assert row["__fl_valid_to"] == (_micros(winner["until"]) if view.valid_to else None)
            assert same(
                [{f.name: row[f.name] for f in view.features}], [{f.name: winner[f.name] for f in view.features}]
            )


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else (oracle.utc(moment) - datetime(1970, 1, 1)) // timedelta(microseconds=1)
