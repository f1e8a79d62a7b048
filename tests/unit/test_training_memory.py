"""How much memory the joins of a training set are given: enough, and no more than is of use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from featurelayer.errors import WarehouseError
from featurelayer.model import DType
from featurelayer.sql.plan import Plan
from featurelayer.training.memory import working_memory
from featurelayer.warehouse.engines.duckdb.warehouse import DuckDBWarehouse, connect
from tests.sql.plans import LEGS, training_set
from tests.unit.warehouses import layer

LIMIT = "SELECT current_setting('memory_limit')"
# A list can't be spilled, and this one takes more than a thread is left with.
GREEDY = "SELECT len(list(i)) FROM range(30000000) r(i)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    duckdb.connect(str(tmp_path / "db.duckdb")).close()
    return tmp_path


@pytest.fixture
def warehouse(path: Path) -> Iterator[DuckDBWarehouse]:
    settings = {"memory_limit": "1GB", "threads": 1}
    with closing(connect({"type": "duckdb", "path": "db.duckdb", "settings": settings}, root=path)) as found:
        yield found


def limit(warehouse: DuckDBWarehouse) -> str:
    return str(warehouse.rows(LIMIT)[0][0])


def test_the_limit_is_lowered_for_a_while(warehouse: DuckDBWarehouse) -> None:
    before = limit(warehouse)
    with warehouse.limit_cache(72_000_000):
        assert limit(warehouse) == "190.7 MiB"  # 72 MB and 128 MB for the thread
    assert limit(warehouse) == before == "953.6 MiB"
    with pytest.raises(WarehouseError, match="nothing"), warehouse.limit_cache(0):
        warehouse.execute("SELECT * FROM nothing")
    assert limit(warehouse) == before


def test_without_a_limit_in_the_profile_it_is_duckdbs_own(path: Path) -> None:
    with closing(connect({"type": "duckdb", "path": "db.duckdb"}, root=path)) as warehouse:
        before = limit(warehouse)
        with warehouse.limit_cache(0):
            assert limit(warehouse) != before
        assert limit(warehouse) == before


def test_the_limit_is_never_raised(warehouse: DuckDBWarehouse) -> None:
    with warehouse.limit_cache(10_000_000_000):
        assert limit(warehouse) == "953.6 MiB"


def test_a_database_that_is_shared_is_left_alone(warehouse: DuckDBWarehouse, path: Path) -> None:
    with duckdb.connect(str(path / "db.duckdb"), read_only=True), warehouse.limit_cache(0):
        assert limit(warehouse) == "953.6 MiB"


def test_what_needs_more_than_was_thought_gets_all(warehouse: DuckDBWarehouse) -> None:
    with warehouse.limit_cache(0):
        assert warehouse.rows(GREEDY) == [(30_000_000,)]
        assert limit(warehouse) == "953.6 MiB"
    with warehouse.limit_cache(0):
        warehouse.execute(f"CREATE TEMP TABLE found AS {GREEDY}")
    assert warehouse.rows("FROM found") == [(30_000_000,)]


def test_what_needs_more_than_there_is_says_so(path: Path) -> None:
    settings = {"memory_limit": "200MB", "threads": 1}
    with closing(connect({"type": "duckdb", "path": "db.duckdb", "settings": settings}, root=path)) as warehouse:
        with warehouse.limit_cache(0), pytest.raises(WarehouseError, match="raise memory_limit"):
            warehouse.rows(GREEDY)
        assert limit(warehouse) == "190.7 MiB"


def test_a_build_lowers_it_and_gives_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    lower = DuckDBWarehouse.limit_cache

    def within(warehouse: DuckDBWarehouse, working: int) -> object:
        seen.append(limit(warehouse))
        found = lower(warehouse, working)
        run = warehouse.execute
        monkeypatch.setattr(warehouse, "execute", lambda sql: (seen.append(limit(warehouse)), run(sql)))
        return found

    monkeypatch.setattr(DuckDBWarehouse, "limit_cache", within)
    labels = pa.table({"tailnum": ["N1"], "at": pa.array([0], pa.timestamp("us"))})
    with layer(tmp_path / "shop").build_training_set("late", labels) as found:
        monkeypatch.undo()
        assert limit(found._warehouse) == seen[0]
    assert len(set(seen)) == 2


@pytest.fixture
def one() -> Plan:
    """One view of one feature, joined on a text."""
    return training_set((LEGS, None, None))


def test_few_keys_need_little(one: Plan) -> None:
    (view,) = {join.view for join in one.joins}
    rows = {view: 10_000_000}
    all_keys, few = (working_memory(one, labels, rows, [share]) for labels, share in ((1_000_000, 1.0), (10_000, 0.01)))
    assert all_keys is not None
    assert few is not None
    assert 20 * few < all_keys


def test_more_views_need_room_for_more_results_but_one_match(one: Plan) -> None:
    (join,) = one.joins
    rows, share = {join.view: 1_000_000}, 1.0
    single = working_memory(one, 1_000, rows, [share])
    ten = working_memory(replace(one, joins=(join,) * 10), 1_000, rows, [share] * 10)
    assert single is not None
    assert ten is not None
    assert single < ten < 1.1 * single


@pytest.mark.parametrize("kind", ["json", "bytes", "array<float64>"])
def test_what_has_no_known_width_is_not_estimated(one: Plan, kind: str) -> None:
    (join,) = one.joins
    features = (replace(join.features[0], dtype=DType.parse(kind)),)
    wide = replace(one, joins=(replace(join, features=features),))
    assert working_memory(wide, 1, {join.view: 1}, [1.0]) is None
