"""The column lineage of features, as the checks for leakage and duplicates need it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cached_property

from featurelayer.dbt.inventory import Inventory, Model
from featurelayer.dbt.lineage import trace
from featurelayer.lineage import ColumnLineage, Fact, Lineage, SourceColumn
from featurelayer.model import FeatureView

_KEY = re.compile(r"_?(id|key|sk|pk|nk|uuid|guid|code|no|number)$")
_MOST_LINES = 5_000
_NEAR = 5
Test = Callable[["ViewLineage", Fact], bool]


@dataclass(frozen=True)
class LintLineage:
    """The lineage of all views of a project."""

    inventory: Inventory
    all_views: Mapping[str, FeatureView]
    lineage: Lineage

    @cached_property
    def views(self) -> Mapping[str, ViewLineage]:
        """Every view whose SQL could be analysed, by its id."""
        known = set(self.lineage)
        return {name: ViewLineage(view, self) for name, view in self.all_views.items() if view.unique_id in known}

    @cached_property
    def static(self) -> frozenset[str]:
        """The unique ids of the static views."""
        return frozenset(view.unique_id for view in self.all_views.values() if view.static)

    @cached_property
    def _unique(self) -> dict[str, frozenset[str]]:
        return {}

    def is_unique(self, source: SourceColumn) -> bool:
        """Whether a column is unique, by a test, a constraint or a `unique_key`."""
        if source.unique_id not in self._unique:
            self._unique[source.unique_id] = frozenset(self._unique_columns(source.unique_id))
        return source.column in self._unique[source.unique_id]

    def _unique_columns(self, unique_id: str) -> Iterator[str]:
        for test in self.inventory.tests.get(unique_id, ()):
            if test.name == "unique" and test.column and not test.where:
                yield test.column.casefold()
        model = self.inventory.model(unique_id) if unique_id else None
        if model is not None:
            key = model.config.get("unique_key")
            key = key[0] if isinstance(key, list) and len(key) == 1 else key
            if isinstance(key, str) and model.kind != "snapshot":
                yield key.casefold()
            for constraint in model.constraints:
                if constraint.type in ("primary_key", "unique") and len(constraint.columns) == 1:
                    yield constraint.columns[0].casefold()


@dataclass(frozen=True)
class ViewLineage:
    """A view and the lineage of its columns."""

    view: FeatureView
    parent: LintLineage = field(repr=False)

    @property
    def lineage(self) -> Lineage:
        """The lineage of the project."""
        return self.parent.lineage

    def column(self, name: str | None) -> ColumnLineage | None:
        """Return the lineage of a column of the view."""
        return self.lineage.column(self.view.unique_id, name) if name else None

    @cached_property
    def features(self) -> tuple[ColumnLineage, ...]:
        """The lineage of its features."""
        found = (self.column(feature.name) for feature in self.view.features)
        return tuple(each for each in found if each is not None)

    @cached_property
    def times(self) -> frozenset[SourceColumn]:
        """The columns that its event time and available time derive from, all the way up."""
        names = (self.view.event_time, self.view.available_at, self.view.created_timestamp)
        return self._above(name for name in names if name)

    @cached_property
    def _time_facts(self) -> tuple[Fact, ...]:
        """The facts of the event time and of the available time."""
        columns = (self.column(self.view.event_time), self.column(self.view.available_at))
        return tuple(fact for column in columns if column is not None for fact in column.facts)

    @cached_property
    def places(self) -> frozenset[str]:
        """The relations, each by its place in a FROM, that the event time comes from: their rows are the events.

        So are those that are read once more and joined back by the event's own key.
        """
        events = {fact.place for fact in self._time_facts if fact.place}
        for fact in {fact for column in self.features for fact in column.facts if fact.twins}:
            same = self.lineage.reaches(fact.own) & self.lineage.reaches(fact.keys)
            if not events.issuperset(fact.twins) and self.is_key(same):
                events.update(fact.twins)
        return frozenset(events)

    @cached_property
    def units(self) -> frozenset[str]:
        """The units to which the event time was truncated."""
        from featurelayer.lineage import FactKind

        return frozenset(fact.unit for fact in self._time_facts if fact.kind is FactKind.TRUNCATED)

    @cached_property
    def shifts(self) -> frozenset[str]:
        """How far the event time was moved forward."""
        from featurelayer.lineage import FactKind

        return frozenset(fact.shift for fact in self._time_facts if fact.kind is FactKind.MOVED)

    @cached_property
    def join_keys(self) -> frozenset[SourceColumn]:
        """The columns that the view's join keys derive from, all the way up."""
        return self._above(key.column for key in self.view.join_keys)

    @cached_property
    def tie_breakers(self) -> frozenset[SourceColumn]:
        """The columns that the view's tie-breakers derive from, all the way up."""
        return self._above(self.view.tie_breaker)

    def _above(self, names: Iterable[str]) -> frozenset[SourceColumn]:
        return frozenset(source for name in names for source in self.lineage.ancestors(self.view.unique_id, name))

    def is_key(self, columns: Iterable[SourceColumn]) -> bool:
        """Whether columns identify one row of their relation, by a test, a tie-breaker, or the usual names of keys."""
        above = self.lineage.reaches(columns)
        unique = any(self.parent.is_unique(source) or is_key_name(source) for source in above)
        return unique or not self.tie_breakers.isdisjoint(above)

    def concerns_time(self, sources: Iterable[SourceColumn]) -> bool:
        """Whether one of the columns is one of the view's times, or is named like a time."""
        from featurelayer.lineage.time_names import is_time_name

        above = self.lineage.reaches(sources)
        return not above.isdisjoint(self.times) or any(is_time_name(source.column) for source in sources)

    def find_facts(self, test: Test) -> Iterator[tuple[Fact, tuple[str, ...]]]:
        """Yield each fact about the features' values that passes a test, with the features that have it."""
        return self._facts_with_features(test, lambda column: column.facts)

    def find_row_facts(self, test: Test) -> Iterator[tuple[Fact, tuple[str, ...]]]:
        """Yield each fact about the rows that passes a test, with the features that have it."""
        return self._facts_with_features(test, lambda column: column.row_facts)

    def _facts_with_features(
        self, test: Test, facts: Callable[[ColumnLineage], Iterable[Fact]]
    ) -> Iterator[tuple[Fact, tuple[str, ...]]]:
        having: dict[Fact, list[str]] = {}
        for column in self.features:
            for fact in facts(column):
                having.setdefault(fact, []).append(column.column)
        for fact, names in having.items():
            if test(self, fact):
                yield fact, tuple(names)


