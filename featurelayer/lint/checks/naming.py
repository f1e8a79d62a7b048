"""FL61x and FL62x: one naming grammar, and one word per concept across the project."""

from __future__ import annotations

from collections.abc import Iterator

from featurelayer.dbt.block import AT
from featurelayer.lint.base import check
from featurelayer.lint.feature_names import FeatureName
from featurelayer.lint.project import LintProject
from featurelayer.lint.vocabulary import DIMENSIONS, is_ambiguous
from featurelayer.model import Finding, Severity


@check(
    "FL611",
    Severity.WARNING,
    "The parts of a name are not in the order of the naming grammar",
    why="Names that start with their subject sort together and are easy to find; a mix of orders is neither.",
    fix="Rename it, or set `lint.naming.grammar` in featurelayer.yml to the order that you use.",
)
def order(project: LintProject) -> Iterator[Finding]:
    """Find names with an aggregate or window out of order; `max_speed` may be a property and is skipped."""
    names = project.names
    for named in names.all:
        name = named.name
        if (
            (name.sure or name.window is not None)
            and not names.words.follows_grammar(name)
            and (wanted := names.standard(named))
        ):
            grammar = project.settings.naming.grammar
            yield named.finding(f"its name does not follow {grammar}, as in '{wanted}'", _rename(wanted))


@check(
    "FL612",
    Severity.WARNING,
    "One aggregate has several words",
    why="A search for `mean` does not find `avg`, so the feature is built a second time.",
    fix="Use one word; set it in `lint.naming.aggregates` in featurelayer.yml.",
)
def aggregates(project: LintProject) -> Iterator[Finding]:
    """Find `avg` in a project whose names mostly use `mean`."""
    names = project.names
    for named in names.all:
        word = named.name.aggregate
        if word and named.name.sure and word != (wanted := names.aggregate_word(word)):
            source = names.convention_source(names.words.aggregate(word), names.words.own_aggregates)
            yield named.finding(f"its name has '{word}', which is '{wanted}' {source}", _rename(names.standard(named)))


@check(
    "FL613",
    Severity.WARNING,
    "One window is written in several ways",
    why="`7d` and `1w` are the same window, which readers have to work out for each pair of names.",
    fix="Write it in one way; set it in `lint.naming.windows` in featurelayer.yml.",
)
def window_spellings(project: LintProject) -> Iterator[Finding]:
    """Find `last_week` in a project that mostly writes `7d`."""
    names = project.names
    for named in names.all:
        window = named.name.window
        if window is None or window.seconds is None:
            continue
        wanted = names.window_spelling[window.seconds]
        if window.text != wanted:
            better = names.standard(named)
            what = f"its window is written '{window.text}', and '{wanted}' elsewhere"
            yield named.finding(what, _rename(better))


@check(
    "FL614",
    Severity.WARNING,
    "Two windows have nearly the same length",
    why="30 days, four weeks and a month can't be compared, and are easy to mix up.",
    fix="Choose one length, or ignore this check with the reason for both.",
)
def near_windows(project: LintProject) -> Iterator[Finding]:
    """Find `28d` or `last_month` in a project whose names mostly use `30d`; a difference up to an eighth is near."""
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
            what = f"its window '{window.text}' is nearly as long as '{wanted}' of {other.id}"
            yield named.finding(what, f"If both mean the same, use {wanted}. {_rename(better)}", others=[other.id])


@check(
    "FL615",
    Severity.WARNING,
    "A window has no unit",
    why="`_30` may be days, minutes or rows; `_3m` may be months or minutes.",
    fix="Write the unit: `30d`, `3mo`, `3min`.",
)
def windows_without_unit(project: LintProject) -> Iterator[Finding]:
    """Find a bare number, or a number with `m`, at the end of a name with an aggregate."""
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
            fix = f"If it means days, rename it to '{better}'." if better else "Write the unit."
            yield named.finding(f"the window '{window.text}' in its name has no unit", fix)


