"""Engines to try: any warehouse with its dialect, DuckDB in memory, and the oracle itself."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from sqlglot import exp

from featurelayer.model import FeatureService, FeatureView
from featurelayer.sql.ast import col, with_alias
from featurelayer.sql.dialects import dialect as dialect_of
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.plan import Entities, Ledger, Mode, Plan, Script, Statement, position_name
from featurelayer.sql.planner import plan_snapshot, plan_training_set
from featurelayer.sql.scripts import ScriptBuilder
from featurelayer.testing import oracle
from featurelayer.testing.builders import rows_of
from featurelayer.warehouse.base import Source, Warehouse
from featurelayer.warehouse.execute import run_checks, run_step

Row = Mapping[str, Any]
Exports = Mapping[str, Sequence[oracle.Run]]

_LEDGER = pa.schema(
    [
        ("store", pa.string()),
        ("view", pa.string()),
        ("version", pa.int64()),
        ("as_of", pa.timestamp("us")),
        ("finished_at", pa.timestamp("us")),
    ]
)
_STORE = "conformance"


class SingleQuery(ScriptBuilder):
    """Mixed into a form of script: a training set as one query, as a dbt model has it."""

    def compile(self, plan: Plan) -> Script:
        script = super().compile(plan)
        if isinstance(plan.spine, Entities):
            return script
        return replace(script, steps=(), temporary=(), query=Statement(sql=self.statement(plan, ordered=True)))


def with_script(dialect: Dialect, script_type: type[ScriptBuilder]) -> Dialect:
    """Return a dialect that writes its scripts in another form."""
    found = copy.copy(dialect)
    found.script_type = script_type
    # What is kept on an instance would be the first form's.
    vars(found).pop("script", None)
    vars(found).pop("rules", None)
    return found


class WarehouseEngine:
    """The SQL that featurelayer writes in a dialect, run in a warehouse.

    Args:
        warehouse: an open connection, which must be allowed to create tables.
        dialect: the dialect, or its name; the warehouse's own by default.
        schema: where the views' tables are made, as the warehouse writes it (`"memory"."main"`); by default the
            connection's own.
        lacks: abilities that this warehouse does not have (`featurelayer.testing.ABILITIES`).
    """

    def __init__(
        self,
        warehouse: Warehouse,
        dialect: Dialect | str | None = None,
        *,
        schema: str = "",
        lacks: Collection[str] = (),
    ) -> None:
        self.warehouse = warehouse
        self.dialect = dialect if isinstance(dialect, Dialect) else dialect_of(dialect or warehouse.dialect)
        self.lacks = frozenset(lacks)
        self._schema = schema
        self._labels: tuple[pa.Table, Source] | None = None
        self._compiled: tuple[Plan, Script] | None = None

    def use_zone(self, zone: str) -> None:
        """Give the session another time zone, which must not matter."""
        self.warehouse.execute(f"SET TIME ZONE '{zone}'")

    def relation(self, name: str) -> str:
        """Return the name of one of our tables as the warehouse writes it."""
        table = exp.to_identifier(name, quoted=True).sql(dialect=self.dialect.name)
        return f"{self._schema}.{table}" if self._schema else table

    def load(self, view: FeatureView, rows: pa.Table) -> None:
        """Create a view's table, in place of what was there."""
        self.create(self.relocate(view).relation_name, rows)

    def create(self, relation: str, rows: pa.Table) -> None:
        """Create a table from Arrow, in place of what was there."""
        source = self.warehouse.attach(rows)
        table = exp.to_table(relation, dialect=self.dialect.name)
        # Where the engine keeps no order, columns are named by their places, and one more says the order.
        columns = [with_alias(col(position_name(at)), column.name) for at, column in enumerate(source.columns)]
        found = exp.select(*(columns if source.order else [exp.Star()]))
        found = found.from_(exp.maybe_parse(source.sql, into=exp.Table, dialect=self.dialect.name))
        self.warehouse.execute(f"DROP TABLE IF EXISTS {relation}")
        self.warehouse.execute(self.dialect.sql(exp.Create(kind="TABLE", this=table, expression=found)))

    def relocate(self, view: FeatureView) -> FeatureView:
        """Return the view as it stands in this warehouse; views of one relation still share it."""
        return replace(view, relation_name=self.relation(exp.to_table(view.relation_name).name))

    def ledger(self, exports: Exports) -> Ledger:
        """Create the export ledger with these runs, in place of what was there."""
        rows = [
            {
                "store": _STORE,
                "view": view,
                "version": version,
                "as_of": oracle.utc(as_of),
                "finished_at": oracle.utc(at),
            }
            for view, runs in exports.items()
            for version, (at, as_of) in enumerate(runs, start=1)
        ]
        relation = self.relation("featurelayer_exports")
        self.create(relation, pa.Table.from_pylist(rows, schema=_LEDGER))
        return Ledger(relation=relation, store=_STORE)

    def training_set(
        self,
        labels: pa.Table,
        service: FeatureService,
        views: Mapping[str, FeatureView],
        *,
        mode: str = "known_at",
        exports: Exports | None = None,
    ) -> list[dict[str, Any]]:
        """Plan, compile and run a training set."""
        return self.run(self.plan(labels, service, views, mode=mode, exports=exports))

    def plan(
        self,
        labels: pa.Table,
        service: FeatureService,
        views: Mapping[str, FeatureView],
        *,
        mode: str = "known_at",
        exports: Exports | None = None,
    ) -> Plan:
        """Return the plan of a training set."""
        if self._labels is None or self._labels[0] is not labels:
            self._labels = (labels, self.warehouse.attach(labels))
        source = self._labels[1]
        here = {name: self.relocate(view) for name, view in views.items()}
        return plan_training_set(
            service,
            here,
            {name: self.warehouse.describe(view.relation_name) for name, view in here.items()},
            source=source.sql,
            label_columns=source.columns,
            ordered=source.ordered,
            order=source.order,
            mode=Mode(mode),
            ledger=self.ledger(exports or {}) if mode == "as_served" else None,
        )

    def snapshot_plan(self, view: FeatureView, as_of: datetime) -> Plan:
        """Return the plan of a view's snapshot at a time (naive is UTC)."""
        here = self.relocate(view)
        columns = self.warehouse.describe(here.relation_name)
        return plan_snapshot(here, columns, as_of=oracle.naive_utc(as_of).replace(tzinfo=UTC))

    def run(self, plan: Plan) -> list[dict[str, Any]]:
        """Return the rows of a plan; the same plan is not compiled twice in a row, which is most of a small run."""
        if self._compiled is None or self._compiled[0] != plan:
            self._compiled = (plan, self.compile(plan))
        script = self._compiled[1]
        run_checks(self.warehouse, script.checks)
        try:
            for step in script.steps:
                run_step(self.warehouse, step)
            return rows_of(self.warehouse.arrow(script.query.sql).read_all(), script.columns)
        finally:
            self.warehouse.drop(script.temporary)

    def compile(self, plan: Plan) -> Script:
        """Return the plan's script in the dialect."""
        return self.dialect.compile(plan)

    def close(self) -> None:
        """End the connection."""
        self.warehouse.close()


class OracleEngine:
    """The oracle as an engine: it must agree with every expectation that is written out by hand.

    It takes what it is given and refuses nothing.
    """

    lacks: Collection[str] = frozenset({"refusals"})

    def __init__(self) -> None:
        self._rows: dict[str, list[dict[str, Any]]] = {}

    def use_zone(self, zone: str) -> None:
        """Do nothing: there is no session."""

    def load(self, view: FeatureView, rows: pa.Table) -> None:
        """Keep a view's rows."""
        self._rows[view.id] = rows_of(rows)

    def training_set(
        self,
        labels: pa.Table,
        service: FeatureService,
        views: Mapping[str, FeatureView],
        *,
        mode: str = "known_at",
        exports: Exports | None = None,
    ) -> list[dict[str, Any]]:
        """Return what the oracle says."""
        return oracle.training_set(rows_of(labels), service, views, self._rows, mode=mode, exports=exports)
