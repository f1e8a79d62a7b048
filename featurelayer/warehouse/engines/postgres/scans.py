"""Estimate what PostgreSQL will read, from its EXPLAIN: tables, indexes, and their size on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlglot import exp

from featurelayer.warehouse.base import Estimate, Scan, total_bytes

Rows = Callable[[str], list[tuple[Any, ...]]]
_TEMPORARY = "pg_temp"


def estimate(rows: Rows, query: str) -> Estimate:
    """Return what a query would read, from statistics alone; `rows` runs SQL."""
    [(text,)] = rows(f"EXPLAIN (FORMAT json, VERBOSE)\n{query}")
    plans = json.loads(text) if isinstance(text, str) else text
    nodes = [node for plan in plans for node in _nodes(plan["Plan"]) if "Relation Name" in node]
    scans = [_scan(rows, node) for node in nodes if not str(node.get("Schema", "")).startswith(_TEMPORARY)]
    return Estimate(
        scans=tuple(scans),
        bytes=total_bytes(scans),
        how="EXPLAIN; bytes are those of whole tables, of which a look by index reads a part",
    )


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _scan(rows: Rows, node: Mapping[str, Any]) -> Scan:
    place = exp.Table(
        this=exp.to_identifier(node["Relation Name"], quoted=True), db=exp.to_identifier(node["Schema"], quoted=True)
    ).sql(dialect="postgres")
    literal = exp.Literal.string(place).sql(dialect="postgres")
    [(count, size)] = rows(
        "SELECT reltuples::bigint, pg_table_size(oid) FROM pg_catalog.pg_class "  # noqa: S608 (quoted)
        f"WHERE oid = to_regclass({literal})"
    )
    index = node.get("Index Name")
    return Scan(
        relation=f"{place} by index {index}" if index else place,
        columns=tuple(name.rsplit(".", 1)[-1].strip('"') for name in node.get("Output", ())),
        rows=count if count >= 0 else None,  # -1 until it is analysed
        kept=int(node["Plan Rows"]),
        bytes=int(size),
    )
