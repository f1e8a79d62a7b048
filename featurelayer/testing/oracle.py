"""The point-in-time rules in plain Python, slow and obviously right: what every engine must equal.

The numbers are those of docs/contract.md. Rows are mappings of column to value; nothing here knows SQL or Arrow.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from featurelayer.model import FeatureService, FeatureView

Row = Mapping[str, Any]
Run = tuple[datetime | None, datetime]
"""An export: when it had finished (None: never), and the time T that its snapshot was taken at."""


def training_set(
    labels: Sequence[Row],
    service: FeatureService,
    views: Mapping[str, FeatureView],
    rows: Mapping[str, Sequence[Row]],
    *,
    mode: str = "known_at",
    exports: Mapping[str, Sequence[Run]] | None = None,
) -> list[dict[str, Any]]:
    """Return every label once, in order, untouched, then its features (rules 6 and 7).

    `rows` and `exports` are by view id. The runs of a view stand in the order in which they began to write, which is
    what decides between them: a run that finishes late does not undo a newer one. Only `as_served` asks for them.
    """
    result = []
    for label in labels:
        out = dict(label)
        at = utc(label[service.label_timestamp]) if service.label_timestamp else None
        for join in service.views:
            view = views[join.view]
            key = {column: label[request] for column, request in join.keys}
            seen = knowledge_time(at, mode, (exports or {}).get(view.id, ()))
            winner = drop_expired(view, newest(view, rows[view.id], key, seen, mode=mode), at)
            for name in join.features:
                out[join.column(name)] = value_of(view, name, winner, at)
        result.append(out)
    return result


def snapshot(
    view: FeatureView, rows: Sequence[Row], as_of: datetime, *, mode: str = "known_at"
) -> dict[tuple[Any, ...], Row]:
    """Return the row that each entity has at a time, by its key. It may be too old: readers decide that later."""
    names = [key.column for key in view.join_keys]
    entities = dict.fromkeys(tuple(row[name] for name in names) for row in rows)
    winners = {key: newest(view, rows, dict(zip(names, key, strict=True)), utc(as_of), mode=mode) for key in entities}
    return {key: winner for key, winner in winners.items() if winner is not None}


def knowledge_time(at: datetime | None, mode: str, runs: Sequence[Run]) -> datetime | None:
    """The time whose knowledge a label gets: its own; as served, the T of the newest run that had finished by then."""
    if mode != "as_served" or at is None:
        return at
    finished = [as_of for done, as_of in runs if done is not None and naive_utc(done) <= at]
    return utc(finished[-1]) if finished else None


def newest(view: FeatureView, rows: Sequence[Row], key: Row, at: datetime | None, *, mode: str) -> Row | None:
    """The row of this key that wins at this time, expired or not, or None."""
    mine = [row for row in rows if may_see(view, row, key, at, mode)]
    assert not view.static or len(mine) < 2, "rule 9"
    return max(mine, key=lambda row: rank(view, row), default=None)


def may_see(view: FeatureView, row: Row, key: Row, at: datetime | None, mode: str) -> bool:
    """Rule 5: every part of the key equal, NULL equal to nothing; then rule 1, or rule 9 for a static view."""
    if any(part is None or row[column] != part for column, part in key.items()):
        return False
    if view.static:
        return at is not None or mode != "as_served"
    return at is not None and is_visible(view, row, at, mode)


def is_visible(view: FeatureView, row: Row, at: datetime, mode: str) -> bool:
    """Rule 1."""
    event = utc(row[view.event_time or ""])
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


def drop_expired(view: FeatureView, winner: Row | None, at: datetime | None) -> Row | None:
    """Rule 2: a winner that is too old at the label's time is as good as none; nothing takes its place."""
    if winner is None or view.ttl is None or at is None:
        return winner
    return None if naive_utc(winner[view.event_time or ""]) < at - view.ttl else winner


def value_of(view: FeatureView, name: str, winner: Row | None, at: datetime | None) -> Any:
    """Rules 4 and 5: the winning row's value, NULL if it had ended, the default only where there is no row."""
    feature = view.feature(name)
    assert feature is not None, name
    if winner is None:
        return feature.default if feature.has_default else None
    until = utc(winner[view.valid_to]) if view.valid_to is not None else None
    return None if until is not None and at is not None and until <= at else winner[name]


def rank(view: FeatureView, row: Row) -> tuple[Any, ...]:
    """Rule 3: event, created, available, declared tie-breakers, then the content; NULL is lowest."""
    times = [view.event_time, view.created_timestamp, view.available_at]
    declared = [*(name for name in times if name is not None), *view.tie_breaker]
    return tuple(comparable(row[name]) for name in [*declared, *(name for name, _ in view.columns)])


def comparable(value: Any) -> tuple[Any, ...]:
    """A key that orders any column as rule 3 says: NULL, then values; text by bytes, NaN greatest, nested as JSON."""
    if value is None:
        return (0,)
    if isinstance(value, float):
        return (1, math.isnan(value), 0.0 if math.isnan(value) else value, math.copysign(1, value))
    if isinstance(value, str):
        return (1, value.encode())
    if isinstance(value, list | dict):
        return (1, json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode())
    if isinstance(value, date):
        return (1, utc(value))
    return (1, value)


def utc(moment: Any) -> datetime | None:
    """Rule 8: naive means UTC, aware is converted, a date is its midnight."""
    return None if moment is None else naive_utc(moment)


def naive_utc(moment: date) -> datetime:
    """Rule 8, for a moment that is not NULL."""
    if not isinstance(moment, datetime):
        return datetime(moment.year, moment.month, moment.day)
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
