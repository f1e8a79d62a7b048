"""Refusals of an export before it writes anything: too many removals, a wrong clock, items the store can't take.

An empty model, or a clock that is a year behind, would remove every key. A scheduled job must not do that, so it takes
an explicit option: `--allow-removals`, or a named time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from featurelayer.durations import format_age
from featurelayer.errors import Problem, WriteConflict
from featurelayer.export.changes import Changes, expiry_cutoff, item_overhead, key_signature
from featurelayer.model import FeatureView
from featurelayer.online.base import Limits
from featurelayer.online.codec import from_microseconds
from featurelayer.warehouse.base import Warehouse

_NAMED = 10
_AHEAD = timedelta(days=1)
# The clocks of a warehouse's machines differ a little and are adjusted backwards a little.
_SKEW = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """The decisions of the user about a run.

    `allow_removals` permits any number of removed keys. `chosen_time` is set if the user named the snapshot's time.
    """

    allow_removals: bool = False
    chosen_time: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OversizedItem:
    """An item too large for the store, with its size and that of its key in bytes."""

    key: str
    bytes: int
    key_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The reasons to reject an export of a view, if any. `too_large` lists the first of `too_large_keys` items."""

    problems: tuple[Problem, ...] = ()
    too_large: tuple[OversizedItem, ...] = ()
    too_large_keys: int = 0


def find_refusal(
    warehouse: Warehouse,
    found: Changes,
    limits: Limits | None,
    *,
    guard: Guard | None,
    elapsed: timedelta,
    run: str | None = None,
) -> Refusal:
    """Return why a view must not be written; `run` is the run with items in the log, None before it has any.

    Without a guard only the store's limits apply. `elapsed` is the time since the snapshot's time was read.

    Raises:
        WriteConflict: an export with a later snapshot has committed meanwhile.
    """
    large, count = _find_oversized(warehouse, found, limits, run)
    problems = [] if guard is None else [*_removal_problems(warehouse, found, guard, elapsed)]
    if limits is not None:
        problems += _oversized_problems(found.view, large, count, limits)
    return Refusal(problems=tuple(problems), too_large=tuple(large), too_large_keys=count)


def clock_problems(at: datetime) -> list[Problem]:
    """Return the problems of a snapshot's time by this machine's clock."""
    ahead = at - datetime.now(UTC)
    if ahead <= _AHEAD:
        return []
    return [Problem(
        what=f"the warehouse's time {_format_seconds(at)} is {format_age(ahead)} ahead of this machine's clock",
        fix="correct the clock that is wrong; nothing was written",
    )]  # fmt: skip


def _removal_problems(warehouse: Warehouse, found: Changes, guard: Guard, elapsed: timedelta) -> Iterator[Problem]:
    last = None if found.baseline.as_of is None else from_microseconds(found.baseline.as_of)
    goes_back = last is not None and found.as_of < last
    if goes_back and not guard.chosen_time:
        assert last is not None
        if last <= found.as_of + elapsed + _SKEW:
            raise WriteConflict(
                f"{found.view.id}: another export finished while this one was being prepared",
                fix="run `featurelayer export` again",
            )
        yield _clock_behind_problem(found, last)
        return  # The removals follow from the wrong clock.
    # A named time in the past means that later keys are to be removed.
    if guard.allow_removals or goes_back:
        return
    limit = found.view.removal_guard
    if found.removed < limit.at_least:
        return
    since = expiry_cutoff(found.view, found.as_of)
    [(total, removed)] = warehouse.rows(found.delta.count_removals(alive_since=since, keys=key_signature(found.view)))
    if removed >= limit.at_least and removed > limit.share * total:
        name, share = found.view.id, removed / total
        yield Problem(
            what=f"{name}: this export would remove {removed:,} of {total:,} keys ({share:.1%}) from the online store; "
            f"the limit is {limit.share:.0%}, from {limit.at_least:,} keys on",
            where=found.view.yaml_path,
            fix=f"check that the model is built and complete; `featurelayer export -s {name} --allow-removals` removes "
            "the keys, `removal_guard` in the view's annotation changes the limit; nothing was written",
        )


def _clock_behind_problem(found: Changes, last: datetime) -> Problem:
    now = _format_seconds(found.as_of)
    return Problem(
        what=f"{found.view.id}: the warehouse's time {now} is {format_age(last - found.as_of)} before that of the last "
        f"export, {_format_seconds(last)}",
        where=found.view.yaml_path,
        fix="correct the warehouse's clock; to go back on purpose, name the time: "
        f"`featurelayer export -s {found.view.id} --as-of {now}`; nothing was written",
    )


def _format_seconds(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _find_oversized(
    warehouse: Warehouse, found: Changes, limits: Limits | None, run: str | None
) -> tuple[list[OversizedItem], int]:
    if limits is None:
        return [], 0
    fixed, most = item_overhead(found.view), {"item": limits.item, "key": limits.pk}
    if run is None:
        statement = found.delta.too_large(found.source, fixed, **most)
    else:
        statement = found.delta.too_large_in_log(run, fixed, **most)
    rows = warehouse.rows(statement)
    large = [OversizedItem(key=pk, bytes=int(size), key_bytes=int(length)) for pk, size, length, _ in rows]
    return large, int(rows[0][3]) if rows else 0


def _oversized_problems(view: FeatureView, large: list[OversizedItem], count: int, limits: Limits) -> Iterator[Problem]:
    for each in large[:_NAMED]:
        more = f"; {count - _NAMED:,} more like it" if count > _NAMED and each is large[_NAMED - 1] else ""
        yield Problem(
            what=f"{each.key[:80]} of view {view.id}: the item has about {each.bytes:,} bytes and its key "
            f"{each.key_bytes:,}; the store takes {limits.item:,} and {limits.pk:,}{more}",
            where=view.yaml_path,
            fix="split the view, or shorten its texts and arrays; nothing was written",
        )