@check(
    "FL616",
    Severity.WARNING,
    "One unit is written in several ways",
    why="`min`, `mins` and `minutes` are the same unit, but programs can't tell.",
    fix="Write it in one way; set it in `lint.naming.units` in featurelayer.yml.",
)
def unit_spellings(project: LintProject) -> Iterator[Finding]:
    """Find `unit: mins` in a project that mostly writes `minutes`."""
    names = project.names
    for named in names.all:
        unit = named.feature.unit
        if unit and unit != (wanted := names.unit_word(unit)):
            source = names.convention_source(names.words.unit(unit), names.words.own_units)
            yield named.finding(f"its unit is '{unit}', which is '{wanted}' {source}", f"Write `unit: {wanted}`.",
                            key=f"{AT}.unit")  # fmt: skip


@check(
    "FL617",
    Severity.WARNING,
    "The same quantity is measured in several units",
    why="A model trained on minutes accepts seconds without complaint.",
    fix="Measure it in one unit, or put the unit in the name.",
)
def inconsistent_units(project: LintProject) -> Iterator[Finding]:
    """Find features with the same subject in different units of one dimension (minutes and hours)."""
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
    "The unit in a name contradicts the feature's unit",
    why="One of the two is wrong, and readers trust the name.",
    fix="Correct the name or `unit`.",
)
def contradicting_unit(project: LintProject) -> Iterator[Finding]:
    """Find `amount_usd` with `unit: EUR`: a unit of the same dimension in the name."""
    names = project.names
    for named in names.all:
        suffix = named.name.unit or (named.name.what[-1] if len(named.name.what) > 1 else "")
        in_name, declared = names.words.unit(suffix), names.words.unit(named.feature.unit)
        if not suffix or not names.words.is_unit(suffix) or in_name == declared:
            continue
        if any(in_name in dimension and declared in dimension for dimension in DIMENSIONS):
            what = f"its name has the unit {in_name}, its `unit` is {declared}"
            yield named.finding(what, "Correct the name or `unit`.", key=f"{AT}.unit")


@check(
    "FL619",
    Severity.WARNING,
    "A name has a forbidden word, or lacks a required one",
    why="The project's own naming rules, from `lint.naming` in featurelayer.yml.",
    fix="Rename it.",
)
def words(project: LintProject) -> Iterator[Finding]:
    """Find `forbidden` words, and missing `required` words for a feature's type."""
    naming = project.settings.naming
    forbidden = {word.casefold(): instead for word, instead in naming.forbidden.items()}
    for named in project.names.all:
        parts = named.feature.name.casefold().split("_")
        for word in dict.fromkeys(parts):
            if word in forbidden:
                fix = f"Rename it: use {forbidden[word]} instead." if forbidden[word] else "Rename it."
                yield named.finding(f"its name has the forbidden word '{word}'", fix)
        for kind, wanted in naming.required.items():
            if kind in ("all", str(named.feature.dtype.kind)) and not {word.casefold() for word in wanted} & set(parts):
                listed = ", ".join(f"'{word}'" for word in wanted)
                subject = "all names" if kind == "all" else f"the name of a {kind}"
                yield named.finding(f"its name has none of the words required for {subject}: {listed}",
                                f"Rename it, as in '{wanted[0]}_{named.feature.name}'.")  # fmt: skip


@check(
    "FL620",
    Severity.WARNING,
    "Two names mean the same thing",
    why="`avg_val_30` and `average_value_last_month` are one feature built twice, or two that can't be told apart.",
    fix="Keep one and mark the other with `deprecated: {replaced_by: ...}`, or put the difference into the names.",
)
def near_names(project: LintProject) -> Iterator[Finding]:
    """Find features of the same entities whose names are equal in standard words, abbreviations and windows."""
    names = project.names
    groups: dict[tuple[object, ...], dict[str, FeatureName]] = {}
    for named in names.all:
        group = groups.setdefault(names.meaning(named), {})
        same = next((other for other in group.values() if _is_same_meaning(named, other)), None)
        if same is not None:
            fuller = max(same, named, key=lambda one: len("".join(one.name.what)))
            wanted = names.standard(fuller, usual_length=True)
            as_named = f", as '{wanted}'" if wanted else ""
            yield named.finding(f"its name means the same as '{same.id}'",
                            f"Keep one of them{as_named}, or put the difference into the names.",
                            others=[same.id])  # fmt: skip
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
