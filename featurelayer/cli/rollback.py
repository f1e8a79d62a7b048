"""Restore a view in the online store to an earlier export."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from featurelayer.cli.options import Command, Context, project_options
from featurelayer.cli.output import write_json, write_plan, write_report, write_table

if TYPE_CHECKING:
    from featurelayer.export import LedgerRow


@click.command(cls=Command, help=__doc__, example="featurelayer rollback -s plane_legs --to 5f3a")
@click.option("-s", "--select", "view", required=True, metavar="VIEW", help="View to restore.")
@click.option("--to", "run", metavar="RUN", help="Export to restore, by id or its beginning [default: list exports].")
@click.option("--plan", is_flag=True, help="Print what would be written and its cost; write nothing.")
@click.option(
    "--lock-timeout",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a DuckDB file that another process holds.",
)
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", help="Output format.")
@project_options
def command(context: Context, view: str, run: str | None, plan: bool, lock_timeout: float, output_format: str) -> None:
    """Roll back, or list the exports that can be gone back to."""
    from datetime import timedelta

    from featurelayer.cli.progress import show_items
    from featurelayer.layer import FeatureLayer

    layer = FeatureLayer.from_project(context.project, warn=context.console.warn)
    if run is None:
        _print_exports(layer.kept_exports(view), output_format)
        return
    if plan:
        planned = layer.online.plan_rollback(view, run)
        if output_format == "json":
            write_json(planned.to_dict())
        else:
            write_plan(planned, context.console.given)
        return
    with show_items(context.console) as progress:
        report = layer.rollback(view, run, lock_timeout=timedelta(seconds=lock_timeout), progress=progress)
    if output_format == "json":
        write_json(report.to_dict())
        return
    write_report(report, "as they were")
    context.console.note("The next export brings the present back. To stay here, stop exporting this view.")


def _print_exports(kept: list[LedgerRow], output_format: str) -> None:
    """Print the exports that are kept, newest first."""
    if output_format == "json":
        names = ("run", "version", "as_of", "finished_at", "entities", "definition")
        write_json([
            {name: getattr(row, name) for name in names}
            | {"as_of": row.as_of.isoformat(), "finished_at": row.finished_at and row.finished_at.isoformat()}
            for row in kept
        ])  # fmt: skip
        return
    rows = [
        [
            row.run[:8],
            row.as_of.isoformat(),
            row.finished_at.isoformat() if row.finished_at else "",
            f"{row.entities:,}" if row.entities is not None else "",
            "" if number else "is served",
        ]
        for number, row in enumerate(kept)
    ]
    write_table(["run", "as of", "finished", "rows", ""], rows)
