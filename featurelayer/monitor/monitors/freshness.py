"""What is too old: the sources, the view, and what the online store serves, each by its own limits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from featurelayer.model import Freshness
from featurelayer.monitor.context import MonitorContext, format_span
from featurelayer.monitor.settings import Limit
from featurelayer.monitor_records import MonitorResult


def check(watched: MonitorContext) -> Iterator[MonitorResult]:
    """Judge ages in hours; exactly as old as allowed is fresh, as in dbt and in serving."""
    for source in watched.sources:
        name = f"source {source.name}"
        yield _evaluate_age(watched, "source_freshness", name, source.newest, source.freshness, source.why_not)
    limits = watched.view.freshness
    if limits is None or watched.period is None:
        return
    yield _evaluate_age(watched, "freshness", "the view", watched.newest, limits, "the view has no rows up to now")
    if watched.online is not None:
        online = watched.online
        yield _evaluate_age(watched, "online_freshness", "the online store", online.newest, limits, online.why_not)


def _evaluate_age(
    watched: MonitorContext, monitor: str, what: str, newest: datetime | None, limits: Freshness, why_not: str
) -> MonitorResult:
    limit = Limit(warn=_to_hours(limits.warn_after), error=_to_hours(limits.error_after))
    if newest is None:
        empty = monitor == "freshness"
        # A view without rows is as stale as can be; of other things we only don't know.
        found = watched.result(monitor, math.inf if empty else None, limit, why_not, metric="age in hours")
        return replace(found, value=None)
    age = watched.at - newest
    allowed = limits.error_after if limits.error_after is not None else limits.warn_after
    meaning = (
        f"the newest row of {what} is {format_span(age)} old, of {newest:%Y-%m-%d %H:%M}"
        + (f"; {format_span(allowed)} are allowed" if allowed is not None else "")
    )  # fmt: skip
    return watched.result(monitor, age / timedelta(hours=1), limit, meaning, metric="age in hours")


def _to_hours(span: timedelta | None) -> float | None:
    return None if span is None else span / timedelta(hours=1)
