"""The promise of the whole: what serving looks up at T is what training sees at T, value for value.

The same random worlds as the compiler's own test; one side is the training set at label time T, the other the snapshot
at T, exported and looked up with T as the present.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.export import publish_services
from featurelayer.model import DType
from featurelayer.online import FeatureClient, MemoryStore, Status
from featurelayer.testing import DuckDBEngine, make_service, make_table, make_view
from featurelayer.testing.builders import plain
from featurelayer.testing.strategies import moments, rows, views
from tests.exporting import export_view
from tests.profiles import examples


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    found = DuckDBEngine()
    yield found
    found.close()


def snapshot(engine: DuckDBEngine, plan: Any) -> pa.Table:
    script = engine.compile(plan)
    for step in script.steps:
        for statement in step.statements:
            engine.warehouse.execute(statement.sql)
    return engine.warehouse.arrow(script.query.sql).read_all()


@given(data=st.data())
@settings(max_examples=examples(60))
def test_lookup_equals_training(engine: DuckDBEngine, data: st.DataObject) -> None:
    view = data.draw(views(dates=False, nested=False))
    drawn = data.draw(st.lists(rows(view), max_size=14))
    facts = make_view(
        "facts",
        {"k": "text"},
        {"seats": "uint64"},
        ["seats"],
        static=True,
        defaults=data.draw(st.sampled_from([{}, {"seats": 2**64 - 1}])),
    )
    fact_rows = [
        {"k": k, "seats": seats}
        for k, seats in data.draw(
            st.dictionaries(st.sampled_from(["a", "ab"]), st.none() | st.integers(0, 2**64 - 1))
        ).items()
    ]
    at = data.draw(moments)
    both = {"v": view, "facts": facts}
    service = make_service((view, None, None), (view, "away", {"k": "other"}), (facts, None, None))
    engine.load(view, make_table(view.columns, drawn))
    engine.load(facts, make_table(facts.columns, fact_rows))
    ids: tuple[Any, ...] = ("a", "ab", "b", "", "unknown", None)
    requests = [
        {"k": k, "other": other, **({"n": n} if len(view.join_keys) > 1 else {})}
        for k in ids
        for other in ("a", None)
        for n in (1, 11)
    ]

    label_types = [(key.name, key.dtype) for key in service.request_keys]
    labels = make_table([*label_types, ("t", DType.parse("timestamp"))], [{**request, "t": at} for request in requests])
    trained = engine.run(engine.plan(labels, service, both))

    store, instant = MemoryStore(), at.replace(tzinfo=UTC)
    publish_services(store, [service], both, 1)
    for each in both.values():
        export_view(store, each, snapshot(engine, engine.snapshot_plan(each, instant)).to_batches(), as_of=instant)
    with FeatureClient(store) as client:
        served = client.lookup_many("service", requests, now=instant)
    for training, vector in zip(trained, served, strict=True):
        expected = {name: training[name] for name in service.columns}
        assert plain(vector.to_dict()) == plain(expected)
        assert vector.to_list() == list(vector.to_dict().values())


@given(data=st.data())
@settings(max_examples=examples(40))
def test_values_expire_and_end_between_exports_as_in_training(engine: DuckDBEngine, data: st.DataObject) -> None:
    """No new rows after T: a lookup later than the export still equals training at that later time."""
    view = data.draw(views(dates=False, nested=False))
    drawn = data.draw(st.lists(rows(view), max_size=14))
    at = data.draw(moments)
    visible = [
        row for row in drawn if row["e"] is None or row["e"].replace(tzinfo=None) <= at - timedelta(microseconds=4)
    ]
    visible = [
        {**row, "a": row["e"] and row["e"].replace(tzinfo=UTC if str(view.dtype("a")) == "timestamptz" else None)}
        for row in visible
    ]
    later = at + timedelta(microseconds=data.draw(st.integers(0, 5)))
    engine.load(view, make_table(view.columns, visible))
    service = make_service((view, None, None))
    requests = [{"k": k, **({"n": n} if len(view.join_keys) > 1 else {})} for k in ("a", "ab", "b", "") for n in (1, 2)]
    label_types = [(key.name, key.dtype) for key in service.request_keys]
    labels = make_table(
        [*label_types, ("t", DType.parse("timestamp"))], [{**request, "t": later} for request in requests]
    )
    trained = engine.run(engine.plan(labels, service, {"v": view}))
    store, instant = MemoryStore(), at.replace(tzinfo=UTC)
    publish_services(store, [service], {"v": view}, 1)
    export_view(store, view, snapshot(engine, engine.snapshot_plan(view, instant)).to_batches(), as_of=instant)
    with FeatureClient(store) as client:
        served = client.lookup_many("service", requests, now=later.replace(tzinfo=UTC))
    for training, vector in zip(trained, served, strict=True):
        assert plain(vector.to_dict()) == plain({name: training[name] for name in service.columns})
        for feature in vector.features.values():
            if feature.status is Status.PRESENT:
                assert feature.value is not None
