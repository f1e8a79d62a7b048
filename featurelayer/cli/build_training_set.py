"""Join features to labels, each as of the label's own time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featurelayer.cli.options import Context, parse_pairs, parse_share, project_options, split_names
from featurelayer.cli.output import echo, write_document, write_json

if TYPE_CHECKING:
    from featurelayer.training import Report, TrainingSet
    from featurelayer.training.estimate import BuildPlan
    from featurelayer.training.explain import Explanation


@click.command(help=__doc__)
@click.option("--service", help="The feature service to join.")
@click.option(
    "--features", multiple=True, metavar="VIEW.FEATURE,...", help="Features instead of a service; may be repeated."
)
@click.option(
    "--labels",
    metavar="PATH|RELATION",
    help="A .parquet or .csv file, a dbt model, or a relation [default: the service's `labels`].",
)
@click.option("--label-timestamp", metavar="COLUMN", help="The label column with the time [default: the service's].")
@click.option("--key", "keys", multiple=True, metavar="KEY=COLUMN", help="The label column of a request key.")
@click.option(
    "--output", "output", type=click.Path(path_type=Path, dir_okay=False), help="Write a .parquet or .csv file."
)
@click.option("--as-table", metavar="NAME", help="Write a table of the warehouse.")
@click.option(
    "--append",
    is_flag=True,
    help="Add the labels to the set that is there: only they are computed, and its lock is kept current.",
)
@click.option(
    "--mode",
    type=click.Choice(["known_at", "event_time", "as_served"]),
    default="known_at",
    show_default=True,
    help="as_served: what the newest export had seen. event_time: only to measure the leak.",
)
@click.option("--show-sql", is_flag=True, help="Print the SQL; without an output nothing is run.")
@click.option(
    "--dialect",
    metavar="NAME",
    help="With --show-sql: print it for another engine, as dbt names its adapter (snowflake, bigquery, ...).",
)
@click.option(
    "--plan", "planned", is_flag=True, help="Print what the engine will read, where it can tell; nothing is computed."
)
@click.option(
    "--explain-row",
    "row",
    type=click.IntRange(min=0),
    metavar="N",
    help="Print why the label in row N, counted from 0, gets its values; without an output nothing is written.",
)
@click.option(
    "--compare-modes", is_flag=True, help="Report for each feature the share of cells that differ between the modes."
)
@click.option(
    "--gap-page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH",
    help="Write what --compare-modes finds as a page, .md or .html.",
)
@click.option(
    "--min-matched",
    metavar="SHARE",
    help="Fail before writing unless this share of the labels, 0.9 or 90%, finds a row in every view.",
)
@click.option(
    "--csv-types", is_flag=True, help="Guess the types of a CSV's other columns instead of leaving them text."
)
@click.option(
    "--lock",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the lock goes [default: beside the file; none for a table].",
)
@click.option(
    "--format", "output_format", type=click.Choice(["text", "json"]), default="text", help="How the report looks."
)
@project_options
def command(
    context: Context,
    service: str | None,
    features: tuple[str, ...],
    labels: str | None,
    label_timestamp: str | None,
    keys: tuple[str, ...],
    output: Path | None,
    as_table: str | None,
    append: bool,
    mode: str,
    compare_modes: bool,
    gap_page: Path | None,
    show_sql: bool,
    dialect: str | None,
    planned: bool,
    row: int | None,
    min_matched: str | None,
    csv_types: bool,
    lock: Path | None,
    output_format: str,
) -> None:
    """Join features to labels and write the set, its lock and its report."""
    names = split_names(features)
    if (service is None) == (not names):
        raise click.UsageError("Say either --service or --features.")
    if labels is None and names:
        raise click.UsageError("Say where the labels are: --labels PATH|RELATION.")
    if output is not None and as_table is not None:
        raise click.UsageError("Say either --output or --as-table.")
    if gap_page is not None and gap_page.suffix.lower() not in (".md", ".html"):
        raise click.UsageError(f"--gap-page must end in .md or .html, not '{gap_page.name}'.")
    compare_modes = compare_modes or gap_page is not None
    writes = output is not None or as_table is not None
    if append and not writes:
        raise click.UsageError("Say what to append to: --output PATH.parquet or --as-table NAME.")
    if not writes and not show_sql and not planned and row is None and not compare_modes:
        raise click.UsageError(
            "Say where it goes: --output PATH.parquet or --as-table NAME; "
            "or --plan, --show-sql, --explain-row N or --compare-modes."
        )
    if dialect is not None and (not show_sql or writes or planned or compare_modes or row is not None):
        raise click.UsageError("--dialect goes with --show-sql alone: what is run is the SQL of the target's engine.")
    if output is not None and output.suffix.lower() not in (".parquet", ".csv"):
        raise click.UsageError(f"--output must end in .parquet or .csv, not '{output.name}'.")
    least = parse_share("--min-matched", min_matched)
    if least is not None and (planned or not (writes or compare_modes)):
        raise click.UsageError("--min-matched goes with what is built: --output, --as-table or --compare-modes.")
    from featurelayer.cli.progress import show_steps
    from featurelayer.layer import FeatureLayer

    layer = FeatureLayer.from_project(context.project, warn=context.console.warn)
    request: dict[str, Any] = {
        "features": names,
        "label_timestamp": label_timestamp,
        "keys": parse_pairs("--key REQUEST_KEY=LABEL_COLUMN", keys),
        "mode": mode,
        "csv_types": csv_types,
    }
    if planned:
        _print_plan(layer.plan_training_set(service, labels, **request), as_json=output_format == "json")
        return
    # First, so that nothing is written if there is no such row.
    explanation = layer.explain_row(service, labels, row, **request) if row is not None else None
    as_json = output_format == "json"
    if not writes and not compare_modes:
        if show_sql:
            write_document(layer.training_set_sql(service, labels, **request, dialect=dialect))
        if show_sql and explanation is not None:
            echo()
        if explanation is not None:
            _print_explanation(explanation, as_json=as_json)
        return
    extends = _find_lock(output, lock) if append else None
    with (
        show_steps(context.console) as progress,
        layer.build_training_set(
            service,
            labels,
            **request,
            compare_modes=compare_modes,
            min_matched=least,
            writable=as_table is not None,
            extends=extends,
            progress=progress,
        ) as training_set,
    ):
        written = _write_output(training_set, output, as_table, lock, append=append) if writes else None
        if gap_page is not None:
            from featurelayer.training.leakage_report import write_leakage_report

            write_leakage_report(training_set.report, gap_page, service or ",".join(names))
        if show_sql:
            write_document(training_set.sql)
        _print_report(context, training_set, written, explanation, as_json=as_json, append=append)


def _find_lock(output: Path | None, lock: Path | None) -> Path | None:
    """The lock of the set that is to be appended to, if there is one yet."""
    from featurelayer.training import default_lock_path

    path = lock or (default_lock_path(output) if output is not None else None)
    return path if path is not None and path.exists() else None


def _write_output(
    training_set: TrainingSet, output: Path | None, as_table: str | None, lock: Path | None, *, append: bool
) -> str:
    if output is not None:
        write = training_set.to_csv if output.suffix.lower() == ".csv" else training_set.to_parquet
        write(output, lock=lock, append=append)
        return str(output)
    assert as_table is not None
    training_set.to_table(as_table, lock=lock, append=append)
    return as_table


def _print_report(
    context: Context,
    training_set: TrainingSet,
    written: str | None,
    explanation: Explanation | None,
    *,
    as_json: bool,
    append: bool,
) -> None:
    report = training_set.report
    if as_json:
        explained = {} if explanation is None else {"explanation": explanation.to_dict()}
        write_json(report.to_dict() | {"output": written, "appended": append} | explained)
    else:
        _print_tables(report)
        rows = "1 row" if report.rows == 1 else f"{report.rows:,} rows"
        place = f"appended to {written}" if append else written or "nothing was written"
        echo(f"\n{rows} x {len(training_set.columns)} columns in {report.seconds:.1f} s: {place}")
        if explanation is not None:
            echo()
            _print_explanation(explanation, as_json=False)
    for warning in report.warnings:
        context.console.warn(warning)


def _print_explanation(explanation: Explanation, *, as_json: bool) -> None:
    from featurelayer.cli.explain import print_explanation

    if as_json:
        write_json(explanation.to_dict())
    else:
        print_explanation(explanation)


def _print_plan(plan: BuildPlan, *, as_json: bool) -> None:
    from featurelayer.cli.output import write_table

    if as_json:
        write_json(plan.to_dict())
        return
    if plan.relations:
        rows = [
            [
                found.relation,
                str(found.scans),
                _format_count(found.rows),
                _format_count(found.kept),
                str(len(found.columns)),
                "" if found.bytes is None else f"{found.bytes / 1_000_000:,.1f}",
            ]
            for found in plan.relations
        ]
        write_table(["relation", "scans", "rows", "expected", "columns", "MB"], rows)
        echo()
    if plan.text:
        echo(f"{plan.text}\n")
    echo(f"{plan.title}: {', '.join(plan.views)}; labels {plan.labels}")
    size = "" if plan.bytes is None else f"about {plan.bytes / 1_000_000:,.1f} MB, "
    echo(f"{size}by {plan.engine} ({plan.how}); nothing was computed")


def _format_count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _print_tables(report: Report) -> None:
    from featurelayer.cli.output import format_ratio, write_table
    from featurelayer.durations import format_age

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
