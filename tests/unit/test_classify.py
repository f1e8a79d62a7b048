"""Why a key differs, judged by facts that are made here: each rule on both sides of its border, and its words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from featurelayer.online import Item
from featurelayer.online.definitions import ViewCommit, view_definition
from featurelayer.online.streaming import GRACE_SECONDS
from featurelayer.verify.classify import CommittedExport, ViewFacts, classify_keys
from featurelayer.verify.values import ExportedRow, KeyState, MismatchClass, Row, ViewVerdict
from tests.online_cases import feature, view

SECOND, HOUR = 1_000_000, 3_600_000_000
DAY = 24 * HOUR
T = 1_700_000_000 * SECOND  # the snapshot's time
V = T + SECOND  # the version of the export that committed last
NOW = T + HOUR
PK = 'plane["N1"]'

LEGS = view("legs", feature("delay", "float64"), feature("seats", "int64"), event_time="landed_at",
            valid_to="until", ttl=timedelta(hours=3), online=True)  # fmt: skip
SCHEMA = view_definition(LEGS).schema
S = SCHEMA.fingerprint
OLDER = view_definition(replace(LEGS, features=LEGS.features[1:])).schema
ROW = Row(f="[1.5,180]", event_time=T - HOUR)
RUN = CommittedExport(version=V, definition=S, keys="k")
BEFORE = CommittedExport(version=V - DAY, definition=S, keys="k")
COMMIT = ViewCommit(version=V, as_of=T, source_time=None, schema=S, rows=1)
FACTS = ViewFacts(view=LEGS, commit=COMMIT, schemas={S: SCHEMA, OLDER.fingerprint: OLDER}, runs=(BEFORE, RUN), keys="k",
              code="", now=NOW, collects=False)  # fmt: skip


def facts(**changes: Any) -> ViewFacts:
    """The facts with these changed; `code` and `as_of` of the commit by their names there."""
    commit = msgspec.structs.replace(COMMIT, **changes.pop("commit", {}))
    return replace(FACTS, commit=commit, **changes)


def item(row: Row = ROW, **changes: Any) -> Item:
    there = {"pk": PK, "sk": "legs@0", "version": V, "f": row.f, "schema": S, "as_of": T,
             "event_time": row.event_time, "valid_to": row.valid_to}  # fmt: skip
    return Item(**there | changes)


def tombstone(**changes: Any) -> Item:
    return item(f="", deleted=True, **changes)


def held(row: Row | None = ROW, version: int = V, schema: str = S) -> ExportedRow:
    return ExportedRow(version=version, schema=schema, row=row)


def seen(
    expected: Row | None = ROW, item: Item | None = None, held: ExportedRow | None = None, pk: str = PK
) -> KeyState:
    return KeyState(pk=pk, expected=expected, item=item, held=held)


def verdict(*keys: KeyState, **changes: Any) -> ViewVerdict:
    return classify_keys(facts(**changes), keys, ViewVerdict(view="legs", as_of=None, tolerance=0))


def excuse(key: KeyState, **changes: Any) -> str | None:
    """What a difference is excused by; `equal` if it is none; None if it is a mismatch."""
    found = verdict(key, **changes)
    if found.mismatches:
        return None
    return "equal" if found.equal else next(iter(found.excused))


def told(key: KeyState, **changes: Any) -> tuple[MismatchClass, str]:
    """The class of a mismatch, and why."""
    found = verdict(key, **changes)
    assert found.mismatches == 1, found
    return found.examples[0].kind, found.examples[0].why


# --- what is excused -----


def test_what_is_as_expected_is_equal():
    found = verdict(seen(item=item(), held=held()), seen(expected=None))
    assert (found.compared, found.equal, found.mismatches, dict(found.excused)) == (2, 2, 0, {})


def collectable(event_time: int, as_of: int = T) -> int:
    """The first moment at which a store may have removed an item of this event."""
    return max(event_time + 3 * HOUR, as_of) + GRACE_SECONDS * SECOND


@pytest.mark.parametrize("event_time", [T - HOUR, T - 2 * DAY])
def test_what_the_store_may_have_collected_is_excused_from_the_second_on_at_which_it_may(event_time):
    """The later of the end of its life and of its export counts, whichever that is."""
    lost = seen(expected=Row(f=ROW.f, event_time=event_time))
    due = collectable(event_time)
    assert excuse(lost, collects=True, now=due) == "gone"
    assert excuse(lost, collects=True, now=due - 1) is None
    assert excuse(lost, collects=True, now=due + DAY) == "gone"
    assert excuse(lost, collects=False, now=due + DAY) is None
    forever = replace(LEGS, ttl=None)
    assert excuse(lost, collects=True, now=due + DAY, view=forever) is None
    assert excuse(lost, collects=True, now=due + DAY, view=replace(LEGS, static=True)) is None
    assert excuse(seen(expected=Row(f=ROW.f)), collects=True, now=due + DAY) is None


def test_only_what_is_not_there_was_collected():
    late = collectable(ROW.event_time) + DAY
    other = item(f="[9.0,9]")
    assert excuse(seen(item=other, held=held()), collects=True, now=late) is None


@pytest.mark.parametrize(("event_time", "at", "expected"), [
    (T - 3 * HOUR, {}, None), (T - 3 * HOUR - 1, {"now": T}, "gone"), (T - 3 * HOUR, {"now": T}, None),
    (T - HOUR, {"now": T + 2 * HOUR}, None), (T - HOUR, {"now": T + 2 * HOUR + 1}, "gone"),
    (T - 3 * HOUR - 1, {"now": T - DAY}, "gone"),
])  # fmt: skip
def test_what_has_expired_at_the_export_or_now_may_have_left_the_warehouse(event_time, at, expected):
    row = Row(f=ROW.f, event_time=event_time)
    key = seen(expected=None, item=item(row), held=held(row))
    if expected is None and not at:
        at = {"now": T}
    assert excuse(key, **at) == expected


def test_what_has_no_age_does_not_expire():
    old = Row(f=ROW.f, event_time=T - DAY)
    key = seen(expected=None, item=item(old), held=held(old))
    assert excuse(key) == "gone"
    assert excuse(key, view=replace(LEGS, ttl=None)) is None
    assert excuse(key, view=replace(LEGS, static=True)) is None
    timeless = Row(f=ROW.f)
    assert excuse(seen(expected=None, item=item(timeless), held=held(timeless))) is None


def test_what_nobody_exported_is_nobodys_however_old():
    old = item(Row(f=ROW.f, event_time=T - DAY))
    assert told(seen(expected=None, item=old)) == (
        MismatchClass.UNEXPECTED, "no export that is remembered has written this key",
    )  # fmt: skip
    assert excuse(seen(expected=None, item=old), runs=()) == "gone"


def test_a_newer_version_is_an_export_that_has_not_committed():
    assert excuse(seen(item=item(version=V + 1, f="[9.0,9]"), held=held())) == "uncommitted"
    assert excuse(seen(item=tombstone(version=V + 1), held=held())) == "uncommitted"
    assert excuse(seen(item=item(version=V, f="[9.0,9]"), held=held())) is None
    assert excuse(seen(item=tombstone(version=V + 1, as_of=V + 1), held=held())) == "forgotten"
    assert excuse(seen(item=item(version=V + 1, as_of=V + 1, f="[9.0,9]"), held=held())) == "uncommitted"


def test_a_tombstone_of_an_erasure_holds_against_older_snapshots_alone():
    erased = tombstone(version=T + 1, as_of=T + 1)
    assert excuse(seen(item=erased)) == "forgotten"
    assert excuse(seen(item=tombstone(version=T, as_of=T))) is None
    assert excuse(seen(item=erased, held=held(None))) == "forgotten"
    assert excuse(seen(item=erased, held=held())) is None
    assert excuse(seen(item=tombstone(version=T + 2, as_of=T + 1))) is None


def test_what_was_streamed_is_excused_unless_an_export_would_have_replaced_it():
    newer = item(Row(f="[9.0,9]", event_time=ROW.event_time + 1), streamed=True, version=V - 1)
    older = item(Row(f="[9.0,9]", event_time=ROW.event_time - 1), streamed=True, version=V + 1)
    assert excuse(seen(item=newer, held=held())) == "streamed"
    assert excuse(seen(expected=None, item=older, held=held())) == "streamed"
    assert excuse(seen(item=older, held=held())) is None
    assert excuse(seen(item=newer)) == "streamed"
    assert excuse(seen(item=older)) is None
    # Of one event time the later write counts; an unchanged row was written by the run that is remembered for it.
    same = item(Row(f="[9.0,9]", event_time=ROW.event_time), streamed=True, version=V - HOUR)
    assert excuse(seen(item=same, held=held(version=V - DAY))) == "streamed"
    assert excuse(seen(item=same, held=held(version=V))) is None
    changed = held(Row(f="[0.0,0]", event_time=ROW.event_time), version=V - DAY)
    assert excuse(seen(item=same, held=changed)) is None


OLD_KEYS = (CommittedExport(version=V - DAY, definition=S, keys="old"), RUN)


def test_keys_that_have_become_others_are_left_for_one_export():
    key = seen(expected=None, item=item(version=V - DAY), held=held(version=V - DAY), pk='place["N1"]')
    assert excuse(key, runs=OLD_KEYS) == "gone"
    assert excuse(replace(key, pk=PK), runs=OLD_KEYS) is None  # it is a key of today
    assert excuse(replace(key, held=held(version=V)), runs=OLD_KEYS) is None  # it was exported by today's
    assert excuse(key, runs=(OLD_KEYS[0], BEFORE, RUN)) is None  # the next export had to remove it
    assert excuse(key, runs=(RUN,)) is None
    assert excuse(key, runs=OLD_KEYS, keys="newest") is None


# --- keys on one side -----


def test_a_key_of_other_keys_than_today_is_of_another_definition():
    """And only there: a key that today's view could have is judged by who wrote it."""
    why = "the view's keys are others than when it was exported"
    foreign = seen(expected=None, item=item(), held=held(), pk='place["N1"]')
    assert told(foreign, keys="new") == (MismatchClass.DEFINITION, why)
    assert told(seen(), keys="new") == (MismatchClass.DEFINITION, why)
    gone = "the row is gone from the warehouse since the export"
    assert told(seen(expected=None, item=item(), held=held()), keys="new") == (MismatchClass.DELETED, gone)
    assert told(foreign) == (MismatchClass.DELETED, gone)


