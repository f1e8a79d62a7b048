"""What the checks say of counts that are made here: each guard on both sides of its border."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from featurelayer.monitor.checks import categories, default_rate, null_rate, value_range
from featurelayer.monitor.seen import Seen
from featurelayer.monitor.settings import LIMITS, Limit, view_settings
from featurelayer.monitor.watched import Compared, Watched
from featurelayer.observed import MonitorResult, Status
from tests.online_cases import feature, view

LEGS = view("legs", feature("carrier", "text", default="?", has_default=True), static=True)
ENOUGH = view_settings(LEGS, {}).minimum_rows


def check_of(module: Any, seen: Seen, before: Seen | None = None, **limits: Limit) -> dict[str, MonitorResult]:
    """What a check says of the one feature, by monitor."""
    watched = Watched(
        view=LEGS, settings=view_settings(LEGS, {}), at=datetime(2024, 1, 1, tzinfo=UTC), period=None, rows=seen.rows,
        current={"carrier": seen}, baseline=Compared(name="b", seen={} if before is None else {"carrier": before}),
        limits={"carrier": {**LIMITS, **limits}},
    )  # fmt: skip
    return {result.monitor: result for result in module.check(watched)}


def of_rows(rows: int, nulls: int = 0, **more: Any) -> Seen:
    return Seen(rows=rows, values=rows - nulls, **more)


def kinds(counts: Mapping[str, int], others: int = 0, nulls: int = 0) -> Seen:
    """Categories, and values that were not counted one by one."""
    values = sum(counts.values()) + others
    return Seen(rows=values + nulls, values=values, top=tuple(counts.items()))


# --- NULLs -----


def test_a_share_of_nulls_is_judged_without_a_baseline_and_of_no_rows_not_at_all():
    found = check_of(null_rate, of_rows(4, 1))
    assert set(found) == {"null_rate"}
    assert (found["null_rate"].value, found["null_rate"].meaning) == (0.25, "25.0% of 4 rows of all rows are NULL")
    assert check_of(null_rate, of_rows(0), of_rows(ENOUGH)) == {}
    assert set(check_of(null_rate, of_rows(4), null_rate=Limit())) == set()


@pytest.mark.parametrize(("rows", "before", "judged"), [
    (ENOUGH, ENOUGH, True), (ENOUGH - 1, ENOUGH, False), (ENOUGH, ENOUGH - 1, False), (0, ENOUGH, False),
    (ENOUGH, 0, False),
])  # fmt: skip
def test_a_handful_of_rows_is_no_change_of_nulls(rows, before, judged):
    """Neither here nor in the baseline."""
    found = check_of(null_rate, of_rows(rows, rows), of_rows(before))
    assert ("null_rate_change" in found) is judged


@pytest.mark.parametrize(("nulls", "before"), [(250, 0), (0, 250)])
def test_fewer_nulls_are_a_change_as_well(nulls, before):
    change = check_of(null_rate, of_rows(500, nulls), of_rows(500, before))["null_rate_change"]
    assert (change.value, change.status, change.baseline) == (0.5, Status.WARN, "b")
    assert change.meaning == f"{nulls / 5:.1f}% of all rows are NULL, {before / 5:.1f}% of the baseline"


# --- categories -----

FEW, MORE = {"UA": 300, "DL": 200}, {"UA": 300, "B6": 150, "AA": 50}


def test_categories_that_came_and_that_went():
    found = check_of(categories, kinds(MORE), kinds(FEW))
    new, gone = found["new_categories"], found["vanished_categories"]
    assert (new.value, gone.value) == (0.4, 0.4)
    assert new.meaning == "2 categories are new, in 40.0% of the rows of all rows: 'B6', 'AA'"
    assert gone.meaning == "1 category is gone, in 40.0% of the rows of the baseline: 'DL'"
    same = check_of(categories, kinds(FEW), kinds(FEW))
    assert {result.meaning for result in same.values()} == {"no category is new", "no category is gone"}
    assert {result.value for result in same.values()} == {0}
    assert set(check_of(categories, kinds(MORE), kinds(FEW), new_categories=Limit())) == {"vanished_categories"}


def test_three_categories_are_named_and_no_more():
    many = {f"c{number}": 200 for number in range(4)}
    assert check_of(categories, kinds(many), kinds(FEW))["new_categories"].meaning.endswith(": 'c0', 'c1', 'c2', ...")
    del many["c3"]
    assert check_of(categories, kinds(many), kinds(FEW))["new_categories"].meaning.endswith(": 'c0', 'c1', 'c2'")


@pytest.mark.parametrize(("now", "before"), [
    (kinds(MORE, others=1), kinds(FEW)), (kinds(MORE), kinds(FEW, others=1)), (kinds(MORE), None),
    (kinds({}, nulls=900), kinds(FEW)), (kinds(MORE), kinds({}, nulls=900)),
])  # fmt: skip
def test_what_was_not_counted_value_by_value_on_both_sides_is_not_compared(now, before):
    """A value that is not among the counted ones may have come all the same."""
    assert check_of(categories, now, before) == {}


@pytest.mark.parametrize(("now", "before", "judged"), [
    (ENOUGH, ENOUGH, True), (ENOUGH - 1, ENOUGH, False), (ENOUGH, ENOUGH - 1, False),
])  # fmt: skip
def test_a_handful_of_values_has_no_categories(now, before, judged):
    """NULLs are no values."""
    found = check_of(categories, kinds({"UA": now}, nulls=99), kinds({"UA": before}, nulls=99))
    assert bool(found) is judged


# --- defaults and ranges -----


def test_defaults_are_a_share_of_all_rows():
    found = check_of(default_rate, of_rows(4, 2, defaults=1))["default_rate"]
    assert (found.value, found.meaning) == (0.25, "25.0% of 4 rows of all rows are the default ?")
    assert check_of(default_rate, of_rows(4, defaults=0))["default_rate"].value == 0
    assert check_of(default_rate, of_rows(4)) == check_of(default_rate, of_rows(0, defaults=0)) == {}


def test_values_outside_of_a_range_are_a_share_of_the_numbers():
    found = check_of(value_range, of_rows(9, numbers=4, out_of_range=1, minimum=-7.5, maximum=2e9))["out_of_range"]
    assert (found.value, found.status) == (0.25, Status.ERROR)
    assert found.meaning == ("1 of 4 values of all rows (25.0%) are outside of -inf to inf; they go from -7.5 to 2e+09")
    inside = check_of(value_range, of_rows(4, numbers=4, out_of_range=0))["out_of_range"]
    assert inside.meaning == "0 of 4 values of all rows (0.0%) are outside of -inf to inf"
    assert check_of(value_range, of_rows(4, numbers=0, out_of_range=0)) == {}
    assert check_of(value_range, of_rows(4, numbers=4)) == {}


def test_what_is_no_number_is_a_share_of_the_values_of_floats():
    found = check_of(value_range, of_rows(5, 1, numbers=3, is_float=True))["unusable"]
    assert (found.value, found.status) == (0.25, Status.WARN)
    assert found.meaning == "1 of 4 values of all rows are NaN, infinite or beyond 1e150"
    assert check_of(value_range, of_rows(5, 5, is_float=True)) == check_of(value_range, of_rows(5, 1)) == {}


def test_bounds_are_named():
    bounded = replace(LEGS, features=(replace(LEGS.features[0], range=(0.0, 10.5)),))
    seen = of_rows(1, numbers=1, out_of_range=0)
    watched = Watched(
        view=bounded, settings=view_settings(bounded, {}), at=datetime(2024, 1, 1, tzinfo=UTC), period=None, rows=1,
        current={"carrier": seen}, baseline=Compared(), limits={"carrier": LIMITS},
    )  # fmt: skip
    (found,) = value_range.check(watched)
    assert found.meaning.endswith("outside of 0 to 10.5")
