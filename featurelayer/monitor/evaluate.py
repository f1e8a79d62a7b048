"""Evaluate the monitors of one view: compare what each measured with its limit."""

from __future__ import annotations

import math
from collections.abc import Iterator

from featurelayer.errors import FeatureLayerError, PlanError, Problem
from featurelayer.monitor.context import MonitorContext
from featurelayer.monitor_records import Limit, Monitor, MonitorResult, MonitorStatus, MonitorValue, load_monitors
from featurelayer.terminal_text import first_line


def evaluate_monitors(context: MonitorContext) -> Iterator[MonitorResult]:
    """Yield the results of all monitors of a view."""
    for monitor in load_monitors().values():
        yield from evaluate_monitor(monitor, context)


def evaluate_monitor(monitor: Monitor, context: MonitorContext) -> Iterator[MonitorResult]:
    """Yield the results of one monitor: one per feature, or those of the view.

    Raises:
        PlanError: a monitor of another package failed.
    """
    try:
        yield from _feature_results(monitor, context) if monitor.per_feature else _view_results(monitor, context)
    except FeatureLayerError:
        raise
    except Exception as error:
        if not monitor.package:
            raise
        what = f"the monitor '{monitor.name}' of {monitor.package} failed: {type(error).__name__}: {first_line(error)}"
        fix = f"update {monitor.package}, or turn the monitor off with `monitors: {{{monitor.name}: false}}`"
        raise PlanError([Problem(what=f"{context.view.id}: {what}", where=context.view.yaml_path, fix=fix)]) from error


def _feature_results(monitor: Monitor, context: MonitorContext) -> Iterator[MonitorResult]:
    for feature in context.view.features:
        stats, limits = context.current.get(feature.name), context.limits.get(feature.name)
        if stats is None or limits is None or not limits[monitor.name].is_set:
            continue
        measured = monitor.measure(context, feature, stats)
        if measured is not None:
            yield _compare(monitor, measured, limits[monitor.name], context, feature.name)


def _view_results(monitor: Monitor, context: MonitorContext) -> Iterator[MonitorResult]:
    limit = Limit() if monitor.limit is None else context.settings.limits[monitor.name]
    if monitor.limit is None or limit.is_set:
        for measured in monitor.measure(context):
            yield _compare(monitor, measured, measured.limit or limit, context)


def _compare(
    monitor: Monitor, measured: MonitorValue, limit: Limit, context: MonitorContext, feature: str = ""
) -> MonitorResult:
    """Return the result of a measured by a limit; without a value it is skipped."""
    value = measured.value
    status, threshold = compare_value(value, limit)
    return MonitorResult(
        view=context.view.id,
        feature=feature,
        monitor=monitor.name,
        metric=monitor.metric,
        status=status,
        meaning=measured.meaning,
        value=value if value is not None and math.isfinite(value) else None,
        threshold=threshold,
        warn=limit.warn,
        error=limit.error,
        baseline=measured.baseline,
        start=context.period.start if context.period else None,
        end=context.period.end if context.period else None,
        checked_at=context.at,
    )


def compare_value(value: float | None, limit: Limit) -> tuple[MonitorStatus, float | None]:
    """Return the status of a value, and the threshold that it crossed or would cross first."""
    first = limit.warn if limit.warn is not None else limit.error
    if value is None:
        return MonitorStatus.SKIPPED, first
    for status, threshold in ((MonitorStatus.ERROR, limit.error), (MonitorStatus.WARN, limit.warn)):
        if threshold is not None and (value < threshold if limit.least else value > threshold):
            return status, threshold
    return MonitorStatus.PASS, first
