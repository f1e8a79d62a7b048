"""Values of every type come out as they are in the view."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from featurelayer.testing.case import Case
from featurelayer.testing.cases.common import HOUR, NOON, one_view


def cases() -> list[Case]:
    """Return the cases of this part."""

    def round_trip(name: str, why: str, kind: str, values: list[Any], *needs: str) -> Case:
        return one_view(
            name,
            why,
            rows=[{"e": NOON + n * HOUR, "x": value} for n, value in enumerate(values)],
            columns={"e": "timestamp", "x": kind},
            labels=[NOON - HOUR, *(NOON + n * HOUR for n in range(len(values)))],
            expected=[None, *values],
            needs=needs,
        )

    def default(kind: str, value: Any, given: Any) -> Case:
        return one_view(
            f"default of {kind}",
            "A default is a value of the column's type, exactly.",
            rows=[{"e": NOON, "x": given}],
            columns={"e": "timestamp", "x": kind},
            labels=[NOON - HOUR, NOON],
            expected=[value, given],
            defaults={"x": value},
        )

    big = Decimal("12345678901234567890.1234567890")
    return [
        round_trip(
            "integers", "Integers beyond 2^53 are no floats.", "int64", [2**53 + 1, 2**63 - 1, -(2**63), 0, None]
        ),
        round_trip("small integers", "The edges of a narrow type are kept.", "int8", [127, -128, 0]),
        round_trip("unsigned integers", "Unsigned integers reach 2^64 - 1.", "uint64", [2**64 - 1, 2**53 + 1, 0]),
        round_trip("decimals", "All digits are kept.", "decimal(38,10)", [big, -big, Decimal("0.0000000001"), None]),
        round_trip(
            "floats",
            "The smallest and the largest are kept, and 0.1 is not rounded.",
            "float64",
            [0.1, 5e-324, 1.7976931348623157e308, -1.5, 2.0**53 + 2, None],
        ),
        round_trip(
            "infinities and NaN",
            "They are values, not NULL; and NULL is not NaN.",
            "float64",
            [float("inf"), float("-inf"), float("nan"), None],
        ),
        round_trip("signed zeros", "Minus zero stays minus zero.", "float64", [-0.0, 0.0], "signed zeros"),
        round_trip(
            "single floats",
            "A float32 is not widened to another number.",
            "float32",
            [0.5, float("nan"), -float("inf")],
        ),
        round_trip(
            "text",
            "Any Unicode, empty text and line breaks.",
            "text",
            ["", " ", "é", "e\u0301", "\U0001f600", "a\n\t'\"\\", "NULL", None],
        ),
        round_trip("bytes", "Bytes that are no text.", "bytes", [b"", b"\x00\xff", b"abc", None]),
        round_trip("booleans", "False is not NULL.", "bool", [True, False, None]),
        round_trip(
            "dates",
            "The first and the last day there is are kept.",
            "date",
            [date(1, 1, 1), date(9999, 12, 31), date(1970, 1, 1), None],
        ),
        round_trip(
            "timestamps",
            "All times are kept to the microsecond.",
            "timestamp",
            [datetime(1, 1, 1), datetime(2024, 3, 10, 2, 30, 0, 1), None],
        ),
        round_trip(
            "aware timestamps",
            "Instants, whatever zone the session shows them in.",
            "timestamptz",
            [datetime(2024, 3, 10, 7, tzinfo=UTC), datetime(2024, 11, 3, 5, 30, 0, 1, tzinfo=UTC), None],
        ),
        round_trip("arrays", "Empty, with NULLs, and none.", "array<int64>", [[1, 2], [], [None], [2**53 + 1], None]),
        round_trip(
            "arrays of text", "Elements may hold anything.", "array<text>", [["a, b"], ["a", "b"], [""], ["'", '"']]
        ),
        round_trip(
            "arrays of arrays", "Nested as deep as need be.", "array<array<float64>>", [[[1.5], []], [[]], [None]]
        ),
        round_trip(
            "structs",
            "Records with NULL fields, and none.",
            "struct<n:int64,w:text>",
            [{"n": 1, "w": "a"}, {"n": None, "w": None}, None],
        ),
        default("int64", 2**53 + 1, 1),
        default("uint64", 2**64 - 1, 1),
        default("decimal(20,10)", Decimal("0.1000000001"), Decimal("2.5")),
        default("float64", -1.5, 0.0),
        default("text", 'it\'s \\ "none"', ""),
        default("bool", False, True),
        default("date", date(1970, 1, 1), date(2024, 3, 9)),
        default("timestamp", datetime(1970, 1, 1, 0, 0, 0, 1), NOON),
        default("array<text>", ["it's", ""], []),
    ]
