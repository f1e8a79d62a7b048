"""Print the JSON Schema of the annotations, for editors."""

from __future__ import annotations

import click

from featurelayer.cli.options import Command
from featurelayer.cli.output import write_document


@click.command(cls=Command, example="featurelayer schema > featurelayer.schema.json")
def command() -> None:
    """Print the JSON Schema of dbt properties files with our annotations.

    It constrains only what stands under config.meta.featurelayer, so an editor can use it beside dbt's own schema.
    """
    from featurelayer.dbt.schema import read_schema

    write_document(read_schema())
