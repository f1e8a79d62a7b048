"""Compare two states of a project, feature by feature: added, removed, retyped, or computed differently."""

from featurelayer.diff.compare import compare
from featurelayer.diff.values import Change, ChangeKind, DiffReport, ModelCode, ProjectState

__all__ = ["Change", "ChangeKind", "DiffReport", "ModelCode", "ProjectState", "compare"]
