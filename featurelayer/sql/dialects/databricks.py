"""Databricks: Spark's SQL with temporary tables in place of cached views, and its own words for a session.

Temporary tables need a SQL warehouse or runtime 18.1; they are Delta tables that end with the session.
"""

from __future__ import annotations

from sqlglot import exp

from featurelayer.sql.ast import table
from featurelayer.sql.dialects.spark import Spark
from featurelayer.sql.plan import Statement


class Databricks(Spark):
    """Databricks SQL: what Spark does, kept in temporary tables."""

    name = "databricks"
    session = (
        Statement(sql="SET TIME ZONE 'UTC'", comment="Times without a zone are UTC (rule 8)."),
        Statement(sql="SET ANSI_MODE = true", comment="What can't be cast is an error, never a NULL."),
    )

    def create(self, name: str, query: exp.Query) -> str:
        # Said with the kind: sqlglot makes a view of a temporary table, as Spark without such tables needs it.
        return self.sql(exp.Create(kind="TEMPORARY TABLE", this=table(name), expression=query, replace=True))


DIALECT = Databricks()
