"""Any warehouse that dbt has an adapter for: its connection and its cursor, with the credentials of the dbt target.

For engines without a driver of ours. dbt is imported here and nowhere else, and its tables of Python objects (agate)
are not used: rows leave through the driver's cursor, batch by batch, as Arrow where the driver has it. Labels are
loaded into a temporary table by INSERT, a thousand rows at a time, so a file of millions is better put into the
warehouse first and named as a relation.

A connection is one session: what is temporary ends with it, and `close` drops it before. All that the adapter does, it
does in one thread of its own: dbt keeps a connection per thread, and a driver that waits for its server hears no
Ctrl-C, so the thread that waits for it must be another, which then has the statement cancelled.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

from sqlglot import exp

from featurelayer.errors import ConfigError, LabelError, Problem, RelationNotBuilt, WarehouseError
from featurelayer.model import Column, Kind
from featurelayer.warehouse._inserts import statements
from featurelayer.warehouse.base import Estimate, Source
from featurelayer.warehouse.tables import table_of

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
ORDER = "__fl_row"
_NAME = "featurelayer"
_NESTED = (Kind.BYTES, Kind.ARRAY, Kind.STRUCT, Kind.MAP, Kind.UNKNOWN)
# Adapters whose connections have no cursor.
_NO_CURSOR = {"bigquery": "its client has no cursor"}
# What the session must say, whatever the profile says; dialects know it too, for scripts that are pasted.
_SESSION: dict[str, tuple[str, ...]] = {
    "clickhouse": (
        "SET session_timezone = 'UTC'",
        "SET join_use_nulls = 1",
        "SET prefer_column_name_to_alias = 1",
    ),
    "databricks": ("SET TIME ZONE 'UTC'", "SET ANSI_MODE = true"),
    "duckdb": ("SET TimeZone = 'UTC'", "SET preserve_insertion_order = true"),
    "postgres": ("SET TimeZone = 'UTC'",),
    "redshift": ("SET timezone TO 'UTC'",),
    "snowflake": ("ALTER SESSION SET TIMEZONE = 'UTC'",),
    "spark": ("SET TIME ZONE 'UTC'", "SET spark.sql.ansi.enabled = true"),
    "trino": ("SET TIME ZONE 'UTC'",),
}
_KEEP_ORDER = ("duckdb",)


def is_installed(kind: str) -> bool:
    """Whether dbt's adapter for a target type can be imported."""
    try:
        return find_spec(f"dbt.adapters.{kind}") is not None
    except (ImportError, ValueError):
        return False


def connect(
    connection: Mapping[str, Any],
    *,
    root: Path,  # noqa: ARG001 (an adapter takes relative paths from where it is called, as dbt does)
    writable: bool = False,  # noqa: ARG001 (the adapter decides)
    wait: timedelta = timedelta(0),  # noqa: ARG001
) -> AdapterWarehouse:
    """Connect with a target through dbt's own adapter for it.

    Raises:
        ConfigError: the adapter has no cursor, or does not take the target's credentials.
        WarehouseError: the engine can't be reached.
    """
    kind = str(connection["type"])
    if kind in _NO_CURSOR:
        what = f"training sets can't be built on the dbt adapter '{kind}' yet: {_NO_CURSOR[kind]}"
        fix = "make the training set a dbt model, which dbt builds: featurelayer dbt-model write"
        raise ConfigError([Problem(what=what, where="profiles.yml", fix=fix)])
    return AdapterWarehouse(connection)


class _Target:
    """As much of a dbt configuration as an adapter looks at."""

    profile_name = target_name = project_name = _NAME
    threads = 1
    target_path = "target"
    log_cache_events = False

    class query_comment:
        """No comment is put into our SQL."""

        comment, append, job_label = "", False, False

    def __init__(self, credentials: Any) -> None:
        self.credentials = credentials
        self.cli_vars: dict[str, Any] = {}

    def to_target_dict(self) -> dict[str, Any]:
        return dict(self.credentials.to_dict())


def _opened(connection: Mapping[str, Any]) -> tuple[Any, Any]:
    """The adapter with an open connection of this thread, and the driver's own handle."""
    from multiprocessing import get_context

    from dbt.adapters.factory import get_adapter_class_by_name, load_plugin
    from dbt_common.dataclass_schema import ValidationError
    from dbt_common.exceptions import DbtBaseException

    kind = str(connection["type"])
    try:
        credentials = load_plugin(kind)
        said = credentials.translate_aliases({k: v for k, v in connection.items() if k not in ("type", "threads")})
        credentials.validate(said)
        adapter = get_adapter_class_by_name(kind)(_Target(credentials.from_dict(said)), get_context("spawn"))
    except (ValidationError, DbtBaseException) as error:
        what = f"dbt's adapter for {kind} does not take this target: {_first_line(error)}"
        raise ConfigError([Problem(what=what, where="profiles.yml", fix="dbt debug says what is missing")]) from None
    try:
        adapter.acquire_connection(_NAME)
        handle = adapter.connections.get_thread_connection().handle
    except DbtBaseException as error:
        raise WarehouseError(
            f"{kind} can't be reached: {_first_line(error)}\n  fix  check the target in profiles.yml (dbt debug)"
        ) from None
    with suppress(AttributeError, TypeError):
        # Every statement by itself: a temporary table is not to go with the next error.
        handle.autocommit = True
    return adapter, handle