def trace_features(inventory: Inventory, views: Mapping[str, FeatureView], adapter: str) -> LintLineage:
    """Return the lineage of these views."""
    ids = [view.unique_id for view in views.values()]
    return LintLineage(inventory, views, trace(inventory, adapter=adapter, unique_ids=ids, trust_tests=True))


def find_pattern_line(model: Model, *patterns: str) -> int:
    """Return the line of the first matching pattern in a model's file, 0 if none matches."""
    for pattern in patterns:
        for number, line in enumerate(model.raw_sql.splitlines(), start=1):
            if re.search(pattern, line, re.IGNORECASE):
                return number
    return 0


def find_fact_line(model: Model, fact: Fact) -> int:
    """Return the line of a fact in a model's file, 0 if unknown.

    What a macro has written is at the line that calls it: the one after the last line that file and SQL both have.
    """
    raw = [line.strip() for line in model.raw_sql.splitlines()]
    number = _map_to_raw_line([line.strip() for line in model.compiled_sql.splitlines()], raw, fact.line)
    word = re.match(r"\w+", fact.sql)
    if not number or word is None:
        return number
    pattern = re.compile(rf"\b{re.escape(word[0])}\b", re.IGNORECASE)
    near = sorted(range(max(number - _NEAR, 1), min(number + _NEAR, len(raw)) + 1), key=lambda each: abs(each - number))
    return next((each for each in near if pattern.search(raw[each - 1])), number)


def _map_to_raw_line(compiled: list[str], raw: list[str], number: int) -> int:
    if not 0 < number <= len(compiled) or max(len(compiled), len(raw)) > _MOST_LINES:
        return 0
    last = 0
    for block in SequenceMatcher(None, compiled, raw, autojunk=False).get_matching_blocks():
        if block.a <= number - 1 < block.a + block.size:
            return int(block.b + number - block.a)
        if block.a >= number:
            break
        last = block.b + block.size
    return next((each for each, line in enumerate(raw, start=1) if each > last and line), 0)


def is_key_name(source: SourceColumn) -> bool:
    """Whether a column is named like the key of its relation: `id`, or `order_id` in `stg_shop__orders`."""
    column, relation = source.column, source.relation.rpartition(".")[2]
    if column in ("id", "key", "uuid"):
        return True
    thing = _KEY.sub("", column)
    if thing == column or not thing:
        return False
    words = relation.split("_")
    of = thing.split("_")
    return [_singular(word) for word in words[-len(of) :]] == [_singular(word) for word in of]


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
