"""Canonical names of relations, as dbt writes them and as SQL reads them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

if TYPE_CHECKING:
    from featurelayer.lineage.scope import Value

MACROS = "fl_"
"""What the names begin with that our macros give to CTEs, columns and windows of theirs."""
_WINDOW = "last_"
_PLAIN = re.compile(r'[\w\-$."`\[\] ]+')
_QUOTES = str.maketrans("", "", '"`[]')


def normalize_relation_name(text: str, dialect: str) -> str:
    """Return the canonical `relation_name`: unquoted parts in lower case, or a function as written."""
    if not text or _PLAIN.fullmatch(text):
        return text.translate(_QUOTES).casefold()
    try:
        tree = sqlglot.parse_one(f"SELECT * FROM {text}", read=dialect)  # noqa: S608 -- parsed, never run
    except (SqlglotError, RecursionError):
        return text.casefold()
    table = tree.find(exp.Table)
    return normalize_table_name(table, dialect) if table is not None else text.casefold()


def normalize_table_name(table: exp.Table, dialect: str) -> str:
    """Return the canonical name of a table in a FROM."""
    if isinstance(table.this, exp.Func):
        return table.this.sql(dialect)
    return ".".join(part.name for part in table.parts).translate(_QUOTES).casefold()


def to_readable(node: exp.Expression, resolve: Callable[[exp.Column], Value | None]) -> exp.Expression:
    """Replace the names that our macros generate by their definitions."""
    return node.copy().transform(lambda each: _to_readable(each, resolve), copy=False)


def _to_readable(node: exp.Expression, resolve: Callable[[exp.Column], Value | None]) -> exp.Expression:
    if isinstance(node, exp.Column) and node.name.startswith(MACROS):
        value = resolve(node)
        return exp.Var(this=_stands_for(value, node.name) if value else node.name)
    alias = node.args.get("alias") if isinstance(node, exp.Window) else None
    if isinstance(alias, exp.Identifier) and alias.name.startswith(MACROS):
        node.set("alias", exp.to_identifier(_WINDOW + alias.name.removeprefix(MACROS)))
    return node


def _stands_for(value: Value, name: str) -> str:
    """Return the last step with that name, or the value's only source column."""
    sql = next((step.sql for step in reversed(value.steps) if step.name == name), "")
    if sql:
        return sql
    return next(iter(value.sources)).column if len(value.sources) == 1 else name
