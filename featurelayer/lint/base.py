"""The `Check`, and the decorator that turns a function into one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from featurelayer.model import Finding, Severity

if TYPE_CHECKING:
    from featurelayer.lint.project import LintProject

Run = Callable[["LintProject"], Iterable[Finding]]
_CODE = re.compile(r"[A-Z]{2,10}\d{3}")
_FAMILIES = {
    "FL1": "Metadata",
    "FL2": "Time and leakage",
    "FL3": "Contract",
    "FL4": "Ownership and docs",
    "FL5": "Serving",
    "FL6": "Naming and duplicates",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A lint rule and its row in the docs: code, severity, title, why it matters and how to fix it.

    `run` is None for what only reading the project can find (`by_reader`): such findings are always errors, because
    the view or service can't be used until they are fixed. `needs_sql` marks checks that read compiled SQL. With
    `grades_findings` each finding has a severity of its own, else it has the check's. `package` is the distribution
    that a third-party check comes from.
    """

    code: str
    severity: Severity
    title: str
    why: str
    fix: str
    run: Run | None = None
    by_reader: bool = False
    needs_sql: bool = False
    grades_findings: bool = False
    package: str = ""

    def __post_init__(self) -> None:
        if not _CODE.fullmatch(self.code):
            raise ValueError(f"'{self.code}' is not a check code; use 2 to 10 capital letters and 3 digits")

    @property
    def family(self) -> str:
        """The letters and the first digit of the code, such as `FL2`."""
        return self.code[:-2]

    @property
    def family_title(self) -> str:
        """The heading of its family in the docs."""
        return _FAMILIES.get(self.family, self.package or self.family)

    @property
    def docs_row(self) -> tuple[str, str, str, str]:
        """The cells of the check in the table of checks: code and marks, severity, title, why."""
        marks = ("†" if self.by_reader else "") + ("‡" if self.needs_sql else "")
        return f"{self.code}{marks}", str(self.severity), self.title, self.why


def check(
    code: str,
    severity: Severity,
    title: str,
    *,
    why: str,
    fix: str,
    by_reader: bool = False,
    needs_sql: bool = False,
    grades_findings: bool = False,
) -> Callable[[Run], Check]:
    """Turn the function below into a check: it takes the project and yields a `Finding` for each violation.

    A finding without `fix` gets the check's. `by_reader` means that reading the project reports the same code, too,
    for what makes a view or service unusable.
    """

    def decorate(run: Run) -> Check:
        return Check(
            code=code,
            severity=severity,
            title=title,
            why=why,
            fix=fix,
            run=run,
            by_reader=by_reader,
            needs_sql=needs_sql,
            grades_findings=grades_findings,
        )

    return decorate
