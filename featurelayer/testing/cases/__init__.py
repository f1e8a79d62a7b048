"""The named cases: each one thing that point-in-time joins get wrong, small enough to read."""

from __future__ import annotations

from featurelayer.testing.case import Case
from featurelayer.testing.cases import as_served as served
from featurelayer.testing.cases import clocks, keys, names, values, winners
from featurelayer.testing.cases import rejections as refused
from featurelayer.testing.cases import visibility as visible

PARTS = {
    "Which rows are visible": visible,
    "Which row wins": winners,
    "Keys, views and labels": keys,
    "Times and time zones": clocks,
    "Names": names,
    "Values": values,
    "As served": served,
    "What is refused": refused,
}
"""The parts of the kit by their headings, in the order of docs/conformance.md."""


def cases() -> tuple[Case, ...]:
    """Return every named case; names are unique."""
    return tuple(case for part in PARTS.values() for case in part.cases())


def case_named(name: str) -> Case:
    """Return the case of that name."""
    return next(case for case in cases() if case.name == name)
