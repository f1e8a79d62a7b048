"""featurelayer online: the store is made, described, printed as a template; exports respect whose table it is."""

import json
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import duckdb
import pytest
import yaml

from featurelayer.cli import main
from featurelayer.errors import ConfigError, StoreNotFound, StoreUnavailable
from featurelayer.layer import FeatureLayer
from featurelayer.model import Freshness
from featurelayer.online import MemoryStore
from featurelayer.online.status import store_status
from featurelayer.online.stores.dynamodb.store import DynamoDBStore
from tests.exporting import export_view
from tests.online_cases import feature, legs_batch, planes_batch, view
from tests.servers.faults import FaultProxy, Wait
from tests.unit import dbt_projects as made
from tests.unit.warehouses import layer

pytestmark = pytest.mark.slow

T = datetime(2026, 11, 1, 12, tzinfo=UTC)
Store = Callable[..., FeatureLayer]


@pytest.fixture
def project(tmp_path: Path) -> Store:
    """A project whose target dev has this online store."""

    def with_store(**settings: object) -> FeatureLayer:
        config = yaml.safe_dump({"entities": made.ENTITIES, "online_store": {"dev": settings}})
        if not (tmp_path / "db.duckdb").exists():
            layer(
                tmp_path, made.model(online=True, ttl="1 day", freshness={"error_after": {"count": 1, "period": "day"}})
            )
        (tmp_path / "featurelayer.yml").write_text(config)
        return FeatureLayer(tmp_path, profiles_dir=tmp_path)

    return with_store


def run(found: FeatureLayer, *arguments: str) -> int:
    here = str(found.project.root)
    return main(["online", *arguments, "--project-dir", here, "--profiles-dir", here])


def dynamodb(endpoint: str, **more: object) -> dict[str, object]:
    return {"type": "dynamodb", "table": f"online-{uuid.uuid4().hex}", "region": "eu-west-1", "timeout": 20,
            "endpoint_url": endpoint, **more}  # fmt: skip


# --- create ----------------------------------------------------------------------------------------------------------


def test_a_file_is_made_once_and_kept(project, capsys):
    found = project(type="sqlite", path="online.db")
    assert run(found, "status") == 1
    assert "featurelayer online create" in capsys.readouterr().err
    assert run(found, "create") == 0
    assert capsys.readouterr().out.startswith("created: sqlite:///")
    found.export(as_of=datetime(2024, 1, 1, 13, tzinfo=UTC))
    assert run(found, "create") == 0
    assert capsys.readouterr().out.startswith("already there: sqlite:///")
    assert [each.rows for each in found.store_status().views] == [3]


def test_a_table_is_made_with_the_settings_of_the_file(project, moto_endpoint, capsys):
    settings = dynamodb(moto_endpoint, tags={"team": "growth"}, deletion_protection="{{ target.name == 'prod' }}",
                        point_in_time_recovery=True)  # fmt: skip
    found = project(**settings)
    assert run(found, "create") == 0
    said = capsys.readouterr()
    assert said.out == f"created: dynamodb://{settings['table']}\n"
    assert "switching point-in-time recovery on" in said.err
    assert "team" not in found.online.url
    assert run(found, "status", "--format", "json") == 0
    store = json.loads(capsys.readouterr().out)["store"]
    assert store["tags"] == {"created-by": "featurelayer", "team": "growth"}
    assert (store["deletion_protection"], store["point_in_time_recovery"]) == (False, "ENABLED")
    changed = project(**{**settings, "tags": {"team": "sales"}})
    assert run(changed, "create", "-q") == 0
    assert run(changed, "create") == 0
    assert "the tag team is growth, not sales" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["cloudformation", "terraform"])
def test_a_template_is_printed_and_nothing_is_made(project, kind, capsys):
    found = project(**dynamodb("http://127.0.0.1:9", tags={"team": "growth"}))
    assert run(found, "create", "--template", kind) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert found.project.config.online_store["table"] in said.out
    if kind == "cloudformation":
        assert yaml.safe_load(said.out)["Resources"]["FeatureTable"]["Properties"]["Tags"][1]["Value"] == "growth"


def test_a_file_has_no_template_and_wrong_settings_are_all_said(project, capsys):
    assert run(project(type="sqlite", path="online.db"), "create", "--template", "terraform") == 1
    assert "is of type sqlite, not dynamodb" in capsys.readouterr().err
    wrong = project(**dynamodb("http://127.0.0.1:9", tags={"aws:x": "1"}, deletion_protection="maybe"))
    for arguments in (["create"], ["create", "--template", "terraform"]):
        assert run(wrong, *arguments) == 1
        said = capsys.readouterr().err
        assert "2 problems" in said
        assert "featurelayer.yml -> online_store.dev" in said


