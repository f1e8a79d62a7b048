"""Write drafts into YAML: of models, featurelayer.yml and exposures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from featurelayer.migrate.document import Document, copy_tree, flow_map, to_plain
from featurelayer.migrate.values import ColumnDraft, FileEdit, Note, ViewDraft

OURS = "featurelayer"
_SUFFIX = re.compile(r"(?P<entity>.+?)_(id|key|uuid|code|sk|pk|num|no)", re.IGNORECASE)
_FLOW = ("freshness", "deprecated")


def entity_name(column: str) -> str:
    """Return the entity that a key column identifies: `customer_id` identifies a customer."""
    match = _SUFFIX.fullmatch(column)
    return (match["entity"] if match else column).lower()


def annotate_model(document: Document, model: Any, draft: ViewDraft, *, without: Sequence[str] = ()) -> None:
    """Annotate a model in place; the keys `without` are removed from its `meta`."""
    config = _copy_mapping(model, "config")
    if draft.event_time and "event_time" not in config:
        config["event_time"] = draft.event_time
    if draft.tags:
        tags = config.get("tags") or []
        config["tags"] = flow_map({"tags": _merge_tags(tags, draft.tags)})["tags"]
    meta = {key: value for key, value in (config.get("meta") or {}).items() if key not in without}
    block = {key: flow_map({key: value})[key] if key in _FLOW or isinstance(value, list) else value
             for key, value in draft.block.items()}  # fmt: skip
    config["meta"] = {**meta, OURS: block}
    _write_config(document, model, config, without)
    if draft.description and not model.get("description"):
        document.replace(model, None, {"description": draft.description}, after="name")
    _annotate_columns(document, model, draft.columns, without)


def annotate_exposure(document: Document, exposure: Any, block: Mapping[str, Any], without: Sequence[str]) -> None:
    """Annotate an exposure in place."""
    config = _copy_mapping(exposure, "config")
    meta = {key: value for key, value in (config.get("meta") or {}).items() if key not in without}
    lists = {key: flow_map({key: value})[key] if isinstance(value, list) else value for key, value in block.items()}
    config["meta"] = {**meta, OURS: lists}
    _write_config(document, exposure, config, without)


def _write_config(document: Document, node: Any, config: Mapping[str, Any], without: Sequence[str]) -> None:
    """Write a node's config, and its `meta` without the moved keys; a new config replaces `meta`."""
    rest = {key: value for key, value in _copy_mapping(node, "meta").items() if key not in without}
    moved = len(rest) < len(node.get("meta") or {})
    if "config" in node:
        document.replace(node, "config", {"config": config})
        if moved:
            document.replace(node, "meta", {"meta": rest} if rest else {})
    elif moved:
        document.replace(node, "meta", {**({"meta": rest} if rest else {}), "config": config})
    else:
        document.replace(node, None, {"config": config}, after="description" if "description" in node else "name")


def _annotate_columns(document: Document, model: Any, drafts: Sequence[ColumnDraft], without: Sequence[str]) -> None:
    declared = {str(column.get("name", "")).casefold(): column for column in model.get("columns") or []
                if isinstance(column, Mapping)}  # fmt: skip
    by_name = {draft.name.casefold(): draft for draft in drafts}
    for name, column in declared.items():
        draft = by_name.get(name, ColumnDraft(name=name))
        if draft.block or draft.description or draft.data_type or _has_any(column, without):
            _annotate_column(document, column, draft, without)
    new = [_new_column(draft) for name, draft in by_name.items() if name not in declared]
    document.append_items(model, "columns", new)


