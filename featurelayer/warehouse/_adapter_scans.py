"""What the engines behind dbt's adapters say that a query will read, out of their EXPLAIN.

None of these has ever run here: they were written after the vendors' documentation, and tried on answers in the form
that it shows.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from featurelayer.warehouse._spark_scans import scans_of
from featurelayer.warehouse.base import Estimate, Scan

Rows = Callable[[str], list[tuple[Any, ...]]]
Explain = Callable[[Rows, str], Estimate]

# The build's own temporary tables.
_OURS = "__fl_"
_XN_SCAN = re.compile(
    r"XN (?:Seq Scan on|S3 Query Scan) (?P<name>\S+)(?: \S+)?\s+\(cost=\S+ rows=(?P<rows>\d+) width=(?P<width>\d+)\)"
)


def snowflake(rows: Rows, query: str) -> Estimate:
    """Return what Snowflake would read, in bytes of the micro-partitions that are left after pruning.

    EXPLAIN compiles and does not run; no warehouse need be up (docs.snowflake.com/en/sql-reference/sql/explain).
    """
    ((said,),) = rows(f"EXPLAIN USING JSON {query}")
    plan = json.loads(said) if isinstance(said, str) else said
    found = [
        Scan(
            relation=_with_partitions(str(node["objects"][0]), node),
            columns=tuple(node.get("expressions") or ()),
            bytes=node.get("bytesAssigned"),
        )
        for step in plan.get("Operations", ())
        for node in step
        if node.get("operation") == "TableScan" and node.get("objects") and _OURS not in node["objects"][0]
    ]
    return Estimate(
        scans=tuple(found),
        bytes=plan.get("GlobalStats", {}).get("bytesAssigned"),
        how="EXPLAIN; bytes are those of the micro-partitions that pruning leaves, with all of their columns",
    )


def _with_partitions(name: str, node: Mapping[str, Any]) -> str:
    if "partitionsAssigned" not in node or "partitionsTotal" not in node:
        return name
    return f"{name}, {node['partitionsAssigned']:,} of {node['partitionsTotal']:,} partitions"


def xn_plan(rows: Rows, query: str) -> Estimate:
    """Return what Redshift would read: rows and the width of those columns that it needs.

    EXPLAIN is text, a line per node (docs.aws.amazon.com/redshift/latest/dg/r_EXPLAIN.html).
    """
    lines = "\n".join(str(line) for (line,) in rows(f"EXPLAIN {query}"))
    found = [
        Scan(
            relation=scan["name"],
            kept=int(scan["rows"]),
            bytes=int(scan["rows"]) * int(scan["width"]),
        )
        for scan in _XN_SCAN.finditer(lines)
        if _OURS not in scan["name"]
    ]
    how = "EXPLAIN; rows that its filters are expected to leave, bytes those of the columns that it needs of them"
    return Estimate(scans=tuple(found), bytes=_sum(found), how=how, text="" if found else lines)


def databricks(rows: Rows, query: str) -> Estimate:
    """Return what Databricks would read: the sizes of files that its optimizer knows, as Spark's."""
    ((text,),) = rows(f"EXPLAIN COST {query}")
    found = scans_of(text)
    how = "EXPLAIN COST: sizes of files, before columns are left out"
    return Estimate(scans=found, bytes=_sum(found), how=how, text="" if found else text)


def trino(rows: Rows, query: str) -> Estimate:
    """Return what Trino would read, as far as its connector has statistics (trino.io/docs/current/sql/explain.html)."""
    ((said,),) = rows(f"EXPLAIN (TYPE IO, FORMAT JSON) {query}")
    found = [_trino_scan(table) for table in json.loads(said).get("inputTableColumnInfos", ())]
    how = "EXPLAIN (TYPE IO); rows and bytes after the filters that the connector takes, where it has statistics"
    return Estimate(scans=tuple(found), bytes=_sum(found), how=how)


def _trino_scan(said: Mapping[str, Any]) -> Scan:
    table, estimate = said["table"], said.get("estimate") or {}
    schema = table["schemaTable"]
    return Scan(
        relation=".".join((table["catalog"], schema["schema"], schema["table"])),
        kept=_whole(estimate.get("outputRowCount")),
        bytes=_whole(estimate.get("outputSizeInBytes")),
    )


def _whole(said: Any) -> int | None:
    """A number of a statistic, which is NaN where there is none."""
    number = math.nan if said is None else float(said)
    return int(number) if math.isfinite(number) else None


def _sum(scans: Sequence[Scan]) -> int | None:
    known = [scan.bytes for scan in scans if scan.bytes is not None]
    return sum(known) if known else None
