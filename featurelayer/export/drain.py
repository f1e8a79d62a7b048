"""Drain the log of streamed rows: a table per view in the warehouse for a dbt model to read.

A log entry is deleted from the store only after the transaction that appended it has committed, and an entry whose id
is in the table is not appended again. So a drain may be killed at any instruction, or run twice: each row is in the
table exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from featurelayer.errors import PlanError, Problem, StoredSchemaMismatch
from featurelayer.export.ledger import Tables
from featurelayer.model import DType, FeatureView
from featurelayer.online.base import Item, ItemKey, OnlineStore
from featurelayer.online.codec import from_microseconds
from featurelayer.online.definitions import SCHEMAS, Schema, ViewDefinition, view_definition
from featurelayer.online.rows import RowCodec
from featurelayer.online.streaming import LogEntry, key_values, read_log_entries
from featurelayer.retry import retry_on_conflict
from featurelayer.sql.ast import col, with_alias
from featurelayer.sql.dialects import dialect
from featurelayer.sql.dialects.base import Dialect
from featurelayer.tempdirs import TempDir
from featurelayer.warehouse.base import OpenWarehouse, Warehouse, from_item

if TYPE_CHECKING:
    import pyarrow as pa

WRITTEN_AT, LOG_ID = "written_at", "log_id"
_ADDED = {WRITTEN_AT: "timestamp", LOG_ID: "text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainReport:
    """The result of draining a view: rows appended to its table, and rows that an earlier drain had appended."""

    view: str
    table: str
    appended: int
    known: int

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedLog:
    """The log of a view with its decoded rows and their target table."""

    view: FeatureView
    relation: str
    rows: Sequence[Mapping[str, Any]]
    keys: Sequence[ItemKey]


def drain(
    views: Iterable[FeatureView],
    store: OnlineStore,
    tables: Tables,
    open_warehouse: OpenWarehouse,
    *,
    always: bool,
) -> list[DrainReport]:
    """Append the logs of views to the warehouse in one transaction, then delete them from the store.

    A view without a log is skipped unless `always` is set, which creates its table anyway.

    Raises:
        PlanError: a view's table does not fit the view; nothing has been appended.
        StoredSchemaMismatch: an entry follows a schema that the store does not hold.
    """
    logs = [read_log(store, view, stream_table(view, tables)) for view in views]
    logs = [log for log in logs if always or log.rows]
    if not logs:
        return []
    reports = retry_on_conflict(partial(_append_all, open_warehouse, logs))
    for log in logs:
        store.remove(log.keys)
    return reports


def _append_all(open_warehouse: OpenWarehouse, logs: Sequence[StreamedLog]) -> list[DrainReport]:
    with open_warehouse(writable=True) as warehouse, warehouse.transaction():
        return [append(warehouse, log) for log in logs]


def stream_table(view: FeatureView, tables: Tables) -> str:
    """Return the table of a view's streamed rows: `featurelayer_streamed__plane_legs`, in the ledger's schema."""
    place = exp.to_table(tables.ledger)
    place.set("this", exp.to_identifier(f"featurelayer_streamed__{view.id.replace('.', '_')}", quoted=True))
    return place.sql()


def stream_columns(view: FeatureView) -> dict[str, DType]:
    """Return the columns of that table: join keys, event time, features, `written_at` and `log_id`.

    Raises:
        PlanError: a column of the view has a reserved name.
    """
    columns = {key.column: key.dtype for key in view.join_keys}
    if view.event_time and not view.static:
        columns[view.event_time] = view.dtype(view.event_time) or DType.parse("timestamp")
    columns |= {feature.name: feature.dtype for feature in view.features}
    reserved = [name for name in _ADDED if name in columns]
    if reserved:
        raise PlanError(
            Problem(what=f"the view has a column '{name}', which the table of streamed rows needs for itself",
                    where=view.id, fix="rename the column")
            for name in reserved
        )  # fmt: skip
    return columns | {name: DType.parse(dtype) for name, dtype in _ADDED.items()}


def read_log(store: OnlineStore, view: FeatureView, relation: str) -> StreamedLog:
    """Return a view's log, decoded.

    Raises:
        StoredSchemaMismatch: an entry follows a schema that the store does not hold.
        CorruptItem: an entry can't be read.
    """
    definition = view_definition(view)
    entries = list(read_log_entries(store, definition.sk))
    codecs = _read_codecs(store, {entry.schema for _, entry in entries}, view)
    rows = [
        _decode_row(definition, item, entry, codecs[entry.schema]) | {LOG_ID: f"{item.pk}/{item.sk}"}
        for item, entry in entries
    ]
    return StreamedLog(view=view, relation=relation, rows=rows, keys=[item.key for item, _ in entries])


def append(warehouse: Warehouse, log: StreamedLog) -> DrainReport:
    """Append the missing rows to the view's table; the caller commits.

    Raises:
        PlanError: the column types of the table differ from the view's.
    """
    columns, writer = stream_columns(log.view), dialect(warehouse.dialect)
    target = exp.to_table(log.relation, dialect=writer.name)
    _create_table(warehouse, writer, target, log, columns)
    appended = 0
    if log.rows:
        with TempDir() as folder:
            path = folder / "log.parquet"
            _write_parquet(path, log.rows, columns)
            source = exp.maybe_parse(from_item(warehouse, path), into=exp.Table, dialect=writer.name)
            [(before,)] = warehouse.rows(writer.sql(_count_query(target)))
            warehouse.execute(writer.sql(_insert_query(writer, target, source, columns)))
            [(after,)] = warehouse.rows(writer.sql(_count_query(target)))
            appended = int(after) - int(before)
    return DrainReport(
        view=log.view.id, table=target.sql(dialect=writer.name), appended=appended, known=len(log.rows) - appended
    )


def _create_table(
    warehouse: Warehouse, writer: Dialect, target: exp.Table, log: StreamedLog, columns: Mapping[str, DType]
) -> None:
    """Create the table, or add columns of newer features to an existing one."""
    # Create it before describing it: a failed statement would end the transaction.
    schema = exp.Schema(this=target.copy(), expressions=[_column_definition(writer, *each) for each in columns.items()])
    warehouse.execute(writer.sql(exp.Create(this=schema, kind="TABLE", exists=True)))
    there = {column.name: column.dtype for column in warehouse.describe(log.relation)}
    others = [name for name, dtype in columns.items() if name in there and there[name] != dtype]
    if others:
        raise PlanError(
            Problem(what=f"column '{name}' of {log.relation} is {there[name]}, but the view's is {columns[name]}",
                    where=log.view.id, fix="change the column's type in the table, or rename the table")
            for name in others
        )  # fmt: skip
    for name, dtype in columns.items():
        if name not in there:
            action = _column_definition(writer, name, dtype)
            warehouse.execute(writer.sql(exp.Alter(this=target.copy(), kind="TABLE", actions=[action])))


def _column_definition(writer: Dialect, name: str, dtype: DType) -> exp.ColumnDef:
    return exp.ColumnDef(this=exp.to_identifier(name, quoted=True), kind=writer.type(dtype))


def _insert_query(
    writer: Dialect, target: exp.Table, source: exp.Expression, columns: Mapping[str, DType]
) -> exp.Insert:
    there = target.copy()
    there.set("alias", exp.TableAlias(this=exp.to_identifier("t", quoted=True)))
    same_id = exp.EQ(this=col(LOG_ID, "t"), expression=col(LOG_ID, "r"))
    new = exp.Not(this=exp.Exists(this=exp.select(exp.Literal.number(1)).from_(there).where(same_id)))
    source = source.copy()
    source.set("alias", exp.TableAlias(this=exp.to_identifier("r", quoted=True)))
    typed = (with_alias(exp.cast(col(name, "r"), writer.type(dtype)), name) for name, dtype in columns.items())
    names = [exp.to_identifier(name, quoted=True) for name in columns]
    into = exp.Schema(this=target.copy(), expressions=names)
    return exp.Insert(this=into, expression=exp.select(*typed).from_(source).where(new))


def _count_query(target: exp.Table) -> exp.Select:
    return exp.select(exp.Count(this=exp.Star())).from_(target.copy())


def _decode_row(view: ViewDefinition, item: Item, entry: LogEntry, codec: RowCodec) -> dict[str, Any]:
    row = key_values(view, entry.pk)
    if row is None:
        raise StoredSchemaMismatch(
            f"the log of view {view.view} has a row of another key: {entry.pk}",
            fix="bring back the keys that the view had when it was written, and drain again",
        )
    row |= dict(zip(codec.names, codec.row(entry.f, item.pk, item.sk), strict=True))
    if view.event_time and entry.event_time is not None:
        row[view.event_time] = from_microseconds(entry.event_time)
    return row | {WRITTEN_AT: from_microseconds(entry.written_at)}


def _read_codecs(store: OnlineStore, named_: Iterable[str], view: FeatureView) -> dict[str, RowCodec]:
    keys = [(SCHEMAS, schema) for schema in sorted(named_)]
    items = store.read(keys, consistent=True)
    lacking = [schema for key, schema in ((key, key[1]) for key in keys) if key not in items]
    if lacking:
        raise StoredSchemaMismatch(
            f"the log of view {view.id} has rows of schema {', '.join(lacking)}, which the store does not hold",
            fix="export the view with the columns that it had then, and drain again",
        )
    return {schema: Schema.from_item(items[SCHEMAS, schema]).codec() for _, schema in keys}


def _write_parquet(path: Path, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, DType]) -> None:
    """Write the rows to a parquet file with the types of the columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, _arrow_type(dtype)) for name, dtype in columns.items()])
    arrays = [pa.array([_as_naive(row.get(name), dtype) for row in rows], schema.field(name).type)
              for name, dtype in columns.items()]  # fmt: skip
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path)


def _as_naive(value: Any, dtype: DType) -> Any:
    """Convert a value whose type is written as another one."""
    naive = getattr(value, "tzinfo", None) is not None and str(dtype) == "timestamp"
    return value.replace(tzinfo=None) if naive else value


def _arrow_type(dtype: DType) -> pa.DataType:
    import pyarrow as pa

    simple: dict[str, Callable[[], pa.DataType]] = {
        "bool": pa.bool_, "float": pa.float64, "bytes": pa.binary, "date": pa.date32,
        "timestamp": lambda: pa.timestamp("us"), "timestamptz": lambda: pa.timestamp("us", tz="UTC"),
    }  # fmt: skip
    if dtype.kind in ("int", "uint"):
        return getattr(pa, f"{dtype.kind}{dtype.bits or 64}")()
    if dtype.kind == "decimal":
        return pa.decimal128(dtype.precision or 38, dtype.scale or 0)
    if dtype.kind == "array" and dtype.element is not None:
        return pa.list_(_arrow_type(dtype.element))
    return simple.get(dtype.kind, pa.string)()
