"""Visible rows of a label: bounds, expiry, availability, delay (rules 1 and 2), and the modes."""

from __future__ import annotations

from datetime import timedelta

from featurelayer.testing.case import Case
from featurelayer.testing.cases.common import HOUR, MICROSECOND, NOON, one_view


def cases() -> list[Case]:
    """Return the cases of this part."""
    return [*bounds(), *expiry(), *knowledge(), *modes()]


def bounds() -> list[Case]:
    """The edge of rule 1."""
    rows = [{"e": NOON, "x": 1}]
    return [
        one_view(
            "equal label time",
            "What happens at t is known at t; a microsecond earlier it is not.",
            rows=rows,
            labels=[NOON - MICROSECOND, NOON, NOON + HOUR],
            expected=[None, 1, 1],
        ),
        one_view(
            "exclusive bound",
            "With bound: exclusive a row is seen a microsecond after its event, not with it.",
            rows=[{"e": NOON - HOUR, "x": 0}, *rows],
            labels=[NOON, NOON + MICROSECOND],
            expected=[0, 1],
            bound="exclusive",
        ),
        one_view(
            "exclusive bound and available time",
            "The bound is about the event: an available time equal to the label's is early enough.",
            rows=[{"e": NOON, "a": NOON, "x": 1}, {"e": NOON - HOUR, "a": NOON + HOUR, "x": 0}],
            labels=[NOON, NOON + MICROSECOND, NOON + HOUR],
            expected=[None, 1, 1],
            bound="exclusive",
            available_at="a",
        ),
        one_view(
            "exclusive bound and delay",
            "A delay that is longer than a microsecond already keeps the bound.",
            rows=rows,
            labels=[NOON, NOON + MICROSECOND, NOON + 2 * MICROSECOND],
            expected=[None, None, 1],
            bound="exclusive",
            delay=2 * MICROSECOND,
        ),
        one_view(
            "NULL event time",
            "A row without an event time is never seen.",
            rows=[{"e": None, "x": 9}, *rows],
            labels=[NOON - HOUR, NOON],
            expected=[None, 1],
        ),
        one_view(
            "only future rows",
            "A view that has nothing yet gives nothing; a nearest-neighbour join would take a future row.",
            rows=[{"e": NOON + HOUR, "x": 1}],
            labels=[NOON],
            expected=[None],
        ),
    ]


def expiry() -> list[Case]:
    """Rule 2."""
    rows = [{"e": NOON, "x": 1}]
    return [
        one_view(
            "TTL edge",
            "Exactly as old as the TTL is still valid, a microsecond more is not.",
            rows=rows,
            labels=[NOON + HOUR, NOON + HOUR + MICROSECOND],
            expected=[1, None],
            ttl=HOUR,
        ),
        one_view(
            "TTL below a second",
            "A TTL of milliseconds is not rounded to seconds.",
            rows=rows,
            labels=[NOON + timedelta(milliseconds=250), NOON + timedelta(milliseconds=250, microseconds=1)],
            expected=[1, None],
            ttl=timedelta(milliseconds=250),
        ),
        one_view(
            "TTL of a microsecond",
            "The shortest TTL there is.",
            rows=rows,
            labels=[NOON, NOON + MICROSECOND, NOON + 2 * MICROSECOND],
            expected=[1, 1, None],
            ttl=MICROSECOND,
        ),
        one_view(
            "TTL of days and microseconds",
            "No part of a mixed duration is lost.",
            rows=rows,
            labels=[NOON + timedelta(days=3, microseconds=5), NOON + timedelta(days=3, microseconds=6)],
            expected=[1, None],
            ttl=timedelta(days=3, microseconds=5),
        ),
        one_view(
            "TTL counts from the event",
            "Expiry is measured on the event time; counting from the available time would keep a late row too long.",
            rows=[{"e": NOON, "a": NOON + HOUR, "x": 1}],
            labels=[NOON + HOUR, NOON + HOUR + MICROSECOND],
            expected=[1, None],
            available_at="a",
            ttl=HOUR,
        ),
        one_view(
            "TTL shorter than the delay",
            "Such rows are expired before they are known; nothing is ever served.",
            rows=rows,
            labels=[NOON, NOON + HOUR, NOON + 2 * HOUR],
            expected=[0, 0, 0],
            delay=HOUR,
            ttl=HOUR / 2,
            defaults={"x": 0},
        ),
        one_view(
            "TTL and several labels",
            "Each label has its own cut-off: one taken for all would drop or keep the wrong rows.",
            rows=[{"e": NOON - 9 * HOUR, "x": 1}, *({"e": NOON + n * HOUR, "x": n + 10} for n in range(3))],
            labels=[NOON - 8 * HOUR, NOON + 5 * HOUR, NOON, NOON + 3 * HOUR],
            expected=[1, None, 10, 12],
            ttl=HOUR,
        ),
    ]


