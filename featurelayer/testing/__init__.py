"""The conformance kit: what a point-in-time join has to get right, to be tried on any engine.

`cases()` are small named cases with the rows, or the error, that must come out. `check(engine, case)` says in sentences
what an engine does otherwise. An engine is anything with the few methods of `Engine`: `WarehouseEngine` is our own SQL
in any warehouse and dialect, `DuckDBEngine` the same on a DuckDB in memory, `OracleEngine` the rules in plain Python.
`featurelayer.testing.strategies` draws random worlds (it needs hypothesis). docs/conformance.md shows how.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from featurelayer.testing import oracle
from featurelayer.testing.builders import make_service, make_table, make_view
from featurelayer.testing.case import ABILITIES, ZONES, Case, Engine, abilities, applies, check, differences
from featurelayer.testing.cases import case_named, cases
from featurelayer.testing.engines import OracleEngine, WarehouseEngine

if TYPE_CHECKING:
    from featurelayer.testing.duckdb import DuckDBEngine

__all__ = [
    "ABILITIES",
    "ZONES",
    "Case",
    "DuckDBEngine",
    "Engine",
    "OracleEngine",
    "WarehouseEngine",
    "abilities",
    "applies",
    "case_named",
    "cases",
    "check",
    "differences",
    "make_service",
    "make_table",
    "make_view",
    "oracle",
]


def __getattr__(name: str) -> Any:
    """Import the DuckDB engine when it is asked for: other engines need no DuckDB."""
    if name != "DuckDBEngine":
        raise AttributeError(f"module 'featurelayer.testing' has no attribute '{name}'")
    from featurelayer.testing.duckdb import DuckDBEngine

    return DuckDBEngine
