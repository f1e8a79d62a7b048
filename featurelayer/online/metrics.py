"""Measure lookups: the counts and times that the client passes to `on_lookup`."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import msgspec

from featurelayer.online.budget import Usage


class LookupMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """One `lookup` or `lookup_many`, whether it succeeded or not.

    `items` were needed (entities times views, each once), `cached` of them came from the process's own cache; `calls`
    went to the store and brought `bytes`, `retries` of them were attempts beyond the first. `corrupt` items could not
    be read. `error` is the name of the exception, if there was one.
    """

    service: str
    requests: int
    items: int
    cached: int
    calls: int
    bytes: int
    retries: int
    milliseconds: float
    error: str | None
    corrupt: int = 0


OnLookup = Callable[[LookupMetrics], object]


class Trace:
    """Counts along one lookup."""

    __slots__ = ("_started", "cached", "corrupt", "items", "usage")

    def __init__(self) -> None:
        self.usage = Usage()
        self.items = self.cached = self.corrupt = 0
        self._started = perf_counter()

    def report(self, hook: OnLookup, service: str, requests: int, error: BaseException | None) -> None:
        """Call the hook. Its exceptions are only logged: counting must not break serving."""
        metrics = LookupMetrics(
            service=service,
            requests=requests,
            items=self.items,
            cached=self.cached,
            calls=self.usage.calls,
            bytes=self.usage.bytes,
            retries=self.usage.retries,
            milliseconds=(perf_counter() - self._started) * 1000,
            error=type(error).__name__ if error is not None else None,
            corrupt=self.corrupt,
        )
        try:
            hook(metrics)
        except Exception:
            import logging

            logging.getLogger(__name__).warning("on_lookup failed", exc_info=True)
