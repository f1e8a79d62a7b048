"""One DynamoDB table per view: where items lie, that a lookup is one call, and all that is done with the tables."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest
import yaml

from featurelayer.cli import main
from featurelayer.errors import ConfigError, DeadlineExceeded, PlanError, StoreNotFound
from featurelayer.layer import FeatureLayer
from featurelayer.online import AsyncFeatureClient, FeatureClient, Item
from featurelayer.online.stores.dynamodb.layout import parse_layout
from featurelayer.online.stores.dynamodb.store import DynamoDBStore
from featurelayer.online.stores.dynamodb.tables import TableSettings
from featurelayer.online.stores.dynamodb.templates import cloudformation, terraform
from featurelayer.online.streaming import read_log_entries
from tests.servers.faults import FailStatements, FaultProxy, Partial, Refuse
from tests.servers.imports import as_aws_imports
from tests.unit import dbt_projects as made
from tests.unit.warehouses import LEGS, layer

pytestmark = pytest.mark.slow

AT = datetime(2024, 1, 1, 13, tzinfo=UTC)
VIEWS = ("legs", "more")


def make(root: Path, endpoint: str, table: str, views: tuple[str, ...] = VIEWS, **more: Any) -> FeatureLayer:
    """Two views and a service of both."""
    models = [made.model(name=view, online=True, ttl="1 day") for view in views]
    both = tuple(each["unique_id"] for each in models)
    exposures = (made.exposure(*(f"{view}.arr_delay" for view in views), label_timestamp="at", depends_on=both),)
    rest = "".join(f"; CREATE TABLE IF NOT EXISTS {view} AS FROM legs" for view in views if view != "legs")
    layer(root, *models, exposures=exposures, sql=("SELECT 1" if (root / "db.duckdb").exists() else LEGS) + rest)
    entry = {"type": "dynamodb", "table": table, "region": "eu-west-1", "endpoint_url": endpoint, "timeout": 20, **more}
    (root / "featurelayer.yml").write_text(yaml.safe_dump({"entities": made.ENTITIES, "online_store": {"dev": entry}}))
    return FeatureLayer(root, profiles_dir=root)


@pytest.fixture(scope="module")
def one_proxy(moto_endpoint: str) -> Iterator[FaultProxy]:
    with FaultProxy(moto_endpoint) as running:
        yield running


@pytest.fixture
def proxy(one_proxy: FaultProxy) -> Iterator[FaultProxy]:
    one_proxy.calls.clear()
    yield one_proxy
    one_proxy.pass_all()


@pytest.fixture(scope="module")
def served(one_proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory) -> FeatureLayer:
    """An exported project, for tests that only read; each view has a table of its own."""
    found = make(tmp_path_factory.mktemp("served"), one_proxy.url, f"served-{uuid.uuid4().hex[:12]}-{{view}}")
    found.online.create()
    found.export(as_of=AT)
    return found


def named(found: FeatureLayer, part: str) -> str:
    """Return the name of one of a project's tables."""
    return str(found.project.config.online_store["table"]).replace("{view}", part)


@pytest.fixture
def name() -> str:
    return f"shop-{uuid.uuid4().hex[:12]}"


Project = Callable[..., FeatureLayer]


@pytest.fixture
def project(tmp_path: Path, proxy: FaultProxy, name: str) -> Project:
    """Makes a project; by default each of its views has a table of its own."""
    return partial(make, tmp_path, proxy.url, f"{name}-{{view}}")


@pytest.fixture
def exported(project: Project, proxy: FaultProxy) -> FeatureLayer:
    found = project()
    found.online.create()
    found.export(as_of=AT)
    proxy.calls.clear()
    return found


def run(found: FeatureLayer, *arguments: str) -> int:
    here = str(found.project.root)
    return main([*arguments, "--project-dir", here, "--profiles-dir", here])


