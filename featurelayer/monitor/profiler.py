"""Measure the features of a view in the warehouse: statistics of every feature per slot of rows."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from featurelayer.model import Column, Feature, FeatureView, Kind
from featurelayer.monitor.statistics import ColumnStats
from featurelayer.sql.planner import match_column
from featurelayer.sql.profile import (
    QUANTILES,
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
"""Quantiles and histograms of slots with many more rows are of a sample of about this size."""
TOP = 50
"""The number of text values that are counted one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureFrame:
    """Rows, and the column of each feature in them; features without a column are left out."""

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
    """Return the frame of a view's features in its relation, for these rows."""
    matches = {feature.name: match_column(feature.name, columns) for feature in features}
    chosen = [name for key in view.join_keys if (name := match_column(key.column, columns)) is not None]
    if rows.time is not None:
        chosen.append(rows.time)
    return FeatureFrame(
        rows=replace(rows, chosen_by=tuple(column.name for column in chosen)),
        columns={name: column for name, column in matches.items() if column is not None},
    )


def find_bins(warehouse: Warehouse, frame: FeatureFrame, bins: int) -> dict[str, Bins]:
    """Return the bins of every feature with numbers, each with about as many rows.

    Frequent values make bins of their own, so there can be fewer. Times have no bins: they always move on.
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
    """Return the statistics of every feature, slot by slot, with histograms over `bins`.

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
    results = _run_queries(warehouse, measurements(engine, frame.rows, ask, moments=True, shape=at_once), frame.slots)
    shapes = dict(enumerate(results)) if at_once else {}
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
                        **results[slot].outputs[column.column.name],
                        **shapes.get(slot, _Answer()).outputs[column.column.name],
                    },
                    rows=results[slot].rows,
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
    """Count the rows of each slot; the query returns no row for an empty slot."""
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


def stats_from_measures(
    measured: Mapping[Measure, Any],
    *,
    rows: int,
    shape_rows: int,
    centre: float,
    edges: tuple[float, ...],
    is_numeric: bool,
) -> ColumnStats:
    """Return what the outputs of a profile's query say of one column."""
    values = int(measured.get(Measure.VALUES) or 0)
    edges = edges if Measure.BINS in measured else ()
    quantiles = _list(measured.get(Measure.QUANTILES))
    counts = tuple(int(count) for count in _list(measured.get(Measure.BINS)))
    # DuckDB leaves the last bin out where nothing is beyond the last edge, and all where there is no value.
    counts += (0,) * (len(edges) + 1 - len(counts)) if edges else ()
    return ColumnStats(
        rows=rows,
        values=values,
        numbers=int(measured.get(Measure.NUMBERS, values if is_numeric else 0) or 0),
        distinct=_whole(measured.get(Measure.DISTINCT), values),
        defaults=_whole(measured.get(Measure.DEFAULTS)),
        out_of_range=_whole(measured.get(Measure.OUT_OF_RANGE)),
        minimum=_number(measured.get(Measure.MINIMUM)),
        maximum=_number(measured.get(Measure.MAXIMUM)),
        total=float(measured.get(Measure.SUM) or 0.0),
        squares=float(measured.get(Measure.SQUARES) or 0.0),
        centre=centre,
        shape_rows=shape_rows,
        quantiles=tuple(
            (share, float(value)) for share, value in zip(QUANTILES, quantiles, strict=False) if value is not None
        ),
        edges=edges,
        counts=counts,
        is_float=Measure.NUMBERS in measured,
    )


def _list(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    values: Sequence[Any] = json.loads(value) if isinstance(value, str) else list(value)
    return values


def _whole(value: Any, most: int | None = None) -> int | None:
    if value is None:
        return None
    return int(value) if most is None else min(int(value), most)


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(float(value)) else float(value)
