"""A script of one temporary table per view, with the row of every label and what to count in it.

It needs windows, joins, CASE and temporary tables, and neither updates nor arrays nor an order that tables would keep.
Per view, one CTE after the other:

1. `<view>__timeline`: the view's visible moments and the labels in one list, per key and time.
2. `<view>__match`: a running maximum of the event time down that list; at a label it is the winner's event time.
3. `<view>__found`: the rows of that event time, each with its place by the tie-break.

The table holds the first of these rows for each label, also one that has expired (rank 2), so that all counts of the
report are of that table.
"""

from __future__ import annotations

from sqlglot import exp

from featurelayer.sql.ast import all_of, call, col, key_alias, not_null, table, with_alias
from featurelayer.sql.join_rules import LABELS, RANK, VALID_TO
from featurelayer.sql.plan import (
    EVENT,
    ID,
    RESERVED,
    TIME,
    AsofJoin,
    Entities,
    JoinReport,
    Plan,
    Statement,
    Step,
)
from featurelayer.sql.scripts.base import Cte, ScriptBuilder

AT, IS_LABEL = f"{RESERVED}at", f"{RESERVED}is_label"
PLACE, LEVEL, CONTENT, TIED = (f"{RESERVED}{name}" for name in ("place", "level", "content", "tied"))
_AGE, _SORTED, _ALL = (f"{RESERVED}{name}" for name in ("age", "sorted", "all"))
_SHARES = ("0.5", "0.9", "0.99")


