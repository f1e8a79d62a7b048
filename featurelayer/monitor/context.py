"""What a run has in hand when it judges a view: what was seen now, what it is compared with, how old things are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from featurelayer.model import Feature, FeatureView, Freshness
from featurelayer.monitor.periods import Period, Unit, period_containing
from featurelayer.monitor.settings import Limit, Settings
from featurelayer.monitor.statistics import ColumnStats
from featurelayer.monitor_records import MonitorResult, MonitorStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineStats:
    """What the judged rows are compared with. `why_not` says why there is nothing, where there is nothing.

    `per_period` is how many rows of it a period has, if it is made of periods.
    """

    name: str = ""
    rows: int = 0
    per_period: float | None = None
    seen: Mapping[str, ColumnStats] = field(default_factory=dict)
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFreshness:
    """A dbt source that the view is built from, and its newest row; `why_not` says why that is not known."""

    name: str
    freshness: Freshness
    newest: datetime | None = None
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineFreshness:
    """What the online store holds of the view: the newest event time that is served, if it has been exported."""

    newest: datetime | None = None
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many keys the population has, and how many of them have a row that still holds."""

    population: int
    covered: int
    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueChanges:
    """How many keys had other values in one of these exports than in the one before."""

    keys: int
    exports: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorContext:
    """A view, at a time. `period` is None for a static view, of which all rows are judged."""

    view: FeatureView
    settings: Settings
    at: datetime
    period: Period | None
    rows: int
    current: Mapping[str, ColumnStats]
    baseline: BaselineStats
    limits: Mapping[str, Mapping[str, Limit]]
    newest: datetime | None = None
    sources: tuple[SourceFreshness, ...] = ()
    online: OnlineFreshness | None = None
    coverage: Coverage | None = None
    changes: ValueChanges | None = None
    history: tuple[tuple[Period, Mapping[str, ColumnStats]], ...] = ()

    @property
    def when(self) -> str:
        """The judged rows in words."""
        return "all rows" if self.period is None else format_period(self.settings.period, self.period)

    @property
    def nothing(self) -> str:
        """Why there are no rows to judge, and what to do; empty where there are some, or their number is judged."""
        if self.rows or (self.baseline.per_period and self.settings.limits["volume"].is_set):
            return ""
        if self.period is None or self.newest is None:
            until = "" if self.period is None else f" up to {self.at:%Y-%m-%d %H:%M}"
            return (
                f"{self.view.relation_name} has no rows{until}; run `dbt build -s {self.view.name}` if it should have"
            )
        unit = self.settings.period
        end = period_containing(unit, self.newest).end
        found = f"no row is of {self.when}, the newest is of {self.newest:%Y-%m-%d %H:%M}"
        if end > self.at:
            return f"{found}: that {unit} is judged when it is over"
        time = end.replace(tzinfo=None).isoformat(timespec="minutes") if unit == "hour" else f"{end:%Y-%m-%d}"
        fresh = "" if self.view.freshness else "; give the view `freshness` to be told when rows stop coming"
        return f"{found}: monitor --as-of {time} judges that {unit}{fresh}"

    def features(self, monitor: str) -> list[tuple[Feature, Limit, ColumnStats]]:
        """The features that were seen and for which a monitor has a threshold."""
        return [
            (feature, limit, self.current[feature.name])
            for feature in self.view.features
            if feature.name in self.current
            and feature.name in self.limits
            and (limit := self.limits[feature.name][monitor]).is_set
        ]

    def result(
        self, monitor: str, value: float | None, limit: Limit, meaning: str, *, feature: str = "", metric: str = "",
        baseline: str = "",
    ) -> MonitorResult:  # fmt: skip
        """Return the result of a value by its limit; without a value it is skipped."""
        status, threshold = judge_value(value, limit)
        return MonitorResult(
            view=self.view.id,
            feature=feature,
            monitor=monitor,
            metric=metric or monitor.replace("_", " "),
            status=status,
            meaning=meaning,
            value=value,
            threshold=threshold,
            warn=limit.warn,
            error=limit.error,
            baseline=baseline,
            start=self.period.start if self.period else None,
            end=self.period.end if self.period else None,
            checked_at=self.at,
        )


def judge_value(value: float | None, limit: Limit) -> tuple[MonitorStatus, float | None]:
    """Return what a limit says of a value, and the threshold that it crossed or would cross first."""
    first = limit.warn if limit.warn is not None else limit.error
    if value is None:
        return MonitorStatus.SKIPPED, first
    for status, threshold in ((MonitorStatus.ERROR, limit.error), (MonitorStatus.WARN, limit.warn)):
        if threshold is not None and (value < threshold if limit.least else value > threshold):
            return status, threshold
    return MonitorStatus.PASS, first


def format_period(unit: Unit, period: Period) -> str:
    """Return a period in words, as short as its unit allows."""
    start = period.start
    match unit:
        case "month":
            return start.strftime("%Y-%m")
        case "hour":
            return start.strftime("%Y-%m-%d %H:00")
        case "week":
            return f"the week from {start:%Y-%m-%d}"
        case _:
            return start.strftime("%Y-%m-%d")


def format_span(span: timedelta) -> str:
    """Return a time span in words: its two greatest units."""
    minutes = round(span.total_seconds() / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days:,} days {hours} h" if hours else f"{days:,} days"
