"""ClickHouse in this process, by chdb: as much of a warehouse as the kit and a build need."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from chdb import session
from sqlglot import exp

from featurelayer.errors import RelationNotBuilt, WarehouseError
from featurelayer.model import Column, DType, Kind
from featurelayer.sql.dialects.clickhouse import DIALECT
from featurelayer.testing import WarehouseEngine
from featurelayer.warehouse.base import Source

_ORDER = "__fl_row"
_KINDS = {"Bool": Kind.BOOL, "String": Kind.TEXT, "UUID": Kind.UUID, "Date": Kind.DATE, "Date32": Kind.DATE}


def dtype_of(text: str) -> DType:
    """The type that ClickHouse's own text for it means."""
    while wrapped := re.fullmatch(r"(?:Nullable|LowCardinality)\((.*)\)", text):
        text = wrapped[1]
    if array := re.fullmatch(r"Array\((.*)\)", text):
        return DType(kind=Kind.ARRAY, element=dtype_of(array[1]))
    if sized := re.fullmatch(r"(U?Int|Float)(\d+)", text):
        return DType(kind={"Int": Kind.INT, "UInt": Kind.UINT, "Float": Kind.FLOAT}[sized[1]], bits=int(sized[2]))
    if decimal := re.fullmatch(r"Decimal\((\d+), (\d+)\)", text):
        return DType(kind=Kind.DECIMAL, precision=int(decimal[1]), scale=int(decimal[2]))
    if text.startswith("DateTime"):
        return DType(kind=Kind.TIMESTAMPTZ if "'" in text else Kind.TIMESTAMP)
    return DType(kind=_KINDS.get(text, Kind.STRUCT if text.startswith("Tuple") else Kind.UNKNOWN))


class ClickHouseWarehouse:
    """One session of ClickHouse's engine."""

    dialect = "clickhouse"

    def __init__(self) -> None:
        self._session = session.Session()
        self._sources = 0
        for statement in DIALECT.session:
            self.execute(statement.sql)
        self.execute("SET output_format_arrow_string_as_string = 0")

    @property
    def engine(self) -> str:
        return f"clickhouse {self.rows('SELECT version()')[0][0]}"

    def _query(self, sql: str, kind: str = "Null") -> Any:
        try:
            return self._session.query(sql, kind)
        except RuntimeError as error:
            raise WarehouseError(f"ClickHouse: {str(error).splitlines()[0]}", sql=sql) from error

    def execute(self, sql: str) -> None:
        zone = re.fullmatch(r"SET TIME ZONE '(.*)'", sql)
        self._query(f"SET session_timezone = '{zone[1]}'" if zone else sql)

    def arrow(self, sql: str, *, batch_rows: int = 131_072) -> pa.RecordBatchReader:
        data = self._query(sql, "Arrow").bytes()
        table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
        columns = [_text(column) if _is_bytes(column.type) else column for column in table.columns]
        return pa.table(columns, names=table.column_names).to_reader(max_chunksize=batch_rows)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        table = self.arrow(sql).read_all()
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))

    def quote(self, relation: str) -> str:
        return exp.to_table(relation, dialect="clickhouse").sql(dialect="clickhouse", identify=True)

    def describe(self, relation: str) -> tuple[Column, ...]:
        try:
            found = self.rows(f"DESCRIBE TABLE {self.quote(relation)}")
        except WarehouseError as error:
            raise RelationNotBuilt(f"{relation} is not in the warehouse") from error
        return tuple(
            Column(name=name, dtype=dtype_of(text), nanoseconds="DateTime64(9" in text) for name, text, *_ in found
        )

    def attach(self, labels: pa.Table, *, csv_types: bool = False) -> Source:
        self._sources += 1
        name = f"__fl_frame_{self._sources}"
        safe = labels.rename_columns([f"c{at}" for at in range(labels.num_columns)])
        numbered = safe.append_column(_ORDER, pa.array(range(labels.num_rows), pa.int64()))
        typed = ", ".join(f"{field.name} {_type(field.type)}" for field in numbered.schema)
        self._query(f"CREATE TEMPORARY TABLE `{name}` ({typed}) ENGINE = Memory")
        if labels.num_rows:
            self._query(f"INSERT INTO `{name}` SELECT * FROM Python(numbered)")
        columns = tuple(
            replace(column, name=label)
            for column, label in zip(self.describe(f"`{name}`")[:-1], labels.column_names, strict=True)
        )
        return Source(sql=f"`{name}`", columns=columns, ordered=True, frame=True, order=_ORDER)

    def now(self) -> datetime:
        (micros,) = self.rows("SELECT toUnixTimestamp64Micro(now64(6))")[0]
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)

    def drop(self, temporary: Sequence[str]) -> None:
        for name in temporary:
            self.execute(f"DROP TEMPORARY TABLE IF EXISTS {_name(name)}")

    def close(self) -> None:
        self._session.close()


def _name(name: str) -> str:
    return exp.to_identifier(name, quoted=True).sql(dialect="clickhouse")


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"Array({_type(kind.value_type)})"
    if pa.types.is_struct(kind):
        return f"Tuple({', '.join(f'{field.name} {_type(field.type)}' for field in kind)})"
    if pa.types.is_timestamp(kind):
        zone = ", 'UTC'" if kind.tz else ""
        return f"Nullable(DateTime64({9 if kind.unit == 'ns' else 6}{zone}))"
    if pa.types.is_decimal(kind):
        return f"Nullable(Decimal({kind.precision}, {kind.scale}))"
    if pa.types.is_integer(kind):
        return f"Nullable({'U' if pa.types.is_unsigned_integer(kind) else ''}Int{kind.bit_width})"
    if pa.types.is_floating(kind):
        return f"Nullable(Float{kind.bit_width})"
    plain = {pa.bool_(): "Bool", pa.date32(): "Date32"}
    return f"Nullable({plain.get(kind, 'String')})"


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind.value_type if pa.types.is_list(kind) else kind)


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """ClickHouse has one type for text and bytes: it is text if it can be."""
    try:
        return column.cast(pa.list_(pa.string()) if pa.types.is_list(column.type) else pa.string())
    except pa.ArrowInvalid:
        return column


class ClickHouseEngine(WarehouseEngine):
    """The kit's engine on ClickHouse."""

    def __init__(self) -> None:
        super().__init__(ClickHouseWarehouse(), lacks=())

    def create(self, relation: str, rows: pa.Table) -> None:
        source = self.warehouse.attach(rows)
        self.warehouse.execute(f"DROP TABLE IF EXISTS {relation}")
        columns = ", ".join(f"c{at} AS {_name(column.name)}" for at, column in enumerate(source.columns))
        self.warehouse.execute(f"CREATE TABLE {relation} ENGINE = Memory AS SELECT {columns} FROM {source.sql}")
