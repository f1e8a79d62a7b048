"""FL210 to FL215, FL221 and FL222: SQL that leaks data from after the event time into features."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from featurelayer.dbt.inventory import Model
from featurelayer.lint.base import check
from featurelayer.lint.findings import view_finding
from featurelayer.lint.project import LintProject
from featurelayer.model import Finding, Severity

if TYPE_CHECKING:
    from featurelayer.lineage import ColumnLineage, Fact
    from featurelayer.lint.lineage import ViewLineage

_CHOOSING = ("inner", "semi", "asof", "cross")
_BOUNDS = {
    "": "reads rows from any time, including after the event",
    "future": "reads rows from after the event",
    "ahead": "reads rows up to some time after the event",
    "period": "reads rows of the same period, including after the event",
    "past": "reads rows up to the end of what the event begins",
}
_RANKS = ("rownumber", "rank", "denserank")
_MOST_STEPS = 8
_SHIFTS = ("lag", "lead")
_ENDS = ("firstvalue", "lastvalue", "nthvalue", "first", "last", "argmax", "argmin", "anyvalue")
_UNITS = {
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "isoweek": timedelta(days=7),
    "month": timedelta(days=31),
    "quarter": timedelta(days=92),
    "year": timedelta(days=366),
}


@check(
    "FL210",
    Severity.ERROR,
    "A window reads later rows",
    why="The value at an event contains what happened afterwards. It exists in training but not online, so the model "
    "learns from a future that it will not have.",
    fix="Order the window by the event time and end its frame at the current row: `range between interval 30 days "
    "preceding and current row`, or use the macro featurelayer.rolling_features.",
    needs_sql=True,
)
def future_window(project: LintProject) -> Iterator[Finding]:
    """Find aggregates over a frame that extends past the current row, or over a whole partition without an order.

    A partition whose rows all share one moment, or belong to one unique event, has no later rows.
    """
    from featurelayer.lineage import FactKind
    from featurelayer.lint.row_times import group_causes, is_of_one_event

    def leaks(seen: ViewLineage, fact: Fact) -> bool:
        if fact.kind is not FactKind.WINDOW or fact.function in (*_SHIFTS, *_ENDS) or is_of_one_event(seen, fact):
            return False
        if fact.joined or (fact.function in _RANKS and fact.frame == "all"):
            return False
        return fact.frame == "all" or (fact.frame == "future" and seen.concerns_time(fact.order))

    for seen in _views_with_time(project):
        for fact, names in group_causes(seen.find_facts(leaks)):
            how = "all rows of its partition, including later ones" if fact.frame == "all" else "later rows"
            yield _leak_finding(project, seen, fact, names, f"the window `{fact.sql}`{_place(seen, fact)} reads {how}")
        in_rows = seen.find_row_facts(lambda view, fact: fact.function not in _RANKS and leaks(view, fact))
        for fact, names in group_causes(in_rows):
            what = f"its rows are chosen by `{fact.sql}`{_place(seen, fact)}, which reads later rows"
            yield _leak_finding(project, seen, fact, names, what)


@check(
    "FL211",
    Severity.ERROR,
    "A value is taken from a later row",
    why="`lead` returns the next event, which is unknown when the current one happens.",
    fix="Use `lag`, ordered by the event time, ascending. Put the end of an interval in the view's `valid_to`.",
    needs_sql=True,
)
def later_row(project: LintProject) -> Iterator[Finding]:
    """Find `lead` ordered by time, and `lag` ordered by descending time, in the value of a feature."""
    from featurelayer.lineage import FactKind
    from featurelayer.lint.row_times import group_causes, is_of_one_event

    def leaks(seen: ViewLineage, fact: Fact) -> bool:
        # A lead or lag that looks back leaves no fact.
        shifted = fact.kind is FactKind.WINDOW and fact.function in _SHIFTS
        return shifted and not fact.joined and not is_of_one_event(seen, fact)

    for seen in _views_with_time(project):
        for fact, names in group_causes(seen.find_facts(leaks)):
            yield _leak_finding(project, seen, fact, names, f"`{fact.sql}`{_place(seen, fact)} reads a later row")


@check(
    "FL212",
    Severity.ERROR,
    "A value is the newest of all rows",
    why="Every row of a key gets the newest value, including rows from before that value existed.",
    fix="End the frame at the current row (`last_value(x) over (partition by k order by t rows between unbounded "
    "preceding and current row)`), or leave the choice of the newest row to featurelayer, which makes it per label.",
    needs_sql=True,
)
def last_of_all(project: LintProject) -> Iterator[Finding]:
    """Find first_value and last_value over later rows, and `row_number() ... desc = 1` joined back to other rows."""
    from featurelayer.lineage import FactKind
    from featurelayer.lint.row_times import group_causes, is_of_one_event, is_picked

    def leaks(seen: ViewLineage, fact: Fact) -> bool:
        if fact.kind is not FactKind.WINDOW or is_of_one_event(seen, fact):
            return False
        if fact.function in _ENDS:
            starts = fact.function in ("firstvalue", "first") and fact.frame == "all" and not fact.backwards
            return not starts
        return fact.function in _RANKS and fact.frame == "future" and seen.concerns_time(fact.order)

    def picks(seen: ViewLineage, fact: Fact) -> bool:
        if not leaks(seen, fact):
            return False
        return is_picked(seen, fact) if fact.function in _RANKS else not fact.joined

    for seen in _views_with_time(project):
        for fact, names in group_causes(seen.find_facts(picks)):
            what = (
                "picks the newest row overall, which is joined to older ones"
                if fact.function in _RANKS
                else "reads later rows"
            )
            yield _leak_finding(project, seen, fact, names, f"`{fact.sql}`{_place(seen, fact)} {what}")


@check(
    "FL213",
    Severity.ERROR,
    "A feature depends on when its model is built",
    why="A value computed from the current time is that of the last build in every row: training on last year's "
    "labels uses today's age, and every build changes all rows.",
    fix="Compute it from the row's own time: `date_diff('day', signed_up_at, event_time)`. If it depends on the "
    "request time, compute it in the model from the event time and the label's time.",
    needs_sql=True,
    grades_findings=True,
)
def clock(project: LintProject) -> Iterator[Finding]:
    """Find the current time in a feature's value, or in a filter that removes old rows.

    `event_time <= current_timestamp` is allowed: it only removes rows that have not happened yet.
    """
    from featurelayer.lineage import FactKind

    for seen in _views_with_time(project):
        for fact, names in seen.find_facts(lambda _seen, fact: fact.kind is FactKind.CLOCK):
            yield _leak_finding(
                project, seen, fact, names, f"it uses the current time, `{fact.sql}`{_place(seen, fact)}"
            )
        model = project.inventory.model(seen.view.unique_id)
        if model is None or model.config.get("materialized") == "incremental":
            continue
        for fact, names in seen.find_row_facts(
            lambda _seen, fact: fact.kind is FactKind.CLOCK and fact.function != "run"
        ):
            what = f"its rows are filtered by the current time, `{fact.sql}`{_place(seen, fact)}"
            yield _leak_finding(project, seen, fact, names, what, severity=Severity.WARNING)


@check(
    "FL214",
    Severity.ERROR,
    "An event time is the start of a period whose values are known only at its end",
    why="The rows of a day are stamped with its midnight, so a label at nine in the morning sees the whole day.",
    fix="Add the unit (`date_trunc('day', t) + interval 1 day`), or set `delay: 1 day` or `available_at`.",
    needs_sql=True,
)
def midnight(project: LintProject) -> Iterator[Finding]:
    """Find event times truncated to a day or longer, with neither a delay of that length nor an available time."""
    from featurelayer.lineage import FactKind

    for seen in _views_with_time(project):
        view, column = seen.view, seen.column(seen.view.event_time)
        if column is None or view.available_at:
            continue
        for fact in column.facts:
            length = _UNITS.get(fact.unit, timedelta(0))
            if fact.kind is not FactKind.TRUNCATED or not length or (view.delay or timedelta(0)) >= length:
                continue
            what = f"its event time '{view.event_time}' is `{fact.sql}`{_place(seen, fact)}, the start of a {fact.unit}"
            yield _leak_finding(project, seen, fact, (), what, key="config.event_time")


@check(
    "FL215",
    Severity.ERROR,
    "An aggregate over all time is joined back to single rows",
    why="The mean over a whole table includes every later row, so joining it to an event leaks the future.",
    fix="Bound the aggregate in time: join on `other.t <= event.t`, group by the time as well, or use the macro "
    "featurelayer.rolling_features.",
    needs_sql=True,
    grades_findings=True,
)
def whole_table(project: LintProject) -> Iterator[Finding]:
    """Find aggregates over groups without a time that are joined to rows, or stamped with the group's first time.

    The lines of one event, such as an order's, joined by its unique key, are not aggregated over all time.
    """
    from featurelayer.lineage import Bound
    from featurelayer.lint.row_times import find_lookahead, group_causes, judge_aggregate

    def leaks(seen: ViewLineage, fact: Fact) -> bool:
        return (fact.model, fact.within) not in find_lookahead(seen) and judge_aggregate(seen, fact) is not None

    for seen in _views_with_time(project):
        for fact, names in group_causes(seen.find_facts(leaks)):
            by = (
                f"per {', '.join(source.column for source in fact.partition)}"
                if fact.partition
                else "of the whole table"
            )
            over = f"a whole {fact.unit}" if fact.bound is Bound.PERIOD else "all time"
            what = f"`{fact.sql}`{_place(seen, fact)} is an aggregate {by} over {over}, joined back to single rows"
            yield _leak_finding(
                project, seen, fact, names, what, severity=judge_aggregate(seen, fact) or Severity.ERROR
            )
        yield from _find_first_stamps(project, seen)


def _find_first_stamps(project: LintProject, seen: ViewLineage) -> Iterator[Finding]:
    """Yield aggregates over a group that are stamped with the group's first time."""
    from featurelayer.lineage import FactKind
    from featurelayer.lint.row_times import group_causes

    column = seen.column(seen.view.event_time)
    firsts = (
        [fact for fact in column.facts if fact.kind is FactKind.AGGREGATE and fact.function == "min"] if column else []
    )

    def leaks(_seen: ViewLineage, fact: Fact) -> bool:
        return fact.kind is FactKind.AGGREGATE and any(
            fact.model == first.model and fact.partition == first.partition and not first.timed for first in firsts
        )

    for fact, names in group_causes((fact, names) for fact, names in seen.find_facts(leaks) if fact not in firsts):
        if names:
            what = f"`{fact.sql}`{_place(seen, fact)} aggregates a group and is stamped with the group's first time"
            yield _leak_finding(project, seen, fact, names, what)


