"""What is watched and from where on it matters: the defaults, then the project's word, the view's, the feature's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from featurelayer.model import Feature, FeatureView
from featurelayer.monitor.periods import Period, Same, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """From where on a monitor warns and fails; `least` says that smaller is worse."""

    warn: float | None = None
    error: float | None = None
    least: bool = False

    @property
    def is_set(self) -> bool:
        """Whether anything can cross it."""
        return self.warn is not None or self.error is not None


LIMITS: Mapping[str, Limit] = MappingProxyType(
    {
        "null_rate": Limit(error=0.99),
        "null_rate_change": Limit(warn=0.1),
        "default_rate": Limit(warn=0.9),
        "out_of_range": Limit(warn=0, error=0.01),
        "unusable": Limit(warn=0),
        "new_categories": Limit(warn=0.01),
        "vanished_categories": Limit(warn=0.05),
        "psi": Limit(warn=0.25),
        "jensen_shannon": Limit(),
        "kolmogorov_smirnov": Limit(),
        "wasserstein": Limit(),
        "volume": Limit(warn=0.5, error=0.1, least=True),
        "coverage": Limit(least=True),
        "static_changes": Limit(warn=0),
    }
)
"""Every threshold that can be set, and what it is where nobody says."""

PERIOD: Unit = "day"
HISTORY = 28
MINIMUM_ROWS = 500
BINS = 20
# Days are like the same weekday, hours like the same hour of other days.
_PREVIOUS: Mapping[str, tuple[int, Same]] = MappingProxyType(
    {"hour": (7, "hour"), "day": (4, "weekday"), "week": (4, "none"), "month": (3, "none")}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What the judged period is compared with: periods before it, a fixed time, or the training set of a lock."""

    previous: int | None = None
    same: Same = "none"
    fixed: Period | None = None
    lock: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds for a view as a whole."""

    enabled: bool
    period: Unit
    history: int
    baseline: Baseline
    minimum_rows: int
    bins: int
    population: str | None
    limits: Mapping[str, Limit]


def view_settings(view: FeatureView, project: Mapping[str, Any], lock: str | None = None) -> Settings:
    """Return what holds for a view; `project` is the checked `monitors` of featurelayer.yml, `lock` overrides."""
    said = {**project, **view.monitors}
    period: Unit = said.get("period") or PERIOD
    return Settings(
        enabled=said.get("enabled", True),
        period=period,
        history=HISTORY if said.get("history") is None else said["history"],
        baseline=Baseline(lock=lock) if lock else _parse_baseline(said.get("baseline"), period),
        minimum_rows=said.get("minimum_rows") or MINIMUM_ROWS,
        bins=said.get("bins") or BINS,
        population=said.get("population"),
        limits=_merge_limits(said),
    )


def feature_limits(feature: Feature, settings: Settings) -> Mapping[str, Limit] | None:
    """Return what holds for a feature of a view, or None if nothing is to be looked at."""
    if not feature.monitors.get("enabled", True):
        return None
    return {**settings.limits, **_parse_limits(feature.monitors)}


def _merge_limits(said: Mapping[str, Any]) -> Mapping[str, Limit]:
    return {**LIMITS, **_parse_limits(said)}


def _parse_limits(block: Mapping[str, Any]) -> dict[str, Limit]:
    return {
        name: Limit(warn=block[name].get("warn"), error=block[name].get("error"), least=default.least)
        for name, default in LIMITS.items()
        if isinstance(block.get(name), Mapping)
    }


def _parse_baseline(said: Mapping[str, Any] | None, period: Unit) -> Baseline:
    count, same = _PREVIOUS[period]
    if not said:
        return Baseline(previous=count, same=same)
    if said.get("lock"):
        return Baseline(lock=said["lock"])
    if said.get("start"):
        fixed = Period(datetime.fromisoformat(said["start"]), datetime.fromisoformat(said["end"]))
        return Baseline(fixed=fixed, same=said.get("same") or "none")
    return Baseline(previous=said["previous"], same=said.get("same") or same)
