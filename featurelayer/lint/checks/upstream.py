"""FL201 and FL216 to FL220: upstream models that leak data into features or lose rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, cast

from featurelayer.dbt.inventory import Model
from featurelayer.lint.base import check
from featurelayer.lint.findings import feature_finding, view_finding
from featurelayer.lint.project import LintProject
from featurelayer.model import FeatureService, FeatureView, Finding, Severity

if TYPE_CHECKING:
    from featurelayer.lineage import ColumnLineage, SourceColumn
    from featurelayer.lint.lineage import ViewLineage

_WATERMARK = re.compile(r"max\s*\(\s*[\"`]?(?:\w+\.)?(\w+)[\"`]?\s*\)", re.IGNORECASE)
_LOOKBACK = re.compile(r"interval|dateadd|date_add|date_sub|timestamp_sub|timedelta|lookback", re.IGNORECASE)
_PLANNED = frozenset({"sched", "scheduled", "schedule", "planned", "plan", "expected", "estimated", "est", "due"})
_ACTUAL = frozenset({"actual", "real", "act", "completed", "final"})
_VALIDITY = re.compile(r"valid_?(from|to|until)|dbt_valid|effective|expir", re.IGNORECASE)


@check(
    "FL201",
    Severity.ERROR,
    "A microbatch model reads only the newest batch of a feature view",
    why="dbt filters each input of a microbatch model that has an event time to the current batch. Labels at the "
    "start of a batch need older feature rows, so their features are silently NULL.",
    fix="Read the view with {{ ref('...').render() }}, which dbt does not filter.",
)
def microbatch(project: LintProject) -> Iterator[Finding]:
    """Find microbatch models that `ref` a feature view with an event time without `.render()`."""
    views = {view.name: view for view in project.views.values() if view.event_time}
    for model in project.inventory.find_mentions("microbatch"):
        if model.config.get("incremental_strategy") != "microbatch":
            continue
        for number, line in enumerate(model.raw_sql.splitlines(), start=1):
            for ref in re.finditer(r"ref\(([^)]*)\)(\s*\.\s*render\s*\()?", line):
                names = re.findall(r"['\"]([^'\"]+)['\"]", ref[1])
                view = views.get(names[-1]) if names else None
                if view is not None and not ref[2]:
                    what = f"the microbatch model {model.id} reads it without .render()"
                    yield view_finding(view, what, file=model.path, line=number)


@check(
    "FL216",
    Severity.WARNING,
    "The current state of a dimension is joined to past events",
    why="A table with one row per key holds only the current values, so an event of last year gets this year's value.",
    fix="Make a dbt snapshot of it and join on `event.t >= dbt_valid_from and event.t < dbt_valid_to`, or make it a "
    "feature view of its own. If its values never change, ignore this check with that reason.",
    needs_sql=True,
)
def current_state(project: LintProject) -> Iterator[Finding]:
    """Find features from a relation without event times that is joined by equality only; not seeds or static views.

    A relation with validity columns counts as well, unless the join uses them.
    """
    from featurelayer.lineage import Bound, FactKind
    from featurelayer.lint.lineage import find_fact_line
    from featurelayer.lint.row_times import (
        find_aggregated,
        group_causes,
        is_event,
        is_fixed,
        is_separate,
        judge_join,
    )

    for seen in project.feature_lineage.views.values():
        if not seen.view.event_time:
            continue
        made = find_aggregated(seen)
        joined_rows = seen.find_facts(lambda _seen, fact: fact.kind is FactKind.JOIN and not fact.counted)
        for fact, names in group_causes(joined_rows):
            model = project.inventory.model(fact.unique_id) if fact.unique_id else None
            if model is None or model.kind == "seed" or fact.place in made or judge_join(seen, fact) is not None:
                continue
            if is_event(seen, fact) or is_fixed(seen, fact) or is_separate(seen, fact):
                continue
            if fact.bound in (Bound.NONE, Bound.FUTURE) and not seen.is_key(fact.keys) and _is_state(seen, model):
                joined = project.inventory.model(fact.model)
                what = f"{', '.join(names[:5])}: {model.name} holds the current state and is joined to past events"
                place = "" if fact.model == seen.view.unique_id or joined is None else f" in {joined.name}"
                others = tuple(f"{seen.view.id}.{name}" for name in names)
                file, line = (joined.path, find_fact_line(joined, fact)) if joined else (seen.view.yaml_path, 0)
                yield view_finding(seen.view, what + place, others=others, each=True, file=file, line=line)


def _is_state(seen: ViewLineage, model: Model) -> bool:
    """Whether a relation has one row per key, judged by its columns: no times except when a row was written."""
    from featurelayer.lineage.time_names import is_audit_name, is_time_name, is_time_type

    types = {column.name: column.data_type for column in model.columns}
    names = {*types, *seen.lineage.columns(model.unique_id)}
    times = [name for name in names if is_time_name(name) or is_time_type(types.get(name, ""))]
    times += [name for name in names if _VALIDITY.search(name)]
    return bool(names) and all(is_audit_name(name) or _VALIDITY.search(name) for name in times)


@check(
    "FL217",
    Severity.WARNING,
    "An incremental model skips rows that arrive late",
    why="A late row has an event time before the newest row's, so it is never loaded and the features stay without it.",
    fix="Filter on the load time (`where loaded_at > (select max(loaded_at) from {{ this }})`), or look back: "
    "`max(event_time) - interval 3 days` with a `unique_key`.",
    needs_sql=True,
)
def late_rows(project: LintProject) -> Iterator[Finding]:
    """Find `max(event time)` of `{{ this }}` as the watermark, without a lookback, in a view or an upstream model."""
    from featurelayer.lint.lineage import find_pattern_line

    marks = {
        model.unique_id: _watermarks(model.raw_sql)
        for model in project.inventory.find_mentions("is_incremental")
        if _is_incremental(model)
    }

    def pick(column: ColumnLineage) -> Iterator[tuple[str, str]]:
        if column.column in marks.get(column.unique_id, ()):
            yield column.unique_id, column.column

    for seen in project.feature_lineage.views.values():
        view = seen.view
        found = (
            seen.lineage.collect(view.unique_id, view.event_time, pick)
            if view.event_time and any(marks.values())
            else ()
        )
        for unique_id, name in sorted(cast("Iterable[tuple[str, str]]", found)):
            model = project.inventory.model(unique_id)
            if model is not None and name != (view.available_at or "").casefold():
                where = "" if model.unique_id == view.unique_id else f" in {model.name}"
                what = f"the watermark{where} is max({name}), the event time: late rows are lost"
                yield view_finding(
                    view, what, file=model.path, line=find_pattern_line(model, rf"max\s*\(\s*\S*{re.escape(name)}")
                )


def _is_incremental(model: Model) -> bool:
    config = model.config
    return config.get("materialized") == "incremental" and config.get("incremental_strategy") != "microbatch"


def _watermarks(sql: str) -> set[str]:
    """Return the columns whose maximum in the model's own table is where the next run starts."""
    if "is_incremental" not in sql or not re.search(r"\bthis\b", sql):
        return set()
    return {
        found[1].casefold()
        for found in _WATERMARK.finditer(sql)
        if not _LOOKBACK.search(sql[max(0, found.start() - 80) : found.end() + 120])
    }


