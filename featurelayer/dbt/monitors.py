"""The contract of `monitors`: settings and limits of the project, a view or a feature.

The keys of limits come from the declarations of the monitors, built-in ones and those of other packages.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, create_model, model_validator

from featurelayer.dbt.block import Block
from featurelayer.errors import ConfigError, Problem
from featurelayer.monitor_records import load_monitors

_Block = TypeVar("_Block", bound=Block)
# Keys of `monitors` that are not the limit of a monitor.
_SETTINGS = frozenset({"enabled", "period", "history", "baseline", "minimum_rows", "bins", "population", "alerts"})

_LIMIT_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"const": False},
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {name: {"type": ["number", "null"], "minimum": 0} for name in ("warn", "error")},
        },
    ]
}


class LimitBlock(Block):
    """The limits from which a monitor warns and fails."""

    warn: float | None = Field(default=None, ge=0, description="Beyond this is worth a warning.")
    error: float | None = Field(default=None, ge=0, description="Beyond this is a failure.")


def _limit(value: Any) -> Any:
    if value is False:
        return {"warn": None, "error": None}
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"error": value}
    if isinstance(value, dict | LimitBlock):
        return value
    raise ValueError(f"{value!r} is no threshold; write {{warn: 0.1, error: 0.3}}, one number to fail at, or false")


def _most(value: LimitBlock) -> LimitBlock:
    if value.warn is not None and value.error is not None and value.warn > value.error:
        raise ValueError(f"it warns at {value.warn:g} and fails at {value.error:g} already; warn at less")
    return value


def _least(value: LimitBlock) -> LimitBlock:
    if value.warn is not None and value.error is not None and value.warn < value.error:
        raise ValueError(f"it warns below {value.warn:g} and fails below {value.error:g} already; warn at more")
    return value


Most = Annotated[LimitBlock, BeforeValidator(_limit), AfterValidator(_most), WithJsonSchema(_LIMIT_SCHEMA)]
Least = Annotated[LimitBlock, BeforeValidator(_limit), AfterValidator(_least), WithJsonSchema(_LIMIT_SCHEMA)]


def _timestamp(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{value!r} is no time; write it as 2026-01-31 or 2026-01-31T12:00:00") from None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        raise ValueError(f"{value!r} is no time; write it as 2026-01-31 or 2026-01-31T12:00:00")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Moment = Annotated[
    datetime, BeforeValidator(_timestamp), WithJsonSchema({"type": "string", "examples": ["2026-01-31"]})
]


class BaselineBlock(Block):
    """The baseline of a comparison: previous periods, a fixed time range, or a training set."""

    previous: int | None = Field(default=None, gt=0, le=100, description="How many periods before it, taken together.")
    same: Literal["none", "hour", "weekday", "hour_of_week"] | None = Field(
        default=None, description="Which of them: only those of the same hour of the day, weekday, or both."
    )
    start: Moment | None = Field(default=None, description="From when on, UTC; with `end`.")
    end: Moment | None = Field(default=None, description="Until when, UTC, not included.")
    lock: str | None = Field(default=None, min_length=1, description="A training set's lock, from the project on.")

    @model_validator(mode="after")
    def _one_kind(self) -> BaselineBlock:
        kinds = [self.previous is not None, self.start is not None or self.end is not None, self.lock is not None]
        if sum(kinds) != 1:
            raise ValueError("set exactly one of `previous`, `start` with `end`, and `lock`")
        if kinds[1] and (self.start is None or self.end is None or self.start >= self.end):
            raise ValueError("`start` and `end` belong together, and `start` comes first")
        if kinds[2] and self.same is not None:
            raise ValueError("`same` has no meaning for a lock")
        return self


def _baseline(value: Any) -> Any:
    return {"previous": 1, "same": "none"} if value == "previous" else value


def _declare_limits(*, per_feature: bool) -> Callable[[type[_Block]], type[_Block]]:
    """Add a key for the limit of every monitor of features, or of views, described by the monitor's declaration."""

    def extend(block: type[_Block]) -> type[_Block]:
        fields: dict[str, Any] = {}
        for monitor in load_monitors().values():
            if monitor.limit is None or monitor.per_feature is not per_feature:
                continue
            if monitor.name in _SETTINGS:
                what = f"the monitor '{monitor.name}' has the name of a setting of `monitors`"
                fix = f"rename it in {monitor.package or 'featurelayer/monitor/monitors'}"
                raise ConfigError([Problem(what=what, where=monitor.package, fix=fix)])
            limit = Least if monitor.limit.least else Most
            fields[monitor.name] = (limit | None, Field(default=None, description=monitor.text))
        return create_model(
            block.__name__, __base__=block, __doc__=block.__doc__, __module__=block.__module__, **fields
        )

    return extend


@_declare_limits(per_feature=True)
class FeatureMonitorsBlock(Block):
    """Monitors of a feature."""

    enabled: bool = Field(default=True, description="false turns all monitors off.")


@_declare_limits(per_feature=False)
class MonitorsBlock(FeatureMonitorsBlock):
    """Monitors of a view, and of its features unless they override it."""

    period: Literal["hour", "day", "week", "month"] | None = Field(
        default=None, description="The time that one profile covers; the newest complete one is judged."
    )
    history: int | None = Field(default=None, ge=0, le=400, description="How many periods before it are profiled, too.")
    baseline: Annotated[BaselineBlock, BeforeValidator(_baseline)] | None = Field(
        default=None, description="What it is compared with."
    )
    minimum_rows: int | None = Field(
        default=None, gt=0, description="With fewer rows on either side distributions are not compared."
    )
    bins: int | None = Field(default=None, ge=2, le=100, description="How many bins a histogram has.")
    population: str | None = Field(
        default=None, min_length=1, description="The dbt model with the keys of all entities; else all keys ever seen."
    )


class AlertsBlock(Block):
    """The recipients of alerts when a monitor warns or fails."""

    webhook: str | None = Field(default=None, pattern=r"^https?://", description="The address that is sent JSON.")
    command: list[str] | None = Field(default=None, min_length=1, description="A program that gets the JSON on stdin.")
    level: Literal["warn", "error"] = Field(default="error", description="From which status on.")
    timeout: float = Field(default=10, gt=0, le=600, description="How many seconds either may take.")


class ProjectMonitorsBlock(MonitorsBlock):
    """Monitors of all views unless they override it, and alerts."""

    alerts: AlertsBlock | None = Field(default=None, description="Who is told.")
