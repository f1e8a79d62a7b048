"""Checks and counts of a training set in Spark's SQL."""

from __future__ import annotations

from sqlglot import exp

from featurelayer.sql.ast import both, col, key_alias, named, not_null, table
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.plan import EVENT, ID, RESERVED, TIME, AsofJoin, Check, JoinReport, Labels, Statement
from featurelayer.sql.spine import LABELS, RANK

TIED = f"{RESERVED}tied"
# percentile_approx: exact for that many distinct values, else off by a share of the rows of at most one in so many.
_ACCURACY = 10_000
_SHARES = ("0.5", "0.9", "0.99")


class SparkReport(Dialect):
    """What is asked of the labels before a script runs, and of each view's rows after its step."""

    def label_checks(self, labels: Labels) -> tuple[Check, ...]:
        checks = []
        for column in labels.columns:
            if column.cast is not None:
                kind = "a timestamp" if column is labels.time else str(column.cast)
                cast = exp.TryCast(this=col(column.alias), to=self.type(column.cast))
                bad = both(not_null(col(column.alias)), exp.Is(this=cast, expression=exp.Null()))
                message = f"label column '{column.name}' must be {kind}; it holds {{rows}}"
                checks.append(self._label_check(labels, column.alias, bad, message, "correct these rows"))
        time = labels.time
        if time is not None and time.cast is not None:
            digits = exp.Literal.string(r"\.\d{6}\d*[1-9]")
            finer = exp.RegexpLike(this=col(time.alias), expression=digits)
            message = f"label column '{time.name}' has values finer than a microsecond: {{rows}}"
            fix = "round them to microseconds; truncating here could move a label past an event"
            checks.append(self._label_check(labels, time.alias, finer, message, fix))
        return tuple(checks)

    def _label_check(self, labels: Labels, column: str, bad: exp.Expression, message: str, fix: str) -> Check:
        row, value = f"{RESERVED}row", f"{RESERVED}value"
        order = exp.Order(expressions=[exp.Ordered(this=self.row_number())])
        number = exp.Sub(this=exp.Window(this=exp.RowNumber(), order=order), expression=exp.Literal.number(1))
        numbered = exp.select(exp.Star(), named(number, row)).from_(self.label_source(labels))
        select = exp.select(named(col(column), value), col(row)).from_(numbered.subquery("labels"))
        select = select.where(bad).order_by(col(row)).limit(3)
        return Check(sql=self.sql(select), message=message, fix=fix, about_labels=True)

    def report(self, join: AsofJoin) -> JoinReport:
        """Counts for the report of a training set."""
        rows = self.rows_name(join)
        matched = exp.EQ(this=col(RANK, "r"), expression=exp.Literal.number(1))
        counts = [exp.Count(this=exp.Star()), *(exp.Count(this=col(feature.source, "r")) for feature in join.features)]
        found = Statement(sql=self.sql(exp.select(*counts).from_(table(rows, "r")).where(matched)))
        if join.event is None:
            return JoinReport(join=join, matched=found, expired=None, unusable=None, ties=None, ages=None)
        tied = both(matched.copy(), col(TIED, "r"))
        ids = exp.select(col(ID, "r")).from_(table(rows, "r")).where(tied).order_by(col(ID, "r"))
        ties = exp.select(exp.Count(this=exp.Star())).from_(table(rows, "r")).where(tied.copy())
        known = (not_null(col(column.name, "f")) for column in (join.event, join.available) if column)
        unusable = exp.select(exp.Count(this=exp.Star())).from_(self.relation(join, "f"))
        return JoinReport(
            join=join,
            matched=found,
            expired=self._expired(join) if join.ttl is not None else None,
            unusable=Statement(sql=self.sql(unusable.where(exp.Not(this=exp.paren(both(*known)))))),
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

    def _expired(self, join: AsofJoin) -> Statement:
        """Labels whose newest visible row is too old: found as such, or with rows only before the labels' reach."""
        rows = self.rows_name(join)
        stale = exp.EQ(this=col(RANK), expression=exp.Literal.number(2))
        found = exp.select(exp.Count(this=exp.Star())).from_(table(rows)).where(stale)
        assert join.ttl is not None
        first = exp.select(self.shift(exp.Min(this=col(TIME)), -join.ttl)).from_(table(LABELS)).subquery()
        before = exp.LT(this=self.event(join, "f"), expression=first)
        at = f"{RESERVED}at"
        older = exp.select(*self.view_keys(join, "f"), named(exp.Min(this=self.effective(join, "f")), at))
        older = older.from_(self.relation(join, "f")).where(both(self.usable(join, "f"), before))
        older = older.group_by(*(col(key.name, "f") for key, _ in join.keys))
        on: list[exp.Expression] = [
            exp.EQ(this=col(alias, "l"), expression=col(key_alias(position), "f"))
            for position, (_, alias) in enumerate(join.keys)
        ]
        on.append(exp.GTE(this=self.seen(join, "l"), expression=col(at, "f")))
        beyond = exp.select(exp.Count(this=exp.Star())).from_(self.labels_of(join, "l"))
        beyond = beyond.join(older.subquery("f"), on=both(*on), join_type="inner")
        same = exp.EQ(this=col(ID, "r"), expression=col(ID, "l"))
        beyond = beyond.join(table(rows, "r"), on=same, join_type="left anti")
        total = exp.Add(this=found.subquery(), expression=beyond.subquery())
        return Statement(sql=self.sql(exp.select(total)))
