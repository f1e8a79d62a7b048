"""Limit the read rate, so that verifying takes no capacity from serving."""

from __future__ import annotations

import time
from collections.abc import Callable


class RateLimiter:
    """Counts read units and sleeps so that no more than `units_per_second` are spent on average; None for no limit."""

    def __init__(
        self,
        units_per_second: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate, self._clock, self._sleep = units_per_second, clock, sleep
        self._began: float | None = None
        self.units = 0.0

    @property
    def batch_size(self) -> int:
        """The number of keys to read by one call: the budget of a second, at most 100."""
        return 100 if self._rate is None else max(1, min(100, int(self._rate)))

    def acquire(self, units: float) -> None:
        """Count the units of a read, and wait until the next one may begin."""
        now = self._clock()
        if self._began is None:
            self._began = now
        self.units += units
        if self._rate is not None:
            ahead = self._began + self.units / self._rate - now
            if ahead > 0:
                self._sleep(ahead)
