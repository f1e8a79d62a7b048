"""Repeat what failed for a moment: a call for a length of time, a transaction a number of times."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from featurelayer.errors import OnlineStoreError, WriteConflict

_ATTEMPTS = 10

T = TypeVar("T")


class Backoff:
    """The pauses between attempts: each is drawn from 0 to a bound, which doubles from `first` to `longest` seconds.

    The draw keeps clients that failed together from meeting again ("full jitter"). Without `jitter` a pause is the
    bound itself, for a resource of this machine that few wait for.
    """

    __slots__ = ("_bound", "_first", "_jitter", "_longest")

    def __init__(self, first: float = 0.05, longest: float = 5.0, *, jitter: bool = True) -> None:
        self._first, self._longest, self._jitter = first, longest, jitter
        self._bound = min(first, longest)

    def next_pause(self) -> float:
        """Return the seconds to wait before the next attempt."""
        bound, self._bound = self._bound, min(2 * self._bound, self._longest)
        return random.uniform(0, bound) if self._jitter else bound  # noqa: S311 (no secret)

    def wait(self, until: float) -> bool:
        """Sleep before the next attempt, but not beyond `until` (of `time.monotonic()`); False if that is over."""
        left = until - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(self.next_pause(), left))
        return True

    def reset(self) -> None:
        """Begin with the first pause again, after an attempt that made progress."""
        self._bound = min(self._first, self._longest)


def is_retryable(error: Exception) -> bool:
    """Return whether a store's error is one that another attempt can cure."""
    return isinstance(error, OnlineStoreError) and error.retryable


def call_with_retry(
    call: Callable[[], T],
    seconds: float,
    *,
    is_transient: Callable[[Exception], bool] = is_retryable,
    backoff: Backoff | None = None,
) -> T:
    """Return what `call` returns; repeat it while its error is transient, for up to `seconds`.

    An attempt that failed may have taken effect nevertheless, because only its answer got lost: repeat nothing that
    does harm when it is done twice. With 0 seconds there is one attempt.

    Raises:
        Exception: what the last attempt raised.
    """
    backoff, until = backoff or Backoff(), time.monotonic() + seconds
    while True:
        try:
            return call()
        except Exception as error:
            if not is_transient(error) or time.monotonic() >= until:
                raise
        backoff.wait(until)


def retry_on_conflict(transaction: Callable[[], T]) -> T:
    """Return what `transaction` returns; run it again, whole, when it lost a write conflict.

    Raises:
        WriteConflict: it lost ten times; nothing was kept.
    """
    backoff = Backoff(first=0.2, longest=2.0)
    for _ in range(_ATTEMPTS - 1):
        try:
            return transaction()
        except WriteConflict:
            pass
        time.sleep(backoff.next_pause())
    return transaction()


def wait_until(is_done: Callable[[], bool], seconds: float, *, backoff: Backoff | None = None) -> bool:
    """Ask `is_done` until it is true and return whether it was within `seconds`; it is asked once at least."""
    backoff, until = backoff or Backoff(), time.monotonic() + seconds
    while not is_done():
        if not backoff.wait(until):
            return False
    return True
