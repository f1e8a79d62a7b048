"""Profile the features and judge them: nulls, ranges, volume, freshness, coverage, drift."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from featurelayer.cli.options import Context, parse_names, parse_timestamp, project_options
from featurelayer.cli.output import echo, write_document, write_json, write_table

if TYPE_CHECKING:
    from featurelayer.monitor import MonitorReport


@click.command(help=__doc__)
@click.option("-s", "--select", "names", multiple=True, metavar="VIEW", help="Views, - for stdin [default: all].")
@click.option(
    "--baseline",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH.lock.json",
    help="Compare with this training set [default: what the annotations say].",
)
@click.option("--as-of", metavar="TIME", help="Judge from this time, ISO 8601, UTC if naive [default: now].")
@click.option(
    "--report", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write index.html with charts."
)
@click.option(
    "--write-seed",
    "seed",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH.csv",
    help="Write the baseline's histograms as a dbt seed, for the test featurelayer.psi_below.",
)
@click.option("--no-record", is_flag=True, help="Keep nothing in the warehouse and send no alert.")
@click.option(
    "--lock-timeout",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a DuckDB file that another process holds.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json", "junit"]),
    default="text",
    help="How the results look.",
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
    found = layer.monitor(
        parse_names(names),
        baseline=baseline,
        as_of=moment,
        record=not no_record,
        lock_timeout=timedelta(seconds=lock_timeout),
    )
    if seed is not None:
        from featurelayer.monitor.seed import write_seed

        rows = write_seed(found, seed)
        context.console.note(f"{seed}: {rows:,} bins of the baseline")
    if report is not None:
        from featurelayer.monitor.report import write_report

        context.console.note(f"the report is {write_report(found, report, context.project.name)}")
    if output_format == "json":
        write_json(found.to_dict())
    elif output_format == "junit":
        write_document(found.to_junit())
    else:
        _print_report(found)
    return 1 if found.failed else 0


def _print_report(found: MonitorReport) -> None:
    from featurelayer.monitor.result import format_number
    from featurelayer.monitor_records import MonitorStatus

    results = [*found.of(MonitorStatus.ERROR), *found.of(MonitorStatus.WARN)]
    if results:
        table = [
            [
                str(result.status),
                result.name,
                result.metric,
                "" if result.value is None else format_number(result.value),
                "" if result.threshold is None else format_number(result.threshold),
                result.meaning,
                result.baseline,
            ]
            for result in results
        ]
        write_table(["status", "feature", "metric", "value", "limit", "meaning", "baseline"], table)
        echo()
    for watched in found.watched:
        if watched.nothing:
            echo(f"{watched.view.id}: nothing to judge: {watched.nothing}")
    counts = found.counts
    views = len({each.view.id for each in found.watched})
    echo(
        f"{counts['error']} failed, {counts['warn']} warned, {counts['pass']} passed, {counts['skipped']} skipped "
        f"in {views} view{'' if views == 1 else 's'} as of {found.at.isoformat(timespec='seconds')}"
    )
