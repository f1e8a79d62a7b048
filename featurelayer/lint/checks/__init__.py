"""One module per family of checks, found by import, so that a new family is a new file.

A check is one function there, made a `Check` by the decorator `check`; its first digit says the family:
FL1xx metadata, FL2xx time and leakage, FL3xx contract, FL4xx ownership and docs, FL5xx serving, FL6xx naming and
duplicates. A code is never used for anything else, also not after its check is gone.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType

from featurelayer.lint.base import Check


@functools.cache
def all_checks() -> Mapping[str, Check]:
    """Return every check by its code, in the order of the codes."""
    found: dict[str, Check] = {}
    for module in pkgutil.iter_modules(__path__):
        for value in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            checks = value if isinstance(value, tuple) else (value,)
            for item in checks:
                if isinstance(item, Check):
                    assert found.setdefault(item.code, item) is item, f"two checks are {item.code}"
    return MappingProxyType(dict(sorted(found.items())))
