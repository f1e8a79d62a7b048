"""Plan a training set or a snapshot: every rule of point-in-time correctness is decided here.

What a point-in-time join promises
----------------------------------
A label is a row with join keys and a time *t*. A feature view's row has keys, an **event time** *e* (when its values
became true) and an **available time** *a* (when the warehouse could have known them). A label may see a row if both
lie at or before *t*; of the rows it may see it gets the newest, whole.

*Two clocks.* With `available_at` the two clocks are independent: a row of ten o'clock may arrive at noon, after the
row of eleven. A label at 11:30 must then get the row of eleven, one at 12:30 too: late arrivals never win over
newer events, but they are visible to labels between a newer event's absence and their own arrival. Joining on *e* and
afterwards blanking what was not available would return nothing where an older row was known; joining on *a* alone would
return the row that arrived last, not the one that happened last. So a row has an *effective time*
`eff = max(e, a)`, the first moment it may be seen. The match walks the rows of a key by `eff`, carries the
greatest `e` seen so far, and that `e` names the winner. `delay` is the special case `a = e + delay`; both
clocks then run in step and the match needs *e* alone.

*Bounds.* `e <= t` and `a <= t` include equality: what happens at *t* is known at *t*. `bound: exclusive` asks for
`e < t`; in whole microseconds that is `e + 1 us <= t`, so one inequality `max(e + 1 us, a) <= t` serves both.

*Expiry.* With a TTL the winner must satisfy `e >= t - ttl`. It is tested after the match: if the newest
row is too old, all are, and an expired row must not make room for an older one. Exactly `ttl` old is still valid.

*Ties.* Rows with the same *e* are ordered by `created_timestamp`, then *a*, then the declared `tie_breaker`, greatest
first, NULL lowest. What is still tied is ordered by the content of the row in declared column order: any total order
will do, as long as threads, row order and engine have no say. The report counts labels for which it came to that.

*Rows, not values.* The winning row is taken whole. Its NULLs stay: `last value ignoring nulls` would resurrect a
measurement from another time, and the online store, which holds the newest row, could never agree with it. A default
stands in only where there is no row to take (missing or expired). If the winner has ended (`valid_to <= t`), the
entity had no values at *t*, and all its features are NULL.

*Keys.* NULL never matches, every part of a composite key is compared by itself, and a key of another type family is an
error rather than a cast: `'007'` is not 7.

*Time.* Everything is compared as UTC in microseconds. Naive values mean UTC, aware ones are converted, a DATE is its
midnight. Because something stamped with a day is usually known only when the day is over, a DATE event time must say
its `delay` or `available_at`. A value with a finer fraction than a microsecond is refused: truncating it could
move a label to the other side of an event.

*Static views* have no event time and join on keys alone, so they must be unique on them.

*Types.* A feature has its declared type in every training set and online. Where the warehouse's column has another,
its values are cast, once they are all known to keep their worth (`featurelayer.sql.casts`); otherwise it is refused.

*Labels* come out as they went in: every row once, in order, every column untouched, features after them.

*As served.* In the mode `as_served` a label sees, per view, what the newest export that had finished by *t* had seen:
the rules above at the export's time T in place of *t*. Only expiry and the end of a row are still taken at *t*, because
a lookup takes them at its own time. Before the first export there is nothing, for static views too.

A snapshot for the online store is the same join with the view's own keys as the spine and one time T for all. Its rows
are not cut off by the TTL: expiry goes on after the export, so readers decide it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain
from typing import TypeVar

from featurelayer.errors import LabelError, PlanError, Problem, did_you_mean
from featurelayer.model import Column, DType, FeatureService, FeatureView, Kind, ServiceView
from featurelayer.sql.plan import (
    RESERVED,
    AsofJoin,
    Entities,
    FeatureColumn,
    LabelColumn,
    Labels,
    Ledger,
    Mode,
    Plan,
)

NamedT = TypeVar("NamedT", Column, LabelColumn)


def plan_training_set(
    service: FeatureService,
    views: Mapping[str, FeatureView],
    relations: Mapping[str, Sequence[Column]],
    *,
    source: str,
    label_columns: Sequence[Column],
    parsed: Mapping[str, Column] | None = None,
    ordered: bool = False,
    order: str = "",
    label_timestamp: str | None = None,
    keys: Mapping[str, str] | None = None,
    mode: Mode = Mode.KNOWN_AT,
    ledger: Ledger | None = None,
    provenance: str = "",
) -> Plan:
    """Return the plan that joins a service's views to labels, or raise with every problem.

    Args:
        service: the features wanted, with their request keys.
        views: the service's views by id.
        relations: the columns that the warehouse really has, by view id.
        source: the labels as a FROM item in the engine's SQL.
        label_columns: the labels' columns in order.
        parsed: further columns of the source with the values of a CSV's text in a type, by label column.
        ordered: the source delivers its rows in one order always.
        order: a column of the source that says their order, where the engine keeps none.
        label_timestamp: the label column with the time; the service's own by default.
        keys: label column by request key, where they differ.
        mode: which rows a label may see.
        ledger: where exports are recorded; mode `as_served` needs it and no other uses it.
        provenance: comment lines for the script's header.

    Raises:
        LabelError: the labels lack a column, have a wrong type or a colliding name.
        PlanError: a view's relation does not match its annotations.
    """
    problems: list[Problem] = []
    time_name = label_timestamp or service.label_timestamp
    served = mode is Mode.AS_SERVED
    timed = served or any(not views[join.view].static for join in service.views)
    columns = _safe_aliases(label_columns)
    typed = {
        name: LabelColumn(name=column.name, alias=column.name, dtype=column.dtype)
        for name, column in (parsed or {}).items()
    }
    key_columns = _label_keys(service, columns, typed, keys or {}, problems)
    time = _label_time(time_name, columns, typed, timed, problems)
    _validate_label_names(service, columns, problems)
    if problems:
        raise LabelError(problems)

    used = _joins_with_features(service)
    joins = []
    for join in used:
        pairs = [(view_column, key_columns[request].alias) for view_column, request in join.keys]
        view = views[join.view]
        asof = _asof_join(view, relations[view.id], join, pairs, mode, problems)
        joins.append(replace(asof, ledger=ledger) if served else asof)
    if served:
        problems += _validate_exports([views[join.view] for join in used], ledger)
    if problems:
        raise PlanError(problems)
    return Plan(
        title=f"training set of {service.name}, mode {mode}",
        spine=Labels(
            source=source,
            columns=columns,
            time=time if timed else None,
            parsed=tuple(typed.values()),
            ordered=ordered,
            order=order,
        ),
        joins=tuple(joins),
        mode=mode,
        provenance=provenance,
    )


def plan_snapshot(view: FeatureView, relation: Sequence[Column], *, as_of: datetime, provenance: str = "") -> Plan:
    """Return the plan of a view's snapshot: each entity's newest row that was visible at `as_of` (aware).

    Raises:
        PlanError: the relation does not match the annotations.
    """
    problems: list[Problem] = []
    keys = tuple(
        LabelColumn(name=key.column, alias=f"{RESERVED}k{position}", dtype=key.dtype)
        for position, key in enumerate(view.join_keys)
    )
    join = ServiceView(
        view=view.id,
        prefix=view.prefix,
        features=tuple(feature.name for feature in view.features),
        keys=tuple((key.name, key.name) for key in keys),
    )
    pairs = [(key.name, key.alias) for key in keys]
    asof = _asof_join(view, relation, join, pairs, Mode.KNOWN_AT, problems, snapshot=True)
    if problems:
        raise PlanError(problems)
    return Plan(
        title=f"snapshot of {view.id} at {as_of.isoformat()}",
        spine=Entities(keys=keys, as_of=as_of),
        joins=(asof,),
        provenance=provenance,
    )


def _validate_exports(views: Sequence[FeatureView], ledger: Ledger | None) -> Iterator[Problem]:
    """Raise for requests that mode `as_served` can't answer."""
    if ledger is None:
        yield Problem(
            what="no export has been recorded in this warehouse, so what was being served is unknown",
            fix="run `featurelayer export`, or use the mode known_at",
        )
    for view in dict.fromkeys(views):
        if not view.online:
            yield Problem(
                what=f"{view.id} is never exported, so what was being served is unknown",
                where=view.yaml_path,
                fix="add online: true to its featurelayer block, or use the mode known_at",
            )


