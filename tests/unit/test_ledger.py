"""The export ledger: what an export leaves behind, and the training set that joins what was being served."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from featurelayer.cli import main
from featurelayer.errors import PlanError, WarehouseError
from featurelayer.layer import FeatureLayer
from featurelayer.online import MemoryStore, open_store
from featurelayer.online.definitions import Lease
from tests.unit import dbt_projects as made
from tests.unit.warehouses import LEGS, layer

YML = "online_store: {dev: {type: sqlite, path: online.db}}\nentities: {plane: {keys: {tailnum: varchar}}}\n"


def ledger(root: Path) -> list[dict[str, Any]]:
    with duckdb.connect(str(root / "db.duckdb"), read_only=True) as connection:
        return connection.sql("FROM main.featurelayer_exports ORDER BY started_at, view").to_arrow_table().to_pylist()


def online(root: Path, **more: Any) -> FeatureLayer:
    layer(root, made.model(**{"online": True, "ttl": "400 weeks"} | more))
    (root / "featurelayer.yml").write_text(YML)
    return FeatureLayer(root, profiles_dir=root)


def add(root: Path, tail: str, landed: datetime, delay: float) -> None:
    with duckdb.connect(str(root / "db.duckdb")) as connection:
        connection.execute("INSERT INTO legs VALUES (?, ?, ?)", [tail, landed, delay])


def labels(*times: datetime, tail: str = "N1") -> pa.Table:
    return pa.table({"tailnum": [tail] * len(times), "at": pa.array(times, pa.timestamp("us", "UTC"))})


def test_an_export_is_recorded_when_it_begins_and_when_it_has_committed(tmp_path: Path) -> None:
    found = online(tmp_path)
    report = found.export()
    (row,) = ledger(tmp_path)
    assert (row["store"], row["view"]) == ("sqlite:online.db", "legs")
    assert row["as_of"] == report.as_of.replace(tzinfo=None)
    assert row["started_at"] <= row["as_of"] <= row["finished_at"]
    assert (row["entities"], row["written"], row["unchanged"], row["tombstones"]) == (3, 3, 0, 0)
    found.export()
    assert [(row["written"], row["unchanged"]) for row in ledger(tmp_path)] == [(3, 0), (0, 3)]
    versions = [row["version"] for row in ledger(tmp_path)]
    assert versions == sorted(versions)


def test_a_schema_in_which_dbt_made_nothing_is_made_for_the_tables_of_exports_and_monitors(tmp_path: Path) -> None:
    """dbt makes the target's own schema only where a model lies in it: all may have `+schema`."""
    schema = "'of nobody'"
    legs = {"schema": f"{schema}_features", "relation_name": f'"db"."{schema}_features"."legs"'}
    online(tmp_path, node=legs, config={"schema": "features"})
    with duckdb.connect(str(tmp_path / "db.duckdb")) as connection:
        connection.execute(f'CREATE SCHEMA "{schema}_features"')
        connection.execute(f'CREATE TABLE "{schema}_features".legs AS FROM main.legs')
    profile = {"type": "duckdb", "path": "db.duckdb", "schema": schema}
    (tmp_path / "profiles.yml").write_text(json.dumps({"shop": {"target": "dev", "outputs": {"dev": profile}}}))
    found = FeatureLayer(tmp_path, profiles_dir=tmp_path)

    def tables() -> set[str]:
        with duckdb.connect(str(tmp_path / "db.duckdb"), read_only=True) as connection:
            query = "SELECT table_name FROM duckdb_tables() WHERE schema_name = ?"
            return {name for (name,) in connection.execute(query, [schema]).fetchall()}

    found.plan_export()
    assert tables() == set()
    assert found.export().views[0].written == 3
    assert {"featurelayer_exports", "featurelayer_export_items"} == tables()
    found.monitor()
    assert len(tables()) == 4
    assert found.export().views[0].unchanged == 3


@pytest.mark.parametrize("full", [False, True])
def test_a_store_that_was_lost_is_filled_anew(tmp_path: Path, full: bool) -> None:
    found = online(tmp_path)
    assert found.export(full=full).views[0].written == 3
    for path in tmp_path.glob("online.db*"):
        path.unlink()
    assert found.plan_export().views[0].changed + found.plan_export().views[0].new == 3
    assert found.export(full=full).views[0].written == 3


class Busy(MemoryStore):
    """A store that takes its time, and somebody who writes to the warehouse meanwhile."""

    def __init__(self, database: Path) -> None:
        super().__init__()
        self.database, self.first = database, True

    def write(self, items: Any, **options: Any) -> Any:
        if any(item.sk.startswith(("legs@", "more@")) for item in items):
            with duckdb.connect(str(self.database)) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS other (a INT)")
            if self.first:
                time.sleep(0.5)
                self.first = False
        return super().write(items, **options)


