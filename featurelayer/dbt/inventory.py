"""The nodes, sources and tests of a manifest, each decoded on first use.

A large project has thousands of models and ten thousands of tests, and most questions are about a few of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from featurelayer.dbt.artifacts import DependsOn, RawManifest, decode, read_timestamp
from featurelayer.errors import ManifestUnreadable, Problem

_LABELS = frozenset({"label", "target"})
_RELATIONS = ("model.", "snapshot.", "seed.")


class _TestMetadata(msgspec.Struct):
    name: str | None = None
    namespace: str | None = None
    kwargs: dict[str, Any] | None = None


class _TestConfig(msgspec.Struct):
    enabled: bool | None = True
    where: str | None = None


class _Test(msgspec.Struct):
    attached_node: str | None = None
    column_name: str | None = None
    test_metadata: _TestMetadata | None = None
    config: _TestConfig | None = None


class _ColumnConfig(msgspec.Struct):
    tags: list[str] | str | None = None


class _Column(msgspec.Struct):
    name: str = ""
    data_type: str | None = None
    description: str | None = None
    constraints: list[dict[str, Any]] | None = None
    tags: list[str] | None = None
    config: _ColumnConfig | None = None


class _Checksum(msgspec.Struct):
    checksum: str | None = None


class _Model(msgspec.Struct):
    name: str
    resource_type: str = ""
    package_name: str = ""
    relation_name: str | None = None
    original_file_path: str = ""
    patch_path: str | None = None
    version: str | int | float | None = None
    language: str | None = None
    description: str | None = None
    columns: dict[str, _Column] | None = None
    constraints: list[dict[str, Any]] | None = None
    config: dict[str, Any] | None = None
    depends_on: DependsOn | None = None
    raw_code: str | None = None
    compiled_code: str | None = None
    checksum: _Checksum | None = None
    created_at: float | None = None


class _Source(msgspec.Struct):
    name: str = ""
    source_name: str = ""
    relation_name: str | None = None
    columns: dict[str, _Column] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelColumn:
    """A column as a model declares it; `data_type` is dbt's text, "" where none is given.

    `is_label` says that it is what a model is to predict: it is tagged `label` or `target`.
    """

    name: str
    data_type: str = ""
    description: str = ""
    is_label: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A constraint of a contract: `primary_key`, `unique` or another type, and its columns."""

    type: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model, snapshot, seed or source: its relation, its columns and its SQL.

    `compiled_sql` is empty until `dbt compile` or `dbt build` has run. `checksum` is of the file, and `parsed_at` when
    dbt last read its files, which it does again when they have changed.
    """

    unique_id: str
    name: str
    kind: str
    package: str = ""
    version: str | None = None
    relation_name: str = ""
    path: str = ""
    yaml_path: str = ""
    language: str = "sql"
    description: str = ""
    columns: tuple[ModelColumn, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    config: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    depends_on: tuple[str, ...] = ()
    raw_sql: str = field(default="", repr=False)
    compiled_sql: str = field(default="", repr=False)
    checksum: str = ""
    parsed_at: datetime | None = None

    @property
    def id(self) -> str:
        """`orders`, or `orders.v2` for a version."""
        return self.name if self.version is None else f"{self.name}.v{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataTest:
    """A generic data test of a model: `unique`, or `dbt_utils.unique_combination_of_columns`, with its arguments."""

    name: str
    column: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    where: str | None = None


class Inventory:
    """The parts of a manifest that `read_raw` has read; `problems` are those that can't be decoded."""

    def __init__(self, raw: RawManifest, path: Path) -> None:
        self._raw, self._path = raw, path
        self.path = path
        self._models: dict[str, Model | None] = {}
        self.problems: list[Problem] = []

    @property
    def run_started(self) -> datetime | None:
        """The start of the dbt run that wrote the manifest, None if not recorded."""
        return read_timestamp(self._raw.metadata.invocation_started_at)

    @property
    def invocation_id(self) -> str:
        """Dbt's id of the run that wrote the manifest."""
        return self._raw.metadata.invocation_id or ""

    @property
    def manifest_time(self) -> datetime | None:
        """The time the manifest was written, None if not recorded."""
        return read_timestamp(self._raw.metadata.generated_at)

    @cached_property
    def model_ids(self) -> tuple[str, ...]:
        """The unique ids of all models, snapshots and seeds."""
        return tuple(unique_id for unique_id in self._raw.nodes if unique_id.startswith(_RELATIONS))

    @cached_property
    def source_ids(self) -> tuple[str, ...]:
        """The unique ids of all sources."""
        return tuple(self._raw.sources)

    @cached_property
    def names(self) -> frozenset[str]:
        """All names that `dbt ls --output name` may print."""
        raw = self._raw
        groups = (raw.nodes, raw.sources, raw.exposures, raw.unit_tests, raw.metrics, raw.semantic_models,
                  raw.saved_queries, raw.functions)  # fmt: skip
        parts = (unique_id.split(".") for group in groups for unique_id in group or ())
        return frozenset(name for part in parts for name in (part[-1], *part[2:3], ".".join(part[2:])))

    def find_mentions(self, word: str) -> tuple[Model, ...]:
        """Return the models whose part of the manifest contains a word, decoding only those."""
        sought = word.encode()
        models = (self.model(each) for each in self.model_ids if sought in bytes(self._raw.nodes[each]))
        return tuple(model for model in models if model is not None)

    def model(self, unique_id: str) -> Model | None:
        """Return the model, snapshot, seed or source of that id, or None if there is none that can be read."""
        if unique_id not in self._models:
            self._models[unique_id] = self._read_model(unique_id)
        return self._models[unique_id]

    @cached_property
    def models(self) -> Mapping[str, Model]:
        """All models, snapshots, seeds and sources by unique id; takes a second for 5,000."""
        every = ((unique_id, self.model(unique_id)) for unique_id in (*self.model_ids, *self.source_ids))
        return {unique_id: model for unique_id, model in every if model is not None}

    @cached_property
    def tests(self) -> Mapping[str, tuple[DataTest, ...]]:
        """The enabled generic data tests by the unique id of the model that they are declared on."""
        by_model: dict[str, list[DataTest]] = {}
        for unique_id, part in self._raw.nodes.items():
            if unique_id.startswith("test."):
                test = self._decode(part, _Test, unique_id)
                if test and test.attached_node and test.test_metadata and (test.config is None or test.config.enabled):
                    by_model.setdefault(test.attached_node, []).append(_data_test(test, test.test_metadata))
        return {model: tuple(tests) for model, tests in by_model.items()}

    def _read_model(self, unique_id: str) -> Model | None:
        if unique_id in self._raw.nodes:
            node = self._decode(self._raw.nodes[unique_id], _Model, unique_id)
            return _model(unique_id, node) if node else None
        if unique_id in self._raw.sources:
            source = self._decode(self._raw.sources[unique_id], _Source, unique_id)
            return _source(unique_id, source) if source else None
        return None

    def _decode(self, part: msgspec.Raw, kind: type[Any], unique_id: str) -> Any:
        try:
            return decode(part, kind, self._path, unique_id)
        except ManifestUnreadable as error:
            self.problems.append(Problem(what=error.summary, where=f"{self._path} -> {unique_id}", code="FL110"))
            return None


