"""One suite for every online store: what `featurelayer/online/stores/` holds is found and tested.

A store that needs a server is tested against each of its servers, named in SERVERS by the fixture of its address; any
other gets `<scheme>:///<temporary path>`.
"""

import random
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from featurelayer.errors import DeadlineExceeded, StoreNotFound
from featurelayer.export import publish_services
from featurelayer.online import FeatureClient, Item, OnlineStore, Status, Written, open_store
from featurelayer.online.base import LiveKey, StoreProvisioner, find_provisioner
from featurelayer.online.stores import store_schemes
from featurelayer.online.streaming import read_log_entries
from tests.exporting import export_view, exporter_of, intend, snapshot_of
from tests.online_cases import PLANE_LEGS, SERVICE, STATIC_PLANES, legs_batch, planes_batch

# Far ahead, because DynamoDB Local does delete what its TTL says is garbage.
T = datetime(2100, 11, 1, 12, tzinfo=UTC)
OF_SERVICE = ("plane_legs@0", "planes@0")


# moto always; DynamoDB Local, which is closer to the real thing, where its licence is accepted.
SERVERS = {"dynamodb": ("moto_endpoint", "dynamodb_local_endpoint")}
# One table, or one per view.
TABLES = {"dynamodb": ("", "-{view}")}
FLAVOURS = [
    pytest.param(
        (scheme, server, tables),
        id="-".join(filter(None, (scheme, server.removesuffix("_endpoint"), tables and "per-view"))),
    )
    for scheme in store_schemes()
    for server in SERVERS.get(scheme, ("",))
    for tables in TABLES.get(scheme, ("",))
]

PER_VIEW = [flavour for flavour in FLAVOURS if flavour.values[0][2]]


def dynamodb_address(endpoint: str, tables: str) -> str:
    # moto takes half a second for what DynamoDB does in milliseconds, hence the timeout.
    return f"dynamodb://features-{uuid.uuid4().hex}{tables}?region=eu-west-1&endpoint_url={endpoint}&timeout=20"


@pytest.fixture(params=FLAVOURS)
def store_url(request: pytest.FixtureRequest, tmp_path) -> str:
    scheme, server, tables = request.param
    return dynamodb_address(request.getfixturevalue(server), tables) if server else f"{scheme}:///{tmp_path / 'online'}"


@pytest.fixture
def views() -> tuple[str, ...]:
    """The views that a test's store is made for, where each has a table of its own."""
    return ("legs@0",)


@pytest.fixture
def store(store_url: str, views: tuple[str, ...]) -> Iterator[OnlineStore]:
    opened = open_store(store_url)
    find_provisioner(opened, views).create()
    yield opened
    opened.close()


def row(pk='plane["N1"]', *, e: int | None = 100, v: int = 1, f: str = "[1]", sk: str = "legs@0", **more) -> Item:
    return Item(pk=pk, sk=sk, event_time=e, version=v, f=f, schema="5c", as_of=7, **more)


def tombstone(*, v: int) -> Item:
    return Item(pk='plane["N1"]', sk="legs@0", version=v, as_of=7, ttl=99, deleted=True)


def stored(store: OnlineStore, item: Item) -> Item | None:
    return store.read([item.key], consistent=True).get(item.key)


def test_every_store_is_an_online_store(store):
    assert isinstance(store, OnlineStore)


def test_items_come_back_as_they_were_written(store):
    items = [
        row(),
        row('plane["\\u0000é😀\u2028\\"\\\\"]', f='["é😀 \\u0000 \u2028",null,-0.0]', ttl=5, valid_to=2**53 + 1),
        row('plane["static"]', e=None, v=2**53 + 1),
        row('plane["old"]', e=-62135596800000000, v=0),
        Item(pk='plane["gone"]', sk="legs@0", version=3, deleted=True),
        row('plane["streamed"]', streamed=True),
        Item(pk="#schema", sk="5c", version=0, f='{"features":[]}'),
    ]
    assert store.write(items).written == len(items)
    assert store.read([item.key for item in items], consistent=True) == {item.key: item for item in items}


