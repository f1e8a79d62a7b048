"""One file or folder per engine, named as dbt names its adapter; found by name, here and by entry point.

A module of an engine has one of these:

- `connect(connection, *, root, writable, wait)`, which returns a `Warehouse`: a driver of its own. It may have
  `keep_running(connection, root)`, a context in which the engine goes on running between connections.
- `ADAPTER`, an `AdapterFacts`: the engine is reached through dbt's adapter.

Names that start with `_` and whatever else lies in the package `warehouse` are no engines.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from types import ModuleType

from featurelayer.plugins import find_plugins, load_plugin

_GROUP = "featurelayer.warehouses"


def available() -> tuple[str, ...]:
    """Return the adapter types of all engines, built in or from other packages."""
    return tuple(sorted(_own_engines() | find_plugins(_GROUP).keys()))


@functools.cache
def load_engine(kind: str) -> ModuleType | None:
    """Return the module of an adapter type; None if it is unknown.

    Raises:
        ConfigError: another package's can't be imported.
    """
    # Entry points come last: listing installed packages takes longer than connecting.
    if kind in _own_engines():
        return importlib.import_module(f"{__name__}.{kind}")
    plugin = find_plugins(_GROUP).get(kind)
    module: ModuleType | None = load_plugin(plugin) if plugin is not None else None
    return module


def _own_engines() -> set[str]:
    return {module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")}
