"""FL3xx: contracts, deprecations and missing columns."""

from __future__ import annotations

from collections.abc import Iterator

from featurelayer.dbt.block import AT
from featurelayer.lint.base import check
from featurelayer.lint.findings import feature_finding, service_finding, view_finding
from featurelayer.lint.project import LintProject
from featurelayer.model import Deprecation, FeatureView, Finding, Severity


@check(
    "FL301",
    Severity.WARNING,
    "The contract of a view is not enforced, or a column has no type",
    why="Without an enforced contract, any build can drop or retype a column, and services break later.",
    fix="Add `contract: {enforced: true}` to the model's config.",
    by_reader=True,
)
def contract(project: LintProject) -> Iterator[Finding]:
    """Find models without an enforced contract; dbt has none for snapshots and Python models."""
    for view in project.views.values():
        model = project.inventory.model(view.unique_id)
        if view.resource_type == "snapshot" or (model is not None and model.language != "sql"):
            continue
        if not view.contract_enforced:
            yield view_finding(view, "its contract is not enforced", key="config.contract")


@check(
    "FL302",
    Severity.WARNING,
    "A service uses something missing, removed or deprecated",
    why="Deprecated views and features will be removed, and the service will break.",
    fix="Use the replacement and retrain the model.",
    by_reader=True,
)
def uses_deprecation(project: LintProject) -> Iterator[Finding]:
    """Find services that use a deprecated view or feature; the reader reports missing ones as errors."""
    for service in project.registry.services.values():
        for join in service.views:
            view = project.registry.views[join.view]
            if view.deprecated:
                what = f"it uses the deprecated view '{view.id}'{_replacement_text(view.deprecated)}"
                yield service_finding(service, what, key=f"{AT}.features", others=(view.id,))
                continue
            for name in join.features:
                feature = view.feature(name)
                if feature is not None and feature.deprecated:
                    what = f"it uses the deprecated feature '{view.id}.{name}'{_replacement_text(feature.deprecated)}"
                    yield service_finding(service, what, key=f"{AT}.features", others=(f"{view.id}.{name}",))


@check(
    "FL305",
    Severity.ERROR,
    "A deprecation does not name a replacement",
    why="Users learn that it will be removed, but not what to use instead.",
    fix="Add `deprecated: {replaced_by: ...}` with a view, or for a column view.feature.",
)
def no_replacement(project: LintProject) -> Iterator[Finding]:
    """Find `deprecated: {}` without `replaced_by`."""
    for view in project.views.values():
        if view.deprecated and not view.deprecated.replaced_by.strip():
            yield view_finding(view, "it is deprecated without a replacement", key=f"{AT}.deprecated")
        for feature in view.features:
            if feature.deprecated and not feature.deprecated.replaced_by.strip():
                what = "it is deprecated without a replacement"
                yield feature_finding(view, feature, what, key=f"{AT}.deprecated")


@check(
    "FL306",
    Severity.WARNING,
    "The replacement of something deprecated is deprecated as well",
    why="Users who follow the advice have to migrate twice, or go in circles.",
    fix="Name a replacement that is not deprecated.",
)
def replacement_is_deprecated(project: LintProject) -> Iterator[Finding]:
    """Find `replaced_by` that names a deprecated view or feature."""
    deprecated = {name for view in project.views.values() for name in _list_deprecated(view)}
    for view in project.views.values():
        if view.deprecated and view.deprecated.replaced_by in deprecated:
            what = f"its replacement '{view.deprecated.replaced_by}' is deprecated as well"
            yield view_finding(view, what, key=f"{AT}.deprecated.replaced_by")
        for feature in view.features:
            given = feature.deprecated.replaced_by if feature.deprecated else ""
            replacement = f"{view.id}.{given}" if given and "." not in given else given
            if replacement in deprecated:
                what = f"its replacement '{replacement}' is deprecated as well"
                yield feature_finding(view, feature, what, key=f"{AT}.deprecated.replaced_by")


def _list_deprecated(view: FeatureView) -> Iterator[str]:
    if view.deprecated:
        yield view.id
        if view.is_latest:
            yield view.name
    for feature in view.features:
        if view.deprecated or feature.deprecated:
            yield f"{view.id}.{feature.name}"


def _replacement_text(deprecation: Deprecation) -> str:
    return f" (use '{deprecation.replaced_by}')" if deprecation.replaced_by else ""


@check(
    "FL310",
    Severity.ERROR,
    "A model does not produce a declared column",
    why="The next export and the next training set fail in the warehouse, and not before.",
    fix="Correct the name in the YAML or in the SQL. To rename a feature in use, create a new version of the model.",
    grades_findings=True,
)
def missing_column(project: LintProject) -> Iterator[Finding]:
    """Find features, keys, times and tie-breakers that neither the compiled SQL nor the catalog has.

    A warning if only a catalog that is older than the model lacks the column.
    """
    for view_id, missing in project.missing_columns.items():
        view = project.views[view_id]
        for column in missing:
            severity = Severity.ERROR if column.is_certain else Severity.WARNING
            fix = (
                {}
                if column.is_certain
                else {"fix": "Run `dbt docs generate`; if the column is still missing, correct the name."}
            )
            key = f"columns[{column.column}]"
            yield view_finding(view, str(column), name=f"{view.id}.{column.column}", key=key, severity=severity, **fix)
