"""PostgreSQL through its native driver (ADBC): rows leave and enter as Arrow, by COPY in binary.

A connection is one session. What the build needs is in the session's temporary tables, which the server drops when the
session ends, however it ends: by `close`, by Ctrl-C, or with the process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlglot import exp

from featurelayer.errors import LabelError, RelationNotBuilt, WarehouseError
from featurelayer.identifiers import truncate_identifier
from featurelayer.model import Column
from featurelayer.retry import Backoff, wait_until
from featurelayer.warehouse.base import MARK, CsvRows, Estimate, Source
from featurelayer.warehouse.engines.postgres.session import (
    PostgresSession,
    literal,
    open_connection,
    positions,
    quote_name,
    table_of,
)
from featurelayer.warehouse.tables import check_columns, check_rows, foreign_table_error

if TYPE_CHECKING:
    import pyarrow as pa

_LONGEST_WAIT = timedelta(seconds=30)


def connect(
    connection: Mapping[str, Any],
    *,
    root: Path,  # noqa: ARG001 (no path in a target starts there: libpq takes them from where it is called, as dbt does)
    writable: bool = False,
    wait: timedelta = timedelta(0),
) -> PostgresWarehouse:
    """Connect with a dbt-postgres target: host, port, user, password, dbname, schema, sslmode, search_path, role, ...

    `wait` is how long to wait while another featurelayer process writes to the same schema.

    Raises:
        MissingDependency: the extra `postgres` is not installed.
        WarehouseError: the server can't be reached, refuses, or is too old.
    """
    driver = open_connection(connection)
    try:
        warehouse = PostgresWarehouse(driver, connection, wait=max(wait, _LONGEST_WAIT))
        if writable:
            warehouse.create_schema()
        return warehouse
    except BaseException:
        driver.close()
        raise


class PostgresWarehouse(PostgresSession):
    """A session that labels are loaded into and results are written from."""

    dialect = "postgres"

    def __init__(self, connection: Any, target: Mapping[str, Any], *, wait: timedelta) -> None:
        super().__init__(connection, target)
        self._wait = wait
        self._sources = 0

    def create_schema(self) -> None:
        """Create the target's schema if it is missing; dbt creates it only for a model in it."""
        # Search first: the server requires the right to create schemas even for IF NOT EXISTS.
        if not self.rows(f"SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = {literal(self.schema)}"):  # noqa: S608
            self.execute(f"CREATE SCHEMA IF NOT EXISTS {quote_name(self.schema)}")

    # --- reading -------------------------------------------------------------------------------------------------

    def quote(self, relation: str) -> str:
        return table_of(relation).sql(dialect="postgres", identify=True)

    def describe(self, relation: str) -> tuple[Column, ...]:
        columns = self.columns(self.quote(relation))
        if not columns:
            raise RelationNotBuilt(f"{relation} is not in the warehouse", fix="build it: `dbt build`", sql=relation)
        return columns

    def attach(self, labels: Path | CsvRows | pa.Table) -> Source:
        """Load labels into a temporary table by COPY; it is read in the order of writing."""
        from featurelayer.warehouse.engines.postgres.types import loadable
        from featurelayer.warehouse.streams import read_labels, rename_columns, split_columns, to_microseconds

        self._sources += 1
        name = f"__fl_source_{self._sources}"
        with read_labels(labels) as rows:
            reader, kinds = loadable(to_microseconds(rows.reader))
            failed: list[LabelError] = []
            names = _distinct([truncate_identifier(column.name) for column in rows.columns])
            columns = ", ".join(f"{quote_name(column)} {kind}" for column, kind in zip(names, kinds, strict=True))
            self.execute(f"CREATE TEMPORARY TABLE {quote_name(name)} ({columns})")
            try:
                self.copy_in(name, _remembering(rename_columns(reader, names), failed))
            except WarehouseError as error:
                raise failed[0] if failed else error from None
        table_columns = self.columns(f"pg_temp.{quote_name(name)}")
        loaded = [
            Column(name=column.name, dtype=kind.dtype) for column, kind in zip(rows.columns, table_columns, strict=True)
        ]
        visible, parsed = split_columns(labels, loaded)
        return Source(sql=quote_name(name), columns=visible, parsed=parsed, ordered=True, frame=True)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Work on one snapshot of the database, as the only featurelayer writer to this schema.

        Exports compute changes against the log of earlier ones; two at once would not see each other.
        """
        key = int.from_bytes(hashlib.sha256(f"featurelayer {self.schema}".encode()).digest()[:8], signed=True)
        lock = f"SELECT pg_try_advisory_lock({key})"
        backoff = Backoff(0.1, 0.1, jitter=False)
        if not wait_until(lambda: bool(self.rows(lock)[0][0]), self._wait.total_seconds(), backoff=backoff):
            raise WarehouseError(
                f"another command is writing exports to schema {self.schema}",
                fix="wait until it has finished, or raise --lock-timeout",
            )
        try:
            with self._atomic():
                yield
        finally:
            with suppress(WarehouseError):  # a broken session has already released the lock
                self.rows(f"SELECT pg_advisory_unlock({key})")

    @contextmanager
    def _atomic(self) -> Iterator[None]:
        self.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        try:
            yield
        except BaseException:
            with suppress(WarehouseError):
                self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    # --- writing -------------------------------------------------------------------------------------------------

    def write_file(
        self, query: str, path: Path, kind: Literal["parquet", "csv"], *, names: Sequence[str] | None = None
    ) -> int:
        from featurelayer.warehouse.streams import rename_columns, write_csv, write_parquet

        if kind == "parquet":
            return write_parquet(rename_columns(self.arrow(query), names), path)
        columns = self.result_schema(query).names
        return write_csv(rename_columns(self.arrow(self.as_text(query, columns)), names or columns), path)

    def as_text(self, query: str, columns: Sequence[str]) -> str:
        names = self.result_schema(query).names
        texts = {truncate_identifier(column) for column in columns}
        selected = ", ".join(
            f'CAST(q."c{place}" AS TEXT) AS {quote_name(name)}'
            if name in texts
            else f'q."c{place}" AS {quote_name(name)}'
            for place, name in enumerate(names)
        )
        return f"SELECT {selected} FROM (\n{query}\n) AS {positions('q', len(names))}"  # noqa: S608 (quoted, ours)

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
        table = self._full_name(name)
        self.table_note(name)  # raises if featurelayer did not write it
        with self._atomic():
            self.execute(f"DROP TABLE IF EXISTS {table}")
            self.execute(f"CREATE TABLE {table} AS\n{query}")
            self.execute(f"COMMENT ON TABLE {table} IS {literal(f'{MARK} {note}'.rstrip())}")
            self._check_written(table, name, first=0, rows=rows, labels=labels, same=same)

    def append_table(
        self, query: str, name: str, *, rows: int, labels: Sequence[str], same: Callable[[pa.RecordBatchReader], None]
    ) -> None:
        table = self._full_name(name)
        with self._atomic():
            self.execute(
                f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"
            )  # concurrent writers would count each other's rows
            (first,) = self.rows(f"SELECT count(*) FROM {table}")[0]  # noqa: S608 (quoted by sqlglot)
            there, new = (
                [(each.name, str(each.dtype)) for each in columns]
                for columns in (self.columns(table), self.columns_of(query))
            )
            check_columns(name, there, new)
            self.execute(f"INSERT INTO {table}\n{query}")
            self._check_written(table, name, first=first, rows=rows, labels=labels, same=same)

    def _check_written(
        self,
        table: str,
        name: str,
        *,
        first: int,
        rows: int,
        labels: Sequence[str],
        same: Callable[[pa.RecordBatchReader], None],
    ) -> None:
        (count,) = self.rows(f"SELECT count(*) FROM {table}")[0]  # noqa: S608 (quoted by sqlglot)
        check_rows(name, expected=rows, came=count - first)
        # It is read in the order of writing.
        self.execute("SET LOCAL synchronize_seqscans = off")
        self.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        columns = ", ".join(quote_name(truncate_identifier(label)) for label in labels)
        with self.arrow(f"SELECT {columns} FROM {table} OFFSET {first}") as written:  # noqa: S608 (quoted by sqlglot)
            same(written)

    def table_note(self, name: str) -> tuple[str, int] | None:
        table = self._full_name(name)
        matches = self.rows(
            "SELECT c.relkind::text, obj_description(c.oid, 'pg_class') FROM pg_catalog.pg_class AS c "  # noqa: S608
            f"WHERE c.oid = to_regclass({literal(table)})"
        )
        if not matches:
            return None
        [(kind, comment)] = matches
        if kind != "r" or not (comment or "").startswith(MARK):
            raise foreign_table_error(name)
        (rows,) = self.rows(f"SELECT count(*) FROM {table}")[0]  # noqa: S608 (quoted by sqlglot)
        return comment.removeprefix(MARK).strip(), rows

    def _full_name(self, name: str) -> str:
        """Qualify a table with its schema, by default the target's; a bare name could mean a temporary table."""
        table = table_of(name)
        if not table.db:
            table.set("db", exp.to_identifier(self.schema, quoted=True))
        return table.sql(dialect="postgres", identify=True)

    def estimate(self, query: str) -> Estimate:
        from featurelayer.warehouse.engines.postgres.scans import estimate

        return estimate(self.rows, query)

    # --- the rest ------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        time: datetime = self.rows("SELECT now()")[0][0]
        return time

    def drop(self, temporary: Sequence[str]) -> None:
        for name in temporary:
            self.execute(f"DROP TABLE IF EXISTS pg_temp.{quote_name(truncate_identifier(name))}")


def _remembering(reader: pa.RecordBatchReader, failed: list[LabelError]) -> pa.RecordBatchReader:
    """Yield the batches and record label errors, since the driver turns them into text."""
    import pyarrow as pa

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from reader
        except LabelError as error:
            failed.append(error)
            raise

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def _distinct(names: Sequence[str]) -> list[str]:
    """Return unique column names: a duplicate or empty name becomes its position."""
    return [name if name and names.count(name) == 1 else f"__fl_c{place}" for place, name in enumerate(names)]