class AdapterWarehouse:
    """A session of any warehouse, through dbt's adapter.

    `keeps_order` says that a table gives its rows back in the order in which they came, and that names can be anything.
    """

    def __init__(self, connection: Mapping[str, Any], *, keeps_order: bool | None = None) -> None:
        self.dialect = str(connection["type"])
        self._keeps_order = self.dialect in _KEEP_ORDER if keeps_order is None else keeps_order
        self._made: list[str] = []
        self._sources = 0
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dbt-adapter")
        try:
            self._adapter, self._handle = self._thread.submit(_opened, connection).result()
            for statement in _SESSION.get(self.dialect, ()):
                self.execute(statement)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise

    def _wait(self, work: Callable[[], T]) -> T:
        """Have the adapter's thread do something, and cancel it if nobody waits any longer."""
        future = self._thread.submit(work)
        try:
            return future.result()
        except KeyboardInterrupt:
            self._cancel()
            raise

    def _cancel(self) -> None:
        """Stop what the engine is at, in the driver's way or the adapter's."""
        for name in ("cancel", "interrupt"):
            stop = getattr(self._handle, name, None)
            if callable(stop):
                stop()
                return
        with suppress(Exception):  # the session ends in any case
            self._adapter.connections.cancel_open()

    @functools.cached_property
    def engine(self) -> str:
        from importlib.metadata import version

        return f"{self.dialect}, by dbt-{self.dialect} {version(f'dbt-{self.dialect}')}"

    # --- reading -------------------------------------------------------------------------------------------------

    def _cursor(self, sql: str) -> Any:
        from dbt_common.exceptions import DbtBaseException

        try:
            return self._wait(lambda: self._adapter.connections.add_query(sql, auto_begin=False)[1])
        except DbtBaseException as error:
            raise WarehouseError(f"{self.dialect}: {_first_line(error)}", sql=sql) from error

    def execute(self, sql: str) -> None:
        self._cursor(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        cursor = self._cursor(sql)
        return [tuple(row) for row in self._wait(cursor.fetchall)]

    def arrow(self, sql: str, *, batch_rows: int = 131_072) -> pa.RecordBatchReader:
        import pyarrow as pa

        from featurelayer.warehouse._cursor_types import batch_of, columns_of, schema_of

        cursor = self._cursor(sql)
        if hasattr(cursor, "fetch_arrow_batches"):  # Snowflake's
            return _of_tables(cursor.fetch_arrow_batches(), cursor.fetch_arrow_all)
        if hasattr(cursor, "fetchall_arrow"):  # Databricks'
            table: pa.Table = cursor.fetchall_arrow()
            return table.to_reader(max_chunksize=batch_rows)
        columns = columns_of(cursor.description, self.dialect)
        schema = schema_of(columns)

        def batches() -> Iterator[pa.RecordBatch]:
            while rows := self._wait(lambda: cursor.fetchmany(batch_rows)):
                yield batch_of(rows, columns, schema)

        return pa.RecordBatchReader.from_batches(schema, batches())

    def quote(self, relation: str) -> str:
        return table_of(relation, self.dialect).sql(dialect=self.dialect, identify=True)

    def describe(self, relation: str) -> tuple[Column, ...]:
        from featurelayer.warehouse._cursor_types import columns_of

        query = f"SELECT * FROM {self.quote(relation)} WHERE 1 = 0"  # noqa: S608 (quoted by sqlglot)
        try:
            cursor = self._cursor(query)
        except WarehouseError as error:
            what = str(error).splitlines()[0]
            raise RelationNotBuilt(
                f"{relation} can't be read: {what}\n  fix  build it: dbt build", sql=query
            ) from error
        return columns_of(cursor.description, self.dialect)

    def attach(self, labels: Path | pa.Table, *, csv_types: bool = False) -> Source:
        from featurelayer.warehouse.streams import in_microseconds, read_labels

        self._sources += 1
        name = f"__fl_frame_{self._sources}"
        with read_labels(labels, csv_types=csv_types) as found:
            refused = [column for column in found.columns if column.dtype.kind in _NESTED]
            if refused:
                fix = "leave it out, or put the labels into the warehouse and name the relation"
                raise LabelError(
                    Problem(what=f"label column '{c.name}' is {c.dtype}, which can't be loaded by INSERT", fix=fix)
                    for c in refused
                )
            columns = tuple(replace(column, nanoseconds=False) for column in found.columns)
            self._load(name, columns, in_microseconds(found.reader))
        order = "" if self._keeps_order else ORDER
        return Source(
            sql=self._named(name),
            columns=columns,
            from_text=found.from_text,
            ordered=True,
            frame=not isinstance(labels, Path),
            order=order,
        )

    def _load(self, name: str, columns: Sequence[Column], reader: pa.RecordBatchReader) -> None:
        names = [column.name for column in columns]
        if not self._keeps_order or "" in names or len({name.casefold() for name in names}) < len(names):
            # Names that the engine would refuse, before it can be said better why.
            names = [f"c{position}" for position in range(len(columns))]
        order = None if self._keeps_order else ORDER
        self._made.append(name)
        for statement in statements(self.dialect, name, names, columns, reader, order=order):
            self.execute(statement)

    def _named(self, name: str) -> str:
        return exp.to_identifier(name, quoted=True).sql(dialect=self.dialect)

    # --- writing -------------------------------------------------------------------------------------------------

    def write_file(
        self, query: str, path: Path, kind: Literal["parquet", "csv"], *, names: Sequence[str] | None = None
    ) -> int:
        from featurelayer.warehouse.streams import renamed, write_csv, write_parquet

        if kind == "parquet":
            return write_parquet(renamed(self.arrow(query), names), path)
        return write_csv(renamed(self.arrow(self.as_text(query, self._names(query))), names), path)

    def as_text(self, query: str, columns: Sequence[str]) -> str:
        wanted, text = set(columns), exp.DataType.build("TEXT").sql(dialect=self.dialect)
        projected = ", ".join(
            f"CAST({self._named(name)} AS {text}) AS {self._named(name)}" if name in wanted else self._named(name)
            for name in self._names(query)
        )
        return f"SELECT {projected} FROM (\n{query}\n) AS q"  # noqa: S608 (names are quoted, the query is ours)

    def _names(self, query: str) -> list[str]:
        return [said[0] for said in self._cursor(f"SELECT * FROM (\n{query}\n) AS q WHERE 1 = 0").description]  # noqa: S608

    def write_table(
        self,
        query: str,  # noqa: ARG002
        name: str,
        *,
        rows: int,  # noqa: ARG002
        labels: Sequence[str],  # noqa: ARG002
        same: Callable[[pa.RecordBatchReader], None],  # noqa: ARG002
        note: str = "",  # noqa: ARG002
    ) -> None:
        self._refuse_table(name)

    def append_table(
        self,
        query: str,  # noqa: ARG002
        name: str,
        *,
        rows: int,  # noqa: ARG002
        labels: Sequence[str],  # noqa: ARG002
        same: Callable[[pa.RecordBatchReader], None],  # noqa: ARG002
    ) -> None:
        self._refuse_table(name)

    def table_note(self, name: str) -> tuple[str, int] | None:
        self._refuse_table(name)

    def _refuse_table(self, name: str) -> NoReturn:
        raise WarehouseError(
            f"{name} can't be written through dbt's adapter for {self.dialect}: a table is only replaced where it can "
            "be told whose it is\n  fix  write a file, or make the set a dbt model: featurelayer dbt-model write"
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Refuse: what a transaction covers differs from engine to engine."""
        raise WarehouseError(
            f"there are no transactions through dbt's adapter for {self.dialect}, which exports need\n"
            "  fix  export from a target of type duckdb or postgres"
        )
        yield  # pragma: no cover (makes it a generator)

    # --- the rest ------------------------------------------------------------------------------------------------

    def estimate(self, query: str) -> Estimate:
        """Return the engine's own words for its plan, where it has EXPLAIN; what they mean differs too much."""
        try:
            lines = [" ".join(str(part) for part in row if part is not None) for row in self.rows(f"EXPLAIN {query}")]
        except WarehouseError as error:
            return Estimate(how=f"it does not explain the query: {str(error).splitlines()[0]}")
        return Estimate(how="EXPLAIN, in the engine's words", text="\n".join(lines))

    def now(self) -> datetime:
        moment: Any = self.rows("SELECT CURRENT_TIMESTAMP")[0][0]
        if isinstance(moment, str):
            moment = datetime.fromisoformat(moment)
        found: datetime = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return found

    def drop(self, temporary: Sequence[str]) -> None:
        for name in temporary:
            self.execute(f"DROP TABLE IF EXISTS {self._named(name)}")

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with suppress(WarehouseError):  # the session's end drops them too
            self.drop(self._made)
        self._wait(self._adapter.cleanup_connections)
        self._thread.shutdown()


def _of_tables(tables: Iterator[pa.Table], whole: Callable[..., pa.Table]) -> pa.RecordBatchReader:
    """A stream of tables as one of batches; without any the driver is asked for an empty one."""
    import pyarrow as pa

    first = next(tables, None)
    if first is None:
        return whole(force_return_table=True).to_reader()

    def batches() -> Iterator[pa.RecordBatch]:
        yield from first.to_batches()
        for table in tables:
            yield from table.cast(first.schema).to_batches()

    return pa.RecordBatchReader.from_batches(first.schema, batches())


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if line not in ("Runtime Error", "Database Error", "Compilation Error")]
    return (said or lines or [type(error).__name__])[0]
