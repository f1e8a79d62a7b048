"""What all forms of a point-in-time join share: the labels they start from, the rows they end with, the checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from featurelayer.model import Column
from featurelayer.sql.ast import all_of, col, key_alias, not_null, parse_from_item, table, with_alias
from featurelayer.sql.casts import cast, check_types
from featurelayer.sql.plan import (
    EVENT,
    EVENT_MICROS,
    ID,
    RESERVED,
    SEEN,
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
    position_name,
)
from featurelayer.sql.served_asof import labels_as_served
from featurelayer.sql.sql_builder import SqlBuilder

LABELS = f"{RESERVED}labels"
RANK = f"{RESERVED}rank"
VALID_TO = f"{RESERVED}valid_to"
SPINE_COMMENT = "The spine: every row numbered in its order, its time in UTC (rules 6 and 8)."


class Spine(SqlBuilder):
    """The spine of a script, its last join, and the queries that must return nothing before it may run."""

    def spine(self, plan: Plan) -> exp.Select:
        """The labels (or the view's entities) with a row number and the time in UTC."""
        if isinstance(plan.spine, Entities):
            return self._entity_spine(plan.spine, plan.joins[0])
        return self._label_spine(plan.spine)

    def _label_spine(self, labels: Labels) -> exp.Select:
        projections = [with_alias(self.label_number(labels), ID)]
        if labels.time is not None:
            time = labels.time
            value = self.utc(col(time.alias), time.dtype, nanoseconds=time.nanoseconds)
            projections.append(with_alias(value, TIME))
        projections += [col(column.alias) for column in labels.spine_columns]
        spine = exp.select(*projections).from_(self.label_source(labels))
        if labels.row is None:
            return spine
        only = exp.EQ(this=col(ID), expression=exp.Literal.number(labels.row))
        return exp.select(exp.Star()).from_(spine.subquery("labels")).where(only)

    def label_number(self, labels: Labels) -> exp.Expression:
        """The number of a label: in the order in which the source delivers them, or by the column that says it."""
        return self.numbered_by([labels.order]) if labels.order else self.row_number()

    def numbered_by(self, names: Sequence[str]) -> exp.Expression:
        """A number from 0 on, by the order of columns."""
        order = exp.Order(expressions=[exp.Ordered(this=col(name)) for name in names])
        return exp.Sub(this=exp.Window(this=exp.RowNumber(), order=order), expression=exp.Literal.number(1))

    def _label_values(self, labels: Labels) -> Statement:
        """The label columns in order: as the source delivers them, or as they were numbered if it has no order."""
        if labels.ordered and labels.row is None:
            values = exp.select(*(col(column.alias) for column in labels.columns)).from_(self.label_source(labels))
            return Statement(sql=self.sql(values.order_by(col(labels.order)) if labels.order else values))
        columns = [col(column.alias) for column in labels.columns]
        return Statement(sql=self.sql(exp.select(*columns).from_(table(LABELS)).order_by(col(ID))))

    def label_source(self, labels: Labels) -> exp.Expression:
        """The labels as a FROM item; its columns are renamed by position if a name is not safe inside the script."""
        source = parse_from_item(labels.source, self.name)
        if labels.order:
            columns = [
                with_alias(col(position_name(at)), column.alias) for at, column in enumerate(labels.source_columns)
            ]
            return exp.select(*columns, col(labels.order)).from_(source).subquery("labels")
        if all(column.alias == column.name for column in labels.source_columns):
            return source
        columns = [exp.to_identifier(column.alias, quoted=True) for column in labels.source_columns]
        source.set("alias", exp.TableAlias(this=exp.to_identifier("labels", quoted=True), columns=columns))
        return source

    def _entity_spine(self, entities: Entities, join: AsofJoin) -> exp.Select:
        keys = exp.select(*(with_alias(col(key.name, "f"), alias) for key, alias in join.keys))
        keys = keys.from_(self.relation(join, "f")).where(
            all_of(*(not_null(col(key.name, "f")) for key, _ in join.keys))
        )
        return exp.select(
            with_alias(self.row_number(), ID),
            with_alias(self.moment(entities.as_of), TIME),
            *(col(alias) for _, alias in join.keys),
        ).from_(keys.distinct().subquery("entities"))

    def spine_step(self, plan: Plan) -> Step:
        """Make the spine, and what else the views' statements need."""
        return Step(name="labels", statements=(self.spine_statement(plan),))

    def spine_statement(self, plan: Plan) -> Statement:
        """Make the spine."""
        return Statement(
            sql=self.create(LABELS, self.spine(plan)),
            comment=SPINE_COMMENT,
        )

    def count(self) -> Statement:
        """How many rows the spine has."""
        return Statement(sql=self.sql(exp.select(exp.Count(this=exp.Star())).from_(table(LABELS))))

    def labels_of(self, join: AsofJoin, alias: str) -> exp.Table:
        """The labels as a join sees them: all, or with a ledger those that an export had reached."""
        return table(LABELS if join.ledger is None else self.labels_name(join), alias)

    def labels_name(self, join: AsofJoin) -> str:
        """The table or CTE of the labels that an export of the view had reached."""
        return f"{join.name}__labels"

    def labels_as_served(self, join: AsofJoin) -> exp.Select:
        """The labels that an export of the view had reached, with the time of the snapshot that was being served."""
        assert join.ledger is not None
        ledger = exp.to_table(join.ledger.relation, dialect=self.name)
        columns = dict.fromkeys((ID, TIME, *(label for _, label in join.keys)))
        return labels_as_served(LABELS, columns, ledger, join.ledger.store, join.view)

    def seen(self, join: AsofJoin, alias: str) -> exp.Column:
        """The time up to which a label sees the view: its own, or that of the export that was being served."""
        return col(TIME if join.ledger is None else SEEN, alias)

    def label_keys(self, join: AsofJoin, alias: str) -> list[exp.Expression]:
        """The labels' keys under the script's names."""
        return [with_alias(col(label, alias), key_alias(position)) for position, (_, label) in enumerate(join.keys)]

    def is_label_known(self, join: AsofJoin, alias: str) -> exp.Expression:
        return all_of(not_null(col(TIME, alias)), *(not_null(col(label, alias)) for _, label in join.keys))

    def feature_values(self, plan: Plan, join: AsofJoin, row: str, at: exp.Expression) -> list[exp.Expression]:
        """The features of a row; NULL if the row had ended by then (rule 4). Snapshots carry the times instead."""
        if isinstance(plan.spine, Entities):
            return [with_alias(col(feature.source, row), feature.source) for feature in join.features] + (
                [with_alias(self.valid_until(join, row), VALID_TO)] if join.valid_to else []
            )
        values = []
        for feature in join.features:
            value: exp.Expression = col(feature.source, row)
            if join.valid_to is not None:
                ended = exp.LTE(this=self.valid_until(join, row), expression=at.copy())
                value = exp.Case().when(ended, exp.Null()).else_(value)
            values.append(with_alias(value, feature.source))
        return values

    def final(self, plan: Plan, *, rank: bool) -> exp.Select:
        """The spine with every view's row joined by id, in order: as many rows as the spine has."""
        select = exp.select().from_(table(LABELS))
        if isinstance(plan.spine, Entities):
            select = self._final_snapshot(plan, select)
        else:
            labels = [] if plan.by_id else plan.spine.columns
            projections = [with_alias(col(column.alias, LABELS), column.name) for column in labels]
            projections += [with_alias(col(ID, LABELS), ID)] if plan.by_id else []
            for join in plan.joins:
                projections += [self._with_default(join, feature) for feature in join.features]
            select = select.select(*projections)
        side = "inner" if isinstance(plan.spine, Entities) else "left"
        for join in plan.joins:
            on = [exp.EQ(this=col(ID, join.name), expression=col(ID, LABELS))]
            if rank:
                on.append(exp.EQ(this=col(RANK, join.name), expression=exp.Literal.number(1)))
            select = select.join(table(self.rows_name(join), join.name), on=all_of(*on), join_type=side)
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
            *(with_alias(col(key.alias, LABELS), key.name) for key in plan.spine.keys),
            with_alias(event, EVENT_MICROS),
            with_alias(until, VALID_TO_MICROS),
            *(with_alias(self._value(join, feature), feature.name) for feature in join.features),
        )

    def _value(self, join: AsofJoin, feature: FeatureColumn) -> exp.Expression:
        """A feature of the winning row in its declared type."""
        return cast(self, col(feature.source, join.name), feature.stored, feature.dtype)

    def _with_default(self, join: AsofJoin, feature: FeatureColumn) -> exp.Expression:
        value = self._value(join, feature)
        if feature.has_default:
            missing = exp.Is(this=col(ID, join.name), expression=exp.Null())
            value = exp.Case().when(missing, self.literal(feature.default, feature.dtype)).else_(value)
        return with_alias(value, feature.name)

    def rows_name(self, join: AsofJoin) -> str:
        """The table or CTE that holds a view's winning rows."""
        return f"{join.name}__rows"

    def static_rows(self, plan: Plan, join: AsofJoin, *, rank: bool) -> exp.Select:
        """Rule 9: keys alone."""
        on = [exp.EQ(this=col(alias, "l"), expression=col(key.name, "f")) for key, alias in join.keys]
        extra = [with_alias(exp.Literal.number(1), RANK)] if rank else []
        return (
            exp.select(col(ID, "l"), *extra, *self.feature_values(plan, join, "f", col(TIME, "l")))
            .from_(self.labels_of(join, "l"))
            .join(self.relation(join, "f"), on=all_of(*on), join_type="inner")
        )

    def checks(self, plan: Plan) -> tuple[Assertion | TypeCheck, ...]:
        """The queries that must return nothing before the plan may run."""
        views: dict[tuple[object, ...], Assertion | TypeCheck] = {}
        for view in dict.fromkeys(join.view for join in plan.joins):
            # A view in two roles is read once.
            joins = [join for join in plan.joins if join.view == view]
            features = {feature.source: feature for join in joins for feature in join.features}
            types = check_types(self, replace(joins[0], features=tuple(features.values())))
            if types is not None:
                views[view,] = types
        for join in plan.joins:
            if join.event is None:
                keys = tuple(key.name for key, _ in join.keys)
                views[join.relation, keys] = self._unique_check(join)
            for column in (join.event, join.available, join.valid_to):
                if column is not None and column.nanoseconds:
                    views[join.relation, column.name] = self._precision_check(join, column)
        labels = self.label_checks(plan.spine) if isinstance(plan.spine, Labels) else ()
        return (*labels, *views.values())

    def label_checks(self, labels: Labels) -> tuple[Assertion, ...]:
        """Checks of the label rows themselves."""
        time = labels.time
        if time is None or not time.nanoseconds:
            return ()
        row, value = f"{RESERVED}row", f"{RESERVED}value"
        numbered = exp.select(col(time.alias), with_alias(self.label_number(labels), row)).from_(
            self.label_source(labels)
        )
        select = (
            exp.select(with_alias(self.full_text(col(time.alias)), value), col(row))
            .from_(numbered.subquery("labels"))
            .where(self.finer_than_microseconds(col(time.alias)))
            .order_by(col(row))
            .limit(3)
        )
        return (
            Assertion(
                sql=self.sql(select),
                message=f"label column '{time.name}' has values finer than a microsecond: {{rows}}",
                fix="round them to microseconds; truncating here could move a label past an event",
                about_labels=True,
            ),
        )

    def _unique_check(self, join: AsofJoin) -> Assertion:
        keys = [col(key.name, "f") for key, _ in join.keys]
        select = (
            exp.select(*keys)
            .from_(self.relation(join, "f"))
            .where(all_of(*(not_null(key.copy()) for key in keys)))
            .group_by(*(key.copy() for key in keys))
            .having(exp.GT(this=exp.Count(this=exp.Star()), expression=exp.Literal.number(1)))
            .order_by(*(key.copy() for key in keys))
            .limit(3)
        )
        names = ", ".join(key.name for key, _ in join.keys)
        return Assertion(
            sql=self.sql(select),
            message=f"{join.view}: a static view must have one row per key, {join.relation} has several for "
            f"{names} = {{rows}}",
            fix="make the model unique on its keys, or give it an event_time",
        )

    def _precision_check(self, join: AsofJoin, column: Column) -> Assertion:
        finer = self.finer_than_microseconds(col(column.name, "f"))
        shown = with_alias(self.full_text(col(column.name, "f")), column.name)
        select = exp.select(shown).from_(self.relation(join, "f")).where(finer).limit(3)
        return Assertion(
            sql=self.sql(select),
            message=f"{join.view}: '{column.name}' has values finer than a microsecond in {join.relation}: {{rows}}",
            fix="round it to microseconds in the model; truncating here could move an event past a label",
        )

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
