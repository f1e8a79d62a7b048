"""Items kept in the process for a short while, for services whose requests repeat."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from threading import Lock
from time import monotonic

from featurelayer.online.base import Item, ItemKey
from featurelayer.online.fork_safety import register_for_fork


class ItemCache:
    """The `size` items that were used last, none read longer than `seconds` ago; that there is none counts as well.

    It holds items and not vectors, so expiry and freshness are judged at every lookup. Safe to share between threads.
    """

    def __init__(self, *, seconds: float, size: int) -> None:
        self._seconds, self._size = seconds, size
        self.reset_after_fork()
        register_for_fork(self)

    def reset_after_fork(self) -> None:
        """Start empty."""
        self._lock = Lock()
        self._known: OrderedDict[ItemKey, tuple[float, Item | None]] = OrderedDict()

    def find(self, keys: Iterable[ItemKey]) -> tuple[dict[ItemKey, Item], set[ItemKey]]:
        """Return the cached items of the keys, and the keys to read."""
        found: dict[ItemKey, Item] = {}
        unknown: set[ItemKey] = set()
        oldest = monotonic() - self._seconds
        with self._lock:
            for key in keys:
                read_at, item = self._known.get(key, (oldest, None))
                if read_at <= oldest:
                    unknown.add(key)
                    continue
                self._known.move_to_end(key)
                if item is not None:
                    found[key] = item
        return found, unknown

    def keep(self, keys: Iterable[ItemKey], items: Mapping[ItemKey, Item], read_at: float) -> None:
        """Keep what a read that began at `read_at` (of `time.monotonic()`) found for the keys, and what it did not."""
        with self._lock:
            for key in keys:
                if self._known.get(key, (read_at,))[0] <= read_at:
                    self._known[key] = read_at, items.get(key)
                    self._known.move_to_end(key)
            while len(self._known) > self._size:
                self._known.popitem(last=False)
