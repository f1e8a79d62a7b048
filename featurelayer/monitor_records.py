"""Monitors as frozen values: declarations, profiles of features, and results.

Standard library only, like the domain. The contract of the annotations reads the declarations, monitors write profiles
and results, the catalog and exports read them.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from featurelayer.errors import ConfigError, Problem
from featurelayer.plugins import find_plugins, load_plugin, package_name

GROUP = "featurelayer.monitors"
"""The entry point group of monitors of other packages."""
AGE_METRIC = "age in hours"
"""The metric of ages, which the report draws as shares of their limits."""
_BUILT_IN = "featurelayer.monitor.monitors"


class ProfileScope(StrEnum):
    """The rows that a profile covers."""

    PERIOD = "period"
    """The rows with an event time from `start` to `end`; all rows of a static view."""
    BASELINE = "baseline"
    """The rows that a period is compared with."""
    SNAPSHOT = "snapshot"
    """The newest row of every entity as of `end`, as an export at that time serves it."""


class MonitorStatus(StrEnum):
    """The status of a result; the meaning of a skipped one is the reason."""

    PASS = "pass"  # noqa: S105 (no password)
    SKIPPED = "skipped"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The distribution of one feature over some rows: a row of `featurelayer_profiles`.

    Numbers describe numeric values, the lengths of arrays, booleans as 0 and 1, and times as seconds since 1970.
    `unusable` counts NaN, infinities and numbers beyond 1e150, which no other number includes. `counts` has one item
    more than `edges`: values at or below the first edge, up to the second, ..., above the last. Quantiles and counts
    cover `shape_rows` rows, fewer than `rows` where they were sampled. `top` holds the most frequent values as text
    with their counts. `source` names the relation or the baseline.
    """

    view: str
    feature: str
    scope: ProfileScope
    source: str
    start: datetime | None
    end: datetime | None
    profiled_at: datetime
    run: str
    rows: int
    nulls: int
    distinct: int | None = None
    unusable: int = 0
    defaults: int | None = None
    out_of_range: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    std: float | None = None
    shape_rows: int = 0
    quantiles: tuple[tuple[float, float], ...] = ()
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    top: tuple[tuple[str, int], ...] = ()

    @property
    def null_rate(self) -> float | None:
        """The share of NULLs; None without rows."""
        return self.nulls / self.rows if self.rows else None

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as JSON values."""
        return _as_json(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorResult:
    """The result of one monitor for a view (without `feature`) or a feature: a row of `featurelayer_monitor_results`.

    `value` was compared with `warn` and `error`; `threshold` is the one that was crossed, or would be crossed first.
    `baseline` names what was compared with, `meaning` explains the value in a sentence.
    """

    view: str
    feature: str
    monitor: str
    metric: str
    status: MonitorStatus
    meaning: str
    value: float | None = None
    threshold: float | None = None
    warn: float | None = None
    error: float | None = None
    baseline: str = ""
    start: datetime | None = None
    end: datetime | None = None
    checked_at: datetime | None = None
    run: str = ""

    @property
    def name(self) -> str:
        """`view` or `view.feature`."""
        return f"{self.view}.{self.feature}" if self.feature else self.view

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return _as_json(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The values beyond which a monitor warns and fails; with `least`, below which."""

    warn: float | None = None
    error: float | None = None
    least: bool = False

    @property
    def is_set(self) -> bool:
        """Whether any value can cross it."""
        return self.warn is not None or self.error is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorValue:
    """A value to compare with a limit, and what it means in a sentence.

    A value of None is reported as skipped, `meaning` being the reason; an infinite one crosses every limit. `baseline`
    names what the value was compared with. `limit` replaces the monitor's own: those of ages are `freshness`.
    """

    value: float | None
    meaning: str
    baseline: str = ""
    limit: Limit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """A declared monitor, made by `feature_monitor` or `view_monitor`.

    `name` is its key under `monitors` in the annotations and in featurelayer.yml, `text` what that key limits: the
    JSON Schema and the docs have both from here. `limit` is the default, None for a monitor without a key. `metric` is
    what results call the value. `package` is the distribution that declares it, empty for a built-in one.
    """

    name: str
    text: str
    metric: str
    limit: Limit | None
    per_feature: bool
    measure: Callable[..., Any]
    package: str = ""


def feature_monitor(
    *, text: str, warn: float | None = None, error: float | None = None, least: bool = False, metric: str = ""
) -> Callable[[Callable[..., MonitorValue | None]], Monitor]:
    """Declare a monitor of features: `(context, feature, stats)` returns its measured, None if it does not apply."""
    return _declare(text, metric, Limit(warn=warn, error=error, least=least), per_feature=True)


def view_monitor(
    *,
    text: str,
    warn: float | None = None,
    error: float | None = None,
    least: bool = False,
    metric: str = "",
    has_key: bool = True,
) -> Callable[[Callable[..., Iterable[MonitorValue]]], Monitor]:
    """Declare a monitor of views: `(context)` yields measurements. Without a key each of these has its own limit."""
    limit = Limit(warn=warn, error=error, least=least) if has_key else None
    return _declare(text, metric, limit, per_feature=False)


def _declare(
    text: str, metric: str, limit: Limit | None, *, per_feature: bool
) -> Callable[[Callable[..., Any]], Monitor]:
    def decorate(measure: Callable[..., Any]) -> Monitor:
        name = measure.__name__
        return Monitor(
            name=name, text=text, metric=metric or name.replace("_", " "), limit=limit, per_feature=per_feature,
            measure=measure,
        )  # fmt: skip

    return decorate


@functools.cache
def load_monitors() -> Mapping[str, Monitor]:
    """Return all monitors by name: built-in ones in the order of their files, then those of other packages.

    Both are loaded by name, so that the contract of the annotations can read what stands above it.

    Raises:
        ConfigError: a package declares something else than a monitor, one that exists, or one that can't be imported.
    """
    package = importlib.import_module(_BUILT_IN)
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    modules = [importlib.import_module(f"{_BUILT_IN}.{name}") for name in names]
    found = {value.name: value for module in modules for value in vars(module).values() if isinstance(value, Monitor)}
    for point in find_plugins(GROUP).values():
        monitor, source = load_plugin(point), package_name(point)
        if not isinstance(monitor, Monitor) or monitor.name in found:
            what = f"'{point.value}' of {source} is not a monitor"
            if isinstance(monitor, Monitor):
                what = f"the monitor '{monitor.name}' of {source} has the name of another one"
            fix = f"update or uninstall {source}"
            raise ConfigError([Problem(what=what, where=f"entry point {GROUP}: {point.name}", fix=fix)])
        found[monitor.name] = replace(monitor, package=source)
    return MappingProxyType(found)


def _as_json(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in values.items()}
