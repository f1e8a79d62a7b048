"""List features, entities, views or services."""

from __future__ import annotations

from typing import Any

import click

from featurelayer.cli.options import Command, Context, project_options, warn_of_missing_columns


@click.command(cls=Command, example="featurelayer list services --format json")
@click.argument("kind", type=click.Choice(["entities", "views", "features", "services"]), default="features")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Output format.",
)
@project_options
def command(context: Context, kind: str, output_format: str) -> None:
    """List the features of the project, or its entities, views or services.

    Reads dbt's manifest, and its catalog if there is one: no warehouse, no profiles.yml.
    """
    from featurelayer.cli import output

    items = _collect(context, kind)
    if kind in ("features", "views"):
        warn_of_missing_columns(context, tuple(context.registry.views.values()))
    if output_format == "json":
        output.write_json(items)
        return
    if not items:
        context.console.note(f"The project declares no {kind}. `featurelayer init` shows how to begin.")
    headings, row = _TABLES[kind]
    output.write_table(headings, [row(item) for item in items])


def _collect(context: Context, kind: str) -> list[dict[str, Any]]:
    from featurelayer.cli import describe

    registry = context.registry
    if kind == "entities":
        return [describe.entity(entity, registry) for entity in registry.entities.values()]
    if kind == "views":
        return [describe.view(view, registry) for view in registry.views.values()]
    if kind == "services":
        return [describe.service(service) for service in registry.services.values()]
    return [describe.feature(view, feature, registry) for view in registry.views.values() for feature in view.features]


def _keys(keys: dict[str, str]) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in keys.items())


_TABLES: dict[str, Any] = {
    "features": (
        ("FEATURE", "TYPE", "ENTITY", "DESCRIPTION"),
        lambda item: (item["feature"], item["type"], ", ".join(item["entities"]), item["description"]),
    ),
    "views": (
        ("VIEW", "ENTITY", "EVENT TIME", "TTL", "ONLINE", "FEATURES", "OWNER"),
        lambda item: (
            item["view"],
            ", ".join(item["entities"]),
            item["event_time"] or "static",
            item["ttl"] or "-",
            "yes" if item["online"] else "no",
            str(len(item["features"])),
            item["owner"],
        ),
    ),
    "entities": (
        ("ENTITY", "KEYS", "VIEWS", "DESCRIPTION"),
        lambda item: (item["entity"], _keys(item["keys"]), str(len(item["views"])), item["description"]),
    ),
    "services": (
        ("SERVICE", "FEATURES", "REQUEST KEYS", "LABEL TIMESTAMP", "OWNER"),
        lambda item: (
            item["service"],
            str(len(item["columns"])),
            _keys(item["request_keys"]),
            item["label_timestamp"] or "-",
            item["owner"],
        ),
    ),
}
