"""The rules of a point-in-time join as expressions of one engine (the numbers are those of docs/contract.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlglot import exp

from featurelayer.model import Column
from featurelayer.sql.ast import all_of, col, key_alias, not_null, table, with_alias
from featurelayer.sql.plan import ID, RESERVED, SEEN, TIME, AsofJoin, Entities, Plan
from featurelayer.sql.served_asof import labels_as_served
from featurelayer.sql.sql_builder import SqlBuilder

LABELS = f"{RESERVED}labels"
RANK = f"{RESERVED}rank"
VALID_TO = f"{RESERVED}valid_to"


@dataclass(frozen=True, slots=True)
class JoinRules:
    """Which of a view's rows a label may see, and which one it gets.

    A method's `alias` is the table alias of the view's rows or of the labels; keys have the same names on both sides
    (`key_alias`).
    """

    dialect: SqlBuilder

    # --- the view's rows -----------------------------------------------------------------------------------------

    def relation(self, join: AsofJoin, alias: str) -> exp.Table:
        """Return the view's relation, quoted as dbt quotes it."""
        relation = exp.to_table(join.relation, dialect=self.dialect.name)
        relation.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
        return relation

    def event_time(self, join: AsofJoin, alias: str) -> exp.Expression:
        """Return the event time of a row as naive UTC."""
        assert join.event is not None
        return self._utc(join.event, alias)

    def effective_time(self, join: AsofJoin, alias: str) -> exp.Expression:
        """Return the first moment at which a row may be seen: rule 1 in one expression (essay of the planner)."""
        earliest = self.dialect.shift(self.event_time(join, alias), join.wait)
        if join.available is None:
            return earliest
        available = self._utc(join.available, alias)
        # CASE and not GREATEST: engines differ in what GREATEST does with NULL.
        return exp.Case().when(exp.GT(this=available, expression=earliest), available.copy()).else_(earliest.copy())

    def valid_until(self, join: AsofJoin, alias: str) -> exp.Expression:
        """Return the time from which a row no longer holds, as naive UTC."""
        assert join.valid_to is not None
        return self._utc(join.valid_to, alias)

    def is_usable(self, join: AsofJoin, alias: str) -> exp.Expression:
        """Return whether a row has all its times and keys; other rows are never visible."""
        times = [column for column in (join.event, join.available) if column is not None]
        return all_of(*(not_null(col(column.name, alias)) for column in (*(key for key, _ in join.keys), *times)))

    def freshness(self, join: AsofJoin, event: exp.Expression, at: exp.Expression) -> list[exp.Expression]:
        """Return rule 2 as a condition, if the view has a TTL."""
        return [exp.GTE(this=event, expression=self.dialect.shift(at, -join.ttl))] if join.ttl is not None else []

    def view_keys(self, join: AsofJoin, alias: str) -> list[exp.Expression]:
        """Return the view's keys under the script's names."""
        return [with_alias(col(key.name, alias), key_alias(position)) for position, (key, _) in enumerate(join.keys)]

    def keys_equal(self, join: AsofJoin, left: str, right: str) -> exp.Expression:
        """Return whether keys are equal; `left` has the script's key names, `right` the view's."""
        return all_of(
            *(
                exp.EQ(this=col(key_alias(position), left), expression=col(key.name, right))
                for position, (key, _) in enumerate(join.keys)
            )
        )

    def has_label(self, join: AsofJoin, alias: str) -> exp.Expression:
        """Return whether any label has the key of a row of the view."""
        if self.dialect.has_correlated_subqueries:
            same = (exp.EQ(this=col(label, "l"), expression=col(key.name, alias)) for key, label in join.keys)
            return exp.Exists(this=exp.select(exp.Literal.number(1)).from_(table(LABELS, "l")).where(all_of(*same)))
        keys = [col(key.name, alias) for key, _ in join.keys]
        labels = exp.select(*(col(label, "l") for _, label in join.keys)).from_(table(LABELS, "l"))
        this = keys[0] if len(keys) == 1 else exp.Tuple(expressions=keys)
        return exp.In(this=this, query=labels.subquery())

    # --- ties ----------------------------------------------------------------------------------------------------

    def tie_columns(self, join: AsofJoin) -> tuple[Column, ...]:
        """Return the tie-breakers: created, available, the declared ones, then the content in declared order."""
        equal = {join.event, *(key for key, _ in join.keys)}
        return (*join.order, *(column for column in join.content if column not in join.order and column not in equal))

    def tie_order(self, join: AsofJoin, alias: str) -> list[exp.Ordered]:
        """Return rule 3's order among the rows of one event time."""
        return self.greatest_first(self.tie_columns(join), alias)

    def greatest_first(self, columns: Iterable[Column], alias: str) -> list[exp.Ordered]:
        """Return rule 3's order by these columns: the greatest wins, NULL is lowest."""
        return [
            exp.Ordered(this=expression, desc=True, nulls_first=False)
            for column in columns
            for expression in self.dialect.comparable(column, alias)
        ]

    # --- the labels ----------------------------------------------------------------------------------------------

    def labels_of(self, join: AsofJoin, alias: str) -> exp.Table:
        """Return the labels of a join: all, or with a ledger those that an export had reached."""
        return table(LABELS if join.ledger is None else self.labels_name(join), alias)

    def labels_name(self, join: AsofJoin) -> str:
        """Return the table or CTE of the labels that an export of the view had reached."""
        return f"{join.name}__labels"

    def labels_as_served(self, join: AsofJoin) -> exp.Select:
        """Return the labels that an export of the view had reached, each with the time of the snapshot then served."""
        assert join.ledger is not None
        ledger = exp.to_table(join.ledger.relation, dialect=self.dialect.name)
        columns = dict.fromkeys((ID, TIME, *(label for _, label in join.keys)))
        return labels_as_served(LABELS, columns, ledger, join.ledger.store, join.view)

    def label_keys(self, join: AsofJoin, alias: str) -> list[exp.Expression]:
        """Return the labels' keys under the script's names."""
        return [with_alias(col(label, alias), key_alias(position)) for position, (_, label) in enumerate(join.keys)]

    def is_label_known(self, join: AsofJoin, alias: str) -> exp.Expression:
        """Return whether a label has a time and all keys."""
        return all_of(not_null(col(TIME, alias)), *(not_null(col(label, alias)) for _, label in join.keys))

    def visible_until(self, join: AsofJoin, alias: str) -> exp.Column:
        """Return the time up to which a label sees the view: its own, or that of the export then served."""
        return col(TIME if join.ledger is None else SEEN, alias)

    # --- the result ----------------------------------------------------------------------------------------------

    def rows_name(self, join: AsofJoin) -> str:
        """Return the table or CTE that holds a view's winning rows."""
        return f"{join.name}__rows"

    def feature_values(self, plan: Plan, join: AsofJoin, row: str, at: exp.Expression) -> list[exp.Expression]:
        """Return the features of a row, NULL if it had ended by then (rule 4); snapshots carry the time instead."""
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

    def _utc(self, column: Column, alias: str) -> exp.Expression:
        return self.dialect.utc(col(column.name, alias), column.dtype, nanoseconds=column.nanoseconds)
