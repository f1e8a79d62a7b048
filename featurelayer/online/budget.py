"""The time that a call to a store may take, and the counts of what it took."""

from __future__ import annotations

from time import monotonic

from featurelayer.errors import DeadlineExceeded


class ReadBudget:
    """The time left for a call to a store. Shared by the threads of one call. `done` is what the call does to items."""

    __slots__ = ("done", "until")

    def __init__(self, until: float | None, done: str = "read") -> None:
        self.until, self.done = until, done

    def remaining(self) -> float | None:
        """Return the seconds left, or None for no limit.

        Raises:
            DeadlineExceeded: none are left.
        """
        if self.until is None:
            return None
        seconds = self.until - monotonic()
        if seconds <= 0:
            raise deadline_exceeded(self.done)
        return seconds

    def earliest(self, until: float) -> float:
        """Return `until`, or the end of the budget if that comes first; both are readings of `time.monotonic()`."""
        return until if self.until is None else min(until, self.until)

    def clamp(self, seconds: float) -> float:
        """Return `seconds`, or the rest of the budget if it is less."""
        return seconds if self.until is None else max(0.0, min(seconds, self.until - monotonic()))


class Usage:
    """What reads took: calls to the store, bytes of their answers, attempts beyond the first. Threads may share it."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: list[tuple[int, int]] = []

    def add(self, *, bytes: int, retries: int = 0) -> None:
        """Count one call."""
        self._calls.append((bytes, retries))

    @property
    def calls(self) -> int:
        return len(self._calls)

    @property
    def bytes(self) -> int:
        return sum(size for size, _ in self._calls)

    @property
    def retries(self) -> int:
        return sum(retries for _, retries in self._calls)


def deadline_exceeded(done: str = "read") -> DeadlineExceeded:
    """Return the error for a call that ran out of time before every item was `done`: read, written, removed."""
    return DeadlineExceeded(f"the deadline passed before every item was {done}; allow it more time")
