"""A healthy store is never called ill: whatever was exported, streamed, forgotten, rolled back or declared anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.export import Exporter, Snapshot, Tables, find_subjects, forget, publish_services
from featurelayer.export.snapshot import take_snapshots
from featurelayer.model import Feature, FeatureView
from featurelayer.online import FeatureClient, MemoryStore, OnlineStore
from featurelayer.online.definitions import view_schema
from featurelayer.testing import make_service, make_table
from featurelayer.testing.strategies import START, moments, rows, values, views
from featurelayer.verify import VerifyReport
from featurelayer.verify.run import VerifyRequest, verify_views
from featurelayer.warehouse.engines.duckdb.warehouse import DuckDBWarehouse
from tests.profiles import examples

TABLES = Tables.from_schema("main", "test")
AFTER = START + timedelta(days=1)


class World:
    """A view in a DuckDB of its own, a store, and what may happen to the two."""

    def __init__(self, view: FeatureView, drawn: Sequence[dict[str, Any]], store: OnlineStore) -> None:
        self.view, self.rows, self.store, self.runs = view, list(drawn), store, list[str]()
        self.has_forgotten = False
        self._database = duckdb.connect(config={"threads": 1})
        self.load()

    def load(self) -> None:
        table: pa.Table = make_table(self.view.columns, self.rows)  # noqa: F841 (DuckDB finds it by its name)
        self._database.execute('CREATE OR REPLACE TABLE "v" AS SELECT * FROM "table"')

    @contextmanager
    def open_warehouse(self, *, writable: bool) -> Iterator[DuckDBWarehouse]:
        with closing(DuckDBWarehouse(self._database.cursor())) as warehouse:
            yield warehouse

    def export(self, at: datetime, **how: Any) -> None:
        exporter = Exporter(self.open_warehouse, self.store, TABLES)
        with exporter.transaction() as warehouse:
            (snapshot,) = take_snapshots(warehouse, [self.view], at.replace(tzinfo=UTC))
            assert isinstance(snapshot, Snapshot)
            intent = exporter.intend(warehouse, snapshot, **how)
        if self.has_forgotten:
            # Whom this brings back, since the source has him still, a rollback to before takes away as if he came late.
            self.runs, self.has_forgotten = [], False
        self.runs.append(exporter.finish(intent).run)
        publish_services(self.store, [make_service((self.view, None, None))], {"v": self.view}, intent.row.version)

    def die(self, at: datetime) -> None:
        """An export that is killed after it has written down what it means to send."""
        exporter = Exporter(self.open_warehouse, self.store, TABLES)
        with exporter.transaction() as warehouse:
            (snapshot,) = take_snapshots(warehouse, [self.view], at.replace(tzinfo=UTC))
            exporter.intend(warehouse, snapshot)

    def roll_back(self, run: str) -> None:
        exporter = Exporter(self.open_warehouse, self.store, TABLES)
        with exporter.transaction() as warehouse:
            intent = exporter.restore(warehouse, self.view, run)
        exporter.finish(intent)

    def stream(self, row: dict[str, Any]) -> None:
        names = [key.column for key in self.view.join_keys] + [feature.name for feature in self.view.features] + ["e"]
        with FeatureClient(self.store) as client:
            client.write("v", [{name: row[name] for name in names}])

    def forget(self, key: str) -> None:
        self.has_forgotten = True
        with self.open_warehouse(writable=True) as warehouse:
            for subject in find_subjects([self.view], {"k": key}):
                forget(self.store, warehouse, TABLES, subject)

    def verify(self) -> VerifyReport:
        request = VerifyRequest(
            views=[self.view], code={}, sample=100, seed=1, tolerance=0.0, read_units=None
        )  # fmt: skip
        return verify_views(request, self.open_warehouse, self.store, "memory", TABLES)

    def close(self) -> None:
        self._database.close()


def whole(view: FeatureView) -> st.SearchStrategy[dict[str, Any]]:
    """Rows that have a key and times."""

    def filled(row: dict[str, Any]) -> dict[str, Any]:
        row = {name: START if row[name] is None and name in ("e", "a") else row[name] for name in row}
        return row | {"k": row["k"] or "a", **({"n": row["n"] or 1} if "n" in row else {})}

    return rows(view).map(filled)


def later(view: FeatureView, drawn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows that no snapshot of before can have seen."""
    aware = {name for name, dtype in view.columns if str(dtype) == "timestamptz"}
    for position, row in enumerate(drawn):
        moment = AFTER + timedelta(seconds=position)
        row |= {name: moment.replace(tzinfo=UTC) if name in aware else moment for name in ("e", "a")}
    return drawn


