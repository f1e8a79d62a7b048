"""A project in which lint finds nothing, to be spoilt in one place per test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from featurelayer.lint import LintReport, lint
from tests.unit.dbt_projects import column, exposure, manifest, model, project

OPS = {"name": "Ops", "email": "ops@example.com"}
GROUPS = {"group.shop.ops": {"name": "ops", "package_name": "shop", "owner": OPS}}
ENTITIES: dict[str, Any] = {
    "plane": {"description": "An aircraft.", "owner": "Ops", "keys": {"tailnum": "varchar"}},
    "airport": {"description": "A field.", "owner": "Ops", "keys": {"airport": "varchar"}},
}


def described(dtype: str = "double", description: str = "Minutes between plan and arrival.", **said: Any) -> dict:
    """A feature that nothing is wrong with."""
    said = {"unit": "minutes", **said} if dtype in ("double", "float") else said
    return {**column(dtype, **{key: value for key, value in said.items() if value is not None}),
            "description": description}  # fmt: skip


def view(name: str = "legs", **more: Any) -> dict:
    """A view that nothing is wrong with; `more` as in `model`."""
    config = {"contract": {"enforced": True}, "group": "ops", **more.pop("config", {})}
    node = {"description": "A plane's newest leg, once it has landed.", "language": "sql", **more.pop("node", {})}
    block = {"update_frequency": "hourly", "ttl": "24 hours", "online": True, "delay": "1 minute",
             "freshness": {"warn_after": {"count": 2, "period": "hour"}}, **more}  # fmt: skip
    columns = {"arr_delay": described(), **block.pop("columns", {})}
    block = {key: value for key, value in block.items() if value is not None}
    return model(name, columns=columns, config=config, node=node, **block)


def data_test(of: str, name: str, column: str | None = None, **arguments: Any) -> dict:
    """An enabled data test of a model."""
    namespace, _, bare = name.rpartition(".")
    kwargs = {"column_name": column, **arguments} if column else arguments
    return {
        "unique_id": f"test.shop.{bare}_{of}_{column}_{len(arguments)}",
        "name": bare,
        "resource_type": "test",
        "attached_node": f"model.shop.{of}",
        "column_name": column,
        "test_metadata": {"name": bare, "namespace": namespace or None, "kwargs": kwargs},
        "config": {"enabled": True},
    }


def asked_tests(name: str = "legs", *, but: str = "") -> list[dict]:
    """The tests that lint asks for; `but` leaves one out."""
    asked = [
        data_test(name, "featurelayer.unique_per_entity_and_time"),
        data_test(name, "featurelayer.event_time_not_in_future"),
        data_test(name, "not_null", "tailnum"),
        data_test(name, "not_null", "landed_at"),
    ]
    return [test for test in asked if test["name"] != but]


def service(
    *features: Any, name: str = "late", depends_on: tuple[str, ...] = ("model.shop.legs",), **more: Any
) -> dict:
    """A service that nothing is wrong with."""
    node = {"description": "Whether a flight will be late.", **more.pop("node", {})}
    return exposure(*(features or ("legs.arr_delay",)), name=name, depends_on=depends_on, node=node, **more)


def write(root: Path, *nodes: dict, exposures: tuple[dict, ...] = (), settings: Any = None, **more: Any) -> Any:
    """Write the project; without nodes it is the clean one."""
    nodes = nodes or (view(), *asked_tests())
    entities = more.pop("entities", ENTITIES)
    document = {"entities": entities, **({"lint": settings} if settings is not None else {})}
    config = yaml.safe_dump(document, sort_keys=False)
    return project(root, manifest(*nodes, exposures=exposures, groups=GROUPS, **more), config=config)


def findings(
    root: Path, *nodes: dict, checks: tuple[str, ...] = (), names: tuple[str, ...] = (), **more: Any
) -> LintReport:
    return lint(write(root, *nodes, **more), names, checks)


def codes(root: Path, *nodes: dict, **more: Any) -> list[tuple[str, str]]:
    """The findings as (code, name)."""
    return [(found.code, found.name) for found in findings(root, *nodes, **more).findings]
