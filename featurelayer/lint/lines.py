"""The line of a model, column or key in the YAML that declares it: found only for what there is a finding about."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

_LISTS = ("models", "snapshots", "seeds", "sources", "exposures")
_STEP = re.compile(r"([^.\[\]]+)|\[([^\[\]]*)\]")
_LARGEST = 4_000_000
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Lines:
    """Looks up lines; each file is read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._documents: dict[str, yaml.Node | None] = {}

    def find(self, file: str, resource: str, key: str) -> int:
        """Return the line, from 1, of `key` of the resource (`legs`, `legs.v2`), or of the nearest that is there.

        0 means that the file or the resource in it can't be found.
        """
        document = self._document(file)
        if document is None:
            return 0
        place = _resource(document, resource) if resource else document
        if place is None:
            return 0
        line = place.start_mark.line + 1
        for step in _steps(key):
            found = _inside(place, step)
            if found is None:
                break
            line, place = found
        return line

    def _document(self, file: str) -> yaml.Node | None:
        if file not in self._documents:
            self._documents[file] = self._read(self._root / file) if file.endswith((".yml", ".yaml")) else None
        return self._documents[file]

    def _read(self, path: Path) -> yaml.Node | None:
        """Return the file's tree; None where there is none, or none that plain YAML can read."""
        try:
            inside = path.resolve().is_relative_to(self._root.resolve())
            if not inside or path.stat().st_size > _LARGEST:
                return None
            return yaml.compose(path.read_text(encoding="utf-8"), Loader=_LOADER)
        except (OSError, ValueError, yaml.YAMLError, RecursionError):
            return None


def _steps(key: str) -> list[str | int]:
    """Return the steps of `columns[arr_delay].config.meta`: names, and numbers for places in a list."""
    return [name or (int(index) if index.isdigit() else index) for name, index in _STEP.findall(key) if name or index]


def _resource(document: yaml.Node, resource: str) -> yaml.Node | None:
    name = re.sub(r"\.v[^.]+$", "", resource)
    for kind in _LISTS:
        found = _inside(document, kind)
        if found is not None:
            for wanted in (resource, name):
                item = _named(found[1], wanted)
                if item is not None:
                    return item
    return None


def _inside(place: yaml.Node, step: str | int) -> tuple[int, yaml.Node] | None:
    """Return the line and the value of one step into a mapping or a list."""
    if isinstance(place, yaml.MappingNode):
        for key, value in place.value:
            if key.value == str(step):
                return key.start_mark.line + 1, value
    if isinstance(place, yaml.SequenceNode):
        items = place.value
        item = items[step] if isinstance(step, int) and step < len(items) else _named(place, str(step))
        return (item.start_mark.line + 1, item) if item is not None else None
    return None


def _named(items: yaml.Node, name: str) -> yaml.Node | None:
    """Return the mapping of a list whose `name` is that."""
    for item in items.value if isinstance(items, yaml.SequenceNode) else ():
        for key, value in item.value if isinstance(item, yaml.MappingNode) else ():
            if key.value == "name" and value.value == name:
                found: Any = item
                return found if isinstance(found, yaml.Node) else None
    return None
