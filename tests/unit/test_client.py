"""Looking up: one call, the right value and status for every case, and errors that say what to do."""

import json
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

import featurelayer.online as online
from featurelayer.errors import (
    CodecError,
    ConfigError,
    CorruptItem,
    DeadlineExceeded,
    PlanError,
    StaleFeature,
    StoredSchemaMismatch,
    StoreNotFound,
    UnknownNameError,
)
from featurelayer.export import publish_services
from featurelayer.model import DType, FeatureService, Freshness, Key, ServiceView
from featurelayer.online import FeatureClient, Item, MemoryStore, Status, open_store, service_definition
from featurelayer.online.stores import parse_url
from featurelayer.online.stores.sqlite import SqliteStore
from tests.exporting import export_view
from tests.online_cases import (
    PLANE_LEGS,
    SERVICE,
    STATIC_PLANES,
    batch,
    feature,
    legs_batch,
    planes_batch,
    service_of,
    view,
)
from tests.surfaces import SURFACES

T = datetime(2026, 11, 1, 12, tzinfo=UTC)
V = int(T.timestamp() * 1e6)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
DELAY, LEGS = "plane_legs__arr_delay", "plane_legs__legs"


@pytest.fixture(autouse=True, params=SURFACES)
def surface(request, monkeypatch):
    monkeypatch.setattr(request.module, "FeatureClient", SURFACES[request.param])


class Counting(MemoryStore):
    """A store that remembers what was read of it."""

    def __init__(self):
        super().__init__()
        self.reads = []

    def read(self, keys, **options):
        self.reads.append(set(keys))
        return super().read(keys, **options)


def filled(service=SERVICE, views=(PLANE_LEGS, STATIC_PLANES), rows=(("N1", T, 1.5, 2),), store=None, version=V):
    store = Counting() if store is None else store
    publish_services(store, [service], {each.id: each for each in views}, version)
    export_view(store, views[0], [legs_batch(list(rows))], as_of=T)
    return store


def statuses(vector) -> list[Status]:
    return [each.status for each in vector.features.values()]


def test_a_vector_is_a_mapping_in_training_order():
    store = filled()
    export_view(store, STATIC_PLANES, [planes_batch([("N1", 150)])], as_of=T)
    vector = FeatureClient(store).lookup("late_arrival", {"tailnum": "N1"}, now=T + 90 * timedelta(minutes=1))
    assert vector[DELAY] == 1.5
    assert list(vector) == [DELAY, LEGS, "planes__seats"]
    assert vector.to_list() == [1.5, 2, 150]
    assert dict(vector) == vector.to_dict() == {DELAY: 1.5, LEGS: 2, "planes__seats": 150}
    assert len(vector) == 3
    assert "plane_legs__nothing" not in vector
    one = vector.features[DELAY]
    assert (one.value, one.status, one.event_time, one.age) == (1.5, Status.PRESENT, T, timedelta(minutes=90))
    assert repr(vector).splitlines()[1:] == [
        "  plane_legs__arr_delay  1.5  present  1 h 30 min old",
        "  plane_legs__legs       2  present  1 h 30 min old",
        "  planes__seats          150  present",
    ]
    assert repr(vector).startswith("FeatureVector(late_arrival@")


def test_a_warm_lookup_is_one_call_for_all_views_and_requests():
    store = filled()
    client = FeatureClient(store)
    client.lookup("late_arrival", {"tailnum": "N1"}, now=T)
    store.reads.clear()
    vectors = client.lookup_many("late_arrival", [{"tailnum": name} for name in ("N1", "N2", "N1")], now=T)
    assert [vector[DELAY] for vector in vectors] == [1.5, 0.0, 1.5]
    assert store.reads == [{(f'plane["{name}"]', sk) for name in ("N1", "N2") for sk in ("plane_legs@0", "planes@0")}]


def test_nothing_asked_is_nothing_answered():
    assert FeatureClient(filled()).lookup_many("late_arrival", []) == []