def _annotate_column(document: Document, column: Any, draft: ColumnDraft, without: Sequence[str]) -> None:
    config = _copy_mapping(column, "config")
    meta = {key: value for key, value in (config.get("meta") or {}).items() if key not in without}
    if draft.block:
        meta[OURS] = dict(draft.block)
    config = {key: value for key, value in config.items() if key != "meta"} | ({"meta": meta} if meta else {})
    offered = {"data_type": draft.data_type, "description": draft.description}
    added = {key: value for key, value in offered.items() if value and not column.get(key)}
    new = {"config": flow_map(to_plain(config))} if config else {}
    rest = {key: value for key, value in _copy_mapping(column, "meta").items() if key not in without}
    if column.fa.flow_style():
        whole = {key: value for key, value in column.items() if key not in ("config", "meta")} | added
        document.replace_item(column, flow_map(to_plain(whole | ({"meta": rest} if rest else {}) | new)))
        return
    moved = len(rest) < len(column.get("meta") or {})
    if "config" in column:
        document.replace(column, "config", new)
        if moved:
            document.replace(column, "meta", {"meta": rest} if rest else {})
    elif moved:
        document.replace(column, "meta", {**({"meta": rest} if rest else {}), **new})
    elif new:
        document.replace(column, None, new, after=list(column)[-1])
    if added:
        document.replace(column, None, added, after="name")


def _new_column(draft: ColumnDraft) -> dict[str, Any]:
    column: dict[str, Any] = {"name": draft.name}
    if draft.data_type:
        column["data_type"] = draft.data_type
    if draft.description:
        column["description"] = draft.description
    if draft.block:
        column["config"] = flow_map({"meta": {OURS: dict(draft.block)}})
    return column


def new_model(name: str, draft: ViewDraft, kind: str = "models") -> str:
    """Return a new properties file for a model."""
    document = Document(f"{kind}:\n  - name: {name}\n", name)
    annotate_model(document, document.items(kind)[0], draft)
    return document.text


def fill_types(entities: Mapping[str, Mapping[str, str]], notes: list[Note]) -> dict[str, dict[str, str]]:
    """Return entities with a type for every key; undeclared types become text, with a note."""
    notes += [
        Note(where="featurelayer.yml", what=f"the type of {key} is not declared", advice="it becomes varchar")
        for keys in entities.values() for key, dtype in keys.items() if not dtype
    ]  # fmt: skip
    return {name: {key: dtype or "varchar" for key, dtype in keys.items()} for name, keys in entities.items()}


def entities_edit(
    root: Path, target: str, entities: Mapping[str, Mapping[str, str]], notes: list[Note]
) -> FileEdit | None:
    """Return the edit that declares entities in featurelayer.yml; None if all are declared."""
    path = root / "featurelayer.yml"
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    if not before.strip():
        store = {target: flow_map({"type": "sqlite", "path": ".featurelayer/online.db"})}
        empty = Document("version: 1\n", path.name)
        empty.replace(empty.tree, "version", {"online_store": store, "entities": _entity_block(entities)})
        return FileEdit(path=Path(path.name), before=before, after=empty.text) if entities else None
    document = Document(before, path.name)
    declared = document.tree.get("entities") or {}
    for name, keys in entities.items():
        current = (declared.get(name) or {}).get("keys") or {}
        if name in declared and list(current) != list(keys):
            notes.append(Note(where=path.name, what=f"entity {name} is declared with the keys {', '.join(current)}",
                              advice=f"these views have {', '.join(keys)}: rename one of them"))  # fmt: skip
    new = {name: keys for name, keys in entities.items() if name not in declared}
    if not new:
        return None
    if "entities" in document.tree:
        document.replace(document.tree, "entities", {"entities": {**copy_tree(declared), **_entity_block(new)}})
    else:
        document.replace(document.tree, None, {"entities": _entity_block(new)}, after=list(document.tree)[-1])
    return FileEdit(path=Path(path.name), before=before, after=document.text)


def _entity_block(entities: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    return {name: {"keys": flow_map(dict(keys))} for name, keys in entities.items()}


def _copy_mapping(node: Any, key: str) -> dict[str, Any]:
    value = node.get(key)
    return dict(copy_tree(value)) if isinstance(value, Mapping) else {}


def _has_any(column: Any, without: Sequence[str]) -> bool:
    places = (column.get("meta"), (column.get("config") or {}).get("meta"))
    return any(key in place for place in places if isinstance(place, Mapping) for key in without)


def _merge_tags(known: Any, more: Sequence[str]) -> list[str]:
    listed = [known] if isinstance(known, str) else list(known)
    return list(dict.fromkeys([*map(str, listed), *more]))
