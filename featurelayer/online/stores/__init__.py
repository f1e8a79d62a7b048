"""The online stores: one module or package each, found by name, or by an entry point of another distribution.

A module has `connect(url)`, which returns an `OnlineStore`, and may have `entry`, a `StoreEntry` for the keys of
featurelayer.yml that make its address. It is imported when an address or an entry names it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from featurelayer.errors import ConfigError, MissingDependency, Problem, did_you_mean
from featurelayer.online.base import OnlineStore, StoreEntry, StoreUrl, redact_url
from featurelayer.plugins import find_plugins

_ENTRY_POINTS = "featurelayer.online_stores"
_EXAMPLES = "write sqlite:///path/to/file.db, dynamodb://table?region=... or memory://name"


class StoreModule(Protocol):
    """The interface of a store's module."""

    connect: Callable[[StoreUrl], OnlineStore]


def open_store(url: str) -> OnlineStore:
    """Return the store at an address; nothing is read or created yet.

    `sqlite:///features.db` (relative to the working directory), `sqlite:////var/lib/features.db`, `memory://name`
    (one instance per name and process), `dynamodb://table?region=eu-west-1&endpoint_url=http://127.0.0.1:8000`.

    Raises:
        ConfigError: the address is not understood.
        MissingDependency: an extra of featurelayer is not installed.
    """
    parsed = parse_url(url)
    module = load_store(parsed.scheme, where=parsed.display)
    try:
        return module.connect(parsed)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("featurelayer") or parsed.scheme not in store_schemes():
            raise
        raise MissingDependency(error.name, parsed.scheme) from error


def parse_url(url: str) -> StoreUrl:
    """Return the parts of a store's address; `%20` and the like are decoded."""
    from urllib.parse import parse_qsl, unquote

    if not isinstance(url, str):
        what = f"the address of the online store is a {type(url).__name__}, not text"
        raise ConfigError([Problem(what=what, fix=_EXAMPLES)])
    scheme, separator, rest = url.partition("://")
    if not separator or not scheme:
        raise ConfigError([Problem(what=f"'{redact_url(url)}' is not the address of an online store", fix=_EXAMPLES)])
    location, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    return StoreUrl(text=url, scheme=scheme.lower(), location=unquote(location), options=options)


def store_schemes() -> tuple[str, ...]:
    """Return the types of the stores that come with featurelayer, sorted."""
    from pkgutil import iter_modules

    return tuple(sorted(module.name for module in iter_modules(__path__)))


def store_types() -> tuple[str, ...]:
    """Return the types of all stores that are installed, those of other packages too, sorted."""
    return tuple(sorted({*store_schemes(), *find_plugins(_ENTRY_POINTS)}))


def load_store(kind: str, *, where: str = "") -> StoreModule:
    """Return the module of a type of store: featurelayer's own, else that of an entry point.

    Raises:
        ConfigError: the type is unknown, or its package can't be imported.
    """
    from importlib import import_module

    if kind in store_schemes():
        return cast("StoreModule", import_module(f"{__name__}.{kind}"))
    plugin = find_plugins(_ENTRY_POINTS).get(kind)
    if plugin is None:
        known = store_types()
        what = f"there is no online store of type '{kind}'{did_you_mean(kind, known)}"
        raise ConfigError([Problem(what=what, where=where, fix=f"the types are {', '.join(known)}")])
    try:
        return cast("StoreModule", plugin.load())
    except ImportError as error:
        what = f"the online store '{kind}' can't be imported from {plugin.value}: {error}"
        raise ConfigError([Problem(what=what, where=where, fix="install the package again")]) from error


def store_entry(kind: str, *, where: str = "") -> StoreEntry:
    """Return how an entry of featurelayer.yml for this type of store is read.

    Raises:
        ConfigError: the type is unknown; `where` is what named it.
    """
    found: Any = getattr(load_store(kind, where=where), "entry", None)
    return found if isinstance(found, StoreEntry) else StoreEntry()
