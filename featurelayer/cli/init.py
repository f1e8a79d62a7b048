"""Set up a dbt project: packages.yml, featurelayer.yml and a first view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from featurelayer.cli.options import Command, Context, project_options
from featurelayer.cli.output import write_document

if TYPE_CHECKING:
    from pathlib import Path

    from featurelayer.dbt.inventory import Inventory
    from featurelayer.dbt.suggest import Suggestion


@click.command(cls=Command, example="featurelayer init --model plane_legs")
@click.option("--model", metavar="NAME", help="dbt model or snapshot to print the YAML of a first view for.")
@click.option(
    "--git",
    metavar="URL",
    help="Git repository of featurelayer to name in packages.yml [default: a copy in the project, as a local package].",
)
@project_options
def command(context: Context, model: str | None, git: str | None) -> None:
    """Set up an existing dbt project for featurelayer.

    Adds the dbt package to packages.yml, writes featurelayer.yml, and prints the YAML to add to the chosen model. It
    never overwrites a file; it prints what to add by hand.
    """
    from featurelayer._version import __version__
    from featurelayer.dbt import suggest

    project, note = context.project, context.console.note
    suggestion = suggest.suggest_view(project, model, _output_columns) if model else None
    target = _target(context)
    if git:
        note(suggest.add_package(project.root, suggest.git_package(git, __version__)))
    else:
        if not suggest.has_package(project.root):
            note(_copy_package(project.root))
        note(suggest.add_package(project.root, suggest.local_package()))
    note(suggest.write_config(project.root, target, suggestion))
    if suggestion is None:
        note("Next: `featurelayer init --model NAME` prints the YAML that makes a dbt model a feature view.")
        return
    _explain(suggestion, context)
    write_document(suggestion.yaml)


def _explain(suggestion: Suggestion, context: Context) -> None:
    for doubt in suggestion.doubts:
        context.console.warn(doubt)
    context.console.note(f"{suggestion.place}, then run `dbt deps`, `dbt parse` and `featurelayer list`:")


def _output_columns(inventory: Inventory, unique_id: str, adapter: str) -> tuple[str, ...]:
    """Return the columns that a model's compiled SQL produces, as far as it can be followed."""
    model = inventory.model(unique_id)
    if model is None or not model.compiled_sql:
        return ()
    from featurelayer.dbt.lineage import trace

    output = trace(inventory, adapter=adapter, unique_ids=[unique_id]).output(unique_id)
    return output.columns if output is not None else ()


def _copy_package(root: Path) -> str:
    """Copy the dbt package out of the installed distribution, unless the project has a copy."""
    import shutil

    from featurelayer.dbt.suggest import LOCAL_PACKAGE, package_source

    destination = root / LOCAL_PACKAGE
    if destination.exists():
        return f"{LOCAL_PACKAGE}/ is there already; left as it is."
    shutil.copytree(package_source(), destination)
    return f"Copied the dbt package to {LOCAL_PACKAGE}/."


def _target(context: Context) -> str:
    """Return the target's name, or dbt's default if there is no profiles.yml."""
    from featurelayer.errors import ConfigError

    try:
        return context.project.target
    except ConfigError:
        return "dev"
