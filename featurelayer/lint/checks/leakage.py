"""FL210 to FL215, FL221 and FL222: SQL that lets a feature see what came after its event time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from featurelayer.dbt.inventory import Model
from featurelayer.lint.base import Hit, check, view_finding
from featurelayer.lint.project import LintProject
from featurelayer.model import Severity

if TYPE_CHECKING:
    from featurelayer.lineage import ColumnLineage, Fact
    from featurelayer.lint.lineage import ViewLineage

_CHOOSING = ("inner", "semi", "asof", "cross")
_BOUNDS = {
    "": "takes rows from any time, also from after the event",
    "future": "takes rows from after the event",
    "ahead": "takes rows up to some time after the event",
    "period": "takes rows of the same period, also from after the event",
    "past": "takes rows up to the end of what the event begins",
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
    "A window looks at rows that come after",
    why="The value at an event knows what happened later. In training it is there, online it can't be: the model "
    "learns from a future that it will not have.",
    fix="Give the window `order by` the event time and a frame that ends at the current row: "
    "`range between interval 30 days preceding and current row`, or use the macro featurelayer.rolling_features.",
    needs_sql=True,
)
def future_window(project: LintProject) -> Iterator[Hit]:
    """An aggregate over a frame that goes on after the current row, or over a whole partition for want of an order.

    A partition within which all rows are of one moment, or of one thing that is unique, has no future.
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
        for fact, names in group_causes(seen.found(leaks)):
            how = "all rows of its partition, whenever they happened" if fact.frame == "all" else "rows that come after"
            yield _leak_finding(
                project, seen, fact, names, f"the window `{fact.sql}`{_place(seen, fact)} looks at {how}"
            )
        in_rows = seen.find_row_facts(lambda view, fact: fact.function not in _RANKS and leaks(view, fact))
        for fact, names in group_causes(in_rows):
            what = f"which rows there are depends on `{fact.sql}`{_place(seen, fact)}, and that on rows that come after"
            yield _leak_finding(project, seen, fact, names, what)


@check(
    "FL211",
    Severity.ERROR,
    "A value is taken from a later row",
    why="`lead` is the next event: nobody knows it when the current one happens.",
    fix="Use `lag`, ordered by the event time, ascending. What ends an interval belongs into the view's `valid_to`.",
    needs_sql=True,
)
def later_row(project: LintProject) -> Iterator[Hit]:
    """`lead` ordered by time, or `lag` ordered by time backwards, in a feature's value."""
    from featurelayer.lineage import FactKind
    from featurelayer.lint.row_times import group_causes, is_of_one_event

    def leaks(seen: ViewLineage, fact: Fact) -> bool:
        # A lead or lag that looks back leaves no fact.
        shifted = fact.kind is FactKind.WINDOW and fact.function in _SHIFTS
        return shifted and not fact.joined and not is_of_one_event(seen, fact)

    for seen in _views_with_time(project):
        for fact, names in group_causes(seen.found(leaks)):
            yield _leak_finding(
                project, seen, fact, names, f"`{fact.sql}`{_place(seen, fact)} is the value of a later row"
            )


@check(
    "FL212",
    Severity.ERROR,
    "A value is the last of all rows, whenever they came",
    why="The newest value of all is in every row of its key, also in those from before it was there.",
    fix="End the frame at the current row (`last_value(x) over (partition by k order by t rows between unbounded "
    "preceding and current row)`), or leave the newest row to featurelayer: it finds it for each label's time.",
    needs_sql=True,
)
def last_of_all(project: LintProject) -> Iterator[Hit]:
    """first_value and last_value over later rows, and rows picked by `row_number() ... desc` joined back to others."""
    from featurelayer.lineage import FactKind
    from featurelayer.lint.row_times import group_causes, is_of_one_event, is_picked

    def leaks(seen: ViewLineage, fact: Fact) -> bool:
        if fact.kind is not FactKind.WINDOW or is_of_one_event(seen, fact):
            return False
        if fact.function in _ENDS:
            starts = fact.function in ("firstvalue", "first") and fact.frame == "all" and not fact.backwards
            return not starts
        return fact.function in _RANKS and fact.frame == "future" and seen.concerns_time(fact.order)

    def picked(seen: ViewLineage, fact: Fact) -> bool:
        if not leaks(seen, fact):
            return False
        return is_picked(seen, fact) if fact.function in _RANKS else not fact.joined

    for seen in _views_with_time(project):
        for fact, names in group_causes(seen.found(picked)):
            what = (
                "picks the newest row of all, which is then joined to older ones"
                if fact.function in _RANKS
                else "is taken from rows that come after"
            )
            yield _leak_finding(project, seen, fact, names, f"`{fact.sql}`{_place(seen, fact)} {what}")


