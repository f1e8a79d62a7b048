"""A shared object that is built when it is first needed, once, however many threads need it at that moment."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Generic, TypeVar

from featurelayer.online.fork_safety import register_for_fork

T = TypeVar("T")


class Once(Generic[T]):
    """The value of `build`: the first caller builds it, the others wait for it, and all get the same object.

    A build that fails leaves nothing, so that the next call builds again. After a fork the child keeps a value that
    was there; the owner of one that can't be shared between processes calls `clear` then.
    """

    __slots__ = ("__weakref__", "_build", "_built", "_lock")

    def __init__(self, build: Callable[[], T]) -> None:
        self._build = build
        self._built: tuple[T] | None = None
        self.reset_after_fork()
        register_for_fork(self)

    def __call__(self) -> T:
        """Return the value."""
        built = self._built
        if built is None:
            with self._lock:
                built = self._built
                if built is None:
                    built = self._built = (self._build(),)
        return built[0]

    @property
    def is_built(self) -> bool:
        return self._built is not None

    def clear(self) -> list[T]:
        """Forget the value and return it in a list, which is empty if there was none; the next call builds another."""
        built, self._built = self._built, None
        return list(built or ())

    def reset_after_fork(self) -> None:
        """Take a new lock: a thread that does not exist here may hold the old one."""
        self._lock = RLock()
