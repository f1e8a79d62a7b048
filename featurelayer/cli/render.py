"""Render a description on a terminal: a heading, the text, facts in two columns, and tables of lists."""

from __future__ import annotations

from typing import Any

from featurelayer.terminal_text import printable

_EMPTY: tuple[Any, ...] = (None, "", [], {})
_SPOKEN = {"ttl": "time to live", "defined_in": "defined in", "get_it": "how to get it", "look_alikes": "look-alikes"}


def render_description(described: dict[str, Any]) -> None:
    """Print a description; its first key is the kind of the object."""
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.padding import Padding
    from rich.rule import Rule
    from rich.table import Table
    from rich.text import Text

    console = Console()
    escaped = {key: _escape_texts(value) for key, value in described.items() if value not in _EMPTY}
    kind, name = next(iter(escaped.items()))
    console.print(Rule(Text.assemble((f"{kind} ", "dim"), (str(name), "bold")), align="left", style="dim"))
    if "description" in escaped:
        console.print(Padding(Markdown(escaped["description"]), (0, 0, 1, 0)))
    facts = Table.grid(padding=(0, 3))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    lists = {}
    for key, value in escaped.items():
        if key in (kind, "description"):
            continue
        if isinstance(value, list) and isinstance(value[0], dict):
            lists[key] = value
        else:
            facts.add_row(_format_key(key), Text(_format_value(value)))
    console.print(facts)
    for key, rows in lists.items():
        console.print()
        console.print(Text(_format_key(key), style="bold"))
        console.print(_build_table(rows))


def _escape_texts(value: Any) -> Any:
    """Return a description with every text in it escaped for a terminal."""
    match value:
        case str():
            return printable(value)
        case dict():
            return {_escape_texts(key): _escape_texts(item) for key, item in value.items()}
        case list() | tuple():
            return [_escape_texts(item) for item in value]
        case _:
            return value


def _build_table(rows: list[dict[str, Any]]) -> Any:
    """Build a table with the columns that are filled in any row."""
    from rich.table import Table
    from rich.text import Text

    names = list(dict.fromkeys(name for row in rows for name, value in row.items() if value not in _EMPTY))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=len(names) > 1)
    for name in names:
        table.add_column(_format_key(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_format_value(row.get(name))) for name in names))
    return table


def _format_key(key: str) -> str:
    return _SPOKEN.get(key, key.replace("_", " "))


def _format_value(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(
                f"{key.replace('_', ' ')} {_format_value(item)}" for key, item in value.items() if item not in _EMPTY
            )
        case list():
            return ", ".join(_format_value(item) for item in value)
        case _:
            return str(value)
