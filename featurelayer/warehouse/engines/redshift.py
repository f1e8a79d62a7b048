"""Redshift, through dbt's adapter.

Not run by us: written after its documentation, and `explain` tried on answers in the form that this shows.
"""

from __future__ import annotations

import re

from featurelayer.warehouse.base import OWN_PREFIX, Estimate, Scan, total_bytes
from featurelayer.warehouse.dbt_adapter.facts import (
    PG_COMMENTS,
    STATEMENT_TIMEOUT,
    AdapterFacts,
    Notes,
    Rows,
    Transactions,
)

_XN_SCAN = re.compile(
    r"XN (?:Seq Scan on|S3 Query Scan) (?P<name>\S+)(?: \S+)?\s+\(cost=\S+ rows=(?P<rows>\d+) width=(?P<width>\d+)\)"
)


def explain(rows: Rows, query: str) -> Estimate:
    """Return what Redshift would read: rows and the width of those columns that it needs.

    EXPLAIN is text, a line per node (docs.aws.amazon.com/redshift/latest/dg/r_EXPLAIN.html).
    """
    lines = "\n".join(str(line) for (line,) in rows(f"EXPLAIN {query}"))
    scans = [
        Scan(
            relation=scan["name"],
            kept=int(scan["rows"]),
            bytes=int(scan["rows"]) * int(scan["width"]),
        )
        for scan in _XN_SCAN.finditer(lines)
        if OWN_PREFIX not in scan["name"]
    ]
    how = "EXPLAIN; rows that its filters are expected to leave, bytes those of the columns that it needs of them"
    return Estimate(scans=tuple(scans), bytes=total_bytes(scans), how=how, text="" if scans else lines)


ADAPTER = AdapterFacts(
    cuts_statements=True,
    # CURRENT_TIMESTAMP is a function of the leader node; SYSDATE is the transaction's start, in the session's zone
    # (docs.aws.amazon.com/redshift/latest/dg/r_SYSDATE.html).
    present="SYSDATE",
    schemas=("pg_catalog.pg_namespace", "nspname"),  # information_schema lists only objects that the user owns
    # LOCK is held until the transaction ends (docs.aws.amazon.com/redshift/latest/dg/r_LOCK.html).
    transactions=Transactions(lock="LOCK TABLE {table}", patience=STATEMENT_TIMEOUT),
    notes=Notes(found=PG_COMMENTS, tables=("r",)),
    explain=explain,
)
