"""The values of a migration: drafts, file edits and notes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A definition to convert by hand: its place, the reason, and advice."""

    where: str
    what: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f"; {self.advice}" if self.advice else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDraft:
    """The draft of a column: its annotations (empty for none), and a type and description if it lacks them."""

    name: str
    block: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    data_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewDraft:
    """The draft of a feature view."""

    block: Mapping[str, Any]
    event_time: str | None = None
    tags: tuple[str, ...] = ()
    description: str = ""
    columns: tuple[ColumnDraft, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEdit:
    """A file before (empty if it does not exist) and after the edit; `path` is relative to the project."""

    path: Path
    before: str
    after: str

    def diff(self) -> Iterator[str]:
        """Yield the lines of a unified diff."""
        name = self.path.as_posix()
        yield from difflib.unified_diff(
            self.before.splitlines(keepends=True),
            self.after.splitlines(keepends=True),
            f"a/{name}" if self.before else "/dev/null",
            f"b/{name}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """The files to write, and the definitions to convert by hand."""

    edits: tuple[FileEdit, ...]
    notes: tuple[Note, ...]

    def write(self, root: Path) -> None:
        """Write the files of the project at `root`."""
        for edit in self.edits:
            path = root / edit.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(edit.after, encoding="utf-8")
