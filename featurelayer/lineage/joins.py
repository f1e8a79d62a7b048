"""Joins: the rows that the relations of a FROM give together."""

from __future__ import annotations

from sqlglot import exp

from featurelayer.lineage.from_items import bind_subquery, finish_joins, hide_join, is_correlated, start_join
from featurelayer.lineage.normal_forms import check_parts
from featurelayer.lineage.readers import QueryReader
from featurelayer.lineage.relations import merge_values
from featurelayer.lineage.scope import MAX_ROW_STEPS, FromItem, Parts, Relation, SelectScope, Unreadable, Value, digest
from featurelayer.lineage.values import FactKind, RowStep, RowStepKind


def join_items(queries: QueryReader, node: exp.Select, scope: SelectScope) -> Relation:
    """Fill the scope with the relations of a SELECT's FROM and return their joined rows."""
    from_, joins = node.args.get("from_"), node.args.get("joins") or []
    if from_ is None:
        return Relation(base=digest("one row"))
    nodes = [_unwrap(from_.this), *(join.this for join in joins)]
    if len(nodes) == 1 and not _bracket_joins(nodes[0]):
        item = queries.item(nodes[0], scope, scope.within)
        scope.items.append(item)
        only = item.relation
        rows = Relation(base=only.base, where=only.where, steps=only.steps, sources=only.sources, facts=only.facts)
        rows.unique = only.unique
        if is_correlated(node, scope.parent):
            start_join(queries, item, scope, nodes[0], "subquery")
        finish_joins(queries, node, scope, rows)
        return rows
    kind = "subquery" if is_correlated(node, scope.parent) else ""
    rows = _join_all(queries, nodes[0], [*_bracket_joins(nodes[0]), *joins], scope, kind)
    finish_joins(queries, node, scope, rows)
    return rows


def _unwrap(node: exp.Expression) -> exp.Expression:
    """Return the content of unnamed brackets: a table and its joins."""
    while (
        isinstance(node, exp.Subquery | exp.Paren)
        and not node.alias
        and isinstance(node.this, exp.Table | exp.Subquery)
    ):
        node = node.this
    return node


def _bracket_joins(node: exp.Expression) -> list[exp.Join]:
    """Return the joins in brackets after a table: `from (a join b on ...)`."""
    return node.args.get("joins") or [] if isinstance(node, exp.Table) else []


def _join_all(
    queries: QueryReader, first: exp.Expression, joins: list[exp.Join], scope: SelectScope, kind: str
) -> Relation:
    head = _tag(queries.item(first, scope, scope.within), scope)
    scope.items.append(head)
    start_join(queries, head, scope, first, kind)
    together = [head.tag]  # relations joined by INNER and CROSS; their order does not matter
    conditions: set[str] = set()
    result = Relation(base="", steps=head.relation.steps, sources=head.relation.sources, facts=head.relation.facts)
    for join in joins:
        check_parts(join)
        if _bracket_joins(join.this):
            raise Unreadable("a join in brackets is not followed")
        item = _tag(queries.item(join.this, scope, scope.within), scope)
        kind = _kind(join)
        hidden = kind in ("SEMI", "ANTI")
        scope.items.append(item)
        if _is_lateral(join.this, scope):
            bind_subquery(item)
        else:
            start_join(queries, item, scope, join, kind)
        parts = Parts()
        texts = _conditions(queries, join, item, scope, parts)
        if kind in ("INNER", "CROSS", ""):
            together.append(item.tag)
            conditions.update(texts)
        elif kind == "LEFT" and _finds_one(queries, join, item, scope):  # the rows stay the same
            item.tag = digest(item.tag, "left", *sorted(texts))
            item.found.clear()
        else:
            sides = [digest("rows", *sorted(together), *sorted(conditions)), item.tag]
            if kind == "RIGHT":
                kind, sides = "LEFT", sides[::-1]
            if kind == "FULL":
                sides.sort()
            together, conditions = [digest(kind, *sides, "on", *sorted(texts))], set()
        on = queries.writer.sql(join)
        step = RowStep(kind=RowStepKind.JOIN, sql=on, within=scope.within)
        if len(result.steps) < MAX_ROW_STEPS:
            result.steps = (*result.steps, *item.relation.steps, step)
        result.sources |= item.relation.sources | parts.sources
        result.facts |= item.relation.facts
        result.facts |= frozenset(fact for fact in parts.facts if fact.kind is FactKind.CLOCK)
        if hidden:
            hide_join(queries, item, join, scope, result)
    result.steps = tuple(dict.fromkeys(result.steps))[:MAX_ROW_STEPS]
    result.base = digest("rows", *sorted(together)) if len(together) > 1 else together[0]
    result.where = frozenset(conditions)
    return result


