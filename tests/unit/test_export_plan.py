"""Plans: what an export would write and cost, found without writing anything; prices; the limit on cost."""

from __future__ import annotations

import json
import tomllib
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from featurelayer.cli import main
from featurelayer.errors import MetadataError, PlanError
from featurelayer.export import Prices, ViewPlan
from featurelayer.export.prices import TABLE
from featurelayer.layer import FeatureLayer
from featurelayer.online import MemoryStore
from tests.exporting import TABLES, export_view, exporter_of, forget, intend, snapshot_of, warehouse_of
from tests.online_cases import PLANE_LEGS, legs_batch
from tests.unit import dbt_projects as made
from tests.unit.warehouses import LEGS, layer

T = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
STORE = "online_store: {dev: {type: sqlite, path: online.db}}\nentities: {plane: {keys: {tailnum: varchar}}}\n"


def plan(store, rows, as_of=T, **options) -> ViewPlan:
    with closing(warehouse_of(store)) as warehouse:
        return exporter_of(store).plan(warehouse, snapshot_of(PLANE_LEGS, [legs_batch(rows)], as_of), **options)


def counts(found: ViewPlan) -> tuple[int, ...]:
    return found.new, found.changed, found.in_doubt, found.removed, found.unchanged


def tables_of(store) -> list[str]:
    with closing(warehouse_of(store)) as warehouse:
        return [name for (name,) in warehouse.rows("SELECT table_name FROM duckdb_tables() WHERE NOT temporary")]


def test_a_plan_before_the_first_export_makes_no_tables():
    store = MemoryStore()
    found = plan(store, [("N1", T, 1.0, 1), (None, T, 1.0, 1)])
    assert counts(found) == (1, 0, 0, 0, 0)
    assert (found.rows, found.null_keys) == (1, 1)
    assert tables_of(store) == []
    assert store.describe()["items"] == 0


def test_a_plan_says_what_the_export_then_does():
    store = MemoryStore()
    export_view(
        store, PLANE_LEGS, [legs_batch([("same", T, 1.0, 1), ("other", T, 1.0, 1), ("gone", T, 1.0, 1)])], as_of=T
    )
    rows = [("same", T, 1.0, 1), ("other", T, 2.0, 1), ("new", T, 1.0, 1)]
    found = plan(store, rows, T + HOUR)
    assert counts(found) == (1, 1, 0, 1, 1)
    done = export_view(store, PLANE_LEGS, [legs_batch(rows)], as_of=T + HOUR)
    assert (done.written, done.unchanged, done.tombstones, done.units) == (2, 1, 1, found.units)
    assert found.bytes == pytest.approx(done.bytes, rel=0.1)
    assert counts(plan(store, rows, T + 2 * HOUR)) == (0, 0, 0, 0, 3)
    assert counts(plan(store, rows, T + 2 * HOUR, full=True)) == (0, 3, 0, 0, 0)


def test_units_are_whole_kilobytes_of_an_item():
    assert plan(MemoryStore(), [("N" * 100, T, 1.0, 1)]).units == 1
    assert plan(MemoryStore(), [("N" * 1000, T, 1.0, 1), ("M" * 2000, T, 1.0, 1)]).units == 2 + 3


def test_what_died_is_in_doubt_and_counted_as_resumed():
    store = MemoryStore()
    exporter = exporter_of(store)
    intend(exporter, store, snapshot_of(PLANE_LEGS, [legs_batch([("N1", T, 1.0, 1), ("N2", T, 1.0, 1)])], T))
    rows = [("N1", T, 1.0, 1), ("N3", T, 1.0, 1)]
    assert counts(plan(store, rows, T + HOUR)) == (1, 0, 1, 1, 0)
    done = export_view(store, PLANE_LEGS, [legs_batch(rows)], as_of=T + HOUR)
    assert (done.written, done.resumed, done.tombstones) == (2, 1, 1)


def test_a_commit_that_the_ledger_was_not_told_of_counts_in_a_plan_too(monkeypatch):
    store = MemoryStore()
    exporter = exporter_of(store)
    intent = intend(exporter, store, snapshot_of(PLANE_LEGS, [legs_batch([("N1", T, 1.0, 1)])], T))
    monkeypatch.setattr(exporter, "_complete_ledger", lambda *_: None)
    exporter.finish(intent)
    assert counts(plan(store, [("N1", T, 1.0, 1)], T + HOUR)) == (0, 0, 0, 0, 1)
    with closing(warehouse_of(store)) as warehouse:
        assert warehouse.rows(f"SELECT finished_at FROM {TABLES.ledger}") == [(None,)]


def test_a_warehouse_that_was_rebuilt_plans_by_what_the_store_lists():
    store = MemoryStore()
    export_view(store, PLANE_LEGS, [legs_batch([("N1", T, 1.0, 1), ("N2", T, 1.0, 1)])], as_of=T)
    forget(store)
    assert counts(plan(store, [("N1", T, 1.0, 1)], T + HOUR)) == (0, 1, 0, 1, 0)


