"""Entities, views, features and services as plain values, the same for `list` and `show`, JSON and text."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from featurelayer.catalog.glossary import describe_feature, describe_view
from featurelayer.durations import format_duration
from featurelayer.model import Entity, Feature, FeatureService, FeatureView
from featurelayer.registry import Registry

if TYPE_CHECKING:
    from featurelayer.catalog.owners import OwnedObjects
    from featurelayer.catalog.site import Site
    from featurelayer.dbt.documentation import TestOutcome


def entity(value: Entity, registry: Registry) -> dict[str, Any]:
    """Describe an entity and list its views."""
    return {
        "entity": value.name,
        "description": value.description,
        "owner": str(value.owner),
        "keys": {key.name: str(key.dtype) for key in value.keys},
        "views": [view.id for view in registry.views.values() if value.name in view.entities],
    }


def view(value: FeatureView, registry: Registry, site: Site | None = None) -> dict[str, Any]:
    """Describe a view, its relation and the services that use it; with `site` also what it is built from."""
    freshness = value.freshness
    return {
        "view": value.id,
        **_versions(value, registry),
        "description": value.description,
        "owner": str(value.owner),
        "entities": list(value.entities),
        "join_keys": [
            {"column": key.column, "entity": key.entity, "key": key.key, "type": str(key.dtype)}
            for key in value.join_keys
        ],
        "static": value.static,
        "event_time": value.event_time,
        "available_at": value.available_at,
        "delay": _duration(value.delay),
        "created_timestamp": value.created_timestamp,
        "tie_breaker": list(value.tie_breaker),
        "valid_to": value.valid_to,
        "ttl": _duration(value.ttl),
        "bound": value.bound,
        "online": value.online,
        "update_frequency": value.update_frequency,
        "freshness": {
            "warn_after": _duration(freshness.warn_after),
            "error_after": _duration(freshness.error_after),
        }
        if freshness
        else None,
        "on_stale": value.on_stale,
        "deprecated": {"replaced_by": value.deprecated.replaced_by} if value.deprecated else None,
        "tags": list(value.tags),
        "relation": value.relation_name,
        "unique_id": value.unique_id,
        "defined_in": value.yaml_path,
        "means": describe_view(value),
        **(_drop_empty(_built_from(value, site)) if site else {}),
        "features": [_feature(item) for item in value.features],
        "services": [
            service.name
            for service in registry.services.values()
            if any(join.view == value.id for join in service.views)
        ],
    }


def _versions(value: FeatureView, registry: Registry) -> dict[str, Any]:
    """Return the ids of all versions of a view and which of them its bare name means; nothing if it has none."""
    if value.version is None:
        return {}
    versions = [view for view in registry.views.values() if view.name == value.name]
    latest = next((view.id for view in versions if view.is_latest), None)
    return {"versions": [view.id for view in versions], "latest": latest}


def feature(of: FeatureView, value: Feature, registry: Registry, site: Site | None = None) -> dict[str, Any]:
    """Describe a feature and the services that use it; with `site` also its origins."""
    return {
        **_feature(value),
        "feature": f"{of.id}.{value.name}",
        "view": of.id,
        "entities": list(of.entities),
        "owner": str(of.owner),
        "online": of.online,
        "update_frequency": of.update_frequency,
        "defined_in": of.yaml_path,
        "means": describe_feature(of, value),
        **(_drop_empty(_column(of, value, site)) if site else {}),
        "services": [
            service.name
            for service in registry.services.values()
            if any(join.view == of.id and value.name in join.features for join in service.views)
        ],
    }


def owner(value: OwnedObjects) -> dict[str, Any]:
    """Describe an owner: addresses, and what they own."""
    return {
        "owner": value.name,
        "addresses": list(value.emails),
        "entities": [each.name for each in value.entities],
        "views": [each.id for each in value.views],
        "services": [each.name for each in value.services],
    }


def service(value: FeatureService) -> dict[str, Any]:
    """Describe a service: its request keys and its columns."""
    return {
        "service": value.name,
        "description": value.description,
        "owner": str(value.owner),
        "maturity": value.maturity,
        "request_keys": {key.name: str(key.dtype) for key in value.request_keys},
        "aliases": dict(value.aliases),
        "label_timestamp": value.label_timestamp,
        "unique_id": value.unique_id,
        "defined_in": value.yaml_path,
        "views": [
            {
                "view": join.view,
                "role": join.role,
                "keys": dict(join.keys),
                "features": list(join.features),
            }
            for join in value.views
        ],
        "columns": list(value.columns),
    }


def _built_from(value: FeatureView, site: Site) -> dict[str, Any]:
    return {
        "sources": [node.name for node in site.graph.sources(value.unique_id)],
        "tests": [_test(test) for test in site.tests_of.get(value.unique_id, ())],
    }


def _column(of: FeatureView, value: Feature, site: Site) -> dict[str, Any]:
    from featurelayer.catalog.snippets import feature_snippets

    name = f"{of.id}.{value.name}"
    lineage = site.given.lineage.get(name)
    used = site.services_of.get(name, ())
    first, column = used[0] if used else (None, "")
    commands = [each for each in feature_snippets(name, column, of, first) if each.title != "Python"]
    tests = [test for test in site.tests_of.get(of.unique_id, ()) if test.column == value.name]
    return {
        "comes_from": [f"{origin.relation}.{origin.column}" for origin in lineage.origins] if lineage else [],
        "through": list(lineage.through) if lineage else [],
        "expression": lineage.expression if lineage else "",
        "tests": [_test(test) for test in tests],
        "look_alikes": [{"feature": other.name, "why": other.reason} for other in site.lookalikes.get(name, ())],
        "get_it": [{"command": each.text} for each in commands],
    }


def _drop_empty(facts: dict[str, Any]) -> dict[str, Any]:
    """Drop empty facts; `list` has none of those that come from dbt's files."""
    return {key: value for key, value in facts.items() if value}


def _test(test: TestOutcome) -> dict[str, Any]:
    return {"test": test.name, "column": test.column, "last_run": test.status}


def _feature(value: Feature) -> dict[str, Any]:
    described: dict[str, Any] = {"feature": value.name, "type": str(value.dtype), "description": value.description}
    if value.has_default:
        described["default"] = value.default
    if value.range:
        described["range"] = [_number(bound) for bound in value.range]
    if value.unit:
        described["unit"] = value.unit
    if value.tags:
        described["tags"] = list(value.tags)
    if value.deprecated:
        described["deprecated"] = {"replaced_by": value.deprecated.replaced_by}
    return described


def _duration(value: timedelta | None) -> str | None:
    return None if value is None else format_duration(value)


def _number(value: float | None) -> float | int | None:
    return int(value) if value is not None and value == int(value) else value
