"""Convert dbt-features annotations or Feast definitions to featurelayer."""

from __future__ import annotations

from pathlib import Path

import click

from featurelayer.cli.options import Command, Context, project_options
from featurelayer.cli.output import echo, write_document


@click.command(cls=Command, example="featurelayer migrate --from dbt-features --dry-run")
@click.option(
    "--from", "source", required=True, type=click.Choice(["dbt-features", "feast"]), help="Tool to migrate from."
)
@click.option(
    "--repo",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of Feast's Python files [default: that of feature_store.yaml].",
)
@click.option("--dry-run", is_flag=True, help="Print the changes as a unified diff; write nothing.")
@project_options
def command(context: Context, source: str, repo: Path | None, dry_run: bool) -> None:
    """Convert dbt-features annotations or Feast definitions to featurelayer.

    Edits the YAML of the dbt project in place; review the result with git diff. Feast's Python is parsed, never run.
    Definitions that can't be converted are listed on stderr.
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
        context.console.note("To convert by hand:")
    for note in migration.notes:
        context.console.note(f"  {note}")
    if not dry_run:
        context.console.note("Run `dbt parse` and `featurelayer list` to see what is still missing.")
