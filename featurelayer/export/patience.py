"""Patience with a store that is throttled, or can't be reached, for minutes.

Rows are sent by the store itself with patience (`DynamoDBStore`). Between two batches a run looks at the commit and
renews its lease, and at the end it commits. It must not end there where its batches would have waited.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from featurelayer.errors import OnlineStoreError
from featurelayer.online.base import OnlineStore, store_capabilities

_PAUSE, _LONGEST_PAUSE = 0.05, 5.0

T = TypeVar("T")


def call_with_retry(store: OnlineStore, call: Callable[[], T]) -> T:
    """Return what the call returns, which is made again as long as the store fails for a moment and its patience lasts.

    How many seconds that is, the store says as `patience`; one that says nothing is asked once. The call must be one
    that may have happened already: the answer of the one before may have got lost.
    """
    until, pause = time.monotonic() + store_capabilities(store).patience, _PAUSE
    while True:
        try:
            return call()
        except OnlineStoreError as error:
            if not error.retryable or time.monotonic() >= until:
                raise
        time.sleep(random.uniform(0, pause))  # noqa: S311 (jitter, no secret)
        pause = min(2 * pause, _LONGEST_PAUSE)