def contents(proxy: FaultProxy, table: str) -> list[tuple[str, str]]:
    with closing(boto3.client("dynamodb", "eu-west-1", endpoint_url=proxy.url)) as client:
        return sorted((item["pk"]["S"], item["sk"]["S"]) for item in client.scan(TableName=table)["Items"])


def asked(call: Any) -> dict[str, int]:
    return {table: len(keys["Keys"]) for table, keys in call.request["RequestItems"].items()}


# --- where things lie ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "table"), [
    (('plane["N1"]', "legs@0"), "shop_legs"), (('plane["N1"]', "legs@2"), "shop_legs.v2"),
    (("#view", "legs@0#commit"), "shop_legs"), (("#view", "legs@2#lease"), "shop_legs.v2"),
    (("#view", "legs.v2#definition"), "shop_services"), (("#log#legs@2#7", "1-a"), "shop_legs.v2"),
    (("#schema", "5c"), "shop_services"), (("#service", "late@1f"), "shop_services"),
])  # fmt: skip
def test_the_table_of_an_item_is_known_from_its_key_alone(key, table):
    assert parse_layout("shop_{view}").table(*key) == table
    assert parse_layout("shop").table(*key) == "shop"


def test_names_that_make_no_tables_are_all_said():
    layout = parse_layout("shop_{view}")
    assert layout.tables(["legs@2", "legs@0"]) == {
        "services": "shop_services", "legs": "shop_legs", "legs.v2": "shop_legs.v2",
    }  # fmt: skip
    long = "x" * 251
    with pytest.raises(ConfigError) as caught:
        layout.tables(["services@0", "legs.v2@0", "legs@2", "größe@0", f"{long}@0", "fine@0"])
    said = [problem.what for problem in caught.value.problems]
    assert said == [
        "view größe can't have a DynamoDB table named 'shop_größe'",
        "view legs.v2 and view legs.v2 would both have the DynamoDB table 'shop_legs.v2'",
        "view services and the services would both have the DynamoDB table 'shop_services'",
        f"view {long} can't have a DynamoDB table named 'shop_{long}'",
    ]
    for wrong in ("shop {view}", "shop_{{view}}", "{view}/x", "shop_{views}"):
        with pytest.raises(ConfigError, match="not a valid DynamoDB table name"):
            DynamoDBStore(wrong)


def test_each_view_has_its_own_values_and_records_and_the_rest_is_with_the_services(exported, proxy, name):
    with exported.client() as client:
        client.write("legs", [{"tailnum": "N2", "arr_delay": 1.0}])
    for view in VIEWS:
        found = contents(proxy, f"{name}-{view}")
        assert {sk for pk, sk in found if pk == "#view"} == {f"{view}@0#begun", f"{view}@0#commit", f"{view}@0#lease"}
        assert {sk for pk, sk in found if not pk.startswith("#")} == {f"{view}@0"}
        assert any(pk.startswith(f"#log#{view}@0#") for pk, _ in found) is (view == "legs")
    services = contents(proxy, f"{name}-services")
    assert {pk for pk, _ in services} == {"#schema", "#service", "#view"}
    assert {sk for pk, sk in services if pk == "#view"} == {"legs#definition", "more#definition"}


# --- lookups ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["boto3", "lean"])
def test_a_lookup_of_all_views_is_one_call_whatever_is_due(served, proxy, transport):
    """A hundred items of both tables, and with them the service's pointer, of the third."""
    keys = [{"tailnum": f"N{number}"} for number in range(1, 51)]
    url = f"{served.online.url}&transport={transport}"
    with FeatureClient.connect(url) as client, FeatureClient.connect(url, refresh=timedelta(0)) as eager:
        for each in (client, eager):
            each.lookup_many("late", keys[:2], now=AT)
        proxy.calls.clear()
        found = client.lookup_many("late", keys, now=AT)
        [call] = proxy.calls
        assert (call.operation, asked(call)) == ("BatchGetItem", {named(served, "legs"): 50, named(served, "more"): 50})
        assert [vector["legs__arr_delay"] == vector["more__arr_delay"] for vector in found] == [True] * 50
        assert found[1]["more__arr_delay"] is not None

        proxy.calls.clear()
        eager.lookup("late", {"tailnum": "N2"}, now=AT, consistent=True)
        [call] = proxy.calls
        assert asked(call) == {named(served, "legs"): 1, named(served, "more"): 1, named(served, "services"): 1}
        assert all(each["ConsistentRead"] for each in call.request["RequestItems"].values())

        proxy.calls.clear()
        client.lookup_many("late", [{"tailnum": f"N{number}"} for number in range(101)], now=AT)
        assert sorted(sum(asked(call).values()) for call in proxy.calls) == [2, 100, 100]


