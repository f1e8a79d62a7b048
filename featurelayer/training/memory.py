"""Estimate the memory that the joins of a training set work in, to bound the cache of an engine in this process.

An engine that reads a table once gains nothing from keeping it, and new memory costs more than memory used again. What
counts is that the joins themselves never have to spill, so the estimate is generous.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from featurelayer.model import DType, Kind
from featurelayer.sql.plan import AsofJoin, LabelColumn, Labels, Plan

_BYTES = {Kind.DECIMAL: 16, Kind.UUID: 16, Kind.INTERVAL: 16, Kind.TEXT: 1024}
_KEY_TEXT = 64
# What an array, a document or bytes take can't be told from their type.
_UNKNOWN = {Kind.ARRAY, Kind.STRUCT, Kind.MAP, Kind.JSON, Kind.BYTES, Kind.UNKNOWN}
_ROW = 16
# What decides a match is held about three times while it is partitioned, sorted and joined; where what a label may see
# has first to be worked out over the view's rows, twice that.
_COPIES = 3
# A sample tells the share of the rows that have a label's key; where few have, it may be off by so much.
_SAMPLE_ERROR = 0.01


def working_memory(plan: Plan, labels: int, rows: Mapping[str, int], shares: Sequence[float]) -> int | None:
    """Return how many bytes the joins of a plan need, without what is read; None if that can't be told.

    `labels` is the number of labels, `rows` that of each view by id, and `shares` says join by join which share of the
    view's rows has a key of the labels.
    """
    assert isinstance(plan.spine, Labels), "a training set has labels"
    if any(feature.dtype.kind in _UNKNOWN for join in plan.joins for feature in join.features):
        return None
    results = [labels * _row_bytes(feature.dtype for feature in join.features) for join in plan.joins]
    spine = labels * _row_bytes(_types(plan.spine.spine_columns))
    matches = (
        _COPIES
        * (labels + int(_count_copies(join) * rows[join.view] * min(share + _SAMPLE_ERROR, 1)))
        * _key_bytes(join)
        for join, share in zip(plan.joins, shares, strict=True)
    )
    # The largest result once more: while it is written, the match that it is fetched by is still in memory.
    return spine + sum(results) + max(results, default=0) + max(matches, default=0)


def _count_copies(join: AsofJoin) -> int:
    return 1 if join.available is None and join.ledger is None else 2


def _key_bytes(join: AsofJoin) -> int:
    """Bytes of what a view's row is matched by."""
    columns = (*(column for column, _ in join.keys), join.event, join.available, join.valid_to, *join.order)
    return _ROW + sum(
        _KEY_TEXT if column.dtype.kind is Kind.TEXT else _type_bytes(column.dtype) for column in columns if column
    )


def _types(columns: Iterable[LabelColumn]) -> Iterable[DType]:
    return (column.dtype for column in columns)


def _row_bytes(types: Iterable[DType]) -> int:
    return _ROW + sum(map(_type_bytes, types))


def _type_bytes(dtype: DType) -> int:
    return _BYTES.get(dtype.kind, max(8, (dtype.bits or 64) // 8))
