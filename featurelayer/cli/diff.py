"""Compare the features of this project with those of another manifest."""

from __future__ import annotations

from pathlib import Path

import click

from featurelayer.cli.options import Command, Context, project_options
from featurelayer.cli.output import echo, write_document


@click.command(cls=Command, example="featurelayer diff --state prod-artifacts")
@click.option(
    "--state",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of the manifest.json to compare with, like dbt's --state.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    show_default=True,
    help="Output format.",
)
@project_options
def command(context: Context, state: Path, output_format: str) -> int:
    """Compare the features of this project with those of another manifest.

    Reads two manifests; needs neither a warehouse nor profiles.yml. Exits with 1 on a breaking change.
    """
    from featurelayer.cli.output import write_json
    from featurelayer.diff.formats import markdown, text_lines
    from featurelayer.diff.run import diff_projects

    report = diff_projects(context.project, state)
    if output_format == "json":
        write_json(report.to_dict())
    elif output_format == "markdown":
        write_document(markdown(report))
    else:
        for line in text_lines(report):
            echo(line)
    for note in report.notes:
        context.console.note(note)
    return 1 if report.breaking else 0
