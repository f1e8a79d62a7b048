"""The parts that every form of a training set shares: the spine first, the joined rows last, one step per view."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, NamedTuple

from sqlglot import exp

from featurelayer.errors import Problem, UnsupportedByDialect
from featurelayer.model import DType, Kind
from featurelayer.sql.assertions import plan_assertions
from featurelayer.sql.ast import all_of, col, table, with_alias
from featurelayer.sql.casts import cast
from featurelayer.sql.join_rules import LABELS, RANK, VALID_TO, JoinRules
from featurelayer.sql.plan import (
    EVENT,
    EVENT_MICROS,
    ID,
    TIME,
    VALID_TO_MICROS,
    AsofJoin,
    Assertion,
    Entities,
    FeatureColumn,
    Labels,
    Plan,
    Script,
    Statement,
    Step,
    TypeCheck,
)
from featurelayer.sql.spine_builder import SPINE_COMMENT, SpineBuilder
from featurelayer.sql.sql_builder import SqlBuilder

_QUERY_COMMENT = "Every label once, in its order, with the features of its rows."


class Cte(NamedTuple):
    """A named part of a statement, with the rule that it applies; `reused` if it must be computed once for all."""

    name: str
    query: exp.Query
    comment: str = ""
    reused: bool = False


class ScriptBuilder(ABC):
    """Compiles plans in the words of a dialect. Subclasses choose how a label finds its rows.

    `has_ranks` means that a view's rows table keeps more than the winners; rank 1 is the winner.
    `reuses_labels` means that a statement reads the labels that an export had reached more than once.
    """

    has_ranks = True
    reuses_labels = False
    rules_type: ClassVar[type[JoinRules]] = JoinRules

    def __init__(self, dialect: SqlBuilder) -> None:
        self.dialect = dialect
        self.rules = self.rules_type(dialect)
        self.spine = SpineBuilder(dialect)

    @abstractmethod
    def view_step(self, plan: Plan, join: AsofJoin) -> Step:
        """Return the step of one view: it makes the table `rules.rows_name(join)`."""

    @abstractmethod
    def row_ctes(self, plan: Plan, join: AsofJoin) -> list[Cte]:
        """Return the CTEs of a view with times; the last is its rows, of which those that count have rank 1."""

    @abstractmethod
    def view_tables(self, plan: Plan, join: AsofJoin) -> list[str]:
        """Return the temporary tables that the view's step leaves."""

    # --- the script ----------------------------------------------------------------------------------------------

    def compile(self, plan: Plan) -> Script:
        """Return the script of a plan."""
        self.validate(plan)
        steps = (self.spine_step(plan), *(self.view_step(plan, join) for join in plan.joins))
        tables = [*self.spine_tables(plan), *(name for join in plan.joins for name in self.view_tables(plan, join))]
        return Script(
            title=plan.title,
            dialect=self.dialect.name,
            provenance=plan.provenance,
            session=self.dialect.session,
            checks=self.assertions(plan),
            steps=steps,
            query=Statement(sql=self.dialect.sql(self.query(plan)), comment=_QUERY_COMMENT),
            labels=self.spine.label_values(plan.spine) if isinstance(plan.spine, Labels) else None,
            columns=_columns(plan),
            temporary=tuple(tables),
        )

    def compile_into_table(self, plan: Plan, name: str) -> Script:
        """Return the script of a plan with a last step that stores the query's rows in a temporary table."""
        script = self.compile(plan)
        keep = Step(name=name, statements=(Statement(sql=self.dialect.create(name, self.query(plan))),))
        return replace(script, steps=(*script.steps, keep))

    def validate(self, plan: Plan) -> None:
        """Raise where the engine could not keep what the contract promises.

        Raises:
            UnsupportedByDialect: it could not.
        """
        problems = [
            Problem(
                what=f"{join.view}: the feature '{feature.source}' is {feature.dtype}, "
                f"and {self.dialect.name} has no NULL of it: a label that finds no row would get an empty one",
                fix="cast it to JSON text in the model",
            )
            for join in plan.joins
            for feature in join.features
            if feature.dtype.kind in self.dialect.without_null
        ]
        if isinstance(plan.spine, Labels) and self.dialect.folds_names:
            names = [*(c.name for c in plan.spine.columns), *(f.name for join in plan.joins for f in join.features)]
            folded = Counter(name.casefold() for name in names)
            alike = [name for name in names if folded[name.casefold()] > 1]
            if alike:
                what = (
                    f"{self.dialect.name} can't tell columns apart whose names differ in case alone: {', '.join(alike)}"
                )
                problems.append(Problem(what=what, fix="rename one of them"))
        if problems:
            raise UnsupportedByDialect(problems)

    def assertions(self, plan: Plan) -> tuple[Assertion | TypeCheck, ...]:
        """Return the queries that must return nothing before the plan may run."""
        return plan_assertions(self.rules, self.spine, plan)

    def spine_step(self, plan: Plan) -> Step:
        """Return the step that makes the spine and the other tables the views' statements need."""
        return Step(name="labels", statements=self.create_statements(LABELS, self.spine.spine(plan), SPINE_COMMENT))

    def spine_tables(self, plan: Plan) -> list[str]:  # noqa: ARG002 (scripts that make more)
        """Return the temporary tables that the step of the spine leaves."""
        return [LABELS]

    def reach(self, join: AsofJoin) -> Statement | None:  # noqa: ARG002 (engines that can sample)
        """Return a query that estimates which share of the view's rows has a key that the labels have, or None."""
        return None

    def probe(self, join: AsofJoin) -> Statement | None:  # noqa: ARG002 (engines with indexes)
        """Return a query that decides whether to look rows up label by label, or None.

        It runs after the spine is made.
        """
        return None

    def count_served_labels(self, plan: Plan) -> Statement:
        """Return a query that counts, per view, the labels an export had reached; it needs the spine."""
        counts = [
            exp.select(exp.Count(this=exp.Star())).from_(self.rules.labels_as_served(join).subquery("l")).subquery()
            for join in plan.joins
        ]
        return Statement(sql=self.dialect.sql(exp.select(*counts)))

    def count_differences(self, one: str, other: str, features: Sequence[str]) -> Statement:
        """Return a query that counts the rows of two stored tables and, per feature, those that differ.

        Counts of features are NULL if there are no rows.
        """
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
        return Statement(sql=self.dialect.sql(joined))

    def create_statements(self, name: str, query: exp.Query, comment: str = "") -> tuple[Statement, ...]:
        """Return the statements that make a temporary table of the script."""
        return (Statement(sql=self.dialect.create(name, query), comment=comment),)

    def create_served_labels(self, join: AsofJoin) -> tuple[Statement, ...]:
        """Return the statements that make the labels an export had reached, where the join asks for them."""
        if join.ledger is None:
            return ()
        comment = f"{join.name}: the labels by the export that was being served at their time."
        return self.create_statements(self.rules.labels_name(join), self.rules.labels_as_served(join), comment)

    # --- one query -----------------------------------------------------------------------------------------------

    def statement(self, plan: Plan, *, ordered: bool = False) -> str:
        """Return the plan of a training set as one query, for places that accept no script.

        A table has no order, so its rows are put into the labels' order only if `ordered`.
        """
        self.validate(plan)
        query = self._select_rows(plan, has_ranks=True)
        if not ordered:
            query.set("order", None)
        # Every view reads the spine, so its row numbers must be stable.
        spine = Cte(LABELS, self.spine.spine(plan), comment=SPINE_COMMENT, reused=True)
        for cte in (spine, *(cte for join in plan.joins for cte in self.view_ctes(plan, join))):
            if cte.comment:
                cte.query.add_comments([f" {cte.comment} "])
            name = exp.to_identifier(cte.name, quoted=True)
            query = query.with_(name, as_=cte.query, materialized=cte.reused or None, copy=False)
        return self.dialect.sql(query)

    def static_cte(self, plan: Plan, join: AsofJoin) -> Cte:
        """Return the rows of a static view. No check ran before, so the query itself fails where a key has two rows."""
        several = exp.GT(
            this=exp.Window(this=exp.Count(this=exp.Star()), partition_by=[col(ID, "l")]),
            expression=exp.Literal.number(1),
        )
        names = ", ".join(key.name for key, _ in join.keys)
        message: exp.Expression = exp.Literal.string(
            f"{join.view}: a static view must have one row per key, and this one has several for {names} ="
        )
        for key, _ in join.keys:
            value = exp.cast(col(key.name, "f"), self.dialect.type(DType(kind=Kind.TEXT)))
            message = exp.DPipe(this=exp.DPipe(this=message, expression=exp.Literal.string(" ")), expression=value)
        rank = exp.Case().when(several, self.dialect.fail(message)).else_(exp.Literal.number(1))
        rows = self.static_rows(plan, join, has_ranks=False).select(with_alias(rank, RANK))
        return Cte(self.rules.rows_name(join), rows, comment=f"{join.name}: static, joined on its keys alone (rule 9).")

    def view_ctes(self, plan: Plan, join: AsofJoin) -> list[Cte]:
        """Return the CTEs of one view in a statement; before its rows come the labels that an export had reached."""
        rows = [self.static_cte(plan, join)] if join.event is None else self.row_ctes(plan, join)
        if join.ledger is None:
            return rows
        labels = self.rules.labels_as_served(join)
        return [Cte(self.rules.labels_name(join), labels, reused=self.reuses_labels), *rows]

    # --- the rows ------------------------------------------------------------------------------------------------

    def static_rows(self, plan: Plan, join: AsofJoin, *, has_ranks: bool) -> exp.Select:
        """Return the rows of a static view, which is joined on its keys alone (rule 9)."""
        on = [exp.EQ(this=col(alias, "l"), expression=col(key.name, "f")) for key, alias in join.keys]
        extra = [with_alias(exp.Literal.number(1), RANK)] if has_ranks else []
        return (
            exp.select(col(ID, "l"), *extra, *self.rules.feature_values(plan, join, "f", col(TIME, "l")))
            .from_(self.rules.labels_of(join, "l"))
            .join(self.rules.relation(join, "f"), on=all_of(*on), join_type="inner")
        )

    def query(self, plan: Plan) -> exp.Select:
        """Return the query of the rows, after the steps of the script: as many rows as the spine has, in order."""
        return self._select_rows(plan, has_ranks=self.has_ranks)

    def _select_rows(self, plan: Plan, *, has_ranks: bool) -> exp.Select:
        select = exp.select().from_(table(LABELS))
        if isinstance(plan.spine, Entities):
            select = self._select_snapshot(plan, plan.spine, select)
        else:
            labels = [] if plan.by_id else plan.spine.columns
            projections = [with_alias(col(column.alias, LABELS), column.name) for column in labels]
            projections += [with_alias(col(ID, LABELS), ID)] if plan.by_id else []
            for join in plan.joins:
                projections += [self.value_or_default(join, feature) for feature in join.features]
            select = select.select(*projections)
        side = "inner" if isinstance(plan.spine, Entities) else "left"
        for join in plan.joins:
            on = [exp.EQ(this=col(ID, join.name), expression=col(ID, LABELS))]
            if has_ranks:
                on.append(exp.EQ(this=col(RANK, join.name), expression=exp.Literal.number(1)))
            select = select.join(table(self.rules.rows_name(join), join.name), on=all_of(*on), join_type=side)
        return select.order_by(col(ID, LABELS))

    def _select_snapshot(self, plan: Plan, entities: Entities, select: exp.Select) -> exp.Select:
        join = plan.joins[0]
        null = exp.cast(exp.Null(), exp.DataType.build("BIGINT"))
        event = self.dialect.micros(col(EVENT, join.name)) if join.event else null
        until = self.dialect.micros(col(VALID_TO, join.name)) if join.valid_to else null.copy()
        return select.select(
            *(with_alias(col(key.alias, LABELS), key.name) for key in entities.keys),
            with_alias(event, EVENT_MICROS),
            with_alias(until, VALID_TO_MICROS),
            *(with_alias(self._value(join, feature), feature.name) for feature in join.features),
        )

    def value_or_default(self, join: AsofJoin, feature: FeatureColumn) -> exp.Expression:
        """Return a feature in its declared type, or its default where the label has no row."""
        value = self._value(join, feature)
        if feature.has_default:
            missing = exp.Is(this=col(ID, join.name), expression=exp.Null())
            value = exp.Case().when(missing, self.dialect.literal(feature.default, feature.dtype)).else_(value)
        return with_alias(value, feature.name)

    def _value(self, join: AsofJoin, feature: FeatureColumn) -> exp.Expression:
        return cast(self.dialect, col(feature.source, join.name), feature.stored, feature.dtype)


def _columns(plan: Plan) -> tuple[str, ...]:
    if isinstance(plan.spine, Labels):
        return (*(c.name for c in plan.spine.columns), *(f.name for join in plan.joins for f in join.features))
    features = (feature.name for feature in plan.joins[0].features)
    return (*(key.name for key in plan.spine.keys), EVENT_MICROS, VALID_TO_MICROS, *features)
