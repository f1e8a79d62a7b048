"""Progress on stderr: a bar on a terminal, nothing elsewhere unless it takes long."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from featurelayer.cli.console import Console

_PATIENCE_SECONDS = 5.0


@contextmanager
def steps(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a callback for named steps: `(name, done, total)`."""
    if console.quiet or console.as_json or not sys.stderr.isatty():
        yield _patient(console)
        return
    from rich.console import Console as Terminal
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Terminal(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("", total=None)
        yield lambda name, done, total: bar.update(task, description=name, completed=done, total=total)


@contextmanager
def rows(console: Console) -> Iterator[Callable[[str, int], None]]:
    """Yield a callback for rows done by name: `(name, rows since the last call)`."""
    if console.quiet or console.as_json or not sys.stderr.isatty():
        yield lambda _name, _rows: None
        return
    from rich.console import Console as Terminal
    from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

    tasks: dict[str, TaskID] = {}
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed:,} rows"),
        TimeElapsedColumn(),
        console=Terminal(stderr=True),
        transient=True,
    ) as bar:

        def advance(name: str, count: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=None)
            bar.advance(tasks[name], count)

        yield advance


def _patient(console: Console) -> Callable[[str, int, int], None]:
    """Log lines where there is no terminal, only once a run takes long enough to wonder about."""
    started = time.monotonic()

    def tell(name: str, done: int, total: int) -> None:
        if time.monotonic() - started > _PATIENCE_SECONDS:
            console.note(f"{done + 1}/{total} {name}")

    return tell
