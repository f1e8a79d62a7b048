"""Renew what a process must not share with its forks: sockets, threads, and locks that a thread may hold."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """An object with resources that a child process can't use."""

    def reset_after_fork(self) -> None:
        """Start again in the child: forget connections and threads without closing them, and take new locks."""


_known: WeakSet[Forkable] = WeakSet()


def register_for_fork(owner: Forkable) -> None:
    """Have `owner.after_fork()` called in every process that is forked from this one while `owner` lives."""
    _known.add(owner)


def _reset_all() -> None:
    for owner in list(_known):
        owner.reset_after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_reset_all)
