"""Every class of difference, made on purpose and named rightly; what the command says; how fast it reads."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import boto3
import duckdb
import pytest

from featurelayer.cli import main
from featurelayer.layer import FeatureLayer
from featurelayer.online import FeatureClient, MemoryStore
from featurelayer.online.base import LiveKey
from featurelayer.online.key_sample import sample_keys
from featurelayer.online.stores.dynamodb.key_sample import scan_sample
from featurelayer.online.stores.dynamodb.store import DynamoDBStore
from featurelayer.verify import MismatchClass, RateLimiter, VerifyReport
from tests.unit import dbt_projects as made
from tests.unit.warehouses import layer

pytestmark = pytest.mark.slow

NOON = datetime(2024, 1, 1, 13, tzinfo=UTC)
SEATS = {"seats": made.column("bigint"), "seen": made.column("timestamp")}
LEGS = """
CREATE TABLE legs AS SELECT * FROM (VALUES
  ('N1', TIMESTAMP '2024-01-01 10:00', 5.1::DOUBLE, 10::BIGINT, TIMESTAMP '2024-01-01 09:00:00.123456'),
  ('N1', TIMESTAMP '2024-01-01 12:00', 7.3, 20, TIMESTAMP '2024-01-01 09:00:00.123456'),
  ('N2', TIMESTAMP '2024-01-01 11:00', -3.55, 30, TIMESTAMP '2024-01-01 09:00:00.123456'),
  ('N3', TIMESTAMP '2024-01-01 11:30', NULL, 40, TIMESTAMP '2024-01-01 09:00:00.123456')
) t(tailnum, landed_at, arr_delay, seats, seen)
"""


def project(root: Path, *, columns: dict[str, Any] | None = None, checksum: str = "a", **more: Any) -> FeatureLayer:
    """A project whose model's file has this checksum; the warehouse is made if it is not there."""
    node = {"checksum": {"name": "sha256", "checksum": checksum}}
    legs = made.model(online=True, columns=SEATS | (columns or {}), node=node, **more)
    sql = "SELECT 1" if (root / "db.duckdb").exists() else LEGS
    exposures = (made.exposure("legs.arr_delay", "legs.seats", label_timestamp="at"),)
    layer(root, legs, exposures=exposures, sql=sql)
    with (root / "featurelayer.yml").open("a") as config:
        config.write("online_store: {dev: {type: sqlite, path: .featurelayer/online.db}}\n")
    return FeatureLayer(root, profiles_dir=root)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has been exported to its SQLite file."""
    root = tmp_path_factory.mktemp("exported")
    project(root).export(as_of=NOON)
    return root


@pytest.fixture
def found(exported: Path, tmp_path: Path) -> FeatureLayer:
    """The same, to do with as one likes."""
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    return FeatureLayer(tmp_path, profiles_dir=tmp_path)


def online(layer: FeatureLayer, *statements: str) -> None:
    """Change items behind everybody's back."""
    with sqlite3.connect(layer.project.root / ".featurelayer" / "online.db") as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement


def warehouse(layer: FeatureLayer, *statements: str) -> None:
    with duckdb.connect(str(layer.project.root / "db.duckdb")) as connection:
        for statement in statements:
            connection.execute(statement)


def only(report: VerifyReport) -> tuple[MismatchClass, str]:
    """The class of the one key that differs, and that key."""
    (view,) = report.views
    assert not report.ok
    assert view.mismatches == 1, report.to_dict()
    (kind,) = view.classes
    assert {example.kind for example in view.examples} == {kind}
    return kind, view.examples[0].key


# --- nothing is wrong -----


def test_a_healthy_store_is_equal(found):
    report = found.verify()
    (view,) = report.views
    assert (report.ok, report.mismatches) == (True, 0)
    assert (view.rows, view.compared, view.equal, view.warehouse_keys, view.online_keys) == (3, 3, 3, 3, 3)
    assert view.as_of == NOON
    assert not view.examples


def test_rows_that_came_later_are_none_of_its_business(found):
    warehouse(found, "INSERT INTO legs VALUES ('N1', TIMESTAMP '2024-01-01 13:00:00.000001', 1, 1, now())")
    assert found.verify().ok


