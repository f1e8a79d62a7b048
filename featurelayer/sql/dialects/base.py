"""The portable form of a point-in-time join, in SQL that every warehouse runs, and the parts engines share.

Per view, one CTE after the other:

1. `<view>__timeline`: the view's visible moments and the labels in one list, per key and time.
2. `<view>__match`: a running maximum of the event time down that list; at a label it is the winner's event time.
3. `<view>__rows`: the rows of that event time, ranked by the tie-break.

and one left join of the rows ranked first. Engines with a better form override `compile`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlglot import exp

from featurelayer.model import DType, Kind
from featurelayer.sql.ast import all_of, col, key_alias, not_null, table, with_alias
from featurelayer.sql.plan import EVENT, ID, RESERVED, TIME, AsofJoin, Plan, Script, Statement, Step
from featurelayer.sql.spine import LABELS, RANK, SPINE_COMMENT, Spine

AT = f"{RESERVED}at"
IS_LABEL = f"{RESERVED}is_label"


class Cte(NamedTuple):
    """A named part of a statement, with the rule that it applies; `reused` if it must be computed once for all."""

    name: str
    query: exp.Query
    comment: str = ""
    reused: bool = False


class Dialect(Spine):
    """An engine's SQL. Subclasses set `name` (sqlglot's) and override what the engine does differently or better."""

    def compile(self, plan: Plan) -> Script:
        """Return the script of a plan."""
        query = Statement(sql=self.sql(self.query(plan)))
        return self.script(plan, (self.spine_step(plan),), query, (LABELS,))

    def query(self, plan: Plan) -> exp.Select:
        """The query of the rows, after the steps of the script."""
        query = self.final(plan, rank=True)
        for join in plan.joins:
            for name, cte in self.view_ctes(plan, join):
                query = query.with_(exp.to_identifier(name, quoted=True), as_=cte, copy=False)
        return query

    def statement(self, plan: Plan, *, ordered: bool = False) -> str:
        """Return the plan of a training set as one query, for a place that takes no script.

        A table has no order, so its rows are put into the labels' order only if `ordered`.
        """
        query = self.final(plan, rank=True)
        if not ordered:
            query.set("order", None)
        # Every view reads the spine, and the numbers of its rows must be the same each time.
        spine = Cte(LABELS, self.spine(plan), comment=SPINE_COMMENT, reused=True)
        for cte in (spine, *(cte for join in plan.joins for cte in self.statement_ctes(plan, join))):
            if cte.comment:
                cte.query.add_comments([f" {cte.comment} "])
            name = exp.to_identifier(cte.name, quoted=True)
            query = query.with_(name, as_=cte.query, materialized=cte.reused or None, copy=False)
        return self.sql(query)

    def statement_ctes(self, plan: Plan, join: AsofJoin) -> list[Cte]:
        """The CTEs of one view in a statement; the last is the rows, of which those that count have rank 1."""
        ctes = [Cte(name, query) for name, query in self.view_ctes(plan, join)]
        return ctes if join.event is not None else [*ctes[:-1], self.only_rows(plan, join)]

    def only_rows(self, plan: Plan, join: AsofJoin) -> Cte:
        """The rows of a static view. No check ran before them, so the query itself fails where a key has two."""
        several = exp.GT(
            this=exp.Window(this=exp.Count(this=exp.Star()), partition_by=[col(ID, "l")]),
            expression=exp.Literal.number(1),
        )
        names = ", ".join(key.name for key, _ in join.keys)
        message: exp.Expression = exp.Literal.string(
            f"{join.view}: a static view must have one row per key, and this one has several for {names} ="
        )
        for key, _ in join.keys:
            value = exp.cast(col(key.name, "f"), self.type(DType(kind=Kind.TEXT)))
            message = exp.DPipe(this=exp.DPipe(this=message, expression=exp.Literal.string(" ")), expression=value)
        rank = exp.Case().when(several, self.fail(message)).else_(exp.Literal.number(1))
        rows = self.static_rows(plan, join, rank=False).select(with_alias(rank, RANK))
        return Cte(self.rows_name(join), rows, comment=f"{join.name}: static, joined on its keys alone (rule 9).")

    def kept(self, plan: Plan, name: str) -> Script:
        """Return the script of a plan with one step more, which keeps the query's rows in a temporary table."""
        script = self.compile(plan)
        keep = Step(name=name, statements=(Statement(sql=self.create(name, self.query(plan))),))
        return replace(script, steps=(*script.steps, keep))

    def reached(self, plan: Plan) -> Statement:
        """Count, view by view, the labels that an export had reached; the spine must be there."""
        counts = [
            exp.select(exp.Count(this=exp.Star())).from_(self.labels_as_served(join).subquery("l")).subquery()
            for join in plan.joins
        ]
        return Statement(sql=self.sql(exp.select(*counts)))

    def differences(self, one: str, other: str, features: Sequence[str]) -> Statement:
        """Count the rows of two kept tables and, feature by feature, those that differ; NULL if there are none."""
        counts: list[exp.Expression] = [exp.Count(this=exp.Star())]
        counts += [
            exp.Sum(
                this=exp.Case()
                .when(exp.NullSafeNEQ(this=col(name, "a"), expression=col(name, "b")), exp.Literal.number(1))
                .else_(exp.Literal.number(0))
            )
            for name in features
        ]
        same = exp.EQ(this=col(ID, "a"), expression=col(ID, "b"))
        joined = exp.select(*counts).from_(table(one, "a")).join(table(other, "b"), on=same, join_type="inner")
        return Statement(sql=self.sql(joined))

    def reach(self, join: AsofJoin) -> Statement | None:  # noqa: ARG002 (engines that can sample override)
        """Which share of the view's rows has a key that the labels have, about, from a sample; None: don't ask."""
        return None

    def probe(self, join: AsofJoin) -> Statement | None:  # noqa: ARG002 (engines with indexes override)
        """Whether the view's rows are better looked up label by label; the spine is there. None: don't ask."""
        return None

    def view_ctes(self, plan: Plan, join: AsofJoin) -> list[tuple[str, exp.Query]]:
        """The CTEs of one view; the last is the ranked rows."""
        served: list[tuple[str, exp.Query]] = (
            [] if join.ledger is None else [(self.labels_name(join), self.labels_as_served(join))]
        )
        if join.event is None:
            return [*served, (self.rows_name(join), self.static_rows(plan, join, rank=True))]
        timeline, match = f"{join.name}__timeline", f"{join.name}__match"
        return [
            *served,
            (timeline, exp.union(self._moments(join), self._label_moments(join), distinct=False)),
            (match, self._running_maximum(join, timeline)),
            (self.rows_name(join), self._rank_rows(plan, join, match)),
        ]

    def _moments(self, join: AsofJoin) -> exp.Select:
        label_keys = exp.select(exp.Literal.number(1)).from_(table(LABELS, "l"))
        label_keys = label_keys.where(
            all_of(*(exp.EQ(this=col(alias, "l"), expression=col(key.name, "f")) for key, alias in join.keys))
        )
        return (
            exp.select(
                *self.view_keys(join, "f"),
                with_alias(self.effective(join, "f"), AT),
                with_alias(self.event(join, "f"), EVENT),
                with_alias(exp.Literal.number(0), IS_LABEL),
                with_alias(exp.cast(exp.Null(), exp.DataType.build("BIGINT")), ID),
            )
            .from_(self.relation(join, "f"))
            .where(all_of(self.usable(join, "f"), exp.Exists(this=label_keys)))
        )

    def _label_moments(self, join: AsofJoin) -> exp.Select:
        return (
            exp.select(
                *self.label_keys(join, "l"),
                with_alias(self.seen(join, "l"), AT),
                with_alias(exp.cast(exp.Null(), exp.DataType.build("TIMESTAMP")), EVENT),
                with_alias(exp.Literal.number(1), IS_LABEL),
                col(ID, "l"),
            )
            .from_(self.labels_of(join, "l"))
            .where(self.is_label_known(join, "l"))
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

    def _rank_rows(self, plan: Plan, join: AsofJoin, match: str) -> exp.Select:
        on = [self.keys_equal(join, "m", "f"), exp.EQ(this=self.event(join, "f"), expression=col(EVENT, "m"))]
        if join.available is not None:
            on.append(exp.LTE(this=self.effective(join, "f"), expression=col(AT, "m")))
            on.append(not_null(col(join.available.name, "f")))
        rank = exp.Window(
            this=exp.RowNumber(), partition_by=[col(ID, "m")], order=exp.Order(expressions=self.tie_order(join, "f"))
        )
        # Values expire and end at the label's own time, whatever the time up to which it sees the view.
        at = col(AT, "m") if join.ledger is None else col(TIME, "l")
        wanted: list[exp.Expression] = [exp.EQ(this=col(IS_LABEL, "m"), expression=exp.Literal.number(1))]
        wanted += self.fresh(join, col(EVENT, "m"), at)
        select = exp.select(
            col(ID, "m"), with_alias(rank, RANK), col(EVENT, "m"), *self.feature_values(plan, join, "f", at)
        ).from_(table(match, "m"))
        if join.ledger is not None:
            same = exp.EQ(this=col(ID, "l"), expression=col(ID, "m"))
            select = select.join(table(LABELS, "l"), on=same, join_type="inner")
        return select.join(self.relation(join, "f"), on=all_of(*on), join_type="inner").where(all_of(*wanted))
