"""The values of a diff: the two states, and the changes between them."""

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
    """The kinds of change, gravest first."""

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
    """The SQL of a model: compiled, empty if it was not, and the checksum of its file."""

    compiled: str = ""
    checksum: str = ""

    def is_same(self, other: ModelCode) -> bool:
        """Whether both are the same: by their compiled SQL if both have it, else by their files."""
        if self.compiled and other.compiled:
            return self.compiled == other.compiled
        return self.checksum == other.checksum

    def is_same_file(self, other: ModelCode) -> bool:
        """Whether the file is unchanged."""
        return bool(self.checksum) and self.checksum == other.checksum


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectState:
    """One state of the project.

    `views` includes views with problems. `column` returns the lineage of a view's column, None if its SQL is unknown;
    `problem` returns the reason. `missing` returns why the model can't produce a feature, empty if it does or if that
    is unknown. By unique id, `is_followed` returns whether a model's SQL could be followed, `code` its SQL, and
    `above` the models upstream of it.
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
    """One change of features of a view, or of the service `service`.

    `services` use a feature in either state; `online` is the name of the view's items in the store.
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
        """Whether the change breaks a user of the feature."""
        return self.severity is Severity.ERROR

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the changed features (`view.feature`), or the service or view."""
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
    """All changes, gravest first; `notes` list what could not be compared."""

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
