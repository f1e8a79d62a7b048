"""A finished training set: its rows in any form, and the lock that describes them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from featurelayer._version import __version__
from featurelayer.errors import WarehouseError
from featurelayer.identifiers import truncate_identifier
from featurelayer.model import FeatureService
from featurelayer.sql.plan import Script
from featurelayer.training.append import (
    concatenate_files,
    extend_lock,
    find_existing_lock,
    find_existing_table,
    validate_lock_unchanged,
    validate_new_labels,
)
from featurelayer.training.definition import BuildDefinition
from featurelayer.training.files import (
    default_lock_path,
    file_sha256,
    name_file_in_errors,
    relative_output_path,
    validate_parquet_columns,
    write_atomically,
    write_json,
)
from featurelayer.training.lock import FORMAT, BuildRecord, Lock, LockedOutput, seal
from featurelayer.training.original_labels import OriginalLabels, to_exact_pandas
from featurelayer.training.report import Report
from featurelayer.training.resolved_request import Provenance
from featurelayer.warehouse.base import Warehouse
from featurelayer.warehouse.digest import TableDigest, file_checksums

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow as pa


class TrainingSet:
    """Label rows with their features: exactly the labels, once each, in their order.

    The joins are done; the rows are still in the warehouse and leave it when asked for, as often as wanted.
    Use it as a context manager or call `close()` to give the connection back.
    """

    def __init__(
        self,
        *,
        warehouse: Warehouse,
        script: Script,
        report: Report,
        service: FeatureService,
        provenance: Provenance,
        labels: str,
        record: BuildRecord,
        definition: BuildDefinition,
        given: OriginalLabels | None = None,
    ) -> None:
        self._warehouse = warehouse
        self._script = script
        self._service = service
        self._provenance = provenance
        self._labels = labels
        self._record = record
        self._definition = definition
        self._given = given
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
        """The SQL of the build, ready to paste into the warehouse."""
        return str(self._script)

    @property
    def script(self) -> Script:
        """The statements that were run, one by one."""
        return self._script

    def to_reader(self) -> pa.RecordBatchReader:
        """Return the rows as a stream of Arrow batches, never more than one in memory.

        Label columns of a parquet file or a frame have the types in which they were given.
        """
        return self._read(self._given)

    def _read(self, given: OriginalLabels | None) -> pa.RecordBatchReader:
        """Return the rows, with the labels in their original types or those of the engine."""
        import pyarrow as pa

        reader = self._warehouse.arrow(self._script.query.sql)
        fields = [field.with_name(name) for field, name in zip(reader.schema, self.columns, strict=True)]
        changed: list[int] = []
        if given is not None:
            labels_schema = given.schema  # of a file, its footer is read for it
            changed = given.find_type_changes(fields[: len(labels_schema)])
            for position in changed:
                fields[position] = labels_schema.field(position)
        schema = pa.schema(fields, metadata=given.metadata if given is not None else None)

        def batches() -> Iterator[pa.RecordBatch]:
            digest = TableDigest(self.columns)
            given_digest = TableDigest(schema.names[position] for position in changed)
            with given.open(changed) if given is not None and changed else contextlib.nullcontext() as labels:
                for batch in reader:
                    if not batch.num_rows:
                        continue
                    digest.update(batch)
                    columns = batch.columns
                    if labels is not None:
                        originals = labels.read(batch.num_rows)
                        given_digest.update(pa.RecordBatch.from_arrays(originals, names=list(given_digest.names)))
                        for position, column in zip(changed, originals, strict=True):
                            columns[position] = column
                    yield pa.RecordBatch.from_arrays(columns, schema=schema)
            self._keep_checksums(digest.rows, digest.finish(), given_digest.finish() if given is self._given else None)

        return pa.RecordBatchReader.from_batches(schema, batches())

    def to_arrow(self) -> pa.Table:
        """Return the rows as an Arrow table."""
        return self.to_reader().read_all()

    def to_pandas(self) -> pandas.DataFrame:
        """Return the rows as a pandas frame with a plain index.

        Labels that came as a pandas frame keep their types. No integer is rounded: a column with NULL is an `Int64`.
        """
        table = self.to_arrow()
        return to_exact_pandas(table) if self._given is None else self._given.to_pandas(table)

    def to_polars(self) -> polars.DataFrame:
        """Return the rows as a polars frame; labels that came as one keep their types."""
        import polars

        table = self.to_arrow()
        frame = polars.from_arrow(table) if self._given is None else self._given.to_polars(table)
        assert isinstance(frame, polars.DataFrame)
        return frame

    def to_parquet(self, path: str | Path, *, lock: str | Path | None = None, append: bool = False) -> Path:
        """Write the rows to a parquet file and the lock next to it; both appear whole or not at all.

        With `append` they are added to an existing set.

        Raises:
            LockError: the existing set has a different definition.
        """
        return self._to_file(Path(path), "parquet", lock, append=append)

    def to_csv(self, path: str | Path, *, lock: str | Path | None = None, append: bool = False) -> Path:
        """Write the rows to a CSV file and the lock next to it; as `to_parquet`."""
        return self._to_file(Path(path), "csv", lock, append=append)

    def to_table(self, name: str, *, lock: str | Path | None = None, append: bool = False) -> int:
        """Write the rows to a table of the warehouse (`table` or `schema.table`) and return their number.

        With `append` they are added to an existing set. A `lock` is written only if its path is passed.

        Raises:
            WarehouseError: the table exists and was not made by featurelayer, the connection is read-only, or the names
                of two columns differ only in case.
            LockError: the existing set has a different definition.
        """
        if not self._is_case_safe():
            raise WarehouseError(
                f"{name} can't be a table: two of the labels' columns differ in case alone",
                fix="rename one, or write a file",
            )
        before = find_existing_table(self._warehouse, name, lock, self._definition) if append else None
        query, rows, labels = self._script.query.sql, self.report.rows, tuple(self._label_checksums)
        if before is not None:
            content = self._extend_lock(before.lock) if before.lock else None
            self._warehouse.append_table(query, name, rows=rows, labels=labels, same=self._validate_written_labels)
        else:
            content = self.lock if lock is not None else None
            self._warehouse.write_table(
                query,
                name,
                rows=rows,
                labels=labels,
                same=self._validate_written_labels,
                note=self._definition.checksum,
            )
        if lock is not None and content is not None:
            with write_atomically(Path(lock)) as temporary:
                write_json(temporary, content)
        return rows

    @cached_property
    def lock(self) -> dict[str, Any]:
        """The record of inputs and results to rebuild from: SQL, and hashes of manifest and columns."""
        if self._checksums is None:
            for _ in self.to_reader():
                pass
        assert self._checksums is not None
        return seal(self._lock_content(self._checksums))

    def _lock_content(self, checksums: Mapping[str, str]) -> dict[str, Any]:
        features = set(self._service.columns)
        labels = {name: digest for name, digest in checksums.items() if name not in features}
        record = self._record
        return {
            "format": FORMAT,
            "featurelayer_version": __version__,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "built_at": record.built_at.isoformat(timespec="microseconds"),
            "engine": self._warehouse.engine,
            "request": msgspec.to_builtins(record.request),
            "service": {
                "name": self._service.name,
                "fingerprint": self._provenance.service_fingerprint,
                "features": list(self._service.columns),
                "request_keys": dict(record.request_keys),
            },
            "labels": {
                "source": self._labels,
                "rows": self.report.rows,
                "columns": list(labels),
                "sha256": hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest(),
                "timestamp": record.timestamp,
                "newest": record.newest_label,
                "types": dict(record.label_types),
            },
            "mode": self.report.mode,
            "project": self._provenance.project,
            "manifest_sha256": self._provenance.manifest_sha256,
            "dbt_version": self._provenance.dbt_version,
            "dbt_invocation_id": self._provenance.dbt_invocation_id,
            "sql_sha256": hashlib.sha256(self.sql.encode()).hexdigest(),
            "sql": self.sql,
            "joins": msgspec.to_builtins(record.joins),
            "views": msgspec.to_builtins(record.views),
            "columns": dict(checksums),
            "report": self.report.to_dict(),
        }

    def write_lock(self, path: str | Path) -> Path:
        """Write the lock as JSON, whole or not at all."""
        path = Path(path)
        with write_atomically(path) as temporary:
            write_json(temporary, self.lock)
        return path

    def close(self) -> None:
        """Close the connection; the temporary tables of the build end with it."""
        self._warehouse.close()

    def _is_case_safe(self) -> bool:
        """Return whether column names differ in more than case."""
        return len({name.casefold() for name in self.columns}) == len(self.columns)

    def _to_file(
        self, path: Path, kind: Literal["parquet", "csv"], lock: str | Path | None, *, append: bool = False
    ) -> Path:
        lock_path = Path(lock) if lock else default_lock_path(path)
        before = find_existing_lock(path, lock_path, self._definition) if append else None
        with write_atomically(path) as temporary, name_file_in_errors(path):
            if before is None:
                self._write_rows(temporary, kind)
                content = self.lock
            else:
                content = self._append_rows(before, path, temporary, kind)
            with write_atomically(lock_path) as temporary_lock:
                output = LockedOutput(
                    file=relative_output_path(path, lock_path), sha256=file_sha256(temporary) if kind == "csv" else None
                )
                if before is not None:
                    validate_lock_unchanged(before)
                write_json(temporary_lock, seal({**content, "output": msgspec.to_builtins(output)}))
        return path

    def _write_rows(self, path: Path, kind: Literal["parquet", "csv"]) -> None:
        """Write the rows and check them."""
        if not self._is_case_safe() or (kind == "parquet" and self._needs_original_types()):
            self._stream_to_file(path, kind)
        else:
            names = self.columns if any(truncate_identifier(name) != name for name in self.columns) else None
            self._validate_row_count(self._warehouse.write_file(self._script.query.sql, path, kind, names=names))
            if kind == "parquet" and self._checksums is None:
                self._digest_file(path)

    def _append_rows(self, before: Lock, path: Path, joined: Path, kind: Literal["parquet", "csv"]) -> dict[str, Any]:
        """Write the rows of the existing file, then the new ones; return the lock content of the whole set."""
        with write_atomically(joined.with_suffix(".new"), kept=False) as new:
            self._write_rows(new, kind)
            return self._extend_lock(before, concatenate_files(before, path, new, joined, kind))

    def _extend_lock(self, before: Lock, columns: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the lock content of the existing set extended by these rows."""
        validate_new_labels(before, self.lock)
        return extend_lock(before, self.lock, columns)

    def _stream_to_file(self, path: Path, kind: Literal["parquet", "csv"]) -> None:
        """Write the file in Python: an engine that folds case would rename columns that differ only in case."""
        import pyarrow.csv as csv
        import pyarrow.parquet as pq

        # The engine defines the text of each type.
        reader = self._read(self._given if kind == "parquet" else None)
        if kind == "parquet":
            validate_parquet_columns(reader.schema)
        writer = pq.ParquetWriter(path, reader.schema) if kind == "parquet" else csv.CSVWriter(path, reader.schema)
        with writer:
            for batch in reader:
                writer.write_batch(batch)

    def _needs_original_types(self) -> bool:
        """Return whether the engine would change the types of label columns."""
        given = self._given
        return given is not None and (given.has_pandas_types or bool(given.find_type_changes(self._label_columns[0])))

    def _digest_file(self, path: Path) -> None:
        """Checksum the file as written."""
        rows, checksums = file_checksums(path)
        self._keep_checksums(rows, dict(zip(self.columns, checksums, strict=True)), {})

    def _keep_checksums(self, rows: int, checksums: dict[str, str], given: Mapping[str, str] | None = None) -> None:
        """Check the label columns of the output, and keep the checksums.

        `given` are those of columns that replaced the engine's; None if the engine's are not kept.
        """
        self._validate_row_count(rows)
        self._validate_label_values(checksums)
        if given is not None:
            self._checksums = {**checksums, **given}

    @cached_property
    def _label_columns(self) -> tuple[pa.Schema, dict[str, str]]:
        """Return the types of the label columns in the engine, and their checksums by name."""
        assert self._script.labels is not None, "a training set has labels"
        with self._warehouse.arrow(self._script.labels.sql) as reader:
            return reader.schema, self._digest(reader)

    @property
    def _label_checksums(self) -> dict[str, str]:
        return self._label_columns[1]

    def _digest(self, labels: pa.RecordBatchReader) -> dict[str, str]:
        """Checksum the label columns, which come first."""
        digest = TableDigest(self.columns[: len(labels.schema)])
        for batch in labels:
            digest.update(batch)
        return digest.finish()

    def _validate_written_labels(self, written: pa.RecordBatchReader) -> None:
        self._validate_label_values(self._digest(written))

    def _validate_label_values(self, checksums: Mapping[str, str]) -> None:
        """Check rule 6 on every run: label columns are unchanged, byte for byte and in the labels' order."""
        changed = [name for name, checksum in self._label_checksums.items() if checksums[name] != checksum]
        if changed:
            raise WarehouseError(
                f"label column {', '.join(changed)} came out with other values or in another order; nothing was kept",
                fix="the labels changed while the build ran: run it again",
            )

    def _validate_row_count(self, rows: int) -> None:
        """Check rule 6 on every run: one row per label."""
        if rows != self.report.rows:
            raise WarehouseError(
                f"{self.report.rows:,} labels went in and {rows:,} rows came out; nothing was kept",
                fix="the labels or a view changed while the build ran: run it again",
            )
