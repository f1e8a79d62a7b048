"""What was seen of one feature in some rows: sums that can be added up, so that periods make a baseline together."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from featurelayer.sql.profile import QUANTILES, Measure


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
        """The share of NULLs; of no rows it is None."""
        return self.nulls / self.rows if self.rows else None

    @property
    def unusable(self) -> int:
        """How many values are NaN, infinite or too great."""
        return self.values - self.numbers if self.is_float else 0

    @property
    def mean(self) -> float | None:
        """The mean; rounding can't take it out of the values."""
        if not self.numbers or self.minimum is None or self.maximum is None:
            return None
        return min(max(self.centre + self.total / self.numbers, self.minimum), self.maximum)

    @property
    def std(self) -> float | None:
        """The sample's standard deviation; of fewer than two numbers it is None."""
        if self.numbers < 2:
            return None
        spread = max(self.squares - self.total * self.total / self.numbers, 0.0) / (self.numbers - 1)
        return math.sqrt(spread) if math.isfinite(spread) else None

    @property
    def complete(self) -> bool:
        """Whether `top` has every value, so that a value which is not in it did not come."""
        return sum(count for _, count in self.top) == self.values


def stats_from_measures(
    measured: Mapping[Measure, Any],
    *,
    rows: int,
    shape_rows: int,
    centre: float,
    edges: tuple[float, ...],
    is_numeric: bool,
) -> ColumnStats:
    """Return what the outputs of a profile's query say of one column."""
    values = int(measured.get(Measure.VALUES) or 0)
    edges = edges if Measure.BINS in measured else ()
    quantiles = _list(measured.get(Measure.QUANTILES))
    counts = tuple(int(count) for count in _list(measured.get(Measure.BINS)))
    # DuckDB leaves the last bin out where nothing is beyond the last edge, and all where there is no value.
    counts += (0,) * (len(edges) + 1 - len(counts)) if edges else ()
    return ColumnStats(
        rows=rows,
        values=values,
        numbers=int(measured.get(Measure.NUMBERS, values if is_numeric else 0) or 0),
        distinct=_whole(measured.get(Measure.DISTINCT), values),
        defaults=_whole(measured.get(Measure.DEFAULTS)),
        out_of_range=_whole(measured.get(Measure.OUT_OF_RANGE)),
        minimum=_number(measured.get(Measure.MINIMUM)),
        maximum=_number(measured.get(Measure.MAXIMUM)),
        total=float(measured.get(Measure.SUM) or 0.0),
        squares=float(measured.get(Measure.SQUARES) or 0.0),
        centre=centre,
        shape_rows=shape_rows,
        quantiles=tuple(
            (share, float(value)) for share, value in zip(QUANTILES, quantiles, strict=False) if value is not None
        ),
        edges=edges,
        counts=counts,
        is_float=Measure.NUMBERS in measured,
    )


def combine_stats(parts: Sequence[ColumnStats]) -> ColumnStats:
    """Return what was seen in several sets of rows of one feature as if it had been one; they have the same bins.

    Quantiles can't be added up, and different values only to a lower bound.
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
    """The same sums around another centre."""
    by = part.centre - centre
    squares = part.squares + 2 * by * part.total + part.numbers * by * by
    return replace(part, centre=centre, total=part.total + part.numbers * by, squares=squares)


def _list(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    found: Sequence[Any] = json.loads(value) if isinstance(value, str) else list(value)
    return found


def _whole(value: Any, most: int | None = None) -> int | None:
    if value is None:
        return None
    return int(value) if most is None else min(int(value), most)


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(float(value)) else float(value)


def _sum(values: Any) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
