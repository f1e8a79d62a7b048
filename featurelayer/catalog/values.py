"""The input of the catalog as values: the registry, facts from dbt, and other known facts about features.

Only the registry is required. A missing part is empty, and its page shows the reason.
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
    """One export of one view, as recorded in the ledger; without `finished_at` it did not commit."""

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
    """A change of a view or a feature since an earlier state of the project."""

    kind: str
    view: str
    feature: str = ""
    message: str = ""
    breaking: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A column that a feature is computed from: of a source, or of the last model that could be followed."""

    relation: str
    column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureLineage:
    """The lineage of a feature: its source columns, the models in between, and its expression.

    Features with the same fingerprint have the same computation. `note` is the reason why the rest is unknown.
    """

    expression: str = ""
    origins: tuple[Origin, ...] = ()
    through: tuple[str, ...] = ()
    fingerprint: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarFeature:
    """Another feature, `view.feature`, that may be the same, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogInput:
    """The input of the site.

    Features are named `view.feature` (`view.id` of a version has `.v2`). `profiles` and `monitors` are oldest first.
    `absent` has a sentence per empty part (`profiles`, `monitors`, `exports`, `changes`, `lineage`, `findings`).
    `newest` is the event time of a view's newest row, `descriptions` are of sources by unique id.
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
    """Options of the site: its title, its logo, its URL, and the URL of the dbt docs."""

    title: str = ""
    logo: tuple[str, bytes] | None = None
    base_url: str = ""
    dbt_docs: str = ""
