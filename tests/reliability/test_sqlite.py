"""The same on the SQLite store, with other seeds."""

import pytest

from tests.profiles import trials
from tests.reliability.checks import hold
from tests.reliability.stages import sqlite_stage

CHUNKS = 10


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_nothing_is_lost_whatever_happens(chunk, tmp_path):
    each = trials(50)
    stage = sqlite_stage(tmp_path)
    hold(stage, range(1_000_000 + chunk * each, 1_000_000 + (chunk + 1) * each), "--store sqlite")
    stage.store.close()
