"""DynamoDB when it fails: no value is silently missing, no write is lost, errors are ours, and retries end.

The real store talks through `FaultProxy` to moto and to DynamoDB Local.
"""

import random
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import boto3
import pytest

from featurelayer.errors import DeadlineExceeded, OnlineStoreError, StoreThrottled, StoreUnavailable
from featurelayer.export import publish_services
from featurelayer.online import FeatureClient, Item, Status
from featurelayer.online.stores.dynamodb.store import DynamoDBStore
from featurelayer.online.stores.dynamodb.transport import TRANSPORTS
from tests.exporting import export_view
from tests.online_cases import PLANE_LEGS, SERVICE, STATIC_PLANES, legs_batch, planes_batch
from tests.profiles import examples
from tests.servers.faults import (
    THROTTLES,
    TRANSIENT,
    Dribble,
    Drop,
    FailStatements,
    Fault,
    FaultProxy,
    Garble,
    Hollow,
    Partial,
    Refuse,
    Truncate,
    Wait,
)

T = datetime(2026, 11, 1, 12, tzinfo=UTC)
FAILING = (
    *THROTTLES, Refuse("InternalServerError", 500), Drop(applied=False), Drop(applied=True), Truncate(), Garble(),
)  # fmt: skip
RETRYABLE = (StoreThrottled, StoreUnavailable)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry as often as ever, but at once: the waits would be most of these tests."""
    monkeypatch.setattr("featurelayer.online.stores.dynamodb.http_transport._PAUSE", 0.001)
    monkeypatch.setattr("featurelayer.online.stores.dynamodb.http_transport._LONGEST_PAUSE", 0.001)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)


@pytest.fixture(params=["moto_endpoint", "dynamodb_local_endpoint"])
def proxy(request: pytest.FixtureRequest) -> Iterator[FaultProxy]:
    with FaultProxy(request.getfixturevalue(request.param)) as running:
        yield running


@pytest.fixture(params=TRANSPORTS)
def store(request: pytest.FixtureRequest, proxy: FaultProxy) -> Iterator[DynamoDBStore]:
    opened = DynamoDBStore(
        f"faults-{uuid.uuid4().hex}", region="eu-west-1", endpoint_url=proxy.url, timeout=5, transport=request.param
    )
    opened.create()
    proxy.calls.clear()
    yield opened
    proxy.closing.set()
    opened.close()


def items(count: int, version: int = 1) -> list[Item]:
    return [
        Item(pk=f"plane[{number}]", sk="legs@0", version=version, event_time=version, f=f"[{number},{version}]")
        for number in range(count)
    ]


def keys(count: int) -> list[tuple[str, str]]:
    return [item.key for item in items(count)]


def by_key(written: list[Item]) -> dict[tuple[str, str], Item]:
    return {item.key: item for item in written}


def name_of(fault: Fault) -> str:
    return str(fault)


# --- reads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [*TRANSIENT, Partial(0), Partial(1)], ids=name_of)
def test_a_read_that_fails_once_is_repaired(store, proxy, fault):
    store.write(items(5))
    proxy.script(fault)
    assert store.read(keys(6)) == by_key(items(5))


@pytest.mark.parametrize("fault", FAILING, ids=name_of)
def test_a_read_that_keeps_failing_is_an_error_after_two_attempts(store, proxy, fault):
    store.write(items(2))
    proxy.calls.clear()
    proxy.always(fault)
    with pytest.raises(StoreThrottled if fault in THROTTLES else StoreUnavailable) as caught:
        store.read(keys(2), deadline=time.monotonic() + 60)
    # A kept connection that is found closed is replaced once, besides.
    assert 2 <= len(proxy.calls) <= 2 + isinstance(fault, Drop)
    assert caught.value.retryable
    assert "testing" not in str(caught.value)
    proxy.pass_all()
    assert store.read(keys(2)) == by_key(items(2))


@pytest.mark.parametrize("fault", [Wait(60), Dribble(300, 0.2), Partial(0)], ids=name_of)
def test_a_deadline_holds_however_slow_the_answer_is(store, proxy, fault):
    store.write(items(2))
    proxy.always(fault)
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        store.read(keys(2), deadline=started + 0.3)
    assert time.monotonic() - started < 40  # the answer would take a minute


def test_a_long_deadline_holds_against_an_answer_that_drips(store, proxy):
    """Each piece comes in time for the socket, so only the deadline can end it."""
    store.write(items(2))
    proxy.always(Dribble(600, 0.2))
    with pytest.raises(DeadlineExceeded):
        store.read(keys(2), deadline=time.monotonic() + 3)


def test_an_answer_without_content_is_not_taken_for_nothing_there(store, proxy):
    alone, views = Item(pk="a", sk="v@0", version=1), [Item(pk="b", sk=f"v@{number}", version=1) for number in (0, 1)]
    store.write([alone, *views])
    proxy.always(Hollow())
    for use in (
        lambda: store.read([alone.key]),
        lambda: store.read([item.key for item in views]),  # one Query
        lambda: store.names("a"),
        lambda: list(store.live("v@0")),
    ):
        with pytest.raises(StoreUnavailable):
            use()


def test_chunks_fail_one_by_one_and_none_is_left_out(store, proxy):
    store.write(items(130))
    # The chunks are under way at once, so of what one call may meet only one is a failure: it has two attempts.
    for faults in ((Drop(applied=False), Partial(40), None), (Partial(40), None, Refuse("ThrottlingException"))):
        proxy.script(*faults, operation="BatchGetItem")
        assert store.read(keys(130), deadline=time.monotonic() + 60) == by_key(items(130))
    proxy.script(None, *[Refuse("InternalServerError", 500)] * 3, operation="BatchGetItem")
    with pytest.raises(StoreUnavailable):
        store.read(keys(130), deadline=time.monotonic() + 60)


# --- writes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", TRANSIENT, ids=name_of)
def test_a_write_that_fails_once_is_repaired_and_counted_once(store, proxy, fault):
    proxy.script(fault, operation="PutItem")
    assert store.write(items(3)).written == 3
    proxy.script(None, fault, operation="PutItem")
    assert store.write(items(3, version=2)).written == 3
    assert store.read(keys(3), consistent=True) == by_key(items(3, version=2))


@pytest.mark.parametrize("fault", FAILING, ids=name_of)
def test_a_write_that_keeps_failing_is_an_error_and_running_it_again_finishes_it(store, proxy, fault):
    store.write(items(3))
    proxy.calls.clear()
    proxy.always(fault, operation="PutItem")
    with pytest.raises(StoreThrottled if fault in THROTTLES else StoreUnavailable):
        store.write(items(3, version=2))
    assert 1 <= len([call for call in proxy.calls if call.operation == "PutItem"]) <= 3 * 9
    proxy.pass_all()
    done = store.write(items(3, version=2))
    assert (done.written + done.unchanged, done.refused) == (3, 0)
    assert store.read(keys(3), consistent=True) == by_key(items(3, version=2))


def test_an_old_write_that_arrives_twice_does_not_undo_a_newer_one(store, proxy):
    proxy.script(Drop(applied=True), operation="PutItem")
    assert store.write(items(1)).written == 1
    store.write(items(1, version=3))
    assert store.write(items(1, version=2)).refused == 1
    assert store.read(keys(1), consistent=True) == by_key(items(1, version=3))


# --- writes by PartiQL -----------------------------------------------------------------------------------------------

THROTTLED_STATEMENTS = tuple(
    FailStatements(code) for code in ("ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded",
                                      "InternalServerError", "TransactionConflict")
)  # fmt: skip


def calls(proxy: FaultProxy) -> int:
    return len([call for call in proxy.calls if call.operation == "BatchExecuteStatement"])


@pytest.fixture
def batches(store: DynamoDBStore, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> DynamoDBStore:
    """A store that has found out that its server has PartiQL."""
    monkeypatch.setattr("featurelayer.online.stores.dynamodb.writer._PAUSE", 0.001)
    store.write([Item(pk="x", sk="y", version=1)], rewrite=True, new=True)
    if store.write_path != "PartiQL":
        pytest.skip("moto has no PartiQL to speak of")
    proxy.calls.clear()
    return store


@pytest.mark.parametrize("fault", [*TRANSIENT, Hollow(), *THROTTLED_STATEMENTS], ids=name_of)
def test_a_batch_that_fails_once_is_repaired_and_counted_once(batches, proxy, fault):
    proxy.script(fault, operation="BatchExecuteStatement")
    assert batches.write(items(30), rewrite=True, new=True).written == 30
    proxy.script(None, fault, operation="BatchExecuteStatement")
    assert batches.write(items(30, version=2), rewrite=True).written == 30
    proxy.script(fault, fault, operation="BatchExecuteStatement")
    done = batches.write(items(40, version=2), rewrite=True, new=True)
    assert (done.written + done.unchanged, done.lost) == (40, ())
    assert batches.write(items(3), rewrite=True).lost == tuple(keys(3))
    assert batches.read(keys(40), consistent=True) == by_key(items(40, version=2))


def test_throttling_is_survived_as_long_as_something_is_written(batches, proxy):
    """Every call fails in part: patience begins again with whatever was written."""
    batches._writer._patience = 1.0
    proxy.at_random(3, 1.0, [FailStatements("ThrottlingError")])
    proxy.script(*[FailStatements("ThrottlingError")] * 4, operation="BatchExecuteStatement")
    assert batches.write(items(16), rewrite=True, new=True).written == 16
    assert batches.read(keys(16), consistent=True) == by_key(items(16))
    assert calls(proxy) == 5


@pytest.mark.parametrize("fault", [*FAILING, Hollow()], ids=name_of)
def test_a_batch_that_keeps_failing_is_an_error_that_says_what_to_do_and_a_rerun_finishes_it(batches, proxy, fault):
    batches._writer._patience = 0.5
    proxy.always(fault, operation="BatchExecuteStatement")
    kind = StoreThrottled if fault in THROTTLES else StoreUnavailable
    with pytest.raises(kind, match=r"5 items of a batch could not be written for 0.5 seconds(.|\n)*run it again"):
        batches.write(items(5), rewrite=True, new=True)
    proxy.pass_all()
    done = batches.write(items(5), rewrite=True, new=True)
    assert (done.written + done.unchanged, done.lost) == (5, ())
    assert batches.read(keys(5), consistent=True) == by_key(items(5))


@pytest.mark.parametrize(("code", "message"), [
    ("AccessDenied", "access to the table"), ("ResourceNotFound", "online create"), ("ItemTooLarge", "it says"),
])  # fmt: skip
def test_a_statement_that_can_never_succeed_is_an_error_at_once(batches, proxy, code, message):
    proxy.always(FailStatements(code), operation="BatchExecuteStatement")
    with pytest.raises(OnlineStoreError, match=message):
        batches.write(items(5), rewrite=True)
    assert calls(proxy) == 1


def test_an_export_needs_one_call_per_25_new_or_changed_rows(batches, proxy):
    assert batches.write(items(100), rewrite=True, new=True).written == 100
    assert (calls(proxy), len(proxy.calls)) == (4, 4)
    assert batches.write(items(100, version=2), rewrite=True).written == 100
    assert (calls(proxy), len(proxy.calls)) == (8, 8)


@pytest.mark.parametrize("seed", range(examples(4)))
def test_random_batches_under_random_faults_lose_nothing(batches, proxy, seed):
    """What a write says it wrote is there or something newer; what it says it lost was older."""
    batches._writer._patience = 0.02
    chance = random.Random(seed)
    certain: dict[tuple[str, str], int] = {}
    proxy.at_random(seed, 0.3, (*TRANSIENT, *FAILING, *THROTTLED_STATEMENTS))
    versions = list(range(1, 31))
    chance.shuffle(versions)
    for version in versions:
        batch = [item for item in items(6, version) if chance.random() < 0.5]
        try:
            done = batches.write(batch, rewrite=True, new=chance.random() < 0.5)
        except RETRYABLE:
            continue
        for item in batch:
            if item.key in done.lost:
                assert version < max(versions)
            else:
                certain[item.key] = max(version, certain.get(item.key, 0))
    proxy.pass_all()
    found = batches.read(keys(6), consistent=True)
    assert all(found[key].version >= version for key, version in certain.items())


# --- lists -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", TRANSIENT, ids=name_of)
def test_lists_are_whole_or_an_error(store, proxy, fault):
    store.write([*items(5), Item(pk="#service", sk="late", version=1, f="{}")])
    proxy.script(fault)
    assert sorted(live.pk for live in store.live("legs@0")) == [f"plane[{number}]" for number in range(5)]
    proxy.script(fault)
    assert store.names("#service") == ["late"]
    if fault in FAILING:
        proxy.always(fault)
        with pytest.raises(OnlineStoreError):
            list(store.live("legs@0"))
        with pytest.raises(OnlineStoreError):
            store.names("#service")


# --- the whole path --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(examples(3)))
def test_exports_and_lookups_in_bad_weather_are_right_or_say_that_they_failed(store, proxy, seed):
    version = int(T.timestamp() * 1e6)
    rows = [(f"N{number}", T - timedelta(hours=1), number / 4, number) for number in range(12)]
    proxy.at_random(seed, 0.2, (*TRANSIENT, Drop(applied=True)))
    publish = lambda: publish_services(  # noqa: E731
        store, [SERVICE], {"plane_legs": PLANE_LEGS, "planes": STATIC_PLANES}, version
    )
    insist(publish)
    insist(lambda: export_view(store, PLANE_LEGS, [legs_batch(rows)], as_of=T))
    insist(lambda: export_view(store, STATIC_PLANES, [planes_batch([("N1", 150)])], as_of=T))
    proxy.at_random(seed, 0.2, (*TRANSIENT, Partial(0), Partial(3)))
    client = FeatureClient(store)
    requests = [{"tailnum": name} for name, *_ in rows]
    for _ in range(10):
        vectors = insist(lambda: client.lookup_many("late_arrival", requests, now=T, deadline=timedelta(seconds=30)))
        assert [vector["plane_legs__arr_delay"] for vector in vectors] == [delay for _, _, delay, _ in rows]
        assert {vector.features["plane_legs__legs"].status for vector in vectors} == {Status.PRESENT}
    assert any(call.fault for call in proxy.calls)


@pytest.mark.parametrize("seed", range(examples(4)))
def test_random_writes_under_random_faults_lose_nothing(store, proxy, seed):
    """A write that returned is there, one that failed is there or not, and nothing else ever is."""
    chance = random.Random(seed)
    proxy.at_random(seed, 0.3, (*TRANSIENT, *FAILING))
    certain: dict[tuple[str, str], int] = {}
    possible: dict[tuple[str, str], set[int]] = {key: set() for key in keys(6)}
    for version in range(1, 31):
        batch = [item for item in items(6, version) if chance.random() < 0.5]
        for item in batch:
            possible[item.key].add(version)
        try:
            store.write(batch)
        except RETRYABLE:
            pass
        else:
            certain |= {item.key: version for item in batch}
        try:
            found = store.read(keys(6), consistent=True)
        except RETRYABLE:
            continue
        for key in keys(6):
            assert key in found or key not in certain
            if key in found:
                assert found[key].version in possible[key]
                assert found[key].version >= certain.get(key, 0)
                assert found[key] == items(6, found[key].version)[keys(6).index(key)]


def insist(action):
    """Run again what failed, as a person would; an error that repeating can't help is a failure."""
    for _ in range(20):
        try:
            return action()
        except RETRYABLE:
            continue
    raise AssertionError("twenty failures in a row")


