"""Callbacks by which long operations report progress and pass on notices."""

from __future__ import annotations

from collections.abc import Callable

Notify = Callable[[str], None]
"""Called with a message for the user: something doubtful but usable, or why an operation waits."""

Progress = Callable[[str, int, int], None]
"""Called with the name of what is being done, how much of it is done, and how much there is in all.

The count is cumulative: each call states where the operation stands, not what was added since the last call.
"""


def ignore_notice(_message: str) -> None:
    """Drop a message, where the caller did not ask for any."""


def ignore_progress(_name: str, _done: int, _total: int) -> None:
    """Drop a progress call, where the caller did not ask for any."""
