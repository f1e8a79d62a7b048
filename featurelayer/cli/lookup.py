"""Look up the features of one request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from featurelayer.cli.options import Command, Context, parse_pairs, parse_timestamp, project_options
from featurelayer.cli.output import write_json, write_table

if TYPE_CHECKING:
    from featurelayer.online import ServiceDefinition


_DEADLINE = 30.0


@click.command(
    cls=Command,
    help=__doc__,
    example="featurelayer lookup --service late_arrival --key tailnum=N14228 --key hour=7",
)
@click.option("--service", required=True, help="Feature service, or service@fingerprint.")
@click.option(
    "--key",
    "keys",
    multiple=True,
    required=True,
    metavar="KEY=VALUE",
    help="A request key and its value; once per key.",
)
@click.option("--now", metavar="TIME", help="Judge age and expiry at this time, ISO 8601 [default: now].")
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table", help="Output format.")
@project_options
def command(context: Context, service: str, keys: tuple[str, ...], now: str | None, output_format: str) -> None:
    """Print a request's features with value, status and age."""
    from featurelayer.layer import FeatureLayer

    texts, at = parse_pairs("--key KEY=VALUE", keys), parse_timestamp("--now", now)
    with FeatureLayer.from_project(context.project, warn=context.console.warn).client(patient=True) as client:
        definition = client.service(service, deadline=_DEADLINE)
        vector = client.lookup(service, _parse_keys(definition, texts), now=at, deadline=_DEADLINE)
    if output_format == "json":
        write_json({name: _feature_json(feature) for name, feature in vector.features.items()})
        return
    from featurelayer.durations import format_age

    write_table(
        ["feature", "value", "status", "age"],
        [
            [
                name,
                "" if feature.value is None else str(feature.value),
                str(feature.status),
                format_age(feature.age) if feature.age is not None else "",
            ]
            for name, feature in vector.features.items()
        ],
    )


def _parse_keys(service: ServiceDefinition, texts: dict[str, str]) -> dict[str, Any]:
    """The values in the types of the service's request keys; unknown names are left for the lookup to report."""
    from featurelayer.model import DType
    from featurelayer.online.keys import parse_key

    types = {key.name: DType.parse(key.dtype) for key in service.request_keys}
    names = {name: service.aliases.get(name, name) for name in texts}
    return {
        name: parse_key(types[names[name]], text, where=f"--key {name}") if names[name] in types else text
        for name, text in texts.items()
    }


def _feature_json(feature: Any) -> dict[str, Any]:
    return {
        "value": feature.value,
        "status": str(feature.status),
        "event_time": feature.event_time.isoformat() if feature.event_time else None,
        "age_seconds": feature.age.total_seconds() if feature.age is not None else None,
    }