@pytest.mark.parametrize("views", [("legs@0", "other@0")])
def test_what_is_not_there_is_left_out_and_nothing_is_asked_twice(store):
    store.write([row()])
    keys = [row().key, ('plane["N2"]', "legs@0"), ('plane["N1"]', "other@0"), row().key]
    assert list(store.read(keys)) == [row().key]
    assert store.read([]) == {}


def test_more_keys_than_any_call_may_have(store):
    items = [row(f"plane[{number}]", f=f"[{number}]") for number in range(250)]
    assert store.write(items) == Written(written=250, bytes=sum(item.size for item in items))
    assert store.read([item.key for item in items]) == {item.key: item for item in items}


EXPORT_OVER_EXPORT = [
    # what is there, what comes, wins: the newest run is the truth, whatever event its row is of
    ((100, 1), (101, 1), False),
    ((100, 1), (100, 2), True),
    ((100, 2), (101, 1), False),  # an older run that sleeps, and whose newer row was deleted since
    ((101, 1), (100, 2), True),  # the newer row was deleted upstream, or corrected to an older event
    ((100, 2), (100, 1), False),
    ((100, 1), (100, 1), False),
    ((None, 1), (None, 2), True),
    ((None, 2), (None, 1), False),
    ((100, 1), (None, 2), True),  # a view became static
    ((None, 2), (100, 1), False),
    ((None, 1), (100, 2), True),
]
WITH_STREAMED = [
    ((100, 1), (101, 1), True),
    ((100, 1), (100, 2), True),
    ((100, 2), (101, 1), True),
    ((101, 1), (100, 2), False),  # a newer event that the one that comes has not seen
    ((100, 2), (100, 1), False),
    ((100, 1), (100, 1), False),
    ((None, 1), (100, 2), True),
    ((None, 2), (100, 1), False),
    ((100, 1), (None, 2), True),
]
NEWER_WINS = [
    *((*case, False, False, False) for case in EXPORT_OVER_EXPORT),
    *((*case, *flags) for case in WITH_STREAMED for flags in ((True, False, False), (False, True, False))),
    *((*case, True, True, False) for case in WITH_STREAMED),
    # with rewind the version alone decides
    *(
        ((101, 1), (100, 2), True, old, new, True)
        for old, new in ((False, False), (True, False), (False, True), (True, True))
    ),
    ((101, 2), (100, 1), False, False, False, True),
    ((99, 2), (100, 1), False, True, False, True),
]


@pytest.mark.parametrize("store_url", [each for each in FLAVOURS if each not in PER_VIEW], indirect=True)
@pytest.mark.parametrize("rewrite", [False, True])
@pytest.mark.parametrize(("there", "comes", "wins", "was_streamed", "is_streamed", "rewind"), NEWER_WINS)
def test_newer_wins(store, there, comes, wins, was_streamed, is_streamed, rewind, rewrite):
    old = row(e=there[0], v=there[1], f='["old"]', streamed=was_streamed)
    new = row(e=comes[0], v=comes[1], f='["new"]', streamed=is_streamed)
    store.write([old])
    counts = store.write([new], rewind=rewind, rewrite=rewrite)
    assert (counts.written, counts.refused, counts.unchanged) == ((1, 0, 0) if wins else (0, 1, 0))
    assert counts.lost == (() if wins else (new.key,))
    assert stored(store, old) == (new if wins else old)


@pytest.mark.parametrize("store_url", PER_VIEW, indirect=True)
@pytest.mark.parametrize("rewrite", [False, True])
def test_newer_wins_in_a_table_per_view(store, rewrite):
    """The same cases, each with a key of its own: making tables for each would take its time."""
    for number, (there, comes, wins, was_streamed, is_streamed, rewind) in enumerate(NEWER_WINS):
        old = row(f"plane[{number}]", e=there[0], v=there[1], f='["old"]', streamed=was_streamed)
        new = row(f"plane[{number}]", e=comes[0], v=comes[1], f='["new"]', streamed=is_streamed)
        store.write([old])
        assert store.write([new], rewind=rewind, rewrite=rewrite).lost == (() if wins else (new.key,))
        assert stored(store, old) == (new if wins else old)


