"""The files of training sets in a dbt project: which there should be, how they are, and writing those that are due."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from featurelayer.callbacks import Notify
from featurelayer.dbt.artifacts import Node, catalog_types, read_referable
from featurelayer.dbt.project import Project
from featurelayer.dbt_model.text import MARK, Describe, ModelRequest, model_text, parse_request
from featurelayer.errors import OutdatedModel, PlanError, Problem, ProblemsError
from featurelayer.registry import Registry

_FOLDER = "featurelayer"


class State(StrEnum):
    """The state of a file: `FOREIGN` was not written by featurelayer, `ORPHANED` has no service any more."""

    CURRENT = "current"
    STALE = "stale"
    MISSING = "missing"
    FOREIGN = "foreign"
    ORPHANED = "orphaned"


@dataclass(frozen=True, slots=True, kw_only=True)
class DbtModel:
    """A training set's file, by its path from the project's folder on.

    `text` is what it should hold, None if it should not be; `found` what it does hold, None if there is no file.
    """

    path: PurePosixPath
    service: str
    command: str
    text: str | None
    found: str | None

    @property
    def state(self) -> State:
        if self.text is None:
            return State.ORPHANED
        if self.found is None:
            return State.MISSING
        if not self.found.startswith(MARK):
            return State.FOREIGN
        return State.CURRENT if self.found == self.text else State.STALE

    def diff(self) -> Iterator[str]:
        """Yield the lines in which a stale file differs from what featurelayer would write."""
        if self.state is State.STALE:
            old, new = ((text or "").splitlines() for text in (self.found, self.text))
            yield from difflib.unified_diff(old, new, str(self.path), "what it should be", n=2, lineterm="")

    def problem(self) -> Problem | None:
        """Return what is wrong with the file, or None if it is current."""
        name, rewrite = self.path.stem, f"run {self.command}"
        what, fix = {
            State.CURRENT: ("", ""),
            State.STALE: (f"{name} is not what the project says now", rewrite),
            State.MISSING: (f"{name} is not written yet", rewrite),
            State.FOREIGN: (
                f"{name} has a file that featurelayer did not write, so it is left alone",
                "move that file, or choose another folder with --path",
            ),
            State.ORPHANED: (f"{name} is left over: nothing makes it any more", "delete the file"),
        }[self.state]
        return Problem(what=what, where=str(self.path), fix=fix) if what else None


def training_set_models(
    project: Project, registry: Registry, request: ModelRequest | None, *, describe: Describe, notify: Notify
) -> tuple[DbtModel, ...]:
    """Return the model of a request; with None those of all services that name their labels, and all that were written.

    Raises:
        UnknownNameError: no such service.
        PlanError: with all that stands in the way of any of them.
    """
    places = _ModelFolders(project)
    written = {} if request is not None else places.read_existing()
    requests = [request] if request is not None else _collect_requests(registry, written, places)
    if not requests and not written:
        fix = "name one with --service, or the labels' dbt model as `labels` in the exposure's featurelayer block"
        raise PlanError([Problem(what="no feature service names the dbt model of its labels", fix=fix)])
    nodes = read_referable(project.target_path)
    catalog = catalog_types(project.target_path, frozenset(view.unique_id for view in registry.views.values()))
    models: list[DbtModel] = []
    problems: list[Problem] = []
    for wanted in requests:
        path = places.path(wanted)
        try:
            text = model_text(wanted, registry, nodes, describe=describe, notify=notify, catalog=catalog)
        except ProblemsError as error:
            problems += error.problems
            continue
        problems += places.problems(wanted, nodes)
        found = _read_text(project.root / path)
        models.append(DbtModel(path=path, service=wanted.service, command=wanted.command, text=text, found=found))
    if problems:
        raise PlanError(dict.fromkeys(problems))
    left = {path: found for path, found in written.items() if path not in {model.path for model in models}}
    for path, (said, found) in left.items():
        models.append(DbtModel(path=path, service=said.service, command=said.command, text=None, found=found))
    return tuple(models)


def write_models(root: Path, models: Iterable[DbtModel]) -> tuple[DbtModel, ...]:
    """Write the files that are missing or stale and return their models. Nothing is deleted.

    Raises:
        OutdatedModel: a file that featurelayer did not write is in the way; nothing was written.
    """
    models = tuple(models)
    foreign = [problem for model in models if model.state is State.FOREIGN and (problem := model.problem())]
    if foreign:
        raise OutdatedModel(foreign)
    due = tuple(model for model in models if model.state in (State.MISSING, State.STALE))
    for model in due:
        file = root / model.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(model.text or "", encoding="utf-8", newline="\n")
    return due


def _collect_requests(
    registry: Registry, written: Mapping[PurePosixPath, tuple[ModelRequest, str]], places: _ModelFolders
) -> list[ModelRequest]:
    """Return the requests of existing files, and of the services that name their labels and have no file yet."""
    asked = [
        said for path, (said, _) in written.items() if said.service in registry.services and path.stem == said.name
    ]
    named = [ModelRequest(service=service.name) for service in registry.services.values() if service.labels]
    have = {request.name for request in asked}
    return sorted((*asked, *(request for request in named if request.name not in have)), key=places.path)


class _ModelFolders:
    """The folders of the project's models."""

    def __init__(self, project: Project) -> None:
        paths = project.settings.get("model-paths")
        names = paths if isinstance(paths, list) and paths else ["models"]
        self._project = project
        self._folders = [PurePosixPath(str(name)) for name in names]

    def path(self, request: ModelRequest) -> PurePosixPath:
        """Return where a request's file goes."""
        return (request.folder or self._folders[0] / _FOLDER) / f"{request.name}.sql"

    def read_existing(self) -> dict[PurePosixPath, tuple[ModelRequest, str]]:
        """Return the files that featurelayer wrote, each with what it says it was written with, and its text."""
        found = {}
        for folder in self._folders:
            for file in sorted((self._project.root / folder).rglob("*.sql")):
                text = _read_text(file) or ""
                if text.startswith(MARK):
                    path = PurePosixPath(file.relative_to(self._project.root).as_posix())
                    usual = path.parent == self._folders[0] / _FOLDER
                    found[path] = parse_request(text, None if usual else path.parent), text
        return found

    def problems(self, request: ModelRequest, nodes: Mapping[str, Node]) -> Iterator[Problem]:
        """Yield why dbt would not read a request's file as the model that it is."""
        path, root = self.path(request), self._project.root
        if not any((root / path).resolve().is_relative_to((root / folder).resolve()) for folder in self._folders):
            fix = f"choose a folder inside {' or '.join(map(str, self._folders))}"
            yield Problem(what=f"dbt reads no models from {path.parent}", where="--path", fix=fix)
        other = nodes.get(request.name)
        if other is not None and other.package_name == self._project.name and other.original_file_path != str(path):
            what = f"the project has another {other.resource_type} named '{request.name}'"
            fix = "rename or delete it; if featurelayer wrote it, pass its folder as --path"
            yield Problem(what=what, where=other.original_file_path, fix=fix)


def _read_text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
