"""What each engine behind a dbt adapter has, and how it is said: one entry per adapter type.

What an entry leaves out the engine lacks, and the driver refuses it by name. Where the engine can't run here, the entry
was written after its documentation, which is named where it decided something.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlglot import exp
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers

from featurelayer.warehouse._adapter_scans import Explain, databricks, snowflake, trino, xn_plan
from featurelayer.warehouse._duckdb_scans import estimate as duckdb
from featurelayer.warehouse._postgres_scans import estimate as postgres
from featurelayer.warehouse.tables import table_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Transactions:
    """How several statements are kept together or not at all, by one writer of ours at a time.

    `lock` waits for whoever holds `{table}`, a table that is there for nothing else, and holds it until the transaction
    ends, by its rows if it `locks_rows`; `patience` says for how many `{milliseconds}` or `{seconds}` at most; `held`
    returns NULL once the lock is lost otherwise than with its session. Without a `lock` the engine itself has one
    writer. Where making a table commits what is open, nothing `spans_ddl`: then every statement is kept by itself.
    """

    begin: str = "BEGIN"
    lock: str = ""
    patience: str = ""
    held: str = "SELECT 1"
    locks_rows: bool = False
    spans_ddl: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """Where an engine tells what kind of thing a name is and which comment it has.

    `found` returns both for `{schema}` and `{name}` as literals, `{catalog}` being a prefix, or no row; `tables` are
    the kinds that are tables. `replaces`: CREATE OR REPLACE is one step that a reader sees whole or not at all;
    elsewhere a transaction keeps DROP and CREATE together.
    """

    found: str
    tables: tuple[str, ...]
    replaces: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFacts:
    """One engine. `session` is what a session must say, whatever the profile says; dialects know it too, for scripts.

    `keeps_order`: tables give their rows back as they came, and names can be anything. `dbt_quotes`: dbt writes names
    in quotes unless it is told not to. `cuts_statements`: its adapter cuts what it is given into statements by their
    text, which takes long and which a value can mislead, so it is not asked to. `present` is the time, in a transaction
    that of its start where it can be.
    """

    session: tuple[str, ...] = ()
    keeps_order: bool = False
    dbt_quotes: bool = True
    cuts_statements: bool = False
    present: str = "CURRENT_TIMESTAMP"
    transactions: Transactions | None = None
    notes: Notes | None = None
    explain: Explain | None = None


_CATALOG = (
    "SELECT c.relkind, d.description FROM pg_catalog.pg_class AS c "
    "JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
    "LEFT JOIN pg_catalog.pg_description AS d ON d.objoid = c.oid AND d.objsubid = 0 "
    "WHERE n.nspname = {schema} AND c.relname = {name}"
)
_SCHEMA = "SELECT table_type, {comment} FROM {{catalog}}information_schema.tables WHERE "
_NAMED = "table_schema = {schema} AND table_name = {name}"
# A statement waits no longer than this, for a lock as for anything else.
_PATIENCE = "SET statement_timeout TO {milliseconds}"

ENGINES: Mapping[str, AdapterFacts] = {
    "clickhouse": AdapterFacts(
        session=("SET session_timezone = 'UTC'", "SET join_use_nulls = 1", "SET prefer_column_name_to_alias = 1"),
    ),
    "databricks": AdapterFacts(
        session=("SET TIME ZONE 'UTC'", "SET ANSI_MODE = true"),
        # Unity Catalog has it alone (docs.databricks.com/sql/language-manual/sql-ref-information-schema).
        notes=Notes(found=_SCHEMA.format(comment="comment") + _NAMED, tables=("MANAGED", "EXTERNAL"), replaces=True),
        explain=databricks,
    ),
    "duckdb": AdapterFacts(
        session=("SET TimeZone = 'UTC'", "SET preserve_insertion_order = true"),
        keeps_order=True,
        # A database file has one writer.
        transactions=Transactions(begin="BEGIN TRANSACTION"),
        notes=Notes(found=_SCHEMA.format(comment="TABLE_COMMENT") + _NAMED, tables=("BASE TABLE",)),
        explain=duckdb,
    ),
    "postgres": AdapterFacts(
        session=("SET TimeZone = 'UTC'",),
        transactions=Transactions(
            begin="BEGIN ISOLATION LEVEL REPEATABLE READ", lock="LOCK TABLE {table}", patience=_PATIENCE
        ),
        notes=Notes(found=_CATALOG, tables=("r",)),
        explain=postgres,
    ),
    "redshift": AdapterFacts(
        session=("SET timezone TO 'UTC'",),
        cuts_statements=True,
        # CURRENT_TIMESTAMP is a function of the leader node; SYSDATE is the transaction's start, in the session's zone
        # (docs.aws.amazon.com/redshift/latest/dg/r_SYSDATE.html).
        present="SYSDATE",
        # LOCK is held until the transaction ends (docs.aws.amazon.com/redshift/latest/dg/r_LOCK.html).
        transactions=Transactions(lock="LOCK TABLE {table}", patience=_PATIENCE),
        notes=Notes(found=_CATALOG, tables=("r",)),
        explain=xn_plan,
    ),
    "snowflake": AdapterFacts(
        session=("ALTER SESSION SET TIMEZONE = 'UTC'",),
        dbt_quotes=False,
        cuts_statements=True,
        # DDL commits what is open, and CREATE TABLE AS is DDL; an UPDATE holds its table until its transaction ends;
        # one that is idle for five minutes while others wait is rolled back (docs.snowflake.com/en/sql-reference/
        # transactions).
        transactions=Transactions(
            begin="BEGIN TRANSACTION",
            lock='UPDATE {table} SET "writers" = "writers" + 1',
            patience="ALTER SESSION SET LOCK_TIMEOUT = {seconds}",
            held="SELECT CURRENT_TRANSACTION()",
            locks_rows=True,
            spans_ddl=False,
        ),
        notes=Notes(found=_SCHEMA.format(comment="comment") + _NAMED, tables=("BASE TABLE",), replaces=True),
        explain=snowflake,
    ),
    "spark": AdapterFacts(session=("SET TIME ZONE 'UTC'", "SET spark.sql.ansi.enabled = true")),
    "trino": AdapterFacts(session=("SET TIME ZONE 'UTC'",), explain=trino),
}


def adapter_facts(kind: str) -> AdapterFacts:
    """Return what is known of an adapter type; of others nothing but that it takes SQL."""
    return ENGINES.get(kind, AdapterFacts())


def as_read(relation: str, kind: str) -> exp.Table:
    """Return a relation as the engine reads its name: what is not quoted has the engine's own case."""
    return normalize_identifiers(table_of(relation, kind), dialect=kind)


def schema_of(connection: Mapping[str, Any]) -> str:
    """Return the schema that dbt builds in, as the engine has its name."""
    kind = str(connection.get("type", ""))
    said = str(connection.get("schema") or "main")
    if adapter_facts(kind).dbt_quotes:
        return said
    return normalize_identifiers(exp.to_identifier(said), dialect=kind).name