STEPS = (
    "export",
    "as of",
    "full",
    "die",
    "roll back",
    "stream",
    "stream",
    "forget",
    "narrow",
    "widen",
    "ttl",
    "grow",
    "end",
)
# Most exports see all rows; some stand between them.
TIMES = st.sampled_from([START + timedelta(hours=1)] * 3) | moments


@given(data=st.data())
@settings(max_examples=examples(20))
def test_a_healthy_store_raises_no_alarm(data: st.DataObject) -> None:
    view = data.draw(views(dates=False, nested=False))
    world = World(view, data.draw(st.lists(whole(view), min_size=3, max_size=12)), MemoryStore())
    history: list[Any] = []
    try:
        world.export(data.draw(TIMES))
        for step in data.draw(st.lists(st.sampled_from(STEPS), min_size=2, max_size=6)):
            history.append(step)
            happen(world, step, data)
            report = world.verify()
            assert report.ok, (history, report.to_dict())
    finally:
        world.close()


def happen(world: World, step: str, data: st.DataObject) -> None:
    """Do what leaves a store healthy."""
    view = world.view
    every = tuple(name for name, dtype in view.columns if name not in ("k", "n", "e", "a", "c", "u", "until"))
    if step in ("export", "as of", "full"):
        how = {"export": {}, "as of": {"rewind": True}, "full": {"full": True}}[step]
        world.export(data.draw(TIMES), **how)
    elif step == "die":
        world.die(data.draw(TIMES))
    elif step == "roll back":
        world.roll_back(data.draw(st.sampled_from(world.runs[-5:])))
    elif step == "stream":
        row = data.draw(whole(view))
        world.stream(row | {"e": data.draw(st.sampled_from([row["e"], AFTER]))})
    elif step == "forget":
        world.forget(data.draw(st.sampled_from([row["k"] for row in world.rows])))
    elif step == "narrow" and len(view.features) > 1:
        world.view = replace(view, features=view.features[1:])
        world.export(data.draw(TIMES))
    elif step == "widen" and len(view.features) < len(every):
        dtypes = dict(view.columns)
        world.view = replace(view, features=tuple(Feature(name=name, dtype=dtypes[name]) for name in every))
        world.export(data.draw(TIMES))
    elif step == "ttl":
        world.view = replace(view, ttl=data.draw(st.sampled_from([None, timedelta(days=20_000)])))
        world.export(data.draw(TIMES))
    elif step == "grow":
        world.rows += later(view, data.draw(st.lists(whole(view), max_size=4)))
        world.load()
    elif step == "end" and view.valid_to is not None:
        ended = AFTER.replace(tzinfo=UTC) if str(view.dtype("until")) == "timestamptz" else AFTER
        # Of tied rows the content decides, to which the end belongs: another row would win.
        alike = Counter((row["k"], row.get("n"), row["e"]) for row in world.rows)
        world.rows = [
            row | {"until": ended} if row["until"] is None and alike[row["k"], row.get("n"), row["e"]] == 1 else row
            for row in world.rows
        ]
        world.load()


@given(data=st.data())
@settings(max_examples=examples(20))
def test_an_altered_item_is_always_found(data: st.DataObject) -> None:
    view = replace(data.draw(views(dates=False, nested=False)), ttl=None)
    world = World(view, data.draw(st.lists(whole(view), min_size=3, max_size=12)), MemoryStore())
    try:
        world.export(START + timedelta(hours=1))
        sk = "v@0"
        keys = [(key.pk, sk) for key in world.store.live(sk)]
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        (item,) = world.store.read([key]).values()
        how = data.draw(st.sampled_from(["lost", "buried", "other values", "other time"]))
        world.store.remove([key])
        if how == "buried":
            world.store.write([type(item)(pk=item.pk, sk=sk, version=item.version, deleted=True)])
        elif how == "other values":
            cells = [data.draw(st.none() | values(feature.dtype)) for feature in view.features]
            text = view_schema(view).codec().encode(cells)
            if text == item.f:
                return
            world.store.write([replaced(item, f=text)])
        elif how == "other time":
            world.store.write([replaced(item, event_time=item.event_time - data.draw(st.integers(1, 10**12)))])
        report = world.verify()
        assert not report.ok, how
        assert report.mismatches == 1, report.to_dict()
    finally:
        world.close()


def replaced(item: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(item, **changes)