def match_column(name: str, columns: Iterable[NamedT]) -> NamedT | None:
    """Return the column of that name: exact, else the only one that differs in case alone."""
    columns = tuple(columns)
    exact = next((column for column in columns if column.name == name), None)
    folded = [column for column in columns if column.name.casefold() == name.casefold()]
    return exact or (folded[0] if len(folded) == 1 else None)


def _safe_aliases(columns: Sequence[Column]) -> tuple[LabelColumn, ...]:
    """Keep a label column's name inside the script unless it is ours or an engine would confuse it with another."""
    folded = Counter(column.name.casefold() for column in columns)

    def alias(position: int, name: str) -> str:
        safe = folded[name.casefold()] == 1 and not name.casefold().startswith(RESERVED) and name != ""
        return name if safe else f"{RESERVED}c{position}"

    return tuple(
        LabelColumn(
            name=column.name, alias=alias(position, column.name), dtype=column.dtype, nanoseconds=column.nanoseconds
        )
        for position, column in enumerate(columns)
    )


def _label_keys(
    service: FeatureService,
    columns: Sequence[LabelColumn],
    typed: Mapping[str, LabelColumn],
    keys: Mapping[str, str],
    problems: list[Problem],
) -> dict[str, LabelColumn]:
    """Find the label column of every request key and check that its type joins the key's."""
    names = [column.name for column in columns]
    requests = {key.name: key for key in service.request_keys}
    problems.extend(
        Problem(
            what=f"'{unknown}' is not a request key of {service.name}{did_you_mean(unknown, requests)}",
            where="--key",
            fix=f"its request keys are {', '.join(requests)}",
        )
        for unknown in sorted(keys.keys() - requests.keys())
    )
    label_keys: dict[str, LabelColumn] = {}
    for key in service.request_keys:
        wanted = keys.get(key.name, key.name)
        column = match_column(wanted, columns)
        if column is None:
            problems.append(
                Problem(
                    what=f"the labels have no column '{wanted}'{did_you_mean(wanted, names)}, "
                    f"which {service.name} joins on",
                    where=f"columns: {', '.join(names) or 'none'}",
                    fix=f"rename a column, or name it with --key {key.name}=COLUMN",
                )
            )
            continue
        if not key.dtype.joins(column.dtype):
            column = typed.get(column.name, column)
        if not key.dtype.joins(column.dtype):
            problems.append(
                Problem(
                    what=f"label column '{column.name}' is {column.dtype}, the key {key.name} is {key.dtype}",
                    where=f"service {service.name}",
                    fix="cast the column; keys are never cast silently, because '007' is not 7"
                    + (" (in pandas: astype('Int64'))" if column.dtype.kind is Kind.FLOAT else ""),
                )
            )
        label_keys[key.name] = column
    return label_keys