@check(
    "FL221",
    Severity.ERROR,
    "A join or a subquery reads later rows",
    why="Rows from after the event are joined to it: they exist in training but not online.",
    fix="Bound the rows in time: `o.ordered_at <= v.visited_at` in the join, the subquery or the aggregate's FILTER.",
    needs_sql=True,
    grades_findings=True,
)
def later_rows(project: LintProject) -> Iterator[Finding]:
    """Find joins and subqueries over rows with times of their own that are unbounded, or bounded after the event.

    A warning if possibly only one row matches, or if the rows are bounded by the end of what the event begins.
    """
    from featurelayer.lineage import Bound, FactKind
    from featurelayer.lint.row_times import find_aggregated, group_causes, is_reported_elsewhere, judge_join

    def chooses(seen: ViewLineage, fact: Fact) -> bool:
        ahead = fact.kind is FactKind.JOIN and fact.bound in (Bound.FUTURE, Bound.AHEAD) and fact.function in _CHOOSING
        return ahead and judge_join(seen, fact) is not None

    for seen in _views_with_time(project):
        aggregated = find_aggregated(seen)

        def leaks(view: ViewLineage, fact: Fact, aggregated: frozenset[str] = aggregated) -> bool:
            ahead = fact.bound in (Bound.FUTURE, Bound.AHEAD)
            return (ahead or fact.place not in aggregated) and judge_join(view, fact) is not None

        causes = [each for each in group_causes(seen.find_facts(leaks)) if not is_reported_elsewhere(seen, *each)]
        for fact, names in causes:
            what = f"`{fact.sql}`{_place(seen, fact)} {_BOUNDS[fact.bound]}"
            yield _leak_finding(project, seen, fact, names, what, severity=judge_join(seen, fact) or Severity.ERROR)
        places = {fact.place for fact, _ in causes}
        for fact, names in group_causes(seen.find_row_facts(chooses)):
            if fact.place not in places:
                what = f"its rows are chosen by `{fact.sql}`{_place(seen, fact)}, which {_BOUNDS[fact.bound]}"
                yield _leak_finding(project, seen, fact, names, what)


