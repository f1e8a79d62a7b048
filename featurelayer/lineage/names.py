"""One spelling for the relations of a project, as dbt writes them and as SQL reads them."""

from __future__ import annotations

import re

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

_PLAIN = re.compile(r'[\w\-$."`\[\] ]+')
_QUOTES = str.maketrans("", "", '"`[]')


def name_of_relation(text: str, dialect: str) -> str:
    """Return the spelling of a `relation_name`: parts without quotes in lower case, or a function as it is written."""
    if not text or _PLAIN.fullmatch(text):
        return text.translate(_QUOTES).casefold()
    try:
        tree = sqlglot.parse_one(f"SELECT * FROM {text}", read=dialect)  # noqa: S608 -- parsed, never run
    except (SqlglotError, RecursionError):
        return text.casefold()
    table = tree.find(exp.Table)
    return name_of_table(table, dialect) if table is not None else text.casefold()


def name_of_table(table: exp.Table, dialect: str) -> str:
    """Return the spelling of a table in a FROM."""
    if isinstance(table.this, exp.Func):
        return table.this.sql(dialect)
    return ".".join(part.name for part in table.parts).translate(_QUOTES).casefold()
