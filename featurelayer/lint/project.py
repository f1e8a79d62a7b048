"""The project that checks read: its annotations, valid or not, and dbt's own nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurelayer.dbt.inventory import DataTest, Inventory
from featurelayer.dbt.yaml_lines import Lines
from featurelayer.errors import Problem
from featurelayer.lint.feature_names import FeatureNames
from featurelayer.lint.settings import LintBlock
from featurelayer.model import FeatureView
from featurelayer.registry import Registry

if TYPE_CHECKING:
    from featurelayer.dbt.lineage import MissingColumn
    from featurelayer.lint.lineage import LintLineage


@dataclass(frozen=True, kw_only=True)
class LintProject:
    """The input of a check.

    `registry` holds the usable views and services; `views` are all annotated models, also those with problems, as far
    as they could be read. `inventory` has dbt's nodes, sources and tests with their SQL, each decoded on first use.
    `problems` were found while reading, `project_settings` is dbt_project.yml, `lines` finds lines in the YAML.
    """

    registry: Registry
    views: Mapping[str, FeatureView]
    inventory: Inventory
    settings: LintBlock
    problems: tuple[Problem, ...] = ()
    project_settings: Mapping[str, Any] = field(default_factory=dict)
    lines: Lines = field(default_factory=lambda: Lines(Path()))

    def tests(self, view: FeatureView) -> tuple[DataTest, ...]:
        """Return the enabled data tests that are declared on the view's model."""
        return self.inventory.tests.get(view.unique_id, ())

    @cached_property
    def names(self) -> FeatureNames:
        """The features' names, parsed."""
        return FeatureNames(self.views, self.settings.naming)

    @cached_property
    def feature_lineage(self) -> LintLineage:
        """The column lineage of all features, by the compiled SQL of their models and of all upstream models."""
        from featurelayer.lint.lineage import trace_features

        return trace_features(self.inventory, self.views, self.registry.adapter)

    @cached_property
    def missing_columns(self) -> Mapping[str, tuple[MissingColumn, ...]]:
        """The declared columns that a view's model does not produce, by the view's id."""
        if not self.has_sql and not self.inventory.path.with_name("catalog.json").is_file():
            return {}
        from featurelayer.dbt.lineage import find_missing_columns

        adapter, views = self.registry.adapter, tuple(self.views.values())
        return find_missing_columns(self.inventory, self.feature_lineage.lineage, views, adapter=adapter)

    @cached_property
    def has_sql(self) -> bool:
        """Whether dbt has compiled the model of any view."""
        models = (self.inventory.model(view.unique_id) for view in self.views.values())
        return any(model is not None and model.compiled_sql for model in models)
