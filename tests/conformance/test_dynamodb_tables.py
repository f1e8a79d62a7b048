"""DynamoDB tables: made once, as asked, and never somebody else's. On moto, and on DynamoDB Local."""

import uuid
from collections.abc import Iterator

import boto3
import hcl2
import pytest
import yaml

from featurelayer.errors import ConfigError, OnlineStoreError, StoreNotFound
from featurelayer.online import Item
from featurelayer.online.stores.dynamodb.store import DynamoDBStore
from featurelayer.online.stores.dynamodb.tables import TableSettings, read_settings, table_request
from featurelayer.online.stores.dynamodb.templates import cloudformation, terraform
from tests.servers.faults import FaultProxy, Refuse

ITEM = Item(pk='plane["N1"]', sk="legs@0", version=1)
PLAIN = TableSettings()
SPECIAL = TableSettings(tags={"team": "flight ops", "cost:center": "a+b = c_d@e/f.g"}, deletion_protection=False,
                        point_in_time_recovery=True)  # fmt: skip


@pytest.fixture(params=["moto_endpoint", "dynamodb_local_endpoint"])
def proxy(request: pytest.FixtureRequest) -> Iterator[FaultProxy]:
    with FaultProxy(request.getfixturevalue(request.param)) as running:
        yield running


@pytest.fixture
def moto(moto_endpoint: str) -> Iterator[FaultProxy]:
    with FaultProxy(moto_endpoint) as running:
        yield running


@pytest.fixture
def store(proxy: FaultProxy) -> Iterator[DynamoDBStore]:
    yield from opened(proxy)


@pytest.fixture
def tagged(moto: FaultProxy) -> Iterator[DynamoDBStore]:
    """A store on moto, which keeps tags and has point-in-time recovery."""
    yield from opened(moto)


def opened(proxy: FaultProxy) -> Iterator[DynamoDBStore]:
    made = DynamoDBStore(f"tables-{uuid.uuid4().hex}", region="eu-west-1", endpoint_url=proxy.url, timeout=5)
    yield made
    made.close()


def raw(store: DynamoDBStore):
    """Return plain boto3 for the store's table."""
    return boto3.client("dynamodb", region_name="eu-west-1", endpoint_url=store._clients._endpoint_url)


def make(store: DynamoDBStore, **changes) -> None:
    """Make the table as somebody else would."""
    request = {name: text for name, text in table_request(store.table, PLAIN).items() if name != "Tags"}
    raw(store).create_table(**{**request, **changes})


def named(*names: str) -> dict:
    kinds = ("HASH", "RANGE")[: len(names)]
    return {
        "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, kinds, strict=True)],
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in names],
    }


# --- create ----------------------------------------------------------------------------------------------------------


def test_a_table_is_made_once_with_expiry_of_garbage(store):
    said: list[str] = []
    assert store.create(notify=said.append).created is True
    assert said == [f"creating the table {store.table}", "switching TTL on"]
    assert store.create(notify=said.append).created is False
    assert len(said) == 2
    facts = store.describe()
    assert facts["ttl"] == {"status": "ENABLED", "attribute": "ttl"}
    assert (facts["billing"], facts["state"], facts["key"]) == ("PAY_PER_REQUEST", "ACTIVE", {"pk": "S", "sk": "S"})
    assert facts["deletion_protection"] is True
    assert facts["problems"] == []
    store.check()


def test_settings_are_those_that_were_asked_for(tagged):
    assert tagged.create(SPECIAL).created is True
    facts = tagged.describe()
    assert facts["tags"] == {"created-by": "featurelayer", **SPECIAL.tags}
    assert (facts["point_in_time_recovery"], facts["deletion_protection"]) == ("ENABLED", False)
    assert tagged.create(SPECIAL).differs == ()
    assert tagged.create(TableSettings(tags={"team": "growth", "env": "prod"})).differs == (
        "deletion protection is off, not on", "the tag team is flight ops, not growth",
        "the tag env is not there, not prod",
    )  # fmt: skip
    assert tagged.describe()["tags"] == facts["tags"]


def test_a_run_that_was_stopped_half_way_is_completed(store):
    make(store, Tags=table_request(store.table, PLAIN)["Tags"])
    assert store.describe()["ttl"]["status"] == "DISABLED"
    assert store.create().created is False
    assert store.describe()["ttl"]["status"] == "ENABLED"


def test_recovery_that_a_new_table_refuses_is_asked_for_again(tagged, moto, monkeypatch):
    monkeypatch.setattr("featurelayer.online.stores.dynamodb.provision._POLL_SECONDS", 0)
    moto.script(*[Refuse("ContinuousBackupsUnavailableException")] * 3, operation="UpdateContinuousBackups")
    assert tagged.create(SPECIAL).created is True
    assert tagged.describe()["point_in_time_recovery"] == "ENABLED"


