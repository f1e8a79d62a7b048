"""Build the context of one view: measure the period to evaluate and the rows to compare it with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from featurelayer.model import Column, Feature, FeatureView
from featurelayer.monitor.context import (
    BaselineStats,
    Coverage,
    MonitorContext,
    OnlineFreshness,
    SourceFreshness,
    ValueChanges,
    format_period,
)
from featurelayer.monitor.periods import (
    Period,
    count_periods,
    newest_complete_period,
    preceding_periods,
    select_periods,
    similar_periods,
)
from featurelayer.monitor.profiler import Bins, FeatureFrame, build_frame, find_bins, measure_features
from featurelayer.monitor.settings import Settings, feature_limits
from featurelayer.monitor.statistics import ColumnStats, combine_stats
from featurelayer.monitor_records import Profile, ProfileScope
from featurelayer.sql.casts import as_declared
from featurelayer.sql.dialects import dialect
from featurelayer.sql.planner import match_column
from featurelayer.sql.profile import RowSource, Slot, newest
from featurelayer.warehouse.base import Warehouse

_SAME = {"none": "", "hour": ", same hour", "weekday": ", same weekday", "hour_of_week": ", same hour of the week"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRows:
    """The rows of a training set, and its column for each feature of a view."""

    name: str
    source: str
    columns: Mapping[str, Column]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRows:
    """A FROM item with the newest row of every entity as of the run, and its coverage."""

    source: str
    columns: tuple[Column, ...]
    coverage: Coverage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewHistory:
    """Known facts about a view besides its rows: earlier profiles, sources, the store, its snapshot and exports."""

    earlier: tuple[Profile, ...] = ()
    training: TrainingRows | None = None
    sources: tuple[SourceFreshness, ...] = ()
    online: OnlineFreshness | None = None
    snapshot: SnapshotRows | None = None
    changes: ValueChanges | None = None


def build_context(
    warehouse: Warehouse,
    view: FeatureView,
    columns: Sequence[Column],
    settings: Settings,
    at: datetime,
    facts: ViewHistory,
) -> tuple[MonitorContext, tuple[Profile, ...]]:
    """Return the context of a view as of `at` (aware), and the profiles to record, without the id of the run."""
    limits = {
        feature.name: found for feature in view.features if (found := feature_limits(feature, settings)) is not None
    }
    features = {feature.name: feature for feature in view.features if feature.name in limits}
    source, columns = cast_rows(warehouse, view, columns)
    builder = _ContextBuilder(warehouse, view, source, columns, settings, at, facts, features)
    time = match_column(view.event_time, columns) if view.event_time and not view.static else None
    context, profiles = builder.build_timed(time) if time is not None else builder.build_static()
    return replace(context, limits=limits), profiles


def cast_rows(warehouse: Warehouse, view: FeatureView, columns: Sequence[Column]) -> tuple[str, tuple[Column, ...]]:
    """Return a view's relation as a FROM item whose features have their declared types, and its columns."""
    types = {match_column(feature.name, columns): feature.dtype for feature in view.features}
    declared = {column.name: dtype for column, dtype in types.items() if column is not None}
    return as_declared(dialect(warehouse.dialect), warehouse.quote(view.relation_name), columns, declared)