@pytest.mark.parametrize(("age", "status", "value"), [
    (DAY, Status.PRESENT, 1.5), (DAY + MICROSECOND, Status.EXPIRED, 0.0), (0 * HOUR, Status.PRESENT, 1.5),
])  # fmt: skip
def test_a_value_exactly_as_old_as_its_ttl_is_still_valid(age, status, value):
    vector = FeatureClient(filled()).lookup("late_arrival", {"tailnum": "N1"}, now=T + age)
    assert vector.features[DELAY].status is status
    assert vector[DELAY] == value
    assert vector.features[DELAY].age == age


def test_at_a_time_that_is_asked_for_later_events_have_not_happened():
    vector = FeatureClient(filled()).lookup("late_arrival", {"tailnum": "N1"}, now=T - MICROSECOND)
    assert (vector.features[DELAY].status, vector[DELAY], vector.features[DELAY].age) == (Status.MISSING, 0.0, None)


def test_a_reader_whose_clock_is_behind_serves_what_is_there(monkeypatch):
    class Behind(datetime):
        @classmethod
        def now(cls, tz=None):
            return T - MICROSECOND

    monkeypatch.setattr("featurelayer.online.client.datetime", Behind)
    vector = FeatureClient(filled()).lookup("late_arrival", {"tailnum": "N1"})
    assert (vector.features[DELAY].status, vector[DELAY], vector.features[DELAY].age) == (
        Status.PRESENT,
        1.5,
        -MICROSECOND,
    )


def test_a_default_replaces_missing_and_expired_and_never_a_null():
    client = FeatureClient(filled(rows=[("null", T, None, None), ("old", T - 2 * DAY, 9.0, 9)]))
    null, old, gone = client.lookup_many("late_arrival", [{"tailnum": name} for name in ("null", "old", "gone")], now=T)
    assert [vector[DELAY] for vector in (null, old, gone)] == [None, 0.0, 0.0]
    assert [vector[LEGS] for vector in (null, old, gone)] == [None, None, None]
    assert [statuses(vector)[0] for vector in (null, old, gone)] == [Status.NULL, Status.EXPIRED, Status.MISSING]


def test_static_views_never_expire_and_have_no_age():
    store = filled()
    export_view(store, STATIC_PLANES, [planes_batch([("N1", 150)])], as_of=T)
    seats = FeatureClient(store).lookup("late_arrival", {"tailnum": "N1"}, now=T + 5000 * DAY).features["planes__seats"]
    assert (seats.value, seats.status, seats.event_time, seats.age) == (150, Status.PRESENT, None, None)


def test_a_row_whose_validity_has_ended_is_null():
    store = filled(rows=[])
    columns = {"tailnum": pa.array(["N1"]), "arr_delay": pa.array([1.0]), "legs": pa.array([1])}
    export_view(store, PLANE_LEGS, [batch(columns, [T], [T + HOUR])], as_of=T)
    client = FeatureClient(store)
    moments = T + HOUR - MICROSECOND, T + HOUR
    before, at = (client.lookup("late_arrival", {"tailnum": "N1"}, now=moment) for moment in moments)
    assert (before[DELAY], statuses(before)[:2]) == (1.0, [Status.PRESENT] * 2)
    assert (at[DELAY], statuses(at)[:2]) == (None, [Status.NULL] * 2)


def test_none_as_a_key_is_missing_without_a_call_for_it():
    store = filled()
    client = FeatureClient(store)
    assert statuses(client.lookup("late_arrival", {"tailnum": None})) == [Status.MISSING] * 3
    assert store.reads[-1] == set()


def test_an_alias_stands_for_its_request_key():
    client = FeatureClient(filled())
    assert client.lookup("late_arrival", {"plane": "N1"}, now=T)[DELAY] == 1.5
    with pytest.raises(PlanError, match="given twice"):
        client.lookup("late_arrival", {"plane": "N1", "tailnum": "N1"})


def test_all_wrong_request_keys_are_reported_at_once():
    with pytest.raises(PlanError) as caught:
        FeatureClient(filled()).lookup_many("late_arrival", [{"tailnumm": "N1"}, {"tailnum": "N1", "origin": "EWR"}])
    text = str(caught.value)
    assert "3 problems" in text
    assert "unknown request key 'tailnumm' (did you mean 'tailnum'?)" in text
    assert "request key 'tailnum' is missing" in text
    assert "'origin'" in text
    assert "pass the request keys tailnum" in text


