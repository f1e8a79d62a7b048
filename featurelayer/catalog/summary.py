"""The summary pages: home, the lists, and health."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from featurelayer.catalog.markdown import first_sentence
from featurelayer.catalog.owners import owner_name
from featurelayer.catalog.site import Site
from featurelayer.catalog.urls import entity_path, owner_path, service_path, tag_path
from featurelayer.model import Severity
from featurelayer.monitor_records import MonitorStatus
from featurelayer.terminal_text import format_count

_MOST_VIEWS = 30
_MOST_CARDS = 8
_MOST_CHIPS = 40
_MOST_FOUND = 500
_PASSED = ("pass", "")


def home_values(site: Site) -> dict[str, Any]:
    """Return the values of the home page."""
    registry = site.registry
    views = list(registry.views.values())
    features = sum(len(view.features) for view in views)
    per_entity = {
        entity.name: sum(len(view.features) for view in views if entity.name in view.entities)
        for entity in registry.entities.values()
    }
    entities = sorted(registry.entities.values(), key=lambda entity: (-per_entity[entity.name], entity.name))
    services, owners, tags = list(registry.services.values()), list(site.owners), list(site.tags)
    counts = [
        format_count(features, "feature"),
        format_count(len(views), "feature view"),
        format_count(len(registry.entities), "entity"),
        format_count(len(services), "service"),
    ]
    return {
        "counts": ", ".join(counts),
        "tiles": _health_tiles(site),
        "entities": [(entity, per_entity[entity.name]) for entity in entities[:_MOST_CARDS]],
        "more_entities": _total_if_cut(entities, _MOST_CARDS),
        "services": services[:_MOST_CARDS],
        "more_services": _total_if_cut(services, _MOST_CARDS),
        "views_here": views[:_MOST_VIEWS],
        "more_views": _total_if_cut(views, _MOST_VIEWS),
        "owners": owners[:_MOST_CHIPS],
        "more_owners": _total_if_cut(owners, _MOST_CHIPS),
        "tag_names": tags[:_MOST_CHIPS],
        "more_tags": _total_if_cut(tags, _MOST_CHIPS),
    }


def list_pages(site: Site) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield URL, title, summary and values of the lists of views, entities, services, owners and tags."""
    registry = site.registry
    views = list(registry.views.values())
    numeric = ("Features", "Views", "Services", "Entities")
    yield "views.html", "Feature views", "The dbt models whose columns are features.", {"kind": "views", "rows": views}
    entities = [
        (
            entity_path(entity.name),
            entity.name,
            (
                ", ".join(key.name for key in entity.keys),
                sum(entity.name in view.entities for view in views),
                sum(len(view.features) for view in views if entity.name in view.entities),
                owner_name(entity.owner),
                first_sentence(entity.description),
            ),
        )
        for entity in registry.entities.values()
    ]
    headings: tuple[str, ...] = ("Entity", "Key", "Views", "Features", "Owner", "Description")
    yield (
        "entities.html", "Entities", "The things that features describe.",
        {"kind": "rows", "rows": entities, "headings": headings, "numeric": numeric},
    )  # fmt: skip
    services = [
        (
            service_path(service.name),
            service.name,
            (
                len(service.columns),
                len(service.views),
                owner_name(service.owner),
                service.maturity,
                first_sentence(service.description),
            ),
        )
        for service in registry.services.values()
    ]
    headings = ("Service", "Features", "Views", "Owner", "Maturity", "Description")
    yield (
        "services.html", "Services", "The features that one model is trained and served with.",
        {"kind": "rows", "rows": services, "headings": headings, "numeric": numeric},
    )  # fmt: skip
    owners = [
        (owner_path(name), name, (", ".join(owned.emails), len(owned.views), len(owned.services), len(owned.entities)))
        for name, owned in site.owners.items()
    ]
    headings = ("Owner", "Address", "Views", "Services", "Entities")
    yield (
        "owners.html", "Owners", "Owners and what they are responsible for.",
        {"kind": "rows", "rows": owners, "headings": headings, "numeric": numeric},
    )  # fmt: skip
    tags = [(tag_path(tag), tag, (len(tagged.views), len(tagged.features))) for tag, tagged in site.tags.items()]
    yield (
        "tags.html", "Tags", "Views and features by tag.",
        {"kind": "rows", "rows": tags, "headings": ("Tag", "Views", "Features"), "numeric": numeric},
    )  # fmt: skip


