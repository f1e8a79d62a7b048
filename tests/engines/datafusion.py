"""DataFusion in this process: the portable script on an engine that is neither DuckDB nor ClickHouse.

dbt has no adapter for it, so its dialect is the tests' own: the portable form with a few words of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
from datafusion import SessionContext
from sqlglot import exp

from featurelayer.errors import RelationNotBuilt, WarehouseError
from featurelayer.model import Column, DType, Kind
from featurelayer.sql.ast import col, table
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.plan import position_name
from featurelayer.testing import WarehouseEngine
from featurelayer.warehouse.base import Source
from featurelayer.warehouse.streams import column_of

_ORDER = "__fl_row"


class DataFusion(Dialect):
    """The portable form. Tables live as long as the session, so nothing has to be temporary."""

    name = "duckdb"  # sqlglot has no DataFusion; its SQL is near to DuckDB's
    text_type = "VARCHAR"
    has_cte_hint = False
    has_stable_order = False

    def type_text(self, dtype: DType) -> str:
        match dtype.kind:
            case Kind.FLOAT:
                return "FLOAT" if dtype.bits == 32 else "DOUBLE"
            case _:
                return super().type_text(dtype)

    def create(self, name: str, query: exp.Query) -> str:
        return self.sql(exp.Create(kind="TABLE", this=table(name), expression=query, replace=True))

    def utc(self, expression: exp.Expression, dtype: DType, *, nanoseconds: bool = False) -> exp.Expression:
        if dtype.kind is Kind.TIMESTAMPTZ:
            kind = exp.Literal.string('Timestamp(Microsecond, Some("UTC"))')
            aware = exp.Anonymous(this="arrow_cast", expressions=[expression, kind])
            expression = exp.Anonymous(this="to_local_time", expressions=[aware])
        return _micros(expression)

    def moment(self, at: datetime) -> exp.Expression:
        return _micros(super().moment(at))

    def micros(self, expression: exp.Expression) -> exp.Expression:
        return exp.cast(expression, exp.DataType.build("BIGINT"))

    def finer_than_microseconds(self, value: exp.Expression) -> exp.Expression:
        kind = exp.Literal.string("Timestamp(Nanosecond, None)")
        nanos = exp.cast(exp.Anonymous(this="arrow_cast", expressions=[value, kind]), exp.DataType.build("BIGINT"))
        return exp.NEQ(this=exp.Mod(this=nanos, expression=exp.Literal.number(1000)), expression=exp.Literal.number(0))

    def comparable(self, column: Column, alias: str) -> list[exp.Expression]:
        if column.dtype.kind is Kind.BYTES:  # a window can't be ordered by them
            return [exp.Anonymous(this="encode", expressions=[col(column.name, alias), exp.Literal.string("hex")])]
        return super().comparable(column, alias)

    def row_number(self, by: Sequence[str] = ()) -> exp.Expression:
        """A number without a sign, less one, would be a decimal."""
        return exp.cast(super().row_number(by), exp.DataType.build("BIGINT"))

    def canonical_json(self, value: exp.Expression) -> exp.Expression:
        return exp.cast(value, exp.DataType.build("VARCHAR", dialect="duckdb"))


def _micros(expression: exp.Expression) -> exp.Expression:
    kind = exp.Literal.string("Timestamp(Microsecond, None)")
    return exp.Anonymous(this="arrow_cast", expressions=[expression, kind])


class DataFusionWarehouse:
    """One session of DataFusion."""

    dialect = "datafusion"

    def __init__(self) -> None:
        self._context = SessionContext()
        self._sources = 0

    def _run(self, sql: str) -> pa.Table:
        try:
            frame = self._context.sql(sql)
            batches = frame.collect()
            return pa.Table.from_batches(batches, schema=frame.schema())
        except Exception as error:
            raise WarehouseError(f"DataFusion: {error}", sql=sql) from error

    def execute(self, sql: str) -> None:
        zone = re.fullmatch(r"SET TIME ZONE '(.*)'", sql)
        self._run(f"SET datafusion.execution.time_zone = '{zone[1]}'" if zone else sql)

    def arrow(self, sql: str, *, batch_rows: int = 131_072) -> pa.RecordBatchReader:
        return self._run(sql).to_reader()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        found = self._run(sql)
        return list(zip(*(column.to_pylist() for column in found.columns), strict=True))

    def quote(self, relation: str) -> str:
        return exp.to_table(relation, dialect="duckdb").sql(dialect="duckdb", identify=True)

    def describe(self, relation: str) -> tuple[Column, ...]:
        try:
            schema = self._context.sql(f"SELECT * FROM {self.quote(relation)}").schema()
        except Exception as error:
            raise RelationNotBuilt(f"{relation} is not in the warehouse") from error
        return tuple(column_of(field) for field in schema)

    def attach(self, labels: pa.Table, *, csv_types: bool = False) -> Source:
        self._sources += 1
        name = f"__fl_frame_{self._sources}"
        safe = labels.rename_columns([position_name(at) for at in range(labels.num_columns)])
        numbered = safe.append_column(_ORDER, pa.array(range(labels.num_rows), pa.int64()))
        batches = numbered.to_batches() or [pa.RecordBatch.from_pylist([], schema=numbered.schema)]
        self._context.register_record_batches(name, [batches])
        columns = tuple(column_of(field) for field in labels.schema)
        return Source(sql=f'"{name}"', columns=columns, ordered=True, frame=True, order=_ORDER)

    def drop(self, temporary: Sequence[str]) -> None:
        for name in temporary:
            self.execute(f"DROP TABLE IF EXISTS {self.quote(exp.to_identifier(name, quoted=True).sql('duckdb'))}")

    def close(self) -> None:
        """Nothing is held."""


class DataFusionEngine(WarehouseEngine):
    """The kit's engine on DataFusion."""

    def __init__(self) -> None:
        super().__init__(DataFusionWarehouse(), DataFusion())

    def create(self, relation: str, rows: pa.Table) -> None:
        source = self.warehouse.attach(rows)
        columns = ", ".join(
            f"{position_name(at)} AS {exp.to_identifier(column.name, quoted=True).sql('duckdb')}"
            for at, column in enumerate(source.columns)
        )
        self.warehouse.execute(f"DROP TABLE IF EXISTS {relation}")
        self.warehouse.execute(f"CREATE TABLE {relation} AS SELECT {columns} FROM {source.sql}")
