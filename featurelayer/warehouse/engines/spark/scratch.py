"""Scratch tables that Spark writes next to another table, and leftovers of killed processes.

Their names contain the host and process that made them: the next writer of the same table drops those of a process
that has ended. An interrupted query leaves a folder without a table.
"""

from __future__ import annotations

import os
import platform
import re
import uuid
import zlib
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from featurelayer.tempdirs import is_process_alive

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_HERE = f"{zlib.crc32(platform.node().encode()) & 0xFFFF:04x}"
_made: set[str] = set()


def scratch_name(table: exp.Table, kind: str) -> str:
    """Return an unused name in the same schema, as SQL."""
    name = f"{table.name}__fl_{kind}_{_HERE}_{os.getpid():x}_{uuid.uuid4().hex[:4]}"
    _made.add(name.lower())
    scratch = table.copy()
    scratch.set("this", exp.to_identifier(name, quoted=True))
    return scratch.sql(dialect="spark", identify=True)


def drop_leftovers(session: SparkSession, table: exp.Table) -> None:
    """Drop scratch tables left for a table by dead processes of this host."""
    schema = _schema_of(session, table)
    names = [row.tableName for row in session.sql(f"SHOW TABLES IN {schema}").collect() if not row.isTemporary]
    for name in filter(_leftover_test(table.name), names):
        leftover = table.copy()
        leftover.set("this", exp.to_identifier(name, quoted=True))
        session.sql(f"DROP TABLE IF EXISTS {leftover.sql(dialect='spark', identify=True)}")
    _remove_leftover_folders(session, schema, table.name)


def _schema_of(session: SparkSession, table: exp.Table) -> str:
    parts = [part for part in table.parts[:-1] if part.name]
    if not parts:
        parts = [exp.to_identifier(session.catalog.currentDatabase(), quoted=True)]
    return ".".join(part.sql(dialect="spark", identify=True) for part in parts)


def _leftover_test(name: str) -> Any:
    """Return a test for names of scratch tables or folders left for this table by a dead process."""
    pattern = re.compile(rf"{re.escape(name)}__fl_(?:new|old)_{_HERE}_([0-9a-f]+)_[0-9a-f]{{4}}", re.IGNORECASE)

    def is_left_over(other: str) -> bool:
        match = pattern.fullmatch(other)
        if match is None or other.lower() in _made:
            return False
        process = int(match[1], 16)
        return process == os.getpid() or not is_process_alive(process)

    return is_left_over


def _remove_leftover_folders(session: SparkSession, schema: str, name: str) -> None:
    """Remove the folders, in the schema's location, of queries interrupted before their table existed."""
    namespace = {row[0]: row[1] for row in session.sql(f"DESCRIBE NAMESPACE {schema}").collect()}
    if not namespace.get("Location") or not re.fullmatch(r"\w+", name):
        return
    context: Any = session.sparkContext
    place = context._jvm.org.apache.hadoop.fs.Path(namespace["Location"])
    files = place.getFileSystem(context._jsc.hadoopConfiguration())
    statuses = files.globStatus(context._jvm.org.apache.hadoop.fs.Path(place, f"{name.lower()}__fl_*")) or ()
    for path in (status.getPath() for status in statuses):
        if _leftover_test(name)(path.getName()):
            files.delete(path, True)
