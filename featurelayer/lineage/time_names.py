"""Guesses from types and names whether a column is a time, and which kind of time."""

from __future__ import annotations

import re

from sqlglot import exp

_TYPES = ("DATE", "TIME", "TIMESTAMP", "DATETIME")
_NAME = re.compile(
    r"(^|_)(at|ts|time|timestamp|datetime|date|day|week|month|quarter|year|hour|minute|utc|when|since|until|dt|point)$",
    re.IGNORECASE,
)
_PERIOD = re.compile(r"(^|_)(date|day|week|month|quarter|year|dt)(_|$)", re.IGNORECASE)
_WRITTEN = re.compile(
    r"updated|modified|inserted|loaded|synced|extracted|ingested|_etl|_dbt|fivetran|airbyte|valid_", re.IGNORECASE
)
_AUDIT = re.compile(
    r"updated|modified|changed|created|inserted|loaded|synced|extracted|ingested|_etl|_dbt|fivetran|airbyte|signed|"
    r"signup|registered|birth|deleted|valid_|dbt_valid",
    re.IGNORECASE,
)
_END = re.compile(
    r"(^|_)(to|until|end|ends|ended|closed|expires?|expired|expiry|finished|next|due|deadline|expected|scheduled)(_|$)",
    re.IGNORECASE,
)
_TIME_KEY = re.compile(r"(date|day|week|month|quarter|year|hour)_?(id|key|sk)$", re.IGNORECASE)
_CUT = (exp.TimestampTrunc, exp.DateTrunc, exp.DatetimeTrunc, exp.TsOrDsToDate, exp.Date, exp.DateAdd, exp.TimestampAdd)


def is_time_name(name: str) -> bool:
    """Whether a column of that name is most likely a time."""
    return _NAME.search(name) is not None


def is_time_key(name: str) -> bool:
    """Whether a column of that name is most likely the key of a calendar's rows, as `date_key`."""
    return _TIME_KEY.search(name) is not None


def is_period_name(name: str) -> bool:
    """Whether a column of that name is most likely the start of a day or of a longer period."""
    return _PERIOD.search(name) is not None


def is_written_name(name: str) -> bool:
    """Whether a column of that name is only the time a row was written, not of an event."""
    return _WRITTEN.search(name) is not None


def is_audit_name(name: str) -> bool:
    """Whether a column of that name is most likely the time a row was written or became valid."""
    return _AUDIT.search(name) is not None


def is_end_name(name: str) -> bool:
    """Whether a time of that name is most likely the end of something that began earlier."""
    return _END.search(name) is not None


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