def test_a_tombstone_removes_what_its_export_has_seen(store):
    """Its event time is that of the row it removes; without one, as an erasure leaves it, the version alone decides."""
    cases = [
        # what is there, what comes, wins: a tombstone of event `e` over a value, or a streamed value over it
        (row(e=101, v=1), Item(pk="", sk="", version=2, event_time=100, deleted=True), True),
        (row(e=101, v=1, streamed=True), Item(pk="", sk="", version=9, event_time=100, deleted=True), False),
        (row(e=101, v=1, streamed=True), Item(pk="", sk="", version=9, event_time=101, deleted=True), True),
        (row(e=101, v=1, streamed=True), Item(pk="", sk="", version=9, deleted=True), True),
        (row(e=101, v=9, streamed=True), Item(pk="", sk="", version=1, deleted=True), False),
        (row(f="", e=100, v=5, deleted=True), row(e=101, v=4, streamed=True), True),
        (row(f="", e=100, v=5, deleted=True), row(e=99, v=9, streamed=True), False),
        (row(f="", e=100, v=5, deleted=True), row(e=99, v=9), True),
    ]
    for number, (there, comes, wins) in enumerate(cases):
        old, new = (msgspec.structs.replace(item, pk=f"plane[{number}]", sk="legs@0") for item in (there, comes))
        store.write([old])
        for rewrite in (True, False):
            done = store.write([new], rewrite=rewrite)
            assert done.lost == (() if wins else (new.key,)), (number, rewrite)
            assert stored(store, old) == (new if wins else old), (number, rewrite)


@pytest.mark.parametrize("new", [False, True])
def test_a_write_that_does_not_look_first_counts_each_outcome(store, new):
    """What exports use: everything older is replaced, said to be new or not."""
    store.write([row("plane[1]"), row("plane[2]", v=9), row("plane[3]", valid_to=8, ttl=5)])
    items = [
        row("plane[1]"), row("plane[2]", v=2, f="[2]"), row("plane[3]", v=2), row("plane[4]"), row("plane[5]", e=None),
    ]  # fmt: skip
    counts = store.write(items, rewrite=True, new=new)
    assert (counts.written, counts.refused, counts.unchanged) == (3, 1, 1)
    assert counts.lost == (("plane[2]", "legs@0"),)
    assert counts.bytes == sum(item.size for item in items[2:])
    kept = {item.key: item for item in [*items[2:], row("plane[1]"), row("plane[2]", v=9)]}
    assert store.read([item.key for item in items], consistent=True) == kept


@pytest.mark.parametrize("new", [False, True])
def test_thousands_are_written_whether_they_are_there_or_not(store, new):
    def rows(numbers, v):
        return [row(f"plane[{number}]", v=v, f=f"[{number},{v}]") for number in numbers]

    assert store.write(rows(range(0, 130, 2), 1), rewrite=True, new=new).written == 65
    assert store.write(rows(range(130), 2), rewrite=True, new=new) == Written(
        written=130, bytes=sum(item.size for item in rows(range(130), 2))
    )
    assert store.read([item.key for item in rows(range(130), 2)], consistent=True) == {
        item.key: item for item in rows(range(130), 2)
    }


def test_a_tombstone_holds_against_older_rows_and_gives_way_to_newer_ones(store):
    store.write([row(e=100, v=1)])
    assert store.write([tombstone(v=5)]).written == 1
    assert store.write([row(e=900, v=4)]).refused == 1
    assert stored(store, row()) == tombstone(v=5)
    assert store.write([row(e=100, v=6)]).written == 1
    assert store.write([tombstone(v=5)]).refused == 1
    assert stored(store, row()) == row(e=100, v=6)


