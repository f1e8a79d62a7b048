"""FL61x and FL62x: names in one grammar, with one word for one thing across the project."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from featurelayer.lint.base import AT, Hit, check, of_feature
from featurelayer.lint.project import LintProject
from featurelayer.lint.vocabulary import DIMENSIONS, Name, Vocabulary, Window, is_ambiguous
from featurelayer.model import Feature, FeatureView, Severity

_NEARLY = 1.12


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A feature and its name in parts."""

    view: FeatureView
    feature: Feature
    name: Name

    @property
    def id(self) -> str:
        return f"{self.view.id}.{self.feature.name}"

    def hit(self, message: str, fix: str, *, key: str = "", others: Sequence[str] = ()) -> Hit:
        return of_feature(self.view, self.feature, message, key=key, fix=fix, others=tuple(others))


class Names:
    """All features' names in their parts, read once for all checks of a project."""

    def __init__(self, project: LintProject) -> None:
        self.words = Vocabulary(project.settings.naming)
        self.all = [
            Named(view=view, feature=feature, name=self.words.read(feature.name, feature.unit))
            for view in project.views.values()
            if not view.deprecated
            for feature in view.features
            if not feature.deprecated
        ]

    @cached_property
    def window_spelling(self) -> Mapping[int, str]:
        """For each length the word for it: the project's own, else the most used one, else the shortest."""
        found: dict[int, Counter[str]] = {}
        for window in self.windows:
            if window.seconds is not None:
                found.setdefault(window.seconds, Counter())[window.text] += 1
        own = {self.words.read(f"x_{word}").window: word for word in self.words.own_windows}
        fixed = {window.seconds: word for window, word in own.items() if window and window.seconds is not None}
        return {seconds: fixed.get(seconds) or _most_used(counts) for seconds, counts in found.items()}

    @cached_property
    def windows(self) -> list[Window]:
        """Every window in a name, one for each feature that has it."""
        return [named.name.window for named in self.all if named.name.window is not None]

    @cached_property
    def lengths(self) -> Mapping[int, int]:
        """For each length the one of those that are nearly as long which most features have."""
        counts = Counter(window.seconds for window in self.windows if window.seconds is not None)
        groups: list[list[int]] = []
        for seconds in sorted(counts):
            if groups and seconds <= groups[-1][0] * _NEARLY:
                groups[-1].append(seconds)
            else:
                groups.append([seconds])
        return {
            seconds: max(group, key=lambda length: (counts[length], -length)) for group in groups for seconds in group
        }


def _most_used(counts: Counter[str]) -> str:
    return min(counts, key=lambda word: (-counts[word], len(word), word))


@check(
    "FL611",
    Severity.WARNING,
    "A name's parts do not stand in the order of the grammar",
    why="Names that begin with what they are about sort together and are found; half of each kind is neither.",
    fix="Rename it, or set `lint.naming.grammar` in featurelayer.yml to the order that you use.",
)
def order(project: LintProject) -> Iterator[Hit]:
    """A name with an aggregate or a window in another place; `max_speed`, which may be a property, is let be."""
    names = project.names
    for named in names.all:
        name = named.name
        if (name.sure or name.window is not None) and name.what and not names.words.in_order(name):
            wanted = names.words.suggest(name)
            grammar = project.settings.naming.grammar
            yield named.hit(f"its name is not {grammar}, as in '{wanted}'", f"Rename it to '{wanted}'.")


@check(
    "FL612",
    Severity.WARNING,
    "One aggregate has several words",
    why="Who looks for `mean` does not find `avg`, and makes the feature a second time.",
    fix="Use one word; `lint.naming.aggregates` in featurelayer.yml says which.",
)
def aggregates(project: LintProject) -> Iterator[Hit]:
    """`avg` in a project whose names mostly say `mean`."""
    names = project.names
    used: dict[str, Counter[str]] = {}
    for named in names.all:
        if named.name.aggregate and named.name.sure:
            used.setdefault(names.words.aggregate(named.name.aggregate), Counter())[named.name.aggregate] += 1
    for named in names.all:
        word = named.name.aggregate
        if not word or not named.name.sure:
            continue
        standard = names.words.aggregate(word)
        wanted = standard if standard in names.words.own_aggregates else _most_used(used[standard])
        if word != wanted:
            said = "in featurelayer.yml" if standard in names.words.own_aggregates else "in most other names"
            better = names.words.suggest(named.name, aggregate=wanted)
            yield named.hit(f"its name says '{word}' for what is '{wanted}' {said}", f"Rename it to '{better}'.")


