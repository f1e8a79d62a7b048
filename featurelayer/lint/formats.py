"""Lint reports for other programs: SARIF 2.1.0 and the annotations of GitHub workflows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from featurelayer.lint.base import Check
from featurelayer.lint.checks import all_checks
from featurelayer.lint.report import LintReport, Suppressed
from featurelayer.model import Finding, Severity

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_GITHUB = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
# GitHub and SARIF need a file: findings without one point to the file that every project has.
_DEFAULT_FILE = "dbt_project.yml"


def sarif(report: LintReport, version: str, folder: str = "") -> dict[str, Any]:
    """Return the report as a SARIF log.

    Args:
        report: the findings.
        version: of featurelayer.
        folder: the dbt project's folder as seen from the root of the repository, where the paths have to start.
    """
    used = sorted({finding.code for finding in _all(report)})
    rules = [all_checks()[code] for code in used]
    places = {code: index for index, code in enumerate(used)}
    results = [_result(finding, places, folder) for finding in report.findings]
    results += [_suppression(item, places, folder) for item in report.suppressed]
    driver = {"name": "featurelayer", "version": version, "rules": [_rule(rule) for rule in rules]}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "invocations": [{"executionSuccessful": True}],
                "columnKind": "unicodeCodePoints",
                "originalUriBaseIds": {"%SRCROOT%": {"description": {"text": "The root of the repository."}}},
                "results": results,
            }
        ],
    }


def github(report: LintReport, folder: str = "") -> Iterator[str]:
    """Yield one workflow command for each finding, which GitHub shows next to the line; `folder` as in `sarif`."""
    for finding in report.findings:
        properties = {"file": _path(finding, folder), "title": f"{finding.code} {finding.name}".strip()}
        if finding.line:
            properties["line"] = str(finding.line)
        options = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
        yield f"::{_GITHUB[finding.severity]} {options}::{_data(_text(finding))}"


def _all(report: LintReport) -> Iterator[Finding]:
    yield from report.findings
    yield from (item.finding for item in report.suppressed)


def _rule(rule: Check) -> dict[str, Any]:
    return {
        "id": rule.code,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": str(rule.severity)},
    }


def _result(finding: Finding, places: dict[str, int], folder: str) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(_path(finding, folder)), "uriBaseId": "%SRCROOT%"}}
    if finding.line:
        place["region"] = {"startLine": finding.line}
    location: dict[str, Any] = {"physicalLocation": place}
    if finding.name:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.name}]
    # Leave out the line, so that a finding keeps its identity when lines above it change.
    identity = "\0".join((finding.code, finding.name, finding.key, finding.message))
    return {
        "ruleId": finding.code,
        "ruleIndex": places[finding.code],
        "level": str(finding.severity),
        "message": {"text": _text(finding)},
        "locations": [location],
        "partialFingerprints": {"featurelayer/v1": hashlib.sha256(identity.encode(errors="replace")).hexdigest()[:32]},
    }


def _suppression(item: Suppressed, places: dict[str, int], folder: str) -> dict[str, Any]:
    suppression = {"kind": "inSource", "justification": item.reason}
    return {**_result(item.finding, places, folder), "suppressions": [suppression]}


def _text(finding: Finding) -> str:
    fix = [f"Fix: {finding.fix}"] if finding.fix else []
    return "\n".join([finding.message, *finding.details, *fix])


def _path(finding: Finding, folder: str) -> str:
    return "/".join(part for part in (folder, finding.file or _DEFAULT_FILE) if part)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
