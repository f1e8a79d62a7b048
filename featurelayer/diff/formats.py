"""Format a diff as text for a terminal, and as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterator

from featurelayer.diff.values import Change, DiffReport

MARK = "<!-- featurelayer diff -->"
"""The first line of the Markdown, by which a CI job finds its earlier comment."""
_LEVELS = {"error": "BREAKING", "warning": "warning", "note": "note"}


def summary(report: DiffReport) -> str:
    """Return the report in one line."""
    breaking, others = len(report.breaking), len(report.changes) - len(report.breaking)
    if not report.changes:
        return "No feature changed."
    return f"{breaking} breaking, {others} other {'change' if others == 1 else 'changes'}"


def text_lines(report: DiffReport) -> Iterator[str]:
    """Yield the lines for a terminal."""
    for change in report.changes:
        yield f"{_LEVELS[change.severity]}  {change.kind}: {', '.join(change.names)}"
        yield from (f"    {detail}" for detail in change.details)
        if concerned := _describe_users(change):
            yield f"    {concerned}"
        if change.fix:
            yield f"    fix  {change.fix}"
    if report.changes:
        yield ""
    yield summary(report)


def markdown(report: DiffReport) -> str:
    """Return a comment for a pull request."""
    lines = [MARK, f"### Features: {summary(report)}", ""]
    if report.changes:
        lines += ["| | change | features | what | services | online items | owner |", f"|{' --- |' * 7}"]
        lines += [_table_row(change) for change in report.changes]
    fixes = list(dict.fromkeys(f"- {change.kind}: {change.fix}" for change in report.changes if change.breaking))
    if fixes:
        lines += ["", "What to do:", "", *fixes]
    lines += [line for note in report.notes for line in ("", f"> {_escape_cell(note)}")]
    return "\n".join(lines) + "\n"


def _table_row(change: Change) -> str:
    level = "**breaking**" if change.breaking else _LEVELS[change.severity]
    cells = [
        level,
        str(change.kind),
        "<br>".join(_code_span(name) for name in change.names),
        "<br>".join(_escape_cell(detail) for detail in change.details),
        ", ".join(_code_span(name) for name in change.services),
        _code_span(change.online) if change.online else "",
        _escape_cell(change.owner),
    ]
    return f"| {' | '.join(cells)} |"


def _describe_users(change: Change) -> str:
    parts = []
    if change.services and not change.service:
        parts.append(f"services {', '.join(change.services)}")
    if change.owner:
        parts.append(f"owner {change.owner}")
    if change.online:
        parts.append(f"online items {change.online}")
    return "; ".join(parts)


def _code_span(text: str) -> str:
    return f"`{text.replace('`', '').replace('|', chr(92) + '|')}`"


def _escape_cell(text: str) -> str:
    """Escape text for a Markdown table cell, including HTML and @mentions."""
    for mark, harmless in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("@", "@\u200b"), ("`", "'"),
                           ("*", "\\*"), ("_", "\\_"), ("[", "\\[")):  # fmt: skip
        text = text.replace(mark, harmless)
    return " ".join(text.split())
