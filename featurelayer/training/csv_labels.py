"""Read the keys and the time of a CSV file in their types, exactly or not at all.

A CSV has no types, so its columns are text, except the keys and the time, whose types the service declares. An engine's
own cast is too lenient: DuckDB reads `1.7` as the integer 2 and drops the offset of `05:00-05:00` in a TIMESTAMP,
PostgreSQL accepts `now`. So each type has a pattern of the texts that mean exactly one of its values; other text is an
error that names row and value. The file is read by DuckDB's rules with every engine, so it means the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from featurelayer.errors import LabelError, Problem, WarehouseError
from featurelayer.model import Column, DType, Kind
from featurelayer.sql.ast import col
from featurelayer.sql.dialects import dialect
from featurelayer.sql.plan import RESERVED
from featurelayer.sql.planner import match_column
from featurelayer.warehouse.base import CsvRows
from featurelayer.warehouse.csv_reader import read_csv_call

if TYPE_CHECKING:
    from featurelayer.warehouse.engines.duckdb.warehouse import DuckDBWarehouse

_EXAMPLES = 3
_ZONE = r"( ?(Z|UTC|[+-]\d{2}(:?\d{2}(:?\d{2})?)?))?"
_DAY = r"\d{4,6}-\d{1,2}-\d{1,2}"
_TIME = rf"[+-]?infinity|{_DAY}([T ]\d{{1,2}}:\d{{2}}(:\d{{2}}(\.\d*)?)?{_ZONE})?( \(BC\))?"
_MIDNIGHT = r"([T ]0?0:00(:00(\.0*)?)?( ?(Z|UTC|[+-]00(:?00)?))?)?"
_PATTERNS = {
    Kind.BOOL: "(?i)true|false|t|f|1|0",
    Kind.INT: r"[+-]?\d+(\.0*)?",
    Kind.UINT: r"\+?\d+(\.0*)?|-0+(\.0*)?",
    Kind.DATE: rf"[+-]?infinity|{_DAY}{_MIDNIGHT}( \(BC\))?",
    Kind.TIMESTAMP: _TIME,
    Kind.TIMESTAMPTZ: _TIME,
    Kind.UUID: r"[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}",
}
_FINER = r"\.\d{6}\d*[1-9]"
_HAS_RANGE = (Kind.INT, Kind.UINT, Kind.DECIMAL)
_INSTANT = DType(kind=Kind.TIMESTAMPTZ)


@dataclass(frozen=True, slots=True, kw_only=True)
class _TextColumn:
    """A text column of the file and the target type of its values."""

    name: str
    dtype: DType
    is_time: bool = False

    @property
    def text(self) -> str:
        return f"TRIM({_quote(self.name)})"

    @property
    def pattern(self) -> str:
        if self.dtype.kind is not Kind.DECIMAL:
            return _PATTERNS[self.dtype.kind]
        scale = self.dtype.scale or 0
        fraction = rf"\.\d{{1,{scale}}}0*" if scale else r"\.0+"
        return rf"[+-]?(\d+({fraction}|\.)?|{fraction})"

    @property
    def value(self) -> str:
        """Return the value in SQL; NULL if the text has none."""
        kind = dialect("duckdb").type_text(self.dtype)
        match self.dtype.kind:
            case Kind.INT | Kind.UINT:
                return rf"TRY_CAST(REGEXP_REPLACE({self.text}, '\.0*$', '') AS {kind})"
            case Kind.TIMESTAMP:  # its values are UTC, and a cast to it would drop an offset
                return f"TRY_CAST({self.text} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"
            case Kind.DATE:  # without midnight, which the pattern allows
                return rf"TRY_CAST(REGEXP_REPLACE({self.text}, '[T ][0-9].*?( \(BC\))?$', '\1') AS {kind})"
        return f"TRY_CAST({self.text} AS {kind})"

    @property
    def is_wrong(self) -> str:
        """SQL condition: the text is not a value of the type; numbers beyond its range are not wrong."""
        matches = f"REGEXP_FULL_MATCH({self.text}, '{self.pattern}')"
        wrong = f"NOT {matches}" if self.dtype.kind in _HAS_RANGE else f"NOT {matches} OR {self.value} IS NULL"
        return f"{_quote(self.name)} IS NOT NULL AND ({wrong})"

    @property
    def is_finer(self) -> str:
        times = (Kind.TIMESTAMP, Kind.TIMESTAMPTZ)
        return f"REGEXP_MATCHES({self.text}, '{_FINER}')" if self.dtype.kind in times else "FALSE"

    @property
    def is_beyond(self) -> str:
        """SQL condition: the number is beyond the range of the type, so it matches no key."""
        is_beyond = f"{_quote(self.name)} IS NOT NULL AND {self.value} IS NULL"
        return is_beyond if self.dtype.kind in _HAS_RANGE else "FALSE"


def read_csv_labels(path: Path, *, keys: Mapping[str, DType], time: str | None, csv_types: bool = False) -> CsvRows:
    """Return the rows of a CSV file with its keys and its time in their types.

    A key column gets its type. If it holds numbers beyond the type's range, which match nothing, it stays text, so that
    no value is lost. The time stays text.

    Args:
        path: the file, with a header.
        keys: the types of the key columns by name; a name that the file lacks is left to the planner.
        time: the name of the label column with the time.
        csv_types: let DuckDB guess the types of all other columns and of the time.

    Raises:
        LabelError: the file can't be read, or values are not of these types; names column, row and value of all.
    """
    import duckdb

    from featurelayer.warehouse.engines.duckdb.warehouse import DuckDBWarehouse

    with closing(DuckDBWarehouse(duckdb.connect())) as files:
        plain = _describe(files, path, read_csv_call(path))
        typed = list(_find_typed_columns(plain, keys, time))
        guessed = {each.name for each in typed if not each.is_time} if csv_types else None
        source = read_csv_call(path, text=guessed)
        columns = _describe(files, path, source) if csv_types else plain
        if csv_types and time is not None:
            time_column = match_column(time, columns)
            typed = [
                each for each in typed if not each.is_time or (time_column and time_column.dtype.kind is Kind.TEXT)
            ]
        counts = _count_misfits(files, source, typed)
        problems = list(_find_problems(files, source, typed, counts))
        if problems:
            raise LabelError(problems)
        beyond = {each.name for each, (_, _, is_beyond) in zip(typed, counts, strict=True) if is_beyond}
    replaced = {each.name: each for each in typed if not each.is_time and each.name not in beyond}
    hidden = [each for each in typed if each.name not in replaced or each.is_time]
    parsed = {
        each.name: Column(name=f"{RESERVED}typed_{position}", dtype=each.dtype) for position, each in enumerate(hidden)
    }
    projections = [
        f"{replaced[column.name].value} AS {_quote(column.name)}" if column.name in replaced else _quote(column.name)
        for column in columns
    ]
    projections += [f"{each.value} AS {_quote(parsed[each.name].name)}" for each in hidden]
    return CsvRows(
        path=path,
        sql=f"SELECT {', '.join(projections)} FROM {source}",  # noqa: S608 (quoted)
        columns=tuple(
            Column(name=column.name, dtype=replaced[column.name].dtype) if column.name in replaced else column
            for column in columns
        ),
        parsed=parsed,
    )


def _find_typed_columns(
    columns: tuple[Column, ...], keys: Mapping[str, DType], time: str | None
) -> Iterator[_TextColumn]:
    for name, dtype in keys.items():
        column = match_column(name, columns)
        if column is not None and dtype.kind is not Kind.TEXT:
            yield _TextColumn(name=column.name, dtype=dtype)
    column = match_column(time, columns) if time is not None else None
    if column is not None:
        yield _TextColumn(name=column.name, dtype=_INSTANT, is_time=True)


def _describe(files: DuckDBWarehouse, path: Path, source: str) -> tuple[Column, ...]:
    try:
        return files.columns_of(f"SELECT * FROM {source}")  # noqa: S608 (quoted)
    except WarehouseError as error:
        raise LabelError([Problem(
            what=f"the labels can't be read: {error}", where=str(path),
            fix="give a parquet file, a CSV file with a header, or a relation",
        )]) from error  # fmt: skip


def _count_misfits(files: DuckDBWarehouse, source: str, typed: Sequence[_TextColumn]) -> list[tuple[int, int, int]]:
    """Count per column, in one read of the file, texts that are wrong, too precise, and beyond the type's range."""
    if not typed:
        return []
    counts = [
        f"COUNT(*) FILTER (WHERE {condition})"
        for each in typed
        for condition in (each.is_wrong, each.is_finer, each.is_beyond)
    ]
    found = files.rows(f"SELECT {', '.join(counts)} FROM {source}")[0]  # noqa: S608 (quoted)
    return list(zip(found[::3], found[1::3], found[2::3], strict=True))


