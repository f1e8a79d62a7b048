"""Values between exports: what a client writes is served at once, reaches the warehouse once, and can be erased."""

import asyncio
import json
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
import yaml

from featurelayer.cli import main
from featurelayer.errors import CodecError, OnlineStoreError, PlanError, StoreNotFound, UnknownNameError
from featurelayer.layer import FeatureLayer
from featurelayer.online import AsyncFeatureClient, FeatureClient, Item, MemoryStore, Status, WriteResult
from featurelayer.online.stores.sqlite import SqliteStore
from featurelayer.online.streaming import SHARDS, log_partitions, read_log_entries
from tests.unit import dbt_projects as made
from tests.unit.warehouses import layer

NOON = datetime(2024, 1, 1, 13, tzinfo=UTC)
SK = "legs@0"


def online(root: Path, **more) -> FeatureLayer:
    return layer(root, made.model(online=True, **more))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def project(tmp_path: Path, store: MemoryStore) -> FeatureLayer:
    found = online(tmp_path)
    found.export(store=store, as_of=NOON)
    return found


def value(store, tailnum="N1"):
    return FeatureClient(store).lookup("late", {"tailnum": tailnum})["legs__arr_delay"]


def rows(project: FeatureLayer, query: str) -> list[tuple]:
    with duckdb.connect(str(project.project.root / "db.duckdb"), read_only=True) as connection:
        return connection.execute(query).fetchall()


# --- writing ---------------------------------------------------------------------------------------------------------


def test_what_is_written_is_served_and_in_the_log(project, store):
    client = FeatureClient(store)
    assert value(store, "N2") == -3.5
    row = {"tailnum": "N2", "arr_delay": 8.25, "landed_at": NOON}
    assert client.write("legs", [row]) == WriteResult(written=1, unchanged=0)
    assert value(store, "N2") == 8.25
    [(_, entry)] = read_log_entries(store, SK)
    assert (entry.pk, entry.f) == ('plane["N2"]', "[8.25]")
    before = datetime.now(UTC)
    client.write("legs", [{"tailnum": "N9", "arr_delay": None}])
    found = client.lookup("late", {"tailnum": "N9"}).features["legs__arr_delay"]
    assert found.status is Status.NULL
    assert before <= found.event_time <= datetime.now(UTC)


@pytest.mark.parametrize("hours", [0, 100])
def test_the_store_collects_a_written_value_two_weeks_after_it_expired(tmp_path, store, hours):
    """In whole seconds, and never before the time it was written."""
    online(tmp_path, ttl="48 hours").export(store=store, as_of=NOON)
    event, before = datetime.now(UTC) - timedelta(hours=hours, microseconds=1), datetime.now(UTC)
    FeatureClient(store).write("legs", [{"tailnum": "N9", "arr_delay": 1.0, "landed_at": event}])
    key = 'plane["N9"]', SK
    expired = event + timedelta(hours=48) if hours == 0 else before
    late = store.read([key])[key].ttl - (expired + timedelta(days=14)).timestamp()
    assert 0 <= late < (1 if hours == 0 else 60)


def test_newer_wins_within_a_call_between_calls_and_against_exports(project, store):
    client = FeatureClient(store)
    row = {"tailnum": "N1", "arr_delay": 1.0, "landed_at": NOON - timedelta(hours=2)}
    assert client.write("legs", [row]).refused == (0,)  # the export has seen a later leg
    late = row | {"landed_at": NOON, "arr_delay": 2.0}
    assert client.write("legs", [late, row]) == WriteResult(written=1, unchanged=0, refused=(1,))
    assert client.write("legs", [row, late | {"landed_at": NOON - timedelta(minutes=5)}]).refused == (0, 1)
    project.export(store=store)  # nothing has changed for it
    project.export(store=store, full=False)
    assert value(store) == 2.0
    assert len(list(read_log_entries(store, SK))) == 5