@pytest.mark.parametrize("value", [7, 7.0, b"N1", True])
def test_a_key_of_the_wrong_type_names_the_key(value):
    with pytest.raises(CodecError, match=r"key 'tailnum'.*declared type text"):
        FeatureClient(filled()).lookup("late_arrival", {"tailnum": value})


def test_an_unknown_service_suggests_the_nearest():
    client = FeatureClient(filled())
    with pytest.raises(UnknownNameError, match="did you mean 'late_arrival'"):
        client.lookup("late_arival", {"tailnum": "N1"})
    assert client.services() == ["late_arrival"]
    assert [key.name for key in client.service("late_arrival").request_keys] == ["tailnum"]


def test_an_unpinned_name_follows_what_is_published():
    store = filled()
    client = FeatureClient(store, refresh=timedelta(0))
    assert list(client.lookup("late_arrival", {"tailnum": "N1"}, now=T)) == [DELAY, LEGS, "planes__seats"]
    publish_services(store, [service_of(PLANE_LEGS)], {"plane_legs": PLANE_LEGS}, V + 1)
    assert list(client.lookup("late_arrival", {"tailnum": "N1"}, now=T)) == [DELAY, LEGS]
    # An older run that publishes late does not turn it back.
    publish_services(store, [SERVICE], {"plane_legs": PLANE_LEGS, "planes": STATIC_PLANES}, V)
    assert list(client.lookup("late_arrival", {"tailnum": "N1"}, now=T)) == [DELAY, LEGS]
    # And to publish the same again holds against a run in between.
    publish_services(store, [service_of(PLANE_LEGS)], {"plane_legs": PLANE_LEGS}, V + 3)
    publish_services(store, [SERVICE], {"plane_legs": PLANE_LEGS, "planes": STATIC_PLANES}, V + 2)
    assert list(client.lookup("late_arrival", {"tailnum": "N1"}, now=T)) == [DELAY, LEGS]


def test_the_pointer_is_read_again_only_after_the_refresh_interval():
    store = filled()
    client = FeatureClient(store, refresh=HOUR)
    client.lookup("late_arrival", {"tailnum": "N1"}, now=T)
    publish_services(store, [service_of(PLANE_LEGS)], {"plane_legs": PLANE_LEGS}, V + 1)
    assert len(client.lookup("late_arrival", {"tailnum": "N1"}, now=T)) == 3


def test_a_pinned_service_is_served_as_it_was():
    store = filled()
    pinned = service_definition(SERVICE, {"plane_legs": PLANE_LEGS, "planes": STATIC_PLANES}).fingerprint
    publish_services(store, [service_of(PLANE_LEGS)], {"plane_legs": PLANE_LEGS}, V + 1)
    client = FeatureClient(store)
    assert len(client.lookup(f"late_arrival@{pinned}", {"tailnum": "N1"}, now=T)) == 3
    assert len(client.lookup("late_arrival", {"tailnum": "N1"}, now=T)) == 2
    with pytest.raises(StoredSchemaMismatch, match=f"does not hold late_arrival@0000\n.*late_arrival@{pinned}"):
        client.lookup("late_arrival@0000", {"tailnum": "N1"})


def lock_file(tmp_path, content) -> str:
    path = tmp_path / "set.lock.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_a_lock_pins_the_service_of_the_training_set(tmp_path):
    url = f"memory://{tmp_path}"
    (definition,) = publish_services(open_store(url), [SERVICE], {"plane_legs": PLANE_LEGS, "planes": STATIC_PLANES}, V)
    publish_services(open_store(url), [service_of(PLANE_LEGS)], {"plane_legs": PLANE_LEGS}, V + 1)
    lock = lock_file(tmp_path, {"service": {"name": "late_arrival", "fingerprint": definition.fingerprint}, "rows": 1})
    with FeatureClient.connect(url, lock=lock) as client:
        assert len(client.lookup("late_arrival", {"tailnum": "N1"})) == 3
        assert client.service("late_arrival").fingerprint == definition.fingerprint
        with pytest.raises(StoredSchemaMismatch, match="pinned to"):
            client.lookup("late_arrival@0000", {"tailnum": "N1"})