@pytest.mark.parametrize("pk", ['plane["N1",2]', "plane[null]", "plane[7]", 'plane["N1"', 'plane[ "N1"]'])
def test_what_is_no_key_of_today(pk):
    key = seen(expected=None, item=item(), held=held(), pk=pk)
    assert told(key, keys="new")[0] is MismatchClass.DEFINITION


def test_an_item_of_which_the_warehouse_has_no_row():
    extra = seen(expected=None, item=item(), held=held())
    assert told(extra) == (MismatchClass.DELETED, "the row is gone from the warehouse since the export")
    recoded = "the warehouse has no row any more; what computes the view has changed since the export"
    assert told(extra, code="b", commit={"code": "a"}) == (MismatchClass.DEFINITION, recoded)
    for known in ({"code": "a", "commit": {"code": "a"}}, {"code": "a"}, {"commit": {"code": "a"}}):
        assert told(extra, **known)[0] is MismatchClass.DELETED
    assert told(seen(expected=None, item=item()), runs=()) == (
        MismatchClass.DELETED,
        "the warehouse has no row of this key",
    )
    assert told(seen(expected=None, item=item(), held=held(None))) == (
        MismatchClass.UNEXPECTED, "exports removed this key, and another writer wrote it",
    )  # fmt: skip
    stale = told(seen(expected=None, item=item(version=V - 1), held=held(None)))
    assert stale == (MismatchClass.STALE, "the tombstone that the export of 2023-11-14 22:13:21 wrote is not there")


