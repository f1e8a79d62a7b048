"""FL2xx: times that mean one thing, and the tests that hold them in the warehouse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from featurelayer.dbt.artifacts import catalog_types
from featurelayer.dbt.catalog import read_catalog_columns
from featurelayer.dbt.column_roles import is_event_time
from featurelayer.dbt.dtypes import UNKNOWN, dtype_of
from featurelayer.dbt.inventory import DataTest
from featurelayer.lint.base import AT, Hit, check, service_finding, view_finding
from featurelayer.lint.project import LintProject
from featurelayer.model import DType, FeatureView, Kind, Severity

# Tests of other packages that mean the same: the test, and the argument that has its columns.
_UNIQUE = {
    "unique": "column_name",
    "dbt_utils.unique_combination_of_columns": "combination_of_columns",
    "dbt_expectations.expect_compound_columns_to_be_unique": "column_list",
    "dbt_expectations.expect_column_values_to_be_unique": "column_name",
    "dbt_constraints.primary_key": "column_names",
    "dbt_constraints.unique_key": "column_names",
}
_NOT_NULL = {"not_null", "dbt_expectations.expect_column_values_to_not_be_null", "dbt_constraints.primary_key"}
_BOUNDED = {"dbt_utils.accepted_range", "dbt_expectations.expect_column_values_to_be_between"}
# Where the warehouse holds a declared primary key or unique constraint; elsewhere it only knows of it.
_ENFORCED = {"duckdb", "postgres"}


@check(
    "FL203",
    Severity.WARNING,
    "No test holds that rows are unique on keys and time",
    why="Of two rows with one key and one time a rule must choose, and a load that doubles rows goes unnoticed.",
    fix="Add `data_tests: [featurelayer.unique_per_entity_and_time]` to the model.",
)
def unique_rows(project: LintProject) -> Iterator[Hit]:
    """A view without a test or enforced constraint of uniqueness on its keys and times; a narrower one will do."""
    for view in project.views.values():
        columns = {key.column for key in view.join_keys} | set(view.tie_breaker)
        columns |= {name for name in (view.event_time, view.available_at, view.created_timestamp) if name}
        if view.join_keys and not _is_unique(project, view, {name.casefold() for name in columns}):
            on = ", ".join([*(key.column for key in view.join_keys), *([view.event_time] if view.event_time else [])])
            yield view_finding(view, f"no test holds that its rows are unique on ({on})", key="data_tests")


def _is_unique(project: LintProject, view: FeatureView, columns: set[str]) -> bool:
    for test in project.tests(view):
        if test.name == "featurelayer.unique_per_entity_and_time":
            return True
        if test.name in _UNIQUE and (said := _columns(test, _UNIQUE[test.name])) and said <= columns:
            return True
    return any(held <= columns for held in _constraint_columns(project, view, {"unique", "primary_key"}))


@check(
    "FL204",
    Severity.WARNING,
    "Some event times of a service have a time zone and some have none",
    why="A timestamp without zone counts as UTC; if it is local time, its rows are hours too early or too late.",
    fix="Cast all event times to one type in the models, in UTC.",
)
def inconsistent_zones(project: LintProject) -> Iterator[Hit]:
    """A service that joins views with a naive event time and views with an instant."""
    for service in project.registry.services.values():
        kinds: dict[Kind, list[str]] = {}
        for join in service.views:
            view = project.registry.views[join.view]
            dtype = view.dtype(view.event_time) if view.event_time else None
            if dtype is not None and dtype.kind in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ):
                kinds.setdefault(dtype.kind, []).append(view.id)
        if len(kinds) > 1:
            with_zone, without = (", ".join(sorted(set(kinds[kind]))) for kind in (Kind.TIMESTAMPTZ, Kind.TIMESTAMP))
            yield service_finding(
                service, f"the event times of {with_zone} have a time zone, those of {without} have none"
            )


@check(
    "FL207",
    Severity.WARNING,
    "No test holds that keys and event time are never NULL",
    why="A row without key or time is never visible: its features are missing, silently, in training and online.",
    fix="Add `data_tests: [not_null]` to the column.",
)
def not_null(project: LintProject) -> Iterator[Hit]:
    """A join key or event time without a not_null test or constraint."""
    for view in project.views.values():
        held = {name for test in project.tests(view) if test.name in _NOT_NULL for name in _columns(test)}
        for columns in _constraint_columns(project, view, {"not_null", "primary_key"}, everywhere=True):
            held |= columns
        times = [view.event_time] if view.event_time and view.resource_type == "model" else []
        for name in (*(key.column for key in view.join_keys), *times):
            if name.casefold() not in held:
                key = f"columns[{name}].data_tests"
                yield view_finding(
                    view, f"no test holds that '{name}' is never NULL", key=key, name=f"{view.id}.{name}"
                )


@check(
    "FL208",
    Severity.WARNING,
    "No test holds that events are not in the future",
    why="A time in the wrong zone, or a planned one, makes rows win that say what had not happened yet.",
    fix="Add `data_tests: [featurelayer.event_time_not_in_future]` to the model.",
)
def not_in_future(project: LintProject) -> Iterator[Hit]:
    """A timed model without such a test; a snapshot's times are the warehouse's own clock."""
    for view in project.views.values():
        if view.event_time is None or view.resource_type == "snapshot":
            continue
        if not any(_bounds(test, view.event_time) for test in project.tests(view)):
            yield view_finding(view, f"no test holds that '{view.event_time}' is not in the future", key="data_tests")


@check(
    "FL209",
    Severity.WARNING,
    "No test holds that rows become available after their event",
    why="An available time before the event would show a label what had not happened yet.",
    fix="Add `data_tests: [featurelayer.available_not_before_event]` to the model.",
)
def available_after_event(project: LintProject) -> Iterator[Hit]:
    """A view with `available_at` without a test that compares it with the event time."""
    for view in project.views.values():
        if not view.available_at or not view.event_time or view.available_at == view.event_time:
            continue
        times = (view.event_time, view.available_at)
        tests = project.tests(view)
        if not any(
            test.name == "featurelayer.available_not_before_event" or all(_mentions(test, name) for name in times)
            for test in tests
        ):
            what = f"no test holds that '{view.available_at}' is not before '{view.event_time}'"
            yield view_finding(view, what, key="data_tests")


@check(
    "FL230",
    Severity.WARNING,
    "A static view has a column that is a time",
    why="A static view joins its present values to every label: a label of 2020 gets the values of a customer who "
    "signed up in 2026. A time in its rows says that they were not always there, or not always so.",
    fix="Take the column as `event_time` instead of `static: true`, or a dbt snapshot of the model as the view. If the "
    "values never change and their time tells nothing, say so: `ignore: [{code: FL230, reason: ...}]`.",
)
def static_with_time(project: LintProject) -> Iterator[Hit]:
    """A static view with a time among the columns of its YAML, of catalog.json or of its compiled SQL.

    Times that are no event's by their name, such as a date of birth or of expiry, are in order.
    """
    for view in project.views.values():
        times = (
            [name for name, dtype in _all_columns(project, view) if is_event_time(name, dtype)] if view.static else []
        )
        if times:
            names, are = ", ".join(f"'{name}'" for name in times), "are times" if len(times) > 1 else "is a time"
            yield view_finding(view, f"it is static, and {names} {are}", key=f"{AT}.static")


def _all_columns(project: LintProject, view: FeatureView) -> Iterator[tuple[str, DType]]:
    """Yield every column that the view's relation is known to have, and its type, `UNKNOWN` where none is known."""
    unique_id, folder = view.unique_id, project.inventory.path.parent
    model = project.inventory.model(unique_id)
    declared = {column.name: column.data_type for column in model.columns} if model is not None else {}
    output = project.traced.lineage.output(unique_id) if project.has_sql else None
    listed = read_catalog_columns(folder, [unique_id]).columns.get(unique_id, ())
    types = catalog_types(folder, frozenset({unique_id})).get(unique_id, {}) if listed else {}
    if output is not None and output.is_complete:  # a catalog may be older
        listed = output.columns
    seen = set()
    for name in (*declared, *listed, *(output.columns if output is not None else ())):
        if name.casefold() not in seen:
            seen.add(name.casefold())
            text = declared.get(name) or types.get(name.casefold())
            yield name, dtype_of(text, project.registry.adapter) if text else UNKNOWN


