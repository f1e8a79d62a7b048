"""A store in the memory of this process: the reference for the others, and the one for users' tests."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from threading import Lock
from typing import Any

from featurelayer.callbacks import Notify
from featurelayer.online.base import (
    Capabilities,
    CreateResult,
    Item,
    ItemKey,
    LiveKey,
    StoreUrl,
    Written,
    plan_write,
)
from featurelayer.online.budget import ReadBudget, Usage
from featurelayer.online.fork_safety import register_for_fork

_shared: dict[str, MemoryStore] = {}


def connect(url: StoreUrl) -> MemoryStore:
    """Return the store of that name: the same one for every caller of this process."""
    url.read_options()
    return _shared.setdefault(url.location, MemoryStore())  # atomic, so it needs no lock that a fork could leave locked


class MemoryStore:
    """An `OnlineStore` in a dictionary. `MemoryStore()` is private, `memory://name` is shared by name."""

    capabilities = Capabilities()

    def __init__(self) -> None:
        self._items: dict[ItemKey, Item] = {}
        self.reset_after_fork()
        register_for_fork(self)

    def reset_after_fork(self) -> None:
        """Take a new lock: a thread that does not exist here may hold the old one."""
        self._lock = Lock()

    def read(
        self,
        keys: Collection[ItemKey],
        *,
        consistent: bool = False,  # noqa: ARG002 (the interface's)
        deadline: float | None = None,
        usage: Usage | None = None,
    ) -> dict[ItemKey, Item]:
        """Return the items that exist; memory is always consistent."""
        ReadBudget(deadline).remaining()
        with self._lock:
            found = {key: self._items[key] for key in keys if key in self._items}
        if usage is not None:
            usage.add(bytes=sum(item.size for item in found.values()))
        return found

    def write(
        self,
        items: Sequence[Item],
        *,
        rewind: bool = False,
        rewrite: bool = False,
        new: bool = False,  # noqa: ARG002 (no matter here)
        deadline: float | None = None,
    ) -> Written:
        """Put the items that replace and differ from the stored ones."""
        ReadBudget(deadline, "written").remaining()
        with self._lock:
            work = plan_write(items, self._items, rewind=rewind, rewrite=rewrite)
            self._items.update((item.key, item) for item in work.put + work.renew)
        size = sum(item.size for item in work.put)
        return Written(written=len(work.put), unchanged=work.unchanged, lost=tuple(work.lost), bytes=size)

    def live(self, sk: str) -> Iterator[LiveKey]:
        """Yield the entities that a view has values for."""
        with self._lock:
            found = [item for item in self._items.values() if item.sk == sk and not item.deleted]
        for item in found:
            yield LiveKey(item.pk, item.version, item.event_time)

    def names(self, pk: str, *, deadline: float | None = None) -> list[str]:
        """Return every `sk` under one `pk`."""
        ReadBudget(deadline).remaining()
        with self._lock:
            return sorted(sk for stored, sk in self._items if stored == pk)

    def remove(self, keys: Collection[ItemKey], *, deadline: float | None = None) -> None:
        """Delete items."""
        ReadBudget(deadline, "removed").remaining()
        with self._lock:
            for key in keys:
                self._items.pop(key, None)

    def warm_up(self, *, deadline: float | None = None) -> None:
        """Do nothing: memory is open."""
        ReadBudget(deadline).remaining()

    def create(self, settings: Any = None, notify: Notify | None = None) -> CreateResult:  # noqa: ARG002
        """Do nothing: memory needs no creation."""
        return CreateResult(created=False)

    def check(self) -> None:
        """Do nothing: every holder of the store may write to it."""

    def describe(self) -> dict[str, Any]:
        """Return the store's facts."""
        with self._lock:
            size = sum(item.size for item in self._items.values())
            return {"type": "memory", "items": len(self._items), "bytes": size}

    def close(self) -> None:
        """Keep the content: a shared store outlives its clients."""
