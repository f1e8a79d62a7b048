"""What is done once more where two transactions of a warehouse can't both be, and the faster one is kept."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from featurelayer.errors import WriteConflict

_TRIES = 10
_PAUSE = 2.0

Result = TypeVar("Result")


def retry_on_conflict(transaction: Callable[[], Result]) -> Result:
    """Return what a transaction returns, which is done anew, whole, as long as others are faster.

    Raises:
        WriteConflict: they were ten times; nothing was kept.
    """
    for tried in range(1, _TRIES + 1):
        try:
            return transaction()
        except WriteConflict:
            if tried == _TRIES:
                raise
            time.sleep(random.uniform(0, _PAUSE * tried / _TRIES))  # noqa: S311 (so that two don't meet again)
    raise AssertionError("the last try returns or raises")