def _model(unique_id: str, node: _Model) -> Model:
    patch = node.patch_path or ""
    return Model(
        unique_id=unique_id,
        name=node.name,
        kind=node.resource_type,
        package=node.package_name,
        version=None if node.version is None else str(node.version),
        relation_name=node.relation_name or "",
        path=node.original_file_path,
        yaml_path=patch.partition("://")[2] or node.original_file_path,
        language=node.language or "sql",
        description=(node.description or "").strip(),
        columns=_columns(node.columns),
        constraints=tuple(_constraints(node)),
        config=node.config or {},
        depends_on=tuple(node.depends_on.nodes) if node.depends_on else (),
        raw_sql=node.raw_code or "",
        compiled_sql=node.compiled_code or "",
        checksum=(node.checksum.checksum or "") if node.checksum else "",
        parsed_at=datetime.fromtimestamp(node.created_at, UTC) if node.created_at else None,
    )


def _source(unique_id: str, source: _Source) -> Model:
    return Model(
        unique_id=unique_id,
        name=f"{source.source_name}.{source.name}",
        kind="source",
        relation_name=source.relation_name or "",
        columns=_columns(source.columns),
    )


def _columns(columns: dict[str, _Column] | None) -> tuple[ModelColumn, ...]:
    return tuple(
        ModelColumn(
            name=column.name or name,
            data_type=column.data_type or "",
            description=(column.description or "").strip(),
            is_label=not _LABELS.isdisjoint((*(column.tags or ()), *_tags(column.config))),
        )
        for name, column in (columns or {}).items()
    )


def _tags(config: _ColumnConfig | None) -> list[str]:
    tags = config.tags if config is not None else None
    return [tags] if isinstance(tags, str) else tags or []


def _constraints(node: _Model) -> Iterator[Constraint]:
    for constraint in node.constraints or ():
        columns = constraint.get("columns")
        names = tuple(map(str, columns)) if isinstance(columns, list) else ()
        yield Constraint(type=str(constraint.get("type")), columns=names)
    for name, column in (node.columns or {}).items():
        for constraint in column.constraints or ():
            yield Constraint(type=str(constraint.get("type")), columns=(column.name or name,))


def _data_test(test: _Test, metadata: _TestMetadata) -> DataTest:
    name = f"{metadata.namespace}.{metadata.name}" if metadata.namespace else metadata.name or ""
    arguments = metadata.kwargs or {}
    where = test.config.where if test.config else None
    return DataTest(name=name, column=test.column_name, arguments=arguments, where=where)
