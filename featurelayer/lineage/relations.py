"""Relations derived from relations: with other column names, merged, or looked up by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import chain

from sqlglot import exp

from featurelayer.lineage.relation_names import MACROS
from featurelayer.lineage.scope import MAX_ROW_STEPS, FromItem, Parts, Relation, Unreadable, Value, digest, strength
from featurelayer.lineage.values import ColumnKind, Fact, RowStep, RowStepKind, ValueStep

Tables = Callable[[exp.Table], Relation]
OWN = "itself"


def own_relation() -> Relation:
    """Return the model's own rows of an earlier run, which an incremental model may read as its watermark."""
    return Relation(base=digest(OWN), reads=(OWN, ""))


def rename_columns(relation: Relation, names: list[str]) -> Relation:
    """Rename the first columns of a relation."""
    if not names:
        return relation
    if relation.is_open and relation.rest is None:
        raise Unreadable("it renames columns by their place, of rows whose columns are not all known")
    values = list(relation.columns.values())
    columns = {name.casefold(): values[place] for place, name in enumerate(names) if place < len(values)}
    for place, (name, value) in enumerate(relation.columns.items()):
        if place >= len(names):
            columns[name] = value
    unlisted = relation.unlisted or relation.rest is not None
    return replace(relation, columns=columns, spelled={}, rest=None, unlisted=unlisted)


def derive_relation(relation: Relation, *inner: Relation) -> Relation:
    """Copy the facts of the rows a relation derives from to it."""
    relation.steps = tuple(dict.fromkeys(chain.from_iterable(each.steps for each in inner)))[:MAX_ROW_STEPS]
    relation.sources = frozenset(chain.from_iterable(each.sources for each in inner))
    relation.facts = frozenset(chain.from_iterable(each.facts for each in inner))
    relation.times = frozenset(chain.from_iterable(each.times for each in inner))
    return relation


def merge_values(values: list[Value], key: str, name: str = "", within: str = "") -> Value:
    """Merge one column of several branches; if their kinds differ, it is an expression of all."""
    parts = Parts()
    facts: set[Fact] = set()
    for value in values:
        parts.add(value)
        facts |= value.facts
    kinds = {value.kind for value in values}
    kind = max(kinds, key=strength, default=ColumnKind.CONSTANT)
    steps = tuple(parts.steps)
    texts = list(dict.fromkeys(_describe(value) for value in values))
    if len(texts) > 1 and not name.startswith(MACROS):
        if ColumnKind.CONSTANT in kinds and kind is ColumnKind.PASSTHROUGH:
            kind = ColumnKind.EXPRESSION
        steps = (*steps, ValueStep(kind=kind, sql=" | ".join(texts), within=within, name=name))
    types = {value.type for value in values}
    of = types.pop() if len(types) == 1 else ""
    return Value(key, kind, frozenset(parts.sources), steps, frozenset(facts), of)


def _describe(value: Value) -> str:
    if value.steps:
        return value.steps[-1].sql
    return next(iter(sorted(value.sources))).column if value.sources else ""


def with_key(value: Value, key: str) -> Value:
    """Return the value under another key, with the same derivation."""
    return Value(key, value.kind, value.sources, value.steps, value.facts)


def pad_columns(relation: Relation, width: int) -> list[Value]:
    """Return the first columns of a relation, padded to the given number."""
    values = list(relation.columns.values())[:width]
    return values + [Value("")] * (width - len(values))


def table_lookup(relations: Mapping[str, Relation], name: Callable[[exp.Table], str]) -> Tables:
    """Return a table lookup that gives a known relation, or one that has any column read from it."""

    def find(table: exp.Table) -> Relation:
        wanted = name(table)
        relation = relations.get(wanted)
        return relation if relation is not None else Relation(base=digest("table", wanted), reads=(wanted, ""))

    return find


def combine_branches(node: exp.SetOperation, branches: list[Relation], within: str) -> Relation:
    """Return the rows of a UNION, INTERSECT or EXCEPT; the branches of a UNION have no order."""
    kind, all_rows = type(node).__name__, not node.args.get("distinct")
    is_union, by_name = isinstance(node, exp.Union), bool(node.args.get("by_name"))
    _check_places(branches, by_name=by_name)
    ordered = sorted(branches, key=lambda branch: branch.rows) if is_union else branches
    columns: dict[str, Value] = {}
    names = dict.fromkeys(chain.from_iterable(branch.columns for branch in (branches if by_name else branches[:1])))
    for place, name in enumerate(names):
        values = [_column_of(branch, place, name if by_name else "") for branch in ordered]
        key = digest(kind, *(value.key if value else "" for value in values))
        columns[name] = merge_values([value for value in values if value is not None], key, name, within)
    base = digest(kind, *(branch.rows for branch in ordered))
    keys = sorted(value.key for value in columns.values())
    if not is_union:
        base = digest(base, "all" if all_rows else "distinct", *keys)
    elif not all_rows:
        base = digest("group", base, *keys)
    spelled = branches[0].spelled if not by_name else {}
    relation = derive_relation(Relation(base=base, columns=columns, spelled=spelled), *branches)
    if not (is_union and all_rows):  # the set of rows depends on all their values
        relation.sources |= frozenset(chain.from_iterable(value.sources for value in columns.values()))
    relation.unlisted = any(branch.unlisted for branch in (branches if by_name else branches[:1]))
    relation.more = tuple(FromItem("", branch, tag=digest("branch", base)) for branch in branches if branch.is_open)
    text = f"{kind.lower()}{' all' if all_rows else ''} of {len(branches)}"
    relation.steps = (*relation.steps, RowStep(kind=RowStepKind.UNION, sql=text, within=within))
    return relation


def _check_places(branches: list[Relation], *, by_name: bool) -> None:
    """Raise if branches match columns by position and a position is unknown."""
    names = [list(branch.columns) for branch in branches]
    if by_name or all(each == names[0] for each in names):
        return
    if any(branch.is_open for branch in branches):
        raise Unreadable("it puts rows together by the place of their columns, which are not all known")


def _column_of(branch: Relation, place: int, name: str) -> Value | None:
    if name:
        return branch.columns.get(name)
    values = list(branch.columns.values())
    return values[place] if place < len(values) else None
