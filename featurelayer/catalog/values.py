"""What the catalog is made of: the registry, dbt's facts, and whatever else is known of a feature, all as values.

Nothing here is required but the registry. A part that nobody supplied is empty, and its page says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from featurelayer.dbt.documentation import DocBlock, TestOutcome
from featurelayer.dbt.inventory import Model
from featurelayer.model import Finding
from featurelayer.monitor_records import MonitorResult, Profile
from featurelayer.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRun:
    """One export of one view, as the ledger has it; without `finished_at` it did not commit."""

    view: str
    run: str
    store: str
    as_of: datetime
    started_at: datetime
    finished_at: datetime | None = None
    entities: int | None = None
    written: int | None = None
    unchanged: int | None = None
    removed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureChange:
    """What happened to a view or a feature since an earlier state of the project."""

    kind: str
    view: str
    feature: str = ""
    message: str = ""
    breaking: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A column that a feature is computed from: of a source, or of the last model that could be understood."""

    relation: str
    column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureLineage:
    """Where a feature's values come from: the columns it is computed from, through which models, by which expression.

    Two features with one fingerprint are one computation. `note` says why there is nothing more.
    """

    expression: str = ""
    origins: tuple[Origin, ...] = ()
    through: tuple[str, ...] = ()
    fingerprint: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarFeature:
    """Another feature that may be the same thing, `view.feature`, and why one would think so."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogInput:
    """Everything that the site is built from.

    Features are named `view.feature` (`view.id` of a version has `.v2`). `profiles` and `monitors` are oldest first.
    `absent` says in a sentence why a part (`profiles`, `monitors`, `exports`, `changes`, `lineage`, `findings`) has
    nothing to show. `newest` is the event time of a view's newest row, `descriptions` are of sources by unique id.
    """

    registry: Registry
    models: Mapping[str, Model] = field(default_factory=lambda: MappingProxyType({}))
    docs: tuple[DocBlock, ...] = ()
    tests: tuple[TestOutcome, ...] = ()
    descriptions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    lineage: Mapping[str, FeatureLineage] = field(default_factory=lambda: MappingProxyType({}))
    findings: tuple[Finding, ...] | None = None
    profiles: tuple[Profile, ...] = ()
    monitors: tuple[MonitorResult, ...] = ()
    exports: tuple[ExportRun, ...] = ()
    changes: tuple[FeatureChange, ...] | None = None
    newest: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    absent: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteOptions:
    """How the site presents itself: its title, its logo's file, and where it and dbt's own docs will be."""

    title: str = ""
    logo: tuple[str, bytes] | None = None
    base_url: str = ""
    dbt_docs: str = ""
