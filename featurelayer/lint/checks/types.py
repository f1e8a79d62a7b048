"""FL311: declared types compared with those in catalog.json."""

from __future__ import annotations

from collections.abc import Iterator

from featurelayer.dbt.artifacts import catalog_types
from featurelayer.dbt.dtypes import BARE_NUMBER, dtype_of
from featurelayer.errors import ManifestUnreadable, UnsupportedByDialect
from featurelayer.lint.base import check
from featurelayer.lint.findings import view_finding
from featurelayer.lint.project import LintProject
from featurelayer.model import Column, DType, FeatureView, Finding, Kind, Severity


@check(
    "FL311",
    Severity.ERROR,
    "A declared type differs from the warehouse's type in catalog.json",
    why="A feature has its declared type in training and serving: builds and exports reject values that do not fit it.",
    fix="Cast the column in the model, or correct its data_type; run `dbt docs generate` if the catalog is old.",
    grades_findings=True,
)
def other_type(project: LintProject) -> Iterator[Finding]:
    """Find columns whose type in the catalog differs from the declared one and has values that it can't hold.

    A warning if that depends on the values.
    """
    if not project.inventory.path.with_name("catalog.json").is_file():
        return
    views = {view.unique_id: view for view in project.views.values()}
    try:
        catalog = catalog_types(project.inventory.path.parent, frozenset(views))
    except ManifestUnreadable:  # reported where the catalog is required
        return
    adapter = project.registry.adapter
    for unique_id, types in catalog.items():
        view = views[unique_id]
        for name, declared in view.columns:
            text = types.get(name.casefold())
            if text is None or (BARE_NUMBER.fullmatch(text) and declared.is_numeric):
                continue
            severity = _severity(view, name, dtype_of(text, adapter), declared, adapter)
            if severity is not None:
                what = f"column '{name}' is {text.lower()} in catalog.json, declared {declared}"
                key = f"columns[{name}].data_type"
                yield view_finding(view, what, name=f"{view.id}.{name}", key=key, severity=severity)


def _severity(view: FeatureView, name: str, stored: DType, declared: DType, adapter: str) -> Severity | None:
    """Return the severity of a type difference, by the use of the column; None if there is no difference."""
    from featurelayer.sql.casts import can_convert, needs_cast, widens
    from featurelayer.sql.dialects import dialect

    try:
        native = dialect(adapter).native(declared)
    except UnsupportedByDialect:
        native = declared
    column = Column(name=name, dtype=stored)
    if (
        Kind.UNKNOWN in (stored.kind, declared.kind)
        or not needs_cast(column, declared)
        or not needs_cast(column, native)
    ):
        return None
    if any(key.column == name for key in view.join_keys):
        return None if stored.joins(declared) else Severity.ERROR
    if view.feature(name) is None:
        return None if stored.kind is declared.kind or (stored.is_time and declared.is_time) else Severity.WARNING
    if widens(stored, native):
        return None
    return Severity.WARNING if can_convert(stored, native) else Severity.ERROR
