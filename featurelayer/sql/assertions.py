"""Queries that must return nothing before a plan may run: unique keys, whole microseconds, castable values."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from featurelayer.model import Column
from featurelayer.sql.ast import all_of, col, not_null, with_alias
from featurelayer.sql.casts import check_types
from featurelayer.sql.join_rules import JoinRules
from featurelayer.sql.plan import RESERVED, AsofJoin, Assertion, Labels, Plan, TypeCheck
from featurelayer.sql.spine_builder import SpineBuilder


def plan_assertions(rules: JoinRules, spine: SpineBuilder, plan: Plan) -> tuple[Assertion | TypeCheck, ...]:
    """Return the queries that must return nothing before the plan may run."""
    views: dict[tuple[object, ...], Assertion | TypeCheck] = {}
    for view in dict.fromkeys(join.view for join in plan.joins):
        # A view joined in two roles is checked once.
        joins = [join for join in plan.joins if join.view == view]
        features = {feature.source: feature for join in joins for feature in join.features}
        types = check_types(rules.dialect, replace(joins[0], features=tuple(features.values())))
        if types is not None:
            views[view,] = types
    for join in plan.joins:
        if join.event is None:
            keys = tuple(key.name for key, _ in join.keys)
            views[join.relation, keys] = _unique_keys(rules, join)
        for column in (join.event, join.available, join.valid_to):
            if column is not None and column.nanoseconds:
                views[join.relation, column.name] = _whole_microseconds(rules, join, column)
    labels = _label_assertions(spine, plan.spine) if isinstance(plan.spine, Labels) else ()
    return (*labels, *views.values())


def _label_assertions(spine: SpineBuilder, labels: Labels) -> tuple[Assertion, ...]:
    time, dialect = labels.time, spine.dialect
    if time is None or not time.nanoseconds:
        return ()
    row, value = f"{RESERVED}row", f"{RESERVED}value"
    numbered = exp.select(col(time.alias), with_alias(spine.label_number(labels), row))
    numbered = numbered.from_(spine.label_source(labels))
    select = (
        exp.select(with_alias(dialect.full_text(col(time.alias)), value), col(row))
        .from_(numbered.subquery("labels"))
        .where(dialect.finer_than_microseconds(col(time.alias)))
        .order_by(col(row))
        .limit(3)
    )
    return (
        Assertion(
            sql=dialect.sql(select),
            message=f"label column '{time.name}' has values finer than a microsecond: {{rows}}",
            fix="round them to microseconds; truncating here could move a label past an event",
            about_labels=True,
        ),
    )


def _unique_keys(rules: JoinRules, join: AsofJoin) -> Assertion:
    keys = [col(key.name, "f") for key, _ in join.keys]
    select = (
        exp.select(*keys)
        .from_(rules.relation(join, "f"))
        .where(all_of(*(not_null(key.copy()) for key in keys)))
        .group_by(*(key.copy() for key in keys))
        .having(exp.GT(this=exp.Count(this=exp.Star()), expression=exp.Literal.number(1)))
        .order_by(*(key.copy() for key in keys))
        .limit(3)
    )
    names = ", ".join(key.name for key, _ in join.keys)
    return Assertion(
        sql=rules.dialect.sql(select),
        message=f"{join.view}: a static view must have one row per key, {join.relation} has several for "
        f"{names} = {{rows}}",
        fix="make the model unique on its keys, or give it an event_time",
    )


def _whole_microseconds(rules: JoinRules, join: AsofJoin, column: Column) -> Assertion:
    dialect = rules.dialect
    finer = dialect.finer_than_microseconds(col(column.name, "f"))
    shown = with_alias(dialect.full_text(col(column.name, "f")), column.name)
    select = exp.select(shown).from_(rules.relation(join, "f")).where(finer).limit(3)
    return Assertion(
        sql=dialect.sql(select),
        message=f"{join.view}: '{column.name}' has values finer than a microsecond in {join.relation}: {{rows}}",
        fix="round it to microseconds in the model; truncating here could move an event past a label",
    )
