"""A training-set request with resolved names: features, views, and labels as rows of the warehouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from featurelayer._version import __version__
from featurelayer.dbt.artifacts import sql_checksums
from featurelayer.dbt.project import Project
from featurelayer.errors import UnknownNameError
from featurelayer.model import FeatureService, FeatureView
from featurelayer.online import service_definition
from featurelayer.registry import Registry
from featurelayer.sql.plan import Ledger, Mode, Plan
from featurelayer.sql.planner import plan_training_set
from featurelayer.training.lock import Lock, LockedRequest
from featurelayer.training.original_labels import OriginalLabels
from featurelayer.warehouse.base import Source, Warehouse
from featurelayer.warehouse.execute import describe_views

FindLedger = Callable[[Warehouse], Ledger | None]
"""Returns the record of exports in a warehouse, or None if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The origin of the definitions, as the lock records it.

    `sql_checksums` are dbt's, of each view's file and all its ancestors, by unique id.
    """

    project: str
    manifest_sha256: str
    dbt_version: str
    dbt_invocation_id: str
    service_fingerprint: str
    sql_checksums: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedRequest:
    """The inputs of one build.

    `views` are those that the service joins, by id. `label_timestamp` and `keys` (label column by request key) name
    label columns whose names differ from the service's. `labels_name` is the name of the labels in the lock, `asked`
    the request as the lock records it, and `given` the labels in their original types, unless they are in the
    warehouse. `ledger` is the record of exports, if any. `compare_modes` also measures how much the modes differ.
    `extends` is the lock of the set to append to. In every view at least the share `min_matched` of the labels
    must find a row.
    """

    service: FeatureService
    views: Mapping[str, FeatureView]
    labels: Source
    labels_name: str
    provenance: Provenance
    label_timestamp: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    mode: Mode = Mode.KNOWN_AT
    ledger: Ledger | None = None
    compare_modes: bool = False
    asked: LockedRequest = field(default_factory=LockedRequest)
    extends: Lock | None = None
    given: OriginalLabels | None = None
    min_matched: float | None = None


def parse_mode(name: str) -> Mode:
    """Return a mode by its name.

    Raises:
        UnknownNameError: there is no such mode.
    """
    try:
        return Mode(name)
    except ValueError:
        raise UnknownNameError("mode", name, [str(mode) for mode in Mode]) from None


def read_provenance(
    project: Project, registry: Registry, service: FeatureService, views: Mapping[str, FeatureView]
) -> Provenance:
    """Return the provenance of a service's definitions; a service without a name has no fingerprint."""
    return Provenance(
        project=registry.project,
        manifest_sha256=registry.manifest_hash,
        dbt_version=registry.dbt_version,
        dbt_invocation_id=registry.invocation_id,
        service_fingerprint=service_definition(service, views).fingerprint if service.name else "",
        sql_checksums=sql_checksums(project.target_path, [view.unique_id for view in views.values()]),
    )


def plan_request(warehouse: Warehouse, request: ResolvedRequest) -> Plan:
    """Return the plan of a request, checked against the relations of the warehouse.

    Raises:
        LabelError: the labels can't be used.
        PlanError: the views can't be joined as annotated.
    """
    labels = request.labels
    return plan_training_set(
        request.service,
        request.views,
        describe_views(warehouse, request.views.values()),
        source=labels.sql,
        label_columns=labels.columns,
        parsed=labels.parsed,
        ordered=labels.ordered,
        order=labels.order,
        label_timestamp=request.label_timestamp,
        keys=request.keys,
        mode=request.mode,
        ledger=request.ledger,
        provenance="\n".join(_provenance_lines(request)),
    )


def _provenance_lines(request: ResolvedRequest) -> Iterator[str]:
    """Yield the comment lines that follow the title of the script."""
    yield f"featurelayer {__version__}, manifest {request.provenance.manifest_sha256[:12]}"
    if request.labels.frame:
        name = request.labels.sql
        yield f"{name} stands for the labels, which this session alone has: elsewhere, load them by that name."