def test_a_row_of_which_the_store_has_no_item():
    assert told(seen(held=held())) == (
        MismatchClass.MISSING, "the export of 2023-11-14 22:13:21 wrote it, and it is not there",
    )  # fmt: skip
    stale = told(seen(item=tombstone(version=V - 1), held=held()))
    assert stale == (
        MismatchClass.STALE, "the row that the export of 2023-11-14 22:13:21 wrote over a tombstone is not there",
    )  # fmt: skip
    buried = (MismatchClass.DELETED, "there is a tombstone that no export has written")
    assert told(seen(item=tombstone(), held=held())) == buried
    assert told(seen(), runs=()) == (MismatchClass.MISSING, "the store has no item of this key")
    late = (MismatchClass.LATE, "its event was 1 h before the export, which did not see it yet")
    assert told(seen()) == late
    assert told(seen(item=tombstone()), runs=()) == late
    assert told(seen(held=held(None), item=tombstone())) == late
    recoded = "no export had this row; what computes the view has changed since the last one"
    assert told(seen(), code="b", commit={"code": "a"}) == (MismatchClass.DEFINITION, recoded)


def test_a_row_without_an_event_time_has_only_changed():
    static = replace(LEGS, static=True, event_time=None, ttl=None)
    other = item(Row(f="[9.0,9]"))
    key = seen(expected=Row(f=ROW.f), item=other, held=held(Row(f="[9.0,9]")))
    assert told(key, view=static) == (MismatchClass.LATE, "the row has changed in the warehouse since the export")