@check(
    "FL218",
    Severity.ERROR,
    "A feature is computed from a label",
    why="The label is what the model predicts: a feature that contains it makes the model seem perfect until it goes "
    "live.",
    fix="Compute the feature from the events, not from the labels. If a labels model has columns that are not labels, "
    "tag those that are: `tags: [label]` on the column.",
    needs_sql=True,
)
def label_ancestor(project: LintProject) -> Iterator[Finding]:
    """Find features with a label column upstream: one tagged `label` or `target`, else any but the keys."""
    labels: dict[str, frozenset[str]] = {}
    for service in project.registry.services.values():
        model = _labels_of(project, service)
        if model is not None:
            labels[model.unique_id] = _label_columns(model, service)

    def values(column: ColumnLineage) -> Iterator[SourceColumn]:
        return (source for source in column.sources if _is_label(project, source, labels))

    def rows(column: ColumnLineage) -> Iterator[SourceColumn]:
        return (source for source in column.row_sources if _is_label(project, source, labels))

    for seen in project.feature_lineage.views.values():
        for feature in seen.view.features:
            for pick, how in ((values, "it is computed from"), (rows, "its rows are chosen by")):
                found = seen.lineage.collect(seen.view.unique_id, feature.name, pick)
                if found:
                    yield feature_finding(
                        seen.view, feature, f"{how} the label {min(cast('Iterable[SourceColumn]', found))}"
                    )
                    break


