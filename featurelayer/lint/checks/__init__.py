"""All checks: one module per family here, and those of installed packages.

A module is found by its name. A package adds checks with an entry point in the group `featurelayer.lint_checks`, which
names a module, or a `Check`, or a sequence of them. Codes FL1xx to FL6xx are ours; a code is never reused, even after
its check has been removed.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType, ModuleType
from typing import Any

from featurelayer.errors import ConfigError, Problem
from featurelayer.lint.base import Check
from featurelayer.plugins import package_name

GROUP = "featurelayer.lint_checks"


@functools.cache
def builtin_checks() -> Mapping[str, Check]:
    """Return featurelayer's own checks by code, in the order of the codes."""
    checks: dict[str, Check] = {}
    for module in pkgutil.iter_modules(__path__):
        for item in _find_checks(importlib.import_module(f"{__name__}.{module.name}")):
            assert checks.setdefault(item.code, item) is item, f"two checks are {item.code}"
    return MappingProxyType(dict(sorted(checks.items())))


@functools.cache
def all_checks() -> Mapping[str, Check]:
    """Return every check by code, those of installed packages included, in the order of the codes.

    Raises:
        ConfigError: the checks of a package can't be loaded, or use a code that is taken.
    """
    checks = dict(builtin_checks())
    problems: list[Problem] = []
    for point in sorted(entry_points(group=GROUP), key=lambda each: (each.name, each.value)):
        for item in _load(point, problems):
            if item.code.startswith("FL") and item.code[2].isdigit():
                problems.append(_problem(point, f"check code {item.code} is reserved for featurelayer"))
            elif item.code in checks and checks[item.code].run is not item.run:
                problems.append(_problem(point, f"check code {item.code} is used twice"))
            else:
                checks[item.code] = item
    if problems:
        raise ConfigError(problems)
    return MappingProxyType(dict(sorted(checks.items())))


def _load(point: EntryPoint, problems: list[Problem]) -> list[Check]:
    package = package_name(point)
    try:
        loaded = point.load()
    except Exception as error:  # noqa: BLE001 (the code of another package)
        problems.append(_problem(point, f"the lint checks of '{package}' can't be loaded: {error!r}"))
        return []
    found = [replace(item, package=package) for item in _find_checks(loaded)]
    if not found:
        problems.append(_problem(point, f"the lint checks of '{package}' can't be loaded: there are none"))
    return found


def _find_checks(value: Any) -> Iterator[Check]:
    """Yield the checks that a module defines, in sequences too, or that a value is."""
    values = vars(value).values() if isinstance(value, ModuleType) else (value,)
    for each in values:
        for item in each if isinstance(each, tuple | list) else (each,):
            if isinstance(item, Check):
                yield item


def _problem(point: EntryPoint, what: str) -> Problem:
    package = package_name(point)
    return Problem(
        what=what,
        where=f"entry point {point.name} = {point.value} in {GROUP}",
        fix=f"Upgrade or uninstall {package}.",
    )