# --- values -----


def test_an_item_of_before_a_feature_names_it():
    """Even if other values differ as well, and whoever wrote it."""
    old = item(f="[180]", schema=OLDER.fingerprint)
    why = "the item was written before the view had delay"
    assert told(seen(item=old, held=held(Row(f="[180]", event_time=ROW.event_time)))) == (MismatchClass.DEFINITION, why)
    assert told(seen(item=replace_item(old, f="[9]"), held=held())) == (MismatchClass.DEFINITION, why)


def replace_item(item: Item, **changes: Any) -> Item:
    return msgspec.structs.replace(item, **changes)


def test_after_a_rollback_lacking_features_are_right_and_other_values_are_not():
    older = OLDER.fingerprint
    went_back: dict[str, Any] = {"runs": (BEFORE, replace(RUN, definition=older)), "commit": {"schema": older}}
    old = item(f="[180]", schema=older)
    key = seen(item=old, held=held(Row(f="[180]", event_time=ROW.event_time), schema=older))
    assert excuse(key, **went_back) == "equal"
    assert excuse(key, runs=went_back["runs"]) is None
    never = (replace(BEFORE, definition=older), replace(RUN, definition=older))
    assert excuse(key, runs=never, commit={"schema": older}) is None
    assert excuse(key, runs=(replace(BEFORE, definition=older), RUN), commit={"schema": older}) is None
    kind, why = told(replace(key, item=replace_item(old, f="[181]")), **went_back)
    assert (kind, why) == (MismatchClass.UNEXPECTED, "this is not what the export wrote")


def test_values_of_an_older_export_are_stale_and_of_the_last_are_not():
    other = item(Row(f="[9.0,9]", event_time=ROW.event_time), version=V - DAY)
    why = "the store has the item of 2023-11-13 22:13:21; the export of 2023-11-14 22:13:21 wrote another"
    assert told(seen(item=other, held=held())) == (MismatchClass.STALE, why)
    assert told(seen(item=replace_item(other, version=V), held=held()))[0] is MismatchClass.UNEXPECTED
    unchanged = held(Row(f="[9.0,9]", event_time=ROW.event_time))
    assert told(seen(item=other, held=unchanged)) == (
        MismatchClass.LATE, "the row has changed in the warehouse since the export, under the same event time",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("as_of", "event_time", "kind"),
    [
        (T - 2 * HOUR, T - HOUR, MismatchClass.STALE),
        (T - HOUR, T - HOUR, MismatchClass.LATE),
        (T - DAY, T, MismatchClass.STALE),
        (T - DAY, T + 1, MismatchClass.LATE),
    ],
)
def test_without_a_memory_the_snapshot_time_of_the_item_tells(as_of, event_time, kind):
    old = item(Row(f="[9.0,9]", event_time=T - 2 * DAY - 7), as_of=as_of, version=V - DAY)
    expected = seen(expected=Row(f=ROW.f, event_time=event_time), item=old)
    found = told(expected, runs=())
    assert found[0] is kind
    if kind is MismatchClass.STALE:
        assert found[1].endswith(", and the row came after that")
    assert told(expected)[0] is MismatchClass.UNEXPECTED  # remembered exports would have told


