"""A training set that was appended to is the one that a build of all its labels at once gives, on random worlds."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from featurelayer.sql.plan import Mode
from featurelayer.testing import Case, DuckDBEngine, WarehouseEngine, applies
from featurelayer.testing.postgres import PostgresEngine
from featurelayer.testing.spark import SparkEngine
from featurelayer.testing.strategies import worlds
from featurelayer.training import Provenance, ResolvedRequest, TrainingSet, build_training_set
from featurelayer.training.lock import read_lock
from featurelayer.warehouse.compare import differing
from tests.profiles import examples
from tests.servers.postgres import Server

PROVENANCE = Provenance(
    project="p", manifest_sha256="0" * 64, dbt_version="1", dbt_invocation_id="i", service_fingerprint=""
)


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with closing(DuckDBEngine("native")) as found:
        yield found


@pytest.fixture(scope="module")
def postgres(postgres_server: Server) -> Iterator[PostgresEngine]:
    with closing(PostgresEngine(postgres_server.target("appended to"))) as found:
        yield found


@pytest.fixture(scope="module")
def spark(spark_target: dict[str, Any]) -> Iterator[SparkEngine]:
    with closing(SparkEngine(spark_target)) as found:
        yield found


def build(engine: WarehouseEngine, case: Case, labels: pa.Table) -> TrainingSet:
    views = {view.id: engine.relocate(view) for view in case.views}
    request = ResolvedRequest(
        service=case.service,
        views=views,
        labels=engine.warehouse.attach(labels),
        labels_name="labels",
        provenance=PROVENANCE,
        mode=Mode(case.mode),
        ledger=engine.ledger(case.exports) if case.mode == "as_served" else None,
    )
    return build_training_set(engine.warehouse, request)


def pieces(labels: pa.Table, cuts: Sequence[int]) -> list[pa.Table]:
    """The labels cut at these rows; parts without rows are allowed, the same part twice is not."""
    edges = [0, *sorted(min(cut, labels.num_rows) for cut in cuts), labels.num_rows]
    found = [labels.slice(start, end - start) for start, end in itertools.pairwise(edges)]
    filled = [piece for piece in found if piece.num_rows]
    assume(all(not one.equals(other) for at, one in enumerate(filled) for other in filled[:at]))
    return found


def check(engine: WarehouseEngine, data: st.DataObject, mode: Mode, *, table: bool = True) -> None:
    """Append the parts of a world's labels one by one to a parquet file, a CSV and a table; build them at once, too."""
    case = data.draw(worlds(mode=str(mode)).filter(lambda case: applies(engine, case)))
    parts = pieces(case.labels, data.draw(st.lists(st.integers(0, 8), min_size=1, max_size=3)))
    for view in case.views:
        engine.load(view, case.rows[view.id])
    with tempfile.TemporaryDirectory() as folder:
        appended, whole = Path(folder) / "appended.parquet", Path(folder) / "whole.parquet"
        for labels in parts:
            built = build(engine, case, labels)
            built.to_parquet(appended, append=True)
            built.to_csv(appended.with_suffix(".csv"), append=True, lock=Path(folder) / "csv.lock.json")
            if table:
                built.to_table("appended", append=labels is not parts[0])
            engine.warehouse.drop(built.script.temporary)
        built = build(engine, case, case.labels)
        built.to_parquet(whole)
        built.to_csv(whole.with_suffix(".csv"))
        one, other = pq.read_table(appended), pq.read_table(whole)
        locks = [read_lock(path.with_suffix(".lock.json")) for path in (appended, whole)]
        assert appended.with_suffix(".csv").read_bytes() == whole.with_suffix(".csv").read_bytes()
    assert (one.schema.names, one.schema.types) == (other.schema.names, other.schema.types)
    assert one.num_rows == other.num_rows == case.labels.num_rows
    for column in one.schema.names:
        pairs = zip(one[column].combine_chunks(), other[column].combine_chunks(), strict=True)
        assert all(repr(a) == repr(b) for a, b in pairs), column
    # The CSV's lock is not beside the parquet's, which the CSV was written after.
    assert locks[0].labels.rows == locks[1].labels.rows
    assert sum(part.labels.rows for part in locks[0].parts) == locks[0].labels.rows
    assert locks[0].columns == built.lock["columns"]
    if table:
        # The order of a table is that of its rows in these engines; its columns' names may be cut there.
        there = engine.warehouse.arrow(f"SELECT * FROM {engine.warehouse.quote('appended')}").read_all()
        assert there.num_rows == one.num_rows
        same = engine.warehouse.arrow(built.script.query.sql).read_all()
        for name, left, right in zip(one.schema.names, there.columns, same.columns, strict=True):
            assert not differing(left.combine_chunks(), right.combine_chunks()).true_count, name
    engine.warehouse.drop(built.script.temporary)


@pytest.mark.parametrize("mode", list(Mode))
@given(data=st.data())
@settings(max_examples=examples(8))
def test_appended_is_built_at_once(engine: DuckDBEngine, mode: Mode, data: st.DataObject) -> None:
    check(engine, data, mode)


@pytest.mark.parametrize("mode", list(Mode))
@given(data=st.data())
@settings(max_examples=examples(4))
def test_appended_is_built_at_once_by_postgres(postgres: PostgresEngine, mode: Mode, data: st.DataObject) -> None:
    check(postgres, data, mode)


@given(data=st.data())
@settings(max_examples=examples(2))
def test_appended_files_are_built_at_once_by_spark(spark: SparkEngine, data: st.DataObject) -> None:
    check(spark, data, data.draw(st.sampled_from(list(Mode))), table=False)
