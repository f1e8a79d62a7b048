"""Going back to an earlier export: the store holds again what it held, and all that follows from it."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.cli import main
from featurelayer.errors import ConfigError, PlanError
from featurelayer.export import ViewExport
from featurelayer.layer import FeatureLayer
from featurelayer.online import Item, MemoryStore
from featurelayer.online.definitions import ViewCommit, commit_key, view_schema
from tests.exporting import export_view, exporter_of, forget, intend, snapshot_of, warehouse_of
from tests.online_cases import PLANE_LEGS, STATIC_PLANES, legs_batch, micros, planes_batch
from tests.profiles import examples
from tests.unit import dbt_projects as made
from tests.unit.warehouses import layer

pytestmark = pytest.mark.slow

T = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SK = "plane_legs@0"


def export(store, rows, hours: int, **options) -> ViewExport:
    return export_view(store, PLANE_LEGS, [legs_batch(rows)], as_of=T + hours * HOUR, **options)


def roll_back(store, run: str, view=PLANE_LEGS, **options) -> ViewExport:
    exporter = exporter_of(store, **options)
    with closing(warehouse_of(store)) as warehouse, warehouse.transaction():
        intent = exporter.restore(warehouse, view, run)
    return exporter.finish(intent)


def contents(store, sk: str = SK) -> dict[str, tuple[str, int | None]]:
    """What a reader finds, by key."""
    live = {(key.pk, sk) for key in store.live(sk)}
    return {item.pk: (item.f, item.event_time) for item in store.read(live).values()}


def commit_of(store) -> ViewCommit:
    (item,) = store.read([commit_key(SK)]).values()
    return ViewCommit.from_item(item)


def test_values_and_tombstones_come_back_and_the_commit_says_so():
    store = MemoryStore()
    first = export(store, [("same", T, 1.0, 1), ("other", T, 1.0, 1), ("gone", T, 1.0, 1)], 0)
    held = contents(store)
    export(store, [("same", T, 1.0, 1), ("other", T + HOUR, 2.0, 1), ("new", T, 1.0, 1)], 1)
    before = commit_of(store)
    done = roll_back(store, first.run)
    assert (done.written, done.unchanged, done.tombstones, done.rows) == (2, 1, 1, 3)
    assert contents(store) == held
    after = commit_of(store)
    assert (after.as_of, after.source_time, after.rows) == (micros(T), micros(T), 3)
    assert after.version > before.version
    (new,) = store.read([('plane["new"]', SK)]).values()
    assert new.deleted


def test_the_next_export_brings_the_present_back():
    store = MemoryStore()
    first = export(store, [("N1", T, 1.0, 1)], 0)
    present = [("N1", T + HOUR, 2.0, 2), ("N2", T, 1.0, 1)]
    export(store, present, 1)
    held = contents(store)
    roll_back(store, first.run)
    assert (done := export(store, present, 2)).written == 2
    assert done.refused == 0
    assert contents(store) == held


def test_a_rollback_can_be_rolled_back():
    store = MemoryStore()
    first = export(store, [("N1", T, 1.0, 1)], 0)
    second = export(store, [("N1", T, 2.0, 2)], 1)
    roll_back(store, first.run)
    roll_back(store, second.run)
    assert contents(store) == {'plane["N1"]': ("[2.0,2]", micros(T))}


def test_a_rollback_that_died_is_finished_by_what_comes_next():
    store = MemoryStore()
    first = export(store, [("N1", T, 1.0, 1), ("N2", T, 1.0, 1)], 0)
    export(store, [("N1", T, 2.0, 2), ("N2", T, 2.0, 2)], 1)
    with closing(warehouse_of(store)) as warehouse, warehouse.transaction():
        intent = exporter_of(store).restore(warehouse, PLANE_LEGS, first.run)
    item = Item(pk='plane["N1"]', sk=SK, version=intent.row.version, event_time=micros(T), f="[1.0,1]")
    store.write([item])
    done = export(store, [("N1", T, 2.0, 2), ("N2", T, 2.0, 2)], 2)
    assert (done.written, done.resumed) == (2, 2)
    assert {f for f, _ in contents(store).values()} == {"[2.0,2]"}


def test_values_that_were_streamed_since_are_replaced_too():
    store = MemoryStore()
    first = export(store, [("N1", T, 1.0, 1)], 0)
    streamed = Item(pk='plane["N1"]', sk=SK, version=micros(T) + 5, event_time=micros(T + HOUR), f="[9.0,9]",
                    schema=view_schema(PLANE_LEGS).fingerprint, streamed=True)  # fmt: skip
    second = export(store, [("N1", T, 2.0, 2)], 1)
    store.write([streamed])
    assert contents(store)['plane["N1"]'][0] == "[9.0,9]"
    roll_back(store, first.run)
    assert contents(store)['plane["N1"]'][0] == "[1.0,1]"
    assert second.refused == 0


def test_static_views_go_back_by_version_alone():
    store = MemoryStore()
    first = export_view(store, STATIC_PLANES, [planes_batch([("N1", 1), ("N2", 2)])], as_of=T)
    export_view(store, STATIC_PLANES, [planes_batch([("N1", 7)])], as_of=T + HOUR)
    roll_back(store, first.run, STATIC_PLANES)
    assert {pk: f for pk, (f, _) in contents(store, "planes@0").items()} == {'plane["N1"]': "[1]", 'plane["N2"]': "[2]"}


@pytest.mark.parametrize("name", ["run", "prefix", "version"])
def test_a_run_is_named_by_its_id_its_beginning_or_its_version(name):
    store = MemoryStore()
    first = export(store, [("N1", T, 1.0, 1)], 0)
    export(store, [("N1", T, 2.0, 2)], 1)
    roll_back(store, {"run": first.run, "prefix": first.run[:6], "version": str(micros(T))}[name])
    assert contents(store)['plane["N1"]'][0] == "[1.0,1]"


def test_what_can_not_be_gone_back_to_is_an_error_that_names_what_can():
    store = MemoryStore()
    runs = [export(store, [("N1", T, float(hour), hour)], hour, version=micros(T) + hour) for hour in range(9)]
    dead = exporter_of(store)
    intend(dead, store, snapshot_of(PLANE_LEGS, [legs_batch([("N1", T, 9.0, 9)])], T + 9 * HOUR))
    for name in (runs[0].run, runs[1].run, dead._run, "nobody", ""):
        with pytest.raises(
            PlanError, match=rf"runs that are kept: {runs[8].run[:8]} \(as of 2026-11-01T20:00:00"
        ) as caught:
            roll_back(store, name)
        assert runs[1].run[:8] not in str(caught.value).partition("kept:")[2]
    roll_back(store, runs[2].run)
    assert contents(store)['plane["N1"]'][0] == "[2.0,2]"


def test_a_warehouse_that_forgot_can_not_go_back():
    store = MemoryStore()
    first = export(store, [("N1", T, 1.0, 1)], 0)
    forget(store)
    with pytest.raises(PlanError, match="runs that are kept: none"):
        roll_back(store, first.run)


ROWS = st.dictionaries(st.sampled_from("abcd"), st.tuples(st.integers(-3, 0), st.integers(0, 2)), max_size=4)


@settings(max_examples=examples(15), deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=9), st.data())
def test_every_kept_state_can_be_had_again(histories, data):
    """Through any history, rollbacks among it: the store holds exactly what it held after the run that is named."""
    store = MemoryStore()
    states = []
    for hour, rows in enumerate(histories):
        batch = [(key, T + event * timedelta(minutes=1), float(value), value) for key, (event, value) in rows.items()]
        done = export(store, batch, hour) if batch else export_view(store, PLANE_LEGS, [], as_of=T + hour * HOUR)
        states.append((done.run, contents(store)))
        if data.draw(st.booleans()):
            run, held = data.draw(st.sampled_from(states[-3:]))
            again = roll_back(store, run)
            assert contents(store) == held
            states.append((again.run, held))
    for run, held in reversed(states[-2:]):
        roll_back(store, run)
        assert contents(store) == held


# --- the command -----------------------------------------------------------------------------------------------------

YML = """
online_store: {{dev: {{type: sqlite, path: online.db, keep: {keep}}}}}
entities: {{plane: {{keys: {{tailnum: varchar}}}}}}
"""
COLUMNS = {"loaded_at": made.column("timestamp")}
SQL = "CREATE TABLE legs (tailnum VARCHAR, landed_at TIMESTAMP, arr_delay DOUBLE, loaded_at TIMESTAMP)"


def project(root: Path, keep: object = 3) -> FeatureLayer:
    layer(root, made.model(online=True, available_at="loaded_at", ttl="400 weeks", columns=COLUMNS), sql=SQL)
    (root / "featurelayer.yml").write_text(YML.format(keep=keep))
    return FeatureLayer(root, profiles_dir=root)


def add(root: Path, delay: float) -> None:
    import duckdb

    with duckdb.connect(str(root / "db.duckdb")) as connection:
        now = datetime.now(UTC).replace(tzinfo=None)
        connection.execute("INSERT INTO legs VALUES ('N1', ?, ?, ?)", [now, delay, now])


def run(root: Path, *arguments: str) -> int:
    return main([*arguments, "--project-dir", str(root), "--profiles-dir", str(root)])


def looked_up(found: FeatureLayer) -> float | None:
    with found.client() as client:
        return client.lookup("late", {"tailnum": "N1"})["legs__arr_delay"]


def test_the_command_lists_plans_and_rolls_back_and_training_sees_it(tmp_path, capsys):
    found = project(tmp_path)
    for delay in (1.0, 2.0):
        add(tmp_path, delay)
        found.export()
    assert looked_up(found) == 2.0
    served_second = datetime.now(UTC)
    assert run(tmp_path, "rollback", "-s", "legs", "--format", "json") == 0
    second, first = json.loads(capsys.readouterr().out)
    assert run(tmp_path, "rollback", "-s", "legs") == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("is served")
    assert run(tmp_path, "rollback", "-s", "legs", "--to", first["run"][:8], "--plan", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["views"][0]["changed"] == 1
    assert looked_up(found) == 2.0
    assert run(tmp_path, "rollback", "-s", "legs", "--to", first["run"][:8]) == 0
    captured = capsys.readouterr()
    assert "services as they were" in captured.out
    assert "The next export brings the present back" in captured.err
    assert looked_up(found) == 1.0
    served_first = datetime.now(UTC)
    found.export()
    assert looked_up(found) == 2.0
    times = [served_second, served_first, datetime.now(UTC)]
    labels = pa.table({"tailnum": ["N1"] * 3, "at": pa.array(times, pa.timestamp("us", "UTC"))})
    with found.build_training_set("late", labels, mode="as_served") as training_set:
        assert training_set.to_arrow()["legs__arr_delay"].to_pylist() == [2.0, 1.0, 2.0]
    assert second["as_of"] > first["as_of"]
    assert run(tmp_path, "rollback", "-s", "legs", "--to", "zzz") == 1
    assert "legs can't go back to run 'zzz'" in capsys.readouterr().err


def test_keep_says_how_many_and_is_checked(tmp_path):
    found = project(tmp_path)
    for delay in range(5):
        add(tmp_path, float(delay))
        found.export()
    assert len(found.kept_exports("legs")) == 3
    for wrong in (0, "many"):
        (tmp_path / "featurelayer.yml").write_text(YML.format(keep=wrong))
        with pytest.raises(ConfigError, match="`keep` is"):
            FeatureLayer(tmp_path, profiles_dir=tmp_path).export()