def test_recovery_on_a_server_without_it_is_an_error_that_says_so(proxy, store):
    proxy.always(Refuse("UnknownOperationException"), operation="UpdateContinuousBackups")
    with pytest.raises(OnlineStoreError, match="this server has no point-in-time recovery"):
        store.create(TableSettings(point_in_time_recovery=True))
    store.check()


def test_two_at_once_make_one_table(store, proxy):
    proxy.script(Refuse("ResourceNotFoundException"), operation="DescribeTable")
    make(store, Tags=table_request(store.table, PLAIN)["Tags"])
    proxy.calls.clear()
    assert store.create().created is False
    assert [call.operation for call in proxy.calls][:2] == ["DescribeTable", "CreateTable"]


# --- somebody else's -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "says"), [
    (named("id"), r"its key is id \(hash, S\), not pk \(hash, S\), sk \(range, S\)"),
    (named("pk"), r"its key is pk \(hash, S\), not"),
    (named("sk", "pk"), r"its key is sk \(hash, S\), pk \(range, S\), not"),
    ({"AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"},
                               {"AttributeName": "sk", "AttributeType": "N"}]}, r"sk \(range, N\), not"),
])  # fmt: skip
def test_a_table_of_another_shape_is_left_alone(store, proxy, shape, says):
    make(store, **shape)
    proxy.calls.clear()
    for use in (store.create, store.check):
        with pytest.raises(StoreNotFound, match=f"not a featurelayer store: .*{says}"):
            use()
    assert store.describe()["problems"]
    assert {call.operation for call in proxy.calls} <= {
        "DescribeTable", "DescribeTimeToLive", "ListTagsOfResource", "DescribeContinuousBackups",
    }  # fmt: skip


def test_a_table_that_is_not_tagged_as_ours_is_left_alone_although_its_key_fits(tagged, moto):
    make(tagged, Tags=[{"Key": "created-by", "Value": "orders"}])
    arn = tagged.describe()["arn"]
    for use in (tagged.create, tagged.check):
        with pytest.raises(StoreNotFound, match="has the tag created-by = orders, not created-by = featurelayer"):
            use()
    raw(tagged).untag_resource(ResourceArn=arn, TagKeys=["created-by"])
    with pytest.raises(
        StoreNotFound, match=r"it is not tagged.*\n.*aws dynamodb tag-resource --resource-arn"
    ) as caught:
        tagged.check()
    # What the message says to do is what helps.
    words = str(caught.value).partition("--tags ")[2].rstrip("`").split(",")
    key, value = (word.partition("=")[2] for word in words)
    raw(tagged).tag_resource(ResourceArn=arn, Tags=[{"Key": key, "Value": value}])
    tagged.check()
    assert tagged.create().created is False


def test_a_table_that_expires_by_another_attribute_is_left_alone(store):
    make(store, Tags=table_request(store.table, PLAIN)["Tags"])
    other = {"Enabled": True, "AttributeName": "expires"}
    raw(store).update_time_to_live(TableName=store.table, TimeToLiveSpecification=other)
    with pytest.raises(StoreNotFound, match="its TTL attribute is expires, not ttl"):
        store.create()


def test_reading_and_writing_a_table_of_another_shape_say_so_too(store):
    make(store, **named("id"))
    for use in (lambda: store.read([ITEM.key]), lambda: store.write([ITEM]), lambda: store.names("#service")):
        with pytest.raises(StoreNotFound, match="not a featurelayer store"):
            use()


def test_nothing_but_create_makes_a_table(store):
    for use in (store.check, store.describe, lambda: store.write([ITEM]), lambda: store.read([ITEM.key])):
        with pytest.raises(StoreNotFound, match="featurelayer online create"):
            use()
    assert store.table not in raw(store).list_tables()["TableNames"]


def test_a_role_that_may_not_see_everything_still_gets_a_status(tagged, moto):
    tagged.create()
    moto.plan = lambda operation: Refuse("AccessDeniedException") if operation != "DescribeTable" else None
    facts = tagged.describe()
    assert (facts["tags"], facts["ttl"], facts["point_in_time_recovery"]) == (None, None, None)
    with pytest.raises(OnlineStoreError, match="AccessDenied"):
        tagged.check()  # an export has to know whose table it is


