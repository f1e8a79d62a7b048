"""The lock of a training set: a record of its inputs and results, from which the set can be rebuilt and compared.

It records the request, the definition of every joined view, the row count of each relation, and checksums of the
columns. Paths are relative, so it can be committed with the code.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from featurelayer.durations import format_duration
from featurelayer.errors import LockError, Problem
from featurelayer.model import Column, Feature, FeatureService, FeatureView
from featurelayer.online.definitions import fingerprint
from featurelayer.sql.plan import AsofJoin, Labels, Plan
from featurelayer.sql.planner import match_column
from featurelayer.sql.table_stats import last_label, relation_stats
from featurelayer.warehouse.base import Warehouse

FORMAT = 1


class LockedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The request. `labels` is a path or the name of a relation; None stands for a frame in memory."""

    service: str | None = None
    features: tuple[str, ...] = ()
    labels: str | None = None
    label_timestamp: str | None = None
    keys: dict[str, str] = {}
    csv_types: bool = False
    mode: str = "known_at"


class LockedColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A feature column: the view's feature, the type of its values, and its type in the warehouse.

    Earlier versions of featurelayer did not cast: without `warehouse_type` both are `type`.
    """

    feature: str
    type: str
    warehouse_type: str = ""

    @property
    def source_type(self) -> str:
        """The type of the column in the warehouse."""
        return self.warehouse_type or self.type


class LockedJoin(msgspec.Struct, frozen=True, kw_only=True):
    """A join of a view: request key by the view's column, and the resulting columns."""

    name: str
    view: str
    keys: dict[str, str]
    columns: dict[str, LockedColumn]


class LockedView(msgspec.Struct, frozen=True, kw_only=True):
    """A view when the set was built: its definition and the size of its relation. Times are UTC as text."""

    unique_id: str
    relation: str
    fingerprint: str
    definition: dict[str, Any]
    sql_checksum: str | None
    upstream_checksums: dict[str, str]
    rows: int
    rows_until_last_label: int
    newest_event: str | None
    newest_available: str | None
    newest_created: str | None


class LockedService(msgspec.Struct, frozen=True, kw_only=True):
    """The service that was joined, nameless if features were named instead."""

    name: str
    fingerprint: str
    features: tuple[str, ...]
    request_keys: dict[str, str]


class LockedLabels(msgspec.Struct, frozen=True, kw_only=True):
    """The labels: their origin, their columns, the time column and its newest time.

    `types` are the columns' types in the output, by name.
    """

    source: str
    rows: int
    columns: tuple[str, ...]
    timestamp: str | None
    newest: str | None
    types: dict[str, str] = {}


class LockedOutput(msgspec.Struct, frozen=True, kw_only=True):
    """The file of the rows. A CSV has no types, so it is identified by the sha256 of its bytes."""

    file: str
    sha256: str | None = None


