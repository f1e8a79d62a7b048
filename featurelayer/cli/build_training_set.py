"""Join features to labels as of each label's time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featurelayer.cli.options import Command, Context, parse_pairs, parse_share, project_options, split_names
from featurelayer.cli.output import echo, write_document, write_json

if TYPE_CHECKING:
    from featurelayer.training import TrainingSet
    from featurelayer.training.explain import Explanation
    from featurelayer.training.request import TrainingSetRequest

_FILE = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """The options of one call, as click passes them."""

    service: str | None
    features: tuple[str, ...]
    labels: str | None
    label_timestamp: str | None
    keys: tuple[str, ...]
    output: Path | None
    as_table: str | None
    append: bool
    mode: str
    show_sql: bool
    dialect: str | None
    plan: bool
    row: int | None
    compare_modes: bool
    gap_page: Path | None
    min_matched: str | None
    csv_types: bool
    lock: Path | None
    output_format: str

    @property
    def names(self) -> tuple[str, ...]:
        """The features that are joined without a service."""
        return split_names(self.features)

    @property
    def is_json(self) -> bool:
        return self.output_format == "json"

    @property
    def writes(self) -> bool:
        """True if the set is written to a file or a table."""
        return self.output is not None or self.as_table is not None

    @property
    def compares(self) -> bool:
        return self.compare_modes or self.gap_page is not None

    @property
    def builds(self) -> bool:
        """True if the joins are made; otherwise something about them is printed."""
        return self.writes or self.compares

    def validate(self) -> None:
        """Raise UsageError unless the options go together."""
        if (self.service is None) == (not self.names):
            raise click.UsageError("Pass either --service or --features.")
        if self.labels is None and self.names:
            raise click.UsageError("Pass the labels with --labels PATH|RELATION.")
        self._validate_output()
        if self.gap_page is not None and self.gap_page.suffix.lower() not in (".md", ".html"):
            raise click.UsageError(f"--gap-page must end in .md or .html, not '{self.gap_page.name}'.")
        if self.dialect is not None and (not self.show_sql or self.builds or self.plan or self.row is not None):
            raise click.UsageError("--dialect goes with --show-sql alone; a build runs the SQL of the target's engine.")
        if self.min_share is not None and (self.plan or not self.builds):
            raise click.UsageError("--min-matched goes with a build: --output, --as-table or --compare-modes.")

    def _validate_output(self) -> None:
        if self.output is not None and self.as_table is not None:
            raise click.UsageError("Pass either --output or --as-table.")
        if self.append and not self.writes:
            raise click.UsageError("Pass the set to append to: --output PATH.parquet or --as-table NAME.")
        if not (self.builds or self.show_sql or self.plan or self.row is not None):
            raise click.UsageError(
                "Pass an output, --output PATH.parquet or --as-table NAME; "
                "or --plan, --show-sql, --explain-row N or --compare-modes."
            )
        if self.output is not None and self.output.suffix.lower() not in (".parquet", ".csv"):
            raise click.UsageError(f"--output must end in .parquet or .csv, not '{self.output.name}'.")

    @property
    def min_share(self) -> float | None:
        """The value of --min-matched, between 0 and 1."""
        return parse_share("--min-matched", self.min_matched)

    @property
    def extends(self) -> Path | None:
        """The lock of the set that is appended to, if the set exists."""
        from featurelayer.training import default_lock_path

        path = self.lock or (default_lock_path(self.output) if self.output is not None else None)
        return path if self.append and path is not None and path.exists() else None


@click.command(
    cls=Command,
    help=__doc__,
    example="featurelayer build-training-set --service late_arrival --output late.parquet",
)
@click.option("--service", help="Feature service to join.")
@click.option(
    "--features", multiple=True, metavar="VIEW.FEATURE,...", help="Features to join instead of a service; repeatable."
)
@click.option(
    "--labels",
    metavar="PATH|RELATION",
    help="File (.parquet, .csv), dbt model or relation [default: the service's labels].",
)
@click.option("--label-timestamp", metavar="COLUMN", help="Label column with the time [default: the service's].")
@click.option("--key", "keys", multiple=True, metavar="KEY=COLUMN", help="Label column of a request key.")
@click.option("--output", type=_FILE, help="Write a .parquet or .csv file.")
@click.option("--as-table", metavar="NAME", help="Write a table of the warehouse.")
@click.option("--append", is_flag=True, help="Append to the existing set; only the new labels are computed.")
@click.option(
    "--mode",
    type=click.Choice(["known_at", "event_time", "as_served"]),
    default="known_at",
    show_default=True,
    help="as_served: values of the newest export. event_time: only to measure the leak.",
)
@click.option("--show-sql", is_flag=True, help="Print the SQL; without an output, run nothing.")
@click.option("--dialect", metavar="NAME", help="With --show-sql: dbt adapter of another engine to print it for.")
@click.option("--plan", is_flag=True, help="Print what the engine would read, where it can tell; compute nothing.")
@click.option(
    "--explain-row",
    "row",
    type=click.IntRange(min=0),
    metavar="N",
    help="Explain the values of the label in row N, counted from 0.",
)
@click.option("--compare-modes", is_flag=True, help="Report per feature the share of cells that differ between modes.")
@click.option("--gap-page", type=_FILE, metavar="PATH", help="Write the --compare-modes result as a .md or .html page.")
@click.option(
    "--min-matched",
    metavar="SHARE",
    help="Fail unless this share of the labels (0.9 or 90%) finds a row in every view.",
)
@click.option("--csv-types", is_flag=True, help="Guess the types of a CSV's other columns; otherwise they are text.")
@click.option("--lock", type=_FILE, help="Path of the lock [default: next to the file; none for a table].")
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", help="Output format.")
@project_options
def command(context: Context, /, **values: Any) -> None:
    """Join features to labels and write the set, its lock and its report."""
    options = BuildOptions(**values)
    options.validate()
    from featurelayer.layer import FeatureLayer

    request = FeatureLayer.from_project(context.project, warn=context.console.warn).training.request(
        options.service,
        options.labels,
        features=options.names,
        label_timestamp=options.label_timestamp,
        keys=parse_pairs("--key REQUEST_KEY=LABEL_COLUMN", options.keys),
        mode=options.mode,
        csv_types=options.csv_types,
    )
    if options.plan:
        _print_plan(request, options)
        return
    # First, so that nothing is written if there is no such row.
    explanation = request.explain(options.row) if options.row is not None else None
    if options.builds:
        _build(context, request, options, explanation)
    else:
        _print_without_building(request, options, explanation)


def _print_plan(request: TrainingSetRequest, options: BuildOptions) -> None:
    from featurelayer.cli.training_report import print_build_plan

    plan = request.plan()
    if options.is_json:
        write_json(plan.to_dict())
    else:
        print_build_plan(plan)


def _print_without_building(
    request: TrainingSetRequest, options: BuildOptions, explanation: Explanation | None
) -> None:
    from featurelayer.cli.explain import print_explanation

    if options.show_sql:
        write_document(request.sql(dialect=options.dialect))
    if explanation is None:
        return
    if options.show_sql:
        echo()
    if options.is_json:
        write_json(explanation.to_dict())
    else:
        print_explanation(explanation)


def _build(
    context: Context, request: TrainingSetRequest, options: BuildOptions, explanation: Explanation | None
) -> None:
    from featurelayer.cli.progress import show_steps

    with (
        show_steps(context.console) as progress,
        request.build(
            compare_modes=options.compares,
            min_matched=options.min_share,
            writable=options.as_table is not None,
            extends=options.extends,
            progress=progress,
        ) as training_set,
    ):
        output = _write(training_set, options)
        if options.show_sql:
            write_document(training_set.sql)
        if options.is_json:
            _print_json(training_set, options, output, explanation)
        else:
            _print_text(training_set, options, output, explanation)
        for warning in training_set.report.warnings:
            context.console.warn(warning)


def _write(training_set: TrainingSet, options: BuildOptions) -> str | None:
    """Write the set and the gap page, as far as they were asked for; return the path or table of the set."""
    output = None
    if options.output is not None:
        write = training_set.to_csv if options.output.suffix.lower() == ".csv" else training_set.to_parquet
        output = str(write(options.output, lock=options.lock, append=options.append))
    elif options.as_table is not None:
        training_set.to_table(options.as_table, lock=options.lock, append=options.append)
        output = options.as_table
    if options.gap_page is not None:
        from featurelayer.training.leakage_report import write_leakage_report

        write_leakage_report(training_set.report, options.gap_page, options.service or ",".join(options.names))
    return output


def _print_json(
    training_set: TrainingSet, options: BuildOptions, output: str | None, explanation: Explanation | None
) -> None:
    document = training_set.report.to_dict() | {"output": output, "appended": options.append}
    if explanation is not None:
        document["explanation"] = explanation.to_dict()
    write_json(document)


def _print_text(
    training_set: TrainingSet, options: BuildOptions, output: str | None, explanation: Explanation | None
) -> None:
    from featurelayer.cli.explain import print_explanation
    from featurelayer.cli.training_report import print_report

    report = training_set.report
    print_report(report)
    rows = "1 row" if report.rows == 1 else f"{report.rows:,} rows"
    place = f"appended to {output}" if options.append else output or "nothing was written"
    echo(f"\n{rows} x {len(training_set.columns)} columns in {report.seconds:.1f} s: {place}")
    if explanation is not None:
        echo()
        print_explanation(explanation)
