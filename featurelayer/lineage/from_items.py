"""The relations of a FROM: their places, the keys that join them, and the time bounds of their rows.

The facts of a relation's columns have its place, so that a check can tell the relation that a view's event time comes
from, and whether another one is bound by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sqlglot import exp

from featurelayer.lineage.readers import ExpressionReader, QueryReader
from featurelayer.lineage.relations import OWN
from featurelayer.lineage.scope import (
    OF_JOINT,
    Frames,
    FromItem,
    Relation,
    SelectScope,
    Value,
    bind_fact,
    sort_sources,
    with_frames,
)
from featurelayer.lineage.time_bounds import find_equalities, find_frames, find_places
from featurelayer.lineage.time_names import is_time_name, is_time_type, is_written_name
from featurelayer.lineage.values import Bound, Fact, FactKind, SourceColumn

MAX_TIMES = 8
"""How many columns a fact names that tell when rows came to be."""


def apply_frames(scope: SelectScope, rows: Relation, frames: Frames) -> None:
    """Apply a condition's time bounds to everything read from the scope's relations from here on."""
    if not frames:
        return
    for item in scope.items:
        item.frames = {**item.frames, **frames}
    rows.facts = with_frames(rows.facts, frames)


def start_join(queries: QueryReader, item: FromItem, scope: SelectScope, node: exp.Expression, kind: str) -> None:
    """Assign a place to a joined relation, before its join conditions are read."""
    relation = item.relation
    tables = {(source.relation, source.unique_id) for value in relation.columns.values() for source in value.sources}
    name, unique_id = relation.reads or (tables.pop() if len(tables) == 1 else ("", ""))
    if name == OWN or not (name or tables or relation.sources):
        return  # the model's own rows of an earlier run, or rows without a table
    scope.number = scope.number or queries.next_place()
    item.joint = Fact(
        kind=FactKind.JOIN,
        model=queries.writer.model,
        sql=queries.writer.sql(node) if isinstance(node, exp.Join) else f"FROM {item.name or name}",
        function=kind.casefold(),
        relation=name,
        unique_id=unique_id,
        within=scope.within,
        line=find_node_line(node),
        place=f"{queries.writer.model} {scope.number}.{queries.next_place()}",
    )
    item.found.clear()


def finish_joins(queries: QueryReader, node: exp.Select, scope: SelectScope, rows: Relation) -> None:
    """Record the conditions that join a SELECT's relations, also with the outer row."""
    conditions = [join.args[name] for join in node.args.get("joins") or () for name in ("on", "match_condition")
                  if isinstance(join.args.get(name), exp.Expression)]  # fmt: skip
    if (where := node.args.get("where")) is not None:
        conditions.append(where.this)
    conditions += [equal for join in node.args.get("joins") or () for equal in _using(join, scope)]
    rows.times = find_times(scope)
    if not any(item.joint for item in scope.items) and not any(fact.kind is FactKind.JOIN for fact in rows.facts):
        return
    _read_columns(node, scope)
    frames = find_frames(queries.writer, conditions, scope)
    joined: set[Fact] = set()
    for item in scope.items:
        if item.joint is not None:
            item.joint = _join_fact(queries.writer, item, conditions, scope, frames)
            joined.add(item.joint)
        item.found.clear()
    apply_frames(scope, rows, frames)
    rows.facts |= joined
    rows.times = find_times(scope)


def hide_join(queries: QueryReader, item: FromItem, join: exp.Join, scope: SelectScope, rows: Relation) -> None:
    """Remove a SEMI or ANTI joined relation from the scope and record how its rows are bound."""
    conditions = [*([join.args["on"]] if join.args.get("on") is not None else []), *_using(join, scope)]
    joint = item.joint
    if joint is not None and joint.function == "semi":
        frames = find_frames(queries.writer, conditions, scope)
        rows.facts |= {_join_fact(queries.writer, item, conditions, scope, frames)}
    scope.items.remove(item)


def subquery_facts(value: Value, relation: Relation) -> frozenset[Fact]:
    """Return the facts of a subquery's value inside a row: its aggregates are joined like its rows."""
    joints = [fact for fact in relation.facts if fact.kind is FactKind.JOIN and (fact.keys or fact.bound)]
    joint = max(joints, key=lambda fact: (list(Bound).index(fact.bound), fact.place), default=None)
    aggregates = {fact for fact in value.facts if fact.kind is FactKind.AGGREGATE}
    if not aggregates:
        return value.facts
    of_joint = {name: getattr(joint, name) for name in OF_JOINT} if joint else {}
    others = {fact for fact in value.facts if fact.kind is not FactKind.JOIN or fact.bound not in ("", Bound.PAST)}
    return frozenset((*others, *(replace(fact, kind=FactKind.JOINED, **of_joint) for fact in aggregates)))