def test_what_clients_streamed_is_no_alarm(found):
    with found.client() as client:
        row = {"tailnum": "N1", "arr_delay": 1.0, "seats": 1, "seen": None}
        client.write("legs", [row, row | {"tailnum": "N9"}])
        client.write("legs", [row | {"tailnum": "N2", "landed_at": datetime(2024, 1, 1, 11)}])
    report = found.verify()
    assert (report.ok, dict(report.views[0].excused)) == (True, {"streamed": 3})


def test_a_subject_that_was_forgotten_and_is_still_in_the_source_is_no_alarm(found):
    found.forget({"tailnum": "N1"})
    report = found.verify()
    assert (report.ok, dict(report.views[0].excused)) == (True, {"forgotten": 1})


def test_a_subject_that_was_forgotten_does_not_come_back_with_a_rollback_which_is_no_alarm(found):
    (run,) = found.kept_exports("legs")
    found.forget({"tailnum": "N1"})
    found.rollback("legs", run.run)
    report = found.verify()
    assert (report.ok, dict(report.views[0].excused)) == (True, {"forgotten": 1})


def test_a_subject_that_was_forgotten_and_exported_again_is_no_longer_forgotten(found):
    """The source has it still: the export brings it back, and where its write was lost that is told."""
    found.forget({"tailnum": "N1"})
    tombstone = "SELECT * FROM items WHERE pk = 'plane[\"N1\"]'"
    with sqlite3.connect(found.project.root / ".featurelayer" / "online.db") as connection:
        connection.execute(f"CREATE TABLE forgotten AS {tombstone}")
    found.export(as_of=NOON)
    assert (found.verify().ok, dict(found.verify().views[0].excused)) == (True, {})
    online(found, "INSERT OR REPLACE INTO items SELECT * FROM forgotten")
    assert only(found.verify()) == (MismatchClass.STALE, 'plane["N1"]')


def test_an_export_that_has_not_committed_is_no_alarm(found):
    online(found, "UPDATE items SET v = v + 1000000, f = '[9.0,9,9]' WHERE pk = 'plane[\"N1\"]'")
    report = found.verify()
    assert (report.ok, dict(report.views[0].excused)) == (True, {"uncommitted": 1})


def test_a_row_that_ended_after_the_export_is_no_alarm(tmp_path):
    columns = {"until": made.column("timestamp", feature=False)}
    layer = project(tmp_path, columns=columns, valid_to="until")
    warehouse(layer, "ALTER TABLE legs ADD COLUMN until TIMESTAMP")
    layer.export(as_of=NOON)
    warehouse(layer, "UPDATE legs SET until = TIMESTAMP '2024-01-01 14:00' WHERE tailnum = 'N1'")
    assert layer.verify().ok
    warehouse(layer, "UPDATE legs SET until = TIMESTAMP '2024-01-01 12:30' WHERE tailnum = 'N1'")
    assert only(layer.verify()) == (MismatchClass.LATE, 'plane["N1"]')


def test_rows_that_have_expired_may_leave_the_source(tmp_path):
    layer = project(tmp_path, ttl="1 hour")
    layer.export(as_of=NOON)
    warehouse(layer, "DELETE FROM legs WHERE tailnum = 'N2'")
    report = layer.verify()
    assert (report.ok, dict(report.views[0].excused)) == (True, {"gone": 1})


@pytest.mark.parametrize("hours", [0, 1, 2, 3])
def test_going_back_raises_no_alarm(found, hours):
    first = found.kept_exports("legs")[0].run
    found.export(as_of=datetime(2024, 1, 1, 10 + hours, 30))
    assert found.verify().ok
    found.rollback("legs", first)
    assert found.verify().ok
    found.export()
    assert found.verify().ok


def test_a_new_definition_that_was_exported_raises_no_alarm_nor_does_going_back_behind_it(found, tmp_path):
    first = found.kept_exports("legs")[0].run
    warehouse(found, "ALTER TABLE legs ADD COLUMN extra INTEGER DEFAULT 3")
    wider = project(tmp_path, columns={"extra": made.column("integer")})
    wider.export()
    assert wider.verify().ok
    wider.rollback("legs", first)
    assert wider.verify().ok


