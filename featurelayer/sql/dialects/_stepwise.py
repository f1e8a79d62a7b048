"""The portable form as a script: per view one temporary table with the row of every label, and what to count in it.

It needs windows, joins, CASE and temporary tables, and neither updates nor arrays nor an order that tables would keep:

- A temporary table per view holds for each label the row that it gets, also one that has expired (rank 2), so that
  all counts of the report are of that table.
- Labels are numbered by the column that says their order, or by all their columns where they have none: engines compute
  a common table expression anew wherever it is named, and the numbers must be the same each time. Rows that are alike
  in every column get the same features, so it does not matter which of them is which.

An engine with an as-of join of its own overrides `match`; the others find the newest event by a running maximum.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from sqlglot import exp

from featurelayer.errors import Problem, UnsupportedByDialect
from featurelayer.model import Column, Kind
from featurelayer.sql.ast import all_of, call, col, key_alias, not_null, parse_from_item, table, with_alias
from featurelayer.sql.dialects.base import AT, IS_LABEL, Dialect
from featurelayer.sql.plan import (
    EVENT,
    ID,
    RESERVED,
    TIME,
    AsofJoin,
    Entities,
    JoinReport,
    Labels,
    Plan,
    Script,
    Statement,
    Step,
)
from featurelayer.sql.spine import LABELS, RANK, VALID_TO

PLACE, LEVEL, CONTENT, TIED = (f"{RESERVED}{name}" for name in ("place", "level", "content", "tied"))
_AGE, _SORTED, _ALL = (f"{RESERVED}{name}" for name in ("age", "sorted", "all"))
_SHARES = ("0.5", "0.9", "0.99")


class Stepwise(Dialect):
    """Subclasses say their words; those with an as-of join say how it matches.

    `without_null` are types that can't be NULL there; `folds_names` says that names of columns are compared without
    case, whether they are quoted or not.
    """

    without_null: tuple[Kind, ...] = ()
    folds_names = False

    def sql(self, expression: exp.Expression) -> str:
        for cte in expression.find_all(exp.CTE):
            cte.set("materialized", None)  # a word that these engines do not have
        return super().sql(expression)

    def capability_error(self, capability: str, fix: str) -> UnsupportedByDialect:
        """The error for what the engine can't do."""
        return UnsupportedByDialect([Problem(what=f"{self.name} has no {capability}", fix=fix)])

    # --- words that differ -----------------------------------------------------------------------------------------

    def is_nan(self, value: exp.Expression) -> exp.Expression | None:
        """Whether a float is NaN, where the engine does not order it above all numbers by itself."""

    def nested_text(self, value: exp.Expression) -> exp.Expression:  # noqa: ARG002 (engines that can override)
        """A nested value as canonical JSON text."""
        raise self.capability_error("canonical text of nested values", "declare a tie_breaker over plain columns only")

    def comparable(self, column: Column, alias: str) -> list[exp.Expression]:
        value = col(column.name, alias)
        if column.dtype.kind in (Kind.ARRAY, Kind.STRUCT, Kind.MAP):
            return [exp.Case().when(not_null(value), self.nested_text(value.copy()))]
        values = super().comparable(column, alias)
        if column.dtype.kind is not Kind.FLOAT:
            return values
        nan = self.is_nan(value.copy())
        first = [] if nan is None else [exp.Case().when(nan, exp.Literal.number(1)).else_(exp.Literal.number(0))]
        if first:
            first = [exp.Case().when(not_null(value.copy()), first[0])]
        # 0.0 and -0.0 are equal and not the same; their text tells them apart.
        return [*first, *values, exp.cast(value.copy(), exp.DataType.build("TEXT"))]

    def has_label_key(self, join: AsofJoin) -> exp.Expression:
        """Whether a label has the key of a row of the view."""
        same = (exp.EQ(this=col(alias, "l"), expression=col(key.name, "f")) for key, alias in join.keys)
        return exp.Exists(this=exp.select(exp.Literal.number(1)).from_(table(LABELS, "l")).where(all_of(*same)))

    # --- the spine -------------------------------------------------------------------------------------------------

    def _order(self, labels: Labels) -> list[str]:
        if labels.order:
            return [labels.order]
        nested = [column.name for column in labels.columns if column.dtype.kind in _UNORDERED]
        if nested:
            raise self.capability_error(
                f"order of the values of {', '.join(nested)}, by which labels from a relation are numbered",
                "give the labels as a file or a frame, or leave the column out",
            )
        return [column.alias for column in labels.columns]

    def label_number(self, labels: Labels) -> exp.Expression:
        return self.numbered_by(self._order(labels))

    def _entity_spine(self, entities: Entities, join: AsofJoin) -> exp.Select:
        keys = exp.select(*(with_alias(col(key.name, "f"), alias) for key, alias in join.keys))
        keys = keys.from_(self.relation(join, "f")).where(
            all_of(*(not_null(col(key.name, "f")) for key, _ in join.keys))
        )
        names = [alias for _, alias in join.keys]
        number = with_alias(self.numbered_by(names), ID)
        at = with_alias(self.moment(entities.as_of), TIME)
        return exp.select(number, at, *(col(name) for name in names)).from_(keys.distinct().subquery("entities"))

    def label_source(self, labels: Labels) -> exp.Expression:
        """As ever, but that names are given one by one: not every engine takes a list of them after a table."""
        if labels.order or all(column.alias == column.name for column in labels.source_columns):
            return super().label_source(labels)
        source = parse_from_item(labels.source, self.name)
        columns = [with_alias(col(column.name), column.alias) for column in labels.source_columns]
        return exp.select(*columns).from_(source).subquery("labels")

    # --- the script ------------------------------------------------------------------------------------------------

    def refuse(self, plan: Plan) -> None:
        """Raise where the engine could not keep what was promised.

        Raises:
            UnsupportedByDialect: it could not.
        """
        problems = [
            Problem(
                what=f"{join.view}: the feature '{feature.source}' is {feature.dtype}, "
                f"and {self.name} has no NULL of it: a label that finds no row would get an empty one",
                fix="make it JSON text in the model",
            )
            for join in plan.joins
            for feature in join.features
            if feature.dtype.kind in self.without_null
        ]
        if isinstance(plan.spine, Labels) and self.folds_names:
            names = [*(c.name for c in plan.spine.columns), *(f.name for join in plan.joins for f in join.features)]
            folded = Counter(name.casefold() for name in names)
            twins = [name for name in names if folded[name.casefold()] > 1]
            if twins:
                what = f"{self.name} can't tell columns apart whose names differ in case alone: {', '.join(twins)}"
                problems.append(Problem(what=what, fix="rename one of them"))
        if problems:
            raise UnsupportedByDialect(problems)

    def statement(self, plan: Plan, *, ordered: bool = False) -> str:
        self.refuse(plan)
        return super().statement(plan, ordered=ordered)

    def compile(self, plan: Plan) -> Script:
        self.refuse(plan)
        steps = (self.spine_step(plan), *(self._view_step(plan, join) for join in plan.joins))
        temporary = [LABELS]
        for join in plan.joins:
            temporary += [self.rows_name(join), *([] if join.ledger is None else [self.labels_name(join)])]
        comment = "Every label once, in its order, with the features of its rows."
        return self.script(plan, steps, Statement(sql=self.sql(self.query(plan)), comment=comment), temporary)

    def query(self, plan: Plan) -> exp.Select:
        return self.final(plan, rank=True)

    def _view_step(self, plan: Plan, join: AsofJoin) -> Step:
        served: tuple[Statement, ...] = ()
        if join.ledger is not None:
            comment = f"{join.name}: the labels by the export that was being served at their time."
            served = (Statement(sql=self.create(self.labels_name(join), self.labels_as_served(join)), comment=comment),)
        *ctes, (_, rows) = [cte for cte in self.view_ctes(plan, join) if cte[0] != self.labels_name(join)]
        for name, query in ctes:
            rows = rows.with_(exp.to_identifier(name, quoted=True), as_=query, copy=False)
        made = Statement(sql=self.create(self.rows_name(join), rows), comment=f"{join.name}: {_comment(join)}")
        report = None if isinstance(plan.spine, Entities) else self._report(join)
        return Step(name=join.name, statements=(*served, made), report=report)

    def view_ctes(self, plan: Plan, join: AsofJoin) -> list[tuple[str, exp.Query]]:
        served: list[tuple[str, exp.Query]] = (
            [] if join.ledger is None else [(self.labels_name(join), self.labels_as_served(join))]
        )
        rows = self.rows_name(join)
        if join.event is None:
            return [*served, (rows, self.static_rows(plan, join, rank=True))]
        found = f"{join.name}__found"
        return [
            *served,
            *self.match(join),
            (found, self._candidate_rows(plan, join)),
            (rows, self._best(plan, join, found)),
        ]

    def match_name(self, join: AsofJoin) -> str:
        """The CTE that holds the winner's event time for each label."""
        return f"{join.name}__match"

    def match(self, join: AsofJoin) -> list[tuple[str, exp.Query]]:
        """The CTEs that find the winner's event time; the last has label id, keys, the time it sees and that event."""
        timeline = f"{join.name}__timeline"
        line = exp.union(self.moments(join), self._label_moments(join), distinct=False)
        running = self._running_maximum(join, timeline)
        keys = [key_alias(position) for position in range(len(join.keys))]
        is_label = exp.EQ(this=col(IS_LABEL, "m"), expression=exp.Literal.number(1))
        match = exp.select(col(ID, "m"), col(AT, "m"), *(col(key, "m") for key in keys), col(EVENT, "m"))
        match = match.from_(running.subquery("m")).where(all_of(is_label, not_null(col(EVENT, "m"))))
        return [(timeline, line), (self.match_name(join), match)]

    def moments(self, join: AsofJoin) -> exp.Select:
        """The view's moments in the form of the timeline, of keys that a label has."""
        return (
            exp.select(
                *self.view_keys(join, "f"),
                with_alias(self.effective(join, "f"), AT),
                with_alias(self.event(join, "f"), EVENT),
                with_alias(exp.Literal.number(0), IS_LABEL),
                with_alias(exp.cast(exp.Null(), exp.DataType.build("BIGINT")), ID),
            )
            .from_(self.relation(join, "f"))
            .where(all_of(self.usable(join, "f"), self.has_label_key(join)))
        )

    def _candidate_rows(self, plan: Plan, join: AsofJoin) -> exp.Select:
        """The rows of the winning event time, each with its place by rule 3."""
        on = [self.keys_equal(join, "m", "f"), exp.EQ(this=self.event(join, "f"), expression=col(EVENT, "m"))]
        if join.available is not None:
            on.append(exp.LTE(this=self.effective(join, "f"), expression=col(AT, "m")))
            on.append(not_null(col(join.available.name, "f")))
        served = join.ledger is not None
        # Values expire and end at the label's own time, whatever the time up to which it sees the view.
        at = col(TIME, "l") if served else col(AT, "m")
        windows = {
            PLACE: (exp.RowNumber(), self.tie_order(join, "f")),
            LEVEL: (call("DENSE_RANK"), self.greatest_first(join.order, "f")),
            CONTENT: (call("DENSE_RANK"), self.tie_order(join, "f")),
        }
        places = []
        for name, (function, order) in windows.items():
            over = exp.Window(this=function, partition_by=[col(ID, "m")], order=exp.Order(expressions=order))
            places.append(with_alias(over if order else exp.Literal.number(1), name))
        select = exp.select(
            col(ID, "m"), with_alias(at, TIME), col(EVENT, "m"), *places, *self.feature_values(plan, join, "f", at)
        ).from_(table(self.match_name(join), "m"))
        if served:
            same = exp.EQ(this=col(ID, "l"), expression=col(ID, "m"))
            select = select.join(table(LABELS, "l"), on=same, join_type="inner")
        return select.join(self.relation(join, "f"), on=all_of(*on), join_type="inner")

    def _best(self, plan: Plan, join: AsofJoin, found: str) -> exp.Select:
        """The first of each label's rows: rank 1, or 2 if it has expired; and whether the content alone chose it."""
        undeclared = all_of(
            exp.EQ(this=col(LEVEL, "r"), expression=exp.Literal.number(1)),
            exp.GT(this=col(CONTENT, "r"), expression=exp.Literal.number(1)),
        )
        one = exp.Case().when(undeclared, exp.Literal.number(1)).else_(exp.Literal.number(0))
        tied = exp.Window(this=exp.Max(this=one), partition_by=[col(ID, "r")])
        names = list(dict.fromkeys(feature.source for feature in join.features))
        names += [VALID_TO] if isinstance(plan.spine, Entities) and join.valid_to else []
        rows = exp.select(
            col(ID, "r"),
            col(TIME, "r"),
            col(EVENT, "r"),
            col(PLACE, "r"),
            with_alias(tied, TIED),
            *(col(name, "r") for name in names),
        ).from_(table(found, "r"))
        rank: exp.Expression = exp.Literal.number(1)
        fresh = self.fresh(join, col(EVENT, "r"), col(TIME, "r"))
        if fresh:
            rank = exp.Case().when(all_of(*fresh), exp.Literal.number(1)).else_(exp.Literal.number(2))
        first = exp.EQ(this=col(PLACE, "r"), expression=exp.Literal.number(1))
        columns = [col(ID, "r"), with_alias(rank, RANK), col(TIME, "r"), col(EVENT, "r"), col(TIED, "r")]
        return exp.select(*columns, *(col(name, "r") for name in names)).from_(rows.subquery("r")).where(first)

    # --- the report ------------------------------------------------------------------------------------------------

    def _report(self, join: AsofJoin) -> JoinReport:
        rows = table(self.rows_name(join), "r")
        ranked = {rank: exp.EQ(this=col(RANK, "r"), expression=exp.Literal.number(rank)) for rank in (1, 2)}
        counts = [exp.Count(this=exp.Star()), *(exp.Count(this=col(feature.source, "r")) for feature in join.features)]

        def counted(*what: exp.Expression, where: exp.Expression) -> Statement:
            return Statement(sql=self.sql(exp.select(*what).from_(rows.copy()).where(where)))

        matched = counted(*counts, where=ranked[1].copy())
        if join.event is None:
            return JoinReport(join=join, matched=matched, expired=None, unusable=None, ties=None, ages=None)
        every = exp.Count(this=exp.Star())
        tied = all_of(ranked[1].copy(), exp.EQ(this=col(TIED, "r"), expression=exp.Literal.number(1)))
        known = [not_null(col(column.name, "f")) for column in (join.event, join.available) if column]
        unusable = (
            exp.select(every.copy()).from_(self.relation(join, "f")).where(exp.Not(this=exp.paren(all_of(*known))))
        )
        ids = exp.select(col(ID, "r")).from_(rows.copy()).where(tied.copy()).order_by(col(ID, "r"))
        return JoinReport(
            join=join,
            matched=matched,
            expired=counted(every.copy(), where=ranked[2]) if join.ttl is not None else None,
            unusable=Statement(sql=self.sql(unusable)),
            ties=counted(every.copy(), where=tied),
            tied=Statement(sql=self.sql(ids)),
            ages=Statement(sql=self.sql(self._ages(rows, ranked[1]))),
        )

    def _ages(self, rows: exp.Table, matched: exp.Expression) -> exp.Select:
        """Five columns: the least age in microseconds, three quantiles of those that there are, the greatest."""
        age = exp.Sub(this=self.micros(col(TIME, "r")), expression=self.micros(col(EVENT, "r")))
        ages = exp.select(with_alias(age, _AGE)).from_(rows.copy()).where(matched.copy())
        order = exp.Order(expressions=[exp.Ordered(this=col(_AGE))])
        number = exp.Window(this=exp.RowNumber(), order=order)
        # A window of its own: OVER () counts every row.
        count = exp.Window(this=exp.Count(this=exp.Star()))
        sorted_ = exp.select(col(_AGE), with_alias(number, _SORTED), with_alias(count, _ALL)).from_(ages.subquery("a"))
        columns: list[exp.Expression] = [exp.Min(this=col(_AGE))]
        for share in _SHARES:
            reached = exp.GTE(
                this=col(_SORTED), expression=exp.Mul(this=col(_ALL), expression=exp.Literal.number(share))
            )
            columns.append(exp.Min(this=exp.Case().when(reached, col(_AGE))))
        columns.append(exp.Max(this=col(_AGE)))
        named_columns = [with_alias(column, f"{_AGE}{at}") for at, column in enumerate(columns)]
        return exp.select(*named_columns).from_(sorted_.subquery("s"))

    def kept(self, plan: Plan, name: str) -> Script:
        script = self.compile(plan)
        keep = Step(name=name, statements=(Statement(sql=self.create(name, self.query(plan))),))
        return replace(script, steps=(*script.steps, keep))


_UNORDERED = (Kind.ARRAY, Kind.STRUCT, Kind.MAP, Kind.JSON, Kind.UNKNOWN)


def _comment(join: AsofJoin) -> str:
    if join.event is None:
        return "static, joined on its keys alone (rule 9)."
    bound = "before" if join.exclusive else "at or before"
    clocks = " among the rows available by then" if join.available else ""
    declared = "".join(f"{column.name}, then " for column in join.order)
    expired = f"\n{RANK} 2 has expired by the label's time (rule 2)." if join.ttl is not None else ""
    return (
        f"the newest event {bound} each label{clocks} (rule 1), and the first of its rows\n"
        f"by {declared}the content; the greatest comes first, NULL last (rule 3).{expired}"
    )
