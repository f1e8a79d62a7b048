"""Lint: checks of a project's annotations and models, from dbt's files alone.

`lint(project, names, checks)` returns a `LintReport`; `all_checks()` is every check by its code.

A check is one function in `checks/<family>.py`, where a new file is found by its name, or in a package that declares it
with an entry point (docs/lint.md):

    @check(
        "FL216",                                    # never used before
        Severity.WARNING,                           # ERROR only for wrong features or broken builds
        "What is wrong, in one line",
        why="What happens if it stays.",
        fix="What to do about it.",
        needs_sql=True,                             # only if it reads compiled SQL; skipped where there is none
    )
    def future_window(project: LintProject) -> Iterator[Finding]:
        '''Find windows that extend past the current row.'''
        for view in project.views.values():
            yield view_finding(view, "the window `...` reads later rows", key="config.event_time")

It yields a `Finding` per violation, made by `view_finding`, `feature_finding` or `service_finding`: these set the name,
the owner whose `ignore` may suppress it, and the file; the line of `key` is found later. A violation in an *upstream*
model is reported for the view, with the model's name and SQL in `message` and `details`, and `file=model.path,
line=...` if the line of the SQL is known: a view can ignore it, a model without a block can't. A finding about two
features names the second in `others=("view.feature",)`.

The input is the `LintProject`: `project.views` (all annotated models, also those with problems), `project.registry`
(the usable ones), `project.tests(view)`, `project.inventory` (every model, snapshot, seed and source with columns, raw
and compiled SQL, config and parents), `project.settings` (`lint:` of featurelayer.yml). Expensive shared values are
cached properties of `LintProject`. Import sqlglot and the like inside functions: lint without compiled SQL takes less
than a second.

Codes: FL1xx metadata, FL2xx time and leakage (FL201 and FL210 to FL249: leakage in SQL), FL3xx contract, FL4xx
ownership and docs, FL5xx serving, FL6xx naming and duplicates (FL611 to FL629: names; FL630 to FL649: duplicates by
computation). Other packages use their own letters.
"""

from featurelayer.lint.base import Check, check
from featurelayer.lint.checks import all_checks
from featurelayer.lint.findings import feature_finding, service_finding, view_finding
from featurelayer.lint.project import LintProject
from featurelayer.lint.report import LintReport, Suppressed
from featurelayer.lint.run import lint, select_checks, unknown_checks
from featurelayer.model import Finding, Severity

__all__ = [
    "Check",
    "Finding",
    "LintProject",
    "LintReport",
    "Severity",
    "Suppressed",
    "all_checks",
    "check",
    "feature_finding",
    "lint",
    "select_checks",
    "service_finding",
    "unknown_checks",
    "view_finding",
]