def test_a_lookup_for_asyncio_is_one_call_too(served, proxy):
    async def look_up() -> Any:
        async with AsyncFeatureClient.connect(served.online.url) as client:
            await client.lookup("late", {"tailnum": "N2"}, now=AT)
            proxy.calls.clear()
            return await client.lookup("late", {"tailnum": "N2"}, now=AT)

    vector = asyncio.run(look_up())
    [call] = proxy.calls
    assert asked(call) == {named(served, "legs"): 1, named(served, "more"): 1}
    assert vector["legs__arr_delay"] == vector["more__arr_delay"] is not None


def test_two_keys_of_one_partition_and_table_are_one_query(served, proxy):
    with closing(
        DynamoDBStore(named(served, "{view}"), region="eu-west-1", endpoint_url=proxy.url, timeout=20)
    ) as store:
        found = store.read([("#view", "legs@0#commit"), ("#view", "legs@0#begun")])
        store.read([("#view", "legs@0#commit"), ("#view", "more@0#commit")])
    assert len(found) == 2
    assert [call.operation for call in proxy.calls] == ["Query", "BatchGetItem"]
    assert proxy.calls[0].request["TableName"] == named(served, "legs")


def test_what_is_left_unprocessed_in_several_tables_is_asked_for_again(served, proxy):
    with served.client() as client:
        keys = [{"tailnum": f"N{number}"} for number in range(1, 4)]
        whole = [vector.to_list() for vector in client.lookup_many("late", keys, now=AT)]
        proxy.calls.clear()
        proxy.script(Partial(keep=1), Partial(keep=1), operation="BatchGetItem")
        assert [vector.to_list() for vector in client.lookup_many("late", keys, now=AT)] == whole
        assert [sum(asked(call).values()) for call in proxy.calls] == [6, 5, 4]
        proxy.always(Partial(keep=0), operation="BatchGetItem")
        with pytest.raises(DeadlineExceeded):
            client.lookup_many("late", keys, now=AT, deadline=0.5)


def test_a_table_that_is_lost_is_named_to_readers_and_written_again_by_an_export(exported, proxy, name):
    with closing(boto3.client("dynamodb", "eu-west-1", endpoint_url=proxy.url)) as raw, exported.client() as client:
        raw.update_table(TableName=f"{name}-more", DeletionProtectionEnabled=False)
        raw.delete_table(TableName=f"{name}-more")
        said = f"of the tables '{name}-legs', '{name}-more' not all are there.*\n.*online create"
        with pytest.raises(StoreNotFound, match=said):
            client.lookup("late", {"tailnum": "N2"}, now=AT, consistent=True)
        with pytest.raises(StoreNotFound, match=f"there is no table '{name}-more'\n.*`featurelayer online create`"):
            exported.export(["legs"], as_of=AT)
        status = exported.store_status()
        assert (status.missing, status.problems) == ((f"{name}-more",), ())
        assert [(view.view, view.freshness) for view in status.views] == [("legs", "none"), ("more", "not exported")]
        assert exported.online.create().created is True
        again = exported.export(as_of=AT)
        assert [(view.view, view.written) for view in again.views] == [("legs", 0), ("more", 3)]
        vector = client.lookup("late", {"tailnum": "N2"}, now=AT, consistent=True)
    assert vector["legs__arr_delay"] == vector["more__arr_delay"]


