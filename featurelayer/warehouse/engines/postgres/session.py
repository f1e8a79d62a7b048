"""A session of PostgreSQL: opened with a dbt target, queries run, rows as Python and as Arrow, failures as ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from sqlglot import exp

from featurelayer.errors import MissingDependency, WarehouseError
from featurelayer.model import Column, DType
from featurelayer.warehouse.tables import table_of as as_written

if TYPE_CHECKING:
    import pyarrow as pa

_T = TypeVar("_T")
_OLDEST = 140_000
_MOMENT = 0.1  # seconds
# The settings of a role or database must not change what our SQL means.
_PINNED = {
    "TimeZone": "UTC", "DateStyle": "ISO", "IntervalStyle": "postgres", "extra_float_digits": "1",
    "bytea_output": "hex", "standard_conforming_strings": "on", "array_nulls": "on",
    # The server ends a query whose client has disconnected.
    "client_connection_check_interval": "10s",
}  # fmt: skip
# Keys of a dbt-postgres target that libpq uses under the same name.
_LIBPQ = ("host", "port", "user", "sslmode", "sslcert", "sslkey", "sslrootcert", "connect_timeout", "keepalives_idle")
_COLUMNS = """
SELECT a.attname::text, t.typtype IN ('e') OR e.typtype IN ('e'),
  CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) ELSE format_type(a.atttypid, a.atttypmod) END
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_type AS e ON e.oid = t.typelem AND t.typcategory = 'A'
WHERE a.attrelid = to_regclass({relation}) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""


def open_connection(target: Mapping[str, Any]) -> Any:
    """Open a connection of the driver.

    Raises:
        MissingDependency: the extra `postgres` is not installed.
        WarehouseError: the server can't be reached, or refuses.
    """
    try:
        from adbc_driver_postgresql import dbapi
    except ImportError as error:
        raise MissingDependency("adbc-driver-postgresql", "postgres") from error
    host = f"{target.get('host', 'localhost')}:{target.get('port', 5432)}"
    try:
        return dbapi.connect(_conninfo(target), autocommit=True)
    except dbapi.Error as error:
        raise WarehouseError(
            f"PostgreSQL at {host} can't be reached: {_reason(error)}",
            fix="check the target in profiles.yml: host, port, user, password, dbname, sslmode (dbt debug)",
        ) from None


def _conninfo(connection: Mapping[str, Any]) -> str:
    """Convert the target to a libpq connection string."""
    settings = {key: connection.get(key) for key in _LIBPQ}
    settings["password"] = connection.get("password", connection.get("pass"))
    settings["dbname"] = connection.get("dbname", connection.get("database"))
    settings["connect_timeout"] = settings["connect_timeout"] or 10
    settings["application_name"] = connection.get("application_name") or "featurelayer"
    pairs = {key: str(value) for key, value in settings.items() if value not in (None, "")}
    return " ".join(f"{key}='{_escape(value)}'" for key, value in pairs.items())


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


