"""The log of the tables of exports on Spark against plain Python: who was told of a commit is in it, once, in order.

The metastore is a dictionary, so that a transaction can be stopped before any call of it: killed, or kept waiting
while others begin, commit and sweep. Each transaction adds an entry that says what it saw, so the last state tells
whether the transactions happened one after the other. What Spark itself does with it is in conformance/.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.errors import WriteConflict
from featurelayer.warehouse.engines.spark.log import READERS, Generation, LogPart, Transaction, newest, sweep
from tests.profiles import examples

DEEPEST = 3


class Killed(BaseException):
    """The process is gone."""


class World:
    """A metastore, a clock, and what transactions were told."""

    def __init__(self, data: st.DataObject) -> None:
        self.data, self.now = data, datetime(2026, 1, 1, tzinfo=UTC)
        self.generations: dict[str, Generation] = {}
        self.parts: dict[str, tuple[tuple[int, tuple[int, ...]], ...]] = {}
        self.deep, self.begun, self.calls = 0, 0, 0
        self.kept: list[int] = []
        self.lost: list[int] = []

    def entries(self, generation: Generation) -> list[tuple[int, tuple[int, ...]]]:
        return [entry for part in generation.parts_of("t") for entry in self.parts[part.name]]

    def transact(self) -> None:
        """Begin, look, add an entry, and commit; now and then as one part in place of all."""
        number, self.begun, began = self.begun, self.begun + 1, self.now
        session = Session(self)
        try:
            transaction = Transaction(session, "here")
            try:
                seen = tuple(each for part in transaction.parts_of("t") for each, _ in session.read_part(part.name))
                fold = self.data.draw(st.booleans(), label="fold")
                old = transaction.parts_of("t") if fold else ()
                rows = (*(entry for part in old for entry in session.read_part(part.name)), (number, seen))
                name = transaction.new_part()
                session.write_part(name, rows)
                transaction.replace(old, [LogPart(table="t", name=name, rows=len(rows))])
                transaction.commit(self.now)
            except KeyError:
                # What was read is gone: so many were faster, and that long ago.
                assert transaction.is_swept() or self.now - began >= READERS
                transaction.clear()
                return
            except WriteConflict:
                self.lost += [] if transaction.is_swept() else [number]
                transaction.clear()
                return
            self.kept.append(number)
            transaction.clear()
            sweep(session, self.now)
        except Killed:
            return


class Session:
    """One process: before each of its calls it may die, or others may do what they like."""

    def __init__(self, world: World) -> None:
        self._world, self._dead = world, False

    def _pause(self) -> None:
        world = self._world
        if self._dead:
            raise Killed
        if world.deep >= DEEPEST or world.calls > 150:
            return
        world.calls += 1
        event = world.data.draw(st.sampled_from(["", "", "", "", "kill", "other", "others", "hours"]), label="event")
        if event == "kill":
            self._dead = True
            raise Killed
        if event == "hours":
            world.now += timedelta(hours=2)
        world.deep += 1
        for _ in range({"other": 1, "others": 6}.get(event, 0)):
            world.transact()
            world.now += timedelta(minutes=20)
        world.deep -= 1

    def names(self) -> list[str]:
        self._pause()
        return [*self._world.generations, *self._world.parts]

    def create(self, name: str, generation: Generation) -> bool:
        self._pause()
        if name in self._world.generations:
            return False
        self._world.generations[name] = generation
        return True

    def read(self, name: str) -> Generation | None:
        self._pause()
        return self._world.generations.get(name)

    def drop(self, name: str, *, generation: bool) -> None:
        self._pause()
        (self._world.generations if generation else self._world.parts).pop(name, None)

    def read_part(self, name: str) -> tuple[tuple[int, tuple[int, ...]], ...]:
        self._pause()
        return self._world.parts[name]

    def write_part(self, name: str, rows: tuple[tuple[int, tuple[int, ...]], ...]) -> None:
        self._pause()
        self._world.parts[name] = rows


@given(data=st.data())
@settings(max_examples=examples(150))
def test_transactions_happen_one_after_the_other_whoever_dies_or_sleeps(data: st.DataObject) -> None:
    world = World(data)
    for _ in range(8):
        world.transact()
        world.now += timedelta(minutes=20)
    world.deep = DEEPEST  # nobody disturbs the last look
    entries = world.entries(newest(Session(world)))
    numbers = [number for number, _ in entries]
    assert len(numbers) == len(set(numbers))
    assert set(world.kept) <= set(numbers)
    assert not set(world.lost) & set(numbers)
    by_number = dict(entries)
    # In the order in which they were committed, each saw exactly those before it.
    ordered = sorted(numbers, key=lambda number: len(by_number[number]))
    for place, number in enumerate(ordered):
        assert set(by_number[number]) == set(ordered[:place])


def test_what_nobody_names_any_more_goes_and_the_newest_stays() -> None:
    world = World(data=None)  # type: ignore[arg-type]
    world.deep = DEEPEST
    session = Session(world)
    session.write_part("featurelayer_log_0000000001_dead_0", ())
    for number in range(12):
        transaction = Transaction(session, "here")
        name = transaction.new_part()
        session.write_part(name, ((number, ()),))
        transaction.replace(transaction.parts_of("t"), [LogPart(table="t", name=name, rows=1)])
        transaction.commit(world.now)
        sweep(session, world.now)
        world.now += timedelta(hours=2)
    assert sorted(world.generations)[-1] == "featurelayer_log_0000000012"
    assert len(world.generations) == len(world.parts) == 4
    assert world.entries(newest(session)) == [(11, ())]
