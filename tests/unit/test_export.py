"""Exports: repeatable, conditional, exact, in bounded memory, with errors before anything is written."""

import subprocess
import sys
import tracemalloc
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from featurelayer.errors import CodecError, PlanError, UnknownNameError, WarehouseError
from featurelayer.export import Ledger, ViewExport, publish_services
from featurelayer.online import FeatureClient, Item, MemoryStore, Written
from featurelayer.online.base import Capabilities, Limits
from featurelayer.online.definitions import ViewCommit, commit_key, view_schema, view_sk
from featurelayer.online.stores.sqlite import SqliteStore
from tests.exporting import TABLES, export_view, exporter_of, forget, intend, snapshot_of, warehouse_of
from tests.online_cases import (
    PLANE_LEGS,
    SERVICE,
    STATIC_PLANES,
    batch,
    feature,
    legs_batch,
    micros,
    planes_batch,
    service_of,
    view,
)

T = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SK = "plane_legs@0"


def export(store, rows, *, as_of=T, **options) -> ViewExport:
    return export_view(store, PLANE_LEGS, [legs_batch(rows)], as_of=as_of, **options)


def contents(store, *tails: str) -> list[str | None]:
    """Return the stored arrays by tail number; None for what is not there, "gone" for a tombstone."""
    found = store.read([(f'plane["{tail}"]', SK) for tail in tails])
    items = [found.get((f'plane["{tail}"]', SK)) for tail in tails]
    return [None if item is None else "gone" if item.deleted else item.f for item in items]


def counts(done: ViewExport) -> tuple[int, int, int, int]:
    return done.written, done.unchanged, done.refused, done.tombstones


def test_an_item_holds_what_the_design_says():
    store = MemoryStore()
    export(store, [("N1", T - HOUR, 1.5, 2)])
    assert store.read([('plane["N1"]', SK)])['plane["N1"]', SK] == Item(
        pk='plane["N1"]', sk=SK, f="[1.5,2]", version=micros(T), as_of=micros(T), event_time=micros(T - HOUR),
        schema=view_schema(PLANE_LEGS).fingerprint, ttl=int((T + 23 * HOUR + 14 * DAY).timestamp()),
    )  # fmt: skip


def test_garbage_is_counted_from_the_later_of_expiry_and_export_and_rounded_up():
    store = MemoryStore()
    export(store, [("old", T - 9 * DAY, 1.0, 1), ("new", T + timedelta(microseconds=1), 1.0, 1)])
    found = {item.pk: item.ttl for item in store.read([(f'plane["{n}"]', SK) for n in ("old", "new")]).values()}
    assert found == {
        'plane["old"]': int((T + 14 * DAY).timestamp()), 'plane["new"]': int((T + 15 * DAY).timestamp()) + 1,
    }  # fmt: skip
    export_view(store, STATIC_PLANES, [planes_batch([("N1", 1)])], as_of=T)
    (static,) = store.read([('plane["N1"]', "planes@0")]).values()
    assert (static.ttl, static.event_time) == (None, None)


def test_the_same_snapshot_again_writes_nothing():
    store = MemoryStore()
    rows = [("N1", T, 1.5, 2), ("N2", T, float("nan"), None)]
    assert counts(export(store, rows)) == (2, 0, 0, 0)
    assert counts(export(store, rows)) == (0, 2, 0, 0)
    assert counts(export(store, rows, as_of=T + HOUR)) == (0, 2, 0, 0)


def test_only_new_changed_and_removed_keys_are_written():
    store = MemoryStore()
    export(store, [("same", T, 1.0, 1), ("changed", T, 1.0, 1), ("removed", T, 1.0, 1)])
    done = export(store, [("same", T, 1.0, 1), ("changed", T, 2.0, 1), ("new", T, 1.0, 1)], as_of=T + HOUR)
    assert counts(done) == (2, 1, 0, 1)
    assert contents(store, "same", "changed", "new", "removed") == ["[1.0,1]", "[2.0,1]", "[1.0,1]", "gone"]
    back = export(store, [("removed", T, 3.0, 1)], as_of=T + 2 * HOUR)
    assert counts(back) == (1, 0, 0, 3)
    assert contents(store, "removed") == ["[3.0,1]"]


