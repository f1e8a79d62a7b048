"""The report of a run: one HTML file that needs nothing else, and its charts as SVG files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from featurelayer.errors import PlanError, Problem
from featurelayer.monitor.charts import feature_chart, rows_chart, staleness_chart, svg
from featurelayer.monitor.result import MonitorReport, number
from featurelayer.monitor.seen import Seen
from featurelayer.monitor.watched import Watched, percent
from featurelayer.observed import MonitorResult, Status

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_AGES = {"freshness": "", "source_freshness": " (source)", "online_freshness": " (online)"}
_ORDER = (Status.SKIPPED, Status.PASS, Status.WARN, Status.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Feature:
    name: str
    description: str
    status: Status
    figures: tuple[tuple[str, str], ...]
    chart: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    anchor: str
    watched: Watched
    results: tuple[MonitorResult, ...]
    rows: str
    features: tuple[_Feature, ...]


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
        charts["staleness"] = svg(stale)
    views = [_view(watched, report, charts) for watched in report.watched]
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    page = template.render(
        project=project, report=report, views=views, number=number, staleness=charts.get("staleness", "")
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


def _view(watched: Watched, report: MonitorReport, charts: dict[str, str]) -> _View:
    view = watched.view.id
    results = [result for result in report.results if result.view == view]
    if len(watched.history) > 1:
        charts[_file(view, "rows")] = svg(rows_chart(watched))
    return _View(
        anchor=_file(view),
        watched=watched,
        results=tuple(
            result for status in (Status.ERROR, Status.WARN) for result in results if result.status is status
        ),
        rows=charts.get(_file(view, "rows"), ""),
        features=tuple(_features(watched, results, charts)),
    )


def _features(watched: Watched, results: list[MonitorResult], charts: dict[str, str]) -> Iterator[_Feature]:
    for feature in watched.view.features:
        seen = watched.current.get(feature.name)
        if seen is None:
            continue
        mine = [result for result in results if result.feature == feature.name]
        chart = feature_chart(watched, feature.name, mine)
        if chart["hconcat"]:
            charts[_file(watched.view.id, feature.name)] = svg(chart)
        yield _Feature(
            name=feature.name,
            description=feature.description,
            status=max((result.status for result in mine), key=_ORDER.index, default=Status.SKIPPED),
            figures=tuple(_figures(seen)),
            chart=charts.get(_file(watched.view.id, feature.name), ""),
        )


def _figures(seen: Seen) -> Iterator[tuple[str, str]]:
    yield "rows", f"{seen.rows:,}"
    if seen.null_rate is not None:
        yield "NULLs", percent(seen.null_rate)
    if seen.distinct is not None:
        yield "different values, about", f"{seen.distinct:,}"
    if not seen.edges:
        return
    quantiles = dict(seen.quantiles)
    named = (("least", seen.minimum), ("median", quantiles.get(0.5)), ("mean", seen.mean),
             ("standard deviation", seen.std), ("99%", quantiles.get(0.99)), ("greatest", seen.maximum))  # fmt: skip
    yield from ((name, number(value)) for name, value in named if value is not None)


def _file(*names: str) -> str:
    return re.sub(r"[^\w.-]", "_", "__".join(names))
