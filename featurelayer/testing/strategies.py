"""Random worlds for hypothesis: small, and full of ties, NULLs and edges.

Times are a handful of microseconds around one moment, on which clocks in New York go forward, so that every example has
equal times, edges and near misses. Needs hypothesis: `pip install hypothesis`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from featurelayer.model import DType, FeatureView, Kind
from featurelayer.testing.builders import Join, make_service, make_table, make_view, rows_of
from featurelayer.testing.case import Case
from featurelayer.testing.oracle import Run

START = datetime(2024, 3, 10, 6, 59, 59, 999_998)
"""The earliest of the moments; days begin this long before."""

_DAY = date(2024, 3, 10)
_SINCE_MIDNIGHT = START - datetime(2024, 3, 10)
_LAST = 6
_BIG = 2**53
_TYPES = {
    "x": "float64",
    "y": "text",
    "z": "array<int64>",
    "w": "array<text>",
    "d": "decimal(30,10)",
    "b": "int64",
    "flag": "bool",
    "day": "date",
    "raw": "bytes",
    "s": "struct<n:int64,w:text>",
}
_DEFAULTS: Mapping[str, Any] = {"x": -1.0, "y": "none", "z": [7], "b": _BIG + 1, "d": Decimal("0.5"), "flag": True}
_NESTED = {"s"}

micros = st.integers(0, _LAST)
moments = micros.map(lambda count: START + timedelta(microseconds=count))
days = st.sampled_from([_DAY - timedelta(days=1), _DAY, _DAY + timedelta(days=1)])
ids = st.sampled_from(["a", "ab", "b", ""])
parts = st.sampled_from([1, 2, 11])
words = st.sampled_from(["", "a", "Z", "é", "e\u0301", "\uff5e", "\U0001f600", "a, b", "'", '"', "NULL"])


def values(dtype: DType) -> st.SearchStrategy[Any]:
    """Return values of a type that are easy to confuse: equal times, neighbours, NaN, text that needs quotes."""
    match dtype.kind:
        case Kind.TIMESTAMP:
            return moments
        case Kind.TIMESTAMPTZ:
            return moments.map(lambda moment: moment.replace(tzinfo=UTC))
        case Kind.DATE:
            return days
        case Kind.FLOAT:
            return st.sampled_from([0.0, -0.0, 1.5, float("inf"), float("-inf"), float("nan")])
        case Kind.DECIMAL:
            return st.sampled_from(
                [Decimal(0), Decimal("1.5"), Decimal(_BIG) + Decimal("0.0000000001"), Decimal(-_BIG)]
            )
        case Kind.BOOL:
            return st.booleans()
        case Kind.BYTES:
            return st.sampled_from([b"", b"\x00", b"\xff", b"a"])
        case Kind.TEXT:
            return words
        case Kind.ARRAY:
            assert dtype.element is not None, dtype
            return st.lists(st.none() | values(dtype.element), max_size=2)
        case Kind.STRUCT:
            names = [name for name, _ in dtype.fields]
            drawn = st.tuples(*(st.none() | values(field) for _, field in dtype.fields))
            return drawn.map(lambda cells: dict(zip(names, cells, strict=True)))
        case _:
            return st.sampled_from([0, 1, 2, 10, _BIG, _BIG + 1])


@st.composite
def views(draw: st.DrawFn, *, name: str = "v", dates: bool = True, nested: bool = True) -> FeatureView:
    """Draw a view with any annotations; `dates` allows a DATE event time, `nested` types that no online store holds."""
    clocks = ["timestamp", "timestamptz", *(["date"] if dates else [])]
    clock, arrival = draw(st.sampled_from(clocks)), draw(st.sampled_from(clocks))
    lateness = draw(st.sampled_from(["column", "delay", *(["none"] if clock != "date" else [])]))
    names = sorted(_TYPES.keys() - (set() if nested else _NESTED))
    features = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    lengths = (1, 3) if clock != "date" else (_SINCE_MIDNIGHT // timedelta(microseconds=1), 86_400_000_000)
    length = st.sampled_from(lengths).flatmap(lambda least: st.integers(least, least + 3))
    columns = {"e": clock, "a": arrival, "c": draw(st.sampled_from(clocks)), "u": "int64", "until": clock}
    return make_view(
        name,
        draw(st.sampled_from([{"k": "text"}, {"k": "text", "n": "int64"}])),
        columns | {feature: _TYPES[feature] for feature in features},
        features,
        defaults={feature: _DEFAULTS[feature] for feature in features if feature in _DEFAULTS and draw(st.booleans())},
        event_time="e",
        available_at="a" if lateness == "column" else None,
        delay=timedelta(microseconds=draw(st.just(0) | length)) if lateness == "delay" else None,
        created_timestamp=draw(st.sampled_from([None, "c", "a"])),
        tie_breaker=draw(st.sampled_from([(), ("u",)])),
        ttl=draw(st.none() | length.map(lambda count: timedelta(microseconds=count))),
        bound=draw(st.sampled_from(["inclusive", "exclusive"])),
        valid_to=draw(st.sampled_from([None, "until"])),
        online=True,
    )


def rows(view: FeatureView) -> st.SearchStrategy[dict[str, Any]]:
    """Return rows of a view, with anything NULL."""
    keys = {"k": ids, "n": parts}
    return st.fixed_dictionaries({name: st.none() | keys.get(name, values(dtype)) for name, dtype in view.columns})


def static_rows(view: FeatureView) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Return rows of a static view: any, with keys that are unique where they are not NULL."""
    found = st.lists(rows(view), max_size=4)
    return found.map(lambda drawn: [row for n, row in enumerate(drawn) if row["k"] not in [o["k"] for o in drawn[:n]]])


