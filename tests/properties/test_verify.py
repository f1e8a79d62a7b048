"""A healthy store is never called ill: whatever was exported, streamed, forgotten, rolled back or declared anew."""

from __future__ import annotations

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

from featurelayer.export import Exporter, Snapshot, Tables, forget, publish_services, subjects
from featurelayer.model import FeatureView
from featurelayer.online import FeatureClient, MemoryStore, OnlineStore
from featurelayer.online.definitions import view_schema
from featurelayer.snapshots import take_snapshots
from featurelayer.testing import make_service, make_table
from featurelayer.testing.strategies import START, moments, rows, values, views
from featurelayer.verify import VerifyReport
from featurelayer.verifying import VerifyRequest, verify_views
from featurelayer.warehouse.duckdb import DuckDBWarehouse
from tests.profiles import examples

TABLES = Tables.of_schema("main", "test")
AFTER = START + timedelta(days=1)


class World:
    """A view in a DuckDB of its own, a store, and what may happen to the two."""

    def __init__(self, view: FeatureView, drawn: Sequence[dict[str, Any]], store: OnlineStore) -> None:
        self.view, self.rows, self.store, self.runs = view, list(drawn), store, list[str]()
        self._database = duckdb.connect(config={"threads": 1})
        self.load()

    def load(self) -> None:
        table: pa.Table = make_table(self.view.columns, self.rows)  # noqa: F841 (DuckDB finds it by its name)
        self._database.execute('CREATE OR REPLACE TABLE "v" AS SELECT * FROM "table"')

    @contextmanager
    def connect(self, _writable: bool) -> Iterator[DuckDBWarehouse]:
        with closing(DuckDBWarehouse(self._database.cursor())) as warehouse:
            yield warehouse

    def export(self, at: datetime, **how: Any) -> None:
        exporter = Exporter(self.connect, self.store, TABLES)
        with exporter.transaction() as warehouse:
            (snapshot,) = take_snapshots(warehouse, [self.view], at.replace(tzinfo=UTC))
            assert isinstance(snapshot, Snapshot)
            intent = exporter.intend(warehouse, snapshot, **how)
        self.runs.append(exporter.finish(intent).run)
        publish_services(self.store, [make_service((self.view, None, None))], {"v": self.view}, intent.row.version)

    def die(self, at: datetime) -> None:
        """An export that is killed after it has written down what it means to send."""
        exporter = Exporter(self.connect, self.store, TABLES)
        with exporter.transaction() as warehouse:
            (snapshot,) = take_snapshots(warehouse, [self.view], at.replace(tzinfo=UTC))
            exporter.intend(warehouse, snapshot)

    def roll_back(self, run: str) -> None:
        exporter = Exporter(self.connect, self.store, TABLES)
        with exporter.transaction() as warehouse:
            intent = exporter.restore(warehouse, self.view, run)
        exporter.finish(intent)

    def stream(self, row: dict[str, Any]) -> None:
        names = [key.column for key in self.view.join_keys] + [feature.name for feature in self.view.features] + ["e"]
        with FeatureClient(self.store) as client:
            client.write("v", [{name: row[name] for name in names}])

    def forget(self, key: str) -> None:
        with self.connect(True) as warehouse:
            for subject in subjects([self.view], {"k": key}):
                forget(self.store, warehouse, TABLES, subject)

    def verify(self) -> VerifyReport:
        request = VerifyRequest(
            views=[self.view], code={}, sample=100, seed=1, tolerance=0.0, read_units=None
        )  # fmt: skip
        return verify_views(request, self.connect, self.store, "memory", TABLES)

    def close(self) -> None:
        self._database.close()


def later(draw: Any, view: FeatureView) -> list[dict[str, Any]]:
    """Rows that no snapshot of before can have seen."""
    found = draw(st.lists(rows(view), max_size=4))
    aware = {name for name, dtype in view.columns if str(dtype) == "timestamptz"}
    for position, row in enumerate(found):
        moment = AFTER + timedelta(seconds=position)
        row |= {name: moment.replace(tzinfo=UTC) if name in aware else moment for name in ("e", "a")}
    return found


@given(data=st.data())
@settings(max_examples=examples(30))
def test_a_healthy_store_raises_no_alarm(data: st.DataObject) -> None:
    view = data.draw(views(dates=False, nested=False))
    world = World(view, data.draw(st.lists(rows(view), max_size=12)), MemoryStore())
    at = data.draw(moments)
    history: list[Any] = [at]
    try:
        world.export(at)
        steps = ["export", "as of", "full", "die", "roll back", "stream", "forget", "narrow", "widen", "ttl", "grow"]
        for step in data.draw(st.lists(st.sampled_from(steps), max_size=6)):
            history.append(step)
            if step == "export":
                world.export(data.draw(moments))
            elif step == "as of":
                world.export(data.draw(moments), rewind=True)
            elif step == "full":
                world.export(data.draw(moments), full=True)
            elif step == "die":
                world.die(data.draw(moments))
            elif step == "roll back":
                world.roll_back(data.draw(st.sampled_from(world.runs[-5:])))
            elif step == "stream":
                row = data.draw(rows(view).filter(lambda row: row["k"] is not None and row.get("n", 1) is not None))
                world.stream(row | {"e": row["e"] or START})
            elif step == "forget":
                world.forget(data.draw(st.sampled_from(["a", "ab", "b"])))
            elif step == "narrow" and len(world.view.features) > 1:
                world.view = replace(world.view, features=world.view.features[1:])
                world.export(data.draw(moments))
            elif step == "widen":
                world.view = replace(world.view, features=view.features)
                world.export(data.draw(moments))
            elif step == "ttl":
                world.view = replace(world.view, ttl=data.draw(st.sampled_from([None, timedelta(days=20_000)])))
                world.export(data.draw(moments))
            elif step == "grow":
                world.rows += later(data.draw, view)
                world.load()
        report = world.verify()
        assert report.ok, (history, report.to_dict())
    finally:
        world.close()


@given(data=st.data())
@settings(max_examples=examples(20))
def test_an_altered_item_is_always_found(data: st.DataObject) -> None:
    view = replace(data.draw(views(dates=False, nested=False)), ttl=None)
    world = World(view, data.draw(st.lists(rows(view), min_size=1, max_size=12)), MemoryStore())
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
