"""Classify why a key differs, from the expected row, the stored item, and the warehouse's record of exports.

The three tell which side changed. If the store holds the exported item, the warehouse has changed since: rows came late
or were deleted, or the view's code changed. Otherwise the store has changed: an export's write is missing, or another
program wrote. Losses of type, time zones and expiry are recognised from the values themselves.

Expected differences are excused: streamed values, erased keys, items of an export that has not committed yet, and
expired items, which exports or the store drop silently.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property

from featurelayer.durations import format_age, microseconds
from featurelayer.errors import CorruptItem
from featurelayer.model import FeatureView
from featurelayer.online import Item
from featurelayer.online.codec import from_microseconds
from featurelayer.online.definitions import Schema, ViewCommit, ViewDefinition, view_definition
from featurelayer.online.keys import encode_key_column, join_key, key_prefix
from featurelayer.online.streaming import GRACE_SECONDS, key_values
from featurelayer.verify.differences import Difference, find_differences, time_difference
from featurelayer.verify.values import (
    EQUAL,
    FORGOTTEN,
    GONE,
    STREAMED,
    UNCOMMITTED,
    Example,
    KeyState,
    MismatchClass,
    Row,
    ViewVerdict,
)

_EXAMPLES_PER_CLASS, _SHOWN = 3, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedExport:
    """A committed export in the warehouse's record: its version, its schema, and the signature of its item keys."""

    version: int
    definition: str
    keys: str


@dataclass(frozen=True, kw_only=True)
class ViewFacts:
    """The facts about a view as a whole.

    `runs` are the committed exports, oldest first; empty if the warehouse and the store disagree on the last one.
    `keys` and `code` are the key signature and the code fingerprint of an export made now. `now` is in microseconds;
    `collects` is set if the store removes garbage.
    """

    view: FeatureView
    commit: ViewCommit
    schemas: Mapping[str, Schema]
    runs: Sequence[CommittedExport]
    keys: str
    code: str
    now: int
    collects: bool

    @cached_property
    def definition(self) -> ViewDefinition:
        return view_definition(self.view)

    @cached_property
    def has_new_code(self) -> bool:
        """Whether the view's code is known to have changed since the export."""
        return bool(self.commit.code and self.code and self.commit.code != self.code)

    @cached_property
    def has_new_keys(self) -> bool:
        """Whether the item keys have changed since the export."""
        return bool(self.runs) and self.runs[-1].keys != self.keys

    @cached_property
    def is_rolled_back(self) -> bool:
        """Whether the schema that was committed last is an older one because of a rollback."""
        schema = self.definition.schema.fingerprint
        return self.commit.schema != schema and any(run.definition == schema for run in self.runs[:-1])

    def expired(self, event_time: int | None, at: int) -> bool:
        """Whether a row has expired for readers at `at`."""
        if self.view.ttl is None or self.view.static or event_time is None:
            return False
        return event_time < at - microseconds(self.view.ttl)

    def is_collected(self, event_time: int | None) -> bool:
        """Whether the store may have removed an item with this event time as garbage."""
        if not self.collects or self.view.ttl is None or self.view.static or event_time is None:
            return False
        last = max(event_time + microseconds(self.view.ttl), self.commit.as_of)
        return math.ceil(last / 1_000_000) + GRACE_SECONDS <= self.now // 1_000_000

    def is_key(self, pk: str) -> bool:
        """Whether a text is a valid key of the view today."""
        values = key_values(self.definition, pk)
        if values is None or None in values.values():
            return False
        try:
            parts = [encode_key_column(k.dtype, [values[k.column]], where="")[0] for k in self.view.join_keys]
        except Exception:  # noqa: BLE001 (any error means that the text is not a key of this view)
            return False
        return join_key(key_prefix(self.view.entities), parts) == pk


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A mismatch of a key with its reason; `shift` is the offset of its times if that may explain it."""

    seen: KeyState
    kind: MismatchClass
    why: str
    differences: Sequence[Difference] = ()
    shift: timedelta | None = None


def classify_keys(facts: ViewFacts, keys: Sequence[KeyState], verdict: ViewVerdict) -> ViewVerdict:
    """Return the verdict on a view, completed with the mismatches of its keys."""
    excused: Counter[str] = Counter()
    mismatches: list[Mismatch] = []
    for seen in keys:
        result = _classify_key(facts, seen)
        if isinstance(result, Mismatch):
            mismatches.append(result)
        else:
            excused[result] += 1
    mismatches = _reclassify_shifts(mismatches, sum(1 for seen in keys if seen.expected and seen.present))
    features = Counter(difference.feature for each in mismatches for difference in each.differences)
    classes = Counter(each.kind for each in mismatches)
    equal = excused.pop(EQUAL, 0)
    return replace(
        verdict,
        compared=len(keys),
        equal=equal,
        excused=dict(sorted(excused.items())),
        classes={kind: classes[kind] for kind in MismatchClass if classes[kind]},
        features=dict(features.most_common()),
        examples=tuple(_build_examples(mismatches)),
    )


def _classify_key(facts: ViewFacts, seen: KeyState) -> str | Mismatch:
    """Return the excuse of a difference, or its mismatch."""
    corruption = _find_corruption(facts, seen.present) if seen.present is not None else ""
    if corruption:
        return Mismatch(seen=seen, kind=MismatchClass.CORRUPT, why=corruption)
    excuse = _find_excuse(facts, seen)
    if excuse is not None:
        return excuse
    if seen.expected is None:
        return _classify_extra(facts, seen)
    if seen.present is None:
        return _classify_missing(facts, seen)
    return _classify_values(facts, seen, seen.expected, seen.present)


def _find_corruption(facts: ViewFacts, item: Item) -> str:
    """Return why readers can't read an item, or an empty text."""
    schema = facts.schemas.get(item.schema)
    if schema is None:
        return item.damage or f"it follows the schema '{item.schema}', which the store does not have or can't read"
    try:
        schema.codec().row(item.f, item.pk, item.sk)
    except CorruptItem as error:
        return error.what
    return ""


