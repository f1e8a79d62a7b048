"""Text of unknown origin made safe to print: its control characters could drive the reader's terminal."""

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
