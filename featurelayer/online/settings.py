"""Read a store's entry in featurelayer.yml: its address, its name in the export ledger, how many exports are kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from featurelayer.errors import ConfigError, PlanError, Problem, closest
from featurelayer.online.base import BulkLoadStore, OnlineStore, find_provisioner
from featurelayer.online.stores import open_store, store_entry

KEEP = 7
_MOST_KEPT = 1000
_NO_OPTIONS = ("type", "path", "table", "name", "keep")


def validate_entry(entry: Mapping[str, Any], where: str) -> list[Problem]:
    """Return the problems of a target's entry, its type and address, without any secret.

    What is written in Jinja is left for the target that renders it.
    """
    kind = entry.get("type")
    if not isinstance(kind, str):
        fix = "write `type: sqlite`, `dynamodb` or `memory`"
        return [Problem(what="the online store has no type", where=where, fix=fix)]
    if "{{" in kind:
        return []
    try:
        spec = store_entry(kind, where=where)
    except ConfigError as error:
        return list(error.problems)
    if spec.default or any(entry.get(key) for key in spec.location):
        return []
    key = spec.location[0]
    meant = next((name for name in entry if closest(str(name), [key])), "")
    what = f"the online store of type {kind} has no {key}"
    fix = f"call `{meant}` `{key}`" if meant else f"add {key}: NAME"
    return [Problem(what=what, where=where, fix=fix)]


def validate_stores(stores: Any, file: str) -> list[Problem]:
    """Return what is wrong with `online_store` of featurelayer.yml, for all targets; other shapes are not looked at."""
    if not isinstance(stores, Mapping):
        return []
    entries = {target: entry for target, entry in stores.items() if isinstance(entry, Mapping)}
    return [
        replace(problem, code="FL105")
        for target, entry in entries.items()
        for problem in validate_entry(entry, f"{file} -> online_store.{target}")
    ]


def store_url(settings: Mapping[str, Any], root: Path) -> str:
    """Return the address that an entry means; a file's path starts from the project.

    Raises:
        ConfigError: the entry does not name the place of the store, or its type is unknown.
    """
    if problems := validate_entry(settings, "featurelayer.yml -> online_store"):
        raise ConfigError(problems)
    kind, spec = settings["type"], store_entry(settings["type"])
    not_options = {*_NO_OPTIONS, *spec.location, *spec.settings}
    options = {name: str(value) for name, value in settings.items() if name not in not_options and value}
    if isinstance(settings.get("mode"), int):
        options["mode"] = f"{settings['mode']:o}"  # YAML reads 0640 as an octal number
    key = next((name for name in spec.location if settings.get(name)), spec.location[0])
    location = str(settings.get(key) or spec.default)
    if key == "path":
        location = "/" + quote(str((root / location).resolve()))
    return f"{kind}://{location}" + (f"?{urlencode(options)}" if options else "")


def patient_url(settings: Mapping[str, Any], root: Path) -> str:
    """Return the address for a command, which may wait longer for an answer than a service does."""
    least = store_entry(settings["type"]).command_timeout
    if least is None:
        return store_url(settings, root)
    timeout = settings.get("timeout") or 0
    with suppress(TypeError, ValueError):  # the store reports values that are not numbers
        timeout = max(float(timeout), least)
    return store_url({**settings, "timeout": timeout}, root)


def store_name(settings: Mapping[str, Any]) -> str:
    """Return the name of a store in the export ledger: the same on every machine with the same featurelayer.yml."""
    keys = (*store_entry(settings["type"]).location, "path", "table", "name")
    place = next((settings[key] for key in keys if settings.get(key)), "")
    return f"{settings['type']}:{place}" + (f"@{settings['region']}" if settings.get("region") else "")


def read_keep(settings: Mapping[str, Any], where: str) -> int:
    """Return the number of exports of a view kept for rollback.

    Raises:
        ConfigError: `keep` is not a whole number in range.
    """
    value = settings.get("keep", KEEP)
    try:
        count = int(str(value))
    except ValueError:
        count = 0
    if not 1 <= count <= _MOST_KEPT:
        fix = f"write a whole number from 1 to {_MOST_KEPT}: the number of exports of a view that can be rolled back to"
        raise ConfigError([Problem(what=f"`keep` is {value!r}", where=where, fix=fix)])
    return count


@contextmanager
def open_checked_store(
    store: OnlineStore | None, url: str, *, views: Collection[str], new: Collection[str] = ()
) -> Iterator[OnlineStore]:
    """Yield a store to export to, checked; one that was given stays open, one that is opened here is closed.

    `views` are the `sk` of all that it is to hold, `new` those of them whose tables must not be there yet.
    """
    if store is not None:
        _validate_store(store, views, new)
        yield store
        return
    own = open_store(url)
    try:
        _validate_store(own, views, new)
        yield own
    finally:
        own.close()


def _validate_store(store: OnlineStore, views: Collection[str], new: Collection[str]) -> None:
    if new:
        _validate_import(store, views, new)
    elif (place := find_provisioner(store, views)) is not None:
        place.check()


def _validate_import(store: OnlineStore, views: Collection[str], new: Collection[str]) -> None:
    if not isinstance(store, BulkLoadStore):
        what = f"{store!r} can't be loaded by an import: it is not a DynamoDB table"
        raise PlanError([Problem(what=what, fix="export without --bulk")])
    store.validate_import(views, new)
