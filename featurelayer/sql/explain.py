"""The queries that show one label's candidates: what the join says of its rows, said of each row by itself.

They run on a spine of one label. Every condition is the dialect's own, the same as in its joins, so that
an explanation can't follow other rules than the join. A key may have millions of rows: which of them are near is found
by their event time alone, and only those are read whole and compared with the winner.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from featurelayer.sql.ast import all_of, any_of, col, key_alias, not_null, table, with_alias
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.join_rules import LABELS
from featurelayer.sql.plan import EVENT, ID, RESERVED, SEEN, TIME, AsofJoin, Labels, Plan

FACTS = (
    "event_time",
    "visible_from",
    "has_times",
    "after_label",
    "available",
    "visible",
    "tied",
    "decided_by",
    "fresh",
    "valid_to",
    "ended",
)
"""What a query says of a row before its values.

`visible_from` is the first moment that it may be seen; `available` says that this was at or before the label's time,
`visible` that it was at or before the time up to which the label sees the view. `tied` rows are visible and have the
winner's event time; `decided_by` is the position, among the columns that break ties, of the first that differs.
"""
_NEWEST, _WINNER, _NEAREST = (f"{RESERVED}{name}" for name in ("newest", "winner", "nearest"))


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinQueries:
    """The queries that explain one join to the only label of the spine.

    `label` returns the label's time, the time up to which it sees the view, and its keys. `counts` returns how many
    rows have its key and how many of them are newer than the winner (than the label, if there is no winner). `newer`
    returns those, nearest first, and `older` the winner and then the others. A row has FACTS, then the values of
    `columns`: what is declared to break ties, and the features. `ties` names all columns that break ties.
    """

    join: AsofJoin
    label: str
    counts: str
    newer: str
    older: str
    columns: tuple[str, ...]
    ties: tuple[str, ...]


def count_labels(dialect: Dialect, labels: Labels) -> str:
    """Return the query that counts all labels."""
    return dialect.sql(exp.select(exp.Count(this=exp.Star())).from_(dialect.script.spine.label_source(labels)))


def explain_join(dialect: Dialect, plan: Plan, join: AsofJoin, *, most: int) -> JoinQueries:
    """Return the queries that explain a join of a training set, with at most `most` rows on each side."""
    queries = _Queries(dialect, plan, join, most)
    columns = tuple(dict.fromkeys((*(column.name for column in join.order), *(f.source for f in join.features))))
    return JoinQueries(
        join=join,
        label=dialect.sql(queries.label()),
        counts=dialect.sql(queries.counts()),
        newer=dialect.sql(queries.nearest(columns, newer=True)),
        older=dialect.sql(queries.nearest(columns, newer=False)),
        columns=columns,
        ties=tuple(column.name for column in dialect.rules.tie_columns(join)),
    )


@dataclass(frozen=True, slots=True)
class _Queries:
    """Queries over the label `l`, the view's rows `f`, the winner `w`, and what was being served to the label, `s`."""

    dialect: Dialect
    plan: Plan
    join: AsofJoin
    most: int

    def label(self) -> exp.Select:
        spine = self.plan.spine
        assert isinstance(spine, Labels)
        times: tuple[exp.Expression, ...] = (exp.Null(), exp.Null())
        if spine.time is not None:
            times = (col(TIME, "l"), self._visible_until())
        keys = (with_alias(col(alias, "l"), key_alias(place)) for place, (_, alias) in enumerate(self.join.keys))
        select = exp.select(with_alias(times[0], TIME), with_alias(times[1], SEEN), *keys).from_(
            table(LABELS, "l"), copy=False
        )
        return self._with_served(self._join_served_labels(select))

    def counts(self) -> exp.Select:
        # Spark allows no subquery inside SUM if the label numbers are not deterministic.
        flags = self._select_label_rows(exp.select(with_alias(self._is_newer(), "newer"))).subquery("f")
        newer = exp.Coalesce(this=exp.Sum(this=col("newer", "f")), expressions=[exp.Literal.number(0)])
        counted = exp.select(with_alias(exp.Count(this=exp.Star()), "rows"), with_alias(newer, "newer")).from_(
            flags, copy=False
        )
        return self._with_newest(self._with_served(counted))

    def nearest(self, columns: tuple[str, ...], *, newer: bool) -> exp.Select:
        """Select the nearest rows on one side with the winner, which is the first row that is not newer."""
        rows = self._select_label_rows(exp.select(*self._projections(columns)))
        rows = rows.join(table(_WINNER, "w"), on=exp.true(), join_type="left", copy=False)
        rows = rows.where(self._on_side(newer=newer), copy=False)
        # Sort by name: Spark can't sort by an expression over a label that it numbered.
        first = [] if newer else [_greatest(col(f"{RESERVED}tied"))]
        order = [*first, *self._distance_order(newer=newer), *self.dialect.rules.tie_order(self.join, "f")]
        rows = self._with_newest(self._with_served(rows.order_by(*order, copy=False).limit(self.most, copy=False)))
        rows = rows.with_(exp.to_identifier(_WINNER, quoted=True), as_=self._winner(), copy=False)
        if self.join.event is None:
            return rows
        nearest = exp.to_identifier(_NEAREST, quoted=True)
        rows = rows.with_(nearest, as_=self._nearest_times(newer=newer), copy=False)
        return rows.where(self._is_near(newer=newer), copy=False)

    # --- the rows to read ----------------------------------------------------------------------------------------

    def _nearest_times(self, *, newer: bool) -> exp.Select:
        """Select the event times of the nearest rows on one side."""
        times = self._select_label_rows(exp.select(with_alias(self._event("f"), EVENT)))
        times = times.where(self._on_side(newer=newer), copy=False)
        return times.order_by(*self._distance_order(newer=newer), copy=False).limit(self.most, copy=False)

    def _is_near(self, *, newer: bool) -> exp.Expression:
        """Test whether a row is among the nearest; NULL is farthest, and near only if there is room."""
        farthest, inside = (exp.Max, exp.LTE) if newer else (exp.Min, exp.GTE)
        bound = exp.select(farthest(this=col(EVENT))).from_(table(_NEAREST)).subquery()
        near = inside(this=self._event("f"), expression=bound)
        if newer:
            return near
        count = exp.select(exp.Count(this=col(EVENT))).from_(table(_NEAREST)).subquery()
        return any_of(near, exp.LT(this=count, expression=exp.Literal.number(self.most)))

    def _distance_order(self, *, newer: bool) -> list[exp.Ordered]:
        if self.join.event is None:
            return []
        return [exp.Ordered(this=self._event("f")) if newer else _greatest(self._event("f"))]

    def _on_side(self, *, newer: bool) -> exp.Expression:
        return exp.EQ(this=self._is_newer(), expression=exp.Literal.number(int(newer)))

    def _with_newest(self, select: exp.Select) -> exp.Select:
        """Add the newest visible event time (rule 3, first part)."""
        if self.join.event is None:
            return select
        newest = self._select_label_rows(exp.select(with_alias(exp.Max(this=self._event("f")), EVENT)))
        newest = newest.where(self._is_visible(), copy=False)
        return select.with_(exp.to_identifier(_NEWEST, quoted=True), as_=newest, copy=False)

    def _newest_event(self) -> exp.Expression:
        return exp.select(col(EVENT)).from_(table(_NEWEST)).subquery()

    def _winner(self) -> exp.Select:
        """Select the first visible row of the newest event time (rule 3)."""
        event = [self.join.event] if self.join.event is not None else []
        needed = (*(key for key, _ in self.join.keys), *event, *self.dialect.rules.tie_columns(self.join))
        names = dict.fromkeys(column.name for column in needed)
        select = self._select_label_rows(exp.select(*(with_alias(col(name, "f"), name) for name in names)))
        select = select.where(self._is_tied(), copy=False)
        return select.order_by(*self.dialect.rules.tie_order(self.join, "f"), copy=False).limit(1, copy=False)

    def _select_label_rows(self, select: exp.Select) -> exp.Select:
        same_key = (exp.EQ(this=col(alias, "l"), expression=col(key.name, "f")) for key, alias in self.join.keys)
        select = select.from_(table(LABELS, "l"), copy=False)
        rows = self.dialect.rules.relation(self.join, "f")
        select = select.join(rows, on=all_of(*same_key), join_type="inner", copy=False)
        return self._join_served_labels(select)

    def _join_served_labels(self, select: exp.Select) -> exp.Select:
        if self.join.ledger is None:
            return select
        same = exp.EQ(this=col(ID, "s"), expression=col(ID, "l"))
        return select.join(self.dialect.rules.labels_of(self.join, "s"), on=same, join_type="left", copy=False)

    def _with_served(self, select: exp.Select) -> exp.Select:
        if self.join.ledger is None:
            return select
        name = exp.to_identifier(self.dialect.rules.labels_name(self.join), quoted=True)
        return select.with_(name, as_=self.dialect.rules.labels_as_served(self.join), copy=False)

    # --- the facts of a row --------------------------------------------------------------------------------------

    def _projections(self, columns: tuple[str, ...]) -> list[exp.Expression]:
        facts = self._static_facts() if self.join.event is None else self._facts()
        until: exp.Expression = exp.Null()
        ended: exp.Expression = exp.false()
        if self.join.valid_to is not None:
            until = self.dialect.rules.valid_until(self.join, "f")
            ended = exp.LTE(this=self.dialect.rules.valid_until(self.join, "f"), expression=col(TIME, "l"))
        values = (*facts, until, ended)
        return [
            *(with_alias(fact, f"{RESERVED}{name}") for name, fact in zip(FACTS, values, strict=True)),
            *(with_alias(col(name, "f"), name) for name in columns),
        ]

    def _facts(self) -> tuple[exp.Expression, ...]:
        time = col(TIME, "l")
        after = (exp.GTE if self.join.exclusive else exp.GT)(this=self._event("f"), expression=time)
        fresh = self.dialect.rules.freshness(self.join, self._event("f"), time.copy())
        return (
            self._event("f"),
            self.dialect.rules.effective_time(self.join, "f"),
            self.dialect.rules.is_usable(self.join, "f"),
            after,
            exp.LTE(this=self.dialect.rules.effective_time(self.join, "f"), expression=time.copy()),
            self._is_visible(),
            _flag(self._is_tied()),
            self._deciding_column(),
            all_of(*fresh) if fresh else exp.true(),
        )

    def _static_facts(self) -> tuple[exp.Expression, ...]:
        yes, tied = exp.true, _flag(self._is_tied())
        return (exp.Null(), exp.Null(), yes(), exp.false(), yes(), self._is_visible(), tied, exp.Null(), yes())

    def _is_visible(self) -> exp.Expression:
        """Apply rule 1; a static view is visible as soon as it is served."""
        if self.join.event is None:
            return exp.true() if self.join.ledger is None else not_null(self._visible_until())
        visible = exp.LTE(this=self.dialect.rules.effective_time(self.join, "f"), expression=self._visible_until())
        return all_of(self.dialect.rules.is_usable(self.join, "f"), visible)

    def _is_tied(self) -> exp.Expression:
        if self.join.event is None:
            return self._is_visible()
        return all_of(self._is_visible(), exp.EQ(this=self._event("f"), expression=self._newest_event()))

    def _is_newer(self) -> exp.Expression:
        """Return 1 for rows after the winner, or after the label if there is no winner."""
        if self.join.event is None:
            return exp.Literal.number(0)
        middle = exp.Coalesce(this=self._newest_event(), expressions=[col(TIME, "l")])
        return _flag(exp.GT(this=self._event("f"), expression=middle))

    def _deciding_column(self) -> exp.Expression:
        """Return the position of the first tie-breaking column in which a row differs from the winner."""
        case = exp.Case()
        for place, column in enumerate(self.dialect.rules.tie_columns(self.join)):
            sides = zip(self.dialect.comparable(column, "f"), self.dialect.comparable(column, "w"), strict=True)
            differs = [exp.NullSafeNEQ(this=mine, expression=other) for mine, other in sides]
            case = case.when(any_of(*differs), exp.Literal.number(place), copy=False)
        return case if case.args["ifs"] else exp.Null()

    def _event(self, alias: str) -> exp.Expression:
        return self.dialect.rules.event_time(self.join, alias)

    def _visible_until(self) -> exp.Expression:
        return self.dialect.rules.visible_until(self.join, "l" if self.join.ledger is None else "s")


def _flag(condition: exp.Expression) -> exp.Case:
    """Return 1 if a condition holds, else 0; NULL counts as false."""
    return exp.Case().when(condition, exp.Literal.number(1)).else_(exp.Literal.number(0))


def _greatest(expression: exp.Expression) -> exp.Ordered:
    return exp.Ordered(this=expression, desc=True, nulls_first=False)
