"""The catalog's files: where they are, what they say, what they never hold, and how large they are."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer import FeatureLayer
from featurelayer.catalog import SiteOptions
from featurelayer.catalog.graph import build_graph
from featurelayer.catalog.markdown import first_sentence, plain_text, render_markdown
from featurelayer.catalog.pages import site_files
from featurelayer.catalog.render import render_backticks
from featurelayer.catalog.run import redact_locations
from featurelayer.catalog.search_index import to_script
from featurelayer.catalog.site import Site
from featurelayer.catalog.snippets import point_in_time_sql
from featurelayer.catalog.urls import FeaturePaths, slug
from featurelayer.cli import main
from featurelayer.errors import ConfigError
from tests.catalog.sites import HARM, bare, built, dead_links, feature, hostile, large, registry, shop, view
from tests.profiles import examples
from tests.unit import dbt_projects as dbt

pytestmark = pytest.mark.slow

VENDOR = Path(__file__).parents[2] / "featurelayer" / "catalog" / "static" / "vendor"


def text_of(site: Path, page: str) -> str:
    return (site / page).read_text(encoding="utf-8")


# --- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["orders", "orders.v2", "a__b", "_x", "arr-delay"])
def test_an_ordinary_name_is_its_own_address(name: str) -> None:
    assert slug(name) == name


@given(st.sets(st.text(min_size=1, max_size=200), min_size=2, max_size=6))
@settings(max_examples=examples(150))
def test_no_two_names_share_an_address_on_any_file_system(names: set[str]) -> None:
    slugs = {slug(name) for name in names}
    assert len({each.casefold() for each in slugs}) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_][a-z0-9_.-]*", each) and len(each) < 140 for each in slugs)


def test_features_whose_names_join_to_the_same_text_have_pages_of_their_own() -> None:
    views = [view("a", (feature("b__c"),)), view("a__b", (feature("c"),)), view("d", (feature("e"),))]
    paths = FeaturePaths.from_views(views)
    found = [paths.path(each, each.features[0]) for each in views]
    assert len(set(found)) == 3
    assert found[2] == "feature/d__e.html"


# --- descriptions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", HARM)
def test_a_description_can_hold_no_tag_picture_or_script(text: str) -> None:
    html = render_markdown(text)
    tags = set(re.findall(r"<(\w+)", html))
    assert tags <= {"p", "em", "strong", "code", "pre", "a"}
    assert "javascript:" not in re.sub(r">[^<]*<", "><", html)
    assert "<!--" not in html


@given(st.text(alphabet="ab <>&\"'`*_[]()!#-=+|\\/:\n\u2028.1{}", max_size=60))
@settings(max_examples=examples(300))
def test_no_text_becomes_a_tag_of_its_own(text: str) -> None:
    html = render_markdown(text)
    known = {"p", "em", "strong", "code", "pre", "ul", "ol", "li", "blockquote", "hr", "br", "table", "thead", "tbody"}
    assert set(re.findall(r"</?([a-zA-Z]\w*)", html)) <= known | {"tr", "th", "td", "a"}
    assert not re.search(r"\son\w+=|<[^>]*javascript:", html)


@given(st.text(alphabet="ab c.,012-_=+()\"'", max_size=40))
@settings(max_examples=examples(300))
def test_a_text_without_marks_is_read_as_markdown_reads_it(text: str) -> None:
    from markdown_it import MarkdownIt

    expected = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    assert unescape(" ".join(render_markdown(text).split())) == unescape(" ".join(expected.split()))


def test_markdown_is_rendered_and_links_go_to_the_web_alone() -> None:
    html = render_markdown("# Big\n\nA *mean* of `x`, see [docs](https://example.com/a) and [here](../other.html).")
    assert '<p class="h">Big</p>' in html
    assert "<em>mean</em>" in html
    assert '<a href="https://example.com/a" rel="noopener noreferrer">docs</a>' in html
    assert "other.html" in html
    assert 'href="../' not in html


def test_a_first_sentence_is_words_alone() -> None:
    assert plain_text("A *mean*\nof `x`.") == "A mean of x."
    assert first_sentence("One **thing**. Another.") == "One thing."
    assert len(first_sentence("word " * 100)) < 165


# --- pages -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(shop(), tmp_path_factory.mktemp("shop") / "site")


@pytest.mark.parametrize(("name", "make"), [("shop", shop), ("bare", bare), ("hostile", hostile)])
def test_no_link_is_dead(name: str, make: Any, tmp_path: Path) -> None:
    assert dead_links(built(make(), tmp_path / name)) == []


@pytest.mark.parametrize(
    "fact",
    [
        "<em>amount</em> of orders in seven days",  # what it is
        "euros",
        '<a href="../owner/growth-',  # whose it is
        "hourly",  # how often
        "2026-03-01 12:00 UTC",  # its newest row
        "2 hours",  # when it is late
        "raw.orders.<b>amount</b>",  # its lineage
        "AVG(amount) OVER w",
        '<a class=name href="../service/reorder.html">reorder</a>',  # who uses it
        "orders__amount_mean_7d",
        "featurelayer build-training-set --features orders.amount_mean_7d --labels labels.parquet",
        'layer.build_training_set(features=["orders.amount_mean_7d"]',
        "featurelayer lookup --service reorder --key customer_id=CUSTOMER_ID",
        'lookup("reorder", {"customer_id": "CUSTOMER_ID"})["orders__amount_mean_7d"]',
        'data-load="data/sql/orders.js"',
        "2.0% of 1,000 rows are NULL",  # its monitors
        "int64 became float64",  # what changed
        '<a class=name href="../feature/visits__amount_mean_7d.html">',  # what is like it
        "the same computation",
        "After 30 days without a newer one it no longer counts. Where there is none, it is missing (null).",
    ],
)
def test_a_feature_answers(fact: str, site: Path) -> None:
    assert fact in text_of(site, "feature/orders__amount_mean_7d.html")


def test_the_plots_have_the_profiles_of_the_periods_and_the_baseline(site: Path) -> None:
    page = text_of(site, "feature/orders__amount_mean_7d.html")
    found = re.search(r"id=chart>(.*?)</script>", page)
    assert found
    data = json.loads(found[1])
    assert data["bins"]["edges"] == [0, 10, 20, 50, 99.5]
    assert data["bins"]["now"] == [1020, 4082, 3061, 1837]
    assert data["bins"]["before"] == [3061, 3061, 2041, 1837]
    assert data["mean"] == [43, 42, 41, 40]
    assert data["nulls"] == [230, 220, 210, 200]
    assert data["times"][1:] == [24, 24, 24]


@pytest.mark.parametrize(
    "sentence",
    [
        "Its values have not been profiled yet",
        "The column lineage is unknown",
        "The checks have not run.",
        "No monitor has run yet",
        "Not compared with an earlier state",
        "No other feature has a similar name or the same computation.",
    ],
)
def test_what_is_not_known_is_said_in_a_line(sentence: str, tmp_path: Path) -> None:
    site = built(bare(), tmp_path / "bare")
    assert sentence in text_of(site, "feature/orders__returns_7d.html")


def test_a_feature_without_description_service_or_online_store_says_so(site: Path) -> None:
    page = text_of(site, "feature/facts__age.html")
    assert "Nobody has described this feature yet" in page
    assert "No feature service has it" in page
    assert "it is not described" in page
    assert "One value per customer; it has no time." in page


def test_a_deprecated_feature_names_what_replaces_it(site: Path) -> None:
    assert 'use <a href="../feature/orders__amount_mean_7d.html">' in text_of(site, "feature/orders__old_amount.html")


def test_what_stands_between_backticks_is_code_and_nothing_else_is_more_than_text() -> None:
    assert (
        render_backticks("Add `unit: s`, not `<b>`: 2 < 3 ` 4")
        == "Add <code>unit: s</code>, not <code>&lt;b&gt;</code>: 2 &lt; 3 ` 4"
    )
    finding = replace(shop().findings[0], name="facts.age", message="it has no `unit`", fix="Add `unit: s`.")
    pages = dict(site_files(replace(shop(), findings=(finding,)), SiteOptions()))
    for path in ("feature/facts__age.html", "monitors.html"):
        page = pages[path].decode()
        assert "it has no <code>unit</code> <span class=fix>Add <code>unit: s</code>.</span>" in page


@given(st.text(alphabet="a'\"\\<\n\u2028`$", max_size=30))
@settings(max_examples=examples(200))
def test_a_text_is_handed_to_the_page_as_it_is(text: str) -> None:
    written = to_script("sql", text)
    assert handed(written) == text
    assert not set(written) & {"<", "\u2028"}


def handed(written: str) -> object:
    """What a script hands over: its escapes are those of a Python string, too."""
    return ast.literal_eval(written.partition("sql=")[2].removesuffix(";\n"))


def test_the_point_in_time_sql_runs(site: Path) -> None:
    import duckdb

    orders = shop().registry.views["orders"]
    sql = point_in_time_sql(orders, shop().registry)
    assert handed(text_of(site, "data/sql/orders.js")) == sql
    with duckdb.connect() as connection:
        connection.execute("attach ':memory:' as shop; create schema if not exists shop.main")
        columns = "'a' customer_id, timestamp '2026-01-01' \"at\", 1.5::double amount_mean_7d, 0::double returns_7d"
        connection.execute(f"create table shop.main.orders as select {columns}, 1::double old_amount, 'web' channel")
        connection.execute("create table labels as select 'a' customer_id, timestamp '2026-01-02' label_time")
        names = [column[0] for column in connection.execute(sql).description]
        assert names[:3] == ["customer_id", "label_time", "orders__amount_mean_7d"]
        assert connection.execute(sql).fetchall() == [("a", connection.execute("select timestamp '2026-01-02'").fetchone()[0], 1.5, 0.0, 1.0, "web")]  # fmt: skip  # noqa: E501


def test_the_same_project_gives_the_same_bytes() -> None:
    assert dict(site_files(shop(), SiteOptions())) == dict(site_files(shop(), SiteOptions()))


def test_title_logo_base_url_and_dbt_docs_are_where_they_belong(tmp_path: Path) -> None:
    look = SiteOptions(
        title="Our features",
        logo=("logo.svg", b"<svg/>"),
        base_url="https://x.example/f/",
        dbt_docs="https://d.example/",
    )
    site = built(shop(), tmp_path / "site", look)
    page = text_of(site, "feature/orders__channel.html")
    assert "<title>orders.channel · Our features</title>" in page
    assert 'src="../static/logo.svg"' in page
    assert (site / "static/logo.svg").read_bytes() == b"<svg/>"
    assert '<link rel=canonical href="https://x.example/f/feature/orders__channel.html">' in page
    assert 'href="https://d.example/#!/model/model.shop.orders"' in page
    assert 'href="https://d.example/#!/exposure/exposure.shop.reorder"' in text_of(site, "service/reorder.html")


def test_every_page_forbids_what_it_does_not_need(site: Path) -> None:
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"
    )
    for path in site.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        assert f'content="{policy}"' in page, path
        inline = re.findall(r"<script(?![^>]*\bsrc=)([^>]*)>", page)
        assert all("application/json" in attributes for attributes in inline), path
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page), path


def test_harmful_texts_stay_texts(tmp_path: Path) -> None:
    site = built(hostile(), tmp_path / "site")
    for path in [*site.rglob("*.html"), *(site / "data").rglob("*.js")]:
        page = path.read_text(encoding="utf-8")
        assert "<script>harm" not in page, path
        assert "<svg onload" not in page, path
        assert "<img src=x" not in page, path
        assert "49" not in re.findall(r"\{\{|49 *\}\}", page), path
        if path.suffix == ".js":
            assert "</script" not in page, path
            assert "\u2028" not in page, path


def test_the_graph_goes_from_the_sources_to_the_services() -> None:
    graph = build_graph(shop())
    assert [node.name for node in graph.sources("model.shop.orders")] == ["raw.orders"]
    assert graph.parents["model.shop.orders"] == ("model.shop.stg_orders",)
    assert set(graph.children["model.shop.orders"]) == {"exposure.shop.reorder", "exposure.shop.churn"}


def test_look_alikes_are_found_by_computation_and_by_the_words_of_a_name() -> None:
    one = view("one", (feature("mean_amount_7d"), feature("age")))
    two = view("two", (feature("amount_7d_mean"), feature("height")))
    found = Site(replace(bare(), registry=registry(one, two))).lookalikes
    assert [(each.name, each.reason) for each in found["one.mean_amount_7d"]] == [
        ("two.amount_7d_mean", "a similar name")
    ]
    assert "one.age" not in found
    known = Site(shop()).lookalikes["orders.amount_mean_7d"]
    assert [each.reason for each in known] == ["the same computation"]


def test_a_thousand_features_stay_small() -> None:
    sizes = {path: len(data) for path, data in site_files(large(20, 50, 60), SiteOptions())}
    pages = [size for path, size in sizes.items() if path.startswith("feature/")]
    assert len(pages) == 1000
    assert max(pages) < 200_000
    assert sum(sizes.values()) - sum(size for path, size in sizes.items() if path.startswith("static/")) < 30e6 / 5


# --- the libraries ---------------------------------------------------------------------------------------------------


def test_the_libraries_are_those_that_were_pinned() -> None:
    packages = json.loads((VENDOR / "vendor.json").read_text())
    files = {file["to"]: file["sha256"] for package in packages for file in package["files"]}
    assert set(files) | {"vendor.json"} == {path.name for path in VENDOR.iterdir()}
    for name, digest in files.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name
    for package in packages:
        assert package["license"] in {"MIT", "BSD-3-Clause", "ISC", "Apache-2.0"}
        assert len(base64.b64decode(package["integrity"].removeprefix("sha512-"))) == 64
        assert any(file["to"].endswith(".LICENSE") for file in package["files"])


def test_the_wheel_has_the_templates_and_the_libraries() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert "featurelayer" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A dbt project that has no warehouse."""
    root = tmp_path / "shop"
    document = dbt.manifest(dbt.model(online=True), exposures=(dbt.exposure("legs.arr_delay"),))
    document["docs"] = {
        "doc.shop.delay": {"name": "delay", "package_name": "shop", "block_contents": "Minutes, *not* seconds."},
        "doc.dbt.__overview__": {"name": "__overview__", "package_name": "dbt", "block_contents": "Welcome!"},
    }
    dbt.project(root, document)
    return root


