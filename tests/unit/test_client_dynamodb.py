"""DynamoDB when it misbehaves, over both transports: a scripted server on loopback answers instead of it."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from featurelayer.errors import (
    CodecError,
    DeadlineExceeded,
    OnlineStoreError,
    StoreNotFound,
    StoreThrottled,
    StoreUnavailable,
)
from featurelayer.export import publish_services
from featurelayer.online import FeatureClient, Item, Written
from featurelayer.online.stores.dynamodb.store import DynamoDBStore
from featurelayer.online.stores.dynamodb.transport import TRANSPORTS
from tests.online_cases import PLANE_LEGS, SERVICE, STATIC_PLANES

pytestmark = pytest.mark.slow

TABLE = "features"
T = datetime(2026, 11, 1, 12, tzinfo=UTC)


def error(code: str, status: int = 400, **more) -> tuple[int, dict]:
    return status, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": f"it says {code}", **more}


class Server:
    """Answers by `self.answer(operation, request)`, which a test replaces; keeps every request."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict]] = []
        self.items: dict[tuple[str, str], dict] = {}
        self.answer = self.store
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                operation = self.headers["X-Amz-Target"].rpartition(".")[2]
                outer.requests.append((operation, request))
                status, body = outer.answer(operation, request)
                content = json.dumps(body).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/x-amz-json-1.0")
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    self.close_connection = True  # the client has given up, which is what some tests are about

            def log_message(self, *_) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def store(self, operation: str, request: dict) -> tuple[int, dict]:
        """Read and write without any condition: enough of DynamoDB for the tests here."""
        if operation == "PutItem":
            item = request["Item"]
            self.items[item["pk"]["S"], item["sk"]["S"]] = item
            return 200, {}
        if operation == "Query":
            values = request["ExpressionAttributeValues"]
            pk, first, last = (values[name]["S"] for name in (":pk", ":first", ":last"))
            found = [item for key, item in sorted(self.items.items()) if key[0] == pk and first <= key[1] <= last]
            return 200, {"Items": found, "Count": len(found)}
        assert operation == "BatchGetItem"
        keys = [(key["pk"]["S"], key["sk"]["S"]) for key in request["RequestItems"][TABLE]["Keys"]]
        found = [self.items[key] for key in keys if key in self.items]
        return 200, {"Responses": {TABLE: found}, "UnprocessedKeys": {}}

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    running = Server()
    yield running
    running.close()


@pytest.fixture(params=TRANSPORTS)
def transport(request) -> str:
    return request.param


@pytest.fixture
def store(server, transport) -> Iterator[DynamoDBStore]:
    opened = DynamoDBStore(TABLE, region="eu-west-1", endpoint_url=server.url, timeout=5, transport=transport)
    yield opened
    opened.close()


def items(count: int) -> list[Item]:
    return [Item(pk=f"a[{number}]", sk="v@0", version=1, event_time=number, f=f"[{number}]") for number in range(count)]


def keys_of(request: dict) -> list[dict]:
    return request["RequestItems"][TABLE]["Keys"]


def test_a_warm_lookup_of_all_views_is_one_http_request(server, store):
    publish_services(store, [SERVICE], {"plane_legs": PLANE_LEGS, "planes": STATIC_PLANES}, 1)
    client = FeatureClient(store)
    requests = [{"tailnum": f"N{number}"} for number in range(50)]
    client.lookup_many("late_arrival", requests)
    server.requests.clear()
    client.lookup_many("late_arrival", requests)
    ((operation, request),) = server.requests
    assert operation == "BatchGetItem"
    assert len(keys_of(request)) == 100
    assert "ConsistentRead" not in request["RequestItems"][TABLE]
    client.lookup_many("late_arrival", requests, consistent=True)
    assert server.requests[-1][1]["RequestItems"][TABLE]["ConsistentRead"] is True


