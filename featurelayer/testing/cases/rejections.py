"""Requests that can't be joined are refused, with a message of what, where and how to fix it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa

from featurelayer.errors import LabelError, PlanError
from featurelayer.testing.builders import make_view
from featurelayer.testing.case import Case
from featurelayer.testing.cases.common import CLOCKS, NOON, one_view, several_views

ROWS = [{"e": NOON, "x": 1}]
TIMED = {"e": "timestamp", "x": "int64"}
PLAIN = pa.table({"k": ["a"], "t": [NOON]})
# The last has a nanosecond too many.
FINE = pa.array([1_709_985_600_000_000_000, 1_709_985_600_000_000_001], pa.timestamp("ns"))


def cases() -> list[Case]:
    """Return the cases of this part."""
    return [*labels(), *views(), *fractions()]


def labels() -> list[Case]:
    """Label rows that can't be used."""

    def refuse(name: str, why: str, table: pa.Table, *says: str, rows: Any = ROWS, **more: Any) -> Case:
        return one_view(name, why, rows=rows, labels=table, error=LabelError, says=says, **more)

    twins = pa.Table.from_arrays([*PLAIN.columns, pa.array([1]), pa.array([2])], names=["k", "t", "y", "y"])
    unnamed = pa.Table.from_arrays([*PLAIN.columns, pa.array([1])], names=["k", "t", ""])
    return [
        refuse(
            "label column named like a feature column",
            "One of the two would have to be renamed in silence.",
            PLAIN.append_column("v__x", pa.array([7])),
            "label column 'v__x' has the name of the feature column 'v__x'",
            "give the view another role",
        ),
        refuse(
            "label column like a feature column but for case",
            "A warehouse would see one column.",
            PLAIN.append_column("V__X", pa.array([7])),
            "label column 'V__X' has the name of the feature column 'v__x'",
        ),
        refuse(
            "text label key, integer view key",
            "Keys are never cast: '007' is not 7.",
            pa.table({"k": ["007"], "t": [NOON]}),
            "label column 'k' is text, the key k is int64",
            "'007' is not 7",
            rows=[{"k": 7, **ROWS[0]}],
            keys={"k": "int64"},
        ),
        refuse(
            "integer label key, text view key",
            "Nor is 7 '7': no key becomes text either.",
            pa.table({"k": [7], "t": [NOON]}),
            "label column 'k' is int64, the key k is text",
        ),
        refuse(
            "float label key",
            "The floats that pandas makes of integers with a gap are not keys.",
            pa.table({"k": [7.0, None], "t": [NOON, NOON]}),
            "label column 'k' is float64, the key k is int64",
            "astype('Int64')",
            rows=[{"k": 7, **ROWS[0]}],
            keys={"k": "int64"},
        ),
        refuse(
            "labels without a key and a time",
            "All that is missing is reported at once.",
            pa.table({"kk": ["a"], "when": [NOON]}),
            "2 problems",
            "the labels have no column 'k'",
            "the labels have no timestamp column 't'",
        ),
        refuse(
            "labels without one part of a key",
            "A composite key needs every part.",
            PLAIN,
            "the labels have no column 'n'",
            keys={"k": "text", "n": "text"},
            rows=[{"k": "a", "n": "b", **ROWS[0]}],
        ),
        refuse(
            "label time that is a number",
            "Seconds or milliseconds since when is not guessed.",
            pa.table({"k": ["a"], "t": [1_709_985_600]}),
            "label column 't' is int64, not a timestamp",
            "convert it to a timestamp in UTC",
        ),
        refuse(
            "label time that is text",
            "The notation of a date is not guessed.",
            pa.table({"k": ["a"], "t": ["2024-03-09 12:00"]}),
            "label column 't' is text, not a timestamp",
        ),
        refuse(
            "label columns of one name",
            "It could not be told which is which.",
            twins,
            "the labels have 2 columns named 'y'",
        ),
        refuse("label column without a name", "A column needs one.", unnamed, "label column 3 has no name"),
    ]


