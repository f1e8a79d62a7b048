"""Profiles and their history on the engines that run here: what DuckDB, PostgreSQL and Spark see is the same."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import yaml

from featurelayer.layer import FeatureLayer
from featurelayer.model import Feature
from featurelayer.monitor.history import History, HistoryTables
from featurelayer.monitor.profiler import FeatureFrame, find_bins, measure_features
from featurelayer.monitor.statistics import ColumnStats
from featurelayer.monitor_records import MonitorResult, MonitorStatus, Profile, ProfileScope
from featurelayer.sql.profile import RowSource, Slot, newest
from featurelayer.warehouse import Warehouse, connect
from featurelayer.warehouse.engines.duckdb.warehouse import DuckDBWarehouse
from tests.unit import dbt_projects as made

START = datetime(2024, 1, 1, tzinfo=UTC)
ROWS = 400


@pytest.fixture(scope="module", params=["duckdb", "postgres", pytest.param("spark", marks=pytest.mark.engine)])
def warehouse(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    if request.param == "duckdb":
        with closing(DuckDBWarehouse(duckdb.connect())) as found:
            yield found
        return
    target: dict[str, Any] = (
        request.getfixturevalue("postgres_server").target("profiles")
        if request.param == "postgres"
        else {**request.getfixturevalue("spark_target"), "schema": "profiles"}
    )
    with closing(connect(target, root=Path(tmp_path_factory.mktemp("root")), writable=True)) as found:
        found.execute("CREATE SCHEMA IF NOT EXISTS profiles")
        yield found


@pytest.fixture(params=["postgres", pytest.param("spark", marks=pytest.mark.engine)])
def target(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "postgres":
        found: dict[str, Any] = request.getfixturevalue("postgres_server").target("profiles")
        return found
    return {**request.getfixturevalue("spark_target"), "schema": "profiles"}


def rows() -> pa.Table:
    numbers: list[float | None] = [math.sin(n) * 100 for n in range(ROWS - 5)]
    return pa.table(
        {
            "key": pa.array([f"k{n % 7}" for n in range(ROWS)]),
            "at": pa.array([START.replace(tzinfo=None) + timedelta(hours=n) for n in range(ROWS)], pa.timestamp("us")),
            "x": pa.array([*numbers, None, math.nan, math.inf, -math.inf, 1e200], pa.float64()),
            "n": pa.array([None if n % 10 == 3 else n % 12 for n in range(ROWS)], pa.int64()),
            "late": pa.array([n % 4 == 0 for n in range(ROWS)], pa.bool_()),
            "carrier": pa.array([None if n % 50 == 0 else f"c'{n % 3}" for n in range(ROWS)], pa.string()),
        }
    )


def seen(warehouse: Warehouse, slots: int) -> list[dict[str, ColumnStats]]:
    source = warehouse.attach(rows())
    columns = {column.name: column for column in source.columns}
    half = timedelta(hours=ROWS // slots)
    parts = tuple(Slot(ranges=((START + half * n, START + half * (n + 1)),)) for n in range(slots))
    frame = FeatureFrame(
        rows=RowSource(source=source.sql, time=columns["at"], slots=parts, chosen_by=("key", "at")),
        columns={name: columns[name] for name in ("x", "n", "late", "carrier")},
    )
    features = {
        "n": Feature(name="n", dtype=columns["n"].dtype, default=0, has_default=True, range=(0, 10)),
        "x": Feature(name="x", dtype=columns["x"].dtype, range=(None, 50)),
    }
    return measure_features(warehouse, frame, features, find_bins(warehouse, frame, 10))


@pytest.fixture(scope="module")
def expected() -> list[dict[str, ColumnStats]]:
    with closing(DuckDBWarehouse(duckdb.connect())) as duck:
        return seen(duck, 2)


def test_engines_see_the_same(warehouse: Warehouse, expected: list[dict[str, ColumnStats]]) -> None:
    for found, wanted in zip(seen(warehouse, 2), expected, strict=True):
        assert found.keys() == wanted.keys()
        for name in wanted:
            same = replace(found[name], total=0, squares=0, quantiles=(), distinct=None, centre=0, edges=(), counts=())
            assert same == replace(
                wanted[name], total=0, squares=0, quantiles=(), distinct=None, centre=0, edges=(), counts=()
            )
            assert found[name].mean == (
                None if wanted[name].mean is None else pytest.approx(wanted[name].mean, abs=1e-9)
            )
            assert found[name].std == (None if wanted[name].std is None else pytest.approx(wanted[name].std, abs=1e-9))
            assert found[name].distinct == pytest.approx(wanted[name].distinct, rel=0.1)
            # Which value an engine takes for a quantile may differ by one rank.
            assert sum(found[name].counts) == sum(wanted[name].counts)
            assert len(found[name].edges) == len(wanted[name].edges)
            for one, other in zip(found[name].counts, wanted[name].counts, strict=True):
                assert abs(one - other) <= 3
            assert [share for share, _ in found[name].quantiles] == [share for share, _ in wanted[name].quantiles]


def test_a_slot_without_rows_and_a_sample_have_profiles(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurelayer.monitor.profiler.SHAPE_ROWS", 100)
    (one,) = seen(warehouse, 1)
    assert one["x"].rows == ROWS
    assert 50 < one["x"].shape_rows < 200
    assert sum(one["x"].counts) <= one["x"].shape_rows


def test_the_newest_time_is_read_from_a_column_or_an_expression(warehouse: Warehouse) -> None:
    source = warehouse.attach(rows())
    time = next(column for column in source.columns if column.name == "at")
    at = START + timedelta(hours=10, minutes=30)
    for said in (time, "at"):
        (found,) = warehouse.rows(newest(warehouse.dialect, source.sql, said, at))[0]
        assert found.replace(tzinfo=UTC) == START + timedelta(hours=10)


def test_the_history_comes_back_exactly(warehouse: Warehouse) -> None:
    tables = HistoryTables(profiles="profiles.featurelayer_profiles", results="profiles.featurelayer_monitor_results")
    if warehouse.dialect == "duckdb":
        warehouse.execute("CREATE SCHEMA IF NOT EXISTS profiles")
    history = History(warehouse, tables)
    history.create()
    history.create()
    profile = Profile(
        view="legs", feature="x", scope=ProfileScope.PERIOD, source="s", start=START, end=START + timedelta(days=1),
        profiled_at=START, run="r", rows=3, nulls=1, mean=0.1 + 0.2, edges=(0.1, 2.0), counts=(1, 0, 1),
        top=(("it's", 2),), quantiles=((0.5, 1.25),),
    )  # fmt: skip
    result = MonitorResult(
        view="legs", feature="x", monitor="psi", metric="PSI", status=MonitorStatus.WARN, meaning='a "word"', value=0.3,
        checked_at=START, run="r", start=START,
    )  # fmt: skip
    history.add([profile], [result])
    later = START + timedelta(hours=1)
    again = replace(profile, rows=4, profiled_at=later)
    history.add([again], [replace(result, run="s", checked_at=later)])
    assert history.profiles() == (again,)
    assert [each.run for each in history.results("legs")] == ["r", "s"]
    assert history.results()[0] == result


def test_a_view_is_watched_where_its_project_is(target: dict[str, Any], tmp_path: Path) -> None:
    columns = {"x": made.column("double", range=[0, 50]), "carrier": made.column("varchar")}
    said = {"minimum_rows": 10, "coverage": {"warn": 0.99}, "baseline": "previous", "history": 2}
    node = made.model("watched", columns=columns, drop=("arr_delay",), monitors=said, ttl="1 hour", online=True)
    name = "profiles.watched"
    node |= {"relation_name": '"profiles"."watched"' if target["type"] == "postgres" else "`profiles`.`watched`"}
    service = made.exposure("watched.x", depends_on=("model.shop.watched",), label_timestamp="at")
    made.project(tmp_path, made.manifest(node, exposures=(service,), adapter=target["type"]))
    (tmp_path / "profiles.yml").write_text(yaml.safe_dump({"shop": {"target": "dev", "outputs": {"dev": target}}}))
    with closing(connect(target, root=tmp_path, writable=True)) as warehouse:
        warehouse.execute("CREATE SCHEMA IF NOT EXISTS profiles")
        source = warehouse.attach(watched_rows())
        warehouse.execute(f"CREATE TABLE {name} AS SELECT * FROM {source.sql}")
    layer = FeatureLayer(tmp_path, profiles_dir=tmp_path)
    report = layer.monitor(as_of=START + timedelta(days=2))
    found = {(result.monitor, result.feature): result for result in report.results}
    assert found["psi", "x"].status is MonitorStatus.WARN
    assert found["new_categories", "carrier"].value == 1 / 3
    assert found["coverage", ""].meaning == "1 of 4 keys in watched at any time (25.0%) have a valid row"
    assert {profile.scope for profile in layer.profiles("watched")} == set(ProfileScope)
    assert len(layer.monitor_results("watched")) == len(report.results)


def watched_rows() -> pa.Table:
    """Two days of a row an hour; on the second all values are greater, and one in three has a new carrier."""
    hours = range(48)
    return pa.table(
        {
            "tailnum": pa.array([f"N{n % 4}" for n in hours]),
            "landed_at": pa.array([START.replace(tzinfo=None) + timedelta(hours=n) for n in hours], pa.timestamp("us")),
            "x": pa.array([float(n % 10) + (n >= 24) * 20 for n in hours]),
            "carrier": pa.array(["new" if n >= 24 and n % 3 == 0 else "old" for n in hours]),
        }
    )