def _find_excuse(facts: ViewFacts, seen: KeyState) -> str | None:
    item, expected = seen.item, seen.expected
    if item is not None and not item.streamed and item.version > facts.commit.version:
        return FORGOTTEN if _is_erased(item) else UNCOMMITTED
    if item is not None and item.streamed and (expected is None or not _replaces(facts, seen, expected, item)):
        return STREAMED
    if expected is None:
        if seen.present is None:
            return EQUAL
        # No export wrote this key, so it is unexpected whatever its age.
        if seen.held is None and facts.runs:
            return None
        # An export keeps merely expired items, and, when the keys have changed, the old keys for one more run.
        old = facts.expired(seen.present.event_time, facts.commit.as_of)
        return GONE if old or facts.expired(seen.present.event_time, facts.now) or _has_old_key(facts, seen) else None
    if item is None and facts.is_collected(expected.event_time):
        return GONE
    return FORGOTTEN if item is not None and _is_erased_before(facts, seen, item) else None


def _is_erased(item: Item) -> bool:
    """Whether an item is the tombstone of an erasure: its snapshot time is its own write time."""
    return item.deleted and item.as_of == item.version


def _is_erased_before(facts: ViewFacts, seen: KeyState, item: Item) -> bool:
    """Whether a key was erased after the time of the served snapshot: a rollback does not restore it."""
    exported = seen.held is not None and seen.held.row is not None
    return _is_erased(item) and item.as_of > facts.commit.as_of and not exported


def _replaces(facts: ViewFacts, seen: KeyState, expected: Row, item: Item) -> bool:
    """Whether an export of the expected row would have replaced a streamed value.

    An unchanged row is not sent again, so the run that wrote it counts.
    """
    unchanged = seen.held is not None and seen.held.row == expected
    version = seen.held.version if unchanged and seen.held is not None else facts.commit.version
    mine = Item(pk=item.pk, sk=item.sk, version=version, event_time=expected.event_time)
    return mine.replaces(item)


def _has_old_key(facts: ViewFacts, seen: KeyState) -> bool:
    """Whether an item has an old key from before the last export, which changed all keys."""
    if not facts.runs or facts.has_new_keys or seen.held is None or facts.is_key(seen.pk):
        return False
    keys = {run.version: run.keys for run in facts.runs}
    return keys.get(seen.held.version) != facts.keys and len(facts.runs) > 1 and facts.runs[-2].keys != facts.keys


def _classify_extra(facts: ViewFacts, seen: KeyState) -> Mismatch:
    """Classify a value in the store without a row in the warehouse."""
    item, exported = seen.present, seen.held
    assert item is not None, "what is nowhere is equal"
    if facts.has_new_keys and not facts.is_key(seen.pk):
        return Mismatch(
            seen=seen, kind=MismatchClass.DEFINITION, why="the view's keys are others than when it was exported"
        )
    if exported is None:
        if facts.runs:
            return Mismatch(
                seen=seen, kind=MismatchClass.UNEXPECTED, why="no export that is remembered has written this key"
            )
        return Mismatch(seen=seen, kind=MismatchClass.DELETED, why="the warehouse has no row of this key")
    if exported.row is None:
        if item.version < exported.version:
            reason = f"the tombstone that the export of {_format_time(exported.version)} wrote is not there"
            return Mismatch(seen=seen, kind=MismatchClass.STALE, why=reason)
        return Mismatch(
            seen=seen, kind=MismatchClass.UNEXPECTED, why="exports removed this key, and another writer wrote it"
        )
    if facts.has_new_code:
        reason = "the warehouse has no row any more; what computes the view has changed since the export"
        return Mismatch(seen=seen, kind=MismatchClass.DEFINITION, why=reason)
    return Mismatch(seen=seen, kind=MismatchClass.DELETED, why="the row is gone from the warehouse since the export")


