"""Statistics of one feature over some rows, as sums that can be added up: several periods make one baseline."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnStats:
    """Counts, sums around `centre`, extremes, a histogram and the most frequent values of a feature in some rows.

    `numbers` are the values that can be summed, `counts` those of the histogram's bins over `shape_rows` rows. `top`
    has every value if `complete`.
    """

    rows: int = 0
    values: int = 0
    numbers: int = 0
    distinct: int | None = None
    defaults: int | None = None
    out_of_range: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    total: float = 0.0
    squares: float = 0.0
    centre: float = 0.0
    shape_rows: int = 0
    quantiles: tuple[tuple[float, float], ...] = ()
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    top: tuple[tuple[str, int], ...] = ()
    is_float: bool = False

    @property
    def nulls(self) -> int:
        return self.rows - self.values

    @property
    def null_rate(self) -> float | None:
        """The share of NULLs; None without rows."""
        return self.nulls / self.rows if self.rows else None

    @property
    def unusable(self) -> int:
        """The number of values that are NaN, infinite or too large."""
        return self.values - self.numbers if self.is_float else 0

    @property
    def mean(self) -> float | None:
        """The mean, clamped to the values against rounding errors."""
        if not self.numbers or self.minimum is None or self.maximum is None:
            return None
        return min(max(self.centre + self.total / self.numbers, self.minimum), self.maximum)

    @property
    def std(self) -> float | None:
        """The sample's standard deviation; None for fewer than two numbers."""
        if self.numbers < 2:
            return None
        spread = max(self.squares - self.total * self.total / self.numbers, 0.0) / (self.numbers - 1)
        return math.sqrt(spread) if math.isfinite(spread) else None

    @property
    def complete(self) -> bool:
        """Whether `top` has every value, so that a value outside it did not occur."""
        return sum(count for _, count in self.top) == self.values


def combine_stats(parts: Sequence[ColumnStats]) -> ColumnStats:
    """Combine the statistics of several sets of rows with the same bins.

    Quantiles can't be combined; of distinct values only a lower bound is known.
    """
    if not parts:
        return ColumnStats()
    first = next((part for part in parts if part.rows), parts[0])
    moved = [_recentre(part, first.centre) for part in parts]
    tops: Counter[str] = Counter()
    for part in parts:
        tops.update(dict(part.top))
    return replace(
        first,
        rows=sum(part.rows for part in parts),
        values=sum(part.values for part in parts),
        numbers=sum(part.numbers for part in parts),
        distinct=max((part.distinct for part in parts if part.distinct is not None), default=None),
        defaults=_sum(part.defaults for part in parts),
        out_of_range=_sum(part.out_of_range for part in parts),
        minimum=min((part.minimum for part in parts if part.minimum is not None), default=None),
        maximum=max((part.maximum for part in parts if part.maximum is not None), default=None),
        total=sum(part.total for part in moved),
        squares=sum(part.squares for part in moved),
        shape_rows=sum(part.shape_rows for part in parts),
        quantiles=first.quantiles if len(parts) == 1 else (),
        counts=tuple(map(sum, zip(*(part.counts for part in parts if part.counts), strict=True))),
        top=tuple(sorted(tops.items(), key=lambda item: (-item[1], item[0]))),
        is_float=any(part.is_float for part in parts),
    )


def _recentre(part: ColumnStats, centre: float) -> ColumnStats:
    """Return the same sums around another centre."""
    by = part.centre - centre
    squares = part.squares + 2 * by * part.total + part.numbers * by * by
    return replace(part, centre=centre, total=part.total + part.numbers * by, squares=squares)


def _sum(values: Any) -> int | None:
    present = [value for value in values if value is not None]
    return sum(present) if present else None
