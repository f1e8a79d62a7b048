"""The project as the checks see it: what the annotations say, whatever is wrong with them, and dbt's own nodes."""

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
from featurelayer.lint.settings import Settings
from featurelayer.model import FeatureView
from featurelayer.registry import Registry

if TYPE_CHECKING:
    from featurelayer.dbt.lineage import MissingColumn
    from featurelayer.lint.lineage import LintLineage


@dataclass(frozen=True, kw_only=True)
class LintProject:
    """What a check may look at.

    `registry` holds what can be used; `views` are all annotated models, also those with problems, as far as they could
    be understood. `inventory` has dbt's nodes, sources and tests with their SQL, decoded when they are asked for.
    `problems` is what reading has found, `project_settings` what dbt_project.yml says, `lines`
    where in the YAML something stands.
    """

    registry: Registry
    views: Mapping[str, FeatureView]
    inventory: Inventory
    settings: Settings
    problems: tuple[Problem, ...] = ()
    project_settings: Mapping[str, Any] = field(default_factory=dict)
    lines: Lines = field(default_factory=lambda: Lines(Path()))

    def tests(self, view: FeatureView) -> tuple[DataTest, ...]:
        """Return the enabled data tests that are declared on the view's model."""
        return self.inventory.tests.get(view.unique_id, ())

    @cached_property
    def names(self) -> FeatureNames:
        """Every feature's name in its parts."""
        return FeatureNames(self.views, self.settings.naming)

    @cached_property
    def traced(self) -> LintLineage:
        """What the features are made of, by the compiled SQL of their models and of all above them."""
        from featurelayer.lint.lineage import trace_features

        return trace_features(self)

    @cached_property
    def missing_columns(self) -> Mapping[str, tuple[MissingColumn, ...]]:
        """The declared columns that a view's model does not produce, by the view's id."""
        if not self.has_sql and not self.inventory.path.with_name("catalog.json").is_file():
            return {}
        from featurelayer.dbt.lineage import find_missing_columns

        adapter, views = self.registry.adapter, tuple(self.views.values())
        return find_missing_columns(self.inventory, self.traced.lineage, views, adapter=adapter)

    @cached_property
    def has_sql(self) -> bool:
        """Whether dbt has compiled the views' models, so that there is SQL to look at."""
        models = (self.inventory.model(view.unique_id) for view in self.views.values())
        return any(model is not None and model.compiled_sql for model in models)
