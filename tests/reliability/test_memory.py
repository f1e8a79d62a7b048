"""Thousands of histories on the memory store: `make test test-all` runs 10,500 with test_sqlite."""

import pytest

from tests.profiles import trials
from tests.reliability.checks import hold
from tests.reliability.stages import memory_stage

pytestmark = pytest.mark.more
CHUNKS = 10


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_nothing_is_lost_whatever_happens(chunk):
    hold(memory_stage(), trials(CHUNKS * 55, base=CHUNKS * 20)[chunk::CHUNKS])
