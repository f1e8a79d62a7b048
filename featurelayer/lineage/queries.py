"""Evaluates queries to relations: a digest of the rows, and the value of each column."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from sqlglot import exp

from featurelayer.lineage.expressions import Writer
from featurelayer.lineage.joins import join_items
from featurelayer.lineage.normal_forms import (
    AT_ANOTHER_TIME,
    aggregates,
    alias_columns,
    check_parts,
    has_star,
    is_batch,
    is_limited,
    is_upper_bound,
    makes_rows,
    names_table,
    strip_brackets,
)
from featurelayer.lineage.relations import (
    OWN,
    Tables,
    combine_branches,
    derive_relation,
    merge_values,
    pad_columns,
    rename_columns,
    with_key,
)
from featurelayer.lineage.scope import (
    AGAIN,
    MAX_COLUMNS,
    FromItem,
    Parts,
    Relation,
    SelectScope,
    Unreadable,
    Value,
    digest,
    sort_sources,
)
from featurelayer.lineage.time_names import is_time
from featurelayer.lineage.values import ColumnKind, Fact, FactKind, RowStep, RowStepKind, SourceColumn
from featurelayer.lineage.window_functions import window_key

FOLDING = frozenset({"postgres"})
"""Dialects of engines that turn names without quotes into lower case and compare them exactly."""


class Queries:
    """Evaluates the queries of one model. `table` gives the relations that it reads, by name."""

    def __init__(self, model: str, dialect: str, table: Tables, *, batch: bool = False) -> None:
        self._table, self._batch = table, batch
        self.writer = Writer(model, dialect, self._inner_query, window_key)
        self._ctes: list[dict[str, Relation]] = [{}]
        self._values = self._placed = 0

    def next_place(self) -> int:
        """Return a new number for a relation in a FROM."""
        self._placed += 1
        return self._placed

    def relation(self, query: exp.Expression, parent: SelectScope | None = None, within: str = "") -> Relation:
        """Return the relation that a query evaluates to.

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
            if isinstance(query, exp.SetOperation | exp.Subquery):
                check_parts(query)
            if isinstance(query, exp.SetOperation):
                relation = combine_branches(query, self._branches(query, parent), within)
            elif isinstance(query, exp.Subquery):
                relation = self.relation(query.this, parent, within)
            elif isinstance(query, exp.Select):
                return self._select(query, parent, within)
            elif isinstance(query, exp.Table):
                relation = self._read(query, parent)
            elif isinstance(query, exp.Values):
                relation = self._values_list(query, parent)
            else:
                raise Unreadable(f"it is no SELECT but {type(query).__name__.upper()}")
            relation = self._sample(query, relation, within)
            return self._limit(query, relation, parent, within)
        finally:
            if with_:
                self._ctes.pop()

    def _branches(self, node: exp.SetOperation, parent: SelectScope | None) -> list[Relation]:
        """Return the branches of a set operation, flattening nested UNIONs."""
        branches: list[Relation] = []
        waiting: list[exp.Expression] = [node]
        while waiting:
            query = waiting.pop()
            nested = isinstance(query, exp.Union) and not query.args.get("with_") and not is_limited(query)
            same = (
                nested
                and isinstance(node, exp.Union)
                and bool(query.args.get("distinct")) == bool(node.args.get("distinct"))
            )
            if query is node or same:
                waiting += (query.expression, query.this)
            else:
                branches.append(self.relation(query, parent))
        return branches

    def _inner_query(self, query: exp.Expression, scope: SelectScope) -> Relation:
        return self.relation(query, scope, "a subquery")

    def _define(self, with_: exp.Expression, parent: SelectScope | None) -> None:
        ctes = dict(self._ctes[-1])
        self._ctes.append(ctes)
        for cte in with_.expressions:
            check_parts(cte)
            name = cte.alias.casefold()
            if with_.args.get("recursive") and names_table(cte.this, name):
                ctes[name] = self._recursive(cte, name, parent)
            else:
                ctes[name] = self._apply_column_aliases(self.relation(cte.this, parent, name), cte)

    def _recursive(self, cte: exp.Expression, name: str, parent: SelectScope | None) -> Relation:
        """Evaluate a recursive CTE; its second branch reads columns named by their place in the first.

        A column may derive from its neighbour, and that from the next one: the second branch is read until it adds
        no new source.
        """
        query = cte.this
        if not isinstance(query, exp.SetOperation):
            raise Unreadable(f"the recursive CTE '{name}' is no UNION")
        first = self._apply_column_aliases(self.relation(query.this, parent, name), cte)
        if first.is_open:
            raise Unreadable(f"the recursive CTE '{name}' begins with columns that are not all known")
        place = digest("recursive", name)
        placed = {
            column: replace(value, key=digest(place, str(number)), form=("", ()))
            for number, (column, value) in enumerate(first.columns.items())
        }
        before = replace(first, base=place, where=frozenset(), columns=placed)
        while True:
            self._ctes[-1][name] = before
            other = self.relation(query.expression, parent, name)
            columns = {}
            for (column, value), again in zip(before.columns.items(), pad_columns(other, len(placed)), strict=True):
                columns[column] = replace(
                    merge_values([first.columns[column], again], value.key), facts=value.facts | again.facts
                )
            if all(columns[column].sources == value.sources for column, value in before.columns.items()):
                break
            before = derive_relation(replace(before, columns=columns), first, other)
        keys = [value.key for relation in (first, other) for value in relation.columns.values()]
        kind = "distinct" if query.args.get("distinct") else "all"
        base = digest("recursive", kind, first.rows, other.rows, *keys)
        columns = {column: replace(value, key=digest(base, column)) for column, value in columns.items()}
        result = derive_relation(replace(first, base=base, where=frozenset(), columns=columns), first, other)
        result.sources |= frozenset(source for value in columns.values() for source in value.sources)
        return result

    # FROM

    def _read(self, node: exp.Table, around: SelectScope | None) -> Relation:
        check_parts(node)
        name = node.name.casefold()
        is_cte = not node.args.get("db") and name in self._ctes[-1]
        relation = self._ctes[-1][name] if is_cte else self._table(node)
        texts = [node.args[each].sql(self.writer.dialect) for each in AT_ANOTHER_TIME if node.args.get(each)]
        if texts:
            relation = replace(relation, base=digest("version", relation.rows, *texts), where=frozenset())
        if isinstance(node.this, exp.Func):
            relation = self._with_arguments(relation, cast("exp.Expression", node.this), around)
        return self._sample(node, relation, "")

    def _with_arguments(self, relation: Relation, function: exp.Expression, around: SelectScope | None) -> Relation:
        """Return the rows of a table function; they derive from the columns among its arguments."""
        if not any(True for _ in function.find_all(exp.Column)):
            return relation
        parts = Parts()
        key = self.writer.key(function, around or SelectScope([]), parts)
        if not parts.sources:
            return relation
        made = Value(digest("function", key), ColumnKind.EXPRESSION, frozenset(parts.sources), tuple(parts.steps),
                     frozenset(parts.facts))  # fmt: skip
        return Relation(base=digest("function", key), rest=made, sources=made.sources)

    def _sample(self, node: exp.Expression, relation: Relation, within: str) -> Relation:
        """Apply TABLESAMPLE: a random part of the rows."""
        sample = node.args.get("sample")
        if sample is None:
            return relation
        text = sample.sql(self.writer.dialect).strip()
        sampled = replace(relation, base=digest("sample", relation.rows, text), where=frozenset())
        sampled.steps = (*relation.steps, RowStep(kind=RowStepKind.SAMPLE, sql=text, within=within))
        return sampled

    def item(self, node: exp.Expression, scope: SelectScope, within: str) -> FromItem:
        """Return one entry of a FROM or JOIN under its name."""
        if isinstance(node, exp.Final):
            node = node.this
        alias = node.alias_or_name.casefold() if not isinstance(node, exp.Lateral) else node.alias.casefold()
        lateral = scope if scope.items else scope.parent
        if isinstance(node, exp.Table):
            relation = self._read(node, lateral)
        elif isinstance(node, exp.Subquery):
            check_parts(node)
            if node.args.get("joins") or (isinstance(node.this, exp.Table) and node.this.args.get("joins")):
                raise Unreadable("a join in brackets is not followed")
            relation = self._inner_rows(node.this, lateral, alias or within)
            relation = self._sample(node, relation, alias or within)
        elif isinstance(node, exp.Lateral) and isinstance(node.this, exp.Subquery):
            relation = self._inner_rows(node.this.this, lateral, alias or within)
        elif isinstance(node, exp.Values):
            relation = self._values_list(node, scope)
        elif isinstance(node, exp.Unnest | exp.Lateral | exp.Func | exp.Explode | exp.TableFromRows):
            relation = self._function(node, scope)
        else:
            raise Unreadable(f"it reads from {type(node).__name__.upper()}, which is not followed")
        return FromItem(alias, self._apply_column_aliases(relation, node))

    def _apply_column_aliases(self, relation: Relation, node: exp.Expression) -> Relation:
        """Rename the first columns as an alias lists them: `as t(a, b)`."""
        names = alias_columns(node)
        if not names:
            return relation
        renamed = rename_columns(relation, names)
        spellings = [self._spelling(each) for each in node.args["alias"].columns if isinstance(each, exp.Identifier)]
        renamed.spelled = {name.casefold(): name for name in spellings if name != name.casefold()}
        return renamed

    def _inner_rows(self, query: exp.Expression, around: SelectScope | None, within: str) -> Relation:
        return self.relation(query, around, within)

    def _function(self, node: exp.Expression, scope: SelectScope) -> Relation:
        """Return the rows of a function: each column derives from all arguments."""
        parts = Parts()
        arguments = node.expressions or [node.this]
        texts = [self.writer.key(each, scope, parts) for each in arguments if isinstance(each, exp.Expression)]
        # A series of times that ends now only leaves out what has not happened yet.
        parts.facts = {fact for fact in parts.facts if fact.kind is not FactKind.CLOCK}
        base = digest("function", type(node).__name__, *texts)
        value = Value(base, ColumnKind.EXPRESSION, frozenset(parts.sources), tuple(parts.steps), frozenset(parts.facts))
        aliases = alias_columns(node)
        names = [name.casefold() for name in aliases] or [(node.alias or "value").casefold()]
        columns = {name: with_key(value, digest(base, str(place))) for place, name in enumerate(names)}
        offset = node.args.get("offset")
        if isinstance(offset, exp.Identifier):
            columns[offset.name.casefold()] = with_key(value, digest(base, "offset"))
        return Relation(base=base, columns=columns, rest=None if aliases else value, sources=value.sources)

    def _values_list(self, node: exp.Expression, parent: SelectScope | None) -> Relation:
        rows = node.expressions
        self._values += len(rows)
        scope, parts = SelectScope([], parent), Parts()
        texts = [self.writer.key(row, scope, parts) for row in rows]
        base = digest("values", *sorted(texts))
        width = len(rows[0].expressions) if rows and isinstance(rows[0], exp.Tuple) else 1
        sources, facts = frozenset(parts.sources), frozenset(parts.facts)
        kind = ColumnKind.EXPRESSION if sources else ColumnKind.CONSTANT
        columns = {
            f"column{place}": Value(digest(base, str(place)), kind, sources, facts=facts) for place in range(width)
        }
        names = alias_columns(node)
        relation = Relation(base=base, columns=columns, unlisted=len(names) < width, sources=sources)
        return self._apply_column_aliases(relation, node)

    # SELECT

    def _select(self, node: exp.Select, parent: SelectScope | None, within: str) -> Relation:
        check_parts(node)
        scope = SelectScope([], parent, within=within)
        scope.aliases = {each.alias.casefold(): each.this for each in node.expressions if isinstance(each, exp.Alias)}
        for window in node.args.get("windows") or ():
            scope.windows[window.name.casefold()] = window
        joined = join_items(self, node, scope)
        rows = Relation(
            base=joined.base, where=joined.where, steps=joined.steps, sources=joined.sources, facts=joined.facts
        )
        rows.times = joined.times
        rows.unique = joined.unique
        for clause in ("prewhere", "where"):
            self._narrow(rows, node.args.get(clause), scope, RowStepKind.FILTER)
        scope.rows = rows.rows
        for lateral in node.args.get("laterals") or ():
            item = self.item(lateral, scope, within)
            scope.items.append(item)
            rows.base, rows.where = digest("lateral", rows.rows, item.relation.rows), frozenset()
            rows.sources |= item.relation.sources
            scope.rows, rows.unique = rows.rows, None
        self._check_size(scope)
        group = node.args.get("group")
        projections = node.expressions
        scope.joins = frozenset(fact for fact in rows.facts if fact.kind is FactKind.JOIN)
        if group is not None:
            self._group(rows, group, projections, scope)
            scope.rows = rows.rows
        columns, aggregated = self._project(projections, scope)
        if group is not None or aggregated:
            rows.facts = frozenset(
                fact for fact in rows.facts if fact.kind is not FactKind.JOIN or fact.function != "left"
            )
            rows.times = frozenset()
        if group is None and (aggregated or node.args.get("having")):
            rows.base, rows.where, rows.unique = digest("group", rows.rows), frozenset(), frozenset()
            scope.rows = rows.rows
        self._multiply(rows, projections, scope)
        scope.outputs |= columns
        self._narrow(rows, node.args.get("having"), scope, RowStepKind.FILTER)
        scope.rows = rows.rows
        self._narrow(rows, node.args.get("qualify"), scope, RowStepKind.FILTER)
        rows.columns = columns
        rows.spelled, rows.unlisted = scope.spelled, scope.unlisted
        rows.more = tuple(item for item in scope.items if item.relation.is_open and has_star(projections))
        self._distinct(rows, node, scope)
        scope.aliases_first = True
        rows = self._sample(node, rows, within)
        return self._limit(node, rows, parent, within, scope)

    def _multiply(self, rows: Relation, projections: list[exp.Expression], scope: SelectScope) -> None:
        """Multiply rows, as an UNNEST among the columns does."""
        for each in projections:
            if makes_rows(each):
                parts = Parts()
                rows.base, rows.where = digest("unnest", rows.rows, self.writer.key(each, scope, parts)), frozenset()
                rows.unique = None
                rows.sources |= parts.sources
                scope.rows = rows.rows

    def _check_size(self, scope: SelectScope) -> None:
        if sum(len(item.relation.columns) for item in scope.items) > MAX_COLUMNS:
            raise Unreadable(f"it joins more than {MAX_COLUMNS} columns")

    def _narrow(self, rows: Relation, clause: exp.Expression | None, scope: SelectScope, kind: RowStepKind) -> None:
        """Keep the rows that meet a clause, ignoring conditions on the model's own earlier rows."""
        if clause is None:
            return
        for condition in self.writer.conjuncts(clause.this):
            parts = Parts()
            texts = self.writer.condition(condition, scope, parts)
            own = any(source.relation == OWN for source in parts.sources)
            batch = self._batch and is_batch(clause)
            rows.sources |= frozenset(source for source in parts.sources if source.relation != OWN)
            if not own and not batch:
                rows.steps = (*rows.steps, RowStep(kind=kind, sql=self.writer.sql(condition), within=scope.within))
                rows.where |= frozenset(texts)
                rows.facts |= frozenset(fact for fact in parts.facts if _chooses(fact, condition))

    def _group(
        self, rows: Relation, group: exp.Expression, projections: list[exp.Expression], scope: SelectScope
    ) -> None:
        parts, keys, times, texts = Parts(), set(), False, []
        units: list[str] = []
        plain = list(group.expressions)
        if group.args.get("all") and has_star(projections):
            raise Unreadable("GROUP BY ALL of a SELECT with a star is not followed")
        if group.args.get("all"):
            plain += [each for each in projections if not aggregates(each)]
        for each in plain:
            actual = self._ordinal(each, projections, scope)
            if isinstance(actual, exp.Literal):
                continue
            keys.add(self._key(actual, scope, parts))
            value = self.writer.value(actual, scope)
            if is_time(actual, value.type):
                times = True
                units.append(next((fact.unit for fact in value.facts if fact.kind is FactKind.TRUNCATED), ""))
            texts.append(self.writer.sql(strip_brackets(actual)))
        for extra in ("grouping_sets", "cube", "rollup", "totals"):
            given = group.args.get(extra)
            for each in given if isinstance(given, list) else ():
                keys.add(digest(extra, self.writer.key(each, scope, parts)))
                texts.append(self.writer.sql(each))
            if given is True:
                keys.add(digest(extra))
        rows.base, rows.where = digest("group", rows.rows, *sorted(keys)), frozenset()
        is_plain = not any(group.args.get(extra) for extra in ("grouping_sets", "cube", "rollup", "totals"))
        rows.unique = frozenset(keys) if is_plain else None
        rows.steps = (
            *rows.steps,
            RowStep(kind=RowStepKind.GROUP, sql=", ".join(texts) or "everything", within=scope.within),
        )
        rows.sources |= parts.sources
        scope.group, scope.timed = sort_sources(parts.sources), times
        scope.unit = units[0] if units and all(units) else ""

    def _key(self, node: exp.Expression, scope: SelectScope, parts: Parts) -> str:
        value = self.writer.value(node, scope)
        parts.add(value)
        return value.key

    def _ordinal(self, node: exp.Expression, projections: list[exp.Expression], scope: SelectScope) -> exp.Expression:
        """Resolve a GROUP BY item: a position in the SELECT, an alias of it, or a column of the tables."""
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

    def _project(self, projections: list[exp.Expression], scope: SelectScope) -> tuple[dict[str, Value], bool]:
        columns: dict[str, Value] = {}
        aggregated = False
        for place, node in enumerate(projections):
            star = node if isinstance(node, exp.Star) else node.this if isinstance(node, exp.Column) else None
            if isinstance(star, exp.Star):
                self._expand(star, node, scope, columns)
                continue
            if isinstance(node, exp.Binary) and isinstance(node.this, exp.Star):
                raise Unreadable(f"{self.writer.sql(node)[:60]} is not followed")
            name = (node.alias_or_name or f"_{place}").casefold()
            self._note_name(node, name, scope, columns)
            name = name if name not in columns else f"{name}{AGAIN}{place}"
            value = self.writer.value(node, scope, node.alias_or_name.casefold())
            aggregated = aggregated or (value.kind in (ColumnKind.AGGREGATE, ColumnKind.WINDOW) and aggregates(node))
            columns[name] = value
            scope.outputs.setdefault(name, value)
        return columns, aggregated

    def _note_name(self, node: exp.Expression, name: str, scope: SelectScope, columns: dict[str, Value]) -> None:
        """Record a column's name in the engine, which chooses one if the name is missing or duplicate."""
        called = node.args.get("alias") if isinstance(node, exp.Alias) else node.this
        if not isinstance(node, exp.Alias | exp.Column | exp.Dot) or name in columns:
            scope.unlisted = True
        elif isinstance(called, exp.Identifier):
            spelled = self._spelling(called)
            if spelled != name:
                scope.spelled[name] = spelled

    def _spelling(self, name: exp.Identifier) -> str:
        """Return a name in the case that the engine stores."""
        folds = self.writer.dialect in FOLDING and not name.args.get("quoted")
        return name.name.lower() if folds else name.name

    def _expand(self, star: exp.Star, node: exp.Expression, scope: SelectScope, columns: dict[str, Value]) -> None:
        table = node.table.casefold() if isinstance(node, exp.Column) else ""
        left_out = {each.name.casefold() for each in star.args.get("except_") or star.args.get("except") or ()}
        renamed = {each.this.name.casefold(): each.alias.casefold() for each in star.args.get("rename") or ()}
        items = [item for item in scope.items if not table or item.name == table]
        if not items and scope.items:
            raise Unreadable(f"{self.writer.sql(node)[:60]} is not followed: '{table}' is no table")
        for item in items:
            scope.unlisted = scope.unlisted or item.relation.unlisted
            for name in renamed if item.relation.is_open else ():
                item.column(name)
            for name in list(item.relation.columns):
                value = scope.joined.get(name) if not table else None
                value = value or item.column(name)
                called = renamed.get(name, name)
                if name in left_out or value is None:
                    continue
                if called in columns:
                    if name in scope.joined:
                        continue
                    scope.unlisted, called = True, f"{called}{AGAIN}{len(columns)}"
                columns[called] = value
                if name in item.relation.spelled and name not in renamed:
                    scope.spelled[called] = item.relation.spelled[name]
        for each in star.args.get("replace") or ():
            columns[each.alias.casefold()] = self.writer.value(each, scope, each.alias.casefold())
        if len(columns) > MAX_COLUMNS:
            raise Unreadable(f"it has more than {MAX_COLUMNS} columns")

    def _distinct(self, rows: Relation, node: exp.Select, scope: SelectScope) -> None:
        distinct = node.args.get("distinct")
        if distinct is None:
            return
        on = distinct.args.get("on")
        if on is None:
            keys = sorted(value.key for value in rows.columns.values())
            rows.base, rows.where = digest("group", rows.rows, *keys), frozenset()
            rows.unique = frozenset(keys)
            rows.sources |= frozenset(source for value in rows.columns.values() for source in value.sources)
            rows.steps = (*rows.steps, RowStep(kind=RowStepKind.DISTINCT, sql="distinct", within=scope.within))
            return
        parts = Parts()
        keys = sorted(self.writer.key(each, scope, parts) for each in on.expressions)
        divided = sort_sources(parts.sources)
        order = self._order(node, scope, parts)
        self._note_newest(rows, node, on, divided, scope)
        rows.base, rows.where = digest("distinct on", rows.rows, *keys, "order", *order), frozenset()
        text = "distinct on " + ", ".join(self.writer.sql(each) for each in on.expressions)
        rows.steps = (*rows.steps, RowStep(kind=RowStepKind.DISTINCT, sql=text, within=scope.within))
        rows.sources |= parts.sources

    def _note_newest(
        self,
        rows: Relation,
        node: exp.Select,
        on: exp.Expression,
        partition: tuple[SourceColumn, ...],
        scope: SelectScope,
    ) -> None:
        """Record that rows are the newest of their group, as in `row_number() over (... desc) = 1`."""
        named = {self.writer.sql(each) for each in on.expressions}
        order = node.args.get("order")
        after = [each for each in order.expressions if self.writer.sql(each.this) not in named] if order else []
        if after and after[0].args.get("desc"):
            first = Parts()
            self.writer.key(after[0].this, scope, first)
            fact = self.writer.fact(
                FactKind.WINDOW,
                on,
                function="rownumber",
                frame="future",
                backwards=True,
                partition=partition,
                timed=any(is_time(each, self.writer.value(each, scope).type) for each in on.expressions),
                order=sort_sources(first.sources),
            )
            rows.facts |= {replace(fact, sql=f"DISTINCT ON {fact.sql} ... {self.writer.sql(after[0])}")}

    def _order(self, node: exp.Expression, scope: SelectScope, parts: Parts) -> list[str]:
        order = node.args.get("order")
        return [self.writer.key(each, scope, parts) for each in order.expressions] if order else []

    def _limit(
        self,
        node: exp.Expression,
        rows: Relation,
        parent: SelectScope | None,
        within: str,
        scope: SelectScope | None = None,
    ) -> Relation:
        limits = [node.args[name] for name in ("limit", "offset") if node.args.get(name)]
        if not limits:
            return rows
        scope = scope or SelectScope([FromItem("", rows)], parent, within=within)
        parts = Parts()
        order = self._order(node, scope, parts)
        texts = [each.sql(self.writer.dialect) for each in limits]
        sql = " ".join(texts)
        for each in limits:
            self.writer.key(each, scope, parts)
        limited = replace(rows, base=digest("limit", rows.rows, *texts, *order), where=frozenset())
        limited.steps = (*limited.steps, RowStep(kind=RowStepKind.LIMIT, sql=sql, within=within))
        limited.sources |= parts.sources
        return limited


def _chooses(fact: Fact, condition: exp.Expression) -> bool:
    """Test whether a fact of a condition applies to the rows that remain.

    `event_time <= now()` only excludes later rows, and a NOT EXISTS adds no rows.
    """
    if fact.kind is FactKind.CLOCK:
        return not is_upper_bound(condition)
    return not (fact.kind is FactKind.JOIN and isinstance(strip_brackets(condition), exp.Not | exp.Is))
