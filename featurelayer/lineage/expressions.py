"""Canonical keys of expressions: equal keys mean the same computation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import sqlglot
from sqlglot import exp

from featurelayer.lineage.from_items import MAX_TIMES, find_node_line, find_times, subquery_facts
from featurelayer.lineage.normal_forms import (
    ARGUMENTS_TO_SKIP,
    CHAINS,
    CLOCKS,
    CONDITIONAL,
    EXACT,
    INTERVALS,
    LONGEST,
    MIRRORED,
    OPPOSITE,
    SAME_TYPES,
    SERIES,
    UNORDERED,
    find_unit,
    flatten_operands,
    function_name,
    is_clock,
    normalize_number,
    strip_brackets,
)
from featurelayer.lineage.relation_names import MACROS, to_readable
from featurelayer.lineage.run_values import STARTED, depends_on_time
from featurelayer.lineage.scope import Parts, SelectScope, Unreadable, Value, digest, sort_sources, with_frames
from featurelayer.lineage.time_bounds import find_frames, find_shift
from featurelayer.lineage.values import ColumnKind, Fact, FactKind, ValueStep

if TYPE_CHECKING:
    from featurelayer.lineage.scope import Relation

MAX_DEPTH = 120
MAX_NODES = 200_000
_ALIASES_EARLY = ("duckdb", "snowflake", "clickhouse", "")
"""Dialects in which WHERE may use a name that the SELECT gives."""
_DIGEST = len(digest(""))
_EVERYTHING, _ZERO, _RUN, _NULL = digest("count(*)"), digest("0"), digest("run()"), digest("Null()")


class Writer:
    """Writes the keys of one model's expressions. `query` evaluates a subquery, `window` a window function."""

    def __init__(
        self,
        model: str,
        dialect: str,
        query: Callable[[exp.Expression, SelectScope], Relation],
        window: Callable[[Writer, exp.Window, SelectScope, Parts], str],
    ) -> None:
        self.model, self.dialect = model, dialect
        self._query, self._window = query, window
        self._depth = self._nodes = 0
        self.over: exp.Expression | None = None
        self._forms: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._texts: dict[int, tuple[exp.Expression, str]] = {}
        self._generator = sqlglot.Dialect.get_or_raise(dialect).generator(comments=False)
        self._special: dict[type[exp.Expression], Callable[[Any, SelectScope, Parts], str]] = {
            exp.Column: self._column,
            exp.Literal: self._literal,
            exp.Paren: self._inner,
            exp.Alias: self._inner,
            exp.Not: self._not,
            exp.Between: self._between,
            exp.In: self._membership,
            exp.Cast: self._cast,
            exp.Case: self._case,
            exp.If: self._if,
            exp.Interval: self._interval,
            exp.Filter: self._filter,
            exp.Count: self._count,
            exp.CountIf: self._count_if,
            exp.Window: self._over,
            exp.Subquery: self._subquery,
            exp.Select: self._subquery,
            exp.Union: self._subquery,
            exp.Exists: self._exists,
            exp.Anonymous: self._anonymous,
            exp.Identifier: lambda node, _scope, _parts: f"'{node.name.casefold()}'",
            exp.Div: self._divide,
            exp.Sum: self._sum,
            exp.Nullif: self._nullif,
            exp.GT: self._comparison,
            exp.GTE: self._comparison,
            exp.DataType: lambda node, _scope, _parts: self.type_name(node),
        }
        self._special |= {exp.Star: self._star, exp.Columns: self._columns}
        self._special |= dict.fromkeys(SERIES, self._series)
        self._special |= dict.fromkeys(CHAINS, self._chain)
        self._special |= dict.fromkeys(UNORDERED, self._sort_operands)
        self._special |= dict.fromkeys(CLOCKS, self._clock)

    def value(self, node: exp.Expression, scope: SelectScope, name: str = "") -> Value:
        """Return the value of an expression of a SELECT; a bare column is the column itself."""
        inner = strip_brackets(node)
        if isinstance(inner, exp.Column) and not isinstance(inner.this, exp.Star):
            column = self._resolve(inner, scope)
            if column is not None:
                return column
        parts = Parts()
        text = self.key(inner, scope, parts)
        facts = frozenset((*parts.facts, *self._truncation_facts(inner, scope), *self._shift_facts(inner)))
        if parts.aggregated or parts.kind is ColumnKind.WINDOW:
            facts = frozenset(replace(fact, joined=True) if fact.kind is FactKind.JOIN else fact for fact in facts)
        windows = (
            tuple(self._find_window_names(inner, scope)) if parts.kind is ColumnKind.WINDOW and scope.windows else ()
        )
        step = ValueStep(
            kind=parts.kind, sql=self._readable_sql(inner, scope), within=scope.within, name=name, windows=windows
        )
        steps = (*parts.steps, step)
        type_name = self._type_of(inner, scope)
        sure = isinstance(inner, exp.Literal | exp.Count)
        form = self._forms.get(text, ("", ()))
        return Value(text, parts.kind, frozenset(parts.sources), steps, facts, type_name, sure, form)

    def key(self, node: exp.Expression, scope: SelectScope, parts: Parts) -> str:
        """Return the canonical key of an expression and collect its parts."""
        self._depth += 1
        self._nodes += 1
        if self._depth > MAX_DEPTH:
            raise Unreadable("it is nested too deep to follow")
        if self._nodes > MAX_NODES:
            raise Unreadable("it is too large to follow")
        special = self._special.get(type(node))
        text = special(node, scope, parts) if special else self._generic(node, scope, parts)
        self._depth -= 1
        return text if len(text) == _DIGEST else digest(text)

    def conjuncts(self, condition: exp.Expression | None) -> list[exp.Expression]:
        """Split a condition into its conjuncts."""
        return flatten_operands(exp.And, condition) if condition is not None else []

    def condition(self, node: exp.Expression, scope: SelectScope, parts: Parts) -> list[str]:
        """Return the keys of a condition's conjuncts: a BETWEEN has two, a NOT over an OR several."""
        texts: list[str] = []
        for part in flatten_operands(exp.And, node):
            inner = strip_brackets(part.this) if isinstance(part, exp.Not) else None
            if isinstance(part, exp.Between) and not part.args.get("symmetric"):
                value, low, high = (self.key(part.args[name], scope, parts) for name in ("this", "low", "high"))
                texts += (digest(f"LTE(expression={value},this={low})"), digest(f"LTE(expression={high},this={value})"))
            elif isinstance(inner, exp.Or):
                for each in flatten_operands(exp.Or, inner):
                    texts += self.condition(exp.Not(this=each), scope, parts)
            else:
                texts.append(self.key(part, scope, parts))
        return self._operands("and", texts)

    def sql(self, node: exp.Expression) -> str:
        """Return an expression as SQL for a reader."""
        if isinstance(node, exp.Column):
            return node.name
        if id(node) not in self._texts:
            try:
                text = self._generator.generate(node, copy=False)
            except RecursionError:
                raise Unreadable("it is nested too deep to follow") from None
            self._texts[id(node)] = node, text if len(text) <= LONGEST else text[:LONGEST] + " ..."
        return self._texts[id(node)][1]

    def _readable_sql(self, node: exp.Expression, scope: SelectScope) -> str:
        """Return an expression as SQL for a reader who does not know our macros."""
        text = self.sql(node)
        return self.sql(to_readable(node, lambda column: self._resolve(column, scope))) if MACROS in text else text

    def _find_window_names(self, node: exp.Expression, scope: SelectScope) -> Iterator[str]:
        for each in node.find_all(exp.Window):
            alias = each.args.get("alias")
            base = scope.windows.get(alias.name.casefold()) if isinstance(alias, exp.Identifier) else None
            if base is not None:
                by = ", ".join(self._readable_sql(key, scope) for key in base.args.get("partition_by") or ())
                clauses = [
                    self._readable_sql(base.args[name], scope) for name in ("order", "spec") if base.args.get(name)
                ]
                yield from ([f"PARTITION BY {by}"] if by else [])
                yield from (clause.strip() for clause in clauses)

    def type_name(self, node: exp.Expression) -> str:
        """Return the name of a type, the same for equivalent types."""
        text = node.sql().upper()
        return SAME_TYPES.get(text, text)

    def fact(self, kind: FactKind, node: exp.Expression, **more: Any) -> Fact:
        """Return a fact about an expression of this model."""
        return Fact(kind=kind, model=self.model, sql=self.sql(node), line=find_node_line(node), **more)

    # One method per form that has several spellings

    def _generic(self, node: exp.Expression, scope: SelectScope, parts: Parts) -> str:
        if isinstance(node, exp.AggFunc):
            self._aggregate(node, scope, parts)
        name = type(node).__name__
        return f"{name}({self._arguments(node, scope, parts)})"

    def _note_form(self, text: str, form: str, *operands: str) -> str:
        """Return the key of a text and record the form it was built from."""
        key = digest(text)
        self._forms[key] = form, operands
        return key

    def _operands(self, form: str, keys: Iterable[str]) -> list[str]:
        """Flatten keys built in the same form, even through columns, into their operands."""
        flat: list[str] = []
        for key in keys:
            key_form, operands = self._forms.get(key, ("", ()))
            flat += operands if key_form == form else (key,)
        return flat

    def _arguments(self, node: exp.Expression, scope: SelectScope, parts: Parts) -> str:
        texts = []
        exact = isinstance(node, EXACT)
        for name, argument in node.args.items():
            if argument is None or argument is False or argument == [] or name in ARGUMENTS_TO_SKIP:
                continue
            if isinstance(argument, list):
                inside = ",".join(self._argument(each, scope, parts, exact=exact) for each in argument)
                texts.append(f"{name}=[{inside}]")
            else:
                texts.append(f"{name}={self._argument(argument, scope, parts, exact=exact)}")
        return ",".join(sorted(texts))

    def _argument(self, argument: Any, scope: SelectScope, parts: Parts, *, exact: bool = False) -> str:
        if isinstance(argument, exp.Expression):
            return self.key(argument, scope, parts)
        return repr(argument.upper() if isinstance(argument, str) and not exact else argument)

    def _series(self, node: exp.Expression, scope: SelectScope, parts: Parts) -> str:
        """Read a series of times that ends now: its end only leaves out the future."""
        inside = Parts()
        text = self._generic(node, scope, inside)
        parts.add(Value("", inside.kind, frozenset(inside.sources), tuple(inside.steps)))
        parts.facts.update(fact for fact in inside.facts if fact.kind is not FactKind.CLOCK)
        return text

    def _aggregate(self, node: exp.Expression, scope: SelectScope, parts: Parts) -> None:
        if node is self.over:  # a window function keeps the rows as they are
            return
        parts.aggregated = True
        parts.raise_kind(ColumnKind.AGGREGATE)
        parts.facts.add(
            self.fact(
                FactKind.AGGREGATE,
                node,
                function=function_name(node),
                partition=scope.group,
                timed=scope.timed,
                unit=scope.unit,
                within=scope.within,
                order=sort_sources(self.value(node.this, scope).sources) if isinstance(node, exp.Min) else (),
                times=sort_sources(find_times(scope))[:MAX_TIMES],
                unique_id=_single_relation(item.relation for item in scope.items),
            )
        )

    def _inner(self, node: exp.Expression, scope: SelectScope, parts: Parts) -> str:
        return self.key(node.this, scope, parts)

    def _resolve(self, node: exp.Column, scope: SelectScope) -> Value | None:
        table = node.table.casefold()
        return scope.column(node.name.casefold(), table)

    def _column(self, node: exp.Column, scope: SelectScope, parts: Parts) -> str:
        if isinstance(node.this, exp.Star):
            return self._row(node.table.casefold(), scope, parts)
        name = node.name.casefold()
        if not node.table and scope.has_table(name) and not scope.has_column(name):
            return self._row(name, scope, parts)
        fields: tuple[str, ...] = ()
        if self._may_be_alias(node, scope):
            return self._either(name, scope, parts)
        value = self._resolve(node, scope)
        if value is None and node.table:
            value, fields = self._field(node, scope)
        if value is None and not node.table and name in scope.aliases:
            return self._alias(name, scope, parts)
        if value is None:
            return f"unknown({name})"
        parts.add(value)
        if value.form[0] and not fields:
            self._forms[value.key] = value.form
        return ".".join((value.key, *fields))

    def _field(self, node: exp.Column, scope: SelectScope) -> tuple[Value | None, tuple[str, ...]]:
        """Split a struct path such as `home.geo.lat` into its column and the fields below it."""
        path = [part.name.casefold() for part in node.parts]
        if len(path) > 2 and (value := scope.column(path[1], path[0])) is not None:
            return value, tuple(path[2:])
        if scope.has_table(path[0]) and not scope.has_column(path[0]):
            return None, ()
        return scope.column(path[0]), tuple(path[1:])

    def _row(self, table: str, scope: SelectScope, parts: Parts) -> str:
        """Return the key of all columns of a table, or of all tables."""
        keys: list[str] = []
        for item in scope.tables(table):
            if item.relation.is_open and item.relation.rest is None:
                raise Unreadable(f"it takes all columns of '{item.name}', which are not all known, as one value")
            for name in item.relation.columns:
                value = item.column(name)
                if value is not None:
                    parts.add(value)
                    keys.append(digest(name, value.key))
            if item.relation.rest is not None:
                parts.add(item.relation.rest)
                keys.append(item.relation.rest.key)
        return f"row({digest(scope.rows, table, *keys)})"

    def _star(self, _node: exp.Star, scope: SelectScope, parts: Parts) -> str:
        return self._row("", scope, parts)

    def _columns(self, node: exp.Columns, _scope: SelectScope, _parts: Parts) -> str:
        raise Unreadable(f"{self.sql(node)[:60]} is not followed")

    def _may_be_alias(self, node: exp.Column, scope: SelectScope) -> bool:
        """Whether a name in a clause before the SELECT is a column or an alias, which only the table would tell."""
        name = node.name.casefold()
        if node.table or name not in scope.aliases or scope.has_column(name) or self.dialect not in _ALIASES_EARLY:
            return False
        alias = scope.aliases[name]
        inside = {column.name.casefold() for column in alias.find_all(exp.Column)}
        return name not in inside and not alias.find(exp.AggFunc, exp.Window)

    def _either(self, name: str, scope: SelectScope, parts: Parts) -> str:
        key = self._alias(name, scope, parts)
        value = scope.column(name)
        if value is None:
            return key
        parts.add(value)
        return f"either({key},{value.key})"

    def _alias(self, name: str, scope: SelectScope, parts: Parts) -> str:
        """Return the key of an expression that the SELECT gives a name, where a clause before it uses that name."""
        node = scope.aliases.pop(name)  # an alias that refers to itself means the column
        try:
            return self.key(node, scope, parts)
        finally:
            scope.aliases[name] = node

    def _literal(self, node: exp.Literal, _scope: SelectScope, parts: Parts) -> str:
        if node.is_string and depends_on_time(node.this):
            parts.facts.add(self.fact(FactKind.CLOCK, node, function="run"))
            if node.this == STARTED:
                return "run()"
        return repr(node.this) if node.is_string else normalize_number(node.this)

    def _clock(self, node: exp.Expression, _scope: SelectScope, parts: Parts) -> str:
        parts.facts.add(self.fact(FactKind.CLOCK, node, function="clock"))
        return f"{type(node).__name__}()"

    def _anonymous(self, node: exp.Anonymous, scope: SelectScope, parts: Parts) -> str:
        name = str(node.this).casefold()
        if is_clock(node):
            parts.facts.add(self.fact(FactKind.CLOCK, node, function="clock"))
        inside = ",".join(self.key(each, scope, parts) for each in node.expressions)
        return f"{name}({inside})"

    def _chain(self, node: exp.Expression, scope: SelectScope, parts: Parts) -> str:
        kind = type(node)
        if isinstance(node, exp.And):
            return self._all("and", self.condition(node, scope, parts))
        texts = [self.key(part, scope, parts) for part in flatten_operands(kind, node)]
        if isinstance(node, exp.Or):
            return self._all("or", texts)
        if any(
            isinstance(part, INTERVALS) for part in flatten_operands(kind, node)
        ):  # a day and a month, or a month and a day
            return f"{kind.__name__}[{','.join(texts)}]"
        operands = sorted(self._operands(kind.__name__, texts))
        return self._note_form(f"{kind.__name__}({','.join(operands)})", kind.__name__, *operands)

    def _all(self, word: str, keys: Iterable[str]) -> str:
        """Return a key for operands whose order and repetition do not matter."""
        unique = sorted(set(self._operands(word, keys)))
        return unique[0] if len(unique) == 1 else self._note_form(f"{word}({','.join(unique)})", word, *unique)

    def _sort_operands(self, node: exp.Expression, scope: SelectScope, parts: Parts) -> str:
        sides = sorted((self.key(node.this, scope, parts), self.key(node.expression, scope, parts)))
        return f"{type(node).__name__}({','.join(sides)})"

    def _comparison(self, node: exp.Expression, scope: SelectScope, parts: Parts) -> str:
        left, right = self.key(node.this, scope, parts), self.key(node.expression, scope, parts)
        return f"{MIRRORED[type(node)].__name__}(expression={left},this={right})"

    def _not(self, node: exp.Not, scope: SelectScope, parts: Parts) -> str:
        inner = strip_brackets(node.this)
        if isinstance(inner, exp.Not):
            return self.key(inner.this, scope, parts)
        if type(inner) in OPPOSITE:
            opposite = OPPOSITE[type(inner)](this=inner.this, expression=inner.expression)
            return self.key(opposite, scope, parts)
        if isinstance(inner, exp.Or):
            return self._all("and", self.condition(node, scope, parts))
        if isinstance(inner, exp.And):
            return self._all(
                "or", [self.key(exp.Not(this=part), scope, parts) for part in flatten_operands(exp.And, inner)]
            )
        return f"not({self.key(inner, scope, parts)})"

    def _between(self, node: exp.Between, scope: SelectScope, parts: Parts) -> str:
        if node.args.get("symmetric"):
            return self._generic(node, scope, parts)
        return self._all("and", self.condition(node, scope, parts))

    def _membership(self, node: exp.In, scope: SelectScope, parts: Parts) -> str:
        texts = sorted({self.key(each, scope, parts) for each in node.expressions})
        value = self.key(node.this, scope, parts)
        if len(texts) == 1 and not node.args.get("query"):
            return f"EQ({','.join(sorted((value, texts[0])))})"
        if node.args.get("query"):
            query = strip_brackets(node.args["query"])
            relation = self._query(query.this if isinstance(query, exp.Subquery) else query, scope)
            parts.sources |= relation.sources.union(*(each.sources for each in relation.columns.values()))
            parts.facts.update(_existence_fact(fact) for fact in relation.facts)
            parts.facts.update(self._member_facts(node, relation, scope))
            texts.append(f"query({relation.rows};{','.join(value.key for value in relation.columns.values())})")
        for name in ("unnest", "field"):
            if node.args.get(name):
                texts.append(self.key(node.args[name], scope, parts))
        return f"in({value};{','.join(texts)})"

    def _cast(self, node: exp.Cast, scope: SelectScope, parts: Parts) -> str:
        target = self.type_name(cast("exp.Expression", node.to))
        inner = strip_brackets(node.this)
        text = self.key(inner, scope, parts)
        if text == _RUN or (not node.args.get("format") and self._type_of(inner, scope) == target):
            return text
        given = f",{node.args['format']!r}" if node.args.get("format") else ""
        return self._note_form(f"cast({text},{target}{given})", "exact" if target in ("DOUBLE", "FLOAT") else "", text)

    def _type_of(self, node: exp.Expression, scope: SelectScope) -> str:
        """Return the type of an expression, "" unless it is obvious."""
        node = strip_brackets(node)
        if isinstance(node, exp.Column) and not isinstance(node.this, exp.Star):
            value = self._resolve(node, scope)
            return value.type if value else ""
        if isinstance(node, exp.Cast):
            return self.type_name(cast("exp.Expression", node.to))
        if isinstance(node, exp.Literal):
            return "TEXT" if node.is_string else ""
        if isinstance(node, exp.Window):
            return self._type_of(node.this, scope)
        return "BIGINT" if isinstance(node, exp.Count | exp.RowNumber | exp.Rank | exp.DenseRank) else ""

    def _case(self, node: exp.Case, scope: SelectScope, parts: Parts) -> str:
        texts = []
        subject = self.key(node.this, scope, parts) if node.this else None
        for branch in node.args["ifs"]:
            with self._guard(branch.this, scope, parts):
                test = self.key(branch.this, scope, parts)
                if subject is not None:
                    test = digest(f"EQ({','.join(sorted((subject, test)))})")
                texts.append(f"{test}->{self.key(branch.args['true'], scope, parts)}")
        default = node.args.get("default")
        return f"case({';'.join(texts)};{self.key(default, scope, parts) if default else _NULL})"

    def _if(self, node: exp.If, scope: SelectScope, parts: Parts) -> str:
        with self._guard(node.this, scope, parts):
            test, true = self.key(node.this, scope, parts), self.key(node.args["true"], scope, parts)
        false = node.args.get("false")
        return f"case({test}->{true};{self.key(false, scope, parts) if false else _NULL})"

    def _interval(self, node: exp.Interval, scope: SelectScope, parts: Parts) -> str:
        unit = node.args.get("unit")
        name = unit.name.upper().removesuffix("S") if isinstance(unit, exp.Var) else self._argument(unit, scope, parts)
        this = node.this
        amount = str(this.this) if isinstance(this, exp.Literal) else self._argument(this, scope, parts)
        return f"interval({amount},{name})"

    def _filter(self, node: exp.Filter, scope: SelectScope, parts: Parts) -> str:
        """`agg(x) filter (where c)` is `agg(case when c then x end)` for aggregates that skip NULL."""
        with self._guard(node.expression.this, scope, parts):
            return self._filter_aggregate(node, scope, parts)

    def _filter_aggregate(self, node: exp.Filter, scope: SelectScope, parts: Parts) -> str:
        function, test = node.this, self.key(node.expression.this, scope, parts)
        if type(function) in CONDITIONAL and not isinstance(function.this, exp.Distinct | exp.Order):
            self._aggregate(function, scope, parts)
            value = self.key(function.this, scope, parts)
            inner = digest(f"case({test}->{value};{_NULL})")
            return f"{type(function).__name__}(this={inner})"
        text = self.key(function, scope, parts)
        if text == _EVERYTHING:
            return self._count_of(digest(f"case({test}->{digest('1')};{_NULL})"))
        return f"filter({text};{test})"

    def _count(self, node: exp.Count, scope: SelectScope, parts: Parts) -> str:
        self._aggregate(node, scope, parts)
        inner = strip_brackets(node.this) if isinstance(node.this, exp.Expression) else exp.Star()
        if node.expressions:
            return f"count({self._arguments(node, scope, parts)})"
        if isinstance(inner, exp.Star | exp.Literal):
            parts.facts.update(_count_facts(scope))
        if isinstance(inner, exp.Star):
            return "count(*)"
        text = self.key(inner, scope, parts)
        if isinstance(inner, exp.Literal):
            return "count(*)"
        if isinstance(inner, exp.Column):
            value = self._resolve(inner, scope)
            if value is not None and value.sure:
                return "count(*)"
        return self._count_of(text)

    def _count_of(self, key: str) -> str:
        return self._note_form(f"count({key})", "count", key)

    def _count_if(self, node: exp.CountIf, scope: SelectScope, parts: Parts) -> str:
        self._aggregate(node, scope, parts)
        with self._guard(node.this, scope, parts):
            test = self.key(node.this, scope, parts)
        return self._count_of(digest(f"case({test}->{digest('1')};{_NULL})"))

    def _sum(self, node: exp.Sum, scope: SelectScope, parts: Parts) -> str:
        text = self._generic(node, scope, parts)
        key = self.key(node.this, scope, parts)
        return self._note_form(text, "sum", key) if text == f"Sum(this={key})" else text

    def _nullif(self, node: exp.Nullif, scope: SelectScope, parts: Parts) -> str:
        key, other = self.key(node.this, scope, parts), self.key(node.expression, scope, parts)
        return self._note_form(f"nullif({key},{other})", "unless zero" if other == _ZERO else "", key)

    def _divide(self, node: exp.Div, scope: SelectScope, parts: Parts) -> str:
        """`sum(x) / count(x)` is `avg(x)` where the division is not one of integers."""
        above, below = self.key(node.this, scope, parts), self.key(node.expression, scope, parts)
        total, exact = self._inside("exact", above)
        number, also_exact = self._inside("exact", self._inside("unless zero", below)[0])
        (made, summed), (kind, counted) = self._forms.get(total, ("", ())), self._forms.get(number, ("", ()))
        if (
            (exact or also_exact or not node.args.get("typed"))
            and (made, kind) == ("sum", "count")
            and summed == counted
        ):
            mean = digest(f"Avg(this={summed[0]})")
            return self.note_window_form(mean, summed[1]) if len(summed) > 1 else mean
        return f"Div({'typed;' if node.args.get('typed') else ''}{above},{below})"

    def note_window_form(self, function: str, window: str) -> str:
        """Return the key of a window function and record whether it is a sum or a count."""
        made, operands = self._forms.get(function, ("", ()))
        form = made if made in ("sum", "count") else ""
        return self._note_form(f"window({function};{window})", form, *operands, window)

    def _inside(self, form: str, key: str) -> tuple[str, bool]:
        made, operands = self._forms.get(key, ("", ()))
        return (operands[0], True) if made == form else (key, False)

    @contextmanager
    def _guard(self, test: exp.Expression, scope: SelectScope, parts: Parts) -> Iterator[None]:
        """Bind everything collected inside the block to the rows that meet a condition."""
        before, parts.facts = parts.facts, set()
        try:
            yield
        finally:
            frames = find_frames(self, self.conjuncts(test), scope) if _has_joins(parts.facts) else {}
            parts.facts = before | with_frames(frozenset(parts.facts), frames)

    def _over(self, node: exp.Window, scope: SelectScope, parts: Parts) -> str:
        return self._window(self, node, scope, parts)

    def _subquery(self, node: exp.Expression, scope: SelectScope, parts: Parts) -> str:
        query = node.this if isinstance(node, exp.Subquery) else node
        relation = self._query(query, scope)
        of_row = query.find(exp.Table) is None  # for example the elements of a list in the row
        for value in relation.columns.values():
            kept = frozenset(fact for fact in value.facts if not (of_row and fact.kind is FactKind.AGGREGATE))
            parts.add(replace(value, facts=kept if of_row else subquery_facts(value, relation)))
        parts.sources |= relation.sources
        parts.facts.update(fact for fact in relation.facts if fact.kind is not FactKind.JOIN)
        columns = ",".join(value.key for value in relation.columns.values())
        return f"query({relation.rows};{columns})"

    def _exists(self, node: exp.Exists, scope: SelectScope, parts: Parts) -> str:
        query: Any = node.this.this if isinstance(node.this, exp.Subquery) else node.this
        if not isinstance(query, exp.Query):
            return self._generic(node, scope, parts)
        relation = self._query(cast("exp.Expression", query), scope)
        parts.sources |= relation.sources
        parts.facts.update(_existence_fact(fact) for fact in relation.facts)
        return f"exists({relation.rows})"

    def _member_facts(self, node: exp.In, relation: Relation, scope: SelectScope) -> Iterable[Fact]:
        """Return the fact of an IN subquery: its rows are joined by equality."""
        for value in tuple(relation.columns.values())[:1]:
            own, keys = value.sources, self.value(node.this, scope).sources
            tables = {(source.relation, source.unique_id) for source in own}
            name, unique_id = tables.pop() if len(tables) == 1 else ("", "")
            yield self.fact(
                FactKind.JOIN,
                node,
                function="semi",
                joined=True,
                counted=True,
                within=scope.within,
                place=f"{self.model} {self.sql(node)}",
                relation=name,
                unique_id=unique_id,
                own=sort_sources(own),
                keys=sort_sources(keys),
                times=sort_sources(relation.times)[:MAX_TIMES],
            )

    def _shift_facts(self, node: exp.Expression) -> Iterable[Fact]:
        """Return the fact that a value is a time moved forward."""
        shift = find_shift(node)
        return (self.fact(FactKind.MOVED, node, shift=shift),) if shift else ()

    def _truncation_facts(self, node: exp.Expression, scope: SelectScope) -> Iterable[Fact]:
        """Return the fact that a value is a time truncated to a unit, also under a cast, MIN or MAX."""
        while True:
            node = strip_brackets(node)
            unit = find_unit(node)
            if unit:
                return (self.fact(FactKind.TRUNCATED, node, unit=unit),)
            if isinstance(node, exp.Column) and not isinstance(node.this, exp.Star):
                value = self._resolve(node, scope)
                return [fact for fact in value.facts if fact.kind is FactKind.TRUNCATED] if value else ()
            if not isinstance(node, exp.Cast | exp.Min | exp.Max | exp.Coalesce | exp.AtTimeZone | exp.AnyValue):
                return ()
            node = node.this
            if not isinstance(node, exp.Expression):
                return ()


def _count_facts(scope: SelectScope) -> Iterable[Fact]:
    """Return the facts behind a SELECT's row count: its relations' rows, though not their values."""
    return (replace(fact, counted=True) for fact in scope.joins)


def _existence_fact(fact: Fact) -> Fact:
    """Adapt a row fact of an EXISTS subquery, whose values are not read."""
    return replace(fact, joined=True, counted=True, function="semi") if fact.kind is FactKind.JOIN else fact


def _has_joins(facts: Iterable[Fact]) -> bool:
    return any(fact.kind is FactKind.JOIN for fact in facts)


def _single_relation(relations: Iterable[Relation]) -> str:
    """Return the only model or source behind relations, "" if there are several."""
    unique_ids = {
        source.unique_id for relation in relations for value in relation.columns.values() for source in value.sources
    }
    return unique_ids.pop() if len(unique_ids) == 1 else ""
