"""A view's snapshot at a time: compiled to SQL, checked against the warehouse, encoded where that is fastest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlglot import exp

from featurelayer.errors import PlanError, Problem
from featurelayer.export.encode import encode_to_file
from featurelayer.model import FeatureView
from featurelayer.online.definitions import fingerprint
from featurelayer.online.keys import key_prefix
from featurelayer.sql.compiler import compile_plan
from featurelayer.sql.dialects import dialect
from featurelayer.sql.item_encoding import encode_snapshot
from featurelayer.sql.plan import Plan, Script
from featurelayer.sql.planner import plan_snapshot
from featurelayer.sql.table_stats import unusable_rows
from featurelayer.warehouse import Warehouse
from featurelayer.warehouse.base import from_item
from featurelayer.warehouse.execute import describe_views, run_checks, run_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A view at the time `as_of`, with access to its encoded rows.

    `rows` is called inside the transaction with the warehouse and a folder for files; it returns the FROM item of the
    encoded rows (`pk`, `f`, `event_time`, `valid_to`) and the number of rows with a NULL in the key. `skipped` is a
    query that counts rows excluded from every snapshot: those without a key, and those without a time. `code` is a
    fingerprint of the view's code; empty if unknown.
    """

    view: FeatureView
    as_of: datetime
    rows: Callable[[Warehouse, Path], tuple[exp.Expression, int]]
    skipped: str = ""
    temporary: Sequence[str] = ()
    code: str = ""


def take_snapshots(
    warehouse: Warehouse, views: Sequence[FeatureView], at: datetime, code: Mapping[str, str] | None = None
) -> list[Snapshot]:
    """Return the snapshot of each view at `at` (aware), after checking all of them.

    `code` holds the code fingerprint of each view.

    Raises:
        PlanError: a relation is not built or contradicts the annotations; lists every problem of all views.
    """
    columns = describe_views(warehouse, views)
    plans: list[Plan] = []
    problems: list[Problem] = []
    for view in views:
        try:
            plans.append(plan_snapshot(view, columns[view.id], as_of=at))
        except PlanError as error:
            problems += error.problems
    if problems:
        raise PlanError(problems)
    scripts = [compile_plan(plan, warehouse.dialect) for plan in plans]
    run_checks(warehouse, [check for script in scripts for check in script.checks])
    return [
        _build_snapshot(warehouse.dialect, view, at, plan, script, (code or {}).get(view.id, ""))
        for view, plan, script in zip(views, plans, scripts, strict=True)
    ]


def code_fingerprint(view: FeatureView, checksums: Mapping[str, str]) -> str:
    """Return a fingerprint of everything that decides which rows a view has and which of them wins.

    `checksums` are those of the files of its model and all its ancestors. Settings that only affect how long a value is
    served, or its description, do not count.
    """
    rules = (view.event_time, view.available_at, view.delay, view.created_timestamp, view.tie_breaker, view.valid_to)
    keys = [(key.entity, key.column, str(key.dtype)) for key in view.join_keys]
    columns = [(name, str(dtype)) for name, dtype in view.columns]
    settings = [str(each) for each in (*rules, view.bound, view.static)]
    return fingerprint([settings, keys, columns, sorted(checksums.items())])


def _build_snapshot(engine: str, view: FeatureView, at: datetime, plan: Plan, script: Script, code: str) -> Snapshot:
    def rows(warehouse: Warehouse, folder: Path) -> tuple[exp.Expression, int]:
        for step in script.steps:
            run_step(warehouse, step)
        writer = dialect(warehouse.dialect)
        query = encode_snapshot(writer, plan, view, key_prefix(view.entities))
        if query is not None:
            return query, 0
        with warehouse.arrow(script.query.sql) as reader:
            null_keys = encode_to_file(view, reader, folder / "encoded.parquet")
        source = from_item(warehouse, folder / "encoded.parquet")
        return exp.maybe_parse(source, into=exp.Table, dialect=writer.name), null_keys

    return Snapshot(
        view=view, as_of=at, rows=rows, skipped=unusable_rows(engine, plan.joins[0]), temporary=script.temporary,
        code=code,
    )  # fmt: skip
