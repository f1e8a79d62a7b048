"""Spark in this process."""

from featurelayer.warehouse.engines.spark.warehouse import SparkWarehouse, connect, keep_running

__all__ = ["SparkWarehouse", "connect", "keep_running"]
