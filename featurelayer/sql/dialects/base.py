"""The portable form of a point-in-time join, in SQL that every warehouse runs, and the parts engines share.

Per view, one CTE after the other:

1. `<view>__timeline`: the view's visible moments and the labels in one list, per key and time.
2. `<view>__match`: a running maximum of the event time down that list; at a label it is the winner's event time.
3. `<view>__rows`: the rows of that event time, ranked by the tie-break.

and one left join of the rows ranked first. Engines with a better form override `compile`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect as SqlglotDialect

from featurelayer.durations import microseconds
from featurelayer.model import Column, DType, Kind
from featurelayer.sql.ast import both, call, col, key_alias, named, not_null, table
from featurelayer.sql.plan import (
    EVENT,
    EVENT_MICROS,
    ID,
    RESERVED,
    SEEN,
    TIME,
    VALID_TO_MICROS,
    AsofJoin,
    Check,
    Entities,
    LabelColumn,
    Labels,
    Plan,
    Script,
    Statement,
    Step,
)
from featurelayer.sql.served import served_labels
from featurelayer.sql.writer import writer

LABELS = f"{RESERVED}labels"
RANK = f"{RESERVED}rank"
AT = f"{RESERVED}at"
IS_LABEL = f"{RESERVED}is_label"
# Naive UTC timestamps have no daylight saving time, so a day is 24 hours in every engine.
_UNITS = (
    ("DAY", 86_400_000_000),
    ("HOUR", 3_600_000_000),
    ("MINUTE", 60_000_000),
    ("SECOND", 1_000_000),
    ("MICROSECOND", 1),
)
VALID_TO = f"{RESERVED}valid_to"
SPINE_COMMENT = "The spine: every row numbered in its order, its time in UTC (rules 6 and 8)."


class Cte(NamedTuple):
    """A named part of a statement, with the rule that it applies; `reused` if it must be computed once for all."""

    name: str
    query: exp.Query
    comment: str = ""
    reused: bool = False


class Dialect:
    """An engine's SQL. Subclasses set `name` (sqlglot's) and override what the engine does differently or better.

    `session` is what a warehouse of ours says when it connects and another session has to say before a script.
    """

    name = ""
    text_type = "TEXT"
    session: tuple[Statement, ...] = ()

    def sql(self, expression: exp.Expression) -> str:
        """Return the text of an expression in this dialect."""
        # No expression is used after it is text, so it need not be copied first: a third of the time of a compilation.
        return expression.sql(dialect=self._writer, pretty=True, identify=True, copy=False)

    @cached_property
    def _writer(self) -> SqlglotDialect:
        return writer(self.name)

    # --- types and times -----------------------------------------------------------------------------------------

    def type(self, dtype: DType) -> exp.DataType:
        """Return a type in this dialect."""
        return exp.DataType.build(self.type_text(dtype), dialect=self.name)

    def type_text(self, dtype: DType) -> str:
        match dtype.kind:
            case Kind.BOOL:
                return "BOOLEAN"
            case Kind.INT | Kind.UINT:
                return "BIGINT" if dtype.kind is Kind.INT or (dtype.bits or 64) < 64 else "DECIMAL(20, 0)"
            case Kind.FLOAT:
                return "DOUBLE"
            case Kind.DECIMAL:
                return f"DECIMAL({dtype.precision}, {dtype.scale})"
            case Kind.ARRAY:
                assert dtype.element is not None
                return f"ARRAY<{self.type_text(dtype.element)}>"
            case Kind.TEXT:
                return self.text_type
            case _:
                return str(dtype.kind).upper()

    def literal(self, value: Any, dtype: DType) -> exp.Expression:
        """Return a value as a literal of a type: always a cast of text or number, so no value can become SQL."""
        if value is None:
            return exp.cast(exp.Null(), self.type(dtype))
        if isinstance(value, list | tuple):
            assert dtype.element is not None
            return exp.cast(
                exp.Array(expressions=[self.literal(item, dtype.element) for item in value]), self.type(dtype)
            )
        if isinstance(value, bool):
            return exp.cast(exp.Boolean(this=value), self.type(dtype))
        text = value.isoformat() if hasattr(value, "isoformat") else str(value)
        return exp.cast(exp.Literal.string(text), self.type(dtype))

    def utc(self, expression: exp.Expression, dtype: DType, *, nanoseconds: bool = False) -> exp.Expression:
        """Return a time as a naive UTC timestamp with microseconds."""
        naive = exp.DataType.build("TIMESTAMP")
        if dtype.kind is Kind.TIMESTAMPTZ:
            return exp.AtTimeZone(this=expression, zone=exp.Literal.string("UTC"))
        if dtype.kind is Kind.TIMESTAMP and not nanoseconds:
            return expression
        return exp.cast(expression, naive)

    def moment(self, at: datetime) -> exp.Expression:
        """Return an aware time as a literal naive UTC timestamp."""
        text = at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
        return exp.cast(exp.Literal.string(text), exp.DataType.build("TIMESTAMP"))

    def shift(self, expression: exp.Expression, by: timedelta) -> exp.Expression:
        """Return a timestamp plus a duration, exact to the microsecond."""
        micros = microseconds(by)
        if micros == 0:
            return expression
        unit, size = next((unit, size) for unit, size in _UNITS if micros % size == 0)
        interval = exp.Interval(this=exp.Literal.string(str(abs(micros) // size)), unit=exp.var(unit))
        return (exp.Add if micros > 0 else exp.Sub)(this=expression, expression=interval)

    def json_text(self, value: exp.Expression, dtype: DType, *, key: bool) -> exp.Expression | None:  # noqa: ARG002
        """Return a value's JSON as the online store holds it, or None where this engine can't write it exactly.

        A NULL becomes null. Of a `key`, equal values must be equal text.
        """
        return None

    def bytes_of(self, text: exp.Expression) -> exp.Expression:
        """How many bytes a text has in UTF-8."""
        return call("OCTET_LENGTH", text)

    def event(self, join: AsofJoin, alias: str) -> exp.Expression:
        """The event time of a row as naive UTC."""
        assert join.event is not None
        return self.utc(col(join.event.name, alias), join.event.dtype, nanoseconds=join.event.nanoseconds)

    def effective(self, join: AsofJoin, alias: str) -> exp.Expression:
        """The first moment at which a row may be seen: rule 1 in one expression (module essay of the planner)."""
        earliest = self.shift(self.event(join, alias), join.wait)
        if join.available is None:
            return earliest
        available = self.utc(
            col(join.available.name, alias), join.available.dtype, nanoseconds=join.available.nanoseconds
        )
        # CASE and not GREATEST: engines differ in what GREATEST does with NULL.
        return exp.Case().when(exp.GT(this=available, expression=earliest), available.copy()).else_(earliest.copy())

    def usable(self, join: AsofJoin, alias: str) -> exp.Expression:
        """Rows with every time and key known; the others are never visible."""
        times = [column for column in (join.event, join.available) if column is not None]
        return both(*(not_null(col(column.name, alias)) for column in (*(key for key, _ in join.keys), *times)))

    def fresh(self, join: AsofJoin, event: exp.Expression, at: exp.Expression) -> list[exp.Expression]:
        """Rule 2, if the view has a TTL."""
        return [exp.GTE(this=event, expression=self.shift(at, -join.ttl))] if join.ttl is not None else []

    # --- the spine -----------------------------------------------------------------------------------------------

    def spine(self, plan: Plan) -> exp.Select:
        """The labels (or the view's entities) with a row number and the time in UTC."""
        if isinstance(plan.spine, Entities):
            return self._entity_spine(plan.spine, plan.joins[0])
        return self._label_spine(plan.spine)

    def row_number(self) -> exp.Expression:
        """Number the rows in the order in which the source delivers them."""
        over = exp.Window(this=exp.RowNumber())
        return exp.Sub(this=over, expression=exp.Literal.number(1))

    def cast_text(self, column: LabelColumn) -> exp.Expression:
        """A label column, cast if it is text from a CSV."""
        if column.cast is None:
            return col(column.alias)
        return exp.cast(col(column.alias), self.type(column.cast))

    def _label_spine(self, labels: Labels) -> exp.Select:
        projections = [named(self.row_number(), ID)]
        if labels.time is not None:
            time = labels.time
            value = self.utc(self.cast_text(time), time.cast or time.dtype, nanoseconds=time.nanoseconds)
            projections.append(named(value, TIME))
        projections += self._label_columns(labels)
        spine = exp.select(*projections).from_(self.label_source(labels))
        if labels.row is None:
            return spine
        only = exp.EQ(this=col(ID), expression=exp.Literal.number(labels.row))
        return exp.select(exp.Star()).from_(spine.subquery("labels")).where(only)

    def _label_columns(self, labels: Labels) -> list[exp.Expression]:
        """The label columns as they come out; the timestamp is one like any other, as it went in."""
        return [
            named(col(column.alias) if column is labels.time else self.cast_text(column), column.alias)
            for column in labels.columns
        ]

    def _label_values(self, labels: Labels) -> Statement:
        """The label columns in order: as the source delivers them, or as they were numbered if it has no order."""
        if labels.ordered and labels.row is None:
            return Statement(sql=self.sql(exp.select(*self._label_columns(labels)).from_(self.label_source(labels))))
        columns = [col(column.alias) for column in labels.columns]
        return Statement(sql=self.sql(exp.select(*columns).from_(table(LABELS)).order_by(col(ID))))

    def label_source(self, labels: Labels) -> exp.Expression:
        """The labels as a FROM item; its columns are renamed by position if a name is not safe inside the script."""
        source = exp.maybe_parse(labels.source, into=exp.Table, dialect=self.name)
        if all(column.alias == column.name for column in labels.columns):
            return source
        columns = [exp.to_identifier(column.alias, quoted=True) for column in labels.columns]
        source.set("alias", exp.TableAlias(this=exp.to_identifier("labels", quoted=True), columns=columns))
        return source

    def _entity_spine(self, entities: Entities, join: AsofJoin) -> exp.Select:
        keys = exp.select(*(named(col(key.name, "f"), alias) for key, alias in join.keys))
        keys = keys.from_(self.relation(join, "f")).where(both(*(not_null(col(key.name, "f")) for key, _ in join.keys)))
        return exp.select(
            named(self.row_number(), ID),
            named(self.moment(entities.as_of), TIME),
            *(col(alias) for _, alias in join.keys),
        ).from_(keys.distinct().subquery("entities"))

    def relation(self, join: AsofJoin, alias: str) -> exp.Table:
        """The view's relation, quoted as dbt quotes it."""
        relation = exp.to_table(join.relation, dialect=self.name)
        relation.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
        return relation

    # --- what a label may see ------------------------------------------------------------------------------------

    def labels_of(self, join: AsofJoin, alias: str) -> exp.Table:
        """The labels as a join sees them: all, or with a ledger those that an export had reached."""
        return table(LABELS if join.ledger is None else self.labels_name(join), alias)

    def labels_name(self, join: AsofJoin) -> str:
        """The table or CTE of the labels that an export of the view had reached."""
        return f"{join.name}__labels"

    def served_labels(self, join: AsofJoin) -> exp.Select:
        """The labels that an export of the view had reached, with the time of the snapshot that was being served."""
        assert join.ledger is not None
        ledger = exp.to_table(join.ledger.relation, dialect=self.name)
        columns = dict.fromkeys((ID, TIME, *(label for _, label in join.keys)))
        return served_labels(LABELS, columns, ledger, join.ledger.store, join.view)

    def seen(self, join: AsofJoin, alias: str) -> exp.Column:
        """The time up to which a label sees the view: its own, or that of the export that was being served."""
        return col(TIME if join.ledger is None else SEEN, alias)

    # --- shared by all forms -------------------------------------------------------------------------------------

    def keys_equal(self, join: AsofJoin, left: str, right: str) -> exp.Expression:
        """`left` has the script's key names, `right` the view's."""
        return both(
            *(
                exp.EQ(this=col(key_alias(position), left), expression=col(key.name, right))
                for position, (key, _) in enumerate(join.keys)
            )
        )

    def feature_values(self, plan: Plan, join: AsofJoin, row: str, at: exp.Expression) -> list[exp.Expression]:
        """The features of a row; NULL if the row had ended by then (rule 4). Snapshots carry the times instead."""
        if isinstance(plan.spine, Entities):
            return [named(col(feature.source, row), feature.source) for feature in join.features] + (
                [named(self.valid_until(join, row), VALID_TO)] if join.valid_to else []
            )
        values = []
        for feature in join.features:
            value: exp.Expression = col(feature.source, row)
            if join.valid_to is not None:
                ended = exp.LTE(this=self.valid_until(join, row), expression=at.copy())
                value = exp.Case().when(ended, exp.Null()).else_(value)
            values.append(named(value, feature.source))
        return values

    def valid_until(self, join: AsofJoin, row: str) -> exp.Expression:
        """From when on a row no longer holds, as naive UTC."""
        assert join.valid_to is not None
        return self.utc(col(join.valid_to.name, row), join.valid_to.dtype, nanoseconds=join.valid_to.nanoseconds)

    def greatest_first(self, columns: Iterable[Column], alias: str) -> list[exp.Ordered]:
        """Rule 3's order: greatest wins, NULL is lowest."""
        return [
            exp.Ordered(this=expression, desc=True, nulls_first=False)
            for column in columns
            for expression in self.comparable(column, alias)
        ]

    def comparable(self, column: Column, alias: str) -> list[exp.Expression]:
        """What a column is ordered by: itself, or canonical text if it is nested."""
        value = col(column.name, alias)
        if column.dtype.kind in (Kind.ARRAY, Kind.STRUCT, Kind.MAP, Kind.JSON, Kind.UNKNOWN):
            return [exp.cast(value, self.type(DType(kind=Kind.TEXT)))]
        return [value]

    def tie_columns(self, join: AsofJoin) -> tuple[Column, ...]:
        """What breaks ties: created, available, declared tie-breakers, then the content in declared column order."""
        equal = {join.event, *(key for key, _ in join.keys)}
        return (*join.order, *(column for column in join.content if column not in join.order and column not in equal))

    def tie_order(self, join: AsofJoin, alias: str) -> list[exp.Ordered]:
        """Rule 3 among the rows of one event time."""
        return self.greatest_first(self.tie_columns(join), alias)

    def micros(self, expression: exp.Expression) -> exp.Expression:
        """A naive UTC timestamp as whole microseconds since 1970."""
        return call("EPOCH_US", expression)

    def final(self, plan: Plan, *, rank: bool) -> exp.Select:
        """The spine with every view's row joined by id, in order: as many rows as the spine has."""
        select = exp.select().from_(table(LABELS))
        if isinstance(plan.spine, Entities):
            select = self._final_snapshot(plan, select)
        else:
            labels = [] if plan.by_id else plan.spine.columns
            projections = [named(col(column.alias, LABELS), column.name) for column in labels]
            projections += [named(col(ID, LABELS), ID)] if plan.by_id else []
            for join in plan.joins:
                projections += [self._with_default(join, feature.source, feature) for feature in join.features]
            select = select.select(*projections)
        side = "inner" if isinstance(plan.spine, Entities) else "left"
        for join in plan.joins:
            on = [exp.EQ(this=col(ID, join.name), expression=col(ID, LABELS))]
            if rank:
                on.append(exp.EQ(this=col(RANK, join.name), expression=exp.Literal.number(1)))
            select = select.join(table(self.rows_name(join), join.name), on=both(*on), join_type=side)
        return select.order_by(col(ID, LABELS))

    def _final_snapshot(self, plan: Plan, select: exp.Select) -> exp.Select:
        assert isinstance(plan.spine, Entities)
        join = plan.joins[0]
        event = self.micros(col(EVENT, join.name)) if join.event else exp.cast(exp.Null(), exp.DataType.build("BIGINT"))
        until = (
            self.micros(col(VALID_TO, join.name))
            if join.valid_to
            else exp.cast(exp.Null(), exp.DataType.build("BIGINT"))
        )
        return select.select(
            *(named(col(key.alias, LABELS), key.name) for key in plan.spine.keys),
            named(event, EVENT_MICROS),
            named(until, VALID_TO_MICROS),
            *(named(col(feature.source, join.name), feature.name) for feature in join.features),
        )

    def _with_default(self, join: AsofJoin, source: str, feature: Any) -> exp.Expression:
        value: exp.Expression = col(source, join.name)
        if feature.has_default:
            missing = exp.Is(this=col(ID, join.name), expression=exp.Null())
            value = exp.Case().when(missing, self.literal(feature.default, feature.dtype)).else_(value)
        return named(value, feature.name)

    def rows_name(self, join: AsofJoin) -> str:
        """The table or CTE that holds a view's winning rows."""
        return f"{join.name}__rows"

    # --- checks --------------------------------------------------------------------------------------------------

    def checks(self, plan: Plan) -> tuple[Check, ...]:
        """The queries that must return nothing before the plan may run."""
        views: dict[tuple[object, ...], Check] = {}
        for join in plan.joins:
            if join.event is None:
                keys = tuple(key.name for key, _ in join.keys)
                views[join.relation, keys] = self._unique_check(join)
            for column in (join.event, join.available, join.valid_to):
                if column is not None and column.nanoseconds:
                    views[join.relation, column.name] = self._precision_check(join, column)
        labels = self.label_checks(plan.spine) if isinstance(plan.spine, Labels) else ()
        return (*labels, *views.values())

    def label_checks(self, labels: Labels) -> tuple[Check, ...]:  # noqa: ARG002 (engines that load labels override)
        """Checks of the label rows themselves."""
        return ()

    def _unique_check(self, join: AsofJoin) -> Check:
        keys = [col(key.name, "f") for key, _ in join.keys]
        select = (
            exp.select(*keys)
            .from_(self.relation(join, "f"))
            .where(both(*(not_null(key.copy()) for key in keys)))
            .group_by(*(key.copy() for key in keys))
            .having(exp.GT(this=exp.Count(this=exp.Star()), expression=exp.Literal.number(1)))
            .order_by(*(key.copy() for key in keys))
            .limit(3)
        )
        names = ", ".join(key.name for key, _ in join.keys)
        return Check(
            sql=self.sql(select),
            message=f"{join.view}: a static view must have one row per key, {join.relation} has several for "
            f"{names} = {{rows}}",
            fix="make the model unique on its keys, or give it an event_time",
        )

    def _precision_check(self, join: AsofJoin, column: Column) -> Check:
        finer = self.finer_than_microseconds(col(column.name, "f"))
        select = exp.select(col(column.name, "f")).from_(self.relation(join, "f")).where(finer).limit(3)
        return Check(
            sql=self.sql(select),
            message=f"{join.view}: '{column.name}' has values finer than a microsecond in {join.relation}: {{rows}}",
            fix="round it to microseconds in the model; truncating here could move an event past a label",
        )

    def finer_than_microseconds(self, value: exp.Expression) -> exp.Expression:
        """Whether a nanosecond timestamp has a non-zero sub-microsecond part."""
        raise NotImplementedError(f"{self.name} has no nanosecond timestamps")

    # --- the portable form ---------------------------------------------------------------------------------------

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
        rows = self.static_rows(plan, join, rank=False).select(named(rank, RANK))
        return Cte(self.rows_name(join), rows, comment=f"{join.name}: static, joined on its keys alone (rule 9).")

    def fail(self, message: exp.Expression) -> exp.Expression:
        """An expression that ends the query with this message when it is evaluated."""
        return exp.cast(message, exp.DataType.build("INT"))

    def kept(self, plan: Plan, name: str) -> Script:
        """Return the script of a plan with one step more, which keeps the query's rows in a temporary table."""
        script = self.compile(plan)
        keep = Step(name=name, statements=(Statement(sql=self.create(name, self.query(plan))),))
        return replace(script, steps=(*script.steps, keep))

    def reached(self, plan: Plan) -> Statement:
        """Count, view by view, the labels that an export had reached; the spine must be there."""
        counts = [
            exp.select(exp.Count(this=exp.Star())).from_(self.served_labels(join).subquery("l")).subquery()
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

    def script(self, plan: Plan, steps: Sequence[Step], query: Statement, temporary: Sequence[str]) -> Script:
        columns = (
            (*(c.name for c in plan.spine.columns), *(f.name for join in plan.joins for f in join.features))
            if isinstance(plan.spine, Labels)
            else (
                *(k.name for k in plan.spine.keys),
                EVENT_MICROS,
                VALID_TO_MICROS,
                *(f.name for f in plan.joins[0].features),
            )
        )
        return Script(
            title=plan.title,
            dialect=self.name,
            provenance=plan.provenance,
            session=self.session,
            checks=self.checks(plan),
            steps=tuple(steps),
            query=query,
            labels=self._label_values(plan.spine) if isinstance(plan.spine, Labels) else None,
            columns=columns,
            temporary=tuple(temporary),
        )

    def create(self, name: str, query: exp.Query) -> str:
        """`CREATE TEMPORARY TABLE name AS query`."""
        return self.sql(
            exp.Create(
                kind="TABLE",
                this=table(name),
                expression=query,
                properties=exp.Properties(expressions=[exp.TemporaryProperty()]),
            )
        )

    def spine_step(self, plan: Plan) -> Step:
        """Make the spine, and what else the views' statements need."""
        return Step(name="labels", statements=(self.spine_statement(plan),))

    def reach(self, join: AsofJoin) -> Statement | None:  # noqa: ARG002 (engines that can sample override)
        """Which share of the view's rows has a key that the labels have, about, from a sample; None: don't ask."""
        return None

    def count(self) -> Statement:
        """How many rows the spine has."""
        return Statement(sql=self.sql(exp.select(exp.Count(this=exp.Star())).from_(table(LABELS))))

    def spine_statement(self, plan: Plan) -> Statement:
        """Make the spine."""
        return Statement(
            sql=self.create(LABELS, self.spine(plan)),
            comment=SPINE_COMMENT,
        )

    def view_ctes(self, plan: Plan, join: AsofJoin) -> list[tuple[str, exp.Query]]:
        """The CTEs of one view; the last is the ranked rows."""
        served: list[tuple[str, exp.Query]] = (
            [] if join.ledger is None else [(self.labels_name(join), self.served_labels(join))]
        )
        if join.event is None:
            return [*served, (self.rows_name(join), self.static_rows(plan, join, rank=True))]
        timeline, match = f"{join.name}__timeline", f"{join.name}__match"
        return [
            *served,
            (timeline, exp.union(self._moments(join), self._label_moments(join), distinct=False)),
            (match, self._running_maximum(join, timeline)),
            (self.rows_name(join), self._ranked_rows(plan, join, match)),
        ]

    def static_rows(self, plan: Plan, join: AsofJoin, *, rank: bool) -> exp.Select:
        """Rule 9: keys alone."""
        on = [exp.EQ(this=col(alias, "l"), expression=col(key.name, "f")) for key, alias in join.keys]
        extra = [named(exp.Literal.number(1), RANK)] if rank else []
        return (
            exp.select(col(ID, "l"), *extra, *self.feature_values(plan, join, "f", col(TIME, "l")))
            .from_(self.labels_of(join, "l"))
            .join(self.relation(join, "f"), on=both(*on), join_type="inner")
        )

    def label_keys(self, join: AsofJoin, alias: str) -> list[exp.Expression]:
        """The labels' keys under the script's names."""
        return [named(col(label, alias), key_alias(position)) for position, (_, label) in enumerate(join.keys)]

    def view_keys(self, join: AsofJoin, alias: str) -> list[exp.Expression]:
        """The view's keys under the script's names."""
        return [named(col(key.name, alias), key_alias(position)) for position, (key, _) in enumerate(join.keys)]

    def label_known(self, join: AsofJoin, alias: str) -> exp.Expression:
        return both(not_null(col(TIME, alias)), *(not_null(col(label, alias)) for _, label in join.keys))

    def _moments(self, join: AsofJoin) -> exp.Select:
        label_keys = exp.select(exp.Literal.number(1)).from_(table(LABELS, "l"))
        label_keys = label_keys.where(
            both(*(exp.EQ(this=col(alias, "l"), expression=col(key.name, "f")) for key, alias in join.keys))
        )
        return (
            exp.select(
                *self.view_keys(join, "f"),
                named(self.effective(join, "f"), AT),
                named(self.event(join, "f"), EVENT),
                named(exp.Literal.number(0), IS_LABEL),
                named(exp.cast(exp.Null(), exp.DataType.build("BIGINT")), ID),
            )
            .from_(self.relation(join, "f"))
            .where(both(self.usable(join, "f"), exp.Exists(this=label_keys)))
        )

    def _label_moments(self, join: AsofJoin) -> exp.Select:
        return (
            exp.select(
                *self.label_keys(join, "l"),
                named(self.seen(join, "l"), AT),
                named(exp.cast(exp.Null(), exp.DataType.build("TIMESTAMP")), EVENT),
                named(exp.Literal.number(1), IS_LABEL),
                col(ID, "l"),
            )
            .from_(self.labels_of(join, "l"))
            .where(self.label_known(join, "l"))
        )

    def _running_maximum(self, join: AsofJoin, timeline: str) -> exp.Select:
        keys = [key_alias(position) for position in range(len(join.keys))]
        newest = exp.Window(
            this=exp.Max(this=col(EVENT)),
            partition_by=[col(key) for key in keys],
            order=exp.Order(expressions=[exp.Ordered(this=col(AT)), exp.Ordered(this=col(IS_LABEL))]),
            spec=exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="CURRENT ROW"),
        )
        return exp.select(col(ID), col(AT), col(IS_LABEL), *(col(key) for key in keys), named(newest, EVENT)).from_(
            table(timeline)
        )

    def _ranked_rows(self, plan: Plan, join: AsofJoin, match: str) -> exp.Select:
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
            col(ID, "m"), named(rank, RANK), col(EVENT, "m"), *self.feature_values(plan, join, "f", at)
        ).from_(table(match, "m"))
        if join.ledger is not None:
            same = exp.EQ(this=col(ID, "l"), expression=col(ID, "m"))
            select = select.join(table(LABELS, "l"), on=same, join_type="inner")
        return select.join(self.relation(join, "f"), on=both(*on), join_type="inner").where(both(*wanted))
