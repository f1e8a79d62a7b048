"""Training sets as tables, through a dbt adapter: written to a temporary table, checked, then moved into place.

Most of these engines keep no order in a table. So the rows are numbered in the order of the query,
compared with the labels by that number, and written without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp

from featurelayer.errors import WarehouseError
from featurelayer.warehouse.base import MARK
from featurelayer.warehouse.dbt_adapter.facts import Notes, Transactions, as_read
from featurelayer.warehouse.dbt_adapter.session import AdapterSession
from featurelayer.warehouse.dbt_adapter.transactions import atomic
from featurelayer.warehouse.tables import check_columns, check_rows, foreign_table_error

if TYPE_CHECKING:
    import pyarrow as pa

_PLACE = "__fl_place"
_WRITTEN = "__fl_written"


def note_of(session: AdapterSession, notes: Notes, name: str) -> tuple[str, int] | None:
    """Return the note and the row count of one of our own tables; None if there is no such table.

    Raises:
        WarehouseError: the table is not a training set that featurelayer wrote.
    """
    table = _place(session, name)
    catalog = f"{table.args['catalog'].sql(dialect=session.sql_name, identify=True)}." if table.catalog else ""
    matches = session.rows(
        notes.found.format(catalog=catalog, schema=session.literal(table.db), name=session.literal(table.name))
    )
    if not matches:
        return None
    [(kind, comment)] = matches
    if kind not in notes.tables or not (comment or "").startswith(MARK):
        raise foreign_table_error(name)
    return comment.removeprefix(MARK).strip(), _count(session, _sql(session, table))


def write(
    session: AdapterSession,
    notes: Notes,
    transactions: Transactions | None,
    query: str,
    name: str,
    *,
    rows: int,
    labels: Sequence[str],
    same: Callable[[pa.RecordBatchReader], None],
    note: str,
) -> None:
    """Create or replace one of our own tables from a query, as `Warehouse.write_table` specifies."""
    note_of(session, notes, name)  # raises if featurelayer did not write it
    table = _sql(session, _place(session, name))
    comment = f"COMMENT ON TABLE {table} IS {session.literal(f'{MARK} {note}'.rstrip())}"
    columns = _write_temporary(session, query, name, rows=rows, labels=labels, same=same)
    try:
        definition = f"TABLE {table} AS\n{_rows(session, columns)}"
        if notes.replaces:
            session.execute(f"CREATE OR REPLACE {definition}")
            session.execute(comment)
            return
        assert transactions is not None, "what can't replace a table has transactions"
        with atomic(session, transactions):
            for statement in (f"DROP TABLE IF EXISTS {table}", f"CREATE {definition}", comment):
                session.execute(statement)
            check_rows(name, expected=rows, came=_count(session, table))
    finally:
        session.drop([_WRITTEN])


def append(
    session: AdapterSession,
    query: str,
    name: str,
    *,
    rows: int,
    labels: Sequence[str],
    same: Callable[[pa.RecordBatchReader], None],
) -> None:
    """Add a query's rows to one of our own tables by one INSERT, as `Warehouse.append_table` specifies."""
    table = _sql(session, _place(session, name))
    columns = _write_temporary(session, query, name, rows=rows, labels=labels, same=same)
    try:
        new = f"({_rows(session, columns, ordered=False)}) AS n"
        there, come = (
            [(column.name, str(column.dtype)) for column in session.columns_of(source)] for source in (table, new)
        )
        check_columns(name, there, come)
        session.execute(f"INSERT INTO {table}\n{_rows(session, columns)}")
    finally:
        session.drop([_WRITTEN])


def _write_temporary(
    session: AdapterSession,
    query: str,
    name: str,
    *,
    rows: int,
    labels: Sequence[str],
    same: Callable[[pa.RecordBatchReader], None],
) -> list[str]:
    """Write a query's rows, numbered, to a temporary table, check them, and return their columns."""
    columns = session.names_of(query)
    temporary = session.quote_name(_WRITTEN)
    session.execute(f"CREATE TEMPORARY TABLE {temporary} AS\n{_number_rows(query, session.sql_name)}")
    try:
        check_rows(name, expected=rows, came=_count(session, temporary))
        with session.arrow(_rows(session, labels)) as written:
            same(written)
    except BaseException:
        session.drop([_WRITTEN])
        raise
    return columns


def _number_rows(query: str, dialect: str) -> str:
    """Add the number that orders a build's rows to its query as a column."""
    tree = sqlglot.parse_one(query, dialect=dialect)
    assert isinstance(tree, exp.Select), "a build's query is a SELECT"
    [ordered] = tree.args["order"].expressions
    place = exp.Alias(this=ordered.this.copy(), alias=exp.to_identifier(_PLACE, quoted=True))
    return tree.select(place, copy=False).sql(dialect=dialect, identify=True)


def _rows(session: AdapterSession, columns: Sequence[str], *, ordered: bool = True) -> str:
    """Select the rows of the temporary table."""
    rows = exp.select(*(exp.column(exp.to_identifier(column, quoted=True)) for column in columns))
    rows = rows.from_(exp.to_table(_WRITTEN, quoted=True))
    if ordered:
        rows = rows.order_by(exp.column(exp.to_identifier(_PLACE, quoted=True)))
    return rows.sql(dialect=session.sql_name, identify=True)


def _count(session: AdapterSession, table: str) -> int:
    return int(session.rows(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 (quoted by sqlglot)


def _place(session: AdapterSession, name: str) -> exp.Table:
    """Qualify a table with its schema, by default the target's; a bare name could mean a temporary table."""
    table = as_read(name, session.sql_name)
    if not table.db:
        table.set("db", exp.to_identifier(session.schema, quoted=True))
    return table


def _sql(session: AdapterSession, table: exp.Table) -> str:
    return table.sql(dialect=session.sql_name, identify=True)


def table_refusal(name: str, dialect: str) -> WarehouseError:
    """Return the error for an engine that can't tell which tables featurelayer wrote."""
    return WarehouseError(
        f"{name} can't be written through dbt's adapter for {dialect}: a table is only replaced "
        "where it can be told whose it is, by comments",
        fix="write a file, or make the set a dbt model: `featurelayer dbt-model write`",
    )
