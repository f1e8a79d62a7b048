"""Runs plans on a DuckDB in memory, in its own form and in the portable one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from featurelayer.model import Column, DType, Feature, FeatureService, FeatureView, JoinKey, Key, Kind, ServiceView
from featurelayer.sql.dialects.base import Dialect
from featurelayer.sql.dialects.duckdb import DuckDB
from featurelayer.sql.plan import Mode, Plan, Script
from featurelayer.sql.planner import plan_snapshot, plan_training_set
from featurelayer.warehouse.duckdb import DuckDBWarehouse


class Portable(DuckDB):
    """The portable form in DuckDB's words."""

    compile = Dialect.compile
    query = Dialect.query
    spine_step = Dialect.spine_step


FORMS = {"native": DuckDB(), "portable": Portable()}


def arrow_type(dtype: DType) -> pa.DataType:
    """The Arrow type of a featurelayer type."""
    match dtype.kind:
        case Kind.ARRAY:
            return pa.list_(arrow_type(dtype.element))
        case Kind.DECIMAL:
            return pa.decimal128(dtype.precision, dtype.scale)
        case Kind.TIMESTAMP:
            return pa.timestamp("us")
        case Kind.TIMESTAMPTZ:
            return pa.timestamp("us", "UTC")
        case Kind.DATE:
            return pa.date32()
        case Kind.TEXT:
            return pa.string()
        case Kind.BYTES:
            return pa.binary()
        case Kind.BOOL:
            return pa.bool_()
        case _:
            return getattr(pa, f"{dtype.kind}{dtype.bits}")()


def table(columns: Sequence[tuple[str, DType]], rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as an Arrow table with exactly these types."""
    rows = list(rows)
    arrays = [pa.array([row[name] for row in rows], arrow_type(dtype)) for name, dtype in columns]
    return pa.Table.from_arrays(arrays, names=[name for name, _ in columns])


class Engine:
    """A DuckDB in memory with views' rows in it."""

    def __init__(self, *, zone: str = "UTC", threads: int = 2) -> None:
        self.connection = duckdb.connect(config={"threads": threads})
        self.warehouse = DuckDBWarehouse(self.connection)
        self.to_zone(zone)
        self._compiled: dict[str, tuple[Plan, Script]] = {}

    def to_zone(self, zone: str) -> None:
        """Give the session another time zone, which must not matter."""
        self.connection.execute(f"SET TimeZone = '{zone}'")

    def load(self, view: FeatureView, rows: Iterable[Mapping[str, Any]]) -> None:
        """Create a view's relation."""
        data = table(view.columns, rows)
        self.connection.register("__load", data)
        self.connection.execute(f"CREATE OR REPLACE TABLE {view.relation_name} AS SELECT * FROM __load")
        self.connection.unregister("__load")

    def columns(self, view: FeatureView) -> tuple[Column, ...]:
        return self.warehouse.describe(view.relation_name)

    def plan(
        self,
        labels: pa.Table,
        service: FeatureService,
        views: Mapping[str, FeatureView],
        *,
        mode: str = "known_at",
        **options: Any,
    ) -> Plan:
        source = self.warehouse.attach(labels)
        return plan_training_set(
            service,
            views,
            {name: self.columns(view) for name, view in views.items()},
            source=source.sql,
            label_columns=source.columns,
            mode=Mode(mode),
            **options,
        )

    def snapshot_plan(self, view: FeatureView, as_of: Any) -> Plan:
        return plan_snapshot(view, self.columns(view), as_of=as_of)

    def run(self, plan: Plan, form: str = "native") -> list[dict[str, Any]]:
        """Return the rows of a plan."""
        script = self._script(plan, form)
        for check in script.checks:
            assert self.warehouse.rows(check.sql) == [], check.message
        for step in script.steps:
            for statement in step.statements:
                self.warehouse.execute(statement.sql)
        found = self.warehouse.arrow(script.query.sql).read_all()
        columns = [column.to_pylist() for column in found.columns]
        return [dict(zip(script.columns, values, strict=True)) for values in zip(*columns, strict=True)]

    def _script(self, plan: Plan, form: str) -> Script:
        """The plan's SQL; running one plan again costs no second compilation, which is most of a small run."""
        known = self._compiled.get(form)
        if known is None or known[0] is not plan:
            self._compiled[form] = known = (plan, FORMS[form].compile(plan))
        return known[1]

    def close(self) -> None:
        self.warehouse.close()


def make_view(
    name: str,
    keys: Mapping[str, str],
    columns: Mapping[str, str],
    features: Iterable[str],
    *,
    defaults: Mapping[str, Any] | None = None,
    **annotations: Any,
) -> FeatureView:
    """A view over `"memory"."main"."<name>"`; types as featurelayer's text."""
    typed = tuple((column, DType.parse(text)) for column, text in {**keys, **columns}.items())
    by_name = dict(typed)
    defaults = defaults or {}
    quoted = name.replace('"', '""')
    return FeatureView(
        name=name,
        unique_id=f"model.test.{name}",
        relation_name=f'"memory"."main"."{quoted}"',
        entities=("thing",),
        join_keys=tuple(JoinKey(column=key, entity="thing", key=key, dtype=by_name[key]) for key in keys),
        features=tuple(
            Feature(name=f, dtype=by_name[f], default=defaults.get(f), has_default=f in defaults) for f in features
        ),
        columns=typed,
        **annotations,
    )


def make_service(
    *joins: tuple[FeatureView, str | None, Mapping[str, str] | None], label_timestamp: str | None = "t"
) -> FeatureService:
    """A service of (view, role, label column by key) with all features of each view."""
    views, request = [], {}
    for view, role, keys in joins:
        pairs = tuple((key.column, (keys or {}).get(key.column, key.column)) for key in view.join_keys)
        for key, (_, label) in zip(view.join_keys, pairs, strict=True):
            request[label] = key.dtype
        features = tuple(feature.name for feature in view.features)
        views.append(ServiceView(view=view.id, prefix=role or view.prefix, features=features, keys=pairs, role=role))
    return FeatureService(
        name="service",
        views=tuple(views),
        request_keys=tuple(Key(name=name, dtype=dtype) for name, dtype in request.items()),
        label_timestamp=label_timestamp,
    )
