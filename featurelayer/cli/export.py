"""Export the newest row of every entity to the online store."""

from __future__ import annotations

import click

from featurelayer.cli.options import Command, Context, parse_names, parse_timestamp, project_options
from featurelayer.cli.output import write_json, write_plan, write_report


@click.command(cls=Command, help=__doc__, example="featurelayer export -s plane_legs --plan")
@click.option(
    "-s", "--select", "names", multiple=True, metavar="VIEW", help="Views to export, - for stdin [default: all online]."
)
@click.option(
    "--as-of", metavar="TIME", help="Time of the snapshot, ISO 8601, UTC if naive [default: the warehouse's now]."
)
@click.option("--full", is_flag=True, help="Write every row again, even over newer events.")
@click.option("--plan", is_flag=True, help="Print what would be written and its cost; write nothing.")
@click.option(
    "--max-cost",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="Write nothing if the estimated cost is higher.",
)
@click.option("--bulk", is_flag=True, help="Bulk-load a new DynamoDB table with an S3 import.")
@click.option("--ignore-monitors", is_flag=True, help="Export views with block_export although monitors fail.")
@click.option("--allow-removals", is_flag=True, help="Remove keys even if they are most of a view's.")
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
def command(
    context: Context,
    names: tuple[str, ...],
    as_of: str | None,
    full: bool,
    plan: bool,
    max_cost: float | None,
    bulk: bool,
    ignore_monitors: bool,
    allow_removals: bool,
    lock_timeout: float,
    output_format: str,
) -> None:
    """Export views, or say what that would do."""
    from datetime import timedelta

    from featurelayer.cli.progress import show_items
    from featurelayer.layer import FeatureLayer

    layer = FeatureLayer.from_project(context.project, warn=context.console.warn)
    views, moment = parse_names(names), parse_timestamp("--as-of", as_of)
    if plan:
        planned = layer.plan_export(
            views, as_of=moment, full=full, max_cost=max_cost, bulk=bulk, allow_removals=allow_removals
        )
        if output_format == "json":
            write_json(planned.to_dict())
        else:
            write_plan(planned, context.console.given)
        return
    with show_items(context.console) as progress:
        report = layer.export(
            views,
            as_of=moment,
            full=full,
            max_cost=max_cost,
            bulk=bulk,
            ignore_monitors=ignore_monitors,
            allow_removals=allow_removals,
            lock_timeout=timedelta(seconds=lock_timeout),
            progress=progress,
        )
    if bulk:
        context.console.note(f"{report.path}: the files are yours to delete")
    if output_format == "json":
        write_json(report.to_dict())
        return
    write_report(report, ", ".join(report.services) or "none")
    for view in report.views:
        if view.superseded:
            context.console.note(f"{view.view}: a newer export had finished first; the store holds what that one wrote")
        if view.resumed:
            context.console.note(
                f"{view.view}: {view.resumed:,} of these rows were written again, because an export before had begun "
                "with them and did not finish"
            )
    if not report.services:
        context.console.note(
            "Nothing can be looked up yet: that takes a service, an exposure of type ml whose views are all online."
        )
