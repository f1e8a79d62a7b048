"""The tables of checks in docs/lint.md; `python -m featurelayer.lint.docs_table` rewrites them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from featurelayer.lint.base import Check
from featurelayer.lint.checks import builtin_checks

PAGE = Path(__file__).parents[2] / "docs" / "lint.md"
BEGIN, END = "<!-- checks: begin -->\n", "<!-- checks: end -->\n"


def render_tables() -> str:
    """Return one Markdown table per family, each check in the row that it declares."""
    return "\n".join(
        "\n".join(_render_family(title, checks))
        for title, checks in groupby(builtin_checks().values(), key=lambda item: item.family_title)
    )


def update_page(page: str) -> str:
    """Return the page with the current tables."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{render_tables()}\n{END}{after}"


def _render_family(title: str, checks: Iterable[Check]) -> Iterator[str]:
    yield f"### {title}\n"
    yield "| code | severity | finding | why it matters |"
    yield "| --- | --- | --- | --- |"
    for item in checks:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in item.docs_row)} |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(update_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