@dataclass(frozen=True)
class Done:
    code: int
    stdout: str
    stderr: str


Catalog = Callable[..., Done]


@pytest.fixture
def catalog(project: Path, capsys: pytest.CaptureFixture[str]) -> Catalog:
    """`catalog("--title", "T")` builds it."""

    def run(*arguments: str) -> Done:
        code = main(["catalog", "build", "--project-dir", str(project), *arguments])
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return run


def test_build_writes_into_the_target_folder(project: Path, catalog: Catalog) -> None:
    done = catalog("--no-warehouse")
    assert done.code == 0, done.stderr
    index = project / "target" / "catalog" / "index.html"
    assert done.stdout.strip() == str(index)
    assert "files" in done.stderr
    assert dead_links(index.parent) == []
    assert "Minutes, <em>not</em> seconds." in text_of(index.parent, "glossary.html")
    assert "Welcome!" not in text_of(index.parent, "glossary.html")
    assert "The warehouse was not read." in text_of(index.parent, "feature/legs__arr_delay.html")


def test_a_warehouse_that_can_not_be_reached_is_a_warning(project: Path, catalog: Catalog) -> None:
    done = catalog("--profiles-dir", str(project))
    assert done.code == 0, done.stderr
    assert "the warehouse, which can't be reached" in done.stderr
    assert "could not be reached" in text_of(project / "target" / "catalog", "exports.html")


