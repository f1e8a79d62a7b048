"""Estimate the working memory of a training set's joins, to limit the cache of an engine in this process.

An engine that reads a table once gains nothing from caching it, and new memory costs more than reused memory. The joins
themselves must never spill, so the estimate is generous.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from featurelayer.model import DType, Kind
from featurelayer.sql.plan import AsofJoin, LabelColumn, Labels, Plan

_BYTES = {Kind.DECIMAL: 16, Kind.UUID: 16, Kind.INTERVAL: 16, Kind.TEXT: 1024}
_KEY_TEXT = 64
# The size of an array, a document or bytes does not follow from the type.
_UNKNOWN = {Kind.ARRAY, Kind.STRUCT, Kind.MAP, Kind.JSON, Kind.BYTES, Kind.UNKNOWN}
_ROW = 16
# The columns that decide a match are held about three times while they are partitioned, sorted and joined; twice that
# if the visible time must first be computed over the view's rows.
_COPIES = 3
# A sample estimates the share of rows with a label's key; a small share may be off by this factor.
_SAMPLE_ERROR = 0.01


def working_memory(plan: Plan, labels: int, rows: Mapping[str, int], shares: Sequence[float]) -> int | None:
    """Return how many bytes the joins of a plan need, without the tables read; None if unknown.

    `labels` is the number of labels, `rows` that of each view by id, and `shares` by join the share of the view's rows
    that have a key of the labels.
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
    # The largest result again: while it is written, its match is still in memory.
    return spine + sum(results) + max(results, default=0) + max(matches, default=0)


def _count_copies(join: AsofJoin) -> int:
    return 1 if join.available is None and join.ledger is None else 2


def _key_bytes(join: AsofJoin) -> int:
    """Return the bytes of the columns that match a view's row."""
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
