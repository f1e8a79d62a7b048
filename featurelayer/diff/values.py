"""The two sides of a diff, and what was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from featurelayer.lineage import ColumnLineage
from featurelayer.model import FeatureView, Severity
from featurelayer.registry import Registry

NOT_COMPILED = "has no compiled SQL of"


class ChangeKind(StrEnum):
    """What has become of a feature, the gravest first."""

    REMOVED = "removed"
    RETYPED = "retyped"
    MEANING = "meaning changed"
    UPSTREAM = "changed upstream"
    UNKNOWN = "may have changed"
    ADDED = "added"
    COSMETIC = "cosmetic"
    METADATA = "metadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCode:
    """What a model is: what it was compiled to, empty if it was not, and the checksum of its file."""

    compiled: str = ""
    checksum: str = ""

    def is_same(self, other: ModelCode) -> bool:
        """Whether both are one model: by what both were compiled to, else by their files."""
        if self.compiled and other.compiled:
            return self.compiled == other.compiled
        return self.checksum == other.checksum

    def is_same_file(self, other: ModelCode) -> bool:
        """Whether both were written in the same file, unchanged."""
        return bool(self.checksum) and self.checksum == other.checksum


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectState:
    """One state of the project.

    `views` also has those that can't be fully understood. `column` finds the lineage of a view's column, None where
    its SQL is not known; `problem` says why not. `missing` says, by view and feature, why the model can't produce it,
    "" where it does or where that is not known. `is_followed` tells, by unique id, whether what a model computes is
    known. `code` is, by unique id, what a model was compiled to, or else the
    checksum of its file, and `above` the models that one is built from.
    """

    registry: Registry
    views: Mapping[str, FeatureView]
    column: Callable[[FeatureView, str], ColumnLineage | None]
    problem: Callable[[FeatureView], str]
    missing: Callable[[FeatureView, str], str]
    is_followed: Callable[[str], bool]
    code: Callable[[str], ModelCode]
    above: Callable[[str], tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of one or more features of a view, or of a service (then `service` is its name).

    `services` are those that use a feature on either side, `online` what the store keeps the view's items under.
    """

    kind: ChangeKind
    severity: Severity
    view: str = ""
    features: tuple[str, ...] = ()
    service: str = ""
    details: tuple[str, ...] = ()
    fix: str = ""
    services: tuple[str, ...] = ()
    owner: str = ""
    online: str = ""
    file: str = ""

    @property
    def breaking(self) -> bool:
        """Whether somebody who relies on the feature would be hurt."""
        return self.severity is Severity.ERROR

    @property
    def names(self) -> tuple[str, ...]:
        """What it is about: `view.feature` each, or the service."""
        return tuple(f"{self.view}.{name}" for name in self.features) or (self.service or self.view,)

    def to_dict(self) -> dict[str, Any]:
        """Return the change as JSON values."""
        return {
            "kind": str(self.kind),
            "severity": str(self.severity),
            "breaking": self.breaking,
            "view": self.view,
            "service": self.service,
            "features": list(self.names) if self.features else [],
            "details": list(self.details),
            "fix": self.fix,
            "services": list(self.services),
            "owner": self.owner,
            "online": self.online,
            "file": self.file,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffReport:
    """All changes, the gravest first. `notes` say what could not be compared."""

    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def breaking(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.breaking)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "breaking": len(self.breaking),
            "changes": [change.to_dict() for change in self.changes],
            "notes": list(self.notes),
        }
