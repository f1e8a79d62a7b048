"""Point-in-time rules in plain Python, one line per rule, slow and obviously right: what every SQL form must equal."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from featurelayer.model import FeatureService, FeatureView

Row = Mapping[str, Any]
MICROSECOND = timedelta(microseconds=1)


def utc(moment: Any) -> datetime | None:
    """Rule 8: naive means UTC, aware is converted, a date is its midnight."""
    if moment is None or (isinstance(moment, datetime) and moment.tzinfo is None):
        return moment
    if isinstance(moment, datetime):
        return moment.astimezone(UTC).replace(tzinfo=None)
    assert isinstance(moment, date)
    return datetime(moment.year, moment.month, moment.day)


def training_set(
    labels: Sequence[Row],
    service: FeatureService,
    views: Mapping[str, FeatureView],
    rows: Mapping[str, Sequence[Row]],
    *,
    mode: str = "known_at",
) -> list[dict[str, Any]]:
    """Return every label once, in order, with its features (rule 6)."""
    assert service.label_timestamp is not None
    result = []
    for label in labels:
        out = dict(label)
        at = utc(label[service.label_timestamp])
        for join in service.views:
            view = views[join.view]
            key = {column: label[request] for column, request in join.keys}
            winner = newest(view, rows[view.id], key, at, mode=mode)
            for name in join.features:
                out[join.column(name)] = value_of(view, name, winner, at)
        result.append(out)
    return result


def value_of(view: FeatureView, name: str, winner: Row | None, at: datetime | None) -> Any:
    """Rules 4 and 5: the winning row's value, NULL if it had ended, the default only where there is no row."""
    feature = view.feature(name)
    assert feature is not None
    if winner is None:
        return feature.default if feature.has_default else None
    ended = view.valid_to is not None and winner[view.valid_to] is not None and utc(winner[view.valid_to]) <= at
    return None if ended else winner[name]


def newest(
    view: FeatureView, rows: Sequence[Row], key: Row, at: datetime | None, *, mode: str = "known_at", ttl: bool = True
) -> Row | None:
    """Return the row that a label with this key and time gets, or None."""
    if any(part is None for part in key.values()):
        return None
    mine = [row for row in rows if all(row[column] == part for column, part in key.items())]
    if view.static:
        assert len(mine) < 2, "rule 9"
        return mine[0] if mine else None
    visible = [row for row in mine if at is not None and is_visible(view, row, at, mode)]
    if not visible:
        return None
    winner = max(visible, key=lambda row: rank(view, row))
    expired = ttl and view.ttl is not None and utc(winner[view.event_time]) < at - view.ttl
    return None if expired else winner


def is_visible(view: FeatureView, row: Row, at: datetime, mode: str) -> bool:
    """Rule 1."""
    event = utc(row[view.event_time])
    if event is None:
        return False
    if (event >= at) if view.bound == "exclusive" else (event > at):
        return False
    if mode == "event_time":
        return True
    if view.available_at is not None:
        available = utc(row[view.available_at])
        return available is not None and available <= at
    return event + (view.delay or timedelta(0)) <= at


def rank(view: FeatureView, row: Row) -> tuple[Any, ...]:
    """Rule 3: event, created, available, declared tie-breakers, then the content; NULL is lowest."""
    times = [view.event_time, view.created_timestamp, view.available_at]
    declared = [*(name for name in times if name is not None), *view.tie_breaker]
    return tuple(comparable(row[name]) for name in [*declared, *(name for name, _ in view.columns)])


def comparable(value: Any) -> tuple[Any, ...]:
    """A key that orders any column as rule 3 says: NULL, then values; text by bytes, NaN greatest, lists as JSON."""
    if value is None:
        return (0,)
    if isinstance(value, float):
        return (1, math.isnan(value), 0.0 if math.isnan(value) else value, math.copysign(1, value))
    if isinstance(value, str):
        return (1, value.encode())
    if isinstance(value, list):
        return (1, json.dumps(value).encode())
    if isinstance(value, date):
        return (1, utc(value))
    return (1, value)
