"""Window functions: canonical keys, and the rows that they read."""

from __future__ import annotations

from sqlglot import exp

from featurelayer.lineage.from_items import MAX_TIMES, find_times
from featurelayer.lineage.normal_forms import window_function
from featurelayer.lineage.readers import ExpressionReader
from featurelayer.lineage.scope import Parts, SelectScope, digest, sort_sources
from featurelayer.lineage.time_names import is_time
from featurelayer.lineage.values import ColumnKind, FactKind

_RANKS = (exp.RowNumber, exp.Rank, exp.DenseRank)
_SHARES = (exp.Ntile, exp.PercentRank, exp.CumeDist)
_SHIFTS = (exp.Lag, exp.Lead)
_DEFAULT = ("RANGE", "UNBOUNDED PRECEDING", "CURRENT ROW")
_EVERYTHING = ("ROWS", "UNBOUNDED PRECEDING", "UNBOUNDED FOLLOWING")
_ZERO = digest("0")
Frame = tuple[str, str, str]


def window_key(writer: ExpressionReader, node: exp.Window, scope: SelectScope, parts: Parts) -> str:
    """Return the key of a window function, including the rows it runs over."""
    function = window_function(node)
    spec, partition, order = _spread(node, scope)
    writer.over = function
    text = writer.key(node.this, scope, parts)
    divided, ordered = Parts(), Parts()
    by = sorted({writer.key(each, scope, divided) for each in partition})
    times = any(_is_divided_by_time(writer, each, scope) for each in partition)
    first = Parts()
    sequence = []
    for position, each in enumerate(order):
        sequence.append(writer.key(each, scope, first if position == 0 else ordered))
    frame = _frame(writer, spec, scope, ordered, has_order=bool(order))
    for used in (divided, first, ordered):
        parts.sources |= used.sources
        parts.facts |= used.facts
        parts.steps.update(used.steps)
    parts.kind = ColumnKind.WINDOW
    looks = _looks(function, frame, order)
    bounds = () if isinstance(function, (*_RANKS, *_SHARES, *_SHIFTS)) else frame
    key = writer.note_window_form(text, digest(",".join(by), ",".join(sequence), ",".join(bounds), scope.rows))
    if looks == "past":
        return key
    parts.facts.add(
        writer.fact(
            FactKind.WINDOW,
            node,
            function=type(function).__name__.casefold(),
            frame=looks,
            partition=sort_sources(divided.sources),
            order=sort_sources(first.sources),
            timed=times,
            within=scope.within,
            times=sort_sources(find_times(scope))[:MAX_TIMES],
            backwards=bool(order) and bool(order[0].args.get("desc")),
        )
    )
    return key


def _spread(
    node: exp.Window, scope: SelectScope
) -> tuple[exp.Expression | None, list[exp.Expression], list[exp.Expression]]:
    """Return the frame, the partition and the order, also from a WINDOW clause."""
    spec, partition, order = node.args.get("spec"), node.args.get("partition_by") or [], node.args.get("order")
    visited: set[str] = set()
    name = _window_name(node)
    while name and name in scope.windows and name not in visited:
        visited.add(name)
        base = scope.windows[name]
        spec = spec or base.args.get("spec")
        partition = partition or base.args.get("partition_by") or []
        order = order or base.args.get("order")
        name = _window_name(base)
    return spec, partition, order.expressions if order else []


def _window_name(node: exp.Expression) -> str:
    alias = node.args.get("alias")
    return alias.name.casefold() if isinstance(alias, exp.Identifier) else ""


def _is_divided_by_time(writer: ExpressionReader, node: exp.Expression, scope: SelectScope) -> bool:
    """Whether the partition includes a time that is not truncated: then its rows share one moment."""
    value = writer.value(node, scope)
    return is_time(node, value.type) and not any(fact.kind is FactKind.TRUNCATED for fact in value.facts)


def _frame(
    writer: ExpressionReader,
    spec: exp.Expression | None,
    scope: SelectScope,
    parts: Parts,
    *,
    has_order: bool,
) -> Frame:
    if spec is None:
        return _DEFAULT if has_order else _EVERYTHING

    def bound(name: str) -> str:
        value, side = spec.args.get(name), str(spec.args.get(f"{name}_side") or "").upper()
        if value is None:
            return "CURRENT ROW"
        if isinstance(value, exp.Expression):
            text = writer.key(value, scope, parts)
            return "CURRENT ROW" if text == _ZERO else f"{text} {side}"
        return f"{value.upper()} {side}".strip()

    kind = str(spec.args.get("kind") or "ROWS").upper()
    excluded = spec.args.get("exclude")
    frame = (f"{kind} {str(excluded).upper()}" if excluded else kind, bound("start"), bound("end"))
    if not has_order and frame[1:] == ("UNBOUNDED PRECEDING", "UNBOUNDED FOLLOWING"):
        return _EVERYTHING
    return frame


def _looks(function: exp.Expression, frame: Frame, order: list[exp.Expression]) -> str:
    """Return the rows it reads, relative to their order: `past`, `future` or `all`."""
    backwards = bool(order) and bool(order[0].args.get("desc"))
    if isinstance(function, _SHIFTS):
        offset = function.args.get("offset")
        negative = isinstance(offset, exp.Neg)
        ahead = isinstance(function, exp.Lead) != negative
        # Without an order it may be any row, so also a later one.
        return "future" if ahead != backwards or not order else "past"
    if isinstance(function, _SHARES):
        return "all"
    if isinstance(function, _RANKS):
        return "future" if backwards else "past"
    before, after = frame[1].endswith("PRECEDING"), frame[2].endswith("FOLLOWING")
    if frame[1].endswith("FOLLOWING"):
        before = False
    if frame[2].endswith("PRECEDING"):
        after = False
    if backwards:
        before, after = after, before
    if not order:
        return "all"
    if before and after:
        return "all"
    return "future" if after else "past"