@st.composite
def worlds(draw: st.DrawFn, *, mode: str = "known_at", least: int = 0) -> Case:
    """Draw a case: a view, perhaps in a role, with a static view or with one that shares its rows.

    Each of the labels, at least `least`, has a time of its own, naive, aware or a day. What is right, the oracle knows.
    """
    view = draw(views())
    tables = {view.id: (view, draw(st.lists(rows(view), max_size=14)))}
    joins: list[Join] = [(view, None, None)]
    beside = draw(st.sampled_from(["nothing", "role", "role", "static", "sibling"]))
    if beside == "role":
        joins.append((view, "away", {"k": "other"}))
    if beside == "static":
        facts = make_view(
            "facts", {"k": "text"}, {"x": "float64"}, ["x"], static=True, online=True, defaults={"x": float("nan")}
        )
        tables[facts.id] = (facts, draw(static_rows(facts)))
        joins.append((facts, None, {"k": draw(st.sampled_from(["k", "other"]))}))
    if beside == "sibling":
        other = replace(view, name="sibling", ttl=draw(st.sampled_from([view.ttl, timedelta(microseconds=2)])))
        tables[other.id] = (other, tables[view.id][1])
        joins.append((other, None, None))
    service = make_service(*joins)
    spine = [
        *((key.name, key.dtype) for key in service.request_keys if key.name != "other"),
        ("other", DType.parse("text")),
        ("t", DType.parse(draw(st.sampled_from(["timestamp", "timestamptz", "timestamp", "timestamptz", "date"])))),
        ("note", DType.parse("text")),
    ]
    cells = {name: _label_cell(name, dtype) for name, dtype in spine}
    return Case(
        name="random world",
        why="Drawn at random.",
        views=tuple(each for each, _ in tables.values()),
        rows={name: make_table(each.columns, drawn) for name, (each, drawn) in tables.items()},
        labels=make_table(spine, draw(st.lists(st.fixed_dictionaries(cells), min_size=least, max_size=70))),
        service=service,
        mode=mode,
        zone=draw(st.sampled_from(["UTC", "Asia/Tokyo", "America/New_York"])),
        exports={name: draw(runs) for name in tables} if mode == "as_served" else {},
    )


def _label_cell(name: str, dtype: DType) -> st.SearchStrategy[Any]:
    keys = {"k": ids, "other": ids, "n": parts, "note": st.text(max_size=3)}
    return st.none() | keys.get(name, values(dtype))


@st.composite
def _run(draw: st.DrawFn) -> Run:
    as_of = draw(moments)
    return draw(st.none() | st.integers(0, 3).map(lambda late: as_of + timedelta(microseconds=late))), as_of


runs: st.SearchStrategy[Sequence[Run]] = st.lists(_run(), max_size=4)
"""A view's exports in the order of their versions: some finish late, out of order or never."""


@st.composite
def altered(draw: st.DrawFn, case: Case) -> Case:
    """Draw what the case may have become: rows of its views added, removed and changed, and exports added."""
    tables = dict(case.rows)
    relations: dict[str, list[dict[str, Any]]] = {}
    for view in case.views:
        if view.relation_name not in relations:
            change = _alter_static if view.static else _alter_rows
            relations[view.relation_name] = draw(change(view, rows_of(tables[view.id])))
        tables[view.id] = make_table(view.columns, relations[view.relation_name])
    exports = {name: [*run, *draw(st.lists(_run(), max_size=1))] for name, run in case.exports.items()}
    return replace(case, rows=tables, exports=exports)


@st.composite
def _alter_rows(draw: st.DrawFn, view: FeatureView, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    after = []
    for row in before:
        fate = draw(st.sampled_from(["stays", "stays", "stays", "changes", "goes"]))
        if fate == "changes":
            name = draw(st.sampled_from([name for name, _ in view.columns]))
            after.append(row | {name: draw(rows(view))[name]})
        elif fate == "stays":
            after.append(row)
    return [*after, *draw(st.lists(rows(view), max_size=4))]


@st.composite
def _alter_static(draw: st.DrawFn, view: FeatureView, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = [row for row in before if draw(st.booleans())]
    keys = [row["k"] for row in kept]
    return [*kept, *(row for row in draw(static_rows(view)) if row["k"] not in keys)]
