"""The history in the warehouse: `featurelayer_profiles` and `featurelayer_monitor_results` in dbt's schema."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from featurelayer.errors import RelationNotBuilt
from featurelayer.model import DType
from featurelayer.monitor_records import MonitorResult, MonitorStatus, Profile, ProfileScope
from featurelayer.sql.ast import col, with_alias
from featurelayer.sql.dialects import dialect
from featurelayer.sql.dialects.base import Dialect
from featurelayer.warehouse.base import Warehouse, from_item

if TYPE_CHECKING:
    import pyarrow as pa

PROFILES = {
    "view": "text", "feature": "text", "scope": "text", "source": "text", "period_start": "timestamp",
    "period_end": "timestamp", "profiled_at": "timestamp", "run": "text", "row_count": "int64", "nulls": "int64",
    "distinct_count": "int64", "unusable": "int64", "defaults": "int64", "out_of_range": "int64", "minimum": "float64",
    "maximum": "float64", "mean": "float64", "std": "float64", "shape_rows": "int64", "quantiles": "text",
    "edges": "text", "counts": "text", "top_values": "text",
}  # fmt: skip
RESULTS = {
    "view": "text", "feature": "text", "monitor": "text", "metric": "text", "status": "text", "meaning": "text",
    "value": "float64", "threshold": "float64", "warn": "float64", "error": "float64", "baseline": "text",
    "period_start": "timestamp", "period_end": "timestamp", "checked_at": "timestamp", "run": "text",
}  # fmt: skip

# Columns that SQL or readers would trip over have longer names than the fields.
_FIELDS = {
    "period_start": "start",
    "period_end": "end",
    "row_count": "rows",
    "distinct_count": "distinct",
    "top_values": "top",
}
_LISTS = ("quantiles", "edges", "counts", "top_values")


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryTables:
    """The two tables in the schema that dbt builds in, quoted as dbt quotes."""

    profiles: str
    results: str

    @classmethod
    def from_schema(cls, schema: str) -> HistoryTables:
        """Return the tables of a schema."""
        place = exp.to_identifier(schema, quoted=True) if schema else None
        profiles, results = (
            exp.Table(this=exp.to_identifier(name, quoted=True), db=place).sql()
            for name in ("featurelayer_profiles", "featurelayer_monitor_results")
        )
        return cls(profiles=profiles, results=results)


class History:
    """The history of one warehouse."""

    def __init__(self, warehouse: Warehouse, tables: HistoryTables) -> None:
        self._warehouse, self._tables = warehouse, tables
        self._writer: Dialect = dialect(warehouse.dialect)

    def create(self) -> None:
        """Create the missing tables."""
        for relation, columns in ((self._tables.profiles, PROFILES), (self._tables.results, RESULTS)):
            definitions = [
                exp.ColumnDef(this=exp.to_identifier(name, quoted=True), kind=self._writer.type(DType.parse(dtype)))
                for name, dtype in columns.items()
            ]
            schema = exp.Schema(this=self._table(relation), expressions=definitions)
            self._warehouse.execute(self._writer.sql(exp.Create(this=schema, kind="TABLE", exists=True)))

    def profiles(self, view: str | None = None) -> tuple[Profile, ...]:
        """Return the profiles of a view or of all, oldest first; none before the first run.

        Rows that were profiled several times are returned once, with their newest profile.
        """
        rows = self._rows(self._tables.profiles, PROFILES, view, ("view", "feature", "period_end", "profiled_at"))
        newest = {(row["view"], row["feature"], row["scope"], row["end"]): row for row in rows}
        return tuple(
            Profile(
                **row
                | {"scope": ProfileScope(row["scope"])}
                | {
                    field: tuple(tuple(item) if isinstance(item, list) else item for item in json.loads(row[field]))
                    for field in ("quantiles", "edges", "counts", "top")
                }
            )
            for row in newest.values()
        )

    def results(self, view: str | None = None) -> tuple[MonitorResult, ...]:
        """Return the results of a view or of all, oldest run first; nothing before the first run."""
        rows = self._rows(self._tables.results, RESULTS, view, ("checked_at", "view", "feature", "monitor", "metric"))
        return tuple(MonitorResult(**row | {"status": MonitorStatus(row["status"])}) for row in rows)

    def add(self, profiles: Sequence[Profile], results: Sequence[MonitorResult]) -> None:
        """Append the profiles and results of a run. Rows never change: not every engine can update them."""
        self._insert(self._tables.profiles, PROFILES, [_profile_row(profile) for profile in profiles])
        self._insert(self._tables.results, RESULTS, [_row(result, RESULTS) for result in results])

    def _insert(self, relation: str, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        source = from_item(self._warehouse, _arrow_table(columns, rows))
        names = [exp.to_identifier(name, quoted=True) for name in columns]
        values = [
            with_alias(exp.cast(col(name), self._writer.type(DType.parse(columns[name]))), name) for name in columns
        ]
        found = exp.maybe_parse(source, into=exp.Table, dialect=self._writer.name)
        into = exp.Schema(this=self._table(relation), expressions=names)
        insert = exp.Insert(this=into, expression=exp.select(*values).from_(found))
        self._warehouse.execute(self._writer.sql(insert))

    def _rows(
        self, relation: str, columns: Mapping[str, str], view: str | None, order: Iterable[str]
    ) -> list[dict[str, Any]]:
        try:
            self._warehouse.describe(relation)
        except RelationNotBuilt:
            return []
        query = exp.select(*(col(name) for name in columns)).from_(self._table(relation))
        if view is not None:
            query = query.where(exp.EQ(this=col("view"), expression=exp.Literal.string(view)))
        query = query.order_by(*(col(name) for name in order))
        return [
            {
                _FIELDS.get(name, name): value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
                for name, value in zip(columns, values, strict=True)
            }
            for values in self._warehouse.rows(self._writer.sql(query))
        ]

    def _table(self, relation: str) -> exp.Table:
        return exp.to_table(relation, dialect=self._writer.name)


def _profile_row(profile: Profile) -> dict[str, Any]:
    row = _row(profile, PROFILES)
    return row | {name: json.dumps(row[name]) for name in _LISTS}


def _row(value: Profile | MonitorResult, columns: Mapping[str, str]) -> dict[str, Any]:
    row = {name: getattr(value, _FIELDS.get(name, name)) for name in columns}
    return {name: _naive_utc(each) if isinstance(each, datetime) else each for name, each in row.items()}


def _naive_utc(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(tzinfo=None)


def _arrow_table(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    import pyarrow as pa

    kinds = {"text": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "timestamp": pa.timestamp("us")}
    return pa.table({name: pa.array([row[name] for row in rows], kinds[kind]) for name, kind in columns.items()})
