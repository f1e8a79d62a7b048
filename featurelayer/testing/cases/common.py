"""Builders of cases: one view `v` keyed by `k`, a handful of times around noon, labels with a time `t`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from featurelayer.errors import FeatureLayerError
from featurelayer.model import FeatureService, FeatureView
from featurelayer.testing.builders import Join, make_service, make_table, make_view
from featurelayer.testing.case import Case
from featurelayer.testing.oracle import Run

NOON = datetime(2024, 3, 9, 12)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
CLOCKS = {"e": "timestamp", "a": "timestamp", "c": "timestamp", "until": "timestamp", "x": "int64"}

Rows = Sequence[Mapping[str, Any]]


def one_view(
    name: str,
    why: str,
    *,
    rows: Rows | pa.Table,
    labels: pa.Table | Sequence[Any],
    expected: Sequence[Any] | Mapping[str, Sequence[Any]] | None = None,
    keys: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    features: Sequence[str] = ("x",),
    view: str = "v",
    mode: str = "known_at",
    zone: str = "UTC",
    exports: Sequence[Run] = (),
    needs: Collection[str] = (),
    error: type[FeatureLayerError] | None = None,
    says: Sequence[str] = (),
    **annotations: Any,
) -> Case:
    """Return a case of one view.

    A row without a key has key `a`; `labels` that are no table are the times of labels with key `a`; `expected` that is
    no mapping is the column of the first feature.
    """
    fields: dict[str, Any] = {"event_time": "e", "online": True} | annotations
    found = make_view(
        view,
        keys or {"k": "text"},
        CLOCKS if columns is None else columns,
        features,
        **fields,
    )
    if isinstance(expected, Sequence):
        expected = {f"{found.prefix}__{features[0]}": expected}
    return Case(
        name=name,
        why=why,
        views=(found,),
        rows={found.id: rows if isinstance(rows, pa.Table) else table_of(found, rows)},
        labels=labels if isinstance(labels, pa.Table) else label_times(labels),
        service=make_service((found, None, None)),
        mode=mode,
        zone=zone,
        exports={found.id: exports},
        features=expected,
        error=error,
        messages=tuple(says),
        needs=frozenset(needs),
    )


def several_views(
    name: str,
    why: str,
    *,
    joins: Sequence[Join],
    rows: Mapping[str, Rows],
    labels: pa.Table,
    expected: Mapping[str, Sequence[Any]] | None = None,
    **options: Any,
) -> Case:
    """Return a case of several joins; `rows` are by view name."""
    views: dict[str, FeatureView] = {view.id: view for view, _, _ in joins}
    service: FeatureService = make_service(*joins)
    tables = {view.id: table_of(view, rows[view.name]) for view in views.values()}
    return Case(
        name=name,
        why=why,
        views=tuple(views.values()),
        rows=tables,
        labels=labels,
        service=service,
        features=expected,
        **options,
    )


def table_of(view: FeatureView, rows: Rows) -> pa.Table:
    """Return rows as the view's table; a row that does not name a text key `k` has key `a`."""
    names = [key.column for key in view.join_keys]
    return make_table(view.columns, [({"k": "a"} | dict(row) if names == ["k"] else row) for row in rows])


def label_times(times: Sequence[Any]) -> pa.Table:
    """Return labels of key `a` at these times."""
    return pa.table({"k": pa.array(["a"] * len(times), pa.string()), "t": stamps(times)})


def stamps(times: Sequence[datetime | None], zone: str | None = None) -> pa.Array:
    """Return naive UTC times as a column, aware ones if a zone is given."""
    naive = pa.array(times, pa.timestamp("us"))
    return naive.cast(pa.timestamp("us", zone)) if zone else naive
