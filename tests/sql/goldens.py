"""Compare text with a file of tests/sql/golden; UPDATE_GOLDEN=1 writes the file again."""

from __future__ import annotations

import os
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def check_golden(text: str, name: str) -> None:
    """Fail unless a text is that of a file, named without its `.sql`."""
    path = GOLDEN / f"{name}.sql"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"UPDATE_GOLDEN=1 pytest tests/sql writes {path.name} again"
