"""Columns as the YAML declares them, and those that dbt adds to snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from featurelayer.dbt.artifacts import ManifestColumn
from featurelayer.dbt.contract import ColumnBlock
from featurelayer.model import DType

_SNAPSHOT_COLUMNS = ("dbt_valid_from", "dbt_valid_to", "dbt_scd_id", "dbt_updated_at", "dbt_is_deleted")


@dataclass(slots=True)
class DeclaredColumn:
    """A declared column with its annotations and, if it is known, its type."""

    name: str
    native: ManifestColumn
    block: ColumnBlock
    dtype: DType | None


def column_meta(column: ManifestColumn) -> Mapping[str, Any]:
    """Return the column's `config.meta`.

    Never its `meta`: dbt 2 copies the model's block there.
    """
    meta = (column.config or {}).get("meta")
    return meta if isinstance(meta, dict) else {}


def snapshot_columns(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the columns that dbt adds to a snapshot, by their default names."""
    names = config.get("snapshot_meta_column_names") or {}
    return {name: names.get(name) or name for name in _SNAPSHOT_COLUMNS}