@pytest.mark.parametrize(
    ("moved", "kind"),
    [
        (HOUR, MismatchClass.TIME_ZONE),
        (-5 * HOUR, MismatchClass.TIME_ZONE),
        (HOUR // 4, MismatchClass.TIME_ZONE),
        (14 * HOUR, MismatchClass.TIME_ZONE),
        (HOUR // 5, MismatchClass.UNEXPECTED),
        (15 * HOUR, MismatchClass.UNEXPECTED),
    ],
)
def test_times_that_were_moved_alone_are_of_another_time_zone(moved, kind):
    other = item(Row(f=ROW.f, event_time=ROW.event_time + moved))
    found = told(seen(item=other, held=held()), view=replace(LEGS, ttl=None))
    assert found[0] is kind
    if moved in (HOUR, -5 * HOUR):
        direction = "1 h later" if moved > 0 else "5 h earlier"
        assert found[1] == f"online all times that differ are {direction}"


def test_a_moved_time_beside_another_value_is_no_time_zone():
    other = item(Row(f="[9.0,180]", event_time=ROW.event_time + HOUR))
    assert told(seen(item=other, held=held()))[0] is MismatchClass.UNEXPECTED
    ends = Row(f=ROW.f, event_time=ROW.event_time, valid_to=T - 2 * HOUR)
    twice = item(Row(f=ROW.f, event_time=ROW.event_time + HOUR, valid_to=T - HOUR // 2))
    assert told(seen(expected=ends, item=twice, held=held(ends)))[0] is MismatchClass.UNEXPECTED


def test_times_of_the_warehouse_that_moved_are_a_time_zone_if_they_are_half_of_more_than_one():
    def moved(number: int, hours: int = 1) -> KeyState:
        row = Row(f=ROW.f, event_time=ROW.event_time + hours * HOUR)
        return seen(expected=row, item=item(), held=held(), pk=f'plane["M{number}"]')

    same = [seen(item=item(), held=held(), pk=f'plane["N{number}"]') for number in range(3)]
    assert dict(verdict(moved(1)).classes) == {MismatchClass.LATE: 1}
    assert dict(verdict(moved(1), moved(2)).classes) == {MismatchClass.TIME_ZONE: 2}
    assert dict(verdict(moved(1), moved(2), *same[:2]).classes) == {MismatchClass.TIME_ZONE: 2}
    assert dict(verdict(moved(1), moved(2), *same).classes) == {MismatchClass.LATE: 2}
    assert dict(verdict(moved(1), moved(2), same[0], seen(), seen(expected=None)).classes) == {
        MismatchClass.TIME_ZONE: 2, MismatchClass.LATE: 1,
    }  # fmt: skip
    assert dict(verdict(moved(1), moved(2, 2)).classes) == {MismatchClass.LATE: 2}
    found = verdict(moved(1), moved(2)).examples
    assert found[0].why == "online all times that differ are 1 h earlier"


def test_times_of_one_row_that_moved_apart_are_no_time_zone():
    was = Row(f=ROW.f, event_time=T - 9 * HOUR, valid_to=T - 5 * HOUR)
    row = replace(was, event_time=T - 8 * HOUR, valid_to=T - 3 * HOUR)
    keys = [seen(expected=row, item=item(was), held=held(was), pk=f'plane["M{number}"]') for number in range(2)]
    assert dict(verdict(*keys).classes) == {MismatchClass.LATE: 2}


@pytest.mark.parametrize(("f", "runs", "kind"), [
    ("[1.0,180]", FACTS.runs, MismatchClass.PRECISION), ("[2.0,180]", FACTS.runs, MismatchClass.PRECISION),
    ("[1.0,180]", (), MismatchClass.LATE), ("[1.0,181]", FACTS.runs, MismatchClass.UNEXPECTED),
])  # fmt: skip
def test_digits_are_lost_only_where_the_export_wrote_them(f, runs, kind):
    found = told(seen(item=item(f=f), held=held() if runs else None), runs=runs)
    assert found[0] is kind
    if kind is MismatchClass.PRECISION:
        assert found[1] == "the same values, but for their last digits"


def test_a_row_that_was_rounded_in_the_warehouse_has_changed_there():
    assert told(seen(item=item(f="[1.0,180]"), held=held(Row(f="[1.0,180]", event_time=ROW.event_time))))[0] is (
        MismatchClass.LATE
    )


def test_another_type_of_the_same_value_is_named():
    whole = view_definition(replace(LEGS, features=(feature("delay", "text"), LEGS.features[1]))).schema
    there = item(f='["1.5",180]', schema=whole.fingerprint)
    schemas = {**FACTS.schemas, whole.fingerprint: whole}
    found = told(seen(item=there, held=held(Row(f=there.f, event_time=ROW.event_time), schema=whole.fingerprint)),
                 schemas=schemas)  # fmt: skip
    assert found == (MismatchClass.PRECISION, "delay was exported as text, and is float64")


@pytest.mark.parametrize(
    ("late", "now", "kind"),
    [
        (T - HOUR, NOW, MismatchClass.EXPIRED),
        (T - 3 * HOUR, T, MismatchClass.EXPIRED),
        (T - 4 * HOUR, T, MismatchClass.UNEXPECTED),
        (T - 3 * HOUR, T + 1, MismatchClass.EXPIRED),
        (T - HOUR, T + DAY, MismatchClass.EXPIRED),
    ],
)
def test_the_same_values_that_have_expired_by_their_event_time_alone(late, now, kind):
    early = item(Row(f=ROW.f, event_time=T - 40 * HOUR - 7))
    expected = Row(f=ROW.f, event_time=late)
    found = told(seen(expected=expected, item=early, held=held(expected)), now=now)
    assert found[0] is kind
    if kind is MismatchClass.EXPIRED:
        assert found[1] == "the same values, but by the item's event time they have expired"
    other = replace_item(early, f="[9.0,9]")
    assert told(seen(expected=expected, item=other, held=held(expected)), now=now)[0] is MismatchClass.UNEXPECTED


def test_an_event_time_that_is_still_fresh_has_not_expired():
    young = item(Row(f=ROW.f, event_time=ROW.event_time - 7))
    assert told(seen(item=young, held=held()))[0] is MismatchClass.UNEXPECTED


def test_who_has_changed_since_the_export():
    other = Row(f="[9.0,9]", event_time=ROW.event_time)
    assert told(seen(item=item(other), held=held(other)), code="b", commit={"code": "a"}) == (
        MismatchClass.DEFINITION, "what computes the view has changed since the export",
    )  # fmt: skip
    newer = Row(f="[9.0,9]", event_time=ROW.event_time + 7)
    assert told(seen(item=item(newer), held=held(newer))) == (
        MismatchClass.DELETED, "the row that was exported is gone from the warehouse; an older one is the newest now",
    )  # fmt: skip
    assert told(seen(item=item(other)))[0] is MismatchClass.UNEXPECTED
    assert told(seen(item=item(other)), runs=())[0] is MismatchClass.LATE
    assert told(seen(item=item(other), held=held()), runs=())[0] is MismatchClass.UNEXPECTED
    assert told(seen(item=item(other), held=held(other, schema="other")))[0] is MismatchClass.UNEXPECTED
    older = Row(f="[9.0,9]", event_time=ROW.event_time - 7)
    assert told(seen(item=item(older), held=held(older)))[1] == (
        "its event was 1 h before the export, which did not see it yet"
    )


@pytest.mark.parametrize(("expected", "online", "equal"), [
    (None, None, True), (T, T, True), (T, None, False), (None, T, False), (T + 1, None, True), (None, T + 1, True),
    (T + 1, T + 2, True), (T - 1, T - 2, False),
])  # fmt: skip
def test_an_end_after_the_snapshot_is_no_end_yet(expected, online, equal):
    row = Row(f=ROW.f, event_time=ROW.event_time, valid_to=expected)
    there = item(Row(f=ROW.f, event_time=ROW.event_time, valid_to=online))
    found = verdict(seen(expected=row, item=there, held=held()))
    assert (found.equal == 1) is equal
    assert set(found.features) == (set() if equal else {"until"})


# --- what cannot be read -----


def test_an_item_that_cannot_be_read_says_why():
    lost = "it follows the schema 'lost', which the store does not have or can't read"
    assert told(seen(item=item(schema="lost"))) == (MismatchClass.CORRUPT, lost)
    assert told(seen(item=item(schema="lost", damage="it is torn"))) == (MismatchClass.CORRUPT, "it is torn")
    kind, why = told(seen(expected=None, item=item(f="[1]"), held=held()))
    assert kind is MismatchClass.CORRUPT
    assert "holds 1 values" in why
    assert excuse(seen(expected=None, item=tombstone(schema="lost"))) == "equal"


# --- examples -----


def test_three_examples_of_each_class_in_their_order():
    missing = [seen(held=held(), pk=f'plane["M{number}"]') for number in (3, 1, 2, 4)]
    changed = Row(f="[9.0,9]", event_time=ROW.event_time)
    late = seen(item=item(changed), held=held(changed), pk='plane["Z"]')
    found = verdict(*missing, late)
    assert dict(found.classes) == {MismatchClass.LATE: 1, MismatchClass.MISSING: 4}
    assert [(each.key, each.feature, each.expected, each.online) for each in found.examples] == [
        ('plane["Z"]', "delay", "1.5", "9.0"), ('plane["Z"]', "seats", "180", "9"),
        *((f'plane["M{number}"]', "", "[1.5,180]", "nothing") for number in (1, 2, 3)),
    ]  # fmt: skip
    assert dict(found.features) == {"delay": 1, "seats": 1}


@pytest.mark.parametrize(("key", "expected", "online"), [
    (seen(item=tombstone(), held=held()), "[1.5,180]", "a tombstone"),
    (seen(expected=None, item=item(), held=held()), "nothing", "[1.5,180]"),
    (seen(expected=None, item=item(f="x" * 60), held=held()), "nothing", "x" * 60),
    (seen(expected=None, item=item(f="x" * 61), held=held()), "nothing", "x" * 57 + "..."),
    (seen(item=item(f="[null,180]"), held=held()), "1.5", "null"),
    (seen(item=item(f="[180]", schema=OLDER.fingerprint), held=held()), "1.5", "nothing"),
    (seen(item=item(event_time=ROW.event_time + 7), held=held()), "2023-11-14 21:13:20+00:00",
     "2023-11-14 21:13:20.000007+00:00"),
])  # fmt: skip
def test_both_sides_are_shown(key, expected, online):
    (example,) = verdict(key).examples
    assert (example.expected, example.online) == (expected, online)


def test_days_and_nulls_are_shown_as_they_are():
    days = replace(LEGS, features=(feature("day", "date"), LEGS.features[1]))
    schema = view_definition(days).schema
    row = Row(f='["2024-01-31",null]', event_time=ROW.event_time)
    there = item(Row(f='["2024-02-01",7]', event_time=ROW.event_time), schema=schema.fingerprint)
    found = verdict(seen(expected=row, item=there, held=held(row)), view=days, schemas={schema.fingerprint: schema})
    assert [(each.feature, each.expected, each.online) for each in found.examples] == [
        ("day", "2024-01-31", "2024-02-01"), ("seats", "null", "7"),
    ]  # fmt: skip
