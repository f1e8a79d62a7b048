"""Run the complete workflow on flight data and measure the cost of a leaky join."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featurelayer.cli.console import Console
from featurelayer.cli.options import Command, console_of
from featurelayer.cli.output import echo, format_ratio, write_table
from featurelayer.cli.progress import show_steps

if TYPE_CHECKING:
    from featurelayer.demo import Comparison, Lookups
    from featurelayer.training import Report

_FOLDER = "featurelayer-demo"
_SHOWN_FLIGHTS = 3
_SHOWN_FEATURES = (
    "plane_legs__arr_delay",
    "carrier_punctuality_7d__late_share",
    "airport_recent_3h__dep_delay_mean",
    "airport_hour_28d__late_share",
    "airport_weather__wind_speed",
    "plane_facts__manufacturer",
)


@click.command(cls=Command, example="featurelayer demo --dir flights")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=_FOLDER,
    show_default=True,
    help="Folder for the demo: new, empty, or an earlier demo.",
)
@click.option("--keep", is_flag=True, help="Keep your edits of an earlier demo instead of updating it.")
@click.option("-q", "--quiet", is_flag=True, help="Do not show progress.")
@click.pass_context
def command(ctx: click.Context, folder: Path, keep: bool, quiet: bool) -> None:
    """Run the complete workflow on flight data and measure the cost of a leaky join.

    Copies a dbt project with New York's flights of 2013 to a folder, builds it with dbt, joins a training set, exports
    to an embedded store, looks up flights, and trains one model on leaky and on point-in-time features. It takes about
    two minutes, needs no service, and leaves everything in the folder for you to explore.
    """
    from featurelayer import demo

    demo.check_installed()
    from featurelayer.training import default_lock_path

    console = console_of(ctx)
    console.quiet = console.quiet or quiet
    with _print_section("1. Build the features with dbt"):
        home = demo.prepare(folder, keep=keep)
        echo(f"folder {home}")
        with show_steps(console) as progress:
            # Without a terminal there would be a line for each of dbt's nodes.
            echo(f"dbt build: {demo.build(home, progress if sys.stderr.isatty() else None)}")
    layer = demo.open_layer(home, console.warn)
    with _print_section("2. Join a training set, each flight as of two hours before departure"):
        with show_steps(console) as progress:
            training_file, report = demo.build_training_file(layer, home, progress)
        _print_report(report)
        lock = default_lock_path(training_file).name
        echo(f"\n{report.rows:,} flights in {training_file.name}; {lock} says what it was made of")
    with _print_section(f"3. Export as of {demo.MOMENT:%Y-%m-%d %H:%M} UTC, and look up"):
        _print_lookups(demo.look_up(layer, training_file))
    with _print_section("4. One model, four sets of features"):
        with show_steps(console) as progress:
            comparison = demo.compare(layer, training_file, progress)
        _print_comparison(comparison)
    _print_next_commands(home, console)


@contextmanager
def _print_section(title: str) -> Iterator[None]:
    """Print a heading before a section and its duration after it."""
    if sys.stdout.isatty():
        from rich.console import Console as Terminal

        Terminal().rule(f"[bold]{title}", align="left")
    else:
        echo(title)
        echo("-" * len(title))
    started = time.monotonic()
    yield
    echo(f"{time.monotonic() - started:.0f} s\n")


def _print_report(report: Report) -> None:
    from featurelayer.durations import format_age

    headings = ["view", "matched", "missing", "expired", "median age"]
    write_table(
        headings,
        [
            [
                view.name,
                *(format_ratio(count, report.rows) for count in (view.matched, view.missing, view.expired)),
                format_age(view.age["p50"]) if view.age else "",
            ]
            for view in report.views
        ],
    )


def _print_lookups(lookups: Lookups) -> None:
    from featurelayer.durations import format_age

    written = sum(view.written for view in lookups.export.views)
    echo(f"{written:,} rows of {len(lookups.export.views)} views to SQLite\n")
    shown = list(zip(lookups.requests, lookups.vectors, strict=True))[:_SHOWN_FLIGHTS]
    write_table(
        ["flight", "feature", "value", "status", "age"],
        [
            [
                " ".join(str(value) for value in request.values()) if index == 0 else "",
                name,
                _format_value(vector[name]),
                str(vector.features[name].status),
                format_age(age) if (age := vector.features[name].age) is not None else "",
            ]
            for request, vector in shown
            for index, name in enumerate(_SHOWN_FEATURES)
        ],
    )
    echo(
        f"\n{lookups.equal} of {lookups.values} values of the {len(lookups.requests)} flights predicted at that moment "
        "equal the training set's."
    )


def _format_value(value: object) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _print_comparison(comparison: Comparison) -> None:
    echo(
        f"Late by 15 minutes or more? Trained on {comparison.trained:,} flights, tested on the {comparison.tested:,} "
        f"from November on ({comparison.late:.0%} late).\n"
    )
    rows = [[score.features, f"{score.offline:.3f}", f"{score.live:.3f}"] for score in comparison.scores]
    write_table(["features", "AUC offline", "AUC live"], rows)
    leaky, honest = comparison.leaky, comparison.point_in_time
    echo(
        f"\nThe leaky join promises {leaky.offline:.3f} and delivers {leaky.live:.3f}: its means hold flights that had "
        f"not landed yet.\nThe point-in-time join promises {honest.offline:.3f} and delivers {honest.live:.3f}: its "
        "rows hold only what was\nknown at the prediction, as live rows do."
    )


def _print_next_commands(home: Path, console: Console) -> None:
    program = "featurelayer" if shutil.which("featurelayer") else f"{shlex.quote(sys.executable)} -m featurelayer"
    lookup = "--key tailnum=N14228 --key carrier=UA --key origin=EWR --key hour=7 --now 2013-12-01T12:00:00"
    commands = (
        f"cd {shlex.quote(str(home / 'dbt_project'))}",
        f"{program} list services",
        f"{program} show plane_legs",
        f"{program} build-training-set --service late_arrival --labels late_arrival_labels --show-sql",
        f"{program} lookup --service late_arrival {lookup}",
        f"{program} init --help    # and the same for a dbt project of your own",
    )
    if not console.quiet:
        echo("Next:\n" + "\n".join(f"  {line}" for line in commands))
