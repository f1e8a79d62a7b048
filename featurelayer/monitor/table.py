"""The table of limits in docs/monitoring.md, written by `python -m featurelayer.monitor.table`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from featurelayer.monitor_records import Limit, Monitor, load_monitors

PAGE = Path(__file__).parents[2] / "docs" / "monitoring.md"
BEGIN, END = "<!-- limits: begin -->\n", "<!-- limits: end -->\n"


def render_page(page: str) -> str:
    """Return the page with the current table."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{render_table()}\n{END}{after}"


def render_table() -> str:
    """Return the built-in monitors that have a key, those of features first, as a Markdown table."""
    monitors = [monitor for monitor in load_monitors().values() if not monitor.package]
    return "\n".join(_lines(sorted(monitors, key=lambda monitor: not monitor.per_feature))) + "\n"


def _lines(monitors: list[Monitor]) -> Iterator[str]:
    yield "| key | default | of | crossed | value |"
    yield "| --- | --- | --- | --- | --- |"
    for monitor in monitors:
        if monitor.limit is not None:
            what, side = "feature" if monitor.per_feature else "view", "below" if monitor.limit.least else "above"
            yield f"| `{monitor.name}` | `{_format_limit(monitor.limit)}` | {what} | {side} | {monitor.text} |"


def _format_limit(limit: Limit) -> str:
    sides = (("warn", limit.warn), ("error", limit.error))
    parts = [f"{name}: {value:g}" for name, value in sides if value is not None]
    return f"{{{', '.join(parts)}}}" if parts else "false"


if __name__ == "__main__":
    PAGE.write_text(render_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
