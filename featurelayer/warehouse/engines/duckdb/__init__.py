"""DuckDB, embedded."""

from featurelayer.warehouse.engines.duckdb.warehouse import DuckDBWarehouse, connect

__all__ = ["DuckDBWarehouse", "connect"]
