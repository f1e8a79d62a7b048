"""The queries that show one label's candidates: what the join says of its rows, said of each row by itself.

They are put to a spine of one label. Every condition is the dialect's own, the one that its joins are made of, so that
an explanation can't follow other rules than the join.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from featurelayer.sql.ast import both, col, either, key_alias, named, not_null, table
from featurelayer.sql.dialects.base import LABELS, Dialect
from featurelayer.sql.plan import ID, RESERVED, SEEN, TIME, AsofJoin, Labels, Plan

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
_WINNER = f"{RESERVED}winner"


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
    return dialect.sql(exp.select(exp.Count(this=exp.Star())).from_(dialect.label_source(labels)))


def explain_join(dialect: Dialect, plan: Plan, join: AsofJoin, *, most: int) -> JoinQueries:
    """Return the queries that explain a join of a training set, with at most `most` rows on each side."""
    queries = _Queries(dialect, plan, join)
    columns = tuple(dict.fromkeys((*(column.name for column in join.order), *(f.source for f in join.features))))
    return JoinQueries(
        join=join,
        label=dialect.sql(queries.label()),
        counts=dialect.sql(queries.counts()),
        newer=dialect.sql(queries.newer(columns).limit(most, copy=False)),
        older=dialect.sql(queries.older(columns).limit(most, copy=False)),
        columns=columns,
        ties=tuple(column.name for column in dialect.tie_columns(join)),
    )


@dataclass(frozen=True, slots=True)
class _Queries:
    """Queries over the label `l`, the view's rows `f`, the winner `w`, and what was being served to the label, `s`."""

    dialect: Dialect
    plan: Plan
    join: AsofJoin

    def label(self) -> exp.Select:
        spine = self.plan.spine
        assert isinstance(spine, Labels)
        times: tuple[exp.Expression, ...] = (exp.Null(), exp.Null())
        if spine.time is not None:
            times = (col(TIME, "l"), self._seen())
        keys = (named(col(alias, "l"), key_alias(place)) for place, (_, alias) in enumerate(self.join.keys))
        select = exp.select(named(times[0], TIME), named(times[1], SEEN), *keys).from_(table(LABELS, "l"), copy=False)
        return self._with_served(self._beside_served(select))

    def counts(self) -> exp.Select:
        newer = exp.Coalesce(this=exp.Sum(this=self._newer()), expressions=[exp.Literal.number(0)])
        return self._candidates([named(exp.Count(this=exp.Star()), "rows"), named(newer, "newer")])

    def newer(self, columns: tuple[str, ...]) -> exp.Select:
        nearest = [exp.Ordered(this=self._event("f"))] if self.join.event is not None else []
        found = self._candidates(self._projections(columns))
        found = found.where(exp.EQ(this=self._newer(), expression=exp.Literal.number(1)), copy=False)
        return found.order_by(*nearest, *self.dialect.tie_order(self.join, "f"), copy=False)

    def older(self, columns: tuple[str, ...]) -> exp.Select:
        found = self._candidates(self._projections(columns))
        found = found.where(exp.EQ(this=self._newer(), expression=exp.Literal.number(0)), copy=False)
        return found.order_by(_greatest(_flag(self._tied())), *self._order(), copy=False)

    # --- what is read --------------------------------------------------------------------------------------------

    def _candidates(self, projections: list[exp.Expression]) -> exp.Select:
        """All rows with the label's key, beside the winner."""
        select = self._of_the_label(exp.select(*projections))
        select = select.join(table(_WINNER, "w"), on=exp.true(), join_type="left", copy=False)
        # What was served comes first, because the winner is found with it.
        name = exp.to_identifier(_WINNER, quoted=True)
        return self._with_served(select).with_(name, as_=self._winner(), copy=False)

    def _winner(self) -> exp.Select:
        """Rule 3: of the visible rows the one that comes first."""
        event = [self.join.event] if self.join.event is not None else []
        needed = (*(key for key, _ in self.join.keys), *event, *self.dialect.tie_columns(self.join))
        names = dict.fromkeys(column.name for column in needed)
        select = self._of_the_label(exp.select(*(named(col(name, "f"), name) for name in names)))
        select = select.where(self._visible(), copy=False).order_by(*self._order(), copy=False)
        return select.limit(1, copy=False)

    def _of_the_label(self, select: exp.Select) -> exp.Select:
        same_key = (exp.EQ(this=col(alias, "l"), expression=col(key.name, "f")) for key, alias in self.join.keys)
        select = select.from_(table(LABELS, "l"), copy=False)
        rows = self.dialect.relation(self.join, "f")
        select = select.join(rows, on=both(*same_key), join_type="inner", copy=False)
        return self._beside_served(select)

    def _beside_served(self, select: exp.Select) -> exp.Select:
        if self.join.ledger is None:
            return select
        same = exp.EQ(this=col(ID, "s"), expression=col(ID, "l"))
        return select.join(self.dialect.labels_of(self.join, "s"), on=same, join_type="left", copy=False)

    def _with_served(self, select: exp.Select) -> exp.Select:
        if self.join.ledger is None:
            return select
        name = exp.to_identifier(self.dialect.labels_name(self.join), quoted=True)
        return select.with_(name, as_=self.dialect.served_labels(self.join), copy=False)

    # --- what is said of a row -----------------------------------------------------------------------------------

    def _projections(self, columns: tuple[str, ...]) -> list[exp.Expression]:
        facts = self._static_facts() if self.join.event is None else self._facts()
        until: exp.Expression = exp.Null()
        ended: exp.Expression = exp.false()
        if self.join.valid_to is not None:
            until = self.dialect.valid_until(self.join, "f")
            ended = exp.LTE(this=self.dialect.valid_until(self.join, "f"), expression=col(TIME, "l"))
        said = (*facts, until, ended)
        return [
            *(named(fact, f"{RESERVED}{name}") for name, fact in zip(FACTS, said, strict=True)),
            *(named(col(name, "f"), name) for name in columns),
        ]

    def _facts(self) -> tuple[exp.Expression, ...]:
        time = col(TIME, "l")
        after = (exp.GTE if self.join.exclusive else exp.GT)(this=self._event("f"), expression=time)
        fresh = self.dialect.fresh(self.join, self._event("f"), time.copy())
        return (
            self._event("f"),
            self.dialect.effective(self.join, "f"),
            self.dialect.usable(self.join, "f"),
            after,
            exp.LTE(this=self.dialect.effective(self.join, "f"), expression=time.copy()),
            self._visible(),
            self._tied(),
            self._decided_by(),
            both(*fresh) if fresh else exp.true(),
        )

    def _static_facts(self) -> tuple[exp.Expression, ...]:
        yes = exp.true
        return (exp.Null(), exp.Null(), yes(), exp.false(), yes(), self._visible(), self._visible(), exp.Null(), yes())

    def _visible(self) -> exp.Expression:
        """Rule 1; a static view is seen as soon as it is served."""
        if self.join.event is None:
            return exp.true() if self.join.ledger is None else not_null(self._seen())
        seen = exp.LTE(this=self.dialect.effective(self.join, "f"), expression=self._seen())
        return both(self.dialect.usable(self.join, "f"), seen)

    def _tied(self) -> exp.Expression:
        if self.join.event is None:
            return self._visible()
        return both(self._visible(), exp.EQ(this=self._event("f"), expression=self._event("w")))

    def _newer(self) -> exp.Expression:
        """1 for rows after the winner, or after the label if there is no winner."""
        if self.join.event is None:
            return exp.Literal.number(0)
        middle = exp.Coalesce(this=self._event("w"), expressions=[col(TIME, "l")])
        return _flag(exp.GT(this=self._event("f"), expression=middle))

    def _decided_by(self) -> exp.Expression:
        """The position of the first column that breaks ties in which a row differs from the winner."""
        case = exp.Case()
        for place, column in enumerate(self.dialect.tie_columns(self.join)):
            sides = zip(self.dialect.comparable(column, "f"), self.dialect.comparable(column, "w"), strict=True)
            differs = [exp.NullSafeNEQ(this=mine, expression=other) for mine, other in sides]
            case = case.when(either(*differs), exp.Literal.number(place), copy=False)
        return case if case.args["ifs"] else exp.Null()

    def _event(self, alias: str) -> exp.Expression:
        return self.dialect.event(self.join, alias)

    def _seen(self) -> exp.Expression:
        return self.dialect.seen(self.join, "l" if self.join.ledger is None else "s")

    def _order(self) -> list[exp.Ordered]:
        """Rule 3, greatest first."""
        event = [_greatest(self._event("f"))] if self.join.event is not None else []
        return [*event, *self.dialect.tie_order(self.join, "f")]


def _flag(condition: exp.Expression) -> exp.Case:
    """1 where a condition holds, else 0: NULL counts as no."""
    return exp.Case().when(condition, exp.Literal.number(1)).else_(exp.Literal.number(0))


def _greatest(expression: exp.Expression) -> exp.Ordered:
    return exp.Ordered(this=expression, desc=True, nulls_first=False)
