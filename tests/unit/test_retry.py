"""Retries: which errors are retried, how long, and with which pauses."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from featurelayer import retry
from featurelayer.errors import OnlineStoreError, StoreThrottled, WriteConflict
from featurelayer.retry import Backoff, call_with_retry, retry_on_conflict, wait_until


class Clock:
    """A clock that goes on when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(time, "monotonic", found.monotonic)
    monkeypatch.setattr(time, "sleep", found.sleep)
    monkeypatch.setattr(retry.random, "uniform", lambda _low, high: high)
    return found


def failing(times: int, error: Exception) -> Callable[[], str]:
    """Return a call that fails so many times."""
    left = [times]

    def call() -> str:
        if left[0]:
            left[0] -= 1
            raise error
        return "done"

    return call


def test_pauses_double_up_to_the_longest_and_start_again_after_progress() -> None:
    backoff = Backoff(first=1, longest=5, jitter=False)
    assert [backoff.next_pause() for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.next_pause() == 1
    assert Backoff(first=3, longest=2, jitter=False).next_pause() == 2


def test_jitter_draws_from_zero_to_the_bound() -> None:
    backoff = Backoff(first=1, longest=1)
    pauses = [backoff.next_pause() for _ in range(200)]
    assert 0 <= min(pauses) < 0.2 < 0.8 < max(pauses) <= 1


def test_a_transient_error_is_retried_until_the_time_is_up(clock: Clock) -> None:
    assert call_with_retry(failing(3, StoreThrottled("slow down")), 10) == "done"
    assert clock.pauses == [0.05, 0.1, 0.2]
    with pytest.raises(StoreThrottled):
        call_with_retry(failing(1_000, StoreThrottled("slow down")), 10)
    assert clock.now == pytest.approx(110.35)  # the last pause ends with the time


def test_other_errors_and_calls_without_patience_are_not_retried(clock: Clock) -> None:
    with pytest.raises(OnlineStoreError):
        call_with_retry(failing(1, OnlineStoreError("denied")), 10)
    with pytest.raises(ValueError, match="odd"):
        call_with_retry(failing(1, ValueError("odd")), 10)
    with pytest.raises(StoreThrottled):
        call_with_retry(failing(1, StoreThrottled("slow down")), 0)
    assert clock.pauses == []


def test_the_caller_decides_what_is_transient(clock: Clock) -> None:
    call = failing(2, ValueError("locked"))
    pauses = Backoff(0.1, 0.1, jitter=False)
    assert call_with_retry(call, 1, is_transient=lambda error: "locked" in str(error), backoff=pauses) == "done"
    assert clock.pauses == [0.1, 0.1]


def test_a_conflict_is_retried_ten_times(clock: Clock) -> None:
    assert retry_on_conflict(failing(9, WriteConflict("lost"))) == "done"
    assert clock.pauses == pytest.approx([0.2, 0.4, 0.8, 1.6, 2, 2, 2, 2, 2])
    with pytest.raises(WriteConflict):
        retry_on_conflict(failing(10, WriteConflict("lost")))
    with pytest.raises(ValueError, match="odd"):
        retry_on_conflict(failing(1, ValueError("odd")))


def test_waiting_ends_with_the_condition_or_the_time(clock: Clock) -> None:
    answers = iter([False, False, True])
    assert wait_until(lambda: next(answers), 10)
    assert clock.pauses == [0.05, 0.1]
    assert not wait_until(lambda: False, 1)
    assert wait_until(lambda: True, 0)
    assert not wait_until(lambda: False, 0)
