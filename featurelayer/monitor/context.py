"""The context in which monitors evaluate a view: its statistics, the baseline, and ages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from featurelayer.model import FeatureView, Freshness
from featurelayer.monitor.periods import Period, Unit, period_containing
from featurelayer.monitor.settings import Settings
from featurelayer.monitor.statistics import ColumnStats
from featurelayer.monitor_records import Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineStats:
    """Statistics of the rows to compare with, by feature; `why_not` is the reason if there are none.

    `per_period` is the number of rows per period, for a baseline of periods.
    """

    name: str = ""
    rows: int = 0
    per_period: float | None = None
    features: Mapping[str, ColumnStats] = field(default_factory=dict)
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFreshness:
    """A dbt source of the view and the time of its newest row; `why_not` is the reason if that is unknown."""

    name: str
    freshness: Freshness
    newest: datetime | None = None
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineFreshness:
    """The newest event time that the online store serves of the view; `why_not` is the reason if there is none."""

    newest: datetime | None = None
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The number of keys in the population `of`, and of those with a valid row."""

    population: int
    covered: int
    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueChanges:
    """The number of keys whose values differed between two consecutive exports."""

    keys: int
    exports: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorContext:
    """A view at a time. `period` is None for a static view, all rows of which are evaluated."""

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
        """The evaluated rows in words."""
        return "all rows" if self.period is None else format_period(self.settings.period, self.period)

    @property
    def no_data_reason(self) -> str:
        """The reason why there are no rows to evaluate, with a fix; empty if there are rows or `volume` reports it."""
        if self.rows or (self.baseline.per_period and self.settings.limits["volume"].is_set):
            return ""
        if self.period is None or self.newest is None:
            until = "" if self.period is None else f" up to {self.at:%Y-%m-%d %H:%M}"
            return (
                f"{self.view.relation_name} has no rows{until}; run `dbt build -s {self.view.name}` if it should have"
            )
        unit = self.settings.period
        end = period_containing(unit, self.newest).end
        reason = f"no row is in {self.when}, the newest is from {self.newest:%Y-%m-%d %H:%M}"
        if end > self.at:
            return f"{reason}: that {unit} is evaluated when it is over"
        time = end.replace(tzinfo=None).isoformat(timespec="minutes") if unit == "hour" else f"{end:%Y-%m-%d}"
        fresh = "" if self.view.freshness else "; set `freshness` on the view to fail when rows stop arriving"
        return f"{reason}: monitor --as-of {time} evaluates that {unit}{fresh}"


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
    """Return a time span in its two greatest units."""
    minutes = round(span.total_seconds() / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days:,} days {hours} h" if hours else f"{days:,} days"
