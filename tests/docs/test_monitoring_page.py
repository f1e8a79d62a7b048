"""docs/monitoring.md: run on the demo's flights, its plots drawn anew, its tables held against the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from featurelayer.dbt.monitors import AlertsBlock, FeatureMonitorsBlock, MonitorsBlock, ProjectMonitorsBlock
from featurelayer.demo import prepare
from featurelayer.monitor.profiler import SHAPE_ROWS, TOP
from featurelayer.monitor.settings import BINS, HISTORY, MINIMUM_ROWS, PERIOD, default_limits
from featurelayer.monitor.table import render_page
from tests.docs.pages import REPOSITORY, run, tables
from tests.integration.conftest import run_dbt

PAGE = REPOSITORY / "docs" / "monitoring.md"
NAME = re.compile(r"`(\w+)`")
LABEL = re.compile(r'aria-label="([^"]*)"')


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo with the view that the page is about, and the page's steps done."""
    folder = prepare(tmp_path_factory.mktemp("monitoring")) / "dbt_project"
    run_dbt(folder, "deps")
    run_dbt(folder, "run", "-s", "+airport_weather")
    return run(PAGE, folder)


@pytest.mark.slow
def test_the_page_works_as_written(demo: Path) -> None:
    assert (demo / "report" / "index.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["temperature", "wind_gust"])
def test_its_plots_are_those_of_the_report(demo: Path, name: str) -> None:
    drawn, shown = (
        LABEL.findall(path.read_text(encoding="utf-8"))
        for path in (
            demo / "report" / "charts" / f"airport_weather__{name}.svg",
            PAGE.parent / "images" / f"{name}.svg",
        )
    )
    assert len(shown) > 20
    assert drawn == shown


def test_its_table_of_limits_is_that_of_the_declarations() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert render_page(page) == page, "run python -m featurelayer.monitor.table"


def test_its_thresholds_and_their_defaults_are_those_of_the_code() -> None:
    limits, others = tables(PAGE, "Thresholds")
    found = {NAME.findall(row["key"])[0]: row["default"].strip("`") for row in limits}
    assert found == {name: _said(limit.warn, limit.error) for name, limit in default_limits().items()}
    keys = {NAME.findall(row["key"])[0]: row["default"].strip("`") for row in others}
    assert keys.keys() | found.keys() == set(ProjectMonitorsBlock.model_fields)
    assert {
        "period": PERIOD,
        "history": str(HISTORY),
        "minimum_rows": str(MINIMUM_ROWS),
        "bins": str(BINS),
    }.items() <= (keys.items())
    assert set(FeatureMonitorsBlock.model_fields) - {"enabled"} <= set(default_limits())
    assert set(default_limits()) <= set(MonitorsBlock.model_fields)
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert all(f"{name}:" in text for name in AlertsBlock.model_fields)
    assert f"more than {SHAPE_ROWS:,} rows in a period" in text
    assert f"its {TOP} most frequent values" in text


def _said(warn: float | None, error: float | None) -> str:
    parts = [f"{name}: {value:g}" for name, value in (("warn", warn), ("error", error)) if value is not None]
    return f"{{{', '.join(parts)}}}" if parts else "false"