def test_keys_that_have_become_others_are_left_alone_for_one_export(found, tmp_path):
    warehouse(found, "ALTER TABLE legs ADD COLUMN hour INTEGER DEFAULT 7")
    columns = {"tailnum": made.column("varchar", join_key="airport_hour.airport"),
               "hour": made.column("integer", join_key="airport_hour.hour")}  # fmt: skip
    other = project(tmp_path, columns=columns, entity="airport_hour")
    report = other.verify()
    assert set(report.views[0].classes) == {MismatchClass.DEFINITION}
    other.export()
    report = other.verify()
    assert (report.ok, dict(report.views[0].excused)) == (True, {"gone": 3})
    other.export()
    assert other.verify().views[0].excused == {}


# --- one thing is -----


def test_a_row_that_came_late(found):
    warehouse(found, "INSERT INTO legs VALUES ('N1', TIMESTAMP '2024-01-01 12:30', 9.75, 21, NULL)")
    report = found.verify()
    assert only(report) == (MismatchClass.LATE, 'plane["N1"]')
    assert "30 min before the export" in report.views[0].examples[0].why
    assert set(report.views[0].features) == {"arr_delay", "seats", "seen", "landed_at"}


def test_a_key_that_came_late(found):
    warehouse(found, "INSERT INTO legs VALUES ('N7', TIMESTAMP '2024-01-01 12:30', 9.75, 21, NULL)")
    assert only(found.verify()) == (MismatchClass.LATE, 'plane["N7"]')


def test_a_row_that_was_changed_in_place(found):
    warehouse(found, "UPDATE legs SET seats = 77 WHERE tailnum = 'N2'")
    report = found.verify()
    assert only(report) == (MismatchClass.LATE, 'plane["N2"]')
    (example,) = report.views[0].examples
    assert (example.feature, example.expected, example.online) == ("seats", "77", "30")
    assert "same event time" in example.why


def test_a_row_that_came_an_hour_later_is_no_time_zone(found):
    warehouse(found, "INSERT INTO legs SELECT tailnum, landed_at + INTERVAL 1 HOUR, arr_delay, seats, seen FROM legs "
              "WHERE tailnum = 'N2'")  # fmt: skip
    assert only(found.verify()) == (MismatchClass.LATE, 'plane["N2"]')


def test_a_row_that_was_deleted(found):
    warehouse(found, "DELETE FROM legs WHERE tailnum = 'N2'")
    assert only(found.verify()) == (MismatchClass.DELETED, 'plane["N2"]')


def test_the_newest_row_that_was_deleted(found):
    warehouse(found, "DELETE FROM legs WHERE landed_at = TIMESTAMP '2024-01-01 12:00'")
    assert only(found.verify()) == (MismatchClass.DELETED, 'plane["N1"]')


def test_an_item_that_was_buried(found):
    online(found, "UPDATE items SET d = 1, f = '' WHERE pk = 'plane[\"N1\"]'")
    assert only(found.verify()) == (MismatchClass.DELETED, 'plane["N1"]')


def test_an_item_that_was_lost(found):
    online(found, "DELETE FROM items WHERE pk = 'plane[\"N1\"]'")
    assert only(found.verify()) == (MismatchClass.MISSING, 'plane["N1"]')


def test_a_key_that_nobody_exported(found):
    online(found, "INSERT INTO items (pk, sk, f, v, t, e, s, d) SELECT 'plane[\"X\"]', sk, f, v, t, e, s, d FROM items "
           "WHERE pk = 'plane[\"N1\"]'")  # fmt: skip
    assert only(found.verify()) == (MismatchClass.UNEXPECTED, 'plane["X"]')


def test_a_key_that_nobody_exported_is_found_however_old_it_is(tmp_path):
    layer = project(tmp_path, ttl="1 hour")
    layer.export(as_of=NOON)
    online(layer, "INSERT INTO items (pk, sk, f, v, t, e, s, d) SELECT 'plane[\"X\"]', sk, f, v, t, 0, s, d FROM items "
           "WHERE pk = 'plane[\"N1\"]'")  # fmt: skip
    assert only(layer.verify()) == (MismatchClass.UNEXPECTED, 'plane["X"]')


