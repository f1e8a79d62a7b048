"""What the checks say of counts that are made here: each guard on both sides of its border."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from featurelayer.model import Freshness
from featurelayer.monitor.context import (
    BaselineStats,
    Coverage,
    MonitorContext,
    OnlineFreshness,
    SourceFreshness,
    ValueChanges,
)
from featurelayer.monitor.evaluate import evaluate_monitor
from featurelayer.monitor.monitors import (
    categories,
    coverage,
    default_rate,
    drift,
    freshness,
    null_rate,
    static_changes,
    value_range,
    volume,
)
from featurelayer.monitor.periods import Period
from featurelayer.monitor.settings import default_limits, view_settings
from featurelayer.monitor.statistics import ColumnStats
from featurelayer.monitor_records import Limit, Monitor, MonitorResult, MonitorStatus
from tests.online_cases import feature, view

LEGS = view("legs", feature("carrier", "text", default="?", has_default=True), static=True)
ENOUGH = view_settings(LEGS, {}).minimum_rows


def evaluate_module(module: Any, context: MonitorContext) -> list[MonitorResult]:
    monitors = [value for value in vars(module).values() if isinstance(value, Monitor)]
    return [result for monitor in monitors for result in evaluate_monitor(monitor, context)]


def check_of(
    module: Any, seen: ColumnStats, before: ColumnStats | None = None, **limits: Limit
) -> dict[str, MonitorResult]:
    """What a check says of the one feature, by monitor."""
    watched = MonitorContext(
        view=LEGS, settings=view_settings(LEGS, {}), at=datetime(2024, 1, 1, tzinfo=UTC), period=None, rows=seen.rows,
        current={"carrier": seen},
        baseline=BaselineStats(name="b", features={} if before is None else {"carrier": before}),
        limits={"carrier": {**default_limits(), **limits}},
    )  # fmt: skip
    return {result.monitor: result for result in evaluate_module(module, watched)}


def of_rows(rows: int, nulls: int = 0, **more: Any) -> ColumnStats:
    return ColumnStats(rows=rows, values=rows - nulls, **more)


def kinds(counts: Mapping[str, int], others: int = 0, nulls: int = 0) -> ColumnStats:
    """Categories, and values that were not counted one by one."""
    values = sum(counts.values()) + others
    return ColumnStats(rows=values + nulls, values=values, top=tuple(counts.items()))


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
    assert (change.value, change.status, change.baseline) == (0.5, MonitorStatus.WARN, "b")
    assert change.meaning == f"{nulls / 5:.1f}% of all rows are NULL, {before / 5:.1f}% of the baseline"


# --- categories -----

FEW, MORE = {"UA": 300, "DL": 200}, {"UA": 300, "B6": 150, "AA": 50}


def test_categories_that_came_and_that_went():
    found = check_of(categories, kinds(MORE), kinds(FEW))
    new, gone = found["new_categories"], found["vanished_categories"]
    assert (new.value, gone.value) == (0.4, 0.4)
    assert new.meaning == "2 categories are new, in 40.0% of the rows of all rows: 'B6', 'AA'"
    assert gone.meaning == "1 category is missing, in 40.0% of the rows of the baseline: 'DL'"
    same = check_of(categories, kinds(FEW), kinds(FEW))
    assert {result.meaning for result in same.values()} == {"no category is new", "no category is missing"}
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
    assert (found.value, found.status) == (0.25, MonitorStatus.ERROR)
    assert found.meaning == ("1 of 4 values of all rows (25.0%) are outside of -inf to inf; they go from -7.5 to 2e+09")
    inside = check_of(value_range, of_rows(4, numbers=4, out_of_range=0))["out_of_range"]
    assert inside.meaning == "0 of 4 values of all rows (0.0%) are outside of -inf to inf"
    assert check_of(value_range, of_rows(4, numbers=0, out_of_range=0)) == {}
    assert check_of(value_range, of_rows(4, numbers=4)) == {}


def test_what_is_no_number_is_a_share_of_the_values_of_floats():
    found = check_of(value_range, of_rows(5, 1, numbers=3, is_float=True))["unusable"]
    assert (found.value, found.status) == (0.25, MonitorStatus.WARN)
    assert found.meaning == "1 of 4 values of all rows are NaN, infinite or beyond 1e150"
    assert check_of(value_range, of_rows(5, 5, is_float=True)) == check_of(value_range, of_rows(5, 1)) == {}


def test_bounds_are_named():
    bounded = replace(LEGS, features=(replace(LEGS.features[0], range=(0.0, 10.5)),))
    seen = of_rows(1, numbers=1, out_of_range=0)
    watched = MonitorContext(
        view=bounded, settings=view_settings(bounded, {}), at=datetime(2024, 1, 1, tzinfo=UTC), period=None, rows=1,
        current={"carrier": seen}, baseline=BaselineStats(), limits={"carrier": default_limits()},
    )  # fmt: skip
    (found,) = evaluate_module(value_range, watched)
    assert found.meaning.endswith("outside of 0 to 10.5")


# --- what is judged of the view as a whole -----

AT = datetime(2024, 1, 1, tzinfo=UTC)
DAY = Period(start=datetime(2023, 12, 31, tzinfo=UTC), end=AT)
AGES = Freshness(warn_after=timedelta(hours=2), error_after=timedelta(hours=8))
EVENTS = replace(LEGS, static=False, event_time="e", freshness=AGES)


def judged(module: Any, limit: Limit | None = None, **known: Any) -> list[MonitorResult]:
    """What a check says of a view; the limit is that of the monitor of the module's name."""
    given: dict[str, Any] = {"view": EVENTS, "period": DAY, "rows": 100, "baseline": BaselineStats(name="b")} | known
    settings = view_settings(given["view"], {})
    if limit is not None:
        settings = replace(settings, limits={**settings.limits, module.__name__.rpartition(".")[2]: limit})
    return evaluate_module(module, MonitorContext(settings=settings, at=AT, current={}, limits={}, **given))


