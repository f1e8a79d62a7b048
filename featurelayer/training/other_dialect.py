"""Plan a training set for an engine other than the connected one, to read or paste there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sqlglot import exp

from featurelayer.sql.ast import parse_from_item
from featurelayer.sql.dialects import dialect
from featurelayer.sql.plan import AsofJoin, Labels, Plan
from featurelayer.training.resolved_request import ResolvedRequest, plan_request
from featurelayer.warehouse.base import Source, Warehouse

_LABELS = "labels"


def plan_other_dialect(warehouse: Warehouse, request: ResolvedRequest, engine: str) -> Plan:
    """Return the plan of a request with all relations named as another engine, a dbt adapter type, quotes them.

    Columns and their types are looked up in `warehouse`. Labels that are not a relation become a table named `labels`,
    which the head of the script explains.

    Raises:
        UnsupportedByDialect: there is no dialect for the engine.
        LabelError, PlanError: as `plan_request`.
    """
    here, there = dialect(warehouse.dialect).name, dialect(engine).name

    def quote_relation(relation: str) -> str:
        return exp.to_table(relation, dialect=here).sql(dialect=there, identify=True)

    labels = request.labels
    if is_relation := _is_relation(labels, here):
        source = quote_relation(labels.sql)
    else:
        source = exp.to_table(_LABELS).sql(dialect=there, identify=True)
    # Plan with the warehouse's names first, then replace them.
    columns = tuple(replace(labels.parsed.get(column.name, column), name=column.name) for column in labels.columns)
    unread = replace(labels, columns=columns, parsed={}, frame=False, ordered=False, order="")
    plan = plan_request(warehouse, replace(request, labels=unread))
    assert isinstance(plan.spine, Labels), "a training set has labels"
    note = f"Written for {engine}; columns and types are those that {warehouse.dialect} has."
    if not is_relation:
        # A CSV has no types, so the script states the expected types of the keys and the time.
        types = ", ".join(f"{column.name} {column.dtype}" for column in columns) if labels.parsed else ""
        columns_note = f", with columns {types}" if types else ""
        note += f"\n{source} stands for the labels, {request.labels_name}: load them by that name{columns_note}."
    return replace(
        plan,
        spine=replace(plan.spine, source=source),
        joins=tuple(_rename_relations(join, quote_relation) for join in plan.joins),
        provenance=f"{plan.provenance}\n{note}",
    )


def _is_relation(labels: Source, here: str) -> bool:
    """Return whether labels are a relation visible to other sessions: not a file or a temporary table."""
    read = parse_from_item(labels.sql, here)
    return not labels.frame and isinstance(read.this, exp.Identifier)


def _rename_relations(join: AsofJoin, named: Callable[[str], str]) -> AsofJoin:
    ledger = join.ledger and replace(join.ledger, relation=named(join.ledger.relation))
    return replace(join, relation=named(join.relation), ledger=ledger)
