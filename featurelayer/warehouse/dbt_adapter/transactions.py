"""Writing through a dbt adapter so that it is kept whole or not at all, by one writer of ours at a time.

A second session holds the lock, not the one that writes: so a writer's snapshot begins after it has the lock, and an
engine in which CREATE TABLE commits what is open does not lose it. On such an engine every statement is kept by itself.
That is enough for what is written under the lock: an export's intent is safe to be found in part, since the keys of a
run that never committed are written again, and all that comes after the store was written can be repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from datetime import timedelta

from sqlglot import exp

from featurelayer.errors import WarehouseError
from featurelayer.warehouse.dbt_adapter.facts import Transactions
from featurelayer.warehouse.dbt_adapter.session import AdapterSession

LOCK = "featurelayer_lock"
"""The table, beside those of exports, that there is for nothing but to be locked."""
COLUMN = "writers"


@contextmanager
def atomic(session: AdapterSession, how: Transactions) -> Iterator[None]:
    """Commit everything written inside the block, or roll it back if an error leaves it."""
    session.execute(how.begin)
    try:
        yield
    except BaseException:
        with suppress(WarehouseError):
            session.execute("ROLLBACK")
        raise
    session.execute("COMMIT")


@contextmanager
def one_writer(session: AdapterSession, how: Transactions, wait: timedelta) -> Iterator[None]:
    """Run as `atomic` as the engine allows, as the only featurelayer writer to the session's schema.

    Raises:
        WarehouseError: another writer held the lock for too long, or the lock was lost meanwhile.
    """
    with (
        _hold_lock(session, how, wait) if how.lock else nullcontext(_check_nothing) as check,
        atomic(session, how) if how.spans_ddl else nullcontext(),
    ):
        yield
        check()


def _check_nothing() -> None:
    """Do nothing: an engine with a single writer has no lock to lose."""


@contextmanager
def _hold_lock(session: AdapterSession, how: Transactions, wait: timedelta) -> Iterator[Callable[[], None]]:
    """Hold the schema's lock; yields a function that raises if the lock was lost."""
    table = exp.Table(this=exp.to_identifier(LOCK, quoted=True), db=exp.to_identifier(session.schema, quoted=True)).sql(
        dialect=session.sql_name
    )
    seconds = max(math.ceil(wait.total_seconds()), 1)
    with closing(session.open_another()) as guard:
        # Set the timeout first: where the lock blocks readers too, even the search for the table may wait.
        guard.execute(how.patience.format(seconds=seconds, milliseconds=seconds * 1000))
        try:
            _make(guard, how, table)
            guard.execute(how.begin)
            guard.execute(how.lock.format(table=table))
        except WarehouseError as error:
            raise WarehouseError(
                f"another command is writing exports to schema {session.schema}, or its "
                f"lock can't be had: {error.summary}",
                fix="wait until it has finished, or raise --lock-timeout",
                sql=error.sql,
            ) from error
        yield lambda: _check_held(guard, how)
        with suppress(WarehouseError):  # the end of the session releases it too
            guard.execute("ROLLBACK")


def _check_held(guard: AdapterSession, how: Transactions) -> None:
    try:
        held = guard.rows(how.held) not in ([], [(None,)])
    except WarehouseError:
        held = False
    if not held:
        raise WarehouseError(
            f"{guard.dialect} no longer holds the lock that keeps other exports out of schema "
            f"{guard.schema}, so what they wrote meanwhile is not known; nothing was sent",
            fix="run it again",
        )


def _make(guard: AdapterSession, how: Transactions, table: str) -> None:
    """Create the lock's table, with a row if rows are locked; two rows do no harm."""
    column = f"{guard.quote_name(COLUMN)} {exp.DataType.build('BIGINT').sql(dialect=guard.sql_name)}"
    try:
        guard.execute(f"CREATE TABLE IF NOT EXISTS {table} ({column})")
    except WarehouseError as error:  # another process created it at the same time, or we lack the right to create it
        try:
            guard.columns_of(table)
        except WarehouseError:
            raise error from None
    if how.locks_rows and guard.rows(f"SELECT count(*) FROM {table}") == [(0,)]:  # noqa: S608 (quoted by sqlglot)
        guard.execute(f"INSERT INTO {table} VALUES (0)")  # noqa: S608 (quoted by sqlglot)
