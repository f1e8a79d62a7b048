"""The catalog in a real browser, opened from its folder: search, facets, graph, keyboard, themes, widths, and harm."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.catalog.sites import bare, built, hostile, large, shop

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        launched = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sites")
    made = {"shop": shop, "bare": bare, "hostile": hostile, "large": large}
    return {name: built(make(), folder / name) for name, make in made.items()}


class Reader:
    """Somebody with a browser who notices everything that goes wrong in it."""

    def __init__(self, browser: Any, site: Path, **how: Any) -> None:
        self.site = site
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **how})
        self.context.add_init_script(
            "globalThis.harm = () => { console.error('HARM') };"
            "document.addEventListener('securitypolicyviolation', (e) => console.error('POLICY', e.violatedDirective));"
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.troubles: list[str] = []
        self.page.on("console", lambda message: message.type == "error" and self.troubles.append(message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("requestfailed", self._failed)
        self.page.on("request", lambda request: request.url.startswith("http") and self.troubles.append(request.url))
        self.page.on("dialog", lambda dialog: (self.troubles.append("dialog"), dialog.dismiss()))

    def open(self, path: str) -> Any:
        # A change of the part behind # alone would load nothing.
        self.page.goto("about:blank")
        self.page.goto(f"{self.site.as_uri()}/{path}", wait_until="load")
        return self.page

    def _failed(self, request: Any) -> None:
        # What is still loading when one goes on to the next page has not failed.
        if "ERR_ABORTED" not in (request.failure or ""):
            self.troubles.append(f"failed: {request.url}")

    @property
    def address(self) -> str:
        return self.page.url.removeprefix(f"{self.site.as_uri()}/")


def until(page: Any, condition: str) -> None:
    """Wait until something is so. The browser's own way of waiting evaluates text, which the content policy forbids."""
    for _ in range(600):
        if page.evaluate(f"() => Boolean({condition})"):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"it never came to be that {condition}")


@pytest.fixture
def reader(browser: Any, sites: dict[str, Path]) -> Iterator[Any]:
    opened: list[Reader] = []

    def open_reader(site: str = "shop", **how: Any) -> Reader:
        opened.append(Reader(browser, sites[site], **how))
        return opened[-1]

    yield open_reader
    troubles = [trouble for each in opened for trouble in each.troubles]
    for each in opened:
        each.context.close()
    assert troubles == []


# --- search ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("amount_mean", "amount_mean_7d"),
        ("mean amount", "amount_mean_7d"),
        ("amuont maen", "amount_mean_7d"),
        ("retrns", "returns_7d"),
        ("sent back", "returns_7d"),
        ("orders channel", "channel"),
        ("custmer", "customer"),
        ("reorder", "reorder"),
    ],
)
def test_search_finds_by_name_word_and_with_mistakes(typed: str, first: str, reader: Any) -> None:
    page = reader().open("index.html")
    page.keyboard.press("/")
    page.keyboard.type(typed)
    page.wait_for_selector("#hits li[role=option] b")
    assert page.locator("#hits b").first.text_content() == first


def test_search_is_used_with_the_keyboard_alone(reader: Any) -> None:
    someone = reader()
    page = someone.open("view/visits.html")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.type("amount")
    page.wait_for_selector("#hits li[aria-selected=true]")
    assert page.locator("#q").get_attribute("aria-expanded") == "true"
    names = page.locator("#hits b").all_text_contents()
    page.keyboard.press("ArrowDown")
    assert page.locator("#q").get_attribute("aria-activedescendant") == "hit-1"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.locator("#q").get_attribute("aria-activedescendant") == f"hit-{len(names) - 1}"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    assert page.locator("#hits").is_hidden()
    page.keyboard.type("_mean")
    page.wait_for_selector("#hits li[aria-selected=true]")
    page.keyboard.press("Enter")
    page.wait_for_url("**/feature/*amount_mean_7d.html")


def test_search_says_that_there_is_nothing(reader: Any) -> None:
    page = reader().open("index.html")
    page.locator("#q").fill("zzzzqqqq")
    page.wait_for_selector("#hits .none")
    assert "Nothing is like" in page.locator("#hits").text_content()
    page.keyboard.press("Enter")
    assert page.locator("#hits .none").is_visible()


