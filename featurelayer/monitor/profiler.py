"""Measures the features of a view in the warehouse: per slot of rows what was seen of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from featurelayer.model import Column, Feature, FeatureView, Kind
from featurelayer.monitor.statistics import ColumnStats, stats_from_measures
from featurelayer.sql.planner import match_column
from featurelayer.sql.profile import (
    Measure,
    MeasuredColumn,
    Measurement,
    RowSource,
    Slot,
    edge_quantiles,
    measurements,
    slot_counts,
    top_values,
)
from featurelayer.warehouse.base import Warehouse

SHAPE_ROWS = 20_000
"""Of slots with many more rows, quantiles and histograms are of about so many."""
TOP = 50
"""How many values of a text are counted one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureFrame:
    """Rows with features in them: which column each feature is (a feature that they lack is left out)."""

    rows: RowSource
    columns: Mapping[str, Column]

    @property
    def slots(self) -> int:
        return max(1, len(self.rows.slots))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """The bins of a feature's histogram, and a number near its mean."""

    edges: tuple[float, ...] = ()
    centre: float = 0.0


def build_frame(
    view: FeatureView, features: Sequence[Feature], columns: Sequence[Column], rows: RowSource
) -> FeatureFrame:
    """Return the features of a view as they are in its relation; `rows` says which."""
    found = {feature.name: match_column(feature.name, columns) for feature in features}
    chosen = [name for key in view.join_keys if (name := match_column(key.column, columns)) is not None]
    if rows.time is not None:
        chosen.append(rows.time)
    return FeatureFrame(
        rows=replace(rows, chosen_by=tuple(column.name for column in chosen)),
        columns={name: column for name, column in found.items() if column is not None},
    )


def find_bins(warehouse: Warehouse, frame: FeatureFrame, bins: int) -> dict[str, Bins]:
    """Return the bins of every feature with numbers: about as many of these rows lie in each.

    Values that come often make bins of their own, so there can be fewer. Times have none: they move on by nature.
    """
    if not any(MeasuredColumn(column=column).has_bins for column in frame.columns.values()):
        return {}
    if frame.rows.slots:
        whole = Slot(ranges=tuple(each for slot in frame.rows.slots for each in slot.ranges))
        frame = replace(frame, rows=replace(frame.rows, slots=(whole,)))
    rows = sum(_count_rows(warehouse, frame))
    rows_of = _sample_rows(frame, rows)
    columns = [MeasuredColumn(column=column) for column in frame.columns.values()]
    found: dict[str, Bins] = {}
    names = {column.name: feature for feature, column in frame.columns.items()}
    for query in edge_quantiles(warehouse.dialect, rows_of, columns, bins):
        for _, _, *values in warehouse.rows(query.sql):
            for (column, _), value in zip(query.outputs, values, strict=True):
                edges = tuple(dict.fromkeys(float(edge) for edge in value or () if edge is not None))
                if edges:
                    centre = edges[len(edges) // 2]
                    timed = frame.columns[names[column]].dtype.is_time
                    found[names[column]] = Bins(edges=() if timed else tuple(sorted(edges)), centre=centre)
    return found


def measure_features(
    warehouse: Warehouse,
    frame: FeatureFrame,
    features: Mapping[str, Feature],
    bins: Mapping[str, Bins],
    shaped: Sequence[int] | None = None,
) -> list[dict[str, ColumnStats]]:
    """Return, slot by slot, what was seen of every feature; the bins are those of `bins`.

    Only the slots `shaped` (all by default) get quantiles and a histogram, which cost most.
    """
    columns = {
        name: _build_measured(column, features.get(name), bins.get(name)) for name, column in frame.columns.items()
    }
    counts = _count_rows(warehouse, frame)
    if not columns:
        return [{} for _ in counts]
    wanted = range(frame.slots) if shaped is None else sorted(set(shaped))
    sampled = _sample_rows(frame, max((counts[slot] for slot in wanted), default=0))
    ask = list(columns.values())
    engine = warehouse.dialect
    at_once = sampled.one_in == 1 and len(wanted) == frame.slots
    found = _run_queries(warehouse, measurements(engine, frame.rows, ask, moments=True, shape=at_once), frame.slots)
    shapes = dict(enumerate(found)) if at_once else {}
    if not at_once and wanted:
        rows = replace(sampled, slots=tuple(frame.rows.slots[slot] for slot in wanted) if frame.rows.slots else ())
        answers = _run_queries(warehouse, measurements(engine, rows, ask, moments=False, shape=True), len(wanted))
        shapes = dict(zip(wanted, answers, strict=True))
    tops = {name: _count_top_values(warehouse, frame, column) for name, column in columns.items() if column.is_text}
    return [
        {
            name: replace(
                stats_from_measures(
                    {
                        **found[slot].outputs[column.column.name],
                        **shapes.get(slot, _Answer()).outputs[column.column.name],
                    },
                    rows=found[slot].rows,
                    shape_rows=shapes.get(slot, _Answer()).rows,
                    centre=column.centre,
                    edges=column.edges,
                    is_numeric=column.is_numeric,
                ),
                top=tuple(tops.get(name, {}).get(slot, ())),
            )
            for name, column in columns.items()
        }
        for slot in range(frame.slots)
    ]


@dataclass(slots=True)
class _Answer:
    rows: int = 0
    outputs: dict[str, dict[Measure, Any]] = field(default_factory=lambda: defaultdict(dict))


def _build_measured(column: Column, feature: Feature | None, bins: Bins | None) -> MeasuredColumn:
    bins = bins or Bins()
    default = feature.default if feature is not None and feature.has_default else None
    return MeasuredColumn(
        column=column,
        edges=bins.edges,
        centre=bins.centre,
        default=default if column.dtype.kind is not Kind.ARRAY else None,
        range=feature.range if feature is not None and column.dtype.is_numeric else None,
    )


def _count_rows(warehouse: Warehouse, frame: FeatureFrame) -> list[int]:
    """How many rows each slot has; slots without rows are not in the answer."""
    counts = [0] * frame.slots
    for slot, rows in warehouse.rows(slot_counts(warehouse.dialect, frame.rows)):
        counts[int(slot)] = int(rows)
    return counts


def _sample_rows(frame: FeatureFrame, rows: int) -> RowSource:
    one_in = rows // SHAPE_ROWS
    return replace(frame.rows, one_in=one_in) if one_in > 1 and frame.rows.chosen_by else frame.rows


def _run_queries(warehouse: Warehouse, queries: Any, slots: int) -> list[_Answer]:
    answers = [_Answer() for _ in range(slots)]
    query: Measurement
    for query in queries:
        for slot, rows, *values in warehouse.rows(query.sql):
            answer = answers[int(slot)]
            answer.rows = int(rows)
            for (column, measure_), value in zip(query.outputs, values, strict=True):
                answer.outputs[column][measure_] = value
    return answers


def _count_top_values(
    warehouse: Warehouse, frame: FeatureFrame, measured: MeasuredColumn
) -> dict[int, list[tuple[str, int]]]:
    found: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for slot, value, count in warehouse.rows(top_values(warehouse.dialect, frame.rows, measured.column, TOP)):
        found[int(slot)].append((str(value), int(count)))
    return found
