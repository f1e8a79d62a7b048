"""The same on the SQLite store, with other seeds."""

import pytest

from tests.profiles import trials
from tests.reliability.checks import hold
from tests.reliability.stages import sqlite_stage

pytestmark = pytest.mark.more
CHUNKS = 10


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_nothing_is_lost_whatever_happens(chunk, tmp_path):
    stage = sqlite_stage(tmp_path)
    hold(
        stage, [1_000_000 + number for number in trials(CHUNKS * 50, base=CHUNKS * 20)[chunk::CHUNKS]], "--store sqlite"
    )
    stage.store.close()
