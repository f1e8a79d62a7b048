"""PostgreSQL through its native driver (ADBC): rows leave and enter as Arrow, by COPY in binary.

A connection is one session. What the build needs is in the session's temporary tables, which the server drops when the
session ends, however it ends: by `close`, by Ctrl-C, or with the process.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlglot import exp
from sqlglot.errors import SqlglotError

from featurelayer.errors import LabelError, MissingDependency, RelationNotBuilt, WarehouseError
from featurelayer.identifiers import fitted
from featurelayer.model import Column, DType
from featurelayer.warehouse.base import MARK, Estimate, Source

if TYPE_CHECKING:
    import pyarrow as pa

_OLDEST = 140_000
_CANCELED = "57014"
_LONGEST_WAIT = timedelta(seconds=30)
# What our SQL means may not depend on the settings of a role or a database.
_PINNED = {
    "TimeZone": "UTC", "DateStyle": "ISO", "IntervalStyle": "postgres", "extra_float_digits": "1",
    "bytea_output": "hex", "standard_conforming_strings": "on", "array_nulls": "on",
    # A query whose client has gone ends.
    "client_connection_check_interval": "10s",
}  # fmt: skip
# Keys of a dbt-postgres target that libpq has under the same name.
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
# Whether a text can be cast to a type. What most values look like is seen at once; the rest is tried.
_CASTABLE = """
CREATE FUNCTION pg_temp."__fl_castable"(value text, kind text) RETURNS boolean LANGUAGE plpgsql AS $function$
BEGIN
  IF kind IN ('BIGINT', 'INTEGER', 'TEXT') AND value ~ '^-?[0-9]{1,9}$' THEN
    RETURN true;
  ELSIF kind IN ('TIMESTAMP', 'TIMESTAMPTZ') AND value ~
    '^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])'
    '([ T]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,6})?)?Z?)?$'
  THEN
    RETURN true;
  END IF;
  EXECUTE format('SELECT CAST($1 AS %s)', kind) USING value;
  RETURN true;
EXCEPTION WHEN data_exception THEN
  RETURN false;
