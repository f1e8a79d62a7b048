"""The client's cache, metrics, deadline and pins, over both surfaces."""

import json
import os
import threading
import time
import warnings
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from featurelayer.errors import DeadlineExceeded, StaleFeature, StoredSchemaMismatch, UnknownNameError
from featurelayer.export import publish_services
from featurelayer.model import Freshness
from featurelayer.online import (
    FeatureClient,
    Item,
    LookupMetrics,
    MemoryStore,
    Status,
    open_store,
    service_definition,
)
from featurelayer.online.cache import ItemCache
from tests.exporting import export_view
from tests.online_cases import PLANE_LEGS, STATIC_PLANES, batch, feature, legs_batch, service_of, view
from tests.surfaces import SURFACES

T = datetime(2026, 11, 1, 12, tzinfo=UTC)
V = int(T.timestamp() * 1e6)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DELAY = "plane_legs__arr_delay"
LEGS_SERVICE = service_of(PLANE_LEGS)
N1 = {"tailnum": "N1"}


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


def filled(*, store=None, service=LEGS_SERVICE, legs=PLANE_LEGS, rows=(("N1", T, 1.5, 2),), version=V, as_of=T):
    store = Counting() if store is None else store
    publish_services(store, [service], {"plane_legs": legs, "planes": STATIC_PLANES}, version)
    export_view(store, legs, [legs_batch(list(rows))], as_of=as_of)
    return store


# --- cache -----------------------------------------------------------------------------------------------------------


def test_a_cached_item_is_not_read_again_until_it_is_too_old(monkeypatch):
    clock = [1000.0]
    for module in ("client", "cache"):
        monkeypatch.setattr(f"featurelayer.online.{module}.monotonic", lambda: clock[0])
    store = filled()
    client = FeatureClient(store, refresh=DAY, cache=timedelta(seconds=5))
    options = {"now": T, "deadline": None}
    client.lookup("late_arrival", N1, **options)
    client.lookup("late_arrival", {"tailnum": "N9"}, **options)
    export_view(store, PLANE_LEGS, [legs_batch([("N1", T, 9.0, 2), ("N9", T, 9.0, 2)])], as_of=T + HOUR)
    store.reads.clear()
    clock[0] += 4.9
    assert client.lookup("late_arrival", N1, **options)[DELAY] == 1.5
    missing = client.lookup("late_arrival", {"tailnum": "N9"}, **options).features[DELAY]
    assert (missing.status, missing.value) == (Status.MISSING, 0.0)
    assert store.reads == []
    client.lookup_many("late_arrival", [N1, {"tailnum": "N2"}], **options)
    assert store.reads == [{('plane["N2"]', "plane_legs@0")}]
    clock[0] += 0.2
    assert client.lookup("late_arrival", N1, **options)[DELAY] == 9.0


def test_a_consistent_lookup_goes_past_the_cache_and_renews_it():
    store = filled()
    client = FeatureClient(store, cache=HOUR)
    client.lookup("late_arrival", N1, now=T)
    export_view(store, PLANE_LEGS, [legs_batch([("N1", T, 9.0, 2)])], as_of=T + HOUR)
    assert client.lookup("late_arrival", N1, now=T)[DELAY] == 1.5
    assert client.lookup("late_arrival", N1, now=T, consistent=True)[DELAY] == 9.0
    assert client.lookup("late_arrival", N1, now=T)[DELAY] == 9.0


def test_a_cached_item_expires_and_its_view_becomes_stale_all_the_same():
    fresh = view("plane_legs", *PLANE_LEGS.features, ttl=DAY, online=True, on_stale="raise",
                 freshness=Freshness(error_after=2 * DAY))  # fmt: skip
    client = FeatureClient(filled(service=service_of(fresh), legs=fresh), cache=HOUR)
    at = lambda age: client.lookup("late_arrival", N1, now=T + age)  # noqa: E731
    assert at(DAY).features[DELAY].status is Status.PRESENT
    assert at(DAY + timedelta(seconds=1)).features[DELAY].status is Status.EXPIRED
    with pytest.raises(StaleFeature):
        at(3 * DAY)
    assert at(DAY).features[DELAY].age == DAY


