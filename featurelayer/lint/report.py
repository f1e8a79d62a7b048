"""What lint found: the findings, what was excused and why, and whether that fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from featurelayer.model import Finding, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppressed:
    """A finding that an `ignore` in the YAML has taken off the list, and the reason given there."""

    finding: Finding
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LintReport:
    """All findings, most severe first within a file; `checks` are the codes that ran, `views` how many were looked at.

    `without_sql` says that checks on compiled SQL were asked for and dbt has not compiled the models of any view.
    """

    findings: tuple[Finding, ...]
    excused: tuple[Suppressed, ...] = ()
    checks: tuple[str, ...] = ()
    views: int = 0
    without_sql: bool = False

    def count(self, severity: Severity) -> int:
        """Return how many findings weigh that much."""
        return sum(finding.severity is severity for finding in self.findings)

    def fails(self, *, strict: bool = False) -> bool:
        """Return whether there are errors, or warnings either if `strict`; notes never fail."""
        failing = (Severity.ERROR, Severity.WARNING) if strict else (Severity.ERROR,)
        return any(finding.severity in failing for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        return {
            "findings": [finding_dict(finding) for finding in self.findings],
            "excused": [{**finding_dict(item.finding), "reason": item.reason} for item in self.excused],
            "errors": self.count(Severity.ERROR),
            "warnings": self.count(Severity.WARNING),
            "notes": self.count(Severity.NOTE),
            "views": self.views,
            "checks": list(self.checks),
            "without_sql": self.without_sql,
        }


def finding_dict(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON has it."""
    values: Mapping[str, Any] = asdict(finding)
    return {**values, "severity": str(finding.severity), "details": list(finding.details)}