def _find_problems(
    files: DuckDBWarehouse, source: str, typed: Sequence[_TextColumn], counts: Sequence[tuple[int, int, int]]
) -> Iterator[Problem]:
    """Yield a problem for texts that are not values of their type; reads the file again for each such column."""
    for each, (wrong, finer, _) in zip(typed, counts, strict=True):
        if wrong:
            kind = "a timestamp" if each.is_time else str(each.dtype)
            examples = _format_examples(files, source, each, each.is_wrong)
            yield Problem(
                what=f"label column '{each.name}' must be {kind}; it holds {examples}",
                fix="correct these rows; a value must be exactly one of the type",
            )
        if finer:
            yield Problem(
                what=f"label column '{each.name}' has values finer than a microsecond: "
                f"{_format_examples(files, source, each, each.is_finer)}",
                fix="round them to microseconds; truncating here could move a label past an event",
            )


def _format_examples(files: DuckDBWarehouse, source: str, each: _TextColumn, condition: str) -> str:
    name = _quote(each.name)
    numbered = f"SELECT {name}, ROW_NUMBER() OVER () - 1 AS __fl_row FROM {source}"  # noqa: S608 (quoted)
    rows = files.rows(
        f"SELECT {name}, __fl_row FROM ({numbered}) WHERE {condition} ORDER BY __fl_row LIMIT {_EXAMPLES}"  # noqa: S608 (quoted)
    )
    return f"{', '.join(f'{value!r} in row {row}' for value, row in rows)} (rows are counted from 0)"


def _quote(name: str) -> str:
    return str(col(name).sql(dialect="duckdb"))
