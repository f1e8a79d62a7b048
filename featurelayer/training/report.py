"""The report of a build: matches per view, shares of missing values per feature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

from featurelayer.durations import format_duration
from featurelayer.errors import PlanError, Problem
from featurelayer.sql.plan import AsofJoin, JoinReport, Plan, Statement
from featurelayer.sql.table_stats import mismatch_stats
from featurelayer.training.modes import ModeComparisons
from featurelayer.warehouse.base import Warehouse

_PERCENTILES = ("min", "p50", "p90", "p99", "max")
ALMOST_NOTHING = 0.01
"""A view in which a smaller share of the labels finds a row is warned of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewReport:
    """The matches of the labels in one joined view. Counts are label rows, `unusable_rows` rows of the view.

    `matched` + `missing` + `expired` are all labels. `ties` are labels whose row was chosen by its content only;
    `unusable_rows` have no event or available time and are never visible. `age` is label time minus event time.
    `reason` explains why almost no label is matched, if known.
    """

    name: str
    view: str
    matched: int
    missing: int
    expired: int
    ties: int
    unusable_rows: int
    age: Mapping[str, timedelta] | None
    reason: str = ""

    @property
    def share(self) -> float | None:
        """The share of matched labels; None without labels."""
        labels = self.matched + self.missing + self.expired
        return self.matched / labels if labels else None

    @property
    def summary(self) -> str:
        """A sentence with the share of matched labels and the reason."""
        labels = self.matched + self.missing + self.expired
        number = "no label" if not self.matched else f"only {self.matched:,} of {labels:,} labels"
        return f"{self.name}: {number} found a row in {self.view}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureReport:
    """Shares of label rows, between 0 and 1: NULL in the winning row, missing, expired, replaced by the default."""

    name: str
    null: float
    missing: float
    expired: float
    default: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The report of one build."""

    rows: int
    mode: str
    seconds: float
    views: tuple[ViewReport, ...]
    features: tuple[FeatureReport, ...]
    modes: ModeComparisons | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Findings that a user should check."""
        found = []
        for view in self.views:
            if view.ties:
                found.append(
                    f"{view.name}: for {view.ties:,} labels several rows of {view.view} share the newest event time "
                    "and only their content chose one; declare created_timestamp or tie_breaker"
                )
            if view.unusable_rows:
                found.append(
                    f"{view.name}: {view.unusable_rows:,} rows of {view.view} have no event or available time "
                    "and are never seen"
                )
            if view.share is not None and view.share < ALMOST_NOTHING:
                found.append(view.summary)
        return (*found, *(self.modes.unavailable if self.modes is not None else ()))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values; ages are seconds."""
        report = asdict(self)
        for view, found in zip(report["views"], self.views, strict=True):
            view["share"] = found.share
            view["age"] = {name: age.total_seconds() for name, age in view["age"].items()} if view["age"] else None
        report["modes"] = [pair.to_dict() for pair in self.modes.pairs] if self.modes is not None else None
        report["warnings"] = list(self.warnings)
        return report


def validate_matched(views: Sequence[ViewReport], least: float) -> None:
    """Raise PlanError with every view in which a smaller share of the labels than `least` found a row."""
    low = [view for view in views if view.share is not None and view.share < least]
    if low:
        fix = "correct the view or the labels, or pass a smaller --min-matched"
        raise PlanError(
            Problem(what=f"{view.summary} ({view.share:.2%}, and {least:.2%} is asked for)", fix=fix) for view in low
        )


def explain_mismatch(warehouse: Warehouse, join: AsofJoin, view: ViewReport, rows: int, least: float) -> ViewReport:
    """Return the report of a view with the reason, if a smaller share of the labels than `least` found a row.

    `rows` is the number of rows of the view.
    """
    if view.share is None or view.share >= least:
        return view
    return replace(view, reason=_find_mismatch_reason(warehouse, join, view, rows))


def _find_mismatch_reason(warehouse: Warehouse, join: AsofJoin, view: ViewReport, rows: int) -> str:
    """Describe what most unmatched labels have in common; empty if unknown."""
    if not rows:
        return "the view has no rows"
    nothing = view.missing + view.expired
    known, before, first, last, oldest, newest = warehouse.rows(mismatch_stats(warehouse.dialect, join))[0]
    if 2 * (nothing + view.matched - known) > nothing:
        keys = ", ".join(key.name for key, _ in join.keys)
        many = "none of the labels has" if not known else f"only {known:,} labels have"
        return f"{many} a key ({keys}) that the view has"
    if join.ledger is not None:
        return ""
    if join.ttl is not None and 2 * view.expired > nothing:
        return f"for {view.expired:,} labels the newest row is older than the ttl, {format_duration(join.ttl)}"
    if before is not None and 2 * before > nothing:
        size = 19 if first[:10] == last[:10] else 10
        begin = f"can be seen from {first[:size]} on" if join.available or join.delay else f"begin {first[:size]}"
        why = f"its rows {begin}, the labels end {last[:size]}"
        if view.matched or rows < 2 or oldest != newest:
            return why
        # The model is rebuilt with current_timestamp as its event time.
        return f"{why}; all {rows:,} rows have the same event time, which may be that of the load (see `lint`, FL222)"
    return ""


def count_view(warehouse: Warehouse, queries: JoinReport, labels: int) -> tuple[ViewReport, dict[str, int]]:
    """Run a join's counting queries; also return how many winning rows hold a NULL, by feature."""
    join = queries.join

    def count(statement: Statement | None) -> int:
        return int(warehouse.rows(statement.sql)[0][0]) if statement is not None else 0

    matched, *values = warehouse.rows(queries.matched.sql)[0]
    expired = count(queries.expired)
    found = warehouse.rows(queries.ages.sql)[0] if queries.ages is not None and matched else (None,)
    # One array, or one column each if the engine has no arrays.
    ages = found[0] if len(found) == 1 else found if found[0] is not None else None
    report = ViewReport(
        name=join.name,
        view=join.view,
        matched=matched,
        missing=labels - matched - expired,
        expired=expired,
        ties=count(queries.ties),
        unusable_rows=count(queries.unusable),
        age={name: timedelta(microseconds=age) for name, age in zip(_PERCENTILES, ages, strict=True)} if ages else None,
    )
    return report, {feature.name: matched - value for feature, value in zip(join.features, values, strict=True)}


def feature_reports(
    plan: Plan, views: Sequence[ViewReport], nulls: Mapping[str, int], labels: int
) -> Iterator[FeatureReport]:
    """Yield the shares of every feature, in the order of the columns."""

    def share(count: int) -> float:
        return count / labels if labels else 0.0

    for join, view in zip(plan.joins, views, strict=True):
        for feature in join.features:
            yield FeatureReport(
                name=feature.name,
                null=share(nulls[feature.name]),
                missing=share(view.missing),
                expired=share(view.expired),
                default=share(view.missing + view.expired) if feature.has_default else 0.0,
            )
