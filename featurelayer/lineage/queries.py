"""A query as a relation: which rows it has, told apart by a digest, and what each of its columns amounts to."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from featurelayer.lineage.expressions import Writer
from featurelayer.lineage.forms import (
    aggregates,
    alias_columns,
    bare,
    has_star,
    is_batch,
    is_limited,
    is_upper_bound,
    names_table,
    reaches_out,
)
from featurelayer.lineage.joins import join_items
from featurelayer.lineage.relations import OWN, Tables, bounded, combined, merged, over, padded, renamed, with_key
from featurelayer.lineage.scope import (
    MAX_COLUMNS,
    Item,
    Parts,
    Relation,
    Scope,
    Unreadable,
    Value,
    digest,
    sorted_sources,
)
from featurelayer.lineage.times import is_time
from featurelayer.lineage.values import Kind, Rows, RowStep, Run, Seen, Source
from featurelayer.lineage.windows import window_key


class Queries:
    """Evaluates the queries of one model. `table` gives the relations that it reads, by name."""

    def __init__(self, model: str, dialect: str, run: Run | None, table: Tables, *, batch: bool = False) -> None:
        self._table, self._batch = table, batch
        self.writer = Writer(model, dialect, run, self._inner_query, window_key)
        self._ctes: list[dict[str, Relation]] = [{}]
        self._values = 0

    def relation(self, query: exp.Expression, parent: Scope | None = None, within: str = "") -> Relation:
        """Return what a query amounts to.

        Raises:
            Unreadable: it can't be followed.
        """
        while isinstance(query, exp.Subquery | exp.Paren) and not is_limited(query):
            if query.args.get("with_"):
                break
            query = query.this
        with_ = query.args.get("with_")
        if with_:
            self._define(with_, parent)
        try:
            if isinstance(query, exp.SetOperation):
                relation = combined(query, self._branches(query, parent), within)
            elif isinstance(query, exp.Subquery):
                relation = self.relation(query.this, parent, within)
            elif isinstance(query, exp.Select):
                return self._select(query, parent, within)
            elif isinstance(query, exp.Table):
                relation = self._read(query)
            elif isinstance(query, exp.Values):
                relation = self._values_list(query, parent)
            else:
                raise Unreadable(f"it is no SELECT but {type(query).__name__.upper()}")
            return self._limited(query, relation, parent, within)
        finally:
            if with_:
                self._ctes.pop()

    def _branches(self, node: exp.SetOperation, parent: Scope | None) -> list[Relation]:
        """The queries that a set operation puts together; a UNION of many is one, though it is a tree of pairs."""
        branches: list[Relation] = []
        waiting: list[exp.Expression] = [node]
        while waiting:
            each = waiting.pop()
            nested = isinstance(each, exp.Union) and not each.args.get("with_") and not is_limited(each)
            same = (
                nested
                and isinstance(node, exp.Union)
                and bool(each.args.get("distinct")) == bool(node.args.get("distinct"))
            )
            if each is node or same:
                waiting += (each.expression, each.this)
            else:
                branches.append(self.relation(each, parent))
        return branches

    def _inner_query(self, query: exp.Expression, scope: Scope) -> Relation:
        return self.relation(query, scope, "a subquery")

    def _define(self, with_: exp.Expression, parent: Scope | None) -> None:
        known = dict(self._ctes[-1])
        self._ctes.append(known)
        for cte in with_.expressions:
            name = cte.alias.casefold()
            if with_.args.get("recursive") and names_table(cte.this, name):
                known[name] = self._recursive(cte, name, parent)
            else:
                known[name] = renamed(self.relation(cte.this, parent, name), alias_columns(cte))

    def _recursive(self, cte: exp.Expression, name: str, parent: Scope | None) -> Relation:
        """A recursive CTE: its first branch, in rows of which no more is said than the text."""
        query = cte.this
        first = self.relation(query.this if isinstance(query, exp.SetOperation) else query, parent, name)
        first = renamed(first, alias_columns(cte))
        self._ctes[-1][name] = first
        other = self.relation(query.expression, parent, name) if isinstance(query, exp.SetOperation) else first
        base = digest("recursive", first.rows, other.rows)
        columns = {}
        for (column, value), again in zip(first.columns.items(), padded(other, len(first.columns)), strict=True):
            columns[column] = merged([value, again], digest("recursive", value.key, again.key))
        return over(Relation(base=base, columns=columns), first, other)

    # FROM

    def _read(self, node: exp.Table) -> Relation:
        name = node.name.casefold()
        is_cte = not node.args.get("db") and name in self._ctes[-1]
        relation = self._ctes[-1][name] if is_cte else self._table(node)
        for extra in ("pivots", "sample", "changes", "when"):
            if node.args.get(extra):
                relation = self._opaque(relation, node, extra)
        return relation

    def _opaque(self, relation: Relation, node: exp.Expression, what: str) -> Relation:
        """Rows changed in a way that is not followed: the text says which, and any column may come of any."""
        details = node.args[what]
        texts = [each.sql(self.writer.dialect) for each in (details if isinstance(details, list) else [details])
                 if isinstance(each, exp.Expression)]  # fmt: skip
        changed = Relation(base=digest(what, relation.rows, *texts), columns=dict(relation.columns))
        changed.more = (Item("", relation, tag=digest(what, *texts)),)
        return over(changed, relation)

    def item(self, node: exp.Expression, scope: Scope, within: str) -> Item:
        """Return one entry of a FROM or JOIN under its name."""
        if isinstance(node, exp.Final):
            node = node.this
        alias = node.alias_or_name.casefold() if not isinstance(node, exp.Lateral) else node.alias.casefold()
        lateral = scope if scope.items else scope.parent
        if isinstance(node, exp.Table):
            relation = self._read(node)
        elif isinstance(node, exp.Subquery):
            if node.args.get("joins") or (isinstance(node.this, exp.Table) and node.this.args.get("joins")):
                raise Unreadable("a join in brackets is not followed")
            relation = self._nested(node.this, lateral, alias or within)
            relation = self._opaque(relation, node, "pivots") if node.args.get("pivots") else relation
        elif isinstance(node, exp.Lateral) and isinstance(node.this, exp.Subquery):
            relation = self._nested(node.this.this, lateral, alias or within)
        elif isinstance(node, exp.Values):
            relation = self._values_list(node, scope)
        elif isinstance(node, exp.Unnest | exp.Lateral | exp.Func | exp.Explode):
            relation = self._function(node, scope)
        else:
            raise Unreadable(f"it reads from {type(node).__name__.upper()}, which is not followed")
        return Item(alias, renamed(relation, alias_columns(node)))

    def _nested(self, query: exp.Expression, around: Scope | None, within: str) -> Relation:
        relation = self.relation(query, around, within)
        return bounded(relation) if around is not None and reaches_out(query) else relation

    def _function(self, node: exp.Expression, scope: Scope) -> Relation:
        """Rows that a function makes: each column comes of all that went in."""
        parts = Parts()
        arguments = node.expressions or [node.this]
        texts = [self.writer.key(each, scope, parts) for each in arguments if isinstance(each, exp.Expression)]
        base = digest("function", type(node).__name__, *texts)
        made = Value(base, Kind.EXPRESSION, frozenset(parts.sources), tuple(parts.steps), frozenset(parts.facts))
        names = [name.casefold() for name in alias_columns(node)] or [(node.alias or "value").casefold()]
        columns = {name: with_key(made, digest(base, str(place))) for place, name in enumerate(names)}
        offset = node.args.get("offset")
        if isinstance(offset, exp.Identifier):
            columns[offset.name.casefold()] = with_key(made, digest(base, "offset"))
        return Relation(base=base, columns=columns)

    def _values_list(self, node: exp.Expression, parent: Scope | None) -> Relation:
        rows = node.expressions
        self._values += len(rows)
        scope, parts = Scope([], parent), Parts()
        texts = [self.writer.key(row, scope, parts) for row in rows]
        base = digest("values", *sorted(texts))
        width = len(rows[0].expressions) if rows and isinstance(rows[0], exp.Tuple) else 1
        columns = {f"column{place}": Value(digest(base, str(place))) for place in range(width)}
        return renamed(Relation(base=base, columns=columns), alias_columns(node))

    # SELECT

    def _select(self, node: exp.Select, parent: Scope | None, within: str) -> Relation:
        scope = Scope([], parent, within=within)
        for window in node.args.get("windows") or ():
            scope.windows[window.name.casefold()] = window
        joined = join_items(self, node, scope)
        rows = Relation(
            base=joined.base, where=joined.where, steps=joined.steps, sources=joined.sources, facts=joined.facts
        )
        self._narrow(rows, node.args.get("where"), scope, Rows.FILTER)
        scope.rows = rows.rows
        for lateral in node.args.get("laterals") or ():
            item = self.item(lateral, scope, within)
            scope.items.append(item)
            rows.base = digest("lateral", rows.base, item.relation.rows)
        self._check_size(scope)
        group = node.args.get("group")
        projections = node.expressions
        if group is not None:
            self._group(rows, group, projections, scope)
            scope.rows = rows.rows
        columns, aggregated = self._project(projections, scope)
        if group is None and (aggregated or node.args.get("having")):
            rows.base, rows.where = digest("group", rows.rows), frozenset()
            scope.rows = rows.rows
        scope.outputs |= columns
        self._narrow(rows, node.args.get("having"), scope, Rows.FILTER)
        scope.rows = rows.rows
        self._narrow(rows, node.args.get("qualify"), scope, Rows.FILTER)
        rows.columns = columns
        rows.more = tuple(item for item in scope.items if item.relation.is_open and has_star(projections))
        self._distinct(rows, node, scope)
        scope.aliases_first = True
        return self._limited(node, rows, parent, within, scope)

    def _check_size(self, scope: Scope) -> None:
        if sum(len(item.relation.columns) for item in scope.items) > MAX_COLUMNS:
            raise Unreadable(f"it joins more than {MAX_COLUMNS} columns")

    def _narrow(self, rows: Relation, clause: exp.Expression | None, scope: Scope, kind: Rows) -> None:
        """Keep the rows for which a clause holds. A look at the model's own rows, as they were, is left out."""
        if clause is None:
            return
        for condition in self.writer.conjuncts(clause.this):
            parts = Parts()
            texts = self.writer.condition(condition, scope, parts)
            own = any(source.relation == OWN for source in parts.sources)
            batch = self._batch and is_batch(clause)
            rows.steps = (*rows.steps, RowStep(kind=kind, sql=self.writer.sql(condition), within=scope.within))
            rows.sources |= frozenset(source for source in parts.sources if source.relation != OWN)
            if not own and not batch:
                rows.where |= frozenset(texts)
                rows.facts |= frozenset(
                    parts.facts
                    if not is_upper_bound(condition)
                    else (fact for fact in parts.facts if fact.kind is not Seen.CLOCK)
                )

    def _group(self, rows: Relation, group: exp.Expression, projections: list[exp.Expression], scope: Scope) -> None:
        parts, keys, times, texts = Parts(), set(), False, []
        plain = list(group.expressions)
        if group.args.get("all"):
            plain += [each for each in projections if not aggregates(each)]
        for each in plain:
            actual = self._ordinal(each, projections, scope)
            if isinstance(actual, exp.Literal):
                continue
            keys.add(self._key(actual, scope, parts))
            times = times or is_time(actual, self.writer.value(actual, scope).type)
            texts.append(self.writer.sql(bare(actual)))
        for extra in ("grouping_sets", "cube", "rollup", "totals"):
            for each in group.args.get(extra) or () if isinstance(group.args.get(extra), list) else ():
                keys.add(digest(extra, self.writer.key(each, scope, parts)))
                texts.append(self.writer.sql(each))
        rows.base, rows.where = digest("group", rows.rows, *sorted(keys)), frozenset()
        rows.steps = (*rows.steps, RowStep(kind=Rows.GROUP, sql=", ".join(texts) or "everything", within=scope.within))
        rows.sources |= parts.sources
        scope.group, scope.timed = sorted_sources(parts.sources), times

    def _key(self, node: exp.Expression, scope: Scope, parts: Parts) -> str:
        value = self.writer.value(node, scope)
        parts.add(value)
        return value.key

    def _ordinal(self, node: exp.Expression, projections: list[exp.Expression], scope: Scope) -> exp.Expression:
        """What a GROUP BY names: a place in the SELECT, an alias of it, or a column of the tables."""
        if isinstance(node, exp.Literal) and not node.is_string and node.this.isdigit():
            place = int(node.this) - 1
            return projections[place] if place < len(projections) else node
        if isinstance(node, exp.Column) and not node.table and scope.column(node.name.casefold()) is None:
            return next((each for each in projections if each.alias.casefold() == node.name.casefold()), node)
        if isinstance(node, exp.Column) and not node.table:
            named = next((each for each in projections if isinstance(each, exp.Alias)
                          and each.alias.casefold() == node.name.casefold()), None)  # fmt: skip
            known = any(node.name.casefold() in item.relation.columns for item in scope.items)
            return node if known or named is None or isinstance(named.this, exp.Column) else named
        return node

    def _project(self, projections: list[exp.Expression], scope: Scope) -> tuple[dict[str, Value], bool]:
        columns: dict[str, Value] = {}
        aggregated = False
        for place, node in enumerate(projections):
            star = node if isinstance(node, exp.Star) else node.this if isinstance(node, exp.Column) else None
            if isinstance(star, exp.Star):
                self._expand(star, node, scope, columns)
                continue
            name = (node.alias_or_name or f"_{place}").casefold()
            value = self.writer.value(node, scope, node.alias_or_name.casefold())
            aggregated = aggregated or (value.kind in (Kind.AGGREGATE, Kind.WINDOW) and aggregates(node))
            columns[name] = value
            scope.outputs.setdefault(name, value)
        return columns, aggregated

    def _expand(self, star: exp.Star, node: exp.Expression, scope: Scope, columns: dict[str, Value]) -> None:
        table = node.table.casefold() if isinstance(node, exp.Column) else ""
        left_out = {each.name.casefold() for each in star.args.get("except_") or star.args.get("except") or ()}
        renamed = {each.this.name.casefold(): each.alias.casefold() for each in star.args.get("rename") or ()}
        for item in scope.items:
            if table and item.name != table:
                continue
            for name in list(item.relation.columns):
                value = item.column(name)
                if name not in left_out and value is not None:
                    columns.setdefault(renamed.get(name, name), value)
        for each in star.args.get("replace") or ():
            columns[each.alias.casefold()] = self.writer.value(each, scope, each.alias.casefold())
        if len(columns) > MAX_COLUMNS:
            raise Unreadable(f"it has more than {MAX_COLUMNS} columns")

    def _distinct(self, rows: Relation, node: exp.Select, scope: Scope) -> None:
        distinct = node.args.get("distinct")
        if distinct is None:
            return
        on = distinct.args.get("on")
        if on is None:
            keys = sorted(value.key for value in rows.columns.values())
            rows.base, rows.where = digest("group", rows.rows, *keys), frozenset()
            rows.steps = (*rows.steps, RowStep(kind=Rows.DISTINCT, sql="distinct", within=scope.within))
            return
        parts = Parts()
        keys = sorted(self.writer.key(each, scope, parts) for each in on.expressions)
        divided = sorted_sources(parts.sources)
        order = self._order(node, scope, parts)
        self._note_newest(rows, node, on, divided, scope)
        rows.base, rows.where = digest("distinct on", rows.rows, *keys, "order", *order), frozenset()
        text = "distinct on " + ", ".join(self.writer.sql(each) for each in on.expressions)
        rows.steps = (*rows.steps, RowStep(kind=Rows.DISTINCT, sql=text, within=scope.within))
        rows.sources |= parts.sources

    def _note_newest(
        self, rows: Relation, node: exp.Select, on: exp.Expression, partition: tuple[Source, ...], scope: Scope
    ) -> None:
        """Note that rows are the newest of their group, as `row_number() over (... desc) = 1` would have them."""
        named = {self.writer.sql(each) for each in on.expressions}
        order = node.args.get("order")
        after = [each for each in order.expressions if self.writer.sql(each.this) not in named] if order else []
        if after and after[0].args.get("desc"):
            first = Parts()
            self.writer.key(after[0].this, scope, first)
            fact = self.writer.fact(
                Seen.WINDOW,
                on,
                function="rownumber",
                frame="future",
                backwards=True,
                partition=partition,
                timed=any(is_time(each, self.writer.value(each, scope).type) for each in on.expressions),
                order=sorted_sources(first.sources),
            )
            rows.facts |= {replace(fact, sql=f"DISTINCT ON {fact.sql} ... {self.writer.sql(after[0])}")}

    def _order(self, node: exp.Expression, scope: Scope, parts: Parts) -> list[str]:
        order = node.args.get("order")
        return [self.writer.key(each, scope, parts) for each in order.expressions] if order else []

    def _limited(
        self, node: exp.Expression, rows: Relation, parent: Scope | None, within: str, scope: Scope | None = None
    ) -> Relation:
        limits = [node.args[name] for name in ("limit", "offset") if node.args.get(name)]
        if not limits:
            return rows
        scope = scope or Scope([Item("", rows)], parent, within=within)
        parts = Parts()
        order = self._order(node, scope, parts)
        texts = [each.sql(self.writer.dialect) for each in limits]
        said = " ".join(texts)
        limited = Relation(base=digest("limit", rows.rows, *texts, *order), columns=rows.columns, more=rows.more)
        limited = over(limited, rows)
        limited.steps = (*limited.steps, RowStep(kind=Rows.LIMIT, sql=said, within=within))
        limited.sources |= parts.sources
        return limited
