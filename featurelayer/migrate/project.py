"""Plan the migration of a dbt project from another tool."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sqlglot import exp

from featurelayer.dbt import Project
from featurelayer.dbt.artifacts import read_models
from featurelayer.errors import ConfigError, PlanError, Problem, UnknownNameError
from featurelayer.migrate.dbt_features import from_dbt_features
from featurelayer.migrate.feast import TargetModel, from_feast
from featurelayer.migrate.values import Migration

SOURCES = ("dbt-features", "feast")
_PATHS = {"model-paths": ["models"], "snapshot-paths": ["snapshots"], "seed-paths": ["seeds"]}
_STORE = "feature_store.yaml"
_NOT_OURS = ("target", "dbt_packages", "logs", "node_modules")


def plan_migration(project: Project, source: str, repo: Path | None = None) -> Migration:
    """Plan the edits that convert a project from another tool; write nothing.

    Args:
        project: the dbt project; for Feast its manifest is read as well.
        source: `dbt-features` or `feast`.
        repo: the folder of Feast's definitions; by default the one in the project that has a feature_store.yaml.

    Raises:
        UnknownNameError: the source is unknown.
        PlanError: the project has nothing to migrate.
        ConfigError: a file is not YAML.
        ArtifactError: the manifest can't be used (Feast only).
    """
    if source == "dbt-features":
        return from_dbt_features(project.root, list(_yaml_folders(project)), _target_name(project))
    if source != "feast":
        raise UnknownNameError("tool to migrate from", source, SOURCES)
    folder = (repo or _find_feast_repo(project.root)).resolve()
    if not folder.is_dir():
        raise PlanError(
            [
                Problem(
                    what=f"the folder {folder} does not exist", fix="pass the folder of Feast's definitions with --repo"
                )
            ]
        )
    first = next((path for path in _yaml_folders(project)), project.root / "models").relative_to(project.root)
    return from_feast(folder, project.root, _read_models(project), first.as_posix(), _target_name(project))


def _yaml_folders(project: Project) -> Iterator[Path]:
    for setting, default in _PATHS.items():
        for name in project.settings.get(setting) or default:
            path = project.root / str(name)
            if path.is_dir():
                yield path


def _target_name(project: Project) -> str:
    try:
        return project.target
    except ConfigError:  # without a profiles.yml here the name is a guess
        return "dev"


def _find_feast_repo(root: Path) -> Path:
    found = [
        path.parent
        for path in sorted(root.rglob(_STORE))
        if not any(part in _NOT_OURS or part.startswith(".") for part in path.relative_to(root).parts)
    ]
    if len(found) != 1:
        what = f"the project has no {_STORE}" if not found else f"the project has several {_STORE}"
        raise PlanError([Problem(what=what, where=str(root), fix="pass the folder of Feast's definitions with --repo")])
    return found[0]


def _read_models(project: Project) -> dict[str, TargetModel]:
    return {
        name: TargetModel(
            name=name,
            kind=f"{node.resource_type}s",
            sql=node.original_file_path,
            yaml=node.file if node.patch_path else "",
            relation=exp.to_table(node.relation_name).name if node.relation_name else node.name,
        )
        for name, node in read_models(project.target_path).items()
        if (project.root / node.original_file_path).is_file()
    }