@check(
    "FL613",
    Severity.WARNING,
    "One window is written in several ways",
    why="`7d` and `1w` are one window, and a reader has to find that out for each pair of names.",
    fix="Write it in one way; `lint.naming.windows` in featurelayer.yml says which.",
)
def spelled_windows(project: LintProject) -> Iterator[Hit]:
    """`last_week` in a project that mostly writes `7d`."""
    names = project.names
    for named in names.all:
        window = named.name.window
        if window is None or window.seconds is None:
            continue
        wanted = names.window_spelling[window.seconds]
        if window.text != wanted:
            better = names.words.suggest(named.name, window=wanted)
            what = f"its window is written '{window.text}', elsewhere it is '{wanted}'"
            yield named.hit(what, f"Rename it to '{better}'.")


@check(
    "FL614",
    Severity.WARNING,
    "Two windows are nearly as long",
    why="30 days, four weeks and a month can't be compared, and nobody remembers which feature has which.",
    fix="Choose one length; or ignore this with the reason for both.",
)
def near_windows(project: LintProject) -> Iterator[Hit]:
    """`28d` or `last_month` in a project whose names mostly say `30d`; up to an eighth is near."""
    names = project.names
    example = {named.name.window.seconds: named for named in reversed(names.all) if named.name.window}
    for named in names.all:
        window = named.name.window
        if window is None or window.seconds is None:
            continue
        usual = names.lengths[window.seconds]
        if usual != window.seconds:
            other = example[usual]
            wanted = names.window_spelling[usual]
            better = names.words.suggest(named.name, window=wanted)
            what = f"its window '{window.text}' is nearly the '{wanted}' of {other.id}"
            yield named.hit(what, f"Make it {wanted}, as '{better}', if that is what is meant.", others=[other.id])


@check(
    "FL615",
    Severity.WARNING,
    "A window does not say its unit",
    why="`_30` may be days, minutes or rows, `_3m` months or minutes.",
    fix="Write the unit: `30d`, `3mo`, `3min`.",
)
def windows_without_unit(project: LintProject) -> Iterator[Hit]:
    """A bare number, or a number with `m`, at the end of a name that has an aggregate."""
    names = project.names
    for named in names.all:
        name = named.name
        if not name.aggregate:
            continue
        if name.window is not None and name.window.seconds is None:
            better = names.words.suggest(name)
            what = f"its name does not say of what there are {name.window.text}"
            yield named.hit(what, f"If that is days, rename it to '{better}'.")
        elif name.window is None and name.what and is_ambiguous(name.what[-1]):
            number = name.what[-1][:-1]
            what = f"'{name.what[-1]}' in its name may be {number} minutes or {number} months"
            yield named.hit(what, f"Write '{number}min' or '{number}mo'.")


@check(
    "FL616",
    Severity.WARNING,
    "One unit is written in several ways",
    why="`min`, `mins` and `minutes` are one unit, and no program can tell.",
    fix="Write it in one way; `lint.naming.units` in featurelayer.yml says which.",
)
def spelled_units(project: LintProject) -> Iterator[Hit]:
    """`unit: mins` in a project that mostly writes `minutes`."""
    names = project.names
    used: dict[str, Counter[str]] = {}
    for named in names.all:
        if named.feature.unit:
            used.setdefault(_folded(names, named.feature.unit), Counter())[named.feature.unit] += 1
    for named in names.all:
        unit = named.feature.unit
        if not unit:
            continue
        standard = names.words.unit(unit)
        is_own = standard in names.words.own_units
        wanted = standard if is_own else _most_used(used[_folded(names, unit)])
        if unit != wanted:
            said = "in featurelayer.yml" if is_own else "elsewhere"
            yield named.hit(f"its unit is '{unit}', which is '{wanted}' {said}", f"Write `unit: {wanted}`.",
                            key=f"{AT}.unit")  # fmt: skip


def _folded(names: Names, unit: str) -> str:
    return names.words.unit(unit).casefold()


@check(
    "FL617",
    Severity.WARNING,
    "One thing is measured in several units",
    why="A model that was trained on minutes takes seconds without complaint.",
    fix="Measure it in one unit, or say the unit in the name.",
)
def mixed_units(project: LintProject) -> Iterator[Hit]:
    """Features with the same words that say what they are, in units of one dimension (minutes and hours)."""
    names = project.names
    used: dict[tuple[str, ...], dict[str, Named]] = {}
    for named in names.all:
        unit = names.words.unit(named.feature.unit)
        if any(unit in dimension for dimension in DIMENSIONS):
            used.setdefault(_about(names, named.name), {}).setdefault(unit, named)
    for named in names.all:
        unit = names.words.unit(named.feature.unit)
        same = used.get(_about(names, named.name), {})
        for other, first in same.items():
            together = any(unit in dimension and other in dimension for dimension in DIMENSIONS)
            if together and unit != other and list(same).index(unit) > list(same).index(other):
                yield named.hit(f"it is in {unit}, '{first.id}' is in {other}", "Measure both in one unit.",
                                key=f"{AT}.unit", others=[first.id])  # fmt: skip
                break


