"""Estimate what DuckDB will read, from its EXPLAIN: tables, files, columns, and their size on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlglot import exp

from featurelayer.warehouse.base import Estimate, Scan, total_bytes

_BLOCK = 262_144
# Scans of a query's own intermediate results don't count.
_OWN = ("CTE_SCAN", "DELIM_SCAN", "COLUMN_DATA_SCAN", "DUMMY_SCAN", "EMPTY_RESULT")

Rows = Callable[[str], list[tuple[Any, ...]]]


def estimate(rows: Rows, query: str) -> Estimate:
    """Return what a query would read, from the catalog alone; `rows` runs SQL."""
    plan = json.loads(rows(f"EXPLAIN (FORMAT json)\n{query}")[0][1])
    scans = [_scan(rows, leaf) for node in plan for leaf in _leaves(node) if leaf["name"].strip() not in _OWN]
    return Estimate(
        scans=tuple(scans),
        bytes=total_bytes(scans),
        how="EXPLAIN; bytes are the blocks of the columns in the database file, before any filter",
    )


def _leaves(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if not node["children"]:
        yield node
    for child in node["children"]:
        yield from _leaves(child)


def _scan(rows: Rows, leaf: Mapping[str, Any]) -> Scan:
    info = leaf["extra_info"]
    columns = _several(info.get("Projections"))
    expected = int(info["Estimated Cardinality"]) if "Estimated Cardinality" in info else None
    name = info.get("Table")
    if name is None:
        # A file or a frame: the plan does not name it; its metadata give the row count.
        return Scan(
            relation=info.get("Function", leaf["name"]).strip().lower(), columns=columns, rows=None, kept=expected
        )
    parts = exp.to_table(name, dialect="duckdb")
    count = rows(
        f"SELECT estimated_size FROM duckdb_tables() WHERE table_name = {_text(parts.name)} "  # noqa: S608 (quoted)
        f"AND schema_name = {_text(parts.db)} AND database_name = {_text(parts.catalog)}"
    )
    return Scan(
        relation=name,
        columns=columns,
        rows=int(count[0][0]) if count else None,
        kept=expected,
        bytes=_bytes(rows, parts, columns),
    )


def _bytes(rows: Rows, parts: exp.Table, columns: tuple[str, ...]) -> int | None:
    """Return the size of the blocks with these columns, some shared with others; None if none is written yet."""
    names = ", ".join(map(_text, columns)) or "''"
    table = parts.sql(dialect="duckdb", identify=True)
    blocks = rows(
        "SELECT count(DISTINCT block) FROM (SELECT unnest([block_id] || additional_block_ids) AS block "  # noqa: S608
        f"FROM pragma_storage_info({_text(table)}) WHERE persistent AND column_name IN ({names})) WHERE block >= 0"
    )
    return int(blocks[0][0]) * _BLOCK or None


def _several(items: str | list[str] | None) -> tuple[str, ...]:
    """Return a tuple, although EXPLAIN writes a single item as plain text."""
    return (items,) if isinstance(items, str) else tuple(items or ())


def _text(value: str) -> str:
    return exp.Literal.string(value).sql(dialect="duckdb")
