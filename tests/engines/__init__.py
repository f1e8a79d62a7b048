"""Engines that only tests use: ClickHouse, DataFusion, and the portable scripts on DuckDB."""