# --- writes ----------------------------------------------------------------------------------------------------------


def test_a_batch_of_several_views_is_written_to_its_tables_and_a_failure_names_its_own(dynamodb_local_endpoint):
    """By PartiQL, which moto lacks."""
    with FaultProxy(dynamodb_local_endpoint) as proxy:
        template = f"shop-{uuid.uuid4().hex[:12]}-{{view}}"
        with closing(DynamoDBStore(template, region="eu-west-1", endpoint_url=proxy.url, patience=1)) as store:
            store.provisioner(["legs@0", "more@0"]).create()
            items = [Item(pk=f"plane[{number}]", sk=f"{view}@0", version=1, f="[1]")
                     for number in range(20) for view in VIEWS]  # fmt: skip
            assert store.write(items, rewrite=True, new=True).written == 40
            sent = [call.request["Statements"] for call in proxy.calls if call.operation == "BatchExecuteStatement"]
            named = [{each["Statement"].split('"')[1] for each in call} for call in sent[1:]]
            both = {template.replace("{view}", view) for view in VIEWS}
            assert sorted(len(call) for call in sent[1:]) == [15, 25]
            assert named == [both, both]
            assert store.read([item.key for item in items], consistent=True) == {item.key: item for item in items}
            assert len(list(store.live("legs@0"))) == 20
            proxy.always(FailStatements("ResourceNotFound"), operation="BatchExecuteStatement")
            with pytest.raises(StoreNotFound, match=f"there is no table '{template.replace('{view}', 'legs')}'"):
                store.write(items, rewrite=True)


def test_the_log_of_a_view_is_drained_and_a_subject_forgotten(exported, proxy, name):
    with exported.client() as client:
        client.write("legs", [{"tailnum": "N2", "arr_delay": 1.0}, {"tailnum": "N3", "arr_delay": 2.0}])
        assert client.lookup("late", {"tailnum": "N3"})["legs__arr_delay"] == 2.0
        assert len(list(read_log_entries(client.store, "legs@0"))) == 2
        [drained] = exported.drain()
        assert (drained.view, drained.appended) == ("legs", 2)
        assert list(read_log_entries(client.store, "legs@0")) == []
        gone = {each.view: each for each in exported.forget({"tailnum": "N2"})}
        assert (gone["legs"].items, gone["legs"].streamed, gone["more"].items) == (1, 1, 1)
        assert client.lookup("late", {"tailnum": "N2"}, consistent=True).to_list() == [None, None]
        with pytest.raises(Exception, match="legs"):
            client.write("leg", [])


def test_a_rollback_and_a_rebuilt_warehouse_touch_one_views_table_alone(exported, proxy, name):
    root = exported.project.root
    first = exported.kept_exports("legs")[0]
    with duckdb.connect(str(root / "db.duckdb")) as connection:
        connection.execute("UPDATE legs SET arr_delay = 77")
    assert exported.export(["legs"]).views[0].written > 0
    proxy.calls.clear()
    exported.rollback("legs", first.run)
    written = {call.request["TableName"] for call in proxy.calls if call.operation == "PutItem"}
    assert written == {f"{name}-legs"}
    with duckdb.connect(str(root / "db.duckdb")) as connection:
        connection.execute("DROP TABLE featurelayer_exports; DROP TABLE featurelayer_export_items")
    proxy.calls.clear()
    exported.export(["more"], as_of=AT)
    assert {call.request["TableName"] for call in proxy.calls if call.operation == "Scan"} == {f"{name}-more"}


# --- the tables ------------------------------------------------------------------------------------------------------