# --- templates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [PLAIN, SPECIAL], ids=["plain", "special"])
def test_the_cloudformation_template_makes_the_table_that_create_makes(tagged, moto, settings):
    tagged.create(settings)
    (sent,) = [call.request for call in moto.calls if call.operation == "CreateTable"]
    ttl = next(call.request for call in moto.calls if call.operation == "UpdateTimeToLive")
    template = yaml.safe_load(yaml.safe_dump(cloudformation({"": tagged.table}, settings), sort_keys=False))
    properties = template["Resources"]["FeatureTable"]["Properties"]
    assert {name: text for name, text in properties.items() if name in sent} == sent
    assert properties["TimeToLiveSpecification"] == ttl["TimeToLiveSpecification"]
    assert properties["PointInTimeRecoverySpecification"] == {
        "PointInTimeRecoveryEnabled": tagged.describe()["point_in_time_recovery"] == "ENABLED"
    }
    # CloudFormation calls these as the API does.
    assert set(properties) - set(sent) == {"TimeToLiveSpecification", "PointInTimeRecoverySpecification"}


def test_cloudformation_makes_a_table_that_is_ours(moto, tagged):
    import boto3

    client = boto3.client("cloudformation", region_name="eu-west-1", endpoint_url=moto_of(moto))
    client.create_stack(StackName=tagged.table, TemplateBody=yaml.safe_dump(cloudformation({"": tagged.table}, PLAIN)))
    client.close()
    tagged.check()
    assert tagged.create().created is False


def moto_of(proxy: FaultProxy) -> str:
    return f"http://{proxy._upstream}"


@pytest.mark.parametrize("settings", [PLAIN, SPECIAL], ids=["plain", "special"])
def test_the_terraform_template_says_the_same(settings):
    request = table_request("features-prod", settings)
    found = hcl2.loads(terraform({"": "features-prod"}, settings))
    ((resource,),) = [each.values() for each in found["resource"]]
    (table,) = unquoted(list(resource.values()) if isinstance(resource, dict) else resource)
    assert table["name"] == request["TableName"]
    assert table["billing_mode"] == request["BillingMode"]
    assert [table["hash_key"], table["range_key"]] == [each["AttributeName"] for each in request["KeySchema"]]
    assert table["deletion_protection_enabled"] is settings.deletion_protection
    assert table["tags"] == settings.all_tags
    types = [{"AttributeName": each["name"], "AttributeType": each["type"]} for each in table["attribute"]]
    assert types == request["AttributeDefinitions"]
    assert [(each["attribute_name"], each["enabled"]) for each in table["ttl"]] == [("ttl", True)]
    assert [each["enabled"] for each in table["point_in_time_recovery"]] == [settings.point_in_time_recovery]


def unquoted(value):
    """The parser keeps the quotes of strings, and marks blocks."""
    if isinstance(value, dict):
        return {unquoted(key): unquoted(each) for key, each in value.items() if key != "__is_block__"}
    if isinstance(value, list):
        return [unquoted(each) for each in value]
    return value[1:-1] if isinstance(value, str) and value.startswith('"') else value


# --- names and settings, before any call -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ab", "x" * 256, "with space", "a/b/c", "AKIA:wJalr@features", "table\n", ""])
def test_a_name_that_no_table_has_is_refused_without_being_repeated(name):
    for use in (
        lambda: DynamoDBStore(name),
        lambda: cloudformation({"": name}, PLAIN),
        lambda: terraform({"": name}, PLAIN),
    ):
        with pytest.raises(ConfigError, match="not a valid DynamoDB table name") as caught:
            use()
        assert "wJalr" not in str(caught.value)


def test_settings_are_read_with_all_their_mistakes():
    assert read_settings({"type": "dynamodb", "table": "features"}, "here") == TableSettings()
    entry = {"tags": {"team": "growth", "cost": 7}, "point_in_time_recovery": "True", "deletion_protection": False}
    assert read_settings(entry, "here") == TableSettings(
        tags={"team": "growth", "cost": "7"}, point_in_time_recovery=True, deletion_protection=False
    )
    wrong = {"tags": {"aws:x": "a", "created-by": "me", "y": "ä€;", "z": None, 5: "b", "k" * 129: "c"},
             "point_in_time_recovery": "maybe", "deletion_protection": 3}  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        read_settings(wrong, "featurelayer.yml -> online_store.prod")
    assert len(caught.value.problems) == 8
    assert len({str(problem) for problem in caught.value.problems}) == 8
    with pytest.raises(ConfigError, match="60 tags"):
        read_settings({"tags": {f"t{number}": "x" for number in range(60)}}, "here")
    with pytest.raises(ConfigError, match="not a mapping"):
        read_settings({"tags": ["team"]}, "here")
