"""Spark in the test's own process: small, on two threads, with nothing on disk that outlives it.

Most of what a tiny query costs Spark is compiling: Java's second compiler and Spark's own code generation pay for
themselves after seconds of one query, not here.
"""

from __future__ import annotations

import importlib.util
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SETTINGS = {
    "spark.master": "local[2]",
    "spark.driver.memory": "1500m",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "1",
}


def why_not() -> str:
    """Return why there can be no Spark here, or an empty string."""
    if importlib.util.find_spec("pyspark") is None:
        return "Spark's tests need PySpark"
    return "" if shutil.which("java") else "Spark's tests need Java 17 or 21 on the PATH"


def target(folder: Path, **settings: str) -> dict[str, Any]:
    """Return a dbt-spark target of profiles.yml whose tables and metastore lie in a folder."""
    metastore = f"jdbc:derby:;databaseName={folder / 'metastore_db'};create=true"
    places = {
        "spark.sql.warehouse.dir": str(folder / "spark-warehouse"),
        "spark.hadoop.javax.jdo.option.ConnectionURL": metastore,
        "spark.driver.extraJavaOptions": f"{SETTINGS['spark.driver.extraJavaOptions']} -Dderby.system.home={folder}",
    }
    said = {**SETTINGS, **places, **settings}
    return {"type": "spark", "method": "session", "host": "NA", "schema": "default", "server_side_parameters": said}


@contextmanager
def running(folder: Path) -> Iterator[dict[str, Any]]:
    """Start Spark and yield the target that joins it; it stops at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyspark.sql import SparkSession

        found = target(folder)
        builder = SparkSession.builder.enableHiveSupport()
        for name, value in found["server_side_parameters"].items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("OFF")
    try:
        yield found
    finally:
        session.stop()
