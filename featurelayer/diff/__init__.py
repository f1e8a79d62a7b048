"""Use case: two states of a project, feature by feature: what was added, removed, retyped, or means something else."""

from featurelayer.diff.compare import compare
from featurelayer.diff.values import Change, ChangeKind, DiffReport, ModelCode, ProjectState

__all__ = ["Change", "ChangeKind", "DiffReport", "ModelCode", "ProjectState", "compare"]