@check(
    "FL213",
    Severity.ERROR,
    "A feature depends on when its model is built",
    why="A value reckoned from the present time is that of the last build in every row, however old: training on last "
    "year's labels sees today's age, and every build changes all rows.",
    fix="Reckon from the row's own time: `date_diff('day', signed_up_at, event_time)`; what depends on the time of the "
    "request, reckon in the model from the event time and the label's time.",
    needs_sql=True,
)
def clock(project: LintProject) -> Iterator[Hit]:
    """The present time in a feature's value, or in a filter that cuts old rows off.

    `event_time <= current_timestamp` only keeps out what has not happened yet.
    """
    from featurelayer.lineage import FactKind

    for seen in _views_with_time(project):
        for fact, names in seen.found(lambda _seen, fact: fact.kind is FactKind.CLOCK):
            yield _leak_finding(
                project, seen, fact, names, f"the present time, `{fact.sql}`, is part of it{_place(seen, fact)}"
            )
        model = project.inventory.model(seen.view.unique_id)
        if model is None or model.config.get("materialized") == "incremental":
            continue
        for fact, names in seen.find_row_facts(
            lambda _seen, fact: fact.kind is FactKind.CLOCK and fact.function != "run"
        ):
            what = f"which rows there are depends on the present time, `{fact.sql}`{_place(seen, fact)}"
            yield _leak_finding(project, seen, fact, names, what, severity=Severity.WARNING)


@check(
    "FL214",
    Severity.ERROR,
    "An event time is the start of the day, and what it stamps is known only at its end",
    why="A day's rows are stamped with its midnight: a label at nine in the morning sees the whole day.",
    fix="Add the unit (`date_trunc('day', t) + interval 1 day`), or say `delay: 1 day` or `available_at`.",
    needs_sql=True,
)
def midnight(project: LintProject) -> Iterator[Hit]:
    """An event time cut down to a day or longer, with neither a delay of that length nor an available time."""
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
    why="The mean over a whole table holds every later row; joined to an event it tells it of the future.",
    fix="Bind the aggregate in time: join on `other.t <= event.t`, group by the time as well, or use the macro "
    "featurelayer.rolling_features.",
    needs_sql=True,
)
def whole_table(project: LintProject) -> Iterator[Hit]:
    """An aggregate whose groups have no time, joined to rows or read by a subquery; or stamped with its first time.

    The lines of one event, such as those of an order joined by its unique key, are not of all time.
    """
    from featurelayer.lineage import Bound
    from featurelayer.lint.row_times import find_lookahead, group_causes, judge_aggregate

    def leaks(seen: ViewLineage, fact: Fact) -> bool:
        return (fact.model, fact.within) not in find_lookahead(seen) and judge_aggregate(seen, fact) is not None

    for seen in _views_with_time(project):
        for fact, names in group_causes(seen.found(leaks)):
            by = (
                f"per {', '.join(source.column for source in fact.partition)}"
                if fact.partition
                else "of the whole table"
            )
            over = f"a whole {fact.unit}" if fact.bound is Bound.PERIOD else "all time"
            what = f"`{fact.sql}`{_place(seen, fact)} is an aggregate {by} over {over}, joined back to single rows"
            yield _leak_finding(project, seen, fact, names, what, severity=judge_aggregate(seen, fact))
        yield from _find_first_stamps(project, seen)


def _find_first_stamps(project: LintProject, seen: ViewLineage) -> Iterator[Hit]:
    """Yield what is aggregated over a group and stamped with the first time of it."""
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

    for fact, names in group_causes((fact, names) for fact, names in seen.found(leaks) if fact not in firsts):
        if names:
            what = f"`{fact.sql}`{_place(seen, fact)} is of a whole group and is stamped with the first time of it"
            yield _leak_finding(project, seen, fact, names, what)


