"""Every call of both clients keeps its deadline against a DynamoDB that never answers or throttles for ever."""

import asyncio
import time
import uuid
from contextlib import closing
from datetime import UTC, datetime

import pytest

from featurelayer.errors import OnlineStoreError
from featurelayer.export import publish_services
from featurelayer.online import AsyncFeatureClient, FeatureClient, open_store
from featurelayer.online.base import find_provisioner
from tests.exporting import export_view
from tests.online_cases import PLANE_LEGS, legs_batch, service_of
from tests.servers.faults import Dribble, FaultProxy, Refuse, Wait

T = datetime(2100, 11, 1, 12, tzinfo=UTC)
N1 = {"tailnum": "N1"}
ROW = {"tailnum": "N2", "arr_delay": 1.0, "legs": 1}
CALLS = {
    "lookup": lambda client, **more: client.lookup("late_arrival", N1, **more),
    "lookup_many": lambda client, **more: client.lookup_many("late_arrival", [{"tailnum": f"N{n}"} for n in range(150)],
                                                             **more),
    "unknown": lambda client, **more: client.lookup("early_arrival", N1, **more),
    "write": lambda client, **more: client.write("plane_legs", [ROW], **more),
    "service": lambda client, **more: client.service("late_arrival", **more),
    "services": lambda client, **more: client.services(**more),
    "warm_up": lambda client, **more: client.warm_up(**more),
}  # fmt: skip
FAULTS = {
    "silent": Wait(120),
    "throttled": Refuse("ProvisionedThroughputExceededException"),
    "dribbling": Dribble(600, 0.2),
}
CASES = [
    *((FeatureClient, call, fault) for call in CALLS for fault in ("silent", "throttled")),
    *((FeatureClient, call, "dribbling") for call in ("lookup", "write")),
    *((AsyncFeatureClient, call, "silent") for call in ("lookup", "write", "warm_up")),
]
# Generous, for a busy machine. Before, a write to a silent endpoint took 82 seconds.
DEADLINE, SOON = 0.6, 30.0


@pytest.fixture(scope="module")
def shared(moto_endpoint):
    with FaultProxy(moto_endpoint) as proxy:
        yield proxy


@pytest.fixture
def proxy(shared):
    yield shared
    shared.pass_all()


@pytest.fixture(scope="module")
def url(shared) -> str:
    url = f"dynamodb://features-{uuid.uuid4().hex}?region=eu-west-1&endpoint_url={shared.url}&timeout=40"
    with closing(open_store(url)) as store:
        find_provisioner(store, ()).create()
        publish_services(store, [service_of(PLANE_LEGS)], {"plane_legs": PLANE_LEGS}, 1)
        export_view(store, PLANE_LEGS, [legs_batch([("N1", T, 1.5, 2)])], as_of=T)
    return url


def ends_in_time(call) -> None:
    began = time.monotonic()
    with pytest.raises(OnlineStoreError) as caught:
        call()
    assert time.monotonic() - began < SOON
    assert caught.value.retryable


@pytest.mark.parametrize(("kind", "call", "fault"), CASES)
def test_a_call_keeps_its_deadline(kind, call, fault, proxy, url):
    async def awaited() -> None:
        await CALLS[call](AsyncFeatureClient(store), deadline=DEADLINE)

    with closing(open_store(url)) as store:
        store.warm_up()
        proxy.always(FAULTS[fault])
        if kind is FeatureClient:
            ends_in_time(lambda: CALLS[call](FeatureClient(store), deadline=DEADLINE))
        else:
            ends_in_time(lambda: asyncio.run(awaited()))


@pytest.mark.parametrize("operation", ["BatchGetItem", "PutItem"])
def test_a_write_keeps_its_deadline_whichever_of_its_calls_is_silent(operation, proxy, url):
    with closing(open_store(url)) as store:
        client = FeatureClient(store)
        client.write("plane_legs", [ROW], deadline=60)  # it knows the view
        proxy.always(Wait(120), operation=operation)
        ends_in_time(lambda: client.write("plane_legs", [ROW | {"legs": 3}], deadline=DEADLINE))
        proxy.pass_all()
        assert client.write("plane_legs", [ROW | {"legs": 4}], deadline=60).written == 1


def test_closing_ends_soon_with_calls_under_way(proxy, url):
    store = open_store(url)
    client = FeatureClient(store)
    client.warm_up()
    proxy.always(Wait(120))
    ends_in_time(lambda: client.lookup("late_arrival", N1, deadline=0.2))
    began = time.monotonic()
    client.close()
    assert time.monotonic() - began < SOON


def test_the_first_lookup_after_warm_up_is_one_call(proxy, url):
    with FeatureClient.connect(url) as client:
        client.warm_up()
        proxy.calls.clear()
        assert client.lookup("late_arrival", N1, now=T)["plane_legs__legs"] == 2
        assert len(proxy.calls) == 1
