"""An export stops before it writes anything if it would empty the store, or if a clock is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from featurelayer.cli import main
from featurelayer.errors import MetadataError, PlanError, WriteConflict
from featurelayer.layer import FeatureLayer
from featurelayer.online import FeatureClient, MemoryStore
from featurelayer.online.base import Capabilities, Limits
from featurelayer.warehouse.engines.duckdb.warehouse import DuckDBWarehouse
from tests.unit import dbt_projects as made
from tests.unit.warehouses import layer

pytestmark = pytest.mark.slow

MANY = """
CREATE OR REPLACE TABLE legs AS
SELECT 'N' || i AS tailnum, TIMESTAMP '2024-01-01' + INTERVAL (i) SECOND AS landed_at, i::DOUBLE AS arr_delay
FROM range(500) t(i)
"""
STORE = "online_store: {dev: {type: sqlite, path: online.db}}\nentities: {plane: {keys: {tailnum: varchar}}}\n"
AHEAD = timedelta(days=400)


def shop(root: Path, *nodes: dict[str, Any], sql: str = MANY, **more: Any) -> FeatureLayer:
    """A project whose view `legs` has 500 planes; `more` are keys of its block."""
    layer(root, *(nodes or (made.model(online=True, **more),)), sql=sql)
    (root / "featurelayer.yml").write_text(STORE)
    return FeatureLayer(root, profiles_dir=root)


def change(root: Path, sql: str) -> None:
    with duckdb.connect(str(root / "db.duckdb")) as connection:
        connection.execute(sql)


def ledger_rows(root: Path) -> int:
    with duckdb.connect(str(root / "db.duckdb")) as connection:
        tables = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        rows = 0
        for name in ("featurelayer_exports", "featurelayer_export_items"):
            rows += connection.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0] if name in tables else 0
        return rows


def refused(root: Path, export: Callable[[], Any], store: MemoryStore) -> PlanError:
    """What an export is refused with, once it is clear that it has written nothing."""
    before, items = ledger_rows(root), dict(store._items)
    with pytest.raises(PlanError) as caught:
        export()
    assert (ledger_rows(root), store._items) == (before, items)
    return caught.value


@pytest.fixture
def shifted(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Sets the warehouse's clock ahead or back."""
    now = DuckDBWarehouse.now

    def shift(by: timedelta) -> None:
        monkeypatch.setattr(DuckDBWarehouse, "now", lambda self: now(self) + by)

    return shift


# --- removals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"full": True}])
def test_an_empty_model_is_refused_with_the_numbers_and_the_way_forward(tmp_path: Path, how: dict[str, Any]) -> None:
    found, store = shop(tmp_path), MemoryStore()
    found.export(store=store)
    change(tmp_path, "DELETE FROM legs")
    (problem,) = refused(tmp_path, lambda: found.export(store=store, **how), store).problems
    assert "legs: this export would remove 500 of 500 keys (100.0%) from the online store" in problem.what
    assert "the limit is 30%, from 100 keys on" in problem.what
    assert "`featurelayer export -s legs --allow-removals`" in problem.fix
    assert "nothing was written" in problem.fix
    assert "features.yml" in problem.where
    done = found.export(store=store, allow_removals=True, **how).views[0]
    assert (done.tombstones, done.rows) == (500, 0)


@pytest.mark.parametrize(
    ("kept", "settings", "allowed"),
    [
        ("i >= 150", {}, True),  # 30 % is not more than 30 %
        ("i >= 151", {}, False),
        ("i >= 151", {"share": 0.31}, True),
        ("false", {"share": 1}, True),
        ("i >= 99", {"share": 0.1}, True),  # less than 100 keys
        ("i >= 100", {"share": 0.1}, False),
        ("i >= 99", {"share": 0.1, "at_least": 99}, False),
        ("i > 0", {"share": 0, "at_least": 1}, False),
        ("true", {"share": 0, "at_least": 1}, True),
    ],
)
def test_the_limit_is_the_views_own(tmp_path: Path, kept: str, settings: dict[str, Any], allowed: bool) -> None:
    found, store = shop(tmp_path, removal_guard=settings), MemoryStore()
    found.export(store=store)
    change(tmp_path, f"DELETE FROM legs WHERE NOT ({kept.replace('i ', 'arr_delay ')})")
    if allowed:
        found.export(store=store)
    else:
        refused(tmp_path, lambda: found.export(store=store), store)
    plan = found.plan_export(store=store)
    assert bool(plan.refused) != allowed