@pytest.mark.parametrize("event", [{}, {"landed_at": NOON}], ids=["time of the write", "one event time"])
def test_of_two_rows_of_one_key_in_one_call_the_later_wins(project, store, event):
    rows = [{"tailnum": "N1", "arr_delay": value, **event} for value in (1.0, 2.0, 3.0)]
    assert FeatureClient(store).write("legs", rows) == WriteResult(written=1, unchanged=0, refused=(0, 1))
    assert value(store) == 3.0
    assert [entry.f for _, entry in read_log_entries(store, SK)] == ["[1.0]", "[2.0]", "[3.0]"]


def test_an_export_yields_to_a_streamed_value_until_it_has_seen_it(project, store):
    FeatureClient(store).write("legs", [{"tailnum": "N1", "arr_delay": 2.0, "landed_at": NOON}])
    with duckdb.connect(str(project.project.root / "db.duckdb")) as connection:
        connection.execute("INSERT INTO legs VALUES ('N1', TIMESTAMP '2024-01-01 12:30', 3.0)")
    assert project.export(store=store).views[0].refused == 1
    assert value(store) == 2.0
    with duckdb.connect(str(project.project.root / "db.duckdb")) as connection:
        connection.execute("INSERT INTO legs VALUES ('N1', TIMESTAMP '2024-01-01 13:00', 4.0)")
    assert project.export(store=store).views[0].written == 1
    assert value(store) == 4.0


def test_everything_wrong_is_said_at_once_and_nothing_is_written(project, store):
    client = FeatureClient(store)
    with pytest.raises(PlanError) as caught:
        client.write("legs", [
            {"tailnum": None, "arr_delai": 1},
            {"tailnum": 5, "arr_delay": "x"},
            {"tailnum": "N1", "arr_delay": 1.0, "landed_at": datetime.now(UTC) + timedelta(hours=1)},
        ])  # fmt: skip
    for said in ("'arr_delay' is missing", "'tailnum' is None", "'arr_delai' (did you mean 'arr_delay'?)",
                 "row 1.tailnum: 5", "row 1.arr_delay: 'x'", "in the future",
                "write what has happened; a naive time is UTC"):  # fmt: skip
        assert said in str(caught.value)
    with pytest.raises(CodecError, match=r"row 0.tailnum: 5(.|\n)*row 1.landed_at: 'soon'"):
        client.write("legs", [{"tailnum": 5, "arr_delay": 1}, {"tailnum": "a", "arr_delay": 1, "landed_at": "soon"}])
    with pytest.raises(UnknownNameError, match="did you mean 'legs'"):
        client.write("leg", [])
    assert client.write("legs", []) == WriteResult(written=0, unchanged=0)
    assert list(read_log_entries(store, SK)) == []
    assert value(store, "N2") == -3.5


def test_the_log_comes_first(project, store, monkeypatch):
    """A value that is served is in the log, whatever fails between the two writes."""
    write, calls = store.write, []

    def failing(items, **how):
        calls.append([item.pk for item in items])
        if len(calls) == 2:
            raise OnlineStoreError("no")
        return write(items, **how)

    monkeypatch.setattr(store, "write", failing)
    with pytest.raises(OnlineStoreError):
        FeatureClient(store).write("legs", [{"tailnum": "N2", "arr_delay": 1.0}])
    assert calls[0][0].startswith("#log#legs@0#")
    assert len(list(read_log_entries(store, SK))) == 1


def test_two_clients_that_write_at_once_lose_nothing(project, store):
    one, other = FeatureClient(store), FeatureClient(store)
    for number in range(40):
        for client in (one, other):
            client.write("legs", [{"tailnum": f"N{number}", "arr_delay": 1.0}])
    assert len(list(read_log_entries(store, SK))) == 80
    assert sum(bool(store.names(pk)) for pk in log_partitions(SK)) == SHARDS


def test_the_async_client_writes_too(project, store):
    async def write() -> WriteResult:
        async with AsyncFeatureClient(store) as client:
            return await client.write("legs", [{"tailnum": "N2", "arr_delay": 6.0}])

    assert asyncio.run(write()).written == 1


