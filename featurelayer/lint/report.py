"""The lint report: findings, suppressed findings, and whether they fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from featurelayer.model import Finding, Severity

_KEYS = ("code", "severity", "message", "fix", "name", "file", "line", "key", "details")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppressed:
    """A finding that an `ignore` in the YAML suppresses, with the reason given there."""

    finding: Finding
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LintReport:
    """All findings, by file, line and severity; `checks` are the codes that ran, `views` how many views were checked.

    `without_sql` is set if checks of compiled SQL were selected and dbt has not compiled any view's model.
    """

    findings: tuple[Finding, ...]
    suppressed: tuple[Suppressed, ...] = ()
    checks: tuple[str, ...] = ()
    views: int = 0
    without_sql: bool = False

    def count(self, severity: Severity) -> int:
        """Return the number of findings of that severity."""
        return sum(finding.severity is severity for finding in self.findings)

    def fails(self, *, strict: bool = False) -> bool:
        """Return whether there are errors or, if `strict`, warnings; notes never fail."""
        failing = (Severity.ERROR, Severity.WARNING) if strict else (Severity.ERROR,)
        return any(finding.severity in failing for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "findings": [finding_dict(finding) for finding in self.findings],
            "excused": [{**finding_dict(item.finding), "reason": item.reason} for item in self.suppressed],
            "errors": self.count(Severity.ERROR),
            "warnings": self.count(Severity.WARNING),
            "notes": self.count(Severity.NOTE),
            "views": self.views,
            "checks": list(self.checks),
            "without_sql": self.without_sql,
        }


def finding_dict(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON values."""
    values = {name: getattr(finding, name) for name in _KEYS}
    return {**values, "severity": str(finding.severity), "details": list(finding.details)}
