"""Use case: the export ledger, a table of the warehouse with a row per export and view.

A row is written before the first write to the online store and completed after the view's commit. So a row without
`finished_at` is a run that is under way, died, or came too late because a newer one had committed. The ledger is what
mode `as_served` of a training set joins with, and what tells when which snapshot was being served.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlglot import exp

from featurelayer.model import DType
from featurelayer.sql.ast import both, col
from featurelayer.sql.dialects import dialect
from featurelayer.warehouse.base import Warehouse

TABLE = "featurelayer_exports"
_TYPES = {
    "run": "text",
    "store": "text",
    "view": "text",
    "definition": "text",
    "dbt_invocation_id": "text",
    "version": "int64",
    "as_of": "timestamp",
    "started_at": "timestamp",
    "finished_at": "timestamp",
    "entities": "int64",
    "written": "int64",
    "unchanged": "int64",
    "refused": "int64",
    "tombstones": "int64",
    "bytes": "int64",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """One export of one view: what is known before it writes, and what is known when it has committed.

    `run` is one id for all views of an export, `store` the online store, `definition` the fingerprint of the view's
    schema there. Times are aware; `version` orders the runs of a view. Counts are entities.
    """

    run: str
    store: str
    view: str
    definition: str
    dbt_invocation_id: str
    started_at: datetime
    version: int | None = None
    as_of: datetime | None = None
    finished_at: datetime | None = None
    entities: int | None = None
    written: int | None = None
    unchanged: int | None = None
    refused: int | None = None
    tombstones: int | None = None
    bytes: int | None = None


def ledger_relation(schema: str) -> str:
    """Return the ledger's table in the schema that dbt builds in, quoted as dbt quotes."""
    return exp.Table(
        this=exp.to_identifier(TABLE, quoted=True), db=exp.to_identifier(schema, quoted=True) if schema else None
    ).sql()


def record_start(warehouse: Warehouse, relation: str, rows: Iterable[LedgerRow]) -> None:
    """Make the ledger if it is not there and add rows of exports that are about to begin."""
    engine = dialect(warehouse.dialect)
    table = exp.to_table(relation, dialect=engine.name)
    columns = [
        exp.ColumnDef(this=exp.to_identifier(name, quoted=True), kind=engine.type(DType.parse(dtype)))
        for name, dtype in _TYPES.items()
    ]
    schema = exp.Schema(this=table.copy(), expressions=columns)
    warehouse.execute(engine.sql(exp.Create(this=schema, kind="TABLE", exists=True)))
    names = [exp.to_identifier(name, quoted=True) for name in _TYPES]
    values = [
        exp.Tuple(expressions=[_literal(getattr(row, name), name, warehouse.dialect) for name in _TYPES])
        for row in rows
    ]
    insert = exp.Insert(this=exp.Schema(this=table, expressions=names), expression=exp.Values(expressions=values))
    warehouse.execute(engine.sql(insert))


def record_finish(warehouse: Warehouse, relation: str, rows: Iterable[LedgerRow]) -> None:
    """Complete the rows of exports that have committed."""
    engine = dialect(warehouse.dialect)
    for row in rows:
        changed = [
            exp.EQ(this=col(name), expression=_literal(getattr(row, name), name, warehouse.dialect))
            for name in _TYPES
            if name not in ("run", "view")
        ]
        mine = (
            exp.EQ(this=col(name), expression=exp.Literal.string(value))
            for name, value in (("run", row.run), ("view", row.view))
        )
        table = exp.to_table(relation, dialect=engine.name)
        warehouse.execute(engine.sql(exp.Update(this=table, expressions=changed, where=exp.Where(this=both(*mine)))))


def _literal(value: object, name: str, engine: str) -> exp.Expression:
    naive = value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value
    return dialect(engine).literal(naive, DType.parse(_TYPES[name]))
