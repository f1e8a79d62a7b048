"""Trino, through dbt's adapter.

Not run by us: written after its documentation, and `explain` tried on answers in the form that this shows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from featurelayer.warehouse.base import Estimate, Scan, total_bytes
from featurelayer.warehouse.dbt_adapter.facts import AdapterFacts, Rows


def explain(rows: Rows, query: str) -> Estimate:
    """Return what Trino would read, as far as its connector has statistics (trino.io/docs/current/sql/explain.html)."""
    ((answer,),) = rows(f"EXPLAIN (TYPE IO, FORMAT JSON) {query}")
    scans = [_scan(table) for table in json.loads(answer).get("inputTableColumnInfos", ())]
    how = "EXPLAIN (TYPE IO); rows and bytes after the filters that the connector takes, where it has statistics"
    return Estimate(scans=tuple(scans), bytes=total_bytes(scans), how=how)


def _scan(entry: Mapping[str, Any]) -> Scan:
    table, estimate = entry["table"], entry.get("estimate") or {}
    schema = table["schemaTable"]
    return Scan(
        relation=".".join((table["catalog"], schema["schema"], schema["table"])),
        kept=_whole(estimate.get("outputRowCount")),
        bytes=_whole(estimate.get("outputSizeInBytes")),
    )


def _whole(value: Any) -> int | None:
    """Return a statistic as a whole number, None for NaN."""
    number = math.nan if value is None else float(value)
    return int(number) if math.isfinite(number) else None


ADAPTER = AdapterFacts(explain=explain)