# --- exports ---------------------------------------------------------------------------------------------------------


def test_an_export_into_a_missing_or_foreign_table_says_so_before_anything_is_written(project, moto_endpoint, capsys):
    settings = dynamodb(moto_endpoint)
    found = project(**settings)
    with pytest.raises(StoreNotFound, match="featurelayer online create"):
        found.export()
    store = DynamoDBStore(str(settings["table"]), region="eu-west-1", endpoint_url=moto_endpoint, timeout=20)
    store.create()
    client = boto3.client("dynamodb", region_name="eu-west-1", endpoint_url=moto_endpoint)
    client.untag_resource(ResourceArn=store.describe()["arn"], TagKeys=["created-by"])
    for given in (None, store):
        with pytest.raises(StoreNotFound, match="it is not tagged, not created-by = featurelayer"):
            found.export(store=given)
    assert client.scan(TableName=store.table)["Count"] == 0
    client.close()
    with duckdb.connect(str(found.project.root / "db.duckdb")) as warehouse:
        assert warehouse.sql("SELECT table_name FROM information_schema.tables").fetchall() == [("legs",)]
    assert run(found, "status") == 1
    said = capsys.readouterr()
    assert "table" in said.out
    assert "not a featurelayer store: it is not tagged" in said.err
    store.close()


def test_an_export_makes_the_file_and_leaves_one_of_somebody_else(project):
    found = project(type="sqlite", path="online.db")
    found.export(as_of=datetime(2024, 1, 1, 13, tzinfo=UTC))
    assert (found.project.root / "online.db").is_file()
    other = project(type="sqlite", path="featurelayer.yml")
    before = (found.project.root / "featurelayer.yml").read_bytes()
    for use in (other.export, other.online.create, other.store_status):
        with pytest.raises(StoreNotFound, match="not a featurelayer store"):
            use()
    assert (found.project.root / "featurelayer.yml").read_bytes() == before


# --- status ----------------------------------------------------------------------------------------------------------


def test_each_view_has_the_newest_export_and_a_verdict_on_its_age():
    store = MemoryStore()
    hours = lambda count: timedelta(hours=count)  # noqa: E731
    fresh = Freshness(warn_after=hours(1), error_after=hours(3))
    legs = [feature("arr_delay", "float64"), feature("legs", "int64")]
    views = [
        view("plane_legs", *legs, event_time="landed_at", online=True, freshness=fresh),
        view("never", *legs, event_time="landed_at", online=True, freshness=fresh),
        view("planes", feature("seats", "int64"), static=True, online=True, freshness=fresh),
    ]
    gone = view("gone", *legs, event_time="landed_at", online=True)
    for each in (views[0], gone):
        export_view(store, each, [legs_batch([("N1", T - hours(2), 1.0, 1), ("N2", T, 2.0, 2)])], as_of=T)
    export_view(store, views[2], [planes_batch([("N1", 150)])], as_of=T)
    for age, verdict in ((0, "pass"), (1, "pass"), (1.5, "warn"), (3, "warn"), (3.5, "error")):
        found = {each.view: each for each in store_status(store, views, T + hours(age)).views}
        assert {name: each.freshness for name, each in found.items()} == {
            "plane_legs": verdict, "never": "not exported", "planes": "none", "gone@0": "not in project",
        }  # fmt: skip
        assert found["plane_legs"].age_seconds == age * 3600
    assert (found["plane_legs"].rows, found["plane_legs"].as_of, found["plane_legs"].source_time) == (2, T, T)
    assert found["plane_legs"].run == int(T.timestamp() * 1e6)
    assert (found["never"].rows, found["never"].run) == (None, None)
    assert (found["planes"].source_time, found["planes"].age_seconds) == (None, None)


def test_status_is_a_table_or_json(project, capsys):
    found = project(type="sqlite", path="online.db")
    found.export(as_of=datetime(2024, 1, 1, 13, tzinfo=UTC))
    assert run(found, "status") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["type", "sqlite"]
    assert lines[-2].split()[:2] == ["view", "rows"]
    assert lines[-1].split()[:4] == ["legs", "3", "2024-01-01T13:00:00+00:00", "2024-01-01T12:00:00+00:00"]
    assert "error" in lines[-1]
    assert run(found, "status", "--format", "json") == 0
    (legs,) = json.loads(capsys.readouterr().out)["views"]
    assert (legs["view"], legs["rows"], legs["freshness"]) == ("legs", 3, "error")
    assert datetime.fromisoformat(legs["source_time"]) == datetime(2024, 1, 1, 12, tzinfo=UTC)


