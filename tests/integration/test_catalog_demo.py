"""The demo project's catalog, with exports and monitors behind it, in a browser where there is one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from featurelayer.cli import main
from tests.catalog.sites import dead_links

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(demo_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = ["--project-dir", str(demo_project), "--profiles-dir", str(demo_project)]
    main(["monitor", "--as-of", "2013-12-28", "-q", *place])
    assert main(["export", "-q", "-s", "plane_facts", *place]) == 0
    folder = tmp_path_factory.mktemp("catalog") / "site"
    assert main(["catalog", "build", "-q", "--output", str(folder), *place]) == 0
    return folder


def test_everything_leads_somewhere(site: Path) -> None:
    assert dead_links(site) == []


def test_a_feature_of_the_demo_answers_from_every_part(site: Path) -> None:
    page = (site / "feature" / "plane_legs__arr_delay.html").read_text(encoding="utf-8")
    for fact in (
        "Arrival delay of the leg in minutes",
        "nycflights.flights.<b>arr_delay</b>",
        "stg_landed_flights",
        "CAST(arr_delay AS INT)",
        '"mean":[',
        "null_rate",
        "2014-01-01 09:01 UTC",
        "late_arrival",
    ):
        assert fact in page, fact
    assert "plane_facts" in (site / "exports.html").read_text(encoding="utf-8")


def test_the_site_holds_no_path_of_this_machine(site: Path, demo_project: Path) -> None:
    for path in site.rglob("*"):
        if path.is_file():
            assert str(demo_project).encode() not in path.read_bytes(), path


def test_a_browser_draws_it_without_a_complaint(site: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{site.as_uri()}/feature/plane_legs__arr_delay.html")
        page.wait_for_selector("figure[data-plot=mean] canvas")
        assert page.locator("figure.plot canvas").count() == 3
        page.goto(f"{site.as_uri()}/lineage.html#model.featurelayer_demo.plane_legs")
        page.wait_for_selector("#neighbours ul a")
        assert page.locator("#neighbours ul a").first.text_content() == "stg_landed_flights"
        browser.close()
    assert complaints == []
