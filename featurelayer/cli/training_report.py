"""Print the report of a training set and the plan of a build as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featurelayer.cli.output import echo, format_ratio, write_table
from featurelayer.durations import format_age

if TYPE_CHECKING:
    from featurelayer.training import Report
    from featurelayer.training.estimate import BuildPlan


def print_report(report: Report) -> None:
    """Print what the labels found in each view and the shares of missing values of each feature."""
    rows = [
        [
            view.name,
            format_ratio(view.matched, report.rows),
            format_ratio(view.missing, report.rows),
            format_ratio(view.expired, report.rows),
            *(format_age(view.age[name]) if view.age else "" for name in ("p50", "p90", "max")),
            f"{view.ties:,}",
        ]
        for view in report.views
    ]
    write_table(["view", "matched", "missing", "expired", "age p50", "age p90", "age max", "ties"], rows)
    echo()
    share = "{:.1%}".format
    write_table(
        ["feature", "null", "missing", "expired", "default"],
        [[f.name, share(f.null), share(f.missing), share(f.expired), share(f.default)] for f in report.features],
    )
    if report.modes is not None:
        echo("\nCells that differ between the modes:\n")
        pairs = report.modes.pairs
        write_table(
            ["feature", *(f"{pair.one} / {pair.other}" for pair in pairs)],
            [[f.name, *(f"{pair.shares[f.name]:.2%}" for pair in pairs)] for f in report.features],
        )
        echo()
        for pair in pairs:
            echo(f"{pair.one} / {pair.other}: {pair.meaning}")


def print_build_plan(plan: BuildPlan) -> None:
    """Print what a build would read, relation by relation."""
    if plan.relations:
        rows = [
            [
                relation.relation,
                str(relation.scans),
                _format_count(relation.rows),
                _format_count(relation.kept),
                str(len(relation.columns)),
                "" if relation.bytes is None else _format_megabytes(relation.bytes),
            ]
            for relation in plan.relations
        ]
        write_table(["relation", "scans", "rows", "expected", "columns", "MB"], rows)
        echo()
    if plan.text:
        echo(f"{plan.text}\n")
    echo(f"{plan.title}: {', '.join(plan.views)}; labels {plan.labels}")
    size = "" if plan.bytes is None else f"about {_format_megabytes(plan.bytes)} MB, "
    echo(f"{size}by {plan.engine} ({plan.how}); nothing was computed")


def _format_count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _format_megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.1f}"
