"""FL1xx: what the annotations say, and what they leave out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from featurelayer.lint.base import AT, Hit, check, feature_finding, view_finding
from featurelayer.lint.project import LintProject
from featurelayer.model import Kind, Severity

_IN_SQL = re.compile(r"""config\s*\([^;{}]*\bmeta\s*=\s*\{\s*['"]featurelayer['"]""")
_HEAD = 20_000


@check(
    "FL104",
    Severity.ERROR,
    "The block stands at two levels, of which one is lost",
    why="dbt merges `meta` one level deep, so a model's own block replaces a folder's `featurelayer` as a whole.",
    fix="Give the folder's keys under `featurelayer_defaults`, which our reader merges key by key.",
)
def block_at_two_levels(project: LintProject) -> Iterator[Hit]:
    """A `+meta: {featurelayer: ...}` for a folder in dbt_project.yml, or a block in a model's SQL beside its YAML's."""
    for view in project.views.values():
        model = project.inventory.model(view.unique_id)
        sql = model.raw_sql if model is not None else ""
        if _IN_SQL.search(sql[:_HEAD]) and project.lines.holds(view.yaml_path, view.id, AT):
            what = f"the block in `config(...)` of {view.path} replaces the one in the YAML"
            yield view_finding(view, what, key=AT, fix="Keep one of the two, best the one in the YAML.")
    for kind in ("models", "snapshots", "seeds"):
        for path in _blocks(project.project_settings.get(kind), kind):
            yield Hit(message=f"a folder's `{path}` is lost where a model has a block of its own",
                      file="dbt_project.yml", key=path)  # fmt: skip


def _blocks(tree: Any, path: str, depth: int = 0) -> Iterator[str]:
    if not isinstance(tree, dict) or depth > 20:
        return
    for key, value in tree.items():
        inner = f"{path}.{key}"
        if key in ("+meta", "meta") and isinstance(value, dict) and "featurelayer" in value:
            yield f"{inner}.featurelayer"
        elif not str(key).startswith("+"):
            yield from _blocks(value, inner, depth + 1)


@check(
    "FL111",
    Severity.WARNING,
    "An ignore excuses nothing",
    why="It hides the next finding of that code, which nobody has looked at.",
    fix="Remove it from `ignore`.",
)
def ignore_without_effect(_project: LintProject) -> Iterator[Hit]:
    """An ignore of a check that finds nothing here; told by the runner, when all others are done."""
    yield from ()


@check(
    "FL112",
    Severity.WARNING,
    "A view does not say how often it is built",
    why="Who uses a feature has to know how old its newest value can be.",
    fix="Add `update_frequency: hourly`, or what is true.",
)
def update_frequency(project: LintProject) -> Iterator[Hit]:
    """A view without `update_frequency`."""
    for view in project.views.values():
        if not view.update_frequency.strip():
            yield view_finding(view, "it has no `update_frequency`", key=AT)


@check(
    "FL113",
    Severity.NOTE,
    "A number has no unit",
    why="A delay of 15 is minutes to one reader and seconds to another, and a model takes either.",
    fix="Add `unit: minutes`, or what is true; `unit: count` and `unit: share` are units, too.",
)
def unit(project: LintProject) -> Iterator[Hit]:
    """A feature of a floating or decimal type without `unit`; whole numbers may be codes or counts."""
    for view in project.views.values():
        for feature in view.features:
            if feature.dtype.kind in (Kind.FLOAT, Kind.DECIMAL) and not feature.unit.strip():
                yield feature_finding(view, feature, f"it is {feature.dtype} and has no `unit`")
