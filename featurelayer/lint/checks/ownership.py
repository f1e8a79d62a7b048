"""FL4xx: owners and descriptions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from featurelayer.dbt.project import CONFIG_FILE
from featurelayer.lint.base import check
from featurelayer.lint.findings import feature_finding, service_finding, view_finding
from featurelayer.lint.project import LintProject
from featurelayer.model import Finding, Severity

_WORDS = re.compile(r"[a-z]+|\d+")
_FILLERS = frozenset(
    ("a", "an", "the", "of", "for", "in", "on", "at", "by", "to", "is", "this", "it", "feature", "column", "value",
     "field", "tbd", "todo", "description")
)  # fmt: skip


@check(
    "FL401",
    Severity.WARNING,
    "A view, a service or an entity has no owner",
    why="When its values are wrong, it is unclear who should know and who may change it.",
    fix="Put the model into a dbt group with an owner (`config.group`); set `owner` for an entity in featurelayer.yml.",
)
def owner(project: LintProject) -> Iterator[Finding]:
    """Find views without a group that has an owner, and services and entities without an owner."""
    for view in project.views.values():
        if not str(view.owner).strip():
            yield view_finding(view, "it has no owner", key="config.group")
    for service in project.registry.services.values():
        if not str(service.owner).strip():
            yield service_finding(service, "it has no owner", key="owner", fix="Add `owner: {name: ..., email: ...}`.")
    for entity in project.registry.entities.values():
        if not str(entity.owner).strip():
            yield _entity_finding(entity.name, f"entity '{entity.name}' has no owner")


@check(
    "FL402",
    Severity.WARNING,
    "A view, a service or an entity has no description",
    why="A name does not tell what one row stands for, and since when.",
    fix="Add `description`: what a row is, and when it is known.",
)
def view_description(project: LintProject) -> Iterator[Finding]:
    """Find views, services and entities without `description`."""
    for view in project.views.values():
        if not view.description:
            yield view_finding(view, "it has no description", key="description")
    for service in project.registry.services.values():
        if not service.description:
            yield service_finding(service, "it has no description", key="description")
    for entity in project.registry.entities.values():
        if not entity.description:
            yield _entity_finding(entity.name, f"entity '{entity.name}' has no description")


@check(
    "FL403",
    Severity.WARNING,
    "A feature has no description",
    why="People who find it by name can't tell what it counts, and build another one.",
    fix="Add `description` to the column: what it is, of which rows, in which unit, and what NULL means.",
)
def feature_description(project: LintProject) -> Iterator[Finding]:
    """Find features without `description`."""
    for view in project.views.values():
        for feature in view.features:
            if not feature.description:
                yield feature_finding(view, feature, "it has no description")


@check(
    "FL404",
    Severity.WARNING,
    "A description only repeats the name",
    why="It seems documented but adds nothing to the name.",
    fix="Describe what the name can't: of which rows, in which unit, what NULL means.",
)
def description_repeats_name(project: LintProject) -> Iterator[Finding]:
    """Find descriptions whose words are all in the name, apart from small ones such as `the`."""
    for view in project.views.values():
        if view.description and _repeats(view.description, view.name):
            yield view_finding(view, f"its description '{_short(view.description)}' only repeats its name",
                          key="description")  # fmt: skip
        for feature in view.features:
            if feature.description and _repeats(feature.description, f"{feature.name} {view.name}"):
                what = f"its description '{_short(feature.description)}' only repeats its name"
                yield feature_finding(view, feature, what, key="description")


@check(
    "FL405",
    Severity.NOTE,
    "Two features of a view have the same description",
    why="One was probably copied, and describes the other feature.",
    fix="Describe how the two differ.",
)
def same_description(project: LintProject) -> Iterator[Finding]:
    """Find features of one view with the same description."""
    for view in project.views.values():
        first: dict[str, str] = {}
        for feature in view.features:
            text = " ".join(feature.description.casefold().split())
            other = first.setdefault(text, feature.name)
            if text and other != feature.name:
                what = f"it has the same description as '{other}'"
                yield feature_finding(view, feature, what, key="description", others=(f"{view.id}.{other}",))


def _entity_finding(name: str, message: str) -> Finding:
    return Finding(message=message, name=name, file=CONFIG_FILE, key=f"entities.{name}")


def _repeats(description: str, name: str) -> bool:
    known = {_stem(word) for word in _WORDS.findall(name.casefold().replace("_", " "))} | {name.casefold()}
    words = _WORDS.findall(description[:500].casefold().replace("_", " "))
    return all(_stem(word) in known or word in _FILLERS for word in words)


def _stem(word: str) -> str:
    return word.removesuffix("s")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."
