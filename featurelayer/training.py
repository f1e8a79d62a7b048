"""Labels to training set: checks, runs the compiled script, reports what happened, locks what came out."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import featurelayer
from featurelayer.errors import LabelError, PlanError, Problem, WarehouseError
from featurelayer.model import FeatureService, FeatureView
from featurelayer.sql.compiler import compile_plan
from featurelayer.sql.plan import Check, Column, JoinReport, Mode, Plan, Script, Step
from featurelayer.sql.planner import plan_training_set
from featurelayer.warehouse.base import Source, Warehouse
from featurelayer.warehouse.digest import TableDigest

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow as pa

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many steps are done, and how many there are."""

_WORTH_NARROWING = 0.5
_PERCENTILES = ("min", "p50", "p90", "p99", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewReport:
    """What the labels found in one joined view. Counts are label rows, `unusable_rows` rows of the view.

    `matched` + `missing` + `expired` are all labels. `ties` are labels whose row only its content chose;
    `unusable_rows` have no event or available time and are never visible. `age` is label time minus event time.
    """

    name: str
    view: str
    matched: int
    missing: int
    expired: int
    ties: int
    unusable_rows: int
    age: Mapping[str, timedelta] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureReport:
    """Shares of label rows, between 0 and 1: NULL in the winning row, missing, expired, replaced by the default."""

    name: str
    null: float
    missing: float
    expired: float
    default: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a build did."""

    rows: int
    mode: str
    seconds: float
    views: tuple[ViewReport, ...]
    features: tuple[FeatureReport, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should look at."""
        found = []
        for view in self.views:
            if view.ties:
                found.append(
                    f"{view.name}: for {view.ties:,} labels several rows of {view.view} share the newest event time "
                    "and only their content chose one; declare created_timestamp or tie_breaker"
                )
            if view.unusable_rows:
                found.append(
                    f"{view.name}: {view.unusable_rows:,} rows of {view.view} have no event or available time "
                    "and are never seen"
                )
            if self.rows and not view.matched:
                found.append(f"{view.name}: no label found a row in {view.view}")
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values; ages are seconds."""
        report = asdict(self)
        for view in report["views"]:
            view["age"] = {name: age.total_seconds() for name, age in view["age"].items()} if view["age"] else None
        report["warnings"] = list(self.warnings)
        return report


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where the definitions came from, for the lock."""

    project: str
    manifest_sha256: str
    dbt_version: str
    dbt_invocation_id: str
    service_fingerprint: str


class TrainingSet:
    """Label rows with their features: exactly the labels, once each, in their order.

    The joins are done; the rows are still in the warehouse and leave it when asked for, as often as wanted.
    Use it as a context manager or call `close()` to give the connection back.
    """

    def __init__(
        self,
        *,
        warehouse: Warehouse,
        plan: Plan,
        script: Script,
        report: Report,
        service: FeatureService,
        provenance: Provenance,
        labels: str,
    ) -> None:
        self._warehouse = warehouse
        self._plan = plan
        self._script = script
        self._service = service
        self._provenance = provenance
        self._labels = labels
        self._checksums: dict[str, str] | None = None
        self.report = report

    def __enter__(self) -> TrainingSet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<TrainingSet {self._service.name}: {self.report.rows:,} rows x {len(self.columns)} columns>"

    def __len__(self) -> int:
        return self.report.rows

    @property
    def columns(self) -> tuple[str, ...]:
        """All column names: the labels' own, then the features."""
        return self._script.columns

    @property
    def sql(self) -> str:
        """The SQL that was run, ready to be pasted into the warehouse."""
        return str(self._script)

    def to_reader(self) -> pa.RecordBatchReader:
        """Return the rows as a stream of Arrow batches, never more than one in memory."""
        import pyarrow as pa

        reader = self._warehouse.arrow(self._script.query.sql)
        fields = [field.with_name(name) for field, name in zip(reader.schema, self.columns, strict=True)]
        schema = pa.schema(fields)

        def batches() -> Iterator[pa.RecordBatch]:
            digest = TableDigest(self.columns)
            for batch in reader:
                digest.update(batch)
                yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
            self._finish(digest)

        return pa.RecordBatchReader.from_batches(schema, batches())

    def to_arrow(self) -> pa.Table:
        """Return the rows as an Arrow table."""
        return self.to_reader().read_all()

    def to_pandas(self) -> pandas.DataFrame:
        """Return the rows as a pandas frame with a plain index."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> polars.DataFrame:
        """Return the rows as a polars frame."""
        import polars

        frame = polars.from_arrow(self.to_arrow())
        assert isinstance(frame, polars.DataFrame)
        return frame

    def to_parquet(self, path: str | Path, *, lock: str | Path | None = None) -> Path:
        """Write the rows to a parquet file and the lock beside it; both appear whole or not at all."""
        return self._to_file(Path(path), "parquet", lock)

    def to_csv(self, path: str | Path, *, lock: str | Path | None = None) -> Path:
        """Write the rows to a CSV file and the lock beside it; both appear whole or not at all."""
        return self._to_file(Path(path), "csv", lock)

    def to_table(self, name: str) -> int:
        """Write the rows to a table of the warehouse (`table` or `schema.table`) and return their number.

        Raises:
            WarehouseError: the table exists and was not made by featurelayer, or the connection only reads.
        """
        rows = self._warehouse.write_table(self._script.query.sql, name)
        self._same_rows(rows)
        return rows

    @cached_property
    def lock(self) -> dict[str, Any]:
        """What went in and what came out, for a rebuild to compare with: SQL, and hashes of manifest and columns."""
        if self._checksums is None:
            for _ in self.to_reader():
                pass
        assert self._checksums is not None
        features = set(self._service.columns)
        labels = {name: digest for name, digest in self._checksums.items() if name not in features}
        return {
            "format": 1,
            "featurelayer_version": featurelayer.__version__,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "engine": self._warehouse.engine,
            "service": {
                "name": self._service.name,
                "fingerprint": self._provenance.service_fingerprint,
                "features": list(self._service.columns),
            },
            "labels": {
                "source": self._labels,
                "rows": self.report.rows,
                "columns": list(labels),
                "sha256": hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest(),
            },
            "mode": self.report.mode,
            "project": self._provenance.project,
            "manifest_sha256": self._provenance.manifest_sha256,
            "dbt_version": self._provenance.dbt_version,
            "dbt_invocation_id": self._provenance.dbt_invocation_id,
            "sql_sha256": hashlib.sha256(self.sql.encode()).hexdigest(),
            "sql": self.sql,
            "columns": dict(self._checksums),
            "report": self.report.to_dict(),
        }

    def write_lock(self, path: str | Path) -> Path:
        """Write the lock as JSON, whole or not at all."""
        path = Path(path)
        with _appears_whole(path) as temporary:
            temporary.write_text(json.dumps(self.lock, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return path

    def close(self) -> None:
        """Drop what the build left in the session and close the connection."""
        self._warehouse.drop(self._script.temporary)
        self._warehouse.close()

    def _to_file(self, path: Path, kind: Literal["parquet", "csv"], lock: str | Path | None) -> Path:
        with _appears_whole(path) as temporary:
            if len({name.casefold() for name in self.columns}) < len(self.columns):
                self._stream_to_file(temporary, kind)
            else:
                self._same_rows(self._warehouse.write_file(self._script.query.sql, temporary, kind))
                if kind == "parquet" and self._checksums is None:
                    self._digest_file(temporary)
            lock_path = Path(lock) if lock else lock_path_of(path)
            with _appears_whole(lock_path) as temporary_lock:
                temporary_lock.write_text(json.dumps(self.lock, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return path

    def _stream_to_file(self, path: Path, kind: Literal["parquet", "csv"]) -> None:
        """Write from here: an engine that folds case would rename a column that differs from another in case alone."""
        import pyarrow.csv as csv
        import pyarrow.parquet as pq

        reader = self.to_reader()
        writer = pq.ParquetWriter(path, reader.schema) if kind == "parquet" else csv.CSVWriter(path, reader.schema)
        with writer:
            for batch in reader:
                writer.write_batch(batch)

    def _digest_file(self, path: Path) -> None:
        """Checksum what was written, not what was meant to be."""
        import pyarrow.parquet as pq

        digest = TableDigest(self.columns)
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(131_072):
                digest.update(batch)
        self._finish(digest)

    def _finish(self, digest: TableDigest) -> None:
        self._same_rows(digest.rows)
        self._checksums = digest.finish()

    def _same_rows(self, rows: int) -> None:
        """Rule 6, checked on every run."""
        if rows != self.report.rows:
            raise WarehouseError(
                f"{self.report.rows:,} labels went in and {rows:,} rows came out; nothing was kept\n"
                "  fix  the labels or a view changed while the build ran: run it again"
            )


def lock_path_of(output: Path) -> Path:
    """Return where the lock of an output file lies: `train.parquet` has `train.lock.json`."""
    return output.with_suffix(".lock.json")


def describe_views(
    warehouse: Warehouse, service: FeatureService, views: Mapping[str, FeatureView]
) -> dict[str, tuple[Column, ...]]:
    """Return the real columns of every relation a service reads; all that are missing are reported at once."""
    columns: dict[str, tuple[Column, ...]] = {}
    problems = []
    for name in dict.fromkeys(join.view for join in service.views):
        view = views[name]
        try:
            found = warehouse.describe(view.relation_name)
        except WarehouseError:
            problems.append(
                Problem(
                    what=f"{name}: {view.relation_name} is not built in the warehouse",
                    where=view.yaml_path,
                    fix=f"dbt build -s {view.name}",
                )
            )
            continue
        columns[name] = tuple(Column(name=c.name, dtype=c.dtype, nanoseconds=c.nanoseconds) for c in found)
    if problems:
        raise PlanError(problems)
    return columns


def build_training_set(
    warehouse: Warehouse,
    service: FeatureService,
    views: Mapping[str, FeatureView],
    labels: Source,
    *,
    labels_name: str,
    provenance: Provenance,
    label_timestamp: str | None = None,
    keys: Mapping[str, str] | None = None,
    mode: Mode = Mode.KNOWN_AT,
    progress: Progress | None = None,
) -> TrainingSet:
    """Join a service's features to labels, each as of its own time, and return the set, still in the warehouse.

    Args:
        warehouse: where the views are; the set takes it over and closes it.
        service: the features wanted.
        views: the registry's views by id.
        labels: the label rows.
        labels_name: what to call them in the lock.
        provenance: where the definitions came from.
        label_timestamp: the label column with the time, if not the service's.
        keys: label column by request key, where they differ.
        mode: which rows a label may see.
        progress: called before each step.

    Raises:
        LabelError: the labels can't be used; nothing was written.
        PlanError: the views can't be joined as annotated; nothing was written.
        WarehouseError: the engine failed.
    """
    started = datetime.now(UTC)
    plan = plan_training_set(
        service,
        views,
        describe_views(warehouse, service, views),
        source=labels.sql,
        label_columns=[Column(name=c.name, dtype=c.dtype, nanoseconds=c.nanoseconds) for c in labels.columns],
        from_text=labels.from_text,
        label_timestamp=label_timestamp,
        keys=keys,
        mode=mode,
        provenance=f"featurelayer {featurelayer.__version__}, manifest {provenance.manifest_sha256[:12]}",
    )
    script = compile_plan(plan, warehouse.dialect)
    step_names = ["checks", *(step.name for step in script.steps)]

    def tell(done: int) -> None:
        if progress is not None:
            progress(step_names[done], done, len(step_names))

    tell(0)
    run_checks(warehouse, script.checks)
    tell(1)
    spine, *_ = script.steps
    _run(warehouse, spine)
    (rows,) = warehouse.rows(script.count.sql)[0]
    plan = _with_reach(warehouse, plan, script)
    script = compile_plan(plan, warehouse.dialect)
    reports: list[ViewReport] = []
    nulls: dict[str, int] = {}
    for done, step in enumerate(script.steps[1:], start=2):
        tell(done)
        _run(warehouse, step)
        assert step.report is not None, "every view of a training set is counted"
        counts, values = _view_report(warehouse, step.report, rows)
        reports.append(counts)
        nulls |= values
    seconds = (datetime.now(UTC) - started).total_seconds()
    report = Report(
        rows=rows,
        mode=str(mode),
        seconds=round(seconds, 3),
        views=tuple(reports),
        features=tuple(_feature_reports(plan, reports, nulls, rows)),
    )
    return TrainingSet(
        warehouse=warehouse,
        plan=plan,
        script=script,
        report=report,
        service=service,
        provenance=provenance,
        labels=labels_name,
    )


def _run(warehouse: Warehouse, step: Step) -> None:
    for statement in step.statements:
        warehouse.execute(statement.sql)


def _with_reach(warehouse: Warehouse, plan: Plan, script: Script) -> Plan:
    """Skip the cut to the labels' keys where most rows would stay: then it costs a quarter of the match for nothing."""
    joins = []
    for join, step in zip(plan.joins, script.steps[1:], strict=True):
        share = warehouse.rows(step.reach.sql)[0][0] if step.reach is not None else None
        joins.append(join if share is None else replace(join, narrow=share < _WORTH_NARROWING))
    return replace(plan, joins=tuple(joins))


def run_checks(warehouse: Warehouse, checks: Sequence[Check]) -> None:
    """Run the queries that must return nothing and raise with all that returned something."""
    problems: dict[bool, list[Problem]] = {True: [], False: []}
    for check in checks:
        found = warehouse.rows(check.sql)
        if found:
            if check.about_labels:
                examples = ", ".join(f"{value!r} in row {row}" for value, row in found)
            else:
                examples = ", ".join(repr(row[0]) if len(row) == 1 else repr(row) for row in found)
            problems[check.about_labels].append(Problem(what=check.message.format(rows=examples), fix=check.fix))
    if problems[True]:
        raise LabelError([*problems[True], *problems[False]])
    if problems[False]:
        raise PlanError(problems[False])


def _view_report(warehouse: Warehouse, queries: JoinReport, labels: int) -> tuple[ViewReport, dict[str, int]]:
    join = queries.join

    def count(statement: Any) -> int:
        return int(warehouse.rows(statement.sql)[0][0]) if statement is not None else 0

    matched, distinct, *values = warehouse.rows(queries.matched.sql)[0]
    if matched != distinct:
        raise WarehouseError(
            f"{join.view}: {matched - distinct:,} labels got more than one row; nothing was kept\n"
            f"  fix  {join.relation} changed while the build ran: run it again"
        )
    expired = count(queries.expired)
    ages = warehouse.rows(queries.ages.sql)[0][0] if queries.ages is not None and matched else None
    report = ViewReport(
        name=join.name,
        view=join.view,
        matched=matched,
        missing=labels - matched - expired,
        expired=expired,
        ties=count(queries.ties),
        unusable_rows=count(queries.unusable),
        age={name: timedelta(microseconds=age) for name, age in zip(_PERCENTILES, ages, strict=True)} if ages else None,
    )
    return report, {feature.name: matched - value for feature, value in zip(join.features, values, strict=True)}


def _feature_reports(
    plan: Plan, views: Sequence[ViewReport], nulls: Mapping[str, int], labels: int
) -> Iterator[FeatureReport]:
    def share(count: int) -> float:
        return count / labels if labels else 0.0

    for join, view in zip(plan.joins, views, strict=True):
        for feature in join.features:
            yield FeatureReport(
                name=feature.name,
                null=share(nulls[feature.name]),
                missing=share(view.missing),
                expired=share(view.expired),
                default=share(view.missing + view.expired) if feature.has_default else 0.0,
            )


@contextlib.contextmanager
def _appears_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; it takes the real name only if nothing failed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