class LockedPart(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a set that one build added: its labels, their name in the request, and the checksums of its rows.

    Definitions are those of the whole set, so its views record only sizes.
    """

    featurelayer_version: str
    created_at: str
    built_at: datetime
    engine: str
    labels: LockedLabels
    labels_at: str | None
    views: dict[str, LockedView]
    columns: dict[str, str]
    report: dict[str, Any]


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """A lock that was read; `path` is its file, if any.

    `parts` are the builds of a set that was appended to, in order; the other fields describe the newest. A part can be
    used as a lock: then `start` is its first row in the output, and `whole` the number of rows of the output.
    """

    featurelayer_version: str
    created_at: str
    built_at: datetime
    engine: str
    request: LockedRequest
    service: LockedService
    labels: LockedLabels
    joins: tuple[LockedJoin, ...]
    views: dict[str, LockedView]
    columns: dict[str, str]
    report: dict[str, Any]
    output: LockedOutput | None = None
    parts: tuple[LockedPart, ...] = ()
    path: Path | None = None
    start: int = 0
    whole: int | None = None

    @property
    def name(self) -> str:
        """The name of the lock in messages."""
        return self.path.name if self.path else "the lock"

    @property
    def output_rows(self) -> int:
        """The number of rows of the output."""
        return self.labels.rows if self.whole is None else self.whole

    def drop_time(self) -> Lock:
        """Return the lock without a label timestamp."""
        return msgspec.structs.replace(self, labels=msgspec.structs.replace(self.labels, timestamp=None))


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRecord:
    """The part of a lock that describes the inputs of a build."""

    built_at: datetime
    request: LockedRequest
    request_keys: Mapping[str, str]
    timestamp: str | None
    newest_label: str | None
    label_types: Mapping[str, str]
    joins: tuple[LockedJoin, ...]
    views: Mapping[str, LockedView]


def take_record(
    warehouse: Warehouse,
    plan: Plan,
    *,
    asked: LockedRequest,
    service: FeatureService,
    views: Mapping[str, FeatureView],
    checksums: Mapping[str, Mapping[str, str]],
    built_at: datetime,
) -> BuildRecord:
    """Return the record of a build whose labels are loaded; one small query per view counts its rows.

    `checksums` are dbt's, per view by unique id, the view's own first; `built_at` is the warehouse's time.
    """
    last = _query_last_label(warehouse, plan)
    measured = {join.view: join for join in plan.joins}
    return BuildRecord(
        built_at=built_at,
        request=asked,
        request_keys={key.name: str(key.dtype) for key in service.request_keys},
        timestamp=asked.label_timestamp or service.label_timestamp,
        newest_label=last,
        label_types=label_types(plan),
        joins=lock_joins(plan, service),
        views={
            name: lock_view(warehouse, views[name], join, checksums.get(views[name].unique_id, {}), last)
            for name, join in measured.items()
        },
    )


def label_types(plan: Plan) -> dict[str, str]:
    """Return the types of the label columns in the output."""
    assert isinstance(plan.spine, Labels), "a training set has labels"
    return {
        column.name: str(column.dtype) + (" (nanoseconds)" if column.nanoseconds else "")
        for column in plan.spine.columns
    }


def lock_joins(plan: Plan, service: FeatureService) -> tuple[LockedJoin, ...]:
    """Return a lock's entries of the joins of a plan."""
    joins = {join.name: join for join in plan.joins}
    return tuple(
        LockedJoin(
            name=joined.prefix,
            view=joined.view,
            keys=dict(joined.keys),
            columns={
                column.name: LockedColumn(
                    feature=feature, type=str(column.dtype), warehouse_type=str(column.stored.dtype)
                )
                for feature, column in zip(joined.features, joins[joined.prefix].features, strict=True)
            },
        )
        for joined in service.views
        if joined.features
    )


def _query_last_label(warehouse: Warehouse, plan: Plan) -> str | None:
    if getattr(plan.spine, "time", None) is None:
        return None
    (newest,) = warehouse.rows(last_label(warehouse.dialect))[0]
    return None if newest is None else str(newest)


def lock_view(
    warehouse: Warehouse, view: FeatureView, join: AsofJoin, checksums: Mapping[str, str], last: str | None
) -> LockedView:
    """Return a lock's entry of a view: its definition and the size of its relation now."""
    clocks = time_columns(view, join)
    rows, reached, *newest = warehouse.rows(
        relation_stats(warehouse.dialect, view.relation_name, tuple(clocks.values()), last=last)
    )[0]
    times = dict(zip(clocks, newest, strict=True))
    return msgspec.structs.replace(
        lock_definition(view, checksums),
        rows=rows,
        rows_until_last_label=reached,
        newest_event=times.get("event_time"),
        newest_available=times.get("available_at"),
        newest_created=times.get("created_timestamp"),
    )


def lock_definition(view: FeatureView, checksums: Mapping[str, str]) -> LockedView:
    """Return a lock's entry of a view's definition, without reading its rows."""
    definition = join_definition(view)
    return LockedView(
        unique_id=view.unique_id,
        relation=view.relation_name,
        fingerprint=fingerprint(definition),
        definition=definition,
        sql_checksum=checksums.get(view.unique_id),
        upstream_checksums={node: checksum for node, checksum in checksums.items() if node != view.unique_id},
        rows=0,
        rows_until_last_label=0,
        newest_event=None,
        newest_available=None,
        newest_created=None,
    )


def time_columns(view: FeatureView, join: AsofJoin) -> dict[str, Column]:
    """Return the view's time columns by role, the event time first; empty for a static view."""
    if join.event is None:
        return {}
    by_role = {"event_time": join.event}
    for role, name in (("available_at", view.available_at), ("created_timestamp", view.created_timestamp)):
        column = match_column(name, join.order) if name else None
        if column is not None and column.dtype.is_time:
            by_role[role] = column
    return by_role


def join_definition(view: FeatureView) -> dict[str, Any]:
    """Return everything that decides a label's row of a view and its values, as JSON values."""
    return {
        "keys": {key.column: f"{key.entity}.{key.key} {key.dtype}" for key in view.join_keys},
        "static": view.static,
        "event_time": view.event_time,
        "available_at": view.available_at,
        "delay": None if view.delay is None else format_duration(view.delay),
        "ttl": None if view.ttl is None else format_duration(view.ttl),
        "bound": view.bound,
        "valid_to": view.valid_to,
        "created_timestamp": view.created_timestamp,
        "tie_breaker": list(view.tie_breaker),
        "features": {feature.name: _feature_definition(feature) for feature in view.features},
    }


def _feature_definition(feature: Feature) -> dict[str, Any]:
    default = {"default": _to_json(feature.default)} if feature.has_default else {}
    return {"type": str(feature.dtype), **default}


def _to_json(value: Any) -> Any:
    plain = value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value))
    return value if plain else str(value)


