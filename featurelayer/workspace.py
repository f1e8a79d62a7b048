"""Access to one dbt project: its files, its registry and its warehouse."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from datetime import timedelta
from functools import partial

from featurelayer.callbacks import Notify, ignore_notice
from featurelayer.dbt import Project, load_registry
from featurelayer.dbt.target import validate_target
from featurelayer.dbt.yaml_lines import line_numbers
from featurelayer.online.once import Once
from featurelayer.registry import Registry
from featurelayer.warehouse import Warehouse, connect
from featurelayer.warehouse.base import OpenWarehouse

_NO_WAIT = timedelta(0)


class Workspace:
    """A dbt project with its registry and its warehouse; each is read or opened when it is first needed.

    Args:
        project: the loaded project.
        notify: called with what is doubtful but usable, such as a stale manifest.
    """

    def __init__(self, project: Project, notify: Notify | None = None) -> None:
        self.project = project
        self.notify: Notify = notify or ignore_notice
        self._registry = Once(lambda: load_registry(project, warn=notify))
        self._validate_target = Once(lambda: validate_target(project, warn=notify))

    @property
    def registry(self) -> Registry:
        """Every entity, view and service of the project, read once from dbt's manifest."""
        return self._registry()

    def validate_target(self) -> None:
        """Check once, before anything is read or written, that the manifest was built for this target.

        Raises:
            ArtifactError: it was built for another target.
        """
        self._validate_target()

    def connect(self, *, writable: bool = False, wait: timedelta = _NO_WAIT) -> Warehouse:
        """Open the warehouse of the target; `wait` bounds the time spent on a DuckDB file that is locked."""
        self.validate_target()
        return connect(self.project.connection, root=self.project.root, writable=writable, wait=wait)

    def open_warehouse(
        self, *, writable: bool = False, wait: timedelta = _NO_WAIT
    ) -> AbstractContextManager[Warehouse]:
        """Open the warehouse as a context manager that closes it."""
        return closing(self.connect(writable=writable, wait=wait))

    def opener(self, wait: timedelta = _NO_WAIT) -> OpenWarehouse:
        """Return `open_warehouse` with a wait of its own for locked files."""
        return partial(self.open_warehouse, wait=wait)

    def line_numbers(self) -> AbstractContextManager[None]:
        """Add YAML line numbers to the problems that are raised inside."""
        return line_numbers(self.project.root)
