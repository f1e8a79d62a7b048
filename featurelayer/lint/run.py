"""Runs the checks over a project: reads it once, asks each check, heeds settings, ignores and selection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from featurelayer.callbacks import Notify
from featurelayer.dbt.artifacts import decode_manifest, find_doubts, read_raw
from featurelayer.dbt.inventory import Inventory
from featurelayer.dbt.loader import read_annotations
from featurelayer.dbt.project import CONFIG_FILE, Project
from featurelayer.dbt.yaml_lines import Lines
from featurelayer.errors import ConfigError, ManifestUnreadable, Problem, UnknownNameError
from featurelayer.lint.base import AT, Check, Hit
from featurelayer.lint.checks import all_checks
from featurelayer.lint.project import LintProject
from featurelayer.lint.report import LintReport, Suppressed
from featurelayer.lint.settings import read_settings, severity_of
from featurelayer.model import FeatureView, Finding, Ignore, Severity
from featurelayer.online.settings import validate_stores

_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}
UNUSED_IGNORE = "FL111"
_LONGEST = 2000


def lint(
    project: Project,
    names: Sequence[str] = (),
    checks: Sequence[str] = (),
    *,
    warn: Notify | None = None,
) -> LintReport:
    """Return what the checks find in the project; nothing but dbt's files and the project's YAML is read.

    Args:
        project: the dbt project.
        names: models, views, services or features (`view.feature`) to report about; all by default. A dbt node that is
            none of these is heeded and has no findings.
        checks: codes (`FL203`) or families (`FL2`) to run; all that are not disabled by default.
        warn: told of what is doubtful, such as a manifest that is older than the project's files.

    Raises:
        UnknownNameError: there is no such name, or no such check.
        ManifestNotFound, UnsupportedManifest: dbt has not written a manifest that can be read.
    """
    chosen = select_checks(checks)
    problems: list[Problem] = []
    try:
        raw, path, data = read_raw(project.target_path)
        manifest = decode_manifest(raw, path, data, problems)
        annotations = read_annotations(manifest, project)
        settings = read_settings(project.config.document.get("lint"), CONFIG_FILE, problems)
        problems += validate_stores(project.config.document.get("online_store"), CONFIG_FILE)
    except ConfigError as error:
        return _unusable(project, error.problems)
    except ManifestUnreadable as error:
        return _unusable(project, [replace(problem, code="FL110") for problem in error.problems])
    if warn is not None:
        for doubt in find_doubts(manifest, project):
            warn(doubt)
    views = {**annotations.registry.views, **{view.id: view for view in annotations.doubtful}}
    seen = LintProject(
        registry=annotations.registry,
        views=dict(sorted(views.items())),
        inventory=Inventory(raw, path),
        settings=settings,
        problems=(*problems, *annotations.problems),
        project_settings=project.settings,
        lines=Lines(project.root),
    )
    return _Runner(project=project, seen=seen, names=_select_ids(seen, names), chosen=chosen).run()


def _unusable(project: Project, problems: Iterable[Problem]) -> LintReport:
    """Return the report on a project of which nothing else can be looked at."""
    findings = []
    for problem in problems:
        hit, code = problem_finding(problem, project), problem.code or "FL105"
        fix = hit.fix or all_checks()[code].fix
        findings.append(
            Finding(
                code=code,
                severity=Severity.ERROR,
                message=shorten(hit.message),
                fix=shorten(fix),
                name=hit.name,
                file=hit.file,
                line=hit.line,
                key=hit.key,
            )
        )
    return LintReport(findings=tuple(findings))


def select_checks(checks: Sequence[str]) -> Mapping[str, Check]:
    """Return the checks of these codes and families; all if none are named.

    Raises:
        UnknownNameError: a name fits none.
    """
    known = all_checks()
    asked = _split_codes(checks)
    for code in unknown_checks(checks):
        raise UnknownNameError("check", code, known)
    return {code: item for code, item in known.items() if not asked or code.startswith(asked)}


def unknown_checks(checks: Sequence[str]) -> tuple[str, ...]:
    """Return those of the codes and families that fit no check."""
    known = all_checks()
    return tuple(code for code in _split_codes(checks) if not any(other.startswith(code) for other in known))


def _split_codes(checks: Sequence[str]) -> tuple[str, ...]:
    return tuple(code.strip().upper() for item in checks for code in item.split(",") if code.strip())


def _select_ids(seen: LintProject, names: Sequence[str]) -> frozenset[str] | None:
    """Return the ids that the names mean, None for all."""
    if not names:
        return None
    views = {name for view in seen.views.values() for name in (view.id, view.name)}
    features = {f"{view.id}.{feature.name}" for view in seen.views.values() for feature in view.features}
    known = views | features | seen.inventory.names
    chosen: set[str] = set()
    for name in names:
        bare = name.rpartition(":")[2]  # exposure:late_arrival, as `dbt ls` prints it
        if bare not in known:
            raise UnknownNameError("view, feature, service or model", name, known)
        chosen |= {bare} | {view.id for view in seen.views.values() if view.name == bare}
    return frozenset(chosen)


@dataclass(kw_only=True)
class _Runner:
    """One run: its findings, and which ignores have excused something."""

    project: Project
    seen: LintProject
    names: frozenset[str] | None
    chosen: Mapping[str, Check]
    findings: list[Finding] = field(default_factory=list)
    excused: list[Suppressed] = field(default_factory=list)
    used: set[tuple[str, Ignore]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.ignores = {name: listed for name, listed in collect_ignores(self.seen).items() if listed}
        self.severities = {code: severity_of(code, self.seen.settings.severity) for code in all_checks()}

    def run(self) -> LintReport:
        ran = []
        for code, item in self.chosen.items():
            if item.run is None:
                ran.append(code)  # it has been read already
                continue
            if severity_of(code, dict.fromkeys(self.seen.settings.disabled, True)):
                continue
            if item.needs_sql and not self.seen.has_sql:
                continue
            ran.append(code)
            for hit in item.run(self.seen):
                self._add(item, hit)
        for problem in (*self.seen.problems, *self.seen.inventory.problems):
            self._add_problem(problem)
        for hit in self._find_ineffective_ignores(frozenset(ran)):
            self._add(all_checks()[UNUSED_IGNORE], hit)
        return LintReport(
            findings=tuple(dict.fromkeys(sorted(self.findings, key=_sort_key))),
            excused=tuple(self.excused),
            checks=tuple(ran),
            views=sum(self._is_view_selected(view) for view in self.seen.views.values()),
            without_sql=self._lacks_sql(),
        )

    def _lacks_sql(self) -> bool:
        asked = any(item.needs_sql for item in self.chosen.values())
        return asked and bool(self.seen.views) and not self.seen.has_sql

    def _add(self, item: Check, hit: Hit) -> None:
        if not self._is_selected(hit.name, hit.others, hit.owner):
            return
        severity = self.severities[item.code] or hit.severity or item.severity
        finding = self._finding(item.code, Severity(severity), hit, hit.fix or item.fix)
        excuse = self._find_suppression(item.code, hit)
        if excuse is None:
            self.findings.append(finding)
        else:
            self.excused.append(Suppressed(finding=finding, reason=excuse.reason))

    def _add_problem(self, problem: Problem) -> None:
        """Add what reading has found: an error whatever the settings say, and nothing excuses it."""
        hit, code = problem_finding(problem, self.project), problem.code or "FL105"
        if code in self.chosen and (not hit.owner or self._is_selected(hit.name, (), hit.owner)):
            self.findings.append(self._finding(code, Severity.ERROR, hit, hit.fix or all_checks()[code].fix))

    def _finding(self, code: str, severity: Severity, hit: Hit, fix: str) -> Finding:
        line = hit.line or (self.seen.lines.find(hit.file, hit.owner, hit.key) if hit.file else 0)
        return Finding(
            code=code,
            severity=severity,
            message=shorten(hit.message),
            fix=shorten(fix),
            name=hit.name,
            file=hit.file,
            line=line,
            key=hit.key,
            details=hit.details,
        )

    def _is_selected(self, name: str, others: Sequence[str], owner: str) -> bool:
        if self.names is None:
            return True
        return any(_matches(asked, given) for asked in self.names for given in (name, owner, *others) if given)

    def _is_view_selected(self, view: FeatureView) -> bool:
        return self.names is None or any(_matches(name, view.id) or _matches(view.id, name) for name in self.names)

    def _find_suppression(self, code: str, hit: Hit) -> Ignore | None:
        if not self.ignores:
            return None
        whole = self._find_ignore(code, (hit.name, hit.owner, *(() if hit.each else hit.others)))
        if whole is not None or not (hit.each and hit.others):
            return whole
        parts = [self._find_ignore(code, (name,)) for name in hit.others]
        return parts[0] if all(parts) else None

    def _find_ignore(self, code: str, names: Iterable[str]) -> Ignore | None:
        for name in names:
            for holder in (name, name.rpartition(".")[0]):
                for ignore in self.ignores.get(holder, ()):
                    if ignore.code == code:
                        self.used.add((holder, ignore))
                        return ignore
        return None

    def _find_ineffective_ignores(self, ran: frozenset[str]) -> Iterator[Hit]:
        if UNUSED_IGNORE not in ran:
            return
        for holder, listed in self.ignores.items():
            owner, file, path = _locate_ignores(self.seen, holder)
            for index, ignore in enumerate(listed):
                if (holder, ignore) in self.used:
                    continue
                known = all_checks().get(ignore.code)
                if known is None:
                    what = f"it ignores {ignore.code}, and there is no such check"
                elif known.run is None:
                    what = f"it ignores {ignore.code}, which nothing excuses: {known.title[0].lower()}{known.title[1:]}"
                elif ignore.code in ran:
                    what = f"it ignores {ignore.code}, which finds nothing here"
                else:
                    continue
                key = f"{path}ignore[{index}]"
                yield Hit(message=f"{holder}: {what}", name=holder, owner=owner, file=file, key=key)


def collect_ignores(seen: LintProject) -> Mapping[str, tuple[Ignore, ...]]:
    """Return what each view, feature and service says that it ignores."""
    found: dict[str, tuple[Ignore, ...]] = {}
    for view in seen.views.values():
        found[view.id] = view.ignore
        for feature in view.features:
            if feature.ignore:
                found[f"{view.id}.{feature.name}"] = feature.ignore
    for service in seen.registry.services.values():
        found.setdefault(service.name, service.ignore)
    return found


def _locate_ignores(seen: LintProject, name: str) -> tuple[str, str, str]:
    """Return the owner, the file and the path in it of what has an `ignore`."""
    if name in seen.views:
        return name, seen.views[name].yaml_path, f"{AT}."
    owner, _, feature = name.rpartition(".")
    if owner in seen.views:
        return owner, seen.views[owner].yaml_path, f"columns[{feature}].{AT}."
    return name, seen.registry.services[name].yaml_path, f"{AT}."


def shorten(text: str) -> str:
    """Return a text that a reader can take in, whatever a manifest holds."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _matches(asked: str, name: str) -> bool:
    """Whether a name is the one asked for, or a feature of it."""
    return name == asked or name.startswith(f"{asked}.")


def _sort_key(finding: Finding) -> tuple[str, int, int, str, str]:
    return finding.file, finding.line, _ORDER[finding.severity], finding.code, finding.message


def problem_finding(problem: Problem, project: Project) -> Hit:
    """Return a problem of the reader as a hit: its `where` is `file -> resource -> key`, the latter two optional."""
    file, *rest = problem.where.split(" -> ", 2)
    file, _, mark = file.partition(", line ")
    number = mark.partition(",")[0]
    line = int(number) if number.isdigit() else 0
    if Path(file).is_absolute() and Path(file).is_relative_to(project.root):
        file = Path(file).relative_to(project.root).as_posix()
    owner, key = rest if len(rest) == 2 else (rest[0], "") if rest else ("", "")
    if file == CONFIG_FILE and not key:
        owner, key = "", owner
    is_node = problem.code == "FL110"
    return Hit(
        message=problem.what,
        name=owner,
        owner="" if is_node else owner,
        file=file,
        line=line,
        key=key,
        fix=problem.fix,
    )