def test_what_merely_expired_gets_no_tombstone():
    store = MemoryStore()
    export(store, [("old", T - DAY, 1.0, 1), ("removed", T, 1.0, 1)])
    later = T + timedelta(microseconds=1)
    assert counts(export(store, [], as_of=later)) == (0, 0, 0, 1)
    assert contents(store, "old", "removed") == ["[1.0,1]", "gone"]


def test_a_value_that_was_streamed_meanwhile_is_kept():
    store = MemoryStore()
    export(store, [("N1", T, 1.0, 1)])
    streamed = Item(pk='plane["N1"]', sk=SK, version=micros(T) + 5, event_time=micros(T + HOUR), f="[9.0,9]",
                    schema=view_schema(PLANE_LEGS).fingerprint, streamed=True)  # fmt: skip
    store.write([streamed])
    assert counts(export(store, [("N1", T, 2.0, 1)], as_of=T + 2 * HOUR)) == (0, 0, 1, 0)
    assert contents(store, "N1") == ["[9.0,9]"]
    assert counts(export(store, [("N1", T, 2.0, 1)], as_of=T + 3 * HOUR, full=True)) == (1, 0, 0, 0)
    assert contents(store, "N1") == ["[2.0,1]"]


def test_an_older_time_is_exported_on_purpose_with_a_new_version():
    store = MemoryStore()
    export(store, [("N1", T, 5.0, 5), ("N2", T, 5.0, 5)])
    done = export(store, [("N1", T - HOUR, 4.0, 4)], as_of=T - HOUR, version=micros(T + HOUR), full=True)
    assert counts(done) == (1, 0, 0, 1)
    assert contents(store, "N1", "N2") == ["[4.0,4]", "gone"]
    (tombstone,) = store.read([('plane["N2"]', SK)]).values()
    assert (tombstone.as_of, tombstone.ttl) == (micros(T - HOUR), int((T + HOUR + 14 * DAY).timestamp()))


class Interrupted(Exception):
    pass


class Dying(MemoryStore):
    """A store that dies after some writes of values."""

    left = 10**9

    def write(self, items, **options):
        if any(item.sk == SK for item in items):
            self.left -= 1
            if self.left < 0:
                raise Interrupted
        return super().write(items, **options)


def test_a_run_that_dies_half_way_is_finished_by_the_next():
    store = Dying()
    export(store, [("N1", T, 1.0, 1), ("N2", T, 1.0, 1), ("N3", T, 1.0, 1)])
    store.left = 1  # changed keys are written, the removed one is not
    with pytest.raises(Interrupted):
        export(store, [("N1", T, 2.0, 2), ("N2", T, 1.0, 1)], as_of=T + HOUR)
    assert contents(store, "N1", "N2", "N3") == ["[2.0,2]", "[1.0,1]", "[1.0,1]"]
    (commit,) = store.read([commit_key(SK)]).values()
    assert commit.version == micros(T)
    store.left = 10**9
    done = export(store, [("N1", T, 2.0, 2), ("N2", T, 2.0, 2)], as_of=T + 2 * HOUR)
    assert counts(done) == (2, 0, 0, 1)
    assert contents(store, "N1", "N2", "N3") == ["[2.0,2]", "[2.0,2]", "gone"]


def begun(store, rows, as_of=T):
    """Return a run that has written down what it means to write, and nothing else."""
    exporter = exporter_of(store)
    snapshot = snapshot_of(PLANE_LEGS, [legs_batch(rows)], as_of)
    return exporter, intend(exporter, store, snapshot, version=micros(as_of))


def test_an_older_run_that_wakes_up_late_brings_nothing_back():
    """Not even a key that the newer run did not see: it knows that the older one may write it, and puts a tombstone."""
    store = MemoryStore()
    exporter, intent = begun(store, [("N1", T, 1.0, 1), ("N2", T, 1.0, 1)])
    assert counts(export(store, [("N1", T, 2.0, 2)], as_of=T + HOUR)) == (1, 0, 0, 1)
    done = exporter.finish(intent)
    assert (counts(done), done.superseded) == ((0, 0, 0, 0), True)
    assert contents(store, "N1", "N2") == ["[2.0,2]", "gone"]
    (commit,) = store.read([commit_key(SK)]).values()
    assert commit.version == micros(T + HOUR)


