"""Results on stdout: JSON, or a table, drawn with rich on a terminal and plain text elsewhere."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from featurelayer.cli.console import Console
from featurelayer.cli.hints import complete_commands, complete_fixes
from featurelayer.terminal_text import format_share, printable

if TYPE_CHECKING:
    from featurelayer.export import ExportPlan, ExportReport, ViewExport, ViewPlan
    from featurelayer.verify import Lateness


def echo(text: object = "") -> None:
    """Write a line; control characters that a terminal would obey are escaped."""
    click.echo(printable(str(text)))


def write_document(text: str) -> None:
    """Write text that programs read, such as SQL or YAML: byte for byte, except on a terminal."""
    click.echo(printable(text) if sys.stdout.isatty() else text, nl=False)


def style_text(text: str, **style: Any) -> str:
    """Return text escaped for a terminal and, on one that takes colours, styled; for `echo_styled` alone."""
    safe = printable(text)
    return click.style(safe, **style) if style and sys.stdout.isatty() and not os.environ.get("NO_COLOR") else safe


def echo_styled(line: str) -> None:
    """Write a line whose every part of unknown origin went through `styled`."""
    click.echo(line)


def write_json(value: Any) -> None:
    """Write a value as indented JSON; commands in its `fix` texts keep the project options of this call."""
    context = click.get_current_context(silent=True)
    console = context.find_object(Console) if context is not None else None
    if console is not None:
        value = complete_fixes(value, console.given)
    echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def write_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows under headings: drawn with rich on a terminal, else in plain columns."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in headings:
            table.add_column(Text(printable(heading)), overflow="fold")
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        Console().print(table)
        return
    lines = [[printable(_one_line(cell)) for cell in row] for row in (headings, *rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(headings))]
    for line in lines:
        echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def write_report(report: ExportReport, services: str) -> None:
    """Write the report of an export or a rollback; `services` names the services that it published."""
    table = [
        [
            view.view,
            *(f"{count:,}" for count in (view.rows, view.written, view.unchanged, view.refused, view.tombstones)),
            f"{view.seconds:.1f}",
        ]
        for view in report.views
    ]
    write_table(["view", "rows", "written", "unchanged", "refused", "removed", "seconds"], table)
    _write_skipped(report.views)
    echo(f"\nas of {report.as_of.isoformat()}, services {services}: {report.store}")


def _write_skipped(views: Sequence[ViewExport | ViewPlan]) -> None:
    """Write how many rows of each view were skipped, if any were."""
    for view in views:
        lacks = [f"{view.null_keys:,} without a key"] * bool(view.null_keys)
        lacks += [f"{view.null_times:,} without an event or available time"] * bool(view.null_times)
        if lacks:
            echo(f"{view.view}: rows were skipped, {' and '.join(lacks)}")


def write_plan(plan: ExportPlan, given: Mapping[str, str] | None = None) -> None:
    """Write the plan of an export or a rollback; commands that it suggests keep the `given` options."""
    headings = ["view", "rows", "new", "changed", "in doubt", "removed", "unchanged", "bytes", "write units", "USD",
                "minutes"]  # fmt: skip
    table = []
    for view in plan.views:
        cost = plan.prices.cost(rows=view.writes, units=view.units)
        counts = (
            view.rows,
            view.new,
            view.changed,
            view.in_doubt,
            view.removed,
            view.unchanged,
            view.bytes,
            view.units,
        )
        money = [f"{cost.usd:.4f}", f"{cost.minutes:.1f}"]
        table.append([view.view, *(f"{count:,}" for count in counts), *money])
    write_table(headings, table)
    _write_skipped(plan.views)
    for problem in plan.refused:
        echo(complete_commands(f"\nwould be refused: {problem}", given or {}))
    echo(f"\nas of {plan.as_of.isoformat()}: {plan.store}")
    if plan.bulk:
        echo(f"row by row about {plan.cost.usd:.4f} USD")
        size = f"{plan.import_bytes / 1_000_000:,.1f} MB of files"
        echo(f"by import about {plan.import_usd:.4f} USD for {size} ({plan.prices.source}); nothing was written")
        return
    echo(f"about {plan.cost.usd:.4f} USD ({plan.prices.source}); nothing was written")
    if plan.is_first_load and plan.import_usd < plan.cost.usd:
        echo(f"--bulk, into a table that does not exist yet, would cost about {plan.import_usd:.4f} USD")


def write_lateness(found: Lateness) -> None:
    """Write how late a view's rows arrive, what delays would cover, and the recommended one."""
    from featurelayer.durations import format_age, format_duration

    rows = [
        [each.source, f"{each.rows:,}", *(format_age(late) for late in each.quantiles.values())]
        for each in found.observed
    ]
    write_table(["arrival by", "rows", "p50", "p90", "p99", "max"], [[*row, *[""] * (6 - len(row))] for row in rows])
    basis, delay = found.basis, found.recommended
    if basis is None:
        echo(f"\n{found.view} has no rows to measure; it declares {found.declared}")
        return
    echo()
    write_table(
        ["delay", f"rows covered, by {basis.source}"],
        [[format_duration(each), f"{basis.share(each):.2%}"] for each in basis.relevant_delays],
    )
    echo()
    if basis.early:
        echo(f"{basis.early:,} rows arrived before their event: check the time zone")
    if delay is None:
        echo(f"No delay covers {found.coverage:.2%}; exclude a backfill with --since")
    else:
        echo(f"Recommended: delay: {format_duration(delay)} (covers {basis.share(delay):.2%})")
    echo(f"{found.view} declares {found.declared}")
    if found.is_exact:
        echo("It takes every row's own time, which is more exact than any delay.")


def format_ratio(part: int, whole: int) -> str:
    """Return a ratio as a percentage; empty for a whole of 0."""
    return format_share(part / whole) if whole else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())