def test_the_views_of_one_entity_are_one_query(server, store):
    publish_services(store, [SERVICE], {"plane_legs": PLANE_LEGS, "planes": STATIC_PLANES}, 1)
    client = FeatureClient(store)
    client.lookup("late_arrival", {"tailnum": "N1"})
    server.requests.clear()
    client.lookup("late_arrival", {"tailnum": "N1"}, consistent=True)
    ((operation, request),) = server.requests
    assert operation == "Query"
    assert request["ConsistentRead"] is True
    assert request["ExpressionAttributeValues"] == {
        ":pk": {"S": 'plane["N1"]'}, ":first": {"S": "plane_legs@0"}, ":last": {"S": "planes@0"},
    }  # fmt: skip


def wide(sk: str, size: int, pk: str = "a[1]") -> Item:
    return Item(pk=pk, sk=sk, version=1, event_time=1, f=f'["{"x" * size}"]')


def test_a_query_that_reads_too_much_is_not_repeated_for_a_while(server, store):
    """What lies between the two views costs more than the Query saves."""
    store.write([wide("a@0", 100), wide("b@0", 9000), wide("c@0", 100), wide("z@0", 9000)])
    keys = [("a[1]", "a@0"), ("a[1]", "c@0")]
    server.requests.clear()
    for _ in range(102):
        assert store.read(keys) == {(pk, sk): wide(sk, 100) for pk, sk in keys}
    assert [operation for operation, _ in server.requests] == ["Query", *["BatchGetItem"] * 100, "Query"]
    server.requests.clear()
    assert store.read([("a[1]", "a@0"), ("a[1]", "b@0")]).keys() == {("a[1]", "a@0"), ("a[1]", "b@0")}
    assert [operation for operation, _ in server.requests] == ["Query"]


def test_a_query_that_stops_at_its_page_leaves_nothing_out(server, store):
    store.write([wide("a@0", 10), wide("c@0", 10)])

    def paged(operation: str, request: dict) -> tuple[int, dict]:
        status, body = server.store(operation, request)
        return status, {"Items": body["Items"][:1], "LastEvaluatedKey": {}} if operation == "Query" else body

    server.answer = paged
    keys = [("a[1]", "a@0"), ("a[1]", "c@0")]
    assert store.read(keys).keys() == set(keys)


def test_a_single_item_and_several_entities_are_batches(server, store):
    server.requests.clear()
    store.read([("a[1]", "a@0")])
    store.read([("a[1]", "a@0"), ("a[2]", "b@0")])
    assert [operation for operation, _ in server.requests] == ["BatchGetItem"] * 2


def test_items_of_somebody_else_are_an_error(server, store):
    foreign = {"pk": {"S": "a[1]"}, "sk": {"S": "v@0"}, "amount": {"N": "1"}}
    server.answer = lambda *_: (200, {"Responses": {TABLE: [foreign]}})
    with pytest.raises(StoreNotFound, match="not a featurelayer store"):
        store.read([("a[1]", "v@0")])


def test_more_than_a_hundred_items_are_read_in_parallel(server, store):
    barrier = threading.Barrier(3, timeout=10)  # breaks unless three calls are under way at once

    def together(operation: str, request: dict) -> tuple[int, dict]:
        barrier.wait()
        return server.store(operation, request)

    store.write(items(250))
    server.answer = together
    assert len(store.read([item.key for item in items(250)])) == 250


def test_unprocessed_keys_are_asked_for_again(server, store):
    store.write(items(10))

    def partial(operation: str, request: dict) -> tuple[int, dict]:
        keys = keys_of(request)
        first, rest = keys[:3], keys[3:]
        _, body = server.store(operation, {"RequestItems": {TABLE: {"Keys": first}}})
        return 200, body | {"UnprocessedKeys": {TABLE: {"Keys": rest}} if rest else {}}

    server.answer = partial
    server.requests.clear()
    assert store.read([item.key for item in items(10)]) == {item.key: item for item in items(10)}
    assert [len(keys_of(request)) for _, request in server.requests] == [10, 7, 4, 1]


def test_keys_that_stay_unprocessed_are_an_error_and_never_missing(server, store):
    server.answer = lambda _, request: (200, {"Responses": {}, "UnprocessedKeys": request["RequestItems"]})
    with pytest.raises(DeadlineExceeded):
        store.read([("a[1]", "v@0")], deadline=time.monotonic() + 2)
    assert len(server.requests) >= 2


