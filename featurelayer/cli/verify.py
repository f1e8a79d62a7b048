"""Compare online values with the warehouse and classify every mismatch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from featurelayer.cli.options import Command, Context, parse_names, project_options
from featurelayer.cli.output import echo, write_json, write_table

if TYPE_CHECKING:
    from featurelayer.verify import VerifyReport


@click.command(cls=Command, help=__doc__, example="featurelayer verify -s plane_legs --sample 5000")
@click.option(
    "-s", "--select", "names", multiple=True, metavar="VIEW", help="Views to verify, - for stdin [default: all online]."
)
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    metavar="KEYS",
    help="Keys to sample per view from the warehouse, and from the store.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0, max=1),
    default=0,
    show_default=True,
    envvar="FEATURELAYER_VERIFY_TOLERANCE",
    metavar="SHARE",
    help="Share of a view's keys that may differ, 0 to 1.",
)
@click.option(
    "--read-units",
    type=click.FloatRange(min=0, min_open=True),
    default=100,
    show_default=True,
    envvar="FEATURELAYER_VERIFY_READ_UNITS",
    metavar="UNITS",
    help="Most read units of DynamoDB to spend in a second.",
)
@click.option("--seed", type=int, metavar="N", help="Random seed; reuse the seed of a run to sample the same keys.")
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", help="Output format.")
@project_options
def command(
    context: Context,
    names: tuple[str, ...],
    sample: int,
    tolerance: float,
    read_units: float,
    seed: int | None,
    output_format: str,
) -> int:
    """Verify views; exit code 1 if more differs than is tolerated."""
    from featurelayer.cli.progress import show_items
    from featurelayer.layer import FeatureLayer

    layer = FeatureLayer.from_project(context.project, warn=context.console.warn)
    with show_items(context.console) as progress:
        report = layer.verify(
            parse_names(names), sample=sample, tolerance=tolerance, read_units=read_units, seed=seed, progress=progress
        )
    if output_format == "json":
        write_json(report.to_dict())
    else:
        _print_report(report)
    for view in report.views:
        if view.as_of is None:
            context.console.warn(
                f"{view.view}: no export of it has committed; run `featurelayer export -s {view.view}`"
            )
        elif not view.remembered:
            context.console.note(
                f"{view.view}: the warehouse does not remember the last export, so classes are told by the items alone"
            )
    return 0 if report.ok else 1


def _print_report(report: VerifyReport) -> None:
    from featurelayer.verify.values import MEANING

    rows = [
        [
            view.view,
            view.as_of.isoformat() if view.as_of is not None else "not exported",
            *(f"{count:,}" for count in (view.rows, view.compared, view.equal)),
            ", ".join(f"{count:,} {name}" for name, count in view.excused.items()),
            f"{view.mismatches:,}",
            "pass" if view.ok else "FAIL",
        ]
        for view in report.views
    ]
    write_table(["view", "as of", "rows", "compared", "equal", "excused", "differ", ""], rows)
    classes = {name: view for view in report.views for name in view.classes}
    if classes:
        echo()
        write_table(
            ["view", "class", "keys"],
            [[view.view, str(name), f"{count:,}"] for view in report.views for name, count in view.classes.items()],
        )
        echo()
        write_table(
            ["view", "key", "class", "feature", "warehouse", "online", "why"],
            [
                [view.view, each.key, str(each.kind), each.feature, each.expected, each.online, each.why]
                for view in report.views
                for each in view.examples
            ],
        )
        echo()
        for name, meaning in MEANING.items():
            if name in classes:
                echo(f"{name}: {meaning}")
    echo(f"\nseed {report.seed}: {report.store}")
