"""Profile features and check nulls, ranges, volume, freshness, coverage and drift."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from featurelayer.cli.options import Command, Context, parse_names, parse_timestamp, project_options
from featurelayer.cli.output import echo, write_document, write_json, write_table

if TYPE_CHECKING:
    from featurelayer.monitor.result import MonitorReport


@click.command(cls=Command, help=__doc__, example="featurelayer monitor -s plane_legs --report monitoring")
@click.option(
    "-s", "--select", "names", multiple=True, metavar="VIEW", help="Views to monitor, - for stdin [default: all]."
)
@click.option(
    "--baseline",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH.lock.json",
    help="Training set to compare with [default: the annotated baseline].",
)
@click.option("--as-of", metavar="TIME", help="Evaluate as of this time, ISO 8601, UTC if naive [default: now].")
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write an HTML report with charts to this folder.",
)
@click.option(
    "--write-seed",
    "seed",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH.csv",
    help="Write the baseline as a dbt seed, for the test featurelayer.psi_below.",
)
@click.option("--no-record", is_flag=True, help="Do not record results or send alerts.")
@click.option(
    "--lock-timeout",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a DuckDB file locked by another process.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json", "junit"]),
    default="text",
    help="Output format.",
)
@project_options
def command(
    context: Context,
    names: tuple[str, ...],
    baseline: Path | None,
    as_of: str | None,
    report: Path | None,
    seed: Path | None,
    no_record: bool,
    lock_timeout: float,
    output_format: str,
) -> int:
    """Run the monitors; 1 if one fails."""
    from datetime import timedelta

    from featurelayer.layer import FeatureLayer

    layer = FeatureLayer.from_project(context.project, warn=context.console.warn)
    moment = parse_timestamp("--as-of", as_of)
    result = layer.monitor(
        parse_names(names),
        baseline=baseline,
        as_of=moment,
        record=not no_record,
        lock_timeout=timedelta(seconds=lock_timeout),
    )
    if seed is not None:
        from featurelayer.monitor.seed import write_seed

        rows = write_seed(result, seed)
        context.console.note(f"{seed}: {rows:,} bins of the baseline")
    if report is not None:
        from featurelayer.monitor.report import write_report

        context.console.note(f"the report is {write_report(result, report, context.project.name)}")
    if output_format == "json":
        write_json(result.to_dict())
    elif output_format == "junit":
        write_document(result.to_junit())
    else:
        _print_report(result)
    return 1 if result.failed else 0


def _print_report(found: MonitorReport) -> None:
    from featurelayer.monitor_records import MonitorStatus
    from featurelayer.terminal_text import format_number

    results = [*found.with_status(MonitorStatus.ERROR), *found.with_status(MonitorStatus.WARN)]
    if results:
        table = [
            [
                str(result.status),
                result.name,
                result.metric,
                format_number(result.value),
                format_number(result.threshold),
                result.meaning,
                result.baseline,
            ]
            for result in results
        ]
        write_table(["status", "feature", "metric", "value", "limit", "meaning", "baseline"], table)
        echo()
    for context in found.contexts:
        if context.no_data_reason:
            echo(f"{context.view.id}: no rows to evaluate: {context.no_data_reason}")
    counts = found.counts
    views = len({each.view.id for each in found.contexts})
    echo(
        f"{counts['error']} failed, {counts['warn']} warned, {counts['pass']} passed, {counts['skipped']} skipped "
        f"in {views} view{'' if views == 1 else 's'} as of {found.at.isoformat(timespec='seconds')}"
    )
