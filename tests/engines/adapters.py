"""DuckDB and PostgreSQL as engines behind dbt's own adapters, which stand for those that can't run here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from featurelayer.warehouse import engines
from featurelayer.warehouse.dbt_adapter.facts import (
    PG_COMMENTS,
    STATEMENT_TIMEOUT,
    AdapterFacts,
    Notes,
    Transactions,
)
from featurelayer.warehouse.engines.duckdb.scans import estimate as explain_duckdb
from featurelayer.warehouse.engines.postgres.scans import estimate as explain_postgres

FACTS = {
    "duckdb": AdapterFacts(
        keeps_order=True,
        # A database file has one writer.
        transactions=Transactions(begin="BEGIN TRANSACTION"),
        notes=Notes(
            found="SELECT table_type, TABLE_COMMENT FROM {catalog}information_schema.tables "
            "WHERE table_schema = {schema} AND table_name = {name}",
            tables=("BASE TABLE",),
        ),
        explain=explain_duckdb,
    ),
    "postgres": AdapterFacts(
        schemas=("pg_catalog.pg_namespace", "nspname"),
        transactions=Transactions(
            begin="BEGIN ISOLATION LEVEL REPEATABLE READ", lock="LOCK TABLE {table}", patience=STATEMENT_TIMEOUT
        ),
        notes=Notes(found=PG_COMMENTS, tables=("r",)),
        explain=explain_postgres,
    ),
}


def use_adapters(monkeypatch: pytest.MonkeyPatch, **facts: AdapterFacts) -> None:
    """Have projects on DuckDB and PostgreSQL reached through dbt's adapters, as engines with these facts."""
    known: dict[str, AdapterFacts] = {**FACTS, **facts}
    real = engines.load_engine

    def load(kind: str) -> Any:
        return SimpleNamespace(ADAPTER=known[kind]) if kind in known else real(kind)

    monkeypatch.setattr("featurelayer.warehouse.load_engine", load)
