"""Snowflake, through dbt's adapter.

Not run by us: written after its documentation, and `explain` tried on answers in the form that this shows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from featurelayer.warehouse.base import OWN_PREFIX, Estimate, Scan
from featurelayer.warehouse.dbt_adapter.facts import (
    INFORMATION_SCHEMA_COMMENTS,
    AdapterFacts,
    Notes,
    Rows,
    Transactions,
)


def explain(rows: Rows, query: str) -> Estimate:
    """Return what Snowflake would read, in bytes of the micro-partitions that are left after pruning.

    EXPLAIN compiles and does not run; no warehouse need be up (docs.snowflake.com/en/sql-reference/sql/explain).
    """
    ((answer,),) = rows(f"EXPLAIN USING JSON {query}")
    plan = json.loads(answer) if isinstance(answer, str) else answer
    scans = [
        Scan(
            relation=_with_partitions(str(node["objects"][0]), node),
            columns=tuple(node.get("expressions") or ()),
            bytes=node.get("bytesAssigned"),
        )
        for step in plan.get("Operations", ())
        for node in step
        if node.get("operation") == "TableScan" and node.get("objects") and OWN_PREFIX not in node["objects"][0]
    ]
    return Estimate(
        scans=tuple(scans),
        bytes=plan.get("GlobalStats", {}).get("bytesAssigned"),
        how="EXPLAIN; bytes are those of the micro-partitions that pruning leaves, with all of their columns",
    )


def _with_partitions(name: str, node: Mapping[str, Any]) -> str:
    if "partitionsAssigned" not in node or "partitionsTotal" not in node:
        return name
    return f"{name}, {node['partitionsAssigned']:,} of {node['partitionsTotal']:,} partitions"


ADAPTER = AdapterFacts(
    dbt_quotes=False,
    cuts_statements=True,
    # DDL commits what is open, and CREATE TABLE AS is DDL; an UPDATE holds its table until its transaction ends; one
    # that is idle for five minutes while others wait is rolled back (docs.snowflake.com/en/sql-reference/transactions).
    transactions=Transactions(
        begin="BEGIN TRANSACTION",
        lock='UPDATE {table} SET "writers" = "writers" + 1',
        patience="ALTER SESSION SET LOCK_TIMEOUT = {seconds}",
        held="SELECT CURRENT_TRANSACTION()",
        locks_rows=True,
        spans_ddl=False,
    ),
    notes=Notes(found=INFORMATION_SCHEMA_COMMENTS, tables=("BASE TABLE",), replaces=True),
    explain=explain,
)
