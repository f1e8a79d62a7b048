"""Forms of engines that can't run here, in DuckDB's words."""

from __future__ import annotations

from sqlglot import exp

from featurelayer.sql.ast import all_of
from featurelayer.sql.dialects.duckdb import DuckDB
from featurelayer.sql.scripts import AsofScript, MaterializedScript
from featurelayer.sql.sql_builder import SqlBuilder
from featurelayer.testing.engines import SingleQuery


class AsofDuckDB(DuckDB):
    """With an as-of join in the place of the running maximum, as Snowflake's and ClickHouse's scripts have it."""

    script_type = AsofScript

    def join_asof(self, moments: exp.Expression, on: list[exp.Expression], at: exp.Expression) -> exp.Join:
        return exp.Join(this=moments, method="ASOF", side="LEFT", on=all_of(*on, at))


class _MaterializedQuery(SingleQuery, MaterializedScript):
    """The materialized form as one query."""


class MaterializedQueryDuckDB(DuckDB):
    """What an engine gets that brings no form of its own, as one query; it fails as such an engine does, by a cast."""

    script_type = _MaterializedQuery
    fail = SqlBuilder.fail
