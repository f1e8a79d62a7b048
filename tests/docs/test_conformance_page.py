"""docs/conformance.md lists exactly the cases and abilities that there are; `UPDATE_GOLDEN=1` writes the lists anew."""

from __future__ import annotations

import os

from featurelayer.testing import ABILITIES
from featurelayer.testing.cases import PARTS
from tests.docs.pages import REPOSITORY

PAGE = REPOSITORY / "docs" / "conformance.md"
TABLE = "| ability | what an engine without it can't do |\n| --- | --- |\n"
CASES = "in the cases, and the oracle has to agree with them.\n"


def test_the_page_lists_every_case_and_every_ability() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(TABLE)
    middle, _, _ = rest[rest.index("\n\n") :].partition(CASES)
    right = f"{before}{TABLE}{abilities()}{middle}{CASES}{listed()}"
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(right, encoding="utf-8")
    assert right == PAGE.read_text(encoding="utf-8"), "UPDATE_GOLDEN=1 pytest tests/docs writes the lists anew"


def abilities() -> str:
    return "\n".join(f"| `{name}` | {what} |" for name, what in ABILITIES.items())


def listed() -> str:
    """The cases of each part, with what they are about."""
    parts = []
    for heading, part in PARTS.items():
        rows = "".join(f"| {cell(case.name)} | {cell(case.why)} |\n" for case in part.cases())
        parts.append(f"\n### {heading}\n\n| case | what it is about |\n| --- | --- |\n{rows}")
    return "".join(parts)


def cell(text: str) -> str:
    return text.replace("|", "\\|")