def test_five_thousand_features_are_searched_while_typing(reader: Any) -> None:
    page = reader("large").open("index.html")
    page.keyboard.press("/")
    page.keyboard.type("latncy", delay=20)
    page.wait_for_selector("#hits b")
    assert "latency" in (page.locator("#hits b").first.text_content() or "")
    spent = page.evaluate(
        """async () => {
            const { find } = await featurelayer.searcher();
            const began = performance.now();
            for (const text of ["latency mean", "amuont", "paymnts 7d", "customer balance"]) find(text);
            return (performance.now() - began) / 4;
        }"""
    )
    # Far from the tenth of a second that is felt, even on a machine that is busy.
    assert spent < 400


# --- facets ----------------------------------------------------------------------------------------------------------


def test_facets_narrow_the_list_and_the_address_remembers(reader: Any) -> None:
    someone = reader()
    page = someone.open("features.html")
    page.wait_for_selector("#results tbody tr")
    assert "7 of 7" in page.locator("#found").text_content()
    page.get_by_label("money").check()
    assert "1 of 7" in page.locator("#found").text_content()
    assert someone.address == "features.html#tag=money"
    assert page.evaluate("document.activeElement.value") == "money"
    page.get_by_label("money").uncheck()
    page.locator("#facets summary", has_text="View").click()
    page.locator("#facets summary", has_text="View").click()
    page.locator("input[name=view][value=orders]").check()
    page.locator("input[name=view][value=visits]").check()
    assert "6 of 7" in page.locator("#found").text_content()
    page.keyboard.press("Tab")
    page.locator("#q").fill("amont")
    assert "3 of 7" in page.locator("#found").text_content()
    link = page.url
    page.goto("about:blank")
    page.goto(link)
    page.wait_for_selector("#results tbody tr")
    assert "3 of 7" in page.locator("#found").text_content()
    assert page.locator("input[name=view][value=orders]").is_checked()


def test_the_list_shows_more_when_asked_and_sorts_all_of_it(reader: Any) -> None:
    page = reader("large").open("features.html")
    page.wait_for_selector("#results tbody tr")
    assert page.locator("#results tbody tr").count() == 100
    assert "5,000 of 5,000" in page.locator("#found").text_content()
    page.locator("#more").click()
    assert page.locator("#results tbody tr").count() == 600
    page.get_by_role("button", name="Feature").first.click()
    page.get_by_role("button", name="Feature").first.click()
    assert page.locator("#results tbody tr a").first.text_content() == "visits_mean_43d"
    assert page.locator("#results th").first.get_attribute("aria-sort") == "descending"


def test_tables_are_sorted_by_their_headings(reader: Any) -> None:
    page = reader().open("views.html")
    column = page.locator("tbody td:nth-child(3)")
    page.get_by_role("button", name="Features").click()
    assert column.all_text_contents() == ["1", "2", "4"]
    page.get_by_role("button", name="Features").click()
    assert column.all_text_contents() == ["4", "2", "1"]
    assert page.locator("th[aria-sort]").count() == 1


# --- lineage ---------------------------------------------------------------------------------------------------------


def test_the_graph_shows_what_is_around_what_was_chosen(reader: Any) -> None:
    someone = reader()
    page = someone.open("lineage.html")
    until(page, "featurelayer.graph")
    assert page.evaluate("featurelayer.graph.nodes().length") == 7
    page.locator("#node").fill("visits")
    page.locator("#node").press("Enter")
    until(page, "featurelayer.graph.nodes().length === 4")
    assert someone.address == "lineage.html#model.shop.visits"
    assert page.locator("#chosen").text_content() == "visits"
    assert page.locator("#neighbours ul").first.locator("a").first.text_content() == "stg_orders"
    page.locator("#depth").select_option("1")
    until(page, "featurelayer.graph.nodes().length === 3")
    page.locator("#neighbours a", has_text="churn").first.click()
    until(page, "location.hash === '#exposure.shop.churn'")
    page.locator("#neighbours a", has_text="its page").click()
    page.wait_for_url("**/service/churn.html")


def test_a_node_is_chosen_by_a_click(reader: Any) -> None:
    page = reader().open("lineage.html")
    until(page, "featurelayer.graph")
    place = page.evaluate("featurelayer.graph.nodes('[name=\"orders\"]').renderedPosition()")
    box = page.locator("#graph").bounding_box()
    page.mouse.click(box["x"] + place["x"], box["y"] + place["y"])
    until(page, "location.hash === '#model.shop.orders'")


