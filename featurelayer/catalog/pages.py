"""The pages of the site: path, template and values of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from featurelayer.catalog.glossary import GLOSSARY, describe_feature, describe_range, describe_view
from featurelayer.catalog.markdown import first_sentence, plain_text
from featurelayer.catalog.render import PageRenderer, static_files
from featurelayer.catalog.search_index import build_search_index, to_script
from featurelayer.catalog.site import Site
from featurelayer.catalog.snippets import Snippet, feature_snippets, point_in_time_sql, service_snippets
from featurelayer.catalog.summary import home_values, list_pages, monitor_values
from featurelayer.catalog.urls import entity_path, owner_path, service_path, slug, tag_path, view_path
from featurelayer.catalog.values import CatalogInput, SiteOptions
from featurelayer.model import Feature, FeatureView
from featurelayer.terminal_text import format_number, format_share

_MOST_ROWS = 200
_MOST_RUNS = 500

File = tuple[str, bytes]


def site_files(given: CatalogInput, options: SiteOptions) -> Iterator[File]:
    """Yield every file of the site: its path relative to the root, and its bytes."""
    site = Site(given)
    renderer = PageRenderer(site, options)
    yield from static_files()
    if options.logo:
        yield f"static/{options.logo[0]}", options.logo[1]
    yield from _data_files(site)
    yield from _overview_pages(site, renderer)
    for view in site.registry.views.values():
        sql = point_in_time_sql(view, site.registry)
        sql_path = f"data/sql/{slug(view.id)}.js" if sql else ""
        if sql:
            yield sql_path, to_script("sql", sql).encode()
        yield _view_page(site, renderer, view, sql_path)
        for feature in view.features:
            yield _feature_page(site, renderer, view, feature, sql_path)
    yield from _other_pages(site, renderer)


def _data_files(site: Site) -> Iterator[File]:
    services = {name: [service.name for service, _ in found] for name, found in site.services_of.items()}
    yield "data/search.js", to_script("search", build_search_index(site.registry, site.paths, services)).encode()
    yield "data/lineage.js", to_script("lineage", site.graph.to_json()).encode()


def _overview_pages(site: Site, renderer: PageRenderer) -> Iterator[File]:
    yield renderer.page("index.html", "home.html", home_values(site), title="Home")
    count = sum(len(view.features) for view in site.registry.views.values())
    browsing = ("static/minisearch.js", "data/search.js", "static/browse.js")
    yield renderer.page("features.html", "features.html", {"count": count}, title="Features", scripts=browsing)
    for path, title, summary, values in list_pages(site):
        yield renderer.page(path, "list.html", values, title=title, summary=summary)
    drawing = ("static/cytoscape.js", "static/dagre.js", "data/lineage.js", "static/lineage.js")
    size = {"nodes": len(site.graph.nodes), "edges": len(site.graph.edges)}
    yield renderer.page(
        "lineage.html", "lineage.html", size, title="Lineage", scripts=drawing, sheets=("lineage.css",)
    )  # fmt: skip
    yield renderer.page("monitors.html", "monitors.html", monitor_values(site), title="Health")
    runs = sorted(site.given.exports, key=lambda run: (run.started_at, run.view), reverse=True)
    shown = {"runs": runs[:_MOST_RUNS], "more": max(0, len(runs) - _MOST_RUNS)}
    yield renderer.page("exports.html", "exports.html", shown, title="Exports")
    changed = [
        (change, site.href(f"{change.view}.{change.feature}" if change.feature else change.view))
        for change in site.given.changes or ()
    ]
    yield renderer.page("changes.html", "changes.html", {"rows": changed}, title="Changes")
    docs = [(doc, f"doc-{slug(doc.name)}") for doc in site.given.docs]
    yield renderer.page("glossary.html", "glossary.html", {"docs": docs, "words": GLOSSARY}, title="Glossary")
    leading = ("data/lineage.js", "static/go.js")
    yield renderer.page("go.html", "go.html", {}, title="Redirecting", scripts=leading)


def _view_page(site: Site, renderer: PageRenderer, view: FeatureView, sql_path: str) -> File:
    model = site.given.models.get(view.unique_id)
    written = [
        Snippet(title="As written", text=model.raw_sql.strip()) if model and model.raw_sql else None,
        Snippet(title="As compiled", text=model.compiled_sql.strip()) if model and model.compiled_sql else None,
    ]
    graph = site.graph
    values: dict[str, Any] = {
        "view": view,
        "newest": site.given.newest.get(view.id),
        "words": describe_view(view),
        "rows": [(view, feature) for feature in view.features],
        "services": site.services_of_view.get(view.id, ()),
        "parents": [graph.nodes[each] for each in graph.parents.get(view.unique_id, ())],
        "sources": [(node, first_sentence(site.description(node.id))) for node in graph.sources(view.unique_id)[:20]],
        "sql": [snippet for snippet in written if snippet],
        "sql_script": sql_path,
        "tests": site.tests_of.get(view.unique_id, ()),
        "findings_here": site.findings_of.get(view.id, ()),
        "monitors": site.monitors_of.get(view.id, ()),
        "exports": site.exports_of.get(view.id, ())[:20],
        "changes_here": site.changes_of.get(view.id, ()),
    }
    summary = first_sentence(view.description)
    return renderer.page(view_path(view.id), "view.html", values, title=view.id, summary=summary)


def _feature_page(site: Site, renderer: PageRenderer, view: FeatureView, feature: Feature, sql_path: str) -> File:
    name = f"{view.id}.{feature.name}"
    services = site.services_of.get(name, ())
    first, column = services[0] if services else (None, "")
    lineage = site.given.lineage.get(name)
    sources = site.graph.sources(view.unique_id)
    deprecated = feature.deprecated or view.deprecated
    replacement = deprecated.replaced_by if deprecated else ""
    chart = site.chart(name)
    values: dict[str, Any] = {
        "view": view,
        "feature": feature,
        "view_crumbs": [("Feature views", "views.html"), (view.id, view_path(view.id))],
        "deprecated": deprecated,
        "replacement": replacement,
        "replacement_path": _replacement_path(site, view, replacement),
        "newest": site.given.newest.get(view.id),
        "expected": describe_range(feature),
        "words": describe_feature(view, feature),
        "chart": chart,
        "chart_json": Markup(chart.data) if chart else "",  # noqa: S704 (JSON in which no tag can begin)
        "stats": _key_figures(site, name),
        "lineage": lineage,
        "sources": sources[:8],
        "more_sources": max(0, len(sources) - 8),
        "services": services,
        "snippets": feature_snippets(name, column, view, first),
        "sql_script": sql_path,
        "findings_here": site.findings_of.get(name, ()),
        "tests": [test for test in site.tests_of.get(view.unique_id, ()) if test.column == feature.name],
        "monitors": site.monitors_of.get(name, ()),
        "changes_here": site.changes_of.get(name, ()),
        "lookalikes": [(other, site.paths.find(other.name)) for other in site.lookalikes.get(name, ())],
    }
    return renderer.page(
        site.paths.path(view, feature),
        "feature.html",
        values,
        title=name,
        summary=first_sentence(feature.description),
        leaf=True,
    )


def _other_pages(site: Site, renderer: PageRenderer) -> Iterator[File]:
    registry = site.registry
    for entity in registry.entities.values():
        views = [view for view in registry.views.values() if entity.name in view.entities]
        rows = [(view, feature) for view in views for feature in view.features]
        values = {"entity": entity, "views_here": views, "rows": rows[:_MOST_ROWS], "count": len(rows)}
        summary = first_sentence(entity.description)
        yield renderer.page(entity_path(entity.name), "entity.html", values, title=entity.name, summary=summary)
    for service in registry.services.values():
        joins = [(join, registry.views[join.view]) for join in service.views]
        online = bool(joins) and all(view.online for _, view in joins)
        columns = [
            (join.column(name), view, feature)
            for join, view in joins
            for name in join.features
            if (feature := view.feature(name)) is not None
        ]
        values = {
            "service": service,
            "joins": joins,
            "rows": columns,
            "online": online,
            "snippets": service_snippets(service, online=online),
            "findings_here": site.findings_of.get(service.name, ()),
            "changes_here": site.changes_of.get(service.name, ()),
        }
        summary = plain_text(first_sentence(service.description))
        yield renderer.page(service_path(service.name), "service.html", values, title=service.name, summary=summary)
    for name, owned in site.owners.items():
        yield renderer.page(owner_path(name), "owner.html", {"owned": owned}, title=name)
    for tag, tagged in site.tags.items():
        values = {"tag": tag, "tagged": tagged, "rows": tagged.features[:_MOST_ROWS]}
        yield renderer.page(tag_path(tag), "tag.html", values, title=f"Tag {tag}")


def _replacement_path(site: Site, view: FeatureView, name: str) -> str:
    """Return the page of a replacement: a feature of the same view by its bare name, or any object by its full name."""
    return site.paths.find(f"{view.id}.{name}") or site.href(name) or ""


def _key_figures(site: Site, name: str) -> list[tuple[str, str]]:
    """Return the key figures of the newest profile."""
    chart = site.chart(name)
    if chart is None:
        return []
    newest = chart.newest
    figures = [
        ("rows", f"{newest.rows:,}"),
        ("nulls", format_share(newest.null_rate)),
        ("distinct", "" if newest.distinct is None else f"{newest.distinct:,}"),
        ("mean", format_number(newest.mean, 4)),
        ("least", format_number(newest.minimum, 4)),
        ("greatest", format_number(newest.maximum, 4)),
    ]
    return [(label, value) for label, value in figures if value]