@check(
    "FL222",
    Severity.ERROR,
    "An event time is the time of the build",
    why="Every row has just happened: no past label finds one, and each build moves all of them.",
    fix="Use the time of the event. For a current state, set `static: true`, or keep its history in a dbt snapshot.",
    needs_sql=True,
    grades_findings=True,
)
def built_time(project: LintProject) -> Iterator[Finding]:
    """Find `current_timestamp` as the event time, except in incremental models; a warning if only some rows have it."""
    from featurelayer.lineage import FactKind

    for seen in project.feature_lineage.views.values():
        column = seen.column(None if seen.view.static else seen.view.event_time)
        for fact in column.facts if column is not None else ():
            if fact.kind is FactKind.CLOCK and not _keeps_rows(project.inventory.model(fact.model)):
                some = "in some rows " if seen.times else ""
                what = f"its event time '{seen.view.event_time}' is {some}the time of the build, `{fact.sql}`"
                severity = Severity.WARNING if some else Severity.ERROR
                yield _leak_finding(project, seen, fact, (), what + _place(seen, fact), severity=severity)
                break


def _keeps_rows(model: Model | None) -> bool:
    """Whether a model keeps the rows of earlier builds, with their times."""
    return model is not None and (model.kind == "snapshot" or model.config.get("materialized") == "incremental")