class Interrupting(MemoryStore):
    """A store that does something else before the next write of values."""

    then = None

    def write(self, items, **options):
        if self.then is not None and any(item.sk == SK for item in items):
            then, self.then = self.then, None
            then()
        return super().write(items, **options)


def test_a_run_that_is_overtaken_between_two_writes_changes_nothing():
    """Its look at the commit was in time, its writes are not: each is refused by itself."""
    store = Interrupting()
    store.then = lambda: export(store, [("N1", T, 2.0, 2)], as_of=T + HOUR)
    done = export(store, [("N1", T, 1.0, 1), ("N2", T, 1.0, 1)])
    assert (counts(done), done.superseded) == ((0, 0, 2, 0), True)
    assert contents(store, "N1", "N2") == ["[2.0,2]", "gone"]


def test_a_warehouse_that_was_rebuilt_assumes_nothing():
    store = MemoryStore()
    export(store, [("N1", T, 1.0, 1), ("N2", T, 1.0, 1)])
    begun(store, [("N3", T, 1.0, 1)], T + HOUR)[0]
    forget(store)
    done = export(store, [("N1", T, 1.0, 1), ("N4", T, 1.0, 1)], as_of=T + 2 * HOUR)
    assert counts(done) == (2, 0, 0, 1)
    assert contents(store, "N1", "N2", "N4") == ["[1.0,1]", "gone", "[1.0,1]"]
    assert counts(export(store, [("N1", T, 1.0, 1), ("N4", T, 1.0, 1)], as_of=T + 3 * HOUR)) == (0, 2, 0, 0)


def test_a_commit_that_the_ledger_was_not_told_of_is_found_in_the_store(monkeypatch):
    store = MemoryStore()
    exporter, intent = begun(store, [("N1", T, 1.0, 1)])
    monkeypatch.setattr(exporter, "_complete_ledger", lambda *_: (_ for _ in ()).throw(Interrupted))
    with pytest.raises(Interrupted):
        exporter.finish(intent)
    assert counts(export(store, [("N1", T, 1.0, 1)], as_of=T + HOUR)) == (0, 1, 0, 0)
    with closing(warehouse_of(store)) as warehouse:
        first, second = Ledger(warehouse, TABLES).rows("plane_legs")
    assert first.finished_at is not None
    assert first.started_at <= first.finished_at <= second.started_at


def test_what_the_store_refused_it_does_not_hold():
    """A streamed value stands; once the warehouse has overtaken it, the export tries again."""
    store = MemoryStore()
    streamed = Item(pk='plane["N1"]', sk=SK, version=1, event_time=micros(T + HOUR), f="[9.0,9]",
                    schema=view_schema(PLANE_LEGS).fingerprint, streamed=True)  # fmt: skip
    store.write([streamed])
    assert counts(export(store, [("N1", T, 1.0, 1)])) == (0, 0, 1, 0)
    assert counts(export(store, [("N1", T, 1.0, 1)], as_of=T + HOUR)) == (0, 0, 1, 0)
    assert counts(export(store, [("N1", T + 2 * HOUR, 1.0, 1)], as_of=T + 2 * HOUR)) == (1, 0, 0, 0)
    assert counts(export(store, [("N1", T + 2 * HOUR, 1.0, 1)], as_of=T + 3 * HOUR)) == (0, 1, 0, 0)


def test_a_version_is_greater_than_all_before_it_whatever_the_clock_says():
    store = MemoryStore()
    export(store, [("N1", T, 1.0, 1)])
    export(store, [("N1", T, 2.0, 2)], as_of=T - DAY)
    assert contents(store, "N1") == ["[2.0,2]"]
    (commit,) = store.read([commit_key(SK)]).values()
    assert commit.version == micros(T) + 1


