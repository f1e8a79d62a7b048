"""Bring the annotations of dbt-features, or the definitions of a Feast repository, over."""

from __future__ import annotations

from pathlib import Path

import click

from featurelayer.cli.options import Context, project_options
from featurelayer.cli.output import echo, write_document


@click.command()
@click.option(
    "--from", "source", required=True, type=click.Choice(["dbt-features", "feast"]), help="The tool to migrate from."
)
@click.option(
    "--repo",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of Feast's Python files [default: that of feature_store.yaml in the project].",
)
@click.option("--dry-run", is_flag=True, help="Print the changes as a unified diff; write nothing.")
@project_options
def command(context: Context, source: str, repo: Path | None, dry_run: bool) -> None:
    """Bring the annotations of dbt-features, or the definitions of a Feast repository, over.

    Writes into the YAML of the dbt project and changes nothing else in it: look at it with git diff. Feast's Python is
    read and never run. What does not map is listed on stderr.
    """
    from featurelayer.migrate.project import plan_migration

    if repo is not None and source != "feast":
        raise click.UsageError("--repo goes with --from feast.")
    migration = plan_migration(context.project, source, repo)
    if dry_run:
        for edit in migration.edits:
            write_document("".join(edit.diff()))
    else:
        migration.write(context.project.root)
        for edit in migration.edits:
            echo(f"{'Changed' if edit.before else 'Wrote'} {edit.path.as_posix()}")
    if migration.notes:
        context.console.note("Does not map by itself:")
    for note in migration.notes:
        context.console.note(f"  {note}")
    if not dry_run:
        context.console.note("Run `dbt parse` and `featurelayer list`, which say what is still missing.")
