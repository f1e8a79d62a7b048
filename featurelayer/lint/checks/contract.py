"""FL3xx: what a view promises to those who use it."""

from __future__ import annotations

from collections.abc import Iterator

from featurelayer.lint.base import AT, Hit, check, feature_finding, service_finding, view_finding
from featurelayer.lint.project import LintProject
from featurelayer.model import Deprecation, FeatureView, Severity


@check(
    "FL301",
    Severity.WARNING,
    "A view's contract is not enforced, or a column has no type",
    why="Without an enforced contract a model can lose or retype a column in any build, and services break later.",
    fix="Add `contract: {enforced: true}` to the model's config.",
    by_reader=True,
)
def contract(project: LintProject) -> Iterator[Hit]:
    """A model without an enforced contract; dbt has none for snapshots and for models in Python."""
    for view in project.views.values():
        model = project.inventory.model(view.unique_id)
        if view.resource_type == "snapshot" or (model is not None and model.language != "sql"):
            continue
        if not view.contract_enforced:
            yield view_finding(view, "its contract is not enforced", key="config.contract")


@check(
    "FL302",
    Severity.WARNING,
    "A service names what is missing, removed or deprecated",
    why="What is deprecated goes away one day, and the service's model with it.",
    fix="Use what replaces it, and train the model anew.",
    by_reader=True,
)
def uses_deprecation(project: LintProject) -> Iterator[Hit]:
    """A service that uses a deprecated view or feature; what does not exist is told by the reader, as an error."""
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
    "What is deprecated does not say what replaces it",
    why="Who uses it learns that it goes, and not what to do.",
    fix="Add `deprecated: {replaced_by: ...}` with a view, or for a column view.feature.",
)
def no_replacement(project: LintProject) -> Iterator[Hit]:
    """`deprecated: {}` of a view or feature."""
    for view in project.views.values():
        if view.deprecated and not view.deprecated.replaced_by.strip():
            yield view_finding(view, "it is deprecated and does not say what replaces it", key=f"{AT}.deprecated")
        for feature in view.features:
            if feature.deprecated and not feature.deprecated.replaced_by.strip():
                what = "it is deprecated and does not say what replaces it"
                yield feature_finding(view, feature, what, key=f"{AT}.deprecated")


@check(
    "FL306",
    Severity.WARNING,
    "What replaces something deprecated is deprecated itself",
    why="Who follows the advice has to move twice, or goes round in a circle.",
    fix="Name the one that stays.",
)
def replacement_is_deprecated(project: LintProject) -> Iterator[Hit]:
    """A `replaced_by` that names a deprecated view or feature."""
    gone = {name for view in project.views.values() for name in _list_deprecated(view)}
    for view in project.views.values():
        if view.deprecated and view.deprecated.replaced_by in gone:
            what = f"it is replaced by '{view.deprecated.replaced_by}', which is deprecated itself"
            yield view_finding(view, what, key=f"{AT}.deprecated.replaced_by")
        for feature in view.features:
            given = feature.deprecated.replaced_by if feature.deprecated else ""
            replacement = f"{view.id}.{given}" if given and "." not in given else given
            if replacement in gone:
                what = f"it is replaced by '{replacement}', which is deprecated itself"
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
    "A model does not produce a column that its YAML declares",
    why="The YAML is the definition: what it declares and the model lacks breaks the next export and the next training "
    "set, in the warehouse and not before.",
    fix="Correct the name in the YAML or in the SQL. To rename a feature in use, make a new version of the model.",
)
def missing_column(project: LintProject) -> Iterator[Hit]:
    """A feature, key, time or tie-breaker that neither the compiled SQL nor the catalog has, where they tell.

    A warning where only a catalog says so that is older than the model.
    """
    for view_id, missing in project.missing_columns.items():
        view = project.views[view_id]
        for each in missing:
            severity = Severity.ERROR if each.is_certain else Severity.WARNING
            fix = (
                {} if each.is_certain else {"fix": "Run `dbt docs generate`; if it is missing then, correct the name."}
            )
            key = f"columns[{each.column}]"
            yield view_finding(view, str(each), name=f"{view.id}.{each.column}", key=key, severity=severity, **fix)
