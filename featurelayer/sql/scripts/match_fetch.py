"""A script that matches, fetches and resolves: for engines that update temporary tables.

Per view: a thin table of what each label matches, by key and time alone; then the rows that were found, with their
features; then, for labels that got several rows, the tie-break. Between the three the engine knows how many rows there
are, features are read only of rows that are wanted, and everything can be counted for the report. How a label finds
its moment is the engine's own (`match`).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

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

LEVEL, CONTENT = f"{RESERVED}level", f"{RESERVED}content"
_QUANTILES = (0, 0.5, 0.9, 0.99, 1)


class MatchFetchScript(ScriptBuilder):
    """Match, fetch, resolve. A subclass writes how a label finds its moment, and a few measures."""

    has_ranks = False

    @abstractmethod
    def match(self, plan: Plan, join: AsofJoin, *, cut: bool) -> exp.Query:
        """Return the query of label id, times, keys and the winner's event time, as stored in the view.

        `cut` limits it to the time range the labels can see, which a script knows and a statement does not.
        """

    def first_label(self) -> exp.Expression:
        """Return the earliest label time."""
        return exp.select(exp.Min(this=col(TIME))).from_(table(LABELS)).subquery()

    def last_label(self) -> exp.Expression:
        """Return the latest label time."""
        return exp.select(exp.Max(this=col(TIME))).from_(table(LABELS)).subquery()

    # --- the script ----------------------------------------------------------------------------------------------

    def view_tables(self, plan: Plan, join: AsofJoin) -> list[str]:
        tables = [self.rules.rows_name(join)]
        if join.ledger is not None:
            tables += [self.rules.labels_name(join)]
        if join.event is not None:
            tables += [f"{join.name}__tied", f"{join.name}__ranked"]
            if join is self._match_source(plan, join):
                tables += [self.match_name(join)]
        return tables

    def match_name(self, join: AsofJoin) -> str:
        """Return the table or CTE that holds the winner's event time for each label."""
        return f"{join.name}__match"

    def _match_source(self, plan: Plan, join: AsofJoin) -> AsofJoin:
        """Return the first join with the same match, whose table this join can reuse."""
        return next(other for other in plan.joins if _moments(other) == _moments(join))

    def view_step(self, plan: Plan, join: AsofJoin) -> Step:
        served = self.create_served_labels(join)
        if join.event is None:
            comment = f"{join.name}: static, joined on its keys alone (rule 9)."
            rows = self.create_statements(
                self.rules.rows_name(join), self.static_rows(plan, join, has_ranks=False), comment
            )
            return Step(name=join.name, statements=(*served, *rows), report=self._report(plan, join))
        first = self._match_source(plan, join)
        match = self.match_name(first)
        matched: tuple[Statement, ...] = ()
        comment = f"{join.name}: the same rows, keys and times as {first.name}.\n"
        if first is join:
            matched = self.create_statements(match, self.match(plan, join, cut=True), self._match_comment(join))
            comment = ""
        statements = (
            *served,
            *matched,
            *self.create_statements(
                self.rules.rows_name(join), self._fetch(plan, join, match), f"{comment}{self._fetch_comment(join)}"
            ),
            *self._resolve(plan, join, match),
        )
        return Step(name=join.name, statements=statements, report=self._report(plan, join))

    def _match_comment(self, join: AsofJoin) -> str:
        bound = "before" if join.exclusive else "at or before"
        both_clocks = " among the rows available by then" if join.available else ""
        return f"{join.name}: match the newest event time {bound} each label{both_clocks} (rule 1)."

    def _fetch_comment(self, join: AsofJoin) -> str:
        available = " that were available by then" if join.available else ""
        return f"{join.name}: fetch the rows of that event time{available}" + (
            ", unless expired (rule 2)." if join.ttl else "."
        )

    def utc_event(self, alias: str, join: AsofJoin) -> exp.Expression:
        """Return the raw event time of the match as naive UTC."""
        assert join.event is not None
        return self.dialect.utc(col(EVENT, alias), join.event.dtype, nanoseconds=join.event.nanoseconds)

    def _rows_of_match(self, join: AsofJoin) -> tuple[exp.Expression, list[exp.Expression]]:
        """Return the join from the match back to the view's rows, and the conditions on those rows."""
        assert join.event is not None
        on = [self.rules.keys_equal(join, "m", "f"), exp.EQ(this=col(EVENT, "m"), expression=col(join.event.name, "f"))]
        where = self.rules.freshness(join, self.utc_event("m", join), col(TIME, "m"))
        if join.available is not None:
            # Restatements of an event that arrived after the label are not visible to it.
            where += [
                not_null(col(join.available.name, "f")),
                exp.LTE(this=self.rules.effective_time(join, "f"), expression=self.rules.visible_until(join, "m")),
            ]
        return all_of(*on), where

    def _fetch(self, plan: Plan, join: AsofJoin, match: str) -> exp.Select:
        on, where = self._rows_of_match(join)
        select = exp.select(col(ID, "m"), *self._event_columns(plan, join)).select(
            *self.rules.feature_values(plan, join, "f", col(TIME, "m"))
        )
        select = select.from_(table(match, "m")).join(self.rules.relation(join, "f"), on=on, join_type="inner")
        return select.where(all_of(*where)) if where else select

    def _event_columns(self, plan: Plan, join: AsofJoin) -> list[exp.Expression]:
        return [with_alias(self.utc_event("m", join), EVENT)] if isinstance(plan.spine, Entities) else []

    def _resolve(self, plan: Plan, join: AsofJoin, match: str) -> tuple[Statement, ...]:
        """Apply rule 3 to labels that got several rows; without any, every statement is a no-op."""
        rows, tied, ranked = self.rules.rows_name(join), f"{join.name}__tied", f"{join.name}__ranked"
        declared = self.rules.greatest_first(join.order, "f") or [exp.Ordered(this=exp.Literal.number(1))]
        level = exp.Window(this=call("DENSE_RANK"), partition_by=[col(ID, "m")], order=exp.Order(expressions=declared))
        content = exp.Window(
            this=call("DENSE_RANK"),
            partition_by=[col(ID, "m")],
            order=exp.Order(expressions=self.rules.tie_order(join, "f")),
        )
        select = self._rank_ties(plan, join, match, tied, with_alias(level, LEVEL), with_alias(content, CONTENT))
        names = [ID] + ([EVENT] if isinstance(plan.spine, Entities) else [])
        names += list(dict.fromkeys(feature.source for feature in join.features))
        names += [VALID_TO] if isinstance(plan.spine, Entities) and join.valid_to else []
        winners = (
            exp.select(*(col(name) for name in names))
            .from_(table(ranked))
            .where(exp.EQ(this=col(RANK), expression=exp.Literal.number(1)))
        )
        losers = exp.Delete(
            this=table(rows),
            where=exp.Where(this=exp.In(this=col(ID), query=exp.select(col(ID)).from_(table(tied)).subquery())),
        )
        insert = exp.Insert(
            this=exp.Schema(this=table(rows), expressions=[exp.to_identifier(name, quoted=True) for name in names]),
            expression=winners,
        )
        return (
            *self.create_statements(tied, self._several(join, rows, match), self._tie_comment(join)),
            *self.create_statements(ranked, select, self._rank_comment(join)),
            Statement(sql=self.dialect.sql(losers), comment=f"{join.name}: of the tied rows the first alone stays."),
            Statement(sql=self.dialect.sql(insert)),
        )

    def _tie_comment(self, join: AsofJoin) -> str:
        return f"{join.name}: resolve ties, where there are any (rule 3)."

    def _rank_comment(self, join: AsofJoin) -> str:
        declared = "".join(f"{column.name}, then " for column in join.order)
        return (
            f"{join.name}: rank the tied rows by {declared}the content; the greatest comes first, NULL last.\n"
            f"{LEVEL} and {CONTENT} tell the report which ties the content alone has broken."
        )

    def _several(self, join: AsofJoin, rows: str, match: str) -> exp.Select:
        """Select the labels that got several rows; comparing two counts skips the search if there are none."""
        fetched = exp.select(exp.Count(this=exp.Star())).from_(table(rows)).subquery()
        matched = exp.select(exp.Count(this=exp.Star())).from_(table(match, "m"))
        fresh = self.rules.freshness(join, self.utc_event("m", join), col(TIME, "m"))
        matched = matched.where(all_of(*fresh)) if fresh else matched
        several = exp.GT(this=exp.Count(this=exp.Star()), expression=exp.Literal.number(1))
        select = exp.select(col(ID)).from_(table(rows)).where(exp.NEQ(this=fetched, expression=matched.subquery()))
        return select.group_by(col(ID)).having(several)

    def _rank_ties(self, plan: Plan, join: AsofJoin, match: str, tied: str, *more: exp.Expression) -> exp.Select:
        """Rank the rows of labels with ties, best first."""
        on, where = self._rows_of_match(join)
        rank = exp.Window(
            this=exp.RowNumber(),
            partition_by=[col(ID, "m")],
            order=exp.Order(expressions=self.rules.tie_order(join, "f")),
        )
        select = (
            exp.select(
                col(ID, "m"),
                with_alias(rank, RANK),
                *more,
                *self._event_columns(plan, join),
                *self.rules.feature_values(plan, join, "f", col(TIME, "m")),
            )
            .from_(table(match, "m"))
            .join(table(tied, "t"), on=exp.EQ(this=col(ID, "t"), expression=col(ID, "m")), join_type="inner")
            .join(self.rules.relation(join, "f"), on=on, join_type="inner")
        )
        return select.where(all_of(*where)) if where else select

    # --- the statement -------------------------------------------------------------------------------------------

    def row_ctes(self, plan: Plan, join: AsofJoin) -> list[Cte]:
        """Match, fetch and resolve as in the script, without the cut to the labels' times, which needs variables."""
        first = self._match_source(plan, join)
        match, fetched, tied = self.match_name(first), f"{join.name}__fetched", f"{join.name}__tied"
        matched = Cte(match, self.match(plan, join, cut=False), comment=self._match_comment(join), reused=True)
        values = dict.fromkeys(feature.source for feature in join.features)
        rank = with_alias(exp.Literal.number(1), RANK)
        alone = exp.select(col(ID, "r"), rank, *(col(value, "r") for value in values)).from_(table(fetched, "r"))
        tie = exp.EQ(this=col(ID, "t"), expression=col(ID, "r"))
        alone = alone.join(table(tied, "t"), on=tie, join_type="anti")
        rows = exp.union(alone, self._rank_ties(plan, join, match, tied), distinct=False, copy=False)
        return [
            *((matched,) if first is join else ()),
            Cte(fetched, self._fetch(plan, join, match), comment=self._fetch_comment(join), reused=True),
            Cte(tied, self._several(join, fetched, match), comment=self._tie_comment(join), reused=True),
            Cte(self.rules.rows_name(join), rows),
        ]

    # --- the report ----------------------------------------------------------------------------------------------

    def _report(self, plan: Plan, join: AsofJoin) -> JoinReport | None:
        """Return the counts for a training set's report; a snapshot is counted by its export."""
        if isinstance(plan.spine, Entities):
            return None
        rows, match = self.rules.rows_name(join), self.match_name(self._match_source(plan, join))
        counts: list[Any] = [exp.Count(this=exp.Star())]
        counts += [exp.Count(this=col(feature.source)) for feature in join.features]
        matched = Statement(sql=self.dialect.sql(exp.select(*counts).from_(table(rows))))
        if join.event is None:
            return JoinReport(join=join, matched=matched, expired=None, unusable=None, ties=None, ages=None)
        age = self.dialect.micros_between(col(TIME, "m"), self.utc_event("m", join))
        # Infinite timestamps can match, but have no distance.
        finite = [call("ISFINITE", time) for time in (col(TIME, "m"), self.utc_event("m", join))]
        ages = (
            exp.select(self.dialect.measures.ranks(age, _QUANTILES))
            .from_(table(match, "m"))
            .where(all_of(*finite, *self.rules.freshness(join, self.utc_event("m", join), col(TIME, "m"))))
        )
        unusable = (
            exp.select(exp.Count(this=exp.Star()))
            .from_(self.rules.relation(join, "f"))
            .where(
                exp.Not(
                    this=exp.paren(all_of(*(not_null(col(c.name, "f")) for c in (join.event, join.available) if c)))
                )
            )
        )
        undeclared = all_of(
            exp.EQ(this=col(LEVEL), expression=exp.Literal.number(1)),
            exp.GT(this=col(CONTENT), expression=exp.Literal.number(1)),
        )
        ranked = table(f"{join.name}__ranked")
        ties = exp.select(exp.Count(this=exp.Distinct(expressions=[col(ID)]))).from_(ranked).where(undeclared)
        tied = exp.select(col(ID)).distinct().from_(ranked.copy()).where(undeclared.copy()).order_by(col(ID))
        return JoinReport(
            join=join,
            matched=matched,
            expired=self._count_expired(join, match) if join.ttl is not None else None,
            unusable=Statement(sql=self.dialect.sql(unusable)),
            ties=Statement(sql=self.dialect.sql(ties)),
            tied=Statement(sql=self.dialect.sql(tied)),
            ages=Statement(sql=self.dialect.sql(ages)),
        )

    def _count_expired(self, join: AsofJoin, match: str) -> Statement:
        """Count labels whose newest visible row is too old: matched, or with rows only before the match's range."""
        stale = exp.Not(this=exp.paren(all_of(*self.rules.freshness(join, self.utc_event("m", join), col(TIME, "m")))))
        matched = exp.select(exp.Count(this=exp.Star())).from_(table(match, "m")).where(stale)
        assert join.ttl is not None
        before = exp.LT(
            this=self.rules.event_time(join, "f"), expression=self.dialect.shift(self.first_label(), -join.ttl)
        )
        older = (
            exp.select(
                *self.rules.view_keys(join, "f"),
                with_alias(exp.Min(this=self.rules.effective_time(join, "f")), f"{RESERVED}at"),
            )
            .from_(self.rules.relation(join, "f"))
            .where(all_of(self.rules.is_usable(join, "f"), before))
            .group_by(*(col(key.name, "f") for key, _ in join.keys))
        )
        on: list[exp.Expression] = [
            exp.EQ(this=col(alias, "l"), expression=col(key_alias(position), "f"))
            for position, (_, alias) in enumerate(join.keys)
        ]
        on.append(exp.GTE(this=self.rules.visible_until(join, "l"), expression=col(f"{RESERVED}at", "f")))
        # Avoid NOT IN: PostgreSQL scans the whole list per label once it outgrows work_mem.
        same = exp.EQ(this=col(ID, "m"), expression=col(ID, "l"))
        unmatched = exp.Not(
            this=exp.Exists(this=exp.select(exp.Literal.number(1)).from_(table(match, "m")).where(same))
        )
        beyond = (
            exp.select(exp.Count(this=exp.Star()))
            .from_(self.rules.labels_of(join, "l"))
            .join(older.subquery("f"), on=all_of(*on), join_type="inner")
            .where(unmatched)
        )
        total = exp.Add(this=matched.subquery(), expression=beyond.subquery())
        return Statement(sql=self.dialect.sql(exp.select(total)))


def _moments(join: AsofJoin) -> tuple[object, ...]:
    """Return the facts that the match of a join depends on."""
    served = (join.ledger, join.view) if join.ledger is not None else None
    return (join.relation, join.keys, join.event, join.available, join.wait, join.ttl, served)
