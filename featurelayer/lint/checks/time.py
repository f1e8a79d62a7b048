"""FL20x and FL230: consistent times, and the data tests that guard them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from featurelayer.dbt.artifacts import catalog_types
from featurelayer.dbt.block import AT
from featurelayer.dbt.catalog import read_catalog_columns
from featurelayer.dbt.column_roles import is_event_time
from featurelayer.dbt.dtypes import UNKNOWN, dtype_of
from featurelayer.dbt.inventory import DataTest
from featurelayer.lint.base import check
from featurelayer.lint.findings import service_finding, view_finding
from featurelayer.lint.project import LintProject
from featurelayer.model import DType, FeatureView, Finding, Kind, Severity

# Equivalent tests of other packages: the test, and the argument with its columns.
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
# Only these engines enforce a declared primary key or unique constraint; others store it without effect.
_ENFORCED = {"duckdb", "postgres"}


@check(
    "FL203",
    Severity.WARNING,
    "No test for unique rows per key and time",
    why="Duplicate rows for one key and time are resolved by a tie-break, and a load that duplicates rows goes "
    "unnoticed.",
    fix="Add `data_tests: [featurelayer.unique_per_entity_and_time]` to the model.",
)
def unique_rows(project: LintProject) -> Iterator[Finding]:
    """Find views without a uniqueness test or enforced constraint on their keys and times, or on fewer columns."""
    for view in project.views.values():
        columns = {key.column for key in view.join_keys} | set(view.tie_breaker)
        columns |= {name for name in (view.event_time, view.available_at, view.created_timestamp) if name}
        if view.join_keys and not _is_unique(project, view, {name.casefold() for name in columns}):
            on = ", ".join([*(key.column for key in view.join_keys), *([view.event_time] if view.event_time else [])])
            yield view_finding(view, f"no test that its rows are unique on ({on})", key="data_tests")


def _is_unique(project: LintProject, view: FeatureView, columns: set[str]) -> bool:
    for test in project.tests(view):
        if test.name == "featurelayer.unique_per_entity_and_time":
            return True
        if test.name in _UNIQUE and (values := _columns(test, _UNIQUE[test.name])) and values <= columns:
            return True
    return any(tested <= columns for tested in _constraint_columns(project, view, {"unique", "primary_key"}))


@check(
    "FL204",
    Severity.WARNING,
    "A service mixes event times with and without a time zone",
    why="A timestamp without a zone is read as UTC; if it is local time, its rows are hours early or late.",
    fix="Cast all event times to one type in the models, in UTC.",
)
def inconsistent_zones(project: LintProject) -> Iterator[Finding]:
    """Find services that join views with naive and with zoned event times."""
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
                service, f"the event times of {with_zone} have a time zone, but those of {without} do not"
            )


@check(
    "FL207",
    Severity.WARNING,
    "No test that keys and event time are never NULL",
    why="A row without a key or time is never visible: its features are silently missing in training and online.",
    fix="Add `data_tests: [not_null]` to the column.",
)
def not_null(project: LintProject) -> Iterator[Finding]:
    """Find join keys and event times without a not_null test or constraint."""
    for view in project.views.values():
        tested = {name for test in project.tests(view) if test.name in _NOT_NULL for name in _columns(test)}
        for columns in _constraint_columns(project, view, {"not_null", "primary_key"}, everywhere=True):
            tested |= columns
        times = [view.event_time] if view.event_time and view.resource_type == "model" else []
        for name in (*(key.column for key in view.join_keys), *times):
            if name.casefold() not in tested:
                key = f"columns[{name}].data_tests"
                yield view_finding(view, f"no test that '{name}' is never NULL", key=key, name=f"{view.id}.{name}")


@check(
    "FL208",
    Severity.WARNING,
    "No test that events are not in the future",
    why="A wrong time zone or a planned time makes future rows win.",
    fix="Add `data_tests: [featurelayer.event_time_not_in_future]` to the model.",
)
def not_in_future(project: LintProject) -> Iterator[Finding]:
    """Find models with times and without such a test; a snapshot takes its times from the warehouse's clock."""
    for view in project.views.values():
        if view.event_time is None or view.resource_type == "snapshot":
            continue
        if not any(_bounds(test, view.event_time) for test in project.tests(view)):
            yield view_finding(view, f"no test that '{view.event_time}' is not in the future", key="data_tests")