def _bounds(test: DataTest, column: str) -> bool:
    if "future" in test.name:
        return True
    return (test.name in _BOUNDED or test.name.endswith("expression_is_true")) and _mentions(test, column)


def _mentions(test: DataTest, column: str) -> bool:
    if test.column and test.column.casefold() == column.casefold():
        return True
    said = (value for name, value in test.arguments.items() if name != "model")
    return any(column.casefold() in word.casefold() for value in said for word in _texts(value))


def _texts(value: Any) -> Iterable[str]:
    return (
        [value]
        if isinstance(value, str)
        else [item for item in value if isinstance(item, str)]
        if isinstance(value, list)
        else []
    )


def _columns(test: DataTest, argument: str = "column_name") -> set[str]:
    """Return the columns that a test is about, in lower case; quotes that an adapter wants are no part of the name."""
    arguments: Mapping[str, Any] = test.arguments
    said = arguments.get(argument) or arguments.get("column_name") or arguments.get("column_names") or test.column
    names = said if isinstance(said, list) else [said]
    return {name.strip('"`[] ').casefold() for name in names if isinstance(name, str)}


def _constraint_columns(
    project: LintProject, view: FeatureView, kinds: set[str], *, everywhere: bool = False
) -> Iterator[set[str]]:
    """Yield the columns, in lower case, of each constraint of these kinds that the warehouse holds."""
    model = project.inventory.model(view.unique_id)
    if model is None or not view.contract_enforced or not (everywhere or project.registry.adapter in _ENFORCED):
        return
    for constraint in model.constraints:
        if constraint.type in kinds and constraint.columns:
            yield {name.casefold() for name in constraint.columns}
