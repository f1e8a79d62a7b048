"""The winner among the visible rows (rule 3), which is taken whole (rules 4 and 5)."""

from __future__ import annotations

from featurelayer.testing.case import Case
from featurelayer.testing.cases.common import CLOCKS, HOUR, MICROSECOND, NOON, one_view

TYPED = {"e": "timestamp", "x": "text"}


def cases() -> list[Case]:
    """Return the cases of this part."""
    return [*ties(), *contents(), *whole_rows()]


def ties() -> list[Case]:
    """Several rows of one key and event time."""
    created = [
        {"e": NOON, "c": NOON, "x": 9},
        {"e": NOON, "c": NOON + HOUR, "x": 1},
        {"e": NOON, "x": 99},
    ]
    return [
        one_view(
            "tie with created time",
            "The row created last wins, whatever its values; an ASOF join alone takes any of them.",
            rows=created,
            labels=[NOON],
            expected=[1],
            created_timestamp="c",
        ),
        one_view(
            "tie without created time",
            "Without a created time the content decides, so that all runs agree: here the greatest c.",
            rows=created,
            labels=[NOON],
            expected=[1],
        ),
        one_view(
            "NULL created time",
            "NULL is lowest: a row without a created time loses, whatever an engine's NULL order.",
            rows=[{"e": NOON, "x": 99}, {"e": NOON, "c": NOON - HOUR, "x": 1}],
            labels=[NOON],
            expected=[1],
            created_timestamp="c",
        ),
        one_view(
            "all created times NULL",
            "With nothing to go by in the created time, the content decides.",
            rows=[{"e": NOON, "x": 1}, {"e": NOON, "x": 2}, {"e": NOON, "x": None}],
            labels=[NOON],
            expected=[2],
            created_timestamp="c",
        ),
        one_view(
            "event time before created time",
            "The created time only breaks ties: an older event that was written later does not win.",
            rows=[{"e": NOON - HOUR, "c": NOON + HOUR, "x": 1}, {"e": NOON, "c": NOON - HOUR, "x": 2}],
            labels=[NOON],
            expected=[2],
            created_timestamp="c",
        ),
        one_view(
            "created after the label",
            "The created time is not a cut-off; only available_at is.",
            rows=[{"e": NOON, "c": NOON, "x": 1}, {"e": NOON, "c": NOON + 9 * HOUR, "x": 2}],
            labels=[NOON],
            expected=[2],
            created_timestamp="c",
        ),
        one_view(
            "created time before available time",
            "Of one event's rows the created time is asked first, the available time second.",
            rows=[
                {"e": NOON, "c": NOON + HOUR, "a": NOON, "x": 1},
                {"e": NOON, "c": NOON, "a": NOON + HOUR, "x": 2},
                {"e": NOON, "c": NOON + HOUR, "a": NOON - HOUR, "x": 3},
            ],
            labels=[NOON + HOUR],
            expected=[1],
            created_timestamp="c",
            available_at="a",
        ),
        one_view(
            "declared tie-breaker",
            "A tie_breaker is asked before the content.",
            rows=created,
            labels=[NOON],
            expected=[99],
            tie_breaker=("x",),
        ),
        one_view(
            "two tie-breakers",
            "They are asked in their declared order.",
            rows=[
                {"e": NOON, "m": 1, "n": 9, "x": 1},
                {"e": NOON, "m": 2, "n": 1, "x": 2},
                {"e": NOON, "m": 2, "n": 3, "x": 3},
                {"e": NOON, "m": 2, "n": None, "x": 4},
            ],
            columns={"e": "timestamp", "x": "int64", "n": "int64", "m": "int64"},
            labels=[NOON],
            expected=[3],
            tie_breaker=("m", "n"),
        ),
        one_view(
            "equal rows",
            "Rows that are the same in every column are one answer, not two output rows.",
            rows=[{"e": NOON, "x": 1}] * 3,
            labels=[NOON, NOON + HOUR],
            expected=[1, 1],
        ),
        one_view(
            "tie on an expired moment",
            "Ties that no label may use any more return nothing, once.",
            rows=created,
            labels=[NOON + HOUR + MICROSECOND],
            expected=[None],
            ttl=HOUR,
        ),
    ]


