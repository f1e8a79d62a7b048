"""Check annotations, ownership, names and SQL of the features, from dbt's files alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featurelayer._version import __version__
from featurelayer.cli.hints import complete_commands
from featurelayer.cli.options import Command, Context, parse_names, project_options
from featurelayer.cli.output import echo, echo_styled, style_text
from featurelayer.terminal_text import format_count

if TYPE_CHECKING:
    from featurelayer.lint import LintReport
    from featurelayer.lint.base import Check
    from featurelayer.model import Finding

_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


def _validate_codes(
    context: click.Context, parameter: click.Parameter, value: str | tuple[str, ...] | None
) -> str | tuple[str, ...] | None:
    """Reject codes that no check has, and list the known ones."""
    if not value:
        return value
    from featurelayer.errors import did_you_mean
    from featurelayer.lint import all_checks, unknown_checks

    known = all_checks()
    wrong = unknown_checks(value) if isinstance(value, tuple) else {value.strip().upper()} - known.keys()
    if wrong:
        unknown = ", ".join(f"'{code}'{did_you_mean(code, known)}" for code in wrong)
        families = (" ".join(item.code for item in items) for _, items in groupby(known.values(), lambda it: it.family))
        listed = "\n  ".join(families)
        raise click.BadParameter(
            f"there is no check {unknown}. Known checks:\n  {listed}", ctx=context, param=parameter
        )
    return value


@click.command(cls=Command, example="featurelayer lint -s plane_legs --strict")
@click.option(
    "-s",
    "--select",
    "names",
    multiple=True,
    metavar="NAME",
    help="Models, views, features or services to report on, - for stdin [default: all].",
)
@click.option(
    "--checks",
    multiple=True,
    metavar="CODES",
    callback=_validate_codes,
    help="Checks or families to run, such as FL2,FL601 [default: all].",
)
@click.option("--strict", is_flag=True, help="Exit with 1 on warnings as well.")
@click.option(
    "--explain",
    metavar="CODE",
    callback=_validate_codes,
    help="Explain a check: what it finds, why it matters, how to fix it.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    show_default=True,
    help="Output format.",
)
@project_options
def command(
    context: Context,
    names: tuple[str, ...],
    checks: tuple[str, ...],
    strict: bool,
    explain: str | None,
    output_format: str,
) -> int:
    """Check annotations, ownership, names and SQL of the features, from dbt's files alone.

    Reads target/manifest.json, featurelayer.yml and the YAML of the models; needs no warehouse and no profiles.yml.
    Checks of SQL need the output of `dbt compile` or `dbt build`. Exits with 1 on errors, and with
    --strict on warnings.
    """
    from featurelayer.lint import lint

    if explain is not None:
        _explain(explain, output_format)
        return 0
    selected = parse_names(names)
    if names and not selected:
        context.console.note("No names on stdin: nothing to check.")
    report = (
        lint(context.project, selected, checks, warn=context.console.warn) if selected or not names else _empty_report()
    )
    _write(report, output_format, _folder(context.project.root), context.console.given)
    if report.without_sql:
        context.console.note(
            "Checks of SQL were skipped: the models are not compiled. Run `dbt compile` or `dbt build`."
        )
    return 1 if report.fails(strict=strict) else 0


def _empty_report() -> LintReport:
    from featurelayer.lint import LintReport

    return LintReport(findings=())


def _write(report: LintReport, output_format: str, folder: str, given: Mapping[str, str]) -> None:
    from featurelayer.cli import output

    if output_format == "json":
        output.write_json(report.to_dict())
    elif output_format == "sarif":
        from featurelayer.lint.formats import sarif

        output.write_json(sarif(report, __version__, folder))
    elif output_format == "github":
        from featurelayer.lint.formats import github

        for line in github(report, folder):
            echo(line)
    else:
        for line in _lines(report, given):
            echo_styled(line)


def _folder(root: Path) -> str:
    """Return the project's folder as seen from the root of the repository; empty if it is that, or cannot be told."""
    start = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    if not root.resolve().is_relative_to(start):
        return ""
    return root.resolve().relative_to(start).as_posix().removeprefix(".")


def _lines(report: LintReport, given: Mapping[str, str]) -> Iterator[str]:
    for file, findings in groupby(report.findings, key=lambda finding: finding.file):
        yield style_text(file or "(no file)", bold=True)
        for finding in findings:
            yield from _finding_lines(finding, given)
        yield ""
    yield _summary(report)


def _finding_lines(finding: Finding, given: Mapping[str, str]) -> Iterator[str]:
    severity = style_text(f"{finding.severity:<7}", fg=_COLOURS[finding.severity])
    message = finding.message.splitlines() or [""]
    yield f"  {severity} {style_text(f'{finding.code}  {message[0]}')}"
    for line in (*message[1:], *finding.details):
        yield style_text(f"                 {line}")
    where = " ".join(part for part in (f"line {finding.line}" if finding.line else "", finding.key) if part)
    if where:
        yield style_text(f"            at   {where}")
    if finding.fix:
        yield style_text(f"            fix  {complete_commands(finding.fix, given)}")


def _summary(report: LintReport) -> str:
    from featurelayer.model import Severity

    words = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
    counts = [format_count(report.count(severity), word) for severity, word in words.items() if report.count(severity)]
    excused = f", {len(report.suppressed)} ignored" if report.suppressed else ""
    views = format_count(report.views, "view")
    return f"{', '.join(counts) or 'nothing found'} in {views}, {format_count(len(report.checks), 'check')}{excused}"


def _explain(code: str, output_format: str) -> None:
    from featurelayer.cli import output
    from featurelayer.lint import all_checks

    found = all_checks()[code.strip().upper()]
    if output_format == "json":
        output.write_json({name: getattr(found, name) for name in ("code", "severity", "title", "why", "fix")})
        return
    for line in _explanation(found):
        echo(line)


def _explanation(found: Check) -> Iterator[str]:
    yield f"{found.code} ({found.severity}): {found.title}"
    yield f"  why  {found.why}"
    yield f"  fix  {found.fix}"
    if found.package:
        yield f"  It comes from the package {found.package}."
    if found.needs_sql:
        yield "  It reads the SQL that dbt has compiled."
    if found.run is None:
        yield "  It can't be ignored: the view or service is unusable."
        return
    yield "  If it does not apply, ignore it with a reason, at the view, column or service:"
    yield f"    config: {{meta: {{featurelayer: {{ignore: [{{code: {found.code}, reason: ...}}]}}}}}}"
