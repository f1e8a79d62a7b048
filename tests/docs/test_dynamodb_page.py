"""The IAM policies of docs/dynamodb.md are exactly what each role's calls need, as recorded on the wire."""

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
import yaml

from featurelayer.errors import UnknownNameError
from featurelayer.layer import FeatureLayer
from featurelayer.online import FeatureClient
from tests.docs.pages import REPOSITORY, blocks
from tests.servers.faults import FaultProxy
from tests.servers.imports import as_aws_imports
from tests.unit import dbt_projects as made
from tests.unit.warehouses import LEGS, layer

PAGE = REPOSITORY / "docs" / "dynamodb.md"
# CreateTable with tags is allowed by two actions, PartiQL by one per verb; any other operation by one of its own name.
ACTIONS = {"CreateTable": {"CreateTable", "TagResource"}}
VERBS = {"INSERT": "PartiQLInsert", "UPDATE": "PartiQLUpdate"}


def policies() -> dict[str, dict]:
    found = [json.loads(block.text) for block in blocks(PAGE) if block.language == "json"]
    return {
        statement["Sid"].removeprefix("FeatureLayer"): statement for each in found for statement in each["Statement"]
    }


def allowed(role: str) -> set[str]:
    return {action.removeprefix("dynamodb:") for action in policies()[role]["Action"]}


