"""Rows that are put together: what has to be equal, and which of their times has to be the earlier one.

A value knows the future if it comes of a row that may be later than the event time of the row it is put into. Here the
joins and the subqueries of one SELECT are looked at. Each relation in them has a *place*; the facts of its columns
have it, too, so that a check can tell the relation that the event time comes from, and whether another one is bound
by it: in ON, USING, WHERE, a later WHERE, or in the condition of a CASE or FILTER around the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from sqlglot import exp

from featurelayer.lineage.forms import OPPOSITE, bare, flat
from featurelayer.lineage.relations import OWN
from featurelayer.lineage.scope import (
    OF_JOINT,
    Frame,
    Frames,
    Item,
    Relation,
    Scope,
    Value,
    framed,
    is_stronger,
    sorted_sources,
    with_frames,
)
from featurelayer.lineage.times import (
    is_end_name,
    is_period_name,
    is_time,
    is_time_key,
    is_time_name,
    is_time_type,
    is_written_name,
)
from featurelayer.lineage.values import Bound, Fact, Seen, Source

if TYPE_CHECKING:
    from featurelayer.lineage.expressions import Writer
    from featurelayer.lineage.queries import Queries

_MORE = (exp.DateAdd, exp.TimestampAdd, exp.DatetimeAdd, exp.TsOrDsAdd, exp.AddMonths, exp.Add)
_LESS = (exp.DateSub, exp.TimestampSub, exp.DatetimeSub, exp.Sub)
_DIFFERENCES = (exp.DateDiff, exp.TimestampDiff, exp.DatetimeDiff, exp.TsOrDsDiff, exp.Sub)
_CONSTANT = (exp.Literal, exp.Neg, exp.Interval, exp.Var, exp.Paren, exp.Cast, exp.DataType, exp.IntervalSpan)
MAX_TIMES = 8


class _Order(NamedTuple):
    """`low` is not later than `high`, or than `high` and `shift`; with a `gap` it is earlier, maybe by an amount."""

    low: exp.Expression
    high: exp.Expression
    shift: str = ""
    gap: str = ""


_STRICT, _AMOUNT = "strict", "amount"


# What a condition says


def find_frames(writer: Writer, conditions: Iterable[exp.Expression], scope: Scope) -> Frames:
    """Return what conditions that all hold say of the rows of each place that they compare with another's."""
    found: dict[str, Frame] = {}
    for order in _orders(conditions):
        low, high = writer.value(order.low, scope), writer.value(order.high, scope)
        earlier, later = _places(low), _places(high)
        times = {_is_time(order.low, low), _is_time(order.high, high)}
        if earlier == later or False in times:
            continue
        if _has_column(order.high):
            frame = _upper(order, low, high)
            for place in earlier - later:
                _note(found, place, frame)
        if True in times and _has_column(order.low) and not _is_end(order.high):
            for place in later - earlier:
                _note(found, place, Frame(Bound.FUTURE))
    for one, other in _equalities(conditions):
        _note_same_time(found, writer, one, other, scope)
    return found


def _upper(order: _Order, low: Value, high: Value) -> Frame:
    """How rows are bound whose time is `low`; of a period's start, the rows are no earlier than the next one's."""
    by = sorted_sources(high.sources)
    shift = order.shift or _moved(high)
    if shift:
        return Frame(Bound.AHEAD, by, shift)
    before = order.gap == _AMOUNT or (order.gap == _STRICT and _is_whole(order.high, high))
    return Frame(Bound.PERIOD if _is_cut(low) and not before else Bound.PAST, by)


def _note_same_time(
    found: dict[str, Frame], writer: Writer, one: exp.Expression, other: exp.Expression, scope: Scope
) -> None:
    values = writer.value(one, scope), writer.value(other, scope)
    if not all(_is_time(node, value) for node, value in zip((one, other), values, strict=True)):
        return
    shifts = _shift(one) or _moved(values[0]), _shift(other) or _moved(values[1])
    for (mine, theirs), (moved, by) in zip((values, values[::-1]), (shifts, shifts[::-1]), strict=True):
        ahead = by.startswith("+") or moved.startswith("-")
        cut = _is_cut(mine) and _is_cut(theirs) and not moved and not by
        bound = Bound.AHEAD if ahead else Bound.PERIOD if cut else Bound.PAST
        for place in _places(mine) - _places(theirs):
            _note(found, place, Frame(bound, sorted_sources(theirs.sources), by or moved if ahead else ""))


