"""Settings of the monitors: defaults, overridden by the project, the view and the feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from featurelayer.model import Feature, FeatureView
from featurelayer.monitor.periods import Period, Same, Unit
from featurelayer.monitor_records import Limit, load_monitors

PERIOD: Unit = "day"
HISTORY = 28
MINIMUM_ROWS = 500
BINS = 20
# Days are like the same weekday, hours like the same hour of other days.
_PREVIOUS: Mapping[str, tuple[int, Same]] = MappingProxyType(
    {"hour": (7, "hour"), "day": (4, "weekday"), "week": (4, "none"), "month": (3, "none")}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineSettings:
    """The rows to compare with: periods before the evaluated one, a fixed time range, or the training set of a lock."""

    previous: int | None = None
    same: Same = "none"
    fixed: Period | None = None
    lock: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one view."""

    enabled: bool
    period: Unit
    history: int
    baseline: BaselineSettings
    minimum_rows: int
    bins: int
    population: str | None
    limits: Mapping[str, Limit]


def default_limits() -> dict[str, Limit]:
    """Return the default limit of every monitor that has a key under `monitors`."""
    return {monitor.name: monitor.limit for monitor in load_monitors().values() if monitor.limit is not None}


def view_settings(view: FeatureView, project: Mapping[str, Any], lock: str | None = None) -> Settings:
    """Return the settings of a view; `project` is `monitors` of featurelayer.yml, `lock` overrides the baseline."""
    said = {**project, **view.monitors}
    period: Unit = said.get("period") or PERIOD
    return Settings(
        enabled=said.get("enabled", True),
        period=period,
        history=HISTORY if said.get("history") is None else said["history"],
        baseline=BaselineSettings(lock=lock) if lock else _parse_baseline(said.get("baseline"), period),
        minimum_rows=said.get("minimum_rows") or MINIMUM_ROWS,
        bins=said.get("bins") or BINS,
        population=said.get("population"),
        limits=_merge_limits(said),
    )


def feature_limits(feature: Feature, settings: Settings) -> Mapping[str, Limit] | None:
    """Return the limits of a feature by monitor; None if its monitors are disabled."""
    if not feature.monitors.get("enabled", True):
        return None
    return {**settings.limits, **_parse_limits(feature.monitors)}


def _merge_limits(said: Mapping[str, Any]) -> Mapping[str, Limit]:
    return {**default_limits(), **_parse_limits(said)}


def _parse_limits(block: Mapping[str, Any]) -> dict[str, Limit]:
    return {
        name: Limit(warn=block[name].get("warn"), error=block[name].get("error"), least=default.least)
        for name, default in default_limits().items()
        if isinstance(block.get(name), Mapping)
    }


def _parse_baseline(said: Mapping[str, Any] | None, period: Unit) -> BaselineSettings:
    count, same = _PREVIOUS[period]
    if not said:
        return BaselineSettings(previous=count, same=same)
    if said.get("lock"):
        return BaselineSettings(lock=said["lock"])
    if said.get("start"):
        fixed = Period(datetime.fromisoformat(said["start"]), datetime.fromisoformat(said["end"]))
        return BaselineSettings(fixed=fixed, same=said.get("same") or "none")
    return BaselineSettings(previous=said["previous"], same=said.get("same") or same)
