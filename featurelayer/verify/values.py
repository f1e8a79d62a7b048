"""The state of a key on all sides, and the report of a verification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from featurelayer.online import Item


class MismatchClass(StrEnum):
    """The reason why the online store and the warehouse differ in a key."""

    STALE = "stale export"
    LATE = "late source row"
    DEFINITION = "definition changed"
    PRECISION = "type or precision"
    TIME_ZONE = "time zone"
    EXPIRED = "expired"
    DELETED = "deleted"
    MISSING = "missing"
    CORRUPT = "corrupt"
    UNEXPECTED = "unexpected"


MEANING: Mapping[MismatchClass, str] = {
    MismatchClass.STALE: "the store holds what an earlier export wrote, although a later one wrote something newer",
    MismatchClass.LATE: "the warehouse got the row after the export, with an event time of before: training sees "
    "what serving did not; give the view a delay or an available_at",
    MismatchClass.DEFINITION: "the view is computed or declared otherwise than when it was exported; export it",
    MismatchClass.PRECISION: "the same value, but not in the same type or not with all its digits",
    MismatchClass.TIME_ZONE: "the same times, moved by whole quarters of an hour",
    MismatchClass.EXPIRED: "the same values, but with an event time so old online that readers get nothing",
    MismatchClass.DELETED: "the row is gone on one side: from the warehouse since the export, or online by a tombstone",
    MismatchClass.MISSING: "exports wrote the key, and the store does not have it",
    MismatchClass.CORRUPT: "the item can't be read: its attributes or values are not of the types that its schema has",
    MismatchClass.UNEXPECTED: "the store holds what no export has written",
}

# Names of excused differences.
EQUAL, STREAMED, FORGOTTEN, UNCOMMITTED, GONE = "equal", "streamed", "forgotten", "uncommitted", "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a snapshot as the store would hold it: a JSON array, and times in microseconds."""

    f: str
    event_time: int | None = None
    valid_to: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedRow:
    """The warehouse's record of the newest item exported for a key and not refused by the store.

    `row` is None for a tombstone. `version` is that of the run.
    """

    version: int
    schema: str = ""
    row: Row | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """A key with its expected row, its stored item, and the warehouse's record of it."""

    pk: str
    expected: Row | None
    item: Item | None
    held: ExportedRow | None

    @property
    def present(self) -> Item | None:
        """The item, unless it is a tombstone."""
        return self.item if self.item is not None and not self.item.deleted else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One differing value, or a key that only one side has (then `feature` is empty)."""

    key: str
    kind: MismatchClass
    feature: str
    expected: str
    online: str
    why: str

    def to_dict(self) -> dict[str, str]:
        """Return the example as JSON values."""
        return {"class": str(self.kind)} | {name: text for name, text in asdict(self).items() if name != "kind"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewVerdict:
    """The result for one view.

    Of the `compared` keys, `warehouse_keys` were drawn from the snapshot and `online_keys` from the store; some from
    both. `excused` counts expected differences: streamed values, erased keys, items of an uncommitted export, and
    items that have expired on one side. `classes` counts the differing keys by class, `features` by feature.
    `as_of` is None if no export of the view has committed.
    """

    view: str
    as_of: datetime | None
    tolerance: float
    rows: int = 0
    compared: int = 0
    warehouse_keys: int = 0
    online_keys: int = 0
    equal: int = 0
    excused: Mapping[str, int] = field(default_factory=dict)
    classes: Mapping[MismatchClass, int] = field(default_factory=dict)
    features: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    read_units: float = 0.0
    remembered: bool = True

    @property
    def mismatches(self) -> int:
        """The number of differing keys."""
        return sum(self.classes.values())

    @property
    def ok(self) -> bool:
        """Whether the view was exported and no more keys differ than is tolerated."""
        return self.as_of is not None and self.mismatches <= self.tolerance * self.compared

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON values."""
        return {
            "view": self.view,
            "ok": self.ok,
            "exported": self.as_of is not None,
            "as_of": self.as_of.isoformat() if self.as_of is not None else None,
            "rows": self.rows,
            "compared": self.compared,
            "warehouse_keys": self.warehouse_keys,
            "online_keys": self.online_keys,
            "equal": self.equal,
            "excused": dict(self.excused),
            "mismatches": self.mismatches,
            "classes": {str(name): count for name, count in self.classes.items()},
            "features": dict(self.features),
            "examples": [example.to_dict() for example in self.examples],
            "read_units": self.read_units,
            "remembered": self.remembered,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """The result of a verification by view. `seed` reproduces the sample of keys."""

    store: str
    seed: int
    sample: int
    views: tuple[ViewVerdict, ...]

    @property
    def ok(self) -> bool:
        """Whether every view is ok."""
        return all(view.ok for view in self.views)

    @property
    def mismatches(self) -> int:
        """The number of differing keys in all views."""
        return sum(view.mismatches for view in self.views)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "ok": self.ok,
            "mismatches": self.mismatches,
            "store": self.store,
            "seed": self.seed,
            "sample": self.sample,
            "views": [view.to_dict() for view in self.views],
        }