# --- draining --------------------------------------------------------------------------------------------------------


def test_a_drain_appends_each_row_once_and_empties_the_log(project, store):
    client = FeatureClient(store)
    client.write(
        "legs", [{"tailnum": "N2", "arr_delay": 8.25, "landed_at": NOON}, {"tailnum": "N3", "arr_delay": None}]
    )
    [done] = project.drain(store=store)
    assert (done.view, done.appended, done.known) == ("legs", 2, 0)
    found = rows(project, "SELECT tailnum, landed_at, arr_delay FROM featurelayer_streamed__legs ORDER BY tailnum")
    assert found[0] == ("N2", datetime(2024, 1, 1, 13), 8.25)
    assert found[1][::2] == ("N3", None)
    assert list(read_log_entries(store, SK)) == []
    assert value(store, "N2") == 8.25
    assert project.drain(store=store) == []
    client.write("legs", [{"tailnum": "N2", "arr_delay": 9.0}])
    assert project.drain(store=store)[0].appended == 1
    types = rows(project, "SELECT column_name, data_type FROM information_schema.columns "
                          "WHERE table_name = 'featurelayer_streamed__legs'")  # fmt: skip
    assert types == [("tailnum", "VARCHAR"), ("landed_at", "TIMESTAMP"), ("arr_delay", "DOUBLE"),
                     ("written_at", "TIMESTAMP"), ("log_id", "VARCHAR")]  # fmt: skip


def test_a_drain_that_dies_after_its_commit_leaves_no_duplicate(project, store, monkeypatch):
    FeatureClient(store).write("legs", [{"tailnum": "N2", "arr_delay": 8.25}])
    remove = store.remove
    monkeypatch.setattr(store, "remove", lambda _keys: (_ for _ in ()).throw(OnlineStoreError("killed")))
    with pytest.raises(OnlineStoreError):
        project.drain(store=store)
    FeatureClient(store).write("legs", [{"tailnum": "N2", "arr_delay": 8.5}])
    monkeypatch.setattr(store, "remove", remove)
    [done] = project.drain(store=store)
    assert (done.appended, done.known) == (1, 1)
    assert rows(project, "SELECT arr_delay FROM featurelayer_streamed__legs ORDER BY 1") == [(8.25,), (8.5,)]


