"""Mode as_served: a label gets what the newest export that had finished by then had seen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from featurelayer.testing.builders import make_view
from featurelayer.testing.case import Case
from featurelayer.testing.cases.common import CLOCKS, HOUR, MICROSECOND, NOON, Rows, one_view, several_views
from featurelayer.testing.oracle import Run

HOURLY = [{"e": NOON + n * HOUR, "x": n} for n in range(-2, 8)]


def cases() -> list[Case]:
    """Return the cases of this part."""
    return [*runs(), *rules(), *several()]


def as_served_case(
    name: str,
    why: str,
    exports: Sequence[Run],
    times: Sequence[datetime | None],
    expected: Sequence[int | None],
    rows: Rows = HOURLY,
    **more: Any,
) -> Case:
    """Return a case of one view with these exports."""
    given: dict[str, Any] = {"rows": rows, "labels": times, "expected": expected, "exports": exports}
    return one_view(name, why, mode="as_served", **given, **more)


def runs() -> list[Case]:
    """Which export was being served."""
    return [
        as_served_case(
            "served from when the export had finished",
            "While an export writes, what it writes is not served yet; its snapshot stays that of its own time T.",
            [(NOON + HOUR / 2, NOON)],
            [NOON, NOON + HOUR / 2 - MICROSECOND, NOON + HOUR / 2, NOON + 5 * HOUR],
            [None, None, 0, 0],
        ),
        as_served_case(
            "served until the next export",
            "Each label gets the newest export that had finished, not the newest row.",
            [(NOON + HOUR, NOON), (NOON + 3 * HOUR, NOON + 2 * HOUR), (NOON + 5 * HOUR, NOON + 5 * HOUR)],
            [NOON + 4 * HOUR, NOON, NOON + HOUR, NOON + 3 * HOUR - MICROSECOND, NOON + 3 * HOUR, NOON + 9 * HOUR],
            [2, None, 0, 0, 2, 5],
        ),
        as_served_case(
            "never exported",
            "What was never exported was never served, whatever the warehouse holds.",
            [],
            [NOON],
            [None],
        ),
        as_served_case(
            "an export that never finished",
            "A run that crashed has served nothing that can be told.",
            [(NOON, NOON - HOUR), (None, NOON + HOUR)],
            [NOON, NOON + 9 * HOUR],
            [-1, -1],
        ),
        as_served_case(
            "an older run that finishes last",
            "It began before the newer one, whose rows it does not overwrite: it never counts.",
            [(NOON + 4 * HOUR, NOON), (NOON + 2 * HOUR, NOON + HOUR)],
            [NOON + HOUR, NOON + 2 * HOUR, NOON + 4 * HOUR, NOON + 9 * HOUR],
            [None, 1, 1, 1],
        ),
        as_served_case(
            "runs that finish out of order",
            "Of three runs the first counts until a newer one has finished.",
            [(NOON + HOUR, NOON), (NOON + 5 * HOUR, NOON + HOUR), (NOON + 3 * HOUR, NOON + 2 * HOUR)],
            [NOON + HOUR, NOON + 3 * HOUR, NOON + 5 * HOUR],
            [0, 2, 2],
        ),
        as_served_case(
            "two exports that finish at once",
            "The newer run counts.",
            [(NOON + HOUR, NOON - HOUR), (NOON + HOUR, NOON)],
            [NOON + HOUR],
            [0],
        ),
        as_served_case(
            "two exports of one time",
            "Exporting the same time again changes nothing.",
            [(NOON + HOUR, NOON), (NOON + 2 * HOUR, NOON)],
            [NOON + HOUR, NOON + 3 * HOUR],
            [0, 0],
        ),
        as_served_case(
            "an export of an earlier time",
            "A newer run decides, also if its snapshot is of an earlier time than the one before.",
            [(NOON + 2 * HOUR, NOON + 2 * HOUR), (NOON + 3 * HOUR, NOON - HOUR)],
            [NOON + 2 * HOUR, NOON + 3 * HOUR],
            [2, -1],
        ),
        as_served_case(
            "NULL label time, as served",
            "A label without a time had no export to be served from.",
            [(NOON, NOON)],
            [None, NOON],
            [7, 0],
            defaults={"x": 7},
        ),
    ]


def rules() -> list[Case]:
    """What is taken at the snapshot's time, and what at the label's."""
    one = [(NOON + HOUR, NOON)]
    return [
        as_served_case(
            "rows are seen at the time of the snapshot",
            "What happened at the snapshot's very time is in it, an event after it is not, though the label is later.",
            one,
            [NOON + 2 * HOUR],
            [1],
            rows=[{"e": NOON, "x": 1}, {"e": NOON + MICROSECOND, "x": 2}],
        ),
        as_served_case(
            "exclusive bound, as served",
            "The bound is that of the snapshot's time.",
            one,
            [NOON + 2 * HOUR],
            [0],
            rows=[{"e": NOON - HOUR, "x": 0}, {"e": NOON, "x": 1}],
            bound="exclusive",
        ),
        as_served_case(
            "available time, as served",
            "What was not known at the snapshot's time was not exported.",
            [(NOON + HOUR, NOON), (NOON + 4 * HOUR, NOON + 3 * HOUR)],
            [NOON + 2 * HOUR, NOON + 4 * HOUR],
            [0, 1],
            rows=[{"e": NOON - HOUR, "a": NOON - HOUR, "x": 0}, {"e": NOON, "a": NOON + 2 * HOUR, "x": 1}],
            available_at="a",
        ),
        as_served_case(
            "delay, as served",
            "What had not waited for the delay was not exported either.",
            [(NOON + HOUR, NOON), (NOON + 4 * HOUR, NOON + HOUR)],
            [NOON + 2 * HOUR, NOON + 4 * HOUR],
            [0, 1],
            rows=[{"e": NOON - HOUR, "x": 0}, {"e": NOON, "x": 1}],
            delay=HOUR,
        ),
        as_served_case(
            "restatement, as served",
            "A correction is served from the export that had seen it.",
            [(NOON + HOUR, NOON + HOUR), (NOON + 3 * HOUR, NOON + 2 * HOUR)],
            [NOON + 2 * HOUR, NOON + 3 * HOUR],
            [1, 2],
            rows=[{"e": NOON, "a": NOON, "x": 1}, {"e": NOON, "a": NOON + 2 * HOUR, "x": 2}],
            available_at="a",
        ),
        as_served_case(
            "TTL, as served",
            "What was exported goes on ageing: it expires at the label's time, and the default takes its place.",
            one,
            [NOON + HOUR, NOON + 2 * HOUR, NOON + 2 * HOUR + MICROSECOND],
            [1, 1, 0],
            rows=[{"e": NOON, "x": 1}, {"e": NOON - HOUR, "x": 9}],
            ttl=2 * HOUR,
            defaults={"x": 0},
        ),
        as_served_case(
            "valid_to, as served",
            "A row ends at its own time, also between two exports.",
            one,
            [NOON + HOUR, NOON + 2 * HOUR - MICROSECOND, NOON + 2 * HOUR],
            [1, 1, None],
            rows=[{"e": NOON, "until": NOON + 2 * HOUR, "x": 1}],
            valid_to="until",
            defaults={"x": 0},
        ),
        as_served_case(
            "NULL in the exported row",
            "It was served as NULL.",
            one,
            [NOON, NOON + HOUR],
            [7, None],
            rows=[{"e": NOON - HOUR, "x": 1}, {"e": NOON, "x": None}],
            defaults={"x": 7},
        ),
        as_served_case(
            "tie, as served",
            "Training and export break ties alike.",
            one,
            [NOON + HOUR],
            [1],
            rows=[{"e": NOON, "c": NOON, "x": 9}, {"e": NOON, "c": NOON + HOUR, "x": 1}],
            created_timestamp="c",
        ),
    ]


def several() -> list[Case]:
    """Each view has exports of its own."""
    view = make_view("v", {"k": "text"}, CLOCKS, ["x"], event_time="e", online=True)
    facts = make_view("facts", {"k": "text"}, {"x": "int64"}, ["x"], static=True, defaults={"x": 0}, online=True)
    other = make_view("w", {"k": "text"}, CLOCKS, ["x"], event_time="e", online=True)
    times = [NOON, NOON + HOUR, NOON + 2 * HOUR, NOON + 3 * HOUR]
    return [
        several_views(
            "views exported at different times",
            "The ledger is per view: one export does not speak for another view.",
            joins=[(view, None, None), (other, None, None)],
            rows={"v": HOURLY, "w": HOURLY},
            labels=pa.table({"k": ["a"] * 4, "t": times}),
            expected={"v__x": [None, 0, 0, 0], "w__x": [None, None, 1, 3]},
            mode="as_served",
            exports={
                "v": [(NOON + HOUR, NOON)],
                "w": [(NOON + 2 * HOUR, NOON + HOUR), (NOON + 3 * HOUR, NOON + 3 * HOUR)],
            },
        ),
        several_views(
            "static view, as served",
            "A static view is served from its first export on.",
            joins=[(facts, None, None)],
            rows={"facts": [{"k": "a", "x": 5}]},
            labels=pa.table({"k": ["a"] * 4, "t": times}),
            expected={"facts__x": [0, 0, 5, 5]},
            mode="as_served",
            exports={"facts": [(NOON + 2 * HOUR, NOON)]},
        ),
        several_views(
            "roles, as served",
            "A view in two roles has one ledger and two keys.",
            joins=[(view, "home", {"k": "home"}), (view, "away", {"k": "away"}), (facts, None, {"k": "home"})],
            rows={"v": [{"e": NOON, "x": 1}, {"k": "b", "e": NOON, "x": 2}], "facts": [{"k": "b", "x": 5}]},
            labels=pa.table({"home": ["a", "b", None], "away": ["b", "a", "a"], "t": [NOON + HOUR, NOON, NOON + HOUR]}),
            expected={"home__x": [1, None, None], "away__x": [2, None, 1], "facts__x": [0, 5, 0]},
            mode="as_served",
            exports={"v": [(NOON + HOUR, NOON)], "facts": [(NOON, NOON)]},
        ),
    ]