def test_building_again_replaces_everything_and_leaves_nothing_beside(project: Path, catalog: Catalog) -> None:
    folder = project / "site"
    for _ in range(2):
        assert catalog("--no-warehouse", "--output", str(folder)).code == 0
        (folder / "left.html").touch()
    assert catalog("--no-warehouse", "--output", str(folder)).code == 0
    assert not (folder / "left.html").exists()
    assert not [path for path in project.iterdir() if path.name.startswith(".site")]


def test_a_folder_with_other_files_is_left_alone(catalog: Catalog, tmp_path: Path) -> None:
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    done = catalog("--no-warehouse", "--output", str(other))
    assert done.code == 1
    assert "is not a catalog" in done.stderr
    assert "--output" in done.stderr
    assert (other / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--logo", "no.svg"), 1, "no.svg can't be read"),
        (("--logo", "page.html"), 1, "not an image"),
        (("--base-url", "javascript:alert(1)"), 2, "--base-url takes an address"),
        (("--dbt-docs", "data:text/html,x"), 2, "--dbt-docs takes an address"),
    ],
)
def test_options_that_can_not_be_used_are_refused(
    arguments: tuple[str, ...], code: int, said: str, project: Path, catalog: Catalog
) -> None:
    done = catalog("--no-warehouse", *arguments)
    assert done.code == code
    assert said in " ".join(done.stderr.split())
    assert not (project / "target" / "catalog").exists()


