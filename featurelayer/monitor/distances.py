"""Distances between two histograms or two sets of categories, computed by scipy."""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurelayer.errors import MissingDependency
from featurelayer.monitor.statistics import ColumnStats

FLOOR = 1e-4
"""The least share of a bin in a PSI, whose logarithm an empty bin would make infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharePair:
    """Shares of the same bins or categories in two sets of rows, each adding up to 1.

    `positions` are the middles of bins with an order, `spread` the standard deviation of the first set.
    """

    one: tuple[float, ...]
    other: tuple[float, ...]
    positions: tuple[float, ...] = ()
    spread: float | None = None

    @classmethod
    def from_stats(cls, before: ColumnStats, now: ColumnStats) -> SharePair | None:
        """Return the pair of two profiles with the same bins, or of all categories; None if they have neither."""
        if before.edges and before.edges == now.edges and sum(before.counts) and sum(now.counts):
            return cls(
                one=_shares(before.counts), other=_shares(now.counts), positions=_bin_middles(before, now),
                spread=before.std,
            )  # fmt: skip
        if before.top and now.top and before.complete and now.complete:
            names = sorted({value for value, _ in (*before.top, *now.top)})
            one, other = dict(before.top), dict(now.top)
            return cls(
                one=_shares([one.get(name, 0) for name in names]), other=_shares([other.get(name, 0) for name in names])
            )
        return None


def psi(pair: SharePair) -> float:
    """The population stability index: the sum over bins of (p - q) ln(p / q), each share at least `FLOOR`."""
    special = _import_scipy("special")
    one, other = _apply_floor(pair.one), _apply_floor(pair.other)
    return float(sum(special.rel_entr(one, other)) + sum(special.rel_entr(other, one)))


def jensen_shannon(pair: SharePair) -> float:
    """The Jensen-Shannon distance to base 2: 0 for the same shares, 1 for none in common."""
    # Rounding can put the square of the distance of equal shares a little below 0.
    distance = float(_import_scipy("spatial.distance").jensenshannon(pair.one, pair.other, base=2))
    return 0.0 if math.isnan(distance) else distance


def kolmogorov_smirnov(pair: SharePair) -> float | None:
    """The greatest difference of the two cumulative shares at the bins' edges; None for categories."""
    if not pair.positions:
        return None
    gap, most = 0.0, 0.0
    for one, other in zip(pair.one, pair.other, strict=True):
        gap += one - other
        most = max(most, abs(gap))
    return most


def wasserstein(pair: SharePair) -> float | None:
    """The average shift of the values in standard deviations; None for categories and for equal values."""
    if not pair.positions or not pair.spread:
        return None
    stats = _import_scipy("stats")
    return float(stats.wasserstein_distance(pair.positions, pair.positions, pair.one, pair.other)) / pair.spread


def _shares(counts: Sequence[int]) -> tuple[float, ...]:
    total = sum(counts)
    return tuple(count / total for count in counts)


def _apply_floor(shares: Sequence[float]) -> list[float]:
    raised = [max(share, FLOOR) for share in shares]
    total = sum(raised)
    return [share / total for share in raised]


def _bin_middles(before: ColumnStats, now: ColumnStats) -> tuple[float, ...]:
    """Return the middles of the bins; the outer two end at the least and the greatest value of both sides."""
    edges = before.edges
    least = min(value for value in (before.minimum, now.minimum, edges[0]) if value is not None)
    most = max(value for value in (before.maximum, now.maximum, edges[-1]) if value is not None)
    ends = (least, *edges, most)
    return tuple((low + high) / 2 for low, high in itertools.pairwise(ends))


def _import_scipy(module: str) -> Any:
    try:
        return importlib.import_module(f"scipy.{module}")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("scipy"):
            raise
        raise MissingDependency("scipy", "monitor") from error
