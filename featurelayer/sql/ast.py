"""The few pieces of SQL that every statement is made of: always quoted, never text glued to text."""

from __future__ import annotations

from typing import cast

from sqlglot import exp

from featurelayer.sql.plan import RESERVED


def col(name: str, table: str | None = None) -> exp.Column:
    """Return a quoted column."""
    return exp.column(name, table=table, quoted=True)


def table(name: str, alias: str | None = None) -> exp.Table:
    """Return a quoted table of this script."""
    return exp.Table(
        this=exp.to_identifier(name, quoted=True),
        alias=exp.TableAlias(this=exp.to_identifier(alias, quoted=True)) if alias else None,
    )


def with_alias(expression: exp.Expression, name: str) -> exp.Expression:
    """Return `expression AS "name"`; a column that already has the name is returned unchanged."""
    if isinstance(expression, exp.Column) and expression.name == name:
        return expression
    return exp.Alias(this=expression, alias=exp.to_identifier(name, quoted=True))


def parse_from_item(text: str, dialect: str) -> exp.Expression:
    """Parse a FROM item: the name of a relation, a function or a subquery."""
    select: exp.Expression = exp.maybe_parse(f"SELECT * FROM {text}", dialect=dialect)  # noqa: S608 (parsed, never run)
    return cast("exp.Expression", select.args["from_"].this)


def key_alias(position: int) -> str:
    """Return the name of a key part inside the script."""
    return f"{RESERVED}k{position}"


def not_null(expression: exp.Expression) -> exp.Is:
    """Return `expression IS NOT NULL`."""
    return exp.Is(this=expression, expression=exp.Not(this=exp.Null()))


def all_of(*conditions: exp.Expression) -> exp.Expression:
    """Join conditions with AND, flattening those that are themselves conjunctions."""
    parts = [part for condition in conditions for part in _parts(condition)]
    return cast("exp.Expression", exp.and_(*parts, copy=False))


def any_of(*conditions: exp.Expression) -> exp.Expression:
    """Join conditions with OR."""
    return cast("exp.Expression", exp.paren(exp.or_(*conditions, copy=False), copy=False))


def call(name: str, *arguments: exp.Expression) -> exp.Expression:
    """Call a function by its name."""
    return cast("exp.Expression", exp.func(name, *arguments))


def _parts(condition: exp.Expression) -> list[exp.Expression]:
    if not isinstance(condition, exp.And):
        return [condition]
    left, right = (cast("exp.Expression", side) for side in (condition.this, condition.expression))
    return [*_parts(left), *_parts(right)]
