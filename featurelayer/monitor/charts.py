"""Charts of a run as Vega-Lite specifications, rendered to SVG by vl-convert: plain values in, text out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from featurelayer.errors import MissingDependency
from featurelayer.monitor.context import MonitorContext, format_span
from featurelayer.monitor.periods import Period
from featurelayer.monitor.statistics import ColumnStats
from featurelayer.monitor_records import AGE_METRIC, MonitorResult, MonitorStatus

BASELINE, NOW, WARN, ERROR, INK = "#b8c0cc", "#2f6fde", "#d98a00", "#c92a2a", "#3b4252"
_COLOURS = {
    MonitorStatus.PASS: "#2b8a3e",
    MonitorStatus.WARN: WARN,
    MonitorStatus.ERROR: ERROR,
    MonitorStatus.SKIPPED: BASELINE,
}
_CONFIG: dict[str, Any] = {
    "font": "Arial, Liberation Sans, Helvetica, sans-serif",
    "background": "transparent",
    "padding": {"left": 14, "right": 8, "top": 5, "bottom": 5},
    "view": {"stroke": "#e3e6eb"},
    "axis": {"labelColor": INK, "titleColor": INK, "gridColor": "#eef0f4", "domainColor": "#c6ccd6",
             "tickColor": "#c6ccd6", "titleFontWeight": "normal", "titleFontSize": 11, "labelFontSize": 10},
    "title": {"color": INK, "fontSize": 12, "fontWeight": 600, "anchor": "start", "offset": 8},
}  # fmt: skip
_HEIGHT, _WIDTH, _BARS, _NAMES = 150, 270, 24, 10


def render_svg(spec: dict[str, Any]) -> str:
    """Return a chart as SVG.

    Raises:
        MissingDependency: vl-convert is not installed.
    """
    try:
        import vl_convert
    except ModuleNotFoundError as error:
        raise MissingDependency("vl-convert-python", "monitor") from error
    drawn: str = vl_convert.vegalite_to_svg(json.dumps({**spec, "config": _CONFIG}))
    return drawn


def feature_chart(context: MonitorContext, feature: str, results: Sequence[MonitorResult]) -> dict[str, Any]:
    """Return the distribution of a feature now and in the baseline, and its NULLs and mean over time."""
    stats, before = context.current[feature], context.baseline.features.get(feature)
    charts = [_distribution(stats, before)]
    if len(context.history) > 1:
        charts.append(_null_rate_chart(context, feature, results))
        if any(part[feature].mean is not None for _, part in context.history):
            charts.append(_mean_chart(context, feature))
    return {"hconcat": [chart for chart in charts if chart is not None], "spacing": 28}


def rows_chart(context: MonitorContext) -> dict[str, Any]:
    """Return how many rows each period had."""
    values = [
        {
            "at": _iso_utc(period.start),
            "to": _iso_utc(period.end),
            "rows": max((part.rows for part in stats.values()), default=0),
            "which": "judged" if period == context.period else "before",
        }
        for period, stats in _skip_empty_periods(context)
    ]
    layers: list[dict[str, Any]] = [
        {
            "mark": {"type": "bar", "binSpacing": 1},
            "encoding": {
                "x": _time_axis("at"),
                "x2": {"field": "to"},
                "y2": {"datum": 0},
                "y": {"field": "rows", "type": "quantitative", "title": None, "axis": {"tickCount": 4, "format": "~s"}},
                "color": {
                    "field": "which",
                    "type": "nominal",
                    "scale": {"domain": ["before", "judged"], "range": [BASELINE, NOW]},
                    "legend": None,
                },
            },
        }
    ]
    if context.baseline.per_period:
        expected = {"values": [{"rows": context.baseline.per_period}]}
        layers.append(
            {"data": expected, "mark": _rule_mark(INK), "encoding": {"y": {"field": "rows", "type": "quantitative"}}}
        )
    return {
        "title": f"Rows per {context.settings.period}",
        "width": 3 * _WIDTH,
        "height": 90,
        "data": {"values": values},
        "layer": layers,
    }


def staleness_chart(results: Sequence[MonitorResult]) -> dict[str, Any] | None:
    """Return the ages of views, sources and online items as shares of the age at which they fail; None without ages."""
    values = []
    for result in results:
        most = result.error if result.error is not None else result.warn
        if result.metric != AGE_METRIC or result.value is None or not most:
            continue
        values.append(
            {
                "what": f"{result.view}{_age_suffix(result.monitor)}",
                "share": result.value / most,
                "drawn": min(max(result.value / most, 0.004), 3),
                "warn": (result.warn or most) / most,
                "after": min(max(result.value, result.warn or most if result.value < most else 0) / most, 3),
                "said": f"{_format_hours(result.value)} of {_format_hours(most)}",
                "colour": _COLOURS[result.status],
            }
        )
    if not values:
        return None
    y = {"field": "what", "type": "nominal", "title": None, "sort": None, "axis": {"labelLimit": 320, "ticks": False}}
    x = {
        "field": "drawn",
        "type": "quantitative",
        "title": "age, as a share of the age at which it fails (bars end at 300%)",
        "scale": {"domain": [0, 3.6]},
        "axis": {"format": "%", "values": [0, 0.5, 1, 1.5, 2, 2.5, 3]},
    }
    fill = {"field": "colour", "type": "nominal", "scale": None, "legend": None}
    return {
        "width": 2 * _WIDTH,
        "height": {"step": 24},
        "data": {"values": values},
        "layer": [
            {"mark": {"type": "bar", "height": 13}, "encoding": {"y": y, "x": x, "color": fill}},
            {"mark": {"type": "tick", "color": WARN, "thickness": 2, "size": 18},
             "encoding": {"y": y, "x": {"field": "warn", "type": "quantitative"}}},
            {"data": {"values": [{"at": 1}]}, "mark": _rule_mark(INK),
             "encoding": {"x": {"field": "at", "type": "quantitative"}}},
            {"mark": {"type": "text", "align": "left", "dx": 5, "color": INK, "fontSize": 10},
             "encoding": {"y": y, "x": {**x, "field": "after"}, "text": {"field": "said"}}},
        ],
    }  # fmt: skip


def _age_suffix(monitor: str) -> str:
    """Return what the age of `source_freshness` is of, in brackets; nothing for the view itself."""
    what = monitor.removesuffix("freshness").strip("_")
    return f" ({what})" if what else ""


def _distribution(stats: ColumnStats, before: ColumnStats | None) -> dict[str, Any] | None:
    if stats.edges and sum(stats.counts):
        return _histogram(stats, before)
    if stats.top:
        return _categories(stats, before)
    return None


def _histogram(stats: ColumnStats, before: ColumnStats | None) -> dict[str, Any]:
    low, high = _histogram_range(stats, before)
    width = (high - low) / _BARS or 1.0
    ends = [low + width * position for position in range(_BARS + 1)]
    values, outside = [], []
    for name, part in (("baseline", before), ("now", stats)):
        if part is None or part.edges != stats.edges or not sum(part.counts):
            continue
        curve = _cumulative_shares(part)
        for left, right in itertools.pairwise(ends):
            # What equals the least value is in the first bar.
            start = _share_below(curve, left) if left > curve[0][0] else 0.0
            share = max(_share_below(curve, right) - start, 0.0)
            values.append({"low": left, "high": right, "share": share, "which": name})
        under = _share_below(curve, low) if low > curve[0][0] else 0.0
        outside.append(f"{name} {1 - _share_below(curve, high) + under:.1%}")
    x = {
        "field": "low",
        "type": "quantitative",
        "title": f"beyond the ends: {', '.join(outside)}",
        "scale": {"domain": [low, high], "nice": False, "zero": False},
        "axis": {"tickCount": 6},
    }
    return {
        "title": "Distribution (grey: baseline)",
        "width": _WIDTH,
        "height": _HEIGHT,
        "data": {"values": values},
        "mark": {"type": "bar", "opacity": 0.55, "binSpacing": 0},
        "encoding": {
            "x": x,
            "x2": {"field": "high"},
            "y2": {"datum": 0},
            "y": {"field": "share", "type": "quantitative", "stack": None, "title": None,
                  "axis": {"format": "%", "tickCount": 4}},
            "color": _series_colour(),
        },
    }  # fmt: skip


def _categories(stats: ColumnStats, before: ColumnStats | None) -> dict[str, Any]:
    shares = {
        name: _category_shares(part)
        for name, part in (("baseline", before), ("now", stats))
        if part is not None and part.top
    }
    names = list(dict.fromkeys(value for part in shares.values() for value in part))
    names.sort(key=lambda value: -max(part.get(value, 0) for part in shares.values()))
    values = [
        {"value": name, "share": part.get(name, 0), "which": which}
        for name in names[:_NAMES]
        for which, part in shares.items()
    ]
    rest = f"{len(names) - _NAMES} more are not shown" if len(names) > _NAMES else ""
    return {
        "title": "Categories (grey: baseline)",
        "width": _WIDTH,
        "height": _HEIGHT,
        "data": {"values": values},
        "mark": {"type": "bar"},
        "encoding": {
            "y": {"field": "value", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 110}},
            "yOffset": {"field": "which", "sort": ["baseline", "now"]},
            "x": {
                "field": "share",
                "type": "quantitative",
                "title": rest or None,
                "axis": {"format": "%", "tickCount": 5},
            },
            "color": _series_colour(),
        },
    }


def _null_rate_chart(context: MonitorContext, feature: str, results: Sequence[MonitorResult]) -> dict[str, Any]:
    values: list[dict[str, Any]] = [
        {"at": _iso_utc(period.middle), "value": part[feature].null_rate, "judged": period == context.period}
        for period, part in context.history
        if part[feature].rows
    ]
    limits = [
        {"value": limit, "colour": colour}
        for result in results
        if result.monitor == "null_rate"
        for limit, colour in ((result.warn, WARN), (result.error, ERROR))
        # A limit far above everything would press the line flat.
        if limit is not None and limit <= 4 * max([0.05, *(each["value"] for each in values)])
    ]
    scale: dict[str, Any] = {"domainMin": 0}
    if max((each["value"] for each in values), default=0) == 0:
        scale["domainMax"] = 0.01
    return _line_chart("Share of NULLs", values, limits, {"format": "%", "tickCount": 4}, scale)


def _mean_chart(context: MonitorContext, feature: str) -> dict[str, Any]:
    values: list[dict[str, Any]] = [
        {"at": _iso_utc(period.middle), "value": part[feature].mean, "judged": period == context.period}
        for period, part in context.history
        if part[feature].mean is not None
    ]
    before = context.baseline.features.get(feature)
    limits = [] if before is None or before.mean is None else [{"value": before.mean, "colour": BASELINE}]
    return _line_chart("Mean (grey: baseline)", values, limits, {"tickCount": 4}, {"zero": False})


def _line_chart(
    title: str, values: list[dict[str, Any]], limits: list[dict[str, Any]], axis: dict[str, Any], scale: dict[str, Any]
) -> dict[str, Any]:
    y = {"field": "value", "type": "quantitative", "title": None, "axis": axis, "scale": scale}
    judged = {"condition": {"test": "datum.judged", "value": 60}, "value": 12}
    return {
        "title": title,
        "width": _WIDTH,
        "height": _HEIGHT,
        "layer": [
            {"data": {"values": limits}, "mark": _rule_mark(None),
             "encoding": {"y": y, "color": {"field": "colour", "type": "nominal", "scale": None, "legend": None}}},
            {"data": {"values": values}, "mark": {"type": "line", "color": NOW, "strokeWidth": 1.5},
             "encoding": {"x": _time_axis("at"), "y": y}},
            {"data": {"values": values}, "mark": {"type": "point", "color": NOW, "filled": True, "opacity": 1},
             "encoding": {"x": _time_axis("at"), "y": y, "size": judged}},
        ],
    }  # fmt: skip


def _histogram_range(stats: ColumnStats, before: ColumnStats | None) -> tuple[float, float]:
    """Return the range of a histogram: all values but far outliers, which would flatten it."""
    curves = [_cumulative_shares(part) for part in (stats, before) if part is not None and part.edges == stats.edges]
    low = min(_least_without_outliers(curve) for curve in curves)
    high = max(-_least_without_outliers([(-value, 1 - share) for value, share in reversed(curve)]) for curve in curves)
    return (low - 0.5, high + 0.5) if low == high else (low, high)


def _least_without_outliers(curve: Sequence[tuple[float, float]]) -> float:
    """Return the least value, or the end of the whisker below most values if it is an outlier."""
    few = next((value for value, share in curve if share >= 0.01), curve[-1][0])
    most = next((value for value, share in curve if share >= 0.95), curve[-1][0])
    return max(curve[0][0], few - (most - few) / 2)


def _cumulative_shares(stats: ColumnStats) -> list[tuple[float, float]]:
    """Return values with the share at or below them: the bins' edges, and quantiles beyond these."""
    total, passed = sum(stats.counts), 0
    if not total:
        return [(stats.edges[0], 0.0), (stats.edges[-1], 1.0)]
    at: dict[float, float] = {}
    for edge, count in zip(stats.edges, stats.counts, strict=False):
        passed += count
        at[edge] = passed / total
    first, last = stats.edges[0], stats.edges[-1]
    at |= {value: share for share, value in stats.quantiles if not first <= value <= last}
    # The outer bins reach further than the values in them.
    if stats.minimum is not None and stats.maximum is not None:
        at.setdefault(stats.minimum, 0.0)
        at.setdefault(stats.maximum, 1.0)
    shares, most = [], 0.0
    for value in sorted(at):
        most = max(most, at[value])
        shares.append((value, most))
    return shares