def monitor_values(site: Site) -> dict[str, Any]:
    """Return the findings of monitors, tests and checks, worst first."""
    results = site.latest_monitors
    notable = [each for each in results if each.status is not MonitorStatus.PASS]
    shown = notable[:_MOST_FOUND]
    by_id = {view.unique_id: view for view in site.registry.views.values()}
    ours = [test for test in site.given.tests if test.model in by_id]
    failing = [(test, by_id[test.model]) for test in ours if test.status not in _PASSED]
    findings = [finding for found in site.findings_of.values() for finding in found]
    findings.sort(key=lambda finding: (list(Severity).index(finding.severity), finding.code, finding.name))
    return {
        "results": [(each, site.href(each.name)) for each in shown],
        "hidden": len(notable) - len(shown),
        "passed": len(results) - len(notable),
        "failing": failing,
        "test_words": _describe_tests(len(ours), sum(test.status == "pass" for test in ours)),
        "found": [(finding, site.href(finding.name)) for finding in findings[:_MOST_FOUND]],
        "more_found": max(0, len(findings) - _MOST_FOUND),
    }


def _health_tiles(site: Site) -> list[dict[str, str]]:
    """Return the health tiles: a few numbers, each with a link."""
    views = list(site.registry.views.values())
    features = [feature for view in views for feature in view.features]
    described = sum(bool(feature.description) for feature in features)
    owned = sum(bool(owner_name(view.owner)) for view in views)
    tiles = [
        _tile(f"{described} of {len(features)}", "features described", "features.html", described == len(features)),
        _tile(f"{owned} of {len(views)}", "views with an owner", "owners.html", owned == len(views)),
    ]
    ids = {view.unique_id for view in views}
    ran = [test for test in site.given.tests if test.model in ids and test.status]
    if ran:
        passed = sum(test.status == "pass" for test in ran)
        tiles.append(_tile(f"{passed} of {len(ran)}", "data tests passed", "monitors.html#tests", passed == len(ran)))
    if site.latest_monitors:
        count = sum(each.status in (MonitorStatus.WARN, MonitorStatus.ERROR) for each in site.latest_monitors)
        tiles.append(_tile(_count_or_none(count), "monitors with problems", "monitors.html", count == 0))
    if site.given.findings is not None:
        count = sum(finding.severity is not Severity.NOTE for finding in site.given.findings)
        tiles.append(_tile(_count_or_none(count), "findings of checks", "monitors.html#checks", count == 0))
    finished = [run.finished_at for run in site.given.exports if run.finished_at]
    if finished:
        tiles.append(_tile(max(finished).strftime("%Y-%m-%d"), "newest export", "exports.html", good=True))
    return tiles


def _tile(value: str, name: str, href: str, good: bool) -> dict[str, str]:
    return {"value": value, "name": name, "href": href, "status": "good" if good else "doubt"}


def _count_or_none(count: int) -> str:
    return str(count) if count else "none"


def _describe_tests(every: int, passed: int) -> str:
    if not every:
        return "The feature views have no data tests."
    if not passed:
        return f"The {every} data tests of the feature views have not run yet."
    return f"All {passed} data tests that ran have passed." + (
        f" {every - passed} have not run." if every > passed else ""
    )


def _total_if_cut(values: list[Any], shown: int) -> int:
    return len(values) if len(values) > shown else 0
