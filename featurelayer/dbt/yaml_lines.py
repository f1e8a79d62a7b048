"""Lines of models, columns and keys in the YAML that declares them.

Files are composed with PyYAML only when a finding is about them: 2 MB with 9,000 columns take half a second.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from featurelayer.errors import FeatureLayerError, Problem

if TYPE_CHECKING:
    import yaml

_LISTS = ("models", "snapshots", "seeds", "sources", "exposures")
_STEP = re.compile(r"([^.\[\]]+)|\[([^\[\]]*)\]")
_MAX_BYTES = 4_000_000


@contextmanager
def line_numbers(root: Path) -> Iterator[None]:
    """Add the line in the YAML to the place of every problem raised inside, for the project in this folder."""
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


def compose_yaml(text: str) -> yaml.Node | None:
    """Return the root node of a YAML document, with its marks.

    Raises:
        yaml.YAMLError: the text is not YAML.
    """
    import yaml

    node: yaml.Node | None = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return node


class _Entry(NamedTuple):
    """A key or list item: its line, from 1, and the node of its value."""

    line: int
    node: yaml.Node


class Lines:
    """Finds lines in the YAML files of a project; each file is read once."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._documents: dict[str, _Entry | None] = {}
        self._resources: dict[tuple[str, str], _Entry | None] = {}
        self._entries: dict[int, dict[str, _Entry]] = {}

    def find(self, file: str, resource: str, key: str) -> int:
        """Return the line, from 1, of `key` of the resource (`legs`, `legs.v2`), or of its nearest parent in the file.

        0 means that the file or the resource in it can't be found.
        """
        *_, entry = self._walk(file, resource, key)
        return entry.line if entry else 0

    def has_key(self, file: str, resource: str, key: str) -> bool:
        """Whether the resource is in the file and has the key."""
        entries = list(self._walk(file, resource, key))
        return entries[0] is not None and len(entries) == len(_split_key(key)) + 1

    def _walk(self, file: str, resource: str, key: str) -> Iterator[_Entry | None]:
        """Yield the resource, None if not found, then the entries on the path to the key, as far as it exists."""
        entry = self._resource(file, resource)
        yield entry
        for step in _split_key(key) if entry else ():
            entry = self._inside(entry.node).get(step) if entry else None
            if entry is None:
                return
            yield entry

    def _resource(self, file: str, resource: str) -> _Entry | None:
        if (file, resource) not in self._resources:
            document = self._document(file)
            self._resources[file, resource] = self._find(document, resource) if document and resource else document
        return self._resources[file, resource]

    def _find(self, document: _Entry, resource: str) -> _Entry | None:
        lists = self._inside(document.node)
        for wanted in (resource, re.sub(r"\.v[^.]+$", "", resource)):
            for kind in _LISTS:
                if kind in lists and (entry := self._inside(lists[kind].node).get(wanted)):
                    return entry
        return None

    def _inside(self, node: yaml.Node) -> Mapping[str, _Entry]:
        """Return the entries of a mapping by key, or of a list by number and by `name`."""
        if id(node) not in self._entries:
            self._entries[id(node)] = dict(_entries(node))
        return self._entries[id(node)]

    def _document(self, file: str) -> _Entry | None:
        if file not in self._documents:
            node = self._read(self._root / file) if file.endswith((".yml", ".yaml")) else None
            self._documents[file] = _Entry(1, node) if node is not None else None
        return self._documents[file]

    def _read(self, path: Path) -> yaml.Node | None:
        import yaml

        try:
            if not path.resolve().is_relative_to(self._root) or path.stat().st_size > _MAX_BYTES:
                return None
            return compose_yaml(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError, yaml.YAMLError):
            return None


def _entries(node: yaml.Node) -> Iterator[tuple[str, _Entry]]:
    """Yield the entries of a node; of several with one name the last one yielded, which is the first, counts."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):
            yield str(key.value), _Entry(key.start_mark.line + 1, value)
    elif isinstance(node, yaml.SequenceNode):
        items = [_Entry(item.start_mark.line + 1, item) for item in node.value]
        yield from ((name, item) for item in reversed(items) if (name := _name(item.node)))
        yield from ((str(number), item) for number, item in enumerate(items))


def _name(node: yaml.Node) -> str:
    pairs = node.value if isinstance(node.value, list) else ()
    names = (pair[1].value for pair in pairs if isinstance(pair, tuple) and pair[0].value == "name")
    name = next(names, "")
    return name if isinstance(name, str) else ""


@functools.lru_cache(maxsize=4096)
def _split_key(key: str) -> tuple[str, ...]:
    """Split `columns[arr_delay].config.meta` into its steps."""
    return tuple(name or item for name, item in _STEP.findall(key))
