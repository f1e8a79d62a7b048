"""The line of a model, column or key in the YAML that declares it: found only for what there is a finding about.

The files are read by their indentation and not as YAML: that takes a tenth of the time, and a Jinja expression that
makes a file no plain YAML does not matter. What is written in braces on one line has that line anyway.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from featurelayer.errors import FeatureLayerError, Problem

_LISTS = ("models", "snapshots", "seeds", "sources", "exposures")
_STEP = re.compile(r"([^.\[\]]+)|\[([^\[\]]*)\]")
_LINE = re.compile(
    r"^( *)((?:- +)*)(?:(-)[ \t]*$|([^\s#{\[\n][^:#\n]*?):(?=\s|$)[ \t]*(.*)|\{(.*)|(?<=- )\S)", re.MULTILINE
)
_NAME_IN_BRACES = re.compile(r"(?:^|,)\s*name:\s*([^,}]+)")
_LARGEST = 4_000_000


@contextmanager
def line_numbers(root: Path) -> Iterator[None]:
    """Give the places of problems that are raised inside the line of the YAML, for the project in this folder."""
    try:
        yield
    except FeatureLayerError as error:
        lines = Lines(root)
        error.problems = tuple(_add_line(problem, lines) for problem in error.problems)
        raise


def _add_line(problem: Problem, lines: Lines) -> Problem:
    file, *rest = problem.where.split(" -> ", 2)
    line = lines.find(file, *rest) if len(rest) == 2 else 0
    return replace(problem, where=" -> ".join([f"{file}:{line}", *rest])) if line else problem


class _Token(NamedTuple):
    """The start of a list item (no key), or a key; `indent` is the column it stands in."""

    line: int
    indent: int
    key: str | None
    value: str = ""


class _Place(NamedTuple):
    """A line, and the tokens that belong to what starts there."""

    line: int
    start: int
    end: int


@dataclass(slots=True)
class _Outline:
    tokens: list[_Token]
    text: str
    known: dict[tuple[int, int], dict[str, _Place]] = field(default_factory=dict)

    def inside(self, place: _Place) -> dict[str, _Place]:
        """Return what stands directly inside by its key, or in a list by its name and by its number."""
        found = self.known.get((place.start, place.end))
        if found is None:
            found = self.known[place.start, place.end] = self._inside(place)
        return found

    def _inside(self, place: _Place) -> dict[str, _Place]:
        found: dict[str, _Place] = {}
        if place.start >= place.end:
            return found
        first = self.tokens[place.start]
        index = place.start
        number = 0
        while index < place.end:
            token, end = self.tokens[index], self._end(index, place.end)
            if token.indent == first.indent and (token.key is None) == (first.key is None):
                inner = _Place(token.line, index + 1, end)
                if token.key is None:
                    found[str(number)] = inner
                    name = self._name(inner)
                    if name:
                        found.setdefault(name, inner)
                    number += 1
                else:
                    found.setdefault(token.key, inner)
            index = end
        return found

    def _end(self, index: int, last: int) -> int:
        """Return where what starts at a token ends: at the next that stands no deeper; a list may stand as deep."""
        start = self.tokens[index]
        for other in range(index + 1, last):
            token = self.tokens[other]
            deeper = token.indent > start.indent or (
                token.indent == start.indent and token.key is None and start.key is not None
            )
            if not deeper:
                return other
        return last

    def _name(self, place: _Place) -> str:
        if place.start >= place.end:
            return ""
        indent = self.tokens[place.start].indent
        for token in self.tokens[place.start : place.end]:
            if token.key == "name" and token.indent == indent:
                return token.value.partition(" #")[0].strip().strip("'\"")
        return ""


class Lines:
    """Looks up lines; each file is read once."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._outlines: dict[str, _Outline | None] = {}
        self._starts: dict[tuple[str, str], _Place | None] = {}

    def find(self, file: str, resource: str, key: str) -> int:
        """Return the line, from 1, of `key` of the resource (`legs`, `legs.v2`), or of the nearest that is there.

        0 means that the file or the resource in it can't be found.
        """
        outline = self._outline(file)
        if outline is None:
            return 0
        place = self._start(outline, file, resource)
        if place is None:
            return 0
        for step in _steps(key):
            inner = outline.inside(place).get(step)
            if inner is None:
                break
            place = inner
        return place.line

    def holds(self, file: str, resource: str, key: str) -> bool:
        """Return whether the resource is in the file and has the key, as lines of its own or in braces on one line."""
        outline = self._outline(file)
        place = self._start(outline, file, resource) if outline is not None else None
        if outline is None or place is None:
            return False
        for step in _steps(key):
            inner = outline.inside(place).get(step)
            if inner is None:
                line = outline.text.splitlines()[place.line - 1]
                return re.search(rf"\b{re.escape(_steps(key)[-1])}\s*:", line) is not None
            place = inner
        return True

    def _start(self, outline: _Outline, file: str, resource: str) -> _Place | None:
        if (file, resource) not in self._starts:
            document = _Place(1, 0, len(outline.tokens))
            self._starts[file, resource] = _resource(outline, document, resource) if resource else document
        return self._starts[file, resource]

    def _outline(self, file: str) -> _Outline | None:
        if file not in self._outlines:
            self._outlines[file] = self._read(self._root / file) if file.endswith((".yml", ".yaml")) else None
        return self._outlines[file]

    def _read(self, path: Path) -> _Outline | None:
        try:
            if not path.resolve().is_relative_to(self._root) or path.stat().st_size > _LARGEST:
                return None
            text = path.read_text(encoding="utf-8")
            return _Outline(_tokens(text), text)
        except (OSError, ValueError):
            return None


@functools.lru_cache(maxsize=4096)
def _steps(key: str) -> tuple[str, ...]:
    """Return the steps of `columns[arr_delay].config.meta`."""
    return tuple(name or item for name, item in _STEP.findall(key))


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    number, counted = 1, 0
    for found in _LINE.finditer(text):
        start = found.start()
        number += text.count("\n", counted, start)
        counted = start
        spaces, dashes, last, key, value, braces = found.groups()
        indent = len(spaces)
        dashes = f"{dashes}{last or ''}"
        if dashes:
            tokens += [_Token(number, indent + place, None) for place, mark in enumerate(dashes) if mark == "-"]
        if key:
            tokens.append(_Token(number, indent + len(dashes), key.strip("'\""), value))
        elif braces and dashes and (name := _NAME_IN_BRACES.search(braces)):
            tokens.append(_Token(number, indent + len(dashes), "name", name[1]))
    return tokens


def _resource(outline: _Outline, document: _Place, resource: str) -> _Place | None:
    name = re.sub(r"\.v[^.]+$", "", resource)
    kinds = outline.inside(document)
    for wanted in (resource, name):
        for kind in _LISTS:
            if kind in kinds and (found := outline.inside(kinds[kind]).get(wanted)):
                return found
    return None