END
$function$
"""


def connect(
    connection: Mapping[str, Any],
    *,
    root: Path,  # noqa: ARG001 (no path in a target starts there: libpq takes them from where it is called, as dbt does)
    writable: bool = False,  # noqa: ARG001 (a server has as many writers as readers)
    wait: timedelta = timedelta(0),
) -> PostgresWarehouse:
    """Connect with a dbt-postgres target: host, port, user, password, dbname, schema, sslmode, search_path, role, ...

    `wait` is how long to wait while another process of ours writes to the same schema.

    Raises:
        MissingDependency: the extra `postgres` is not installed.
        WarehouseError: the server can't be reached, refuses, or is too old.
    """
    try:
        from adbc_driver_postgresql import dbapi
    except ImportError as error:
        raise MissingDependency("adbc-driver-postgresql", "postgres") from error
    host = f"{connection.get('host', 'localhost')}:{connection.get('port', 5432)}"
    try:
        opened = dbapi.connect(_conninfo(connection), autocommit=True)
    except dbapi.Error as error:
        raise WarehouseError(
            f"PostgreSQL at {host} can't be reached: {_reason(error)}\n"
            "  fix  check the target in profiles.yml: host, port, user, password, dbname, sslmode (dbt debug)"
        ) from None
    try:
        return PostgresWarehouse(opened, connection, wait=max(wait, _LONGEST_WAIT))
    except BaseException:
        opened.close()
        raise


def _conninfo(connection: Mapping[str, Any]) -> str:
    """The target as libpq reads it."""
    said = {key: connection.get(key) for key in _LIBPQ}
    said["password"] = connection.get("password", connection.get("pass"))
    said["dbname"] = connection.get("dbname", connection.get("database"))
    said["connect_timeout"] = said["connect_timeout"] or 10
    said["application_name"] = connection.get("application_name") or "featurelayer"
    pairs = {key: str(value) for key, value in said.items() if value not in (None, "")}
    return " ".join(f"{key}='{_escaped(value)}'" for key, value in pairs.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


class PostgresWarehouse:
    """A session of a PostgreSQL server, in UTC."""

    dialect = "postgres"

    def __init__(self, connection: Any, target: Mapping[str, Any], *, wait: timedelta) -> None:
        self._connection, self._wait = connection, wait
        self._sources, self._has_castable = 0, False
        self._limit: timedelta | None = None
        self._schema = str(target.get("schema") or "public")
        (version,) = self.rows("SHOW server_version_num")[0]
        if int(version) < _OLDEST:
            (name,) = self.rows("SHOW server_version")[0]
            raise WarehouseError(f"this is PostgreSQL {name}; 14 or later is needed")
        if self.rows("SHOW server_encoding") != [("UTF8",)]:
            raise WarehouseError(
                "the database's encoding is not UTF8, so text has another order and length than everywhere else\n"
                "  fix  create the database with ENCODING 'UTF8'"
            )
        [(limit,)] = self.rows("SELECT setting::int FROM pg_catalog.pg_settings WHERE name = 'statement_timeout'")
        self._limit = timedelta(milliseconds=limit) if limit else None
        for setting, value in _PINNED.items():
            self.execute(f"SET {setting} = {_text(value)}")
        path = target.get("search_path")
        self.execute(f"SET search_path = {path}" if path else f"SET search_path = {_name(self._schema)}, public")
        if target.get("role"):
            self.execute(f"SET ROLE {_name(str(target['role']))}")

    @property
    def engine(self) -> str:
        (version,) = self.rows("SHOW server_version")[0]
        return f"postgres {version.split()[0]}"

    # --- reading -------------------------------------------------------------------------------------------------

    def quote(self, relation: str) -> str:
        return _table(relation).sql(dialect="postgres", identify=True)

    def describe(self, relation: str) -> tuple[Column, ...]:
        found = self._columns(self.quote(relation))
        if not found:
            raise RelationNotBuilt(f"{relation} is not in the warehouse\n  fix  build it: dbt build", sql=relation)
        return found

    def _columns(self, table: str) -> tuple[Column, ...]:
        from featurelayer.warehouse._postgres_types import described

        found = self.rows(_COLUMNS.format(relation=_text(table)))
        return tuple(described(name, kind, is_enum=is_enum) for name, is_enum, kind in found)

    def attach(self, labels: Path | pa.Table, *, csv_types: bool = False) -> Source:
        """Load labels into a temporary table, by COPY; it is read in the order in which it was written."""
        from featurelayer.warehouse._postgres_types import loadable
        from featurelayer.warehouse.streams import in_microseconds, read_labels, renamed

        self._sources += 1
        name = f"__fl_source_{self._sources}"
        with read_labels(labels, csv_types=csv_types) as given:
            reader, kinds = loadable(in_microseconds(given.reader))
            failed: list[LabelError] = []
            names = _distinct([fitted(column.name) for column in given.columns])
            columns = ", ".join(f"{_name(column)} {kind}" for column, kind in zip(names, kinds, strict=True))
            self.execute(f"CREATE TEMPORARY TABLE {_name(name)} ({columns})")
            try:
                with self._said(f"COPY {name}"), closing(self._connection.cursor()) as cursor:
                    rows = _remembering(renamed(reader, names), failed)
                    cursor.adbc_ingest(name, rows, mode="append", temporary=True)
            except WarehouseError as error:
                raise failed[0] if failed else error from None
            if given.from_text and not self._has_castable:
                self.execute(_CASTABLE)
                self._has_castable = True
        there = self._columns(f"pg_temp.{_name(name)}")
        found = tuple(
            Column(name=column.name, dtype=kind.dtype) for column, kind in zip(given.columns, there, strict=True)
        )
        return Source(sql=_name(name), columns=found, from_text=given.from_text, ordered=True, frame=True)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One snapshot of the database, and no other writer of ours to this schema meanwhile.

        Exports compute what differs from what others have written down; two at once would not see each other.
        """
        key = int.from_bytes(hashlib.sha256(f"featurelayer {self._schema}".encode()).digest()[:8], signed=True)
        until = time.monotonic() + self._wait.total_seconds()
        while not self.rows(f"SELECT pg_try_advisory_lock({key})")[0][0]:
            if time.monotonic() >= until:
                raise WarehouseError(
                    f"another export, drain or the like is writing to schema {self._schema}\n"
                    "  fix  wait until it has finished, or wait longer with --lock-timeout"
                )
            time.sleep(0.1)
        try:
            with self._atomic():
                yield
        finally:
            with suppress(WarehouseError):  # the lock goes with a session that is broken
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

    @contextmanager
    def _said(self, sql: str) -> Iterator[None]:
        """Let failures be ours, and Ctrl-C be Ctrl-C: the driver cancels the query and tells of that alone."""
        from adbc_driver_postgresql import dbapi

        began = time.monotonic()
        try:
            yield
        except (dbapi.Error, OSError) as error:
            if getattr(error, "sqlstate", None) == _CANCELED and not self._timed_out(time.monotonic() - began):
                raise KeyboardInterrupt from error
            raise _failed(error, sql) from error

    def _timed_out(self, seconds: float) -> bool:
        """Whether a query that was canceled after so long had reached the role's limit, or ran where no key is seen."""
        limited = self._limit is not None and seconds >= self._limit.total_seconds()
        return limited or threading.current_thread() is not threading.main_thread()

    def execute(self, sql: str) -> None:
        with self._said(sql), closing(self._connection.cursor()) as cursor:
            cursor.execute(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        from featurelayer.warehouse._postgres_types import python_rows

        with self._said(sql), closing(self._connection.cursor()) as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
            cursor.execute(sql)
            return python_rows(cursor.fetch_arrow_table())

    def arrow(self, sql: str, *, batch_rows: int = 131_072) -> pa.RecordBatchReader:
        import pyarrow as pa

        from featurelayer.warehouse._postgres_types import as_arrow, shape_of

        schema = self._result_schema(sql)
        kinds = self._numeric_types(sql, schema)
        shapes = [
            shape_of(field, exp.column(f"c{place}", table="q", quoted=True), kinds.get(place))
            for place, field in enumerate(schema)
        ]
        if any(not isinstance(shape.selected, exp.Column) for shape in shapes):
            selected = ", ".join(
                f'{shape.selected.sql(dialect="postgres")} AS "c{place}"' for place, shape in enumerate(shapes)
            )
            sql = f"SELECT {selected} FROM (\n{sql}\n) AS {_positions('q', len(schema))}"  # noqa: S608 (ours)
        cursor = self._connection.cursor()
        cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(batch_rows * 256)})
        with self._said(sql):
            cursor.execute(sql)
            reader = as_arrow(cursor.fetch_record_batch(), shapes)

        def batches() -> Iterator[pa.RecordBatch]:
            with self._said(sql), closing(cursor):
                try:
                    yield from reader
                except BaseException:
                    cursor.adbc_cancel()  # or closing it would wait for the rest of the rows
                    raise

        return pa.RecordBatchReader.from_batches(reader.schema, batches())

    def _result_schema(self, sql: str) -> pa.Schema:
        with self._said(sql), closing(self._connection.cursor()) as cursor:
            return cursor.adbc_execute_schema(sql)

    def _numeric_types(self, sql: str, schema: pa.Schema) -> dict[int, DType]:
        """The types of a query's numerics by place: the driver does not say their precision, the catalog does."""
        from featurelayer.warehouse._postgres_types import is_numeric

        numeric = [place for place, field in enumerate(schema) if is_numeric(field.type)]
        if not numeric:
            return {}
        found = self._columns_of(sql)
        return {place: found[place].dtype for place in numeric}

    def _columns_of(self, query: str) -> tuple[Column, ...]:
        """The columns of a query, in the catalog's types."""
        names = self._result_schema(query).names
        self.execute(f"CREATE TEMPORARY VIEW {_positions('__fl_shape', len(names))} AS\n{query}")
        try:
            found = self._columns("pg_temp.__fl_shape")
        finally:
            self.execute("DROP VIEW pg_temp.__fl_shape")
        return tuple(replace(column, name=name) for column, name in zip(found, names, strict=True))

    # --- writing -------------------------------------------------------------------------------------------------

    def write_file(
        self, query: str, path: Path, kind: Literal["parquet", "csv"], *, names: Sequence[str] | None = None
    ) -> int:
        from featurelayer.warehouse.streams import renamed, write_csv, write_parquet

        if kind == "parquet":
            return write_parquet(renamed(self.arrow(query), names), path)
        columns = self._result_schema(query).names
        return write_csv(renamed(self.arrow(self.as_text(query, columns)), names or columns), path)

    def as_text(self, query: str, columns: Sequence[str]) -> str:
        names = self._result_schema(query).names
        texts = {fitted(column) for column in columns}
        selected = ", ".join(
            f'CAST(q."c{place}" AS TEXT) AS {_name(name)}' if name in texts else f'q."c{place}" AS {_name(name)}'
            for place, name in enumerate(names)
        )
        return f"SELECT {selected} FROM (\n{query}\n) AS {_positions('q', len(names))}"  # noqa: S608 (quoted, ours)

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
        table = self._in_full(name)
        self.table_note(name)  # raises if it is not ours to replace
        with self._atomic():
            self.execute(f"DROP TABLE IF EXISTS {table}")
            self.execute(f"CREATE TABLE {table} AS\n{query}")
            self.execute(f"COMMENT ON TABLE {table} IS {_text(f'{MARK} {note}'.rstrip())}")
            self._check_written(table, name, first=0, rows=rows, labels=labels, same=same)

    def append_table(
        self, query: str, name: str, *, rows: int, labels: Sequence[str], same: Callable[[pa.RecordBatchReader], None]
    ) -> None:
        table = self._in_full(name)
        with self._atomic():
            self.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")  # two at once would count each other's rows
            (first,) = self.rows(f"SELECT count(*) FROM {table}")[0]  # noqa: S608 (quoted by sqlglot)
            there, new = self._columns(table), self._columns_of(query)
            if there != new:
                are, were = (", ".join(f"{each.name} {each.dtype}" for each in columns) for columns in (new, there))
                raise WarehouseError(
                    f"{name} has other columns than the new rows: {were}; they have {are}\n"
                    "  fix  build it anew, without --append"
                )
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
        if count - first != rows:
            raise WarehouseError(f"{rows:,} rows were expected in {name} and {count - first:,} came; nothing was kept")
        # Read in the order in which it was written.
        self.execute("SET LOCAL synchronize_seqscans = off")
        self.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        columns = ", ".join(_name(fitted(label)) for label in labels)
        with self.arrow(f"SELECT {columns} FROM {table} OFFSET {first}") as written:  # noqa: S608 (quoted by sqlglot)
            same(written)

    def table_note(self, name: str) -> tuple[str, int] | None:
        table = self._in_full(name)
        found = self.rows(
            "SELECT c.relkind::text, obj_description(c.oid, 'pg_class') FROM pg_catalog.pg_class AS c "  # noqa: S608
            f"WHERE c.oid = to_regclass({_text(table)})"
        )
        if not found:
            return None
        [(kind, comment)] = found
        if kind != "r" or not (comment or "").startswith(MARK):
            raise WarehouseError(
                f"{name} exists and is not a training set that featurelayer wrote\n"
                "  fix  choose another name, or drop it first"
            )
        (rows,) = self.rows(f"SELECT count(*) FROM {table}")[0]  # noqa: S608 (quoted by sqlglot)
        return comment.removeprefix(MARK).strip(), rows

    def _in_full(self, name: str) -> str:
        """A table's name with its schema, the target's by default, or it could mean one of the temporary tables."""
        found = _table(name)
        if not found.db:
            found.set("db", exp.to_identifier(self._schema, quoted=True))
        return found.sql(dialect="postgres", identify=True)

    def estimate(self, query: str) -> Estimate:
        from featurelayer.warehouse._postgres_scans import estimate

        return estimate(self.rows, query)

    # --- the rest ------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        found: datetime = self.rows("SELECT now()")[0][0]
        return found

    def drop(self, temporary: Sequence[str]) -> None:
        for name in temporary:
            self.execute(f"DROP TABLE IF EXISTS pg_temp.{_name(fitted(name))}")

    def close(self) -> None:
        with suppress(Exception):  # a session that is broken has ended
            self._connection.close()


