"""Spark, as dbt-spark's `method: session` runs it: in this process, with the profile's own settings.

Spark has no temporary tables. A script makes cached temporary views in a session of its own, which disappear
when it ends, however it ends; files brought in and results on their way out lie in a folder that Spark itself removes
when it stops. Nor has it transactions: the tables of exports are kept by `_spark_exports`.
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlglot import exp

from featurelayer.errors import LabelError, Problem, RelationNotBuilt, WarehouseError
from featurelayer.model import Column
from featurelayer.tempdirs import TempDir
from featurelayer.terminal_text import first_line
from featurelayer.warehouse.base import CsvRows, Estimate, Source
from featurelayer.warehouse.engines.spark.exports import MADE, ExportTables
from featurelayer.warehouse.engines.spark.scans import scans_of
from featurelayer.warehouse.engines.spark.scratch import drop_leftovers, scratch_name
from featurelayer.warehouse.engines.spark.start import start
from featurelayer.warehouse.engines.spark.types import as_spark_has_them, dtype_of
from featurelayer.warehouse.streams import (
    read_labels,
    rename_columns,
    split_columns,
    to_microseconds,
    write_csv,
    write_parquet,
)
from featurelayer.warehouse.tables import check_rows, foreign_table_error, table_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

# The profile must not change what our SQL means.
_PINNED = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "false",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.legacy.timeParserPolicy": "CORRECTED",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # Store the analysed plan of a temporary view, so that its text is not analysed at each use.
    "spark.sql.legacy.storeAnalyzedPlanForView": "true",
    "spark.sql.pyspark.jvmStacktrace.enabled": "false",
}
# Larger results, by Spark's estimate, go through files batch by batch instead of the driver's memory.
_SMALL = 16 * 1024 * 1024
_CACHED = re.compile(r"CACHE TABLE `((?:[^`]|``)+)`")


def connect(
    connection: Mapping[str, Any],
    *,
    root: Path,
    writable: bool = False,
    wait: timedelta = timedelta(0),  # noqa: ARG001 (no other process holds it)
) -> SparkWarehouse:
    """Start Spark in this process, or join the running one, with the settings of a dbt-spark target.

    Raises:
        ConfigError: the target has another method, or PySpark or Java is missing.
        WarehouseError: Spark does not start.
    """
    session, running = start(connection, root)
    schema = str(connection.get("schema") or "")
    if writable and schema and not session.catalog.databaseExists(_name(schema)):
        # dbt creates it only for a model in it.
        session.sql(f"CREATE SCHEMA IF NOT EXISTS {_name(schema)}")
    return SparkWarehouse(session, owned=not running, schema=schema)


@contextmanager
def keep_running(connection: Mapping[str, Any], root: Path) -> Iterator[None]:
    """Keep Spark, as `connect` starts it, running for several consecutive connections."""
    session, running = start(connection, root)
    try:
        yield
    finally:
        if not running:
            session.stop()


class SparkWarehouse:
    """A new session of the given one's Spark: its temporary views and settings are its own.

    `owned` means that Spark ends with it; `schema` is the default for names, if it exists.
    """

    dialect = "spark"

    def __init__(self, session: SparkSession, *, owned: bool = False, schema: str = "") -> None:
        self._session = session.newSession()
        self._owned = owned
        self._sources = 0
        self._made: set[str] = set()
        for name, value in _PINNED.items():
            self._session.conf.set(name, value)
        # A missing schema is reported only when a table is written to it.
        self._missing = schema if schema and not self._session.catalog.databaseExists(_name(schema)) else ""
        if schema and not self._missing:
            self._session.catalog.setCurrentDatabase(_name(schema))
        self._scratch = TempDir()
        self._folder = self._scratch.path
        jvm: Any = session.sparkContext._jvm
        jvm.org.apache.spark.util.ShutdownHookManager.registerShutdownDeleteDir(jvm.java.io.File(str(self._folder)))
        self._local = session.sparkContext.master.startswith("local")
        self._present: datetime | None = None
        here = "" if self._missing else self._session.catalog.currentDatabase()
        self._exports = ExportTables(self._session, here, self._collect)

    @property
    def session(self) -> SparkSession:
        """The Spark session."""
        return self._session

    @property
    def engine(self) -> str:
        return f"spark {self._session.version}"

    # --- reading -------------------------------------------------------------------------------------------------

    def quote(self, relation: str) -> str:
        return table_of(relation, "spark").sql(dialect="spark", identify=True)

    def describe(self, relation: str) -> tuple[Column, ...]:
        from pyspark.errors import AnalysisException, ParseException

        table = self.quote(relation)
        try:
            with _silent():
                schema = self._session.table(self._exports.resolve(table)).schema
        except (AnalysisException, ParseException) as error:
            raise RelationNotBuilt(
                f"{relation} is not in the warehouse: {first_line(error)}", fix="build it: `dbt build`", sql=table
            ) from error
        return tuple(Column(name=field.name, dtype=dtype_of(field.dataType)) for field in schema.fields)

    def attach(self, labels: Path | CsvRows | pa.Table) -> Source:
        import pyarrow as pa

        self._sources += 1
        name = f"__fl_frame_{self._sources}"
        with read_labels(labels) as found:
            names = found.reader.schema.names
            try:
                frame = self._load_frame(as_spark_has_them(to_microseconds(found.reader)), name)
            except pa.ArrowException as error:
                raise LabelError(
                    [
                        Problem(
                            what=f"Spark can't hold a label column: {first_line(error)}",
                            fix="cast it to a type that Spark has, or leave it out",
                        )
                    ]
                ) from error
            types = [field.dataType for field in frame.schema.fields]
            frame.toDF(*names).createOrReplaceTempView(name)
            self._made.add(name)
            loaded = [Column(name=column, dtype=dtype_of(kind)) for column, kind in zip(names, types, strict=True)]
        columns, parsed = split_columns(labels, loaded)
        is_frame = not isinstance(labels, (Path, CsvRows))
        return Source(sql=f"`{name}`", columns=columns, parsed=parsed, ordered=True, frame=is_frame)

    def _load_frame(self, reader: pa.RecordBatchReader, name: str) -> DataFrame:
        """Load rows into Spark in order, under names that can't collide."""
        from pyspark.sql.pandas.types import from_arrow_schema

        safe = rename_columns(reader, [f"c{position}" for position in range(len(reader.schema))])
        if not self._local:
            # Workers can't read local files, so the rows travel in the plan.
            return self._session.createDataFrame(safe.read_all())
        path = self._folder / f"{name.lstrip('_')}.parquet"  # Spark skips files whose names start with _
        # Give the schema, or Spark would read the file to infer it.
        schema = from_arrow_schema(safe.schema, prefer_timestamp_ntz=True)
        write_parquet(safe, path)
        return self._session.read.schema(schema).parquet(path.as_uri())

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all changes to the tables of exports or none: Spark itself has no transactions.

        Raises:
            WriteConflict: another transaction was faster.
        """
        self._present = self.now()
        try:
            with self._exports.transaction(self._present):
                yield
        finally:
            self._present = None

    def execute(self, sql: str) -> None:
        if self._exports.change(sql):
            return
        with _translate_errors(sql):
            cached = _CACHED.match(sql)
            if cached:
                name = cached[1].replace("``", "`")
                self.drop([name])  # Spark has no `or replace` for them
                self._made.add(name)
            self._frame(sql)

    def _frame(self, sql: str) -> DataFrame:
        return self._session.sql(self._exports.resolve(sql))

    def _collect(self, sql: str) -> list[Any]:
        with _translate_errors(sql):
            return list(self._session.sql(sql).collect())

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with _translate_errors(sql):
            table = self._frame(sql).toArrow()
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))

    def arrow(self, sql: str, *, batch_rows: int = 131_072) -> pa.RecordBatchReader:
        with _translate_errors(sql):
            frame = self._frame(sql)
            if not self._local or self._estimate_bytes(frame) < _SMALL:
                return frame.toArrow().to_reader(max_chunksize=batch_rows)
            folder = self._folder / f"result-{uuid.uuid4().hex}"
            names = frame.columns
            # A file would merge names that differ in case alone.
            safe = frame.toDF(*(f"c{position}" for position in range(len(names))))
            safe.write.option("compression", "zstd").parquet(folder.as_uri())
        return _read_back(folder, names, batch_rows)

    def _estimate_bytes(self, frame: DataFrame) -> int:
        """Return Spark's upper estimate of a result's size."""
        return int(frame._jdf.queryExecution().optimizedPlan().stats().sizeInBytes())

    def estimate(self, query: str) -> Estimate:
        """Return the optimizer's estimate for the relations a query reads, after partition pruning if it is known."""
        ((text,),) = self.rows(f"EXPLAIN COST {query}")
        return Estimate(scans=scans_of(text), how="EXPLAIN COST: sizes of files, before columns are left out")

    # --- writing -------------------------------------------------------------------------------------------------

    def write_file(
        self, query: str, path: Path, kind: Literal["parquet", "csv"], *, names: Sequence[str] | None = None
    ) -> int:
        if kind == "parquet":
            return write_parquet(rename_columns(self.arrow(query), names), path)
        return write_csv(rename_columns(self.arrow(self.as_text(query, self._columns(query))), names), path)

    def as_text(self, query: str, columns: Sequence[str]) -> str:
        wanted = set(columns)
        names = self._columns(query)
        texts = ", ".join(f"CAST({_name(n)} AS STRING) AS {_name(n)}" if n in wanted else _name(n) for n in names)
        return f"SELECT {texts} FROM (\n{query}\n)"  # noqa: S608 (names are quoted, the query is ours)

    def _columns(self, query: str) -> list[str]:
        with _translate_errors(query):
            return list(self._frame(query).columns)

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
        """Write the table under a scratch name, check it, then give it the old table's name."""
        table = table_of(name, "spark")
        if self._missing and not table.db:
            raise WarehouseError(
                f"{name} can't be written: schema {self._missing} of the target is not there",
                fix="let dbt build the features first, or name a schema that is there: --as-table schema.name",
            )
        exists = self._refuse_foreign(name)
        with _translate_errors(f"SHOW TABLES beside {name}"):
            drop_leftovers(self._session, table)
        new, old = (scratch_name(table, kind) for kind in ("new", "old"))
        marks = f"'{MADE}' = 'training set', '{MADE}.note' = {exp.Literal.string(note).sql(dialect='spark')}"
        try:
            self.execute(f"CREATE TABLE {new} USING parquet TBLPROPERTIES ({marks}) AS\n{query}")
            (count,) = self.rows(f"SELECT count(*) FROM {new}")[0]  # noqa: S608 (quoted by sqlglot)
            check_rows(name, expected=rows, came=count)
            columns = ", ".join(_name(label) for label in labels)
            # File names follow the order of the rows.
            order = "ORDER BY _metadata.file_name, _metadata.row_index"
            with self.arrow(f"SELECT {columns} FROM {new} {order}") as written:  # noqa: S608 (quoted by sqlglot)
                same(written)
            target = table.sql(dialect="spark", identify=True)
            if exists:
                self.execute(f"ALTER TABLE {target} RENAME TO {old}")
            try:
                self.execute(f"ALTER TABLE {new} RENAME TO {target}")
            except BaseException:
                if exists:
                    self.execute(f"ALTER TABLE {old} RENAME TO {target}")
                raise
        finally:
            self.execute(f"DROP TABLE IF EXISTS {new}")
        if exists:
            self.execute(f"DROP TABLE IF EXISTS {old}")

    def table_note(self, name: str) -> tuple[str, int] | None:
        if not self._refuse_foreign(name):
            return None
        properties = dict(self.rows(f"SHOW TBLPROPERTIES {self.quote(name)}"))
        (count,) = self.rows(f"SELECT count(*) FROM {self.quote(name)}")[0]  # noqa: S608 (quoted by sqlglot)
        return properties.get(f"{MADE}.note", ""), int(count)

    def append_table(
        self,
        query: str,  # noqa: ARG002
        name: str,
        *,
        rows: int,  # noqa: ARG002
        labels: Sequence[str],  # noqa: ARG002
        same: Callable[[pa.RecordBatchReader], None],  # noqa: ARG002
    ) -> None:
        """Refuse: inserted rows could neither be checked separately nor rolled back."""
        raise WarehouseError(
            f"{name} can't be appended to: Spark can't take an INSERT back",
            fix="append to a parquet file (--output), or build the table again without --append",
        )

    def _refuse_foreign(self, name: str) -> bool:
        """Raise if an existing table was not written by a build; return whether there is one."""
        try:
            self.describe(name)
        except RelationNotBuilt:
            return False
        try:
            properties = dict(self.rows(f"SHOW TBLPROPERTIES {self.quote(name)}"))
        except WarehouseError:  # a temporary view has none
            properties = {}
        if MADE not in properties:
            raise foreign_table_error(name)
        return True

    # --- the rest ------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        if self._present is not None:
            return self._present
        (micros,) = self.rows("SELECT unix_micros(current_timestamp())")[0]
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)

    def drop(self, temporary: Sequence[str]) -> None:
        for name in temporary:
            self._session.catalog.dropTempView(name)
            self._made.discard(name)

    def close(self) -> None:
        if self._owned:
            self._session.stop()
        else:
            self.drop(tuple(self._made))
        self._scratch.remove()


def _read_back(folder: Path, names: Sequence[str], batch_rows: int) -> pa.RecordBatchReader:
    """Yield the rows of a folder that Spark wrote, in order, deleting each file once read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(folder.glob("part-*.parquet"))
    schema = pq.read_schema(files[0])
    schema = pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)])

    def batches() -> Iterator[pa.RecordBatch]:
        for path in files:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_rows):
                    yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
            path.unlink()
        shutil.rmtree(folder, ignore_errors=True)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _name(name: str) -> str:
    return exp.to_identifier(name, quoted=True).sql(dialect="spark")


@contextmanager
def _silent() -> Iterator[None]:
    """Stop PySpark from logging what our own errors report."""
    import logging

    logger = logging.getLogger("SQLQueryContextLogger")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _translate_errors(sql: str) -> Iterator[None]:
    """Convert Spark's errors to ours."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        with _silent():
            yield
    except (PySparkException, Py4JError) as error:
        raise WarehouseError(f"Spark: {first_line(error)}", sql=sql) from error
