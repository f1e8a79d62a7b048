"""Values, relations and scopes: the meaning of names while SQL is evaluated."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple

from sqlglot import exp

from featurelayer.lineage.values import Bound, ColumnKind, Fact, FactKind, RowStep, SourceColumn, ValueStep

MAX_COLUMNS = 20_000
AGAIN = "\x1f"
"""Stands in the name of a column that has that of another one: a union meets columns by their place."""
MAX_STEPS = 40
MAX_ROW_STEPS = 200
OF_JOINT = ("place", "bound", "by", "shift", "own", "keys", "twins")
"""What an aggregate, or a picked row, has from the relation that it is joined in."""
_BOUNDS = {bound: strength for strength, bound in enumerate(Bound)}


class Unreadable(Exception):
    """The SQL of a model can't be followed; the message says why. It becomes the model's `problem`."""


def digest(*parts: str) -> str:
    """Return a short digest of texts: equal texts, equal digests."""
    return hashlib.blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a column. Equal `key`s in equal rows are the same computation.

    `type` is known for few. `sure` means that it is never NULL. `form` is the operation that made it and the keys
    that went in, for the few operations of which that may matter.
    """

    key: str
    kind: ColumnKind = ColumnKind.CONSTANT
    sources: frozenset[SourceColumn] = frozenset()
    steps: tuple[ValueStep, ...] = ()
    facts: frozenset[Fact] = frozenset()
    type: str = ""
    sure: bool = False
    form: tuple[str, tuple[str, ...]] = ("", ())


@dataclass(slots=True, eq=False)
class Relation:
    """Rows with columns. `base` and the filters `where` say which rows.

    `reads` is the relation's name where it is a table that no SQL is known of: it has whatever column is asked for.
    `more` are relations whose further columns it has, too, whatever they are called. `rest` is what a column that is
    not listed is made of, where a function makes the rows. `unlisted` means that it may have columns under names that
    the SQL does not show. `unique` are the keys of columns of which no two rows have the same values, if any are known.
    `spelled` has the names, by their lower case, whose case an engine keeps. `times` are columns
    that tell when its rows came to be, where they may not be among its own.
    """

    base: str
    where: frozenset[str] = frozenset()
    columns: dict[str, Value] = field(default_factory=dict)
    more: tuple[FromItem, ...] = ()
    reads: tuple[str, str] | None = None
    rest: Value | None = None
    unlisted: bool = False
    unique: frozenset[str] | None = None
    spelled: dict[str, str] = field(default_factory=dict)
    steps: tuple[RowStep, ...] = ()
    sources: frozenset[SourceColumn] = frozenset()
    facts: frozenset[Fact] = frozenset()
    times: frozenset[SourceColumn] = frozenset()

    @property
    def rows(self) -> str:
        """The key of the set of rows."""
        return digest(self.base, *sorted(self.where)) if self.where else self.base

    @property
    def is_open(self) -> bool:
        """Whether it may have columns that are not known."""
        return self.reads is not None or self.rest is not None or bool(self.more)

    @property
    def is_complete(self) -> bool:
        """Whether `columns` are all columns that it has."""
        return not self.is_open and not self.unlisted

    def column(self, name: str) -> Value | None:
        """Return the column of that name, assumed if it may exist; None if it can't."""
        if name in self.columns:
            return self.columns[name]
        if self.reads is not None:
            relation, unique_id = self.reads
            source = SourceColumn(relation=relation, column=name, unique_id=unique_id)
            made = Value(digest("column", relation, name), ColumnKind.PASSTHROUGH, frozenset((source,)))
        elif self.rest is not None:
            made = replace(self.rest, key=digest("rest", self.rest.key, name))
        else:
            found = [value for item in self.more if (value := item.column(name)) is not None]
            if not found:
                return None
            made = found[0] if len(found) == 1 else _either(found)
        if len(self.columns) < MAX_COLUMNS:
            self.columns[name] = made
        return made


def _either(found: list[Value]) -> Value:
    """Return a column that belongs to one of several relations, unknown which."""
    return Value(
        digest("either", *sorted(value.key for value in found)),
        ColumnKind.PASSTHROUGH,
        frozenset(chain.from_iterable(value.sources for value in found)),
        facts=frozenset(chain.from_iterable(value.facts for value in found)),
    )


class TimeFrame(NamedTuple):
    """The time bound of rows, the columns that it is by, and the shift of these."""

    bound: Bound
    by: tuple[SourceColumn, ...] = ()
    shift: str = ""


Frames = Mapping[str, TimeFrame]
"""How the rows of each place are bound."""


def with_frames(facts: frozenset[Fact], frames: Frames) -> frozenset[Fact]:
    """Return facts with the stricter bounds of their places."""
    if not frames or not any(fact.place in frames for fact in facts):
        return facts
    return frozenset(bind_fact(fact, frames[fact.place]) if fact.place in frames else fact for fact in facts)


def bind_fact(fact: Fact, frame: TimeFrame) -> Fact:
    """Return a fact with a bound, unless it already has a stricter one."""
    if not is_stronger(frame.bound, fact.bound):
        return fact
    return replace(fact, bound=frame.bound, by=frame.by, shift=frame.shift)


def is_stronger(bound: Bound, other: Bound) -> bool:
    """Whether a bound is stricter than another."""
    return _BOUNDS[bound] > _BOUNDS[other]


