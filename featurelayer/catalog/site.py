"""The project as the pages need it, indexed by name; each index is computed once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

from featurelayer.catalog.chart_data import Chart, build_chart
from featurelayer.catalog.graph import ProjectGraph, build_graph
from featurelayer.catalog.owners import OwnedObjects, TaggedObjects, group_owners, group_tags
from featurelayer.catalog.urls import FeaturePaths, service_path, view_path
from featurelayer.catalog.values import CatalogInput, ExportRun, FeatureChange, SimilarFeature
from featurelayer.dbt.documentation import TestOutcome
from featurelayer.model import Feature, FeatureService, FeatureView, Finding, Severity
from featurelayer.monitor_records import MonitorResult, MonitorStatus, Profile

_T = TypeVar("_T")
_WORD = re.compile(r"[a-z]+|\d+")
_MOST_ALIKE = 4
# A name that more features share does not make any two of them similar.
_CROWD = 20
_ABSENT = {
    "profiles": "Its values have not been profiled yet; run featurelayer monitor.",
    "monitors": "No monitor has run yet; run featurelayer monitor.",
    "exports": "No export has been recorded yet.",
    "changes": "Not compared with an earlier state of the project.",
    "lineage": "The column lineage is unknown; it needs compiled SQL from dbt compile or dbt build.",
    "findings": "The checks have not run.",
}
_WEIGHT = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}
_JUDGED = {MonitorStatus.ERROR: 0, MonitorStatus.WARN: 1, MonitorStatus.SKIPPED: 2, MonitorStatus.PASS: 3}


class Site:
    """The indexes of one catalog."""

    def __init__(self, given: CatalogInput) -> None:
        self.given, self.registry = given, given.registry
        self.paths = FeaturePaths.from_views(self.registry.views.values())
        self.absent = {**_ABSENT, **given.absent}

    @cached_property
    def graph(self) -> ProjectGraph:
        """The graph of the project."""
        return build_graph(self.given)

    @cached_property
    def owners(self) -> Mapping[str, OwnedObjects]:
        """The objects of each owner, by name."""
        return group_owners(self.registry)

    @cached_property
    def tags(self) -> Mapping[str, TaggedObjects]:
        """The objects with each tag."""
        return group_tags(self.registry)

    @cached_property
    def services_of(self) -> Mapping[str, list[tuple[FeatureService, str]]]:
        """By `view.feature`, its services with its first column there."""
        services_by_feature: dict[str, dict[str, tuple[FeatureService, str]]] = {}
        for service in self.registry.services.values():
            for join in service.views:
                for feature in join.features:
                    name = f"{join.view}.{feature}"
                    services_by_feature.setdefault(name, {}).setdefault(service.name, (service, join.column(feature)))
        return {name: list(services.values()) for name, services in services_by_feature.items()}

    @cached_property
    def services_of_view(self) -> Mapping[str, list[FeatureService]]:
        """By view, the services that join it."""
        pairs = [(join.view, service) for service in self.registry.services.values() for join in service.views]
        services_by_view: dict[str, dict[str, FeatureService]] = {}
        for view, service in pairs:
            services_by_view.setdefault(view, {})[service.name] = service
        return {view: list(services.values()) for view, services in services_by_view.items()}

    @cached_property
    def tests_of(self) -> Mapping[str, list[TestOutcome]]:
        """By unique id of a model, its data tests."""
        return group_by(self.given.tests, lambda test: test.model)

    @cached_property
    def findings_of(self) -> Mapping[str, list[Finding]]:
        """By name of the object, the findings of the checks, gravest first."""
        ordered = sorted(self.given.findings or (), key=lambda finding: (_WEIGHT[finding.severity], finding.code))
        # The page shows the name already.
        ordered = [replace(each, message=each.message.removeprefix(f"{each.name}: ")) for each in ordered]
        return group_by(ordered, lambda finding: finding.name)

    @cached_property
    def latest_monitors(self) -> list[MonitorResult]:
        """The newest result of every monitor, worst first."""
        newest = {(each.view, each.feature, each.monitor, each.metric): each for each in self.given.monitors}
        return sorted(newest.values(), key=lambda each: (_JUDGED[each.status], each.name, each.monitor))

    @cached_property
    def monitors_of(self) -> Mapping[str, list[MonitorResult]]:
        """By `view` or `view.feature`, the newest results of monitors."""
        return group_by(self.latest_monitors, lambda each: each.name)

    @cached_property
    def exports_of(self) -> Mapping[str, list[ExportRun]]:
        """By view, its exports, newest first."""
        ordered = sorted(self.given.exports, key=lambda run: (run.started_at, run.run), reverse=True)
        return group_by(ordered, lambda run: run.view)

    @cached_property
    def changes_of(self) -> Mapping[str, list[FeatureChange]]:
        """By `view` or `view.feature`, its changes."""
        return group_by(
            self.given.changes or (), lambda each: f"{each.view}.{each.feature}" if each.feature else each.view
        )

    @cached_property
    def lookalikes(self) -> Mapping[str, list[SimilarFeature]]:
        """By `view.feature`, other features with the same computation or a similar name."""
        pairs: dict[str, dict[str, str]] = {}
        names = [(view.id, feature.name) for view in self.registry.views.values() for feature in view.features]
        prints = {name: lineage.fingerprint for name, lineage in self.given.lineage.items() if lineage.fingerprint}
        computed = group_by(prints, lambda name: prints[name])
        alike = group_by(names, lambda name: " ".join(sorted(_WORD.findall(name[1].casefold()))) or name[1])
        for same in computed.values():
            _add_pairs(pairs, same, lambda _one, _other: "the same computation")
        for group in alike.values():
            if len(group) > _CROWD:
                continue
            full = [f"{view}.{feature}" for view, feature in group]
            _add_pairs(
                pairs,
                full,
                lambda one, other: "the same name" if _last_part(one) == _last_part(other) else "a similar name",
            )
        return {
            name: [SimilarFeature(name=other, reason=reason) for other, reason in others.items()][:_MOST_ALIKE]
            for name, others in pairs.items()
        }

    @cached_property
    def _profiles(self) -> Mapping[str, list[Profile]]:
        return group_by(self.given.profiles, lambda profile: f"{profile.view}.{profile.feature}")

    def description(self, unique_id: str) -> str:
        """Return the dbt description of a model or source, or ""."""
        model = self.given.models.get(unique_id)
        return self.given.descriptions.get(unique_id) or (model.description if model else "")

    def chart(self, name: str) -> Chart | None:
        """Return the chart of `view.feature`, if it was profiled."""
        return build_chart(self._profiles.get(name, ()))

    def href(self, name: str) -> str | None:
        """Return the URL of a view, feature or service by its name, or None if it has no page."""
        if name in self.registry.views:
            return view_path(name)
        if name in self.registry.services:
            return service_path(name)
        return self.paths.find(name)

    def features(self) -> Iterable[tuple[FeatureView, Feature]]:
        """Return all features with their views."""
        return ((view, feature) for view in self.registry.views.values() for feature in view.features)


def group_by(values: Iterable[_T], key: Callable[[_T], str]) -> dict[str, list[_T]]:
    """Group values by key, keeping their order."""
    groups: dict[str, list[_T]] = {}
    for value in values:
        groups.setdefault(key(value), []).append(value)
    return groups


def _add_pairs(found: dict[str, dict[str, str]], names: list[str], reason: Callable[[str, str], str]) -> None:
    """Add every pair of names; of a large group only the first, since a page shows only a few."""
    for one in names if len(names) > 1 else ():
        for other in names[: _MOST_ALIKE + 1]:
            if other != one:
                found.setdefault(one, {}).setdefault(other, reason(one, other))


def _last_part(name: str) -> str:
    return name.rpartition(".")[2]
