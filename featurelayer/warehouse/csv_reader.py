"""Read CSV files by one set of rules, whatever the engine: DuckDB's reader, with nothing left to a guess."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

from sqlglot import exp

# `""` is the empty string and an empty field is NULL, as in the files that DuckDB and featurelayer write.
_OPTIONS = """header = true, skip = 0, quote = '"', escape = '"', comment = '', allow_quoted_nulls = false, \
hive_partitioning = false"""
_DELIMITERS = ",;\t|"


def read_csv_call(path: Path, *, text: Collection[str] | None = None) -> str:
    """Return the call of DuckDB's `read_csv` as a FROM item.

    Every column is text, or only those in `text`: the types of the others are then guessed.
    """
    types = "all_varchar = true"
    if text is not None:
        named = ", ".join(f"{_literal(name)}: 'VARCHAR'" for name in text)
        types = f"types = {{{named}}}" if named else "auto_detect = true"
    return f"read_csv({_literal(str(path))}, delim = {_literal(_find_delimiter(path))}, {_OPTIONS}, {types})"


def _find_delimiter(path: Path) -> str:
    """Find the delimiter in the header: a guess from the rows may pick a character inside a value."""
    return max(_DELIMITERS, key=lambda mark: _count_fields(path, mark))


def _count_fields(path: Path, delimiter: str) -> int:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            return len(next(csv.reader(file, delimiter=delimiter), ()))
        except csv.Error:
            return 0


def _literal(text: str) -> str:
    return exp.Literal.string(text).sql(dialect="duckdb")
