"""A YAML file edited in place: only changed entries are rewritten, everything else stays byte for byte.

Rewritten entries go through ruamel.yaml, which keeps their comments. Comments of a removed entry are kept above its
replacement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

from featurelayer.errors import ConfigError, MissingDependency, Problem

if TYPE_CHECKING:
    from ruamel.yaml import YAML

_COMMENT = re.compile(r"""(?:[^'"#]|"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|(?<!\s)#)*?(?:^|\s)(#.*)$""")


class Document:
    """The text of a YAML file and its tree; methods collect edits, `text` applies them."""

    def __init__(self, text: str, where: str) -> None:
        self._text, self._lines = text, text.splitlines(keepends=True)
        self._edits: list[tuple[int, int, list[str]]] = []
        self.where = where
        self.tree = _load(text, where)

    @property
    def text(self) -> str:
        """The text with all edits."""
        lines = list(self._lines)
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        # Edits at the same line stay in their order.
        for start, end, _, new in sorted(((*edit[:2], n, edit[2]) for n, edit in enumerate(self._edits)), reverse=True):
            lines[start:end] = new
        return "".join(lines) if self._edits else self._text

    def items(self, key: str) -> list[Any]:
        """Return the mappings of a list at the top of the file."""
        found = self.tree.get(key) if isinstance(self.tree, Mapping) else None
        return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []

    def replace(self, parent: Any, old: str | None, new: Mapping[str, Any], *, after: str | None = None) -> None:
        """Write the entries `new` in place of the entry `old` of a mapping, or after its entry `after`."""
        place = old if old is not None else after
        assert place is not None
        start, end, column = self._find_entry(parent, place)
        kept = self._collect_lost_comments(start, end, new) if old is not None else []
        lines = [*kept, *(_dump(new) if new else [])]
        prefix = self._lines[start][:column]
        pad = " " * column
        written = [f"{pad}{line}\n" if line else "\n" for line in lines]
        if old is not None and written and prefix.strip():
            written[0] = prefix + written[0][column:]
        self._edits.append((start, end, written) if old is not None else (end, end, written))

    def replace_item(self, item: Any, new: Mapping[str, Any]) -> None:
        """Rewrite a list item in braces, on its line."""
        line, column = item.lc.line, item.lc.col
        end = self._find_end(line, self._lines[line].index("-"))
        flow = "".join(_dump(new, flow=True))
        rest = [f" {comment}" for comment in map(_find_comment, self._lines[line:end]) if comment]
        self._edits.append((line, end, [f"{self._lines[line][:column]}{flow}{''.join(rest)}\n"]))

    def append_items(self, parent: Any, key: str, items: Sequence[Mapping[str, Any]]) -> None:
        """Append items to a list of a mapping; the list is created if it is missing."""
        if not items:
            return
        if isinstance(parent.get(key), list) and parent[key] and not parent[key].fa.flow_style():
            last = parent[key].lc.item(len(parent[key]) - 1)
            start, dash = last[0], self._lines[last[0]].index("-")
            end = self._find_end(start, dash)
            pad = " " * dash
        else:
            end = max(self._find_entry(parent, name)[1] for name in parent)
            column = parent.lc.col
            self._edits.append((end, end, [f"{' ' * column}{key}:\n"]))
            pad = " " * (column + 2)
        lines = [f"{pad}{line}\n" for item in items for line in _dump([item])]
        self._edits.append((end, end, lines))

    def _find_entry(self, parent: Any, key: str) -> tuple[int, int, int]:
        """Return the first line, the end line and the column of an entry."""
        line, column = parent.lc.key(key)
        return line, self._find_end(line, column), column

    def _find_end(self, start: int, column: int) -> int:
        """Return the line after an entry at a column: the lines indented further, without trailing blank ones."""
        end = start + 1
        for number in range(start + 1, len(self._lines)):
            line = self._lines[number].rstrip("\r\n")
            stripped = line.strip()
            if not stripped:
                continue
            if len(line) - len(line.lstrip()) <= column:
                if not stripped.startswith("#"):
                    break
                continue
            end = number + 1
        return end

    def _collect_lost_comments(self, start: int, end: int, new: Mapping[str, Any]) -> list[str]:
        """Return the comments between two lines that the new entries lack."""
        comments = [comment for line in self._lines[start:end] if (comment := _find_comment(line))]
        written = "\n".join(_dump(new)) if new else ""
        return [comment for comment in comments if comment not in written]


def _find_comment(line: str) -> str:
    found = _COMMENT.match(line.rstrip("\r\n"))
    return found[1].strip() if found else ""


def _make_yaml() -> YAML:
    try:
        from ruamel.yaml import YAML
    except ModuleNotFoundError as error:
        raise MissingDependency("ruamel.yaml", "migrate") from error
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 100_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _load(text: str, where: str) -> Any:
    yaml = _make_yaml()
    from ruamel.yaml.error import YAMLError

    try:
        return yaml.load(text)
    except YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f":{place.line + 1}" if place is not None else ""
        what = f"it is not YAML: {getattr(error, 'problem', None) or 'it can not be read'}"
        raise ConfigError([Problem(what=what, where=f"{where}{line}", fix="correct it and run again")]) from error


def _dump(value: Any, *, flow: bool = False) -> list[str]:
    yaml = _make_yaml()
    yaml.default_flow_style = flow
    out = StringIO()
    if flow:
        from ruamel.yaml.comments import CommentedMap

        whole = CommentedMap(value)
        whole.fa.set_flow_style()
        value = whole
    yaml.dump(value, out)
    lines = [line for line in out.getvalue().splitlines() if line.strip()]
    # A list's items are indented as in a mapping; here they are at the top level.
    return [line[2:] for line in lines] if isinstance(value, list) else lines


def to_plain(value: Any) -> Any:
    """Convert a part of a tree to plain values."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_plain(item) for item in value]
    return value


def copy_tree(value: Any) -> Any:
    """Copy a part of a tree with its style, but without comments, which may belong to the next entry."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    found: CommentedMap | CommentedSeq
    if isinstance(value, Mapping):
        found = CommentedMap({key: copy_tree(item) for key, item in value.items()})
    elif isinstance(value, list):
        found = CommentedSeq([copy_tree(item) for item in value])
    else:
        return value
    if not hasattr(value, "fa") or value.fa.flow_style():
        found.fa.set_flow_style()
    return found


def flow_map(value: Mapping[str, Any]) -> Any:
    """Return a mapping that is written on one line, in braces."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    def convert(item: Any) -> Any:
        if isinstance(item, Mapping):
            found = CommentedMap({key: convert(each) for key, each in item.items()})
            found.fa.set_flow_style()
            return found
        if isinstance(item, list | tuple):
            listed = CommentedSeq([convert(each) for each in item])
            listed.fa.set_flow_style()
            return listed
        return item

    return convert(value)


def find_yaml_files(folders: Iterator[Any]) -> Iterator[Any]:
    """Yield the YAML files of folders, sorted."""
    for folder in folders:
        yield from sorted(path for path in folder.rglob("*") if path.suffix in (".yml", ".yaml") and path.is_file())