def test_five_hundred_nodes_begin_readable_and_nothing_overlaps(reader: Any) -> None:
    page = reader("large").open("lineage.html")
    until(page, "featurelayer.graph")
    assert page.evaluate("featurelayer.graph.nodes().length") < 200
    assert page.evaluate("document.getElementById('node').value") != ""
    page.locator("#all").click()
    until(page, "featurelayer.graph.nodes().length > 500")
    overlaps = page.evaluate(
        """() => {
            const boxes = featurelayer.graph.nodes().map((node) => node.boundingBox({ includeLabels: true }));
            return boxes.some((a, i) => boxes.some((b, j) => j > i
                && a.x1 < b.x2 - 1 && b.x1 < a.x2 - 1 && a.y1 < b.y2 - 1 && b.y1 < a.y2 - 1));
        }"""
    )
    assert not overlaps


def test_a_unique_id_of_dbt_leads_to_its_page(reader: Any) -> None:
    someone = reader()
    someone.open("go.html#model.shop.orders")
    someone.page.wait_for_url("**/view/orders.html")
    someone.open("go.html#exposure.shop.reorder")
    someone.page.wait_for_url("**/service/reorder.html")
    someone.open("go.html#model.shop.stg_orders")
    someone.page.wait_for_url("**/lineage.html#model.shop.stg_orders")
    page = someone.open("go.html#model.shop.nothing")
    assert "Nothing here has the unique id model.shop.nothing" in page.locator("#go").text_content()


# --- a feature's page ------------------------------------------------------------------------------------------------


def test_a_feature_shows_its_plots_and_their_numbers(reader: Any) -> None:
    page = reader().open("feature/orders__amount_mean_7d.html")
    page.wait_for_selector("figure[data-plot=mean] canvas")
    assert page.locator("figure.plot canvas").count() == 3
    assert page.locator(".key").text_content() == "newest periodbaseline"
    for canvas in page.locator("figure.plot canvas").all():
        drawn = canvas.evaluate(
            "(canvas) => new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size"
        )
        assert drawn > 10
    page.get_by_text("The numbers").click()
    assert "10 to 20" in page.locator("#values table").first.text_content()
    other = reader().open("feature/orders__channel.html")
    other.wait_for_selector("figure[data-plot=top] meter")
    assert other.locator("figure[data-plot=top] tr").first.text_content() == "web70%"


def test_code_is_copied(reader: Any) -> None:
    someone = reader(permissions=["clipboard-read", "clipboard-write"])
    page = someone.open("feature/orders__amount_mean_7d.html")
    page.get_by_role("button", name="Copy: Train, command line").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("featurelayer build-training-set --features orders.amount_mean_7d ")
    assert page.get_by_role("button", name="Copy: Train, command line").text_content() == "Copied"


def test_point_in_time_sql_is_loaded_when_it_is_opened(reader: Any) -> None:
    page = reader().open("feature/orders__amount_mean_7d.html")
    assert page.locator("details[data-load] pre").count() == 0
    page.get_by_text("Point-in-time SQL").click()
    page.wait_for_selector("details[data-load] pre")
    assert "ASOF JOIN" in page.locator("details[data-load] pre").text_content()
    other = reader().open("view/orders.html#training-sql")
    other.wait_for_selector("#training-sql pre")


# --- looks -----------------------------------------------------------------------------------------------------------

PAGES = (
    "index.html",
    "features.html",
    "views.html",
    "lineage.html",
    "monitors.html",
    "exports.html",
    "changes.html",
    "glossary.html",
    "entity/customer.html",
    "view/orders.html",
    "service/churn.html",
    "feature/orders__amount_mean_7d.html",
    "feature/facts__age.html",
    "tag/money.html",
)


