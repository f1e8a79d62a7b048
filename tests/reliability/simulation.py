"""Exporters in threads that run one at a time and hand over at named points, on a clock of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from featurelayer.errors import StoreUnavailable
from featurelayer.online import Item, OnlineStore, Written
from featurelayer.online.base import Capabilities, ItemKey, LiveKey
from featurelayer.online.definitions import SCHEMAS, VIEWS

GO, KILL, REFUSE, CUT = "go", "kill", "refuse", "cut"
_threads = ThreadPoolExecutor(max_workers=16)
_here = threading.local()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Killed(BaseException):
    """Nothing of an exporter runs after this."""


class Choices:
    """Numbers at random from a seed, remembered; or given ones, and 0 (the undisturbed course) where they end."""

    def __init__(self, seed: int | None = None, given: Sequence[int] = ()) -> None:
        self._random = None if seed is None else Random(seed)
        self._given, self.made = given, []

    def below(self, bound: int) -> int:
        """Return a number from 0 to bound - 1."""
        if self._random is not None:
            chosen = self._random.randrange(bound)
        else:
            chosen = self._given[len(self.made)] % bound if len(self.made) < len(self._given) else 0
        self.made.append(chosen)
        return chosen

    def once_in(self, bound: int) -> bool:
        return self.below(bound) == bound - 1


class Actor:
    """One exporter. `step` lets it run to its next point and says there what happens to it."""

    def __init__(self, name: str, work: Callable[[], Any], clock: Callable[[], int]) -> None:
        self.name, self.clock = name, clock
        self.at, self.done, self.dead = "start", False, False
        self.result: Any = None
        self.error: BaseException | None = None
        self._order, self._work = GO, work
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        _threads.submit(self._run)

    def step(self, order: str = GO) -> None:
        self._order = order
        self._go.release()
        self._back.acquire()

    def point(self, name: str) -> str:
        """Called by the exporter: wait for the turn."""
        if self.dead:
            raise Killed
        self.at = name
        self._back.release()
        self._go.acquire()
        if self._order == KILL:
            self.dead = True
            raise Killed
        return self._order

    def _run(self) -> None:
        self._go.acquire()
        _here.actor = self
        try:
            if self._order == KILL:
                raise Killed
            self.result = self._work()
        except Killed:
            self.dead = True
        except BaseException as error:  # noqa: BLE001 (whoever looks at the actor decides)
            self.error = error
        finally:
            _here.actor = None
            self.done = True
            self._back.release()


def actor() -> Actor | None:
    """Return whose thread this is."""
    return getattr(_here, "actor", None)


def point(name: str) -> str:
    """Hand over, where an exporter is at work; everybody else goes on."""
    me = actor()
    return GO if me is None else me.point(name)


class SimulatedTime:
    """Stands for the modules `time` and `datetime` in the exporter: the clock of the machine that it runs on."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now

    def _micros(self) -> int:
        me = actor()
        return self._now() if me is None else me.clock()

    def time(self) -> float:
        return self._micros() / 1_000_000

    def monotonic(self) -> float:
        return self._now() / 1_000_000

    def now(self, _zone: Any = None) -> datetime:
        return _EPOCH + timedelta(microseconds=self._micros())


class Lock:
    """The warehouse's: one writes, and nobody else is connected meanwhile, as with a DuckDB file."""

    def __init__(self) -> None:
        self.holder: Actor | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        me = actor()
        while self.holder is not None:
            assert me is not None, "the undisturbed run waits for nobody"
            me.point("waits for the warehouse")
        self.holder = me
        try:
            yield
        finally:
            self.holder = None


class WatchedStore:
    """A store between whose steps others get their turn, and whose answers get lost. `seen` is told of every change."""

    capabilities = Capabilities()

    def __init__(self, store: OnlineStore, choices: Choices, seen: Callable[[], None]) -> None:
        self._store, self._choices, self._seen = store, choices, seen

    def read(self, keys: Collection[ItemKey], **options: Any) -> dict[ItemKey, Item]:
        self._begin(f"read {_named(keys)}")
        return self._store.read(keys, **options)

    def live(self, sk: str) -> Iterator[LiveKey]:
        self._begin("list keys")
        for key in self._store.live(sk):
            yield key
            point("list more keys")

    def write(self, items: Sequence[Item], **options: Any) -> Written:
        name = f"write {_named([item.key for item in items])}"
        order = point(name)
        if order == REFUSE:
            raise StoreUnavailable("throttled until nobody was willing to wait any longer", code="ThrottlingException")
        if order == CUT:  # some items arrive, no answer does
            for item in items[: self._choices.below(len(items) + 1)]:
                self._put([item], options)
            raise StoreUnavailable("the connection was lost", code="ConnectionClosed")
        if actor() is None or len(items) == 1 or self._choices.below(2):
            return self._put(items, options)
        return self._one_by_one(items, options)

    def _one_by_one(self, items: Sequence[Item], options: dict[str, Any]) -> Written:
        """As DynamoDB does: every item by itself, in no particular order."""
        left, done = list(items), Written()
        while left:
            part = self._put([left.pop(self._choices.below(len(left)))], options)
            done = Written(
                written=done.written + part.written, unchanged=done.unchanged + part.unchanged,
                lost=done.lost + part.lost, bytes=done.bytes + part.bytes,
            )  # fmt: skip
            if left and point("middle of a batch") in (REFUSE, CUT):
                raise StoreUnavailable("the connection was lost", code="ConnectionClosed")
        return done

    def _put(self, items: Sequence[Item], options: dict[str, Any]) -> Written:
        done = self._store.write(items, **options)
        self._seen()
        return done

    def _begin(self, name: str) -> None:
        if point(name) in (REFUSE, CUT):
            raise StoreUnavailable("the connection was lost", code="ConnectionClosed")

    def names(self, pk: str, **options: Any) -> list[str]:
        return self._store.names(pk, **options)

    def close(self) -> None:
        self._store.close()


def _named(keys: Collection[ItemKey]) -> str:
    kinds = {"schema" if pk == SCHEMAS else sk.partition("#")[2] if pk == VIEWS else "values" for pk, sk in keys}
    return " and ".join(sorted(kinds))
