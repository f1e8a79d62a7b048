"""Progress on stderr: a bar on a terminal, elsewhere a line now and then in a long run."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from featurelayer.callbacks import Progress as OnProgress
from featurelayer.cli.console import Console
from featurelayer.terminal_text import printable

_PATIENCE_SECONDS = 5.0


@contextmanager
def show_steps(console: Console) -> Iterator[OnProgress]:
    """Yield a callback for named steps: one bar, with the name of the current step."""
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
def show_items(console: Console) -> Iterator[OnProgress]:
    """Yield a callback for items: a bar for each name."""
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

        def update(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(printable(name), total=total)
            bar.update(tasks[name], completed=done, total=total)

        yield update


def _log_items(console: Console) -> OnProgress:
    """Log a line every few seconds."""
    last = time.monotonic()

    def log(name: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > _PATIENCE_SECONDS:
            last = time.monotonic()
            console.note(f"{name}: {done:,}/{total:,} items")

    return log


def _log_steps(console: Console) -> OnProgress:
    """Log a line per step once a run takes longer than a few seconds."""
    started = time.monotonic()

    def log(name: str, done: int, total: int) -> None:
        if time.monotonic() - started > _PATIENCE_SECONDS:
            console.note(f"{done + 1}/{total} {name}")

    return log