@pytest.fixture(params=[("moto_endpoint", ""), ("dynamodb_local_endpoint", ""), ("moto_endpoint", "-{view}")])
def layout(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The server's fixture, and what follows in the name of the table: nothing, or a table per view."""
    return request.param


@pytest.fixture
def proxy(request: pytest.FixtureRequest, layout: tuple[str, str]) -> Iterator[FaultProxy]:
    with FaultProxy(request.getfixturevalue(layout[0])) as running:
        yield running


@pytest.fixture
def is_local(layout: tuple[str, str]) -> bool:
    """Whether it is DynamoDB Local, which has PartiQL, but no tags and no point-in-time recovery."""
    return layout[0] == "dynamodb_local_endpoint"


@pytest.fixture
def project(tmp_path: Path, proxy: FaultProxy, layout: tuple[str, str], is_local: bool) -> FeatureLayer:
    views = [made.model(name=name, online=True, ttl="1 day") for name in ("legs", "more")]
    both = tuple(each["unique_id"] for each in views)
    exposures = (made.exposure("legs.arr_delay", "more.arr_delay", label_timestamp="at", depends_on=both),)
    layer(tmp_path, *views, exposures=exposures, sql=f"{LEGS}; CREATE TABLE more AS FROM legs")
    entry = {"type": "dynamodb", "table": f"iam-{uuid.uuid4().hex}{layout[1]}", "region": "eu-west-1", "timeout": 20,
             "endpoint_url": proxy.url, "point_in_time_recovery": not is_local, "tags": {"team": "growth"}}  # fmt: skip
    stores = {"online_store": {"dev": entry, "lean": {**entry, "transport": "lean"}}}
    (tmp_path / "featurelayer.yml").write_text(yaml.safe_dump({"entities": made.ENTITIES, **stores}))
    return FeatureLayer(tmp_path, profiles_dir=tmp_path)


def needed(proxy: FaultProxy) -> set[str]:
    """Return the actions of all calls since this was last asked."""
    found: set[str] = set()
    for call in proxy.calls:
        verbs = {VERBS[each["Statement"].partition(" ")[0]] for each in call.request.get("Statements", ())}
        found |= verbs or ACTIONS.get(call.operation, {call.operation})
    proxy.calls.clear()
    return found


def test_each_role_is_allowed_what_it_does_and_nothing_else(project, proxy, is_local):
    # On moto what is inserted elsewhere is put, and the only UPDATE is the question for PartiQL.
    absent = set() if is_local else {"PartiQLInsert"}
    at = datetime(2024, 1, 1, 13, tzinfo=UTC)
    project.online.create()
    project.online.create()
    operator, exporter = needed(proxy), set()
    for views, full in ((["legs"], False), ([], False), ([], True)):
        project.export(views, as_of=at, full=full)
        exporter |= needed(proxy)
        project.store_status()
        operator |= needed(proxy)
    assert exporter == allowed("Exporter") - absent
    assert operator == allowed("Operator") - ({"UpdateContinuousBackups"} if is_local else set())

    for transport in ("", "&transport=lean"):
        with FeatureClient.connect(project.online.url + transport) as client:
            assert client.services() == ["late"]
            client.lookup("late", {"tailnum": "N1"}, now=at)
            client.lookup_many("late", [{"tailnum": f"N{number}"} for number in range(60)], consistent=True)
            with pytest.raises(UnknownNameError):
                client.lookup("lat", {"tailnum": "N1"})
    assert needed(proxy) == allowed("Reader")

    with project.client() as client:
        client.write("legs", [{"tailnum": "N2", "arr_delay": 1.0}])
        client.write("legs", [{"tailnum": "N2", "arr_delay": 2.0}])
    assert needed(proxy) == allowed("Streamer") - absent
    project.drain()
    project.forget({"tailnum": "N2"})
    keeper = needed(proxy)
    assert keeper <= allowed("Keeper") | allowed("Exporter")
    assert keeper - allowed("Exporter") == allowed("Keeper")


def test_whoever_verifies_and_monitors_reads_and_nothing_else(project, proxy):
    at = datetime(2024, 1, 1, 13, tzinfo=UTC)
    project.online.create()
    project.export(as_of=at)
    needed(proxy)
    assert project.verify(sample=10).ok
    assert needed(proxy) == allowed("Verifier")
    project.monitor(as_of=at)
    used = needed(proxy)
    assert used <= allowed("Monitor")
    assert allowed("Monitor") - used <= {"BatchGetItem"}  # of tables per view; of one table it is a query
    # A rollback is an exporter's work.
    project.export(as_of=at, full=True)
    project.rollback("legs", project.kept_exports("legs")[1].run)
    assert needed(proxy) <= allowed("Exporter")


def test_whoever_loads_a_new_table_is_allowed_that_beside_an_exporters(tmp_path, moto_endpoint, monkeypatch):
    """What is sent to DynamoDB; S3 and the log are AWS's own reading and writing, which no server here records."""
    with FaultProxy(moto_endpoint) as proxy, closing(boto3.client("s3", "eu-west-1", endpoint_url=moto_endpoint)) as s3:
        as_aws_imports(monkeypatch, proxy)
        bucket = f"iam-{uuid.uuid4().hex}"
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        layer(tmp_path, made.model(online=True, ttl="1 day"))
        entry = {"type": "dynamodb", "table": bucket, "region": "eu-west-1", "timeout": 20, "endpoint_url": proxy.url,
                 "point_in_time_recovery": True, "bulk": {"bucket": bucket, "endpoint_url": moto_endpoint}}  # fmt: skip
        document = {"entities": made.ENTITIES, "online_store": {"dev": entry}}
        (tmp_path / "featurelayer.yml").write_text(yaml.safe_dump(document))
        FeatureLayer(tmp_path, profiles_dir=tmp_path).export(bulk=True, as_of=datetime(2024, 1, 1, 13, tzinfo=UTC))
        used = needed(proxy)
    assert used - allowed("Exporter") == allowed("Loader")


def test_the_policies_are_for_one_table_and_name_actions_alone():
    beside = {"Loader", "LoaderFiles", "LoaderLog"}
    assert set(policies()) == {"Reader", "Exporter", "Verifier", "Monitor", "Streamer", "Keeper", "Operator"} | beside
    for name, statement in policies().items():
        if name in beside:
            resources = statement["Resource"]
            assert all("features-prod" in each or "aws-dynamodb" in each for each in resources)
            assert statement["Effect"] == "Allow"
            assert statement["Action"] == sorted(statement["Action"])
            assert not any("*" in action for action in statement["Action"])
            continue
        assert statement["Resource"] == "arn:aws:dynamodb:eu-west-1:123456789012:table/features-prod"
        assert statement["Effect"] == "Allow"
        assert statement["Action"] == sorted(statement["Action"])
        assert all(action.startswith("dynamodb:") and "*" not in action for action in statement["Action"])
