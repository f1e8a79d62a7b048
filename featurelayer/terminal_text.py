"""Text for people: safe to print, shares, numbers, counts, the first line of an error."""

from __future__ import annotations

import re

# C0 and C1 controls but tab and newline, marks that reorder text, line and paragraph separators, and halves of
# surrogate pairs, which can't be encoded at all.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return text with what a terminal would obey escaped, as JSON does it; newlines and tabs stay.

    >>> printable("\x1b[2J")
    '\\u001b[2J'
    """
    return _UNSAFE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error that has text, or the name of its class."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def format_share(share: float | None) -> str:
    """Return a share in percent, small ones with two digits that count; "" for None.

    >>> format_share(0.25), format_share(0.00042)
    ('25.0%', '0.042%')
    """
    if share is None:
        return ""
    return f"{share:.1%}" if share == 0 or share >= 0.01 else f"{share * 100:.2g}%"


def format_number(value: float | None, digits: int = 3) -> str:
    """Return a number with this many significant digits, or whole if it has more; "" for None."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def format_count(count: int, noun: str) -> str:
    """Return a count with its noun: `1 entity`, `2,000 entities`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"
