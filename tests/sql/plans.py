"""Plans of the usual views, for the SQL tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlglot import exp

from featurelayer.model import Column, DType, FeatureView
from featurelayer.sql.plan import Entities, Ledger, Mode, Plan
from featurelayer.sql.planner import plan_snapshot, plan_training_set
from featurelayer.testing import make_service
from featurelayer.testing import make_view as view_of

LABELS = [("tailnum", "text"), ("origin", "text"), ("dest", "text"), ("hour", "int32"), ("predicted_at", "timestamptz")]


def make_view(name: str, *what: Any, **annotations: Any) -> FeatureView:
    return view_of(name, *what, relation_name=f'"memory"."main"."{name}"', **annotations)


def columns(*typed: tuple[str, str]) -> tuple[Column, ...]:
    return tuple(Column(name=name, dtype=DType.parse(text)) for name, text in typed)


def training_set(*joins: tuple[FeatureView, str | None, dict[str, str] | None]) -> Plan:
    views = {view.id: view for view, _, _ in joins}
    return plan_training_set(
        make_service(*joins, label_timestamp="predicted_at"),
        views,
        {name: tuple(Column(name=n, dtype=t) for n, t in view.columns) for name, view in views.items()},
        source="read_parquet('labels.parquet')",
        label_columns=columns(*LABELS),
    )


LEGS = make_view(
    "plane_legs",
    {"tailnum": "text"},
    {"landed_at": "timestamp", "flight_id": "int32", "arr_delay": "float64"},
    ["arr_delay"],
    event_time="landed_at",
    delay=timedelta(minutes=1),
    tie_breaker=("flight_id",),
    ttl=timedelta(hours=24),
    defaults={"arr_delay": 0},
)
WEATHER = make_view(
    "weather",
    {"airport": "text"},
    {"at": "timestamptz", "known_at": "timestamp", "wind": "float64"},
    ["wind"],
    event_time="at",
    available_at="known_at",
    ttl=timedelta(hours=3),
)
FACTS = make_view("facts", {"tailnum": "text"}, {"seats": "int32"}, ["seats"], static=True)
HOURLY = make_view(
    "hourly",
    {"airport": "text", "hour": "int32"},
    {"day": "date", "n": "int64"},
    ["n"],
    event_time="day",
    delay=timedelta(days=1),
    bound="exclusive",
)
PLANS = {
    "delay_ttl_tie_breaker_default": training_set((LEGS, None, None)),
    "available_time_in_two_roles": training_set(
        (WEATHER, "origin_now", {"airport": "origin"}), (WEATHER, "dest_now", {"airport": "dest"})
    ),
    "static": training_set((FACTS, None, None)),
    "composite_key_date_exclusive": training_set((HOURLY, None, {"airport": "origin"})),
    "snapshot": plan_snapshot(
        WEATHER, tuple(Column(name=n, dtype=t) for n, t in WEATHER.columns), as_of=datetime(2013, 12, 1, 12, tzinfo=UTC)
    ),
}


def as_served() -> Plan:
    columns_of = {WEATHER.id: tuple(Column(name=n, dtype=t) for n, t in WEATHER.columns)}
    return plan_training_set(
        make_service((replace(WEATHER, online=True), None, {"airport": "origin"}), label_timestamp="predicted_at"),
        {WEATHER.id: replace(WEATHER, online=True)},
        columns_of,
        source='"labels"',
        label_columns=columns(*LABELS),
        mode=Mode.AS_SERVED,
        ledger=Ledger(relation='"memory"."main"."featurelayer_exports"', store="dynamodb:features"),
    )


def placed(plan: Plan, engine: str) -> Plan:
    """The plan with its relations, and labels of a relation, quoted as the engine quotes them."""

    def quoted(name: str) -> str:
        return exp.to_table(name, dialect="duckdb").sql(dialect=engine, identify=True)

    joins = tuple(
        replace(
            join,
            relation=quoted(join.relation),
            ledger=join.ledger and replace(join.ledger, relation=quoted(join.ledger.relation)),
        )
        for join in plan.joins
    )
    spine = (
        plan.spine
        if isinstance(plan.spine, Entities)
        else replace(plan.spine, source=quoted('"memory"."main"."labels"'))
    )
    return replace(plan, joins=joins, spine=spine)


ALL = {**PLANS, "as_served": as_served()}
