"""Ctrl-C reaches a session of PostgreSQL wherever it is: in a query, between two, in rows that leave or enter."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pyarrow as pa
import pytest

from featurelayer.errors import WarehouseError
from featurelayer.warehouse.engines.postgres.warehouse import PostgresWarehouse
from tests.postgres_projects import session
from tests.servers.postgres import Server

pytestmark = pytest.mark.slow

# Rows that come at once and never end.
ENDLESS = "SELECT a FROM generate_series(1, 30000) AS a, generate_series(1, 30000) AS endless"
PROMPT = 50.0  # seconds; what is interrupted would take a minute or more


@pytest.fixture
def warehouse(postgres_server: Server) -> Iterator[PostgresWarehouse]:
    with closing(session(postgres_server, "public")) as opened:
        yield opened


@contextmanager
def interrupted(after: float) -> Iterator[None]:
    """Press Ctrl-C after so many seconds, once, and see to it that it has been pressed when this ends."""
    is_awaited = threading.Event()

    def press_later() -> None:
        is_awaited.wait()
        time.sleep(after)
        os.kill(os.getpid(), signal.SIGINT)

    press = threading.Thread(target=press_later)
    began = time.monotonic()
    press.start()
    try:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 (the caller says what is interrupted)
            is_awaited.set()  # not before: on a busy machine it would be pressed while the thread is started
            yield
    finally:
        press.join()
    assert time.monotonic() - began < PROMPT


def until_stopped(do: Callable[[], object]) -> None:
    until = time.monotonic() + PROMPT
    while time.monotonic() < until:
        do()


def test_one_is_never_lost_between_short_queries(warehouse: PostgresWarehouse) -> None:
    moments = random.Random(1)
    for _ in range(40):
        with interrupted(moments.uniform(0.001, 0.02)):
            until_stopped(lambda: warehouse.result_schema("SELECT 1 AS x"))
    assert warehouse.rows("SELECT 1") == [(1,)], "the session is of use afterwards"


@pytest.mark.parametrize(
    "sql", ["SELECT pg_sleep(60)::text", "CREATE TEMPORARY TABLE slow AS SELECT pg_sleep(60)::text"]
)
def test_a_long_query_ends(warehouse: PostgresWarehouse, sql: str) -> None:
    with interrupted(0.2):
        warehouse.execute(sql) if sql.startswith("CREATE") else warehouse.rows(sql)
    assert warehouse.rows("SELECT 1") == [(1,)]


def test_rows_that_take_long_to_come(warehouse: PostgresWarehouse) -> None:
    """The first of them is a minute away, as where all are sorted before one leaves."""
    with interrupted(0.5):
        warehouse.arrow("SELECT pg_sleep(60)::text AS x").read_all()
    assert warehouse.rows("SELECT 1") == [(1,)]


def test_rows_on_their_way(warehouse: PostgresWarehouse) -> None:
    with interrupted(0.5):
        for _ in warehouse.arrow(ENDLESS):
            pass
    assert warehouse.rows("SELECT 1") == [(1,)]


def test_labels_that_are_loaded(warehouse: PostgresWarehouse) -> None:
    row = pa.table({"x": pa.array([1], pa.int64())})
    labels = pa.concat_tables([row] * 300_000)  # a batch each
    with interrupted(0.5):
        until_stopped(lambda: warehouse.attach(labels))
    assert warehouse.rows("SELECT 1") == [(1,)]


def test_a_query_that_somebody_else_cancels_is_a_failure(warehouse: PostgresWarehouse, postgres_server: Server) -> None:
    [(process,)] = warehouse.rows("SELECT pg_backend_pid()")
    with closing(session(postgres_server, "public")) as other:
        cancel = threading.Timer(0.3, lambda: other.rows(f"SELECT pg_cancel_backend({process})"))
        cancel.start()
        with pytest.raises(WarehouseError, match="canceling statement due to user request"):
            warehouse.rows("SELECT pg_sleep(60)::text")
        cancel.join()


def test_the_limit_of_a_role_is_a_failure(warehouse: PostgresWarehouse) -> None:
    warehouse.execute("SET statement_timeout = 100")
    with pytest.raises(WarehouseError, match="canceling statement due to statement timeout"):
        warehouse.rows("SELECT pg_sleep(60)::text")


@pytest.mark.parametrize("read", [0, 1])
def test_rows_that_nobody_reads_to_the_end_do_not_outlive_the_session(
    warehouse: PostgresWarehouse, postgres_server: Server, read: int
) -> None:
    reader = warehouse.arrow(ENDLESS)
    for _ in range(read):
        reader.read_next_batch()
    warehouse.close()
    del reader  # a complaint in here fails the test, as every warning does
    with closing(session(postgres_server, "public")) as other:
        until = time.monotonic() + PROMPT
        while other.rows("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%endless%' AND pid <> pg_backend_pid()"):
            assert time.monotonic() < until
            time.sleep(0.1)
