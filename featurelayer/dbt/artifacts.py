"""dbt's manifest.json and catalog.json, read as plain JSON: only the nodes that mention featurelayer are decoded.

Never through dbt's own classes: they take ten seconds for a manifest of 5,000 models, this takes a third of one.
Every key may be absent, because dbt 1.10 to 2.x each leave out some.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from featurelayer.dbt.project import Project
from featurelayer.errors import ManifestNotFound, ManifestUnreadable, UnsupportedManifest

SCHEMA_VERSION = 12
_MENTION = b"featurelayer"
_KINDS = ("model.", "snapshot.", "seed.")
_SOURCE_FILES = (".sql", ".yml", ".yaml", ".py", ".csv")
_PATHS = {
    "model-paths": ["models"],
    "snapshot-paths": ["snapshots"],
    "seed-paths": ["seeds"],
    "macro-paths": ["macros"],
}


class DependsOn(msgspec.Struct):
    """What a node reads."""

    nodes: list[str] = []


class Column(msgspec.Struct):
    """A declared column of a model."""

    name: str
    description: str | None = ""
    data_type: str | None = None
    meta: dict[str, Any] | None = None
    config: dict[str, Any] | None = None
    entity: Any = None


class Node(msgspec.Struct, kw_only=True):
    """A model, snapshot or seed."""

    unique_id: str
    name: str
    resource_type: str
    package_name: str = ""
    relation_name: str | None = None
    columns: dict[str, Column] = {}
    config: dict[str, Any] = {}
    meta: dict[str, Any] | None = None
    description: str | None = ""
    tags: list[str] = []
    version: str | int | float | None = None
    latest_version: str | int | float | None = None
    original_file_path: str = ""
    patch_path: str | None = None
    group: str | None = None
    primary_key: list[str] | None = None
    depends_on: DependsOn = msgspec.field(default_factory=DependsOn)

    @property
    def file(self) -> str:
        """The YAML that describes it, or the SQL where no YAML does."""
        return self.patch_path.partition("://")[2] if self.patch_path else self.original_file_path


class Exposure(msgspec.Struct, kw_only=True):
    """An exposure."""

    unique_id: str
    name: str
    type: str | None = None
    package_name: str = ""
    config: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None
    description: str | None = ""
    maturity: str | None = None
    tags: list[str] = []
    owner: dict[str, Any] | None = None
    original_file_path: str = ""
    depends_on: DependsOn = msgspec.field(default_factory=DependsOn)


class Group(msgspec.Struct):
    """A group and its owner. Its config is never read: dbt 1.x writes the meta of models into it."""

    name: str
    package_name: str = ""
    owner: dict[str, Any] | None = None


class _Metadata(msgspec.Struct):
    dbt_schema_version: str = ""
    dbt_version: str = ""
    adapter_type: str | None = None
    project_name: str | None = None
    invocation_id: str | None = None
    generated_at: str | None = None


class _Manifest(msgspec.Struct):
    metadata: _Metadata
    nodes: dict[str, msgspec.Raw] = {}
    exposures: dict[str, msgspec.Raw] = {}
    groups: dict[str, Group] = {}
    disabled: dict[str, msgspec.Raw] | None = None


class _Checksum(msgspec.Struct):
    name: str | None = None
    checksum: str | None = None


class _Lineage(msgspec.Struct):
    checksum: _Checksum | None = None
    depends_on: DependsOn | None = None


class _Catalog(msgspec.Struct):
    nodes: dict[str, msgspec.Raw] = {}


class _CatalogColumn(msgspec.Struct):
    name: str
    type: str | None = None


class _CatalogNode(msgspec.Struct):
    columns: dict[str, _CatalogColumn] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What featurelayer needs of a manifest. `unique_ids` and `disabled` name everything, annotated or not."""

    path: Path
    sha256: str
    dbt_version: str
    adapter: str
    project_name: str
    invocation_id: str
    generated_at: str
    schema_version: int
    nodes: tuple[Node, ...]
    exposures: tuple[Exposure, ...]
    groups: tuple[Group, ...]
    unique_ids: frozenset[str] = field(repr=False)
    disabled: frozenset[str] = field(repr=False)


