"""Find which joins of a lock can still be rebuilt: their views, features, relations and columns must exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from featurelayer.errors import (
    FeatureLayerError,
    RelationNotBuilt,
    WarehouseError,
    did_you_mean,
)
from featurelayer.model import Column, DType, Feature, FeatureService, FeatureView, Key, ServiceView
from featurelayer.registry import Registry
from featurelayer.sql.planner import match_column
from featurelayer.training.lock import Lock, LockedJoin
from featurelayer.training.mismatch_reasons import Cause, Reason
from featurelayer.training.resolved_request import ResolvedRequest
from featurelayer.warehouse.base import Warehouse


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproducibleJoin:
    """A join of the lock as far as it can be rebuilt: with `view`, None if impossible, and without the `lost` columns.

    `added` are extra columns of the view that describe the row: `present` is NULL only without a row, `arrivals`
    (output column to the view's column) tell when it arrived; `event` and `clocks` are the times as columns.
    """

    locked: LockedJoin
    view: FeatureView | None = None
    lost: Mapping[str, tuple[Reason, ...]] = field(default_factory=dict)
    added: tuple[str, ...] = ()
    present: str | None = None
    arrivals: Mapping[str, str] = field(default_factory=dict)
    event: Column | None = None
    clocks: tuple[Column, ...] = ()

    @property
    def service_view(self) -> ServiceView:
        """Return the join with its remaining columns and the added ones."""
        assert self.view is not None
        kept = [column.feature for name, column in self.locked.columns.items() if name not in self.lost]
        keys = tuple(self.locked.keys.items())
        return ServiceView(view=self.view.id, prefix=self.locked.name, features=(*kept, *self.added), keys=keys)

    def drop_all_columns(self, reasons: tuple[Reason, ...]) -> ReproducibleJoin:
        """Return the join without any column."""
        return ReproducibleJoin(locked=self.locked, lost={**dict.fromkeys(self.locked.columns, reasons), **self.lost})


def find_reproducible_joins(
    warehouse: Warehouse, lock: Lock, registry: Registry, base: ResolvedRequest
) -> list[ReproducibleJoin]:
    """Return the lock's joins with the columns that each has lost."""
    taken = {*lock.columns, *(column.name for column in base.labels.columns)}
    return [_check_join(warehouse, join, registry, {name.casefold() for name in taken}) for join in lock.joins]


def make_request(joins: Sequence[ReproducibleJoin], lock: Lock, base: ResolvedRequest) -> ResolvedRequest:
    """Return the request with these joins."""
    service = FeatureService(
        name=lock.service.name,
        views=tuple(join.service_view for join in joins),
        request_keys=tuple(Key(name=name, dtype=DType.parse(kind)) for name, kind in lock.service.request_keys.items()),
        label_timestamp=lock.labels.timestamp,
    )
    views: dict[str, FeatureView] = {}
    for join in joins:
        assert join.view is not None
        known = views.get(join.view.id, join.view)
        more = tuple(feature for feature in join.view.features if known.feature(feature.name) is None)
        views[join.view.id] = replace(known, features=(*known.features, *more))
    return replace(base, service=service, views=views)


def find_request_changes(lock: Lock, registry: Registry) -> Iterator[Reason]:
    """Describe how the same request would resolve differently today."""
    asked = lock.request
    try:
        service = (
            registry.service(asked.service) if asked.service is not None else registry.adhoc_service(asked.features)
        )
    except FeatureLayerError as error:
        yield Reason(cause=Cause.DEFINITION, evidence=error.summary)
        return
    name = asked.service or "--features"
    then, now = lock.service.features, service.columns
    for change, columns in (
        ("no longer has", [column for column in then if column not in now]),
        ("now has", [column for column in now if column not in then]),
    ):
        if columns:
            yield Reason(cause=Cause.DEFINITION, evidence=f"{name} {change} {', '.join(columns)}")
    if sorted(then) == sorted(now) and then != now:
        yield Reason(cause=Cause.DEFINITION, evidence=f"the features of {name} are in another order")
    if asked.service and not asked.label_timestamp and service.label_timestamp != lock.labels.timestamp:
        evidence = f"label_timestamp of {name} was {lock.labels.timestamp}, is {service.label_timestamp}"
        yield Reason(cause=Cause.DEFINITION, evidence=evidence)
    joined = {join.prefix: dict(join.keys) for join in service.views}
    for join in lock.joins:
        if join.name in joined and joined[join.name] != join.keys:
            were, are = (", ".join(f"{a}={b}" for a, b in keys.items()) for keys in (join.keys, joined[join.name]))
            evidence = f"{name} joined {join.name} on {were}, now on {are}"
            yield Reason(cause=Cause.DEFINITION, evidence=evidence)


def _check_join(warehouse: Warehouse, join: LockedJoin, registry: Registry, taken: set[str]) -> ReproducibleJoin:
    bare = ReproducibleJoin(locked=join)
    view = registry.views.get(join.view)
    if view is None:
        return bare.drop_all_columns(
            _source_missing(f"there is no feature view '{join.view}' any more{did_you_mean(join.view, registry.views)}")
        )
    try:
        columns = warehouse.describe(view.relation_name)
    except WarehouseError as error:
        missing = isinstance(error, RelationNotBuilt)
        what = "is not in the warehouse" if missing else f"can't be read: {error.summary}"
        return bare.drop_all_columns(_source_missing(f"{view.relation_name} {what}"))
    needed = [name for name in _key_and_time_columns(view) if match_column(name, columns) is None]
    if needed:
        return bare.drop_all_columns(
            _source_missing(f"{view.relation_name} has no column {', '.join(needed)} any more")
        )
    if {key.column for key in view.join_keys} != join.keys.keys():
        were, are = ", ".join(join.keys), ", ".join(key.column for key in view.join_keys)
        return bare.drop_all_columns(
            (Reason(cause=Cause.DEFINITION, evidence=f"the join keys were {were}, are {are}"),)
        )
    lost = dict(_find_lost_columns(view, columns, join))
    # A tie-breaking column that no longer exists is ignored; the others can still be compared.
    view = replace(view, columns=tuple(known for known in view.columns if match_column(known[0], columns)))
    if len(lost) == len(join.columns):
        return replace(bare, lost=lost)
    return _with_times(replace(bare, lost=lost), view, columns, taken)


def _key_and_time_columns(view: FeatureView) -> Iterator[str]:
    yield from (key.column for key in view.join_keys)
    yield from view.tie_breaker
    yield from (name for name in (view.valid_to,) if name)
    if not view.static:
        yield from (name for name in (view.event_time, view.available_at, view.created_timestamp) if name)


def _find_lost_columns(
    view: FeatureView, columns: Sequence[Column], join: LockedJoin
) -> Iterator[tuple[str, tuple[Reason, ...]]]:
    for name, column in join.columns.items():
        if view.feature(column.feature) is None:
            yield name, _source_missing(f"{view.id} has no feature '{column.feature}' any more")
        elif match_column(column.feature, columns) is None:
            yield name, _source_missing(f"{view.relation_name} has no column {column.feature} any more")


def _with_times(
    join: ReproducibleJoin, view: FeatureView, columns: Sequence[Column], taken: set[str]
) -> ReproducibleJoin:
    """Add the times of the row, or a key if the view has no times."""
    features, found = list(view.features), {}
    kept = {column.feature: name for name, column in join.locked.columns.items() if name not in join.lost}
    roles = ("event_time", "available_at", "created_timestamp")
    names = [view.join_keys[0].column] if view.static else [getattr(view, role) for role in roles]
    for name in dict.fromkeys(name for name in names if name):
        output = f"{join.locked.name}__{name}"
        feature = view.feature(name)
        if name in kept and not (feature and feature.has_default):
            found[name] = kept[name]
        elif name not in kept and output.casefold() not in taken:
            found[name] = output
            column = match_column(name, columns)
            assert column is not None
            if feature is None:
                features.append(Feature(name=name, dtype=column.dtype))
            else:
                features[features.index(feature)] = replace(feature, default=None, has_default=False)
    arrivals = [name for name in names[1:] if name]
    clocks = [column for name in arrivals if (column := match_column(name, columns)) and column.dtype.is_time]
    return replace(
        join,
        view=replace(view, features=tuple(features)),
        added=tuple(name for name, output in found.items() if name not in kept),
        present=found.get(names[0]),
        arrivals={found[c.name]: c.name for c in clocks if c.name in found},
        event=match_column(view.event_time, columns) if view.event_time and not view.static else None,
        clocks=tuple(clocks),
    )


def _source_missing(evidence: str) -> tuple[Reason, ...]:
    return (Reason(cause=Cause.GONE, evidence=evidence),)
