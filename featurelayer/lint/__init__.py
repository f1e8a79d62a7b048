"""Lint: a project's annotations and models checked from dbt's files alone, in seconds and without credentials.

`lint(project, names, checks)` returns a `LintReport`; `all_checks()` is every rule by its code. A finding is a
`featurelayer.model.Finding`.

How to add a check: write one function in `checks/<family>.py` (a new file is found by itself):

    @check(
        "FL216",                                    # never used before; see below
        Severity.WARNING,                           # ERROR only for what gives wrong features or breaks something
        "What is wrong, in one line",
        why="What happens if nobody mends it.",
        fix="What to do about it.",
        needs_sql=True,                             # only if it reads compiled SQL; it is left out where there is none
    )
    def future_window(project: LintProject) -> Iterator[Hit]:
        '''What is found, and what is not.'''
        for view in project.views.values():
            yield of_view(view, "the window `...` reads rows that come after", key="config.event_time")

It yields a `Hit` for each thing found, best made by `of_view`, `of_feature` or `of_service`: they name what it is
about, whose `ignore` may excuse it and where in the YAML it is; `key` becomes a line by itself. What is wrong in a
model *upstream* of a view is said of the view, with the model's name and SQL in `message` and `details`, and
`file=model.path, line=...` if the SQL's line is known: a view can excuse it, a model without a block can't. A hit
about two features has the second in `others=("view.feature",)`.

What a check may look at is the `LintProject` in project.py: `project.views` (all annotated models, also those with
problems), `project.registry` (what is usable), `project.tests(view)`, `project.inventory.model(unique_id)` or
`.models` (every model, snapshot, seed and source with columns, raw and compiled SQL, checksum, config and parents),
`project.settings` (`lint:` of featurelayer.yml). What several checks need and is dear to make is a cached property of
`LintProject`. Import sqlglot and the like inside functions: lint without compiled SQL takes no second.

Codes: FL1xx metadata, FL2xx time and leakage (FL201 and FL210 to FL249: leakage in SQL), FL3xx contract, FL4xx
ownership and docs, FL5xx serving, FL6xx naming and duplicates (FL611 to FL629: names; FL630 to FL649: duplicates by
what they compute).
"""

from featurelayer.lint.base import Check, Hit, check, feature_finding, service_finding, view_finding
from featurelayer.lint.checks import all_checks
from featurelayer.lint.project import LintProject
from featurelayer.lint.report import LintReport, Suppressed
from featurelayer.lint.run import lint, select_checks, unknown_checks

__all__ = [
    "Check",
    "Hit",
    "LintProject",
    "LintReport",
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
