"""Build a static site of all features, or build and serve it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from featurelayer.cli.options import CommandGroup, Context, project_options
from featurelayer.cli.output import echo

_OPTIONS = (
    click.option(
        "--output", type=click.Path(path_type=Path), metavar="DIR", help="Folder to write [default: target/catalog]."
    ),
    click.option("--base-url", default="", metavar="URL", help="URL of the published site, for absolute links."),
    click.option("--title", default="", help="Title of the site."),
    click.option("--logo", type=click.Path(path_type=Path), metavar="PATH", help="Image file of the logo."),
    click.option("--dbt-docs", default="", metavar="URL", help="URL of the dbt docs site, to link to it."),
    click.option(
        "--state",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Show changes since the manifest in this folder.",
    ),
    click.option("--no-warehouse", is_flag=True, help="Only read dbt's files."),
)


def _site_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.group(cls=CommandGroup, help=__doc__)
def command() -> None:
    """Build a static site of all features, or build and serve it."""


@command.command("build", example="featurelayer catalog build --base-url https://features.example.com")
@_site_options
@project_options
def build(context: Context, /, **options: Any) -> None:
    """Write the site to a folder; open its index.html, no server is needed."""
    built = _build_site(context, **options)
    echo(built.folder / "index.html")
    context.console.note(f"{built.files:,} files, {built.bytes / 1_000_000:,.1f} MB")


@command.command("serve", example="featurelayer catalog serve --port 8080")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 picks a free one."
)
@_site_options
@project_options
def serve(context: Context, /, host: str, port: int, **options: Any) -> None:
    """Write the site and serve it until ctrl-c."""
    from featurelayer.catalog.server import open_server

    built = _build_site(context, **options)
    with open_server(built.folder, host, port) as running:
        echo(running.url)
        context.console.note("press ctrl-c to stop")
        running.run()


def _build_site(
    context: Context,
    output: Path | None,
    base_url: str,
    title: str,
    logo: Path | None,
    dbt_docs: str,
    state: Path | None,
    no_warehouse: bool,
) -> Any:
    from featurelayer.layer import FeatureLayer

    for option, url in (("--base-url", base_url), ("--dbt-docs", dbt_docs)):
        if url and not url.lower().startswith(("https://", "http://", "/", "./", "../")):
            raise click.UsageError(f"{option} takes an address such as https://example.com/features, not '{url}'.")
    layer = FeatureLayer.from_project(context.project, warn=context.console.warn)
    return layer.build_catalog(
        output,
        base_url=base_url,
        title=title,
        logo=logo,
        dbt_docs=dbt_docs,
        state=state,
        warehouse=not no_warehouse,
    )
