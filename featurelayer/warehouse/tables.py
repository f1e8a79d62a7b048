"""Shared by the drivers: read dbt's names of relations, and check a table that is written."""

from __future__ import annotations

from sqlglot import exp
from sqlglot.errors import SqlglotError

from featurelayer.errors import WarehouseError


def table_of(relation: str, dialect: str) -> exp.Table:
    """Parse a relation's name; text that can't be parsed as a dotted name is one name."""
    try:
        table = exp.to_table(relation, dialect=dialect)
    except SqlglotError:
        table = None
    if table is None or not isinstance(table.this, exp.Identifier):
        return exp.Table(this=exp.to_identifier(relation, quoted=True))
    return table


def foreign_table_error(name: str) -> WarehouseError:
    """Return the error for a table that featurelayer did not write and won't replace."""
    return WarehouseError(
        f"{name} exists and is not a training set that featurelayer wrote", fix="choose another name, or drop it first"
    )


def check_rows(name: str, *, expected: int, came: int) -> None:
    """Raise unless a table received the expected number of rows.

    Raises:
        WarehouseError: the number differs.
    """
    if came != expected:
        raise WarehouseError(f"{expected:,} rows were expected in {name} and {came:,} came; nothing was kept")


def check_columns(name: str, there: list[tuple[str, str]], new: list[tuple[str, str]]) -> None:
    """Raise unless new rows have the names and types of the columns of the table they are appended to.

    Raises:
        WarehouseError: a column has another name, type or place.
    """
    if there != new:
        are, were = (", ".join(f"{column} {kind}" for column, kind in columns) for columns in (new, there))
        raise WarehouseError(
            f"{name} has other columns than the new rows: {were}; they have {are}",
            fix="build the table again without --append",
        )
