"""Runs checks over a project, and applies its settings, its ignores and the selection."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from featurelayer.callbacks import Notify
from featurelayer.dbt.artifacts import decode_manifest, find_doubts, read_raw
from featurelayer.dbt.block import AT
from featurelayer.dbt.inventory import Inventory
from featurelayer.dbt.loader import read_annotations
from featurelayer.dbt.project import CONFIG_FILE, Project
from featurelayer.dbt.yaml_lines import Lines
from featurelayer.errors import ConfigError, ManifestUnreadable, Problem, UnknownNameError
from featurelayer.lint.base import Check
from featurelayer.lint.checks import all_checks
from featurelayer.lint.project import LintProject
from featurelayer.lint.report import LintReport, Suppressed
from featurelayer.lint.settings import matches_code, read_settings
from featurelayer.model import FeatureView, Finding, Ignore, Severity
from featurelayer.online.settings import validate_stores

_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}
_INEFFECTIVE_IGNORE = "FL111"
_UNREADABLE_NODE = "FL110"
_DEFAULT_CODE = "FL105"
_MAX_TEXT = 2000


def lint(
    project: Project,
    names: Sequence[str] = (),
    checks: Sequence[str] = (),
    *,
    warn: Notify | None = None,
) -> LintReport:
    """Run the checks over a project; only dbt's files and the project's YAML are read.

    Args:
        project: the dbt project.
        names: models, views, services or features (`view.feature`) to report about; all by default. Any other dbt node
            is accepted and has no findings.
        checks: codes (`FL203`) or families (`FL2`) to run; by default all that are not disabled.
        warn: called with each doubt, such as a manifest that is older than the project's files.

    Raises:
        UnknownNameError: there is no such name, or no such check.
        ManifestNotFound, UnsupportedManifest: dbt has not written a manifest that can be read.
        ConfigError: the checks of an installed package can't be loaded, or one of them failed.
    """
    selected = select_checks(checks)
    problems: list[Problem] = []
    try:
        raw, path, data = read_raw(project.target_path)
        manifest = decode_manifest(raw, path, data, problems)
        annotations = read_annotations(manifest, project)
        settings = read_settings(project.config.document.get("lint"), CONFIG_FILE, problems)
        problems += validate_stores(project.config.document.get("online_store"), CONFIG_FILE)
    except ConfigError as error:
        return _report_unusable(project, error.problems)
    except ManifestUnreadable as error:
        problems = [replace(problem, code=_UNREADABLE_NODE) for problem in error.problems]
        return _report_unusable(project, problems)
    if warn is not None:
        for doubt in find_doubts(manifest, project):
            warn(doubt)
    views = {**annotations.registry.views, **{view.id: view for view in annotations.doubtful}}
    linted = LintProject(
        registry=annotations.registry,
        views=dict(sorted(views.items())),
        inventory=Inventory(raw, path),
        settings=settings,
        problems=(*problems, *annotations.problems),
        project_settings=project.settings,
        lines=Lines(project.root),
    )
    runner = _Runner(project=project, linted=linted, names=_select_ids(linted, names), selected=selected)
    with _pause_collector():
        return runner.run()


@contextmanager
def _pause_collector() -> Iterator[None]:
    """Pause the garbage collector, which would scan the manifest repeatedly: 20,000 findings take half the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _report_unusable(project: Project, problems: Iterable[Problem]) -> LintReport:
    """Return the report for a project where nothing else can be checked."""
    findings = (problem_finding(problem, project) for problem in problems)
    return LintReport(findings=tuple(_complete(finding, all_checks()[finding.code]) for finding in findings))


def select_checks(checks: Sequence[str]) -> Mapping[str, Check]:
    """Return the checks of these codes and families by code; all if none are named.

    Raises:
        UnknownNameError: a name matches none.
    """
    known = all_checks()
    for code in unknown_checks(checks):
        raise UnknownNameError("check", code, known)
    patterns = _split_codes(checks)
    return {
        code: item for code, item in known.items() if not patterns or any(matches_code(each, code) for each in patterns)
    }


def unknown_checks(checks: Sequence[str]) -> tuple[str, ...]:
    """Return the codes and families that match no check."""
    known = all_checks()
    return tuple(pattern for pattern in _split_codes(checks) if not any(matches_code(pattern, code) for code in known))


def _split_codes(checks: Sequence[str]) -> tuple[str, ...]:
    return tuple(code.strip().upper() for item in checks for code in item.split(",") if code.strip())