def _is_time(node: exp.Expression, value: Value) -> bool | None:
    """Whether an expression is a time, by its name, its type or what was done to it; None if that can't be told."""
    columns = [column.name for column in node.find_all(exp.Column)]
    if any(is_time_name(name) or is_time_key(name) for name in columns) or _is_cut(value) or _moved(value):
        return True
    return is_time_type(value.type) if value.type else is_time(node) or None


def _is_whole(node: exp.Expression, value: Value) -> bool:
    """Whether a time is the start of a day or of a longer period."""
    return (
        _is_cut(value)
        or value.type.upper() == "DATE"
        or any(is_period_name(column.name) for column in node.find_all(exp.Column))
    )


def _moved(value: Value) -> str:
    return next((fact.shift for fact in value.facts if fact.kind is Seen.MOVED), "")


def _note(found: dict[str, Frame], place: str, frame: Frame) -> None:
    known = found.get(place)
    if known is None or is_stronger(frame.bound, known.bound):
        found[place] = frame


def _orders(conditions: Iterable[exp.Expression]) -> Iterator[_Order]:
    for condition in conditions:
        for part in flat(exp.And, condition):
            yield from _order(_without_null(part))


def _without_null(part: exp.Expression) -> exp.Expression:
    """The one operand of an OR that is more than a test for NULL: where a time is NULL, there is no row."""
    if not isinstance(part, exp.Or):
        return part
    rest = [
        each for each in flat(exp.Or, part) if not (isinstance(each, exp.Is) and isinstance(each.expression, exp.Null))
    ]
    return rest[0] if len(rest) == 1 else part


def _order(part: exp.Expression) -> Iterator[_Order]:
    if isinstance(part, exp.Not) and type(bare(part.this)) in OPPOSITE:
        inner = bare(part.this)
        part = OPPOSITE[type(inner)](this=inner.this, expression=inner.expression)
    strict = isinstance(part, exp.LT | exp.GT)
    if isinstance(part, exp.LT | exp.LTE):
        yield from _compared(part.this, part.expression, strict=strict)
    elif isinstance(part, exp.GT | exp.GTE):
        yield from _compared(part.expression, part.this, strict=strict)
    elif isinstance(part, exp.Between):
        yield from _compared(part.args["low"], part.this)
        yield from _compared(part.this, part.args["high"])


def _compared(low: exp.Expression, high: exp.Expression, *, strict: bool = False) -> Iterator[_Order]:
    """What `low <= high` says of the times in it; one side may be the time between two of them."""
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
    """The end and the start whose difference an expression is, maybe in another unit."""
    while True:
        node = bare(node)
        if isinstance(node, _DIFFERENCES):
            ends = node.this, node.expression
            return ends if all(_has_column(each) for each in ends) else None
        inner = [each for each in node.iter_expressions() if _has_column(each)]
        if isinstance(node, exp.Column) or len(inner) != 1:
            return None
        node = inner[0]