def _share_below(curve: Sequence[tuple[float, float]], value: float) -> float:
    """Interpolate the share at or below a value."""
    if value < curve[0][0]:
        return 0.0
    for (low, below), (high, above) in itertools.pairwise(curve):
        if value < high:
            return below + (above - below) * (value - low) / (high - low)
    return curve[-1][1]


def _category_shares(stats: ColumnStats) -> dict[str, float]:
    return {value: count / stats.values for value, count in stats.top}


def _series_colour() -> dict[str, Any]:
    scale = {"domain": ["baseline", "now"], "range": [BASELINE, NOW]}
    return {"field": "which", "type": "nominal", "scale": scale, "legend": None}


def _skip_empty_periods(context: MonitorContext) -> list[tuple[Period, Mapping[str, ColumnStats]]]:
    """Drop the periods before the view's first rows, but never the judged one."""
    return list(
        itertools.dropwhile(
            lambda each: each[0] != context.period and not any(part.rows for part in each[1].values()), context.history
        )
    )


def _rule_mark(colour: str | None) -> dict[str, Any]:
    rule: dict[str, Any] = {"type": "rule", "strokeDash": [4, 3], "strokeWidth": 1.2}
    return rule if colour is None else {**rule, "color": colour}


def _time_axis(field: str) -> dict[str, Any]:
    # A scale in UTC, or a chart would depend on the time zone of the machine that draws it.
    return {"field": field, "type": "temporal", "title": None, "scale": {"type": "utc"}, "axis": {"tickCount": 5}}


def _iso_utc(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _format_hours(hours: float) -> str:
    return format_span(timedelta(hours=hours))