def test_values_that_nobody_exported(found):
    online(found, "UPDATE items SET f = '[8.0,20,1704099600123456]' WHERE pk = 'plane[\"N1\"]'")
    assert only(found.verify()) == (MismatchClass.UNEXPECTED, 'plane["N1"]')


@pytest.mark.parametrize("f", ["[]", "no JSON", "[1.0,2,3,4]"])
def test_values_that_cannot_be_read(found, f):
    online(found, f"UPDATE items SET f = '{f}' WHERE pk = 'plane[\"N1\"]'")
    assert only(found.verify()) == (MismatchClass.CORRUPT, 'plane["N1"]')


def test_an_item_of_an_earlier_export(tmp_path):
    layer = project(tmp_path)
    layer.export(as_of=datetime(2024, 1, 1, 11, tzinfo=UTC))
    old = sqlite3.connect(tmp_path / ".featurelayer" / "online.db")
    row = old.execute("SELECT f, v, t, e FROM items WHERE pk = 'plane[\"N1\"]'").fetchone()
    old.close()
    layer.export(as_of=NOON)
    assert layer.verify().ok
    f, version, as_of, event_time = row
    online(layer, f"UPDATE items SET f = '{f}', v = {version}, t = {as_of}, e = {event_time} "
           "WHERE pk = 'plane[\"N1\"]'")  # fmt: skip
    report = layer.verify()
    assert only(report) == (MismatchClass.STALE, 'plane["N1"]')
    # What the warehouse does not remember, the item's own snapshot time tells.
    warehouse(layer, "DROP TABLE featurelayer_exports")
    report = layer.verify()
    assert not report.views[0].remembered
    assert only(report) == (MismatchClass.STALE, 'plane["N1"]')


def test_a_tombstone_that_did_not_arrive(found):
    with sqlite3.connect(found.project.root / ".featurelayer" / "online.db") as connection:
        f, version, s = connection.execute("SELECT f, v, s FROM items WHERE pk = 'plane[\"N2\"]'").fetchone()
    warehouse(found, "DELETE FROM legs WHERE tailnum = 'N2'")
    found.export(as_of=NOON)
    assert found.verify().ok
    online(found, f"UPDATE items SET f = '{f}', v = {version}, s = '{s}', d = 0 WHERE pk = 'plane[\"N2\"]'")
    assert only(found.verify()) == (MismatchClass.STALE, 'plane["N2"]')


def test_another_model(found, tmp_path):
    warehouse(found, "UPDATE legs SET arr_delay = arr_delay * 2")
    assert set(project(tmp_path, checksum="a").verify().views[0].classes) == {MismatchClass.LATE}
    report = project(tmp_path, checksum="b").verify()
    assert dict(report.views[0].classes) == {MismatchClass.DEFINITION: 2}
    assert dict(report.views[0].features) == {"arr_delay": 2}
    project(tmp_path, checksum="b").export(as_of=NOON)
    assert project(tmp_path, checksum="b").verify().ok


def test_a_feature_that_the_store_does_not_have_yet(found, tmp_path):
    warehouse(found, "ALTER TABLE legs ADD COLUMN extra INTEGER DEFAULT 3")
    report = project(tmp_path, columns={"extra": made.column("integer")}).verify()
    assert dict(report.views[0].classes) == {MismatchClass.DEFINITION: 3}
    assert dict(report.views[0].features) == {"extra": 3}


@pytest.mark.parametrize(
    ("to", "declared"),
    [("FLOAT", "double"), ("FLOAT", "real"), ("DECIMAL(10,4)", "decimal(10,4)"), ("VARCHAR", "varchar")],
)
def test_another_type(found, tmp_path, to, declared):
    warehouse(found, f"ALTER TABLE legs ALTER COLUMN arr_delay TYPE {to}")
    report = project(tmp_path, columns={"arr_delay": made.column(declared)}).verify()
    assert set(report.views[0].classes) == {MismatchClass.PRECISION}, report.to_dict()
    assert set(report.views[0].features) == {"arr_delay"}


