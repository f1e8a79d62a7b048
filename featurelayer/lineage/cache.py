"""A file cache of lineage per model, valid only for the same SQL and the same inputs.

The file starts with a digest of the rest, so that a half-written or damaged one counts as none. It is replaced as a
whole; of two processes that write at once, the later one's stays.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Container
from pathlib import Path

import msgspec
from sqlglot import _version

from featurelayer.lineage.values import ColumnKind, Fact, RowStep, SourceColumn, ValueStep

_FORMAT = f"7 {_version.__version__}"
"""Raise the number when what is found changes, so that files of older releases count as none."""
_DIGEST = 16


class StoredColumn(msgspec.Struct):
    """A column of a model's output."""

    name: str
    key: str
    kind: ColumnKind
    sources: tuple[SourceColumn, ...] = ()
    steps: tuple[ValueStep, ...] = ()
    facts: tuple[Fact, ...] = ()
    type: str = ""
    sure: bool = False
    form: tuple[str, tuple[str, ...]] = ("", ())


class Stored(msgspec.Struct):
    """The lineage of one model; `mark` is a digest of the part that downstream models depend on."""

    base: str = ""
    where: tuple[str, ...] = ()
    columns: list[StoredColumn] = []
    steps: tuple[RowStep, ...] = ()
    sources: tuple[SourceColumn, ...] = ()
    facts: tuple[Fact, ...] = ()
    open: bool = False
    names: tuple[str, ...] = ()
    complete: bool = False
    unique: tuple[str, ...] | None = None
    spelled: dict[str, str] = {}
    mark: str = ""
    problem: str = ""


class _Entry(msgspec.Struct, array_like=True):
    key: str
    stored: msgspec.Raw


class _File(msgspec.Struct):
    format: str
    models: dict[str, _Entry]


class Cache:
    """Entries by unique id; writing drops those of removed models."""

    def __init__(self, entries: dict[str, _Entry] | None = None) -> None:
        self._entries = entries or {}
        self._changed = False

    @classmethod
    def read(cls, path: Path) -> Cache:
        """Read a cache file; it counts as empty if missing, damaged or written by another release."""
        try:
            data = path.read_bytes()
            if data[:_DIGEST] != _digest(data[_DIGEST:]):
                return cls()
            file = msgspec.msgpack.decode(data[_DIGEST:], type=_File)
        except (OSError, msgspec.DecodeError):
            return cls()
        return cls(file.models if file.format == _FORMAT else None)

    def find(self, unique_id: str, key: str) -> Stored | None:
        """Return the entry stored under exactly that key, or None."""
        entry = self._entries.get(unique_id)
        if entry is None or entry.key != key:
            return None
        try:
            return msgspec.msgpack.decode(entry.stored, type=Stored)
        except msgspec.DecodeError:
            return None

    def keep(self, unique_id: str, key: str, stored: Stored) -> None:
        """Store an entry."""
        self._entries[unique_id] = _Entry(key, msgspec.Raw(msgspec.msgpack.encode(stored)))
        self._changed = True

    def write(self, path: Path, keep: Container[str] | None = None) -> None:
        """Replace the file with the entries of these models, or of all, if anything has changed.

        If it can't be written, the next run repeats the work.
        """
        entries = {unique_id: entry for unique_id, entry in self._entries.items() if keep is None or unique_id in keep}
        if not self._changed and len(entries) == len(self._entries):
            return
        data = msgspec.msgpack.encode(_File(format=_FORMAT, models=entries))
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_digest(data) + data)
                Path(name).replace(path)
            except OSError:
                Path(name).unlink(missing_ok=True)
                raise


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()