def views() -> list[Case]:
    """Views that can't be joined as annotated."""

    def refuse(name: str, why: str, rows: Any, *says: str, **more: Any) -> Case:
        return one_view(name, why, rows=rows, labels=PLAIN, error=PlanError, says=says, **more)

    facts = make_view("facts", {"k": "text", "n": "int64"}, {"x": "int64"}, ["x"], static=True)
    ours = make_view("v", {"k": "text"}, {"e": "timestamp", "__fl_x": "int64"}, ["__fl_x"], event_time="e")
    day = {"e": "date", "a": "date", "x": "int64"}
    return [
        refuse(
            "DATE event without delay",
            "A row stamped with a day is usually known when the day is over, which must be declared.",
            [{"e": date(2024, 3, 9), "x": 1}],
            "v: the event time 'e' is a DATE and neither delay nor available_at is set",
            "delay: 1 day",
            columns=day,
        ),
        several_views(
            "static view with several rows per key",
            "Facts without a time must be unique; otherwise labels would be multiplied.",
            joins=[(facts, None, None)],
            rows={"facts": [{"k": "a", "n": n, "x": x} for n, x in ((1, 1), (1, 2), (2, 3))]},
            labels=pa.table({"k": ["a"], "n": [1], "t": [NOON]}),
            error=PlanError,
            messages=("facts: a static view must have one row per key", "k, n = ('a', 1)", "make the model unique"),
        ),
        refuse(
            "key of another type in the relation",
            "What is declared and what is built must agree.",
            pa.table({"k": [7], "e": [NOON], "x": [1]}),
            "v: join key 'k' is int64 in",
            "declared text",
            columns=TIMED,
        ),
        refuse(
            "relation without a feature",
            "A column that is declared and not built is missed before anything runs.",
            pa.table({"k": ["a"], "e": [NOON], "xx": [1]}),
            "v: feature 'x' is not a column of",
            "(did you mean 'xx'?)",
            columns=TIMED,
        ),
        refuse(
            "relation without event time, available time and tie-breaker",
            "All that is missing is reported at once.",
            pa.table({"k": ["a"], "x": [1], "c": [NOON], "until": [NOON]}),
            "v: event time 'e' is not a column of",
            "v: available_at 'a' is not a column of",
            "v: tie_breaker 'u' is not a column of",
            available_at="a",
            tie_breaker=("u",),
        ),
        refuse(
            "event time that is text",
            "A time has a time's type.",
            pa.table({"k": ["a"], "e": ["2024-03-09"], "x": [1]}),
            "v: event time 'e' is text in",
            "not a timestamp",
            columns=TIMED,
        ),
        refuse(
            "available time that is a number",
            "What is true of the event time is true of the other times.",
            pa.table({"k": ["a"], "e": [NOON], "a": [1_709_985_600], "x": [1]}),
            "v: available_at 'a' is int64 in",
            columns={"e": "timestamp", "a": "timestamp", "x": "int64"},
            available_at="a",
        ),
        several_views(
            "names of our own",
            "Features and roles may not start as the script's own columns do.",
            joins=[(ours, "__FL_labels", None)],
            rows={"v": [{"e": NOON, "__fl_x": 1}]},
            labels=PLAIN,
            error=PlanError,
            messages=(
                "v: the name '__FL_labels' starts with __fl_",
                "v: the name '__fl_x' starts with __fl_",
                "rename it",
            ),
        ),
        one_view(
            "as_served for a view that is never exported",
            "A view that is not online was never served.",
            rows=ROWS,
            labels=PLAIN,
            mode="as_served",
            online=False,
            error=PlanError,
            says=["v is never exported", "online: true"],
        ),
    ]


def fractions() -> list[Case]:
    """Values finer than a microsecond: truncating them could move a label past an event."""

    def times(**columns: pa.Array) -> pa.Table:
        whole = pa.array([NOON, NOON], pa.timestamp("us"))
        filled = {name: columns.get(name, whole) for name in ("e", "a", "c", "until")}
        return pa.table({"k": ["a", "a"], **filled, "x": [1, 2]})

    def fine(name: str, column: str, **more: Any) -> Case:
        return one_view(
            name,
            "A value that microseconds can't hold is refused, never truncated.",
            rows=times(**{column: FINE}),
            labels=PLAIN,
            error=PlanError,
            says=[f"v: '{column}' has values finer than a microsecond in", "round it to microseconds in the model"],
            columns=CLOCKS,
            **more,
        )

    def label(name: str, times: pa.Array) -> Case:
        return one_view(
            name,
            "A label that microseconds can't hold is refused and named by its row.",
            rows=ROWS,
            labels=pa.table({"k": ["a", "a"], "t": times}),
            error=LabelError,
            says=[
                "label column 't' has values finer than a microsecond",
                "in row 1 (rows are counted from 0)",
                "round them to microseconds",
            ],
        )

    return [
        label("label time finer than a microsecond", FINE),
        label("aware label time finer than a microsecond", FINE.cast(pa.timestamp("ns", "Asia/Tokyo"))),
        fine("event time finer than a microsecond", "e"),
        fine("available time finer than a microsecond", "a", available_at="a"),
        fine("valid_to finer than a microsecond", "until", valid_to="until"),
    ]
