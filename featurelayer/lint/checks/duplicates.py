"""FL630: two names for one computation, found by what it computes and not by what it is called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from featurelayer.lint.base import Hit, check, feature_finding
from featurelayer.lint.project import LintProject
from featurelayer.model import FeatureView, Severity

if TYPE_CHECKING:
    from featurelayer.lineage import ColumnLineage, Lineage


@check(
    "FL630",
    Severity.WARNING,
    "Two features compute the same",
    why="Both are stored, served, monitored and learned from; one day one is mended and the other is not.",
    fix="Keep one, and mark the other `deprecated: {replaced_by: view.feature}` until nothing uses it.",
    needs_sql=True,
)
def same_computation(project: LintProject) -> Iterator[Hit]:
    """Features with one computation over the same rows, down to the sources, in one view or in several.

    Versions of one view may share features. What is deprecated is already being dealt with. Constants compute nothing.
    """
    from featurelayer.lineage import ColumnKind

    known: dict[tuple[str, str], list[tuple[FeatureView, ColumnLineage]]] = {}
    for seen in project.traced.views.values():
        deprecated = {feature.name.casefold() for feature in seen.view.features if feature.deprecated}
        for column in seen.features:
            if column.column not in deprecated and not seen.view.deprecated and column.kind is not ColumnKind.CONSTANT:
                entities = " ".join(seen.view.entities)
                known.setdefault((entities, column.fingerprint), []).append((seen.view, column))
    for group in known.values():
        first, *others = group
        for other in others:
            if other[0].name != first[0].name or other[0].id == first[0].id:
                yield _pair_finding(project.traced.lineage, first, other)


def _pair_finding(
    lineage: Lineage, one: tuple[FeatureView, ColumnLineage], other: tuple[FeatureView, ColumnLineage]
) -> Hit:
    (view, column), (later_view, later) = one, other
    full = f"{view.id}.{column.column}"
    details = (
        *_lines(lineage, full, column),
        *_lines(lineage, f"{later_view.id}.{later.column}", later),
    )
    what = f"it computes the same as {full}, from {_sources(lineage, later) or 'constants alone'}"
    return feature_finding(later_view, later.column, what, details=details, others=(full,))


def _lines(lineage: Lineage, name: str, column: ColumnLineage) -> Iterator[str]:
    """The lineage of a feature, a line for each step, from the sources down."""
    yield name
    for each in reversed(lineage.upstream(column.unique_id, column.column)):
        model = each.unique_id.split(".", 2)[-1]
        steps = [str(step) for step in (*each.row_steps, *each.steps)] or [f"{each.kind}: {each.sql}"]
        for step in steps:
            yield f"  {model}: {step}"


def _sources(lineage: Lineage, column: ColumnLineage) -> str:
    above = lineage.ancestors(column.unique_id, column.column)
    ends = sorted(str(source) for source in above if not lineage.column(source.unique_id, source.column))
    return ", ".join(ends[:4]) + (f" and {len(ends) - 4} more" if len(ends) > 4 else "")
