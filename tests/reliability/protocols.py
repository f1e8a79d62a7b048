"""Protocols that must not pass: the naive one, and the real one with one safeguard taken away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from featurelayer.online import Item, MemoryStore, Written
from featurelayer.online.base import ItemKey
from featurelayer.online.codec import to_microseconds
from featurelayer.online.definitions import VIEWS, ViewCommit, view_schema, view_sk
from tests.reliability.simulation import point
from tests.reliability.stages import Stage, memory_stage
from tests.reliability.trials import Taken, Trial
from tests.reliability.warehouse import RememberedDelta


class CarelessStore(MemoryStore):
    """Puts what `careless` says without looking at what is there."""

    def careless(self, item: Item) -> bool:
        raise NotImplementedError

    def put(self, item: Item) -> None:
        self._items[item.key] = item

    def write(self, items: Sequence[Item], **options: Any) -> Written:
        anyhow = [item for item in items if self.careless(item)]
        for item in anyhow:
            self.put(item)
        done = super().write([item for item in items if not self.careless(item)], **options)
        return Written(
            written=done.written + len(anyhow), unchanged=done.unchanged, lost=done.lost, bytes=done.bytes
        )  # fmt: skip


def _is_value(key: ItemKey) -> bool:
    return not key[0].startswith("#")


class WithoutConditions(CarelessStore):
    """Values go over whatever is there."""

    def careless(self, item: Item) -> bool:
        return _is_value(item.key) and not item.streamed


class WithoutTombstones(CarelessStore):
    """What is gone is deleted, if it is older."""

    def careless(self, item: Item) -> bool:
        return item.deleted

    def put(self, item: Item) -> None:
        there = self._items.get(item.key)
        if there is not None and there.version < item.version:
            del self._items[item.key]


class WithoutConditionalCommit(CarelessStore):
    """Whoever commits last is taken for the newest."""

    def careless(self, item: Item) -> bool:
        return item.pk == VIEWS and item.sk.endswith("#commit")


class WithoutIntents(RememberedDelta):
    """What runs meant to write and never finished is forgotten."""

    def create_doubt(self) -> str:
        return 'CREATE TEMPORARY TABLE "__fl_doubt" AS SELECT \'\' AS "pk" WHERE 1 = 0'


class NaiveStore(CarelessStore):
    """Whoever writes last wins, and DeleteItem deletes."""

    def careless(self, item: Item) -> bool:
        return not item.streamed

    def put(self, item: Item) -> None:
        if item.deleted:
            self._items.pop(item.key, None)
        else:
            self._items[item.key] = item


class NaiveTrial(Trial):
    """An export as one would write it: the difference to the last export that finished, deletions, a commit record."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.remembered: dict[str, Any] = {}

    def export(self, name: str, *, full: bool = False) -> str:
        point("before the intent")
        now, sk = self.view(), view_sk(self.view())
        clock = to_microseconds(self.stage.warehouse.now())
        rows = self.snapshot(clock)
        version = clock
        while version in self.taken:
            version += 1
        self.taken[version] = Taken(name, clock, rows, now)
        schema = view_schema(now)
        last = {} if full else self.remembered
        changed = [
            Item(pk=pk, sk=sk, version=version, as_of=clock, f=f, event_time=event, schema=schema.fingerprint)
            for pk, (f, event) in rows.items() if last.get(pk) != (f, event, schema.fingerprint)
        ]  # fmt: skip
        gone = [Item(pk=pk, sk=sk, version=version, deleted=True) for pk in last if pk not in rows]
        self.store.write([schema.item()])
        for items in (changed, gone):
            for start in range(0, len(items), 2):
                self.store.write(items[start : start + 2])
        commit = ViewCommit(version=version, as_of=clock, source_time=None, schema=schema.fingerprint, rows=len(rows))
        self.store.write([commit.item(sk)])
        point("write the ledger")
        self.remembered = {pk: (f, event, schema.fingerprint) for pk, (f, event) in rows.items()}
        return "done"

    def _forget_warehouse(self) -> None:
        self.remembered = {}

    def _agree(self) -> None:
        """It has no ledger that could tell anything."""


PROTOCOLS: dict[str, Callable[[], Stage]] = {
    "naive": lambda: memory_stage(NaiveStore(), trial=NaiveTrial),
    "without conditions": lambda: memory_stage(WithoutConditions()),
    "without tombstones": lambda: memory_stage(WithoutTombstones()),
    "without intents": lambda: memory_stage(delta=WithoutIntents),
    "without a conditional commit": lambda: memory_stage(WithoutConditionalCommit()),
}
