"""What is a time, as far as a look at its type and its name can tell."""

from __future__ import annotations

import re

from sqlglot import exp

_TYPES = ("DATE", "TIME", "TIMESTAMP", "DATETIME")
_NAME = re.compile(
    r"(^|_)(at|ts|time|timestamp|datetime|date|day|week|month|quarter|year|hour|minute|utc|when|since|until|dt|point)$",
    re.IGNORECASE,
)
_CUT = (exp.TimestampTrunc, exp.DateTrunc, exp.DatetimeTrunc, exp.TsOrDsToDate, exp.Date, exp.DateAdd, exp.TimestampAdd)


def is_time_name(name: str) -> bool:
    """Whether a column of that name is most likely a time."""
    return _NAME.search(name) is not None


def is_time_type(text: str) -> bool:
    """Whether the name of a type is that of a time."""
    return text.upper().startswith(_TYPES)


def is_time(node: exp.Expression, of: str = "") -> bool:
    """Whether an expression is most likely a time; `of` is its type, if that is known."""
    if of:
        return is_time_type(of)
    while isinstance(node, exp.Paren | exp.Alias | exp.Ordered):
        node = node.this
    if isinstance(node, exp.Column):
        return is_time_name(node.name)
    if isinstance(node, exp.Cast):
        return is_time_type(node.to.sql())
    return isinstance(node, _CUT)