@dataclass(frozen=True, slots=True)
class _ContextBuilder:
    warehouse: Warehouse
    view: FeatureView
    source: str
    columns: Sequence[Column]
    settings: Settings
    at: datetime
    facts: ViewHistory
    features: Mapping[str, Feature]

    def build_timed(self, time: Column) -> tuple[MonitorContext, tuple[Profile, ...]]:
        """Build the context of a view with event times: its newest complete period, and those before it."""
        unit, settings = self.settings.period, self.settings
        now = newest_complete_period(unit, self.at)
        baseline = settings.baseline
        before = similar_periods(unit, now, baseline.previous, baseline.same) if baseline.previous else ()
        periods = sorted({*preceding_periods(unit, now, settings.history), *before, now})
        frame = self._build_frame(time, [Slot(ranges=((each.start, each.end),)) for each in periods])
        fixed = None
        if baseline.fixed is not None:
            parts = select_periods(unit, baseline.fixed, now, baseline.same)
            fixed = (
                self._build_frame(time, [Slot(ranges=tuple((each.start, each.end) for each in parts))])
                if parts
                else None
            )
        earlier = self._build_frame(time, [Slot(ranges=((each.start, each.end),)) for each in before])
        reference = self._training_frame() or fixed or (earlier if before else None)
        bins = self._find_bins(reference, frame)
        shaped = [number for number, each in enumerate(periods) if each == now or each in before]
        stats = dict(zip(periods, measure_features(self.warehouse, frame, self.features, bins, shaped), strict=True))
        if reference is None:
            compared = BaselineStats(why_not="the baseline has no period of the same hour or weekday")
        elif reference is earlier:
            compared = self._periods_baseline(before, [stats[each] for each in before])
        else:
            (found,) = measure_features(self.warehouse, reference, self.features, bins)
            compared = self._training_baseline(found) if reference is not fixed else self._range_baseline(found, now)
        (last,) = self.warehouse.rows(newest(self.warehouse.dialect, frame.rows.source, time, self.at))[0]
        context = self._build(
            period=now, stats=stats[now], compared=compared, history=tuple(stats.items()),
            newest=None if last is None else last.replace(tzinfo=UTC),
        )  # fmt: skip
        profiles = [
            *self._build_profiles(ProfileScope.PERIOD, stats[now], now.start, now.end),
            *(each for period in periods if period != now for each in self._new_profiles(stats[period], period)),
            *self._build_profiles(ProfileScope.BASELINE, compared.features, None, self.at, compared.name),
            *self._build_snapshot_profiles(bins),
        ]
        return context, tuple(profiles)

    def build_static(self) -> tuple[MonitorContext, tuple[Profile, ...]]:
        """Build the context of a static view: all its rows, compared with the previous run."""
        frame = build_frame(self.view, tuple(self.features.values()), self.columns, RowSource(source=self.source))
        training = self._training_frame()
        profiles = _select_newest_profiles(self.facts.earlier, self.at)
        if training is not None:
            bins = self._find_bins(training, frame)
            (found,) = measure_features(self.warehouse, training, self.features, bins)
            compared = self._training_baseline(found)
        else:
            bins = {name: Bins(edges=p.edges, centre=p.mean or 0.0) for name, p in profiles.items() if p.edges}
            bins = {**find_bins(self.warehouse, frame, self.settings.bins), **bins}
            compared = _profiles_baseline(profiles)
        (stats,) = measure_features(self.warehouse, frame, self.features, bins)
        context = self._build(period=None, stats=stats, compared=compared)
        return context, self._build_profiles(ProfileScope.PERIOD, stats, None, self.at)

    def _find_bins(self, reference: FeatureFrame | None, frame: FeatureFrame) -> dict[str, Bins]:
        """Return the baseline's bins, and the view's own for features that the baseline lacks."""
        reference_bins = {} if reference is None else find_bins(self.warehouse, reference, self.settings.bins)
        rest = replace(
            frame, columns={name: each for name, each in frame.columns.items() if name not in reference_bins}
        )
        return {**find_bins(self.warehouse, rest, self.settings.bins), **reference_bins}

    def _build_frame(self, time: Column, slots: Sequence[Slot]) -> FeatureFrame:
        rows = RowSource(source=self.source, time=time, slots=tuple(slots))
        return build_frame(self.view, tuple(self.features.values()), self.columns, rows)

    def _training_frame(self) -> FeatureFrame | None:
        training = self.facts.training
        if training is None:
            return None
        columns = {name: column for name, column in training.columns.items() if name in self.features}
        chosen = tuple(column.name for column in columns.values())
        return FeatureFrame(rows=RowSource(source=training.source, chosen_by=chosen), columns=columns)

    def _periods_baseline(self, before: Sequence[Period], stats: Sequence[Mapping[str, ColumnStats]]) -> BaselineStats:
        unit = self.settings.period
        name = (
            f"{format_period(unit, before[0])} to {format_period(unit, before[-1])}"
            if len(before) > 1
            else format_period(unit, before[0])
        )
        name += _SAME[self.settings.baseline.same]
        combined = {feature: combine_stats([part[feature] for part in stats]) for feature in stats[0]}
        rows = _count_rows(combined)
        # Empty periods before the view's first rows would lower the expected rows per period.
        begun = next((position for position, part in enumerate(stats) if _count_rows(part)), len(stats))
        periods = len(stats) - begun
        return BaselineStats(
            name=name, rows=rows, per_period=rows / periods if periods else None, features=combined,
            why_not="" if rows else f"there are no rows in {name}",
        )  # fmt: skip

    def _range_baseline(self, found: Mapping[str, ColumnStats], now: Period) -> BaselineStats:
        baseline, unit = self.settings.baseline, self.settings.period
        assert baseline.fixed is not None
        whole = baseline.fixed
        parts = select_periods(unit, whole, now, baseline.same)
        periods = sum(count_periods(unit, part) for part in parts)
        name, rows = f"{whole.start:%Y-%m-%d} to {whole.end:%Y-%m-%d}", _count_rows(found)
        return BaselineStats(
            name=name, rows=rows, per_period=rows / periods if rows else None, features=found,
            why_not="" if rows else f"there are no rows in {name}",
        )  # fmt: skip

    def _training_baseline(self, found: Mapping[str, ColumnStats]) -> BaselineStats:
        training = self.facts.training
        assert training is not None
        return BaselineStats(name=f"training set {training.name}", rows=_count_rows(found), features=found)

    def _build(
        self,
        *,
        period: Period | None,
        stats: Mapping[str, ColumnStats],
        compared: BaselineStats,
        newest: datetime | None = None,
        history: tuple[tuple[Period, Mapping[str, ColumnStats]], ...] = (),
    ) -> MonitorContext:
        snapshot = self.facts.snapshot
        return MonitorContext(
            view=self.view,
            settings=self.settings,
            at=self.at,
            period=period,
            rows=_count_rows(stats),
            current=stats,
            baseline=compared,
            limits={},
            newest=newest,
            sources=self.facts.sources,
            online=self.facts.online,
            coverage=snapshot.coverage if snapshot is not None else None,
            changes=self.facts.changes,
            history=history,
        )

    def _new_profiles(self, stats: Mapping[str, ColumnStats], period: Period) -> tuple[Profile, ...]:
        """Return the profiles of an earlier period, unless it was profiled before or has no rows."""
        recorded = {profile.end for profile in self.facts.earlier if profile.scope is ProfileScope.PERIOD}
        new = period.end not in recorded and _count_rows(stats)
        return self._build_profiles(ProfileScope.PERIOD, stats, period.start, period.end) if new else ()

    def _build_snapshot_profiles(self, bins: Mapping[str, Bins]) -> tuple[Profile, ...]:
        snapshot = self.facts.snapshot
        if snapshot is None:
            return ()
        rows = RowSource(source=snapshot.source)
        frame = build_frame(self.view, tuple(self.features.values()), snapshot.columns, rows)
        (stats,) = measure_features(self.warehouse, frame, self.features, bins)
        return self._build_profiles(ProfileScope.SNAPSHOT, stats, None, self.at)

    def _build_profiles(
        self,
        scope: ProfileScope,
        stats: Mapping[str, ColumnStats],
        start: datetime | None,
        end: datetime,
        source: str = "",
    ) -> tuple[Profile, ...]:
        return tuple(
            Profile(
                view=self.view.id, feature=name, scope=scope, source=source or self.view.relation_name, start=start,
                end=end, profiled_at=self.at, run="", rows=part.rows, nulls=part.nulls, distinct=part.distinct,
                unusable=part.unusable, defaults=part.defaults, out_of_range=part.out_of_range, minimum=part.minimum,
                maximum=part.maximum, mean=part.mean, std=part.std, shape_rows=part.shape_rows,
                quantiles=part.quantiles, edges=part.edges, counts=part.counts, top=part.top,
            )
            for name, part in stats.items()
        )  # fmt: skip