def test_keys_that_all_became_others_are_refused(tmp_path: Path) -> None:
    """As when somebody lower-cases a key upstream: 500 new ones don't make up for 500 that go."""
    found, store = shop(tmp_path), MemoryStore()
    found.export(store=store)
    change(tmp_path, "UPDATE legs SET tailnum = lower(tailnum)")
    assert "remove 500 of 500" in str(refused(tmp_path, lambda: found.export(store=store), store))


def test_all_views_are_checked_before_any_is_written(tmp_path: Path) -> None:
    nodes = [made.model(name=name, online=True) for name in ("fine", "legs", "more")]
    sql = f"{MANY}; CREATE OR REPLACE TABLE fine AS FROM legs; CREATE OR REPLACE TABLE more AS FROM legs"
    found, store = shop(tmp_path, *nodes, sql=sql), MemoryStore()
    found.export(store=store)
    change(tmp_path, "UPDATE fine SET arr_delay = -1; DELETE FROM legs; DELETE FROM more WHERE arr_delay < 400")
    error = refused(tmp_path, lambda: found.export(store=store), store)
    assert [problem.what.split(":")[0] for problem in error.problems] == ["legs", "more"]
    assert "400 of 500 keys (80.0%)" in error.problems[1].what
    assert found.export(["fine"], store=store).views[0].written == 500


def test_what_has_expired_does_not_count(tmp_path: Path) -> None:
    recent = MANY.replace("TIMESTAMP '2024-01-01'", "(now() AT TIME ZONE 'UTC')::TIMESTAMP - INTERVAL 2 HOUR")
    old = recent.replace("2 HOUR", "3 DAY").replace("'N'", "'OLD'").replace("CREATE OR REPLACE TABLE legs AS", "")
    found = shop(tmp_path, sql=f"{recent}; INSERT INTO legs {old}", ttl="1 day")
    for store, how in ((MemoryStore(), {}), (MemoryStore(), {"full": True})):
        change(tmp_path, f"{recent}; INSERT INTO legs {old}")
        found.export(store=store)
        change(tmp_path, "DELETE FROM legs WHERE tailnum LIKE 'OLD%'")
        assert found.export(store=store, **how).views[0].rows == 500
        # Nor do they hide how many go of those that are alive.
        change(tmp_path, "DELETE FROM legs WHERE arr_delay < 400")
        assert "400 of 500" in str(refused(tmp_path, lambda s=store: found.export(store=s), store))