def _select_ids(linted: LintProject, names: Sequence[str]) -> frozenset[str] | None:
    """Return the ids that the names mean, None for all."""
    if not names:
        return None
    views = {name for view in linted.views.values() for name in (view.id, view.name)}
    features = {f"{view.id}.{feature.name}" for view in linted.views.values() for feature in view.features}
    known = views | features | linted.inventory.names
    selected: set[str] = set()
    for name in names:
        bare = name.rpartition(":")[2]  # exposure:late_arrival, in the format of `dbt ls`
        if bare not in known:
            raise UnknownNameError("view, feature, service or model", name, known)
        selected |= {bare} | {view.id for view in linted.views.values() if view.name == bare}
    return frozenset(selected)


@dataclass(kw_only=True)
class _Runner:
    """One run: its findings, and which ignores had an effect."""

    project: Project
    linted: LintProject
    names: frozenset[str] | None
    selected: Mapping[str, Check]
    findings: list[Finding] = field(default_factory=list)
    suppressed: list[Suppressed] = field(default_factory=list)
    used: set[tuple[str, Ignore]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.ignores = {name: listed for name, listed in collect_ignores(self.linted).items() if listed}
        self.severities = {code: self.linted.settings.severity_of(code) for code in all_checks()}

    def run(self) -> LintReport:
        ran = []
        for code, item in self.selected.items():
            if item.run is None:
                ran.append(code)  # ran when the project was read
                continue
            if self.linted.settings.is_disabled(code) or (item.needs_sql and not self.linted.has_sql):
                continue
            ran.append(code)
            for finding in _run_check(item, self.linted):
                self._add(item, finding)
        for problem in (*self.linted.problems, *self.linted.inventory.problems):
            self._add_problem(problem)
        for finding in self._find_ineffective_ignores(frozenset(ran)):
            self._add(all_checks()[_INEFFECTIVE_IGNORE], finding)
        return LintReport(
            findings=tuple(dict.fromkeys(sorted(self.findings, key=_sort_key))),
            suppressed=tuple(self.suppressed),
            checks=tuple(ran),
            views=sum(self._is_view_selected(view) for view in self.linted.views.values()),
            without_sql=self._lacks_sql(),
        )

    def _lacks_sql(self) -> bool:
        needs_sql = any(item.needs_sql for item in self.selected.values())
        return needs_sql and bool(self.linted.views) and not self.linted.has_sql

    def _add(self, item: Check, finding: Finding) -> None:
        if not self._is_selected(finding.name, finding.others, finding.owner):
            return
        own = finding.severity if item.grades_findings else item.severity
        complete = self._locate(_complete(finding, item, self.severities[item.code] or own))
        ignore = self._find_suppression(item.code, finding)
        if ignore is None:
            self.findings.append(complete)
        else:
            self.suppressed.append(Suppressed(finding=complete, reason=ignore.reason))

    def _add_problem(self, problem: Problem) -> None:
        """Add a problem of the reader: always an error, whatever the settings and ignores."""
        finding = problem_finding(problem, self.project)
        code = finding.code
        if code in self.selected and (not finding.owner or self._is_selected(finding.name, (), finding.owner)):
            self.findings.append(self._locate(_complete(finding, all_checks()[code])))

    def _locate(self, finding: Finding) -> Finding:
        if finding.line or not finding.file:
            return finding
        return replace(finding, line=self.linted.lines.find(finding.file, finding.owner, finding.key))

    def _is_selected(self, name: str, others: Sequence[str], owner: str) -> bool:
        if self.names is None:
            return True
        return any(_matches(selected, given) for selected in self.names for given in (name, owner, *others) if given)

    def _is_view_selected(self, view: FeatureView) -> bool:
        return self.names is None or any(_matches(name, view.id) or _matches(view.id, name) for name in self.names)

    def _find_suppression(self, code: str, finding: Finding) -> Ignore | None:
        """Return the ignore that suppresses a finding, if there is one.

        A finding about all of `others` is suppressed by an ignore of its own, or if each of them has one.
        """
        if not self.ignores:
            return None
        names = (finding.name, finding.owner, *(() if finding.each else finding.others))
        whole = self._find_ignore(code, names)
        if whole is not None or not (finding.each and finding.others):
            return whole
        parts = [self._find_ignore(code, (name,)) for name in finding.others]
        return parts[0] if all(parts) else None

    def _find_ignore(self, code: str, names: Iterable[str]) -> Ignore | None:
        for name in names:
            for holder in (name, name.rpartition(".")[0]):
                for ignore in self.ignores.get(holder, ()):
                    if ignore.code == code:
                        self.used.add((holder, ignore))
                        return ignore
        return None

    def _find_ineffective_ignores(self, ran: frozenset[str]) -> Iterator[Finding]:
        if _INEFFECTIVE_IGNORE not in ran:
            return
        for holder, listed in self.ignores.items():
            owner, file, path = _locate_ignores(self.linted, holder)
            for index, ignore in enumerate(listed):
                if (holder, ignore) in self.used:
                    continue
                known = all_checks().get(ignore.code)
                if known is None:
                    what = f"it ignores {ignore.code}, which is not a check"
                elif known.run is None:
                    what = f"it ignores {ignore.code}, which can't be ignored: {_lower_first(known.title)}"
                elif ignore.code in ran:
                    what = f"it ignores {ignore.code}, which finds nothing here"
                else:
                    continue
                key = f"{path}ignore[{index}]"
                yield Finding(message=f"{holder}: {what}", name=holder, owner=owner, file=file, key=key)


def _run_check(item: Check, linted: LintProject) -> Iterable[Finding]:
    """Run a check; a failure in the code of another package is reported as its own."""
    assert item.run is not None
    if not item.package:
        return item.run(linted)
    try:
        return list(item.run(linted))
    except Exception as error:
        problem = Problem(
            what=f"check {item.code} failed: {error!r}",
            where=f"package {item.package}",
            fix=f"Upgrade {item.package}, or add {item.code} to `lint: {{disabled: [...]}}` in {CONFIG_FILE}.",
        )
        raise ConfigError([problem]) from error


def _complete(finding: Finding, item: Check, severity: Severity = Severity.ERROR) -> Finding:
    """Complete a finding with its check's code, severity and fix."""
    return replace(
        finding,
        code=item.code,
        severity=severity,
        message=shorten(finding.message),
        fix=shorten(finding.fix or item.fix),
    )


def collect_ignores(linted: LintProject) -> Mapping[str, tuple[Ignore, ...]]:
    """Return the ignores of each view, feature and service."""
    ignores: dict[str, tuple[Ignore, ...]] = {}
    for view in linted.views.values():
        ignores[view.id] = view.ignore
        for feature in view.features:
            if feature.ignore:
                ignores[f"{view.id}.{feature.name}"] = feature.ignore
    for service in linted.registry.services.values():
        ignores.setdefault(service.name, service.ignore)
    return ignores


def _locate_ignores(linted: LintProject, name: str) -> tuple[str, str, str]:
    """Return the owner, the file and the path in it of a view, feature or service with an `ignore`."""
    if name in linted.views:
        return name, linted.views[name].yaml_path, f"{AT}."
    owner, _, feature = name.rpartition(".")
    if owner in linted.views:
        return owner, linted.views[owner].yaml_path, f"columns[{feature}].{AT}."
    return name, linted.registry.services[name].yaml_path, f"{AT}."


def shorten(text: str) -> str:
    """Cut a text to a readable length, whatever a manifest holds."""
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 3]}..."


