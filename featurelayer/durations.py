"""Parses and formats durations (`7 days`, `90 minutes`)."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {
    "microsecond": 1,
    "millisecond": 1_000,
    "second": 1_000_000,
    "minute": 60_000_000,
    "hour": 3_600_000_000,
    "day": 86_400_000_000,
    "week": 604_800_000_000,
}
_SHORT = {"us": "microsecond", "ms": "millisecond", "s": "second", "sec": "second", "m": "minute", "min": "minute",
          "h": "hour", "hr": "hour", "d": "day", "w": "week"}  # fmt: skip
_PART = re.compile(r"\s*(\d+)\s*([a-zA-Z]+)\s*")
_ONE_MICROSECOND = timedelta(microseconds=1)


def parse_duration(text: str) -> timedelta:
    """Parse a duration: one or more `<whole number> <unit>`, as in `1 day 12 hours`.

    Units are microsecond to week, singular, plural or short (`7d`). Months and years have no fixed
    length and are rejected.

    Raises:
        ValueError: the text is not a duration; the message shows what is accepted.
    """
    total, position = 0, 0
    while position < len(text):
        part = _PART.match(text, position)
        unit = _unit(part[2]) if part else None
        if part is None or unit is None:
            break
        total += int(part[1]) * _UNITS[unit]
        position = part.end()
    if not text.strip() or position < len(text):
        raise ValueError(
            f"'{text}' is not a duration; write a whole number and a unit such as '30 minutes', '24 hours' or '7 days'"
        )
    try:
        return timedelta(microseconds=total)
    except OverflowError:
        raise ValueError(f"'{text}' is longer than a duration can be") from None


def format_duration(duration: timedelta) -> str:
    """Return the shortest exact text of a duration, in the largest unit that divides it: `24 hours` is `1 day`."""
    micros = duration // _ONE_MICROSECOND
    unit = next(
        (name for name, size in reversed(_UNITS.items()) if name != "week" and micros % size == 0), "microsecond"
    )
    count = micros // _UNITS[unit]
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def format_age(age: timedelta) -> str:
    """Return an age for people, two units at most: `3 h 20 min`, `12 d 4 h`, `0.2 s`."""
    seconds = abs(age.total_seconds())
    sign = "-" if age < timedelta(0) else ""
    for (name, size), (below, smaller) in (
        (("d", 86_400), ("h", 3_600)),
        (("h", 3_600), ("min", 60)),
        (("min", 60), ("s", 1)),
    ):
        if seconds >= size:
            rest = int(seconds % size // smaller)
            return f"{sign}{int(seconds // size)} {name}" + (f" {rest} {below}" if rest else "")
    return f"{sign}{seconds:.3g} s"


def microseconds(duration: timedelta) -> int:
    """Return the whole duration in microseconds, exactly."""
    return duration // _ONE_MICROSECOND


def _unit(word: str) -> str | None:
    word = word.lower()
    if word in _SHORT:
        return _SHORT[word]
    singular = word.removesuffix("s")
    return singular if singular in _UNITS else None