def _table(relation: str) -> exp.Table:
    """A relation as PostgreSQL reads its name: what is not quoted is in small letters."""
    try:
        table = exp.to_table(relation, dialect="postgres")
    except SqlglotError:
        table = None
    if table is None or not isinstance(table.this, exp.Identifier):
        return exp.Table(this=exp.to_identifier(relation, quoted=True))
    for part in table.parts:
        if isinstance(part, exp.Identifier) and not part.args.get("quoted"):
            part.set("this", part.name.lower())
    return table


def _remembering(reader: pa.RecordBatchReader, failed: list[LabelError]) -> pa.RecordBatchReader:
    """The same batches; what is wrong with the labels is remembered, since the driver makes text of it."""
    import pyarrow as pa

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from reader
        except LabelError as error:
            failed.append(error)
            raise

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def _distinct(names: Sequence[str]) -> list[str]:
    """Names for a table's columns: their own, or their place where two are the same or one is empty."""
    return [name if name and names.count(name) == 1 else f"__fl_c{place}" for place, name in enumerate(names)]


def _positions(alias: str, count: int) -> str:
    columns = ", ".join(f'"c{place}"' for place in range(count))
    return f"{alias} ({columns})"


def _name(name: str) -> str:
    return exp.to_identifier(name, quoted=True).sql(dialect="postgres")


def _text(value: str) -> str:
    return exp.Literal.string(value).sql(dialect="postgres")


def _failed(error: Exception, sql: str) -> WarehouseError:
    from featurelayer.warehouse._postgres_types import REFUSED

    reason = _reason(error)
    refused = re.search(f'"{REFUSED}(.*)"', reason, re.DOTALL)
    if refused:
        return WarehouseError(refused[1], sql=sql)
    return WarehouseError(f"PostgreSQL: {reason}", sql=sql)


def _reason(error: Exception) -> str:
    """The server's own sentence, without what the drivers say around it."""
    text = str(error)
    found = re.search(r"(?:ERROR|FATAL):\s+(.+)", text)
    return (found[1] if found else text.strip().splitlines()[0]).strip()
