"""Run the parts of a compiled plan: describe its relations, check its assertions, run its steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from featurelayer.errors import LabelError, PlanError, Problem, RelationNotBuilt, WarehouseError
from featurelayer.model import Column, FeatureView
from featurelayer.sql.plan import Assertion, Misfit, Step, TypeCheck
from featurelayer.warehouse.base import Warehouse

_LONGEST_VALUE = 60


def describe_views(warehouse: Warehouse, views: Iterable[FeatureView]) -> dict[str, tuple[Column, ...]]:
    """Return the real columns of every view's relation by view id; missing relations are reported together.

    Raises:
        PlanError: relations are missing or can't be read.
    """
    columns: dict[str, tuple[Column, ...]] = {}
    problems = []
    for view in views:
        try:
            columns[view.id] = warehouse.describe(view.relation_name)
        except WarehouseError as error:
            what = (
                f"{view.relation_name} is not built in the warehouse"
                if isinstance(error, RelationNotBuilt)
                else f"{view.relation_name} can't be read: {error}"
            )
            problems.append(
                Problem(what=f"{view.id}: {what}", where=view.yaml_path, fix=f"run `dbt build -s {view.name}`")
            )
    if problems:
        raise PlanError(problems)
    return columns


def run_step(warehouse: Warehouse, step: Step) -> None:
    """Run the statements of one step."""
    for statement in step.statements:
        warehouse.execute(statement.sql)


def run_steps(warehouse: Warehouse, steps: Iterable[Step]) -> None:
    """Run steps one after the other."""
    for step in steps:
        run_step(warehouse, step)


def run_checks(warehouse: Warehouse, checks: Iterable[Assertion | TypeCheck]) -> None:
    """Run the queries that must return nothing and raise with every one that returned rows.

    Raises:
        LabelError: the labels are to blame, at least in part.
        PlanError: the views are.
    """
    problems: dict[bool, list[Problem]] = {True: [], False: []}
    for check in checks:
        if isinstance(check, TypeCheck):
            problems[False] += _find_misfits(warehouse, check)
            continue
        rows = warehouse.rows(check.sql)
        if rows:
            if check.about_labels:
                places = ", ".join(f"{value!r} in row {row}" for value, row in rows)
                examples = f"{places} (rows are counted from 0)"
            else:
                examples = ", ".join(repr(row[0]) if len(row) == 1 else repr(row) for row in rows)
            problems[check.about_labels].append(Problem(what=check.message.replace("{rows}", examples), fix=check.fix))
    if problems[True]:
        raise LabelError([*problems[True], *problems[False]])
    if problems[False]:
        raise PlanError(problems[False])


def _find_misfits(warehouse: Warehouse, check: TypeCheck) -> Iterator[Problem]:
    """Yield a problem for each column that has values which the declared type can't hold."""
    yield from (Problem(what=misfit.message, where=misfit.where, fix=misfit.fix) for misfit in check.refused)
    counts = warehouse.rows(check.sql)[0] if check.counted else ()
    for count, misfit in zip(counts, check.counted, strict=True):
        if count:
            yield _misfit_problem(warehouse, misfit, int(count))


def _misfit_problem(warehouse: Warehouse, misfit: Misfit, count: int) -> Problem:
    assert misfit.examples is not None, "what is counted can be shown"
    rows = warehouse.rows(misfit.examples)
    shown = ", ".join(f"{_shorten(value)} for {', '.join(map(_pair, misfit.keys, keys))}" for value, *keys in rows)
    counted = "1 value does not fit" if count == 1 else f"{count:,} values do not fit"
    return Problem(what=f"{misfit.message}: {counted}, such as {shown}", where=misfit.where, fix=misfit.fix)


def _pair(name: str, key: object) -> str:
    return f"{name} = {_shorten(key)}"


def _shorten(value: object) -> str:
    text = "NULL" if value is None else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
