"""Damaged items on every path that reads a store but lookups: each names the item, reports it, or replaces it."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from featurelayer.cli import main
from featurelayer.errors import CorruptItem, FeatureLayerError
from featurelayer.layer import FeatureLayer
from featurelayer.verify import MismatchClass
from tests.corruption import BODIES
from tests.unit.test_verify import NOON, online, only, project

pytestmark = pytest.mark.slow

N1 = """pk = 'plane["N1"]' AND sk = 'legs@0'"""
COMMIT = "pk = '#view' AND sk = 'legs@0#commit'"
# What a column can be changed to without breaking the table's NOT NULL.
DAMAGE = [
    "f = 'hello'", "f = '5'", "f = '[1,2]'", "f = '[1.5,\"x\",null]'", "f = CAST(X'5BFF5D' AS TEXT)", "f = X'00'",
    "s = 'abc'", "s = X'FF'", "v = 'abc'", "v = 4611686018427387904", "t = 1e300",
    "t = 4611686018427387904", "e = 'x'", "d = 'yes'",
]  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("exported")
    project(root).export(as_of=NOON)
    return root


@pytest.fixture
def found(exported, tmp_path) -> FeatureLayer:
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    return FeatureLayer(tmp_path, profiles_dir=tmp_path)


@pytest.mark.parametrize("damage", DAMAGE)
def test_verify_reports_the_item_and_an_export_in_full_replaces_it(found, damage):
    online(found, f"UPDATE items SET {damage} WHERE {N1}")
    report = found.verify()
    assert only(report) == (MismatchClass.CORRUPT, 'plane["N1"]')
    assert report.views[0].compared == 3
    json.dumps(report.to_dict())
    if damage == "v = 4611686018427387904":
        return  # a later version than any export's wins on SQLite's own terms
    found.export(as_of=NOON, full=True)
    assert found.verify().ok


def test_verify_reports_what_follows_a_damaged_schema(found):
    online(found, "UPDATE items SET f = 'hello' WHERE pk = '#schema'")
    report = found.verify()
    assert report.views[0].classes == {MismatchClass.CORRUPT: 3}
    assert "schema" in report.views[0].examples[0].why


def test_verify_compares_times_that_no_datetime_can_be(found):
    online(found, f"UPDATE items SET e = 4611686018427387904 WHERE {N1}")
    report = found.verify()
    kind, _ = only(report)
    assert kind is MismatchClass.UNEXPECTED
    assert "4611686018427387904 microseconds" in report.views[0].examples[0].online


@pytest.mark.parametrize("body", ["hello", "5", "[" * 30_000, '{"as_of":1e30}'])
def test_a_damaged_commit_is_a_typed_error_and_status_goes_on(found, body):
    run = str(found.store_status().views[0].run)
    online(found, f"UPDATE items SET f = '{body}' WHERE {COMMIT}")
    for call in (
        found.verify, found.export, lambda: found.export(as_of=NOON, full=True), lambda: found.rollback("legs", run),
        lambda: found.forget({"tailnum": "N1"}),
    ):  # fmt: skip
        with pytest.raises(CorruptItem) as raised:
            call()
        assert (raised.value.pk, raised.value.sk) == ("#view", "legs@0#commit")
        assert "export --full" in str(raised.value)
    assert [(view.view, view.freshness) for view in found.store_status().views] == [("legs", "corrupt")]
    # The way out that the error names.
    online(found, f"DELETE FROM items WHERE {COMMIT}")
    found.export(as_of=NOON, full=True)
    assert found.verify().ok


@pytest.mark.parametrize("body", ["hello", "{}", "[" * 30_000])
def test_a_damaged_lease_or_begun_run(found, body):
    online(found, f"UPDATE items SET f = '{body}' WHERE sk = 'legs@0#lease'")
    found.export(as_of=NOON, full=True)  # a lease saves work and is needed for nothing
    online(found, f"UPDATE items SET f = '{body}' WHERE sk = 'legs@0#begun'")
    with pytest.raises(CorruptItem) as raised:
        found.export(as_of=NOON)
    assert raised.value.sk == "legs@0#begun"


def test_a_damaged_entry_of_the_log_is_named_by_drain_and_forget(found):
    row = {"tailnum": "N1", "arr_delay": 1.0, "seats": 1, "seen": None}
    with found.client() as client:
        client.write("legs", [row])
    path = found.project.root / ".featurelayer" / "online.db"
    with sqlite3.connect(path) as connection:
        ((good,),) = connection.execute("SELECT f FROM items WHERE pk LIKE '#log%'").fetchall()
    entry = json.loads(good)
    bodies = [
        *BODIES, json.dumps(entry | {"event_time": 2**62}), json.dumps(entry | {"written_at": "x"}),
        json.dumps(entry | {"f": "hello"}), json.dumps(entry | {"f": '["x",1,null]'}),
        json.dumps(entry | {"schema": "abc"}),
        json.dumps(entry | {"pk": "plane[5]"}), json.dumps(entry | {"pk": "plane[" + "[" * 30_000}),
    ]  # fmt: skip
    for body in bodies:
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE items SET f = ? WHERE pk LIKE '#log%'", (body,))
        with pytest.raises(FeatureLayerError, match=r"log"):
            found.drain()
        try:
            found.forget({"tailnum": "N9"})
        except CorruptItem as error:
            assert "#log" in str(error)  # noqa: PT017
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE items SET f = ? WHERE pk LIKE '#log%'", (good,))
    connection.close()
    assert found.drain()[0].appended == 1


def test_the_command_line_reports_it_and_exits_with_1(found, capsys):
    online(found, f"UPDATE items SET f = 'hello' WHERE {N1}")
    root = str(found.project.root)
    assert main(["verify", "--project-dir", root, "--profiles-dir", root]) == 1
    assert "corrupt" in capsys.readouterr().out
    service = "late"
    with found.client() as client:
        (service,) = client.services()
    assert (
        main(["lookup", "--project-dir", root, "--profiles-dir", root, "--service", service, "--key", "tailnum=N1"])
        == 1
    )
    captured = capsys.readouterr()
    assert captured.out == ""
    assert 'plane["N1"] of legs@0' in captured.err
