"""Checks and counts of a training set in Spark's SQL."""

from __future__ import annotations

from sqlglot import exp

from featurelayer.sql.ast import all_of, col, key_alias, not_null, table, with_alias
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.plan import EVENT, ID, RESERVED, TIME, AsofJoin, JoinReport, Statement
from featurelayer.sql.spine import LABELS, RANK

TIED = f"{RESERVED}tied"
# percentile_approx: exact for that many distinct values, else off by a share of the rows of at most one in so many.
_ACCURACY = 10_000
_SHARES = ("0.5", "0.9", "0.99")


class SparkReport(Dialect):
    """What is asked of the labels before a script runs, and of each view's rows after its step."""

    def report(self, join: AsofJoin) -> JoinReport:
        """Counts for the report of a training set."""
        rows = self.rows_name(join)
        matched = exp.EQ(this=col(RANK, "r"), expression=exp.Literal.number(1))
        counts = [exp.Count(this=exp.Star()), *(exp.Count(this=col(feature.source, "r")) for feature in join.features)]
        found = Statement(sql=self.sql(exp.select(*counts).from_(table(rows, "r")).where(matched)))
        if join.event is None:
            return JoinReport(join=join, matched=found, expired=None, unusable=None, ties=None, ages=None)
        tied = all_of(matched.copy(), col(TIED, "r"))
        ids = exp.select(col(ID, "r")).from_(table(rows, "r")).where(tied).order_by(col(ID, "r"))
        ties = exp.select(exp.Count(this=exp.Star())).from_(table(rows, "r")).where(tied.copy())
        known = (not_null(col(column.name, "f")) for column in (join.event, join.available) if column)
        unusable = exp.select(exp.Count(this=exp.Star())).from_(self.relation(join, "f"))
        return JoinReport(
            join=join,
            matched=found,
            expired=self._count_expired(join) if join.ttl is not None else None,
            unusable=Statement(sql=self.sql(unusable.where(exp.Not(this=exp.paren(all_of(*known)))))),
            ties=Statement(sql=self.sql(ties)),
            tied=Statement(sql=self.sql(ids)),
            ages=Statement(sql=self.sql(self._ages(rows).where(matched.copy()))),
        )

    def _ages(self, rows: str) -> exp.Select:
        age = exp.Sub(this=self.micros(col(TIME, "r")), expression=self.micros(col(EVENT, "r")))
        shares = exp.Array(expressions=[exp.Literal.number(share) for share in _SHARES])
        middle = exp.Anonymous(this="PERCENTILE_APPROX", expressions=[age, shares, exp.Literal.number(_ACCURACY)])
        ends = [exp.Array(expressions=[end(this=age.copy())]) for end in (exp.Min, exp.Max)]
        ages = exp.Anonymous(this="CONCAT", expressions=[ends[0], middle, ends[1]])
        return exp.select(ages).from_(table(rows, "r"))

    def _count_expired(self, join: AsofJoin) -> Statement:
        """Labels whose newest visible row is too old: found as such, or with rows only before the labels' reach."""
        rows = self.rows_name(join)
        stale = exp.EQ(this=col(RANK), expression=exp.Literal.number(2))
        found = exp.select(exp.Count(this=exp.Star())).from_(table(rows)).where(stale)
        assert join.ttl is not None
        first = exp.select(self.shift(exp.Min(this=col(TIME)), -join.ttl)).from_(table(LABELS)).subquery()
        before = exp.LT(this=self.event(join, "f"), expression=first)
        at = f"{RESERVED}at"
        older = exp.select(*self.view_keys(join, "f"), with_alias(exp.Min(this=self.effective(join, "f")), at))
        older = older.from_(self.relation(join, "f")).where(all_of(self.usable(join, "f"), before))
        older = older.group_by(*(col(key.name, "f") for key, _ in join.keys))
        on: list[exp.Expression] = [
            exp.EQ(this=col(alias, "l"), expression=col(key_alias(position), "f"))
            for position, (_, alias) in enumerate(join.keys)
        ]
        on.append(exp.GTE(this=self.seen(join, "l"), expression=col(at, "f")))
        beyond = exp.select(exp.Count(this=exp.Star())).from_(self.labels_of(join, "l"))
        beyond = beyond.join(older.subquery("f"), on=all_of(*on), join_type="inner")
        same = exp.EQ(this=col(ID, "r"), expression=col(ID, "l"))
        beyond = beyond.join(table(rows, "r"), on=same, join_type="left anti")
        total = exp.Add(this=found.subquery(), expression=beyond.subquery())
        return Statement(sql=self.sql(exp.select(total)))