def test_a_server_that_hangs_does_not_outlast_the_deadline(server, transport):
    released = threading.Event()
    server.answer = lambda *_: (released.wait(60), (200, {}))[1]
    store = DynamoDBStore(TABLE, region="eu-west-1", endpoint_url=server.url, timeout=60, transport=transport)
    with closing(store), pytest.raises(DeadlineExceeded):
        store.read([("a[1]", "v@0")], deadline=time.monotonic() + 0.2)
    assert not released.is_set()
    released.set()


def test_a_slow_answer_is_tried_twice_and_then_unavailable(server, transport):
    released = threading.Event()
    server.answer = lambda *_: (released.wait(10), (200, {}))[1]
    store = DynamoDBStore(TABLE, region="eu-west-1", endpoint_url=server.url, timeout=0.1, transport=transport)
    with pytest.raises(StoreUnavailable, match="could not be reached") as caught:
        store.read([("a[1]", "v@0")], deadline=time.monotonic() + 30)
    released.set()
    store.close()
    assert caught.value.retryable
    assert "timeout=SECONDS" in str(caught.value)
    assert len(server.requests) == 2


@pytest.mark.parametrize(("answer", "kind", "message", "attempts"), [
    (error("ProvisionedThroughputExceededException"), StoreThrottled, "slow down", 2),
    (error("ThrottlingException"), StoreThrottled, "slow down", 2),
    (error("InternalServerError", 500), StoreUnavailable, "try again", 2),
    ((503, {}), StoreUnavailable, "try again", 2),
    (error("AccessDeniedException"), OnlineStoreError, "access to the table", 1),
    (error("ExpiredTokenException"), OnlineStoreError, "renew", 1),
    (error("ResourceNotFoundException"), StoreNotFound, "there is no table 'features'.*\n.*online create", 1),
    (error("ValidationException", message="The provided key element does not match the schema"), StoreNotFound,
     "not a featurelayer store", 1),
    (error("SomethingNew"), OnlineStoreError, "it says SomethingNew", 1),
])  # fmt: skip
def test_errors_are_ours_and_say_what_to_do(server, store, answer, kind, message, attempts):
    server.answer = lambda *_: answer
    with pytest.raises(kind, match=message) as caught:
        store.read([("a[1]", "v@0")], deadline=time.monotonic() + 30)
    assert type(caught.value) is kind
    assert caught.value.retryable is (kind in (StoreThrottled, StoreUnavailable))
    assert len(server.requests) == attempts
    assert caught.value.code in str(answer) or answer[0] == 503
    assert "very-secret" not in str(caught.value)


def test_a_failed_first_attempt_is_repaired_silently(server, store):
    store.write(items(1))
    outcomes = [error("InternalServerError", 500)]
    server.answer = lambda *call: outcomes.pop() if outcomes else server.store(*call)
    assert list(store.read([("a[0]", "v@0")])) == [("a[0]", "v@0")]


def test_nobody_listens(server, transport):
    store = DynamoDBStore(
        TABLE, region="eu-west-1", endpoint_url="http://127.0.0.1:9", timeout=0.2, transport=transport
    )
    with pytest.raises(StoreUnavailable, match="could not be reached"):
        store.read([("a[1]", "v@0")], deadline=time.monotonic() + 30)
    store.close()


def test_no_region_and_no_credentials(server, monkeypatch, tmp_path, transport):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(OnlineStoreError, match="no AWS region"):
        DynamoDBStore(TABLE, endpoint_url=server.url, transport=transport).read([("a[1]", "v@0")])
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(OnlineStoreError, match="no AWS credentials"):
        DynamoDBStore(TABLE, region="eu-west-1", endpoint_url=server.url, transport=transport).read([("a[1]", "v@0")])


