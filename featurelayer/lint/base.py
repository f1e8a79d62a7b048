"""What a check is, and how it says what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from featurelayer.model import Feature, FeatureService, FeatureView, Severity

if TYPE_CHECKING:
    from featurelayer.lint.project import LintProject

AT = "config.meta.featurelayer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One thing that a check found; the runner makes a `Finding` of it with the check's code, severity and fix.

    `name` is what it is about, `owner` the view or service whose `ignore` may excuse it and whose YAML `key` is in.
    `file` is the YAML, relative to the project; `line` is found from `owner` and `key` where it is 0. `others` are
    further views or features that it is about, which `-s` and `ignore` heed, too. `severity` and `fix`, where given,
    are used instead of the check's own. `each` says that it is about all of `others`: it is excused if each of them is.
    """

    message: str
    name: str = ""
    owner: str = ""
    file: str = ""
    line: int = 0
    key: str = ""
    fix: str = ""
    severity: Severity | None = None
    details: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    each: bool = False


Run = Callable[["LintProject"], Iterable[Hit]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A rule: its stable code, how much it weighs, what it says in one line, why it matters and how to fix it.

    `run` is None for what only reading the project can find (`by_reader`): such findings are errors always, because
    nothing else works either until they are fixed. `needs_sql` tells the checks that only run on compiled SQL.
    """

    code: str
    severity: Severity
    title: str
    why: str
    fix: str
    run: Run | None = None
    by_reader: bool = False
    needs_sql: bool = False


def check(
    code: str,
    severity: Severity,
    title: str,
    *,
    why: str,
    fix: str,
    by_reader: bool = False,
    needs_sql: bool = False,
) -> Callable[[Run], Check]:
    """Make a check of the function below: it takes the project and yields a `Hit` for each thing it finds.

    `by_reader` says that reading the project reports the same code, too, for what makes it unusable.
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
        )

    return decorate


def view_finding(view: FeatureView, message: str, *, key: str = "", **more: object) -> Hit:
    """Return a hit about a view; `key` is the place in the view's YAML, and `more` are fields of `Hit`."""
    said = {"name": view.id, "owner": view.id, "file": view.yaml_path, "key": key, **more}
    return Hit(message=f"{view.id}: {message}", **said)  # type: ignore[arg-type] # mypy can't see the fields' types


def feature_finding(view: FeatureView, feature: Feature | str, message: str, *, key: str = "", **more: object) -> Hit:
    """Return a hit about a feature; `key` is the place in the column's YAML."""
    name = feature if isinstance(feature, str) else feature.name
    full = f"{view.id}.{name}"
    path = f"columns[{name}].{key}" if key else f"columns[{name}]"
    said = {"name": full, "owner": view.id, "file": view.yaml_path, "key": path, **more}
    return Hit(message=f"{full}: {message}", **said)  # type: ignore[arg-type] # as above


def service_finding(service: FeatureService, message: str, *, key: str = "", **more: object) -> Hit:
    """Return a hit about a feature service; `key` is the place in the exposure's YAML."""
    said = {"name": service.name, "owner": service.name, "file": service.yaml_path, "key": key, **more}
    return Hit(message=f"{service.name}: {message}", **said)  # type: ignore[arg-type] # as above
