"""One session of an engine behind a dbt adapter: its connection, statements and results.

All calls of the adapter run in one dedicated thread: dbt keeps a connection per thread, and a driver that waits
for its server hears no Ctrl-C, so the thread that waits for it must be another, which then has the statement cancelled.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from sqlglot import exp

from featurelayer.errors import ConfigError, Problem, RelationNotBuilt, WarehouseError
from featurelayer.model import Column
from featurelayer.sql.dialects import available, dialect
from featurelayer.warehouse.dbt_adapter.facts import AdapterFacts, as_read, schema_of

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
_NAME = "featurelayer"


class _Target:
    """The part of a dbt configuration that an adapter reads."""

    profile_name = target_name = project_name = _NAME
    threads = 1
    target_path = "target"
    log_cache_events = False

    class query_comment:
        """Return no comment, so that none is added to our SQL."""

        comment, append, job_label = "", False, False

    def __init__(self, credentials: Any) -> None:
        self.credentials = credentials
        self.cli_vars: dict[str, Any] = {}

    def to_target_dict(self) -> dict[str, Any]:
        return dict(self.credentials.to_dict())


def _open_connection(connection: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the adapter with an open connection of this thread, and the driver's own handle."""
    from multiprocessing import get_context

    from dbt.adapters.factory import get_adapter_class_by_name, load_plugin
    from dbt_common.dataclass_schema import ValidationError
    from dbt_common.exceptions import DbtBaseException

    kind = str(connection["type"])
    try:
        credentials = load_plugin(kind)
        settings = credentials.translate_aliases({k: v for k, v in connection.items() if k not in ("type", "threads")})
        credentials.validate(settings)
        adapter = get_adapter_class_by_name(kind)(_Target(credentials.from_dict(settings)), get_context("spawn"))
    except (ValidationError, DbtBaseException) as error:
        what = f"dbt's adapter for {kind} does not take this target: {first_line(error)}"
        raise ConfigError([Problem(what=what, where="profiles.yml", fix="dbt debug says what is missing")]) from None
    try:
        adapter.acquire_connection(_NAME)
        handle = adapter.connections.get_thread_connection().handle
    except DbtBaseException as error:
        raise WarehouseError(
            f"{kind} can't be reached: {first_line(error)}", fix="check the target in profiles.yml (dbt debug)"
        ) from None
    with suppress(AttributeError, TypeError):
        # Autocommit, so that an error does not roll back the temporary tables.
        handle.autocommit = True
    return adapter, handle


