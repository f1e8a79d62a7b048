"""A view that changes while it is served: who follows the old definition goes on reading, during the export and after.

Three readers look up after every single write of the export that brings the change: one that began before and has not
yet seen the new definition, one pinned to the old one, and one that begins anew each time.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from featurelayer.errors import StoredSchemaMismatch
from featurelayer.export import publish_services
from featurelayer.model import FeatureView
from featurelayer.online import FeatureClient, FeatureVector, MemoryStore, Status
from tests.exporting import export_view
from tests.online_cases import PLANE_LEGS, batch, feature, micros, service_of, view

T = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
REQUEST = {"tailnum": "N1", "tail": "N1", "origin": "JFK"}
DELAY, LEGS = "plane_legs__arr_delay", "plane_legs__legs"
VALUES = {
    "tailnum": pa.array(["N1"]), "tail": pa.array(["N1"]), "origin": pa.array(["JFK"]), "seats": pa.array([180]),
    "arr_delay": pa.array([1.5]), "legs": pa.array([3]),
}  # fmt: skip


class Watched(MemoryStore):
    """A store that lets somebody look after every write."""

    look = None

    def write(self, items, **options):
        done = super().write(items, **options)
        if self.look is not None:
            look, self.look = self.look, None
            look()
            self.look = look
        return done


class Serving:
    """A view in a store, its service, and its readers."""

    def __init__(self) -> None:
        self.store, self.hours = Watched(), 0
        self.export(PLANE_LEGS)
        self.definition = FeatureClient(self.store).service("late_arrival")
        self.pin = f"late_arrival@{self.definition.fingerprint}"
        self.pinned_client = FeatureClient(self.store)
        self.pinned_client.service(self.pin)
        # It learns of new definitions after a day, as others do after seconds.
        self.client = FeatureClient(self.store, refresh=DAY)
        self.client.lookup("late_arrival", {"tailnum": "N1"}, now=T)
        self.old: list[FeatureVector] = []
        self.pinned: list[FeatureVector] = []
        self.anew: list[FeatureVector] = []

    def export(self, changed: FeatureView, **columns: pa.Array):
        self.hours += 1
        values = {**VALUES, **columns}
        wanted = [key.column for key in changed.join_keys] + [each.name for each in changed.features]
        rows = batch({name: values[name] for name in wanted}, [T])
        at = T + self.hours * HOUR
        done = export_view(self.store, changed, [rows], as_of=at)
        publish_services(self.store, [service_of(changed)], {changed.id: changed}, micros(at))
        return done

    def change(self, changed: FeatureView, **columns: pa.Array):
        self.store.look = self.look
        done = self.export(changed, **columns)
        self.store.look = None
        self.look()
        return done

    def look(self) -> None:
        for client, service, seen in (
            (self.client, "late_arrival", self.old),
            (self.pinned_client, self.pin, self.pinned),
            (FeatureClient(self.store), "late_arrival", self.anew),
        ):
            keys = [key.name for key in client.service(service).request_keys]
            request = {key: REQUEST[key] for key in keys}
            seen.append(client.lookup(service, request, now=T + HOUR))

    def last(self) -> dict:
        return self.anew[-1].to_dict()


def statuses(vectors: list[FeatureVector], name: str) -> set[Status]:
    return {vector.features[name].status for vector in vectors}


def went_on(serving: Serving, *names: str) -> None:
    """Every reader had a value of these features after every write."""
    for seen in (serving.old, serving.pinned, serving.anew):
        for name in names:
            assert statuses(seen, name) == {Status.PRESENT}, name
    assert len(serving.old) >= 4  # lease, schema, values, commit, ...


def test_a_feature_that_is_added():
    serving = Serving()
    done = serving.change(replace(PLANE_LEGS, features=(*PLANE_LEGS.features, feature("seats", "int64"))))
    assert (done.written, done.unchanged) == (1, 0)
    went_on(serving, DELAY, LEGS)
    assert serving.last() == {DELAY: 1.5, LEGS: 3, "plane_legs__seats": 180}
    assert serving.pinned[-1].to_dict() == {DELAY: 1.5, LEGS: 3}


def test_a_feature_that_is_removed_is_missing_for_who_still_asks_for_it():
    serving = Serving()
    serving.change(replace(PLANE_LEGS, features=PLANE_LEGS.features[:1]))
    went_on(serving, DELAY)
    for seen in (serving.old, serving.pinned):
        assert statuses(seen, LEGS) == {Status.PRESENT, Status.MISSING}
        assert seen[-1].features[LEGS].status is Status.MISSING
    assert serving.last() == {DELAY: 1.5}
    with pytest.raises(StoredSchemaMismatch, match="feature 'legs' is no longer exported"):
        FeatureClient(serving.store).service(serving.pin)


def test_a_feature_of_another_kind_of_type_is_missing_for_who_still_wants_the_old_one():
    serving = Serving()
    serving.change(
        replace(PLANE_LEGS, features=(PLANE_LEGS.features[0], feature("legs", "text"))), legs=pa.array(["three"])
    )
    went_on(serving, DELAY)
    for seen in (serving.old, serving.pinned):
        assert {vector[LEGS] for vector in seen} == {3, None}
        assert seen[-1].features[LEGS].status is Status.MISSING
    assert serving.last() == {DELAY: 1.5, LEGS: "three"}


def test_a_type_of_the_same_kind_goes_on():
    serving = Serving()
    serving.change(replace(PLANE_LEGS, features=(PLANE_LEGS.features[0], feature("legs", "int32"))))
    went_on(serving, DELAY, LEGS)


def test_a_key_column_that_is_renamed_writes_nothing():
    serving = Serving()
    renamed = view(
        "plane_legs", *PLANE_LEGS.features, keys={"tail": "text"}, event_time="landed_at", ttl=DAY, online=True
    )
    done = serving.change(renamed)
    assert (done.written, done.unchanged, done.tombstones) == (0, 1, 0)
    for seen in (serving.old, serving.pinned, serving.anew):
        assert {vector[LEGS] for vector in seen} == {3}


@pytest.mark.parametrize(
    "changed",
    [
        view("plane_legs", *PLANE_LEGS.features, entities=("aircraft",), event_time="landed_at", ttl=DAY, online=True),
        view("plane_legs", *PLANE_LEGS.features, keys={"tailnum": "text", "origin": "text"}, event_time="landed_at",
             ttl=DAY, online=True),
    ],
    ids=["entity renamed", "key added"],
)  # fmt: skip
def test_other_keys_leave_readers_the_old_ones_until_the_export_after_the_next(changed):
    serving = Serving()
    done = serving.change(changed)
    assert (done.written, done.tombstones) == (1, 0)
    went_on(serving, DELAY, LEGS)
    done = serving.change(changed)
    assert (done.written, done.unchanged, done.tombstones) == (0, 1, 1)
    assert serving.last() == {DELAY: 1.5, LEGS: 3}
    # Who is still pinned to the old keys finds nothing, and is told so.
    assert serving.pinned[-1].features[LEGS].status is Status.MISSING


def test_another_ttl_writes_all_rows_again_so_that_none_is_collected_too_early():
    serving = Serving()
    longer = replace(PLANE_LEGS, ttl=30 * DAY)
    assert serving.change(longer).written == 1
    went_on(serving, DELAY, LEGS)
    ((_, item),) = serving.store.read([('plane["N1"]', "plane_legs@0")]).items()
    assert item.ttl == int((T + 44 * DAY).timestamp())
    assert serving.change(longer).written == 0
    late = T + 2 * DAY
    assert FeatureClient(serving.store).lookup("late_arrival", REQUEST_OF_PLANE, now=late)[LEGS] == 3
    pinned = FeatureClient(serving.store).lookup(serving.pin, REQUEST_OF_PLANE, now=late)
    assert pinned.features[LEGS].status is Status.EXPIRED


REQUEST_OF_PLANE = {"tailnum": "N1"}


def test_version_two_lives_beside_version_one():
    serving = Serving()
    second = view("plane_legs", feature("legs", "text"), event_time="landed_at", ttl=DAY, online=True, version="2")
    serving.store.look = serving.look
    export_view(
        serving.store, second, [batch({"tailnum": VALUES["tailnum"], "legs": pa.array(["three"])}, [T])], as_of=T + HOUR
    )
    publish_services(serving.store, [service_of(second, name="late_two")], {second.id: second}, micros(T + HOUR))
    went_on(serving, DELAY, LEGS)
    assert FeatureClient(serving.store).lookup("late_two", REQUEST_OF_PLANE, now=T).to_dict() == {
        f"{second.prefix}__legs": "three"
    }
