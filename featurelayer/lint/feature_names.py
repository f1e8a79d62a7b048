"""The names of all features, parsed, and the words that the project prefers for the same thing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from featurelayer.lint.findings import feature_finding
from featurelayer.lint.settings import NamingBlock
from featurelayer.lint.vocabulary import Name, Vocabulary, Window
from featurelayer.model import Feature, FeatureView, Finding

_NEARLY = 1.12
_SMALL = ("of", "the", "in", "over")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureName:
    """A feature and its parsed name."""

    view: FeatureView
    feature: Feature
    name: Name

    @property
    def id(self) -> str:
        """`view.feature`."""
        return f"{self.view.id}.{self.feature.name}"

    def finding(self, message: str, fix: str, *, key: str = "", others: Sequence[str] = ()) -> Finding:
        """Return a finding about the feature."""
        return feature_finding(self.view, self.feature, message, key=key, fix=fix, others=tuple(others))


class FeatureNames:
    """The names of all features that are not deprecated."""

    def __init__(self, views: Mapping[str, FeatureView], naming: NamingBlock) -> None:
        self.words = Vocabulary(naming)
        self.all = [
            FeatureName(view=view, feature=feature, name=self.words.read(feature.name, feature.unit))
            for view in views.values()
            if not view.deprecated
            for feature in view.features
            if not feature.deprecated
        ]

    # Preferred words

    def aggregate_word(self, word: str) -> str:
        """Return the word to use for an aggregate: the project's own, else the most used one."""
        standard = self.words.aggregate(word)
        used = self._aggregates.get(standard)
        return standard if standard in self.words.own_aggregates or used is None else _most_used(used, standard)

    def unit_word(self, unit: str) -> str:
        """Return the way to write a unit: the project's own, else the most used one."""
        standard = self.words.unit(unit)
        return standard if standard in self.words.own_units else _most_used(self._units[standard.casefold()], standard)

    @staticmethod
    def convention_source(standard: str, own: Collection[str]) -> str:
        """Return where a preferred word comes from: the settings, or other names."""
        return "in featurelayer.yml" if standard in own else "elsewhere"

    @cached_property
    def _aggregates(self) -> Mapping[str, Counter[str]]:
        used: dict[str, Counter[str]] = {}
        for named in self.all:
            if named.name.aggregate and named.name.sure:
                used.setdefault(self.words.aggregate(named.name.aggregate), Counter())[named.name.aggregate] += 1
        return used

    @cached_property
    def _units(self) -> Mapping[str, Counter[str]]:
        used: dict[str, Counter[str]] = {}
        for named in self.all:
            if unit := named.feature.unit:
                used.setdefault(self.words.unit(unit).casefold(), Counter())[unit] += 1
        return used

    # Windows

    @cached_property
    def windows(self) -> list[Window]:
        """Every window in a name, one for each feature that has it."""
        return [named.name.window for named in self.all if named.name.window is not None]

    @cached_property
    def window_spelling(self) -> Mapping[int, str]:
        """The preferred window text for each length: the project's own, else the most used, else the shortest."""
        used: dict[int, Counter[str]] = {}
        for window in self.windows:
            if window.seconds is not None:
                used.setdefault(window.seconds, Counter())[window.text] += 1
        own = ((self.words.read(f"x_{word}").window, word) for word in self.words.own_windows)
        fixed = {window.seconds: word for window, word in own if window is not None and window.seconds is not None}
        short = {window.seconds: window.short for window in self.windows}
        return {seconds: fixed.get(seconds) or _most_used(counts, short[seconds]) for seconds, counts in used.items()}

    @cached_property
    def lengths(self) -> Mapping[int, int]:
        """For each length, the most used of the lengths near it."""
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

    # The meaning of a name

    def standard(self, named: FeatureName, *, usual_length: bool = False) -> str:
        """Return the name in the order of the grammar and in the project's words.

        With `usual_length` its window becomes the most used of those near it.
        """
        name, spelled = named.name, ""
        if name.window is not None and name.window.seconds is not None:
            seconds = self.lengths[name.window.seconds] if usual_length else name.window.seconds
            spelled = self.window_spelling[seconds]
        aggregate = self.aggregate_word(name.aggregate) if name.aggregate else ""
        return self.words.suggest(name, aggregate=aggregate, window=spelled)

    def subject(self, named: FeatureName) -> tuple[str, ...]:
        """Return the subject of the name in standard words."""
        return tuple(self.words.word(word) for word in named.name.what if word not in _SMALL)

    def meaning(self, named: FeatureName) -> tuple[object, ...]:
        """Return a key shared by names of the same meaning and entities; near windows count as equal.

        A window in the view's name, as in `carrier_punctuality_7d`, is that of all its features that have none.
        """
        window: Window | None = named.name.window or self.words.read(named.view.name).window
        length: int | str | None = None
        if window is not None:
            days = None if window.number is None else window.number * 86400
            seconds = days if window.seconds is None else window.seconds
            near = (usual for other, usual in self.lengths.items() if seconds and _is_near(other, seconds))
            length = next(near, seconds or window.text)
        aggregate = self.words.aggregate(named.name.aggregate) if named.name.aggregate else ""
        return frozenset(named.view.entities), self.subject(named), aggregate, length


def _is_near(one: int, other: int) -> bool:
    return max(one, other) <= min(one, other) * _NEARLY


def _most_used(counts: Counter[str], standard: str = "") -> str:
    """Return the most frequent word; among ties the standard one, else the shortest."""
    return min(counts, key=lambda word: (-counts[word], word != standard, len(word), word))