def test_a_drain_that_dies_before_its_commit_loses_nothing(project, store, monkeypatch):
    FeatureClient(store).write("legs", [{"tailnum": "N2", "arr_delay": 8.25}])
    # By its module: the package has a function of the same name.
    module = sys.modules["featurelayer.export.drain"]
    monkeypatch.setattr(module, "_count_query", lambda _target: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        project.drain(store=store)
    monkeypatch.undo()
    assert len(list(read_log_entries(store, SK))) == 1
    assert project.drain(store=store)[0].appended == 1


def test_rows_of_an_earlier_schema_are_drained_by_name(tmp_path, store):
    old = online(tmp_path / "old")
    old.export(store=store, as_of=NOON)
    FeatureClient(store).write("legs", [{"tailnum": "N2", "arr_delay": 8.25}])
    assert old.drain(store=store)[0].appended == 1
    FeatureClient(store).write("legs", [{"tailnum": "N2", "arr_delay": 9.25}])
    seats = {"seats": made.column("bigint")}
    new = layer(
        tmp_path / "old", made.model(online=True, columns=seats), sql="ALTER TABLE legs ADD COLUMN seats BIGINT"
    )
    new.export(store=store, full=True)
    FeatureClient(store).write("legs", [{"tailnum": "N2", "arr_delay": 1.0, "seats": 150}])
    assert new.drain(store=store)[0].appended == 2
    found = rows(new, "SELECT arr_delay, seats FROM featurelayer_streamed__legs ORDER BY written_at")
    assert found == [(8.25, None), (9.25, None), (1.0, 150)]


def test_a_table_that_does_not_fit_is_an_error_and_the_log_stays(project, store):
    FeatureClient(store).write("legs", [{"tailnum": "N2", "arr_delay": 8.25}])
    with duckdb.connect(str(project.project.root / "db.duckdb")) as connection:
        connection.execute("CREATE TABLE featurelayer_streamed__legs (tailnum BIGINT, arr_delay VARCHAR)")
    with pytest.raises(PlanError, match=r"'tailnum'(.|\n)*'arr_delay'"):
        project.drain(store=store)
    assert len(list(read_log_entries(store, SK))) == 1


# --- erasing ---------------------------------------------------------------------------------------------------------


def test_a_subject_is_erased_everywhere_and_no_older_run_brings_it_back(project, store):
    client = FeatureClient(store)
    client.write("legs", [{"tailnum": "N2", "arr_delay": 8.25}, {"tailnum": "N1", "arr_delay": 1.0}])
    project.drain(store=store)
    client.write("legs", [{"tailnum": "N2", "arr_delay": 9.25}, {"tailnum": "N1", "arr_delay": 2.0}])
    [done] = project.forget({"tailnum": "N2"}, store=store)
    assert (done.view, done.items, done.log, done.export_items, done.streamed) == ("legs", 1, 1, 1, 1)
    found = client.lookup("late", {"tailnum": "N2"}).features["legs__arr_delay"]
    assert found.status is Status.MISSING
    [item] = store.read([('plane["N2"]', SK)]).values()
    assert (item.deleted, item.f) == (True, "")
    assert value(store, "N1") == 2.0
    assert [entry.pk for _, entry in read_log_entries(store, SK)] == ['plane["N1"]']
    for table in ("featurelayer_export_items", "featurelayer_streamed__legs"):
        key = "pk" if "items" in table else "tailnum"
        left = rows(project, f"SELECT {key} FROM {table}")
        assert left
        assert not [text for (text,) in left if "N2" in text]
    # What a run wrote that had begun before loses, and what is still in the source comes back with the next export.
    assert store.write([item_of(version=item.version - 1)], rewrite=True, rewind=True).refused == 1
    assert project.forget({"tailnum": "N2"}, store=store)[0].items == 0
    assert project.export(store=store).views[0].written == 1
    with duckdb.connect(str(project.project.root / "db.duckdb")) as connection:
        connection.execute("DELETE FROM legs WHERE tailnum = 'N2'")
    project.forget({"tailnum": "N2"}, store=store)
    project.export(store=store)
    assert client.lookup("late", {"tailnum": "N2"}, consistent=True)["legs__arr_delay"] is None


def item_of(*, version: int) -> Item:
    return Item(pk='plane["N2"]', sk=SK, version=version, event_time=version, f="[1.0]", schema="x")


def test_a_rollback_does_not_bring_an_erased_subject_back(project, store):
    first = project.kept_exports("legs", store=store)[0].run
    with duckdb.connect(str(project.project.root / "db.duckdb")) as connection:
        connection.execute("INSERT INTO legs VALUES ('N1', TIMESTAMP '2024-01-01 13:00', 4.0)")
        connection.execute("DELETE FROM legs WHERE tailnum = 'N2'")
    project.forget({"tailnum": "N2"}, store=store)
    project.export(store=store)
    project.rollback("legs", first, store=store)
    assert value(store, "N1") is None
    assert FeatureClient(store).lookup("late", {"tailnum": "N2"}).features["legs__arr_delay"].status is Status.MISSING


def test_what_can_not_be_forgotten_is_said(project, store):
    with pytest.raises(PlanError, match=r"no online view has a key with seats(.|\n)*tailnum"):
        project.forget({"seats": "1"}, store=store)
    assert project.forget({"tailnum": "never seen"}, store=store)[0].items == 0


def test_part_of_a_key_names_all_that_have_it(tmp_path, store):
    columns = {"airport": made.column("varchar", join_key="airport_hour.airport"),
               "hour": made.column("integer", join_key="airport_hour.hour")}  # fmt: skip
    weather = made.model("weather", entity="airport_hour", columns=columns, drop=("tailnum",), online=True)
    sql = """CREATE TABLE weather AS FROM (VALUES
      ('EWR', 7::INTEGER, TIMESTAMP '2024-01-01 10:00', 1.0::DOUBLE), ('EWR', 8, TIMESTAMP '2024-01-01 11:00', 2.0),
      ('JFK', 7, TIMESTAMP '2024-01-01 10:00', 3.0)) t(airport, hour, landed_at, arr_delay)"""
    exposure = made.exposure("weather.arr_delay", label_timestamp="at", depends_on=("model.shop.weather",))
    found = layer(tmp_path, weather, exposures=(exposure,), sql=sql)
    found.export(store=store, as_of=NOON)
    FeatureClient(store).write("weather", [{"airport": "EWR", "hour": 9, "arr_delay": 5.0}])
    [done] = found.forget({"airport": "EWR"}, store=store)
    assert (done.items, done.log, done.export_items) == (3, 1, 2)
    assert [key.pk for key in store.live("weather@0")] == ['airport_hour["JFK",7]']
    assert found.forget({"hour": "7", "airport": "JFK"}, store=store)[0].items == 1


# --- the command line ------------------------------------------------------------------------------------------------


def test_the_commands_print_what_they_did(tmp_path, capsys):
    online(tmp_path)
    stores = {"online_store": {"dev": {"type": "sqlite", "path": "online.db"}}}
    (tmp_path / "featurelayer.yml").write_text(yaml.safe_dump({"entities": made.ENTITIES, **stores}))
    project = FeatureLayer(tmp_path, profiles_dir=tmp_path)
    here = ["--project-dir", str(tmp_path), "--profiles-dir", str(tmp_path)]

    def run(*command: str, code: int = 0) -> str:
        assert main([*command, *here]) == code
        return capsys.readouterr().out

    run("export", "--as-of", NOON.isoformat())
    with project.client() as client:
        client.write("legs", [{"tailnum": "N2", "arr_delay": 8.25}])
    assert run("online", "drain").split() == [
        "view", "appended", "known", "table", "legs", "1", "0", '"main"."featurelayer_streamed__legs"',
    ]  # fmt: skip
    assert run("online", "drain") == ""
    assert json.loads(run("online", "drain", "-s", "legs", "--format", "json"))["views"][0]["appended"] == 0
    assert run("online", "forget", "--key", "tailnum=N2").split() == [
        "view", "items", "log", "kept", "exports", "streamed", "legs", "1", "0", "1", "1",
    ]  # fmt: skip
    assert json.loads(run("online", "forget", "--key", "tailnum=N2", "--format", "json")) == {
        "views": [{"view": "legs", "items": 0, "log": 0, "export_items": 0, "streamed": 0}]
    }
    run("online", "forget", "--key", "seats=1", code=1)
    run("online", "forget", "--key", "tailnum", code=2)
    run("online", "drain", "-s", "nothing", code=1)


# --- files of before -------------------------------------------------------------------------------------------------


def test_a_file_from_before_streaming_is_brought_up_to_date_by_its_next_writer(tmp_path):
    path = tmp_path / "online.db"
    store = SqliteStore(path)
    store.write([Item(pk="a[1]", sk=SK, version=1, event_time=5, f="[1]")])
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("ALTER TABLE items DROP COLUMN w; PRAGMA user_version = 1;")
    with pytest.raises(StoreNotFound, match="featurelayer online create"):
        store.read([("a[1]", SK)])
    store.close()
    store.create()
    assert store.read([("a[1]", SK)])["a[1]", SK].streamed is False
    newer = Item(pk="a[1]", sk=SK, version=2, event_time=6, f="[2]", streamed=True)
    assert store.write([newer]).written == 1
    assert store.read([newer.key]) == {newer.key: newer}
    store.close()
