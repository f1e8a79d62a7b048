"""The definition of a build: builds with equal definitions can be appended to one training set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from featurelayer.errors import LockError, Problem
from featurelayer.sql.plan import Plan
from featurelayer.training.lock import Lock, LockedJoin, LockedView, label_types, lock_definition, lock_joins
from featurelayer.training.mismatch_reasons import definition_changes
from featurelayer.training.resolved_request import ResolvedRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildDefinition:
    """A build without its labels and its time. `keys` are label columns by request key."""

    service: str
    columns: tuple[str, ...]
    request_keys: Mapping[str, str]
    keys: Mapping[str, str]
    timestamp: str | None
    mode: str
    label_types: Mapping[str, str]
    joins: tuple[LockedJoin, ...]
    views: Mapping[str, LockedView]

    @property
    def checksum(self) -> str:
        """A checksum of the definition, for the note of a table without a lock."""
        content = {name: getattr(self, name) for name in self.__slots__ if name not in ("joins", "views")}
        content["joins"] = [_drop_equal_types(join) for join in msgspec.to_builtins(self.joins)]
        used: dict[str, set[str]] = {}
        for join in self.joins:
            used.setdefault(join.view, set()).update(column.feature for column in join.columns.values())
        content["views"] = {name: _view_content(view, used[name]) for name, view in self.views.items()}
        return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


def define_build(request: ResolvedRequest, plan: Plan) -> BuildDefinition:
    """Return the definition of a build before it runs."""
    service, checksums = request.service, request.provenance.sql_checksums
    joined = {join.view for join in plan.joins}
    return BuildDefinition(
        service=service.name,
        columns=service.columns,
        request_keys={key.name: str(key.dtype) for key in service.request_keys},
        keys=_key_renames(request.keys),
        timestamp=request.label_timestamp or service.label_timestamp,
        mode=str(request.mode),
        label_types=label_types(plan),
        joins=lock_joins(plan, service),
        views={
            name: lock_definition(view, checksums.get(view.unique_id, {}))
            for name, view in request.views.items()
            if name in joined
        },
    )


def validate_same_definition(lock: Lock, now: BuildDefinition) -> None:
    """Raise if a build's definition differs from that of the set to append to; list every difference.

    Raises:
        LockError: the definitions differ.
    """
    changes = list(_find_changes(lock, now))
    if changes:
        fix = "rebuild the set without --append"
        raise LockError([Problem(what=f"{lock.name}: {what}", where="--append", fix=fix) for what in changes])


def _find_changes(lock: Lock, now: BuildDefinition) -> Iterator[str]:
    if lock.service.name != now.service:
        named = "named features"
        yield f"the set is of {lock.service.name or named}, the new rows of {now.service or named}"
    yield from _column_changes("feature column", lock.service.features, now.columns)
    yield from _value_changes("request key {}", lock.service.request_keys, now.request_keys)
    yield from _value_changes("the label column of the key {}", _key_renames(lock.request.keys), now.keys)
    for what, then, today in (
        ("the time of the labels", lock.labels.timestamp, now.timestamp),
        ("the mode", lock.request.mode, now.mode),
    ):
        if then != today:
            yield f"{what} was {then or 'none'}, is {today or 'none'}"
    yield from _column_changes("label column", lock.labels.columns, tuple(now.label_types))
    if lock.labels.types.keys() == now.label_types.keys():
        yield from _value_changes("label column {}", lock.labels.types, now.label_types)
    yield from _find_join_changes(lock, now)


def _find_join_changes(lock: Lock, now: BuildDefinition) -> Iterator[str]:
    joins = {join.name: join for join in now.joins}
    for join in lock.joins:
        today = joins.get(join.name)
        if today is None:
            continue  # the missing columns are reported
        if (join.view, join.keys) != (today.view, today.keys):
            were, are = (f"{one.view} on {_format_keys(one.keys)}" for one in (join, today))
            yield f"{join.name} joined {were}, now {are}"
            continue
        then, view = (_drop_seeds(views[join.view]) for views in (lock.views, now.views))
        yield from (f"{join.name}: {change}" for change in definition_changes(join, today, then, view))


def _drop_equal_types(join: dict[str, Any]) -> dict[str, Any]:
    """Return a join as in the notes of earlier versions, which recorded only one type per column."""
    for column in join["columns"].values():
        if column["warehouse_type"] == column["type"]:
            del column["warehouse_type"]
    return join


def _column_changes(what: str, then: tuple[str, ...], now: tuple[str, ...]) -> Iterator[str]:
    yield from (f"there is no {what} '{name}' any more" for name in then if name not in now)
    yield from (f"{what} '{name}' is new" for name in now if name not in then)
    if then != now and sorted(then) == sorted(now):
        yield f"the {what}s were in the order {', '.join(then)}, now {', '.join(now)}"


def _value_changes(what: str, then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name in dict.fromkeys((*then, *now)):
        if then.get(name) != now.get(name):
            yield f"{what.format(name)} was {then.get(name, 'none')}, is {now.get(name, 'none')}"


def _format_keys(keys: Mapping[str, str]) -> str:
    return ", ".join(f"{view}={request}" for view, request in keys.items())


def _key_renames(keys: Mapping[str, str]) -> dict[str, str]:
    """Return the keys whose label column has a different name."""
    return {key: column for key, column in keys.items() if key != column}


def _drop_seeds(view: LockedView) -> LockedView:
    """Drop seeds from the checksums: a seed is data, which may grow between builds."""
    return msgspec.structs.replace(view, upstream_checksums=_model_checksums(view))


def _view_content(view: LockedView, used: set[str]) -> list[object]:
    features = {name: said for name, said in view.definition["features"].items() if name in used}
    return [view.relation, {**view.definition, "features": features}, view.sql_checksum, _model_checksums(view)]


def _model_checksums(view: LockedView) -> dict[str, str]:
    return {node: checksum for node, checksum in view.upstream_checksums.items() if not node.startswith("seed.")}
