"""Manage the online store: create, inspect, back up, drain streamed rows, erase a subject."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featurelayer.cli.options import CommandGroup, Context, console_of, parse_names, parse_pairs, project_options
from featurelayer.cli.output import echo, write_document, write_json, write_table

if TYPE_CHECKING:
    from featurelayer.layer import FeatureLayer
    from featurelayer.online.status import StoreStatus, ViewStatus


@click.group(cls=CommandGroup, help=__doc__)
def command() -> None:
    """Hold the commands below."""


@command.command(example="featurelayer online create -t prod")
@click.option(
    "--template",
    type=click.Choice(["cloudformation", "terraform"]),
    help="Print infrastructure code for the DynamoDB tables; create nothing.",
)
@project_options
def create(context: Context, template: str | None) -> None:
    """Create this target's online store; safe to repeat.

    On DynamoDB: a table on demand, with TTL switched on and the tags of featurelayer.yml, or one for each online view.
    A table of another shape, or one that is not tagged as ours, is left alone and reported. On SQLite: the file.
    """
    from featurelayer.layer import FeatureLayer
    from featurelayer.online.base import redact_url

    layer = FeatureLayer.from_project(context.project, warn=context.console.warn)
    if template is not None:
        write_document(_render_template(layer, template))
        return
    outcome = layer.online.create(notify=context.console.note)
    for difference in outcome.differs:
        context.console.warn(f"{difference}; change it where the store is managed")
    echo(f"{'created' if outcome.created else 'already there'}: {redact_url(layer.online.url)}")


@command.command(example="featurelayer online status -t prod")
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", help="Output format.")
@project_options
def status(context: Context, output_format: str) -> int:
    """Print the settings and contents of the online store.

    That is its own facts and, per view, the newest export, its age, and whether it is as fresh as the view demands.
    Ends with 1 if the store is not one of ours or lacks a view's table. A stale view is only shown.
    """
    from featurelayer.layer import FeatureLayer

    current = FeatureLayer.from_project(context.project, warn=context.console.warn).store_status()
    if output_format == "json":
        write_json(current.to_dict())
    else:
        _print_status(current)
    console = console_of(click.get_current_context())
    for problem in current.problems:
        console.error(f"this is not a featurelayer store: {problem}")
    for table in current.missing:
        console.error(f"there is no table '{table}'; `featurelayer online create` makes it")
    return 1 if current.problems or current.missing else 0


@command.command(example="featurelayer online backup online-copy.db")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", help="Output format.")
@project_options
def backup(context: Context, path: Path, overwrite: bool, output_format: str) -> None:
    """Copy a SQLite store to one file, while it is in use.

    The file at PATH is whole or not there. It needs no other file and can be shipped, in a container image
    for example.
    """
    from featurelayer.layer import FeatureLayer

    facts = FeatureLayer.from_project(context.project, warn=context.console.warn).backup_store(
        path, overwrite=overwrite
    )
    if output_format == "json":
        write_json({name: facts[name] for name in ("path", "items", "bytes")})
    else:
        echo(f"{facts['items']:,} items, {facts['bytes']:,} bytes: {facts['path']}")


_LOCK_TIMEOUT = click.option(
    "--lock-timeout",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a DuckDB file locked by another process.",
)


@command.command(example="featurelayer online drain -s plane_legs")
@click.option(
    "-s",
    "--select",
    "names",
    multiple=True,
    metavar="VIEW",
    help="Views to drain, - for stdin [default: all that were written to].",
)
@_LOCK_TIMEOUT
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", help="Output format.")
@project_options
def drain(context: Context, names: tuple[str, ...], lock_timeout: float, output_format: str) -> None:
    """Append rows that clients wrote between exports to the warehouse.

    Each row is appended to featurelayer_streamed__VIEW exactly once, whatever is interrupted or run twice, and then
    leaves the log in the online store.
    """
    from datetime import timedelta

    from featurelayer.layer import FeatureLayer

    layer = FeatureLayer.from_project(context.project, warn=context.console.warn)
    reports = layer.drain(parse_names(names), lock_timeout=timedelta(seconds=lock_timeout))
    if output_format == "json":
        write_json({"views": [each.to_dict() for each in reports]})
    elif reports:
        rows = [[each.view, f"{each.appended:,}", f"{each.known:,}", each.table] for each in reports]
        write_table(["view", "appended", "known", "table"], rows)
    else:
        context.console.note("There is nothing to drain.")


@command.command(example="featurelayer online forget --key tailnum=N14228")
@click.option(
    "--key",
    "keys",
    multiple=True,
    required=True,
    metavar="COLUMN=VALUE",
    help="Key column and its value; repeat for a key of several columns.",
)
@click.option("--view", metavar="VIEW", help="View to erase from [default: all online views with these columns].")
@_LOCK_TIMEOUT
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", help="Output format.")
@project_options
def forget(context: Context, keys: tuple[str, ...], view: str | None, lock_timeout: float, output_format: str) -> None:
    """Erase a subject from the online store and from the export records.

    That is its values, its rows in the log and in the tables of streamed rows, and every kept export of it. Nothing is
    asked. Erase the subject in the views' sources first, or the next export brings it back.
    """
    from datetime import timedelta

    from featurelayer.layer import FeatureLayer

    layer = FeatureLayer.from_project(context.project, warn=context.console.warn)
    reports = layer.forget(
        parse_pairs("--key COLUMN=VALUE", keys), view=view, lock_timeout=timedelta(seconds=lock_timeout)
    )
    if output_format == "json":
        write_json({"views": [each.to_dict() for each in reports]})
        return
    rows = [
        [each.view, *(f"{count:,}" for count in (each.items, each.log, each.export_items, each.streamed))]
        for each in reports
    ]
    write_table(["view", "items", "log", "kept exports", "streamed"], rows)


def _render_template(layer: FeatureLayer, kind: str) -> str:
    from featurelayer.online.stores.dynamodb.templates import cloudformation, terraform

    tables, settings = layer.online.table_names, layer.online.table_settings
    if kind == "terraform":
        return terraform(tables, settings)
    import yaml

    return yaml.safe_dump(cloudformation(tables, settings), sort_keys=False, allow_unicode=True, width=120)


def _print_status(found: StoreStatus) -> None:
    facts = dict(_format_facts(found.store))
    width = max(len(name) for name in facts)
    for name, text in facts.items():
        echo(f"{name.ljust(width)}  {text}")
    tables = found.store.get("tables")
    if tables:
        echo()
        write_table(list(_TABLE_FACTS.values()), [_table_row(each) for each in tables])
    if found.views:
        echo()
        headings = ["view", "rows", "as of", "source time", "age", "freshness", "run"]
        write_table(headings, [_view_row(view) for view in found.views])


def _format_facts(store: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the facts as text; what the role may not see, or the server does not have, is unknown."""
    for name, value in store.items():
        if name in ("problems", "missing", "tables"):
            continue
        if name == "ttl" and value:
            text = " on ".join(part for part in (value["status"], value["attribute"]) if part)
        elif isinstance(value, dict):
            text = ", ".join(f"{key}={each}" for key, each in value.items())
        elif isinstance(value, bool):
            text = "on" if value else "off"
        elif isinstance(value, int):
            text = f"{value:,}"
        else:
            text = "unknown" if value is None else str(value)
        yield name.replace("_", " "), text


_TABLE_FACTS = {
    "table": "table", "state": "state", "billing": "billing", "ttl": "ttl", "deletion protection": "protection",
    "point in time recovery": "recovery", "tags": "tags", "items": "items", "bytes": "bytes",
}  # fmt: skip


def _table_row(facts: dict[str, Any]) -> list[str]:
    cells = dict(_format_facts(facts))
    return [cells.get(name, "") for name in _TABLE_FACTS]


def _view_row(view: ViewStatus) -> list[str]:
    from datetime import timedelta

    from featurelayer.durations import format_age

    return [
        view.view,
        f"{view.rows:,}" if view.rows is not None else "",
        view.as_of.isoformat() if view.as_of else "",
        view.source_time.isoformat() if view.source_time else "",
        format_age(timedelta(seconds=view.age_seconds)) if view.age_seconds is not None else "",
        view.freshness,
        str(view.run) if view.run is not None else "",
    ]