def _shift(node: exp.Expression) -> str:
    """How far an expression moves the time in it: `+1 day`, `-7 day`, or ""."""
    for each in node.walk():
        if not isinstance(each, _MORE + _LESS):
            continue
        amount = each.expression
        if amount is None or any(not isinstance(part, _CONSTANT) for part in amount.walk()):
            continue
        if (
            isinstance(each, exp.Add | exp.Sub)
            and not isinstance(bare(amount), exp.Interval)
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
    """The sign of a constant; of one that is not known it is taken to be positive."""
    found = re.search(r"-?\s*\d+(\.\d+)?", node.sql())
    if found is None:
        return 1
    number = float(found[0].replace(" ", ""))
    return (number > 0) - (number < 0)


def _amount(node: exp.Expression, unit: exp.Expression | None = None) -> str:
    """One spelling of an amount of time."""
    text = f"{node.sql()} {unit.sql() if unit is not None else ''}"
    number = re.search(r"\d+(\.\d+)?", text)
    word = re.search(r"(microsecond|millisecond|second|minute|hour|day|week|month|quarter|year)", text, re.IGNORECASE)
    return f"{number[0] if number else text.strip()} {word[0].lower() if word else 'day'}"


def _equalities(conditions: Iterable[exp.Expression]) -> Iterator[tuple[exp.Expression, exp.Expression]]:
    for condition in conditions:
        for part in flat(exp.And, condition):
            if isinstance(part, exp.EQ | exp.NullSafeEQ):
                yield part.this, part.expression


def _has_column(node: exp.Expression) -> bool:
    return node.find(exp.Column) is not None


def _is_end(node: exp.Expression) -> bool:
    """Whether a time is the end of something: that it lies ahead says nothing of when the row came to be."""
    return any(is_end_name(column.name) for column in node.find_all(exp.Column))


def _is_cut(value: Value) -> bool:
    return any(fact.kind is Seen.TRUNCATED for fact in value.facts)


def _places(value: Value) -> set[str]:
    return {fact.place for fact in value.facts if fact.kind is Seen.JOIN}


# What is known of rows by then


def apply_frames(scope: Scope, rows: Relation, frames: Frames) -> None:
    """Let all that comes of the scope's relations from here on be bound as a condition says."""
    if not frames:
        return
    for item in scope.items:
        item.frames = {**item.frames, **frames}
    rows.facts = with_frames(rows.facts, frames)


# The relations of a SELECT


def start_join(queries: Queries, item: Item, scope: Scope, node: exp.Expression, kind: str) -> None:
    """Give a relation that is put together with others a place, before it is known on what conditions."""
    relation = item.relation
    tables = {(source.relation, source.unique_id) for value in relation.columns.values() for source in value.sources}
    name, unique_id = relation.reads or (tables.pop() if len(tables) == 1 else ("", ""))
    if name == OWN or not (name or tables or relation.sources):
        return  # the model's own rows of an earlier run, or rows that come of no table
    scope.number = scope.number or queries.next_place()
    item.joint = Fact(
        kind=Seen.JOIN,
        model=queries.writer.model,
        sql=queries.writer.sql(node) if isinstance(node, exp.Join) else f"FROM {item.name or name}",
        function=kind.casefold(),
        relation=name,
        unique_id=unique_id,
        within=scope.within,
        line=line_of_node(node),
        place=f"{queries.writer.model} {scope.number}.{queries.next_place()}",
    )
    item.found.clear()


def finish_joins(queries: Queries, node: exp.Select, scope: Scope, rows: Relation) -> None:
    """Note on what conditions the relations of a SELECT are put together, also with the rows around it."""
    conditions = [join.args[name] for join in node.args.get("joins") or () for name in ("on", "match_condition")
                  if isinstance(join.args.get(name), exp.Expression)]  # fmt: skip
    if (where := node.args.get("where")) is not None:
        conditions.append(where.this)
    conditions += [equal for join in node.args.get("joins") or () for equal in _using(join, scope)]
    rows.times = find_times(scope)
    if not any(item.joint for item in scope.items) and not any(fact.kind is Seen.JOIN for fact in rows.facts):
        return
    _read_columns(node, scope)
    frames = find_frames(queries.writer, conditions, scope)
    joined: set[Fact] = set()
    for item in scope.items:
        if item.joint is not None:
            item.joint = _finished(queries.writer, item, conditions, scope, frames)
            joined.add(item.joint)
        item.found.clear()
    apply_frames(scope, rows, frames)
    rows.facts |= joined
    rows.times = find_times(scope)


def hide_join(queries: Queries, item: Item, join: exp.Join, scope: Scope, rows: Relation) -> None:
    """Take a relation whose rows only choose others, by SEMI or ANTI, out of the scope, and note how they are bound."""
    conditions = [*([join.args["on"]] if join.args.get("on") is not None else []), *_using(join, scope)]
    joint = item.joint
    if joint is not None and joint.function == "semi":
        frames = find_frames(queries.writer, conditions, scope)
        rows.facts |= {_finished(queries.writer, item, conditions, scope, frames)}
    scope.items.remove(item)


def brought_in(value: Value, relation: Relation) -> frozenset[Fact]:
    """Return the facts of a subquery's value as it is put into a row: its aggregates are joined as its rows are."""
    joints = [fact for fact in relation.facts if fact.kind is Seen.JOIN and (fact.keys or fact.bound)]
    joint = max(joints, key=lambda fact: (list(Bound).index(fact.bound), fact.place), default=None)
    aggregates = {fact for fact in value.facts if fact.kind is Seen.AGGREGATE}
    if not aggregates:
        return value.facts
    of_joint = {name: getattr(joint, name) for name in OF_JOINT} if joint else {}
    kept = {fact for fact in value.facts if fact.kind is not Seen.JOIN or fact.bound not in ("", Bound.PAST)}
    return frozenset((*kept, *(replace(fact, kind=Seen.JOINED, **of_joint) for fact in aggregates)))


def put_in(item: Item) -> None:
    """Let what a subquery brings be joined as its rows are bound by the row around it."""
    columns = item.relation.columns
    for name, value in columns.items():
        columns[name] = replace(value, facts=brought_in(value, item.relation))
    item.found.clear()


def is_correlated(query: exp.Expression, around: Scope | None) -> bool:
    """Whether a subquery names a column of the query around it."""
    if around is None:
        return False
    names = {table.alias_or_name.casefold() for table in query.find_all(exp.Table, exp.Subquery)}
    tables = {column.table.casefold() for column in query.find_all(exp.Column)} - names - {""}
    return any(around.has_table(table) for table in tables)


def _finished(writer: Writer, item: Item, conditions: list[exp.Expression], scope: Scope, frames: Frames) -> Fact:
    own: set[Source] = set()
    keys: set[Source] = set()
    twins: set[str] = set()
    for pair in _equalities(conditions):
        for mine, theirs in (pair, pair[::-1]):
            if _owners(mine, scope) == {id(item)} and id(item) not in (owners := _owners(theirs, scope)) and owners:
                value = writer.value(mine, scope)
                own |= value.sources
                twins |= _places(value)
                keys |= writer.value(theirs, scope).sources
    assert item.joint is not None
    joint = replace(
        item.joint,
        own=sorted_sources(own),
        keys=sorted_sources(keys),
        twins=tuple(sorted(twins - {item.joint.place})),
        times=sorted_sources(item_times(item))[:MAX_TIMES],
    )
    frame = frames.get(joint.place)
    return framed(joint, frame) if frame else joint


def _using(join: exp.Join, scope: Scope) -> Iterator[exp.Expression]:
    """The equations that USING stands for: with the first of the other relations that has the column."""
    of = join.this.alias_or_name.casefold()
    for each in join.args.get("using") or ():
        name = each.name.casefold()
        other = next((item.name for item in scope.items if item.name != of and item.column(name) is not None), None)
        if other is not None:
            yield exp.EQ(this=exp.column(name, table=other), expression=exp.column(name, table=of))


def _owners(node: exp.Expression, scope: Scope) -> set[int]:
    """The relations that the columns of an expression are of; 0 is the query around this one."""
    return {_owner(column, scope) for column in node.find_all(exp.Column)}


def _owner(column: exp.Column, scope: Scope) -> int:
    name, table = column.name.casefold(), column.table.casefold()
    for item in scope.items:
        if item.name == table if table else name in item.relation.columns:
            return id(item)
    return 0


def _read_columns(node: exp.Select, scope: Scope) -> None:
    """Let relations whose columns are not all known have those that the SELECT names: one may be a time."""
    items = {item.name: item for item in scope.items if item.relation.reads is not None}
    for column in node.find_all(exp.Column) if items else ():
        if (item := items.get(column.table.casefold())) is not None:
            item.column(column.name.casefold())


def find_times(scope: Scope) -> frozenset[Source]:
    """Return the columns that tell when the rows of a SELECT came to be: not of what is bound by the others."""
    items = [item for item in scope.items if item.joint is None or item.joint.bound is not Bound.PAST]
    return frozenset(source for item in items or scope.items for source in item_times(item))


def item_times(item: Item) -> frozenset[Source]:
    """Return the columns that tell when the rows of a relation came to be."""
    relation = item.relation
    if relation.times:
        return relation.times
    return frozenset(
        source
        for name, value in relation.columns.items()
        if (is_time_type(value.type) if value.type else is_time_name(name)) and not is_written_name(name)
        for source in value.sources
    )


def line_of_node(node: exp.Expression) -> int:
    """Return the line of the SQL in which an expression begins, or what it stands in; 0 if that is not known."""
    around = node
    while True:
        lines = [int(each.meta["line"]) for each in around.walk() if "line" in each.meta]
        if lines or not isinstance(around.parent, exp.Expression):
            return min(lines, default=0)
        around = around.parent