def _lower_first(text: str) -> str:
    return text[0].lower() + text[1:]


def _matches(selected: str, name: str) -> bool:
    """Whether a name is the selected one, or a feature of it."""
    return name == selected or name.startswith(f"{selected}.")


def _sort_key(finding: Finding) -> tuple[str, int, int, str, str]:
    return finding.file, finding.line, _ORDER[finding.severity], finding.code, finding.message


def problem_finding(problem: Problem, project: Project) -> Finding:
    """Return a problem of the reader as a finding.

    The problem's `where` is `file -> resource -> key`, of which the latter two are optional.
    """
    file, *rest = problem.where.split(" -> ", 2)
    file, _, mark = file.partition(", line ")
    number = mark.partition(",")[0]
    line = int(number) if number.isdigit() else 0
    if Path(file).is_absolute() and Path(file).is_relative_to(project.root):
        file = Path(file).relative_to(project.root).as_posix()
    owner, key = rest if len(rest) == 2 else (rest[0], "") if rest else ("", "")
    if file == CONFIG_FILE and not key:
        owner, key = "", owner
    code = problem.code or _DEFAULT_CODE
    return Finding(
        code=code,
        severity=Severity.ERROR,
        message=problem.what,
        name=owner,
        owner="" if code == _UNREADABLE_NODE else owner,
        file=file,
        line=line,
        key=key,
        fix=problem.fix,
    )