@pytest.mark.parametrize(
    "f", ["[7,20,1704099600123456]", "[7.300000190734863,20,1704099600123456]", "[7.3,20,1704099600123000]"]
)
def test_digits_that_were_lost_in_the_store(found, f):
    online(found, f"UPDATE items SET f = '{f}' WHERE pk = 'plane[\"N1\"]'")
    assert only(found.verify()) == (MismatchClass.PRECISION, 'plane["N1"]')


def test_a_model_in_another_time_zone(found):
    warehouse(found, "UPDATE legs SET landed_at = landed_at - INTERVAL 5 HOUR")
    report = found.verify()
    assert dict(report.views[0].classes) == {MismatchClass.TIME_ZONE: 3}
    assert "5 h later" in report.views[0].examples[0].why


def test_an_item_in_another_time_zone(found):
    hours = 5 * 3_600_000_000
    online(found, f"UPDATE items SET e = e - {hours} WHERE pk = 'plane[\"N1\"]'")
    assert only(found.verify()) == (MismatchClass.TIME_ZONE, 'plane["N1"]')
    online(found, f"UPDATE items SET f = '[7.3,20,{1704099600123456 - hours}]' WHERE pk = 'plane[\"N1\"]'")
    assert only(found.verify()) == (MismatchClass.TIME_ZONE, 'plane["N1"]')


def test_an_item_that_has_expired(tmp_path):
    layer = project(tmp_path, ttl="3 hours")
    layer.export(as_of=NOON)
    assert layer.verify().ok
    online(layer, "UPDATE items SET e = e - 86400000000 WHERE pk = 'plane[\"N1\"]'")
    assert only(layer.verify()) == (MismatchClass.EXPIRED, 'plane["N1"]')


def test_every_class_has_a_test_of_its_own():
    text = Path(__file__).read_text()
    assert all(f"Class.{kind.name}" in text for kind in MismatchClass)


# --- stores, samples, pace -----


def test_dynamodb_is_verified_alike(found, moto_endpoint):
    store = DynamoDBStore("verify", region="us-east-1", endpoint_url=moto_endpoint, timeout=5)
    store.create()
    found.export(store=store, as_of=NOON)
    report = found.verify(store=store)
    assert report.ok
    assert report.views[0].compared == 3
    assert report.views[0].read_units > 0
    table = boto3.resource("dynamodb", region_name="us-east-1", endpoint_url=moto_endpoint).Table("verify")
    table.delete_item(Key={"pk": 'plane["N1"]', "sk": "legs@0"})
    assert only(found.verify(store=store)) == (MismatchClass.MISSING, 'plane["N1"]')
    store.close()


def test_garbage_that_dynamodb_collected_is_no_alarm(tmp_path, moto_endpoint):
    layer = project(tmp_path, ttl="1 hour")
    store = DynamoDBStore("collected", region="us-east-1", endpoint_url=moto_endpoint, timeout=5)
    store.create()
    layer.export(store=store, as_of=NOON)
    table = boto3.resource("dynamodb", region_name="us-east-1", endpoint_url=moto_endpoint).Table("collected")
    table.delete_item(Key={"pk": 'plane["N1"]', "sk": "legs@0"})
    report = layer.verify(store=store)
    assert (report.ok, dict(report.views[0].excused)) == (True, {"gone": 1})
    store.close()


def test_keys_are_drawn_from_both_sides(found):
    warehouse(found, "INSERT INTO legs SELECT 'M' || i, TIMESTAMP '2024-01-01 10:00', 1, i, NULL FROM range(500) t(i)")
    found.export(as_of=NOON)
    one, other = found.verify(sample=20, seed=1), found.verify(sample=20, seed=2)
    for report in (one, other):
        (view,) = report.views
        assert (view.warehouse_keys, view.online_keys) == (20, 20)
        assert 20 < view.compared <= 40
    assert found.verify(sample=20, seed=1).to_dict() == one.to_dict()
    online(found, "DELETE FROM items WHERE pk LIKE 'plane[\"M%'")
    assert found.verify(sample=20).views[0].classes[MismatchClass.MISSING] >= 17
    found.export(as_of=NOON, full=True)
    warehouse(found, "DELETE FROM legs WHERE tailnum LIKE 'M%'")
    assert found.verify(sample=20).views[0].classes[MismatchClass.DELETED] >= 17


