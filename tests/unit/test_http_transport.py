"""The default transport: signed as botocore signs, and connections that behave when the other end does not."""

import json
import os
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, RefreshableCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.errors import DeadlineExceeded, OnlineStoreError
from featurelayer.online.budget import ReadBudget, Usage
from featurelayer.online.stores.dynamodb.connections import BODY_LIMIT, ConnectionPool, HttpError
from featurelayer.online.stores.dynamodb.http_transport import CredentialCache, HttpTransport
from featurelayer.online.stores.dynamodb.signing import host_header, sign_headers
from featurelayer.online.stores.dynamodb.store import DynamoDBStore
from tests.profiles import examples

pytestmark = pytest.mark.slow

# --- signatures ------------------------------------------------------------------------------------------------------

printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
hosts = st.from_regex(r"[a-z][a-z0-9-]{0,20}(\.[a-z]{2,8}){0,3}", fullmatch=True)


@given(
    host=hosts, port=st.sampled_from(["", ":8000"]), region=st.from_regex(r"[a-z]{2}-[a-z]{4,9}-[1-9]", fullmatch=True),
    operation=st.sampled_from(["BatchGetItem", "Query"]), body=st.binary(max_size=300),
    at=st.datetimes(datetime(2015, 1, 1), datetime(2099, 1, 1)), access=printable, secret=printable,
    token=st.none() | printable,
)  # fmt: skip
@settings(max_examples=examples(300))
def test_the_signature_is_botocores(host, port, region, operation, body, at, access, secret, token):
    target = f"DynamoDB_20120810.{operation}"
    ours = sign_headers(host=f"{host}{port}", region=region, target=target, body=body, at=at.replace(tzinfo=UTC),
                          access_key=access, secret_key=secret, token=token)  # fmt: skip
    request = AWSRequest("POST", f"https://{host}{port}/", data=body,
                         headers={"Content-Type": ours["content-type"], "X-Amz-Target": target})  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: at)
        botocore.auth.SigV4Auth(Credentials(access, secret, token), "dynamodb", region).add_auth(request)
    assert ours["authorization"] == request.headers["Authorization"]
    assert ours["x-amz-date"] == request.headers["X-Amz-Date"]
    assert ours.get("x-amz-security-token") == request.headers.get("X-Amz-Security-Token")


@pytest.mark.parametrize(("url", "host"), [
    ("https://dynamodb.eu-west-1.amazonaws.com", "dynamodb.eu-west-1.amazonaws.com"), ("https://host:443/", "host"),
    ("http://host:80", "host"), ("http://host:443", "host:443"), ("http://[::1]:8000", "[::1]:8000"),
])  # fmt: skip
def test_the_host_is_named_as_it_is_signed(url, host):
    assert host_header(url) == host


# --- a server that does what a test says -----------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
Answer = bytes | Callable[[socket.socket], None] | None


class Peer:
    """Accepts connections; each request gets the next answer of the connection's script, then the connection closes.

    Bytes are sent, a function is called with the socket, and None closes at once.
    """

    def __init__(self, *scripts: list[Answer], tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._scripts, self._tls = list(scripts), tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection, list(script)), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection: socket.socket, script: list[Answer]) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as lines:
                for answer in script:
                    head = b""
                    while (line := lines.readline()) not in (b"\r\n", b""):
                        head += line
                    if not head:
                        return
                    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                    self.requests.append(head + lines.read(length))
                    if answer is None:
                        return
                    if callable(answer):
                        answer(connection)
                    else:
                        connection.sendall(answer)
        except OSError:
            pass  # the client has given up

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)


@contextmanager
def peer(*scripts: list[Answer], **options) -> Iterator[Peer]:
    running = Peer(*scripts, **options)
    yield running
    running.close()


def pool_of(server: Peer, **options) -> ConnectionPool:
    return ConnectionPool("127.0.0.1", server.port, tls=None, idle=options.pop("idle", 4))


def post(pool: ConnectionPool, *, timeout: float = 5, **options):
    return pool.post({"host": "x"}, b"{}", timeout=timeout, **options)


# --- connections -----------------------------------------------------------------------------------------------------


def test_connections_are_kept_and_the_last_used_is_used_next():
    with peer([OK] * 3) as server:
        pool = pool_of(server)
        assert [post(pool).body for _ in range(3)] == [b"{}"] * 3
        assert server.connections == 1
        assert server.requests[0] == b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n{}"
        pool.close()


