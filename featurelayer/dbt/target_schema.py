"""The schema and database that dbt builds in for a target, as far as profiles.yml tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlparse

_SCHEMA_KEYS = ("schema", "dataset")
_DATABASE_KEYS = ("database", "dbname", "project", "catalog")
KEYS = ("type", "path", *_SCHEMA_KEYS, *_DATABASE_KEYS)
"""The keys of an output that `find_place` reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSchema:
    """A schema and the database that it is in; empty where unknown."""

    schema: str
    database: str


def find_target_schema(output: Mapping[str, Any]) -> TargetSchema:
    """Return the schema and database that dbt's macros use for the target."""
    schema = next((str(output[key]) for key in _SCHEMA_KEYS if output.get(key)), "")
    database = next((str(output[key]) for key in _DATABASE_KEYS if output.get(key)), "")
    if output.get("type") == "duckdb":
        schema, database = schema or "main", database or _duckdb_database(output.get("path"))
    return TargetSchema(schema=schema, database=database)


def _duckdb_database(path: Any) -> str:
    """Return DuckDB's name for a file's database, or "" if that depends on the version."""
    if path is None or path == ":memory:":
        return "memory"
    parsed = urlparse(str(path))
    name = parsed.path.rpartition("/")[2]
    if parsed.scheme in ("md", "motherduck"):
        return name or "my_db"
    stem, _, rest = name.lstrip(".").partition(".")
    return "" if "." in rest or parsed.scheme == "ducklake" else stem