def test_writing_twice_is_writing_once(store):
    items = [row(), row('plane["N2"]', e=None)]
    store.write(items)
    assert store.write(items) == Written(unchanged=2)
    assert store.write([row(v=2), row('plane["N2"]', e=None, v=2)]) == Written(unchanged=2)
    assert stored(store, row()).same_content(row())


def test_a_full_write_renews_what_is_unchanged(store):
    store.write([row(v=1)])
    assert store.write([row(v=2)], rewind=True, rewrite=True).written == 1
    assert store.write([row(v=2)], rewind=True, rewrite=True).unchanged == 1
    assert stored(store, row()).version == 2


@pytest.mark.parametrize("change", [{"f": "[2]"}, {"valid_to": 8}])
def test_whatever_a_reader_sees_is_a_change(store, change):
    store.write([row(v=1)])
    new = row(**{"v": 2, **change})
    assert store.write([new]).written == 1
    assert stored(store, row()) == new


def test_one_call_counts_each_outcome(store):
    store.write([row("plane[1]"), row("plane[2]", v=9), row("plane[3]")])
    new = row("plane[3]", v=2, f="[3]"), row("plane[4]")
    counts = store.write([row("plane[1]"), row("plane[2]", v=2, f="[2]"), *new])
    assert (counts.written, counts.refused, counts.unchanged) == (2, 1, 1)
    assert counts.bytes == sum(item.size for item in new)


@pytest.mark.parametrize("views", [("legs@0", "legs@1")])
def test_live_keys_are_those_of_one_view_without_tombstones(store):
    store.write([row("plane[1]", v=4), row("plane[2]", e=None), row("plane[3]"), row("plane[4]", sk="legs@1")])
    store.write([Item(pk="plane[3]", sk="legs@0", version=2, deleted=True)])
    assert sorted(store.live("legs@0"), key=lambda live: live.pk) == [
        LiveKey("plane[1]", 4, 100), LiveKey("plane[2]", 1, None),
    ]  # fmt: skip


def test_names_under_a_definition_are_sorted(store):
    store.write([Item(pk="#service", sk=name, version=1, f="{}") for name in ("b", "a@1f", "a")])
    store.write([Item(pk="#schema", sk="z", version=1, f="{}"), row()])
    assert store.names("#service") == ["a", "a@1f", "b"]
    assert store.names("#nothing") == []


def test_what_is_removed_leaves_no_trace(store):
    items = [Item(pk="#log#legs@0#1", sk=name, version=1, f="{}") for name in ("1", "2", "3")]
    store.write([*items, row()])
    store.remove([items[0].key, items[2].key, ("#log#legs@0#1", "never")])
    store.remove([])
    assert store.names("#log#legs@0#1") == ["2"]
    assert store.read([item.key for item in [*items, row()]], consistent=True) == {
        items[1].key: items[1], row().key: row(),
    }  # fmt: skip
    assert store.write([items[0]]).written == 1