def test_the_commit_records_the_newest_source_time():
    store = MemoryStore()
    export(store, [("N1", T - HOUR, 1.0, 1), ("N2", T - 2 * HOUR, 1.0, 1)])
    (commit,) = store.read([commit_key(SK)]).values()
    found = ViewCommit.from_item(commit)
    assert found == ViewCommit(
        version=micros(T), as_of=micros(T), source_time=micros(T - HOUR), schema=view_schema(PLANE_LEGS).fingerprint,
        rows=2, finished=found.finished,
    )  # fmt: skip
    export(store, [], as_of=T + HOUR)
    (commit,) = store.read([commit_key(SK)]).values()
    assert ViewCommit.from_item(commit).source_time == micros(T - HOUR)


def test_rows_without_a_key_are_counted_and_not_stored():
    store = MemoryStore()
    done = export(store, [(None, T, 1.0, 1), ("N1", T, 1.0, 1)])
    assert (done.rows, done.null_keys, done.written) == (1, 1, 1)
    assert [live.pk for live in store.live(SK)] == ['plane["N1"]']


def test_a_key_that_comes_twice_is_an_error_that_names_it():
    first, second, other = ("N1", T, 1.0, 1), ("N1", T, 2.0, 1), ("N2", T, 1.0, 1)
    for batches in ([[first, second]], [[first], [other, second]]):
        with pytest.raises(PlanError, match=r'more than one row for the same key, such as plane\["N1"\]'):
            export_view(MemoryStore(), PLANE_LEGS, [legs_batch(rows) for rows in batches], as_of=T)


def test_an_empty_snapshot_of_a_new_view_is_no_error():
    assert counts(export_view(MemoryStore(), PLANE_LEGS, [], as_of=T)) == (0, 0, 0, 0)


def test_missing_columns_are_all_named():
    incomplete = pa.RecordBatch.from_pydict({"tailnum": ["N1"]})
    with pytest.raises(PlanError) as caught:
        export_view(MemoryStore(), PLANE_LEGS, [incomplete], as_of=T)
    assert len(caught.value.problems) == 4


def test_features_that_cannot_be_stored_are_all_named_before_anything_is_written():
    bad = view("bad", feature("a", "struct<x:int64>"), feature("b", "int64"), feature("c", "array<interval>"))
    store = MemoryStore()
    with pytest.raises(CodecError, match=r"'a' is struct<x:int64>(.|\n)*'c' is array<interval>"):
        export_view(store, bad, [], as_of=T)
    with pytest.raises(CodecError):
        publish_services(store, [service_of(bad)], {"bad": bad}, 1)
    assert store.names("#schema") == store.names("#service") == []


@pytest.mark.parametrize(("dtype", "column", "message"), [
    ("int64", pa.array([1.5]), "does not fit the declared type int64"),
    ("text", pa.array([1]), "does not fit"),
    ("timestamp", pa.array([1], pa.timestamp("ns")), "finer than a microsecond"),
    ("timestamp", pa.array([2**62], pa.timestamp("us")), "year 1"),
    ("date", pa.array([2**30], pa.date32()), "can't be represented"),
])  # fmt: skip
def test_a_value_that_does_not_fit_names_view_and_feature(dtype, column, message):
    one = view("one", feature("f", dtype))
    with pytest.raises(CodecError, match=rf"one\.f: .*{message}"):
        export_view(MemoryStore(), one, [batch({"tailnum": pa.array(["N1"]), "f": column}, [T])], as_of=T)


def test_a_key_of_another_type_is_an_error():
    columns = {"tailnum": pa.array([1]), "arr_delay": pa.array([1.0]), "legs": pa.array([1])}
    with pytest.raises(CodecError, match=r"plane_legs\.tailnum: 1 \(int\)"):
        export_view(MemoryStore(), PLANE_LEGS, [batch(columns, [T])], as_of=T)