def test_no_secret_of_the_connection_or_the_store_is_in_the_site(
    project: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "profiles.yml").write_text(
        "shop: {target: dev, outputs: {dev: {type: duckdb, path: 'secret-warehouse.duckdb', password: hunter2}}}"
    )
    with (project / "featurelayer.yml").open("a") as config:
        config.write(
            "\nonline_store: {dev: {type: dynamodb, table: t, region: eu-west-1, endpoint_url: 'http://u:hunter3@h'}}"
        )
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter4")
    assert catalog("--profiles-dir", str(project)).code == 0
    for path in (project / "target" / "catalog").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            for secret in (b"hunter", b"secret-warehouse", str(project).encode()):
                assert secret not in data, path


def test_addresses_and_paths_are_left_out_of_what_monitors_say() -> None:
    said = (
        "no store at dynamodb://u:p@host:1/t?x=1 or /srv/shop/.featurelayer/online.db, 5 of 10 m/s, 1/2; /home/me/x.db"
    )
    assert redact_locations(said, Path("/srv/shop")) == (
        "no store at (left out) or .featurelayer/online.db, 5 of 10 m/s, 1/2; (left out)"
    )
    assert redact_locations("sqlite:/srv/other/online.db", Path("/srv/shop")) == "sqlite:(left out)"
    assert redact_locations("dynamodb:features@eu-west-1", Path("/srv/shop")) == "dynamodb:features@eu-west-1"


