"""Any warehouse that dbt has an adapter for: its connection and its cursor, with the credentials of the dbt target.

For engines without a driver of ours. dbt is imported in this package and nowhere else, and its tables of Python objects
(agate) are not used: rows leave through the driver's cursor, batch by batch, as Arrow where the driver has it. Labels
are loaded into a temporary table by INSERT, a thousand rows at a time, so a file of millions is better put into the
warehouse first and named as a relation.

A connection is one session: what is temporary ends with it, and `close` drops it before. What an engine has beyond that
is in its `AdapterFacts`; what it lacks is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlglot import exp

from featurelayer.errors import ConfigError, LabelError, Problem, WarehouseError
from featurelayer.model import Column, Kind
from featurelayer.sql.dialects import dialect
from featurelayer.sql.inserts import insert_statements
from featurelayer.warehouse.base import CsvRows, Estimate, Source
from featurelayer.warehouse.dbt_adapter.facts import AdapterFacts
from featurelayer.warehouse.dbt_adapter.session import AdapterSession

if TYPE_CHECKING:
    import pyarrow as pa

ORDER = "__fl_row"
_NESTED = (Kind.BYTES, Kind.ARRAY, Kind.STRUCT, Kind.MAP, Kind.UNKNOWN)
_LONGEST_WAIT = timedelta(seconds=30)


def is_installed(kind: str) -> bool:
    """Return whether dbt's adapter for a target type can be imported."""
    try:
        return find_spec(f"dbt.adapters.{kind}") is not None
    except (ImportError, ValueError):
        return False


def require_adapter(kind: str) -> None:
    """Raise unless dbt's adapter for a target type can be imported.

    Raises:
        ConfigError: the adapter can't be imported.
    """
    if not is_installed(kind):
        what, fix = f"dbt's own adapter for {kind} is not installed", f"pip install dbt-{kind}"
        raise ConfigError([Problem(what=what, where="profiles.yml", fix=fix)])


def connect(
    connection: Mapping[str, Any], facts: AdapterFacts, *, writable: bool = False, wait: timedelta = timedelta(0)
) -> AdapterWarehouse:
    """Connect with a target through dbt's own adapter for it.

    `wait` is how long to wait while another featurelayer process writes to the same schema.

    Raises:
        ConfigError: the adapter does not take the target's credentials.
        WarehouseError: the engine can't be reached.
    """
    warehouse = AdapterWarehouse(connection, facts, wait=max(wait, _LONGEST_WAIT))
    if writable:
        warehouse.create_schema()
    return warehouse


