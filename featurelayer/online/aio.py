"""The lookup client for asyncio: the same client, run by threads of its own.

Threads and not asyncio's own sockets: every store and both transports then work alike, a store needs one
implementation, and a lookup is short. What it costs is a hop to a thread and back per lookup, and as many lookups are
under way at once as there are threads; the rest wait, inside their deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar

from featurelayer.online.base import OnlineStore
from featurelayer.online.budget import deadline_exceeded
from featurelayer.online.client import (
    CACHE_ITEMS,
    DEADLINE,
    REFRESH,
    START_DEADLINE,
    WRITE_DEADLINE,
    FeatureClient,
    OnCorrupt,
    parse_deadline,
)
from featurelayer.online.definitions import ServiceDefinition
from featurelayer.online.fork_safety import register_for_fork
from featurelayer.online.metrics import OnLookup
from featurelayer.online.streaming import WriteResult
from featurelayer.online.vector import FeatureVector

T = TypeVar("T")

CONCURRENCY = 32
_CLOSE_SECONDS = 5.0


class AsyncFeatureClient:
    """`FeatureClient` for asyncio: the same names, arguments, results and errors, to be awaited.

    `concurrency` bounds the calls that are under way at once. A call that is cancelled is left behind in its thread,
    which its deadline ends. `on_lookup` is called in these threads.
    """

    def __init__(
        self,
        store: OnlineStore,
        *,
        pins: Mapping[str, str] | None = None,
        refresh: timedelta = REFRESH,
        cache: timedelta | None = None,
        cache_items: int = CACHE_ITEMS,
        on_lookup: OnLookup | None = None,
        on_corrupt: OnCorrupt = "raise",
        concurrency: int = CONCURRENCY,
    ) -> None:
        self._start(
            FeatureClient(
                store, pins=pins, refresh=refresh, cache=cache, cache_items=cache_items, on_lookup=on_lookup,
                on_corrupt=on_corrupt,
            ),
            concurrency,
        )  # fmt: skip

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        lock: str | Path | None = None,
        refresh: timedelta = REFRESH,
        cache: timedelta | None = None,
        cache_items: int = CACHE_ITEMS,
        on_lookup: OnLookup | None = None,
        on_corrupt: OnCorrupt = "raise",
        deadline: float | timedelta | None = START_DEADLINE,
        concurrency: int = CONCURRENCY,
    ) -> Self:
        """Return a client of the store at `url`, as `FeatureClient.connect` does; it may be awaited, and need not be.

        Opening a store reads nothing. With a `lock` the service is read here and now, which is for a process's start.
        """
        client = cls.__new__(cls)
        client._start(
            FeatureClient.connect(
                url,
                lock=lock,
                refresh=refresh,
                cache=cache,
                cache_items=cache_items,
                on_lookup=on_lookup,
                deadline=deadline,
                on_corrupt=on_corrupt,
            ),
            concurrency,
        )  # fmt: skip
        return client

    def _start(self, client: FeatureClient, concurrency: int) -> None:
        self._client, self._concurrency = client, concurrency
        self.reset_after_fork()
        register_for_fork(self)

    def reset_after_fork(self) -> None:
        """Start without threads."""
        self._lock = Lock()
        self._threads: ThreadPoolExecutor | None = None

    @property
    def store(self) -> OnlineStore:
        return self._client.store

    async def lookup(
        self,
        service: str,
        request: Mapping[str, Any],
        *,
        now: datetime | None = None,
        consistent: bool = False,
        deadline: float | timedelta | None = DEADLINE,
    ) -> FeatureVector:
        """Return the features of one request, as `FeatureClient.lookup` does, with the same errors."""
        return (await self.lookup_many(service, [request], now=now, consistent=consistent, deadline=deadline))[0]

    async def lookup_many(
        self,
        service: str,
        requests: Iterable[Mapping[str, Any]],
        *,
        now: datetime | None = None,
        consistent: bool = False,
        deadline: float | timedelta | None = DEADLINE,
    ) -> list[FeatureVector]:
        """Return one vector per request, in their order, from one call to the store."""
        return await self._run(
            deadline, "read", self._client.lookup_many, service, requests, now=now, consistent=consistent
        )

    async def write(
        self,
        view: str,
        rows: Iterable[Mapping[str, Any]],
        *,
        deadline: float | timedelta | None = WRITE_DEADLINE,
    ) -> WriteResult:
        """Put values of a view between exports, as `FeatureClient.write` does, with the same errors."""
        return await self._run(deadline, "written", self._client.write, view, rows)

    async def warm_up(
        self, services: Sequence[str] | None = None, *, deadline: float | timedelta | None = START_DEADLINE
    ) -> None:
        """Open connections and read what lookups need, as `FeatureClient.warm_up` does, with the same errors."""
        await self._run(deadline, "read", self._client.warm_up, services)

    async def service(self, name: str, *, deadline: float | timedelta | None = DEADLINE) -> ServiceDefinition:
        """Return the definition that lookups of `name` follow."""
        return await self._run(deadline, "read", self._client.service, name)

    async def services(self, *, deadline: float | timedelta | None = DEADLINE) -> list[str]:
        """Return the names of the services that the store can serve, sorted."""
        return await self._run(deadline, "read", self._client.services)

    async def close(self) -> None:
        """Release the store's connections and the threads; calls that are under way are left behind after 5 seconds."""
        closer = ThreadPoolExecutor(1, thread_name_prefix="featurelayer-close")  # the client's own may all be busy
        closing = asyncio.get_running_loop().run_in_executor(closer, self._client.close)
        done, _ = await asyncio.wait([closing], timeout=_CLOSE_SECONDS)
        closer.shutdown(wait=False)
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False)
        for each in done:
            each.result()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __await__(self) -> Generator[Any, None, Self]:
        """Let `await AsyncFeatureClient.connect(...)` be written, too."""
        return self
        yield

    async def _run(
        self, deadline: float | timedelta | None, done: str, function: Callable[..., T], *arguments: Any, **options: Any
    ) -> T:
        """Call a method of the client in a thread, with what is then left of the deadline."""
        until = parse_deadline(deadline)

        def call() -> T:
            left = max(until - monotonic(), 0.0) if until is not None else None
            return function(*arguments, **options, deadline=left)

        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._concurrency, thread_name_prefix="featurelayer-lookup")
            threads = self._threads
        run = asyncio.get_running_loop().run_in_executor(threads, call)
        try:
            async with asyncio.timeout(None if until is None else until - monotonic()) as limit:
                return await run
        except TimeoutError:
            if limit.expired():
                raise deadline_exceeded(done) from None
            raise