def test_a_store_that_can_only_list_is_sampled_fairly():
    class Listing(MemoryStore):
        def live(self, sk):
            yield from (LiveKey(f"k{n}", 1, None) for n in range(1000))

    random, counts = Random(3), [0] * 10
    for _ in range(200):
        drawn = sample_keys(Listing(), "v@0", 10, rows=0, random=random, spend=lambda _units: None)
        assert len(set(drawn)) == 10
        for key in drawn:
            counts[int(key[1:]) // 100] += 1
    assert all(140 < count < 260 for count in counts)


def test_a_large_table_is_scanned_in_part():
    asked: list[int] = []

    def scan(request: Any) -> Any:
        asked.append(request["Segment"])
        keys = [f"k{request['Segment']}-{n}" for n in range(25)]
        return {"Items": [{"pk": {"S": key}} for key in keys], "ConsumedCapacity": {"CapacityUnits": 3.5}}

    spent: list[float] = []
    drawn = scan_sample(scan, {}, 100, rows=1_000_000_000, random=Random(1), spend=spent.append)
    assert (len(set(drawn)), len(asked), len(set(asked)), spent) == (100, 4, 4, [3.5] * 4)


def test_reads_keep_to_the_budget():
    now = [100.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pace = RateLimiter(50, clock=lambda: now[0], sleep=sleep)
    assert pace.batch_size == 50
    for _ in range(10):
        pace.acquire(25)
    assert now[0] == 100 + 250 / 50
    assert (pace.units, slept) == (250, [0.5] * 10)
    assert (RateLimiter(None).batch_size, RateLimiter(0.5).batch_size, RateLimiter(1e9).batch_size) == (100, 1, 100)


# --- the command -----


@pytest.fixture
def run(found, capsys) -> Callable[..., tuple[int, str, str]]:
    root = str(found.project.root)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(["verify", "--project-dir", root, "--profiles-dir", root, *arguments])
        return code, *capsys.readouterr()

    return call


def test_the_command_says_what_is_equal_and_exits_with_0(run):
    code, out, _ = run("--sample", "10")
    assert code == 0
    assert out.splitlines()[1].split() == ["legs", "2024-01-01T13:00:00+00:00", "3", "3", "3", "0", "pass"]


def test_the_command_says_what_differs_and_exits_with_1(run, found):
    warehouse(found, "UPDATE legs SET seats = 77 WHERE tailnum = 'N2'")
    code, out, _ = run("-s", "legs")
    assert code == 1
    assert "late source row" in out
    assert "FAIL" in out
    code, out, _ = run("--format", "json", "--seed", "5")
    report = json.loads(out)
    assert (code, report["ok"], report["mismatches"], report["seed"]) == (1, False, 1, 5)
    assert report["views"][0]["classes"] == {"late source row": 1}
    assert report["views"][0]["examples"][0]["class"] == "late source row"
    assert run("--tolerance", "0.34")[0] == 0
    assert run("--tolerance", "0.33")[0] == 1
    assert run("--sample", "0")[0] == 2


def test_a_view_that_was_never_exported_fails(tmp_path, capsys):
    layer = project(tmp_path)
    store = layer.project.root / ".featurelayer" / "online.db"
    layer.online.create()
    assert store.exists()
    code = main(["verify", "--project-dir", str(tmp_path), "--profiles-dir", str(tmp_path)])
    out, err = capsys.readouterr()
    assert code == 1
    assert "not exported" in out
    assert "featurelayer export -s legs" in err


def test_a_store_that_is_not_there_is_a_failure(tmp_path, capsys):
    project(tmp_path)
    assert main(["verify", "--project-dir", str(tmp_path), "--profiles-dir", str(tmp_path)]) == 1
    assert "no online store exists" in capsys.readouterr().err


def test_lookups_go_on_as_before(found):
    with FeatureClient.connect(found.online.url) as client:
        assert client.lookup("late", {"tailnum": "N1"}).to_dict() == {"legs__arr_delay": 7.3, "legs__seats": 20}
    assert found.verify(seed=1).views[0].as_of - NOON == timedelta(0)
