"""Runs SQL where the features live and hands the rows on as Arrow."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from featurelayer.errors import ConfigError, Problem, did_you_mean
from featurelayer.warehouse.base import Warehouse

__all__ = ["Warehouse", "available", "connect", "kept", "schema_of"]

_GROUP = "featurelayer.warehouses"


def available() -> tuple[str, ...]:
    """Return the adapter types that there is a driver for; others go through dbt's own adapter, where it is."""
    return tuple(sorted(_own() | {point.name for point in entry_points(group=_GROUP)}))


def connect(
    connection: Mapping[str, Any], *, root: Path, writable: bool = False, wait: timedelta = timedelta(0)
) -> Warehouse:
    """Connect with a target of profiles.yml, with the credentials that dbt has there.

    Args:
        connection: the target's rendered output.
        root: the folder that relative paths in it start from.
        writable: whether something is to be written: the target's schema is made if it is missing. A DuckDB file is
            opened read-only otherwise.
        wait: how long to try while another process holds a DuckDB file, or writes to the same schema.

    Raises:
        ConfigError: the adapter type is not supported.
        WarehouseError: the engine can't be reached.
    """
    kind = str(connection.get("type", ""))
    own = kind in _own()
    plugin = None if own else next(iter(entry_points(group=_GROUP, name=kind)), None)
    if not own and plugin is None:
        return _through_dbt(connection, kind, root, writable, wait)
    module = plugin.load() if plugin else importlib.import_module(f"{__name__}.{kind}")
    warehouse: Warehouse = module.connect(connection, root=root, writable=writable, wait=wait)
    return warehouse


def kept(connection: Mapping[str, Any], *, root: Path) -> AbstractContextManager[None]:
    """Keep what the engine starts in this process, if it does, for several connections one after the other."""
    kind = str(connection.get("type", ""))
    keep = getattr(importlib.import_module(f"{__name__}.{kind}"), "keep", None) if kind in _own() else None
    found: AbstractContextManager[None] = keep(connection, root) if keep is not None else nullcontext()
    return found


def schema_of(connection: Mapping[str, Any]) -> str:
    """Return the schema that dbt builds a target in, as its engine has the name."""
    if connection.get("type") in _own():  # dbt writes it in quotes
        return str(connection.get("schema") or "main")
    from featurelayer.warehouse import _adapter_engines

    return _adapter_engines.schema_of(connection)


def _through_dbt(connection: Mapping[str, Any], kind: str, root: Path, writable: bool, wait: timedelta) -> Warehouse:
    from featurelayer.warehouse import adapter

    if kind and adapter.is_installed(kind):
        return adapter.connect(connection, root=root, writable=writable, wait=wait)
    names = available()
    raise ConfigError(
        [
            Problem(
                what=f"there is no way to run SQL on the dbt adapter '{kind}'{did_you_mean(kind, names)}",
                where="profiles.yml",
                fix=f"choose a target of type {' or '.join(names)} with --target, "
                f"or install dbt's own adapter beside featurelayer: pip install dbt-{kind or 'ADAPTER'}",
            )
        ]
    )


def _own() -> set[str]:
    """The engines among this package's modules."""
    modules = {module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")}
    return modules - {"adapter", "base", "compare", "digest", "streams", "tables"}
