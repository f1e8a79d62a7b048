"""A trial: one random history of a source, of its exports and of everything that goes wrong meanwhile.

After every change of the store a reader looks at all keys, consistently, and holds what it finds against the snapshots
that the runs took. See `Trial.look` for what must hold at every moment and `Trial.end` for what must hold at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from sqlglot import exp

import featurelayer.export
from featurelayer.errors import FeatureLayerError, WarehouseError
from featurelayer.export import Exporter, Snapshot, Tables
from featurelayer.export.lease import Clock
from featurelayer.export.ledger import LedgerRow
from featurelayer.model import DType, FeatureView
from featurelayer.online import Item
from featurelayer.online.codec import from_microseconds, to_microseconds
from featurelayer.online.definitions import ViewCommit, commit_key, view_schema, view_sk
from featurelayer.sql.ast import with_alias
from featurelayer.sql.plan import TIME
from featurelayer.sql.served_asof import labels_as_served
from tests.online_cases import feature, view
from tests.reliability.simulation import (
    CUT,
    GO,
    KILL,
    REFUSE,
    Actor,
    Choices,
    Lock,
    SimulatedTime,
    WatchedStore,
    actor,
    point,
)
from tests.reliability.stages import Stage
from tests.reliability.warehouse import dialect

_TIMESTAMP = DType.parse("timestamp")
START = to_microseconds(datetime(2026, 11, 1, 12, tzinfo=UTC))
SECOND, HOUR, DAY = 1_000_000, 3_600_000_000, 86_400_000_000
TABLES = Tables.from_schema("main", "test")
KEYS = 4
# All of the protocol but the ledger, whose own names `datetime` and `dialect` are types and tables there.
_MODULES: tuple[ModuleType, ...] = tuple(
    import_module(f"featurelayer.export.{found.name}")
    for found in iter_modules(featurelayer.export.__path__)
    if found.name != "ledger"
)
Row = tuple[str, int]
"""Encoded values and event time."""


class Broken(AssertionError):
    """What must hold did not."""


@dataclass(slots=True)
class Taken:
    """What one run set out to bring about."""

    name: str
    as_of: int
    rows: dict[str, Row]
    view: FeatureView
    finished: bool = False


class Trial:
    """One history, as the choices have it. `run` raises Broken; `told` is what happened until then."""

    def __init__(self, stage: Stage, choices: Choices) -> None:
        self.stage, self.choices, self.told = stage, choices, []
        self.now, self.values = START, 0
        self.time = SimulatedTime(lambda: self.now)
        self.store = WatchedStore(stage.store, choices, self.look)
        stage.trials += 1
        own = f"{uuid4().hex[:8]}_" if stage.fresh_names else ""
        self.name, self.tails = f"legs{own and '_'}{own}"[:13], f"N{own}"
        self.ttl_days: int | None = (1, None, 30)[choices.below(3)]
        self.columns = 1
        self.source: dict[str, Row] = {}
        self.taken: dict[int, Taken] = {}
        self.actors: list[Actor] = []
        self.asleep: list[Actor] = []
        self.lock = Lock()
        self.last: dict[str, Item] = {}
        self.committed: int | None = None
        # Keys that were streamed: a run that such a value keeps out has not written them.
        self.contested: set[str] = set()
        self.buried: dict[str, int] = {}
        self.gone_since: dict[str, int] = {}
        # Versions of runs that were under way when the warehouse was rebuilt, which knows nothing of them any more.
        self.forgotten: set[int] = set()
        self.runs = 0

    # --- the course ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        self.stage.wipe()
        self._forget_warehouse()
        self.stage.warehouse.clock = lambda: from_microseconds((actor().clock if actor() else self.clock)())
        with self._patched():
            try:
                for _ in range(2 + self.choices.below(4)):
                    self._mutate()
                for _ in range(20 + self.choices.below(100)):
                    self._tick()
                self.end()
            finally:
                self._stop()

    def clock(self) -> int:
        return self.now

    def _sleep(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)
        point("waits for another run")

    def _tick(self) -> None:
        self.now += 1_000
        awake = [each for each in self.actors if each not in self.asleep]
        drawn = self.choices.below(100)
        if not awake and drawn < 90:
            self._mutate()
            self._start()
        elif drawn < 70:
            self._step(awake[self.choices.below(len(awake)) if drawn >= 40 else -1], GO)
        elif drawn < 78:
            self._mutate()
        elif drawn < 82:
            if len(self.actors) < 4:
                self._start()
        elif drawn < 90:
            self._step(awake[self.choices.below(len(awake))], (KILL, CUT, REFUSE, CUT)[self.choices.below(4)])
        else:
            self._befall(drawn - 90, awake)

    def _befall(self, what: int, awake: Sequence[Actor]) -> None:
        match what:
            case 0 | 1:
                if awake:
                    sleeper = awake[self.choices.below(len(awake))]
                    self.asleep.append(sleeper)
                    self._tell("sleeps", f"{sleeper.name} is frozen before: {sleeper.at}")
            case 2:
                if self.asleep:
                    woken = self.asleep.pop(self.choices.below(len(self.asleep)))
                    self._tell("wakes late", f"{woken.name} wakes up")
            case 3 | 4:
                self.now += (10 * SECOND, 5 * 60 * SECOND, HOUR, DAY, 16 * DAY)[self.choices.below(5)]
                self._tell("time passes", f"it is {from_microseconds(self.now):%d %H:%M}")
            case 5:
                self._collect()
            case 6:
                self._stream()
            case 7:
                if self.lock.holder is None and self.choices.below(2):
                    self._forget_warehouse()
                    alive = {each.name for each in self.actors}
                    self.forgotten |= {version for version, taken in self.taken.items() if taken.name in alive}
                    self._tell("warehouse rebuilt", "the warehouse is rebuilt: it remembers no export")
            case 8:
                self.columns = 1 + self.choices.below(3)
                self._tell("schema changed", f"the view has {self.columns} features")
            case 9:
                self.ttl_days = (1, None, 30)[self.choices.below(3)]
                self._tell("ttl changed", f"the view's TTL is {self.ttl_days} days")

    def _mutate(self) -> None:
        pk = self._pk(self.choices.below(KEYS))
        kind = self.choices.below(7)
        if kind >= 5 and pk in self.source:
            del self.source[pk]
            self._tell("delete", f"source: {pk} is deleted")
            return
        self.values += 1
        event = self.now
        if kind == 4 and pk in self.source:  # the newest row was wrong: an older event is the newest now
            event = self.source[pk][1] - (1 + self.choices.below(3)) * HOUR
            self._tell("older correction", "")
        elif kind == 3 and pk in self.source:
            event = self.source[pk][1]
        self.source[pk] = str(self.values), event
        self._tell("insert or update", f"source: {pk} is {self.values} at {_time(event)}")

    def _start(self) -> None:
        self.runs += 1
        name = f"run {self.runs}"
        skew = (0, 0, -HOUR, HOUR, -DAY, DAY)[self.choices.below(6)]
        full = self.choices.once_in(12)
        self.actors.append(Actor(name, lambda: self.export(name, full=full), lambda: self.now + skew))
        self._tell("start", f"{name} starts{', full' if full else ''}{f', clock {skew // HOUR:+} h' if skew else ''}")

    def _step(self, who: Actor, order: str) -> None:
        at = who.at
        if order != GO:
            self._tell(f"{order} at: {at}", f"{who.name}: {order} at: {at}")
        who.step(order)
        self.stage.points[at] = self.stage.points.get(at, 0) + 1
        if who.done:
            self.actors.remove(who)
            if who in self.asleep:
                self.asleep.remove(who)
            self._ended(who)
        elif order == GO:
            self._tell("", f"{who.name} did: {at}")

    def _ended(self, who: Actor) -> None:
        if isinstance(who.error, FeatureLayerError):
            said = "the warehouse" if isinstance(who.error, WarehouseError) else str(who.error).splitlines()[0]
            self._tell("failed loudly", f"{who.name} failed: {said}")
        elif who.error is not None:
            if isinstance(who.error, Broken):
                raise who.error
            raise Broken(f"{who.name} ended with {type(who.error).__name__}: {who.error}") from who.error
        else:
            self._tell("", f"{who.name} {'was killed' if who.dead else f'is done: {who.result}'}")

    def _collect(self) -> None:
        self.stage.collect(self.now // SECOND)
        self._tell("garbage collected", "items whose ttl is over are deleted")
        self.look(collected=True)

    def _stream(self) -> None:
        pk = self._pk(self.choices.below(KEYS))
        self.values += 1
        event = self.now - self.choices.below(3) * HOUR
        now = self.view()
        item = Item(pk=pk, sk=view_sk(now), version=self.now, event_time=event, f=self._f(str(self.values)),
                    schema=view_schema(now).fingerprint, streamed=True)  # fmt: skip
        self.contested.add(pk)
        done = self.stage.store.write([item])
        self._tell(
            "streamed", f"{pk} = {self.values} at {_time(event)} is streamed" + (", refused" if done.lost else "")
        )
        self.look()

    # --- one export ----------------------------------------------------------------------------------------------

    def export(self, name: str, *, full: bool = False) -> str:
        exporter = Exporter(self.open_warehouse, self.store, TABLES, clock=Clock(now=self.time.time, sleep=self._sleep))
        exporter._run = f"{name}, trial {self.stage.trials}"
        if actor() is not None and self.choices.once_in(5):
            exporter.wait({self.name: self.view()})
        point("before the intent")
        with exporter.transaction() as warehouse:
            now = self.view()
            as_of = to_microseconds(warehouse.now())
            rows = self.snapshot(as_of)

            def encoded(into: Any, _folder: Any) -> tuple[exp.Expression, int]:
                into.fill([(pk, f, event, None) for pk, (f, event) in rows.items()])
                return exp.Table(this=exp.to_identifier("source", quoted=True)), 0

            intent = exporter.intend(
                warehouse, Snapshot(view=now, as_of=from_microseconds(as_of), rows=encoded), full=full
            )
            self.taken[intent.row.version] = Taken(name, as_of, rows, now)
            point("the intent's transaction")
        sizes = ", ".join(f"{size.keys} {kind}" for kind, size in sorted(intent.sizes.items()))
        self._say(f"{name} means to write as version {_time(intent.row.version)}: {sizes or 'nothing'}")
        point("after the intent")
        done = exporter.finish(intent)
        if not done.superseded:
            self.taken[intent.row.version].finished = True
        return f"{done.written} written, {done.tombstones} removed, {done.refused} refused" + (
            ", superseded" if done.superseded else ""
        )

    def snapshot(self, as_of: int) -> dict[str, Row]:
        """Return the rows of the source as they are sent, without those that are later than the clock says."""
        return {pk: (self._f(value), event) for pk, (value, event) in self.source.items() if event <= as_of}

    @contextmanager
    def open_warehouse(self, *, writable: bool) -> Iterator[Any]:
        point("connect to the warehouse to write" if writable else "connect to the warehouse")
        if writable:
            with self.lock.held():
                yield self.stage.warehouse
        else:
            with self.lock.held():
                pass
            yield self.stage.warehouse

    # --- what must hold ------------------------------------------------------------------------------------------

    def look(self, *, collected: bool = False) -> None:
        """Read every key consistently and compare it with what was seen before and with what the runs took.

        A value is exactly that of the snapshot of the run whose version it bears; a tombstone's run had no such key.
        No key goes back to an older run; what was there never vanishes but as garbage. From a run's commit on, every
        key is as in its snapshot, or of a newer run.
        """
        sk = view_sk(self.view())
        pks = [self._pk(number) for number in range(KEYS)]
        control = commit_key(sk)
        found = self.stage.store.read([(pk, sk) for pk in pks] + [control], consistent=True)
        commit = ViewCommit.from_item(found[control]) if control in found else None
        if self.committed is not None and (commit is None or commit.version < self.committed):
            raise Broken("the commit went back to an older run")
        self.committed = commit.version if commit is not None else None
        seen = {pk: item for pk in pks if (item := found.get((pk, sk))) is not None}
        for pk in pks:
            self._compare(pk, self.last.get(pk), seen.get(pk), collected)
        self.last = seen
        if commit is not None:
            if commit.version not in self.taken:
                raise Broken("a run has committed whose intent was never written down")
            if commit.as_of != self.taken[commit.version].as_of:
                raise Broken("the commit tells another time than its snapshot's")
            for pk in pks:
                self._complete(pk, commit.version, seen.get(pk))

    def _compare(self, pk: str, before: Item | None, item: Item | None, collected: bool) -> None:
        if item is None:
            if before is not None and collected and before.ttl is not None:
                if before.deleted:
                    self.buried[pk] = before.version
            elif before is not None:
                self._removed(pk, before)
            return
        if not item.streamed and item.version < self.gone_since.get(pk, 0):
            raise Broken(f"{pk} came back from {self._whose(item)}, after a newer run had removed it")
        if before is not None and not before.streamed and not item.streamed and item.version < before.version:
            raise Broken(f"{pk} went back from {self._whose(before)} to {self._whose(item)}")
        if item.streamed:
            return
        taken = self.taken.get(item.version)
        if taken is None and item.deleted and item.version - 1 in self.taken:
            return  # withdrawn by a run that was overtaken
        if taken is None:
            raise Broken(f"{pk} bears the version of no run")
        row = taken.rows.get(pk)
        if item.deleted:
            if row is not None:
                raise Broken(f"{pk} has a tombstone of {taken.name}, whose snapshot has the key")
        elif row is None or (item.f, item.event_time) != row or item.schema != view_schema(taken.view).fingerprint:
            raise Broken(f"{pk} is {item.f} at {_time(item.event_time or 0)}, which {taken.name} did not have")

    def _removed(self, pk: str, before: Item) -> None:
        """Whoever deletes instead of writing a tombstone must be a newer run, in whose snapshot the key is gone."""
        without = [
            version for version, taken in self.taken.items() if version > before.version and pk not in taken.rows
        ]
        if not without:
            raise Broken(f"{pk} vanished: a reader finds nothing")
        self.gone_since[pk] = min(without)

    def _complete(self, pk: str, version: int, item: Item | None) -> None:
        taken = self.taken[version]
        row = taken.rows.get(pk)
        newer = item is not None and (item.streamed or item.version > version)
        if item is not None and item.version < version and pk in self.contested:
            return
        if newer or (item is None and self.gone_since.get(pk, 0) > version):
            return
        if row is None:
            if item is None or item.deleted or item.version in self.forgotten:
                return
            if not self._expired(item.event_time or 0, taken):
                raise Broken(f"{pk} is {item.f} by {self._whose(item)}; in {taken.name}, committed since, it is gone")
        elif item is None:
            if not self._garbage(taken, row) and self.buried.get(pk, 0) <= version:
                raise Broken(f"{pk} is not found; {taken.name}, committed, has it")
        elif item.deleted:
            raise Broken(f"{pk} is gone; {taken.name}, committed, has it")
        elif (item.f, item.event_time) != row or item.schema != view_schema(taken.view).fingerprint:
            raise Broken(f"{pk} is {item.f} by {self._whose(item)}; {taken.name}, committed, has {row[0]}")

    def _expired(self, event_time: int, taken: Taken) -> bool:
        """Whether it had expired when the run took its snapshot: it needs no tombstone."""
        ttl = taken.view.ttl
        return ttl is not None and event_time < taken.as_of - ttl // timedelta(microseconds=1)

    def _garbage(self, taken: Taken, row: Row) -> bool:
        """Whether readers would take the row for expired anyway."""
        ttl = taken.view.ttl
        return ttl is not None and row[1] < self.now - ttl // timedelta(microseconds=1)

    def end(self) -> None:
        """Recover by one undisturbed run; wake whoever sleeps; recover again. The store is the newest run's each time.

        The exception: a run that was frozen in the middle of a batch while the warehouse was rebuilt and a newer run
        finished may bring keys back. It takes them away as soon as it sees that it was overtaken; if it is killed
        before, the next full export does. And a value that was streamed keeps newer runs out until they have a newer
        event; who sleeps meanwhile may still write over it, and the next export rights that.
        """
        while self.lock.holder is not None:
            self._step(self.lock.holder, GO)
        sleepers = [each for each in self.actors if each.at != "start"]
        self._recover("the recovery")
        for sleeper in sleepers:
            self._tell("wakes after the recovery", f"{sleeper.name} wakes up before: {sleeper.at}")
            while not sleeper.done:
                self._step(sleeper, GO)
            self._newest()
        rebuilt = bool(self.forgotten)
        self._recover("the second recovery", full=rebuilt)
        self.forgotten.clear()
        self.contested.clear()
        self._newest()
        self._agree()

    def _recover(self, name: str, *, full: bool = False) -> None:
        self.now += SECOND
        self._say(f"{name}: {self.export(name, full=full)}")
        self._newest()

    def _newest(self) -> None:
        self.look()
        assert self.committed is not None
        for pk, item in self.last.items():
            if not item.streamed and item.version > self.committed:
                raise Broken(f"{pk} is {self._whose(item)}'s, which has not committed")

    def _agree(self) -> None:
        """The ledger tells of the runs as they were, knows what the store holds, and `as_served` reads it right."""
        with self.open_warehouse(writable=False) as warehouse:
            rows = self.stage.ledger(warehouse, TABLES).rows(self.view().id)
            finished = {row.version: row for row in rows if row.finished_at is not None}
            self._served(warehouse, list(finished.values()))
            delta = self.stage.delta(dialect(warehouse.dialect), TABLES.log(self.view().id))
            warehouse.execute(delta.create_state())
            known = warehouse.rows("SELECT pk, event_time FROM \"__fl_state\" WHERE kind <> 'removed'")
            warehouse.drop(delta.temporary)
        if max(finished, default=None) != self.committed:
            raise Broken("the newest run that the ledger says has finished is not the store's")
        for version, row in finished.items():
            if to_microseconds(row.as_of) != self.taken[version].as_of:
                raise Broken(f"the ledger has another time for {self.taken[version].name}")
        assert self.committed is not None
        self._remembered(dict(known), self.taken[self.committed])

    def _remembered(self, known: dict[str, int], newest: Taken) -> None:
        """What the log says the store holds is the newest snapshot, but for what a stream kept out or has expired."""
        for pk in {*known, *newest.rows}:
            item = self.last.get(pk)
            if item is not None and item.streamed:
                continue
            if pk not in newest.rows:
                if not self._expired(known[pk], newest):
                    raise Broken(f"the log says that the store has {pk}, which is gone")
            elif known.get(pk) != newest.rows[pk][1]:
                raise Broken(f"the log has another {pk} than {newest.name}")

    def _served(self, warehouse: Any, finished: list[LedgerRow]) -> None:
        """At the moment in which a run had finished, the newest run that had finished by then was being served."""
        writer = dialect(warehouse.dialect)
        times = [exp.select(with_alias(writer.literal(_naive(row.finished_at), _TIMESTAMP), TIME)) for row in finished]
        labels = reduce(lambda one, other: exp.union(one, other, distinct=True), times)
        warehouse.execute(writer.create("__fl_labels", labels))
        ledger = exp.to_table(TABLES.ledger, dialect=writer.name)
        answers = warehouse.rows(
            writer.sql(labels_as_served("__fl_labels", [TIME], ledger, TABLES.store, self.view().id))
        )
        warehouse.drop(["__fl_labels"])
        found = {_moment(at): _moment(as_of) for at, as_of in answers}
        for row in finished:
            then = max(
                (each for each in finished if each.finished_at <= row.finished_at), key=lambda each: each.version
            )
            if found.get(_naive(row.finished_at)) != _naive(then.as_of):
                raise Broken(f"mode as_served reads another snapshot than {self.taken[then.version].name}'s")

    # --- pieces --------------------------------------------------------------------------------------------------

    def view(self) -> FeatureView:
        names = [feature(f"f{number}", "int64") for number in range(self.columns)]
        ttl = None if self.ttl_days is None else timedelta(days=self.ttl_days)
        return view(self.name, *names, event_time="landed_at", ttl=ttl, online=True)

    def _pk(self, number: int) -> str:
        return f'plane["{self.tails}{number}"]'

    def _f(self, value: str) -> str:
        return _encoded(value, self.columns)

    def _whose(self, item: Item) -> str:
        return "a stream" if item.streamed else self.taken[item.version].name if item.version in self.taken else "?"

    def _say(self, text: str) -> None:
        self.told.append(text)

    def _tell(self, count: str, text: str) -> None:
        if count:
            self.stage.happened[count] = self.stage.happened.get(count, 0) + 1
        if text:
            self.told.append(text)

    def _forget_warehouse(self) -> None:
        for name in self.stage.warehouse.tables():
            self.stage.warehouse.execute(f'DROP TABLE "{name}"')

    def _stop(self) -> None:
        """Kill whoever is left, so that the threads are free."""
        for each in self.actors:
            while not each.done:
                each.step(KILL)

    @contextmanager
    def _patched(self) -> Iterator[None]:
        """Let the exporter's modules see the simulation's clocks and warehouse, wherever they name them."""
        names = {
            "time": self.time,
            "datetime": self.time,
            "Delta": self.stage.delta,
            "Ledger": self.stage.ledger,
            "dialect": dialect,
            "ROWS_PER_WRITE": 2,
        }
        with ExitStack() as stack:
            for module in _MODULES:
                mine = {name: it for name, it in names.items() if hasattr(module, name)}
                if mine:
                    stack.enter_context(patch.multiple(module, **mine))
            yield


def _encoded(value: str, columns: int) -> str:
    return f"[{','.join([value, *['null'] * (columns - 1)])}]"


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def _moment(value: Any) -> datetime:
    return _naive(datetime.fromisoformat(value)) if isinstance(value, str) else value


def _time(micros: int) -> str:
    return f"{(micros - START) / HOUR:.4f}h"
