"""The rules of the contract, one small case each, readable without a database: both SQL forms must give them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from featurelayer.errors import PlanError
from tests.engine import FORMS as DIALECTS
from tests.engine import Engine, make_service, make_view

NOON = datetime(2024, 3, 10, 12)
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)
FORMS = ("native", "portable")


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["UTC", "Asia/Tokyo", "America/New_York"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    found = Engine(zone=request.param)
    yield found
    found.close()


def found(
    engine: Engine,
    form: str,
    rows: list[dict[str, Any]],
    labels: list[dict[str, Any]] | pa.Table,
    *,
    clock: str = "timestamp",
    mode: str = "known_at",
    **annotations: Any,
) -> list[Any]:
    columns = {"e": clock, "a": "timestamp", "c": "timestamp", "until": "timestamp", "x": "int64"}
    view = make_view("v", {"k": "text"}, columns, ["x"], **({"event_time": "e"} | annotations))
    engine.load(view, [{name: row.get(name) for name in ("k", *columns)} for row in rows])
    service = make_service((view, None, None))
    table = (
        labels
        if isinstance(labels, pa.Table)
        else pa.table(
            {"k": pa.array([row["k"] for row in labels], pa.string()), "t": pa.array([row["t"] for row in labels])}
        )
    )
    return [row["v__x"] for row in engine.run(engine.plan(table, service, {"v": view}, mode=mode), form)]


def at(*times: datetime, key: str | None = "a") -> list[dict[str, Any]]:
    return [{"k": key, "t": time} for time in times]


def test_equal_times_are_visible(engine: Engine, form: str) -> None:
    rows = [{"k": "a", "e": NOON, "x": 1}]
    assert found(engine, form, rows, at(NOON - MICROSECOND, NOON, NOON + HOUR)) == [None, 1, 1]
    assert found(engine, form, rows, at(NOON, NOON + MICROSECOND), bound="exclusive") == [None, 1]


def test_expiry_is_exact_to_the_microsecond(engine: Engine, form: str) -> None:
    rows = [{"k": "a", "e": NOON, "x": 1}]
    assert found(engine, form, rows, at(NOON + HOUR, NOON + HOUR + MICROSECOND), ttl=HOUR) == [1, None]


def test_a_late_row_is_visible_when_it_arrives_and_never_beats_a_newer_event(engine: Engine, form: str) -> None:
    rows = [
        {"k": "a", "e": NOON, "a": NOON + 3 * HOUR, "x": 1},
        {"k": "a", "e": NOON - HOUR, "a": NOON - HOUR, "x": 0},
        {"k": "a", "e": NOON + HOUR, "a": NOON + 4 * HOUR, "x": 2},
        {"k": "a", "e": NOON + HOUR / 2, "a": NOON + 5 * HOUR, "x": 9},
    ]
    times = at(NOON, NOON + 3 * HOUR, NOON + 4 * HOUR, NOON + 5 * HOUR)
    assert found(engine, form, rows, times, available_at="a") == [0, 1, 2, 2]
    assert found(engine, form, rows, times, available_at="a", mode="event_time") == [1, 2, 2, 2]


def test_a_restatement_replaces_its_event_from_when_it_is_available(engine: Engine, form: str) -> None:
    rows = [{"k": "a", "e": NOON, "a": NOON, "x": 1}, {"k": "a", "e": NOON, "a": NOON + HOUR, "x": 2}]
    assert found(engine, form, rows, at(NOON, NOON + HOUR), available_at="a") == [1, 2]


def test_a_row_that_never_became_available_wins_no_tie(engine: Engine, form: str) -> None:
    rows = [{"k": "a", "e": NOON, "a": NOON, "c": NOON, "x": 1}, {"k": "a", "e": NOON, "c": NOON + HOUR, "x": 2}]
    assert found(engine, form, rows, at(NOON + HOUR), available_at="a", created_timestamp="c") == [1]


def test_delay(engine: Engine, form: str) -> None:
    rows = [{"k": "a", "e": NOON, "x": 1}]
    assert found(engine, form, rows, at(NOON + HOUR - MICROSECOND, NOON + HOUR), delay=HOUR) == [None, 1]


def test_ties_go_to_the_created_time_then_to_the_content(engine: Engine, form: str) -> None:
    rows = [
        {"k": "a", "e": NOON, "c": NOON, "x": 9},
        {"k": "a", "e": NOON, "c": NOON + HOUR, "x": 1},
        {"k": "a", "e": NOON, "x": 99},
    ]
    assert found(engine, form, rows, at(NOON), created_timestamp="c") == [1]
    assert found(engine, form, rows, at(NOON), tie_breaker=("x",)) == [99]
    for order in (rows, rows[::-1]):
        assert found(engine, form, order, at(NOON)) == [1]  # the content starts with c, and the greatest c wins


def test_zeros_of_either_sign_are_told_apart(engine: Engine, form: str) -> None:
    view = make_view("v", {"k": "text"}, {"e": "timestamp", "x": "float64"}, ["x"], event_time="e")
    rows = [{"k": "a", "e": NOON, "x": 0.0}, {"k": "a", "e": NOON, "x": -0.0}]
    labels = pa.table({"k": ["a"], "t": [NOON]})
    for order in (rows, rows[::-1]):
        engine.load(view, order)
        (row,) = engine.run(engine.plan(labels, make_service((view, None, None)), {"v": view}), form)
        assert str(row["v__x"]) == "0.0"


def test_a_null_in_the_newest_row_stays_null(engine: Engine, form: str) -> None:
    rows = [{"k": "a", "e": NOON, "x": 1}, {"k": "a", "e": NOON + HOUR, "x": None}]
    assert found(engine, form, rows, at(NOON + HOUR), defaults={"x": 7}) == [None]
    assert found(engine, form, rows, at(NOON - HOUR), defaults={"x": 7}) == [7]


def test_an_ended_row_hides_its_values_and_everything_older(engine: Engine, form: str) -> None:
    rows = [{"k": "a", "e": NOON - HOUR, "x": 1}, {"k": "a", "e": NOON, "until": NOON + HOUR, "x": 2}]
    times = at(NOON + HOUR - MICROSECOND, NOON + HOUR)
    assert found(engine, form, rows, times, valid_to="until", defaults={"x": 7}) == [2, None]


def test_null_and_unknown_keys_and_null_times(engine: Engine, form: str) -> None:
    rows = [{"k": None, "e": NOON, "x": 1}, {"k": "a", "e": None, "x": 2}, {"k": "a", "e": NOON, "x": 3}]
    labels = pa.table({"k": [None, "b", "a", "a"], "t": [NOON, NOON, None, NOON]})
    assert found(engine, form, rows, labels) == [None, None, None, 3]


@pytest.mark.parametrize("clock", ["timestamp", "timestamptz"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_naive_is_utc_and_aware_is_an_instant(engine: Engine, form: str, clock: str, zone: str | None) -> None:
    event = NOON.replace(tzinfo=UTC) if clock == "timestamptz" else NOON
    rows = [{"k": "a", "e": event, "x": 1}]
    times = pa.array([NOON - MICROSECOND, NOON], pa.timestamp("us"))
    times = times.cast(pa.timestamp("us", zone)) if zone else times
    assert found(engine, form, rows, pa.table({"k": ["a", "a"], "t": times}), clock=clock) == [None, 1]


def test_dates(engine: Engine, form: str) -> None:
    """A DATE label is its midnight in UTC; a DATE event is known when its delay is over."""
    day = date(2024, 3, 10)
    rows = [{"k": "a", "e": day, "x": 1}]
    labels = pa.table({"k": ["a"] * 3, "t": [day, date(2024, 3, 11), date(2024, 3, 12)]})
    assert found(engine, form, rows, labels, clock="date", delay=timedelta(0)) == [1, 1, 1]
    assert found(engine, form, rows, labels, clock="date", delay=timedelta(days=1)) == [None, 1, 1]
    assert found(engine, form, rows, labels, clock="date", delay=timedelta(days=1), ttl=timedelta(days=1)) == [
        None,
        1,
        None,
    ]
    assert found(engine, form, [{"k": "a", "e": NOON, "x": 1}], labels) == [None, 1, 1]
    with pytest.raises(PlanError, match="neither delay nor available_at"):
        found(engine, form, rows, labels, clock="date")


def test_parts_of_a_key_are_compared_one_by_one(engine: Engine, form: str) -> None:
    view = make_view("v", {"k": "text", "n": "text"}, {"e": "timestamp", "x": "int64"}, ["x"], event_time="e")
    engine.load(view, [{"k": "a", "n": "bc", "e": NOON, "x": 1}, {"k": "ab", "n": "c", "e": NOON, "x": 2}])
    labels = pa.table({"k": ["ab", "a", "a", "abc"], "n": ["c", "bc", None, ""], "t": [NOON] * 4})
    rows = engine.run(engine.plan(labels, make_service((view, None, None)), {"v": view}), form)
    assert [row["v__x"] for row in rows] == [2, 1, None, None]


def test_static_views_join_on_keys_alone(engine: Engine, form: str) -> None:
    view = make_view("facts", {"k": "text"}, {"x": "int64"}, ["x"], static=True, defaults={"x": 0})
    engine.load(view, [{"k": "a", "x": 1}, {"k": "b", "x": None}, {"k": None, "x": 3}])
    labels = pa.table({"k": ["b", "a", "c", None], "t": [None, NOON, NOON, NOON]})
    rows = engine.run(engine.plan(labels, make_service((view, None, None)), {"facts": view}), form)
    assert [row["facts__x"] for row in rows] == [None, 1, 0, 0]


def test_one_view_in_two_roles(engine: Engine, form: str) -> None:
    view = make_view("team", {"k": "text"}, {"e": "timestamp", "x": "int64"}, ["x"], event_time="e")
    engine.load(view, [{"k": "a", "e": NOON, "x": 1}, {"k": "b", "e": NOON, "x": 2}])
    service = make_service((view, "home", {"k": "home"}), (view, "away", {"k": "away"}))
    labels = pa.table({"home": ["a", "b"], "away": ["b", "c"], "t": [NOON, NOON]})
    assert engine.run(engine.plan(labels, service, {"team": view}), form) == [
        {"home": "a", "away": "b", "t": NOON, "home__x": 1, "away__x": 2},
        {"home": "b", "away": "c", "t": NOON, "home__x": 2, "away__x": None},
    ]


@pytest.mark.parametrize("count", [1, 64, 65, 3000])
def test_duplicates_stay_and_order_is_kept(engine: Engine, form: str, count: int) -> None:
    """DuckDB plans an ASOF of up to 64 rows differently."""
    rows = [{"k": "a", "e": NOON + n * HOUR, "x": n if n % 2 else None} for n in range(200)]
    times = [NOON + (n * 37 % 200) * HOUR for n in range(count)]
    expected = [(n * 37 % 200) if (n * 37 % 200) % 2 else None for n in range(count)]
    assert found(engine, form, rows, at(*times)) == expected


def test_names_of_our_own_are_refused(engine: Engine) -> None:
    view = make_view("v", {"k": "text"}, {"e": "timestamp", "__fl_id": "int64"}, ["__fl_id"], event_time="e")
    engine.load(view, [])
    labels = pa.table({"k": ["a"], "t": [NOON]})
    with pytest.raises(PlanError) as caught:
        engine.plan(labels, make_service((view, "__fl_labels", None)), {"v": view})
    assert [problem.what.split("'")[1] for problem in caught.value.problems] == ["__fl_labels", "__fl_id"]


def test_ties_are_ordered_the_same_in_any_session(engine: Engine, form: str) -> None:
    engine.connection.execute("SET default_null_order = 'nulls_first'")
    rows = [{"k": "a", "e": NOON, "x": None}, {"k": "a", "e": NOON, "x": 1}]
    assert found(engine, form, rows, at(NOON)) == [1]


def test_an_empty_view_and_no_labels(engine: Engine, form: str) -> None:
    assert found(engine, form, [], at(NOON, NOON)) == [None, None]
    empty = pa.table({"k": pa.array([], pa.string()), "t": pa.array([], pa.timestamp("us"))})
    assert found(engine, form, [{"k": "a", "e": NOON, "x": 1}], empty) == []


def test_only_future_rows(engine: Engine, form: str) -> None:
    assert found(engine, form, [{"k": "a", "e": NOON + HOUR, "x": 1}], at(NOON)) == [None]


def test_the_cut_to_the_labels_keys_changes_nothing(engine: Engine) -> None:

    view = make_view("v", {"k": "text"}, {"e": "timestamp", "x": "int64"}, ["x"], event_time="e")
    engine.load(view, [{"k": key, "e": NOON, "x": n} for n, key in enumerate("abcdef")])
    plan = engine.plan(pa.table({"k": ["b", "e"], "t": [NOON, NOON]}), make_service((view, None, None)), {"v": view})
    wide = replace(plan, joins=tuple(replace(join, narrow=False) for join in plan.joins))
    assert engine.run(plan) == engine.run(wide)


def test_views_of_the_same_rows_keys_and_times_are_matched_once(engine: Engine, form: str) -> None:
    columns = {"e": "timestamp", "x": "int64", "y": "int64"}
    one, other, late = (
        make_view("v", {"k": "text"}, columns, [feature], event_time="e", ttl=ttl)
        for feature, ttl in (("x", HOUR), ("y", HOUR), ("x", 2 * HOUR))
    )
    engine.load(one, [{"k": "a", "e": NOON, "x": 1, "y": 2}, {"k": "a", "e": NOON, "x": 1, "y": 3}])
    views = {f"v{number}": replace(view, name=f"v{number}") for number, view in enumerate((one, other, late))}
    service = make_service(*((view, None, None) for view in views.values()))
    labels = pa.table({"k": ["a", "a", "a"], "t": [NOON, NOON + HOUR, NOON + 2 * HOUR]})
    plan = engine.plan(labels, service, views)
    assert [list(row.values())[2:] for row in engine.run(plan, form)] == [[1, 3, 1], [1, 3, 1], [None, None, 1]]
    if form == "native":
        assert "v1__match" not in DIALECTS["native"].compile(plan).temporary
        assert "v2__match" in DIALECTS["native"].compile(plan).temporary
