"""Periods lie on the calendar in UTC, one ends where the next begins, and only whole ones are judged."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.monitor.periods import (
    Period,
    Unit,
    count_periods,
    newest_complete_period,
    preceding_periods,
    select_periods,
    similar_periods,
)
from tests.profiles import examples

UNITS: tuple[Unit, ...] = ("hour", "day", "week", "month")
TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@given(unit=st.sampled_from(UNITS), at=TIMES, count=st.integers(0, 40))
@settings(max_examples=examples(100))
def test_periods_meet_and_the_newest_has_ended(unit: Unit, at: datetime, count: int) -> None:
    newest = newest_complete_period(unit, at)
    periods = (*preceding_periods(unit, newest, count), newest)
    assert len(periods) == count + 1
    assert all(one.end == other.start for one, other in itertools.pairwise(periods))
    assert newest.end <= at < newest.end + timedelta(days=31)
    assert newest_complete_period(unit, newest.end) == newest
    assert similar_periods(unit, newest, count, "none") == periods[:-1]


@given(at=TIMES)
@settings(max_examples=examples(30))
def test_those_of_the_same_weekday_and_hour_are(at: datetime) -> None:
    day, hour = newest_complete_period("day", at), newest_complete_period("hour", at)
    assert [day.start - each.start for each in similar_periods("day", day, 4, "weekday")] == [
        timedelta(days=7 * n) for n in (4, 3, 2, 1)
    ]
    assert [hour.start - each.start for each in similar_periods("hour", hour, 2, "hour")] == [
        timedelta(days=2),
        timedelta(days=1),
    ]
    (week,) = similar_periods("hour", hour, 1, "hour_of_week")
    assert hour.start - week.start == timedelta(days=7)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("unit", "at", "start", "end"),
    [
        ("month", utc(2024, 3, 1), utc(2024, 2, 1), utc(2024, 3, 1)),
        ("month", utc(2024, 1, 31, 23), utc(2023, 12, 1), utc(2024, 1, 1)),
        ("week", utc(2024, 2, 26), utc(2024, 2, 19), utc(2024, 2, 26)),
        ("week", utc(2024, 2, 25, 23, 59), utc(2024, 2, 12), utc(2024, 2, 19)),
        ("day", datetime(2024, 3, 1, 1, tzinfo=timezone(timedelta(hours=2))), utc(2024, 2, 28), utc(2024, 2, 29)),
        ("hour", utc(2024, 3, 31, 2, 30), utc(2024, 3, 31, 1), utc(2024, 3, 31, 2)),
    ],
)
def test_the_calendar_is_that_of_utc(unit: Unit, at: datetime, start: datetime, end: datetime) -> None:
    assert newest_complete_period(unit, at) == Period(start, end)


def test_a_fixed_time_is_whole_or_its_like_periods() -> None:
    january = Period(utc(2024, 1, 1), utc(2024, 2, 1))
    monday = newest_complete_period("day", utc(2024, 3, 5))
    assert select_periods("day", january, monday, "none") == (january,)
    assert [each.start.day for each in select_periods("day", january, monday, "weekday")] == [1, 8, 15, 22, 29]
    assert select_periods("day", Period(utc(2024, 1, 2), utc(2024, 1, 3)), monday, "weekday") == ()
    assert count_periods("day", january) == 31
    assert count_periods("month", january) == pytest.approx(31 / 30.4375)