def _finds_one(queries: QueryReader, join: exp.Join, item: FromItem, scope: SelectScope) -> bool:
    """Test whether a row joins at most one row of a relation: a unique key of it equals columns of the others."""
    unique = item.relation.unique
    if unique is None or not item.name or _is_lateral(join.this, scope) or join.args.get("method"):
        return False
    names = {each.name.casefold() for each in join.args.get("using") or ()}
    for condition in queries.writer.conjuncts(join.args.get("on")):
        if isinstance(condition, exp.EQ):
            sides = (condition.this, condition.expression)
            for mine, other in (sides, sides[::-1]):
                tables = {column.table.casefold() for column in other.find_all(exp.Column)}
                if isinstance(mine, exp.Column) and mine.table.casefold() == item.name and item.name not in tables:
                    names |= {mine.name.casefold()} if "" not in tables else set()
    values = (item.relation.columns.get(name) for name in names)
    return unique <= {value.key for value in values if value is not None}


def _is_lateral(node: exp.Expression, scope: SelectScope) -> bool:
    """Test whether a subquery reads the row it is joined to; then its own conditions bind it."""
    return isinstance(node, exp.Lateral | exp.Subquery) and is_correlated(node.this, scope)


def _tag(item: FromItem, scope: SelectScope) -> FromItem:
    """Tag an item to tell it from others with the same rows."""
    rows = item.relation.rows
    same = sum(1 for other in scope.items if other.relation.rows == rows)
    item.tag = digest("item", rows, str(same))
    return item


def _kind(join: exp.Join) -> str:
    method, side, kind = (str(join.args.get(name) or "").upper() for name in ("method", "side", "kind"))
    if kind in ("SEMI", "ANTI"):
        return kind
    if "ASOF" in (method, kind):
        return f"ASOF {side}".strip()
    if method == "POSITIONAL":
        raise Unreadable("a positional join pairs rows in an order that SQL does not show")
    if kind not in ("", "INNER", "OUTER", "CROSS") or method:  # ANY LEFT JOIN and the like
        return " ".join(word for word in (method, side, kind) if word and word != "NATURAL") or "INNER"
    return side or ("CROSS" if kind == "CROSS" else "INNER")


def _conditions(queries: QueryReader, join: exp.Join, item: FromItem, scope: SelectScope, parts: Parts) -> list[str]:
    texts: list[str] = []
    on = join.args.get("on")
    if on is not None:
        for condition in queries.writer.conjuncts(on):
            if not (isinstance(condition, exp.Boolean) and condition.this):
                texts += queries.writer.condition(condition, scope, parts)
    for name in _common(join, item, scope):
        right = item.column(name)
        left = scope.joined.get(name) or next(
            (value for other in scope.items if other is not item and (value := other.column(name)) is not None), None
        )
        for value in (left, right):
            if value is not None:
                parts.add(value)
        sides = sorted(value.key if value else name for value in (left, right))
        texts.append(digest(f"EQ({','.join(sides)})"))
        if left is not None and right is not None:
            scope.joined[name] = _common_column(str(join.args.get("side") or "").upper(), left, right)
    match = join.args.get("match_condition")
    if match is not None:
        texts.append(queries.writer.key(match, scope, parts))
    return texts


def _common(join: exp.Join, item: FromItem, scope: SelectScope) -> list[str]:
    """Return the names of the columns that USING or NATURAL equates."""
    if str(join.args.get("method") or "").upper() != "NATURAL":
        return [each.name.casefold() for each in join.args.get("using") or ()]
    items = [other for other in scope.items if other is not item]
    if not all(each.relation.is_complete for each in (*items, item)):
        raise Unreadable("a natural join of tables whose columns are not all known is not followed")
    names = {name for other in items for name in other.relation.columns}
    return [name for name in item.relation.columns if name in names]


def _common_column(side: str, left: Value, right: Value) -> Value:
    """Merge the column that two tables share: in an outer join, take the side that keeps all rows."""
    if side == "FULL":
        return merge_values([left, right], digest("coalesce", *sorted((left.key, right.key))))
    return right if side == "RIGHT" else left