def test_a_run_that_died_does_not_open_the_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its keys are in doubt: some may be served although no export has committed."""
    found, store = shop(tmp_path), MemoryStore()

    def die(*_args: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("featurelayer.export.exporter.Exporter._commit", die)
        with pytest.raises(KeyboardInterrupt):
            found.export(store=store)
    change(tmp_path, "DELETE FROM legs")
    assert "500 of 500" in str(refused(tmp_path, lambda: found.export(store=store), store))
    found.export(store=store, allow_removals=True)
    assert list(store.live("legs@0")) == []


def test_a_rebuilt_warehouse_is_guarded_by_what_the_store_lists(tmp_path: Path) -> None:
    found, store = shop(tmp_path), MemoryStore()
    found.export(store=store)
    change(tmp_path, "DROP TABLE featurelayer_exports; DROP TABLE featurelayer_export_items; DELETE FROM legs")
    assert "500 of 500" in str(refused(tmp_path, lambda: found.export(store=store), store))
    assert found.plan_export(store=store).refused


@pytest.mark.parametrize("how", [{}, {"full": True}])
def test_old_keys_go_when_the_entity_gets_another_name(tmp_path: Path, how: dict[str, Any]) -> None:
    """They are replaced, not lost: the run after the one that wrote all rows under new keys removes the old ones."""
    store = MemoryStore()
    shop(tmp_path).export(store=store)
    columns = {"tailnum": made.column("varchar", join_key="aircraft")}
    shop(tmp_path, made.model(online=True, columns=columns, entity="aircraft"), sql="SELECT 1")
    (tmp_path / "featurelayer.yml").write_text(STORE.replace("plane: {", "aircraft: {"))
    renamed = FeatureLayer(tmp_path, profiles_dir=tmp_path)
    first = renamed.export(store=store, **how).views[0]
    second = renamed.export(store=store, **how).views[0]
    assert (first.written, first.tombstones + second.tombstones) == (500, 500)
    change(tmp_path, "DELETE FROM legs")
    assert "500 of 500" in str(refused(tmp_path, lambda: renamed.export(store=store), store))


def test_going_back_on_purpose_is_not_guarded(tmp_path: Path) -> None:
    """A rollback, and a named time before the last export's, mean what they say."""
    found, store = shop(tmp_path), MemoryStore()
    first = found.export(store=store, as_of=datetime(2024, 1, 1, 0, 0, 5, tzinfo=UTC)).views[0]
    assert first.rows == 6
    assert found.export(store=store).views[0].rows == 500
    assert found.export(store=store, as_of=first.as_of).views[0].tombstones == 494
    assert found.export(store=store).views[0].written == 494
    assert found.rollback("legs", first.run, store=store).views[0].tombstones == 494
    assert found.export(store=store).views[0].written == 494
    # A named time that goes forward is guarded like any other.
    change(tmp_path, "DELETE FROM legs")
    refused(tmp_path, lambda: found.export(store=store, as_of=datetime.now(UTC)), store)


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"share": 30}, "share"),
        ({"share": "30%"}, "share"),
        ({"at_least": 0}, "at_least"),
        ({"shares": 0.3}, "did you mean 'share'"),
        (0.3, "not a mapping"),
    ],
)
def test_a_limit_that_is_none_is_an_error_of_the_annotation(tmp_path: Path, said: Any, what: str) -> None:
    with pytest.raises(MetadataError) as caught:
        _ = shop(tmp_path, removal_guard=said).registry
    assert what in str(caught.value)
    assert "removal_guard" in str(caught.value)


# --- clocks ----------------------------------------------------------------------------------------------------------


def test_a_warehouse_whose_clock_is_behind_is_refused(tmp_path: Path, shifted: Callable[[timedelta], None]) -> None:
    found, store = shop(tmp_path), MemoryStore()
    found.export(store=store)
    shifted(timedelta(days=-365))
    (problem,) = refused(tmp_path, lambda: found.export(store=store), store).problems
    assert "364 d 23 h before that of the last export" in problem.what
    assert "--as-of" in problem.fix
    refused(tmp_path, lambda: found.export(store=store, full=True, allow_removals=True), store)
    assert [p.what for p in found.plan_export(store=store).refused] != []
    assert found.export(store=store, as_of=datetime.now(UTC) - timedelta(days=365, minutes=1)).views[0].rows == 500


def test_a_warehouse_whose_clock_is_ahead_is_refused(tmp_path: Path, shifted: Callable[[timedelta], None]) -> None:
    found, store = shop(tmp_path), MemoryStore()
    shifted(timedelta(hours=23))
    found.export(store=store)
    shifted(timedelta(days=3))
    (problem,) = refused(tmp_path, lambda: found.export(store=store), store).problems
    assert "ahead of this machine's clock" in problem.what
    assert "2 d 23 h" in problem.what
    (planned,) = found.plan_export(store=store).refused
    assert "ahead of this machine's clock" in planned.what
    refused(tmp_path, lambda: found.export(store=store, as_of=datetime.now(UTC) + timedelta(days=2)), store)


