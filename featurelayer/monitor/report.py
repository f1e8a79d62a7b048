"""The report of a run: a self-contained HTML file, and its charts as SVG files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from featurelayer.errors import PlanError, Problem
from featurelayer.monitor.charts import feature_chart, render_svg, rows_chart, staleness_chart
from featurelayer.monitor.context import MonitorContext
from featurelayer.monitor.result import MonitorReport
from featurelayer.monitor.statistics import ColumnStats
from featurelayer.monitor_records import MonitorResult, MonitorStatus
from featurelayer.terminal_text import format_number, format_share

_TEMPLATE = Path(__file__).with_name("report.html.j2")
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
    context: MonitorContext
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
    stale = staleness_chart(report.results)
    if stale is not None:
        charts["staleness"] = render_svg(stale)
    views = [_view_section(context, report, charts) for context in report.contexts]
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


def _view_section(context: MonitorContext, report: MonitorReport, charts: dict[str, str]) -> _ViewSection:
    view = context.view.id
    results = [result for result in report.results if result.view == view]
    if len(context.history) > 1:
        charts[_file_name(view, "rows")] = render_svg(rows_chart(context))
    return _ViewSection(
        anchor=_file_name(view),
        context=context,
        results=tuple(
            result
            for status in (MonitorStatus.ERROR, MonitorStatus.WARN)
            for result in results
            if result.status is status
        ),
        rows=charts.get(_file_name(view, "rows"), ""),
        features=tuple(_feature_sections(context, results, charts)),
    )


def _feature_sections(
    context: MonitorContext, results: list[MonitorResult], charts: dict[str, str]
) -> Iterator[_FeatureSection]:
    for feature in context.view.features:
        stats = context.current.get(feature.name)
        if stats is None:
            continue
        mine = [result for result in results if result.feature == feature.name]
        chart = feature_chart(context, feature.name, mine)
        if chart["hconcat"]:
            charts[_file_name(context.view.id, feature.name)] = render_svg(chart)
        yield _FeatureSection(
            name=feature.name,
            description=feature.description,
            status=max((result.status for result in mine), key=_ORDER.index, default=MonitorStatus.SKIPPED),
            figures=tuple(_key_figures(stats)),
            chart=charts.get(_file_name(context.view.id, feature.name), ""),
        )


def _key_figures(stats: ColumnStats) -> Iterator[tuple[str, str]]:
    yield "rows", f"{stats.rows:,}"
    if stats.null_rate is not None:
        yield "NULLs", format_share(stats.null_rate)
    if stats.distinct is not None:
        yield "different values, about", f"{stats.distinct:,}"
    if not stats.edges:
        return
    quantiles = dict(stats.quantiles)
    named = (("least", stats.minimum), ("median", quantiles.get(0.5)), ("mean", stats.mean),
             ("standard deviation", stats.std), ("99%", quantiles.get(0.99)), ("greatest", stats.maximum))  # fmt: skip
    yield from ((name, format_number(value)) for name, value in named if value is not None)


def _file_name(*names: str) -> str:
    return re.sub(r"[^\w.-]", "_", "__".join(names))
