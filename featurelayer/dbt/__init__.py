"""The only place that knows dbt: its project files and its artifacts, read without importing dbt."""

from __future__ import annotations

from featurelayer.callbacks import Notify
from featurelayer.dbt.project import Project, load_project
from featurelayer.registry import Registry

__all__ = ["Project", "load_project", "load_registry"]


def load_registry(project: Project, *, warn: Notify | None = None) -> Registry:
    """Return the registry that the project's manifest describes; `warn` is called with what is doubtful but usable.

    Raises:
        ArtifactError: no manifest, or one that can't be used.
        MetadataError: with every problem of the annotations.
    """
    from featurelayer.dbt import artifacts
    from featurelayer.dbt.loader import registry_from

    artifact = artifacts.read_manifest(project.target_path)
    say = warn or (lambda _message: None)
    for message in artifacts.find_doubts(artifact, project):
        say(message)
    return registry_from(artifact, project)
