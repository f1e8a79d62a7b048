"""Chart data of a feature: its profiles as a few short lists of numbers for the browser."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurelayer.monitor_records import Profile, ProfileScope

_MOST_PERIODS = 60
_MOST_TOP = 8
# Shares are written as whole numbers of ten thousandths.
_UNIT = 10_000
_EXACT = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The plots of a feature by name (`bins`, `top`, `nulls`, `mean`), and their data."""

    plots: tuple[str, ...]
    data: str
    newest: Profile


def build_chart(profiles: Sequence[Profile]) -> Chart | None:
    """Build the plots of one feature from its profiles, oldest first; None without rows."""
    counted = [profile for profile in profiles if profile.rows]
    if not counted:
        return None
    periods = _sort_by_time(counted)
    newest = periods[-1] if periods else counted[-1]
    baseline = next((each for each in reversed(counted) if each.scope is ProfileScope.BASELINE), None)
    data: dict[str, Any] = {}
    if newest.edges and newest.counts:
        data["bins"] = {"edges": _bin_edges(newest), "now": _shares(newest.counts)}
        if baseline is not None and baseline.edges == newest.edges:
            data["bins"]["before"] = _shares(baseline.counts)
    elif newest.top:
        data["top"] = [[text[:60], round(count / newest.rows * _UNIT)] for text, count in newest.top[:_MOST_TOP]]
    if len(periods) > 1:
        hours = [round(each.end.timestamp() / 3600) for each in periods if each.end]
        data["times"] = [hour - before for before, hour in itertools.pairwise([0, *hours])]
        data["nulls"] = [None if each.null_rate is None else round(each.null_rate * _UNIT) for each in periods]
        if any(each.mean is not None for each in periods):
            data["mean"] = [_round_number(each.mean) for each in periods]
    plots = tuple(name for name in ("bins", "top", "nulls", "mean") if name in data)
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return Chart(plots=plots, data=text, newest=newest)


def _sort_by_time(profiles: Sequence[Profile]) -> list[Profile]:
    """Return the newest profile of each period, oldest period first; of snapshots if there are no periods."""
    for scope in (ProfileScope.PERIOD, ProfileScope.SNAPSHOT):
        by_end = {each.end: each for each in profiles if each.scope is scope and each.end is not None}
        if by_end:
            return [by_end[end] for end in sorted(by_end)][-_MOST_PERIODS:]
    return []


def _bin_edges(profile: Profile) -> list[float | int | None]:
    """Return the edges of all bins; the outer ones are the least and the greatest value."""
    low, high = profile.edges[0], profile.edges[-1]
    first = min(low, low if profile.minimum is None else profile.minimum)
    last = max(high, high if profile.maximum is None else profile.maximum)
    return [_round_number(edge) for edge in (first, *profile.edges, last)]


def _shares(counts: Sequence[int]) -> list[int]:
    whole = sum(counts) or 1
    return [round(count / whole * _UNIT) for count in counts]


def _round_number(value: float | None) -> float | int | None:
    """Round a number to the digits that a plot can show."""
    if value is None:
        return None
    short = float(f"{value:.4g}")
    return int(short) if short.is_integer() and abs(short) < _EXACT else short