def contents() -> list[Case]:
    """Ties that only the content can break: any total order does, as long as all engines have the same one."""

    def tie(name: str, why: str, kind: str, values: list[object], winner: object, *needs: str) -> Case:
        return one_view(
            f"tie by {name}",
            why,
            rows=[{"e": NOON, "x": value} for value in values],
            columns={"e": "timestamp", "x": kind},
            labels=[NOON],
            expected=[winner],
            needs=needs,
        )

    return [
        tie("text", "Text is compared by its UTF-8 bytes, not by a collation.", "text", ["Z", "a", "é", "z"], "é"),
        tie(
            "text beyond the 16-bit plane",
            "In UTF-16 a surrogate pair would sort before U+FF5E; in UTF-8 it sorts after.",
            "text",
            ["\uff5e", "\U0001f600"],
            "\U0001f600",
        ),
        tie("empty text", "Empty text is greater than NULL.", "text", [None, ""], ""),
        tie(
            "NaN",
            "NaN is the greatest number, above infinity; compared as usual it is neither.",
            "float64",
            [float("inf"), float("nan"), 1.0, None],
            float("nan"),
        ),
        tie("infinity", "Minus infinity is lowest but for NULL.", "float64", [float("-inf"), None], float("-inf")),
        tie(
            "signed zero",
            "0.0 and -0.0 are equal and not the same; 0.0 wins.",
            "float64",
            [0.0, -0.0],
            0.0,
            "signed zeros",
        ),
        tie("bool", "False is less than true.", "bool", [True, False, None], True),
        tie("bytes", "Bytes are compared as unsigned numbers.", "bytes", [b"\x7f", b"\xff", b""], b"\xff"),
        tie(
            "integers beyond 2^53",
            "Neighbours that are one number as floats.",
            "int64",
            [2**53, 2**53 + 1],
            2**53 + 1,
        ),
        tie("array", "Nested values are compared as canonical JSON.", "array<int64>", [[2], [1, 9], [10]], [2]),
        tie(
            "array of text",
            "As JSON, all text is quoted: an engine's own text form quotes some of it, and then sorts otherwise.",
            "array<text>",
            [["a b"], ["Z"], ["a"]],
            ["a"],
        ),
        tie(
            "array of text with commas",
            "Without quotes ['a, b'] and ['a', 'b'] are one text, and chance decides.",
            "array<text>",
            [["a, b"], ["a", "b"]],
            ["a, b"],
        ),
        tie("array with NULL", "A NULL element is JSON's null.", "array<text>", [["NULL"], [None], ["null"]], [None]),
        tie("empty array", "An empty list is not NULL.", "array<int64>", [None, []], []),
        tie(
            "struct",
            "A record is its JSON with the fields in their declared order.",
            "struct<w:text,n:int64>",
            [{"w": "a", "n": 2}, {"w": "é", "n": 1}, {"w": 'é"', "n": 3}, None],
            {"w": 'é"', "n": 3},
        ),
    ]


def whole_rows() -> list[Case]:
    """The winning row is taken as it is."""
    two = {**CLOCKS, "y": "text"}
    return [
        one_view(
            "NULL in the newest row",
            "It stays NULL: last_value(ignore nulls) would bring back a value of another time.",
            rows=[{"e": NOON - HOUR, "x": 1, "y": "old"}, {"e": NOON, "x": None, "y": "new"}],
            columns=two,
            features=("x", "y"),
            labels=[NOON - HOUR, NOON],
            expected={"v__x": [1, None], "v__y": ["old", "new"]},
        ),
        one_view(
            "NULL in the newest row and a default",
            "A default replaces a missing row, never a NULL inside a row: COALESCE on the output would.",
            rows=[{"e": NOON, "x": None}],
            labels=[NOON - HOUR, NOON],
            expected=[7, None],
            defaults={"x": 7},
        ),
        one_view(
            "all features NULL",
            "A row of NULLs is a row, not a missing one.",
            rows=[{"e": NOON - HOUR, "x": 1, "y": "a"}, {"e": NOON}],
            columns=two,
            features=("x", "y"),
            labels=[NOON],
            expected={"v__x": [None], "v__y": [None]},
            defaults={"x": 7, "y": "none"},
        ),
        one_view(
            "tie between values and NULLs",
            "Of rows that tie, one is taken whole; values of several rows are never mixed.",
            rows=[{"e": NOON, "x": 1, "y": None}, {"e": NOON, "x": None, "y": "b"}],
            columns=two,
            features=("x", "y"),
            labels=[NOON],
            expected={"v__x": [1], "v__y": [None]},
        ),
        one_view(
            "defaults",
            "Missing and expired features get the default, those that have one.",
            rows=[{"e": NOON, "x": 1, "y": "a"}],
            columns=two,
            features=("x", "y"),
            labels=[NOON - HOUR, NOON, NOON + 2 * HOUR],
            expected={"v__x": [0, 1, 0], "v__y": [None, "a", None]},
            defaults={"x": 0},
            ttl=HOUR,
        ),
        one_view(
            "default of NULL",
            "A default may be NULL, which is what there would be without one.",
            rows=[{"e": NOON, "x": 1}],
            labels=[NOON - HOUR],
            expected=[None],
            defaults={"x": None},
        ),
        one_view(
            "default of a list",
            "A default is a value of the column's type, lists too.",
            rows=[{"e": NOON, "x": [1]}],
            columns={"e": "timestamp", "x": "array<int64>"},
            labels=[NOON - HOUR, NOON],
            expected=[[7, 8], [1]],
            defaults={"x": [7, 8]},
        ),
        one_view(
            "valid_to",
            "A row that has ended by the label's time has no values; it ends at valid_to, not after it.",
            rows=[{"e": NOON - HOUR, "x": 1}, {"e": NOON, "until": NOON + HOUR, "x": 2}],
            labels=[NOON, NOON + HOUR - MICROSECOND, NOON + HOUR],
            expected=[2, 2, None],
            valid_to="until",
            defaults={"x": 7},
        ),
        one_view(
            "an ended row hides older ones",
            "A deleted entity has no values: filtering ended rows out before the match would bring an older row back.",
            rows=[{"e": NOON - HOUR, "until": None, "x": 1}, {"e": NOON, "until": NOON, "x": 2}],
            labels=[NOON],
            expected=[None],
            valid_to="until",
        ),
        one_view(
            "a successor of an ended row",
            "A snapshot's next row begins where the last one ends.",
            rows=[{"e": NOON - HOUR, "until": NOON, "x": 1}, {"e": NOON, "x": 2}],
            labels=[NOON - MICROSECOND, NOON],
            expected=[1, 2],
            valid_to="until",
        ),
    ]
