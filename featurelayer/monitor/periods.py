"""Periods of event time: the one to evaluate, those before it, and those to compare it with.

All in UTC, on the calendar: days begin at midnight, weeks on Monday. The newest complete period is evaluated, so that
no figure depends on the hour of a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

Unit = Literal["hour", "day", "week", "month"]
Same = Literal["none", "hour", "weekday", "hour_of_week"]
_LENGTHS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}
# How far a search for periods of the same kind goes back, in periods.
_FARTHEST = 168 * 100


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A period from `start` to `end` (exclusive), both aware."""

    start: datetime
    end: datetime

    @property
    def middle(self) -> datetime:
        """Its middle, for axes."""
        return self.start + (self.end - self.start) / 2


def newest_complete_period(unit: Unit, at: datetime) -> Period:
    """Return the last period of a unit that had ended by `at`."""
    end = _period_start(unit, at.astimezone(UTC))
    return Period(_previous_start(unit, end), end)


def period_containing(unit: Unit, at: datetime) -> Period:
    """Return the period of a unit that contains a time."""
    start = _period_start(unit, at.astimezone(UTC))
    return Period(start, _next_start(unit, start))


def preceding_periods(unit: Unit, period: Period, count: int) -> tuple[Period, ...]:
    """Return `count` periods before one, oldest first."""
    periods: list[Period] = []
    start = period.start
    for _ in range(count):
        start, end = _previous_start(unit, start), start
        periods.append(Period(start, end))
    return tuple(reversed(periods))


def similar_periods(unit: Unit, period: Period, count: int, same: Same) -> tuple[Period, ...]:
    """Return `count` periods before one with the same hour, weekday or both, oldest first."""
    periods: list[Period] = []
    start = period.start
    for _ in range(_FARTHEST):
        if len(periods) == count:
            break
        start, end = _previous_start(unit, start), start
        if _phase(start, same) == _phase(period.start, same):
            periods.append(Period(start, end))
    return tuple(reversed(periods))


def select_periods(unit: Unit, whole: Period, period: Period, same: Same) -> tuple[Period, ...]:
    """Return a fixed time range, or the periods in it with the same hour, weekday or both as another one."""
    if same == "none":
        return (whole,)
    return tuple(
        each for each in _iterate_periods(unit, whole) if _phase(each.start, same) == _phase(period.start, same)
    )


def count_periods(unit: Unit, whole: Period) -> float:
    """Return the length of a time range in periods."""
    if unit == "month":
        return (whole.end - whole.start) / timedelta(days=365.25 / 12)
    return (whole.end - whole.start) / _LENGTHS[unit]


def _iterate_periods(unit: Unit, whole: Period) -> Iterator[Period]:
    start = _period_start(unit, whole.start)
    while start < whole.end:
        end = _next_start(unit, start)
        if start >= whole.start and end <= whole.end:
            yield Period(start, end)
        start = end


def _phase(start: datetime, same: Same) -> tuple[int, ...]:
    match same:
        case "hour":
            return (start.hour,)
        case "weekday":
            return (start.weekday(),)
        case "hour_of_week":
            return (start.weekday(), start.hour)
        case _:
            return ()


def _period_start(unit: Unit, at: datetime) -> datetime:
    if unit == "hour":
        return at.replace(minute=0, second=0, microsecond=0)
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if unit == "month" else day


def _previous_start(unit: Unit, start: datetime) -> datetime:
    return _period_start("month", start - timedelta(days=1)) if unit == "month" else start - _LENGTHS[unit]


def _next_start(unit: Unit, start: datetime) -> datetime:
    return _period_start("month", start + timedelta(days=32)) if unit == "month" else start + _LENGTHS[unit]