def test_a_lock_that_the_store_does_not_match_fails_at_start(tmp_path):
    url = f"memory://{tmp_path}"
    publish_services(open_store(url), [service_of(PLANE_LEGS)], {"plane_legs": PLANE_LEGS}, V)
    lock = lock_file(tmp_path, {"service": {"name": "late_arrival", "fingerprint": "0000"}})
    with pytest.raises(StoredSchemaMismatch, match="late_arrival@0000"):
        FeatureClient.connect(url, lock=lock)


@pytest.mark.parametrize(("content", "message"), [
    ("{", "can't be read"), ("[]", "names no service"), ({"service": None}, "names no service"),
    ({"service": {"name": "x"}}, "names no service"),
])  # fmt: skip
def test_a_lock_file_that_cannot_be_used(tmp_path, content, message):
    with pytest.raises(ConfigError, match=message):
        FeatureClient.connect("memory://x", lock=lock_file(tmp_path, content))
    with pytest.raises(ConfigError, match="the lock file does not exist"):
        FeatureClient.connect("memory://x", lock=tmp_path / "none.json")


def fresh_view(on_stale: str):
    return view("plane_legs", *PLANE_LEGS.features, event_time="landed_at", ttl=DAY, online=True, on_stale=on_stale,
                freshness=Freshness(error_after=2 * HOUR))  # fmt: skip


@pytest.mark.parametrize(
    ("on_stale", "values"), [("serve", [1.5, 2]), ("null", [None, None]), ("default", [0.0, None])]
)
def test_a_stale_view_is_served_as_it_says(on_stale, values):
    legs = fresh_view(on_stale)
    client = FeatureClient(filled(service_of(legs), (legs,), [("N1", T - HOUR, 1.5, 2), ("N2", T, None, 1)]))
    requests = [{"tailnum": "N1"}, {"tailnum": "N2"}, {"tailnum": "N9"}]
    fresh, *_ = client.lookup_many("late_arrival", requests, now=T + 2 * HOUR)
    assert (fresh.to_list(), statuses(fresh)) == ([1.5, 2], [Status.PRESENT] * 2)
    stale, null, missing = client.lookup_many("late_arrival", requests, now=T + 2 * HOUR + MICROSECOND)
    assert (stale.to_list(), statuses(stale)) == (values, [Status.STALE] * 2)
    assert stale.features[DELAY].age == 3 * HOUR + MICROSECOND
    assert (null[DELAY], statuses(null)[0]) == (None, Status.NULL)
    assert (missing[DELAY], statuses(missing)[0]) == (0.0, Status.MISSING)


def test_a_stale_view_may_refuse_to_serve():
    legs = fresh_view("raise")
    client = FeatureClient(filled(service_of(legs), (legs,)))
    assert client.lookup("late_arrival", {"tailnum": "N1"}, now=T)[DELAY] == 1.5
    with pytest.raises(StaleFeature, match="'plane_legs' is stale"):
        client.lookup("late_arrival", {"tailnum": "N1"}, now=T + 3 * HOUR)


def test_freshness_rides_along_and_an_export_ends_staleness():
    legs = fresh_view("serve")
    store = filled(service_of(legs), (legs,))
    client = FeatureClient(store, refresh=timedelta(0))
    assert statuses(client.lookup("late_arrival", {"tailnum": "N1"}, now=T + 3 * HOUR))[0] is Status.STALE
    export_view(store, legs, [legs_batch([("N1", T, 1.5, 2), ("N2", T + 2 * HOUR, 1.0, 1)])], as_of=T + 2 * HOUR)
    store.reads.clear()
    assert statuses(client.lookup("late_arrival", {"tailnum": "N1"}, now=T + 3 * HOUR))[0] is Status.PRESENT
    assert len(store.reads) == 1


def test_freshness_is_asked_for_once_per_refresh_even_of_a_view_that_was_never_exported():
    legs = fresh_view("serve")
    store = Counting()
    publish_services(store, [service_of(legs)], {"plane_legs": legs}, V)
    client = FeatureClient(store, refresh=HOUR)
    for _ in range(3):
        assert statuses(client.lookup("late_arrival", {"tailnum": "N1"}, now=T)) == [Status.MISSING] * 2
    assert [len(keys) for keys in store.reads] == [1, 2, 1, 1]


