"""Databricks, through dbt's adapter.

Not run by us: written after its documentation, and `explain` tried on answers in the form that this shows.
"""

from __future__ import annotations

from featurelayer.warehouse.base import Estimate, total_bytes
from featurelayer.warehouse.dbt_adapter.facts import INFORMATION_SCHEMA_COMMENTS, AdapterFacts, Notes, Rows
from featurelayer.warehouse.engines.spark.scans import scans_of


def explain(rows: Rows, query: str) -> Estimate:
    """Return what Databricks would read: the sizes of files that its optimizer knows, as Spark's."""
    ((text,),) = rows(f"EXPLAIN COST {query}")
    scans = scans_of(text)
    how = "EXPLAIN COST: sizes of files, before columns are left out"
    return Estimate(scans=scans, bytes=total_bytes(scans), how=how, text="" if scans else text)


ADAPTER = AdapterFacts(
    # Unity Catalog has comments alone (docs.databricks.com/sql/language-manual/sql-ref-information-schema).
    notes=Notes(found=INFORMATION_SCHEMA_COMMENTS, tables=("MANAGED", "EXTERNAL"), replaces=True),
    explain=explain,
)