def _count_rows(stats: Mapping[str, ColumnStats]) -> int:
    return max((part.rows for part in stats.values()), default=0)


def _select_newest_profiles(profiles: Sequence[Profile], at: datetime) -> dict[str, Profile]:
    """Return the profiles of the previous run of a static view, by feature."""
    before = [p for p in profiles if p.scope is ProfileScope.PERIOD and p.end is not None and p.end < at]
    return {profile.feature: profile for profile in sorted(before, key=lambda profile: profile.end or at)}


def _profiles_baseline(kept: Mapping[str, Profile]) -> BaselineStats:
    if not kept:
        return BaselineStats(why_not="there is no earlier run to compare with")
    last = max(profile.end for profile in kept.values() if profile.end is not None)
    stats = {name: _stats_from_profile(profile) for name, profile in kept.items()}
    rows = _count_rows(stats)
    return BaselineStats(name=f"the run of {last:%Y-%m-%d %H:%M}", rows=rows, per_period=float(rows), features=stats)


def _stats_from_profile(profile: Profile) -> ColumnStats:
    """Return the statistics of a recorded profile."""
    values = profile.rows - profile.nulls
    numbers = values - profile.unusable if profile.mean is not None else 0
    return ColumnStats(
        rows=profile.rows, values=values, numbers=numbers, distinct=profile.distinct, defaults=profile.defaults,
        out_of_range=profile.out_of_range, minimum=profile.minimum, maximum=profile.maximum,
        squares=(profile.std or 0.0) ** 2 * max(numbers - 1, 0), centre=profile.mean or 0.0,
        shape_rows=profile.shape_rows, quantiles=profile.quantiles, edges=profile.edges, counts=profile.counts,
        top=profile.top, is_float=profile.mean is not None,
    )  # fmt: skip