def test_keys_and_features_of_every_arrow_kind():
    kinds = view("kinds", feature("text", "text"), feature("half", "float32"), feature("count", "int64"),
                 keys={"at": "timestamptz", "id": "int64", "amount": "decimal(9,2)"})  # fmt: skip
    columns = {
        "at": pa.array([T], pa.timestamp("ns", "UTC")), "id": pa.array([7], pa.int8()),
        "amount": pa.array(["1.50"]).cast(pa.decimal128(9, 2)), "text": pa.array(["x"]).dictionary_encode(),
        "half": pa.array([0.1], pa.float64()), "count": pa.array(["12"]).cast(pa.decimal128(38, 0)),
    }  # fmt: skip
    store = MemoryStore()
    export_view(store, kinds, [batch(columns, [T])], as_of=T)
    pk = f'plane[{micros(T)},7,"1.5"]'
    assert store.read([(pk, "kinds@0")])[pk, "kinds@0"].f == '["x",0.10000000149011612,12]'


def test_versions_of_a_view_live_side_by_side():
    store = MemoryStore()
    second = view("plane_legs", *PLANE_LEGS.features, ttl=DAY, version="2")
    export(store, [("N1", T, 1.0, 1)])
    export_view(store, second, [legs_batch([("N1", T, 2.0, 2)])], as_of=T)
    assert view_sk(second) == "plane_legs@2"
    assert {item.f for item in store.read([('plane["N1"]', SK), ('plane["N1"]', "plane_legs@2")]).values()} == {
        "[1.0,1]", "[2.0,2]",
    }  # fmt: skip


def test_progress_is_told_the_rows_done():
    told: list[int] = []
    batches = [legs_batch([("N1", T, 1.0, 1), ("N2", T, 1.0, 1)]), legs_batch([("N3", T, 1.0, 1)])]
    export_view(MemoryStore(), PLANE_LEGS, batches, as_of=T, progress=told.append)
    assert told[-1] == 3


def test_the_report_is_plain_json():
    import json

    report = export(MemoryStore(), [("N1", T, 1.0, 1)]).to_dict()
    assert json.loads(json.dumps(report)) == report
    assert {name: report[name] for name in ("view", "as_of", "rows", "written")} == {
        "view": "plane_legs", "as_of": "2026-11-01T12:00:00+00:00", "rows": 1, "written": 1,
    }  # fmt: skip
    assert report["bytes"] > 0


class Ordered(MemoryStore):
    def __init__(self):
        super().__init__()
        self.log: list[str] = []

    def write(self, items, **how: bool) -> Written:
        self.log += [item.pk if item.pk[0] != "#" or item.pk == "#schema" else item.sk for item in items]
        return super().write(items, **how)


def test_the_schema_comes_first_and_the_commit_last():
    store = Ordered()
    export(store, [("N1", T, 1.0, 1)])
    lease = "plane_legs@0#lease"
    assert store.log == [lease, "#schema", "plane_legs@0#begun", 'plane["N1"]', "plane_legs@0#commit", lease]


def test_publishing_writes_definitions_once_and_points_at_them():
    store = MemoryStore()
    views = {"plane_legs": PLANE_LEGS, "planes": STATIC_PLANES}
    (definition,) = publish_services(store, [SERVICE], views, 1)
    publish_services(store, [SERVICE], views, 2)
    assert store.names("#service") == ["late_arrival", f"late_arrival@{definition.fingerprint}"]
    assert len(store.names("#schema")) == 2
    assert FeatureClient(store).service("late_arrival") == definition
    assert publish_services(store, [], views, 3) == ()


def test_a_service_that_names_what_is_not_there():
    with pytest.raises(UnknownNameError, match="there is no view 'planes'"):
        publish_services(MemoryStore(), [SERVICE], {"plane_legs": PLANE_LEGS}, 1)
    narrow = view("plane_legs", PLANE_LEGS.features[0])
    with pytest.raises(UnknownNameError, match="there is no feature of 'legs'"):
        publish_services(MemoryStore(), [SERVICE], {"plane_legs": narrow, "planes": STATIC_PLANES}, 1)


def wide_batches(rows: int, step: int):
    for start in range(0, rows, step):
        names = [f"N{number}" for number in range(start, min(start + step, rows))]
        values = pa.array([float(number) / 7 for number in range(len(names))])
        yield batch({"tailnum": pa.array(names), **{f"f{n}": values for n in range(10)}}, [T] * len(names))


