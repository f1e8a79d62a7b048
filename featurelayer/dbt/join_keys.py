"""Assigns the columns of a view to the keys of its entities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from featurelayer.dbt.block import AT
from featurelayer.dbt.columns import DeclaredColumn
from featurelayer.dbt.contract import ViewBlock
from featurelayer.dbt.dtypes import UNKNOWN
from featurelayer.errors import did_you_mean
from featurelayer.model import Entity, JoinKey, Key


class NodeReader(Protocol):
    """The node that join keys are read from: its columns, the declared entities, and a place for problems."""

    @property
    def columns(self) -> Mapping[str, DeclaredColumn]:
        """The declared columns by name."""
        ...

    @property
    def entities(self) -> Mapping[str, Entity | None]:
        """The declared entities; None for one with problems."""
        ...

    def add_problem(self, what: str, path: str, fix: str, code: str) -> None:
        """Add a problem of this node."""
        ...


def read_join_keys(reader: NodeReader, block: ViewBlock) -> tuple[JoinKey, ...]:
    """Return the view's join keys in the order of its entities and their keys; problems go to the reader.

    A column declares `join_key: plane`, or `join_key: airport_hour.hour` where an entity has several keys; dbt's own
    `entity: {name: plane}` means the same.
    """
    entities = list(_entities(reader, block))
    columns: dict[tuple[str, str], list[DeclaredColumn]] = {}
    for column in reader.columns.values():
        key = _key_of(reader, column, block.entity or [])
        if key is not None:
            columns.setdefault(key, []).append(column)
    return tuple(
        JoinKey(column=holder.name, entity=entity.name, key=key.name, dtype=holder.dtype or UNKNOWN)
        for entity in entities
        for key in entity.keys
        if (holder := _one_column(reader, entity, key, columns.get((entity.name, key.name), []))) is not None
    )


def _entities(reader: NodeReader, block: ViewBlock) -> Iterator[Entity]:
    path = f"{AT}.entity"
    if not block.entity:
        declared = sorted({str(column.block.join_key) for column in reader.columns.values() if column.block.join_key})
        fix = f"add `entity: {declared[0].partition('.')[0]}`" if declared else "name the entity that the rows describe"
        reader.add_problem("it has no `entity`", path, fix, "FL102")
    if len(set(block.entity or ())) < len(block.entity or ()):
        reader.add_problem("it names an entity twice", path, "name each entity once", "FL102")
    for name in dict.fromkeys(block.entity or ()):
        if name not in reader.entities:
            what = f"entity '{name}' is not declared{did_you_mean(name, reader.entities)}"
            example = f"{{{name}: {{keys: {{{name}: varchar}}}}}}"
            fix = f"correct the name, or declare it in featurelayer.yml: entities: {example}"
            reader.add_problem(what, path, fix, "FL102")
        elif (entity := reader.entities[name]) is not None:
            yield entity


def _key_of(reader: NodeReader, column: DeclaredColumn, listed: list[str]) -> tuple[str, str] | None:
    """Return the (entity, key) that a column declares."""
    ours, native = column.block.join_key, _native_entity(column.native.entity)
    path = f"columns[{column.name}].{AT}.join_key"
    if ours and native and native not in (ours, ours.partition(".")[0]):
        what = f"column '{column.name}' has the join_key '{ours}' and the native entity '{native}'"
        reader.add_problem(what, path, "make the two equal, or remove one", "FL103")
        return None
    # An entity of the semantic layer that this view does not list is not a featurelayer entity.
    reference = ours or (native if native in listed else None)
    if reference is None:
        return None
    name, _, key = reference.partition(".")
    if name not in listed:
        what = (
            f"column '{column.name}' is the key of '{name}', which the view does not list{did_you_mean(name, listed)}"
        )
        if listed and all(other in reader.entities for other in listed):
            fix = f"correct the name, or add it to the view's `entity`: {', '.join(listed)}"
            reader.add_problem(what, path, fix, "FL103")
        return None
    entity = reader.entities.get(name)
    if entity is None:
        return None
    names = [declared.name for declared in entity.keys]
    if not key:
        key = names[0] if len(names) == 1 else _same_name(column.name, names)
        if not key:
            what = f"column '{column.name}' does not declare which key of '{name}' it holds"
            fix = f"write `join_key: {name}.{names[0]}` (its keys: {', '.join(names)})"
            reader.add_problem(what, path, fix, "FL103")
            return None
    if key not in names:
        what = f"entity '{name}' has no key '{key}'{did_you_mean(key, names)}"
        reader.add_problem(what, path, f"choose one of its keys: {', '.join(names)}", "FL103")
        return None
    return name, key


def _one_column(reader: NodeReader, entity: Entity, key: Key, columns: list[DeclaredColumn]) -> DeclaredColumn | None:
    word = entity.name if len(entity.keys) == 1 else f"{entity.name}.{key.name}"
    if not columns:
        fix = f"add config: {{meta: {{featurelayer: {{join_key: {word}}}}}}} to the column that identifies it"
        reader.add_problem(f"no column is the join key of '{word}'", "columns", fix, "FL103")
        return None
    if len(columns) > 1:
        names = ", ".join(column.name for column in columns)
        fix = "keep one; a second role belongs in another view or in a service's `keys`"
        reader.add_problem(f"several columns are the join key of '{word}': {names}", "columns", fix, "FL103")
        return None
    _check_type(reader, key, columns[0], word)
    return columns[0]


def _check_type(reader: NodeReader, key: Key, column: DeclaredColumn, word: str) -> None:
    path = f"columns[{column.name}].data_type"
    if column.dtype is None:
        fix = f"add data_type ({key.dtype} in featurelayer.yml), or run `dbt docs generate`"
        reader.add_problem(f"the type of join key '{column.name}' is not known", path, fix, "FL301")
    elif not column.dtype.joins(key.dtype):
        what = f"join key '{column.name}' is {column.dtype}, the key of '{word}' is declared {key.dtype}"
        fix = "cast the column in the model, or correct the type in featurelayer.yml; keys are never cast silently"
        reader.add_problem(what, path, fix, "FL303")


def _native_entity(entity: Any) -> str | None:
    name = entity.get("name") if isinstance(entity, dict) else entity
    return name if isinstance(name, str) else None


def _same_name(column: str, keys: list[str]) -> str:
    return next((key for key in keys if key.casefold() == column.casefold()), "")