def read_models(target_path: Path) -> dict[str, Node]:
    """Return every model and snapshot by name, annotated or not; the latest version where there are several.

    Raises:
        ArtifactError: as `read_manifest`.
    """
    raw, path, _ = _read(target_path)
    nodes = [
        _decode(node, Node, path, unique_id)
        for unique_id, node in raw.nodes.items()
        if unique_id.startswith(("model.", "snapshot."))
    ]
    return {node.name: node for node in sorted(nodes, key=_is_latest)}


def _is_latest(node: Node) -> bool:
    return str(node.version) == str(node.latest_version)


def read_referable(target_path: Path) -> dict[str, Node]:
    """Return all that a model can `ref`, by name, versions by `name.v2` too; a bare name means the latest.

    Raises:
        ArtifactError: as `read_manifest`.
    """
    raw, path, _ = _read(target_path)
    nodes: list[Node] = [
        _decode(node, Node, path, unique_id) for unique_id, node in raw.nodes.items() if unique_id.startswith(_KINDS)
    ]
    nodes.sort(key=lambda node: (node.package_name == raw.metadata.project_name, _is_latest(node)))
    versions = {f"{node.name}.v{node.version}": node for node in nodes if node.version is not None}
    return versions | {node.name: node for node in nodes}


def sql_checksums(target_path: Path, unique_ids: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return per node dbt's checksums of its file and of the files of all that it is built from, its own first.

    A node whose file dbt has no checksum of (a source, a large seed) is left out.

    Raises:
        ArtifactError: as `read_manifest`.
    """
    raw, path, _ = _read(target_path)
    lineage: dict[str, _Lineage] = {}
    found: dict[str, dict[str, str]] = {}
    for unique_id in unique_ids:
        reached = [unique_id]
        for node in reached:  # grows while it is walked
            if node not in lineage:
                lineage[node] = _decode(raw.nodes[node], _Lineage, path, node) if node in raw.nodes else _Lineage()
            parents = lineage[node].depends_on
            reached += [parent for parent in (parents.nodes if parents else ()) if parent not in reached]
        checksums = {node: lineage[node].checksum for node in reached}
        found[unique_id] = {
            node: checksum.checksum
            for node, checksum in checksums.items()
            if checksum and checksum.checksum and checksum.name != "path"
        }
    return found


def read_manifest(target_path: Path) -> Manifest:
    """Return the manifest in dbt's target folder.

    Raises:
        ManifestNotFound: there is none.
        ManifestUnreadable: it is truncated, not JSON or not a manifest.
        UnsupportedManifest: a dbt older than 1.8 wrote it.
    """
    raw, path, data = _read(target_path)
    version = _gate(raw.metadata, path)
    mentioned = (
        unique_id for unique_id, node in raw.nodes.items() if unique_id.startswith(_KINDS) and _MENTION in bytes(node)
    )
    return Manifest(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        dbt_version=raw.metadata.dbt_version,
        adapter=raw.metadata.adapter_type or "",
        project_name=raw.metadata.project_name or "",
        invocation_id=raw.metadata.invocation_id or "",
        generated_at=raw.metadata.generated_at or "",
        schema_version=version,
        nodes=tuple(_decode(raw.nodes[unique_id], Node, path, unique_id) for unique_id in mentioned),
        exposures=tuple(
            _decode(exposure, Exposure, path, unique_id)
            for unique_id, exposure in raw.exposures.items()
            if _MENTION in bytes(exposure)
        ),
        groups=tuple(raw.groups.values()),
        unique_ids=frozenset(raw.nodes),
        disabled=frozenset(raw.disabled or ()),
    )


def catalog_types(target_path: Path, unique_ids: frozenset[str]) -> Mapping[str, Mapping[str, str]]:
    """Return unique id -> column name in lower case -> type from catalog.json; empty if there is none.

    Raises:
        ManifestUnreadable: it is truncated or not a catalog.
    """
    path = target_path / "catalog.json"
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    catalog = _decode(data, _Catalog, path, command="dbt docs generate")
    return {
        unique_id: {
            column.name.casefold(): column.type
            for column in _decode(catalog.nodes[unique_id], _CatalogNode, path, unique_id).columns.values()
            if column.type
        }
        for unique_id in unique_ids & catalog.nodes.keys()
    }


def doubts(manifest: Manifest, project: Project) -> Iterator[str]:
    """Yield what may be wrong with a manifest that can be read: its age, and a schema newer than ours."""
    if manifest.schema_version > SCHEMA_VERSION:
        yield (
            f"manifest.json has schema v{manifest.schema_version} (dbt {manifest.dbt_version}), newer than the "
            f"v{SCHEMA_VERSION} that this featurelayer knows\n  at   {manifest.path}\n"
            "  fix  Upgrade dbt-featurelayer if something is missing."
        )
    newest = max(_source_files(project), default=None)
    if newest and newest[0] > manifest.path.stat().st_mtime:
        yield (
            f"manifest.json is older than {newest[1].relative_to(project.root)}: what you see may be outdated\n"
            f"  at   {manifest.path}\n  fix  Run `dbt parse`."
        )


def _source_files(project: Project) -> Iterator[tuple[float, Path]]:
    """Yield the time and path of each file that dbt makes the manifest of."""
    main = project.root / "dbt_project.yml"
    yield main.stat().st_mtime, main
    for setting, default in _PATHS.items():
        folders = project.settings.get(setting) or default
        for name in folders if isinstance(folders, list) else []:
            for folder, _, files in os.walk(project.root / str(name)):
                for file in files:
                    if file.endswith(_SOURCE_FILES):
                        path = Path(folder, file)
                        yield path.stat().st_mtime, path


def _read(target_path: Path) -> tuple[_Manifest, Path, bytes]:
    path = target_path / "manifest.json"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ManifestNotFound(
            f"there is no manifest.json\n  at   {path}\n"
            "  fix  Run `dbt parse` in the project, or name dbt's target folder with --target-path."
        ) from None
    except OSError as error:
        raise ManifestUnreadable(
            f"manifest.json can't be read: {error.strerror}\n  at   {path}\n  fix  Check the file."
        ) from error
    return _decode(data, _Manifest, path), path, data


def _gate(metadata: _Metadata, path: Path) -> int:
    found = re.search(r"/manifest/v(\d+)(?:\.json)?$", metadata.dbt_schema_version)
    if found is None:
        raise ManifestUnreadable(
            f"manifest.json does not say its schema version\n  at   {path} -> metadata.dbt_schema_version\n"
            "  fix  Run `dbt parse` to write it again."
        )
    version = int(found[1])
    if version < SCHEMA_VERSION:
        raise UnsupportedManifest(
            f"manifest.json has schema v{version}, written by dbt {metadata.dbt_version or '(unknown)'}; "
            f"featurelayer reads v{SCHEMA_VERSION}\n  at   {path}\n"
            "  fix  Upgrade dbt to 1.10 or later and run `dbt parse`."
        )
    return version


def _decode(data: bytes | msgspec.Raw, kind: type[Any], path: Path, node: str = "", command: str = "dbt parse") -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = "has an unexpected shape" if isinstance(error, msgspec.ValidationError) else "is truncated or not JSON"
        where = f"{path} -> {node}" if node else str(path)
        raise ManifestUnreadable(
            f"{path.name} {reason}: {error}\n  at   {where}\n  fix  Run `{command}` to write it again."
        ) from error