@check(
    "FL221",
    Severity.ERROR,
    "A join or a subquery takes rows that may come after",
    why="What a customer did after the event is joined to it: in training it is there, online it is not.",
    fix="Bind the rows in time: `o.ordered_at <= v.visited_at` in the join, the subquery or the aggregate's FILTER.",
    needs_sql=True,
)
def later_rows(project: LintProject) -> Iterator[Hit]:
    """Rows with times of their own that are joined, counted or looked for without a bound, or by one that looks ahead.

    A warning where several rows need not be meant, or where the rows are bound by the end of what the event begins.
    """
    from featurelayer.lineage import Bound, FactKind
    from featurelayer.lint.row_times import find_aggregated, group_causes, is_reported_elsewhere, judge_join

    def chooses(seen: ViewLineage, fact: Fact) -> bool:
        ahead = fact.kind is FactKind.JOIN and fact.bound in (Bound.FUTURE, Bound.AHEAD) and fact.function in _CHOOSING
        return ahead and judge_join(seen, fact) is not None

    for seen in _views_with_time(project):
        made = find_aggregated(seen)

        def leaks(view: ViewLineage, fact: Fact, made: frozenset[str] = made) -> bool:
            ahead = fact.bound in (Bound.FUTURE, Bound.AHEAD)
            return (ahead or fact.place not in made) and judge_join(view, fact) is not None

        found = [each for each in group_causes(seen.found(leaks)) if not is_reported_elsewhere(seen, *each)]
        for fact, names in found:
            what = f"`{fact.sql}`{_place(seen, fact)} {_BOUNDS[fact.bound]}"
            yield _leak_finding(project, seen, fact, names, what, severity=judge_join(seen, fact))
        known = {fact.place for fact, _ in found}
        for fact, names in group_causes(seen.find_row_facts(chooses)):
            if fact.place not in known:
                what = f"which rows there are depends on `{fact.sql}`{_place(seen, fact)}, which {_BOUNDS[fact.bound]}"
                yield _leak_finding(project, seen, fact, names, what)


@check(
    "FL222",
    Severity.ERROR,
    "An event time is when the model was built",
    why="Every row happened just now: no label finds one in training, and each build moves all of them.",
    fix="Take the time of the event. For a current state, say `static: true`, or keep its history in a dbt snapshot.",
    needs_sql=True,
)
def built_time(project: LintProject) -> Iterator[Hit]:
    """`current_timestamp` as the event time; a warning where only some rows have it. An incremental model keeps it."""
    from featurelayer.lineage import FactKind

    for seen in project.traced.views.values():
        column = seen.column(None if seen.view.static else seen.view.event_time)
        for fact in column.facts if column is not None else ():
            if fact.kind is FactKind.CLOCK and not _keeps_rows(project.inventory.model(fact.model)):
                some = "in some rows " if seen.times else ""
                what = f"its event time '{seen.view.event_time}' is {some}the time of the build, `{fact.sql}`"
                severity = Severity.WARNING if some else Severity.ERROR
                yield _leak_finding(project, seen, fact, (), what + _place(seen, fact), severity=severity)
                break


def _keeps_rows(model: Model | None) -> bool:
    """Whether a model keeps the rows of earlier builds, with their time."""
    return model is not None and (model.kind == "snapshot" or model.config.get("materialized") == "incremental")


def _views_with_time(project: LintProject) -> Iterator[ViewLineage]:
    """Yield the views whose rows have a time of their own; what happens just now (FL222) has nothing after it."""
    from featurelayer.lint.row_times import is_now

    for seen in project.traced.views.values():
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
    severity: Severity | None = None,
) -> Hit:
    """A finding in the SQL of one model about features of one view."""
    from featurelayer.lint.lineage import find_fact_line

    view = seen.view
    model = project.inventory.model(fact.model)
    features = [feature.name for feature in view.features if feature.name.casefold() in names]
    said = f"{_join_names(features, len(view.features))}: {what}" if features else what
    where = {"file": model.path, "line": find_fact_line(model, fact)} if model and not key else {}
    return view_finding(
        view,
        said,
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
    """The steps from what was found down to a feature, in the order in which they are taken."""
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
