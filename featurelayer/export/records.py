"""What an export would do, means to do, and has done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from featurelayer.export.changes import Size
from featurelayer.export.guard import Refusal
from featurelayer.export.ledger import LedgerRow
from featurelayer.model import FeatureView

# What an item has more as a line of DynamoDB JSON, by far most of it names and braces; quotes in texts come on top.
_LINE_BYTES = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewExport:
    """What an export of one view did: every entity is written, unchanged or refused (somebody newer won).

    `rows` are entities. Rows of the view were skipped: `null_keys` for want of a whole key, `null_times` for want of an
    event or available time. `tombstones` are the removed keys, `resumed` those of the written that earlier
    runs may have written before they died, `bytes` the size of what was written as DynamoDB counts it, `units` what
    sending it took of DynamoDB's write units. `superseded` says that a newer export committed first, so that this one
    had nothing left to do.
    """

    view: str
    run: str
    as_of: datetime
    rows: int
    written: int
    unchanged: int
    refused: int
    null_keys: int
    null_times: int
    tombstones: int
    resumed: int
    bytes: int
    units: int
    seconds: float
    superseded: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON can hold them."""
        return asdict(self) | {"as_of": self.as_of.isoformat(), "seconds": round(self.seconds, 3)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewPlan:
    """What an export of one view would do: entities by what happens to them, and how much would be sent.

    `in_doubt` are keys that earlier runs may have written before they died, so that they are written again. `refused`
    says why the export would write nothing.
    """

    view: str
    as_of: datetime
    rows: int
    new: int
    changed: int
    in_doubt: int
    removed: int
    unchanged: int
    null_keys: int
    null_times: int
    bytes: int
    units: int
    refused: Refusal = field(default_factory=Refusal)

    @property
    def writes(self) -> int:
        return self.new + self.changed + self.in_doubt + self.removed

    @property
    def file_bytes(self) -> int:
        """About how many bytes the files of an import would have, before compression."""
        return self.bytes + self.writes * _LINE_BYTES

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON can hold them."""
        counts = asdict(self) | {"as_of": self.as_of.isoformat()}
        refused = counts.pop("refused")
        return counts | {
            "refused": [{"what": each["what"], "fix": each["fix"]} for each in refused["problems"]],
            "too_large_keys": refused["too_large_keys"],
            "too_large": list(refused["too_large"]),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a run is going to write for a view, as it stands in the warehouse."""

    view: FeatureView
    row: LedgerRow
    sizes: Mapping[str, Size]
    null_keys: int
    null_times: int
    source_time: int | None
    rewind: bool
    began: float
    code: str = ""
    refused: Refusal = field(default_factory=Refusal)
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def to_write(self) -> int:
        return sum(size.keys for size in self.sizes.values())

    @property
    def file_bytes(self) -> int:
        """About how many bytes the files of an import have, before compression."""
        return sum(size.bytes + size.keys * _LINE_BYTES for size in self.sizes.values())

    @property
    def units(self) -> int:
        return sum(size.units for size in self.sizes.values())
