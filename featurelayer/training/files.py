"""Write a training set's files atomically, with errors that name the file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurelayer.errors import WarehouseError
from featurelayer.tempdirs import TempDir

if TYPE_CHECKING:
    import pyarrow as pa


def default_lock_path(output: Path) -> Path:
    """Return the default lock path of an output file: `train.lock.json` for `train.parquet`."""
    return output.with_suffix(".lock.json")


def relative_output_path(output: Path, lock: Path) -> str:
    """Return an output's path relative to its lock; only the file name if the lock is in another folder."""
    folder = lock.parent.resolve()
    output = output.resolve()
    return output.relative_to(folder).as_posix() if output.is_relative_to(folder) else output.name


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON for people to read."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def validate_parquet_columns(schema: pa.Schema) -> None:
    """Raise Arrow's error type with the columns that parquet can't hold, because Arrow's message lacks their names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    refused = []
    for column in schema:
        try:
            pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([column])).close()
        except pa.ArrowException:
            refused.append(f"'{column.name}' ({column.type})")
    if refused:
        raise pa.ArrowNotImplementedError(", ".join(refused))


@contextlib.contextmanager
def name_file_in_errors(path: Path) -> Iterator[None]:
    """Name the output in errors about types that Arrow can't write."""
    import pyarrow as pa

    try:
        yield
    except pa.ArrowException as error:
        raise WarehouseError(
            f"{path.name} can't hold these columns: {error}", fix="cast the column, leave it out, or write a .csv file"
        ) from error


@contextlib.contextmanager
def write_atomically(path: Path, *, kept: bool = True) -> Iterator[Path]:
    """Yield a temporary path on the same disk; rename it to the real path only on success, and if it is to be kept."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TempDir(target=path) as folder:
            temporary = folder / "rows"
            yield temporary
            if kept:
                temporary.chmod(0o666 & ~_umask())
                temporary.replace(path)
    except OSError as error:
        raise WarehouseError(
            f"{path} can't be written: {error.strerror or error}; nothing was kept",
            fix="choose a place that exists, may be written to and has room",
        ) from error


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