HALF = Limit(warn=0.5, error=0.25, least=True)


@pytest.mark.parametrize(
    ("covered", "status"),
    [
        (100, MonitorStatus.PASS),
        (50, MonitorStatus.PASS),
        (49, MonitorStatus.WARN),
        (25, MonitorStatus.WARN),
        (24, MonitorStatus.ERROR),
    ],
)
def test_coverage_is_a_share_of_the_population(covered, status):
    (found,) = judged(coverage, HALF, coverage=Coverage(population=100, covered=covered, of="planes"))
    assert (found.value, found.status) == (covered / 100, status)
    assert found.meaning == f"{covered} of 100 keys in planes ({covered}.0%) have a valid row"


def test_coverage_of_nobody_is_not_judged():
    (found,) = judged(coverage, HALF, coverage=Coverage(population=0, covered=0, of="planes"))
    assert (found.value, found.status, found.meaning) == (None, MonitorStatus.SKIPPED, "there is no key in planes")
    assert judged(coverage, HALF) == []
    assert judged(coverage, coverage=Coverage(population=1, covered=1, of="planes")) == []


STATIC = {"view": LEGS, "period": None}


def test_changes_of_a_static_view_are_a_share_of_its_keys():
    (found,) = judged(static_changes, changes=ValueChanges(keys=25, exports=2), **STATIC)
    assert (found.value, found.status, found.metric) == (0.25, MonitorStatus.WARN, "share of changed keys")
    assert found.meaning.startswith("the values of 25 of 100 keys changed between exports, and past labels")
    (none,) = judged(static_changes, changes=ValueChanges(keys=0, exports=2), **STATIC)
    assert (none.value, none.status) == (0, MonitorStatus.PASS)
    assert none.meaning == "the values of 0 of 100 keys changed between exports"
    (more,) = judged(static_changes, changes=ValueChanges(keys=101, exports=9), **STATIC)
    assert more.value == 1
    (gone,) = judged(static_changes, changes=ValueChanges(keys=3, exports=2), **STATIC | {"rows": 0})
    assert gone.value == 0


def test_changes_are_judged_of_static_views_that_were_exported_twice():
    (found,) = judged(static_changes, changes=ValueChanges(keys=0, exports=1), **STATIC)
    assert (found.value, found.status) == (None, MonitorStatus.SKIPPED)
    assert found.meaning == "fewer than two exports are recorded, so there is nothing to compare"
    assert judged(static_changes, **STATIC) == []
    assert judged(static_changes, Limit(), changes=ValueChanges(keys=1, exports=2), **STATIC) == []
    assert judged(static_changes, changes=ValueChanges(keys=1, exports=2)) == []


@pytest.mark.parametrize(
    ("rows", "value", "status"),
    [
        (100, 1, MonitorStatus.PASS),
        (50, 0.5, MonitorStatus.PASS),
        (200, 0.5, MonitorStatus.PASS),
        (40, 0.4, MonitorStatus.WARN),
        (250, 0.4, MonitorStatus.WARN),
        (5, 0.05, MonitorStatus.ERROR),
        (0, 0, MonitorStatus.ERROR),
    ],
)
def test_as_many_times_more_rows_are_as_bad_as_as_many_times_less(rows, value, status):
    (found,) = judged(volume, rows=rows, baseline=BaselineStats(name="b", per_period=100.0))
    assert (found.value, found.status, found.baseline) == (value, status, "b")
    assert found.meaning == f"{rows} rows in 2023-12-31, 100 in a period of the baseline ({rows}%)"


def test_rows_are_not_counted_without_a_baseline_but_their_lack_is_told():
    assert judged(volume) == []
    (found,) = judged(volume, rows=0)
    assert (found.status, found.value) == (MonitorStatus.SKIPPED, None)
    assert "has no rows up to 2024-01-01 00:00" in found.meaning
    assert judged(volume, Limit(), rows=0) == []
    assert judged(volume, Limit(), baseline=BaselineStats(per_period=100.0)) == []


