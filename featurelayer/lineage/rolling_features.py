"""Reduces the SQL of our macro `rolling_features`, which computes all windows at once, to what each value depends on.

The macro has a row wherever any window changes, so that the newest row holds every window. No window's value depends on
the points of another one, on how wide the widest is, on how many steps a grid has had by now, or on the batch that is
built: to leave these in would make each feature mean something else whenever another one's window is changed. What
makes a value stays: its own frame, its slot, the events, the points in time that a grid has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from sqlglot import exp

from featurelayer.lineage.normal_forms import flatten_operands

EVENTS = "fl_events"
_AT, _POINT, _SLICE, _CHANGE, _PRESENT = "fl_at", "fl_point", "fl_slice", "fl_change", "fl_present"


def strip_shared_parts(tree: exp.Expression, *, batch: bool) -> exp.Expression:
    """Return the syntax tree with each use of the macro reduced to what values depend on; `batch` for a microbatch."""
    for with_ in list(tree.find_all(exp.With)):
        ctes = {cte.alias.casefold(): cte for cte in with_.expressions}
        if EVENTS in ctes:
            _reduce(ctes, batch=batch)
            for name, cte in ctes.items():
                if name.startswith(_PRESENT):
                    cte.pop()
    return tree


def _reduce(ctes: dict[str, exp.Expression], *, batch: bool) -> None:
    for name, cte in ctes.items():
        query = cast("exp.Expression", cte.this)
        if name == "fl_points":
            _reduce_points(query)
        elif name in ("fl_versions", "fl_joined"):
            _drop(query.find_all(exp.Join), "on", _is_widest)
        elif name in ("fl_sliced", "fl_probes"):
            for alias in [each for each in query.find_all(exp.Alias) if each.alias == _SLICE]:
                alias.set("this", exp.Literal.number(0))
        elif name == "fl_timeline":
            _merge_distinct_counts(ctes, query)
        if batch and name in (EVENTS, "fl_points"):
            _drop(query.find_all(exp.Where), "this", _is_batch)


def _reduce_points(query: exp.Expression) -> None:
    """Keep the points at which events enter, of those at which they leave windows; of a grid, where it begins."""
    for subquery in list(query.find_all(exp.Subquery)):
        if subquery.alias == "changes":
            first = subquery.this
            while isinstance(first, exp.Union):
                first = first.this
            subquery.set("this", first)
        elif subquery.alias == "steps":
            one = exp.alias_(exp.Literal.number(1), "generated_number")
            subquery.set("this", exp.Select(expressions=[one]))


def _merge_distinct_counts(ctes: dict[str, exp.Expression], timeline: exp.Expression) -> None:
    """Write `sum(fl_change1) over ...`, as PostgreSQL counts distinct values, as a count over a window of that width.

    The changes are branches of the timeline, of which every feature has two, so they would be part of all.
    """
    branches = _branches(timeline)
    heads = [each for each in branches if not _table(each).startswith(_PRESENT)]
    if len(heads) == len(branches) or len(heads) != 2:
        return
    names = [each.alias_or_name for each in branches[0].expressions]
    widths: dict[str, tuple[exp.Expression, exp.Expression]] = {}
    for branch in branches:
        place = next((n for n, each in enumerate(branch.expressions) if isinstance(each, exp.Neg)), None)
        width = branch.find(exp.Interval)
        present = ctes.get(_table(branch))
        distinct = present.find(exp.Distinct) if present is not None else None
        if place is not None and width is not None and distinct is not None and isinstance(distinct.parent, exp.Select):
            widths[names[place]] = distinct.parent.expressions[-1], cast("exp.Expression", width)
    ranged = ctes.get("fl_ranged")
    for total in list(ranged.find_all(exp.Sum)) if ranged is not None else ():
        name = total.this.name if isinstance(total.this, exp.Column) else ""
        if name in widths:
            slot, over = widths[name]
            total.replace(exp.Count(this=exp.Distinct(expressions=[slot.copy()]), expressions=[over.copy()]))
    for head in heads:
        projections = [
            each for each, name in zip(head.expressions, names, strict=False) if not name.startswith(_CHANGE)
        ]
        head.set("expressions", projections)
    union = exp.Union(this=heads[0].copy(), expression=heads[1].copy(), distinct=False)
    cast("exp.Expression", timeline.parent).set("this", union)


def _branches(query: exp.Expression) -> list[exp.Expression]:
    """Return the SELECTs of a chain of UNION ALL, in the order in which they are written."""
    branches: list[exp.Expression] = []
    while isinstance(query, exp.Union):
        branches.append(cast("exp.Expression", query.expression))
        query = cast("exp.Expression", query.this)
    return [query, *reversed(branches)]


def _table(select: exp.Expression) -> str:
    from_ = select.args.get("from_")
    return from_.this.name.casefold() if from_ is not None else ""


def _drop(nodes: Iterable[exp.Expression], clause: str, test: Callable[[exp.Expression], bool]) -> None:
    """Remove the conditions of a clause that satisfy a test."""
    for node in list(nodes):
        condition = node.args.get(clause)
        if condition is None:
            continue
        parts = flatten_operands(exp.And, condition)
        remaining = [part for part in parts if not test(part)]
        if len(remaining) < len(parts):
            node.set(clause, exp.and_(*remaining) if remaining else exp.true())


def _is_widest(condition: exp.Expression) -> bool:
    """Whether it keeps the events of the widest window: `late.fl_at > points.fl_point - 7 days`."""
    if not isinstance(condition, exp.GT) or condition.this.name != _AT:
        return False
    return not isinstance(condition.expression, exp.Column) and any(
        column.name == _POINT for column in condition.expression.find_all(exp.Column)
    )


def _is_batch(condition: exp.Expression) -> bool:
    """Whether it cuts the rows of a microbatch: the build's own bound is `<=`."""
    literals = [each for each in condition.find_all(exp.Literal) if each.is_string]
    return isinstance(condition, exp.LT | exp.GTE) and bool(literals)