WIDE = view("wide", *(feature(f"f{n}", "float64") for n in range(10)), ttl=DAY)


def print_peaks(folder: str) -> None:
    """Print how many bytes exports of 2,000, 4,000 and 16,000 rows take at most."""
    for rows in (2000, 4000, 16_000):
        store = SqliteStore(Path(folder) / f"{rows}.db")
        tracemalloc.start()
        export_view(store, WIDE, wide_batches(rows, 2000), as_of=T)
        print(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        store.close()


@pytest.mark.slow
def test_memory_stays_bounded(tmp_path):
    """What is kept per row is on disk: four times the rows take no more memory.

    In a process of its own: tracemalloc counts all threads, and those of other tests' servers would be among them.
    """
    code = f"from tests.unit.test_export import print_peaks; print_peaks({str(tmp_path)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    _, few, many = map(int, done.stdout.split())
    assert many < 1.3 * few


def test_an_older_event_that_is_the_newest_again_replaces_what_is_gone_upstream():
    store = MemoryStore()
    export(store, [("N1", T, 1.0, 1), ("N2", T - HOUR, 2.0, 2)])
    older = [("N1", T - 2 * HOUR, 0.5, 0), ("N2", T - HOUR, 2.0, 2)]
    assert counts(export(store, older, as_of=T + HOUR)) == (1, 1, 0, 0)
    assert contents(store, "N1", "N2") == ["[0.5,0]", "[2.0,2]"]
    assert counts(export(store, older, as_of=T + 2 * HOUR)) == (0, 2, 0, 0)


def test_a_rebuilt_warehouse_uses_no_version_that_a_run_it_has_forgotten_began_with():
    """The one before had a clock that was a day ahead, and was killed: its values must not win for a day."""
    store = Dying()
    export(store, [("N2", T, 1.0, 1)])
    store.left = 1  # N1 is written, the tombstone of N2 is not
    with pytest.raises(Interrupted):
        export(store, [("N1", T, 1.0, 1)], as_of=T + DAY)
    forget(store)
    store.left = 10**9
    assert counts(export(store, [("N1", T, 2.0, 2), ("N2", T, 2.0, 2)], as_of=T + HOUR)) == (2, 0, 0, 0)
    assert contents(store, "N1", "N2") == ["[2.0,2]", "[2.0,2]"]


def test_a_run_that_the_warehouse_has_forgotten_does_not_commit():
    store = MemoryStore()
    exporter, intent = begun(store, [("N1", T, 1.0, 1)])
    forget(store)
    export(store, [], as_of=T - HOUR)  # the new warehouse has tables, and nothing of that run
    with pytest.raises(WarehouseError, match="plane_legs: the warehouse no longer knows of this export"):
        exporter.finish(intent)
    assert contents(store, "N1") == [None]


def test_what_was_written_after_being_overtaken_is_taken_back():
    """Frozen in a batch while the warehouse was rebuilt: nobody else knows of the keys that it brings back."""
    store = Interrupting()

    def rebuilt() -> None:
        forget(store)
        export(store, [("N1", T, 2.0, 2)], as_of=T + HOUR)

    store.then = rebuilt
    done = export(store, [("N1", T, 1.0, 1), ("N2", T, 1.0, 1)])
    assert done.superseded
    assert contents(store, "N1", "N2") == ["[2.0,2]", "gone"]


def test_what_an_overtaken_run_wrote_over_a_streamed_value_becomes_what_the_newer_run_has():
    """The streamed value kept the newer run out, and not the sleeper, which may write over newer events."""
    store = Interrupting()
    schema = view_schema(PLANE_LEGS).fingerprint

    def overtake() -> None:
        newer_event = Item(pk='plane["N1"]', sk=SK, version=1, event_time=micros(T + DAY), f="[9.0,9]",
                           schema=schema, streamed=True)  # fmt: skip
        store.write([newer_event])
        assert counts(export(store, [("N1", T, 2.0, 2)], as_of=T + HOUR)) == (0, 0, 1, 0)

    store.then = overtake
    done = export(store, [("N1", T, 1.0, 1)], full=True)
    assert done.superseded
    (item,) = store.read([('plane["N1"]', SK)]).values()
    assert (item.f, item.version, item.as_of, item.schema) == ("[2.0,2]", micros(T + HOUR), micros(T + HOUR), schema)
    assert counts(export(store, [("N1", T, 2.0, 2)], as_of=T + 2 * HOUR)) == (1, 0, 0, 0)


def test_after_a_rebuild_what_has_expired_and_is_gone_gets_a_tombstone():
    """The warehouse will not remember the key, so that a longer TTL could bring it back."""
    store = MemoryStore()
    export(store, [("old", T - DAY, 1.0, 1), ("N1", T, 1.0, 1)])
    forget(store)
    assert counts(export(store, [("N1", T, 1.0, 1)], as_of=T + HOUR)) == (1, 0, 0, 1)
    assert contents(store, "old") == ["gone"]


def test_a_full_export_asks_the_store_for_its_keys():
    store = MemoryStore()
    export(store, [("N1", T, 1.0, 1)])
    unknown = Item(pk='plane["N9"]', sk=SK, version=micros(T), event_time=micros(T), f="[9.0,9]",
                   schema=view_schema(PLANE_LEGS).fingerprint)  # fmt: skip
    store.write([unknown])
    assert counts(export(store, [("N1", T, 1.0, 1)], as_of=T + HOUR)) == (0, 1, 0, 0)
    assert counts(export(store, [("N1", T, 1.0, 1)], as_of=T + 2 * HOUR, full=True)) == (1, 0, 0, 1)
    assert contents(store, "N9") == ["gone"]


def test_thousands_of_refused_keys_are_remembered_and_tried_again():
    store, schema = MemoryStore(), view_schema(PLANE_LEGS).fingerprint
    names = [f"N{number}" for number in range(4_500)]
    store.write([
        Item(pk=f'plane["{name}"]', sk=SK, version=1, event_time=micros(T + HOUR), f="[9.0,9]", schema=schema,
             streamed=True)
        for name in names
    ])  # fmt: skip
    rows = [(name, T, 1.0, 1) for name in [*names, "other"]]
    assert counts(export(store, rows)) == (1, 0, 4_500, 0)
    assert counts(export(store, rows, as_of=T + 2 * HOUR)) == (0, 1, 4_500, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("age", "forgotten"), [(timedelta(days=15), True), (timedelta(days=13), False)])
def test_the_warehouse_forgets_a_tombstone_when_the_store_has_and_nobody_can_go_back_to_it(age, forgotten):
    store = MemoryStore()
    start = datetime.now(UTC) - age
    export(store, [("N1", start - HOUR, 0.0, 1), ("N2", start - HOUR, 0.0, 1)], as_of=start - HOUR)
    kinds = []
    for number in range(8):
        export(store, [("N2", start - HOUR, number + 1.0, 1)], as_of=start + number * timedelta(minutes=1))
        with closing(warehouse_of(store)) as warehouse:
            kinds.append(
                dict(warehouse.rows(f"SELECT pk, max(kind) FROM {TABLES.items} GROUP BY pk")).get('plane["N1"]')
            )
    assert kinds == ["removed"] * 6 + [None if forgotten else "removed"] * 2


class Small(MemoryStore):
    """A store that takes little."""

    capabilities = Capabilities(limits=Limits(item=400, pk=30))


def test_what_a_store_cannot_take_is_named_before_anything_is_written():
    """Of all rows, not of the batch that holds one: here the large one comes last."""
    text = view("notes", feature("note", "text"))
    rows = batch({"tailnum": pa.array(["N1", "N2", "N" * 40]), "note": pa.array(["x", "é" * 200, "x"])}, [T] * 3)
    store = Small()
    with pytest.raises(PlanError) as caught:
        export_view(store, text, [rows], as_of=T)
    assert 'plane["N2"] of view notes: the item has about' in str(caught.value)
    assert 'plane["NNNN' in str(caught.value)
    assert "nothing was written" in str(caught.value)
    assert store.describe()["items"] == 0
    with closing(warehouse_of(store)) as warehouse:
        assert warehouse.rows("FROM duckdb_tables()") == []