def test_the_file_is_free_while_items_are_sent_and_each_view_finishes_when_it_does(tmp_path: Path) -> None:
    """What is sent second is served later, and training as served must not see it earlier."""
    nodes = [made.model(name=name, online=True, ttl="400 weeks") for name in ("legs", "more")]
    layer(tmp_path, *nodes, sql=f"{LEGS}; CREATE TABLE more AS FROM legs")
    (tmp_path / "featurelayer.yml").write_text(YML)
    before = datetime.now(UTC).replace(tzinfo=None)
    FeatureLayer(tmp_path, profiles_dir=tmp_path).export(store=Busy(tmp_path / "db.duckdb"))
    after = datetime.now(UTC).replace(tzinfo=None)
    first, second = ledger(tmp_path)
    assert before <= first["started_at"] == second["started_at"]
    assert first["finished_at"] - first["started_at"] >= timedelta(seconds=0.5)
    assert first["finished_at"] < second["finished_at"] <= after


def test_the_next_exporter_says_that_the_one_before_has_died(tmp_path: Path, capsys: Any) -> None:
    found = online(tmp_path)
    found.export()
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    until = int(time.time() * 1_000_000) + 20_000_000
    dead = Lease(run="dead" * 8, until=until, told=until, host=platform.node(), process=child.pid)
    with closing(open_store(found.online.url)) as store:
        store.write([dead.item("legs@0")])
    assert main(["export", "--project-dir", str(tmp_path), "--profiles-dir", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert f"legs: export deaddead (process {child.pid} on {platform.node()}) has died; taking over" in captured.err
    assert "has died" not in captured.out


class BrokenStore(MemoryStore):
    """A store that dies at the first value."""

    def write(self, items: Any, **options: Any) -> Any:
        if any(item.sk.startswith("legs@") for item in items):
            raise ConnectionError("gone")
        return super().write(items, **options)


def test_an_export_that_dies_has_no_end(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        online(tmp_path).export(store=BrokenStore())
    (row,) = ledger(tmp_path)
    assert row["finished_at"] is None
    assert row["written"] is None


def test_as_served_follows_arrivals_from_export_to_export(tmp_path: Path) -> None:
    columns = {"loaded_at": made.column("timestamp")}
    sql = "CREATE TABLE legs (tailnum VARCHAR, landed_at TIMESTAMP, arr_delay DOUBLE, loaded_at TIMESTAMP)"
    layer(tmp_path, made.model(online=True, available_at="loaded_at", ttl="400 weeks", columns=columns), sql=sql)
    (tmp_path / "featurelayer.yml").write_text(YML)
    found = FeatureLayer(tmp_path, profiles_dir=tmp_path)
    moments, seen = [], []

    def look() -> None:
        moments.append(datetime.now(UTC))
        with found.client() as client:
            seen.append(client.lookup("late", {"tailnum": "N1"}, now=moments[-1])["legs__arr_delay"])

    moments.append(datetime.now(UTC))
    seen.append(None)  # before the first export there is nothing to look up
    for step in range(3):
        with duckdb.connect(str(tmp_path / "db.duckdb")) as connection:
            now = datetime.now(UTC).replace(tzinfo=None)
            connection.execute("INSERT INTO legs VALUES ('N1', ?, ?, ?)", [now, float(step), now])
        if step:
            look()
        found.export()
        look()
    assert seen == [None, 0.0, 0.0, 1.0, 1.0, 2.0]
    with found.build_training_set("late", labels(*moments), mode="as_served") as training_set:
        assert training_set.to_arrow()["legs__arr_delay"].to_pylist() == seen
        assert training_set.lock["mode"] == "as_served"


def test_as_served_needs_an_export_and_views_that_are_exported(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        online(tmp_path, online=False).build_training_set("late", labels(datetime.now(UTC)), mode="as_served")
    assert [problem.what for problem in caught.value.problems] == [
        "no export has been recorded in this warehouse, so what was being served is unknown",
        "legs is never exported, so what was being served is unknown",
    ]


HOLD = "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); print('held', flush=True); time.sleep(60)"


def test_a_file_that_somebody_holds_is_waited_for_and_its_holder_named(tmp_path: Path) -> None:
    found, store = online(tmp_path), MemoryStore()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "db.duckdb")], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(WarehouseError, match=f"PID {holder.pid}"):
            found.export(store=store, lock_timeout=timedelta(seconds=0.2))
        holder.kill()
    assert not list(store.live("legs@1"))
    time.sleep(0.1)
    assert found.export(store=store).views[0].written == 3
