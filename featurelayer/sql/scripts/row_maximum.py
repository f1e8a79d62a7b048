"""A script of one shuffle per view: labels and rows in one list, and the best row so far at every label.

Measured on Spark, 1M labels x 10M rows (benchmarks/spark.py). The rows and the labels of a key are sorted by time; a
running maximum over whole rows, compared by event time, then by what breaks ties, is at each label its row. So
nothing is matched first and fetched later, which would shuffle the view twice, and the work grows with the rows and
not with their pairs: a key with a fifth of all rows costs a fifth of the time and no more.

- The labels are materialized before anything joins them, because their numbers must be the same each time.
- A running maximum keeps a NULL inside a row that wins; `last_value(... ignore nulls)` by feature would not.
- Only the cut to the labels' range compares the event time as the column has it, a day wider than needed, so that
  files and partitions are skipped.
"""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from featurelayer.errors import Problem, UnsupportedByDialect
from featurelayer.model import Column, Kind
from featurelayer.sql.ast import all_of, col, key_alias, not_null, table, with_alias
from featurelayer.sql.join_rules import LABELS, RANK
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
    Statement,
    Step,
)
from featurelayer.sql.scripts.base import Cte, ScriptBuilder
from featurelayer.sql.spine_builder import SPINE_COMMENT

NUMBERED = f"{RESERVED}numbered"
ROW, AT = f"{RESERVED}row", f"{RESERVED}at"
TIED, HIGH, LOW = (f"{RESERVED}{name}" for name in ("tied", "high", "low"))
_PART, _FIRST, _ROWS, _SHIFT = (f"{RESERVED}{name}" for name in ("part", "first", "rows", "shift"))
# monotonically_increasing_id() has the partition above these bits and the row's place in it below.
_PLACE_BITS = 33
_NOT_ORDERED = (Kind.MAP,)
# percentile_approx is exact up to this many distinct values; beyond, its rank error is at most one in that many rows.
_ACCURACY = 10_000
_SHARES = ("0.5", "0.9", "0.99")