class AdapterWarehouse(AdapterSession):
    """A session of any warehouse, through dbt's adapter, that labels are loaded into and results written from."""

    def __init__(self, connection: Mapping[str, Any], facts: AdapterFacts, *, wait: timedelta = _LONGEST_WAIT) -> None:
        super().__init__(connection, facts)
        self._lock_wait = wait
        self._sources = 0

    def attach(self, labels: Path | CsvRows | pa.Table) -> Source:
        from featurelayer.warehouse.streams import read_labels, split_columns, to_microseconds

        name = self._next_name()
        with read_labels(labels) as rows:
            refused = [column for column in rows.columns if column.dtype.kind in _NESTED]
            if refused:
                fix = "leave it out, or put the labels into the warehouse and name the relation"
                raise LabelError(
                    Problem(what=f"label column '{c.name}' is {c.dtype}, which can't be loaded by INSERT", fix=fix)
                    for c in refused
                )
            columns = tuple(replace(column, nanoseconds=False) for column in rows.columns)
            names = [column.name for column in columns]
            if not self._facts.keeps_order or "" in names or len({name.casefold() for name in names}) < len(names):
                # Load under neutral names: the engine may refuse these with a worse message than ours.
                names = [f"c{position}" for position in range(len(columns))]
            order = "" if self._facts.keeps_order else ORDER
            self._load(name, names, columns, to_microseconds(rows.reader), order=order or None)
        visible, parsed = split_columns(labels, columns)
        return Source(
            sql=self.quote_name(name),
            columns=visible,
            parsed=parsed,
            ordered=True,
            frame=not isinstance(labels, (Path, CsvRows)),
            order=order,
        )

    def load(self, rows: Path | pa.Table) -> str:
        """Load rows into a temporary table under their own names, in any order, and return its name as SQL."""
        from featurelayer.warehouse.streams import read_labels, to_microseconds

        name = self._next_name()
        with read_labels(rows) as found:
            refused = [f"{column.name} ({column.dtype})" for column in found.columns if column.dtype.kind in _NESTED]
            if refused:
                what = (
                    f"{', '.join(refused)} can't be loaded through dbt's adapter for {self.dialect}, which is by INSERT"
                )
                raise WarehouseError(what, fix="leave the column out of the view, or make it JSON text")
            names = [column.name for column in found.columns]
            self._load(name, names, found.columns, to_microseconds(found.reader))
        return self.quote_name(name)

    def _next_name(self) -> str:
        self._sources += 1
        return f"__fl_frame_{self._sources}"

    def _load(
        self,
        name: str,
        names: Sequence[str],
        columns: Sequence[Column],
        reader: pa.RecordBatchReader,
        *,
        order: str | None = None,
    ) -> None:
        self._made.append(name)
        rows = (row for batch in reader for row in zip(*(c.to_pylist() for c in batch.columns), strict=True))
        for statement in insert_statements(dialect(self.dialect), name, names, columns, rows, order=order):
            self.execute(statement)

    # --- writing -------------------------------------------------------------------------------------------------

    def write_file(
        self, query: str, path: Path, kind: Literal["parquet", "csv"], *, names: Sequence[str] | None = None
    ) -> int:
        from featurelayer.warehouse.streams import rename_columns, write_csv, write_parquet

        if kind == "parquet":
            return write_parquet(rename_columns(self.arrow(query), names), path)
        return write_csv(rename_columns(self.arrow(self.as_text(query, self.names_of(query))), names), path)

    def as_text(self, query: str, columns: Sequence[str]) -> str:
        wanted, text = set(columns), exp.DataType.build("TEXT").sql(dialect=self.sql_name)
        projected = ", ".join(
            f"CAST({self.quote_name(name)} AS {text}) AS {self.quote_name(name)}"
            if name in wanted
            else self.quote_name(name)
            for name in self.names_of(query)
        )
        return f"SELECT {projected} FROM (\n{query}\n) AS q"  # noqa: S608 (names are quoted, the query is ours)

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
        from featurelayer.warehouse.dbt_adapter.tables import table_refusal, write

        if self._facts.notes is None:
            raise table_refusal(name, self.dialect)
        write(
            self, self._facts.notes, self._facts.transactions, query, name,
            rows=rows, labels=labels, same=same, note=note,
        )  # fmt: skip

    def append_table(
        self, query: str, name: str, *, rows: int, labels: Sequence[str], same: Callable[[pa.RecordBatchReader], None]
    ) -> None:
        from featurelayer.warehouse.dbt_adapter.tables import append, table_refusal

        if self._facts.notes is None:
            raise table_refusal(name, self.dialect)
        append(self, query, name, rows=rows, labels=labels, same=same)

    def table_note(self, name: str) -> tuple[str, int] | None:
        from featurelayer.warehouse.dbt_adapter.tables import note_of, table_refusal

        if self._facts.notes is None:
            raise table_refusal(name, self.dialect)
        return note_of(self, self._facts.notes, name)

    def create_schema(self) -> None:
        """Create the target's schema if it is missing; dbt creates it only for a model in it."""
        place, column = self._facts.schemas
        # Search first: some engines require the right to create schemas even for IF NOT EXISTS.
        if not self.rows(f"SELECT 1 FROM {place} WHERE {column} = {self.literal(self.schema)}"):  # noqa: S608 (quoted)
            schema = exp.Table(db=exp.to_identifier(self.schema, quoted=True))
            self.execute(exp.Create(kind="SCHEMA", this=schema, exists=True).sql(dialect=self.sql_name))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit or roll back the block as a whole, as the only featurelayer writer to this schema.

        Raises:
            WarehouseError: the engine has no transactions over several tables, or another writer is at work.
        """
        from featurelayer.warehouse.dbt_adapter.transactions import one_writer

        how = self._facts.transactions
        if how is None:
            raise WarehouseError(
                f"{self.dialect} has no transactions over several tables through dbt's adapter, which "
                "exports need; nothing was written",
                fix="export from a target that has them and holds the same features (docs/engines.md says which)",
            )
        with one_writer(self, how, self._lock_wait):
            yield

    def estimate(self, query: str) -> Estimate:
        """Return what a query would read, as far as the engine's EXPLAIN tells."""
        try:
            if self._facts.explain is not None:
                return self._facts.explain(self.rows, query)
            lines = [" ".join(str(part) for part in row if part is not None) for row in self.rows(f"EXPLAIN {query}")]
        except WarehouseError as error:
            return Estimate(how=f"it does not explain the query: {error.summary}")
        return Estimate(how="EXPLAIN, in the engine's words", text="\n".join(lines))
