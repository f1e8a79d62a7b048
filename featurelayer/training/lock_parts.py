"""The parts of a set that was appended to: the labels and checksums of each build, kept in one lock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
import pyarrow as pa

from featurelayer.errors import LabelError, Problem
from featurelayer.training.lock import Lock, LockedPart, LockedView
from featurelayer.training.mismatch_reasons import ColumnDifference, Reason, Reproduction

_EXAMPLES = 5
_COUNTS = ("matched", "missing", "expired", "ties")
_SHARES = ("null", "missing", "expired", "default")
T = TypeVar("T")


def lock_part(lock: Lock) -> LockedPart:
    """Return the build of a lock as a part: the fields that the lock of the whole set lacks."""
    return LockedPart(
        featurelayer_version=lock.featurelayer_version,
        created_at=lock.created_at,
        built_at=lock.built_at,
        engine=lock.engine,
        labels=lock.labels,
        labels_at=lock.request.labels,
        views={
            name: msgspec.structs.replace(view, definition={}, upstream_checksums={})
            for name, view in lock.views.items()
        },
        columns=lock.columns,
        report={name: lock.report[name] for name in ("views", "features")},
    )


def split_lock(lock: Lock) -> tuple[Lock, ...]:
    """Return the locks of a set's parts, in order; a set that was never appended to is its only part."""
    if not lock.parts:
        return (lock,)
    starts, parts = 0, []
    for part in lock.parts:
        parts.append(
            msgspec.structs.replace(
                lock,
                featurelayer_version=part.featurelayer_version,
                created_at=part.created_at,
                built_at=part.built_at,
                engine=part.engine,
                request=msgspec.structs.replace(lock.request, labels=part.labels_at),
                labels=part.labels,
                views={name: _fill_definition(view, lock.views[name]) for name, view in part.views.items()},
                columns=part.columns,
                report=part.report,
                parts=(),
                start=starts,
                whole=lock.labels.rows,
            )
        )
        starts += part.labels.rows
    return tuple(parts)


def _fill_definition(view: LockedView, whole: LockedView) -> LockedView:
    return msgspec.structs.replace(view, definition=whole.definition, upstream_checksums=whole.upstream_checksums)


def split_labels(lock: Lock, labels: Any) -> tuple[Any, ...]:
    """Split the labels of the whole set, a parquet file or a frame, into those of its parts.

    Raises:
        LabelError: the labels can't be split, or their number differs.
    """
    import pyarrow.parquet as pq

    parts = split_lock(lock)
    if len(parts) == 1:
        return (labels,)
    table = labels
    if not isinstance(labels, pa.Table):
        if str(labels).lower().endswith(".parquet"):
            table = pq.read_table(labels)
        else:
            what = f"{lock.name} was appended to, and these labels can't be cut into its {len(parts)} parts"
            fix = (
                "give a parquet file or a frame of all labels in order; or no --labels, if each part's are still there"
            )
            raise LabelError([Problem(what=what, where=str(labels), fix=fix)])
    if table.num_rows != lock.labels.rows:
        what = (
            f"the labels are not those of {lock.name}: {lock.labels.rows:,} rows at its builds, {table.num_rows:,} now"
        )
        raise LabelError([Problem(what=what, fix="give the labels of all builds, in order")])
    return tuple(table.slice(part.start, part.labels.rows) for part in parts)


def merge_reports(parts: Sequence[LockedPart], newest: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the reports of all parts: counts are added up, shares are of all rows, ages are unknown."""
    rows = sum(part.labels.rows for part in parts)

    def total(view: str, count: str) -> int:
        return sum(_find_by_name(part.report["views"], view)[count] for part in parts)

    def share(feature: str, what: str) -> float:
        counted = sum(_find_by_name(part.report["features"], feature)[what] * part.labels.rows for part in parts)
        return counted / rows if rows else 0.0

    views = [
        {**view, **{count: total(view["name"], count) for count in _COUNTS}, "age": None} for view in newest["views"]
    ]
    features = [
        {"name": feature["name"], **{what: share(feature["name"], what) for what in _SHARES}}
        for feature in newest["features"]
    ]
    return {**newest, "rows": rows, "views": views, "features": features}


def merge_reproductions(lock: Lock, parts: Sequence[Lock], found: Sequence[Reproduction]) -> Reproduction:
    """Merge the reproductions of all parts; rows are counted from the first row of the first part."""
    if len(found) == 1:
        return found[0]
    differing = {column.name for one in found for column in one.differences}
    joins = {join.name: join for one in found for join in one.joins}
    return Reproduction(
        lock=lock.name,
        rows=lock.labels.rows,
        columns=len(lock.columns),
        differences=tuple(_merge_column(name, parts, found) for name in lock.columns if name in differing),
        joins=tuple(replace(join, reasons=_unique(_join_reasons(name, found))) for name, join in joins.items()),
        reasons=_unique(reason for one in found for reason in one.reasons),
        notes=_unique(note for one in found for note in one.notes),
    )


def _merge_column(name: str, parts: Sequence[Lock], found: Sequence[Reproduction]) -> ColumnDifference:
    pieces = [
        (part.start, column)
        for part, one in zip(parts, found, strict=True)
        for column in one.differences
        if column.name == name
    ]
    counts = [column.rows for _, column in pieces]
    known = [count for count in counts if count is not None]
    examples = [start + row for start, column in pieces for row in column.examples]
    return replace(
        pieces[0][1],
        rows=sum(known) if len(known) == len(counts) else None,
        examples=tuple(examples[:_EXAMPLES]),
        unknown=next((column.unknown for _, column in pieces if column.unknown), ""),
    )


def _join_reasons(join: str, found: Sequence[Reproduction]) -> Iterator[Reason]:
    return (reason for one in found for other in one.joins if other.name == join for reason in other.reasons)


def _unique(things: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(things))


def _find_by_name(things: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    return next(thing for thing in things if thing["name"] == name)
