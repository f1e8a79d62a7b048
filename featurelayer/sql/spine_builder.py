"""The spine of a script: labels, or the entities of a view, each with a number and a time in UTC."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from featurelayer.model import Kind
from featurelayer.sql.ast import all_of, col, not_null, parse_from_item, table, with_alias
from featurelayer.sql.join_rules import LABELS, JoinRules
from featurelayer.sql.plan import ID, TIME, AsofJoin, Entities, Labels, Plan, Statement, position_name
from featurelayer.sql.sql_builder import NESTED, SqlBuilder

SPINE_COMMENT = "The spine: every row numbered in its order, its time in UTC (rules 6 and 8)."


@dataclass(frozen=True, slots=True)
class SpineBuilder:
    """Builds the queries of labels and entities, in the words of a dialect."""

    dialect: SqlBuilder

    def spine(self, plan: Plan) -> exp.Select:
        """Return the labels (or the view's entities) with a row number and the time in UTC."""
        if isinstance(plan.spine, Entities):
            return self._entities(plan.spine, plan.joins[0])
        return self._labels(plan.spine)

    def label_number(self, labels: Labels) -> exp.Expression:
        """Return a label's number: from its order column, or in the order of the source.

        A source without a stable order is numbered by all its columns: engines compute a common table expression again
        wherever it is named, and the numbers must be the same each time. Rows that are alike in every column get the
        same features, so it does not matter which of them is which.
        """
        if labels.order:
            return self.dialect.row_number([labels.order])
        return self.dialect.row_number([] if self.dialect.has_stable_order else self._sortable_columns(labels))

    def label_values(self, labels: Labels) -> Statement:
        """Return the label columns in order: as the source delivers them, or as they were numbered without an order."""
        columns = [col(column.alias) for column in labels.columns]
        if labels.ordered and labels.row is None:
            values = exp.select(*columns).from_(self.label_source(labels))
            return Statement(sql=self.dialect.sql(values.order_by(col(labels.order)) if labels.order else values))
        return Statement(sql=self.dialect.sql(exp.select(*columns).from_(table(LABELS)).order_by(col(ID))))

    def label_source(self, labels: Labels) -> exp.Expression:
        """Return the labels as a FROM item; columns are renamed by position if a name is not safe inside the script."""
        source = parse_from_item(labels.source, self.dialect.name)
        if labels.order:
            columns = [
                with_alias(col(position_name(at)), column.alias) for at, column in enumerate(labels.source_columns)
            ]
            return exp.select(*columns, col(labels.order)).from_(source).subquery("labels")
        if all(column.alias == column.name for column in labels.source_columns):
            return source
        if not self.dialect.has_stable_order:  # nor, in some of these engines, a list of names after a table
            columns = [with_alias(col(column.name), column.alias) for column in labels.source_columns]
            return exp.select(*columns).from_(source).subquery("labels")
        names = [exp.to_identifier(column.alias, quoted=True) for column in labels.source_columns]
        source.set("alias", exp.TableAlias(this=exp.to_identifier("labels", quoted=True), columns=names))
        return source

    def count(self) -> Statement:
        """Return the query of how many rows the spine has."""
        return Statement(sql=self.dialect.sql(exp.select(exp.Count(this=exp.Star())).from_(table(LABELS))))

    def _labels(self, labels: Labels) -> exp.Select:
        projections = [with_alias(self.label_number(labels), ID)]
        if labels.time is not None:
            time = labels.time
            value = self.dialect.utc(col(time.alias), time.dtype, nanoseconds=time.nanoseconds)
            projections.append(with_alias(value, TIME))
        projections += [col(column.alias) for column in labels.spine_columns]
        spine = exp.select(*projections).from_(self.label_source(labels))
        if labels.row is None:
            return spine
        only = exp.EQ(this=col(ID), expression=exp.Literal.number(labels.row))
        return exp.select(exp.Star()).from_(spine.subquery("labels")).where(only)

    def _entities(self, entities: Entities, join: AsofJoin) -> exp.Select:
        keys = exp.select(*(with_alias(col(key.name, "f"), alias) for key, alias in join.keys))
        keys = keys.from_(JoinRules(self.dialect).relation(join, "f"))
        keys = keys.where(all_of(*(not_null(col(key.name, "f")) for key, _ in join.keys)))
        names = [alias for _, alias in join.keys]
        return exp.select(
            with_alias(self.dialect.row_number([] if self.dialect.has_stable_order else names), ID),
            with_alias(self.dialect.moment(entities.as_of), TIME),
            *(col(name) for name in names),
        ).from_(keys.distinct().subquery("entities"))

    def _sortable_columns(self, labels: Labels) -> list[str]:
        nested = [c.name for c in labels.columns if c.dtype.kind in (*NESTED, Kind.JSON, Kind.UNKNOWN)]
        if nested:
            raise self.dialect.capability_error(
                f"order of the values of {', '.join(nested)}, by which labels from a relation are numbered",
                "give the labels as a file or a frame, or leave the column out",
            )
        return [column.alias for column in labels.columns]