@pytest.mark.parametrize(("hours", "status"), [
    (2, MonitorStatus.PASS), (2.25, MonitorStatus.WARN), (8, MonitorStatus.WARN), (8.25, MonitorStatus.ERROR),
])  # fmt: skip
def test_what_is_exactly_as_old_as_is_allowed_is_fresh(hours, status):
    newest = AT - timedelta(hours=hours)
    view, source, online = (
        judged(freshness, newest=newest)[0],
        judged(freshness, newest=newest, sources=(SourceFreshness(name="s", freshness=AGES, newest=newest),))[0],
        judged(freshness, newest=newest, online=OnlineFreshness(newest=newest))[1],
    )
    assert [each.monitor for each in (view, source, online)] == ["freshness", "source_freshness", "online_freshness"]
    for each in (view, source, online):
        assert (each.value, each.status, each.metric) == (hours, status, "age in hours")
        assert each.meaning.endswith("; 8 h are allowed")


def test_ages_that_are_not_known():
    empty, online = judged(freshness, online=OnlineFreshness(why_not="never exported"))
    assert (empty.status, empty.value, empty.meaning) == (MonitorStatus.ERROR, None, "the view has no rows up to now")
    assert (online.status, online.value, online.meaning) == (MonitorStatus.SKIPPED, None, "never exported")
    assert {each.metric for each in (empty, online)} == {"age in hours"}
    source = SourceFreshness(name="s", freshness=AGES, why_not="no such column")
    only = judged(freshness, view=replace(EVENTS, freshness=None), sources=(source,))
    assert [(each.monitor, each.status, each.meaning) for each in only] == [
        ("source_freshness", MonitorStatus.SKIPPED, "no such column"),
    ]  # fmt: skip
    assert judged(freshness, period=None, newest=AT) == []
    warned = Freshness(warn_after=timedelta(hours=1), error_after=None)
    (found,) = judged(freshness, view=replace(EVENTS, freshness=warned), newest=AT - timedelta(hours=2))
    assert found.status is MonitorStatus.WARN
    assert found.meaning.endswith("; 1 h are allowed")


# --- distances -----


def test_enough_values_are_needed_on_both_sides_for_a_distance():
    few, many = kinds({"UA": ENOUGH - 1}), kinds({"UA": ENOUGH - 100, "DL": 100})
    for now, before in ((few, many), (many, few)):
        found = check_of(drift, now, before)["psi"]
        assert (found.status, found.value) == (MonitorStatus.SKIPPED, None)
        assert found.meaning.endswith(f"{before.values:,} in the baseline; {ENOUGH:,} are needed")
    found = check_of(drift, many, many)["psi"]
    assert (found.status, found.value, found.metric, found.baseline) == (MonitorStatus.PASS, 0, "PSI", "b")


def test_the_category_that_moved_most_is_named():
    before, now = kinds({"UA": 400, "DL": 500, "B6": 100}), kinds({"UA": 500, "DL": 250, "AA": 250})
    found = check_of(drift, now, before)["psi"]
    assert found.meaning == "'DL' was 50.0% of the baseline and is 25.0% of all rows"
    assert found.value is not None
    assert not math.isnan(found.value)


def test_without_a_baseline_a_distance_is_skipped_with_the_reason():
    many = kinds({"UA": ENOUGH})
    assert check_of(drift, many)["psi"].meaning == "b does not have this feature"
    assert check_of(drift, ColumnStats(rows=ENOUGH, values=ENOUGH), many) == {}
    assert check_of(drift, kinds({}), many) == {}
    torn = kinds({"UA": ENOUGH}, others=1)
    assert "too many different values" in check_of(drift, torn, torn)["psi"].meaning
    assert set(check_of(drift, many, many, psi=Limit())) == set()


def test_categories_have_no_order_and_so_no_distance_that_needs_one():
    ordered = {"kolmogorov_smirnov": Limit(warn=0.1), "wasserstein": Limit(warn=0.1)}
    assert not check_of(drift, kinds(MORE), kinds(FEW), **ordered).keys() & ordered.keys()


def test_numbers_that_are_kept_as_categories_are_told_as_such():
    """Few different values have a mean and no histogram."""
    few, more = (
        replace(kinds(each), numbers=500, total=500.0, squares=500.0, minimum=1.0, maximum=1.0) for each in (FEW, MORE)
    )
    for now, before in ((more, few), (more, kinds(FEW)), (kinds(MORE), few)):
        assert check_of(drift, now, before)["psi"].meaning.startswith("'DL' was 40.0% of the baseline")


def test_means_are_told_of_numbers():
    def numbers(mean: float) -> ColumnStats:
        return ColumnStats(
            rows=500, values=500, numbers=500, edges=(0.0, 5.0), counts=(0, 250, 250), shape_rows=500, minimum=0.0,
            maximum=10.0, total=mean * 500, squares=500 * mean * mean + 499 * 4,
        )  # fmt: skip

    found = check_of(drift, numbers(4), numbers(3))["psi"]
    assert found.meaning == "mean 3 ± 2 in the baseline, 4 ± 2 in all rows"