def bind_subquery(item: FromItem) -> None:
    """Bind the columns of a subquery as the outer row binds its rows."""
    columns = item.relation.columns
    for name, value in columns.items():
        columns[name] = replace(value, facts=subquery_facts(value, item.relation))
    item.found.clear()


def is_correlated(query: exp.Expression, around: SelectScope | None) -> bool:
    """Whether a subquery names a column of the query around it."""
    if around is None:
        return False
    names = {table.alias_or_name.casefold() for table in query.find_all(exp.Table, exp.Subquery)}
    tables = {column.table.casefold() for column in query.find_all(exp.Column)} - names - {""}
    return any(around.has_table(table) for table in tables)


def _join_fact(
    writer: ExpressionReader, item: FromItem, conditions: list[exp.Expression], scope: SelectScope, frames: Frames
) -> Fact:
    own: set[SourceColumn] = set()
    keys: set[SourceColumn] = set()
    twins: set[str] = set()
    for pair in find_equalities(conditions):
        for mine, theirs in (pair, pair[::-1]):
            if _owners(mine, scope) == {id(item)} and id(item) not in (owners := _owners(theirs, scope)) and owners:
                value = writer.value(mine, scope)
                own |= value.sources
                twins |= find_places(value)
                keys |= writer.value(theirs, scope).sources
    assert item.joint is not None
    joint = replace(
        item.joint,
        own=sort_sources(own),
        keys=sort_sources(keys),
        twins=tuple(sorted(twins - {item.joint.place})),
        times=sort_sources(item_times(item))[:MAX_TIMES],
    )
    frame = frames.get(joint.place)
    return bind_fact(joint, frame) if frame else joint


def _using(join: exp.Join, scope: SelectScope) -> Iterator[exp.Expression]:
    """Yield the equations of USING, each with the first other relation that has the column."""
    joined = join.this.alias_or_name.casefold()
    for column in join.args.get("using") or ():
        name = column.name.casefold()
        other = next((item.name for item in scope.items if item.name != joined and item.column(name) is not None), None)
        if other is not None:
            yield exp.EQ(this=exp.column(name, table=other), expression=exp.column(name, table=joined))


def _owners(node: exp.Expression, scope: SelectScope) -> set[int]:
    """Return the relations that own an expression's columns; 0 is the outer query."""
    return {_owner(column, scope) for column in node.find_all(exp.Column)}


def _owner(column: exp.Column, scope: SelectScope) -> int:
    name, table = column.name.casefold(), column.table.casefold()
    for item in scope.items:
        if item.name == table if table else name in item.relation.columns:
            return id(item)
    return 0


def _read_columns(node: exp.Select, scope: SelectScope) -> None:
    """Add the columns that the SELECT names to relations with unknown columns: one may be a time."""
    items = {item.name: item for item in scope.items if item.relation.reads is not None}
    for column in node.find_all(exp.Column) if items else ():
        if (item := items.get(column.table.casefold())) is not None:
            item.column(column.name.casefold())


def find_times(scope: SelectScope) -> frozenset[SourceColumn]:
    """Return the time columns of a SELECT's rows, except those of relations bound by the others."""
    items = [item for item in scope.items if item.joint is None or item.joint.bound is not Bound.PAST]
    return frozenset(source for item in items or scope.items for source in item_times(item))


def item_times(item: FromItem) -> frozenset[SourceColumn]:
    """Return the time columns of a relation's rows."""
    relation = item.relation
    if relation.times:
        return relation.times
    return frozenset(
        source
        for name, value in relation.columns.items()
        if (is_time_type(value.type) if value.type else is_time_name(name)) and not is_written_name(name)
        for source in value.sources
    )


def find_node_line(node: exp.Expression) -> int:
    """Return the SQL line of an expression, or of its nearest parent with a line; 0 if unknown."""
    around = node
    while True:
        lines = [int(each.meta["line"]) for each in around.walk() if "line" in each.meta]
        if lines or not isinstance(around.parent, exp.Expression):
            return min(lines, default=0)
        around = around.parent
