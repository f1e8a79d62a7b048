"""A lease on a view in the store, which keeps two exporters from doing the same work.

Correctness does not depend on it. If clocks are wrong, a holder hangs or the lease is lost, rows are written twice and
the newer write wins.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from featurelayer.callbacks import Notify
from featurelayer.errors import CorruptItem, OnlineStoreError, StoreNotFound
from featurelayer.online.base import OnlineStore, store_capabilities
from featurelayer.online.definitions import Lease, lease_key
from featurelayer.retry import call_with_retry
from featurelayer.tempdirs import is_process_alive

LEASE = timedelta(seconds=30)
_LOOK_AGAIN = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The time, sleeping, and the live processes of this host; replaced in tests."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    is_alive: Callable[[int], bool] = is_process_alive


class HeldLease:
    """A lease that this run holds on a view. It expires if the process dies."""

    def __init__(self, store: OnlineStore, sk: str, run: str, clock: Clock) -> None:
        self._store, self._sk, self._run, self._clock = store, sk, run, clock
        self._until, self._told = 0.0, 0

    def renew(self) -> None:
        """Renew the lease when half of its time has passed."""
        if self._clock.now() + LEASE.total_seconds() / 2 > self._until:
            call_with_retry(self._renew, store_capabilities(self._store).patience)

    def _renew(self) -> None:
        now = self._clock.now()
        self._until = now + LEASE.total_seconds()
        self._write(now)

    def release(self) -> None:
        """Release the lease for the next exporter. Store errors are ignored, because the lease expires anyway."""
        if self._until:
            self._until = self._clock.now()
            with suppress(OnlineStoreError):
                self._write(self._until)

    def _write(self, now: float) -> None:
        self._told = max(
            _to_microseconds(now), self._told + 1
        )  # the newer of two writes wins, also within a microsecond
        lease = Lease(
            run=self._run,
            until=_to_microseconds(self._until),
            told=self._told,
            host=platform.node(),
            process=os.getpid(),
        )
        self._store.write([lease.item(self._sk)])


def wait_for_others(store: OnlineStore, views: Mapping[str, str], run: str, clock: Clock, notify: Notify) -> None:
    """Wait while another run is at work on one of `views` (names by `sk`), at most as long as a lease lasts.

    Leases of dead processes on this host are ignored.
    """
    began = _to_microseconds(clock.now())
    ends: dict[str, int] = {}
    printed: set[str] = set()

    def tell_once(line: str) -> None:
        if line not in printed:
            printed.add(line)
            notify(line)

    while True:
        now, waiting = _to_microseconds(clock.now()), False
        for sk, lease in _read_leases(store, views).items():
            if lease.run == run or lease.until <= now:
                continue
            holder = f"{views[sk]}: export {lease.run[:8]} (process {lease.process} on {lease.host})"
            if lease.host == platform.node() and not clock.is_alive(lease.process):
                tell_once(f"{holder} has died; taking over")
                continue
            end = ends.setdefault(sk, min(lease.until, began + _to_microseconds(LEASE.total_seconds())))
            if now < end:
                tell_once(f"{holder} is at work; waiting up to {LEASE.seconds} s for it")
                waiting = True
            else:
                tell_once(
                    f"{holder} is still at work; exporting at the same time, which is safe and may write rows twice"
                )
        if not waiting:
            return
        clock.sleep(_LOOK_AGAIN)


def _read_leases(store: OnlineStore, views: Mapping[str, str]) -> dict[str, Lease]:
    keys = {lease_key(sk): sk for sk in views}
    try:
        items = store.read(list(keys), consistent=True)
    except StoreNotFound:  # the first write creates the store
        return {}
    leases = {}
    for key, item in items.items():
        with suppress(CorruptItem):  # a lease only avoids wasted work, and this run's will replace it
            leases[keys[key]] = Lease.from_item(item)
    return leases


def _to_microseconds(seconds: float) -> int:
    return int(seconds * 1_000_000)
