"""The export ledger in the warehouse: a row per export and view, and the items that each meant to write.

A ledger row is written before the first write to the online store and completed after the view's commit. So a row
without `finished_at` is a run that is under way, died, or came too late because a newer one had committed. The ledger
is what mode `as_served` of a training set joins with, and what tells when which snapshot was being served.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlglot import exp

from featurelayer.errors import RelationNotBuilt
from featurelayer.model import DType
from featurelayer.sql.ast import all_of, col, with_alias
from featurelayer.sql.delta import ITEMS, Log
from featurelayer.sql.dialects import dialect
from featurelayer.sql.plan import RESERVED
from featurelayer.warehouse.base import Warehouse

LEDGER = {
    "run": "text", "store": "text", "view": "text", "definition": "text", "keys": "text", "dbt_invocation_id": "text",
    "version": "int64", "as_of": "timestamp", "started_at": "timestamp", "finished_at": "timestamp",
    "entities": "int64", "written": "int64", "unchanged": "int64", "refused": "int64", "tombstones": "int64",
    "bytes": "int64",
}  # fmt: skip

_COPIES = (f"{RESERVED}ledger", f"{RESERVED}items")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """One export of one view: the facts known before it writes, and those known after it commits.

    `run` is one id for all views of an export, `store` the online store, `definition` the fingerprint of the view's
    schema there, `keys` the entities and types of the item keys. Times are aware; `version` orders
    the runs of a view. Counts are entities.
    """

    run: str
    store: str
    view: str
    definition: str
    keys: str
    dbt_invocation_id: str
    version: int
    as_of: datetime
    started_at: datetime
    finished_at: datetime | None = None
    entities: int | None = None
    written: int | None = None
    unchanged: int | None = None
    refused: int | None = None
    tombstones: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The two tables in dbt's target schema, quoted as dbt quotes, and the store's name in the ledger."""

    ledger: str
    items: str
    store: str

    @classmethod
    def from_schema(cls, schema: str, store: str) -> Tables:
        ledger, items = (
            _quote_relation(name, schema) for name in ("featurelayer_exports", "featurelayer_export_items")
        )
        return cls(ledger=ledger, items=items, store=store)

    def log(self, view: str) -> Log:
        """The log of one view."""
        return Log(ledger=self.ledger, items=self.items, store=self.store, view=view)


class Ledger:
    """The export tables of one warehouse, for one store. The caller commits."""

    def __init__(self, warehouse: Warehouse, tables: Tables) -> None:
        self._warehouse, self._tables = warehouse, tables
        self._writer = dialect(warehouse.dialect)

    def create(self) -> None:
        """Create the missing tables."""
        for relation, columns in ((self._tables.ledger, LEDGER), (self._tables.items, ITEMS)):
            definitions = [
                exp.ColumnDef(this=exp.to_identifier(name, quoted=True), kind=self._writer.type(DType.parse(dtype)))
                for name, dtype in columns.items()
            ]
            schema = exp.Schema(this=self._table(relation), expressions=definitions)
            self._warehouse.execute(self._writer.sql(exp.Create(this=schema, kind="TABLE", exists=True)))

    @classmethod
    def copy_to_temporary(cls, warehouse: Warehouse, tables: Tables, view: str) -> tuple[Ledger, Tables]:
        """Return a view's ledger as temporary tables, for callers that must not write the real ones."""
        writer = dialect(warehouse.dialect)
        real, copies = cls(warehouse, tables), {}
        for relation, columns, name in zip((tables.ledger, tables.items), (LEDGER, ITEMS), _COPIES, strict=True):
            try:
                warehouse.describe(relation)
            except RelationNotBuilt:
                empty = [with_alias(writer.literal(None, DType.parse(dtype)), each) for each, dtype in columns.items()]
                warehouse.execute(writer.create(name, exp.select(*empty).where(exp.false())))
                copies[relation] = f'"{name}"'
        if tables.ledger not in copies:
            mine = exp.select(*(col(name) for name in LEDGER)).from_(real._table(tables.ledger))
            warehouse.execute(writer.create(_COPIES[0], mine.where(all_of(*real._mine(view)))))
        items = copies.get(tables.items, tables.items)
        tables_copy = Tables(ledger=f'"{_COPIES[0]}"', items=items, store=tables.store)
        return cls(warehouse, tables_copy), tables_copy

    def rows(self, view: str) -> list[LedgerRow]:
        """Return the exports of a view to this store, oldest first."""
        names = list(LEDGER)
        query = exp.select(*(col(name) for name in names)).from_(self._table(self._tables.ledger))
        query = query.where(all_of(*self._mine(view))).order_by(col("version"), col("run"))
        return [
            _parse_row(dict(zip(names, values, strict=True)))
            for values in self._warehouse.rows(self._writer.sql(query))
        ]

    def all_rows(self) -> list[LedgerRow]:
        """Return the exports of all views to all stores, oldest first.

        Raises:
            RelationNotBuilt: nothing has been exported from this warehouse.
        """
        self._warehouse.describe(self._tables.ledger)
        names = list(LEDGER)
        query = exp.select(*(col(name) for name in names)).from_(self._table(self._tables.ledger))
        query = query.order_by(col("started_at"), col("view"), col("run"))
        return [
            _parse_row(dict(zip(names, values, strict=True)))
            for values in self._warehouse.rows(self._writer.sql(query))
        ]

    def start(self, rows: Iterable[LedgerRow]) -> None:
        """Record exports that are about to start."""
        names = [exp.to_identifier(name, quoted=True) for name in LEDGER]
        values = [exp.Tuple(expressions=[self._literal(row, name) for name in LEDGER]) for row in rows]
        into = exp.Schema(this=self._table(self._tables.ledger), expressions=names)
        self._warehouse.execute(self._writer.sql(exp.Insert(this=into, expression=exp.Values(expressions=values))))

    def finish(self, row: LedgerRow) -> None:
        """Complete the row of an export that has committed."""
        changed = [exp.EQ(this=col(name), expression=self._literal(row, name)) for name in LEDGER]
        mine = all_of(*self._mine(row.view), exp.EQ(this=col("run"), expression=exp.Literal.string(row.run)))
        update = exp.Update(this=self._table(self._tables.ledger), expressions=changed, where=exp.Where(this=mine))
        self._warehouse.execute(self._writer.sql(update))

    def _mine(self, view: str) -> list[exp.Expression]:
        conditions = {"store": self._tables.store, "view": view}
        return [exp.EQ(this=col(name), expression=exp.Literal.string(value)) for name, value in conditions.items()]

    def _table(self, relation: str) -> exp.Table:
        return exp.to_table(relation, dialect=self._writer.name)

    def _literal(self, row: LedgerRow, name: str) -> exp.Expression:
        value = getattr(row, name)
        naive = value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value
        return self._writer.literal(naive, DType.parse(LEDGER[name]))


def _parse_row(values: Mapping[str, object]) -> LedgerRow:
    row = LedgerRow(**values)  # type: ignore[arg-type]
    times = {
        name: time.replace(tzinfo=UTC)
        for name in ("as_of", "started_at", "finished_at")
        if (time := getattr(row, name)) is not None
    }
    return replace(row, **times)


def _quote_relation(name: str, schema: str) -> str:
    """A table in a schema, quoted as dbt quotes."""
    place = exp.to_identifier(schema, quoted=True) if schema else None
    return exp.Table(this=exp.to_identifier(name, quoted=True), db=place).sql()