# --- writing and reading --------------------------------------------------------------------------------------------


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a lock's content with a checksum, which detects edits."""
    bare = {name: value for name, value in content.items() if name != "seal"}
    text = json.dumps(bare, sort_keys=True, ensure_ascii=False)
    return {**bare, "seal": hashlib.sha256(text.encode()).hexdigest()}


def read_lock(source: str | Path | Mapping[str, Any]) -> Lock:
    """Return a lock from its file, or from the mapping that `TrainingSet.lock` is.

    Raises:
        LockError: it can't be read, is not a lock, was edited, or is of a format that this version does not know.
    """
    if isinstance(source, Mapping):
        return _parse_lock(json.loads(json.dumps(source)), None)
    path = Path(source)
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise _lock_error("there is no such lock", path, "pass the .lock.json of a training set") from None
    except OSError as error:
        raise _lock_error(f"the lock can't be read: {error.strerror or error}", path, "check the file") from error
    except (ValueError, RecursionError) as error:
        raise _lock_error(
            f"the lock is not JSON: {error}", path, "restore it, or build the training set again"
        ) from error
    return _parse_lock(document, path)


def _parse_lock(document: Any, path: Path | None) -> Lock:
    again = "build the training set again: featurelayer build-training-set"
    if not isinstance(document, dict) or not {"format", "columns", "sql_sha256"} <= document.keys():
        raise _lock_error("this is not the lock of a training set", path, "pass the .lock.json of a training set")
    if document["format"] != FORMAT:
        what = f"the lock has format {document['format']}, this version of featurelayer reads {FORMAT}"
        raise _lock_error(what, path, "install the featurelayer that wrote it, or a newer one")
    if "seal" not in document:
        raise _lock_error("the lock is of an earlier featurelayer and does not say what a rebuild needs", path, again)
    if seal(document)["seal"] != document["seal"]:
        raise _lock_error(
            "the lock was changed after it was written, so it proves nothing", path, f"restore it, or {again}"
        )
    try:
        lock = msgspec.convert({**document, "path": None, "start": 0, "whole": None}, Lock)
    except msgspec.ValidationError as error:
        raise _lock_error(f"the lock has an unexpected shape: {error}", path, again) from error
    return msgspec.structs.replace(lock, path=path)


def _lock_error(what: str, path: Path | None, fix: str) -> LockError:
    return LockError([Problem(what=what, where=str(path) if path else "", fix=fix)])
