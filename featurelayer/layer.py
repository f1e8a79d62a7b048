"""FeatureLayer: one dbt project and everything that can be done with its features, for Python and the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from featurelayer.callbacks import Progress
from featurelayer.dbt.yaml_lines import line_numbers
from featurelayer.errors import (
    LabelError,
    PlanError,
    Problem,
    RelationNotBuilt,
    UnknownNameError,
    WarehouseError,
    did_you_mean,
)
from featurelayer.model import Column, DType, FeatureService, FeatureView
from featurelayer.online import service_definition
from featurelayer.online_layer import OnlineLayer
from featurelayer.sql.compiler import compile_plan
from featurelayer.sql.plan import Ledger, Mode
from featurelayer.training import (
    Provenance,
    ResolvedRequest,
    TrainingSet,
    build_training_set,
    plan_request,
)
from featurelayer.training.csv_labels import read_csv_labels
from featurelayer.training.explain import Explanation, explain_row
from featurelayer.training.labels import (
    find_locked_labels,
    keep_original_labels,
    labels_name,
    normalize_labels,
    portable_path,
)
from featurelayer.training.lock import Lock, LockedRequest, read_lock
from featurelayer.training.original_labels import widen_float16
from featurelayer.warehouse import Warehouse
from featurelayer.warehouse.base import Source

if TYPE_CHECKING:
    import pyarrow as pa

    from featurelayer.catalog import BuiltSite
    from featurelayer.dbt_model import DbtModel
    from featurelayer.diff import DiffReport
    from featurelayer.lint import LintReport
    from featurelayer.monitor import MonitorReport
    from featurelayer.monitor_records import MonitorResult, Profile
    from featurelayer.training.estimate import BuildPlan
    from featurelayer.training.mismatch_reasons import Reproduction


class FeatureLayer(OnlineLayer):
    """The features of one dbt project: `FeatureLayer("dbt_project", target="dev")`.

    Args:
        project_dir: the folder of dbt_project.yml; the working directory or one above it by default.
        profiles_dir: the folder of profiles.yml, found as dbt finds it by default.
        profile: a profile other than the project's.
        target: the target of the profile.
        target_path: where dbt writes its artifacts.
        vars: dbt variables for rendering featurelayer.yml and profiles.yml, a mapping or YAML text.
        assume_target: the manifest was built for this target, where neither dbt's record nor the schemas of the models
            tell.
        warn: told of what is doubtful but usable, such as a stale manifest.
    """

    # --- checks --------------------------------------------------------------------------------------------------

    def lint(self, names: Sequence[str] = (), *, checks: Sequence[str] = ()) -> LintReport:
        """Check annotations, ownership, names and SQL of the features, from dbt's files alone.

        Args:
            names: models, views, features or services to report about; all by default.
            checks: codes (`FL203`) or families (`FL2`) to run; all that featurelayer.yml does not disable by default.

        Raises:
            UnknownNameError: there is no such name, or no such check.
        """
        from featurelayer.lint import lint

        return lint(self.project, names, checks, warn=self._warn)

    def diff(self, state: str | Path) -> DiffReport:
        """Compare the features of this project with those of the manifest.json in a folder, from dbt's files alone.

        Returns:
            The report: `.changes`, each with its kind, features, services and owner, and `.breaking` of them.

        Raises:
            PlanError: there is no manifest in the folder.
            ArtifactError, MetadataError: this project's or the other manifest can't be used.
        """
        from featurelayer.diff.run import diff_projects

        return diff_projects(self.project, Path(state))

    # --- catalog -------------------------------------------------------------------------------------------------

    def build_catalog(
        self,
        output: str | Path | None = None,
        *,
        base_url: str = "",
        title: str = "",
        logo: str | Path | None = None,
        dbt_docs: str = "",
        state: str | Path | None = None,
        warehouse: bool = True,
    ) -> BuiltSite:
        """Write a static site of all features; return its folder and size.

        Args:
            output: the folder, all of which is replaced; `catalog` in dbt's target folder by default.
            base_url: where the site will be, for links that name it in full.
            title: what the site is called.
            logo: a picture's file, for the site's corner.
            dbt_docs: where the site of `dbt docs generate` is, for links to it.
            state: the folder of an earlier manifest.json, to show what has changed since.
            warehouse: ask the warehouse for profiles, results of monitors, exports and newest rows. What can't be had
                is left out with a warning.

        Raises:
            ConfigError: the folder holds something else, or it or the logo can't be used.
            ArtifactError: dbt's files can't be read.
            PlanError: there is no manifest in `state`.
        """
        from featurelayer.catalog import SiteOptions, read_logo
        from featurelayer.catalog.run import CatalogRequest, build_catalog

        look = SiteOptions(
            title=title, base_url=base_url, dbt_docs=dbt_docs, logo=read_logo(Path(logo)) if logo else None
        )
        request = CatalogRequest(
            project=self.project,
            registry=self.registry,
            look=look,
            folder=Path(output) if output else self.project.target_path / "catalog",
            open_warehouse=self._opener() if warehouse else None,
            tables=self._export_tables,
            notify=self._notify,
            state=Path(state) if state else None,
        )
        return build_catalog(request)

    # --- training sets -------------------------------------------------------------------------------------------

    def build_training_set(
        self,
        service: str | None = None,
        labels: Any = None,
        *,
        features: Sequence[str] = (),
        label_timestamp: str | None = None,
        keys: Mapping[str, str] | None = None,
        mode: str = "known_at",
        compare_modes: bool = False,
        csv_types: bool = False,
        min_matched: float | None = None,
        writable: bool = False,
        extends: str | Path | None = None,
        progress: Progress | None = None,
    ) -> TrainingSet:
        """Join features to labels, each as of the label's own time; see `featurelayer.sql.planner` for what that means.

        Args:
            service: a feature service of the project; or say `features`.
            labels: a pandas, polars or Arrow table, the path of a parquet or CSV file, or the name of a dbt model or
                relation of the warehouse; by default the dbt model that the service names.
            features: `view.feature` or `view.*`, instead of a service.
            label_timestamp: the label column with the time, if not the one the service names.
            keys: label column by request key, where they differ.
            mode: `known_at` (the contract); `as_served`, what the newest export that had finished by then had seen; or
                `event_time`, to measure what ignoring available times would give.
            compare_modes: also build the other modes and report, per feature, the share of cells that differ.
            csv_types: let the engine guess the types of a CSV's other columns instead of leaving them text.
            min_matched: the share of the labels, 0 to 1, that must find a row in every view.
            writable: open the warehouse for writing, as `to_table` needs.
            extends: the lock of a set that the rows will be appended to; what would not fit is refused before anything
                is computed, and not only when `to_parquet(path, append=True)` looks.
            progress: called before each step with its name, the number of steps done, and the number of all.

        Returns:
            The set, still in the warehouse: `to_arrow()`, `to_pandas()`, `to_polars()`, `to_parquet(path)`,
            `to_csv(path)`, `to_table(name)`, `.report`, `.lock`, `.sql`.

        Raises:
            UnknownNameError: no such service or feature.
            LabelError, PlanError: the request is impossible, or a view matches less than `min_matched`; the message
                lists every reason.
            LockError: the rows would not be of one kind with the set of `extends`.
            WarehouseError: the engine failed.
        """
        if min_matched is not None and not 0 <= min_matched <= 1:
            raise PlanError([Problem(what=f"min_matched is {min_matched}", fix="pass a share between 0 and 1")])
        before = read_lock(extends) if extends is not None else None
        warehouse = self._connect(writable=writable)
        try:
            request = self._request(
                warehouse,
                service,
                labels,
                features,
                label_timestamp=label_timestamp,
                keys=keys,
                mode=mode,
                csv_types=csv_types,
            )
            if compare_modes:
                request = replace(request, compare_modes=True, ledger=self._known_ledger(warehouse))
            request = replace(request, extends=before, min_matched=min_matched)
            with line_numbers(self.project.root):
                return build_training_set(warehouse, request, progress=progress)
        except BaseException:
            warehouse.close()
            raise

    def plan_training_set(
        self,
        service: str | None = None,
        labels: Any = None,
        *,
        features: Sequence[str] = (),
        label_timestamp: str | None = None,
        keys: Mapping[str, str] | None = None,
        mode: str = "known_at",
        csv_types: bool = False,
    ) -> BuildPlan:
        """Return what `build_training_set` would read, as far as the engine can tell; nothing is computed.

        Arguments and errors are the same.
        """
        from featurelayer.training.estimate import plan_build

        with closing(self._connect()) as warehouse:
            request = self._request(
                warehouse,
                service,
                labels,
                features,
                label_timestamp=label_timestamp,
                keys=keys,
                mode=mode,
                csv_types=csv_types,
            )
            return plan_build(warehouse, request)

    def training_set_sql(
        self,
        service: str | None = None,
        labels: Any = None,
        *,
        features: Sequence[str] = (),
        label_timestamp: str | None = None,
        keys: Mapping[str, str] | None = None,
        mode: str = "known_at",
        csv_types: bool = False,
        dialect: str | None = None,
    ) -> str:
        """Return the SQL of `build_training_set` without running it; arguments and errors are the same.

        A build may leave out the cut to the labels' keys where a sample of the view says that it keeps most rows.
        `dialect` is another engine to write for, by the name of its dbt adapter; labels from a file or a frame have the
        name of a table there, which the script says.
        """
        from featurelayer.training.other_dialect import plan_other_dialect

        with closing(self._connect()) as warehouse:
            request = self._request(
                warehouse,
                service,
                labels,
                features,
                label_timestamp=label_timestamp,
                keys=keys,
                mode=mode,
                csv_types=csv_types,
            )
            if dialect is None or dialect == warehouse.dialect:
                return str(compile_plan(plan_request(warehouse, request), warehouse.dialect))
            return str(compile_plan(plan_other_dialect(warehouse, request, dialect), dialect))

    def explain_row(
        self,
        service: str | None,
        labels: Any,
        row: int,
        *,
        features: Sequence[str] = (),
        label_timestamp: str | None = None,
        keys: Mapping[str, str] | None = None,
        mode: str = "known_at",
        csv_types: bool = False,
    ) -> Explanation:
        """Return why one label gets its values: per view the rows with its key, which won, and why not the others.

        Args:
            service: as in `build_training_set`, like all that follows here but `row`; None if `features` are said.
            labels: all of them, not the row alone.
            row: which label, counted from 0.
            features: `view.feature` or `view.*`, instead of a service.
            label_timestamp: the label column with the time.
            keys: label column by request key.
            mode: which rows a label may see.
            csv_types: let the engine guess the types of a CSV's other columns.

        Raises:
            LabelError: there is no such row; and, like the others, as in `build_training_set`.
            UnknownNameError, PlanError, WarehouseError: as in `build_training_set`.
        """
        with closing(self._connect()) as warehouse:
            request = self._request(
                warehouse,
                service,
                labels,
                features,
                label_timestamp=label_timestamp,
                keys=keys,
                mode=mode,
                csv_types=csv_types,
            )
            with line_numbers(self.project.root):
                return explain_row(warehouse, request, row)

    def reproduce(
        self, lock: str | Path | Mapping[str, Any], labels: Any = None, *, progress: Progress | None = None
    ) -> Reproduction:
        """Make a training set again and say whether it is identical, or which columns differ, in how many rows and why.

        The old output is read if it still lies beside the lock; nothing is written.

        Args:
            lock: the path of a `.lock.json`, or what `TrainingSet.lock` was.
            labels: the labels of that build, as in `build_training_set`, if they are not where the lock says.
            progress: called before each step with its name, the number of steps done, and the number of all.

        Raises:
            LockError: it is no lock, was edited, or is of another version.
            LabelError: the labels are gone, or not those of the build.
            WarehouseError: the engine failed.
        """
        from featurelayer.training.lock_parts import merge_reproductions, split_labels, split_lock

        locked = read_lock(lock)
        parts = split_lock(locked)
        given = (
            [normalize_labels(find_locked_labels(part, self.project.root)) for part in parts]
            if labels is None
            else split_labels(locked, normalize_labels(labels))
        )
        found = [self._reproduce(part, these, progress) for part, these in zip(parts, given, strict=True)]
        return merge_reproductions(locked, parts, found)

    def _reproduce(self, locked: Lock, labels: Any, progress: Progress | None) -> Reproduction:
        from featurelayer.training.reproduce import reproduce

        asked, none = locked.request, FeatureService(name="", views=(), request_keys=())
        known = {name: self.registry.views[name] for name in locked.views if name in self.registry.views}
        with closing(self._connect()) as warehouse:
            source, name = self._label_source(
                warehouse,
                labels,
                keys={
                    asked.keys.get(key, key): DType.parse(dtype) for key, dtype in locked.service.request_keys.items()
                },
                time=locked.labels.timestamp,
                csv_types=asked.csv_types,
            )
            base = ResolvedRequest(
                service=none,
                views={},
                labels=source,
                labels_name=name,
                given=keep_original_labels(labels, labels),
                provenance=self._provenance(none, known),
                label_timestamp=locked.labels.timestamp,
                keys=asked.keys,
                mode=_mode(asked.mode),
                ledger=self._known_ledger(warehouse) if asked.mode == Mode.AS_SERVED else None,
            )
            return reproduce(warehouse, locked, self.registry, base, progress=progress)

    def dbt_models(
        self,
        service: str | None = None,
        labels: str | None = None,
        *,
        label_timestamp: str | None = None,
        keys: Mapping[str, str] | None = None,
        mode: str = "known_at",
        folder: str | None = None,
    ) -> tuple[DbtModel, ...]:
        """Return training sets as dbt models: what their files should hold, and what they do; nothing is written.

        Args:
            service: a feature service; by default all that name their `labels`, and all whose file was written before.
            labels: the dbt model of the labels; the one that the service names by default.
            label_timestamp: the label column with the time, if not the one the service names.
            keys: label column by request key, where they differ.
            mode: `known_at` or `event_time`.
            folder: where the file goes, from the project's folder on; `featurelayer` in the first of its model-paths
                by default.

        Raises:
            UnknownNameError, PlanError: as `build_training_set`, and where a file could not be a model of the project.
        """
        from featurelayer.dbt_model import ModelRequest, training_set_models

        request = None
        if service is not None:
            request = ModelRequest(
                service=service,
                labels=labels,
                label_timestamp=label_timestamp,
                keys=keys,
                mode=_mode(mode),
                folder=PurePosixPath(folder) if folder else None,
            )
        return training_set_models(self.project, self.registry, request, describe=self._describe, notify=self._notify)

    # --- monitors ------------------------------------------------------------------------------------------------

    def monitor(
        self,
        views: Sequence[str] = (),
        *,
        baseline: str | Path | None = None,
        as_of: datetime | None = None,
        record: bool = True,
        lock_timeout: timedelta = timedelta(seconds=60),
    ) -> MonitorReport:
        """Profile the features in the warehouse and judge them by the thresholds of the project.

        Args:
            views: names of views; all of them by default.
            baseline: the lock of a training set to compare with, instead of what the annotations say.
            as_of: the time to judge from (naive means UTC); the warehouse's own time by default.
            record: keep profiles and results in the warehouse, and send alerts if the project has any.
            lock_timeout: how long to wait for a DuckDB file that another process holds, when they are kept.

        Raises:
            UnknownNameError: there is no such view.
            PlanError, LockError: a view or the baseline can't be used; the message lists every reason.
            ConfigError: `alerts` in featurelayer.yml is wrong.
            MissingDependency: the extra `monitor` is not installed.
            WarehouseError: the engine failed.
        """
        from featurelayer.monitor import send_alerts
        from featurelayer.monitor.run import MonitorRequest, read_alerts, record_run, run_monitors

        alerts = read_alerts(self.project) if record else {}
        registry = self.registry
        request = MonitorRequest(
            views=[registry.view(name) for name in views] or list(registry.views.values()),
            at=as_of,
            baseline=Path(baseline).resolve() if baseline is not None else None,
            status=lambda at: self.store_status(now=at),
            exports=self._find_export_tables(),
        )
        with line_numbers(self.project.root):
            report = run_monitors(self.project, request, self._opener(), self._notify)
        if record:
            record_run(self.project, report, self._opener(lock_timeout))
            send_alerts(report, alerts, self.project.name, self._notify)
        return report

    def profiles(self, view: str | None = None) -> tuple[Profile, ...]:
        """Return the profiles that `monitor` has kept in the warehouse, of one view or of all, oldest first.

        Raises:
            UnknownNameError: there is no such view.
            WarehouseError: the engine failed; before the first run there is no table and nothing is returned.
        """
        from featurelayer.monitor.run import read_profiles

        name = None if view is None else self.registry.view(view).id
        with closing(self._connect()) as warehouse:
            return read_profiles(warehouse, self.project, name)

    def monitor_results(self, view: str | None = None) -> tuple[MonitorResult, ...]:
        """Return what the monitors have said so far, of one view or of all, oldest run first; errors as `profiles`."""
        from featurelayer.monitor.run import read_results

        name = None if view is None else self.registry.view(view).id
        with closing(self._connect()) as warehouse:
            return read_results(warehouse, self.project, name)

    def _describe(self, relation: str) -> Sequence[Column]:
        with closing(self._connect()) as warehouse:
            return warehouse.describe(relation)

    def _request(
        self,
        warehouse: Warehouse,
        service: str | None,
        labels: Any,
        features: Sequence[str],
        *,
        label_timestamp: str | None,
        keys: Mapping[str, str] | None,
        mode: str,
        csv_types: bool,
    ) -> ResolvedRequest:
        found = self._service(service, features, label_timestamp)
        views = {join.view: self.registry.views[join.view] for join in found.views}
        named = _service_labels(found, labels)
        frame = normalize_labels(named)
        source, name = self._label_source(
            warehouse,
            frame,
            keys={(keys or {}).get(key.name, key.name): key.dtype for key in found.request_keys},
            time=label_timestamp or found.label_timestamp,
            csv_types=csv_types,
        )
        return ResolvedRequest(
            service=found,
            views=views,
            labels=source,
            labels_name=name,
            given=keep_original_labels(named, frame),
            provenance=self._provenance(found, views),
            label_timestamp=label_timestamp,
            keys=keys or {},
            mode=_mode(mode),
            ledger=self._known_ledger(warehouse) if mode == Mode.AS_SERVED else None,
            asked=LockedRequest(
                service=service,
                features=tuple(features),
                labels=frame if isinstance(frame, str) else portable_path(frame, self.project.root),
                csv_types=csv_types,
            ),
        )

    def _known_ledger(self, warehouse: Warehouse) -> Ledger | None:
        """The export ledger, if the warehouse has one."""
        tables = self._find_export_tables()
        if tables is None:
            return None
        try:
            warehouse.describe(tables.ledger)
        except RelationNotBuilt:
            return None
        return Ledger(relation=tables.ledger, store=tables.store)

    def _service(self, name: str | None, features: Sequence[str], label_timestamp: str | None) -> FeatureService:
        if (name is None) == (not features):
            raise PlanError(
                [
                    Problem(
                        what="say either a service or features",
                        fix="service='late_arrival' or features=['view.feature']",
                    )
                ]
            )
        if name is not None:
            return self.registry.service(name)
        return replace(self.registry.adhoc_service(features, label_timestamp), name="")

    def _label_source(
        self,
        warehouse: Warehouse,
        labels: Path | str | pa.Table,
        *,
        keys: Mapping[str, DType],
        time: str | None,
        csv_types: bool,
    ) -> tuple[Source, str]:
        """Labels as rows of the warehouse's SQL, and what the lock calls them.

        `keys` are the types of the key columns by name, `time` is the column with the time; a CSV does not say them.
        """
        if isinstance(labels, str):
            return self._relation_labels(warehouse, labels)
        if isinstance(labels, Path) and labels.suffix.lower() == ".csv":
            rows = read_csv_labels(labels, keys=keys, time=time, csv_types=csv_types)
            return warehouse.attach(rows), labels_name(labels)
        return warehouse.attach(labels if isinstance(labels, Path) else widen_float16(labels)), labels_name(labels)

    def _relation_labels(self, warehouse: Warehouse, name: str) -> tuple[Source, str]:
        """Labels that are in the warehouse: a dbt model by name, else a relation as SQL writes it."""
        from featurelayer.dbt.artifacts import read_referable

        models = read_referable(self.project.target_path)
        relation = models[name].relation_name if name in models else None
        try:
            columns = warehouse.describe(relation or name)
        except WarehouseError as error:
            what = (
                f"the labels' model '{name}' is not built in the warehouse"
                if relation
                else f"there are no labels '{name}': no file, no dbt model and no relation of that name"
                + did_you_mean(name, models)
            )
            fix = (
                f"run `dbt build -s {name}`"
                if relation
                else "give a path that ends in .parquet or .csv, a model or a relation"
            )
            raise LabelError([Problem(what=what, fix=fix)]) from error
        return Source(sql=warehouse.quote(relation or name), columns=columns), relation or name

    def _provenance(self, service: FeatureService, views: Mapping[str, FeatureView]) -> Provenance:
        from featurelayer.dbt.artifacts import sql_checksums

        return Provenance(
            project=self.registry.project,
            manifest_sha256=self.registry.manifest_hash,
            dbt_version=self.registry.dbt_version,
            dbt_invocation_id=self.registry.invocation_id,
            service_fingerprint=service_definition(service, views).fingerprint if service.name else "",
            sql_checksums=sql_checksums(self.project.target_path, [view.unique_id for view in views.values()]),
        )


def _service_labels(service: FeatureService, labels: Any) -> Any:
    """The labels that were given, else those that the service names."""
    if labels is None and service.labels is None:
        fix = "pass them, or name their dbt model as `labels` in the exposure's featurelayer block"
        raise LabelError([Problem(what="it is not said where the labels are", where=service.yaml_path, fix=fix)])
    return service.labels if labels is None else labels


def _mode(name: str) -> Mode:
    try:
        return Mode(name)
    except ValueError:
        raise UnknownNameError("mode", name, [str(mode) for mode in Mode]) from None
