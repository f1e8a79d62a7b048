"""FL1xx: incomplete and ineffective annotations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from featurelayer.dbt.block import AT
from featurelayer.lint.base import check
from featurelayer.lint.findings import feature_finding, view_finding
from featurelayer.lint.project import LintProject
from featurelayer.model import Finding, Kind, Severity

_IN_SQL = re.compile(r"""config\s*\([^;{}]*\bmeta\s*=\s*\{\s*['"]featurelayer['"]""")
_HEAD = 20_000


@check(
    "FL104",
    Severity.ERROR,
    "The `featurelayer` block is set at two levels, and one of them is lost",
    why="dbt merges `meta` one level deep, so a model's block replaces a folder's `featurelayer` block entirely.",
    fix="Put the folder's keys under `featurelayer_defaults`, which is merged key by key.",
)
def block_at_two_levels(project: LintProject) -> Iterator[Finding]:
    """Find `+meta: {featurelayer: ...}` of folders in dbt_project.yml, and blocks in a model's SQL and YAML."""
    for view in project.views.values():
        model = project.inventory.model(view.unique_id)
        sql = model.raw_sql if model is not None else ""
        if _IN_SQL.search(sql[:_HEAD]) and project.lines.has_key(view.yaml_path, view.id, AT):
            what = f"the block in `config(...)` of {view.path} replaces the one in the YAML"
            yield view_finding(view, what, key=AT, fix="Keep one of the two, preferably the one in the YAML.")
    for kind in ("models", "snapshots", "seeds"):
        for path in _blocks(project.project_settings.get(kind), kind):
            yield Finding(message=f"a folder's `{path}` is lost for models that have a block of their own",
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
    "An ignore has no effect",
    why="It would hide the next finding of that code without a review.",
    fix="Remove it from `ignore`.",
)
def ignore_without_effect(_project: LintProject) -> Iterator[Finding]:
    """Find ignores without effect; the runner reports them after all other checks."""
    yield from ()


@check(
    "FL112",
    Severity.WARNING,
    "A view does not declare how often it is built",
    why="Users of a feature need to know how old its newest value can be.",
    fix="Add `update_frequency`, such as `update_frequency: hourly`.",
)
def update_frequency(project: LintProject) -> Iterator[Finding]:
    """Find views without `update_frequency`."""
    for view in project.views.values():
        if not view.update_frequency.strip():
            yield view_finding(view, "it has no `update_frequency`", key=AT)


@check(
    "FL113",
    Severity.NOTE,
    "A numeric feature has no unit",
    why="A delay of 15 can be minutes or seconds, and a model accepts either.",
    fix="Add `unit`, such as `unit: minutes`; `count` and `share` are units too.",
)
def unit(project: LintProject) -> Iterator[Finding]:
    """Find floating-point and decimal features without `unit`; integers may be codes or counts."""
    for view in project.views.values():
        for feature in view.features:
            if feature.dtype.kind in (Kind.FLOAT, Kind.DECIMAL) and not feature.unit.strip():
                yield feature_finding(view, feature, f"it is {feature.dtype} and has no `unit`")
