"""Write training sets as dbt models, or check that they are up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from featurelayer.cli.options import Command, Context, parse_pairs, project_options
from featurelayer.cli.output import echo, write_table

if TYPE_CHECKING:
    from featurelayer.dbt_model import DbtModel

_DIFF_LINES = 30


@click.command(cls=Command, example="featurelayer dbt-model write --service late_arrival")
@click.argument("action", type=click.Choice(["write", "check"]))
@click.option("--service", help="Feature service [default: all that name their `labels`, and all written before].")
@click.option("--labels", metavar="MODEL", help="dbt model of the labels [default: the service's `labels`].")
@click.option("--label-timestamp", metavar="COLUMN", help="Label column with the time [default: the service's].")
@click.option("--key", "keys", multiple=True, metavar="KEY=COLUMN", help="Label column of a request key.")
@click.option(
    "--mode",
    type=click.Choice(["known_at", "event_time"]),
    default="known_at",
    show_default=True,
    help="event_time ignores when rows became available: only to measure the leak.",
)
@click.option(
    "--path",
    "folder",
    metavar="FOLDER",
    help="Folder of the file [default: featurelayer/ in the first of model-paths].",
)
@project_options
def command(
    context: Context,
    action: str,
    service: str | None,
    labels: str | None,
    label_timestamp: str | None,
    keys: tuple[str, ...],
    mode: str,
    folder: str | None,
) -> None:
    """Write a training set as a dbt model, or check that the one in the project is current.

    `dbt build` then builds it after its labels and views, with the same rows as build-training-set. `check` prints the
    difference and ends with 1 if a file is stale, missing or left over. Neither needs a warehouse if the labels' model
    declares its columns.
    """
    if service is None and (labels or label_timestamp or keys or folder or mode != "known_at"):
        raise click.UsageError("Pass the service with --service.")
    from featurelayer.layer import FeatureLayer

    layer = FeatureLayer.from_project(context.project, warn=context.console.warn)
    models = layer.dbt_models(
        service,
        labels,
        label_timestamp=label_timestamp,
        keys=parse_pairs("--key REQUEST_KEY=LABEL_COLUMN", keys),
        mode=mode,
        folder=folder,
    )
    if action == "write":
        _write(context, models)
    else:
        _check(models)


def _write(context: Context, models: tuple[DbtModel, ...]) -> None:
    from featurelayer.dbt_model import State, write_models

    written = write_models(context.project.root, models)
    kept = [model for model in models if model.state is not State.ORPHANED]
    write_table(
        ["FILE", "STATE"], [[str(model.path), "written" if model in written else "unchanged"] for model in kept]
    )
    for model in models:
        if model.state is State.ORPHANED:
            context.console.warn(str(model.problem()))


def _check(models: tuple[DbtModel, ...]) -> None:
    from featurelayer.errors import OutdatedModel

    write_table(["FILE", "STATE"], [[str(model.path), str(model.state)] for model in models])
    for model in models:
        lines = list(model.diff())
        more = len(lines) - _DIFF_LINES
        for line in lines[:_DIFF_LINES]:
            echo(line)
        if more > 0:
            echo(f"... {more} more lines")
    problems = [problem for model in models if (problem := model.problem())]
    if problems:
        raise OutdatedModel(problems)
