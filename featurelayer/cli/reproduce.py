"""Rebuild a training set from its lock file and report any difference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from featurelayer.cli.options import Command, Context, project_options
from featurelayer.cli.output import echo, write_json, write_table

if TYPE_CHECKING:
    from featurelayer.training.mismatch_reasons import ColumnDifference, Reproduction


@click.command(cls=Command, help=__doc__, example="featurelayer reproduce train.lock.json")
@click.argument("lock", type=click.Path(path_type=Path, dir_okay=False), metavar="PATH.lock.json")
@click.option("--labels", metavar="PATH|RELATION", help="Labels of that build [default: those that the lock names].")
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", help="Output format.")
@project_options
def command(context: Context, lock: Path, labels: str | None, output_format: str) -> int:
    """Reproduce a training set; 1 if it is not identical."""
    from featurelayer.cli.progress import show_steps
    from featurelayer.layer import FeatureLayer

    layer = FeatureLayer.from_project(context.project, warn=context.console.warn)
    with show_steps(context.console) as progress:
        result = layer.reproduce(lock, labels, progress=progress)
    if output_format == "json":
        write_json(result.to_dict())
    else:
        _print_reproduction(result)
    return 0 if result.identical else 1


def _print_reproduction(found: Reproduction) -> None:
    if found.differences:
        table = [
            [column.name, _format_count(column, found.rows), ", ".join(map(str, column.examples))]
            for column in found.differences
        ]
        write_table(["column", "rows that differ", "first of them, from 0"], table)
        echo()
    for reason in found.reasons:
        echo(f"request: {reason}")
    for join in found.joins:
        for reason in join.reasons:
            echo(f"{join.name}: {reason}")
    for note in found.notes:
        echo(f"without effect: {note}")
    if found.joins or found.reasons or found.notes:
        echo()
    echo(_verdict(found))


def _format_count(column: ColumnDifference, rows: int) -> str:
    return f"unknown: {column.unknown}" if column.rows is None else f"{column.rows:,} of {rows:,}"


def _verdict(found: Reproduction) -> str:
    size = f"{found.rows:,} rows x {found.columns} columns"
    if found.identical:
        return f"identical to {found.lock}: {size}"
    if not found.differences:
        return f"the columns of {found.lock} are identical ({size}), but the request gives other columns now"
    return f"{len(found.differences)} of {found.columns} columns differ from {found.lock}"