@pytest.mark.parametrize("views", [OF_SERVICE])
def test_a_client_writes_between_exports_and_what_it_wrote_is_in_the_log(store):
    publish_services(store, [SERVICE], {"plane_legs": PLANE_LEGS, "planes": STATIC_PLANES}, 1)
    client = FeatureClient(store)
    at = datetime.now(UTC)
    legs = [{"tailnum": f"N{number}", "arr_delay": float(number), "legs": 2**53 + number, "landed_at": at}
            for number in range(30)]  # fmt: skip
    assert client.write("plane_legs", legs).written == 30
    assert client.write("plane_legs", legs[:2]).unchanged == 2
    older = legs[0] | {"landed_at": at - timedelta(seconds=1), "arr_delay": 9.0}
    assert client.write("plane_legs", [older, legs[1] | {"arr_delay": None}]).refused == (0,)
    client.write("planes", [{"tailnum": "N1", "seats": 150}])
    first, second = client.lookup_many("late_arrival", [{"tailnum": "N0"}, {"tailnum": "N1"}], consistent=True)
    assert first.to_list() == [0.0, 2**53, None]
    assert second.to_list() == [None, 2**53 + 1, 150]
    assert len(list(read_log_entries(store, "plane_legs@0"))) == 34
    # An export that has not seen the newer event leaves it; one that has takes over.
    export_view(store, PLANE_LEGS, [legs_batch([("N0", at - timedelta(hours=1), 7.0, 7)])], as_of=at)
    assert client.lookup("late_arrival", {"tailnum": "N0"}, consistent=True)["plane_legs__legs"] == 2**53
    later = at + timedelta(seconds=1)
    export_view(store, PLANE_LEGS, [legs_batch([("N0", later, 8.0, 8)])], as_of=later)
    assert client.lookup("late_arrival", {"tailnum": "N0"}, consistent=True)["plane_legs__legs"] == 8


def test_racing_writers_leave_the_newest(store):
    versions = list(range(1, 41))
    random.Random(4).shuffle(versions)
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda v: store.write([row(e=None, v=v, f=f"[{v}]")]), versions))
    assert stored(store, row()) == row(e=None, v=40, f="[40]")
    assert sum(count.written + count.refused for count in counts) == 40


@pytest.mark.parametrize("new", [False, True])
def test_racing_writers_that_do_not_look_first_leave_the_newest(request, store, new):
    if request.node.callspec.params["store_url"][1] == "moto_endpoint":
        pytest.skip("moto answers {} now and then when a key is read and written at once")
    versions = list(range(1, 41))
    random.Random(5).shuffle(versions)

    def write(v: int) -> Written:
        item = Item(pk='plane["N1"]', sk="legs@0", version=v, deleted=True) if v % 3 == 0 else row(v=v, e=100 - v)
        return store.write([item], rewrite=True, new=new, rewind=item.deleted)

    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(write, versions))
    assert stored(store, row()) == row(v=40, e=60)
    assert sum(count.written + count.refused + count.unchanged for count in counts) == 40


def test_a_deadline_that_has_passed_is_an_error_and_never_a_gap(store):
    store.write([row()])
    passed = time.monotonic() - 1
    for done, call in (
        ("read", lambda: store.read([row().key], deadline=passed)),
        ("read", lambda: store.names("#service", deadline=passed)),
        ("read", lambda: store.warm_up(deadline=passed)),
        ("written", lambda: store.write([row(v=2, f="[2]")], deadline=passed)),
        ("written", lambda: store.write([row(v=2, f="[2]")], rewrite=True, deadline=passed)),
        ("removed", lambda: store.remove([row().key], deadline=passed)),
    ):
        with pytest.raises(DeadlineExceeded, match=f"before every item was {done}; allow it more time"):
            call()
    assert stored(store, row()) == row()


def test_a_deadline_far_away_changes_nothing(store):
    later = time.monotonic() + 60
    store.warm_up(deadline=later)
    assert store.write([row()], deadline=later).written == 1
    assert store.read([row().key], consistent=True, deadline=later) == {row().key: row()}
    store.write([Item(pk="#log#legs@0#1", sk="1", version=1, f="{}")], rewrite=True, new=True, deadline=later)
    assert store.names("#log#legs@0#1", deadline=later) == ["1"]
    store.remove([("#log#legs@0#1", "1")], deadline=later)
    assert store.names("#log#legs@0#1", deadline=later) == []


def test_a_store_that_is_warm_reads_at_once(store):
    store.write([row()])
    store.close()
    store.warm_up()
    assert stored(store, row()) == row()


def test_a_store_that_was_never_made_is_empty_or_says_how_to_make_it(store_url):
    store = open_store(store_url)
    found, advice = {}, "featurelayer"
    try:
        found = store.read([row().key])
    except StoreNotFound as error:
        advice = str(error)
    finally:
        store.close()
    assert found == {}
    assert "featurelayer" in advice


