"""Convert the definitions of a Feast repository to annotations of the dbt models that its sources read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from featurelayer.durations import format_duration
from featurelayer.errors import PlanError, Problem
from featurelayer.migrate.annotate import annotate_model, entities_edit, fill_types, new_model
from featurelayer.migrate.document import Document
from featurelayer.migrate.feast_repo import SOURCES, FeastObject, FeastRepo, Projection, as_list, read_repo
from featurelayer.migrate.values import ColumnDraft, FileEdit, Migration, Note, ViewDraft

_TYPES = {
    "int64": "bigint", "int32": "integer", "string": "varchar", "str": "varchar", "bool": "boolean", "bytes": "blob",
    "float64": "double", "double": "double", "float32": "real", "float": "real", "unixtimestamp": "timestamp",
    "unix_timestamp": "timestamp", "uuid": "uuid", "decimal": "decimal(38, 9)",
}  # fmt: skip
_SERVICES = "feast_services.yml"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetModel:
    """A dbt model to annotate: the files of its SQL and YAML, and the name of its relation.

    `kind` is `models` or `snapshots`; `yaml` is empty if no file describes the model.
    """

    name: str
    kind: str
    sql: str
    yaml: str
    relation: str


def from_feast(repo: Path, root: Path, models: Mapping[str, TargetModel], folder: str, target: str) -> Migration:
    """Convert the models that a Feast repository reads to feature views; write nothing.

    Args:
        repo: the folder of the repository.
        root: the dbt project.
        models: its models by name.
        folder: the folder of services, relative to the project.
        target: the target that a new featurelayer.yml names.

    Raises:
        PlanError: the folder defines no feature view, or none that reads a model of the project.
        ConfigError: a file is not YAML.
    """
    shown = repo.relative_to(root) if repo.is_relative_to(root) else Path(repo.name)
    found = read_repo(repo, shown)
    if not found.views:
        raise PlanError([Problem(what="its Python files define no FeatureView", where=str(repo),
                                 fix="pass the folder of feature_store.yaml with --repo")])  # fmt: skip
    return _FeastMigration(root=root, models=models, folder=folder, target=target, notes=list(found.notes)).migration(
        found
    )


@dataclass(kw_only=True)
class _FeastMigration:
    root: Path
    models: Mapping[str, TargetModel]
    folder: str
    target: str
    notes: list[Note]
    entities: dict[str, dict[str, str]] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)  # view's name in Feast -> dbt model

    def migration(self, repo: FeastRepo) -> Migration:
        documents: dict[str, tuple[str, Document]] = {}
        fresh: list[FileEdit] = []
        for view in repo.views:
            model = self._find_model(view)
            if model is None:
                continue
            if model.name in self.chosen.values():
                self._add_note(view.where, f"{view.text('name')} reads {model.name}, as another view does",
                           "a model is one feature view: merge the two by hand")  # fmt: skip
                continue
            self.chosen[view.text("name")] = model.name
            draft = self._draft_view(view, model)
            edit = self._annotate_model(model, draft, documents, view)
            if edit is not None:
                fresh.append(edit)
        if not self.chosen:
            raise PlanError([Problem(
                what="no feature view of this repository reads a model of the dbt project",
                where=", ".join(view.where for view in repo.views), fix="\n       ".join(map(str, self.notes)),
            )])  # fmt: skip
        edits = [FileEdit(path=Path(name), before=before, after=document.text)
                 for name, (before, document) in documents.items() if document.text != before]  # fmt: skip
        services = self._convert_services(repo)
        declared = entities_edit(self.root, self.target, fill_types(self.entities, self.notes), self.notes)
        every = [*edits, *fresh, *([services] if services else []), *([declared] if declared else [])]
        return Migration(edits=tuple(every), notes=tuple(dict.fromkeys(self.notes)))

    def _find_model(self, view: FeastObject) -> TargetModel | None:
        name, source = view.text("name"), _find_batch_source(view)
        if source is None:
            self._add_note(view.where, f"the source of {name} is unknown", "annotate its dbt model by hand")
            return None
        table = source.text("table") or source.text("table_ref") or source.text("path").rstrip("/")
        if not table:
            what = f"{name} reads a query" if source.text("query") else f"the table of {name} is unknown"
            self._add_note(source.where, what, "make it a dbt model, and run this again with its table")
            return None
        last = PurePosixPath(table).name if source.text("path") else table.split(".")[-1]
        bare = last.strip('"`[]').removesuffix(".parquet").casefold()
        fitting = [
            model for model in self.models.values() if bare in (model.relation.casefold(), model.name.casefold())
        ]
        if len(fitting) != 1:
            what = f"{name} reads {table}, which " + (
                "is not a model of the project" if not fitting else "matches several models"
            )
            self._add_note(view.where, what, "build it with dbt, or annotate the model by hand")
            return None
        return fitting[0]

    def _draft_view(self, view: FeastObject, model: TargetModel) -> ViewDraft:
        source = _find_batch_source(view)
        assert source is not None
        block: dict[str, Any] = {}
        columns: dict[str, ColumnDraft] = {}
        mapping = source.arguments.get("field_mapping") or {}
        if mapping:
            self._add_note(source.where, f"field_mapping of {model.name}", "rename the columns in the model")
        names = list(self._draft_keys(view, columns))
        if names:
            block["entity"] = names[0] if len(names) == 1 else names
        else:
            self._add_note(
                view.where, f"{view.text('name')} has no entity", "add one: features are looked up by entity"
            )
        time = source.text("timestamp_field") or source.text("event_timestamp_column")
        if not time and model.kind == "models":
            block["static"] = True
            self._add_note(
                source.where,
                f"the event time of {view.text('name')} is unknown",
                "it becomes static until `event_time` is set",
            )
        if source.text("created_timestamp_column"):
            block["created_timestamp"] = source.text("created_timestamp_column")
        ttl = view.arguments.get("ttl")
        if isinstance(ttl, timedelta) and ttl > timedelta(0):
            block["ttl"] = format_duration(ttl)
        block["online"] = bool(view.arguments.get("online", True))
        times = {name.casefold() for name in (time, source.text("created_timestamp_column")) if name}
        for each in (*as_list(view.arguments.get("schema")), *as_list(view.arguments.get("features"))):
            self._draft_feature(each, columns, times)
        owner = view.text("owner")
        if owner:
            self._add_note(view.where, f"owner: {owner}", "owners belong to dbt: set the model's `group`")
        types = {time: "timestamp", block.get("created_timestamp", ""): "timestamp"}
        extra = [ColumnDraft(name=name, data_type=dtype) for name, dtype in types.items()
                 if name and name.casefold() not in columns]  # fmt: skip
        tags = view.arguments.get("tags") or {}
        if tags:
            self._add_note(
                view.where, f"tags: {', '.join(f'{k}: {v}' for k, v in tags.items())}", "tags of dbt are words"
            )
        return ViewDraft(
            block=block, event_time=time or None, description=view.text("description"),
            columns=(*columns.values(), *extra),
        )  # fmt: skip

    def _draft_keys(self, view: FeastObject, columns: dict[str, ColumnDraft]) -> Iterator[str]:
        types = {
            each.text("name"): _sql_type(each.arguments.get("dtype"))
            for each in as_list(view.arguments.get("schema"))
            if isinstance(each, FeastObject)
        }
        for entity in as_list(view.arguments.get("entities")):
            if isinstance(entity, FeastObject):
                name, keys = entity.text("name"), entity.arguments.get("join_keys") or [entity.text("join_key")]
                value_type = _sql_type(entity.arguments.get("value_type"))
            else:
                name, keys, value_type = str(entity), [str(entity)], ""
            keys = [str(key) for key in keys if key] or [name]
            known = self.entities.setdefault(name, {})
            for key in keys:
                dtype = types.get(key) or value_type
                known[key] = known.get(key) or dtype
                role = name if len(keys) == 1 else f"{name}.{key}"
                columns[key.casefold()] = ColumnDraft(name=key, block={"join_key": role}, data_type=dtype)
            yield name

    def _draft_feature(self, each: Any, columns: dict[str, ColumnDraft], times: set[str]) -> None:
        if not isinstance(each, FeastObject) or not each.text("name"):
            return
        name, folded = each.text("name"), each.text("name").casefold()
        dtype = _sql_type(each.arguments.get("dtype"))
        if not dtype:
            self._add_note(each.where, f"the type of {name} is unknown", "declare its data_type")
        if folded in columns:
            columns[folded] = replace(columns[folded], description=each.text("description"))
        elif folded not in times:
            columns[folded] = ColumnDraft(name=name, description=each.text("description"), data_type=dtype)

    def _annotate_model(
        self, model: TargetModel, draft: ViewDraft, documents: dict[str, tuple[str, Document]], view: FeastObject
    ) -> FileEdit | None:
        """Annotate a model in the file that describes it, or return a new file."""
        if not model.yaml:
            path = Path(model.sql).with_suffix(".yml")
            if not (self.root / path).exists():
                return FileEdit(path=path, before="", after=new_model(model.name, draft, model.kind))
            self._add_note(
                view.where, f"{path.as_posix()} exists and does not describe {model.name}", "annotate it by hand"
            )
            return None
        if model.yaml not in documents:
            text = (self.root / model.yaml).read_text(encoding="utf-8")
            documents[model.yaml] = text, Document(text, model.yaml)
        document = documents[model.yaml][1]
        node = next((each for each in document.items(model.kind) if each.get("name") == model.name), None)
        if node is None or "featurelayer" in ((node.get("config") or {}).get("meta") or {}):
            what = (
                f"{model.name} already has annotations of featurelayer"
                if node
                else f"{model.name} is not in {model.yaml}"
            )
            self._add_note(view.where, what, "annotate it by hand")
            return None
        annotate_model(document, node, draft)
        return None

    def _convert_services(self, repo: FeastRepo) -> FileEdit | None:
        """Return a file with exposures for the services whose views were converted."""
        exposures = []
        for service in repo.services:
            lines, used = list[Any](), list[str]()
            for each in as_list(service.arguments.get("features")):
                line, model = self._service_line(service, each)
                if model:
                    lines.append(line)
                    used.append(model)
            if lines:
                exposures.append(self._build_exposure(service, lines, list(dict.fromkeys(used))))
        if not exposures:
            return None
        path = Path(self.folder) / _SERVICES
        if (self.root / path).exists():
            self._add_note(path.as_posix(), "it already exists", "remove it to write the services again")
            return None
        document = Document("version: 2\n", path.as_posix())
        document.append_items(document.tree, "exposures", exposures)
        return FileEdit(path=path, before="", after=document.text)

    def _service_line(self, service: FeastObject, each: Any) -> tuple[Any, str]:
        used = each if isinstance(each, Projection) else Projection(view=each)
        view = used.view
        name = view.text("name") if isinstance(view, FeastObject) else ""
        model = self.chosen.get(name, "")
        if not model:
            self._add_note(service.where, f"{service.text('name')} uses {name or 'an unknown view'}",
                       "it was not migrated, so the service lacks it")  # fmt: skip
            return None, ""
        features = list(used.features) if used.features is not None else ["*"]
        if not used.name and not used.keys:
            return [f"{model}.{feature}" for feature in features], model
        line: dict[str, Any] = {"view": model}
        if used.name:
            line["role"] = used.name
        if used.keys:
            line["keys"] = dict(used.keys)
        return [line | {"features": features}], model

    def _build_exposure(self, service: FeastObject, lines: list[Any], models: list[str]) -> dict[str, Any]:
        from featurelayer.migrate.document import flow_map

        owner = service.text("owner")
        if not owner:
            self._add_note(
                service.where, f"{service.text('name')} has no owner", 'dbt requires one: it becomes "unknown"'
            )
        self._add_note(service.where, f"{service.text('name')} does not name the label timestamp column",
                   "add label_timestamp")  # fmt: skip
        features = [flow_map(line) if isinstance(line, dict) else line for group in lines for line in group]
        return {
            "name": service.text("name"),
            "type": "ml",
            **({"description": service.text("description")} if service.text("description") else {}),
            "owner": flow_map({"email": owner} if "@" in owner else {"name": owner or "unknown"}),
            "depends_on": [f"ref('{model}')" for model in models],
            "config": {"meta": {"featurelayer": {"features": features}}},
        }

    def _add_note(self, where: str, what: str, advice: str = "") -> None:
        self.notes.append(Note(where=where, what=what, advice=advice))


def _find_batch_source(view: FeastObject) -> FeastObject | None:
    """Return the table that a view reads; for a push source or a stream its batch source."""
    for name in ("source", "batch_source"):
        source = view.arguments.get(name)
        if isinstance(source, FeastObject) and source.kind not in SOURCES:
            source = source.arguments.get("batch_source")
        if isinstance(source, FeastObject) and source.kind in SOURCES:
            return source
    return None


def _sql_type(said: Any) -> str:
    """Return the SQL type of a Feast type; empty if it has none."""
    text = str(said or "").rpartition(".")[2].casefold() if not str(said or "").startswith("Array(") else str(said)
    if text.startswith("Array("):
        element = _sql_type(text[6:-1])
        return f"{element}[]" if element else ""
    if text.endswith("_list"):
        element = _TYPES.get(text.removesuffix("_list"), "")
        return f"{element}[]" if element else ""
    return _TYPES.get(text, "")
