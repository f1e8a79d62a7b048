"""Append rows to an existing training set: only the new rows are computed, and the lock covers the whole set.

A parquet or CSV file is rewritten, old rows then new ones, and replaces the old file atomically: readers see the old or
the new set, and it stays one file. That costs reading and writing, but no join. The lock keeps a part for each build.
The column checksums of a parquet file equal those of one build of all labels; for a CSV and a table, which are not read
again, they are checksums of the parts' checksums.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa

from featurelayer.errors import LockError, Problem
from featurelayer.training.definition import BuildDefinition, validate_same_definition
from featurelayer.training.lock import Lock, read_lock, seal
from featurelayer.training.lock_parts import lock_part, merge_reports
from featurelayer.warehouse.base import Warehouse
from featurelayer.warehouse.digest import TableDigest

# DuckDB's row group size; otherwise many small appends would leave many small groups.
_GROUP = 122_880


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingTable:
    """An existing table, with its lock if there is one."""

    lock: Lock | None


def find_existing_lock(path: Path, lock_path: Path, definition: BuildDefinition) -> Lock | None:
    """Return the lock of the set in a file, checked against the rows to append; None if neither exists.

    Raises:
        LockError: only one exists, the lock is of another file, or the new rows have a different definition.
    """
    if not path.exists() and not lock_path.exists():
        return None
    if not path.exists():
        what = f"file {path} does not exist, although {lock_path.name} describes it"
        raise _append_error(what, "restore it, or delete the lock to start a new set")
    lock = read_lock(lock_path)
    if lock.output is None or (lock_path.parent / lock.output.file).resolve() != path.resolve():
        raise _append_error(f"{lock_path.name} is not the lock of {path}", "name that with --lock")
    validate_same_definition(lock, definition)
    return lock


def find_existing_table(
    warehouse: Warehouse, name: str, lock_path: str | Path | None, definition: BuildDefinition
) -> ExistingTable | None:
    """Return an existing table, checked like a file; None if it does not exist.

    Without a lock the table's note shows only whether the definitions differ, not how.

    Raises:
        LockError: the definitions differ, or the table does not match its lock.
        WarehouseError: the table is not a training set.
    """
    contents = warehouse.table_note(name)
    if contents is None:
        if lock_path is not None and Path(lock_path).exists():
            what = f"table {name} does not exist, although {Path(lock_path).name} describes it"
            raise _append_error(what, "restore it, or delete the lock to start a new set")
        return None
    note, rows = contents
    if lock_path is None:
        if note != definition.checksum:
            what = f"{name} was built with other definitions, columns or another service"
            raise _append_error(what, "rebuild it without --append; with a --lock the message lists what has changed")
        return ExistingTable(lock=None)
    lock = read_lock(lock_path)
    validate_same_definition(lock, definition)
    if rows != lock.labels.rows:
        what = f"{name} has {rows:,} rows, and {lock.name} describes {lock.labels.rows:,}"
        raise _append_error(what, "pass the lock of that table, or rebuild it without --append")
    return ExistingTable(lock=lock)


def validate_lock_unchanged(before: Lock) -> None:
    """Raise if another build has written the set since its lock was read.

    Raises:
        LockError: the lock has changed.
    """
    assert before.path is not None
    if read_lock(before.path) != before:
        what = f"another build has written {before.name} while this one ran; nothing was kept"
        raise _append_error(what, "run it again")


def _append_error(what: str, fix: str) -> LockError:
    return LockError([Problem(what=what, where="--append", fix=fix)])


# --- the lock -------------------------------------------------------------------------------------------------------


def extend_lock(lock: Lock, new: Mapping[str, Any], columns: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the lock content of an extended set; `new` is the lock of the new rows, `columns` cover all rows."""
    added = read_lock(new)
    if columns is None:
        columns = _chain_checksums(lock, added)
    parts = (*(lock.parts or (lock_part(lock),)), lock_part(added))
    newest = [part.labels.newest for part in parts if part.labels.newest is not None]
    labels = {name: columns[name] for name in added.labels.columns}
    return seal(
        {
            **new,
            "labels": {
                **new["labels"],
                "rows": sum(part.labels.rows for part in parts),
                "sha256": hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest(),
                "newest": max(newest, default=None),
            },
            "columns": dict(columns),
            "report": merge_reports(parts, new["report"]),
            "parts": msgspec.to_builtins(parts),
        }
    )


