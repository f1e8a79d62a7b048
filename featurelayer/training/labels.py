"""Read labels from files, frames and relations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurelayer.dbt.artifacts import read_referable
from featurelayer.errors import LabelError, Problem, WarehouseError, did_you_mean
from featurelayer.model import DType
from featurelayer.training.csv_labels import read_csv_labels
from featurelayer.training.original_labels import OriginalLabels, is_pandas, widen_float16
from featurelayer.warehouse.base import Source, Warehouse

if TYPE_CHECKING:
    import pyarrow as pa

    from featurelayer.training.lock import Lock

_FILES = (".parquet", ".csv")


def normalize_labels(labels: Any) -> Path | str | pa.Table:
    """Return labels as a path, a relation's name, or an Arrow table, without copying if possible.

    Raises:
        LabelError: the labels are none of these, or the file does not exist.
    """
    import pyarrow as pa

    if isinstance(labels, Path) or (isinstance(labels, str) and labels.lower().endswith(_FILES)):
        path = Path(labels)
        if path.suffix.lower() not in _FILES:
            raise LabelError([Problem(what=f"labels can't be read from {path}", fix="give a .parquet or a .csv file")])
        if not path.is_file():
            raise LabelError([Problem(what=f"there is no file {path}", where="labels", fix="correct the path")])
        return path
    if isinstance(labels, str):
        return labels
    if isinstance(labels, pa.Table):
        return _validate_encodings(labels)
    try:
        if is_pandas(labels):
            return _validate_encodings(pa.Table.from_pandas(labels, preserve_index=False))
        if hasattr(labels, "__arrow_c_stream__"):
            return _validate_encodings(pa.table(labels))
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise LabelError(
            [
                Problem(
                    what=f"the frame can't be converted: {error}",
                    fix="give each column one type that Arrow has, and a name of its own",
                )
            ]
        ) from error
    raise LabelError(
        [
            Problem(
                what=f"labels can't be a {type(labels).__name__}",
                fix="give a pandas, polars or Arrow table, a path, or the name of a dbt model or relation",
            )
        ]
    )


def _validate_encodings(table: pa.Table) -> pa.Table:
    """Return a table, or raise if it has columns that engines and files do not support."""
    import pyarrow as pa

    tests = (pa.types.is_union, pa.types.is_run_end_encoded, pa.types.is_list_view, pa.types.is_large_list_view)
    refused = [field for field in table.schema if any(test(field.type) for test in tests)]
    if refused:
        fix = "cast it to a plain type, such as a list, or leave it out"
        raise LabelError(Problem(what=f"label column '{field.name}' is a {field.type}", fix=fix) for field in refused)
    return table


def keep_original_labels(labels: Any, rows: Path | str | pa.Table) -> OriginalLabels | None:
    """Return the labels in their original types, or None for a CSV or a relation.

    `rows` are the labels as `normalize_labels` returns them.
    """
    if isinstance(rows, str) or (isinstance(rows, Path) and rows.suffix.lower() == ".csv"):
        return None
    frame = labels.copy(deep=False) if is_pandas(labels) else labels
    return OriginalLabels(rows=rows, frame=frame)


def portable_path(path: Path | pa.Table, project: Path) -> str | None:
    """Return the labels' path for a lock: relative to here or to the project, never an absolute one.

    A file elsewhere is recorded by its name; a frame has no path.
    """
    if not isinstance(path, Path):
        return None
    if not path.is_absolute():
        return path.as_posix()
    for folder in (Path.cwd(), project):
        if path.resolve().is_relative_to(folder.resolve()):
            return path.resolve().relative_to(folder.resolve()).as_posix()
    return path.name


def find_locked_labels(lock: Lock, project: Path) -> Path | str:
    """Return the labels that a lock names: a file relative to here, the lock or the project, or a relation.

    Raises:
        LabelError: they were a frame in memory, or the file is in none of these places.
    """
    fix = "pass the labels of that build with --labels"
    name = lock.request.labels
    if name is None:
        what = f"the labels of {lock.name} were a frame in memory, which it does not hold"
        raise LabelError([Problem(what=what, fix=fix)])
    if not name.lower().endswith(_FILES):
        return name
    folders = [Path(), *([lock.path.parent] if lock.path else []), project]
    file = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if file is None:
        raise LabelError([Problem(what=f"label file {name} of {lock.name} does not exist", fix=fix)])
    return file


def attach_labels(
    warehouse: Warehouse,
    labels: Path | str | pa.Table,
    *,
    target_path: Path,
    keys: Mapping[str, DType],
    time: str | None,
    csv_types: bool,
) -> tuple[Source, str]:
    """Return labels as rows of the warehouse's SQL, and their name in the lock.

    `keys` are the types of the key columns by name and `time` is the time column: a CSV has no types.
    """
    if isinstance(labels, str):
        return _find_relation(warehouse, labels, target_path)
    if isinstance(labels, Path) and labels.suffix.lower() == ".csv":
        rows = read_csv_labels(labels, keys=keys, time=time, csv_types=csv_types)
        return warehouse.attach(rows), labels.name
    if isinstance(labels, Path):
        return warehouse.attach(labels), labels.name
    return warehouse.attach(widen_float16(labels)), "a frame in memory"


def _find_relation(warehouse: Warehouse, name: str, target_path: Path) -> tuple[Source, str]:
    """Return labels in the warehouse: a dbt model by name, else a relation as written in SQL."""
    models = read_referable(target_path)
    relation = models[name].relation_name if name in models else None
    try:
        columns = warehouse.describe(relation or name)
    except WarehouseError as error:
        if relation:
            what, fix = f"the labels' model '{name}' is not built in the warehouse", f"run `dbt build -s {name}`"
        else:
            what = f"there are no labels '{name}': no file, no dbt model and no relation of that name"
            what += did_you_mean(name, models)
            fix = "pass a path that ends in .parquet or .csv, a model or a relation"
        raise LabelError([Problem(what=what, fix=fix)]) from error
    return Source(sql=warehouse.quote(relation or name), columns=columns), relation or name