def test_an_export_that_another_has_overtaken_takes_its_time_anew(
    tmp_path: Path, shifted: Callable[[timedelta], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that was set back by seconds is no reason to fail: a moment later it has caught up."""
    found, store = shop(tmp_path), MemoryStore()
    shifted(timedelta(seconds=2))
    last = found.export(store=store).as_of
    shifted(timedelta(0))
    assert found.export(store=store).as_of > last
    monkeypatch.setattr(sys.modules["featurelayer.retry"], "_ATTEMPTS", 1)
    shifted(timedelta(seconds=2))
    found.export(store=store)
    shifted(timedelta(0))
    with pytest.raises(WriteConflict, match="another export finished"):
        found.export(store=store)


# --- streamed values -------------------------------------------------------------------------------------------------


def test_a_tombstone_leaves_alone_what_was_streamed_since(tmp_path: Path) -> None:
    found, store = shop(tmp_path), MemoryStore()
    found.export(store=store)
    with FeatureClient(store) as client:
        client.write("legs", [{"tailnum": "N1", "arr_delay": 99.0}])
        change(tmp_path, "DELETE FROM legs WHERE tailnum IN ('N1', 'N2')")
        for _ in range(2):
            done = found.export(store=store).views[0]
            assert client.lookup("late", {"tailnum": "N1"}).to_dict() == {"legs__arr_delay": 99.0}
            assert client.lookup("late", {"tailnum": "N2"}).features["legs__arr_delay"].status == "missing"
        assert (done.tombstones, done.refused) == (0, 1)
        # What the warehouse has seen goes with its row.
        found.drain(store=store)
        change(tmp_path, "INSERT INTO legs SELECT tailnum, landed_at, arr_delay FROM featurelayer_streamed__legs")
        found.export(store=store)
        change(tmp_path, "DELETE FROM legs WHERE tailnum = 'N1'")
        assert found.export(store=store).views[0].tombstones == 1
        assert client.lookup("late", {"tailnum": "N1"}).features["legs__arr_delay"].status == "missing"
        client.write("legs", [{"tailnum": "N1", "arr_delay": 100.0}])
        assert client.lookup("late", {"tailnum": "N1"}).to_dict() == {"legs__arr_delay": 100.0}
        assert found.export(store=store, full=True).views[0].tombstones == 1


# --- items that are too large ----------------------------------------------------------------------------------------


class Small(MemoryStore):
    """A store that takes little."""

    capabilities = Capabilities(limits=Limits(item=150, pk=50))


def test_a_plan_names_what_the_store_cannot_take_and_an_export_writes_nothing(tmp_path: Path) -> None:
    nodes = [made.model(name=name, online=True) for name in ("legs", "more")]
    sql = """
    CREATE TABLE legs AS SELECT 'N' || i AS tailnum, TIMESTAMP '2024-01-01' AS landed_at, 1.0 AS arr_delay FROM range(5) t(i);
    CREATE TABLE more AS SELECT repeat('M', 44) || i AS tailnum, TIMESTAMP '2024-01-01' AS landed_at, 1.0 AS arr_delay FROM range(3) t(i);
    INSERT INTO legs VALUES (repeat('L', 60), TIMESTAMP '2024-01-01', 1.0)
    """  # noqa: E501
    found, store = shop(tmp_path, *nodes, sql=sql), Small()
    plan = found.plan_export(store=store)
    assert {view.view: view.refused.too_large_keys for view in plan.views} == {"legs": 1, "more": 3}
    assert [each.key[:8] for each in plan.views[1].refused.too_large] == ['plane["M'] * 3
    error = refused(tmp_path, lambda: found.export(store=store), store)
    assert [problem.what for problem in error.problems] == [problem.what for problem in plan.refused]
    assert len(error.problems) == 4


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_reports_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop(tmp_path)
    place = ("--project-dir", str(tmp_path), "--profiles-dir", str(tmp_path))
    assert main(["export", *place]) == 0
    change(tmp_path, "DELETE FROM legs")
    capsys.readouterr()
    assert main(["export", "--plan", *place]) == 0
    text = capsys.readouterr().out
    assert "would be refused: legs: this export would remove 500 of 500 keys" in text
    assert main(["export", "--plan", "--format", "json", *place]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert [sorted(each) for each in planned["refused"]] == [["fix", "what"]]
    assert planned["views"][0]["refused"] == planned["refused"]
    assert f"`featurelayer export -s legs --allow-removals --project-dir {tmp_path} " in planned["refused"][0]["fix"]
    assert (planned["views"][0]["removed"], planned["views"][0]["too_large"]) == (500, [])
    assert main(["export", *place]) == 1
    assert "--allow-removals" in capsys.readouterr().err
    assert main(["export", "--plan", "--allow-removals", *place]) == 0
    assert "would be refused" not in capsys.readouterr().out
    assert main(["export", "--allow-removals", *place]) == 0