def _classify_missing(facts: ViewFacts, seen: KeyState) -> Mismatch:
    """Classify a row in the warehouse without a value in the store."""
    exported, tombstone = seen.held, seen.item
    if facts.has_new_keys:
        return Mismatch(
            seen=seen, kind=MismatchClass.DEFINITION, why="the view's keys are others than when it was exported"
        )
    if exported is not None and exported.row is not None:
        if tombstone is None:
            reason = f"the export of {_format_time(exported.version)} wrote it, and it is not there"
            return Mismatch(seen=seen, kind=MismatchClass.MISSING, why=reason)
        if tombstone.version < exported.version:
            reason = f"the row that the export of {_format_time(exported.version)} wrote over a tombstone is not there"
            return Mismatch(seen=seen, kind=MismatchClass.STALE, why=reason)
        return Mismatch(seen=seen, kind=MismatchClass.DELETED, why="there is a tombstone that no export has written")
    if exported is None and not facts.runs and tombstone is None:
        return Mismatch(seen=seen, kind=MismatchClass.MISSING, why="the store has no item of this key")
    if facts.has_new_code:
        reason = "no export had this row; what computes the view has changed since the last one"
        return Mismatch(seen=seen, kind=MismatchClass.DEFINITION, why=reason)
    return Mismatch(seen=seen, kind=MismatchClass.LATE, why=_late_reason(facts, seen))


def _classify_values(facts: ViewFacts, seen: KeyState, expected: Row, item: Item) -> str | Mismatch:
    differences = find_differences(expected.f, facts.definition.schema, item.f, facts.schemas[item.schema])
    if facts.is_rolled_back:
        differences = [each for each in differences if each.online_type is not None]
    differences += _compare_times(facts, expected, item)
    if not differences:
        return EQUAL
    kind, reason = _value_class(facts, seen, differences) or _change_class(facts, seen, expected, item)
    shifts = {each.offset for each in differences}
    return Mismatch(
        seen=seen, kind=kind, why=reason, differences=differences, shift=shifts.pop() if len(shifts) == 1 else None
    )


def _compare_times(facts: ViewFacts, expected: Row, item: Item) -> list[Difference]:
    differences = []
    if expected.event_time != item.event_time:
        differences.append(time_difference(facts.view.event_time or "event time", expected.event_time, item.event_time))
    # A row whose end is after the snapshot's time may have been open when it was exported.
    ends = [None if end is None or end > facts.commit.as_of else end for end in (expected.valid_to, item.valid_to)]
    if ends[0] != ends[1]:
        differences.append(time_difference(facts.view.valid_to or "valid_to", expected.valid_to, item.valid_to))
    return differences


def _value_class(facts: ViewFacts, seen: KeyState, found: Sequence[Difference]) -> tuple[MismatchClass, str] | None:
    """Return the class that the values themselves show, if any."""
    assert seen.expected is not None
    assert seen.item is not None
    if any(each.online_type is None for each in found):
        lacking = ", ".join(each.feature for each in found if each.online_type is None)
        return MismatchClass.DEFINITION, f"the item was written before the view had {lacking}"
    stale = _stale_reason(facts, seen, seen.expected, seen.item)
    if stale is not None:
        return MismatchClass.STALE, stale
    altered = not _matches_export(seen)
    shifts = {each.offset for each in found}
    if altered and len(shifts) == 1 and None not in shifts:
        return MismatchClass.TIME_ZONE, _shift_reason(found[0].offset)
    if all(each.is_lossy(rounded=altered and bool(facts.runs)) for each in found):
        return MismatchClass.PRECISION, _type_reason(found)
    early, late = seen.item.event_time, seen.expected.event_time
    if [each.feature for each in found] == [facts.view.event_time] and any(
        facts.expired(early, at) and not facts.expired(late, at) for at in (facts.now, facts.commit.as_of)
    ):
        return MismatchClass.EXPIRED, "the same values, but by the item's event time they have expired"
    return None


