"""The trials' fast warehouse does what DuckDB does: the same histories, told in the same words."""

import pytest

from tests.profiles import trials
from tests.reliability.finding import attempt
from tests.reliability.simulation import Choices
from tests.reliability.stages import memory_stage
from tests.reliability.warehouse import SimulatedDuckDB

pytestmark = pytest.mark.more
CHUNKS = 4


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_histories_are_the_same_with_duckdb(chunk):
    duckdb = memory_stage().use_duckdb(SimulatedDuckDB())
    quick = memory_stage()
    for seed in (2_000_000 + number for number in trials(CHUNKS * 5)[chunk::CHUNKS]):
        broken, trial = attempt(duckdb, Choices(seed))
        quickly_broken, quick_trial = attempt(quick, Choices(seed))
        assert (broken, trial.told) == (quickly_broken, quick_trial.told) == (None, trial.told)
        assert duckdb.store._items == quick.store._items
    duckdb.warehouse.close()
