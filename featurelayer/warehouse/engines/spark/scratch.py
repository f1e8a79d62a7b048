"""Tables that Spark makes beside another one, and what of them a process that was killed left there.

Their names say which process of which host made them: the next writer of the same table drops those of a process
that is no more. A query that was cut off leaves a folder without a table.
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
    found = table.copy()
    found.set("this", exp.to_identifier(name, quoted=True))
    return found.sql(dialect="spark", identify=True)


def drop_leftovers(session: SparkSession, table: exp.Table) -> None:
    """Drop what was made beside a table by processes of this host that are no more."""
    schema = _schema_of(session, table)
    names = [row.tableName for row in session.sql(f"SHOW TABLES IN {schema}").collect() if not row.isTemporary]
    for name in filter(_leftover_test(table.name), names):
        found = table.copy()
        found.set("this", exp.to_identifier(name, quoted=True))
        session.sql(f"DROP TABLE IF EXISTS {found.sql(dialect='spark', identify=True)}")
    _remove_leftover_folders(session, schema, table.name)


def _schema_of(session: SparkSession, table: exp.Table) -> str:
    parts = [part for part in table.parts[:-1] if part.name]
    if not parts:
        parts = [exp.to_identifier(session.catalog.currentDatabase(), quoted=True)]
    return ".".join(part.sql(dialect="spark", identify=True) for part in parts)


def _leftover_test(name: str) -> Any:
    """Whether a name is that of a table or folder made beside this one by a process that is no more."""
    pattern = re.compile(rf"{re.escape(name)}__fl_(?:new|old)_{_HERE}_([0-9a-f]+)_[0-9a-f]{{4}}", re.IGNORECASE)

    def is_left_over(other: str) -> bool:
        found = pattern.fullmatch(other)
        if found is None or other.lower() in _made:
            return False
        process = int(found[1], 16)
        return process == os.getpid() or not is_process_alive(process)

    return is_left_over


def _remove_leftover_folders(session: SparkSession, schema: str, name: str) -> None:
    """Remove what a query wrote that was cut off before there was a table; the schema's location says where."""
    said = {row[0]: row[1] for row in session.sql(f"DESCRIBE NAMESPACE {schema}").collect()}
    if not said.get("Location") or not re.fullmatch(r"\w+", name):
        return
    context: Any = session.sparkContext
    place = context._jvm.org.apache.hadoop.fs.Path(said["Location"])
    files = place.getFileSystem(context._jsc.hadoopConfiguration())
    found = files.globStatus(context._jvm.org.apache.hadoop.fs.Path(place, f"{name.lower()}__fl_*")) or ()
    for path in (status.getPath() for status in found):
        if _leftover_test(name)(path.getName()):
            files.delete(path, True)
