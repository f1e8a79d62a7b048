"""Runs a Markdown page as a reader would: from top to bottom, in one folder, with what it shows compared.

Of the fenced blocks, `sh` and `python` are run, `text` right after one of them is what it printed, and the rest is for
reading. A comment before a block, which no reader sees, says otherwise:

    <!-- file: PATH -->          the block is the content of that file
    <!-- not run: REASON -->     the block is for reading only

A line `...` in shown output stands for any lines.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.servers import commands

REPOSITORY = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"^(?:<!-- (?P<order>file|not run): (?P<value>.+?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_VARYING = (
    (re.compile(r"\x1b\[\d*m"), ""),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00"), "<now>"),
    (re.compile(r"sqlite:////\S+/(?=shop/)"), "sqlite:////<home>/"),
    (re.compile(r"\b\d+\.\d s\b"), "<seconds>"),
    (re.compile(r"  \d+\.\d$", re.MULTILINE), "  <seconds>"),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
    # Progress, which commands print only where a step takes long.
    (re.compile(r"^(?:\S+: [\d,]+/[\d,]+ items|\d+/\d+ \S+)\n", re.MULTILINE), ""),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: what to do with it, its language, its text and its first line in the page."""

    order: str
    value: str
    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """Return the page's fenced blocks in order."""
    source = page.read_text(encoding="utf-8")
    return [
        Block(
            order=found["order"] or "",
            value=found["value"] or "",
            language=found["language"],
            text=found["text"],
            line=source.count("\n", 0, found.start("text")) + 1,
        )
        for found in _BLOCK.finditer(source)
    ]


def run(page: Path, folder: Path, environment: Mapping[str, str] | None = None) -> Path:
    """Do what the page says, starting in `folder`; return where it ends. Fails where it shows what is not so.

    README's commands are the installed scripts; those of other pages start faster (tests/servers/commands.py).
    """
    installed = str(Path(sys.executable).parent)
    programs = installed if page == REPOSITORY / "README.md" else f"{commands.folder()}{os.pathsep}{installed}"
    environment = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", **(environment or {})}
    printed: str | None = None
    for block in blocks(page):
        place = f"{page.name}, line {block.line}"
        if block.order == "file":
            (folder / block.value).write_text(block.text, encoding="utf-8")
        elif block.order == "not run":
            printed = None
        elif block.language in ("sh", "python"):
            printed, folder = _execute(block, folder, environment, place)
        elif block.language == "text" and printed is not None:
            assert _matches(block.text, printed), f"{place} shows\n{block.text}\nbut it prints\n{printed}"
            printed = None
    return folder


def _execute(block: Block, folder: Path, environment: Mapping[str, str], place: str) -> tuple[str, Path]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("DBT_", "FEATURELAYER_"))}
    ending = folder / ".ends-in"
    script = f"set -e\n{block.text}\npwd > '{ending}'\n"
    command = [sys.executable, "-c", block.text] if block.language == "python" else ["bash", "-c", script]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**ours, "NO_COLOR": "1", "PYTHONPATH": str(REPOSITORY), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{place} ends with {done.returncode}\n{done.stdout}"
    if block.language == "sh":
        folder = Path(ending.read_text(encoding="utf-8").strip())
        ending.unlink()
    return done.stdout, folder


def _matches(shown: str, printed: str) -> bool:
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else f"{re.escape(line)}\n" for line in _normalised(shown).strip().splitlines()
    )
    return re.fullmatch(pattern, _normalised(printed).strip() + "\n") is not None


def _normalised(text: str) -> str:
    for varying, name in _VARYING:
        text = varying.sub(name, text)
    return text


def tables(page: Path, heading: str) -> Iterator[list[dict[str, str]]]:
    """Yield the tables under a heading, each row a mapping from column to cell."""
    section = re.split(r"^#+ ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = next(part for part in section if part.startswith(f"{heading}\n"))
    for table in re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE):
        head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
        yield [dict(zip(head, row, strict=True)) for row in rows]
