"""Findings of checks about a view, a feature or a service, with their place in its YAML."""

from __future__ import annotations

from typing import Any

from featurelayer.model import Feature, FeatureService, FeatureView, Finding


def view_finding(view: FeatureView, message: str, *, key: str = "", **more: Any) -> Finding:
    """Return a finding about a view; `key` is the place in the view's YAML, `more` are fields of `Finding`."""
    fields = {"name": view.id, "owner": view.id, "file": view.yaml_path, "key": key, **more}
    return Finding(message=f"{view.id}: {message}", **fields)


def feature_finding(view: FeatureView, feature: Feature | str, message: str, *, key: str = "", **more: Any) -> Finding:
    """Return a finding about a feature; `key` is the place in the column's YAML, `more` are fields of `Finding`."""
    column = feature if isinstance(feature, str) else feature.name
    name = f"{view.id}.{column}"
    path = f"columns[{column}].{key}" if key else f"columns[{column}]"
    fields = {"name": name, "owner": view.id, "file": view.yaml_path, "key": path, **more}
    return Finding(message=f"{name}: {message}", **fields)


def service_finding(service: FeatureService, message: str, *, key: str = "", **more: Any) -> Finding:
    """Return a finding about a service; `key` is the place in the exposure's YAML, `more` are fields of `Finding`."""
    fields = {"name": service.name, "owner": service.name, "file": service.yaml_path, "key": key, **more}
    return Finding(message=f"{service.name}: {message}", **fields)
