"""Monitor the age of the sources, of the view, and of what the online store serves.

Their limits are those of `freshness`. A value exactly as old as allowed is fresh, as in dbt and in serving.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta

from featurelayer.model import Freshness
from featurelayer.monitor.context import MonitorContext, format_span
from featurelayer.monitor_records import AGE_METRIC, Limit, MonitorValue, view_monitor


@view_monitor(text="Age of the newest row of a dbt source.", metric=AGE_METRIC, has_key=False)
def source_freshness(context: MonitorContext) -> Iterator[MonitorValue]:
    """Measure the ages of the view's dbt sources by their own limits."""
    for source in context.sources:
        yield _measure_age(context, f"source {source.name}", source.newest, source.freshness, source.why_not)


@view_monitor(text="Age of the newest row of the view.", metric=AGE_METRIC, has_key=False)
def freshness(context: MonitorContext) -> Iterator[MonitorValue]:
    """Measure the age of the view; without rows it is as stale as can be."""
    limits = context.view.freshness
    if limits is None or context.period is None:
        return
    if context.newest is None:
        yield MonitorValue(value=math.inf, meaning="the view has no rows up to now", limit=_to_limit(limits))
        return
    yield _measure_age(context, "the view", context.newest, limits, "")


@view_monitor(text="Age of the newest row that the online store serves.", metric=AGE_METRIC, has_key=False)
def online_freshness(context: MonitorContext) -> Iterator[MonitorValue]:
    """Measure the age of what the online store serves of the view."""
    limits, online = context.view.freshness, context.online
    if limits is not None and context.period is not None and online is not None:
        yield _measure_age(context, "the online store", online.newest, limits, online.why_not)


def _measure_age(
    context: MonitorContext, what: str, newest: datetime | None, limits: Freshness, why_not: str
) -> MonitorValue:
    limit = _to_limit(limits)
    if newest is None:
        return MonitorValue(value=None, meaning=why_not, limit=limit)
    age = context.at - newest
    allowed = limits.error_after if limits.error_after is not None else limits.warn_after
    meaning = f"the newest row of {what} is {format_span(age)} old, of {newest:%Y-%m-%d %H:%M}"
    meaning += f"; {format_span(allowed)} are allowed" if allowed is not None else ""
    return MonitorValue(value=age / timedelta(hours=1), meaning=meaning, limit=limit)


def _to_limit(limits: Freshness) -> Limit:
    """Return limits in hours."""
    hours = [None if span is None else span / timedelta(hours=1) for span in (limits.warn_after, limits.error_after)]
    return Limit(warn=hours[0], error=hours[1])
