"""The SQL itself, for a reader: a change of what we emit shows up as a diff of these files.

`UPDATE_GOLDEN=1 pytest tests/sql` writes them anew; that they are right is what the other tests say.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlglot

from featurelayer.model import Column, FeatureView
from featurelayer.sql.plan import Plan
from featurelayer.sql.planner import plan_snapshot, plan_training_set
from featurelayer.testing import make_service
from featurelayer.testing import make_view as view_of
from featurelayer.testing.duckdb import FORMS

HERE = Path(__file__).parent / "golden"
LABELS = [("tailnum", "text"), ("origin", "text"), ("dest", "text"), ("hour", "int32"), ("predicted_at", "timestamptz")]


def make_view(name: str, *what: Any, **annotations: Any) -> FeatureView:
    return view_of(name, *what, relation_name=f'"memory"."main"."{name}"', **annotations)


def columns(*typed: tuple[str, str]) -> tuple[Column, ...]:
    from featurelayer.model import DType

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


@pytest.mark.parametrize("form", ["native", "portable"])
@pytest.mark.parametrize("case", PLANS)
def test_golden_sql(case: str, form: str) -> None:
    text = str(FORMS[form].compile(PLANS[case]))
    path = HERE / ("duckdb" if form == "native" else "portable") / f"{case}.sql"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), (
        f"UPDATE_GOLDEN=1 pytest {Path(__file__).name} writes {path.name} anew"
    )


@pytest.mark.parametrize("form", ["native", "portable"])
def test_sql_is_deterministic_and_parses(form: str) -> None:
    for plan in PLANS.values():
        script = FORMS[form].compile(plan)
        assert str(script) == str(FORMS[form].compile(plan))
        if form == "portable":
            assert sqlglot.parse_one(script.query.sql, dialect="duckdb") is not None