@dataclass(slots=True, eq=False)
class FromItem:
    """A relation in a FROM, under its name there. `tag` tells it from the others where there are several.

    `joint` is the fact of its being joined, which all of its columns have from there on, and `frames` is how conditions
    bind the rows of it and of what it is made of.
    """

    name: str
    relation: Relation
    tag: str = ""
    joint: Fact | None = None
    frames: Mapping[str, TimeFrame] = field(default_factory=dict)
    found: dict[str, Value] = field(default_factory=dict)

    def column(self, name: str) -> Value | None:
        """Return the column after the join."""
        if name in self.found:
            return self.found[name]
        value = self.relation.column(name)
        if value is None:
            return value
        facts = self._facts(value)
        if not self.tag:
            return value if facts is value.facts else replace(value, facts=facts)
        made, operands = value.form
        form = made, tuple(digest(self.tag, operand) for operand in operands)
        value = replace(value, key=digest(self.tag, value.key), facts=facts, form=form)
        self.found[name] = value
        return value

    def _facts(self, value: Value) -> frozenset[Fact]:
        """Return the facts of a column once its relation is joined: aggregates and picked rows get its place."""
        facts = value.facts
        if self.joint is not None:
            of_joint = {name: getattr(self.joint, name) for name in OF_JOINT}
            joined = [
                replace(each, kind=FactKind.JOINED, **of_joint) for each in facts if each.kind is FactKind.AGGREGATE
            ]
            picked = [replace(each, joined=True, **of_joint) for each in self.relation.facts
                      if each.kind is FactKind.WINDOW and not each.joined]  # fmt: skip
            facts = facts.union(joined, picked, (self.joint,))
        return with_frames(facts, self.frames)


@dataclass(slots=True, eq=False)
class SelectScope:
    """The names in scope inside one SELECT.

    `aliases` are the expressions that it gives a name, `joined` the columns that two tables have in common by USING.
    """

    items: list[FromItem]
    parent: SelectScope | None = None
    outputs: dict[str, Value] = field(default_factory=dict)
    windows: dict[str, exp.Expression] = field(default_factory=dict)
    aliases: dict[str, exp.Expression] = field(default_factory=dict)
    joined: dict[str, Value] = field(default_factory=dict)
    spelled: dict[str, str] = field(default_factory=dict)
    unlisted: bool = False
    rows: str = ""
    within: str = ""
    group: tuple[SourceColumn, ...] = ()
    timed: bool = False
    unit: str = ""
    number: int = 0
    joins: frozenset[Fact] = frozenset()
    aliases_first: bool = False

    def column(self, name: str, table: str = "") -> Value | None:
        """Return the value of a column of that name, or None."""
        if table:
            item = next((item for item in self.items if item.name == table), None)
            value = item.column(name) if item else None
        else:
            value = self._plain(name)
        if value is None and self.parent is not None:
            value = self.parent.column(name, table)
            if value is not None:
                value = replace(value, key=digest("outer", value.key))
        return value

    def _plain(self, name: str) -> Value | None:
        if self.aliases_first and name in self.outputs:
            return self.outputs[name]
        if name in self.joined:
            return self.joined[name]
        for item in self.items:
            if name in item.relation.columns:
                return item.column(name)
        if name in self.outputs:
            return self.outputs[name]
        found = [value for item in self.items if (value := item.column(name)) is not None]
        return found[0] if len(found) == 1 else _either(found) if found else None

    def has_column(self, name: str) -> bool:
        """Whether a table, or the SELECT itself, is known to have a column of that name."""
        return name in self.outputs or any(name in item.relation.columns for item in self.items)

    def tables(self, name: str) -> list[FromItem]:
        """Return the tables of that name here, else in outer queries; without a name, all of this SELECT."""
        items = [item for item in self.items if not name or item.name == name]
        return items or (self.parent.tables(name) if self.parent is not None else [])

    def has_table(self, name: str) -> bool:
        """Whether a relation has that name here or in an outer query."""
        return any(item.name == name for item in self.items) or (
            self.parent is not None and self.parent.has_table(name)
        )


@dataclass(slots=True, eq=False)
class Parts:
    """The sources, steps and facts of an expression, collected while its key is computed."""

    sources: set[SourceColumn] = field(default_factory=set)
    steps: dict[ValueStep, None] = field(default_factory=dict)
    facts: set[Fact] = field(default_factory=set)
    kind: ColumnKind = ColumnKind.CONSTANT
    aggregated: bool = False

    def add(self, value: Value) -> None:
        """Add a value that is used."""
        self.sources |= value.sources
        if value.facts:
            self.facts.update(fact for fact in value.facts if fact.kind is not FactKind.TRUNCATED)
        if value.steps and len(self.steps) < MAX_STEPS:
            self.steps.update(dict.fromkeys(value.steps))
        if value.sources:
            self.raise_kind(ColumnKind.EXPRESSION)

    def raise_kind(self, kind: ColumnKind) -> None:
        """Raise the kind of the value to at least this one."""
        if strength(kind) > strength(self.kind):
            self.kind = kind


_STRENGTH = {kind: position for position, kind in enumerate(ColumnKind)}


def strength(kind: ColumnKind) -> int:
    """Return the rank of a kind; a window ranks highest."""
    return _STRENGTH[kind]


def sort_sources(sources: Iterable[SourceColumn]) -> tuple[SourceColumn, ...]:
    """Sort sources in a fixed order."""
    return tuple(sorted(sources))
