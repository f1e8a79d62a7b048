"""What has been seen of the data: profiles of features, and what monitors said of them, as frozen values.

Standard library only, like the domain: monitors make these, the catalog and exports read them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class ProfileScope(StrEnum):
    """Which rows a profile is of."""

    PERIOD = "period"
    """The rows whose event time lies in `start` to `end`; of a static view, all rows."""
    BASELINE = "baseline"
    """The rows that periods are compared with."""
    SNAPSHOT = "snapshot"
    """The newest row of every entity as of `end`: what an export at that time serves."""


class MonitorStatus(StrEnum):
    """What a monitor says; `skipped` means that it could not judge, and why stands in its meaning."""

    PASS = "pass"  # noqa: S105 (no password)
    SKIPPED = "skipped"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The distribution of one feature over some rows, as `featurelayer_profiles` keeps it.

    Numbers are those of numeric features; of arrays they are those of the lengths, of booleans those of 0 and 1, of
    times seconds since 1970. `unusable` are NaN, infinities and numbers beyond 1e150: no number above counts them.
    `counts` has one more than `edges`: values at or below the first edge, up to the second, ..., above the last; and
    `shape_rows` is of how many rows quantiles and counts are, fewer than `rows` where these were sampled. `top` are the
    most frequent values as text, with how often they came. `source` says what was profiled.
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
        """The share of NULLs; of no rows it is None."""
        return self.nulls / self.rows if self.rows else None

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as JSON values."""
        return _as_json(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorResult:
    """What one monitor said of a view (`feature` is empty then) or feature, as `featurelayer_monitor_results` keeps it.

    `value` is compared with `warn` and `error`; `threshold` is the one of them that was crossed, or would be next.
    `baseline` says what the value is compared with, `meaning` all of it in a sentence.
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


def _as_json(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in values.items()}
