"""Convert annotations of dbt-features (`meta.feature_store`, formerly `feature_catalog`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from featurelayer.errors import PlanError, Problem
from featurelayer.migrate.annotate import annotate_exposure, annotate_model, entities_edit, entity_name, fill_types
from featurelayer.migrate.document import Document, find_yaml_files, to_plain
from featurelayer.migrate.values import ColumnDraft, FileEdit, Migration, Note, ViewDraft

_BLOCKS = ("feature_store", "feature_catalog")
_MODEL_KEYS = frozenset({
    "is_feature_table", "version", "entity", "grain", "time_grain", "timestamp_column", "event_timestamp_column",
    "exclude_columns", "exclude", "freshness", "owner", "tags", "description", "definition_version", "lifecycle",
    "replacement",
})  # fmt: skip
_COLUMN_KEYS = frozenset({
    "is_feature", "feature_type", "null_behavior", "used_by", "description", "definition_version", "lifecycle",
    "replacement",
})  # fmt: skip


def from_dbt_features(root: Path, folders: list[Path], target: str) -> Migration:
    """Convert every model and exposure that dbt-features reads; write nothing.

    Args:
        root: the project.
        folders: where its YAML is.
        target: the target that a new featurelayer.yml names.

    Raises:
        PlanError: these folders have no annotations of dbt-features.
        ConfigError: a file is not YAML.
    """
    work = _DbtFeaturesMigration()
    edits = []
    for path in find_yaml_files(iter(folders)):
        text = path.read_text(encoding="utf-8")
        if any(block in text for block in _BLOCKS):
            name = path.relative_to(root)
            after = work.convert_file(text, name.as_posix())
            if after != text:
                edits.append(FileEdit(path=name, before=text, after=after))
    if not edits:
        raise PlanError([Problem(
            what="no model of this project has annotations of dbt-features", where=str(root),
            fix=f"they would be under meta.{_BLOCKS[0]} or meta.{_BLOCKS[1]} in {', '.join(str(f) for f in folders)}",
        )])  # fmt: skip
    declared = entities_edit(root, target, fill_types(work.entities, work.notes), work.notes)
    return Migration(edits=(*edits, *([declared] if declared else [])), notes=tuple(work.notes))


@dataclass(kw_only=True)
class _DbtFeaturesMigration:
    """A conversion in progress: the entities and notes so far."""

    entities: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def convert_file(self, text: str, where: str) -> str:
        document = Document(text, where)
        for kind in ("models", "snapshots", "seeds"):
            for model in document.items(kind):
                place = f"{where} -> {model.get('name')}"
                block = _find_block(model)
                if block is None:
                    continue
                if "featurelayer" in ((model.get("config") or {}).get("meta") or {}):
                    self._add_note(place, "it already has annotations of featurelayer", "compare the two by hand")
                elif not block.get("is_feature_table"):
                    self._add_note(place, "is_feature_table is not true", "it stays unchanged")
                elif kind == "seeds":
                    self._add_note(place, "a seed can't be a feature view", "select from it in a model")
                else:
                    annotate_model(document, model, self._draft_view(model, block, place), without=_BLOCKS)
        for exposure in document.items("exposures"):
            block = _find_block(exposure)
            if block is not None:
                place = f"{where} -> {exposure.get('name')}"
                annotate_exposure(document, exposure, self._service_block(block, place), _BLOCKS)
        return document.text

    def _draft_view(self, model: Any, block: Mapping[str, Any], place: str) -> ViewDraft:
        self._note_unknown(block, _MODEL_KEYS, place)
        declared = {str(c["name"]).casefold(): c for c in model.get("columns") or [] if c.get("name")}
        time = block.get("timestamp_column") or block.get("event_timestamp_column")
        keys = self._read_keys(block, time, place)
        ours: dict[str, Any] = {}
        names = [entity_name(key) for key in keys]
        if names:
            ours["entity"] = names[0] if len(names) == 1 else names
        if time is None:
            ours["static"] = True
            self._add_note(
                place, "it has no timestamp column", "it becomes static: one row per key, valid at all times"
            )
        elif _is_date(declared.get(str(time).casefold())):
            ours["delay"] = "1 day"
            self._add_note(place, f"{time} is a date", "a row counts as known at the end of its day: correct `delay`")
        elif not (declared.get(str(time).casefold()) or {}).get("data_type"):
            self._add_note(
                place, f"the type of {time} is not declared", "if it is a DATE, set `delay` or `available_at`"
            )
        if block.get("time_grain"):
            ours["update_frequency"] = str(block["time_grain"])
        if block.get("freshness"):
            ours["freshness"] = to_plain(block["freshness"])
        self._convert_lifecycle(ours, block, place)
        self._note_unmapped(block, place)
        columns = [*self._draft_key_columns(keys, declared), *self._draft_columns(block, keys, time, declared, place)]
        return ViewDraft(
            block=ours, event_time=str(time) if time is not None else None,
            tags=tuple(map(str, block.get("tags") or ())), description=str(block.get("description") or ""),
            columns=tuple(columns),
        )  # fmt: skip

    def _read_keys(self, block: Mapping[str, Any], time: Any, place: str) -> list[str]:
        entity, grain = block.get("entity"), [str(name) for name in block.get("grain") or ()]
        keys = [str(entity)] if isinstance(entity, str) else [str(name) for name in entity or ()]
        folded = {name.casefold() for name in (*keys, str(time))}
        rest = [name for name in grain if name.casefold() not in folded]
        if not keys:
            self._add_note(place, "it names no entity", "each column of its grain becomes an entity")
            return rest
        if rest:
            self._add_note(place, f"{', '.join(rest)}: part of the grain but not of an entity",
                       "rows of one entity and time are ties: make it an entity, or the rows unique")  # fmt: skip
        return keys

    def _draft_key_columns(self, keys: list[str], declared: Mapping[str, Any]) -> Iterator[ColumnDraft]:
        for key in keys:
            column = declared.get(key.casefold(), {})
            key_types = self.entities.setdefault(entity_name(key), {})
            key_types[key] = key_types.get(key) or str(column.get("data_type") or "")
            yield ColumnDraft(name=key, block={"join_key": entity_name(key)})

    def _draft_columns(
        self, block: Mapping[str, Any], keys: list[str], time: Any, declared: Mapping[str, Any], place: str
    ) -> Iterator[ColumnDraft]:
        excluded = {
            str(name).casefold() for key in ("exclude_columns", "exclude", "grain") for name in block.get(key) or ()
        }
        roles = {*(key.casefold() for key in keys), str(time).casefold()}
        for name, column in declared.items():
            said = _find_block(column) or {}
            where = f"{place}.{column['name']}"
            self._note_unknown(said, _COLUMN_KEYS, where)
            ours: dict[str, Any] = {}
            if name not in roles and (name in excluded or said.get("is_feature") is False):
                ours["feature"] = False
            self._convert_lifecycle(ours, said, where)
            self._note_unmapped(said, where)
            if name not in roles and (ours or said):
                yield ColumnDraft(name=str(column["name"]), block=ours, description=str(said.get("description") or ""))

    def _service_block(self, block: Mapping[str, Any], place: str) -> dict[str, Any]:
        self._note_unknown(block, frozenset({"consumes", "version"}), place)
        features = []
        for consumed in block.get("consumes") or ():
            view, _, feature = str(consumed).partition(":")
            features.append(f"{view}.{feature or '*'}")
        self._add_note(place, "the label timestamp column is unknown", "add label_timestamp")
        return {"features": features}

    def _convert_lifecycle(self, ours: dict[str, Any], block: Mapping[str, Any], place: str) -> None:
        lifecycle = block.get("lifecycle", "active")
        if lifecycle == "deprecated":
            replaced = str(block.get("replacement") or "").replace(":", ".")
            ours["deprecated"] = {"replaced_by": replaced} if replaced else {}
        elif lifecycle != "active":
            self._add_note(place, f"lifecycle: {lifecycle}", "mention it in the description, or add a tag")

    def _note_unmapped(self, block: Mapping[str, Any], place: str) -> None:
        advice = {
            "owner": "owners belong to dbt: set the model's `group`",
            "feature_type": "types come from data_type",
            "null_behavior": "nothing replaces a NULL; a `default` replaces what is missing or expired",
            "used_by": "services define who uses a feature",
        }
        for key, text in advice.items():
            if block.get(key):
                self._add_note(place, f"{key}: {_shorten(block[key])}", text)
        if int(block.get("definition_version") or 1) > 1:
            what = f"definition_version: {block['definition_version']}"
            self._add_note(place, what, "versions belong to dbt: use `versions` of the model")

    def _note_unknown(self, block: Mapping[str, Any], known: frozenset[str], place: str) -> None:
        for key in block:
            if key not in known:
                self._add_note(place, f"{key}: {_shorten(block[key])}", "dbt-features ignores this key as well")

    def _add_note(self, where: str, what: str, advice: str = "") -> None:
        self.notes.append(Note(where=where, what=what, advice=advice))


def _find_block(node: Any) -> Mapping[str, Any] | None:
    """Return the block of a node; the newer name wins, and `config.meta` over `meta`."""
    for meta in ((node.get("config") or {}).get("meta"), node.get("meta")):
        for name in _BLOCKS:
            if isinstance(meta, Mapping) and isinstance(meta.get(name), Mapping):
                found: Mapping[str, Any] = meta[name]
                return found
    return None


def _is_date(column: Any) -> bool:
    return column is not None and str(column.get("data_type") or "").strip().lower() == "date"


def _shorten(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
