"""The protocol of a warehouse, and the values that it takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from featurelayer.model import Column

if TYPE_CHECKING:
    import pyarrow as pa


MARK = "featurelayer training set"
"""What the comment of a table of ours starts with: only such a table is ever replaced."""


OWN_PREFIX = "__fl_"
"""What names of our temporary tables start with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Rows brought from outside: a FROM item in the engine's SQL and its columns in order.

    `parsed` names further columns of the FROM item, by the text column of a CSV whose values they hold in a type;
    `ordered` says that the rows come in one order always; `frame` that they are in memory, so that `sql` is a name
    which this connection alone knows.
    Where the engine keeps no order, `order` is a further column of the FROM item that says it, and the others are named
    by their places (`featurelayer.sql.plan.position_name`).
    """

    sql: str
    columns: tuple[Column, ...]
    parsed: Mapping[str, Column] = field(default_factory=dict)
    ordered: bool = False
    frame: bool = False
    order: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvRows:
    """The rows of a CSV file: a query of DuckDB's that reads them, its columns, and then those of `parsed`."""

    path: Path
    sql: str
    columns: tuple[Column, ...]
    parsed: Mapping[str, Column]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """One read of a relation, or of a file, as the engine plans it; None is not known.

    `rows` and `bytes` are of the relation with these columns alone, `kept` the rows that its filters are expected to
    leave.
    """

    relation: str
    columns: tuple[str, ...] = ()
    rows: int | None = None
    kept: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a query would read. `bytes` is the engine's own total; `how` names the source of the numbers.

    `text` is the engine's own plan, if it can't be expressed as scans.
    """

    scans: tuple[Scan, ...] = ()
    bytes: int | None = None
    how: str
    text: str = ""


def total_bytes(scans: Iterable[Scan]) -> int | None:
    """Return the total bytes of the scans of known size; None if there are none."""
    sizes = [scan.bytes for scan in scans if scan.bytes is not None]
    return sum(sizes) if sizes else None


@runtime_checkable
class SupportsEstimate(Protocol):
    """A warehouse that can estimate what a query will read, without running it."""

    def estimate(self, query: str) -> Estimate:
        """Return what a query would read, from EXPLAIN, a dry run or the engine's equivalent."""


@runtime_checkable
class SupportsLoad(Protocol):
    """A warehouse whose `attach` gives columns other names than their own, so that labels keep their order."""

    def load(self, rows: Path | pa.Table) -> str:
        """Load rows into a temporary table under their own names, in any order, and return its name as SQL."""


@runtime_checkable
class SupportsCacheLimit(Protocol):
    """A warehouse that works in this process and keeps what it has read until memory is full."""

    def limit_cache(self, working: int) -> AbstractContextManager[None]:
        """Limit the cache inside the block to what fits next to `working` bytes, which the statements need.

        How much they may use is not cut: they run again with all memory if the estimate was too small.
        """


class Warehouse(Protocol):
    """One connection to an engine. Its session's time zone is UTC."""

    @property
    def dialect(self) -> str:
        """The dbt adapter type."""

    @property
    def engine(self) -> str:
        """The engine's name and version, for records."""

    def describe(self, relation: str) -> tuple[Column, ...]:
        """Return the columns of a relation named as dbt names it, or raise RelationNotBuilt."""

    def quote(self, relation: str) -> str:
        """Quote a relation's name as a FROM item of this engine's SQL, so that no name can become SQL."""

    def attach(self, labels: Path | CsvRows | pa.Table) -> Source:
        """Make a parquet file, a CSV or an Arrow table readable by SQL of this connection, without copying it yet."""

    def transaction(self) -> AbstractContextManager[None]:
        """Commit everything written inside the block, or roll it back if an error leaves it."""

    def execute(self, sql: str) -> None:
        """Run one statement."""

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query, for small results."""

    def arrow(self, sql: str, *, batch_rows: int = 131_072) -> pa.RecordBatchReader:
        """Return the rows of a query as a stream of Arrow batches."""

    def write_file(
        self, query: str, path: Path, kind: Literal["parquet", "csv"], *, names: Sequence[str] | None = None
    ) -> int:
        """Write a query's rows to a file in their order and return how many there were.

        `names` are the columns' names, for an engine whose own may be cut; given where some are long.
        """

    def as_text(self, query: str, columns: Sequence[str]) -> str:
        """Return the query with these columns as the text that `write_file` puts into a CSV."""

    def write_table(
        self,
        query: str,
        name: str,
        *,
        rows: int,
        labels: Sequence[str],
        same: Callable[[pa.RecordBatchReader], None],
        note: str = "",
    ) -> None:
        """Create or replace one of our own tables from a query, or change nothing.

        The table must have `rows` rows, and `same` must not raise when it is given the table's `labels` columns.
        `note` is kept with the table (in its comment, after `MARK`), for `table_note`.
        """

    def table_note(self, name: str) -> tuple[str, int] | None:
        """Return the note and the row count of one of our own tables; None if there is no such table.

        Raises:
            WarehouseError: the table is not a training set that featurelayer wrote.
        """

    def append_table(
        self, query: str, name: str, *, rows: int, labels: Sequence[str], same: Callable[[pa.RecordBatchReader], None]
    ) -> None:
        """Add a query's rows to one of our own tables, or change nothing.

        The query must have the table's columns and `rows` rows; `same` is given the `labels` columns of these rows.
        """

    def now(self) -> datetime:
        """Return the engine's own time (aware); inside a transaction, the time of its start."""

    def drop(self, temporary: Sequence[str]) -> None:
        """Drop temporary tables that exist."""

    def close(self) -> None:
        """Close the connection and remove its temporary objects."""


def from_item(warehouse: Warehouse, rows: Path | pa.Table) -> str:
    """Return loaded rows as a FROM item in the engine's SQL, with their own column names, in any order."""
    return warehouse.load(rows) if isinstance(warehouse, SupportsLoad) else warehouse.attach(rows).sql


class OpenWarehouse(Protocol):
    """Opens the warehouse of the target and closes it at the end of the block.

    On a DuckDB file, a connection for writing excludes every other one.
    """

    def __call__(self, *, writable: bool) -> AbstractContextManager[Warehouse]: ...
