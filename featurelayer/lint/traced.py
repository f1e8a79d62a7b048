"""What the features of a project are made of, as the checks of leakage and of duplicates see it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from featurelayer.dbt.inventory import Inventory, Model
from featurelayer.lineage import ColumnLineage, Fact, Lineage, Source
from featurelayer.lint.project import LintProject
from featurelayer.model import FeatureView
from featurelayer.tracing import trace

Test = Callable[["TracedView", Fact], bool]


@dataclass(frozen=True)
class Traced:
    """The lineage of all views, by the id of each."""

    project: LintProject
    lineage: Lineage

    @cached_property
    def views(self) -> Mapping[str, TracedView]:
        """Every view whose SQL was followed."""
        followed = set(self.lineage)
        views = self.project.views
        return {name: TracedView(view, self) for name, view in views.items() if view.unique_id in followed}

    @property
    def inventory(self) -> Inventory:
        """The nodes of dbt."""
        return self.project.inventory

    @cached_property
    def _unique(self) -> dict[str, frozenset[str]]:
        return {}

    def is_unique(self, source: Source) -> bool:
        """Whether a test holds that no two rows have the same value in a column."""
        if source.unique_id not in self._unique:
            tests = self.inventory.tests.get(source.unique_id, ())
            self._unique[source.unique_id] = frozenset(
                test.column.casefold() for test in tests if test.name == "unique" and test.column and not test.where
            )
        return source.column in self._unique[source.unique_id]


@dataclass(frozen=True)
class TracedView:
    """A view and the lineage of its columns."""

    view: FeatureView
    traced: Traced = field(repr=False)

    @property
    def lineage(self) -> Lineage:
        """The lineage of the project."""
        return self.traced.lineage

    def column(self, name: str | None) -> ColumnLineage | None:
        """Return the lineage of a column of the view."""
        return self.lineage.column(self.view.unique_id, name) if name else None

    @cached_property
    def features(self) -> tuple[ColumnLineage, ...]:
        """The lineage of its features."""
        found = (self.column(feature.name) for feature in self.view.features)
        return tuple(each for each in found if each is not None)

    @cached_property
    def times(self) -> frozenset[Source]:
        """The columns that its event time and its available time are made of, all the way up."""
        names = (self.view.event_time, self.view.available_at, self.view.created_timestamp)
        return frozenset(
            source for name in names if name for source in self.lineage.ancestors(self.view.unique_id, name)
        )

    def is_origin(self, relation: str) -> bool:
        """Whether the view's times come from a relation, so that its rows are the events."""
        return any(source.relation == relation for source in self.times)

    def about_time(self, sources: Iterable[Source]) -> bool:
        """Whether one of the columns is one of the view's times, or is called like a time."""
        from featurelayer.lineage.times import is_time_name

        above = self.lineage.reaches(sources)
        return not above.isdisjoint(self.times) or any(is_time_name(source.column) for source in sources)

    def of_one_row(self, fact: Fact) -> bool:
        """Whether the rows that a window or a group has together are of one moment, or are one and the same thing."""
        if fact.timed:
            return True
        above = self.lineage.reaches(fact.partition)
        ties = {
            source for name in self.view.tie_breaker for source in self.lineage.ancestors(self.view.unique_id, name)
        }
        return any(self.traced.is_unique(source) for source in above) or not ties.isdisjoint(above)

    def found(self, test: Test) -> Iterator[tuple[Fact, tuple[str, ...]]]:
        """Yield each fact of the features' values that a test finds, with the features that have it."""
        return self._with(test, lambda column: column.facts)

    def found_in_rows(self, test: Test) -> Iterator[tuple[Fact, tuple[str, ...]]]:
        """Yield each fact of what decides the rows that a test finds, with the features, which are all."""
        return self._with(test, lambda column: column.row_facts)

    def _with(
        self, test: Test, facts: Callable[[ColumnLineage], Iterable[Fact]]
    ) -> Iterator[tuple[Fact, tuple[str, ...]]]:
        having: dict[Fact, list[str]] = {}
        for column in self.features:
            for fact in facts(column):
                having.setdefault(fact, []).append(column.column)
        for fact, names in having.items():
            if test(self, fact):
                yield fact, tuple(names)


def traced(project: LintProject) -> Traced:
    """Return the lineage of a project's views and of the labels of its services."""
    ids = [view.unique_id for view in project.views.values()]
    lineage = trace(project.inventory, adapter=project.registry.adapter, unique_ids=ids, trust_tests=True)
    return Traced(project, lineage)


def model_of(project: LintProject, fact: Fact) -> Model | None:
    """Return the model in whose SQL a fact was seen."""
    return project.inventory.model(fact.model)


def line_of(model: Model, *patterns: str) -> int:
    """Return the line of a model's file in which the first of the patterns is found, 0 if none is."""
    for pattern in patterns:
        for number, line in enumerate(model.raw_sql.splitlines(), start=1):
            if re.search(pattern, line, re.IGNORECASE):
                return number
    return 0
