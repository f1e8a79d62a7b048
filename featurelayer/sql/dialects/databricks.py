"""Databricks: Spark's SQL with temporary tables in place of cached views, and its own words for a session.

Temporary tables need a SQL warehouse or runtime 18.1; they are Delta tables that end with the session.
"""

from __future__ import annotations

from featurelayer.sql.dialects.spark import Spark

DIALECT = Spark("databricks", ansi="SET ANSI_MODE = true", has_temporary_tables=True)
