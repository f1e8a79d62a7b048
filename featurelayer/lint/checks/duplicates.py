"""FL630: two features with the same computation, whatever their names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from featurelayer.lint.base import check
from featurelayer.lint.findings import feature_finding
from featurelayer.lint.project import LintProject
from featurelayer.model import FeatureView, Finding, Severity

if TYPE_CHECKING:
    from featurelayer.lineage import ColumnLineage, Lineage


@check(
    "FL630",
    Severity.WARNING,
    "Two features compute the same value",
    why="Both are stored, served and monitored, and one day only one of them is fixed.",
    fix="Keep one, and mark the other with `deprecated: {replaced_by: view.feature}` until nothing uses it.",
    needs_sql=True,
)
def same_computation(project: LintProject) -> Iterator[Finding]:
    """Find features with the same computation over the same rows, down to the sources, in one view or several.

    Versions of one view may share features. Deprecated features and constants don't count.
    """
    from featurelayer.lineage import ColumnKind

    known: dict[tuple[str, str], list[tuple[FeatureView, ColumnLineage]]] = {}
    for seen in project.feature_lineage.views.values():
        deprecated = {feature.name.casefold() for feature in seen.view.features if feature.deprecated}
        for column in seen.features:
            if column.column not in deprecated and not seen.view.deprecated and column.kind is not ColumnKind.CONSTANT:
                entities = " ".join(seen.view.entities)
                known.setdefault((entities, column.fingerprint), []).append((seen.view, column))
    for group in known.values():
        first, *others = group
        for other in others:
            if other[0].name != first[0].name or other[0].id == first[0].id:
                yield _pair_finding(project.feature_lineage.lineage, first, other)


def _pair_finding(
    lineage: Lineage, one: tuple[FeatureView, ColumnLineage], other: tuple[FeatureView, ColumnLineage]
) -> Finding:
    (view, column), (later_view, later) = one, other
    full = f"{view.id}.{column.column}"
    details = (
        *_lines(lineage, full, column),
        *_lines(lineage, f"{later_view.id}.{later.column}", later),
    )
    what = f"it computes the same value as {full}, from {_sources(lineage, later) or 'constants only'}"
    return feature_finding(later_view, later.column, what, details=details, others=(full,))


def _lines(lineage: Lineage, name: str, column: ColumnLineage) -> Iterator[str]:
    """Yield the lineage of a feature, one line per step, from the sources down."""
    yield name
    for current in reversed(lineage.upstream(column.unique_id, column.column)):
        model = current.unique_id.split(".", 2)[-1]
        steps = [str(step) for step in (*current.row_steps, *current.steps)] or [f"{current.kind}: {current.sql}"]
        for step in steps:
            yield f"  {model}: {step}"


def _sources(lineage: Lineage, column: ColumnLineage) -> str:
    above = lineage.ancestors(column.unique_id, column.column)
    ends = sorted(str(source) for source in above if not lineage.column(source.unique_id, source.column))
    return ", ".join(ends[:4]) + (f" and {len(ends) - 4} more" if len(ends) > 4 else "")
