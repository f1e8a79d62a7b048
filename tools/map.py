"""Write the map of the folders in CONTRIBUTING.md from the first lines of docstrings, in the order of the layers.

`make map` writes it; a test compares it with the tree, so it is right or the tests fail.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- written by `make map` -->\n", "<!-- end of what `make map` writes -->\n"


def main() -> int:
    """Replace the map in CONTRIBUTING.md."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(before + BEGIN + render_map(ROOT) + END + after, encoding="utf-8")
    return 0


def render_map(root: Path) -> str:
    """Return the two tables: the package's rooms from the lowest layer to the highest, and the folders of the tests."""
    rooms = [(f"featurelayer/{name}", docstring) for name, docstring in list_rooms(root)]
    tests = [
        (str(path.parent.relative_to(root)), first_line(path))
        for path in sorted((root / "tests").glob("*/__init__.py"))
    ]
    return f"{render_table('module', rooms)}\n{render_table('tests', tests)}"


def list_rooms(root: Path) -> list[tuple[str, str]]:
    """Return the name and the docstring of each module and package at the top, from the lowest layer up."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    names = [name.strip() for layer in reversed(layers) for name in layer.split("|")]
    package = root / "featurelayer"
    found = []
    for name in names:
        folder = package / name / "__init__.py"
        if folder.is_file():
            found.append((f"{name}/", first_line(folder)))
        else:
            found.append((f"{name}.py", first_line(package / f"{name}.py")))
    return found


def first_line(module: Path) -> str:
    """Return the first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def render_table(heading: str, rows: list[tuple[str, str]]) -> str:
    """Return a Markdown table of paths and what they are."""
    lines = [f"| {heading} | what it is |", "| --- | --- |", *(f"| `{path}` | {text} |" for path, text in rows)]
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
