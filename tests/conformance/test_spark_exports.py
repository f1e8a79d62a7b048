"""The real protocol of exports with Spark as the warehouse: it remembers what DuckDB does, whoever dies or sleeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import pytest
from sqlglot import exp

from featurelayer.errors import WarehouseError, WriteConflict
from featurelayer.export import Exporter, Ledger, Snapshot, Tables, ViewExport, encode_to_file
from featurelayer.online import Item, MemoryStore
from featurelayer.online.definitions import view_schema
from featurelayer.warehouse import Warehouse
from featurelayer.warehouse.engines.duckdb.warehouse import DuckDBWarehouse
from featurelayer.warehouse.engines.spark.log import Generation, newest
from featurelayer.warehouse.engines.spark.warehouse import SparkWarehouse, connect
from tests.online_cases import PLANE_LEGS, legs_batch, micros

T = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SK = "plane_legs@0"
Rows = list[tuple[str, datetime, float, int]]


class Side:
    """A warehouse, whose connections are opened as an export opens them, and a store."""

    def __init__(self, schema: str, opened: Callable[[], Warehouse]) -> None:
        self.opened, self.store = opened, MemoryStore()
        self.tables = Tables.from_schema(schema, "test")

    def exporter(self) -> Exporter:
        @contextmanager
        def open_warehouse(*, writable: bool) -> Iterator[Warehouse]:
            with closing(self.opened()) as warehouse:
                yield warehouse

        return Exporter(open_warehouse, self.store, self.tables, keep=2)

    def export(self, rows: Rows, at: datetime, *, exporter: Exporter | None = None) -> ViewExport:
        exporter = exporter or self.exporter()
        with exporter.transaction() as warehouse:
            intent = exporter.intend(warehouse, snapshot_of(rows, at), version=micros(at))
        return exporter.finish(intent)

    def remembered(self) -> tuple[list[Any], list[Any]]:
        """The ledger without its times and ids, and what is kept of items."""
        with closing(self.opened()) as warehouse:
            rows = Ledger(warehouse, self.tables).rows(PLANE_LEGS.id)
            items = warehouse.rows(
                "SELECT version, kind, pk, f, event_time, valid_to, hash, refused "
                f"FROM {warehouse.quote(self.tables.items)}"
            )
        ledger = [
            (row.version, row.as_of, row.finished_at is None, row.entities, row.written, row.unchanged, row.refused,
             row.tombstones, row.bytes) for row in rows
        ]  # fmt: skip
        return ledger, sorted(items, key=repr)

    def values(self) -> dict[str, str | None]:
        """What the store serves, by key."""
        return {key.pk: self.store.read([(key.pk, SK)])[key.pk, SK].f for key in self.store.live(SK)}


def snapshot_of(rows: Rows, at: datetime) -> Snapshot:
    def encoded(warehouse: Warehouse, folder: Path) -> tuple[exp.Expression, int]:
        null_keys = encode_to_file(PLANE_LEGS, [legs_batch(rows)], folder / "rows.parquet")
        source = warehouse.attach(folder / "rows.parquet").sql
        return exp.maybe_parse(source, into=exp.Table, dialect=warehouse.dialect), null_keys

    return Snapshot(view=PLANE_LEGS, as_of=at, rows=encoded)


@pytest.fixture
def spark(spark_target: dict[str, Any]) -> Side:
    """A schema of its own, in the Spark of this process."""
    schema = f"exports_{uuid4().hex[:8]}"
    with closing(connect(spark_target, root=Path.cwd())) as warehouse:
        warehouse.execute(f"CREATE SCHEMA {schema}")
    target = {**spark_target, "schema": schema}
    return Side(schema, lambda: connect(target, root=Path.cwd()))


def test_what_it_remembers_is_what_duckdb_remembers(spark: Side) -> None:
    database = duckdb.connect()
    sides = (spark, Side("main", lambda: DuckDBWarehouse(database.cursor())))
    exports: list[Rows] = [
        [("same", T, 1.0, 1), ("changed", T, 1.0, 1), ("removed", T, 1.0, 1), ("it's \\ \x1f", T, 1.0, 1)],
        [("same", T, 1.0, 1), ("changed", T, 2.0, 1), ("new", T, 1.0, 1), ("streamed", T, 1.0, 1)],
        [("same", T, 1.0, 1), ("changed", T, 3.0, 1), ("new", T, 2.0, 1), ("streamed", T, 2.0, 1)],
        [("same", T, 4.0, 1), ("changed", T, 3.0, 1), ("new", T, 2.0, 1)],
    ]
    for turn, rows in enumerate(exports):
        told = []
        for side in sides:
            if turn == 2:  # newer than what is exported, so that the store refuses it
                side.store.write([Item(pk='plane["streamed"]', sk=SK, version=micros(T) + 5, f="[9.0,9]",
                                       event_time=micros(T + HOUR), schema=view_schema(PLANE_LEGS).fingerprint,
                                       streamed=True)])  # fmt: skip
            done = side.export(rows, T + turn * HOUR)
            told.append((done.written, done.unchanged, done.refused, done.tombstones, done.bytes))
        assert told[0] == told[1]
        assert spark.values() == sides[1].values()
    assert spark.remembered() == sides[1].remembered()
    with closing(spark.opened()) as warehouse:
        assert isinstance(warehouse, SparkWarehouse)
        # Anybody reads them by their names, and finds what we find.
        for relation in (spark.tables.ledger, spark.tables.items):
            name = warehouse.quote(relation)
            ours = warehouse.rows(f"SELECT * FROM {name} ORDER BY version, pk" if "items" in name else
                                  f"SELECT * FROM {name} ORDER BY version")  # fmt: skip
            order = "version, pk" if "items" in name else "version"
            theirs = warehouse.session.sql(f"SELECT * FROM {name} ORDER BY {order}").toArrow()
            assert ours == list(zip(*(column.to_pylist() for column in theirs.columns), strict=True))


def test_of_two_transactions_at_once_one_is_kept(spark: Side) -> None:
    spark.export([("a", T, 1.0, 1)], T)
    with closing(spark.opened()) as one, closing(spark.opened()) as other:
        items = one.quote(spark.tables.items)

        def loses() -> None:
            with one.transaction():
                one.execute(f"DELETE FROM {items}\nWHERE `pk` = 'nothing'")
                one.execute(f"DELETE FROM {items}\nWHERE `version` > 0")
                assert one.rows(f"SELECT * FROM {items}") == []
                assert len(other.rows(f"SELECT * FROM {items}")) == 1
                with other.transaction():
                    other.execute(f"UPDATE {items} SET `refused` = TRUE\nWHERE `view` = 'plane_legs'")

        def fails() -> None:
            with one.transaction():
                one.execute(f"DELETE FROM {items}\nWHERE `version` > 0")
                raise ZeroDivisionError

        with pytest.raises(WriteConflict, match="wrote to the tables of exports in exports_"):
            loses()
        assert [one.rows(f"SELECT `refused` FROM {items}"), other.rows(f"SELECT `refused` FROM {items}")] == [
            [(True,)], [(True,)],
        ]  # fmt: skip
        with pytest.raises(ZeroDivisionError):
            fails()
        assert one.rows(f"SELECT count(*) FROM {items}") == [(1,)]
        with pytest.raises(WarehouseError, match="in a transaction"):
            one.execute(f"DELETE FROM {items}\nWHERE `version` > 0")


def test_the_end_of_an_export_is_told_to_the_ledger_though_others_are_faster(spark: Side) -> None:
    spark.export([("a", T, 1.0, 1)], T)
    faster = iter([True, False])

    class Disturbed(SparkWarehouse):
        @contextmanager
        def transaction(self) -> Iterator[None]:
            with super().transaction():
                yield
                if next(faster, False):
                    with closing(spark.opened()) as other, other.transaction():
                        other.execute(f"UPDATE {other.quote(spark.tables.ledger)} SET `bytes` = 7\nWHERE `version` > 0")

    exporter = spark.exporter()
    with exporter.transaction() as warehouse:
        intent = exporter.intend(warehouse, snapshot_of([("a", T, 2.0, 1)], T + HOUR))
    plain = spark.opened

    def disturbed() -> Warehouse:
        found = plain()
        found.__class__ = Disturbed
        return found

    spark.opened = disturbed
    done = exporter.finish(intent)
    spark.opened = plain
    assert (done.written, next(faster, "used up")) == (1, "used up")
    with closing(spark.opened()) as warehouse:
        ledger = Ledger(warehouse, spark.tables).rows(PLANE_LEGS.id)
    assert [(row.finished_at is not None, row.bytes) for row in ledger] == [(True, 7), (True, done.bytes)]


class Killed(BaseException):
    """The process is gone: nothing that it still says counts."""


class Dying:
    """A metastore whose process dies at a generation: before it is made, or after."""

    def __init__(self, metastore: Any, *, made: bool) -> None:
        self._metastore, self._made, self._dead = metastore, made, False

    def __getattr__(self, name: str) -> Any:
        if self._dead:
            raise Killed
        return getattr(self._metastore, name)

    def create(self, name: str, generation: Generation) -> bool:
        if self._made:
            self._metastore.create(name, generation)
        self._dead = True
        raise Killed


@pytest.mark.parametrize(("step", "made"), [("intent", True), ("end", False)])
def test_the_next_export_finishes_what_a_killed_one_left(spark: Side, step: str, made: bool) -> None:
    spark.export([("a", T, 1.0, 1), ("b", T, 1.0, 1)], T)
    exporter, plain = spark.exporter(), spark.opened

    def dying() -> Warehouse:
        found = plain()
        assert isinstance(found, SparkWarehouse)
        found._exports._metastore = Dying(found._exports._metastore, made=made)  # type: ignore[assignment]
        return found

    rows: Rows = [("a", T, 2.0, 1), ("c", T, 1.0, 1)]
    if step == "intent":
        spark.opened = dying
        with pytest.raises(Killed):
            spark.export(rows, T + HOUR, exporter=exporter)
    else:
        with exporter.transaction() as warehouse:
            intent = exporter.intend(warehouse, snapshot_of(rows, T + HOUR), version=micros(T + HOUR))
        spark.opened = dying
        with pytest.raises(Killed):
            exporter.finish(intent)
    spark.opened = plain
    done = spark.export([("a", T, 3.0, 1), ("c", T, 1.0, 1)], T + 2 * HOUR)
    assert spark.values() == {'plane["a"]': "[3.0,1]", 'plane["c"]': "[1.0,1]"}
    # An intent that was written down may have been sent; an end that the store knows of is completed in the ledger.
    assert done.resumed == (2 if (step, made) == ("intent", True) else 0)
    assert spark.export([("a", T, 3.0, 1), ("c", T, 1.0, 1)], T + 3 * HOUR).written == 0
    with closing(spark.opened()) as warehouse:
        assert isinstance(warehouse, SparkWarehouse)
        state = newest(warehouse._exports._metastore)
        named = {part.name for part in state.parts}
        there = {row[1] for row in warehouse.rows("SHOW TABLES")}
    assert named <= there


def test_an_older_run_that_wakes_late_is_superseded(spark: Side) -> None:
    sleeper = spark.exporter()
    with sleeper.transaction() as warehouse:
        intent = sleeper.intend(warehouse, snapshot_of([("a", T, 1.0, 1), ("b", T, 1.0, 1)], T), version=micros(T))
    newer = spark.export([("a", T, 2.0, 1)], T + HOUR)
    assert newer.resumed == 1
    assert sleeper.finish(intent).superseded
    assert spark.values() == {'plane["a"]': "[2.0,1]"}


def test_somebody_elses_table_under_our_name_is_left_alone(spark: Side) -> None:
    with closing(spark.opened()) as warehouse:
        warehouse.execute("CREATE TABLE featurelayer_mine USING parquet AS SELECT 1 AS x")
        warehouse.execute(f"ALTER TABLE featurelayer_mine RENAME TO {'featurelayer_exports'}")
    with pytest.raises(WarehouseError, match="featurelayer did not make it"):
        spark.export([("a", T, 1.0, 1)], T)
