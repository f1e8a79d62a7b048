"""One file per engine, named as dbt names its adapter; found by import, so a new engine is a new file."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import TYPE_CHECKING

from featurelayer.errors import Problem, UnsupportedByDialect, did_you_mean
from featurelayer.plugins import find_plugins, load_plugin

if TYPE_CHECKING:
    from featurelayer.sql.dialects.base import Dialect

_GROUP = "featurelayer.dialects"


def available() -> tuple[str, ...]:
    """Return the names of all dialects, built in or from other packages."""
    return tuple(sorted(_own() | find_plugins(_GROUP).keys()))


@functools.cache
def dialect(name: str) -> Dialect:
    """Return the dialect of a dbt adapter type.

    Raises:
        UnsupportedByDialect: there is none.
        ConfigError: another package's can't be imported.
    """
    # Plugins come last: listing installed packages takes longer than compiling a script.
    own = name in _own()
    plugin = None if own else find_plugins(_GROUP).get(name)
    if not own and plugin is None:
        names = available()
        raise UnsupportedByDialect(
            [
                Problem(
                    what=f"no SQL dialect for the dbt adapter '{name}'{did_you_mean(name, names)}",
                    fix=f"there are {', '.join(names)}; another one is one file in featurelayer/sql/dialects",
                )
            ]
        )
    instance: Dialect = (load_plugin(plugin) if plugin else importlib.import_module(f"{__name__}.{name}")).DIALECT
    return instance


def _own() -> set[str]:
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return {name for name in modules if name != "base" and not name.startswith("_")}
