"""DuckDB, embedded: the file that dbt-duckdb builds, opened read-only unless writing is requested."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import duckdb
from sqlglot import exp

from featurelayer.errors import LabelError, Problem, RelationNotBuilt, WarehouseError
from featurelayer.model import Column, DType, Kind
from featurelayer.retry import Backoff, call_with_retry
from featurelayer.tempdirs import TempDir
from featurelayer.terminal_text import first_line
from featurelayer.warehouse.base import MARK, CsvRows, Estimate, Source
from featurelayer.warehouse.engines.duckdb.memory import MemoryLimit
from featurelayer.warehouse.engines.duckdb.scans import estimate
from featurelayer.warehouse.tables import check_columns, check_rows, foreign_table_error, table_of

if TYPE_CHECKING:
    import pyarrow as pa

_SIZES = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 128}
# The profile must not change what our SQL means: order, ties and key equality depend on these.
_PINNED = {
    "enable_progress_bar": "false",
    "timezone": "'UTC'",
    "preserve_insertion_order": "true",
    "default_order": "'asc'",
    "default_null_order": "'nulls_last'",
    "default_collation": "''",
    "python_enable_replacements": "false",
}
_OURS = {*_PINNED, "temp_directory", "null_order"}
# DuckDB's parquet writer turns a HUGEINT (any sum of integers) into a DOUBLE, writes these others unlike Arrow, and
# writes fixed-length arrays in a file that Arrow can't read if any of them is NULL.
_CHANGED_BY_PARQUET = re.compile(r"HUGEINT|UUID|TIMESTAMP_S\b|\bBIT\b|INTERVAL|\[\d+\]")
_PLAIN = {
    "BOOLEAN": Kind.BOOL,
    "VARCHAR": Kind.TEXT,
    "BLOB": Kind.BYTES,
    "DATE": Kind.DATE,
    "TIME": Kind.TIME,
    "UUID": Kind.UUID,
    "JSON": Kind.JSON,
    "INTERVAL": Kind.INTERVAL,
}


def connect(
    connection: Mapping[str, Any], *, root: Path, writable: bool = False, wait: timedelta = timedelta(0)
) -> DuckDBWarehouse:
    """Open the database that a dbt-duckdb target names, with its settings and attached databases."""
    path = str(connection.get("path") or ":memory:")
    remote = path == ":memory:" or "://" in path or path.startswith("md:")
    # dbt resolves a relative path from its working directory, usually the project.
    places = [root / path, Path.cwd() / path]
    file = path if remote else str(next((place for place in places if place.exists()), places[0]).resolve())
    if not remote and not Path(file).exists():
        raise WarehouseError(
            f"there is no DuckDB database at {path}",
            where=f"profiles.yml, key path (relative to {root.name}/)",
            fix="build the features first: `dbt build`",
        )
    try:
        database = _open_database(file, read_only=not writable and not remote, wait=wait)
    except duckdb.Error as error:
        fix = (
            "close the other connection of this process first: it is open for writing and this one only reads, "
            "or the other way round"
            if isinstance(error, duckdb.ConnectionException)
            else "wait until dbt or the other process that writes to it has finished"
        )
        raise WarehouseError(f"the DuckDB database {path} can't be opened: {first_line(error)}", fix=fix) from error
    warehouse = DuckDBWarehouse(database)
    warehouse.configure(connection, root)
    if writable:
        # Our tables go there; dbt creates it only for a model in it, and all may have custom schemas.
        warehouse.execute(f"CREATE SCHEMA IF NOT EXISTS {_name(str(connection.get('schema') or 'main'))}")
    return warehouse


def _open_database(file: str, *, read_only: bool, wait: timedelta) -> duckdb.DuckDBPyConnection:
    """Open a file, waiting while another process holds it; a writer excludes all others."""
    return call_with_retry(
        lambda: duckdb.connect(file, read_only=read_only),
        wait.total_seconds(),
        is_transient=lambda error: isinstance(error, duckdb.IOException) and "lock" in str(error).lower(),
        backoff=Backoff(0.1, 0.1, jitter=False),
    )


class DuckDBWarehouse:
    """A DuckDB connection with UTC, no progress bar, and a temporary spill folder."""

    dialect = "duckdb"

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._spill = TempDir()
        self._sources = 0
        self._memory = MemoryLimit(connection)
        for setting, value in _PINNED.items():
            connection.execute(f"SET {setting} = {value}")
        connection.execute(f"SET temp_directory = {_text(str(self._spill.path))}")

    @property
    def engine(self) -> str:
        return f"duckdb {duckdb.__version__}"

    def configure(self, connection: Mapping[str, Any], root: Path) -> None:
        """Apply the profile's settings, extensions and attached databases."""
        for extension in connection.get("extensions") or ():
            name = extension if isinstance(extension, str) else extension.get("name", "")
            self.execute(f"LOAD {_name(name)}")
        for name, value in (connection.get("settings") or {}).items():
            if name.lower() not in _OURS:
                self.execute(f"SET {_name(name)} = {_text(str(value))}")
            if name.lower() in ("memory_limit", "max_memory"):
                self._memory.configured = str(value)
        # dbt runs in the project, featurelayer anywhere: resolve the files of views in the project too.
        searched = str((connection.get("settings") or {}).get("file_search_path", "")).split(",")
        folders = ",".join(str((root / part.strip()).resolve()) for part in (*searched, "."))
        self.execute(f"SET file_search_path = {_text(folders)}")
        for database in connection.get("attach") or ():
            path = str(database["path"])
            where = path if "://" in path or path.startswith("md:") else str((root / path).resolve())
            alias = f" AS {_name(database['alias'])}" if database.get("alias") else ""
            options = ", ".join(filter(None, ["READ_ONLY", f"TYPE {database['type']}" if database.get("type") else ""]))
            self.execute(f"ATTACH IF NOT EXISTS {_text(where)}{alias} ({options})")

    # --- reading -------------------------------------------------------------------------------------------------

    def quote(self, relation: str) -> str:
        return table_of(relation, "duckdb").sql(dialect="duckdb", identify=True)

    def describe(self, relation: str) -> tuple[Column, ...]:
        table = self.quote(relation)
        try:
            # Check the catalog first: a SELECT would also accept the name of a file.
            self._connection.execute("FROM pragma_table_info(?)", [table])
            columns = self._connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()  # noqa: S608 (quoted by sqlglot)
        except (duckdb.CatalogException, duckdb.BinderException, duckdb.ParserException) as error:
            raise RelationNotBuilt(
                f"{relation} is not in the warehouse: {first_line(error)}", fix="build it: `dbt build`", sql=table
            ) from error
        except duckdb.Error as error:
            raise _as_warehouse_error(error, table) from error
        return tuple(_column(name, kind) for name, kind, *_ in columns)

    def columns_of(self, query: str) -> tuple[Column, ...]:
        """Return the columns of a query."""
        return tuple(_column(name, kind) for name, kind, *_ in self.rows(f"DESCRIBE {query}"))

    def attach(self, labels: Path | CsvRows | pa.Table) -> Source:
        if isinstance(labels, CsvRows):
            return Source(sql=f"({labels.sql})", columns=labels.columns, parsed=labels.parsed, ordered=True)
        if isinstance(labels, Path):
            source = f"read_parquet({_text(str(labels))}, hive_partitioning = false)"
        else:
            self._sources += 1
            name = f"__fl_frame_{self._sources}"
            source = _name(name)
        try:
            if not isinstance(labels, Path):
                self._connection.register(name, labels)
            described = self._connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()  # noqa: S608 (escaped)
        except duckdb.Error as error:
            if not isinstance(labels, Path):
                self._refuse_columns(labels)
            raise LabelError(
                [
                    Problem(
                        what=f"the labels can't be read: {first_line(error)}",
                        where=str(labels) if isinstance(labels, Path) else "",
                        fix="give a parquet file, a CSV file with a header, or a relation",
                    )
                ]
            ) from error
        if isinstance(labels, Path):
            import pyarrow.parquet as pq

            names = pq.read_schema(labels).names
        else:
            names = labels.column_names
        # DuckDB renames columns that differ in case alone; take the names from the file or frame.
        columns = tuple(_column(name, kind) for name, (_, kind, *_) in zip(names, described, strict=True))
        return Source(sql=source, columns=columns, ordered=True, frame=not isinstance(labels, Path))

    def _refuse_columns(self, table: pa.Table) -> None:
        """Raise if the cause is columns of types that DuckDB does not have."""
        problems = []
        for field in table.schema:
            try:
                self._connection.register("__fl_column", table.select([field.name]).slice(0, 0))
                self._connection.execute("DESCRIBE SELECT * FROM __fl_column").fetchall()
            except duckdb.Error:
                what = f"label column '{field.name}' is {field.type}, which DuckDB can't hold"
                problems.append(Problem(what=what, fix="cast it, or leave it out"))
        if problems:
            raise LabelError(problems)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def limit_cache(self, working: int) -> AbstractContextManager[None]:
        return self._memory.lower(working)

    def execute(self, sql: str) -> None:
        with _translate_errors(sql):
            self._run(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with _translate_errors(sql):
            return self._run(sql)

    def _run(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql).fetchall()
        except duckdb.OutOfMemoryException:
            if not self._memory.lowered:
                raise
            self._memory.restore()
            return self._connection.execute(sql).fetchall()

    def arrow(self, sql: str, *, batch_rows: int = 131_072) -> pa.RecordBatchReader:
        with _translate_errors(sql):
            # A cursor would be another session without the temporary tables, so allow one stream at a time.
            return self._connection.sql(sql).to_arrow_reader(batch_rows)

    def estimate(self, query: str) -> Estimate:
        return estimate(self.rows, query)

    # --- writing -------------------------------------------------------------------------------------------------

    def write_file(
        self,
        query: str,
        path: Path,
        kind: Literal["parquet", "csv"],
        *,
        names: Sequence[str] | None = None,  # noqa: ARG002 (no name is cut here)
    ) -> int:
        if kind == "parquet" and any(_CHANGED_BY_PARQUET.search(row[1]) for row in self.rows(f"DESCRIBE {query}")):
            return self._stream_to_parquet(query, path)
        options = "FORMAT parquet" if kind == "parquet" else "FORMAT csv, HEADER true"
        copy = f"COPY (\n{query}\n) TO {_text(str(path))} ({options})"
        (count,) = self.rows(copy)[0]
        return int(count)

    def _stream_to_parquet(self, query: str, path: Path) -> int:
        import pyarrow.parquet as pq

        rows = 0
        with self.arrow(query) as reader, pq.ParquetWriter(path, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
                rows += batch.num_rows
        return rows

    def as_text(self, query: str, columns: Sequence[str]) -> str:
        texts = ", ".join(f"CAST({_name(column)} AS VARCHAR) AS {_name(column)}" for column in columns)
        return f"SELECT * REPLACE ({texts}) FROM (\n{query}\n)"  # noqa: S608 (names are quoted, the query is ours)

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
        with self.transaction():
            self.execute(f"CREATE OR REPLACE TABLE {table} AS\n{query}")
            self.execute(f"COMMENT ON TABLE {table} IS {_text(f'{MARK} {note}'.rstrip())}")
            self._check_written(table, name, first=0, rows=rows, labels=labels, same=same)

    def append_table(
        self, query: str, name: str, *, rows: int, labels: Sequence[str], same: Callable[[pa.RecordBatchReader], None]
    ) -> None:
        table = self._full_name(name)
        with self.transaction():
            (first,) = self.rows(f"SELECT count(*) FROM {table}")[0]  # noqa: S608 (quoted by sqlglot)
            there, new = (
                [(column, kind) for column, kind, *_ in self.rows(f"DESCRIBE {what}")] for what in (table, query)
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
        columns = ", ".join(_name(label) for label in labels)
        with self.arrow(f"SELECT {columns} FROM {table} OFFSET {first}") as written:  # noqa: S608 (quoted by sqlglot)
            same(written)

    def _full_name(self, name: str) -> str:
        """Qualify a table with its database and schema; a bare name could mean a temporary table."""
        table = table_of(name, "duckdb")
        if not table.db:
            database, schema = self.rows("SELECT current_database(), current_schema()")[0]
            table.set("catalog", exp.to_identifier(database, quoted=True))
            table.set("db", exp.to_identifier(schema, quoted=True))
        return table.sql(dialect="duckdb", identify=True)

    def table_note(self, name: str) -> tuple[str, int] | None:
        table = table_of(name, "duckdb")
        defaults = "current_database()", "current_schema()"
        database, schema = (
            _text(part) if part else other for part, other in zip((table.catalog, table.db), defaults, strict=True)
        )
        matches = self.rows(
            "SELECT comment FROM (SELECT database_name, schema_name, table_name AS name, comment FROM duckdb_tables() "  # noqa: S608
            "UNION ALL SELECT database_name, schema_name, view_name, 'a view' FROM duckdb_views()) "
            f"WHERE lower(name) = lower({_text(table.name)}) AND lower(schema_name) = lower({schema}) "
            f"AND lower(database_name) = lower({database})"
        )
        if not matches:
            return None
        if not all(comment and comment.startswith(MARK) for (comment,) in matches):
            raise foreign_table_error(name)
        (rows,) = self.rows(f"SELECT count(*) FROM {self._full_name(name)}")[0]  # noqa: S608 (quoted by sqlglot)
        return matches[0][0].removeprefix(MARK).strip(), rows

    # --- the rest ------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        (micros,) = self.rows("SELECT epoch_us(now())")[0]
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)

    def drop(self, temporary: Sequence[str]) -> None:
        for name in temporary:
            self.execute(f"DROP TABLE IF EXISTS temp.{_name(name)}")

    def close(self) -> None:
        self._connection.close()
        self._spill.remove()


def _name(name: str) -> str:
    return exp.to_identifier(name, quoted=True).sql(dialect="duckdb")


def _text(value: str) -> str:
    return exp.Literal.string(value).sql(dialect="duckdb")


@contextmanager
def _translate_errors(sql: str) -> Iterator[None]:
    """Convert DuckDB's errors to ours, and its RuntimeError on Ctrl-C to KeyboardInterrupt."""
    try:
        yield
    except duckdb.Error as error:
        raise _as_warehouse_error(error, sql) from error
    except RuntimeError as error:
        if "interrupted" in str(error).lower():
            raise KeyboardInterrupt from error
        raise


def _as_warehouse_error(error: duckdb.Error, sql: str) -> WarehouseError:
    is_memory = isinstance(error, duckdb.OutOfMemoryException)
    fix = "raise memory_limit in the profile's settings, or free disk space for spilling" if is_memory else ""
    return WarehouseError(f"DuckDB: {first_line(error)}", fix=fix, sql=sql)


def _column(name: str, text: str) -> Column:
    return Column(name=name, dtype=_dtype(text), nanoseconds=text in ("TIMESTAMP_NS", "TIMESTAMPTZ_NS"))


def _dtype(text: str) -> DType:
    """Parse DuckDB's type text."""
    if text.endswith("]"):
        return DType(kind=Kind.ARRAY, element=_dtype(text[: text.rindex("[")]))
    if text in _PLAIN:
        return DType(kind=_PLAIN[text])
    if text.removeprefix("U") in _SIZES:
        kind = Kind.UINT if text.startswith("U") else Kind.INT
        return DType(kind=kind, bits=_SIZES[text.removeprefix("U")])
    if text in ("FLOAT", "DOUBLE"):
        return DType(kind=Kind.FLOAT, bits=32 if text == "FLOAT" else 64)
    decimal = re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", text)
    if decimal:
        return DType(kind=Kind.DECIMAL, precision=int(decimal[1]), scale=int(decimal[2]))
    if text.startswith("TIMESTAMP"):
        aware = "WITH TIME ZONE" in text or text.startswith("TIMESTAMPTZ")
        return DType(kind=Kind.TIMESTAMPTZ if aware else Kind.TIMESTAMP)
    if text.startswith("STRUCT"):
        return DType(kind=Kind.STRUCT)
    if text.startswith("MAP"):
        return DType(kind=Kind.MAP)
    if text.startswith("ENUM"):
        return DType(kind=Kind.TEXT)
    return DType(kind=Kind.UNKNOWN)