def test_python_builds_the_same(project: Path, catalog: Catalog) -> None:
    layer = FeatureLayer(project)
    built_ = layer.build_catalog(project / "one", title="Shop", warehouse=False)
    assert catalog("--no-warehouse", "--title", "Shop", "--output", str(project / "two")).code == 0
    one, two = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (project / "one", project / "two")
    )
    assert one == two
    assert built_.files == len(one)
    assert built_.bytes == sum(map(len, one.values()))


def test_serving_answers_with_the_pages_and_nothing_else(tmp_path: Path) -> None:
    import threading
    import urllib.error
    import urllib.request

    from featurelayer.catalog.server import open_server

    site = built(bare(), tmp_path / "site")
    (tmp_path / "secret.txt").write_text("hunter2")
    with open_server(site, "127.0.0.1", 0) as running:
        thread = threading.Thread(target=running.run)
        thread.start()
        try:
            with urllib.request.urlopen(running.url) as page:
                assert b"<title>Home" in page.read()
            for path in ("data/", "../secret.txt", "%2e%2e/secret.txt"):
                with pytest.raises(urllib.error.HTTPError, match="404"):
                    urllib.request.urlopen(running.url + path)
            with (
                pytest.raises(ConfigError, match="can't listen"),
                open_server(site, "127.0.0.1", int(running.url.split(":")[2][:-1])),
            ):
                pass
        finally:
            running.stop()
            thread.join()