def test_a_setting_that_the_store_does_not_have_is_refused(project):
    with pytest.raises(
        ConfigError, match=r"(?s)'deletion_protecton' \(did you mean 'deletion_protection'\?\).*also tags"
    ):
        project(**dynamodb("http://127.0.0.1:9", deletion_protecton="no")).online.create()
    with pytest.raises(ConfigError, match="unknown option 'tags'"):
        project(type="sqlite", path="a.db", tags={"team": "growth"}).online.create()


def test_an_address_that_is_none_is_refused_before_any_call(project):
    with pytest.raises(ConfigError, match="not a valid DynamoDB table name"):
        project(type="dynamodb", table="a b", region="eu-west-1").online.create()


# --- one file --------------------------------------------------------------------------------------------------------


def test_an_export_leaves_one_file_with_the_permissions_of_the_settings(project):
    for mode, expected in ((None, 0o600), ("0640", 0o640), (0o640, 0o640), ("{{ '0660' }}", 0o660)):
        found = project(type="sqlite", path=f"store-{expected:o}/online.db", **({"mode": mode} if mode else {}))
        found.export(as_of=datetime(2024, 1, 1, 13, tzinfo=UTC))
        folder = found.project.root / f"store-{expected:o}"
        assert [(path.name, path.stat().st_mode & 0o777) for path in folder.iterdir()] == [("online.db", expected)]
    with pytest.raises(ConfigError, match="`mode` is '1200'"):
        project(type="sqlite", path="a.db", mode=640).online.create()


def test_an_export_says_what_a_reader_keeps_out_of_the_file(project, tmp_path, capsys):
    found = project(type="sqlite", path="online.db")
    found.export(as_of=datetime(2024, 1, 1, 13, tzinfo=UTC))
    warnings: list[str] = []
    again = FeatureLayer(tmp_path, profiles_dir=tmp_path, warn=warnings.append)
    with closing(sqlite3.connect(tmp_path / "online.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM items").fetchone()
        again.export(as_of=datetime(2024, 1, 1, 14, tzinfo=UTC), full=True)
    assert any("stay in its -wal file" in each and "online backup" in each for each in warnings)


def test_a_backup_is_a_store(project, tmp_path, capsys):
    found = project(type="sqlite", path="online.db")
    target = tmp_path / "ship.db"
    assert run(found, "backup", str(target)) == 1
    assert "no online store exists" in capsys.readouterr().err
    found.export(as_of=datetime(2024, 1, 1, 13, tzinfo=UTC))
    assert run(found, "backup", str(target)) == 0
    items = found.store_status().store["items"]
    assert capsys.readouterr().out == f"{items} items, {target.stat().st_size:,} bytes: {target}\n"
    assert run(found, "backup", str(target)) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert run(found, "backup", str(target), "--overwrite", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "path": str(target), "items": items, "bytes": target.stat().st_size,
    }  # fmt: skip
    assert project(type="sqlite", path="ship.db").store_status().store["items"] == items


def test_only_a_file_is_copied(project, capsys):
    found = project(**dynamodb("http://127.0.0.1:9"))
    assert run(found, "backup", "ship.db") == 1
    assert "is of type dynamodb, not a file" in capsys.readouterr().err


# --- patience --------------------------------------------------------------------------------------------------------


def test_a_command_waits_longer_than_a_service_would(project, moto_endpoint, capsys):
    with FaultProxy(moto_endpoint) as proxy:
        found = project(**dynamodb(proxy.url, timeout=0.3))
        found.online.create()
        found.export(as_of=datetime(2024, 1, 1, 13, tzinfo=UTC))
        here = ["--project-dir", str(found.project.root), "--profiles-dir", str(found.project.root)]
        proxy.always(Wait(0.7))
        assert run(found, "status") == 0
        capsys.readouterr()
        assert main(["verify", *here]) in (0, 1)
        assert "legs" in capsys.readouterr().out
        assert main(["lookup", "--service", "late_arrival", "--key", "tailnum=N1", *here]) == 1
        assert "there is no feature service 'late_arrival'" in capsys.readouterr().err
        with found.client() as client, pytest.raises(StoreUnavailable):
            client.service("late_arrival")