def test_an_item_that_is_too_large_is_named_before_anything_is_sent(server, store):
    large = Item(pk='plane["N1"]', sk="plane_legs@0", version=1, f="é" * 205_000)
    with pytest.raises(CodecError, match=r'plane\["N1"\] of view plane_legs@0.*409,600'):
        store.write([*items(3), large])
    with pytest.raises(CodecError, match="2048 bytes"):
        store.write([Item(pk=f'plane["{"x" * 2100}"]', sk="plane_legs@0", version=1)])
    assert server.requests == []


def test_the_largest_item_that_fits_is_sent(server, store):
    assert store.write([Item(pk="a[1]", sk="v@0", version=1, f="x" * 409_500)]).written == 1


def test_rows_that_are_known_to_lose_or_to_be_equal_are_not_sent(server, store):
    store.write([Item(pk="a[1]", sk="v@0", version=1, event_time=5, f="[1]"),
                 Item(pk="a[2]", sk="v@0", version=9, event_time=5, f="[1]")])  # fmt: skip
    server.requests.clear()
    counts = store.write([Item(pk="a[1]", sk="v@0", version=2, event_time=5, f="[1]"),
                          Item(pk="a[2]", sk="v@0", version=3, event_time=5, f="[2]")])  # fmt: skip
    assert counts == Written(unchanged=1, lost=(("a[2]", "v@0"),))
    assert [operation for operation, _ in server.requests] == ["BatchGetItem"]
    assert server.requests[0][1]["RequestItems"][TABLE]["ConsistentRead"] is True


def conditional(server: Server, there: dict | None):
    """Answer every PutItem as if somebody had written `there` since the batch was read."""

    def answer(operation: str, request: dict) -> tuple[int, dict]:
        if operation == "PutItem":
            return error("ConditionalCheckFailedException", Item=there or request["Item"])
        return server.store(operation, request)

    return answer


def test_a_write_that_lost_a_race_is_refused_and_no_failure(server, store):
    server.answer = conditional(server, {"pk": {"S": "a[0]"}, "sk": {"S": "v@0"}, "_v": {"N": "9"}, "_t": {"N": "0"},
                                         "f": {"S": "[9]"}})  # fmt: skip
    assert store.write(items(2)) == Written(lost=tuple(item.key for item in items(2)))


def test_a_write_whose_answer_was_lost_counts_as_written(server, store):
    server.answer = conditional(server, None)
    assert store.write(items(2)).written == 2


def test_a_write_that_fails_fails_the_export_loudly(server, store):
    server.answer = lambda operation, request: (
        error("AccessDeniedException") if operation == "PutItem" else server.store(operation, request)
    )
    with pytest.raises(OnlineStoreError, match="AccessDenied"):
        store.write(items(20))


def test_an_item_on_the_wire(server, store):
    """The layout that other languages read: it is a format, kept as it is."""
    store.write([
        Item(pk='plane["N1"]', sk="legs@0", version=2, f="[1.5]", schema="5c", as_of=3, event_time=-1, valid_to=4,
             ttl=5),
        Item(pk='plane["N2"]', sk="legs@0", version=2, as_of=3, deleted=True),
    ])  # fmt: skip
    assert server.items['plane["N1"]', "legs@0"] == {
        "pk": {"S": 'plane["N1"]'}, "sk": {"S": "legs@0"}, "f": {"S": "[1.5]"}, "_v": {"N": "2"}, "_t": {"N": "3"},
        "_e": {"N": "-1"}, "_u": {"N": "4"}, "_s": {"S": "5c"}, "ttl": {"N": "5"},
    }  # fmt: skip
    assert server.items['plane["N2"]', "legs@0"]["_d"] == {"BOOL": True}


def test_a_deadline_holds_for_the_whole_lookup(server, store):
    publish_services(store, [SERVICE], {"plane_legs": PLANE_LEGS, "planes": STATIC_PLANES}, 1)
    slow = server.store

    def late(operation: str, request: dict) -> tuple[int, dict]:
        time.sleep(0.15)
        return slow(operation, request)

    server.answer = late
    with pytest.raises(DeadlineExceeded):
        FeatureClient(store).lookup("late_arrival", {"tailnum": "N1"}, now=T, deadline=timedelta(seconds=0.2))
