"""The lease: the next exporter waits for the one at work, tells who that is, and depends on nothing of it."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime, timedelta

import pytest

from featurelayer.errors import StoreUnavailable
from featurelayer.export import Clock
from featurelayer.online import MemoryStore
from featurelayer.online.definitions import Lease, lease_key
from tests.exporting import exporter_of, intend, snapshot_of
from tests.online_cases import PLANE_LEGS, legs_batch, micros

T = datetime(2026, 11, 1, 12, tzinfo=UTC)
SK = "plane_legs@0"
START = 1_000_000.0


class Time:
    """A clock that the test moves; `then` happens after so many sleeps."""

    def __init__(self, **then) -> None:
        self.now, self.slept, self.dead = START, 0, set()
        self.then = then

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += 1
        if f"after_{self.slept}" in self.then:
            self.then[f"after_{self.slept}"]()

    def clock(self) -> Clock:
        return Clock(now=lambda: self.now, sleep=self.sleep, is_alive=lambda process: process not in self.dead)


def held(
    store, *, until: float = 30, told: float = 0, host: str = "elsewhere", process: int = 7, run: str = "other" * 6
):
    at = int((START + until) * 1e6), int((START + told) * 1e6) + 1
    store.write([Lease(run=run, until=at[0], told=at[1], host=host, process=process).item(SK)])


def waited(store, time: Time) -> list[str]:
    told: list[str] = []
    exporter_of(store, clock=time.clock(), tell=told.append).wait({"plane_legs": PLANE_LEGS})
    return told


def test_nobody_is_waited_for_where_nobody_is():
    store, time = MemoryStore(), Time()
    assert waited(store, time) == []
    held(store, until=0)
    assert waited(store, time) == []
    assert time.slept == 0


def test_a_holder_is_named_once_and_waited_for_until_it_is_done():
    store = MemoryStore()
    time = Time(after_3=lambda: held(store, until=3, told=3))
    held(store)
    assert waited(store, time) == [
        "plane_legs: export otheroth (process 7 on elsewhere) is at work; waiting up to 30 s for it"
    ]
    assert time.slept == 3


def test_a_holder_that_goes_on_is_waited_for_as_long_as_the_lease_that_was_found():
    store = MemoryStore()
    time = Time(after_10=lambda: held(store, until=60, told=10))
    held(store)
    told = waited(store, time)
    assert time.slept == 30
    assert told[1:] == [
        "plane_legs: export otheroth (process 7 on elsewhere) is still at work; exporting beside it, which is safe and "
        "may write rows twice"
    ]


def test_a_clock_that_is_ahead_keeps_nobody_longer():
    store, time = MemoryStore(), Time()
    held(store, until=86_400)
    waited(store, time)
    assert time.slept == 30


def test_a_dead_process_of_this_host_is_not_waited_for():
    store, time = MemoryStore(), Time()
    time.dead.add(7)
    held(store, host=platform.node())
    assert waited(store, time) == [
        f"plane_legs: export otheroth (process 7 on {platform.node()}) has died; taking over"
    ]
    assert time.slept == 0


@pytest.mark.parametrize(
    ("host", "process"), [(platform.node(), 7), ("elsewhere", 8)], ids=["lives here", "a number that is dead here"]
)
def test_a_holder_is_dead_only_if_its_process_was_on_this_host_and_is_gone(host: str, process: int):
    store, time = MemoryStore(), Time()
    time.dead.add(8)
    held(store, host=host, process=process)
    (told,) = waited(store, time)[:1]
    assert told == f"plane_legs: export otheroth (process {process} on {host}) is at work; waiting up to 30 s for it"
    assert time.slept == 30


def test_the_real_clock_knows_who_lives():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert Clock().is_alive(os.getpid())
    assert not Clock().is_alive(child)


def test_two_leases_of_one_microsecond_do_not_hide_each_other():
    store, time = MemoryStore(), Time()
    exporter = exporter_of(store, clock=time.clock())
    snapshot = snapshot_of(PLANE_LEGS, [legs_batch([("N1", T, 1.0, 1)])], T)
    exporter.finish(intend(exporter, store, snapshot, version=micros(T)))
    (item,) = store.read([lease_key(SK)]).values()
    assert Lease.from_item(item).until == int(START * 1e6)


class Failing(MemoryStore):
    def write(self, items, **options):
        if any(item.sk == SK for item in items):
            raise StoreUnavailable("gone")
        return super().write(items, **options)


def test_a_run_that_fails_lets_the_next_begin_at_once():
    store, time = Failing(), Time()
    exporter = exporter_of(store, clock=time.clock())
    intent = intend(exporter, store, snapshot_of(PLANE_LEGS, [legs_batch([("N1", T, 1.0, 1)])], T))
    with pytest.raises(StoreUnavailable):
        exporter.finish(intent)
    assert waited(store, time) == []


def test_a_lease_is_renewed_while_it_is_written():
    """Each batch takes 20 s here, so the first lease would be over with the second."""
    store, time = MemoryStore(), Time()
    until: list[float] = []

    def progress(_view: str, _items: int, _total: int) -> None:
        time.now += 20
        (item,) = store.read([lease_key(SK)]).values()
        until.append(Lease.from_item(item).until / 1e6 - START)

    exporter = exporter_of(store, clock=time.clock(), progress=progress)
    rows = [(f"N{number}", T, 1.0, 1) for number in range(4_100)]
    exporter.finish(intend(exporter, store, snapshot_of(PLANE_LEGS, [legs_batch(rows)], T)))
    assert until == [30, 50, 70]
    assert timedelta(seconds=time.now - START) == timedelta(seconds=60)