def test_making_a_store_again_keeps_what_is_in_it(store, views):
    store.write([row()])
    assert find_provisioner(store, views).create().created is False
    find_provisioner(store, views).check()
    assert stored(store, row()) == row()


def test_a_store_says_what_it_is(store, views):
    assert isinstance(store, StoreProvisioner)
    store.write([row()])
    facts = find_provisioner(store, views).describe()
    assert facts["type"] == type(store).__name__.removesuffix("Store").lower()
    assert (facts["items"], facts.get("problems", [])) == (1, [])
    assert isinstance(facts["bytes"], int)  # moto says 0


def test_a_closed_store_opens_again(store):
    store.write([row()])
    store.close()
    assert stored(store, row()) == row()


@pytest.mark.parametrize("views", [OF_SERVICE])
def test_a_view_goes_in_by_export_and_comes_out_by_lookup(store):
    version = int(T.timestamp() * 1e6)
    publish_services(store, [SERVICE], {"plane_legs": PLANE_LEGS, "planes": STATIC_PLANES}, version)
    legs = legs_batch([("N1", T - timedelta(hours=1), 12.5, 3), ("N2", T - timedelta(days=3), 1.0, None),
                       ("N3", T, None, 2**63 - 1), ("N4", T, 4.0, 4)])  # fmt: skip
    first = export_view(store, PLANE_LEGS, [legs], as_of=T)
    assert (first.rows, first.written, first.refused, first.tombstones) == (4, 4, 0, 0)
    export_view(store, STATIC_PLANES, [planes_batch([("N1", 150)])], as_of=T)

    client = FeatureClient(store)
    requests = [{"tailnum": name} for name in ("N1", "N2", "N3", "N9")] + [{"tailnum": None}]
    present, expired, null, missing, keyless = client.lookup_many("late_arrival", requests, now=T)
    assert present.to_dict() == {"plane_legs__arr_delay": 12.5, "plane_legs__legs": 3, "planes__seats": 150}
    assert present.features["plane_legs__arr_delay"].age == timedelta(hours=1)
    assert present.features["planes__seats"].age is None
    assert expired.to_list() == [0.0, None, None]
    assert expired.features["plane_legs__legs"].status is Status.EXPIRED
    assert null.to_list() == [None, 2**63 - 1, None]
    assert null.features["plane_legs__arr_delay"].status is Status.NULL
    assert missing.to_list() == keyless.to_list() == [0.0, None, None]
    assert {feature.status for feature in missing.features.values()} == {Status.MISSING}

    # The same again writes nothing; a later snapshot writes the change and a tombstone, and the expired row is let be.
    again = export_view(store, PLANE_LEGS, [legs], as_of=T)
    assert (again.written, again.unchanged, again.tombstones, again.bytes) == (0, 4, 0, 0)
    later = T + timedelta(hours=1)
    changed = legs_batch([("N1", T, 20.0, 5), ("N4", T, 4.0, 4)])
    second = export_view(store, PLANE_LEGS, [changed], as_of=later)
    assert (second.written, second.unchanged, second.tombstones) == (1, 1, 1)
    after = client.lookup_many("late_arrival", requests, now=later, consistent=True)
    assert [vector["plane_legs__arr_delay"] for vector in after] == [20.0, 0.0, 0.0, 0.0, 0.0]
    assert after[2].features["plane_legs__arr_delay"].status is Status.MISSING

    # An older run that wakes up late changes nothing.
    sleeper = exporter_of(store)
    old = intend(sleeper, store, snapshot_of(PLANE_LEGS, [legs], later), version=0)
    export_view(store, PLANE_LEGS, [changed], as_of=later + timedelta(hours=1))
    late = sleeper.finish(old)
    assert (late.written, late.superseded) == (0, True)
    assert client.lookup("late_arrival", {"tailnum": "N1"}, now=later)["plane_legs__arr_delay"] == 20.0
