"""Keys, roles, static views and the label rows themselves (rules 5, 6, 7 and 9)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa

from featurelayer.model import FeatureView
from featurelayer.testing.builders import make_view
from featurelayer.testing.case import Case
from featurelayer.testing.cases.common import CLOCKS, HOUR, NOON, one_view, several_views, stamps


def cases() -> list[Case]:
    """Return the cases of this part."""
    return [*keys(), *views(), *spines()]


def labels(keys: dict[str, list[Any]], times: list[Any] | None = None) -> pa.Table:
    """Return labels with these keys, all at noon or at their own times."""
    count = len(next(iter(keys.values())))
    return pa.table({**{name: pa.array(values) for name, values in keys.items()}, "t": stamps(times or [NOON] * count)})


def keys() -> list[Case]:
    """What matches what."""
    text_parts = {"k": "text", "n": "text"}
    simple = {"e": "timestamp", "x": "int64"}
    return [
        one_view(
            "null and unknown keys",
            "NULL matches nothing, not even NULL; an unknown key has no features, and both keep their label.",
            rows=[{"k": None, "e": NOON, "x": 1}, {"k": "a", "e": NOON, "x": 3}, {"k": "", "e": NOON, "x": 4}],
            labels=pa.table({"k": [None, "b", "", "a"], "t": [NOON] * 4}),
            expected=[None, None, 4, 3],
        ),
        one_view(
            "null keys and a default",
            "A label without a key gets the default, as an unknown one does.",
            rows=[{"k": None, "e": NOON, "x": 1}],
            labels=pa.table({"k": pa.array([None, "b"], pa.string()), "t": [NOON] * 2}),
            expected=[7, 7],
            defaults={"x": 7},
        ),
        one_view(
            "NULL label time",
            "A label without a time gets nothing and is kept.",
            rows=[{"e": NOON, "x": 1}],
            labels=[None, NOON],
            expected=[None, 1],
        ),
        one_view(
            "all label times NULL",
            "Labels have no range of times then, which a filter by it must survive.",
            rows=[{"e": NOON, "x": 1}],
            labels=[None, None],
            expected=[None, None],
            ttl=HOUR,
        ),
        one_view(
            "composite keys that collide when glued",
            "('a', 'bc') is not ('ab', 'c'): every part is compared separately.",
            rows=[{"k": "a", "n": "bc", "e": NOON, "x": 1}, {"k": "ab", "n": "c", "e": NOON, "x": 2}],
            keys=text_parts,
            columns=simple,
            labels=labels({"k": ["ab", "a", "a", "abc", "abc"], "n": ["c", "bc", None, "", "bc"]}),
            expected=[2, 1, None, None, None],
        ),
        one_view(
            "composite keys with separators inside",
            "No separator is safe: ('a|', 'b') and ('a', '|b') are two keys.",
            rows=[{"k": "a|", "n": "b", "e": NOON, "x": 1}, {"k": "a", "n": "|b", "e": NOON, "x": 2}],
            keys=text_parts,
            columns=simple,
            labels=labels({"k": ["a", "a|"], "n": ["|b", "b"]}),
            expected=[2, 1],
        ),
        one_view(
            "composite key with a NULL part",
            "One part that is NULL makes the whole key unknown, on either side.",
            rows=[{"k": "a", "n": None, "e": NOON, "x": 1}, {"k": None, "n": "b", "e": NOON, "x": 2}],
            keys=text_parts,
            columns=simple,
            labels=labels({"k": ["a", None, "a"], "n": [None, "b", "b"]}),
            expected=[None, None, None],
        ),
        one_view(
            "keys of mixed types",
            "Integers of another width, decimals without fraction, dates and booleans are keys as they are.",
            rows=[
                {"k": 7, "n": Decimal(10**18 + 1), "d": date(2024, 3, 9), "b": True, "e": NOON, "x": 1},
                {"k": 7, "n": Decimal(10**18), "d": date(2024, 3, 9), "b": True, "e": NOON, "x": 2},
            ],
            keys={"k": "int32", "n": "decimal(20,0)", "d": "date", "b": "bool"},
            columns=simple,
            labels=labels(
                {
                    "k": [7, 7, 7],
                    "n": [10**18 + 1, 10**18, 10**18],
                    "d": [date(2024, 3, 9)] * 3,
                    "b": [True, True, False],
                }
            ),
            expected=[1, 2, None],
        ),
        one_view(
            "integer keys beyond 2^53",
            "Neighbours stay two keys; as floats they would be one.",
            rows=[{"k": 2**53, "e": NOON, "x": 1}, {"k": 2**53 + 1, "e": NOON, "x": 2}],
            keys={"k": "int64"},
            columns=simple,
            labels=labels({"k": [2**53 + 1, 2**53, 2**53 + 2]}),
            expected=[2, 1, None],
        ),
        one_view(
            "keys beyond the width of the view's",
            "A wider label key that the view's type can't hold matches nothing; it is not an error.",
            rows=[{"k": 7, "e": NOON, "x": 1}, {"k": -1, "e": NOON, "x": 2}],
            keys={"k": "int16"},
            columns=simple,
            labels=pa.table({"k": pa.array([7, 2**40 + 7, -1], pa.int64()), "t": stamps([NOON] * 3)}),
            expected=[1, None, 2],
        ),
        one_view(
            "unsigned keys beyond a signed type",
            "The greatest unsigned integer is not -1.",
            rows=[{"k": 7, "e": NOON, "x": 1}, {"k": -1, "e": NOON, "x": 2}],
            keys={"k": "int64"},
            columns=simple,
            labels=pa.table({"k": pa.array([7, 2**64 - 1, 2**63], pa.uint64()), "t": stamps([NOON] * 3)}),
            expected=[1, None, None],
        ),
        one_view(
            "decimal keys beyond an integer type",
            "A number without fraction is compared as a number, however large.",
            rows=[{"k": 7, "e": NOON, "x": 1}, {"k": -1, "e": NOON, "x": 2}],
            keys={"k": "int64"},
            columns=simple,
            labels=pa.table(
                {
                    "k": pa.array([Decimal(7), Decimal(10**37), Decimal(-1)], pa.decimal128(38, 0)),
                    "t": stamps([NOON] * 3),
                }
            ),
            expected=[1, None, 2],
        ),
        one_view(
            "text keys are not trimmed, folded or normalised",
            "Case, blanks, leading zeros and the two ways to write é all make another key.",
            rows=[
                {"k": key, "e": NOON, "x": number}
                for number, key in enumerate(["a", "A", "a ", "007", "7", "é", "e\u0301"])
            ],
            labels=labels({"k": ["e\u0301", "é", "7", "007", "a ", "A", "a", " a"]}),
            expected=[6, 5, 4, 3, 2, 1, 0, None],
        ),
        one_view(
            "text keys with zero characters",
            "A zero character ends nothing: what comes after it is part of the key.",
            rows=[{"k": key, "e": NOON, "x": number} for number, key in enumerate(["a", "a\0", "a\0b", "\0"])],
            labels=labels({"k": ["a\0c", "\0", "a\0b", "a\0", "a", ""]}),
            expected=[None, 3, 2, 1, 0, None],
        ),
        one_view(
            "key order",
            "The parts of a key are found by name, in whatever order the labels have them.",
            rows=[{"k": "a", "n": "b", "e": NOON, "x": 1}, {"k": "b", "n": "a", "e": NOON, "x": 2}],
            keys=text_parts,
            columns=simple,
            labels=labels({"n": ["a", "b"], "k": ["b", "a"]}),
            expected=[2, 1],
        ),
    ]


def views() -> list[Case]:
    """Roles, static views, several views at once."""
    team = make_view("team", {"k": "text"}, {"e": "timestamp", "x": "int64"}, ["x"], event_time="e", online=True)
    facts = make_view("facts", {"k": "text"}, {"x": "int64"}, ["x"], static=True, defaults={"x": 0}, online=True)
    late = make_view("late", {"k": "text"}, CLOCKS, ["x"], event_time="e", available_at="a", ttl=2 * HOUR, online=True)
    versioned = make_view(
        "team", {"k": "text"}, {"e": "timestamp", "x": "int64"}, ["x"], event_time="e", version="2", online=True
    )
    shared = [{"e": NOON, "x": 1, "y": 2}, {"e": NOON, "x": 1, "y": 3}]

    def sharing(name: str, feature: str, **more: Any) -> FeatureView:
        columns = {"e": "timestamp", "x": "int64", "y": "int64"}
        options = {"event_time": "e", "online": True, "relation_name": '"shared"', **more}
        return make_view(name, {"k": "text"}, columns, [feature], **options)

    one_x, one_y = sharing("one_x", "x"), sharing("one_y", "y")
    short, waiting = sharing("short", "x", ttl=HOUR), sharing("waiting", "y", delay=HOUR)
    one = make_view("facts", {"k": "text"}, {"x": "int64"}, ["x"], static=True, online=True)
    return [
        several_views(
            "roles",
            "One view joined twice, each time by its own key column and under its own name.",
            joins=[(team, "home", {"k": "home"}), (team, "away", {"k": "away"})],
            rows={"team": [{"k": "a", "e": NOON, "x": 1}, {"k": "b", "e": NOON, "x": 2}]},
            labels=labels({"home": ["a", "b", None], "away": ["b", "c", "a"]}),
            expected={"home__x": [1, 2, None], "away__x": [2, None, 1]},
        ),
        several_views(
            "roles and the plain view",
            "The same view in no role and in two, on keys that cross.",
            joins=[(team, None, {"k": "away"}), (team, "home", {"k": "home"}), (team, "away", {"k": "away"})],
            rows={"team": [{"k": "a", "e": NOON, "x": 1}, {"k": "b", "e": NOON + HOUR, "x": 2}]},
            labels=labels({"home": ["a", "b"], "away": ["b", "a"]}, [NOON + HOUR, NOON]),
            expected={"team__x": [2, 1], "home__x": [1, None], "away__x": [2, 1]},
        ),
        several_views(
            "static view",
            "Facts without a time join on keys alone, at any label time, and on NULL times.",
            joins=[(facts, None, None)],
            rows={"facts": [{"k": "a", "x": 1}, {"k": "b", "x": None}, {"k": None, "x": 3}, {"k": None, "x": 4}]},
            labels=labels({"k": ["b", "a", "c", None]}, [None, NOON, NOON, NOON]),
            expected={"facts__x": [None, 1, 0, 0]},
        ),
        several_views(
            "static view in event_time",
            "A view without times is the same in every mode that has no ledger.",
            joins=[(one, None, None)],
            rows={"facts": [{"k": "a", "x": 1}]},
            labels=labels({"k": ["a", "b"]}),
            expected={"facts__x": [1, None]},
            mode="event_time",
        ),
        several_views(
            "several views",
            "Each view has rules of its own, and none loses or multiplies a label.",
            joins=[(team, None, None), (late, None, None), (facts, None, None), (late, "other", {"k": "o"})],
            rows={
                "team": [{"e": NOON, "x": 1}, {"e": NOON, "x": 2}],
                "late": [
                    {"e": NOON, "a": NOON + HOUR, "x": 3},
                    {"e": NOON, "a": NOON + HOUR, "x": 4},
                    {"k": "b", "e": NOON - HOUR, "a": NOON - HOUR, "x": 5},
                ],
                "facts": [{"k": "a", "x": 6}],
            },
            labels=labels(
                {"k": ["a", "a", "b", None], "o": ["b", "b", "a", "a"]}, [NOON, NOON + 2 * HOUR, NOON, NOON + HOUR]
            ),
            expected={
                "team__x": [2, 2, None, None],
                "late__x": [None, 4, 5, None],
                "facts__x": [6, 6, 0, 0],
                "other__x": [5, None, None, 4],
            },
        ),
        several_views(
            "views that share a relation",
            "Two views of the same rows may be matched once, but each keeps its own rules.",
            joins=[(one_x, None, None), (one_y, None, None), (short, None, None), (waiting, None, None)],
            rows=dict.fromkeys(("one_x", "one_y", "short", "waiting"), shared),
            labels=labels({"k": ["a", "a", "a"]}, [NOON, NOON + HOUR, NOON + 2 * HOUR]),
            expected={
                "one_x__x": [1, 1, 1],
                "one_y__y": [3, 3, 3],
                "short__x": [1, 1, None],
                "waiting__y": [None, 3, 3],
            },
        ),
        several_views(
            "version of a view",
            "A version's columns carry it: team_v2__x.",
            joins=[(versioned, None, None)],
            rows={"team": [{"e": NOON, "x": 1}]},
            labels=labels({"k": ["a"]}),
            expected={"team_v2__x": [1]},
        ),
    ]


def spines() -> list[Case]:
    """The labels come out as they went in."""
    series = [{"e": NOON + n * HOUR, "x": n if n % 2 else None} for n in range(200)]

    def many(count: int) -> Case:
        places = [n * 37 % 200 for n in range(count)]
        return one_view(
            f"{count} label{'s' if count > 1 else ''}",
            "DuckDB joins up to 64 labels by another plan than 65; their order is not that of times or rows.",
            rows=series,
            labels=[NOON + n * HOUR for n in places],
            expected=[n if n % 2 else None for n in places],
        )

    return [
        one_view(
            "duplicate labels",
            "Labels that are the same in every column stay as many as they are.",
            rows=[{"e": NOON, "x": 1}],
            labels=[NOON, NOON, NOON - HOUR, NOON],
            expected=[1, 1, None, 1],
        ),
        one_view(
            "label order",
            "Rows come back in the order of the labels, not of their times or keys.",
            rows=[{"k": key, "e": NOON, "x": number} for number, key in enumerate("abc")],
            labels=labels({"k": ["c", "a", "b", "a"]}, [NOON, NOON + 9 * HOUR, NOON - HOUR, NOON]),
            expected=[2, 0, None, 0],
        ),
        one_view(
            "empty view",
            "A view without rows gives NULLs, not an empty training set.",
            rows=[],
            labels=[NOON, NOON],
            expected=[None, None],
        ),
        one_view(
            "empty labels",
            "No labels give no rows, with all columns.",
            rows=[{"e": NOON, "x": 1}],
            labels=[],
            expected=[],
        ),
        one_view(
            "empty labels and empty view",
            "No labels and no rows give no rows, and no error.",
            rows=[],
            labels=[],
            expected=[],
            ttl=HOUR,
        ),
        *(many(count) for count in (1, 64, 65, 3000)),
        one_view(
            "3000 labels of one moment",
            "A skewed spine: every label asks for the same key at the same time.",
            rows=[*series, *series],
            labels=[NOON + HOUR] * 3000,
            expected=[1] * 3000,
        ),
        one_view(
            "label columns untouched",
            "Every other column passes through as it is, whatever it holds.",
            rows=[{"e": NOON, "x": 1}],
            labels=pa.table(
                {
                    "text": ["00123", None, ""],
                    "k": ["a", "a", "a"],
                    "weight": [float("nan"), float("-inf"), None],
                    "big": [2**63 - 1, -(2**63), None],
                    "price": pa.array([Decimal("1.10"), None, Decimal("-0.01")], pa.decimal128(38, 2)),
                    "t": [NOON, NOON, NOON],
                    "day": pa.array([date(1, 1, 1), None, date(9999, 12, 31)]),
                    "seen": stamps([NOON, None, NOON], "Asia/Tokyo"),
                    "raw": [b"\x00\xff", None, b""],
                    "flag": [True, None, False],
                }
            ),
            expected=[1, 1, 1],
        ),
        one_view(
            "nested label columns untouched",
            "Columns of lists pass through as well.",
            rows=[{"e": NOON, "x": 1}],
            labels=pa.table(
                {"k": ["a", "a"], "t": [NOON] * 2, "tags": pa.array([["b", None], []], pa.list_(pa.string()))}
            ),
            expected=[1, 1],
        ),
    ]
