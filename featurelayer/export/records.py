"""Records of an export: its plan, its intents and its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from featurelayer.errors import Problem
from featurelayer.export.changes import Size
from featurelayer.export.guard import Refusal
from featurelayer.export.ledger import LedgerRow
from featurelayer.export.prices import Cost, Prices
from featurelayer.model import FeatureView

# What an item has more as a line of DynamoDB JSON, by far most of it names and braces; quotes in texts come on top.
_LINE_BYTES = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewExport:
    """What an export of one view did: every entity is written, unchanged or refused (a newer write won).

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What an export or a rollback did, view by view, and the time its snapshot was taken at.

    `usd` is what the write units cost by the table of prices, `path` how the store was written where there are several
    ways.
    """

    as_of: datetime
    store: str
    views: tuple[ViewExport, ...]
    services: tuple[str, ...]
    usd: float
    path: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "as_of": self.as_of.isoformat(),
            "store": self.store,
            "path": self.path,
            "usd": self.usd,
            "services": list(self.services),
            "views": [view.to_dict() for view in self.views],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlan:
    """What an export or a rollback would do, view by view, with an estimate of money and time.

    `cost` is that of writing row by row, also where it is `bulk` that is planned. `clock` is what is wrong with the
    time of the snapshots.
    """

    as_of: datetime
    store: str
    views: tuple[ViewPlan, ...]
    prices: Prices
    bulk: bool = False
    clock: tuple[Problem, ...] = ()

    @property
    def refused(self) -> tuple[Problem, ...]:
        """Why the export would write nothing; empty if it would be done."""
        return (*self.clock, *(problem for view in self.views for problem in view.refused.problems))

    @property
    def cost(self) -> Cost:
        """The estimate for all views."""
        return self.prices.cost(
            rows=sum(view.writes for view in self.views), units=sum(view.units for view in self.views)
        )

    @property
    def import_bytes(self) -> int:
        """About how large the files would be that an import into a new table takes."""
        return sum(view.file_bytes for view in self.views)

    @property
    def import_usd(self) -> float:
        """What such an import would cost."""
        return self.prices.import_usd(self.import_bytes)

    @property
    def is_first_load(self) -> bool:
        """Whether the store holds nothing of these views, so that an import could do as well."""
        return any(view.new for view in self.views) and not any(
            view.changed + view.in_doubt + view.removed + view.unchanged for view in self.views
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        views = [(view, self.prices.cost(rows=view.writes, units=view.units)) for view in self.views]
        return {
            "as_of": self.as_of.isoformat(),
            "store": self.store,
            "prices": self.prices.source,
            **asdict(self.cost),
            "bulk": self.bulk,
            "import_bytes": self.import_bytes,
            "import_usd": self.import_usd,
            "refused": [{"what": problem.what, "fix": problem.fix} for problem in self.refused],
            "views": [view.to_dict() | asdict(cost) for view, cost in views],
        }