def validate_new_labels(lock: Lock, new: Mapping[str, Any]) -> None:
    """Raise if the set already has the same labels: a repeated job must not duplicate them.

    Raises:
        LockError: the labels are in the set.
    """
    names, rows, start = new["labels"]["columns"], new["labels"]["rows"], 0
    for part in lock.parts or (lock_part(lock),):
        if rows and all(part.columns.get(name) == new["columns"][name] for name in names):
            what = f"{lock.name}: the same {rows:,} labels are in the set already, from row {start:,} on"
            raise _append_error(what, "pass only new labels; if this ran twice, there is nothing to do")
        start += part.labels.rows


def _chain_checksums(lock: Lock, new: Lock) -> dict[str, str]:
    parts = [*(part.columns for part in lock.parts or (lock_part(lock),)), new.columns]
    return {name: hashlib.sha256("\n".join(part[name] for part in parts).encode()).hexdigest() for name in new.columns}


# --- files ----------------------------------------------------------------------------------------------------------


def concatenate_files(
    lock: Lock, old: Path, new: Path, to: Path, kind: Literal["parquet", "csv"]
) -> dict[str, str] | None:
    """Write the rows of two files into a third; return the checksums of a parquet file's columns.

    Raises:
        LockError: the old file does not match its lock, or the new one has other columns.
    """
    if kind == "csv":
        _concatenate_csv(lock, old, new, to)
        return None
    return _concatenate_parquet(lock, old, new, to)


def _concatenate_parquet(lock: Lock, old: Path, new: Path, to: Path) -> dict[str, str]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(old, memory_map=True) as before, pq.ParquetFile(new, memory_map=True) as added:
        _validate_same_types(lock, before.schema_arrow, added.schema_arrow)
        # Names and types only: nullability and other metadata differ between writers.
        schema = pa.schema(list(zip(before.schema_arrow.names, before.schema_arrow.types, strict=True)))
        digest = TableDigest(schema.names)
        with pq.ParquetWriter(to, schema) as writer:
            waiting = _RowGroupWriter(writer, schema)
            for batch in _iterate_batches(before):
                digest.update(batch)
                waiting.add(batch)
            if digest.so_far() != lock.columns:
                raise _file_error(lock, old)
            for batch in _iterate_batches(added):
                digest.update(batch)
                waiting.add(batch)
            waiting.write()
        return digest.finish()


class _RowGroupWriter:
    """Collects batches into row groups."""

    def __init__(self, writer: Any, schema: pa.Schema) -> None:
        self._writer, self._schema = writer, schema
        self._batches: list[pa.RecordBatch] = []
        self._rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        self._batches.append(pa.RecordBatch.from_arrays(batch.columns, schema=self._schema))
        self._rows += batch.num_rows
        if self._rows >= _GROUP:
            self.write()

    def write(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_batches(self._batches), row_group_size=self._rows)
        self._batches, self._rows = [], 0


def _iterate_batches(file: Any) -> Iterator[pa.RecordBatch]:
    for group in range(file.num_row_groups):
        yield from file.read_row_group(group).to_batches()


def _validate_same_types(lock: Lock, then: pa.Schema, now: pa.Schema) -> None:
    if then.names != now.names or then.types != now.types:
        found = [
            f"column {one.name} is {one.type} in the set, {other.type} in the new rows"
            for one, other in zip(then, now, strict=False)
            if one.type != other.type
        ] or [f"the columns of the set are {', '.join(then.names)}, those of the new rows {', '.join(now.names)}"]
        fix = "pass labels of the same types, or rebuild the set without --append"
        raise LockError([Problem(what=f"{lock.name}: {what}", where="--append", fix=fix) for what in found])


def _concatenate_csv(lock: Lock, old: Path, new: Path, to: Path) -> None:
    assert lock.output is not None
    digest = hashlib.sha256()
    with old.open("rb") as before, new.open("rb") as added, to.open("wb") as joined:
        heading = _read_header(added)
        if heading != _read_header(before):
            raise _file_error(lock, old)
        before.seek(0)
        while piece := before.read(1 << 20):
            digest.update(piece)
            joined.write(piece)
        if digest.hexdigest() != lock.output.sha256:
            raise _file_error(lock, old)
        while piece := added.read(1 << 20):
            joined.write(piece)


def _read_header(file: Any) -> bytes:
    """Read the header line, which continues while a quote is open."""
    header = b""
    for line in file:
        header += line
        if header.count(b'"') % 2 == 0:
            break
    return header


def _file_error(lock: Lock, file: Path) -> LockError:
    what = f"{file.name} is no longer the file that {lock.name} describes"
    return _append_error(what, "restore it, or rebuild the set without --append")