class PostgresSession:
    """A connection in UTC, whose SQL means the same whatever the role's settings; `schema` is the target's."""

    def __init__(self, connection: Any, target: Mapping[str, Any]) -> None:
        self._connection = connection
        # All calls of the driver are made in one thread of their own. In the main thread it would take Ctrl-C for
        # itself, cancel what the server is doing, and forget it where that is nothing.
        self._caller = ThreadPoolExecutor(1, thread_name_prefix="featurelayer-postgres")
        self._stopped = False
        self._unread = 0
        self.schema = str(target.get("schema") or "public")
        (version,) = self.rows("SHOW server_version_num")[0]
        if int(version) < _OLDEST:
            (name,) = self.rows("SHOW server_version")[0]
            raise WarehouseError(f"this is PostgreSQL {name}; 14 or later is needed")
        if self.rows("SHOW server_encoding") != [("UTF8",)]:
            raise WarehouseError(
                "the database's encoding is not UTF8, so text has another order and length than everywhere else",
                fix="create the database with ENCODING 'UTF8'",
            )
        for setting, value in _PINNED.items():
            self.execute(f"SET {setting} = {literal(value)}")
        path = target.get("search_path")
        self.execute(f"SET search_path = {path}" if path else f"SET search_path = {quote_name(self.schema)}, public")
        if target.get("role"):
            self.execute(f"SET ROLE {quote_name(str(target['role']))}")

    @property
    def engine(self) -> str:
        (version,) = self.rows("SHOW server_version")[0]
        return f"postgres {version.split()[0]}"

    def _call(self, call: Callable[[], _T], sql: str) -> _T:
        """Return the result of a driver call; Ctrl-C cancels the server's work, then the wait.

        Raises:
            WarehouseError: the call failed.
        """
        from adbc_driver_postgresql import dbapi

        self._stopped = False
        called = self._caller.submit(call)
        try:
            while not called.done():
                wait([called], timeout=_MOMENT)  # wait in short steps: where polars is loaded, no signal ends a wait
            return called.result()
        except KeyboardInterrupt:
            self._stopped = True
            while not called.done():
                self._connection.adbc_cancel()  # repeat: a cancel that arrives before the query does nothing
                wait([called], timeout=_MOMENT)
            raise
        except (dbapi.Error, OSError) as error:
            raise _as_warehouse_error(error, sql) from error

    def execute(self, sql: str) -> None:
        def call() -> None:
            with closing(self._connection.cursor()) as cursor:
                cursor.execute(sql)

        self._call(call, sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        from featurelayer.warehouse.engines.postgres.types import python_rows

        def call() -> pa.Table:
            with closing(self._connection.cursor()) as cursor:
                cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
                cursor.execute(sql)
                return cursor.fetch_arrow_table()

        return python_rows(self._call(call, sql))

    def arrow(self, sql: str, *, batch_rows: int = 131_072) -> pa.RecordBatchReader:
        import pyarrow as pa

        from featurelayer.warehouse.engines.postgres.types import as_arrow, shape_of

        schema = self.result_schema(sql)
        kinds = self._numeric_types(sql, schema)
        shapes = [
            shape_of(field, exp.column(f"c{place}", table="q", quoted=True), kinds.get(place))
            for place, field in enumerate(schema)
        ]
        if any(not isinstance(shape.selected, exp.Column) for shape in shapes):
            selected = ", ".join(
                f'{shape.selected.sql(dialect="postgres")} AS "c{place}"' for place, shape in enumerate(shapes)
            )
            sql = f"SELECT {selected} FROM (\n{sql}\n) AS {positions('q', len(schema))}"  # noqa: S608 (ours)

        def call() -> tuple[Any, pa.RecordBatchReader]:
            cursor = self._connection.cursor()
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(batch_rows * 256)})
            cursor.execute(sql)
            return cursor, as_arrow(cursor.fetch_record_batch(), shapes)

        cursor, reader = self._call(call, sql)
        self._unread += 1

        def batches() -> Iterator[pa.RecordBatch]:
            rest = iter(reader)
            try:
                while (batch := self._call(lambda: next(rest, None), sql)) is not None:
                    yield batch
            except BaseException:
                with suppress(Exception):  # the session may have ended, and the cursor with it
                    self._connection.adbc_cancel()  # otherwise closing it would wait for the remaining rows
                    self._caller.submit(cursor.close)  # don't wait: this may be a clean-up in that very thread
                raise
            finally:
                self._unread -= 1
            self._call(cursor.close, sql)

        return pa.RecordBatchReader.from_batches(reader.schema, batches())

    def copy_in(self, name: str, rows: pa.RecordBatchReader) -> None:
        """Add rows to a temporary table, by COPY."""
        import pyarrow as pa

        def until_interrupted() -> Iterator[pa.RecordBatch]:
            for batch in rows:
                if self._stopped:
                    raise InterruptedError("interrupted")
                yield batch

        def call() -> None:
            with closing(self._connection.cursor()) as cursor:
                reader = pa.RecordBatchReader.from_batches(rows.schema, until_interrupted())
                cursor.adbc_ingest(name, reader, mode="append", temporary=True)

        self._call(call, f"COPY {name}")

    def result_schema(self, sql: str) -> pa.Schema:
        def call() -> pa.Schema:
            with closing(self._connection.cursor()) as cursor:
                return cursor.adbc_execute_schema(sql)

        return self._call(call, sql)

    def close(self) -> None:
        """Close the session, which drops everything temporary."""
        with suppress(Exception):  # a broken session has already ended
            if self._unread:
                self._connection.adbc_cancel()  # otherwise closing it would wait for the remaining rows
            self._caller.submit(self._connection.close).result()
        self._caller.shutdown()

    def _numeric_types(self, sql: str, schema: pa.Schema) -> dict[int, DType]:
        """Return the types of a query's numerics by position, from the catalog: the driver omits their precision."""
        from featurelayer.warehouse.engines.postgres.types import is_numeric

        numeric = [place for place, field in enumerate(schema) if is_numeric(field.type)]
        if not numeric:
            return {}
        columns = self.columns_of(sql)
        return {place: columns[place].dtype for place in numeric}

    def columns_of(self, query: str) -> tuple[Column, ...]:
        """Return the columns of a query, in the catalog's types."""
        names = self.result_schema(query).names
        self.execute(f"CREATE TEMPORARY VIEW {positions('__fl_shape', len(names))} AS\n{query}")
        try:
            columns = self.columns("pg_temp.__fl_shape")
        finally:
            self.execute("DROP VIEW pg_temp.__fl_shape")
        return tuple(replace(column, name=name) for column, name in zip(columns, names, strict=True))

    def columns(self, table: str) -> tuple[Column, ...]:
        from featurelayer.warehouse.engines.postgres.types import as_column

        rows = self.rows(_COLUMNS.format(relation=literal(table)))
        return tuple(as_column(name, kind, is_enum=is_enum) for name, is_enum, kind in rows)


def table_of(relation: str) -> exp.Table:
    """Parse a relation's name as PostgreSQL does: unquoted parts fold to lower case."""
    table = as_written(relation, "postgres")
    for part in table.parts:
        if isinstance(part, exp.Identifier) and not part.args.get("quoted"):
            part.set("this", part.name.lower())
    return table


def positions(alias: str, count: int) -> str:
    """Return a table alias whose columns are named by their positions."""
    columns = ", ".join(f'"c{place}"' for place in range(count))
    return f"{alias} ({columns})"


def quote_name(name: str) -> str:
    """Quote a name."""
    return exp.to_identifier(name, quoted=True).sql(dialect="postgres")


def literal(value: str) -> str:
    """Quote a text as an SQL literal."""
    return exp.Literal.string(value).sql(dialect="postgres")


def _as_warehouse_error(error: Exception, sql: str) -> WarehouseError:
    from featurelayer.warehouse.engines.postgres.types import REFUSED

    reason = _reason(error)
    refused = re.search(f'"{REFUSED}(.*)"', reason, re.DOTALL)
    if refused:
        return WarehouseError(refused[1], sql=sql)
    return WarehouseError(f"PostgreSQL: {reason}", sql=sql)


def _reason(error: Exception) -> str:
    """Extract the server's own message from the driver's text."""
    text = str(error)
    match = re.search(r"(?:ERROR|FATAL):\s+(.+)", text)
    return (match[1] if match else text.strip().splitlines()[0]).strip()
