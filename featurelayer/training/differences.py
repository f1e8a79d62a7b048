"""Compare two outputs: which rows differ, and what is known of the view's rows that they come from.

Both are read as streams; only counts, a few row numbers and the ids of tied labels are kept in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from featurelayer.training.lock import Lock
from featurelayer.warehouse.compare import differing, side_by_side
from featurelayer.warehouse.digest import TableDigest

_EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class OldOutput:
    """The file that the lock describes, unchanged since. A CSV is read as text.

    The lock's rows are `rows` of the file from `start` on.
    """

    path: Path
    is_text: bool
    start: int
    rows: int

    @contextmanager
    def batches(self, columns: Sequence[str]) -> Iterator[Iterator[pa.RecordBatch]]:
        """Stream these columns."""
        if self.is_text:
            with _open_csv(self.path, columns) as reader:
                yield _slice_rows(reader, self.start, self.rows)
            return
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path, memory_map=True) as file:
            yield _slice_rows(file.iter_batches(columns=list(columns)), self.start, self.rows)


@dataclass(slots=True, kw_only=True)
class ColumnTally:
    """The number of differing rows of a column, and the first of them, counted from 0."""

    rows: int = 0
    examples: list[int] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class JoinTally:
    """Counts of labels by what is known of their current row. All but `late_anywhere` count differing labels.

    `late`: the row arrived after the build. `missing`: there is no row. `tied`: the row was chosen by its content only.
    `unexplained`: none of these. `late_anywhere` counts all labels whose row arrived after the build.
    """

    differing: int = 0
    late: int = 0
    missing: int = 0
    tied: int = 0
    unexplained: int = 0
    late_anywhere: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedJoin:
    """A join with differing columns, and further columns that describe its row.

    `present` is NULL only without a row; `tied` are the ascending ids of labels whose row was chosen by its content.
    """

    name: str
    columns: tuple[str, ...]
    present: str | None
    arrivals: tuple[str, ...]
    tied: pa.Int64Array
    tally: JoinTally = field(default_factory=JoinTally)


def find_old_output(lock: Lock) -> OldOutput | str:
    """Return the output of a lock if it is unchanged, else the reason why it can't be compared."""
    if lock.path is None or lock.output is None:
        return "the lock names no file"
    path = lock.path.parent / lock.output.file
    if not path.is_file():
        return f"{path.name} is gone"
    changed = f"{path.name} is no longer the file that the lock describes"
    if lock.output.sha256 is not None:
        with path.open("rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == lock.output.sha256
    else:
        same = _parquet_checksums(path, lock) == lock.columns
    is_text = lock.output.sha256 is not None
    return OldOutput(path=path, is_text=is_text, start=lock.start, rows=lock.labels.rows) if same else changed


def count_differences(
    old: Iterable[pa.RecordBatch] | None,
    new: Iterable[pa.RecordBatch],
    watched: Sequence[ChangedJoin],
    since: datetime,
) -> dict[str, ColumnTally]:
    """Count differences in the tallies of `watched` and by column; without `old` only late rows are counted."""
    columns = {name: ColumnTally() for join in watched for name in join.columns}
    pairs = side_by_side(old, new) if old is not None else ((None, batch) for batch in new)
    start = 0
    for before, now in pairs:
        for join in watched:
            late = _late_mask(join, now, since)
            join.tally.late_anywhere += _count_true(late)
            if before is not None:
                masks = {name: differing(before.column(name), now.column(name)) for name in join.columns}
                for name, mask in masks.items():
                    _add_mask(columns[name], mask, start)
                _count_causes(join, reduce(pc.or_, masks.values()), late, now, start)
        start += now.num_rows
    return columns if old is not None else {}


def _count_causes(
    join: ChangedJoin, different: pa.BooleanArray, late: pa.BooleanArray, now: pa.RecordBatch, start: int
) -> None:
    rows = pa.array(range(start, start + now.num_rows), pa.int64())
    nearby = join.tied.slice(_find_position(join.tied, start), now.num_rows)
    tied = pc.is_in(rows, value_set=nearby)
    missing = pc.is_null(now.column(join.present)) if join.present else _false_mask(now.num_rows)
    known = pc.or_(pc.or_(late, tied), missing)
    join.tally.differing += _count_true(different)
    join.tally.late += _count_true(pc.and_(different, late))
    join.tally.missing += _count_true(pc.and_(different, missing))
    join.tally.tied += _count_true(pc.and_(different, tied))
    join.tally.unexplained += _count_true(pc.and_not(different, known))


def _find_position(ids: pa.Int64Array, start: int) -> int:
    """Return the position of the first id that is at least `start`; ids ascend."""
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if ids[middle].as_py() < start else (low, middle)
    return low


def _add_mask(column: ColumnTally, mask: pa.BooleanArray, start: int) -> None:
    count = _count_true(mask)
    if count and len(column.examples) < _EXAMPLES:
        first = pc.indices_nonzero(mask).slice(0, _EXAMPLES - len(column.examples))
        column.examples += [start + row for row in first.to_pylist()]
    column.rows += count


def _late_mask(join: ChangedJoin, batch: pa.RecordBatch, since: datetime) -> pa.BooleanArray:
    naive = pa.timestamp("us")
    moment = pa.scalar(since.astimezone(UTC).replace(tzinfo=None), naive)
    mask = _false_mask(batch.num_rows)
    for name in join.arrivals:
        times = pc.cast(batch.column(name), naive, safe=False)
        mask = pc.or_(mask, pc.fill_null(pc.greater(times, moment), False))
    return mask


def _false_mask(rows: int) -> pa.BooleanArray:
    return pa.repeat(pa.scalar(False), rows)


def _count_true(mask: pa.BooleanArray) -> int:
    return int(mask.true_count)


def _slice_rows(batches: Iterable[pa.RecordBatch], start: int, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a stream from `start` on."""
    for batch in batches:
        skipped = min(start, batch.num_rows)
        piece = batch.slice(skipped, rows)
        start, rows = start - skipped, rows - piece.num_rows
        if piece.num_rows:
            yield piece


def _parquet_checksums(path: Path, lock: Lock) -> dict[str, str] | None:
    """Return the column checksums of the lock's rows in a parquet file; None if it is not parquet or has other rows."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            if file.metadata.num_rows != lock.output_rows:
                return None
            digest = TableDigest(file.schema_arrow.names)
            for batch in _slice_rows(file.iter_batches(), lock.start, lock.labels.rows):
                digest.update(batch)
            return digest.finish()
    except (pa.ArrowException, OSError):
        return None


def _open_csv(path: Path, columns: Sequence[str]) -> pa.csv.CSVStreamingReader:
    """Read a CSV as it was written: every value as text, an empty one as NULL, a quoted empty one as empty text."""
    from pyarrow import csv

    return csv.open_csv(
        path,
        parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()),
            include_columns=list(columns),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
