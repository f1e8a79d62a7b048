"""DuckDB's memory limit, lowered while tables are read that will not be read again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import duckdb

# DuckDB's minimum: 125 MB a thread.
_BYTES_A_THREAD = 128_000_000
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


class MemoryLimit:
    """The memory limit of a connection's database; `configured` is the profile's, empty for DuckDB's own.

    It applies to the whole database, so it is not changed if other connections of this process share it.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self.configured = ""
        self.lowered = False

    @contextmanager
    def lower(self, working: int) -> Iterator[None]:
        """Lower the limit inside the block to `working` bytes plus the threads' minimum, if that is less.

        New memory costs a third of reading a table that is read once, and what was read is what DuckDB forgets first.
        """
        threads, limit = self._ask("SELECT current_setting('threads'), current_setting('memory_limit')")
        wanted = working + threads * _BYTES_A_THREAD
        if wanted < _parse_bytes(limit) and self._alone():
            with suppress(duckdb.OutOfMemoryException):  # more is already in use
                self._connection.execute(f"SET memory_limit = '{wanted} bytes'")
                self.lowered = True
        try:
            yield
        finally:
            self.restore()

    def restore(self) -> None:
        """Restore the profile's limit or DuckDB's default, not the previous one: another build may have lowered it."""
        if self.lowered:
            if self.configured:
                self._connection.execute("SET memory_limit = $1", [self.configured])
            else:
                self._connection.execute("RESET memory_limit")
            self.lowered = False

    def _alone(self) -> bool:
        try:
            (count,) = self._ask("FROM duckdb_connection_count()")
        except duckdb.CatalogException:  # older versions of DuckDB don't report it
            return False
        return bool(count == 1)

    def _ask(self, sql: str) -> tuple[Any, ...]:
        found: tuple[Any, ...]
        (found,) = self._connection.execute(sql).fetchall()
        return found


def _parse_bytes(text: str) -> float:
    """Parse a size such as '18.8 GiB'."""
    number, unit = text.split()
    return float(number) * 1024.0 ** (_UNITS.index(unit) if unit in _UNITS else len(_UNITS))
