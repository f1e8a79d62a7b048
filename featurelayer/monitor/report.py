"""The report of a run: one HTML file that needs nothing else, and its charts as SVG files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from featurelayer.errors import PlanError, Problem
from featurelayer.monitor.charts import feature_chart, render_svg, rows_chart, staleness_chart
from featurelayer.monitor.context import MonitorContext
from featurelayer.monitor.result import MonitorReport, format_number
from featurelayer.monitor.statistics import ColumnStats
from featurelayer.monitor_records import MonitorResult, MonitorStatus
from featurelayer.terminal_text import format_share

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_AGES = {"freshness": "", "source_freshness": " (source)", "online_freshness": " (online)"}
_ORDER = (MonitorStatus.SKIPPED, MonitorStatus.PASS, MonitorStatus.WARN, MonitorStatus.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class _FeatureSection:
    name: str
    description: str
    status: MonitorStatus
    figures: tuple[tuple[str, str], ...]
    chart: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _ViewSection:
    anchor: str
    watched: MonitorContext
    results: tuple[MonitorResult, ...]
    rows: str
    features: tuple[_FeatureSection, ...]


def write_report(report: MonitorReport, folder: Path, project: str) -> Path:
    """Write `index.html` and `charts/*.svg` into a folder; return the path of the page.

    Raises:
        MissingDependency: the extra `monitor` is not installed.
        PlanError: the folder can't be written.
    """
    from jinja2 import Environment

    charts: dict[str, str] = {}
    stale = staleness_chart(report.results, _AGES)
    if stale is not None:
        charts["staleness"] = render_svg(stale)
    views = [_view_section(watched, report, charts) for watched in report.watched]
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    page = template.render(
        project=project, report=report, views=views, number=format_number, staleness=charts.get("staleness", "")
    )
    try:
        (folder / "charts").mkdir(parents=True, exist_ok=True)
        for name, chart in charts.items():
            (folder / "charts" / f"{name}.svg").write_text(chart, encoding="utf-8")
        (folder / "index.html").write_text(page, encoding="utf-8")
    except OSError as error:
        what = f"the report can't be written to {folder}: {error.strerror}"
        raise PlanError([Problem(what=what, fix="choose another folder with --report")]) from error
    return folder / "index.html"


def _view_section(watched: MonitorContext, report: MonitorReport, charts: dict[str, str]) -> _ViewSection:
    view = watched.view.id
    results = [result for result in report.results if result.view == view]
    if len(watched.history) > 1:
        charts[_file_name(view, "rows")] = render_svg(rows_chart(watched))
    return _ViewSection(
        anchor=_file_name(view),
        watched=watched,
        results=tuple(
            result
            for status in (MonitorStatus.ERROR, MonitorStatus.WARN)
            for result in results
            if result.status is status
        ),
        rows=charts.get(_file_name(view, "rows"), ""),
        features=tuple(_feature_sections(watched, results, charts)),
    )


def _feature_sections(
    watched: MonitorContext, results: list[MonitorResult], charts: dict[str, str]
) -> Iterator[_FeatureSection]:
    for feature in watched.view.features:
        seen = watched.current.get(feature.name)
        if seen is None:
            continue
        mine = [result for result in results if result.feature == feature.name]
        chart = feature_chart(watched, feature.name, mine)
        if chart["hconcat"]:
            charts[_file_name(watched.view.id, feature.name)] = render_svg(chart)
        yield _FeatureSection(
            name=feature.name,
            description=feature.description,
            status=max((result.status for result in mine), key=_ORDER.index, default=MonitorStatus.SKIPPED),
            figures=tuple(_key_figures(seen)),
            chart=charts.get(_file_name(watched.view.id, feature.name), ""),
        )


def _key_figures(seen: ColumnStats) -> Iterator[tuple[str, str]]:
    yield "rows", f"{seen.rows:,}"
    if seen.null_rate is not None:
        yield "NULLs", format_share(seen.null_rate)
    if seen.distinct is not None:
        yield "different values, about", f"{seen.distinct:,}"
    if not seen.edges:
        return
    quantiles = dict(seen.quantiles)
    named = (("least", seen.minimum), ("median", quantiles.get(0.5)), ("mean", seen.mean),
             ("standard deviation", seen.std), ("99%", quantiles.get(0.99)), ("greatest", seen.maximum))  # fmt: skip
    yield from ((name, format_number(value)) for name, value in named if value is not None)


def _file_name(*names: str) -> str:
    return re.sub(r"[^\w.-]", "_", "__".join(names))
