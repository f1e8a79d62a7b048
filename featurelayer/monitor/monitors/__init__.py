"""One file per monitor, found by its name: `check(watched)` yields a result for each thing that it judged."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from featurelayer.monitor.context import MonitorContext
    from featurelayer.monitor_records import MonitorResult

Check = Callable[["MonitorContext"], Iterable["MonitorResult"]]


@functools.cache
def all_monitors() -> tuple[Check, ...]:
    """Return every monitor, in the order of their files' names."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(importlib.import_module(f"{__name__}.{name}").check for name in names)
