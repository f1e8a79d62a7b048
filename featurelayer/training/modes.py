"""Compare the modes of one training set: the share of cells that a leak, or ignoring exports, would change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from featurelayer.errors import PlanError
from featurelayer.sql.compiler import compile_comparison, compile_into_table, compile_served_counts
from featurelayer.sql.plan import RESERVED, Mode, Plan
from featurelayer.warehouse.base import Warehouse
from featurelayer.warehouse.execute import run_step

_MEANING = {
    (Mode.KNOWN_AT, Mode.EVENT_TIME): "what ignoring available times would leak",
    (Mode.KNOWN_AT, Mode.AS_SERVED): "what was known but not yet served",
    (Mode.EVENT_TIME, Mode.AS_SERVED): "what a model would have trained on and never been served",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeComparison:
    """Two modes, and by feature the share of label rows with different values, between 0 and 1."""

    one: Mode
    other: Mode
    shares: Mapping[str, float]

    @property
    def meaning(self) -> str:
        """The meaning of the difference."""
        return _MEANING[self.one, self.other]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        return {"modes": [str(self.one), str(self.other)], "meaning": self.meaning, "features": dict(self.shares)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeComparisons:
    """Every pair of modes that could be built, and why others could not."""

    pairs: tuple[ModeComparison, ...]
    unavailable: tuple[str, ...] = ()


def compare_modes(warehouse: Warehouse, plans: Mapping[Mode, Plan | PlanError]) -> ModeComparisons:
    """Build a training set in every mode that has a plan and count, feature by feature, where they differ."""
    built = {mode: plan for mode, plan in plans.items() if isinstance(plan, Plan)}
    unavailable = [
        f"mode {mode} is not compared: {'; '.join(problem.what for problem in error.problems)}"
        for mode, error in plans.items()
        if isinstance(error, PlanError)
    ]
    for mode, plan in built.items():
        script = compile_into_table(replace(plan, by_id=True), warehouse.dialect, _mode_table(mode))
        for step in script.steps:
            run_step(warehouse, step)
        if mode is Mode.AS_SERVED and not any(warehouse.rows(compile_served_counts(plan, warehouse.dialect).sql)[0]):
            unavailable.append(f"mode {mode} is not compared: no label is as late as the first recorded export")
        warehouse.drop(script.temporary)
    pairs = tuple(
        ModeComparison(one=one, other=other, shares=_shares(warehouse, built[one], one, other))
        for one, other in combinations(built, 2)
        if not (unavailable and Mode.AS_SERVED in (one, other))
    )
    warehouse.drop([_mode_table(mode) for mode in built])
    return ModeComparisons(pairs=pairs, unavailable=tuple(unavailable))


def _mode_table(mode: Mode) -> str:
    return f"{RESERVED}{mode}"


def _shares(warehouse: Warehouse, plan: Plan, one: Mode, other: Mode) -> dict[str, float]:
    names = [feature.name for join in plan.joins for feature in join.features]
    ((rows, *counts),) = warehouse.rows(
        compile_comparison(warehouse.dialect, _mode_table(one), _mode_table(other), names).sql
    )
    return {name: (count or 0) / rows if rows else 0.0 for name, count in zip(names, counts, strict=True)}
