"""What asyncio adds to the client: lookups side by side, cancelled, or waiting for their turn."""

import asyncio
import inspect
from datetime import UTC, datetime
from threading import Event

import pytest

from featurelayer.errors import DeadlineExceeded
from featurelayer.export import publish_services
from featurelayer.online import AsyncFeatureClient, FeatureClient, MemoryStore, open_store
from tests.exporting import export_view
from tests.online_cases import PLANE_LEGS, legs_batch, service_of

T = datetime(2026, 11, 1, 12, tzinfo=UTC)
DELAY = "plane_legs__arr_delay"
N1 = {"tailnum": "N1"}


class Slow(MemoryStore):
    """A store that remembers its reads, and answers when it is released."""

    def __init__(self):
        super().__init__()
        self.reads = []
        self.release = Event()
        self.release.set()

    def read(self, keys, **options):
        self.reads.append(set(keys))
        self.release.wait(10)
        return super().read(keys, **options)


def filled(store=None):
    store = Slow() if store is None else store
    publish_services(store, [service_of(PLANE_LEGS)], {"plane_legs": PLANE_LEGS}, 1)
    export_view(store, PLANE_LEGS, [legs_batch([("N1", T, 1.5, 2)])], as_of=T)
    return store


def test_connect_may_be_awaited_and_need_not_be():
    async def work() -> None:
        url = "memory://awaited"
        filled(open_store(url))
        client = await AsyncFeatureClient.connect(url)
        assert (await client.lookup("late_arrival", N1, now=T))[DELAY] == 1.5
        await client.close()
        async with AsyncFeatureClient.connect(url) as other:
            assert await other.services() == ["late_arrival"]
            assert (await other.service("late_arrival")).name == "late_arrival"

    asyncio.run(work())


def test_lookups_run_side_by_side_and_the_loop_stays_free():
    store = filled()
    client = AsyncFeatureClient(store, concurrency=3)

    async def work() -> list[float]:
        await client.lookup("late_arrival", N1, now=T)
        store.release.clear()
        store.reads.clear()
        lookups = [asyncio.create_task(client.lookup("late_arrival", N1, now=T)) for _ in range(5)]
        while len(store.reads) < 3:  # the loop is free to look; two wait for a thread
            await asyncio.sleep(0.001)
        store.release.set()
        return [vector[DELAY] for vector in await asyncio.gather(*lookups)]

    assert asyncio.run(work()) == [1.5] * 5


def test_waiting_for_a_thread_is_inside_the_deadline():
    store = filled()
    client = AsyncFeatureClient(store, concurrency=1)

    async def work() -> None:
        store.release.clear()
        first = asyncio.create_task(client.lookup("late_arrival", N1, now=T, deadline=None))
        while not store.reads:
            await asyncio.sleep(0.001)
        with pytest.raises(DeadlineExceeded):
            await client.lookup("late_arrival", N1, deadline=0.05)
        store.release.set()
        assert (await first)[DELAY] == 1.5

    asyncio.run(work())


def test_a_lookup_can_be_cancelled():
    store = filled()
    client = AsyncFeatureClient(store)

    async def work() -> None:
        store.release.clear()
        task = asyncio.create_task(client.lookup("late_arrival", N1, now=T))
        while not store.reads:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        store.release.set()
        assert (await client.lookup("late_arrival", N1, now=T))[DELAY] == 1.5

    asyncio.run(work())


def test_a_timeout_of_the_caller_is_the_callers_and_not_a_deadline():
    store = filled()
    client = AsyncFeatureClient(store)

    async def work() -> None:
        store.release.clear()
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.05):
                await client.lookup("late_arrival", N1, deadline=60)
        assert not isinstance(caught.value, DeadlineExceeded)
        store.release.set()

    asyncio.run(work())


def test_a_timeout_of_the_store_is_the_stores_and_not_a_deadline():
    class Late(MemoryStore):
        def read(self, keys, **options):
            raise TimeoutError("the store's own")

    with pytest.raises(TimeoutError, match="the store's own"):
        asyncio.run(AsyncFeatureClient(Late()).lookup("late_arrival", N1))


def test_both_surfaces_have_the_same_methods_and_arguments():
    def surface_of(kind: type) -> dict[str, list[tuple[str, object]]]:
        return {
            name: [(each.name, each.default) for each in inspect.signature(member).parameters.values()]
            for name, member in inspect.getmembers(kind, callable)
            if not name.startswith("_") and name != "reset_after_fork"
        }

    ours, theirs = surface_of(AsyncFeatureClient), surface_of(FeatureClient)
    ours["connect"] = [each for each in ours["connect"] if each[0] != "concurrency"]
    assert ours == theirs
