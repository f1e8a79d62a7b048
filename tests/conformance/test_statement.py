"""A static view that has a key twice, in the one query of an engine that brings no form of its own."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from featurelayer.errors import WarehouseError
from featurelayer.testing import DuckDBEngine
from featurelayer.testing.builders import make_service, make_table, make_view
from tests.engines.duckdb_forms import MaterializedQueryDuckDB


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    found = DuckDBEngine(MaterializedQueryDuckDB())
    yield found
    found.close()


def test_a_key_that_a_static_view_has_twice_fails_it(engine: DuckDBEngine) -> None:
    view = make_view("v", {"k": "int64", "n": "text"}, {"x": "int64"}, ["x"], static=True)
    rows = [{"k": 1, "n": "a", "x": 1}, {"k": 1, "n": "b", "x": 2}, {"k": 1, "n": "b", "x": 3}]
    engine.load(view, make_table(view.columns, rows))
    labels = make_table(view.columns[:2], [{"k": 1, "n": "a"}, {"k": 1, "n": "b"}])
    service = make_service((view, None, None), label_timestamp=None)
    sql = MaterializedQueryDuckDB().statement(engine.plan(labels, service, {"v": view}))
    with pytest.raises((WarehouseError, duckdb.Error), match="several for k, n = 1 b"):
        engine.warehouse.arrow(sql).read_all()
