"""Training-set requests: one value that can be built, planned, explained row by row, or shown as SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

from featurelayer.callbacks import Progress
from featurelayer.errors import LabelError, PlanError, Problem
from featurelayer.model import FeatureService
from featurelayer.sql.compiler import compile_plan
from featurelayer.sql.plan import Mode
from featurelayer.training.build import build_training_set
from featurelayer.training.estimate import BuildPlan, plan_build
from featurelayer.training.explain import Explanation, explain_row
from featurelayer.training.labels import attach_labels, keep_original_labels, normalize_labels, portable_path
from featurelayer.training.lock import LockedRequest, read_lock
from featurelayer.training.other_dialect import plan_other_dialect
from featurelayer.training.resolved_request import (
    FindLedger,
    ResolvedRequest,
    parse_mode,
    plan_request,
    read_provenance,
)
from featurelayer.training.result import TrainingSet
from featurelayer.warehouse.base import Warehouse
from featurelayer.workspace import Workspace


class RequestOptions(TypedDict, total=False):
    """The keyword arguments of a request; `TrainingSetRequest` documents them."""

    features: Sequence[str]
    label_timestamp: str | None
    keys: Mapping[str, str] | None
    mode: str
    csv_types: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingSetRequest:
    """Features to be joined to labels, each as of the label's own time; `layer.training.request(...)` makes one.

    Args:
        workspace: the project and its warehouse.
        find_ledger: finds the record of exports, which the mode `as_served` needs.
        service: a feature service of the project; or pass `features`.
        labels: a pandas, polars or Arrow table, the path of a parquet or CSV file, or the name of a dbt model or
            relation of the warehouse; by default the dbt model that the service names.
        features: `view.feature` or `view.*`, instead of a service.
        label_timestamp: the label column with the time, if not the one the service names.
        keys: label column by request key, where they differ.
        mode: `known_at` (the contract); `as_served`, the values of the newest export that had finished by the label's
            time; or `event_time`, which ignores available times, to measure the leak.
        csv_types: let the engine guess the types of a CSV's other columns instead of leaving them text.

    Every method raises UnknownNameError for a service or feature that does not exist, LabelError and PlanError with
    every reason why the request is impossible, and WarehouseError if the engine failed.
    """

    workspace: Workspace
    find_ledger: FindLedger
    service: str | None = None
    labels: Any = None
    features: Sequence[str] = ()
    label_timestamp: str | None = None
    keys: Mapping[str, str] | None = None
    mode: str = "known_at"
    csv_types: bool = False

    def sql(self, *, dialect: str | None = None) -> str:
        """Return the SQL of `build`, without running it.

        `dialect` is the name of another engine's dbt adapter to write for; labels from a file or a frame are then a
        table that the head of the script names. A build may leave out the filter on the labels' keys, where a sample
        of the view shows that it keeps most rows.
        """
        with self.workspace.open_warehouse() as warehouse:
            request = self.resolve(warehouse)
            if dialect is None or dialect == warehouse.dialect:
                return str(compile_plan(plan_request(warehouse, request), warehouse.dialect))
            return str(compile_plan(plan_other_dialect(warehouse, request, dialect), dialect))

    def plan(self) -> BuildPlan:
        """Estimate how much `build` would read, as far as the engine can tell, without computing anything."""
        with self.workspace.open_warehouse() as warehouse:
            return plan_build(warehouse, self.resolve(warehouse))

    def explain(self, row: int) -> Explanation:
        """Return why one label, counted from 0, gets its values: per view its candidates, the winner and the reasons.

        Raises:
            LabelError: there is no such row.
        """
        with self.workspace.open_warehouse() as warehouse:
            request = self.resolve(warehouse)
            with self.workspace.line_numbers():
                return explain_row(warehouse, request, row)

    def build(
        self,
        *,
        compare_modes: bool = False,
        min_matched: float | None = None,
        writable: bool = False,
        extends: str | Path | None = None,
        progress: Progress | None = None,
    ) -> TrainingSet:
        """Join the features and return the set, which is still in the warehouse.

        Args:
            compare_modes: also build the other modes and report, per feature, the share of cells that differ.
            min_matched: the share of the labels, 0 to 1, that must find a row in every view.
            writable: open the warehouse for writing, as `to_table` needs.
            extends: the lock of a set that the rows will be appended to; rows that do not fit are rejected before
                anything is computed, not only by `to_parquet(path, append=True)`.
            progress: called before each step with its name, the number of steps done and of all steps.

        Raises:
            PlanError: a view matches less than `min_matched`.
            LockError: the rows do not fit the set of `extends`; the message lists every reason.
        """
        if min_matched is not None and not 0 <= min_matched <= 1:
            raise PlanError([Problem(what=f"min_matched is {min_matched}", fix="pass a share between 0 and 1")])
        before = read_lock(extends) if extends is not None else None
        warehouse = self.workspace.connect(writable=writable)
        try:
            request = replace(self.resolve(warehouse), extends=before, min_matched=min_matched)
            if compare_modes:
                request = replace(request, compare_modes=True, ledger=self.find_ledger(warehouse))
            with self.workspace.line_numbers():
                return build_training_set(warehouse, request, progress=progress)
        except BaseException:
            warehouse.close()
            raise

    def resolve(self, warehouse: Warehouse) -> ResolvedRequest:
        """Return the request with its names looked up and its labels attached to the warehouse."""
        project, registry = self.workspace.project, self.workspace.registry
        service = self._find_service()
        views = {join.view: registry.views[join.view] for join in service.views}
        keys = self.keys or {}
        original = _choose_labels(service, self.labels)
        labels = normalize_labels(original)
        source, name = attach_labels(
            warehouse,
            labels,
            target_path=project.target_path,
            keys={keys.get(key.name, key.name): key.dtype for key in service.request_keys},
            time=self.label_timestamp or service.label_timestamp,
            csv_types=self.csv_types,
        )
        mode = parse_mode(self.mode)
        return ResolvedRequest(
            service=service,
            views=views,
            labels=source,
            labels_name=name,
            given=keep_original_labels(original, labels),
            provenance=read_provenance(project, registry, service, views),
            label_timestamp=self.label_timestamp,
            keys=keys,
            mode=mode,
            ledger=self.find_ledger(warehouse) if mode is Mode.AS_SERVED else None,
            asked=LockedRequest(
                service=self.service,
                features=tuple(self.features),
                labels=labels if isinstance(labels, str) else portable_path(labels, project.root),
                csv_types=self.csv_types,
            ),
        )

    def _find_service(self) -> FeatureService:
        if (self.service is None) == (not self.features):
            what = (
                "neither a service nor features given"
                if self.service is None
                else "pass either a service or features, not both"
            )
            raise PlanError([Problem(what=what, fix="pass service='late_arrival' or features=['view.feature']")])
        registry = self.workspace.registry
        if self.service is not None:
            return registry.service(self.service)
        return replace(registry.adhoc_service(self.features, self.label_timestamp), name="")


def _choose_labels(service: FeatureService, labels: Any) -> Any:
    """Return the labels that were passed, else those that the service names."""
    if labels is None and service.labels is None:
        fix = "pass them, or name their dbt model as `labels` in the exposure's featurelayer block"
        raise LabelError([Problem(what="no labels given", where=service.yaml_path, fix=fix)])
    return service.labels if labels is None else labels
