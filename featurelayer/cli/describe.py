"""Entities, views, features and services as plain values, the same for `list` and `show`, JSON and text."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from featurelayer.durations import format_duration
from featurelayer.model import Entity, Feature, FeatureService, FeatureView
from featurelayer.registry import Registry


def entity(value: Entity, registry: Registry) -> dict[str, Any]:
    """Return what an entity is and which views describe it."""
    return {
        "entity": value.name,
        "description": value.description,
        "owner": str(value.owner),
        "keys": {key.name: str(key.dtype) for key in value.keys},
        "views": [view.id for view in registry.views.values() if value.name in view.entities],
    }


def view(value: FeatureView, registry: Registry) -> dict[str, Any]:
    """Return what a view is, where its rows are, and who uses it."""
    freshness = value.freshness
    return {
        "view": value.id,
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
        "features": [_feature(item) for item in value.features],
        "services": [
            service.name
            for service in registry.services.values()
            if any(join.view == value.id for join in service.views)
        ],
    }


def feature(of: FeatureView, value: Feature, registry: Registry) -> dict[str, Any]:
    """Return what a feature is, its view's times, and who uses it."""
    return {
        **_feature(value),
        "feature": f"{of.id}.{value.name}",
        "view": of.id,
        "entities": list(of.entities),
        "owner": str(of.owner),
        "online": of.online,
        "defined_in": of.yaml_path,
        "services": [
            service.name
            for service in registry.services.values()
            if any(join.view == of.id and value.name in join.features for join in service.views)
        ],
    }


def service(value: FeatureService) -> dict[str, Any]:
    """Return what a service asks for and what it gives."""
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
