"""FL4xx: who answers for a feature, and what it says about itself."""

from __future__ import annotations

import re
from collections.abc import Iterator

from featurelayer.dbt.project import CONFIG_FILE
from featurelayer.lint.base import Hit, check, feature_finding, service_finding, view_finding
from featurelayer.lint.project import LintProject
from featurelayer.model import Severity

_WORDS = re.compile(r"[a-z]+|\d+")
_FILLERS = frozenset(
    ("a", "an", "the", "of", "for", "in", "on", "at", "by", "to", "is", "this", "it", "feature", "column", "value",
     "field", "tbd", "todo", "description")
)  # fmt: skip


@check(
    "FL401",
    Severity.WARNING,
    "Nobody owns a view, a service or an entity",
    why="When its values are wrong, nobody is told, and nobody may change it.",
    fix="Put the model into a dbt group with an owner (`config.group`); an entity has `owner` in featurelayer.yml.",
)
def owner(project: LintProject) -> Iterator[Hit]:
    """A view without a group that has an owner, a service or an entity without owner."""
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
    why="What one row stands for, and from when on, is in no name.",
    fix="Add `description`: what a row is, and when it is known.",
)
def view_description(project: LintProject) -> Iterator[Hit]:
    """A view, service or entity without `description`."""
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
    why="Who finds it by its name can't know what it counts, and makes another one.",
    fix="Add `description` to the column: what it is, of which rows, in which unit, and what NULL means.",
)
def feature_description(project: LintProject) -> Iterator[Hit]:
    """A feature without `description`."""
    for view in project.views.values():
        for feature in view.features:
            if not feature.description:
                yield feature_finding(view, feature, "it has no description")


@check(
    "FL404",
    Severity.WARNING,
    "A description only repeats the name",
    why="It looks documented and says nothing that the name has not said.",
    fix="Say what the name can't: of which rows, in which unit, what NULL means.",
)
def description_repeats_name(project: LintProject) -> Iterator[Hit]:
    """A description whose words are all in the name, but for small ones such as `the`."""
    for view in project.views.values():
        if view.description and _repeats(view.description, view.name):
            yield view_finding(view, f"its description, '{_short(view.description)}', only repeats its name",
                          key="description")  # fmt: skip
        for feature in view.features:
            if feature.description and _repeats(feature.description, f"{feature.name} {view.name}"):
                what = f"its description, '{_short(feature.description)}', only repeats its name"
                yield feature_finding(view, feature, what, key="description")


@check(
    "FL405",
    Severity.NOTE,
    "Two features of a view have one description",
    why="One of them was copied, and says what the other one is.",
    fix="Say what tells the two apart.",
)
def same_description(project: LintProject) -> Iterator[Hit]:
    """Features of one view with the same description."""
    for view in project.views.values():
        first: dict[str, str] = {}
        for feature in view.features:
            said = " ".join(feature.description.casefold().split())
            other = first.setdefault(said, feature.name)
            if said and other != feature.name:
                what = f"its description is that of '{other}'"
                yield feature_finding(view, feature, what, key="description", others=(f"{view.id}.{other}",))


def _entity_finding(name: str, message: str) -> Hit:
    return Hit(message=message, name=name, file=CONFIG_FILE, key=f"entities.{name}")


def _repeats(description: str, name: str) -> bool:
    known = {_stem(word) for word in _WORDS.findall(name.casefold().replace("_", " "))} | {name.casefold()}
    said = _WORDS.findall(description[:500].casefold().replace("_", " "))
    return all(_stem(word) in known or word in _FILLERS for word in said)


def _stem(word: str) -> str:
    return word.removesuffix("s")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."