def test_a_connection_that_was_closed_while_idle_is_seen_and_replaced():
    with peer([OK], [OK]) as server:
        pool = pool_of(server)
        post(pool)
        kept = pool._idle[0]
        deadline = time.monotonic() + 60
        while kept.is_usable() and time.monotonic() < deadline:  # the peer's goodbye is on its way
            time.sleep(0.005)
        assert not kept.is_usable()
        assert post(pool).status == 200
        assert (server.connections, len(server.requests)) == (2, 2)
        pool.close()


def test_a_kept_connection_that_breaks_before_it_answers_is_replaced_once():
    with peer([OK, None], [OK]) as server:
        pool = pool_of(server)
        post(pool)
        assert post(pool).status == 200
        assert len(server.requests) == 3
        pool.close()
    with peer([None]) as server, pytest.raises((HttpError, ConnectionError)):  # a fresh one is not replaced
        post(pool_of(server))


def test_a_kept_connection_that_breaks_within_its_answer_is_an_error():
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"
    with peer([OK, half], [OK]) as server:
        pool = pool_of(server)
        post(pool)
        with pytest.raises(HttpError, match="not complete"):
            post(pool)
        assert server.connections == 1


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    OK + b"HTTP/1.1 200 OK",
])  # fmt: skip
def test_a_connection_that_is_not_good_for_more_is_not_kept(answer):
    with peer([answer], [OK]) as server:
        pool = pool_of(server)
        assert post(pool).body == b"{}"
        assert not pool._idle
        assert post(pool).body == b"{}"
        pool.close()


