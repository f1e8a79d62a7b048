"""The lease: the next exporter waits for the one at work, tells who that is, and depends on nothing of it."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime, timedelta

import pytest

from featurelayer.errors import StoreUnavailable
from featurelayer.export import Clock
from featurelayer.export.lease import HeldLease, wait_for_others
from featurelayer.online import Item, MemoryStore
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
    exporter_of(store, clock=time.clock(), notify=told.append).wait({"plane_legs": PLANE_LEGS})
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
        "plane_legs: export otheroth (process 7 on elsewhere) is still at work; exporting at the same time, which is "
        "safe and may write rows twice"
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


# --- the lease itself -----


class Recording(MemoryStore):
    """Keeps the leases that were written, and how leases were read."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[Lease] = []
        self.reads: list[dict] = []

    def write(self, items, **options):
        self.written += [Lease.from_item(item) for item in items]
        return super().write(items, **options)

    def read(self, keys, **options):
        self.reads.append(options)
        return super().read(keys, **options)


def seconds(lease: Lease) -> tuple[float, float]:
    """Until when it lasts and when that was said, since the start."""
    return lease.until / 1e6 - START, lease.told / 1e6 - START


def test_a_lease_is_written_anew_when_less_than_half_of_it_is_left():
    store, time = Recording(), Time()
    lease = HeldLease(store, SK, "mine", time.clock())
    for at in (0, 1, 15, 15.5, 30.5, 31):
        time.now = START + at
        lease.renew()
    assert [seconds(each) for each in store.written] == [(30, 0), (45.5, 15.5), (61, 31)]
    assert {(each.run, each.host, each.process) for each in store.written} == {("mine", platform.node(), os.getpid())}


def test_a_release_ends_the_lease_and_wins_within_the_microsecond():
    store, time = Recording(), Time()
    lease = HeldLease(store, SK, "mine", time.clock())
    lease.release()
    assert store.written == []  # nothing was held
    lease.renew()
    lease.release()
    assert [each.told - store.written[0].told for each in store.written] == [0, 1]
    assert Lease.from_item(store.read([lease_key(SK)])[lease_key(SK)]).until == int(START * 1e6)
    time.now -= 5  # a clock that is set back
    lease.renew()
    assert store.written[-1].told == store.written[0].told + 2


def test_a_run_does_not_wait_for_itself_and_reads_what_was_written_last():
    store, time = Recording(), Time()
    held(store, run="mine")
    wait_for_others(store, {SK: "plane_legs"}, "mine", time.clock(), pytest.fail)
    assert time.slept == 0
    assert store.reads == [{"consistent": True}]


def test_every_view_is_waited_for():
    store, time = MemoryStore(), Time()
    held(store, until=4)
    for sk, until in (("other@0", 9), ("dead@0", 60)):
        there = Lease(run=sk * 3, until=int((START + until) * 1e6), told=1, process=3 if sk == "dead@0" else 7,
                      host=platform.node() if sk == "dead@0" else "elsewhere")  # fmt: skip
        store.write([there.item(sk)])
    time.dead.add(3)
    told: list[str] = []
    wait_for_others(store, {"dead@0": "c", SK: "a", "other@0": "b"}, "mine", time.clock(), told.append)
    assert sorted(line.partition(" (")[0] for line in told) == [
        "a: export otheroth", "b: export other@0o", "c: export dead@0de",
    ]  # fmt: skip
    assert time.slept == 9


def test_a_lease_that_cannot_be_read_keeps_nobody():
    store, time = MemoryStore(), Time()
    pk, sk = lease_key(SK)
    store.write([Item(pk=pk, sk=sk, version=1, f="torn")])
    assert waited(store, time) == []
    assert time.slept == 0