class MaterializedScript(ScriptBuilder):
    """For any engine with windows and temporary tables; one with an as-of join overrides `match`."""

    def view_tables(self, plan: Plan, join: AsofJoin) -> list[str]:  # noqa: ARG002
        return [self.rules.rows_name(join), *([] if join.ledger is None else [self.rules.labels_name(join)])]

    def view_step(self, plan: Plan, join: AsofJoin) -> Step:
        *ctes, (_, rows) = self._row_ctes(plan, join)
        for name, query in ctes:
            rows = rows.with_(exp.to_identifier(name, quoted=True), as_=query, copy=False)
        statements = self.create_statements(self.rules.rows_name(join), rows, f"{join.name}: {_comment(join)}")
        report = None if isinstance(plan.spine, Entities) else self._report(join)
        return Step(name=join.name, statements=(*self.create_served_labels(join), *statements), report=report)

    def row_ctes(self, plan: Plan, join: AsofJoin) -> list[Cte]:
        return [Cte(name, query) for name, query in self._row_ctes(plan, join)]

    def _row_ctes(self, plan: Plan, join: AsofJoin) -> list[tuple[str, exp.Query]]:
        """Return the CTEs of a view's rows; the last is the rows."""
        rows = self.rules.rows_name(join)
        if join.event is None:
            return [(rows, self.static_rows(plan, join, has_ranks=True))]
        candidates = f"{join.name}__found"
        return [
            *self.match(join),
            (candidates, self._candidate_rows(plan, join)),
            (rows, self._winners(plan, join, candidates)),
        ]

    def match_name(self, join: AsofJoin) -> str:
        """Return the CTE that holds the winner's event time for each label."""
        return f"{join.name}__match"

    def match(self, join: AsofJoin) -> list[tuple[str, exp.Query]]:
        """Return the CTEs that find the winner's event; the last has label id, times, keys and that event."""
        timeline = f"{join.name}__timeline"
        line = exp.union(self._moments(join), self._label_moments(join), distinct=False)
        running = self._running_maximum(join, timeline)
        keys = [key_alias(position) for position in range(len(join.keys))]
        is_label = exp.EQ(this=col(IS_LABEL, "m"), expression=exp.Literal.number(1))
        match = exp.select(col(ID, "m"), col(AT, "m"), *(col(key, "m") for key in keys), col(EVENT, "m"))
        match = match.from_(running.subquery("m")).where(all_of(is_label, not_null(col(EVENT, "m"))))
        return [(timeline, line), (self.match_name(join), match)]

    def _moments(self, join: AsofJoin) -> exp.Select:
        """Return the view's moments in the form of the timeline, of keys that a label has."""
        return (
            exp.select(
                *self.rules.view_keys(join, "f"),
                with_alias(self.rules.effective_time(join, "f"), AT),
                with_alias(self.rules.event_time(join, "f"), EVENT),
                with_alias(exp.Literal.number(0), IS_LABEL),
                with_alias(exp.cast(exp.Null(), exp.DataType.build("BIGINT")), ID),
            )
            .from_(self.rules.relation(join, "f"))
            .where(all_of(self.rules.is_usable(join, "f"), self.rules.has_label(join, "f")))
        )

    def _label_moments(self, join: AsofJoin) -> exp.Select:
        return (
            exp.select(
                *self.rules.label_keys(join, "l"),
                with_alias(self.rules.visible_until(join, "l"), AT),
                with_alias(exp.cast(exp.Null(), exp.DataType.build("TIMESTAMP")), EVENT),
                with_alias(exp.Literal.number(1), IS_LABEL),
                col(ID, "l"),
            )
            .from_(self.rules.labels_of(join, "l"))
            .where(self.rules.is_label_known(join, "l"))
        )

    def _running_maximum(self, join: AsofJoin, timeline: str) -> exp.Select:
        keys = [key_alias(position) for position in range(len(join.keys))]
        newest = exp.Window(
            this=exp.Max(this=col(EVENT)),
            partition_by=[col(key) for key in keys],
            order=exp.Order(expressions=[exp.Ordered(this=col(AT)), exp.Ordered(this=col(IS_LABEL))]),
            spec=exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="CURRENT ROW"),
        )
        return exp.select(
            col(ID), col(AT), col(IS_LABEL), *(col(key) for key in keys), with_alias(newest, EVENT)
        ).from_(table(timeline))

    def _candidate_rows(self, plan: Plan, join: AsofJoin) -> exp.Select:
        """Return the rows of the winning event time, each with its place by rule 3."""
        on = [
            self.rules.keys_equal(join, "m", "f"),
            exp.EQ(this=self.rules.event_time(join, "f"), expression=col(EVENT, "m")),
        ]
        if join.available is not None:
            on.append(exp.LTE(this=self.rules.effective_time(join, "f"), expression=col(AT, "m")))
            on.append(not_null(col(join.available.name, "f")))
        served = join.ledger is not None
        # Values expire and end at the label's own time, even if it sees the view as of another time.
        at = col(TIME, "l") if served else col(AT, "m")
        windows = {
            PLACE: (exp.RowNumber(), self.rules.tie_order(join, "f")),
            LEVEL: (call("DENSE_RANK"), self.rules.greatest_first(join.order, "f")),
            CONTENT: (call("DENSE_RANK"), self.rules.tie_order(join, "f")),
        }
        places = []
        for name, (function, order) in windows.items():
            over = exp.Window(this=function, partition_by=[col(ID, "m")], order=exp.Order(expressions=order))
            places.append(with_alias(over if order else exp.Literal.number(1), name))
        select = exp.select(
            col(ID, "m"),
            with_alias(at, TIME),
            col(EVENT, "m"),
            *places,
            *self.rules.feature_values(plan, join, "f", at),
        ).from_(table(self.match_name(join), "m"))
        if served:
            same = exp.EQ(this=col(ID, "l"), expression=col(ID, "m"))
            select = select.join(table(LABELS, "l"), on=same, join_type="inner")
        return select.join(self.rules.relation(join, "f"), on=all_of(*on), join_type="inner")

    def _winners(self, plan: Plan, join: AsofJoin, found: str) -> exp.Select:
        """Return the first of each label's rows: rank 1, or 2 if expired; and whether the content alone chose it."""
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
        fresh = self.rules.freshness(join, col(EVENT, "r"), col(TIME, "r"))
        if fresh:
            rank = exp.Case().when(all_of(*fresh), exp.Literal.number(1)).else_(exp.Literal.number(2))
        first = exp.EQ(this=col(PLACE, "r"), expression=exp.Literal.number(1))
        columns = [col(ID, "r"), with_alias(rank, RANK), col(TIME, "r"), col(EVENT, "r"), col(TIED, "r")]
        return exp.select(*columns, *(col(name, "r") for name in names)).from_(rows.subquery("r")).where(first)

    # --- the report ------------------------------------------------------------------------------------------------

    def _report(self, join: AsofJoin) -> JoinReport:
        rows = table(self.rules.rows_name(join), "r")
        ranked = {rank: exp.EQ(this=col(RANK, "r"), expression=exp.Literal.number(rank)) for rank in (1, 2)}
        counts = [exp.Count(this=exp.Star()), *(exp.Count(this=col(feature.source, "r")) for feature in join.features)]

        def count_rows(*what: exp.Expression, where: exp.Expression) -> Statement:
            return Statement(sql=self.dialect.sql(exp.select(*what).from_(rows.copy()).where(where)))

        matched = count_rows(*counts, where=ranked[1].copy())
        if join.event is None:
            return JoinReport(join=join, matched=matched, expired=None, unusable=None, ties=None, ages=None)
        every = exp.Count(this=exp.Star())
        tied = all_of(ranked[1].copy(), exp.EQ(this=col(TIED, "r"), expression=exp.Literal.number(1)))
        known = [not_null(col(column.name, "f")) for column in (join.event, join.available) if column]
        unusable = (
            exp.select(every.copy())
            .from_(self.rules.relation(join, "f"))
            .where(exp.Not(this=exp.paren(all_of(*known))))
        )
        ids = exp.select(col(ID, "r")).from_(rows.copy()).where(tied.copy()).order_by(col(ID, "r"))
        return JoinReport(
            join=join,
            matched=matched,
            expired=count_rows(every.copy(), where=ranked[2]) if join.ttl is not None else None,
            unusable=Statement(sql=self.dialect.sql(unusable)),
            ties=count_rows(every.copy(), where=tied),
            tied=Statement(sql=self.dialect.sql(ids)),
            ages=Statement(sql=self.dialect.sql(self._ages(rows, ranked[1]))),
        )

    def _ages(self, rows: exp.Table, matched: exp.Expression) -> exp.Select:
        """Return five columns: minimum age in microseconds, three quantiles of the known ages, maximum."""
        age = self.dialect.micros_between(col(TIME, "r"), col(EVENT, "r"))
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