def test_create_and_status_are_about_all_tables(project, proxy, name, capsys):
    found = project(tags={"team": "growth"})
    assert run(found, "online", "create") == 0
    said = capsys.readouterr()
    assert said.out == f"created: dynamodb://{name}-{{view}}\n"
    tables = [f"{name}-{part}" for part in ("services", *VIEWS)]
    assert [f"creating the table {table}" in said.err for table in tables] == [True] * 3
    order = [call.operation for call in proxy.calls if call.operation in ("CreateTable", "UpdateTimeToLive")]
    assert order == ["CreateTable"] * 3 + ["UpdateTimeToLive"] * 3
    assert run(found, "online", "create") == 0
    assert capsys.readouterr().out == f"already there: dynamodb://{name}-{{view}}\n"
    found.export(as_of=AT)

    assert run(found, "online", "status", "--format", "json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["store"]["table"], facts["store"]["missing"]) == (f"{name}-{{view}}", [])
    assert [each["table"] for each in facts["store"]["tables"]] == tables
    assert {each["ttl"]["attribute"] for each in facts["store"]["tables"]} == {"ttl"}
    assert {each["tags"]["team"] for each in facts["store"]["tables"]} == {"growth"}
    assert [view["rows"] for view in facts["views"]] == [3, 3]
    assert run(found, "online", "status") == 0
    shown = capsys.readouterr().out
    assert all(table in shown for table in tables)

    changed = project(tags={"team": "sales"}, views=(*VIEWS, "third"))
    assert run(changed, "online", "status") == 1
    said = capsys.readouterr()
    assert "MISSING" in said.out
    assert f"there is no table '{name}-third'" in said.err
    assert run(changed, "online", "create") == 0
    said = capsys.readouterr()
    assert said.out.startswith("created: ")
    assert f"table {name}-more: the tag team is growth, not sales" in said.err
    assert run(changed, "online", "status") == 0


def test_a_table_of_somebody_else_is_refused_before_any_is_made(project, proxy, name):
    found = project()
    with closing(boto3.client("dynamodb", "eu-west-1", endpoint_url=proxy.url)) as raw:
        for view, key in (("legs", "id"), ("more", "order")):
            raw.create_table(
                TableName=f"{name}-{view}", BillingMode="PAY_PER_REQUEST",
                KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            )  # fmt: skip
        proxy.calls.clear()
        for use in (found.online.create, found.export):
            with pytest.raises(StoreNotFound) as caught:
                use()
            assert f"the table '{name}-legs' is not a featurelayer store: its key is id" in str(caught.value)
            assert f"the table '{name}-more' is not a featurelayer store: its key is order" in str(caught.value)
        assert f"there is no table '{name}-services'" in str(caught.value)
    assert not {"CreateTable", "PutItem", "TagResource"} & {call.operation for call in proxy.calls}


@pytest.mark.parametrize("kind", ["cloudformation", "terraform"])
def test_a_template_has_all_tables(project, name, kind, capsys):
    found = project()
    assert run(found, "online", "create", "--template", kind) == 0
    said = capsys.readouterr().out
    assert [said.count(f"{name}-{part}") for part in ("services", *VIEWS)] == [1, 1, 1]
    if kind == "cloudformation":
        resources = yaml.safe_load(said)["Resources"]
        assert len(resources) == 3
        assert all(each.isalnum() for each in resources)


def test_a_resource_keeps_its_name_whatever_other_views_there_are():
    layout = parse_layout("shop_{view}")
    few = layout.tables(["legs@2"])
    many = layout.tables(["legs@2", "legs_v2@0", "le_gs@0", "legs@0"])
    small, large = (set(cloudformation(tables, TableSettings())["Resources"]) for tables in (few, many))
    assert (len(large), small <= large) == (5, True)
    named = [
        {line for line in terraform(tables, TableSettings()).splitlines() if line.startswith("resource")}
        for tables in (few, many)
    ]
    assert (len(named[1]), named[0] <= named[1]) == (5, True)


def test_after_a_change_from_one_table_to_many_everything_is_written_again(project, tmp_path, proxy, name):
    one = make(tmp_path, proxy.url, name)
    one.online.create()
    assert [view.written for view in one.export(as_of=AT).views] == [3, 3]
    many = project()
    with pytest.raises(StoreNotFound, match="there are no tables"):
        many.export(as_of=AT)
    many.online.create()
    assert [view.written for view in many.export(as_of=AT).views] == [3, 3]
    with one.client() as old, many.client() as new:
        rows = [{"tailnum": "N1"}, {"tailnum": "N2"}]
        assert [vector.to_list() for vector in old.lookup_many("late", rows, now=AT)] == [
            vector.to_list() for vector in new.lookup_many("late", rows, now=AT)
        ]


# --- imports ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def bulk(moto_endpoint: str, monkeypatch: pytest.MonkeyPatch, proxy: FaultProxy) -> dict[str, str]:
    as_aws_imports(monkeypatch, proxy)
    bucket = f"bulk-{uuid.uuid4().hex}"
    with closing(boto3.client("s3", "eu-west-1", endpoint_url=moto_endpoint)) as s3:
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return {"bucket": bucket, "endpoint_url": moto_endpoint}


def test_a_new_views_table_is_imported_beside_the_others(project, proxy, name, bulk):
    """First the whole store, then one more view."""
    found = project(bulk=bulk, tags={"team": "growth"})
    report = found.export(as_of=AT, bulk=True)
    assert [(view.view, view.written, view.units) for view in report.views] == [("legs", 3, 0), ("more", 3, 0)]
    imports = [call.request for call in proxy.calls if call.operation == "ImportTable"]
    assert [each["TableCreationParameters"]["TableName"] for each in imports] == [f"{name}-legs", f"{name}-more"]
    assert len({each["ClientToken"] for each in imports}) == 2
    assert found.store_status().missing == ()
    assert {each["tags"]["team"] for each in found.store_status().store["tables"]} == {"growth"}
    with pytest.raises(PlanError, match=f"the table '{name}-legs' exists already"):
        found.export(bulk=True)

    grown = project(bulk=bulk, views=(*VIEWS, "third", "fourth"))
    with pytest.raises(PlanError) as caught:
        grown.export(["third", "legs"], bulk=True)
    assert [problem.what for problem in caught.value.problems] == [
        f"the table '{name}-legs' exists already, and AWS imports only into new tables",
        "the table of view fourth is missing, and the view is not among those to be imported",
    ]
    proxy.calls.clear()
    report = grown.export(["third", "fourth"], as_of=AT, bulk=True)
    assert [(view.view, view.written) for view in report.views] == [("third", 3), ("fourth", 3)]
    written = {call.request["TableName"] for call in proxy.calls if call.operation == "PutItem"}
    assert written == {f"{name}-{part}" for part in ("services", "third", "fourth")}  # with each view's commit
    with grown.client() as client:
        vector = client.lookup("late", {"tailnum": "N2"}, now=AT)
    assert len(set(vector.to_list())) == 1
    again = grown.export(as_of=AT)
    assert [(view.written, view.unchanged) for view in again.views] == [(0, 3)] * 4


def test_an_import_that_fails_leaves_the_other_views_alone(project, proxy, name, bulk):
    found = project(bulk=bulk)
    proxy.plan = _second_import_fails()
    with pytest.raises(Exception, match="AccessDenied"):
        found.export(as_of=AT, bulk=True)
    proxy.pass_all()
    with pytest.raises(PlanError, match=r"exists already.*\n.*or only what has no table yet: -s more"):
        found.export(as_of=AT, bulk=True)
    assert found.export(["more"], as_of=AT, bulk=True).views[0].written == 3
    assert [(view.written, view.unchanged) for view in found.export(as_of=AT).views] == [(0, 3)] * 2


def _second_import_fails() -> Callable[[str], Refuse | None]:
    seen: list[str] = []

    def plan(operation: str) -> Refuse | None:
        seen.extend([operation] if operation == "ImportTable" else [])
        return Refuse("AccessDeniedException") if operation == "ImportTable" and len(seen) == 2 else None

    return plan
