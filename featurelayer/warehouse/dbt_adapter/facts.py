"""The facts about an engine behind a dbt adapter, and how to write them in SQL.

What the facts leave out the engine lacks, and the driver refuses it by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlglot import exp
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers

from featurelayer.warehouse.base import Estimate
from featurelayer.warehouse.tables import table_of

Rows = Callable[[str], list[tuple[Any, ...]]]
Explain = Callable[[Rows, str], Estimate]

PG_COMMENTS = (
    "SELECT c.relkind, d.description FROM pg_catalog.pg_class AS c "
    "JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
    "LEFT JOIN pg_catalog.pg_description AS d ON d.objoid = c.oid AND d.objsubid = 0 "
    "WHERE n.nspname = {schema} AND c.relname = {name}"
)
"""Where an engine with PostgreSQL's catalog tells comments (`Notes.found`)."""
INFORMATION_SCHEMA_COMMENTS = (
    "SELECT table_type, comment FROM {catalog}information_schema.tables "
    "WHERE table_schema = {schema} AND table_name = {name}"
)
"""Where an engine with comments in its information schema tells them (`Notes.found`)."""
STATEMENT_TIMEOUT = "SET statement_timeout TO {milliseconds}"
"""Wait no longer than this, for a lock as for anything else (`Transactions.patience`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transactions:
    """How several statements are kept together or not at all, by one writer of ours at a time.

    `lock` waits for the holder of `{table}`, a table that is there for nothing else, and holds it until the transaction
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
    """One engine behind dbt's adapter for it.

    Attributes:
        keeps_order: tables give their rows back as they came, and names can be anything.
        dbt_quotes: dbt writes names in quotes unless it is told not to.
        cuts_statements: the adapter cuts what it is given into statements by their text, which takes long and which a
            value can mislead, so it is not asked to.
        present: the time, in a transaction that of its start where it can be.
        schemas: the catalog of schemas and its column of names.
        transactions: how several statements are kept together; None where they can't be.
        notes: how it is told which tables are ours; None where it can't be.
        explain: what a query would read; None for the engine's own words.
    """

    keeps_order: bool = False
    dbt_quotes: bool = True
    cuts_statements: bool = False
    present: str = "CURRENT_TIMESTAMP"
    schemas: tuple[str, str] = ("information_schema.schemata", "schema_name")
    transactions: Transactions | None = None
    notes: Notes | None = None
    explain: Explain | None = None


def facts_of(engine: Any) -> AdapterFacts:
    """Return the facts of an engine's module; an unknown engine gets the defaults."""
    facts: AdapterFacts = getattr(engine, "ADAPTER", None) or AdapterFacts()
    return facts


def as_read(relation: str, kind: str) -> exp.Table:
    """Parse a relation's name as the engine does: unquoted parts take the engine's case."""
    return normalize_identifiers(table_of(relation, kind), dialect=kind)


def schema_of(connection: Mapping[str, Any], facts: AdapterFacts) -> str:
    """Return the schema that dbt builds in, in the engine's case."""
    schema = str(connection.get("schema") or "main")
    if facts.dbt_quotes:
        return schema
    return normalize_identifiers(exp.to_identifier(schema), dialect=str(connection.get("type", ""))).name
