"""Starts Spark in this process as a dbt-spark target configures it, or finds the running one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurelayer.errors import ConfigError, Problem, WarehouseError
from featurelayer.tempdirs import TempDir
from featurelayer.terminal_text import first_line

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_QUIET = "rootLogger.level = error\nrootLogger.appenderRef.stderr.ref = stderr\nappender.stderr.type = Console\n" + (
    "appender.stderr.name = stderr\nappender.stderr.target = SYSTEM_ERR\nappender.stderr.layout.type = PatternLayout\n"
    "appender.stderr.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n\n"
    # These loggers repeat what the raised error says.
    "logger.task.name = org.apache.spark.scheduler.TaskSetManager\nlogger.task.level = off\n"
    "logger.executor.name = org.apache.spark.executor.Executor\nlogger.executor.level = off\n"
)


def start(connection: Mapping[str, Any], root: Path) -> tuple[SparkSession, bool]:
    """Return a session, and whether Spark was already running: then it is used unchanged.

    Raises:
        ConfigError: the target has another method, or PySpark is missing.
        WarehouseError: Spark does not start.
    """
    method = str(connection.get("method", ""))
    if method != "session" or os.environ.get("SPARK_REMOTE"):
        other = f"method '{method}'" if method else "no method"
        method_text = "Spark Connect (SPARK_REMOTE)" if method == "session" else other
        raise ConfigError(
            [
                Problem(
                    what=f"featurelayer runs Spark in its own process, and this target has {method_text}",
                    where="profiles.yml, key method",
                    fix="add a target with `method: session` whose server_side_parameters name the same metastore and "
                    "cluster (spark.master, spark.sql.catalog..., hive.metastore.uris); docs/spark.md has one",
                )
            ]
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about versions that PySpark does not know yet
        try:
            from pyspark import SparkContext
        except ImportError as error:
            raise ConfigError(
                [
                    Problem(
                        what="PySpark is not installed here",
                        where="profiles.yml, type spark",
                        fix="pip install 'dbt-featurelayer[spark]', and Java 17 or 21",
                    )
                ]
            ) from error
        running = SparkContext._active_spark_context is not None
        with TempDir() as folder:
            settings = {} if running else {**_defaults(root, folder), **_parameters(connection)}
            session = _start_session(settings)
            if not running:
                session.sparkContext.setLogLevel("OFF")  # our own errors report failures
            return session, running


def _parameters(connection: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in (connection.get("server_side_parameters") or {}).items()}


def _start_session(settings: Mapping[str, str]) -> SparkSession:
    """Start Spark with these settings, or return the running one."""
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.enableHiveSupport()
    for name, value in settings.items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except (PySparkException, RuntimeError, OSError) as error:
        raise WarehouseError(
            f"Spark does not start: {first_line(error)}",
            fix="it needs Java 17 or 21 (JAVA_HOME or on the PATH) and what server_side_parameters name",
        ) from error


def _defaults(root: Path, folder: Path) -> dict[str, str]:
    """Return defaults for a target: as with dbt, tables lie in the project, where Spark would be started."""
    log = folder / "log4j2.properties"
    log.write_text(_QUIET, encoding="utf-8")
    defaults = {
        "spark.app.name": "featurelayer",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={log.as_uri()}",
    }
    if (root / "metastore_db").is_dir():
        place = f"jdbc:derby:;databaseName={root / 'metastore_db'};create=true"
        defaults["spark.hadoop.javax.jdo.option.ConnectionURL"] = place
    if (root / "spark-warehouse").is_dir():
        defaults["spark.sql.warehouse.dir"] = str(root / "spark-warehouse")
    return defaults