@check(
    "FL618",
    Severity.WARNING,
    "A name says another unit than the feature",
    why="One of the two is wrong, and readers believe the name.",
    fix="Correct the name or `unit`.",
)
def contradicting_unit(project: LintProject) -> Iterator[Hit]:
    """`amount_usd` with `unit: EUR`: the last word of what it is about is a unit of the same dimension."""
    names = project.names
    for named in names.all:
        said = named.name.unit or (named.name.what[-1] if len(named.name.what) > 1 else "")
        in_name, declared = names.words.unit(said), names.words.unit(named.feature.unit)
        if not said or not names.words.is_unit(said) or in_name == declared:
            continue
        if any(in_name in dimension and declared in dimension for dimension in DIMENSIONS):
            what = f"its name says {in_name}, its unit is {declared}"
            yield named.hit(what, "Correct the name or `unit`.", key=f"{AT}.unit")


@check(
    "FL619",
    Severity.WARNING,
    "A name has a word that it may not have, or lacks one that it must have",
    why="The project's own rules for names, from `lint.naming` in featurelayer.yml.",
    fix="Rename it.",
)
def words(project: LintProject) -> Iterator[Hit]:
    """`forbidden` words, and `required` ones for a feature's type."""
    naming = project.settings.naming
    forbidden = {word.casefold(): instead for word, instead in naming.forbidden.items()}
    for named in project.names.all:
        said = named.feature.name.casefold().split("_")
        for word in dict.fromkeys(said):
            if word in forbidden:
                fix = f"Rename it: say {forbidden[word]}." if forbidden[word] else "Rename it."
                yield named.hit(f"its name has the word '{word}', which names may not have", fix)
        for kind, wanted in naming.required.items():
            if kind in ("all", str(named.feature.dtype.kind)) and not {word.casefold() for word in wanted} & set(said):
                listed = ", ".join(f"'{word}'" for word in wanted)
                subject = "a name" if kind == "all" else f"the name of a {kind}"
                yield named.hit(f"it has none of the words that {subject} must have: {listed}",
                                f"Rename it, as in '{wanted[0]}_{named.feature.name}'.")  # fmt: skip


@check(
    "FL620",
    Severity.WARNING,
    "Two names mean the same thing",
    why="`avg_val_30` and `average_value_last_month` are one feature made twice, or two that nobody can tell apart.",
    fix="Keep one of them and say `deprecated: {replaced_by: ...}` of the other; or name them by what they differ in.",
)
def near_names(project: LintProject) -> Iterator[Hit]:
    """Features of the same entities whose names are equal in standard words, abbreviations and windows."""
    names = project.names
    first: dict[tuple[object, ...], list[Named]] = {}
    for named in names.all:
        group = first.setdefault(_meaning(names, named), [])
        twin = next((other for other in group if _is_twin(named, other)), None)
        if twin is not None:
            wanted = names.words.suggest(twin.name, window=_usual_window(names, twin.name.window))
            yield named.hit(f"its name means the same as '{twin.id}'",
                            f"Keep one of them, as '{wanted}'; or name them by what they differ in.",
                            others=[twin.id])  # fmt: skip
        else:
            group.append(named)


def _is_twin(named: Named, other: Named) -> bool:
    if named.feature.name == other.feature.name:
        return False  # one name in two views: whether they are one feature shows in what they compute
    if named.view.name == other.view.name and named.view.id != other.view.id:
        return False  # versions of one model
    mine, theirs = named.name.window, other.name.window
    # 28d and 30d in one style are told apart on purpose; that they are near is another check's.
    clear = mine is not None and theirs is not None and mine.text == mine.short and theirs.text == theirs.short
    return not (clear and mine != theirs)


def _meaning(names: Names, named: Named) -> tuple[object, ...]:
    name = named.name
    window = name.window
    length: object = None
    if window is not None:
        seconds = window.seconds if window.seconds is not None else (window.number or 0) * 86400
        length = next((usual for other, usual in names.lengths.items() if _is_near(other, seconds)), seconds)
    aggregate = names.words.aggregate(name.aggregate) if name.aggregate else ""
    return frozenset(named.view.entities), _about(names, name), aggregate, length


def _is_near(one: int, other: int) -> bool:
    return max(one, other) <= min(one, other) * _NEARLY


def _about(names: Names, name: Name) -> tuple[str, ...]:
    return tuple(names.words.word(word) for word in name.what if word not in ("of", "the", "in", "over"))


def _usual_window(names: Names, window: Window | None) -> str:
    if window is None or window.seconds is None:
        return ""
    return names.window_spelling[names.lengths[window.seconds]]