class RowMaximumScript(ScriptBuilder):
    """A running maximum over whole rows, in functions that Spark and Databricks share."""

    def view_tables(self, plan: Plan, join: AsofJoin) -> list[str]:  # noqa: ARG002
        return [self.rules.rows_name(join), *([] if join.ledger is None else [self.rules.labels_name(join)])]

    def spine_tables(self, plan: Plan) -> list[str]:
        return [LABELS, NUMBERED] if isinstance(plan.spine, Labels) else [LABELS]

    def spine_step(self, plan: Plan) -> Step:
        if isinstance(plan.spine, Entities):
            return super().spine_step(plan)
        one = exp.Literal.number(_PLACE_BITS)
        part = exp.Anonymous(this="SHIFTRIGHT", expressions=[col(ID), one])
        counted = exp.select(
            with_alias(part, _PART),
            with_alias(exp.Min(this=col(ID)), _FIRST),
            with_alias(exp.Count(this=exp.Star()), _ROWS),
        )
        counted = counted.from_(table(NUMBERED)).group_by(part.copy())
        before = exp.Window(
            this=exp.Sum(this=col(_ROWS)),
            order=exp.Order(expressions=[exp.Ordered(this=col(_PART))]),
            spec=exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="1", end_side="PRECEDING"),
        )
        shift = exp.Sub(this=col(_FIRST), expression=exp.Coalesce(this=before, expressions=[exp.Literal.number(0)]))
        shifts = exp.select(col(_PART), with_alias(shift, _SHIFT)).from_(counted.subquery("counted"))
        same = exp.EQ(
            this=exp.Anonymous(this="SHIFTRIGHT", expressions=[col(ID, "n"), one.copy()]), expression=col(_PART, "p")
        )
        times = [] if plan.spine.time is None else [col(TIME, "n")]
        number = with_alias(exp.Sub(this=col(ID, "n"), expression=col(_SHIFT, "p")), ID)
        dense = exp.select(number, *times, *(col(column.alias, "n") for column in plan.spine.spine_columns))
        dense = dense.from_(table(NUMBERED, "n")).join(shifts.subquery("p"), on=same, join_type="inner")
        if plan.spine.row is not None:
            only = exp.EQ(this=col(ID), expression=exp.Literal.number(plan.spine.row))
            dense = exp.select(exp.Star()).from_(dense.subquery("labels")).where(only)
        # A single row is selected after the gaps in the numbers are closed.
        every = self.spine.spine(replace(plan, spine=replace(plan.spine, row=None)))
        comment = "The labels as they come, each with a number that grows."
        statements = (
            *self.create_statements(NUMBERED, every, comment),
            *self.create_statements(LABELS, dense, SPINE_COMMENT),
        )
        return Step(name="labels", statements=statements)

    def view_step(self, plan: Plan, join: AsofJoin) -> Step:
        if join.event is None:
            query, comment = self.static_rows(plan, join, has_ranks=True), "static, joined on its keys alone (rule 9)."
        elif isinstance(plan.spine, Entities):
            query, comment = self._snapshot_rows(plan, join), "the newest row of each key (rule 3)."
        else:
            query, comment = self._winners(plan, join), _comment(join)
        rows = self.create_statements(self.rules.rows_name(join), query, f"{join.name}: {comment}")
        report = None if isinstance(plan.spine, Entities) else self._report(join)
        return Step(name=join.name, statements=(*self.create_served_labels(join), *rows), report=report)

    def row_ctes(self, plan: Plan, join: AsofJoin) -> list[Cte]:
        rows = self._winners(plan, join, ties=False)
        return [Cte(self.rules.rows_name(join), rows, comment=f"{join.name}: {_comment(join)}")]

    # --- the winners ---------------------------------------------------------------------------------------------

    def _winners(self, plan: Plan, join: AsofJoin, *, ties: bool = True) -> exp.Select:
        """Select the labels that see any row, with their best row; rank 2 marks an expired one."""
        keys = [key_alias(position) for position in range(len(join.keys))]
        moments, labels = self._view_moments(join, ties), self._labels_among(join, ties)
        best = [ROW, HIGH, LOW] if ties else [ROW]
        running = [
            with_alias(
                exp.Window(
                    this=exp.Max(this=col(name)),
                    partition_by=[col(key) for key in keys],
                    order=exp.Order(
                        expressions=[exp.Ordered(this=col(AT)), exp.Ordered(this=col(ID), nulls_first=True)]
                    ),
                    spec=exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="CURRENT ROW"),
                ),
                name,
            )
            for name in best
        ]
        timeline = exp.union(moments, labels, distinct=False, copy=False).subquery("t")
        match = exp.select(col(ID), col(TIME), *running).from_(timeline)
        winners = exp.select(col(ID, "m"), col(TIME, "m"), *self._fields(join, "m"), *self._tie_flag(ties))
        winners = winners.from_(match.subquery("m")).where(all_of(not_null(col(ID, "m")), not_null(col(ROW, "m"))))
        fresh = self.rules.freshness(join, col(EVENT, "f"), col(TIME, "f"))
        rank: exp.Expression = exp.Literal.number(1)
        if fresh:
            rank = exp.Case().when(all_of(*fresh), rank).else_(exp.Literal.number(2))
        flags = [col(TIED, "f")] if ties else []
        select = exp.select(col(ID, "f"), with_alias(rank, RANK), col(TIME, "f"), col(EVENT, "f"), *flags)
        return select.select(*self.rules.feature_values(plan, join, "f", col(TIME, "f"))).from_(winners.subquery("f"))

    def _view_moments(self, join: AsofJoin, ties: bool) -> exp.Select:
        """Select the view's whole rows with the moment from which they are visible."""
        null = exp.cast(exp.Null(), exp.DataType.build("BIGINT"))
        naive = exp.cast(exp.Null(), exp.DataType.build("TIMESTAMP"))
        select = exp.select(
            *self.rules.view_keys(join, "f"),
            with_alias(self.rules.effective_time(join, "f"), AT),
            with_alias(null, ID),
            with_alias(naive, TIME),
            with_alias(self._row(join), ROW),
            *(self._levels(join) if ties else ()),
        )
        select = select.from_(self.rules.relation(join, "f"))
        if join.narrow:
            select = select.join(
                self._label_keys(join), on=self.rules.keys_equal(join, "k", "f"), join_type="left semi"
            )
        return select.where(all_of(self.rules.is_usable(join, "f"), *self._visible_range(join)))

    def _labels_among(self, join: AsofJoin, ties: bool) -> exp.Select:
        """Select the labels at the time up to which they see the view; rows, having no number, sort before them."""
        empty = [ROW, HIGH, LOW] if ties else [ROW]
        select = exp.select(
            *self.rules.label_keys(join, "l"),
            with_alias(self.rules.visible_until(join, "l"), AT),
            col(ID, "l"),
            col(TIME, "l"),
            *(with_alias(exp.Null(), name) for name in empty),
        )
        return select.from_(self.rules.labels_of(join, "l")).where(self.rules.is_label_known(join, "l"))

    def _label_keys(self, join: AsofJoin) -> exp.Expression:
        keys = exp.select(*self.rules.label_keys(join, "l")).from_(self.rules.labels_of(join, "l")).distinct()
        return keys.where(self.rules.is_label_known(join, "l")).subquery("k")

    def _visible_range(self, join: AsofJoin) -> list[exp.Expression]:
        """Limit the raw event column to the time range the labels can see, so that files can be skipped."""
        event = join.event
        assert event is not None
        kind = self.dialect.type(event.dtype)
        # An instant is compared with a naive time in the session's zone, at most a day from UTC.
        slack = exp.Interval(this=exp.Literal.string("1"), unit=exp.var("DAY"))

        def bound(aggregate: type[exp.AggFunc], away: type[exp.Binary]) -> exp.Expression:
            return exp.cast(away(this=aggregate(this=col(TIME)), expression=slack.copy()), kind.copy())

        def labels_query(value: exp.Expression) -> exp.Expression:
            return exp.select(value).from_(table(LABELS)).subquery()

        reach: list[exp.Expression] = [
            exp.LTE(this=col(event.name, "f"), expression=labels_query(bound(exp.Max, exp.Add)))
        ]
        if join.ttl is not None:
            first = self.dialect.shift(exp.Min(this=col(TIME)), -join.ttl)
            first = exp.cast(exp.Sub(this=first, expression=slack.copy()), kind.copy())
            reach.append(exp.GTE(this=col(event.name, "f"), expression=labels_query(first)))
        return reach

    def _row(self, join: AsofJoin) -> exp.Expression:
        """Pack a row into one value: greater is better, by event time, then tie-breakers; the features follow."""
        fields: dict[str, exp.Expression] = {EVENT: self.rules.event_time(join, "f")}
        for place, column in enumerate(self.rules.tie_columns(join)):
            for number, value in enumerate(self.dialect.comparable(column, "f")):
                plain = isinstance(value, exp.Column)
                fields[column.name if plain else f"{RESERVED}t{place}_{number}"] = value
        for column in self._columns_to_carry(join):
            value = col(column.name, "f")
            fields.setdefault(
                column.name,
                exp.Anonymous(this="MAP_ENTRIES", expressions=[value]) if column.dtype.kind in _NOT_ORDERED else value,
            )
        return _struct(fields)

    def _columns_to_carry(self, join: AsofJoin) -> list[Column]:
        """Return the columns to carry out of the view: features, and the row's end."""
        columns = [feature.stored for feature in join.features]
        unordered = [column.name for column in columns if column.dtype.kind in (Kind.JSON, Kind.UNKNOWN)]
        if unordered:
            what = (
                f"{join.view}: {self.dialect.name} has no order of the type of {', '.join(unordered)}, "
                "and a row is chosen by its order"
            )
            fix = "cast it in the model to text or to a type that can be compared"
            raise UnsupportedByDialect([Problem(what=what, fix=fix)])
        return [*columns, *([join.valid_to] if join.valid_to is not None else [])]

    def _levels(self, join: AsofJoin) -> list[exp.Expression]:
        """Return the greatest and least content hash: they differ if several contents share the best level."""
        declared = {EVENT: self.rules.event_time(join, "f")}
        for place, column in enumerate(join.order):
            for number, value in enumerate(self.dialect.comparable(column, "f")):
                declared[f"{RESERVED}t{place}_{number}"] = value
        content = [value for column in self.rules.tie_columns(join) for value in self.dialect.comparable(column, "f")]
        high: exp.Expression = exp.Literal.number(0)
        if content:
            high = exp.Anonymous(this="XXHASH64", expressions=content)
        # With all bits flipped the least is the greatest.
        low = exp.BitwiseNot(this=high.copy())
        return [
            with_alias(
                _struct({**{name: value.copy() for name, value in declared.items()}, RESERVED + "h": side}), name
            )
            for name, side in ((HIGH, high), (LOW, low))
        ]

    def _tie_flag(self, ties: bool) -> list[exp.Expression]:
        if not ties:
            return []
        high, low = (_field(col(name, "m"), f"{RESERVED}h") for name in (HIGH, LOW))
        return [with_alias(exp.NEQ(this=high, expression=exp.BitwiseNot(this=low)), TIED)]

    def _fields(self, join: AsofJoin, alias: str) -> list[exp.Expression]:
        """Unpack the event time and the columns of a winning row from its value."""
        fields = [with_alias(_field(col(ROW, alias), EVENT), EVENT)]
        for column in {column.name: column for column in self._columns_to_carry(join)}.values():
            value: exp.Expression = _field(col(ROW, alias), column.name)
            if column.dtype.kind in _NOT_ORDERED:
                value = exp.Anonymous(this="MAP_FROM_ENTRIES", expressions=[value])
            fields.append(with_alias(value, column.name))
        return fields

    def _snapshot_rows(self, plan: Plan, join: AsofJoin) -> exp.Select:
        """Select each key's best row as of the snapshot's time: a maximum by key, without a window."""
        assert isinstance(plan.spine, Entities)
        at = self.dialect.moment(plan.spine.as_of)
        visible = exp.LTE(this=self.rules.effective_time(join, "f"), expression=at)
        best = exp.select(*self.rules.view_keys(join, "f"), with_alias(exp.Max(this=self._row(join)), ROW))
        best = best.from_(self.rules.relation(join, "f")).where(all_of(self.rules.is_usable(join, "f"), visible))
        best = best.group_by(*(col(key.name, "f") for key, _ in join.keys))
        keys = [key_alias(position) for position in range(len(join.keys))]
        winners = exp.select(*(col(key, "b") for key in keys), *self._fields(join, "b")).from_(best.subquery("b"))
        on = [
            exp.EQ(this=col(label, "l"), expression=col(key, "f"))
            for key, (_, label) in zip(keys, join.keys, strict=True)
        ]
        select = exp.select(
            col(ID, "l"),
            with_alias(exp.Literal.number(1), RANK),
            col(EVENT, "f"),
            *self.rules.feature_values(plan, join, "f", at.copy()),
        )
        select = select.from_(table(LABELS, "l")).join(winners.subquery("f"), on=all_of(*on), join_type="inner")
        fresh = self.rules.freshness(join, col(EVENT, "f"), col(TIME, "l"))
        return select.where(all_of(*fresh)) if fresh else select

    # --- the report ------------------------------------------------------------------------------------------------

    def _report(self, join: AsofJoin) -> JoinReport:
        """Return the counts for a training set's report."""
        rows = self.rules.rows_name(join)
        matched = exp.EQ(this=col(RANK, "r"), expression=exp.Literal.number(1))
        counts = [exp.Count(this=exp.Star()), *(exp.Count(this=col(feature.source, "r")) for feature in join.features)]
        matches = Statement(sql=self.dialect.sql(exp.select(*counts).from_(table(rows, "r")).where(matched)))
        if join.event is None:
            return JoinReport(join=join, matched=matches, expired=None, unusable=None, ties=None, ages=None)
        tied = all_of(matched.copy(), col(TIED, "r"))
        ids = exp.select(col(ID, "r")).from_(table(rows, "r")).where(tied).order_by(col(ID, "r"))
        ties = exp.select(exp.Count(this=exp.Star())).from_(table(rows, "r")).where(tied.copy())
        has_times = (not_null(col(column.name, "f")) for column in (join.event, join.available) if column)
        unusable = exp.select(exp.Count(this=exp.Star())).from_(self.rules.relation(join, "f"))
        return JoinReport(
            join=join,
            matched=matches,
            expired=self._count_expired(join) if join.ttl is not None else None,
            unusable=Statement(sql=self.dialect.sql(unusable.where(exp.Not(this=exp.paren(all_of(*has_times)))))),
            ties=Statement(sql=self.dialect.sql(ties)),
            tied=Statement(sql=self.dialect.sql(ids)),
            ages=Statement(sql=self.dialect.sql(self._ages(rows).where(matched.copy()))),
        )

    def _ages(self, rows: str) -> exp.Select:
        age = self.dialect.micros_between(col(TIME, "r"), col(EVENT, "r"))
        shares = exp.Array(expressions=[exp.Literal.number(share) for share in _SHARES])
        middle = exp.Anonymous(this="PERCENTILE_APPROX", expressions=[age, shares, exp.Literal.number(_ACCURACY)])
        ends = [exp.Array(expressions=[end(this=age.copy())]) for end in (exp.Min, exp.Max)]
        ages = exp.Anonymous(this="CONCAT", expressions=[ends[0], middle, ends[1]])
        return exp.select(ages).from_(table(rows, "r"))

    def _count_expired(self, join: AsofJoin) -> Statement:
        """Count labels whose newest visible row is too old: matched, or with rows only before the labels' range."""
        rows = self.rules.rows_name(join)
        stale = exp.EQ(this=col(RANK), expression=exp.Literal.number(2))
        expired = exp.select(exp.Count(this=exp.Star())).from_(table(rows)).where(stale)
        assert join.ttl is not None
        first = exp.select(self.dialect.shift(exp.Min(this=col(TIME)), -join.ttl)).from_(table(LABELS)).subquery()
        before = exp.LT(this=self.rules.event_time(join, "f"), expression=first)
        at = f"{RESERVED}at"
        older = exp.select(
            *self.rules.view_keys(join, "f"), with_alias(exp.Min(this=self.rules.effective_time(join, "f")), at)
        )
        older = older.from_(self.rules.relation(join, "f")).where(all_of(self.rules.is_usable(join, "f"), before))
        older = older.group_by(*(col(key.name, "f") for key, _ in join.keys))
        on: list[exp.Expression] = [
            exp.EQ(this=col(alias, "l"), expression=col(key_alias(position), "f"))
            for position, (_, alias) in enumerate(join.keys)
        ]
        on.append(exp.GTE(this=self.rules.visible_until(join, "l"), expression=col(at, "f")))
        beyond = exp.select(exp.Count(this=exp.Star())).from_(self.rules.labels_of(join, "l"))
        beyond = beyond.join(older.subquery("f"), on=all_of(*on), join_type="inner")
        same = exp.EQ(this=col(ID, "r"), expression=col(ID, "l"))
        beyond = beyond.join(table(rows, "r"), on=same, join_type="left anti")
        total = exp.Add(this=expired.subquery(), expression=beyond.subquery())
        return Statement(sql=self.dialect.sql(exp.select(total)))


def _comment(join: AsofJoin) -> str:
    bound = "before" if join.exclusive else "at or before"
    declared = "".join(f"{column.name}, then " for column in join.order)
    return (
        f"the newest row {bound} each label, ties by {declared}the content (rules 1 and 3);\n"
        f"{RANK} 2 has expired by the label's time (rule 2)."
    )


def _struct(fields: dict[str, exp.Expression]) -> exp.Expression:
    parts = [part for name, value in fields.items() for part in (exp.Literal.string(name), value)]
    return exp.Anonymous(this="NAMED_STRUCT", expressions=parts)


def _field(struct: exp.Expression, name: str) -> exp.Expression:
    return exp.Dot(this=struct, expression=exp.to_identifier(name, quoted=True))
