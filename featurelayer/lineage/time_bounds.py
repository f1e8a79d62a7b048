"""Time bounds from conditions: which of two times is earlier, and by how much.

A value knows the future if it comes from a row that may be later than the event of the row it is joined to. A
condition rules that out if it compares the two times: in ON, USING, WHERE, a later WHERE, a CASE or a FILTER around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sqlglot import exp

from featurelayer.lineage.normal_forms import OPPOSITE, flatten_operands, strip_brackets
from featurelayer.lineage.readers import ExpressionReader
from featurelayer.lineage.scope import (
    Frames,
    SelectScope,
    TimeFrame,
    Value,
    is_stronger,
    sort_sources,
)
from featurelayer.lineage.time_names import (
    is_end_name,
    is_period_name,
    is_time,
    is_time_key,
    is_time_name,
    is_time_type,
)
from featurelayer.lineage.values import Bound, FactKind

_MORE = (exp.DateAdd, exp.TimestampAdd, exp.DatetimeAdd, exp.TsOrDsAdd, exp.AddMonths, exp.Add)
_LESS = (exp.DateSub, exp.TimestampSub, exp.DatetimeSub, exp.Sub)
_DIFFERENCES = (exp.DateDiff, exp.TimestampDiff, exp.DatetimeDiff, exp.TsOrDsDiff, exp.Sub)
_CONSTANT = (exp.Literal, exp.Neg, exp.Interval, exp.Var, exp.Paren, exp.Cast, exp.DataType, exp.IntervalSpan)


class _Order(NamedTuple):
    """`low` is not later than `high`, or than `high` and `shift`; with a `gap` it is earlier, maybe by an amount."""

    low: exp.Expression
    high: exp.Expression
    shift: str = ""
    gap: str = ""


_STRICT, _AMOUNT = "strict", "amount"


# The meaning of a condition


def find_frames(writer: ExpressionReader, conditions: Iterable[exp.Expression], scope: SelectScope) -> Frames:
    """Return the time bounds that conditions set on each place they compare with another."""
    frames: dict[str, TimeFrame] = {}
    for order in _orders(conditions):
        low, high = writer.value(order.low, scope), writer.value(order.high, scope)
        earlier, later = find_places(low), find_places(high)
        times = {_is_time(order.low, low), _is_time(order.high, high)}
        if earlier == later or False in times:
            continue
        if _has_column(order.high):
            frame = _upper(order, low, high)
            for place in earlier - later:
                _note(frames, place, frame)
        if True in times and _has_column(order.low) and not _is_end(order.high):
            for place in later - earlier:
                _note(frames, place, TimeFrame(Bound.FUTURE))
    for one, other in find_equalities(conditions):
        _note_same_time(frames, writer, one, other, scope)
    return frames


def _upper(order: _Order, low: Value, high: Value) -> TimeFrame:
    """Return the time frame of rows whose time is `low`; a truncated `low` bounds them only by its period."""
    by = sort_sources(high.sources)
    shift = order.shift or _find_move(high)
    if shift:
        return TimeFrame(Bound.AHEAD, by, shift)
    before = order.gap == _AMOUNT or (order.gap == _STRICT and _is_whole(order.high, high))
    return TimeFrame(Bound.PERIOD if _is_cut(low) and not before else Bound.PAST, by)


def _note_same_time(
    found: dict[str, TimeFrame],
    writer: ExpressionReader,
    one: exp.Expression,
    other: exp.Expression,
    scope: SelectScope,
) -> None:
    values = writer.value(one, scope), writer.value(other, scope)
    if not all(_is_time(node, value) for node, value in zip((one, other), values, strict=True)):
        return
    shifts = _shift(one) or _find_move(values[0]), _shift(other) or _find_move(values[1])
    for (mine, theirs), (moved, by) in zip((values, values[::-1]), (shifts, shifts[::-1]), strict=True):
        ahead = by.startswith("+") or moved.startswith("-")
        cut = _is_cut(mine) and _is_cut(theirs) and not moved and not by
        bound = Bound.AHEAD if ahead else Bound.PERIOD if cut else Bound.PAST
        for place in find_places(mine) - find_places(theirs):
            _note(found, place, TimeFrame(bound, sort_sources(theirs.sources), by or moved if ahead else ""))


def _is_time(node: exp.Expression, value: Value) -> bool | None:
    """Whether an expression is a time, by its name, type or derivation; None if unknown."""
    columns = [column.name for column in node.find_all(exp.Column)]
    if any(is_time_name(name) or is_time_key(name) for name in columns) or _is_cut(value) or _find_move(value):
        return True
    return is_time_type(value.type) if value.type else is_time(node) or None


def _is_whole(node: exp.Expression, value: Value) -> bool:
    """Whether a time is the start of a day or of a longer period."""
    return (
        _is_cut(value)
        or value.type.upper() == "DATE"
        or any(is_period_name(column.name) for column in node.find_all(exp.Column))
    )


def _find_move(value: Value) -> str:
    return next((fact.shift for fact in value.facts if fact.kind is FactKind.MOVED), "")


def _note(found: dict[str, TimeFrame], place: str, frame: TimeFrame) -> None:
    known = found.get(place)
    if known is None or is_stronger(frame.bound, known.bound):
        found[place] = frame


def _orders(conditions: Iterable[exp.Expression]) -> Iterator[_Order]:
    for condition in conditions:
        for part in flatten_operands(exp.And, condition):
            yield from _order(_strip_null_test(part))


def _strip_null_test(part: exp.Expression) -> exp.Expression:
    """Strip tests for NULL from an OR with one other operand: where a time is NULL, there is no row."""
    if not isinstance(part, exp.Or):
        return part
    rest = [
        each
        for each in flatten_operands(exp.Or, part)
        if not (isinstance(each, exp.Is) and isinstance(each.expression, exp.Null))
    ]
    return rest[0] if len(rest) == 1 else part


def _order(part: exp.Expression) -> Iterator[_Order]:
    if isinstance(part, exp.Not) and type(strip_brackets(part.this)) in OPPOSITE:
        inner = strip_brackets(part.this)
        part = OPPOSITE[type(inner)](this=inner.this, expression=inner.expression)
    strict = isinstance(part, exp.LT | exp.GT)
    if isinstance(part, exp.LT | exp.LTE):
        yield from _compare_times(part.this, part.expression, strict=strict)
    elif isinstance(part, exp.GT | exp.GTE):
        yield from _compare_times(part.expression, part.this, strict=strict)
    elif isinstance(part, exp.Between):
        yield from _compare_times(part.args["low"], part.this)
        yield from _compare_times(part.this, part.args["high"])


def _compare_times(low: exp.Expression, high: exp.Expression, *, strict: bool = False) -> Iterator[_Order]:
    """Yield the order of the times in `low <= high`; one side may be the difference of two times."""
    if (ends := _difference(low)) is not None and not _has_column(high):  # end - start <= constant
        sign = _sign(high)
        gap = _AMOUNT if sign < 0 or (strict and not sign) else ""
        yield _Order(*ends, f"+{_amount(high)}" if sign > 0 else "", gap)
    elif (ends := _difference(high)) is not None and not _has_column(low):  # constant <= end - start
        sign = _sign(low)
        gap = _AMOUNT if sign > 0 or (strict and not sign) else ""
        yield _Order(*ends[::-1], f"+{_amount(low)}" if sign < 0 else "", gap)
    else:
        moved, by = _shift(low), _shift(high)
        ahead = by if by.startswith("+") else f"+{moved[1:]}" if moved.startswith("-") else ""
        gap = _AMOUNT if by.startswith("-") or moved.startswith("+") else _STRICT if strict else ""
        yield _Order(low, high, ahead, gap)


def _difference(node: exp.Expression) -> tuple[exp.Expression, exp.Expression] | None:
    """Return the end and the start of a time difference, maybe in another unit."""
    while True:
        node = strip_brackets(node)
        if isinstance(node, _DIFFERENCES):
            ends = node.this, node.expression
            return ends if all(_has_column(each) for each in ends) else None
        inner = [each for each in node.iter_expressions() if _has_column(each)]
        if isinstance(node, exp.Column) or len(inner) != 1:
            return None
        node = inner[0]


def _shift(node: exp.Expression) -> str:
    """Return how far an expression moves the time in it: `+1 day`, `-7 day`, or ""."""
    for each in node.walk():
        if not isinstance(each, _MORE + _LESS):
            continue
        amount = each.expression
        if amount is None or any(not isinstance(part, _CONSTANT) for part in amount.walk()):
            continue
        if (
            isinstance(each, exp.Add | exp.Sub)
            and not isinstance(strip_brackets(amount), exp.Interval)
            and not is_time(each.this)
        ):
            continue
        sign = _sign(amount) * (1 if isinstance(each, _MORE) else -1)
        return f"{'+' if sign > 0 else '-'}{_amount(amount, each.args.get('unit'))}" if sign else ""
    return "+" if node.find(exp.LastDay) else ""


def find_shift(node: exp.Expression) -> str:
    """Return how far an expression moves the time in it forward, as in `+1 day`, or ""."""
    text = _shift(node)
    return text if text.startswith("+") else ""


def _sign(node: exp.Expression) -> int:
    """Return the sign of a constant; an unknown constant counts as positive."""
    match = re.search(r"-?\s*\d+(\.\d+)?", node.sql())
    if match is None:
        return 1
    number = float(match[0].replace(" ", ""))
    return (number > 0) - (number < 0)


def _amount(node: exp.Expression, unit: exp.Expression | None = None) -> str:
    """Return the canonical spelling of an amount of time."""
    text = f"{node.sql()} {unit.sql() if unit is not None else ''}"
    number = re.search(r"\d+(\.\d+)?", text)
    word = re.search(r"(microsecond|millisecond|second|minute|hour|day|week|month|quarter|year)", text, re.IGNORECASE)
    return f"{number[0] if number else text.strip()} {word[0].lower() if word else 'day'}"


def find_equalities(conditions: Iterable[exp.Expression]) -> Iterator[tuple[exp.Expression, exp.Expression]]:
    """Yield the expressions that are equal in all rows."""
    for condition in conditions:
        for part in flatten_operands(exp.And, condition):
            if isinstance(part, exp.EQ | exp.NullSafeEQ):
                yield part.this, part.expression


def _has_column(node: exp.Expression) -> bool:
    return node.find(exp.Column) is not None


def _is_end(node: exp.Expression) -> bool:
    """Whether a time is the end of something, which may lie ahead when the row is written."""
    return any(is_end_name(column.name) for column in node.find_all(exp.Column))


def _is_cut(value: Value) -> bool:
    return any(fact.kind is FactKind.TRUNCATED for fact in value.facts)


def find_places(value: Value) -> set[str]:
    """Return the places that a value comes from."""
    return {fact.place for fact in value.facts if fact.kind is FactKind.JOIN}
