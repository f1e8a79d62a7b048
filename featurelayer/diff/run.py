"""Run a diff: read the manifests of two states, trace their columns, and compare them."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from featurelayer.dbt import Project
from featurelayer.dbt.artifacts import RawManifest, decode_manifest, read_raw
from featurelayer.dbt.inventory import Inventory, Model
from featurelayer.dbt.lineage import find_missing_columns, normalize_compiled_sql, trace
from featurelayer.dbt.loader import Annotations, read_annotations
from featurelayer.dbt.project import CONFIG_FILE, ProjectConfig, read_yaml
from featurelayer.diff import DiffReport, ModelCode, ProjectState, compare
from featurelayer.diff.values import NOT_COMPILED
from featurelayer.errors import ManifestNotFound, MetadataError, PlanError, Problem
from featurelayer.lineage import ColumnLineage, Lineage
from featurelayer.model import FeatureView

_NAMES_TARGET = re.compile(r"\b(?:target|this|model)\s*\.\s*(?:schema|database)\b")


def _relation_parts(relation_name: str) -> list[str]:
    """Return the database and the schema of a relation, without quotes."""
    return relation_name.translate(str.maketrans("", "", '"`[]')).split(".")[:-1]


class _RelocatedInventory(Inventory):
    """Models of another state, with the relations of the project's own.

    CI builds in a schema of its own, which changes no meaning. dbt writes a relation in compiled SQL exactly as in its
    manifest.
    """

    def __init__(self, raw: RawManifest, path: Path, places: Mapping[str, str]) -> None:
        super().__init__(raw, path)
        self._original, self._places = Inventory(raw, path), places

    def _read_model(self, unique_id: str) -> Model | None:
        model = self._original.model(unique_id)
        if model is None:
            return None
        sql = normalize_compiled_sql(self._original, model)
        for parent in (unique_id, *model.depends_on):
            old = self._original.model(parent)
            if old is not None and old.relation_name and parent in self._places:
                sql = sql.replace(old.relation_name, self._places[parent])
        if _NAMES_TARGET.search(model.raw_sql) and unique_id in self._places:
            for was, is_ in zip(*map(_relation_parts, (model.relation_name, self._places[unique_id])), strict=False):
                sql = re.sub(rf"(?<!\w){re.escape(was)}(?!\w)", is_, sql) if was != is_ else sql
        return replace(model, compiled_sql=sql, relation_name=self._places.get(unique_id, model.relation_name))


def diff_projects(project: Project, state: Path) -> DiffReport:
    """Compare the project with the manifest in the folder `state`.

    A featurelayer.yml next to that manifest declares its entities; without one, the project's own is used.

    Raises:
        PlanError: the folder has no manifest.
        ArtifactError: one of the manifests can't be used.
        MetadataError: the project's annotations have problems. Those of the other state are only noted.
    """
    if not (state / "manifest.json").is_file():
        raise PlanError([Problem(
            what="the folder has no manifest.json to compare with", where=str(state),
            fix="pass the folder of the other manifest.json, as for dbt's --state",
        )])  # fmt: skip
    if not (project.target_path / "manifest.json").is_file():
        raise ManifestNotFound(
            "there is no manifest.json", where=str(project.target_path), fix="run `dbt compile` in the project"
        )
    raw, path, data = read_raw(project.target_path)
    inventory = Inventory(raw, path)
    places = {
        unique_id: model.relation_name
        for unique_id in (*inventory.model_ids, *inventory.source_ids)
        if (model := inventory.model(unique_id)) is not None and model.relation_name
    }
    read = read_annotations(decode_manifest(raw, path, data), project)
    if read.problems:
        raise MetadataError(read.problems)
    now = _read_state(read, inventory, keep=True)
    raw, path, data = read_raw(state)
    read = read_annotations(decode_manifest(raw, path, data), _project_with_state(project, state))
    then = _read_state(read, _RelocatedInventory(raw, path, places), keep=False)
    return replace(compare(then, now), notes=tuple(f"in {path}: {problem.what}" for problem in read.problems))


def _project_with_state(project: Project, state: Path) -> Project:
    """Return the project with another manifest, and with the featurelayer.yml next to it if there is one."""
    then = replace(project, target_path=state)
    path = state / CONFIG_FILE
    config = (
        ProjectConfig(project=then, path=path, document=read_yaml(path) or {}) if path.is_file() else project.config
    )
    then.__dict__["config"] = config  # what the cached property would read from the project's folder
    return then


def _read_state(read: Annotations, inventory: Inventory, *, keep: bool) -> ProjectState:
    views = {view.id: view for view in (*read.doubtful, *read.registry.views.values())}
    lineage = trace(
        inventory, adapter=read.registry.adapter, unique_ids=[view.unique_id for view in views.values()], keep=keep
    )

    def column(view: FeatureView, name: str) -> ColumnLineage | None:
        return lineage.column(view.unique_id, name)

    def problem(view: FeatureView) -> str:
        model = inventory.model(view.unique_id)
        if model is None or not model.compiled_sql:
            return f"{inventory.path} {NOT_COMPILED} {view.id}"
        return lineage.problems.get(view.unique_id, "its SQL does not show the column")

    missing_columns = find_missing_columns(inventory, lineage, tuple(views.values()), adapter=read.registry.adapter)

    def missing(view: FeatureView, name: str) -> str:
        columns = (each for each in missing_columns.get(view.id, ()) if each.is_certain)
        return next((str(each) for each in columns if each.role != "feature" or each.column == name), "")

    return ProjectState(
        registry=read.registry,
        views=views,
        column=column,
        problem=problem,
        missing=missing,
        is_followed=lambda unique_id: _is_followed(inventory, lineage, unique_id),
        code=_code_reader(inventory),
        above=lambda unique_id: tuple(_find_ancestors(inventory, unique_id)),
    )


def _is_followed(inventory: Inventory, lineage: Lineage, unique_id: str) -> bool:
    """Whether a model's SQL could be followed; seeds and sources have none."""
    model = inventory.model(unique_id)
    return model is None or model.kind in ("seed", "source") or lineage.output(unique_id) is not None


def _code_reader(inventory: Inventory) -> Callable[[str], ModelCode]:
    """Return a function from unique id to the model's code."""

    @functools.cache
    def code(unique_id: str) -> ModelCode:
        model = inventory.model(unique_id)
        if model is None or model.kind in ("seed", "source"):
            return ModelCode()
        # An incremental model compiles in two ways, depending on what is in the warehouse.
        is_incremental = model.config.get("materialized") == "incremental"
        compiled = "" if is_incremental and model.checksum else normalize_compiled_sql(inventory, model)
        return ModelCode(compiled=compiled, checksum=model.checksum or "")

    return code


def _find_ancestors(inventory: Inventory, unique_id: str) -> Iterator[str]:
    """Yield the models upstream of one, nearest first."""
    queue = [unique_id]
    for each in queue:  # grows while it is walked
        model = inventory.model(each)
        queue += [parent for parent in (model.depends_on if model else ()) if parent not in queue]
    yield from queue[1:]
