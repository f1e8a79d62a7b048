"""The upstream dbt sources of a model that have freshness limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from featurelayer.dbt.artifacts import DependsOn, decode, read_raw
from featurelayer.model import Freshness

_PERIODS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshSource:
    """A source with limits; `loaded_at` is SQL for when a row was loaded, empty if the source has none."""

    name: str
    relation: str
    loaded_at: str
    freshness: Freshness


class _Parents(msgspec.Struct):
    depends_on: DependsOn | None = None


class _Source(msgspec.Struct):
    name: str
    source_name: str = ""
    relation_name: str | None = None
    loaded_at_field: str | None = None
    freshness: dict[str, Any] | None = None
    config: dict[str, Any] | None = None


def read_sources(target_path: Path, unique_ids: Iterable[str]) -> dict[str, tuple[FreshSource, ...]]:
    """Return per node its upstream sources with limits, at any distance.

    Raises:
        ArtifactError: as `read_manifest`.
    """
    raw, path, _ = read_raw(target_path)
    fresh = {
        unique_id: limited
        for unique_id, source in raw.sources.items()
        if (limited := _fresh(decode(source, _Source, path, unique_id))) is not None
    }
    if not fresh:
        return {}
    parents: dict[str, list[str]] = {}
    sources: dict[str, tuple[FreshSource, ...]] = {}
    for unique_id in unique_ids:
        reached = [unique_id]
        for node in reached:  # the list grows during iteration
            if node not in parents:
                depends = decode(raw.nodes[node], _Parents, path, node).depends_on if node in raw.nodes else None
                parents[node] = depends.nodes if depends else []
            reached += [parent for parent in parents[node] if parent not in reached]
        sources[unique_id] = tuple(fresh[node] for node in sorted(reached) if node in fresh)
    return sources


def _fresh(source: _Source) -> FreshSource | None:
    config = source.config or {}
    declared = source.freshness or config.get("freshness") or {}
    limits = Freshness(warn_after=_limit(declared.get("warn_after")), error_after=_limit(declared.get("error_after")))
    if limits == Freshness():
        return None
    return FreshSource(
        name=f"{source.source_name}.{source.name}",
        relation=source.relation_name or "",
        loaded_at=source.loaded_at_field or config.get("loaded_at_field") or "",
        freshness=limits,
    )


def _limit(limit: Mapping[str, Any] | None) -> timedelta | None:
    if not limit or limit.get("count") is None or limit.get("period") not in _PERIODS:
        return None
    span: timedelta = int(limit["count"]) * _PERIODS[limit["period"]]
    return span
