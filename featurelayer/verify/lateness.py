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
    """How late rows were by one clock: a column of the view, or `exports`.

    `early` of the `rows` arrived before their event. `covered` is, delay by delay, the share of rows that had arrived
    by then, `quantiles` are those of the time from event to arrival.
    """

    source: str
    rows: int
    early: int
    quantiles: Mapping[str, timedelta]
    covered: Mapping[timedelta, float]

    def share(self, delay: timedelta) -> float:
        """The share of rows that a delay of the ladder covers."""
        return self.covered[delay]

    def smallest_delay(self, coverage: float) -> timedelta | None:
        """The smallest delay of the ladder that covers so many; None if none does."""
        return next((delay for delay, share in self.covered.items() if self.rows and share >= coverage), None)

    @property
    def relevant_delays(self) -> Sequence[timedelta]:
        """The delays between which the choice lies: from the one that covers half on, each that covers more."""
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
    """What was observed of a view, by every clock there is, the most telling first, and the delay that follows.

    `declared` is what the view says today. `recommended` is None where nothing was observed, or where no delay of the
    ladder covers `coverage` of all rows.
    """

    view: str
    declared: str
    coverage: float
    observed: tuple[LatenessObservation, ...]

    @property
    def basis(self) -> LatenessObservation | None:
        """The observation that the recommendation rests on."""
        return next((each for each in self.observed if each.rows), None)

    @property
    def is_exact(self) -> bool:
        """Whether the view says of every row by itself when it was known."""
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
    """Return what a query of `featurelayer.sql.lateness` found."""
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
    """Return what a view says of when its rows are known."""
    if view.available_at:
        return f"available_at: {view.available_at}"
    return f"delay: {format_duration(view.delay)}" if view.delay is not None else "nothing: known at their event time"
