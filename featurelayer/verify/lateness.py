"""Measure how long after their events a view's rows arrive, and which `delay` would cover them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

from featurelayer.durations import format_duration, microseconds
from featurelayer.model import FeatureView

QUANTILES = ("p50", "p90", "p99", "max")
EXPORTS = "exports"

_SECONDS = (0, 1, 2, 5, 10, 15, 30)
_MINUTES = (1, 2, 5, 10, 15, 20, 30, 45)
_HOURS = (1, 2, 3, 4, 6, 8, 12, 18)
_DAYS = (1, 2, 3, 4, 5, 7, 10, 14, 21, 30, 45, 60, 90, 180, 365, 730)
LADDER: tuple[timedelta, ...] = (
    *(timedelta(seconds=count) for count in _SECONDS),
    *(timedelta(minutes=count) for count in _MINUTES),
    *(timedelta(hours=count) for count in _HOURS),
    *(timedelta(days=count) for count in _DAYS),
)
"""The delays that are considered: as people say them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatenessObservation:
    """The lateness of rows by one clock: a column of the view, or `exports`.

    `early` of the `rows` arrived before their event. `covered` is the share of rows that had arrived after each delay;
    `quantiles` are those of the time from event to arrival.
    """

    source: str
    rows: int
    early: int
    quantiles: Mapping[str, timedelta]
    covered: Mapping[timedelta, float]

    def share(self, delay: timedelta) -> float:
        """Return the share of rows that a delay of the ladder covers."""
        return self.covered[delay]

    def smallest_delay(self, coverage: float) -> timedelta | None:
        """Return the smallest delay of the ladder that covers this share; None if none does."""
        return next((delay for delay, share in self.covered.items() if self.rows and share >= coverage), None)

    @property
    def relevant_delays(self) -> Sequence[timedelta]:
        """Return the delays to choose from: the first one that covers half, then each one that covers more."""
        half = self.smallest_delay(0.5) or LADDER[0]
        shares = [(LADDER[0], -1.0), *self.covered.items()]
        return [delay for (_, less), (delay, share) in pairwise(shares) if delay >= half and share > less]

    def to_dict(self) -> dict[str, Any]:
        """Return the observation as JSON values; times are seconds."""
        return {
            "source": self.source,
            "rows": self.rows,
            "early": self.early,
            "quantiles": {name: late.total_seconds() for name, late in self.quantiles.items()},
            "covered": {format_duration(delay): self.covered[delay] for delay in self.relevant_delays},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """The observations of a view by every clock, the most reliable first, and the recommended delay.

    `declared` is the view's current setting. `recommended` is None if nothing was observed, or if no delay
    of the ladder covers `coverage` of all rows.
    """

    view: str
    declared: str
    coverage: float
    observed: tuple[LatenessObservation, ...]

    @property
    def basis(self) -> LatenessObservation | None:
        """The observation that the recommendation is based on."""
        return next((each for each in self.observed if each.rows), None)

    @property
    def is_exact(self) -> bool:
        """Whether the view states for every row when it was known."""
        return self.declared.startswith("available_at")

    @property
    def recommended(self) -> timedelta | None:
        return self.basis.smallest_delay(self.coverage) if self.basis is not None else None

    def to_dict(self) -> dict[str, Any]:
        """Return the observations and the recommendation as JSON values."""
        basis, delay = self.basis, self.recommended
        return {
            "view": self.view,
            "declared": self.declared,
            "coverage": self.coverage,
            "observed": [each.to_dict() for each in self.observed],
            "recommended": None if basis is None or delay is None else {
                "delay": format_duration(delay),
                "seconds": delay.total_seconds(),
                "share": basis.share(delay),
                "source": basis.source,
            },
        }  # fmt: skip


def ladder_micros() -> list[int]:
    """The ladder in microseconds."""
    return [microseconds(delay) for delay in LADDER]


def read_observation(source: str, row: Sequence[Any]) -> LatenessObservation:
    """Convert the result of a query of `featurelayer.sql.lateness`."""
    rows, early, *below, quantiles = row
    late = [timedelta(microseconds=int(value)) for value in quantiles or ()] if rows else []
    return LatenessObservation(
        source=source,
        rows=int(rows),
        early=int(early or 0),
        quantiles=dict(zip(QUANTILES, late, strict=False)),
        covered={delay: (count or 0) / rows if rows else 0.0 for delay, count in zip(LADDER, below, strict=True)},
    )


def format_declaration(view: FeatureView) -> str:
    """Format how a view declares when its rows are known."""
    if view.available_at:
        return f"available_at: {view.available_at}"
    return f"delay: {format_duration(view.delay)}" if view.delay is not None else "nothing: known at their event time"
