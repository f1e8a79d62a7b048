"""docs/extending.md lists exactly the entry point groups that the code asks for."""

from __future__ import annotations

import re

from tests.docs.pages import REPOSITORY, tables

PAGE = REPOSITORY / "docs" / "extending.md"
GROUP = re.compile(r'^\w*(?:GROUP|ENTRY_POINTS)\b.*"(featurelayer\.\w+)"$', re.MULTILINE)


def test_every_entry_point_group_is_on_the_page_and_no_other() -> None:
    sources = (path.read_text(encoding="utf-8") for path in (REPOSITORY / "featurelayer").rglob("*.py"))
    groups = {group for source in sources for group in GROUP.findall(source)}
    (parts,) = tables(PAGE, "Extending featurelayer")
    assert sorted(row["entry point group"].strip("`") for row in parts) == sorted(groups)
