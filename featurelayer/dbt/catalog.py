"""The columns of relations, as dbt's catalog.json found them in the warehouse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec

from featurelayer.dbt.artifacts import decode, read_timestamp
from featurelayer.errors import ManifestUnreadable


class _Metadata(msgspec.Struct):
    generated_at: str | None = None


class _Catalog(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    nodes: dict[str, msgspec.Raw] = {}


class _Column(msgspec.Struct):
    name: str


class _Node(msgspec.Struct):
    columns: dict[str, _Column] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogColumns:
    """The columns of relations by unique id, as the engine spells them, and when the catalog was written."""

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    written_at: datetime | None = None


def read_catalog_columns(target_path: Path, unique_ids: Iterable[str]) -> CatalogColumns:
    """Return the columns in catalog.json; none if it is missing or can't be read."""
    path = target_path / "catalog.json"
    try:
        catalog = decode(path.read_bytes(), _Catalog, path, command="dbt docs generate")
        nodes = {
            unique_id: decode(catalog.nodes[unique_id], _Node, path, unique_id)
            for unique_id in unique_ids
            if unique_id in catalog.nodes
        }
    except (OSError, ManifestUnreadable):
        return CatalogColumns()
    columns = {unique_id: tuple(each.name for each in node.columns.values()) for unique_id, node in nodes.items()}
    return CatalogColumns(columns=columns, written_at=read_timestamp(catalog.metadata.generated_at))
