"""A dbt project with a manifest, as small as a test needs it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import yaml

from featurelayer.dbt import Project, load_project, load_registry
from featurelayer.errors import MetadataError, Problem
from featurelayer.registry import Registry

ENTITIES: dict[str, Any] = {
    "plane": {"description": "An aircraft.", "keys": {"tailnum": "varchar"}},
    "airport_hour": {"keys": {"airport": "varchar", "hour": "integer"}},
}
AT = "config.meta.featurelayer"


def column(data_type: str | None = "double", native: Any = None, **said: Any) -> dict[str, Any]:
    meta = {"featurelayer": said} if said else {}
    return {"data_type": data_type, "config": {"meta": meta}, "meta": meta, "entity": native}


def model(
    name: str = "legs", *, columns: dict[str, Any] | None = None, drop: tuple[str, ...] = (), **more: Any
) -> dict:
    """A valid view `legs`; `more` are keys of its featurelayer block, `drop` are columns to leave out."""
    config = more.pop("config", {})
    node = more.pop("node", {})
    kind = more.pop("kind", "model")
    declared = {
        "tailnum": column("varchar", join_key="plane"),
        "landed_at": column("timestamp"),
        "arr_delay": column("double"),
        **(columns or {}),
    }
    block = {"entity": "plane", **more}
    return {
        "unique_id": f"{kind}.shop.{name}",
        "name": name,
        "resource_type": kind,
        "package_name": "shop",
        "relation_name": f'"db"."main"."{name}"',
        "columns": {key: {"name": key, **value} for key, value in declared.items() if key not in drop},
        "config": {"event_time": "landed_at", "materialized": "table", "meta": {"featurelayer": block}, **config},
        "original_file_path": f"models/{name}.sql",
        "patch_path": "shop://models/features.yml",
        "depends_on": {"nodes": []},
        **node,
    }


def version(number: int, *, latest: int, **more: Any) -> dict:
    node = {
        "unique_id": f"model.shop.legs.v{number}",
        "version": number,
        "latest_version": latest,
        **more.pop("node", {}),
    }
    return model(node=node, **more)


def exposure(
    *features: Any, name: str = "late", depends_on: tuple[str, ...] = ("model.shop.legs",), **more: Any
) -> dict:
    node = more.pop("node", {})
    return {
        "unique_id": f"exposure.shop.{name}",
        "name": name,
        "type": "ml",
        "package_name": "shop",
        "config": {"meta": {"featurelayer": {"features": list(features), **more}}},
        "owner": {"name": "Ops", "email": "ops@example.com"},
        "original_file_path": "models/services.yml",
        "depends_on": {"nodes": list(depends_on)},
        **node,
    }


def manifest(*nodes: dict, exposures: tuple[dict, ...] = (), adapter: str = "duckdb", **more: Any) -> dict:
    return {
        "metadata": {
            "dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v12.json",
            "dbt_version": "1.11.16",
            "adapter_type": adapter,
            "project_name": "shop",
            "invocation_id": "i",
            "generated_at": "2026-01-01T00:00:00Z",
        },
        "nodes": {node["unique_id"]: node for node in nodes},
        "exposures": {node["unique_id"]: node for node in exposures},
        **more,
    }


def project(root: Path, document: Any, *, entities: Any = None, config: str | None = None) -> Project:
    """Write the project with this manifest (or its text) and return it."""
    (root / "target").mkdir(parents=True, exist_ok=True)
    (root / "dbt_project.yml").write_text("name: shop\nprofile: shop\n")
    declared = yaml.safe_dump({"entities": ENTITIES if entities is None else entities}, sort_keys=False)
    (root / "featurelayer.yml").write_text(declared if config is None else config)
    text = document if isinstance(document, str) else json.dumps(copy.deepcopy(document))
    (root / "target" / "manifest.json").write_text(text)
    return load_project(root)


def registry(root: Path, *nodes: dict, exposures: tuple[dict, ...] = (), **more: Any) -> Registry:
    entities, config = more.pop("entities", None), more.pop("config", None)
    document = manifest(*nodes, exposures=exposures, **more)
    return load_registry(project(root, document, entities=entities, config=config))


def problems(root: Path, *nodes: dict, **more: Any) -> tuple[Problem, ...]:
    """The problems of a project that has some."""
    try:
        registry(root, *nodes, **more)
    except MetadataError as error:
        return error.problems
    raise AssertionError("the project has no problems")


def problem(root: Path, *nodes: dict, **more: Any) -> Problem:
    """The one problem of a project; every problem says where it is and how to fix it."""
    found = problems(root, *nodes, **more)
    assert len(found) == 1, "\n".join(map(str, found))
    assert found[0].where
    assert found[0].fix
    assert found[0].code
    return found[0]
