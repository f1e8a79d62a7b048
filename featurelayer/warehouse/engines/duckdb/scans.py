"""Estimate what DuckDB will read, from its EXPLAIN: tables, files, columns, and their size on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlglot import exp

from featurelayer.warehouse.base import Estimate, Scan, total_bytes

_BLOCK = 262_144
# What a query makes for itself on its way is no scan of the warehouse.
_OWN = ("CTE_SCAN", "DELIM_SCAN", "COLUMN_DATA_SCAN", "DUMMY_SCAN", "EMPTY_RESULT")

Rows = Callable[[str], list[tuple[Any, ...]]]


def estimate(rows: Rows, query: str) -> Estimate:
    """Return what a query would read; `rows` runs SQL. Nothing but the catalog is looked at."""
    plan = json.loads(rows(f"EXPLAIN (FORMAT json)\n{query}")[0][1])
    found = [_scan(rows, leaf) for node in plan for leaf in _leaves(node) if leaf["name"].strip() not in _OWN]
    return Estimate(
        scans=tuple(found),
        bytes=total_bytes(found),
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
        # A file or a frame: which one is not said, its metadata say how many rows.
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
    """How large the blocks are that hold these columns; blocks may be shared. None if none has been written yet."""
    names = ", ".join(map(_text, columns)) or "''"
    table = parts.sql(dialect="duckdb", identify=True)
    blocks = rows(
        "SELECT count(DISTINCT block) FROM (SELECT unnest([block_id] || additional_block_ids) AS block "  # noqa: S608
        f"FROM pragma_storage_info({_text(table)}) WHERE persistent AND column_name IN ({names})) WHERE block >= 0"
    )
    return int(blocks[0][0]) * _BLOCK or None


def _several(said: str | list[str] | None) -> tuple[str, ...]:
    """One thing is text, several are a list."""
    return (said,) if isinstance(said, str) else tuple(said or ())


def _text(value: str) -> str:
    return exp.Literal.string(value).sql(dialect="duckdb")