def _views_with_time(project: LintProject) -> Iterator[ViewLineage]:
    """Yield the views whose rows have a time of their own, other than the time of the build (FL222)."""
    from featurelayer.lint.row_times import is_now

    for seen in project.feature_lineage.views.values():
        if seen.view.event_time and not seen.view.static and not is_now(seen):
            yield seen


def _place(seen: ViewLineage, fact: Fact) -> str:
    return "" if fact.model == seen.view.unique_id else f" in {fact.model.split('.', 2)[-1]}"


def _leak_finding(
    project: LintProject,
    seen: ViewLineage,
    fact: Fact,
    names: tuple[str, ...],
    what: str,
    *,
    key: str = "",
    severity: Severity = Severity.ERROR,
) -> Finding:
    """Return a finding in the SQL of one model about features of one view."""
    from featurelayer.lint.lineage import find_fact_line

    view = seen.view
    model = project.inventory.model(fact.model)
    features = [feature.name for feature in view.features if feature.name.casefold() in names]
    message = f"{_join_names(features, len(view.features))}: {what}" if features else what
    where = {"file": model.path, "line": find_fact_line(model, fact)} if model and not key else {}
    return view_finding(
        view,
        message,
        key=key,
        severity=severity,
        details=tuple(_steps(seen, fact, names[0])) if names else (),
        others=tuple(f"{view.id}.{name}" for name in features),
        each=True,
        **where,
    )


def _join_names(features: list[str], count: int) -> str:
    if len(features) == count and count > 1:
        return "all features"
    shown = ", ".join(features[:5])
    return shown if len(features) <= 5 else f"{shown} and {len(features) - 5} more"


def _steps(seen: ViewLineage, fact: Fact, name: str) -> Iterator[str]:
    """Yield the steps from a fact down to a feature, first step first."""
    places = {each.place for each in (fact,) if each.place}

    def has(column: ColumnLineage) -> bool:
        return any(each.sql == fact.sql and each.model == fact.model for each in column.facts)

    columns = [column for column in seen.lineage.upstream(seen.view.unique_id, name) if has(column)]
    for column in reversed(columns[:_MOST_STEPS]):
        steps = [str(step) for step in column.steps]
        if column.unique_id == fact.model and not places:
            first = next((place for place, step in enumerate(column.steps) if fact.sql in step.sql), 0)
            steps = steps[first:]
        yield from steps[-_MOST_STEPS:]