class AdapterSession:
    """A session with the credentials of a dbt target.

    `dialect` is dbt's name of the adapter, `sql_name` sqlglot's of its SQL.
    """

    def __init__(self, connection: Mapping[str, Any], facts: AdapterFacts) -> None:
        self.dialect = str(connection["type"])
        self.sql_name = dialect(self.dialect).name if self.dialect in available() else self.dialect
        self.schema = schema_of(connection, facts)
        self._connection, self._facts = connection, facts
        self._made: list[str] = []
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dbt-adapter")
        try:
            self._adapter, self._handle = self._thread.submit(_open_connection, connection).result()
            for statement in self.session_statements():
                self.execute(statement)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise

    def session_statements(self) -> Sequence[str]:
        """Return the statements that set up a session, overriding the profile."""
        if self.dialect not in available():
            return ()
        return [statement.sql for statement in dialect(self.dialect).session]

    def open_another(self) -> AdapterSession:
        """Return another session with the same credentials."""
        return AdapterSession(self._connection, self._facts)

    def _wait(self, work: Callable[[], T]) -> T:
        """Run work in the adapter's thread, and cancel the statement on Ctrl-C."""
        future = self._thread.submit(work)
        try:
            return future.result()
        except KeyboardInterrupt:
            self._cancel()
            raise

    def _cancel(self) -> None:
        """Cancel the running statement, through the driver or the adapter."""
        for name in ("cancel", "interrupt"):
            stop = getattr(self._handle, name, None)
            if callable(stop):
                stop()
                return
        with suppress(Exception):  # closing the session ends the statement anyway
            self._adapter.connections.cancel_open()

    @functools.cached_property
    def engine(self) -> str:
        from importlib.metadata import version

        return f"{self.dialect}, by dbt-{self.dialect} {version(f'dbt-{self.dialect}')}"

    # --- reading -------------------------------------------------------------------------------------------------

    def _cursor(self, sql: str) -> Any:
        from dbt_common.exceptions import DbtBaseException

        connections = self._adapter.connections
        add_query = connections.add_query
        if self._facts.cuts_statements:
            from dbt.adapters.sql import SQLConnectionManager

            add_query = functools.partial(SQLConnectionManager.add_query, connections)
        try:
            return self._wait(lambda: add_query(sql, auto_begin=False)[1])
        except DbtBaseException as error:
            raise WarehouseError(f"{self.dialect}: {first_line(error)}", sql=sql) from error

    def execute(self, sql: str) -> None:
        self._cursor(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        cursor = self._cursor(sql)
        return [tuple(row) for row in self._wait(cursor.fetchall)]

    def arrow(self, sql: str, *, batch_rows: int = 131_072) -> pa.RecordBatchReader:
        import pyarrow as pa

        from featurelayer.warehouse.dbt_adapter.cursor_types import batch_of, columns_of, schema_of

        cursor = self._cursor(sql)
        if hasattr(cursor, "fetch_arrow_batches"):  # Snowflake's
            return _stream_tables(cursor.fetch_arrow_batches(), cursor.fetch_arrow_all)
        if hasattr(cursor, "fetchall_arrow"):  # Databricks'
            table: pa.Table = cursor.fetchall_arrow()
            return table.to_reader(max_chunksize=batch_rows)
        columns = columns_of(cursor.description, self.dialect)
        schema = schema_of(columns)

        def batches() -> Iterator[pa.RecordBatch]:
            while rows := self._wait(lambda: cursor.fetchmany(batch_rows)):
                yield batch_of(rows, columns, schema)

        return pa.RecordBatchReader.from_batches(schema, batches())

    def names_of(self, query: str) -> list[str]:
        """Return the names of a query's columns."""
        return [column[0] for column in self._empty(f"(\n{query}\n) AS q").description]

    def columns_of(self, source: str) -> tuple[Column, ...]:
        """Return the columns of a FROM item."""
        from featurelayer.warehouse.dbt_adapter.cursor_types import columns_of

        return columns_of(self._empty(source).description, self.dialect)

    def _empty(self, source: str) -> Any:
        return self._cursor(f"SELECT * FROM {source} WHERE 1 = 0")  # noqa: S608 (quoted by sqlglot, or ours)

    def quote(self, relation: str) -> str:
        return as_read(relation, self.sql_name).sql(dialect=self.sql_name, identify=True)

    def quote_name(self, name: str) -> str:
        """Quote a name."""
        return exp.to_identifier(name, quoted=True).sql(dialect=self.sql_name)

    def literal(self, value: str) -> str:
        """Quote a text as an SQL literal."""
        return exp.Literal.string(value).sql(dialect=self.sql_name)

    def describe(self, relation: str) -> tuple[Column, ...]:
        try:
            return self.columns_of(self.quote(relation))
        except WarehouseError as error:
            raise RelationNotBuilt(
                f"{relation} can't be read: {error.summary}", fix="build it: `dbt build`", sql=error.sql or relation
            ) from error

    def now(self) -> datetime:
        moment: Any = self.rows(f"SELECT {self._facts.present}")[0][0]
        if isinstance(moment, str):
            moment = datetime.fromisoformat(moment)
        time: datetime = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return time

    def drop(self, temporary: Sequence[str]) -> None:
        for name in temporary:
            self.execute(f"DROP TABLE IF EXISTS {self.quote_name(name)}")

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with suppress(WarehouseError):  # the end of the session drops them too
            self.drop(self._made)
        self._wait(self._adapter.cleanup_connections)
        self._thread.shutdown()


def _stream_tables(tables: Iterator[pa.Table], whole: Callable[..., pa.Table]) -> pa.RecordBatchReader:
    """Convert a stream of tables to one of batches; if it is empty, the driver gives the schema."""
    import pyarrow as pa

    first = next(tables, None)
    if first is None:
        return whole(force_return_table=True).to_reader()

    def batches() -> Iterator[pa.RecordBatch]:
        yield from first.to_batches()
        for table in tables:
            yield from table.cast(first.schema).to_batches()

    return pa.RecordBatchReader.from_batches(first.schema, batches())


def first_line(error: BaseException) -> str:
    """Return the first meaningful line of an error, skipping dbt's headings."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    meaningful = [line for line in lines if line not in ("Runtime Error", "Database Error", "Compilation Error")]
    return (meaningful or lines or [type(error).__name__])[0]
