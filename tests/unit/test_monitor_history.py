"""What a run has seen comes back as it was, and a period that is profiled again replaces its old profile."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from featurelayer.errors import UnknownNameError
from featurelayer.monitor.history import PROFILES, RESULTS, History, HistoryTables
from featurelayer.monitor_records import MonitorResult, MonitorStatus, Profile, ProfileScope
from featurelayer.warehouse.engines.duckdb.warehouse import DuckDBWarehouse
from tests.unit import warehouses

NOW = datetime(2024, 1, 3, 6, tzinfo=UTC)
DAY = timedelta(days=1)
PROFILE = Profile(
    view="legs", feature="arr_delay", scope=ProfileScope.PERIOD, source='"db"."main"."legs"', start=NOW - 2 * DAY,
    end=NOW - DAY, profiled_at=NOW, run="r1", rows=10, nulls=1, distinct=7, unusable=2, defaults=0, out_of_range=3,
    minimum=-1.5, maximum=2.0**60, mean=0.1 + 0.2, std=math.pi, shape_rows=7, quantiles=((0.5, 1.25),),
    edges=(-1.5, 0.1), counts=(1, 2, 4), top=(("it's \"quoted\"", 3), ("", 1)),
)  # fmt: skip
BARE = Profile(
    view="legs",
    feature="dest",
    scope=ProfileScope.SNAPSHOT,
    source="s",
    start=None,
    end=NOW,
    profiled_at=NOW,
    run="r1",
    rows=0,
    nulls=0,
)
RESULT = MonitorResult(
    view="legs",
    feature="arr_delay",
    monitor="null_rate",
    metric="null rate",
    status=MonitorStatus.WARN,
    meaning="too many",
    value=0.3,
    threshold=0.2,
    warn=0.2,
    error=0.5,
    baseline="the day before",
    start=NOW - DAY,
    end=NOW,
    checked_at=NOW,
    run="r1",
)


@pytest.fixture
def history() -> Iterator[History]:
    with closing(DuckDBWarehouse(duckdb.connect())) as warehouse:
        history = History(warehouse, HistoryTables.from_schema("main"))
        assert (history.profiles(), history.results()) == ((), ())
        history.create()
        history.create()
        yield history


def test_what_was_seen_comes_back_exactly(history: History) -> None:
    history.add([PROFILE, BARE], [RESULT])
    assert history.profiles() == (PROFILE, BARE)
    assert history.results() == (RESULT,)
    assert (history.profiles("other"), history.results("other")) == ((), ())


def test_a_period_has_one_profile_and_every_result_is_kept(history: History) -> None:
    history.add([PROFILE, BARE], [RESULT])
    again = replace(PROFILE, run="r2", rows=11, profiled_at=NOW + DAY)
    later = replace(PROFILE, run="r2", start=PROFILE.end, end=NOW)
    elsewhere = replace(PROFILE, view="other")
    history.add([again, later, elsewhere], [replace(RESULT, run="r2", checked_at=NOW + DAY)])
    assert set(history.profiles()) == {again, later, elsewhere, BARE}
    assert [result.run for result in history.results()] == ["r1", "r2"]


def test_the_columns_are_those_of_the_values() -> None:
    for value, columns in ((PROFILE, PROFILES), (RESULT, RESULTS)):
        assert len(type(value).__dataclass_fields__) == len(columns)


def test_a_layer_reads_its_own_schema(tmp_path: Path) -> None:
    layer = warehouses.layer(tmp_path)
    assert (layer.profiles(), layer.monitor_results("legs")) == ((), ())
    with layer.open_warehouse(writable=True) as warehouse:
        history = History(warehouse, HistoryTables.from_schema("main"))
        history.create()
        history.add([PROFILE], [RESULT])
    assert layer.profiles("legs") == (PROFILE,)
    assert layer.monitor_results() == (RESULT,)
    with pytest.raises(UnknownNameError, match="did you mean 'legs'"):
        layer.profiles("leg")