# What has a colour of its own.
CONTRASTS = ("index.html", "features.html", "lineage.html", "monitors.html", "feature/orders__amount_mean_7d.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anybody_out(scheme: str, reader: Any) -> None:
    from axe_playwright_python.base import AXE_FILE_PATH

    axe = AXE_FILE_PATH.read_text(encoding="utf-8")
    someone = reader(color_scheme=scheme)
    found = {}
    for path in PAGES if scheme == "light" else CONTRASTS:
        page = someone.open(path)
        page.wait_for_timeout(250)
        page.evaluate(axe)
        result = page.evaluate("axe.run({ resultTypes: ['violations'], preload: false })")
        serious = [
            f"{each['id']}: {each['nodes'][0]['html'][:160]}"
            for each in result["violations"]
            if each["impact"] in ("serious", "critical", "moderate")
        ]
        if serious:
            found[path] = serious
    assert found == {}, json.dumps(found, indent=1)


def test_the_open_search_keeps_nobody_out(reader: Any) -> None:
    from axe_playwright_python.base import AXE_FILE_PATH

    page = reader().open("index.html")
    page.locator("#q").fill("amount")
    page.wait_for_selector("#hits b")
    page.evaluate(AXE_FILE_PATH.read_text(encoding="utf-8"))
    result = page.evaluate("axe.run({ preload: false })")
    assert [each["id"] for each in result["violations"] if each["impact"] in ("serious", "critical")] == []


@pytest.mark.parametrize("width", [360, 768])
def test_no_page_is_wider_than_a_phone(width: int, reader: Any) -> None:
    someone = reader(viewport={"width": width, "height": 740})
    wide = {}
    for path in PAGES:
        page = someone.open(path)
        page.wait_for_timeout(150)
        beyond = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if beyond > 0:
            wide[path] = beyond
    assert wide == {}


def test_light_and_dark_are_the_readers_choice_and_last(reader: Any) -> None:
    someone = reader(color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    page = someone.open("index.html")
    light = page.evaluate(background)
    page.get_by_role("button", name="Switch between light and dark").click()
    dark = page.evaluate(background)
    assert dark != light
    page = someone.open("feature/orders__amount_mean_7d.html")
    assert page.evaluate(background) == dark
    assert reader(color_scheme="dark").open("index.html").evaluate(background) == dark


def test_nothing_moves_while_a_page_loads(reader: Any) -> None:
    someone = reader()
    someone.context.add_init_script(
        "globalThis.shift = 0; new PerformanceObserver((list) => { for (const entry of list.getEntries())"
        " if (!entry.hadRecentInput) shift += entry.value; }).observe({ type: 'layout-shift', buffered: true });"
    )
    moved = {}
    for path in PAGES:
        page = someone.open(path)
        page.wait_for_timeout(300)
        shift = page.evaluate("shift")
        if shift > 0.05:
            moved[path] = shift
    assert moved == {}


def test_print_leaves_out_what_paper_can_not_do(reader: Any) -> None:
    page = reader().open("feature/orders__amount_mean_7d.html")
    page.emulate_media(media="print")
    for selector in (".search", "header nav", ".theme", "button.copy"):
        assert not page.locator(selector).first.is_visible()
    assert page.get_by_role("heading", name="amount_mean_7d").is_visible()


def test_without_scripts_every_feature_can_still_be_reached(reader: Any) -> None:
    someone = reader(java_script_enabled=False)
    page = someone.open("index.html")
    page.get_by_role("link", name="orders", exact=True).first.click()
    page.get_by_role("link", name="returns_7d").click()
    assert page.get_by_text("Orders sent back.").is_visible()


# --- harm ------------------------------------------------------------------------------------------------------------


def test_texts_that_mean_harm_do_none(reader: Any) -> None:
    someone = reader("hostile")
    for path in a_few_of_each(someone.site):
        page = someone.open(path)
        page.wait_for_timeout(30)
        assert page.locator("main svg, main img, main iframe, main [onerror], a[href^=javascript]").count() == 0
    page = someone.open("index.html")
    page.locator("#q").fill("script harm")
    page.wait_for_selector("#hits b")
    page = someone.open("features.html")
    page.wait_for_selector("#results tbody tr")
    page.locator("#results a").first.click()
    page.wait_for_load_state()


def test_pages_about_which_little_is_known_open_without_a_complaint(reader: Any) -> None:
    someone = reader("bare")
    for path in a_few_of_each(someone.site):
        someone.open(path)


def a_few_of_each(site: Path) -> list[str]:
    """Return all pages at the top, and three of every other kind."""
    folders = [site, *(path for path in site.iterdir() if path.is_dir())]
    few = [sorted(folder.glob("*.html"))[: None if folder == site else 3] for folder in folders]
    return [path.relative_to(site).as_posix() for found in few for path in found]
