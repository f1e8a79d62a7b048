"""Reasons why a rebuilt column differs from its lock: changed definitions, late rows, ties, other software."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from featurelayer.training.differences import JoinTally
from featurelayer.training.lock import LockedJoin, LockedView


class Cause(StrEnum):
    """The possible causes of a difference."""

    LATE = "late rows"
    DEFINITION = "definition changed"
    TIE = "tie"
    GONE = "source gone"
    IN_PLACE = "rows changed in place"
    ENGINE = "engine changed"
    VERSION = "featurelayer changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A cause with its evidence."""

    cause: Cause
    evidence: str

    def __str__(self) -> str:
        return f"{self.cause}: {self.evidence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDifference:
    """A feature column that differs from its lock. `rows` is None if `unknown` holds a reason.

    `examples` are indexes of differing rows, counted from 0.
    """

    name: str
    join: str
    rows: int | None
    examples: tuple[int, ...] = ()
    unknown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinDifference:
    """A joined view with differing columns, and the reasons."""

    name: str
    view: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """The result of rebuilding a training set. `reasons` are about the request, those of `joins` about one view.

    `notes` are changes that made no difference.
    """

    lock: str
    rows: int
    columns: int
    differences: tuple[ColumnDifference, ...]
    joins: tuple[JoinDifference, ...]
    reasons: tuple[Reason, ...]
    notes: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """True if the rebuilt set is identical bit for bit."""
        return not self.differences and not self.reasons

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {"identical": self.identical, **asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinEvidence:
    """The evidence on a join whose columns differ. `tally` counts rows only if they `are_known`.

    `join` and `rebuilt`, `then` and `now` (the view), `before` and `after` (the join's part of the report) are pairs of
    values at the build and today. `late` is the number of the view's rows that arrived after the build, None if no
    column tells when rows arrive.
    """

    join: LockedJoin
    rebuilt: LockedJoin
    then: LockedView
    now: LockedView
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    tally: JoinTally
    are_known: bool
    built_at: datetime
    late: int | None
    arrivals: tuple[str, ...]


def find_reasons(facts: JoinEvidence, software: Sequence[Reason]) -> tuple[Reason, ...]:
    """Return every reason with evidence, or that rows changed in place if there is none.

    `software` lists new versions of engine and featurelayer: then rows need not have changed.
    """
    changes = tuple(definition_changes(facts.join, facts.rebuilt, facts.then, facts.now))
    found = [Reason(cause=Cause.DEFINITION, evidence=change) for change in changes]
    comparable = _has_same_clock(facts)
    found += _late_row_reasons(facts) if comparable else []
    found += _missing_row_reasons(facts, changed=bool(changes)) if comparable else []
    found += _tie_reasons(facts)
    found += software
    settled = bool(changes) or (comparable and not 0 <= _count_new_rows(facts) <= (facts.late or 0))
    if not found or (facts.are_known and facts.tally.unexplained and not settled):
        found.append(Reason(cause=Cause.IN_PLACE, evidence=_describe_unexplained(facts)))
    return tuple(found)


def definition_changes(
    join: LockedJoin, rebuilt: LockedJoin | None, then: LockedView, now: LockedView
) -> Iterator[str]:
    """Describe the changed parts of a view's definition that affect the columns of a join."""
    if then.relation != now.relation:
        yield f"the relation was {then.relation}, is {now.relation}"
    used = {column.feature for column in join.columns.values()}
    before, after = (_flatten_definition(view.definition, used) for view in (then, now))
    for key in dict.fromkeys((*before, *after)):
        if before.get(key) != after.get(key):
            yield f"{key} was {_format_value(before.get(key))}, is {_format_value(after.get(key))}"
    for name, column in join.columns.items():
        other = rebuilt.columns.get(name) if rebuilt else None
        if other is not None and other.source_type != column.source_type:
            yield f"{column.feature} was {column.source_type} in the warehouse, is {other.source_type}"
        elif other is not None and other.type != column.type:
            yield f"{column.feature} was {column.type} in the set, is {other.type}"
    if then.sql_checksum and now.sql_checksum and then.sql_checksum != now.sql_checksum:
        yield f"the SQL of {now.unique_id} has another checksum"
    yield from _upstream_changes(then.upstream_checksums, now.upstream_checksums)


def _upstream_changes(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    if not then and not now:
        return
    for node in dict.fromkeys((*then, *now)):
        if node not in now:
            yield f"it is no longer built from {node}"
        elif node not in then:
            yield f"it is now built from {node} too"
        elif then[node] != now[node]:
            yield f"{node}, which it is built from, has another checksum"


def _flatten_definition(definition: Mapping[str, Any], used: set[str]) -> dict[str, Any]:
    """Flatten a definition to one entry per thing that a message can name."""
    flat: dict[str, Any] = {}
    for key, value in definition.items():
        if key == "keys":
            flat |= {f"key {column}": said for column, said in value.items()}
        elif key == "features":
            for name, feature in value.items():
                if name in used:
                    flat |= {f"the {part} of {name}": said for part, said in feature.items()}
        else:
            flat[key] = value
    return flat


def _format_value(value: Any) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _has_same_clock(facts: JoinEvidence) -> bool:
    """Return whether rows were counted by the same event time at the build and now."""
    keys = ("event_time", "static")
    then, now = facts.then, facts.now
    return then.relation == now.relation and all(then.definition[key] == now.definition[key] for key in keys)


def _count_new_rows(facts: JoinEvidence) -> int:
    """Return the number of visible rows added since the build; negative if there are fewer."""
    if facts.now.definition["static"]:
        return facts.now.rows - facts.then.rows
    return facts.now.rows_until_last_label - facts.then.rows_until_last_label


def _describe_reach(facts: JoinEvidence) -> str:
    return "" if facts.now.definition["static"] else " with an event at or before the last label"


def _late_row_reasons(facts: JoinEvidence) -> Iterator[Reason]:
    added, tally = _count_new_rows(facts), facts.tally
    if facts.late:
        columns = " or ".join(facts.arrivals)
        rows, built = f"{_format_rows(facts.late)}{_describe_reach(facts)}", _format_build_time(facts)
        evidence = f"{rows} came after the build ({columns} after {built})"
        if facts.are_known:
            evidence += f"; {tally.late:,} of the {_format_labels(tally.differing)} that differ now get one of them"
        else:
            evidence += f"; {_format_action(tally.late_anywhere, 'now get')} one of them"
        yield Reason(cause=Cause.LATE, evidence=evidence)
    elif added > 0:
        columns = " and ".join(facts.arrivals)
        known = (
            f", though none came after it by {columns}"
            if columns
            else "; no column says when rows come, so which labels get them is not known"
        )
        yield Reason(
            cause=Cause.LATE,
            evidence=f"{_format_rows(added, 'more ')}{_describe_reach(facts)} than at the build{known}",
        )


def _missing_row_reasons(facts: JoinEvidence, *, changed: bool) -> Iterator[Reason]:
    added = _count_new_rows(facts)
    missing = facts.after["missing"] - facts.before["missing"]
    lost = max(facts.tally.missing if facts.are_known else missing, 0)
    said = [f"{_format_rows(-added, 'fewer ')}{_describe_reach(facts)} than at the build"] if added < 0 else []
    if lost and (said or (missing > 0 and not changed)):
        said.append(f"{_format_action(lost, 'find')} no row any more")
    if said:
        yield Reason(cause=Cause.GONE, evidence="; ".join(said))


def _tie_reasons(facts: JoinEvidence) -> Iterator[Reason]:
    then, now = facts.before["ties"], facts.after["ties"]
    chose = "only content chose among rows of one event time"
    fix = "declare created_timestamp or tie_breaker"
    if facts.are_known and facts.tally.tied:
        count = f"{facts.tally.tied:,} of the {_format_labels(facts.tally.differing)} that differ"
        yield Reason(cause=Cause.TIE, evidence=f"for {count}, {chose}; {fix}")
    elif then != now or (now and not facts.are_known):
        yield Reason(
            cause=Cause.TIE, evidence=f"{chose} for {_format_labels(then)} at the build, for {now:,} now; {fix}"
        )


def _describe_unexplained(facts: JoinEvidence) -> str:
    if not facts.are_known:
        return f"{_format_rows(facts.now.rows)}, {facts.then.rows:,} at the build; nothing else tells why values differ"
    return f"{_format_action(facts.tally.unexplained, 'get')} another value, and nothing else tells why"


def _format_rows(count: int, more: str = "") -> str:
    return f"1 {more}row" if count == 1 else f"{count:,} {more}rows"


def _format_labels(count: int) -> str:
    return "1 label" if count == 1 else f"{count:,} labels"


def _format_action(count: int, verb: str) -> str:
    return f"{_format_labels(count)} {verb}{'s' if count == 1 else ''}"


def _format_build_time(facts: JoinEvidence) -> str:
    return facts.built_at.isoformat(sep=" ", timespec="seconds")
