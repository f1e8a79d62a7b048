"""Progress on stderr: a bar on a terminal, nothing elsewhere unless it takes long."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from featurelayer.cli.console import Console
from featurelayer.terminal_text import printable

_PATIENCE_SECONDS = 5.0


@contextmanager
def show_steps(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a callback for named steps: `(name, done, total)`."""
    if console.quiet or console.as_json or not sys.stderr.isatty():
        yield _log_steps(console)
        return
    from rich.console import Console as Terminal
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Terminal(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("", total=None)
        yield lambda name, done, total: bar.update(task, description=printable(name), completed=done, total=total)


@contextmanager
def show_items(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a callback for items done by name: `(name, items since the last call, items in all)`."""
    if console.quiet or console.as_json or not sys.stderr.isatty():
        yield _log_items(console)
        return
    from rich.console import Console as Terminal
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    tasks: dict[str, TaskID] = {}
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,} items"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Terminal(stderr=True),
        transient=True,
    ) as bar:

        def advance(name: str, count: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(printable(name), total=total)
            bar.advance(tasks[name], count)

        yield advance


def _log_items(console: Console) -> Callable[[str, int, int], None]:
    """Log a line now and then where there is no terminal."""
    last, done = time.monotonic(), dict[str, int]()

    def tell(name: str, count: int, total: int) -> None:
        nonlocal last
        done[name] = done.get(name, 0) + count
        if time.monotonic() - last > _PATIENCE_SECONDS:
            last = time.monotonic()
            console.note(f"{name}: {done[name]:,}/{total:,} items")

    return tell


def _log_steps(console: Console) -> Callable[[str, int, int], None]:
    """Log lines where there is no terminal, only once a run takes long enough to wonder about."""
    started = time.monotonic()

    def tell(name: str, done: int, total: int) -> None:
        if time.monotonic() - started > _PATIENCE_SECONDS:
            console.note(f"{done + 1}/{total} {name}")

    return tell