def _labels_of(project: LintProject, service: FeatureService) -> Model | None:
    if not service.labels:
        return None
    name, _, version = service.labels.partition(".v")
    for model in project.inventory.find_mentions(f'"{name}"'):
        if model.name == name and (not version or model.version == version):
            return model
    return None


def _label_columns(model: Model, service: FeatureService) -> frozenset[str]:
    tagged = frozenset(column.name.casefold() for column in model.columns if column.is_label)
    keys = {key.name.casefold() for key in service.request_keys} | {(service.label_timestamp or "").casefold()}
    return tagged or frozenset(column.name.casefold() for column in model.columns) - keys


def _is_label(project: LintProject, source: SourceColumn, labels: dict[str, frozenset[str]]) -> bool:
    if source.unique_id in labels:
        return source.column in labels[source.unique_id]
    model = project.inventory.model(source.unique_id) if source.unique_id else None
    return model is not None and any(each.is_label and each.name.casefold() == source.column for each in model.columns)


@check(
    "FL219",
    Severity.NOTE,
    "An event time is a planned time although the actual time is available",
    why="Something planned for ten o'clock that happens at noon is visible to labels at eleven.",
    fix="Use the actual time as the event time. If the plan itself is the event, ignore this check with that reason.",
    needs_sql=True,
)
def plan_as_event_time(project: LintProject) -> Iterator[Finding]:
    """Find event times from a column named scheduled or planned next to the same column without that word."""

    def pick(column: ColumnLineage) -> Iterator[tuple[str, str, str]]:
        for source in column.sources:
            yield from _find_actual_times(project, column_names, source)

    column_names = project.feature_lineage.lineage.columns
    for seen in project.feature_lineage.views.values():
        view = seen.view
        pairs = seen.lineage.collect(view.unique_id, view.event_time, pick) if view.event_time else frozenset()
        if pairs:
            planned, actual, name = min(cast("Iterable[tuple[str, str, str]]", pairs))
            what = f"its event time comes from '{planned}', although {name} has '{actual}'"
            yield view_finding(view, what, key="config.event_time")


def _find_actual_times(
    project: LintProject, columns: Callable[[str], Iterable[str]], source: SourceColumn
) -> Iterator[tuple[str, str, str]]:
    words = set(source.column.split("_"))
    if words.isdisjoint(_PLANNED) or not source.unique_id:
        return
    model = project.inventory.model(source.unique_id)
    declared = [column.name.casefold() for column in model.columns] if model else []
    rest = words - _PLANNED
    for name in sorted({*declared, *columns(source.unique_id)} - {source.column}):
        others = set(name.split("_"))
        if others.isdisjoint(_PLANNED) and rest and others - _ACTUAL == rest:
            yield source.column, name, model.name if model else source.relation


@check(
    "FL220",
    Severity.WARNING,
    "The SQL of a model can't be analysed for leakage",
    why="Leaks and duplicates are found by following columns through SQL; the lineage ends here.",
    fix="Review the model by hand. If it is not compiled, run `dbt compile`.",
    needs_sql=True,
)
def not_followed(project: LintProject) -> Iterator[Finding]:
    """Find views and upstream models whose SQL can't be parsed, or is too large or too deeply nested."""
    lineage = project.feature_lineage.lineage
    for view in project.views.values() if lineage.problems else ():
        for unique_id in _list_upstream(project, view):
            if unique_id in lineage.problems:
                model = project.inventory.model(unique_id)
                name = model.name if model else unique_id
                file = {"file": model.path} if model else {}
                yield view_finding(view, f"{name}: {lineage.problems[unique_id]}", **file)


def _list_upstream(project: LintProject, view: FeatureView) -> list[str]:
    found, seen = [view.unique_id], {view.unique_id}
    for unique_id in found:  # the list grows during iteration
        model = project.inventory.model(unique_id)
        for parent in model.depends_on if model else ():
            if parent not in seen:
                seen.add(parent)
                found.append(parent)
    return found
