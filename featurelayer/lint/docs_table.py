"""The table of all checks on the docs' page; `python -m featurelayer.lint.docs_table` writes it anew."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from featurelayer.lint.base import Check
from featurelayer.lint.checks import all_checks

PAGE = Path(__file__).parents[2] / "docs" / "lint.md"
BEGIN, END = "<!-- checks: begin -->\n", "<!-- checks: end -->\n"
FAMILIES = {
    "FL1": "Metadata",
    "FL2": "Time and leakage",
    "FL3": "Contract",
    "FL4": "Ownership and docs",
    "FL5": "Serving",
    "FL6": "Naming and duplicates",
}


def render_tables() -> str:
    """Return the tables, one for each family, in Markdown."""
    return "\n".join(
        "\n".join(_family(FAMILIES[family], list(checks)))
        for family, checks in groupby(all_checks().values(), key=lambda item: item.code[:3])
    )


def update_page(page: str) -> str:
    """Return the page with the tables as they are now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{render_tables()}\n{END}{after}"


def _family(title: str, checks: list[Check]) -> Iterator[str]:
    yield f"### {title}\n"
    yield "| code | weighs | what it finds | why it matters |"
    yield "| --- | --- | --- | --- |"
    for item in checks:
        marks = "".join(("†" if item.by_reader else "", "‡" if item.needs_sql else ""))
        cells = (f"{item.code}{marks}", str(item.severity), item.title, item.why)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(update_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
