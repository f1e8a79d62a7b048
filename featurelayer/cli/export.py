"""Write the newest row of every entity to the online store, changed rows only."""

from __future__ import annotations

import click

from featurelayer.cli.options import Context, moment_given, names_given, project_options
from featurelayer.cli.output import write_json, write_table


@click.command(help=__doc__)
@click.option(
    "-s", "--select", "names", multiple=True, metavar="VIEW", help="Views to export, - for stdin [default: all online]."
)
@click.option(
    "--as-of", metavar="TIME", help="Time of the snapshot, ISO 8601, UTC if naive [default: the warehouse's now]."
)
@click.option("--full", is_flag=True, help="Write every row again, also over newer events.")
@click.option(
    "--lock-timeout",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a DuckDB file that another process holds.",
)
@click.option(
    "--format", "output_format", type=click.Choice(["text", "json"]), default="text", help="How the report looks."
)
@project_options
def command(
    context: Context,
    names: tuple[str, ...],
    as_of: str | None,
    full: bool,
    lock_timeout: float,
    output_format: str,
) -> None:
    """Export views and print what was written."""
    from datetime import timedelta

    from featurelayer.cli.progress import rows
    from featurelayer.layer import FeatureLayer

    layer = FeatureLayer.of_project(context.project, warn=context.console.warn)
    with rows(context.console) as progress:
        report = layer.export(
            names_given(names),
            as_of=moment_given("--as-of", as_of),
            full=full,
            lock_timeout=timedelta(seconds=lock_timeout),
            progress=progress,
        )
    if output_format == "json":
        write_json(report.to_dict())
        return
    table = [
        [
            view.view,
            *(f"{count:,}" for count in (view.rows, view.written, view.unchanged, view.refused, view.tombstones)),
            f"{view.seconds:.1f}",
        ]
        for view in report.views
    ]
    write_table(["view", "rows", "written", "unchanged", "refused", "removed", "seconds"], table)
    click.echo(f"\nas of {report.as_of.isoformat()}, services {', '.join(report.services) or 'none'}: {report.store}")
    if not report.services:
        context.console.note(
            "Nothing can be looked up yet: that takes a service, an exposure of type ml whose views are all online."
        )