# --- the proxy itself ------------------------------------------------------------------------------------------------


def test_the_proxy_fails_batches_as_dynamodb_does(store, proxy):
    client = boto3.client("dynamodb", region_name="eu-west-1", endpoint_url=proxy.url)
    puts = [{"PutRequest": {"Item": {"pk": {"S": f"p{number}"}, "sk": {"S": "s"}}}} for number in range(4)]
    proxy.script(Partial(3), Partial(1))
    assert client.batch_write_item(RequestItems={store.table: puts})["UnprocessedItems"] == {store.table: puts[3:]}
    wanted = [{"pk": {"S": f"p{number}"}, "sk": {"S": "s"}} for number in range(4)]
    answer = client.batch_get_item(RequestItems={store.table: {"Keys": wanted, "ConsistentRead": True}})
    assert answer["Responses"][store.table] == wanted[:1]
    assert answer["UnprocessedKeys"] == {store.table: {"Keys": wanted[1:], "ConsistentRead": True}}
    insert = f"INSERT INTO \"{store.table}\" VALUE {{{{'pk': 'q{{}}', 'sk': 's'}}}}"
    statements = [{"Statement": insert.format(number)} for number in range(3)]
    proxy.script(FailStatements())
    answers = client.batch_execute_statement(Statements=statements)["Responses"]
    codes = [each.get("Error", {}).get("Code") for each in answers]
    assert codes == ["ThrottlingError", None, "ThrottlingError"]
    assert [call.operation for call in proxy.calls] == ["BatchWriteItem", "BatchGetItem", "BatchExecuteStatement"]
    client.close()