def knowledge() -> list[Case]:
    """Two clocks: when it happened and when it could be known."""
    return [
        one_view(
            "available time",
            "A row is seen from when it was available, not from when it happened.",
            rows=[{"e": NOON, "a": NOON + HOUR, "x": 1}],
            labels=[NOON, NOON + HOUR - MICROSECOND, NOON + HOUR],
            expected=[None, None, 1],
            available_at="a",
        ),
        one_view(
            "an older row that was known",
            "Until the newest event is known the label gets the one before it; joining on event time and then blanking "
            "what was not known would give nothing.",
            rows=[{"e": NOON - HOUR, "a": NOON - HOUR, "x": 1}, {"e": NOON, "a": NOON + 2 * HOUR, "x": 2}],
            labels=[NOON, NOON + HOUR, NOON + 2 * HOUR],
            expected=[1, 1, 2],
            available_at="a",
        ),
        one_view(
            "late arrival between",
            "An older event that arrives after a newer one never wins over it; joining on available time alone "
            "would take what arrived last.",
            rows=[
                {"e": NOON, "a": NOON + 3 * HOUR, "x": 1},
                {"e": NOON - HOUR, "a": NOON - HOUR, "x": 0},
                {"e": NOON + HOUR, "a": NOON + 4 * HOUR, "x": 2},
                {"e": NOON + HOUR / 2, "a": NOON + 5 * HOUR, "x": 9},
            ],
            labels=[NOON, NOON + 3 * HOUR, NOON + 4 * HOUR, NOON + 5 * HOUR],
            expected=[0, 1, 2, 2],
            available_at="a",
        ),
        one_view(
            "restatement",
            "A corrected row of the same event replaces it from when the correction was known, not before.",
            rows=[
                {"e": NOON, "a": NOON, "x": 1},
                {"e": NOON, "a": NOON + HOUR, "x": 2},
                {"e": NOON, "a": NOON + 2 * HOUR, "x": 0},
            ],
            labels=[NOON, NOON + HOUR - MICROSECOND, NOON + HOUR, NOON + 2 * HOUR],
            expected=[1, 1, 2, 0],
            available_at="a",
        ),
        one_view(
            "restatement with an older created time",
            "A correction must be known and win the tie: here the first row has the greater created time.",
            rows=[{"e": NOON, "a": NOON, "c": NOON + HOUR, "x": 1}, {"e": NOON, "a": NOON + HOUR, "c": NOON, "x": 2}],
            labels=[NOON, NOON + HOUR],
            expected=[1, 1],
            available_at="a",
            created_timestamp="c",
        ),
        one_view(
            "NULL available time",
            "A row that was never known is never seen, and wins no tie.",
            rows=[{"e": NOON, "a": NOON, "c": NOON, "x": 1}, {"e": NOON, "a": None, "c": NOON + HOUR, "x": 2}],
            labels=[NOON + HOUR],
            expected=[1],
            available_at="a",
            created_timestamp="c",
        ),
        one_view(
            "available before the event",
            "A forecast is known before its time, and still holds only from then on.",
            rows=[{"e": NOON, "a": NOON - HOUR, "x": 1}],
            labels=[NOON - HOUR, NOON - MICROSECOND, NOON],
            expected=[None, None, 1],
            available_at="a",
        ),
        one_view(
            "available_at is created_timestamp",
            "One column may be both the cut-off and the tie-break.",
            rows=[{"e": NOON, "a": NOON, "x": 9}, {"e": NOON, "a": NOON + HOUR, "x": 1}],
            labels=[NOON, NOON + HOUR],
            expected=[9, 1],
            available_at="a",
            created_timestamp="a",
        ),
        one_view(
            "delay",
            "With a delay a row is known that long after its event, to the microsecond.",
            rows=[{"e": NOON - HOUR, "x": 0}, {"e": NOON, "x": 1}],
            labels=[NOON + HOUR - MICROSECOND, NOON + HOUR],
            expected=[0, 1],
            delay=HOUR,
        ),
        one_view(
            "available_at before delay",
            "If both are declared, available_at decides when a row was known.",
            rows=[{"e": NOON, "a": NOON + 2 * HOUR, "x": 1}],
            labels=[NOON + HOUR, NOON + 2 * HOUR],
            expected=[None, 1],
            delay=HOUR,
            available_at="a",
        ),
    ]


def modes() -> list[Case]:
    """The mode that leaks on purpose, to measure what a leak is worth."""
    late = [{"e": NOON - HOUR, "a": NOON - HOUR, "x": 0}, {"e": NOON, "a": NOON + HOUR, "x": 1}]
    return [
        one_view(
            "event_time ignores the available time",
            "The mode that measures a leak shows a row from its event on.",
            rows=[*late, {"e": NOON, "a": None, "x": 0}],
            labels=[NOON - MICROSECOND, NOON],
            expected=[0, 1],
            mode="event_time",
            available_at="a",
        ),
        one_view(
            "event_time ignores the delay",
            "Nor does it wait for the delay.",
            rows=[{"e": NOON, "x": 1}],
            labels=[NOON - MICROSECOND, NOON],
            expected=[None, 1],
            mode="event_time",
            delay=HOUR,
        ),
        one_view(
            "event_time keeps bound and TTL",
            "The mode lifts the available time and the delay alone; all other rules hold.",
            rows=[{"e": NOON, "a": NOON + 5 * HOUR, "x": 1}],
            labels=[NOON, NOON + MICROSECOND, NOON + HOUR, NOON + HOUR + MICROSECOND],
            expected=[None, 1, 1, None],
            mode="event_time",
            available_at="a",
            bound="exclusive",
            ttl=HOUR,
        ),
    ]
