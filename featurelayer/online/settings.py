"""What a store's entry in featurelayer.yml means: its address, the name by which exports know it, what is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from featurelayer.errors import ConfigError, PlanError, Problem, closest, did_you_mean
from featurelayer.online.base import OnlineStore, open_store, store_types
from featurelayer.online.stores.dynamodb.provision import find_provisioner
from featurelayer.online.stores.dynamodb.tables import CONFIGURED as TABLE_SETTINGS

KEEP = 7
_MOST_KEPT = 1000
_PATIENT_SECONDS = 10.0
_NO_OPTIONS = ("type", "path", "table", "name", "keep")


def validate_entry(entry: Mapping[str, Any], where: str) -> list[Problem]:
    """Return what is wrong with a target's entry that needs nobody's secrets: its type, and where the store is.

    What is written in Jinja is left for the target that renders it.
    """
    kind, known = entry.get("type"), store_types()
    example = "write `type: sqlite`, `dynamodb` or `memory`"
    if not isinstance(kind, str):
        return [Problem(what="the online store has no type", where=where, fix=example)]
    if "{{" in kind:
        return []
    if kind not in known:
        what = f"there is no online store of type '{kind}'{did_you_mean(kind, known)}"
        return [Problem(what=what, where=where, fix=f"the types are {', '.join(known)}")]
    if kind != "sqlite" and not (entry.get("table") or entry.get("name")):
        key = "table" if kind == "dynamodb" else "name"
        meant = next((name for name in entry if closest(str(name), [key])), "")
        what = f"the online store of type {kind} has no {key}"
        fix = f"call `{meant}` `{key}`" if meant else f"add {key}: NAME"
        return [Problem(what=what, where=where, fix=fix)]
    return []


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
        ConfigError: the entry does not say where the store is, or its type is unknown.
    """
    if problems := validate_entry(settings, "featurelayer.yml -> online_store"):
        raise ConfigError(problems)
    kind = settings["type"]
    not_options = (*_NO_OPTIONS, *(TABLE_SETTINGS if kind == "dynamodb" else ()))
    options = {name: str(value) for name, value in settings.items() if name not in not_options and value}
    if isinstance(settings.get("mode"), int):
        options["mode"] = f"{settings['mode']:o}"  # YAML reads 0640 as an octal number
    if kind == "sqlite":
        location = quote(str((root / str(settings.get("path") or ".featurelayer/online.db")).resolve()))
    else:
        location = str(settings.get("table") or settings.get("name") or "")
    return f"{kind}://{'/' if kind == 'sqlite' else ''}{location}" + (f"?{urlencode(options)}" if options else "")


def patient_url(settings: Mapping[str, Any], root: Path) -> str:
    """Return the address for a command: an attempt on DynamoDB may take 10 seconds, whatever a service allows it."""
    if settings["type"] != "dynamodb":
        return store_url(settings, root)
    timeout = settings.get("timeout") or 0
    with suppress(TypeError, ValueError):  # the store reports what is no number
        timeout = max(float(timeout), _PATIENT_SECONDS)
    return store_url({**settings, "timeout": timeout}, root)


def store_name(settings: Mapping[str, Any]) -> str:
    """Return what the export ledger calls a store: the same on every machine that has the same featurelayer.yml."""
    place = settings.get("path") or settings.get("table") or settings.get("name") or ""
    return f"{settings['type']}:{place}" + (f"@{settings['region']}" if settings.get("region") else "")


def read_keep(settings: Mapping[str, Any], where: str) -> int:
    """Return how many exports of a view can be rolled back to.

    Raises:
        ConfigError: `keep` is no such number.
    """
    said = settings.get("keep", KEEP)
    try:
        kept = int(str(said))
    except ValueError:
        kept = 0
    if not 1 <= kept <= _MOST_KEPT:
        fix = f"write a whole number from 1 to {_MOST_KEPT}: so many exports of a view can be rolled back to"
        raise ConfigError([Problem(what=f"`keep` is {said!r}", where=where, fix=fix)])
    return kept


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
        _validate_new_tables(store, views, new)
    elif (place := find_provisioner(store, views)) is not None:
        place.check()


def _validate_new_tables(store: OnlineStore, views: Collection[str], new: Collection[str]) -> None:
    """AWS imports into a table that it makes, never into one that is there."""
    from featurelayer.online.stores.dynamodb.layout import view_id
    from featurelayer.online.stores.dynamodb.store import DynamoDBStore

    if not isinstance(store, DynamoDBStore):
        what = f"{store!r} is no DynamoDB table, so it can't be loaded by an import"
        raise PlanError([Problem(what=what, fix="export without --bulk")])
    store.provisioner(views)  # their names are checked before any table is asked for
    there = store.existing(views)
    untouched = [view_id(sk) for sk in new if sk not in there]
    fix = "export without --bulk"
    if store.divided and untouched:
        fix += f", or only what has no table yet: -s {' -s '.join(untouched)}"
    problems = [
        Problem(what=f"the table '{table}' exists already, and AWS imports only into a table that it makes", fix=fix)
        for table in sorted({there[sk] for sk in new if sk in there})
    ]
    # Once services are published, a lookup needs the tables of all their views.
    problems += [
        Problem(what=f"the table of view {view_id(sk)} is missing, and the view is not among those to be imported",
                fix="import it, too: name both, or none")
        for sk in sorted(set(views) - set(new)) if store.divided and sk not in there
    ]  # fmt: skip
    if problems:
        raise PlanError(problems)
    if store.divided and store.exists():
        store.provisioner(set(views) - set(new)).check()