def test_the_cache_keeps_what_was_used_last():
    store = filled()
    client = FeatureClient(store, refresh=DAY, cache=HOUR, cache_items=2)
    for name in ("N1", "N2", "N1", "N3"):  # N3 drives N2 out
        client.lookup("late_arrival", {"tailnum": name}, now=T)
    store.reads.clear()
    for name in ("N1", "N3", "N2"):
        client.lookup("late_arrival", {"tailnum": name}, now=T)
    assert store.reads == [{('plane["N2"]', "plane_legs@0")}]


def test_an_older_read_that_ends_late_does_not_replace_a_newer_one():
    cache, key = ItemCache(seconds=60, size=10), ("a[1]", "v@0")
    old, new = (Item(pk="a[1]", sk="v@0", version=version) for version in (1, 2))
    began = time.monotonic()
    cache.keep([key], {key: new}, began)
    cache.keep([key], {key: old}, began - 1)
    assert cache.find([key]) == ({key: new}, set())


def test_many_threads_share_a_cache():
    store = filled(rows=[(f"N{number}", T, float(number), 1) for number in range(60)])
    client = FeatureClient(store, cache=HOUR, cache_items=7)
    wrong = []

    def work(start: int) -> None:
        for number in range(start, start + 60):
            found = client.lookup("late_arrival", {"tailnum": f"N{number % 60}"}, now=T)[DELAY]
            if found != float(number % 60):
                wrong.append((number, found))

    threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 60, 15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_fork_in_the_middle_of_a_cached_lookup_leaves_the_child_free():
    client = FeatureClient(filled(), cache=HOUR)
    client.lookup("late_arrival", N1, now=T)
    inner = getattr(client, "_client", client)
    cache = getattr(inner, "_client", inner)._cache
    with cache._lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's general advice against forks beside threads
        child = os.fork()
        if child == 0:
            ended = 1
            try:
                ended = int(client.lookup("late_arrival", N1, now=T)[DELAY] != 1.5)
            finally:
                os._exit(ended)
    assert os.waitpid(child, 0)[1] == 0


# --- metrics ---------------------------------------------------------------------------------------------------------


def test_every_lookup_is_counted():
    seen: list[LookupMetrics] = []
    store = filled()
    client = FeatureClient(store, refresh=DAY, cache=HOUR, on_lookup=seen.append)
    client.lookup("late_arrival", N1, now=T)
    client.lookup_many("late_arrival", [N1, N1, {"tailnum": "N2"}, {"tailnum": None}], now=T)
    with pytest.raises(UnknownNameError):
        client.lookup("nothing", N1)
    assert [(one.service, one.requests, one.items, one.cached, one.calls, one.retries, one.error) for one in seen] == [
        ("late_arrival", 1, 1, 0, 3, 0, None),  # the definition, the values, their schema
        ("late_arrival", 4, 2, 1, 1, 0, None),
        ("nothing", 1, 0, 0, 1, 0, "UnknownNameError"),
    ]
    assert seen[0].bytes > seen[1].bytes == 0
    assert all(one.milliseconds > 0 for one in seen)


def test_a_hook_that_fails_breaks_no_lookup_and_is_logged(caplog):
    def hook(_metrics: LookupMetrics) -> None:
        raise RuntimeError("no statsd here")

    client = FeatureClient(filled(), on_lookup=hook)
    assert client.lookup("late_arrival", N1, now=T)[DELAY] == 1.5
    with pytest.raises(UnknownNameError):  # and hides no error
        client.lookup("nothing", N1)
    assert [record.message for record in caplog.records] == ["on_lookup failed"] * 2
    assert "no statsd here" in caplog.text


# --- deadline --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deadline", [0, 0.0, timedelta(0)])
def test_a_deadline_is_seconds_or_a_timedelta(deadline):
    client = FeatureClient(filled())
    with pytest.raises(DeadlineExceeded) as caught:
        client.lookup("late_arrival", N1, deadline=deadline)
    assert caught.value.retryable
    assert client.lookup("late_arrival", N1, now=T, deadline=60)[DELAY] == 1.5


# --- pins ------------------------------------------------------------------------------------------------------------

RETYPED = view("plane_legs", feature("arr_delay", "text"), PLANE_LEGS.features[1], ttl=DAY, online=True)
WIDER = view("plane_legs", feature("arr_delay", "float32", default=0, has_default=True), PLANE_LEGS.features[1],
             feature("new", "int64"), ttl=DAY, online=True)  # fmt: skip
