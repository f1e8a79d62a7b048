"""PostgreSQL through its native driver."""

from featurelayer.warehouse.engines.postgres.warehouse import PostgresWarehouse, connect

__all__ = ["PostgresWarehouse", "connect"]
