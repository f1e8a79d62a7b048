"""Many threads that use a fresh client, store or layer at the same moment, first and again: all of them are served.

Whatever is built at the first use must be built once, or at least do no harm when it is built twice.
"""

from __future__ import annotations

import asyncio
import os
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from featurelayer import FeatureLayer
from featurelayer.export import publish_services
from featurelayer.online import AsyncFeatureClient, FeatureClient, Item, MemoryStore, open_store
from featurelayer.online.once import Once
from featurelayer.online.stores.dynamodb.store import DynamoDBStore
from featurelayer.online.stores.dynamodb.transport import TRANSPORTS
from tests.exporting import export_view
from tests.online_cases import PLANE_LEGS, SERVICE, STATIC_PLANES, legs_batch, micros, planes_batch
from tests.unit import dbt_projects as made
from tests.unit.warehouses import layer

T = TypeVar("T")

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)  # DynamoDB Local deletes what is long expired
SERVERS = ("moto_endpoint", "dynamodb_local_endpoint")


def together(threads: int, call: Callable[[int], T]) -> list[T]:
    """Return what `call` returns in threads that start at the same moment, and in none of which it may fail."""
    start = threading.Barrier(threads)

    def run(number: int) -> T:
        start.wait()
        return call(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


def in_a_fork(call: Callable[[], Any]) -> None:
    """Run something in a child process, and fail if it fails there."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            call()
            code = 0
        except BaseException:  # noqa: BLE001 (whatever it is, it must end here)
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def fill(store: Any) -> None:
    store.create()
    export_view(store, PLANE_LEGS, [legs_batch([("N1", NOW, 1.5, 7)])], as_of=NOW)
    export_view(store, STATIC_PLANES, [planes_batch([("N1", 180)])], as_of=NOW)
    publish_services(store, [SERVICE], {view.id: view for view in (PLANE_LEGS, STATIC_PLANES)}, micros(NOW))


@pytest.fixture(scope="module")
def tables() -> dict[str, str]:
    return {}


KINDS = [*(f"{server} {transport}" for server in SERVERS for transport in TRANSPORTS), "sqlite", "memory"]


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest, tables: dict[str, str], tmp_path_factory: Any) -> str:
    """The address of a store with a service, made once per kind of store."""
    kind, _, transport = request.param.partition(" ")
    if kind not in tables:
        if kind == "sqlite":
            tables[kind] = f"sqlite:///{tmp_path_factory.mktemp('first') / 'store.db'}"
        elif kind == "memory":
            tables[kind] = f"memory://{uuid.uuid4().hex}"
        else:
            endpoint = request.getfixturevalue(kind)
            name = f"first-{uuid.uuid4().hex}"
            tables[kind] = f"dynamodb://{name}?region=eu-west-1&endpoint_url={endpoint}&timeout=9"
        store = open_store(tables[kind])
        fill(store)
        store.close()
    return tables[kind] + (f"&transport={transport}" if transport else "")


@pytest.fixture
def client(address: str) -> Iterator[FeatureClient]:
    with FeatureClient.connect(address) as fresh:
        yield fresh


def look_up(client: FeatureClient) -> None:
    vector = client.lookup("late_arrival", {"tailnum": "N1"}, now=NOW, deadline=30)
    assert vector.to_list() == [1.5, 7, 180]


def look_up_often(client: FeatureClient) -> None:
    for _ in range(6):
        look_up(client)


@pytest.mark.parametrize("threads", [2, 4, 16])
def test_threads_look_up_first_at_the_same_moment(client: FeatureClient, threads: int) -> None:
    together(threads, lambda _: look_up_often(client))
    look_up(client)


@pytest.mark.parametrize("threads", [2, 16])
def test_threads_look_up_first_at_the_same_moment_after_a_fork(client: FeatureClient, threads: int) -> None:
    in_a_fork(lambda: together(threads, lambda _: look_up_often(client)))
    look_up(client)  # and now that this process has sockets
    in_a_fork(lambda: together(threads, lambda _: look_up_often(client)))
    look_up(client)


@pytest.mark.parametrize("threads", [2, 4, 16])
def test_threads_write_first_at_the_same_moment(client: FeatureClient, threads: int) -> None:
    def write(number: int) -> None:
        for turn in range(3):
            row = {
                "tailnum": f"W{number}",
                "arr_delay": float(turn),
                "legs": turn,
                "landed_at": NOW + timedelta(seconds=turn),
            }
            assert client.write("plane_legs", [row]).written == 1

    together(threads, write)
    # What else writes the same must not find it there.
    client.store.remove([(f'plane["W{number}"]', "plane_legs@0") for number in range(threads)])


@pytest.mark.parametrize("threads", [2, 16])
def test_threads_export_first_at_the_same_moment(address: str, threads: int) -> None:
    store = open_store(address)
    version = int(datetime.now(UTC).timestamp() * 1e6)

    def write(number: int) -> None:
        items = [Item(pk=f"x[{number},{each}]", sk="x@0", version=version, event_time=1, f="[1]") for each in range(30)]
        assert store.write(items, rewrite=True, new=True).written == 30

    together(threads, write)
    assert len(list(store.live("x@0"))) == 30 * threads
    store.remove([(key.pk, "x@0") for key in store.live("x@0")])
    store.close()


@pytest.mark.parametrize("tasks", [2, 4, 16])
def test_tasks_look_up_first_at_the_same_moment(address: str, tasks: int) -> None:
    async def one(client: AsyncFeatureClient) -> None:
        for _ in range(6):
            vector = await client.lookup("late_arrival", {"tailnum": "N1"}, now=NOW, deadline=30)
            assert vector.to_list() == [1.5, 7, 180]

    async def run() -> None:
        async with AsyncFeatureClient.connect(address) as client:
            await asyncio.gather(*(one(client) for _ in range(tasks)))

    asyncio.run(run())


@pytest.mark.parametrize("threads", [2, 16])
def test_event_loops_of_several_threads_share_a_client(address: str, threads: int) -> None:
    client = AsyncFeatureClient.connect(address)

    async def one() -> None:
        for _ in range(6):
            vector = await client.lookup("late_arrival", {"tailnum": "N1"}, now=NOW, deadline=30)
            assert vector.to_list() == [1.5, 7, 180]

    together(threads, lambda _: asyncio.run(one()))
    asyncio.run(client.close())


def test_a_memory_store_of_one_name_is_one() -> None:
    name = f"memory://{uuid.uuid4().hex}"
    first, *others = together(16, lambda _: open_store(name))
    assert isinstance(first, MemoryStore)
    assert all(other is first for other in others)


def test_a_dynamodb_stores_clients_are_built_once(moto_endpoint: str) -> None:
    for _ in range(5):
        store = DynamoDBStore("once", region="eu-west-1", endpoint_url=moto_endpoint)
        built = together(8, lambda number, store=store: store._clients.transport(exporting=number % 2 == 0))
        assert len({id(each) for each in built}) == 2
        store.close()


def test_a_layers_registry_is_read_once(tmp_path: Path) -> None:
    layer(tmp_path, made.model(online=True, ttl="1 day"), sql="CREATE TABLE legs AS SELECT 1 AS one")
    with (tmp_path / "featurelayer.yml").open("a") as settings:
        settings.write("online_store: {dev: {type: sqlite, path: store.db}}\n")
    for _ in range(3):
        told: list[str] = []
        fresh = FeatureLayer(tmp_path, profiles_dir=tmp_path, warn=told.append)
        found = together(8, lambda _, fresh=fresh: (fresh.registry, fresh.online.url, fresh.project.connection))
        assert len({id(registry) for registry, _, _ in found}) == 1
        assert len({url for _, url, _ in found}) == 1
        assert len(told) == len(set(told))


# --- what all of this stands on --------------------------------------------------------------------------------------


def test_once_builds_once_and_again_after_a_failure() -> None:
    built: list[int] = []

    def build() -> int:
        built.append(threading.get_ident())
        threading.Event().wait(0.05)
        if len(built) == 1:
            raise ValueError("the first time")
        return len(built)

    once = Once(build)
    with pytest.raises(ValueError, match="the first time"):
        once()
    assert together(8, lambda _: once()) == [2] * 8
    assert once.clear() == [2]
    assert once.clear() == []
    assert once() == 3


def test_once_is_built_in_a_child_that_was_forked_in_the_middle_of_building() -> None:
    building, go_on = threading.Event(), threading.Event()
    parent = os.getpid()

    def build() -> int:
        building.set()
        if os.getpid() == parent:
            go_on.wait(30)
        return os.getpid()

    once = Once(build)
    thread = threading.Thread(target=once)
    thread.start()
    building.wait(30)

    def child() -> None:
        assert once() == os.getpid()

    in_a_fork(child)
    go_on.set()
    thread.join()
    assert once() == parent
