"""BigQuery, asked by dry runs: what columns a relation has, and what a query would read and cost. It runs nothing.

Its client has no cursor, and temporary tables belong to a session of its own making, so sets are not built through it.
Never run by us: written after cloud.google.com/bigquery/docs/samples/bigquery-query-dry-run, and tried on a client that
answers as the documentation of `QueryJob` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurelayer.errors import ConfigError, LabelError, Problem, WarehouseError
from featurelayer.model import Column, DType, Kind
from featurelayer.warehouse.base import CsvRows, Estimate, Scan, Source
from featurelayer.warehouse.dbt_adapter.cursor_types import dtype_of
from featurelayer.warehouse.dbt_adapter.facts import AdapterFacts
from featurelayer.warehouse.dbt_adapter.session import first_line
from featurelayer.warehouse.dbt_adapter.warehouse import AdapterWarehouse, require_adapter

if TYPE_CHECKING:
    import pyarrow as pa

# On demand, in the US (cloud.google.com/bigquery/pricing).
_USD_PER_TIB = 6.25
_FIX = "make the training set a dbt model, which dbt builds: `featurelayer dbt-model write`"
# The API's names for types that have another name in SQL.
_TYPES = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}
_DECIMALS = {"NUMERIC": (38, 9), "BIGNUMERIC": (76, 38)}


class BigQueryWarehouse(AdapterWarehouse):
    """A project of BigQuery: its columns and its estimates; it runs no SQL."""

    def session_statements(self) -> Sequence[str]:
        return ()

    def _cursor(self, sql: str) -> Any:  # noqa: ARG002
        what = "training sets can't be built on the dbt adapter 'bigquery' yet: its client has no cursor"
        raise ConfigError([Problem(what=what, where="profiles.yml", fix=_FIX)])

    def attach(self, labels: Path | CsvRows | pa.Table) -> Source:  # noqa: ARG002
        what = "labels of a file or a frame can't be brought to bigquery through dbt's adapter"
        raise LabelError([Problem(what=what, fix="put them into the warehouse and name the dbt model or the relation")])

    def columns_of(self, source: str) -> tuple[Column, ...]:
        return columns_of(self._dry_run(f"SELECT * FROM {source}").schema)  # noqa: S608 (quoted by sqlglot)

    def estimate(self, query: str) -> Estimate:
        try:
            return estimate_of(self._dry_run(query))
        except WarehouseError as error:
            return Estimate(how=f"it does not take the query: {error.summary}")

    def _dry_run(self, sql: str) -> Any:
        """Return the job of a successful dry run."""
        from dbt_common.exceptions import DbtBaseException

        def run() -> Any:
            with self._adapter.connections.exception_handler(sql):
                return self._handle.query(sql, job_config=_dry())

        try:
            return self._wait(run)
        except DbtBaseException as error:
            raise WarehouseError(f"bigquery: {first_line(error)}", sql=sql) from error


def connect(
    connection: Mapping[str, Any],
    *,
    root: Path,  # noqa: ARG001
    writable: bool = False,  # noqa: ARG001 (nothing can be written)
    wait: timedelta = timedelta(0),  # noqa: ARG001
) -> BigQueryWarehouse:
    """Connect with a target through dbt's adapter.

    Raises:
        ConfigError: the adapter is not installed, or does not take the target's credentials.
        WarehouseError: the engine can't be reached.
    """
    require_adapter("bigquery")
    return BigQueryWarehouse(connection, AdapterFacts())


def _dry() -> Any:
    from google.cloud.bigquery import QueryJobConfig  # type: ignore[import-untyped, import-not-found, unused-ignore]

    return QueryJobConfig(dry_run=True, use_query_cache=False)


def estimate_of(job: Any) -> Estimate:
    """Convert a dry run to an estimate."""
    size = int(job.total_bytes_processed)
    usd = size / 1024**4 * _USD_PER_TIB
    tables = [f"{each.project}.{each.dataset_id}.{each.table_id}" for each in job.referenced_tables]
    how = f"a dry run; on demand, at {_USD_PER_TIB:.2f} USD per TiB as in the US, about {usd:,.4f} USD"
    return Estimate(scans=tuple(Scan(relation=name) for name in tables), bytes=size, how=how)


def columns_of(schema: Sequence[Any]) -> tuple[Column, ...]:
    """Return the columns of a job's schema."""
    return tuple(Column(name=field.name, dtype=_dtype(field)) for field in schema)


def _dtype(field: Any) -> DType:
    one = _single(field)
    return DType(kind=Kind.ARRAY, element=one) if field.mode == "REPEATED" else one


def _single(field: Any) -> DType:
    kind = field.field_type
    if kind in ("RECORD", "STRUCT"):
        return DType(kind=Kind.STRUCT)
    if kind in _DECIMALS:
        precision, scale = _DECIMALS[kind] if field.precision is None else (field.precision, field.scale or 0)
        return DType(kind=Kind.DECIMAL, precision=precision, scale=scale)
    return dtype_of(_TYPES.get(kind, kind), "bigquery")
