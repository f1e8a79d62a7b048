"""Times of every type, in sessions of every zone (rule 8)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa

from featurelayer.testing.case import Case
from featurelayer.testing.cases.common import DAY, HOUR, MICROSECOND, NOON, one_view, stamps

TYPED = {"x": "int64"}
# In New York clocks went forward at 07:00 UTC and back at 06:00 UTC; 01:30 local time came twice.
SPRING = datetime(2024, 3, 10, 7)
AUTUMN = datetime(2024, 11, 3, 6)


def cases() -> list[Case]:
    """Return the cases of this part."""
    return [*mixes(), *daylight(), *dates(), *fine()]


def labels_at(times: pa.Array) -> pa.Table:
    """Return labels of key `a` at the times of a column of any type."""
    return pa.table({"k": ["a"] * len(times), "t": times})


def mixes() -> list[Case]:
    """Naive and aware against each other."""
    found = []
    times = [NOON - MICROSECOND, NOON]
    forms = {"naive": None, "aware": "UTC", "aware in New York": "America/New_York", "aware in Kolkata": "Asia/Kolkata"}
    for label, zone in forms.items():
        for event, kind in (("naive", "timestamp"), ("aware", "timestamptz")):
            found.append(
                one_view(
                    f"{label} label, {event} event",
                    "Naive is UTC and aware is an instant, whatever zone the session is in.",
                    rows=[{"e": NOON if event == "naive" else NOON.replace(tzinfo=UTC), "x": 1}],
                    columns={"e": kind, **TYPED},
                    labels=labels_at(stamps(times, zone)),
                    expected=[None, 1],
                    zone="Asia/Tokyo",
                )
            )
    aware = NOON.replace(tzinfo=UTC)
    return [
        *found,
        one_view(
            "naive event, aware available time",
            "The two clocks of a row may be of two types.",
            rows=[
                {"e": NOON, "a": aware + HOUR, "c": NOON, "x": 1},
                {"e": NOON - HOUR, "a": aware - HOUR, "c": NOON, "x": 0},
            ],
            columns={"e": "timestamp", "a": "timestamptz", "c": "timestamp", **TYPED},
            labels=labels_at(stamps([NOON + HOUR - MICROSECOND, NOON + HOUR])),
            expected=[0, 1],
            available_at="a",
            created_timestamp="c",
            zone="America/New_York",
        ),
        one_view(
            "aware event, naive valid_to",
            "The end of a row may be of another type than its event time.",
            rows=[{"e": aware, "until": NOON + HOUR, "x": 1}],
            columns={"e": "timestamptz", "until": "timestamp", **TYPED},
            labels=labels_at(stamps([NOON + HOUR - MICROSECOND, NOON + HOUR], "Asia/Tokyo")),
            expected=[1, None],
            valid_to="until",
            ttl=DAY,
            zone="America/New_York",
        ),
        one_view(
            "before 1970",
            "Microseconds before the epoch are negative and as exact.",
            rows=[{"e": datetime(1969, 12, 31, 23, 59, 59, 999_999), "x": 1}],
            columns={"e": "timestamp", **TYPED},
            labels=labels_at(
                stamps([datetime(1969, 12, 31, 23, 59, 59, 999_998), datetime(1969, 12, 31, 23, 59, 59, 999_999)])
            ),
            expected=[None, 1],
        ),
    ]


def daylight() -> list[Case]:
    """Where a session in New York would skip an hour or have one twice."""
    half = timedelta(minutes=30)
    places = range(-3, 4)

    def change(season: str, middle: datetime, kind: str) -> Case:
        utc = UTC if kind == "timestamptz" else None
        moments = [middle + n * half + shift for n in places for shift in (-MICROSECOND, timedelta(0))]
        return one_view(
            f"daylight saving time, {season}, {kind}",
            "An hour that local clocks skip or repeat is an hour like any other.",
            rows=[{"e": (middle + n * half).replace(tzinfo=utc), "x": n} for n in places],
            columns={"e": kind, **TYPED},
            labels=labels_at(stamps(moments, "America/New_York" if utc else None)),
            expected=[None, *(n for n in places for _ in range(2))][:-1],
            zone="America/New_York",
        )

    changes = (("spring", SPRING), ("autumn", AUTUMN))
    return [
        *(change(*each, kind) for each in changes for kind in ("timestamp", "timestamptz")),
        one_view(
            "a TTL of a day over daylight saving time",
            "A day is 24 hours, also on the day that has 23 in the session's zone.",
            rows=[{"e": (SPRING - 12 * HOUR).replace(tzinfo=UTC), "x": 1}],
            columns={"e": "timestamptz", **TYPED},
            labels=labels_at(stamps([SPRING + 12 * HOUR, SPRING + 12 * HOUR + MICROSECOND], "America/New_York")),
            expected=[1, None],
            ttl=DAY,
            zone="America/New_York",
        ),
        one_view(
            "a delay of a day over daylight saving time",
            "A delay of a day is 24 hours as well, on a day that has 25.",
            rows=[{"e": (AUTUMN - 12 * HOUR).replace(tzinfo=UTC), "x": 1}],
            columns={"e": "timestamptz", **TYPED},
            labels=labels_at(stamps([AUTUMN + 12 * HOUR - MICROSECOND, AUTUMN + 12 * HOUR], "America/New_York")),
            expected=[None, 1],
            delay=DAY,
            zone="America/New_York",
        ),
    ]


def dates() -> list[Case]:
    """A DATE is its midnight in UTC."""
    day = date(2024, 3, 10)
    rows = [{"e": day, "x": 1}]
    columns = {"e": "date", **TYPED}
    midnight = datetime(2024, 3, 10)
    return [
        one_view(
            "DATE label",
            "A DATE label is its midnight in UTC, not in the session's zone and not the end of the day.",
            rows=[{"e": midnight, "x": 1}, {"e": midnight + MICROSECOND, "x": 2}],
            columns={"e": "timestamp", **TYPED},
            labels=labels_at(pa.array([date(2024, 3, 9), day, date(2024, 3, 11)])),
            expected=[None, 1, 2],
            zone="America/New_York",
        ),
        one_view(
            "DATE label, aware event",
            "A DATE label against instants is its midnight in UTC, too.",
            rows=[{"e": midnight.replace(tzinfo=UTC), "x": 1}],
            columns={"e": "timestamptz", **TYPED},
            labels=labels_at(pa.array([date(2024, 3, 9), day])),
            expected=[None, 1],
            zone="Asia/Tokyo",
        ),
        one_view(
            "DATE event without waiting",
            "With delay: 0 days a day's row is known at its midnight.",
            rows=rows,
            columns=columns,
            labels=labels_at(pa.array([date(2024, 3, 9), day, date(2024, 3, 11)])),
            expected=[None, 1, 1],
            delay=timedelta(0),
            zone="America/New_York",
        ),
        one_view(
            "DATE event known when the day is over",
            "With delay: 1 day a day's row is known at the next midnight; joining dates as they are leaks a day.",
            rows=rows,
            columns=columns,
            labels=labels_at(
                stamps([midnight, midnight + DAY - MICROSECOND, midnight + DAY, midnight + DAY + MICROSECOND])
            ),
            expected=[None, None, 1, 1],
            delay=DAY,
        ),
        one_view(
            "DATE event with TTL",
            "The TTL counts from the midnight with which the day began.",
            rows=rows,
            columns=columns,
            labels=labels_at(pa.array([day, date(2024, 3, 11), date(2024, 3, 12)])),
            expected=[None, 1, None],
            delay=DAY,
            ttl=DAY,
            zone="Asia/Tokyo",
        ),
        one_view(
            "DATE event with available_at",
            "available_at declares it too, whatever its type.",
            rows=[{"e": day, "a": (midnight + 30 * HOUR).replace(tzinfo=UTC), "x": 1}],
            columns={"e": "date", "a": "timestamptz", **TYPED},
            labels=labels_at(
                stamps([midnight + DAY, midnight + 30 * HOUR - MICROSECOND, midnight + 30 * HOUR], "Asia/Tokyo")
            ),
            expected=[None, None, 1],
            available_at="a",
            zone="America/New_York",
        ),
        one_view(
            "DATE available time and DATE valid_to",
            "Every time of a row may be a day, each its midnight.",
            rows=[{"e": midnight - HOUR, "a": day, "until": date(2024, 3, 12), "x": 1}],
            columns={"e": "timestamp", "a": "date", "until": "date", **TYPED},
            labels=labels_at(
                stamps([midnight - MICROSECOND, midnight, midnight + 2 * DAY - MICROSECOND, midnight + 2 * DAY])
            ),
            expected=[None, 1, 1, None],
            available_at="a",
            valid_to="until",
            zone="America/New_York",
        ),
    ]


def fine() -> list[Case]:
    """Microseconds, in types that could hold more."""
    micro = NOON + MICROSECOND
    whole = pa.array([NOON, micro], pa.timestamp("us"))
    nano = whole.cast(pa.timestamp("ns"))
    table = pa.table({"k": ["a", "a"], "e": nano, "a": nano, "x": [1, 2]})
    return [
        one_view(
            "neighbouring microseconds",
            "Times are never rounded to milliseconds.",
            rows=[{"e": NOON, "x": 1}, {"e": micro, "x": 2}, {"e": NOON + timedelta(milliseconds=1), "x": 3}],
            columns={"e": "timestamp", **TYPED},
            labels=labels_at(
                stamps([NOON, micro, NOON + timedelta(microseconds=999), NOON + timedelta(milliseconds=1)])
            ),
            expected=[1, 2, 2, 3],
        ),
        one_view(
            "nanosecond labels",
            "pandas' usual type is accepted as long as it holds whole microseconds, and comes out as it was.",
            rows=[{"e": NOON, "x": 1}, {"e": micro, "x": 2}],
            columns={"e": "timestamp", **TYPED},
            labels=labels_at(nano),
            expected=[1, 2],
        ),
        one_view(
            "aware nanosecond labels",
            "Nanosecond types with a zone are accepted in the same way.",
            rows=[{"e": NOON, "x": 1}, {"e": micro, "x": 2}],
            columns={"e": "timestamp", **TYPED},
            labels=labels_at(whole.cast(pa.timestamp("ns", "Asia/Tokyo"))),
            expected=[1, 2],
            zone="America/New_York",
        ),
        one_view(
            "nanosecond events",
            "Event and available times may be of that type.",
            rows=table,
            columns={"e": "timestamp", "a": "timestamp", **TYPED},
            labels=labels_at(whole),
            expected=[1, 2],
            available_at="a",
            ttl=HOUR,
        ),
    ]
