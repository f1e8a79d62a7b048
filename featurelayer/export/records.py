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

# Extra bytes of an item as a line of DynamoDB JSON, mostly names and braces; escaped quotes come on top.
_LINE_BYTES = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewExport:
    """The result of exporting one view: every entity is written, unchanged or refused (a newer write won).

    `rows` counts entities. `null_keys` and `null_times` count rows skipped because part of the key, or the event or
    available time, is NULL. `tombstones` counts removed keys, `resumed` the written entities that an interrupted run
    may have written already. `bytes` is the size of the written items as DynamoDB counts it, `units` the write units
    used. `superseded` is set if a newer export committed first and left nothing to do.
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
    """The plan of exporting one view: entities by what would happen to them, and how much would be sent.

    `in_doubt` counts keys that an interrupted run may have written, so they are written again. `refused` holds the
    reason why the export would write nothing.
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
        """The approximate size of the import files before compression, in bytes."""
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
    """The changes that a run will write for a view, as recorded in the warehouse."""

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
        """The approximate size of the import files before compression, in bytes."""
        return sum(size.bytes + size.keys * _LINE_BYTES for size in self.sizes.values())

    @property
    def units(self) -> int:
        return sum(size.units for size in self.sizes.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """The result of an export or a rollback by view, and the time of its snapshot.

    `usd` is the price of the write units; `path` is the write path if the store has several.
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
    """The plan of an export or a rollback by view, with an estimate of cost and duration.

    `cost` is the price of writing row by row, even if `bulk` is planned. `clock` describes a problem with the time of
    the snapshots.
    """

    as_of: datetime
    store: str
    views: tuple[ViewPlan, ...]
    prices: Prices
    bulk: bool = False
    clock: tuple[Problem, ...] = ()

    @property
    def refused(self) -> tuple[Problem, ...]:
        """The reasons why the export would write nothing; empty if it may run."""
        return (*self.clock, *(problem for view in self.views for problem in view.refused.problems))

    @property
    def cost(self) -> Cost:
        """The estimate for all views."""
        return self.prices.cost(
            rows=sum(view.writes for view in self.views), units=sum(view.units for view in self.views)
        )

    @property
    def import_bytes(self) -> int:
        """The approximate size of the files for an import into a new table, in bytes."""
        return sum(view.file_bytes for view in self.views)

    @property
    def import_usd(self) -> float:
        """The cost of such an import in US dollars."""
        return self.prices.import_usd(self.import_bytes)

    @property
    def is_first_load(self) -> bool:
        """Whether the store holds no items of these views, so an import is possible."""
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