SHORTER = view("plane_legs", PLANE_LEGS.features[1], ttl=DAY, online=True)


def lock(tmp_path, **more) -> str:
    definition = service_definition(LEGS_SERVICE, {"plane_legs": PLANE_LEGS})
    content = {"name": "late_arrival", "fingerprint": definition.fingerprint, "features": list(definition.columns)}
    path = tmp_path / "set.lock.json"
    path.write_text(json.dumps({"service": content | more}))
    return str(path)


def exported_again(store, legs, columns) -> None:
    publish_services(store, [service_of(legs)], {"plane_legs": legs}, V + 1)
    columns = {"tailnum": pa.array(["N1"])} | {name: pa.array([value]) for name, value in columns.items()}
    export_view(store, legs, [batch(columns, [T])], as_of=T + HOUR)


@pytest.mark.parametrize(("legs", "columns", "message"), [
    (RETYPED, {"arr_delay": "late", "legs": 2}, "'arr_delay' was float64 and is text by now"),
    (SHORTER, {"legs": 2}, "'arr_delay' is no longer exported"),
])  # fmt: skip
def test_a_pin_that_the_newest_export_does_not_fit_fails_at_start(tmp_path, legs, columns, message):
    url = f"memory://{tmp_path}"
    store = filled(store=open_store(url))
    with FeatureClient.connect(url, lock=lock(tmp_path)) as client:
        assert client.lookup("late_arrival", N1, now=T)[DELAY] == 1.5
        exported_again(store, legs, columns)
        # Whoever is serving goes on: what is gone by now is missing, and says so.
        assert client.lookup("late_arrival", N1, now=T).features[DELAY].status is Status.MISSING
    with pytest.raises(StoredSchemaMismatch, match=message):
        FeatureClient.connect(url, lock=lock(tmp_path))
    fingerprint = service_definition(LEGS_SERVICE, {"plane_legs": PLANE_LEGS}).fingerprint
    with pytest.raises(StoredSchemaMismatch, match=message):
        FeatureClient(store).service(f"late_arrival@{fingerprint}")
    assert FeatureClient(store).lookup("late_arrival", N1, now=T).service != f"late_arrival@{fingerprint}"


def test_a_pin_is_not_disturbed_by_features_that_were_added(tmp_path):
    url = f"memory://{tmp_path}"
    store = filled(store=open_store(url))
    exported_again(store, WIDER, {"arr_delay": 2.5, "legs": 3, "new": 7})
    with FeatureClient.connect(url, lock=lock(tmp_path)) as client:
        assert client.lookup("late_arrival", N1, now=T).to_dict() == {DELAY: 2.5, "plane_legs__legs": 3}


def test_a_pin_before_the_first_export_is_no_mismatch(tmp_path):
    url = f"memory://{tmp_path}"
    publish_services(open_store(url), [LEGS_SERVICE], {"plane_legs": PLANE_LEGS}, V)
    with FeatureClient.connect(url, lock=lock(tmp_path)) as client:
        assert client.lookup("late_arrival", N1, now=T).features[DELAY].status is Status.MISSING


def test_a_lock_whose_features_are_in_another_order_is_refused(tmp_path):
    url = f"memory://{tmp_path}"
    filled(store=open_store(url))
    with pytest.raises(StoredSchemaMismatch, match="are not those of the online store"):
        FeatureClient.connect(url, lock=lock(tmp_path, features=["plane_legs__legs", DELAY]))


def test_a_definition_that_is_not_what_its_name_says_is_refused(tmp_path):
    url = f"memory://{tmp_path}"
    store = filled(store=open_store(url))
    definition = service_definition(LEGS_SERVICE, {"plane_legs": PLANE_LEGS})
    other, _ = service_definition(service_of(WIDER), {"plane_legs": WIDER}).items(V + 5)
    store.write([Item(pk=other.pk, sk=f"late_arrival@{definition.fingerprint}", version=V + 5, f=other.f)])
    with pytest.raises(StoredSchemaMismatch, match="its content has the fingerprint"):
        FeatureClient.connect(url, lock=lock(tmp_path))
