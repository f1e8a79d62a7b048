"""A call that nothing can bound in time, as resolving a name, made in a thread that its callers can leave behind."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Generic, TypeVar

from featurelayer.online.fork_safety import register_for_fork

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """`call`, made by one thread for all who want its result meanwhile, so that a call that hangs ties up one thread.

    Each caller waits as long as it can. Whoever comes after the call has ended starts another one.
    """

    __slots__ = ("__weakref__", "_call", "_lock", "_under_way")

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._under_way: Future[T] | None = None
        self.reset_after_fork()
        register_for_fork(self)

    def __call__(self, seconds: float | None) -> T:
        """Return the result of the call, or raise its exception.

        Raises:
            TimeoutError: the result did not come in time.
        """
        return self.start().result(seconds)

    def start(self) -> Future[T]:
        """Return the result to come."""
        with self._lock:
            future = self._under_way
            if future is None or future.done():
                future = self._under_way = Future[T]()
                Thread(target=self._run, args=(future,), name="featurelayer-flight", daemon=True).start()
        return future

    def reset_after_fork(self) -> None:
        """Forget a thread that does not exist here."""
        self._lock = Lock()
        self._under_way = None

    def _run(self, future: Future[T]) -> None:
        try:
            result = self._call()
        except BaseException as error:  # noqa: BLE001 (it is its caller's)
            future.set_exception(error)
        else:
            future.set_result(result)