@check(
    "FL209",
    Severity.WARNING,
    "No test that rows become available after their event",
    why="An available time before the event would show a label something that had not happened yet.",
    fix="Add `data_tests: [featurelayer.available_not_before_event]` to the model.",
)
def available_after_event(project: LintProject) -> Iterator[Finding]:
    """Find views with `available_at` and without a test that compares it with the event time."""
    for view in project.views.values():
        if not view.available_at or not view.event_time or view.available_at == view.event_time:
            continue
        times = (view.event_time, view.available_at)
        tests = project.tests(view)
        if not any(
            test.name == "featurelayer.available_not_before_event" or all(_mentions(test, name) for name in times)
            for test in tests
        ):
            what = f"no test that '{view.available_at}' is not before '{view.event_time}'"
            yield view_finding(view, what, key="data_tests")


@check(
    "FL230",
    Severity.WARNING,
    "A static view has a time column",
    why="A static view joins its current values to every label: a label of 2020 gets the values of a customer who "
    "signed up in 2026. A time column suggests that the values change.",
    fix="Use the column as `event_time` instead of `static: true`, or use a dbt snapshot of the model as the view. If "
    "the values never change, ignore this check with that reason: `ignore: [{code: FL230, reason: ...}]`.",
)
def static_with_time(project: LintProject) -> Iterator[Finding]:
    """Find static views with a time column in their YAML, in catalog.json or in their compiled SQL.

    Times that by their name are not of an event, such as a date of birth or of expiry, are allowed.
    """
    for view in project.views.values():
        times = (
            [name for name, dtype in _all_columns(project, view) if is_event_time(name, dtype)] if view.static else []
        )
        if times:
            names, are = ", ".join(f"'{name}'" for name in times), "are times" if len(times) > 1 else "is a time"
            yield view_finding(view, f"it is static, and {names} {are}", key=f"{AT}.static")


def _all_columns(project: LintProject, view: FeatureView) -> Iterator[tuple[str, DType]]:
    """Yield every known column of the view's relation with its type, `UNKNOWN` if that is not known."""
    unique_id, folder = view.unique_id, project.inventory.path.parent
    model = project.inventory.model(unique_id)
    declared = {column.name: column.data_type for column in model.columns} if model is not None else {}
    output = project.feature_lineage.lineage.output(unique_id) if project.has_sql else None
    listed = read_catalog_columns(folder, [unique_id]).columns.get(unique_id, ())
    types = catalog_types(folder, frozenset({unique_id})).get(unique_id, {}) if listed else {}
    if output is not None and output.is_complete:  # a catalog may be older
        listed = output.columns
    names = set()
    for name in (*declared, *listed, *(output.columns if output is not None else ())):
        if name.casefold() not in names:
            names.add(name.casefold())
            text = declared.get(name) or types.get(name.casefold())
            yield name, dtype_of(text, project.registry.adapter) if text else UNKNOWN


def _bounds(test: DataTest, column: str) -> bool:
    if "future" in test.name:
        return True
    return (test.name in _BOUNDED or test.name.endswith("expression_is_true")) and _mentions(test, column)


def _mentions(test: DataTest, column: str) -> bool:
    if test.column and test.column.casefold() == column.casefold():
        return True
    values = (value for name, value in test.arguments.items() if name != "model")
    return any(column.casefold() in word.casefold() for value in values for word in _texts(value))


def _texts(value: Any) -> Iterable[str]:
    return (
        [value]
        if isinstance(value, str)
        else [item for item in value if isinstance(item, str)]
        if isinstance(value, list)
        else []
    )


def _columns(test: DataTest, argument: str = "column_name") -> set[str]:
    """Return the columns that a test is about, in lower case and without the quotes that some adapters need."""
    arguments: Mapping[str, Any] = test.arguments
    values = arguments.get(argument) or arguments.get("column_name") or arguments.get("column_names") or test.column
    names = values if isinstance(values, list) else [values]
    return {name.strip('"`[] ').casefold() for name in names if isinstance(name, str)}


def _constraint_columns(
    project: LintProject, view: FeatureView, kinds: set[str], *, everywhere: bool = False
) -> Iterator[set[str]]:
    """Yield the columns, in lower case, of each constraint of these kinds that the warehouse enforces."""
    model = project.inventory.model(view.unique_id)
    if model is None or not view.contract_enforced or not (everywhere or project.registry.adapter in _ENFORCED):
        return
    for constraint in model.constraints:
        if constraint.type in kinds and constraint.columns:
            yield {name.casefold() for name in constraint.columns}