def test_no_more_connections_are_kept_than_said():
    barrier = threading.Barrier(3, timeout=10)

    def together(connection: socket.socket) -> None:
        barrier.wait()
        connection.sendall(OK)

    with peer([together]) as server:
        pool = pool_of(server, idle=2)
        threads = [threading.Thread(target=post, args=(pool,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.connections == 3
        assert len(pool._idle) == 2
        pool.close()


CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\n{"a"\r\n3\r\n:1}\r\n0\r\nX-Trailer: 1\r\n\r\n'


@pytest.mark.parametrize(("answer", "body"), [
    (CHUNKED, b'{"a":1}'), (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"{}"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
])  # fmt: skip
def test_answers_of_every_form_are_read_however_they_are_cut(answer, body):
    def cut(connection: socket.socket) -> None:
        for position in range(len(answer)):
            connection.sendall(answer[position : position + 1])

    with peer([answer, cut, answer]) as server:
        pool = pool_of(server)
        assert [post(pool).body for _ in range(3)] == [body] * 3
        assert server.connections == 1
        pool.close()


@pytest.mark.parametrize("answer", [
    b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n{}", b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n{}" % (BODY_LIMIT + 1),
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n{}\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n{}\r\n" % (BODY_LIMIT + 1),
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}xx",
    b"HTTP/1.1 200 OK\r\nx: " + b"x" * 70_000,
])  # fmt: skip
def test_what_is_no_answer_is_an_error_and_its_connection_is_closed(answer):
    with peer([answer]) as server:
        pool = pool_of(server)
        with pytest.raises(HttpError):
            post(pool)
        assert not pool._idle


def test_an_answer_that_drips_does_not_outlast_the_timeout_nor_the_end():
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000:
            if stop.wait(0.02):
                return
            connection.sendall(bytes([byte]))

    with peer([drip]) as server:
        for options in ({"timeout": 0.2}, {"timeout": 5, "until": time.monotonic() + 0.5}):
            started = time.monotonic()
            with pytest.raises(TimeoutError):
                post(pool_of(server), **options)
            assert time.monotonic() - started < 15  # it would take 20 seconds
        stop.set()


# --- the transport ---------------------------------------------------------------------------------------------------


def transport_to(port: int, *, credentials=None, timeout: float = 5, attempts: int = 2, **options) -> HttpTransport:
    return HttpTransport(
        "features", host=f"127.0.0.1:{port}", region="eu-west-1", timeout=timeout, attempts=attempts,
        keys=CredentialCache(lambda: credentials or Credentials("key", "very-secret", "token")),
        connections=ConnectionPool("127.0.0.1", port, tls=None, idle=4), **options,
    )  # fmt: skip


def http(status: int, body: dict | bytes, **headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\n{lines}Content-Length: {len(content)}\r\n\r\n".encode() + content


def refusal(code: str, status: int = 400, **headers: str) -> bytes:
    return http(status, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "it says so"}, **headers)


def call(transport: HttpTransport, until: float | None = None) -> tuple[bytes, Usage]:
    usage = Usage()
    return transport.call("BatchGetItem", b"{}", ReadBudget(until), usage), usage


def test_a_session_token_is_sent_and_nothing_asks_for_compression():
    with peer([OK]) as server:
        transport = transport_to(server.port)
        call(transport)
        head = server.requests[0].decode().lower()
        assert "\r\nx-amz-security-token: token\r\n" in head
        assert f"\r\nhost: 127.0.0.1:{server.port}\r\n" in head
        assert "accept-encoding" not in head
        assert "very-secret" not in head
        transport.close()


def test_credentials_are_renewed_as_botocore_renews_them():
    made = iter(range(10))

    def fresh() -> dict[str, str]:
        expiry = datetime.now(UTC) + timedelta(seconds=1)
        return {"access_key": f"key{next(made)}", "secret_key": "s", "token": "t", "expiry_time": expiry.isoformat()}

    credentials = RefreshableCredentials.create_from_metadata(fresh(), fresh, "test")
    with peer([OK] * 3) as server:
        transport = transport_to(server.port, credentials=credentials)
        for _ in range(3):
            call(transport)
        used = [request.decode().partition("Credential=")[2].partition("/")[0] for request in server.requests]
        assert used == ["key1", "key2", "key3"]  # each is about to expire
        transport.close()


def test_a_wrong_clock_is_set_right_by_the_servers_and_stays_so():
    server_time = datetime.now(UTC) + timedelta(hours=2)
    skewed = refusal("InvalidSignatureException", Date=format_datetime(server_time, usegmt=True))
    with peer([skewed, OK, OK]) as server:
        transport = transport_to(server.port)
        assert call(transport)[1].retries == 1
        call(transport)
        signed = [request.decode().partition("x-amz-date: ")[2][:16] for request in server.requests]
        times = [datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) for text in signed]
        assert abs(times[0] - server_time) > timedelta(hours=1)
        assert all(abs(moment - server_time) < timedelta(minutes=1) for moment in times[1:])
        transport.close()


@pytest.mark.parametrize("date", [lambda: None, lambda: "yesterday", lambda: format_datetime(datetime.now(UTC), True)])
def test_a_wrong_key_is_not_mistaken_for_a_wrong_clock(date):
    headers = {"Date": text} if (text := date()) else {}
    with peer([refusal("InvalidSignatureException", **headers)] * 2) as server:
        transport = transport_to(server.port)
        with pytest.raises(OnlineStoreError, match="check the AWS credentials") as caught:
            call(transport)
        assert len(server.requests) == 1
        assert "very-secret" not in str(caught.value)
        transport.close()


def test_a_wrong_clock_is_corrected_once():
    dates = [format_datetime(datetime.now(UTC) + timedelta(hours=hours), usegmt=True) for hours in (2, 4, 6)]
    later = [refusal("RequestTimeTooSkewed", Date=date) for date in dates]
    with peer(later) as server:
        transport = transport_to(server.port)
        with pytest.raises(OnlineStoreError):
            call(transport)
        assert len(server.requests) == 2
        transport.close()


@pytest.mark.parametrize("first", [
    http(200, b"{}", x_amz_crc32="1"), http(503, b"<html>"), http(500, b"[]"), refusal("ThrottlingException"),
    b"garbage\r\n\r\n", http(200, b'{"half":')[:-4],
])  # fmt: skip
def test_one_bad_answer_is_repaired(first):
    with peer([first], [OK]) as server:
        transport = transport_to(server.port)
        body, usage = call(transport)
        assert (body, usage.retries, len(server.requests)) == (b"{}", 1, 2)
        transport.close()


def test_a_retry_that_the_deadline_has_no_time_for_is_not_made(monkeypatch):
    monkeypatch.setattr("featurelayer.retry.random.uniform", lambda *_: 60.0)
    with peer([refusal("ThrottlingException")] * 2, [OK]) as server:
        transport = transport_to(server.port)
        with pytest.raises(DeadlineExceeded):
            call(transport, time.monotonic() + 30)
        assert len(server.requests) == 1
        transport.close()


@pytest.mark.parametrize("transport", ["http", "boto3", "lean"])
@pytest.mark.parametrize("operation", ["BatchGetItem", "Query"])
def test_what_arrives_is_signed_as_botocore_signs(transport, operation, monkeypatch):
    for name, value in (("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("SESSION_TOKEN", "token")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    keys = [("a[1]", "v@0"), ("a[1]", "w@0")] if operation == "Query" else [("a[1]", "v@0")]
    with peer([http(200, {"Responses": {}, "Items": []})]) as server:
        store = DynamoDBStore("features", region="eu-west-1", endpoint_url=f"http://127.0.0.1:{server.port}",
                              timeout=5, transport=transport)  # fmt: skip
        store.read(keys, deadline=time.monotonic() + 30)
        store.close()
    head, _, body = server.requests[0].partition(b"{")
    lines = [line.partition(": ") for line in head.decode().split("\r\n")[1:] if line]
    names = [name.lower() for name, _, _ in lines]
    assert len(names) == len(set(names))
    sent = {name.lower(): value for name, _, value in lines}
    assert sent["x-amz-target"].endswith(operation)
    signed = sent["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert {"host", "x-amz-date", "x-amz-target", "x-amz-security-token"} <= set(signed)
    ours = {name: sent[name] for name in ("content-type", "x-amz-target")}
    request = AWSRequest("POST", f"http://{sent['host']}/", data=b"{" + body, headers=ours)
    with pytest.MonkeyPatch.context() as patch:
        at = datetime.strptime(sent["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        patch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: at)
        botocore.auth.SigV4Auth(Credentials("key", "secret", "token"), "dynamodb", "eu-west-1").add_auth(request)
    assert sent["authorization"] == request.headers["Authorization"]


@pytest.mark.parametrize("transport", ["http", "boto3", "lean"])
def test_a_child_process_does_not_use_its_parents_connection(transport, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    empty = http(200, {"Responses": {"features": []}})
    with peer([empty] * 4) as server:
        store = DynamoDBStore("features", region="eu-west-1", endpoint_url=f"http://127.0.0.1:{server.port}",
                              timeout=5, transport=transport)  # fmt: skip
        store.read([("a[1]", "v@0")])
        store._clients._building.acquire()  # as if another thread were just making a client
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python's general advice against forks beside threads
            child = os.fork()
        if child == 0:
            ended = 2
            try:
                ended = int(store.read([("a[1]", "v@0")]) != {})
            finally:
                os._exit(ended)
        store._clients._building.release()
        assert os.waitpid(child, 0)[1] == 0
        assert server.connections == 2
        store.read([("a[1]", "v@0")])
        assert server.connections == 2
        store.close()


# --- credentials -----------------------------------------------------------------------------------------------------


def renewing(good_for: timedelta, renewed: Callable[[], dict[str, str]]) -> RefreshableCredentials:
    """Credentials that are good for so long by now."""
    return RefreshableCredentials.create_from_metadata(metadata("first", good_for), renewed, "test")


def metadata(key: str, good_for: timedelta = timedelta(hours=1)) -> dict[str, str]:
    expiry = (datetime.now(UTC) + good_for).isoformat()
    return {"access_key": key, "secret_key": "s", "token": "t", "expiry_time": expiry}


def test_a_renewal_that_hangs_does_not_outlast_the_deadline_and_is_made_once():
    go_on, asked = threading.Event(), []

    def renewed() -> dict[str, str]:
        asked.append(1)
        go_on.wait(30)
        return metadata("second")

    credentials = renewing(timedelta(seconds=1), renewed)
    keys = CredentialCache(lambda: credentials)
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            keys(ReadBudget(started + 0.2))
        assert time.monotonic() - started < 25  # it would take 30 seconds
    assert len(asked) == 1
    go_on.set()
    assert keys(ReadBudget(time.monotonic() + 30)).access_key == "second"


def test_keys_that_are_good_for_minutes_are_used_while_they_are_renewed():
    go_on = threading.Event()

    def renewed() -> dict[str, str]:
        go_on.wait(30)
        return metadata("second")

    credentials = renewing(timedelta(minutes=12), renewed)
    keys = CredentialCache(lambda: credentials)
    keys._known = Credentials("first", "s", "t").get_frozen_credentials()
    assert keys(ReadBudget(time.monotonic() + 30)).access_key == "first"
    go_on.set()
    until = time.monotonic() + 30
    while keys(ReadBudget(until)).access_key != "second":
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_child_that_was_forked_while_keys_were_renewed_finds_them_again():
    began, go_on = threading.Event(), threading.Event()

    def renewed() -> dict[str, str]:
        began.set()
        go_on.wait(30)
        return metadata("second")

    found = iter([renewing(timedelta(seconds=1), renewed), Credentials("again", "s", "t")])
    keys = CredentialCache(lambda: next(found))
    keys._renewal.start()
    assert began.wait(30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        ended = 2
        try:
            ended = int(keys(ReadBudget(time.monotonic() + 20)).access_key != "again")
        finally:
            os._exit(ended)
    assert os.waitpid(child, 0)[1] == 0
    go_on.set()
    assert keys(ReadBudget(time.monotonic() + 30)).access_key == "second"
