"""Describe one view, feature, entity, service or owner."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from featurelayer.cli.options import Command, Context, parse_timestamp, project_options, warn_of_missing_columns
from featurelayer.cli.output import echo
from featurelayer.cli.render import render_description

if TYPE_CHECKING:
    from featurelayer.catalog.site import Site
    from featurelayer.model import FeatureView

_KINDS = ("view", "feature", "entity", "service", "owner")
_EMPTY: tuple[Any, ...] = (None, "", [], {})


@click.command(cls=Command, example="featurelayer show late_arrival")
@click.argument("name")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Output format.",
)
@click.option("--lateness", is_flag=True, help="Measure how late a view's rows arrive and recommend a delay.")
@click.option(
    "--coverage",
    type=click.FloatRange(min=0, max=1, min_open=True),
    default=0.99,
    show_default=True,
    metavar="SHARE",
    help="With --lateness: share of rows that the delay must cover.",
)
@click.option("--since", metavar="TIME", help="With --lateness: ignore earlier events, ISO 8601, UTC if naive.")
@project_options
def command(
    context: Context, name: str, output_format: str, lateness: bool, coverage: float, since: str | None
) -> None:
    """Show one view, feature (view.feature), entity, service or owner.

    If a name has two meanings, add the kind: view:plane, entity:plane. --lateness reads the warehouse.
    """
    from featurelayer.cli import output

    if lateness:
        from featurelayer.layer import FeatureLayer

        layer = FeatureLayer.from_project(context.project, warn=context.console.warn)
        view = name.removeprefix("view:")
        observed = layer.lateness(view, coverage=coverage, since=parse_timestamp("--since", since))
        if output_format == "json":
            output.write_json(observed.to_dict())
        else:
            output.write_lateness(observed)
        return
    described = _describe(context, name)
    if output_format == "json":
        output.write_json(described)
    elif sys.stdout.isatty():
        render_description(described)
    else:
        echo("\n".join(_lines(described)))


def _describe(context: Context, name: str) -> dict[str, Any]:
    from featurelayer.errors import PlanError, Problem, UnknownNameError

    kind, _, rest = name.partition(":")
    searched, bare = ([kind], rest) if kind in _KINDS and rest else (list(_KINDS), name)
    matches = [(kind, described) for kind in searched if (described := _find(context, kind, bare)) is not None]
    if not matches:
        raise UnknownNameError(
            searched[0] if len(searched) == 1 else "view, feature, entity or service", bare, _list_names(context)
        )
    if len(matches) > 1:
        kinds = [kind for kind, _ in matches]
        what = f"'{name}' means more than one thing: {', '.join(kinds)}"
        raise PlanError([Problem(what=what, fix=f"write {' or '.join(f'{kind}:{name}' for kind in kinds)}")])
    return matches[0][1]


def _find(context: Context, kind: str, name: str) -> dict[str, Any] | None:
    from featurelayer.cli import describe
    from featurelayer.errors import UnknownNameError

    registry = context.registry
    try:
        match kind:
            case "view":
                view = registry.view(name)
                return describe.view(view, registry, _site(context, view))
            case "feature":
                view, feature = registry.feature(name)
                return describe.feature(view, feature, registry, _site(context, view))
            case "entity":
                return describe.entity(registry.entity(name), registry)
            case "owner":
                from featurelayer.catalog.owners import group_owners

                owner = group_owners(registry).get(name)
                return None if owner is None else describe.owner(owner)
            case _:
                return describe.service(registry.service(name))
    except UnknownNameError:
        return None


def _site(context: Context, view: FeatureView) -> Site | None:
    """Return the lineage, tests and docs in dbt's files, if they can be read."""
    from featurelayer.catalog.run import collect_view
    from featurelayer.catalog.site import Site
    from featurelayer.errors import FeatureLayerError

    try:
        warn_of_missing_columns(context, (view,))
        return Site(collect_view(context.project, context.registry, view))
    except FeatureLayerError as error:
        context.console.warn(f"less is known of {view.id}: {error.message}")
        return None


def _list_names(context: Context) -> list[str]:
    from featurelayer.catalog.owners import group_owners

    registry = context.registry
    features = [f"{view.id}.{feature.name}" for view in registry.views.values() for feature in view.features]
    owners = group_owners(registry)
    return [*registry.views, *features, *registry.entities, *registry.services, *owners]


def _lines(described: dict[str, Any], indent: str = "") -> Iterator[str]:
    """Yield `key: value` lines; what is empty is left out."""
    shown = {key: value for key, value in described.items() if value not in _EMPTY}
    width = max((len(key) for key, value in shown.items() if not _is_nested(value)), default=0)
    for key, value in shown.items():
        if _is_nested(value):
            yield f"{indent}{key}:"
            for item in value if isinstance(value, list) else [value]:
                yield from _item(item, indent + "  ")
        else:
            yield f"{indent}{key.ljust(width)}  {_text(value)}"


def _item(item: dict[str, Any], indent: str) -> Iterator[str]:
    first, *rest = (f"{key} {_text(value)}" for key, value in item.items() if value not in _EMPTY)
    yield f"{indent}{first.partition(' ')[2]}" + (f"  ({'; '.join(rest)})" if rest else "")


def _is_nested(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ", ".join(f"{key}={_text(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    return "null" if value is None else " ".join(str(value).split())