# --- money -----------------------------------------------------------------------------------------------------------


def test_the_table_of_prices_is_whole():
    table = tomllib.loads(TABLE.read_text())
    prices = Prices.for_dynamodb({})
    assert prices.source == f"prices of us-east-1, looked up {table['looked_up'].isoformat()}"
    assert prices.cost(rows=8_000_000, units=8_000_000).usd == pytest.approx(8 * table["export"]["million_write_units"])
    assert prices.cost(rows=24_000, units=480_000).minutes == pytest.approx(2)
    assert prices.cost(rows=1_200_000, units=1_200_000).minutes == pytest.approx(5)


def test_prices_of_the_project_go_before_it_and_a_file_costs_nothing():
    dear = Prices.for_dynamodb({"million_write_units": 2.0, "rows_per_second": 100})
    assert dear.cost(rows=6_000, units=1_000_000).usd == 2.0
    assert dear.cost(rows=6_000, units=6_000).minutes == 1
    assert dear.source.endswith("; million_write_units, rows_per_second of featurelayer.yml")
    assert Prices.free({}).cost(rows=600_000, units=10**9).usd == 0


def project(root: Path, yml: str = STORE) -> FeatureLayer:
    layer(root, made.model(online=True, ttl="400 weeks"))
    (root / "featurelayer.yml").write_text(yml)
    return FeatureLayer(root, profiles_dir=root)


def test_unknown_and_impossible_prices_are_all_named(tmp_path):
    found = project(tmp_path, f"{STORE}prices: {{million_write_unit: 1, rows_per_second: 0}}\n")
    with pytest.raises(MetadataError) as caught:
        found.plan_export()
    text = str(caught.value)
    assert "million_write_unit" in text
    assert "did you mean 'million_write_units'" in text
    assert "rows_per_second" in text


def run(root: Path, *arguments: str) -> int:
    return main([*arguments, "--project-dir", str(root), "--profiles-dir", str(root)])


def test_the_command_prints_the_plan_and_leaves_no_trace(tmp_path, capsys):
    project(tmp_path)
    before = (tmp_path / "db.duckdb").read_bytes()
    assert run(tmp_path, "export", "--plan", "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["usd"] == 0
    assert found["prices"] == "this store costs nothing"
    assert {name: found["views"][0][name] for name in ("view", "rows", "new", "unchanged", "units")} == {
        "view": "legs", "rows": 3, "new": 3, "unchanged": 0, "units": 3,
    }  # fmt: skip
    assert run(tmp_path, "export", "--plan") == 0
    assert "about 0.0000 USD (this store costs nothing); nothing was written" in capsys.readouterr().out
    assert (tmp_path / "db.duckdb").read_bytes() == before
    assert not (tmp_path / "online.db").exists()


@pytest.fixture
def table(moto_endpoint, tmp_path, monkeypatch) -> FeatureLayer:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    store = (
        f"{{type: dynamodb, table: {tmp_path.name}, region: eu-west-1, endpoint_url: '{moto_endpoint}', timeout: 20}}"
    )
    found = project(tmp_path, f"online_store: {{dev: {store}}}\nentities: {{plane: {{keys: {{tailnum: varchar}}}}}}\n"
                    "prices: {million_write_units: 1000000}\n")  # fmt: skip
    found.online.create()
    return found


def test_above_the_limit_nothing_is_written_anywhere(table, tmp_path, capsys):
    assert table.plan_export().cost.usd == 3
    for more in (("--plan",), ()):
        assert run(tmp_path, "export", "--max-cost", "2.5", *more) == 1
        error = capsys.readouterr().err
        assert "about 3.0000 USD, and 2.5000 USD is allowed" in error
        assert "Traceback" not in error
    with duckdb.connect(str(tmp_path / "db.duckdb"), read_only=True) as connection:
        assert connection.sql(
            "SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 'featurelayer%'"
        ).fetchall() == [(0,)]
    assert table.store_status().views[0].freshness == "not exported"
    assert run(tmp_path, "export", "--max-cost", "3", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["usd"] == 3


def test_a_limit_that_is_not_reached_changes_nothing(tmp_path):
    found = project(tmp_path)
    assert found.export(max_cost=0).views[0].written == 3
    with pytest.raises(PlanError, match="is in the future"):
        found.plan_export(as_of=datetime.now(UTC) + timedelta(days=1))


def test_a_view_that_can_not_be_planned_says_so(tmp_path):
    found = layer(tmp_path, made.model(online=True, ttl="1 day"), sql=LEGS.replace("legs", "other"))
    with pytest.raises(PlanError, match="not built"):
        found.plan_export(store=MemoryStore())