def _label_time(
    name: str | None,
    columns: Sequence[LabelColumn],
    typed: Mapping[str, LabelColumn],
    timed: bool,
    problems: list[Problem],
) -> LabelColumn | None:
    names = [column.name for column in columns]
    if name is None:
        if timed:
            problems.append(
                Problem(
                    what="the label timestamp column is unknown",
                    where=f"columns: {', '.join(names) or 'none'}",
                    fix="pass --label-timestamp COLUMN, or set label_timestamp on the exposure",
                )
            )
        return None
    column = match_column(name, columns)
    if column is None:
        if timed:
            problems.append(
                Problem(
                    what=f"the labels have no timestamp column '{name}'{did_you_mean(name, names)}",
                    where=f"columns: {', '.join(names) or 'none'}",
                    fix="rename the column, or pass --label-timestamp COLUMN",
                )
            )
        return None
    if not column.dtype.is_time:
        column = typed.get(column.name, column)
    if not column.dtype.is_time and timed:
        problems.append(
            Problem(
                what=f"label column '{name}' is {column.dtype}, not a timestamp",
                where="the labels' timestamp",
                fix="convert it to a timestamp in UTC before the build",
            )
        )
    return column


def _validate_label_names(service: FeatureService, columns: Sequence[LabelColumn], problems: list[Problem]) -> None:
    labels = {column.name.casefold(): column.name for column in columns}
    problems.extend(
        Problem(
            what=f"label column '{labels[feature.casefold()]}' has the name of the feature column '{feature}'",
            where=f"service {service.name}",
            fix="rename the label column, or give the view another role",
        )
        for feature in service.columns
        if feature.casefold() in labels
    )
    problems.extend(
        Problem(what=f"label column {position} has no name", fix="give the column a name, or drop it")
        for position, column in enumerate(columns, start=1)
        if column.name == ""
    )
    for name, count in Counter(column.name for column in columns).items():
        if count > 1:
            problems.append(
                Problem(
                    what=f"the labels have {count} columns named '{name}'", fix="rename them so that each is unique"
                )
            )


