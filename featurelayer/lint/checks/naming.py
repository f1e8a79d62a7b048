"""FL61x and FL62x: names in one grammar, with one word for one thing across the project."""

from __future__ import annotations

from collections.abc import Iterator

from featurelayer.lint.base import AT, Hit, check
from featurelayer.lint.feature_names import FeatureName
from featurelayer.lint.project import LintProject
from featurelayer.lint.vocabulary import DIMENSIONS, is_ambiguous
from featurelayer.model import Severity


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
        if (
            (name.sure or name.window is not None)
            and not names.words.follows_grammar(name)
            and (wanted := names.standard(named))
        ):
            grammar = project.settings.naming.grammar
            yield named.finding(f"its name is not {grammar}, as in '{wanted}'", _rename(wanted))


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
    for named in names.all:
        word = named.name.aggregate
        if word and named.name.sure and word != (wanted := names.aggregate_word(word)):
            source = names.convention_source(names.words.aggregate(word), names.words.own_aggregates)
            said = f"for what is '{wanted}' {source}"
            yield named.finding(f"its name says '{word}' {said}", _rename(names.standard(named)))


@check(
    "FL613",
    Severity.WARNING,
    "One window is written in several ways",
    why="`7d` and `1w` are one window, and a reader has to find that out for each pair of names.",
    fix="Write it in one way; `lint.naming.windows` in featurelayer.yml says which.",
)
def window_spellings(project: LintProject) -> Iterator[Hit]:
    """`last_week` in a project that mostly writes `7d`."""
    names = project.names
    for named in names.all:
        window = named.name.window
        if window is None or window.seconds is None:
            continue
        wanted = names.window_spelling[window.seconds]
        if window.text != wanted:
            better = names.standard(named)
            what = f"its window is written '{window.text}', elsewhere it is '{wanted}'"
            yield named.finding(what, _rename(better))


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
            better = names.standard(named, usual_length=True)
            what = f"its window '{window.text}' is nearly the '{wanted}' of {other.id}"
            yield named.finding(
                what, f"If that is what is meant, make it {wanted}. {_rename(better)}", others=[other.id]
            )


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
        window = named.name.window
        if window is None or window.seconds is not None:
            continue
        if is_ambiguous(window.text):
            number = window.text[:-1]
            what = f"'{window.text}' in its name may be {number} minutes or {number} months"
            yield named.finding(what, f"Write '{number}min' or '{number}mo'.")
        else:
            better = names.standard(named)
            fix = f"If that is days, rename it to '{better}'." if better else "Write the unit."
            yield named.finding(f"its name does not say of what there are {window.text}", fix)


@check(
    "FL616",
    Severity.WARNING,
    "One unit is written in several ways",
    why="`min`, `mins` and `minutes` are one unit, and no program can tell.",
    fix="Write it in one way; `lint.naming.units` in featurelayer.yml says which.",
)
def unit_spellings(project: LintProject) -> Iterator[Hit]:
    """`unit: mins` in a project that mostly writes `minutes`."""
    names = project.names
    for named in names.all:
        unit = named.feature.unit
        if unit and unit != (wanted := names.unit_word(unit)):
            said = names.convention_source(names.words.unit(unit), names.words.own_units)
            yield named.finding(f"its unit is '{unit}', which is '{wanted}' {said}", f"Write `unit: {wanted}`.",
                            key=f"{AT}.unit")  # fmt: skip


@check(
    "FL617",
    Severity.WARNING,
    "One thing is measured in several units",
    why="A model that was trained on minutes takes seconds without complaint.",
    fix="Measure it in one unit, or say the unit in the name.",
)
def inconsistent_units(project: LintProject) -> Iterator[Hit]:
    """Features with the same words that say what they are, in units of one dimension (minutes and hours)."""
    names = project.names
    used: dict[tuple[str, ...], dict[str, FeatureName]] = {}
    for named in names.all:
        unit = names.words.unit(named.feature.unit)
        if any(unit in dimension for dimension in DIMENSIONS):
            used.setdefault(names.subject(named), {}).setdefault(unit, named)
    for named in names.all:
        unit = names.words.unit(named.feature.unit)
        same = used.get(names.subject(named), {})
        for other, first in same.items():
            together = any(unit in dimension and other in dimension for dimension in DIMENSIONS)
            if together and unit != other and list(same).index(unit) > list(same).index(other):
                yield named.finding(f"it is in {unit}, '{first.id}' is in {other}", "Measure both in one unit.",
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
            yield named.finding(what, "Correct the name or `unit`.", key=f"{AT}.unit")


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
                yield named.finding(f"its name has the word '{word}', which names may not have", fix)
        for kind, wanted in naming.required.items():
            if kind in ("all", str(named.feature.dtype.kind)) and not {word.casefold() for word in wanted} & set(said):
                listed = ", ".join(f"'{word}'" for word in wanted)
                subject = "a name" if kind == "all" else f"the name of a {kind}"
                yield named.finding(f"it has none of the words that {subject} must have: {listed}",
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
    groups: dict[tuple[object, ...], dict[str, FeatureName]] = {}
    for named in names.all:
        group = groups.setdefault(names.meaning(named), {})
        twin = next((other for other in group.values() if _is_same_meaning(named, other)), None)
        if twin is not None:
            fuller = max(twin, named, key=lambda one: len("".join(one.name.what)))
            wanted = names.standard(fuller, usual_length=True)
            as_named = f", as '{wanted}'" if wanted else ""
            yield named.finding(f"its name means the same as '{twin.id}'",
                            f"Keep one of them{as_named}; or name them by what they differ in.",
                            others=[twin.id])  # fmt: skip
        else:
            group.setdefault(named.feature.name, named)


def _rename(better: str) -> str:
    return f"Rename it to '{better}'." if better else "Rename it."


def _is_same_meaning(named: FeatureName, other: FeatureName) -> bool:
    if named.feature.name == other.feature.name:
        return False  # one name in two views: whether they are one feature shows in what they compute
    if named.view.name == other.view.name and named.view.id != other.view.id:
        return False  # versions of one model
    mine, theirs = named.name.window, other.name.window
    # 28d and 30d in one style are told apart on purpose; that they are near is another check's.
    clear = mine is not None and theirs is not None and mine.text == mine.short and theirs.text == theirs.short
    return not (clear and mine != theirs)