def _change_class(facts: ViewFacts, seen: KeyState, expected: Row, item: Item) -> tuple[MismatchClass, str]:
    """Return which side has changed since the export: the warehouse or the store."""
    exported = seen.held
    if (exported is not None or facts.runs) and not _matches_export(seen):
        return MismatchClass.UNEXPECTED, "this is not what the export wrote"
    if facts.has_new_code:
        return MismatchClass.DEFINITION, "what computes the view has changed since the export"
    if expected.event_time is not None and item.event_time is not None and expected.event_time < item.event_time:
        return (
            MismatchClass.DELETED,
            "the row that was exported is gone from the warehouse; an older one is the newest now",
        )
    return MismatchClass.LATE, _late_reason(facts, seen)


def _stale_reason(facts: ViewFacts, seen: KeyState, expected: Row, item: Item) -> str | None:
    """Describe the evidence that an older export wrote the item; None without evidence."""
    exported = seen.held
    if exported is not None:
        old, new = _format_time(item.version), _format_time(exported.version)
        reason = f"the store has the item of {old}; the export of {new} wrote another"
        return reason if item.version < exported.version and not _matches_export(seen) else None
    # The warehouse has no record of exports, so the item's own snapshot time decides.
    if facts.runs or expected.event_time is None or not item.as_of < expected.event_time <= facts.commit.as_of:
        return None
    return f"the item is of the snapshot of {_format_time(item.as_of)}, and the row came after that"


def _matches_export(seen: KeyState) -> bool:
    """Whether the item matches the warehouse's record of the export."""
    exported, item = seen.held, seen.item
    if exported is None or exported.row is None or item is None or item.deleted:
        return False
    row = Row(f=item.f, event_time=item.event_time, valid_to=item.valid_to)
    return (exported.row, exported.schema) == (row, item.schema)


def _reclassify_shifts(found: Sequence[Mismatch], both: int) -> list[Mismatch]:
    """Distinguish a shifted clock from rows that came an hour later: the shift must apply to half of all keys."""
    shifts = Counter(each.shift for each in found if each.shift is not None)
    moved = {shift for shift, count in shifts.items() if count > 1 and 2 * count >= both}
    return [
        replace(each, kind=MismatchClass.TIME_ZONE, why=_shift_reason(each.shift)) if each.shift in moved else each
        for each in found
    ]


def _build_examples(found: Sequence[Mismatch]) -> Sequence[Example]:
    counts: Counter[MismatchClass] = Counter()
    examples: list[Example] = []
    for each in sorted(found, key=lambda judgement: (list(MismatchClass).index(judgement.kind), judgement.seen.pk)):
        counts[each.kind] += 1
        if counts[each.kind] > _EXAMPLES_PER_CLASS:
            continue
        blank = Example(key=each.seen.pk, kind=each.kind, feature="", expected="", online="", why=each.why)
        if each.differences:
            examples += [
                replace(blank, feature=d.feature, expected=_format_value(d.expected), online=_format_online(d))
                for d in each.differences
            ]
            continue
        item, row = each.seen.item, each.seen.expected
        online = "nothing" if item is None else "a tombstone" if item.deleted else _shorten(item.f)
        examples.append(replace(blank, expected=_shorten(row.f) if row else "nothing", online=online))
    return examples


def _format_online(difference: Difference) -> str:
    return "nothing" if difference.online_type is None else _format_value(difference.online)


def _format_value(value: object) -> str:
    isoformat = getattr(value, "isoformat", None)
    return _shorten(
        isoformat(sep=" ")
        if callable(isoformat) and hasattr(value, "hour")
        else "null"
        if value is None
        else str(value)
    )


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _late_reason(facts: ViewFacts, seen: KeyState) -> str:
    assert seen.expected is not None
    if seen.expected.event_time is None:
        return "the row has changed in the warehouse since the export"
    if seen.held is not None and seen.held.row is not None and seen.held.row.event_time == seen.expected.event_time:
        return "the row has changed in the warehouse since the export, under the same event time"
    before = timedelta(microseconds=facts.commit.as_of - seen.expected.event_time)
    return f"its event was {format_age(before)} before the export, which did not see it yet"


def _type_reason(found: Sequence[Difference]) -> str:
    types = sorted({
        f"{each.feature} was exported as {each.online_type}, and is {each.dtype}"
        for each in found if each.online_type != each.dtype
    })  # fmt: skip
    return "; ".join(types) or "the same values, but for their last digits"


def _shift_reason(offset: timedelta | None) -> str:
    assert offset is not None
    return (
        f"online all times that differ are {format_age(abs(offset))} {'later' if offset > timedelta(0) else 'earlier'}"
    )


def _format_time(micros: int) -> str:
    return from_microseconds(micros).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