def _joins_with_features(service: FeatureService) -> tuple[ServiceView, ...]:
    """Return the joins with at least one feature; a role without features has nothing to fetch."""
    return tuple(join for join in service.views if join.features)


def _asof_join(
    view: FeatureView,
    relation: Sequence[Column],
    join: ServiceView,
    keys: Sequence[tuple[str, str]],
    mode: Mode,
    problems: list[Problem],
    *,
    snapshot: bool = False,
) -> AsofJoin:
    """Build a view's join from its annotations, checked against the relation's real columns."""
    columns: dict[str, Column] = {}
    problems.extend(
        Problem(
            what=f"{view.id}: the name '{name}' starts with {RESERVED}, which the script's own columns do",
            where=view.yaml_path,
            fix="rename it",
        )
        for name in (join.prefix, *join.features)
        if name.casefold().startswith(RESERVED)
    )

    def column(name: str, role: str) -> Column:
        real = columns.get(name) or match_column(name, relation)
        if real is None:
            problems.append(
                Problem(
                    what=f"{view.id}: {role} '{name}' is not a column of {view.relation_name}"
                    + did_you_mean(name, [column.name for column in relation]),
                    where=view.yaml_path,
                    fix=f"build the model again (`dbt run -s {view.name}`), or correct the YAML",
                )
            )
            real = Column(name=name, dtype=DType(kind=Kind.UNKNOWN))
        columns[name] = real
        return real

    def time_column(name: str, role: str) -> Column:
        real = column(name, role)
        if not real.dtype.is_time and real.dtype.kind is not Kind.UNKNOWN:
            problems.append(
                Problem(
                    what=f"{view.id}: {role} '{name}' is {real.dtype} in {view.relation_name}, not a timestamp",
                    where=view.yaml_path,
                    fix="cast it to a timestamp in the model",
                )
            )
        return real

    pairs = []
    declared = {key.column: key.dtype for key in view.join_keys}
    for name, alias in keys:
        real = column(name, "join key")
        if real.dtype.kind is not Kind.UNKNOWN and not real.dtype.joins(declared[name]):
            problems.append(
                Problem(
                    what=f"{view.id}: join key '{name}' is {real.dtype} in {view.relation_name}, "
                    f"declared {declared[name]}",
                    where=view.yaml_path,
                    fix="cast it in the model, or correct the declared type",
                )
            )
        pairs.append((real, alias))
    features = []
    for name in join.features:
        feature = view.feature(name)
        assert feature is not None, "the registry resolves features before a plan is made"
        real = column(name, "feature")
        features.append(
            FeatureColumn(
                source=real.name,
                name=name if snapshot else join.column(name),
                dtype=real.dtype if feature.dtype.kind is Kind.UNKNOWN else feature.dtype,
                stored=real,
                default=feature.default,
                has_default=feature.has_default and not snapshot,
            )
        )
    event = time_column(view.event_time, "event time") if view.event_time and not view.static else None
    if event is not None and event.dtype.kind is Kind.DATE and view.delay is None and view.available_at is None:
        problems.append(
            Problem(
                what=f"{view.id}: the event time '{event.name}' is a DATE and neither delay nor available_at is set",
                where=view.yaml_path,
                fix="set when a day's row is known, for example delay: 1 day (or delay: 0 days if at its midnight)",
            )
        )
    available = time_column(view.available_at, "available_at") if view.available_at and event else None
    created = column(view.created_timestamp, "created_timestamp") if view.created_timestamp and event else None
    breakers = [column(name, "tie_breaker") for name in view.tie_breaker]
    order = tuple(dict.fromkeys(chain([created] if created else [], [available] if available else [], breakers)))
    return AsofJoin(
        name=join.prefix,
        view=view.id,
        relation=view.relation_name,
        keys=tuple(pairs),
        features=tuple(features),
        event=event,
        available=available if mode is not Mode.EVENT_TIME else None,
        delay=view.delay or timedelta(0) if mode is not Mode.EVENT_TIME else timedelta(0),
        exclusive=view.bound == "exclusive",
        ttl=None if snapshot else view.ttl,
        valid_to=time_column(view.valid_to, "valid_to") if view.valid_to else None,
        order=order,
        content=tuple(column(name, "column") for name, _ in view.columns),
        where=f"{view.yaml_path} -> {view.id}" if view.yaml_path else view.id,
    )