def test_what_rides_along_is_asked_for_again_after_the_refresh_interval_under_steady_load(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("featurelayer.online.client.monotonic", lambda: clock[0])
    legs = fresh_view("serve")
    store = filled(service_of(legs), (legs,))
    client = FeatureClient(store, refresh=timedelta(seconds=10))
    client.lookup("late_arrival", {"tailnum": "N1"}, now=T, deadline=None)
    asked = []
    for _ in range(8):
        clock[0] += 3
        store.reads.clear()
        client.lookup("late_arrival", {"tailnum": "N1"}, now=T, deadline=None)
        asked.append([len(keys) for keys in store.reads])
    # The item alone; after 12 and after 24 seconds with the view's commit and the service's pointer.
    assert asked == [[1], [1], [1], [3], [1], [1], [1], [3]]


def test_freshness_settings_do_not_change_the_fingerprint_and_reach_the_client():
    old, new = fresh_view("serve"), fresh_view("null")
    prints = {service_definition(service_of(legs), {"plane_legs": legs}).fingerprint for legs in (old, new, PLANE_LEGS)}
    assert len(prints) == 1
    store = filled(service_of(old), (old,))
    pinned = f"late_arrival@{prints.pop()}"
    client = FeatureClient(store, refresh=timedelta(0))
    for name in ("late_arrival", pinned):
        assert client.lookup(name, {"tailnum": "N1"}, now=T + 3 * HOUR)[DELAY] == 1.5
    publish_services(store, [service_of(new)], {"plane_legs": new}, V + 1)
    for name in ("late_arrival", pinned):
        assert client.lookup(name, {"tailnum": "N1"}, now=T + 3 * HOUR)[DELAY] is None


@pytest.mark.parametrize("changed", [
    view("plane_legs", *PLANE_LEGS.features[::-1], ttl=DAY), view("plane_legs", PLANE_LEGS.features[0], ttl=DAY),
    view("plane_legs", *PLANE_LEGS.features, ttl=2 * DAY),
    view("plane_legs", *PLANE_LEGS.features, ttl=DAY, version="2"),
    view("plane_legs", feature("arr_delay", "float64"), PLANE_LEGS.features[1], ttl=DAY),
    view("plane_legs", feature("arr_delay", "float32", default=0, has_default=True), PLANE_LEGS.features[1], ttl=DAY),
    view("plane_legs", *PLANE_LEGS.features, ttl=DAY, entities=("aircraft",)),
    view("plane_legs", *PLANE_LEGS.features, ttl=DAY, keys={"tailnum": "int64"}),
])  # fmt: skip
def test_whatever_changes_features_types_order_or_values_changes_the_fingerprint(changed):
    assert (
        service_definition(service_of(changed), {changed.id: changed}).fingerprint
        != service_definition(service_of(PLANE_LEGS), {"plane_legs": PLANE_LEGS}).fingerprint
    )


def test_fingerprints_are_the_same_on_every_machine():
    """Lock files and stores outlive releases: a change here is a change of format."""
    definition = service_definition(SERVICE, {"plane_legs": PLANE_LEGS, "planes": STATIC_PLANES})
    assert definition.fingerprint == "8e83a6b122e22bb8"


def test_an_old_item_is_read_by_its_own_schema():
    """Features are found by name; one that is new, or of another kind of type by now, is missing in the old item."""
    store = filled()  # arr_delay float64, legs int64
    new = view("plane_legs", feature("legs", "int32"), feature("hops", "int64", default=7, has_default=True),
               feature("arr_delay", "text"), ttl=DAY)  # fmt: skip
    publish_services(store, [service_of(new)], {"plane_legs": new}, V + 1)
    vector = FeatureClient(store).lookup("late_arrival", {"tailnum": "N1"}, now=T)
    assert vector.to_list() == [2, 7, None]
    assert statuses(vector) == [Status.PRESENT, Status.MISSING, Status.MISSING]
    assert vector.features["plane_legs__hops"].event_time is None


@pytest.mark.parametrize(("names", "values"), [
    (("arr_delay",), [1.5]), (("legs",), [2]), (("legs", "arr_delay"), [2, 1.5]), (("arr_delay", "legs"), [1.5, 2]),
])  # fmt: skip
def test_a_service_gets_the_features_that_it_takes_and_no_others_of_the_view(names, values):
    taken = replace(SERVICE.views[0], features=names)
    store = filled(service=replace(SERVICE, views=(taken,)))
    assert FeatureClient(store).lookup("late_arrival", {"tailnum": "N1"}, now=T).to_dict() == {
        f"plane_legs__{name}": value for name, value in zip(names, values, strict=True)
    }


def test_an_item_whose_schema_is_lost_is_an_error_and_not_a_guess():
    store = filled()
    store.write([Item(pk='plane["N1"]', sk="plane_legs@0", version=V + 1, event_time=V, f="[1]", schema="lost")])
    with pytest.raises(CorruptItem, match="lost"):
        FeatureClient(store).lookup("late_arrival", {"tailnum": "N1"}, now=T)


def test_an_array_that_does_not_fit_its_schema_is_an_error():
    store = filled()
    schema = store.read([('plane["N1"]', "plane_legs@0")])['plane["N1"]', "plane_legs@0"].schema
    store.write([Item(pk='plane["N1"]', sk="plane_legs@0", version=V + 1, event_time=V, f="[1]", schema=schema)])
    with pytest.raises(CorruptItem, match="holds 1 values"):
        FeatureClient(store).lookup("late_arrival", {"tailnum": "N1"}, now=T)


def test_one_view_in_two_roles_and_a_composite_key():
    weather = view("weather", feature("wind", "float32"), keys={"airport": "text", "hour": "int32"},
                   entities=("airport_hour",))  # fmt: skip
    service = FeatureService(
        name="late_arrival",
        views=tuple(ServiceView(view="weather", role=role, prefix=role, features=("wind",),
                                keys=(("airport", role), ("hour", "hour"))) for role in ("origin", "dest")),
        request_keys=(Key(name="origin", dtype=DType.parse("text")), Key(name="dest", dtype=DType.parse("text")),
                      Key(name="hour", dtype=DType.parse("int64"))),
    )  # fmt: skip
    store = MemoryStore()
    publish_services(store, [service], {"weather": weather}, V)
    columns = {"airport": pa.array(["EWR", "JFK"]), "hour": pa.array([7, 7], pa.int32()),
               "wind": pa.array([0.1, 2], pa.float32())}  # fmt: skip
    export_view(store, weather, [batch(columns, [T, T])], as_of=T)
    client = FeatureClient(store)
    assert client.lookup("late_arrival", {"origin": "EWR", "dest": "JFK", "hour": 7}).to_dict() == {
        "origin__wind": 0.10000000149011612, "dest__wind": 2.0,
    }  # fmt: skip
    half = client.lookup("late_arrival", {"origin": "EWR", "dest": None, "hour": 7})
    assert statuses(half) == [Status.PRESENT, Status.MISSING]
    assert store.read([('airport_hour["EWR",7]', "weather@0")])


def test_types_come_out_as_they_went_in():
    kinds = view("kinds", feature("amount", "decimal(38,2)"), feature("day", "date"), feature("naive", "timestamp"),
                 feature("aware", "timestamptz"), feature("raw", "bytes"), feature("vector", "array<float32>"),
                 feature("big", "uint64"))  # fmt: skip
    aware = datetime(2026, 1, 1, 2, 3, 4, 5, tzinfo=UTC)
    values = [Decimal("123456789012345678901234567890123456.78"), date(2026, 1, 31), aware.replace(tzinfo=None), aware,
              b"\x00", [0.5, None], 2**64 - 1]  # fmt: skip
    types = [pa.decimal128(38, 2), pa.date32(), pa.timestamp("us"), pa.timestamp("ns", "Europe/Rome"), pa.binary(),
             pa.list_(pa.float32()), pa.uint64()]  # fmt: skip
    names = [each.name for each in kinds.features]
    columns = {name: pa.array([value], kind) for name, value, kind in zip(names, values, types, strict=True)}
    store = MemoryStore()
    publish_services(store, [service_of(kinds, name="s")], {"kinds": kinds}, V)
    export_view(store, kinds, [batch({"tailnum": pa.array(["N1"]), **columns}, [T])], as_of=T)
    vector = FeatureClient(store).lookup("s", {"tailnum": "N1"})
    assert vector.to_list() == values
    assert vector["kinds__aware"].utcoffset() == timedelta(0)


def test_a_default_array_may_be_changed_by_who_got_it():
    listed = view("listed", feature("vector", "array<int64>", default=[1, 2], has_default=True))
    store = MemoryStore()
    publish_services(store, [service_of(listed, name="s")], {"listed": listed}, V)
    client = FeatureClient(store)
    client.lookup("s", {"tailnum": "N1"})["listed__vector"].append(3)
    assert client.lookup("s", {"tailnum": "N1"})["listed__vector"] == [1, 2]


def test_many_threads_share_a_client(tmp_path):
    store = filled(store=SqliteStore(tmp_path / "online.db"), rows=[(f"N{n}", T, float(n), n) for n in range(50)])
    with FeatureClient(store, refresh=timedelta(0)) as client, ThreadPoolExecutor(8) as pool:
        numbers = list(range(50)) * 4
        found = pool.map(lambda n: client.lookup("late_arrival", {"tailnum": f"N{n}"}, now=T)[DELAY], numbers)
        assert list(found) == [float(n) for n in numbers]


def test_no_time_left_is_an_error():
    with pytest.raises(DeadlineExceeded):
        FeatureClient(filled()).lookup("late_arrival", {"tailnum": "N1"}, deadline=timedelta(0))
    assert FeatureClient(filled()).lookup("late_arrival", {"tailnum": "N1"}, now=T, deadline=None)[DELAY] == 1.5


def test_now_is_now_and_a_naive_time_is_utc():
    store = filled(rows=[("N1", datetime.now(UTC) - HOUR, 1.5, 2)])
    client = FeatureClient(store)
    age = client.lookup("late_arrival", {"tailnum": "N1"}).features[DELAY].age
    assert HOUR <= age < 2 * HOUR
    naive = T.replace(tzinfo=None)
    assert statuses(FeatureClient(filled()).lookup("late_arrival", {"tailnum": "N1"}, now=naive))[0] is Status.PRESENT


# --- addresses and files ------------------------------------------------------------------------------------------


def test_memory_is_shared_by_name_within_the_process():
    assert open_store("memory://one") is open_store("memory://one")
    assert open_store("memory://one") is not open_store("memory://two")


def test_sqlite_addresses_are_relative_or_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(open_store("sqlite:///a/b.db").path) == "a/b.db"
    assert str(open_store(f"sqlite:///{tmp_path}/b.db").path) == f"{tmp_path}/b.db"
    assert str(open_store("sqlite:///with%20space%3F.db").path) == "with space?.db"


@pytest.mark.parametrize(("url", "message"), [
    ("features.db", "not the address of an online store"), ("redis://x", "there is no online store of type 'redis'"),
    ("sqllite:///x", "did you mean 'sqlite'"), ("sqlite://x.db", "names no file"), ("sqlite:///", "names no file"),
    ("sqlite:///x.db?timeout=1&cache=1", "2 problems"), ("sqlite:///x.db?mode=ro", "`mode` is 'ro'"),
    ("sqlite:///x.db?mode=0440", "owner read and write"), ("sqlite:///x.db?mode=7777", "octal digits"),
    ("memory://x?y=1", "unknown option 'y'"),
    ("dynamodb://table?regoin=eu-west-1", "did you mean 'region'"), ("dynamodb://a", "not a valid DynamoDB table name"),
    ("dynamodb://a/b", "not a valid DynamoDB table name"), ("dynamodb://table?timeout=soon", "not a number of seconds"),
])  # fmt: skip
def test_an_address_that_is_not_understood_says_what_is(url, message):
    with pytest.raises(ConfigError, match=message):
        open_store(url)


def test_the_parts_of_an_address():
    url = parse_url("dynamodb://features-prod?region=eu-west-1&endpoint_url=http://127.0.0.1:8000/x")
    assert (url.scheme, url.location) == ("dynamodb", "features-prod")
    assert url.options == {"region": "eu-west-1", "endpoint_url": "http://127.0.0.1:8000/x"}


def test_a_lookup_never_creates_a_file(tmp_path):
    path = tmp_path / "online.db"
    with pytest.raises(StoreNotFound, match="run `featurelayer export`"):
        FeatureClient.connect(f"sqlite:///{path}").lookup("late_arrival", {"tailnum": "N1"})
    assert not path.exists()


def test_a_file_of_somebody_else_is_left_alone(tmp_path):
    import sqlite3

    text, database = tmp_path / "text.db", tmp_path / "other.db"
    text.write_text("not a database, but long enough to be looked at as one " * 100)
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = text.read_bytes(), database.read_bytes()
    for path in (text, database):
        store = SqliteStore(path)
        with pytest.raises(StoreNotFound, match="not a featurelayer store"):
            store.write([Item(pk="a[1]", sk="v@0", version=1)])
        with pytest.raises(StoreNotFound, match="not a featurelayer store"):
            store.read([("a[1]", "v@0")])
        store.close()
    assert (text.read_bytes(), database.read_bytes()) == before


def test_readers_see_whole_transactions_while_a_writer_writes(tmp_path):
    store = SqliteStore(tmp_path / "online.db")
    keys = [(f"a[{n}]", "v@0") for n in range(200)]

    def write(version: int) -> None:
        store.write([Item(pk=pk, sk=sk, version=version, f=f"[{version}]") for pk, sk in keys])

    write(1)
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(lambda: [write(version) for version in range(2, 60)])
        while not writing.done():
            assert len({item.f for item in store.read(keys).values()}) == 1
    assert store.read(keys[:1])[keys[0]].f == "[59]"
    store.close()


def test_a_lookup_survives_a_fork(tmp_path):
    store = filled(store=SqliteStore(tmp_path / "online.db"))
    client = FeatureClient(store)
    assert client.lookup("late_arrival", {"tailnum": "N1"}, now=T)[DELAY] == 1.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's general advice against forks beside threads
        child = os.fork()
    if child == 0:
        found = client.lookup("late_arrival", {"tailnum": "N1"}, now=T)[DELAY]
        os._exit(0 if found == 1.5 else 1)
    assert os.waitpid(child, 0)[1] == 0
    client.close()


# --- the package --------------------------------------------------------------------------------------------------


def test_the_public_names_are_exact_and_sorted():
    assert online.__all__ == sorted(online.__all__)
    assert online.__all__ == [
        "AsyncFeatureClient", "Capabilities", "FeatureClient", "FeatureValue", "FeatureVector", "Item", "LiveKey",
        "LookupMetrics", "MemoryStore", "OnlineStore", "ServiceDefinition", "Status", "StoreEntry", "StoreUrl",
        "WriteResult", "Written",
        "open_store", "service_definition",
    ]  # fmt: skip
    assert all(hasattr(online, name) for name in online.__all__)


LOADED = """
import sys, featurelayer.online, featurelayer.online.stores.dynamodb.store
heavy = {"sqlglot", "click", "jinja2", "pydantic", "dbt", "duckdb", "pyarrow", "pandas", "numpy", "rich", "yaml"}
print(*sorted(heavy & set(sys.modules)))
"""


def test_importing_brings_nothing_heavy():
    """What it costs over boto3 is measured by benchmarks/import_time.py; a clock has no place in a test."""
    run = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_boto3_is_imported_only_for_dynamodb():
    code = "import sys, featurelayer.online as o; o.open_store('memory://x'); print('boto3' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_writers_that_start_together_on_a_new_file_all_succeed(tmp_path):
    def write(number: int) -> int:
        store = SqliteStore(tmp_path / "new" / "online.db")
        done = store.write([Item(pk="a[1]", sk="v@0", version=number, f=f"[{number}]")])
        store.close()
        return done.written + done.refused

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(write, range(1, 17))) == [1] * 16
    store = SqliteStore(tmp_path / "new" / "online.db")
    assert store.read([("a[1]", "v@0")])["a[1]", "v@0"].version == 16
    store.close()
