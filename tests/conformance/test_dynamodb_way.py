"""The way to DynamoDB: in-process mocks, proxies, private authorities, odd answers, what the log says, deadlines."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
import logging
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from moto import mock_aws

from featurelayer.errors import (
    ConfigError,
    DeadlineExceeded,
    OnlineStoreError,
    StoreNotFound,
    StoreThrottled,
    StoreUnavailable,
)
from featurelayer.online import Item, open_store
from featurelayer.online.stores.dynamodb.store import DynamoDBStore
from featurelayer.online.stores.dynamodb.transport import TRANSPORTS
from tests.servers.faults import FailStatements, Fault, FaultProxy, Refuse, Wait

ITEM = Item(pk='plane["N1"]', sk="legs@0", version=1, f="[1]")
SECRET = "wJalrXUtnFEMIbPxRfiCYEXAMPLEKEY"


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but those of the test."""
    for name in [name for name in os.environ if name.upper().startswith(("AWS_", "HTTP", "NO_PROXY"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))


# --- mocks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every attempt to resolve a name or to connect is refused and kept."""
    tried: list[Any] = []

    def refuse(*arguments: Any, **_: Any) -> Any:
        tried.append(arguments)
        raise OSError("this test must not reach the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tried


def use(store: DynamoDBStore) -> None:
    store.create()
    assert store.write([ITEM]).written == 1
    later = ITEM.__class__(**{name: getattr(ITEM, name) for name in ITEM.__struct_fields__} | {"version": 2})
    assert store.write([later], rewrite=True).written == 1
    deadline = time.monotonic() + 60
    assert store.read([ITEM.key], deadline=deadline) == {ITEM.key: later}
    assert store.names(ITEM.pk, deadline=deadline) == [ITEM.sk]
    assert [key.pk for key in store.live(ITEM.sk)] == [ITEM.pk]
    assert store.describe()["state"] == "ACTIVE"
    store.remove([ITEM.key], deadline=deadline)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_code_under_mock_aws_gets_the_mock_and_never_the_network(no_network, transport):
    with mock_aws():
        store = open_store(f"dynamodb://features?region=eu-west-1&transport={transport}")
        use(store)
        assert boto3.client("dynamodb", region_name="eu-west-1").list_tables()["TableNames"] == ["features"]
        store.close()
    assert no_network == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_store_that_was_opened_before_the_mock_gets_it_too(no_network, transport):
    store = open_store(f"dynamodb://features?region=eu-west-1&transport={transport}")
    with mock_aws():
        use(store)
    assert no_network == []
    with pytest.raises(OnlineStoreError):  # the mock is over: this is AWS
        store.read([ITEM.key], deadline=time.monotonic() + 20)
    assert no_network != []
    store.close()


def test_a_mock_that_is_imported_after_the_store_was_opened_is_found():
    code = """
import socket, time
from featurelayer.online import open_store
store = open_store("dynamodb://features?region=eu-west-1")
def refuse(*_, **__):
    raise AssertionError("the network")
socket.getaddrinfo = socket.socket.connect = refuse
from moto import mock_aws
with mock_aws():
    store.create()
    assert store.read([("a", "b")], deadline=time.monotonic() + 60) == {}
store.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# --- proxies and authorities -----------------------------------------------------------------------------------------


class ConnectProxy:
    """A proxy that tunnels by CONNECT and passes on whole addresses, if it is told the right password."""

    def __init__(self, password: str = "", status: int = 0, hang: bool = False) -> None:
        self.seen: list[str] = []
        outer = self
        self.closing = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def is_welcome(self) -> bool:
                outer.seen.append(f"{self.command} {self.path}")
                if hang:
                    outer.closing.wait(30)
                wanted = "Basic " + base64.b64encode(f"me:{password}".encode()).decode()
                code = status or (407 if password and self.headers.get("Proxy-Authorization") != wanted else 0)
                if code:
                    self.send_response(code)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    self.close_connection = True
                return not code

            def do_CONNECT(self) -> None:
                if not self.is_welcome():
                    return
                host, _, port = self.path.rpartition(":")
                with socket.create_connection((host, int(port))) as other:
                    self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    while True:
                        ready, _, _ = select.select([self.connection, other], [], [], 0.1)
                        if outer.closing.is_set():
                            break
                        for one in ready:
                            data = one.recv(65536)
                            if not data:
                                self.close_connection = True
                                return
                            (other if one is self.connection else self.connection).sendall(data)
                self.close_connection = True

            def do_POST(self) -> None:
                if not self.is_welcome():
                    return
                assert self.path.startswith("http://")
                assert "Proxy-Authorization" in self.headers or not password
                body = self.rfile.read(int(self.headers["Content-Length"]))
                place = self.path.removeprefix("http://").partition("/")[0]
                import http.client

                connection = http.client.HTTPConnection(place, timeout=30)
                kept = {name: text for name, text in self.headers.items() if not name.lower().startswith("proxy")}
                connection.request("POST", "/", body, kept)
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def proxy_of() -> Iterator[Callable[..., ConnectProxy]]:
    running: list[ConnectProxy] = []

    def start(**options: Any) -> ConnectProxy:
        running.append(ConnectProxy(**options))
        return running[-1]

    yield start
    for each in running:
        each.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A private authority's certificate, and a server's certificate with its key, signed by it."""
    folder = tmp_path_factory.mktemp("authority")
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("private authority", "localhost")]
    made = []
    for index in range(2):
        builder = (
            x509.CertificateBuilder().subject_name(names[index]).issuer_name(names[0])
            .public_key(keys[index].public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - day).not_valid_after(now + day)
            .add_extension(x509.BasicConstraints(ca=index == 0, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(keys[index].public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()), critical=False)
        )  # fmt: skip
        if index:
            hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        made.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    (folder / "authority.pem").write_bytes(made[0])
    form = serialization.PrivateFormat.PKCS8
    key = keys[1].private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(key + made[1])
    return folder / "authority.pem", folder / "server.pem"


@pytest.fixture
def secure(authority: tuple[Path, Path], moto_endpoint: str) -> Iterator[str]:
    """The address of moto behind TLS, signed by the private authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority[1])
    with FaultProxy(moto_endpoint) as running:
        running._http.socket = context.wrap_socket(
            running._http.socket, server_side=True, do_handshake_on_connect=False
        )
        running._http.handle_error = lambda *_: None  # type: ignore[method-assign]
        yield running.url.replace("http:", "https:")


def table_at(endpoint: str) -> str:
    name = f"way-{uuid.uuid4().hex}"
    store = DynamoDBStore(name, region="eu-west-1", endpoint_url=endpoint, timeout=20, transport="boto3")
    store.create()
    store.write([ITEM])
    store.close()
    return name


@pytest.mark.parametrize("through", ["no proxy", "a proxy", "a proxy with a password"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_tls_of_a_private_authority_directly_and_through_a_proxy(
    monkeypatch, secure, authority, moto_endpoint, proxy_of, through, transport
):
    table = table_at(moto_endpoint)
    proxy = proxy_of(password="p@ss:word" if "password" in through else "")
    if through != "no proxy":
        user = "me:p%40ss%3Aword@" if "password" in through else ""
        monkeypatch.setenv("HTTPS_PROXY", f"http://{user}{proxy.address}")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority[0]))
    store = DynamoDBStore(table, region="eu-west-1", endpoint_url=secure, timeout=20, transport=transport)
    for _ in range(3):
        assert store.read([ITEM.key], deadline=time.monotonic() + 60) == {ITEM.key: ITEM}
    assert store.check() is None
    store.close()
    assert len(proxy.seen) == (0 if through == "no proxy" else 1 if transport == "http" else len(proxy.seen))
    assert all(line.startswith("CONNECT 127.0.0.1:") for line in proxy.seen)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_endpoint_without_tls_goes_through_the_http_proxy_and_no_proxy_past_it(
    monkeypatch, moto_endpoint, proxy_of, transport
):
    table = table_at(moto_endpoint)
    proxy = proxy_of(password="secret")
    monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@{proxy.address}")
    store = DynamoDBStore(table, region="eu-west-1", endpoint_url=moto_endpoint, timeout=20, transport=transport)
    assert store.read([ITEM.key], deadline=time.monotonic() + 60) == {ITEM.key: ITEM}
    store.close()
    assert len(proxy.seen) == 1
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    store = DynamoDBStore(table, region="eu-west-1", endpoint_url=moto_endpoint, timeout=20, transport=transport)
    assert store.read([ITEM.key], deadline=time.monotonic() + 60) == {ITEM.key: ITEM}
    store.close()
    assert len(proxy.seen) == 1


@pytest.mark.parametrize(("options", "message", "retryable"), [
    ({"password": "other"}, "HTTP 407", False), ({"status": 403}, "HTTP 403", False),
    ({"status": 503}, "HTTP 503", True),
])  # fmt: skip
def test_a_proxy_that_refuses_is_named_by_its_status_and_its_password_by_nobody(
    monkeypatch, proxy_of, options, message, retryable
):
    proxy = proxy_of(**options)
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{SECRET}@{proxy.address}")
    store = DynamoDBStore("features", region="eu-west-1", endpoint_url="https://localhost:9", timeout=5)
    with pytest.raises(OnlineStoreError, match=message) as caught:
        store.read([ITEM.key], deadline=time.monotonic() + 60)
    assert caught.value.retryable is retryable
    assert SECRET not in str(caught.value)
    store.close()


@pytest.mark.parametrize("proxy", [f"https://me:{SECRET}@proxy:3128", f"socks5://me:{SECRET}@proxy:1080"])
def test_a_proxy_that_only_boto3_can_use_is_refused_at_once(monkeypatch, proxy):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ConfigError, match="transport=boto3") as caught:
        open_store("dynamodb://features?region=eu-west-1")
    assert SECRET not in str(caught.value)


def test_an_endpoint_with_a_path_is_boto3s():
    with pytest.raises(ConfigError, match=r"path(.|\n)*transport=boto3"):
        open_store("dynamodb://features?region=eu-west-1&endpoint_url=http://127.0.0.1:9/path")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_authority_that_is_not_known_is_an_error_that_names_the_setting(secure, transport):
    store = DynamoDBStore("features", region="eu-west-1", endpoint_url=secure, timeout=5, transport=transport)
    with pytest.raises(OnlineStoreError, match=r"certificate verify failed(.|\n)*AWS_CA_BUNDLE") as caught:
        store.read([ITEM.key], deadline=time.monotonic() + 60)
    assert not caught.value.retryable
    store.close()


def test_a_server_without_tls_is_no_network_problem(moto_endpoint):
    endpoint = moto_endpoint.replace("http:", "https:")
    store = DynamoDBStore("features", region="eu-west-1", endpoint_url=endpoint, timeout=5)
    with pytest.raises(OnlineStoreError, match="no trusted TLS connection") as caught:
        store.read([ITEM.key], deadline=time.monotonic() + 60)
    assert not caught.value.retryable
    store.close()


def test_a_bundle_that_is_not_there_is_said_at_once(monkeypatch):
    monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such/file.pem")
    with pytest.raises(ConfigError, match=r"AWS_CA_BUNDLE.*/no/such/file.pem"):
        open_store("dynamodb://features?region=eu-west-1")


@pytest.mark.parametrize(("settings", "host"), [
    ({}, "dynamodb.us-east-1.amazonaws.com"),
    ({"AWS_USE_FIPS_ENDPOINT": "true"}, "dynamodb-fips.us-east-1.amazonaws.com"),
    ({"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "dynamodb.us-east-1.api.aws"),
])  # fmt: skip
def test_the_endpoint_is_botocores(monkeypatch, settings, host):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    store = open_store("dynamodb://features?region=us-east-1")
    place = store._clients._place()
    assert (place.host, place.connections._host, place.connections._port) == (host, host, 443)
    assert place.connections._tls is not None
    store.close()


# --- answers that are not DynamoDB's ---------------------------------------------------------------------------------


@pytest.fixture
def answering() -> Iterator[Callable[[int, bytes], str]]:
    """Start a server that has one answer for everything."""
    running: list[ThreadingHTTPServer] = []

    def start(status: int, body: bytes = b"<html>") -> str:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Location", f"http://elsewhere/?{SECRET}")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("status", "kind", "words"), [
    (302, OnlineStoreError, "redirected"), (307, OnlineStoreError, "redirected"), (400, OnlineStoreError, "refused"),
    (403, OnlineStoreError, "refused"), (404, OnlineStoreError, "refused"), (407, OnlineStoreError, "HTTPS_PROXY"),
    (413, OnlineStoreError, r"too large: \d+ bytes"), (429, StoreThrottled, "slow down"),
    (500, StoreUnavailable, "try again"), (502, StoreUnavailable, "try again"), (503, StoreUnavailable, "try again"),
])  # fmt: skip
def test_every_status_is_an_error_that_says_it(answering, status, kind, words):
    store = DynamoDBStore("features", region="eu-west-1", endpoint_url=answering(status), timeout=5)
    deadline = time.monotonic() + 60
    for call in (
        lambda: store.read([ITEM.key], deadline=deadline),
        lambda: store.write([ITEM], rewrite=True, deadline=deadline),
        lambda: store.names("a", deadline=deadline),
        store.check,
    ):
        with pytest.raises(OnlineStoreError, match=rf"{words}(.|\n)*|HTTP {status}") as caught:
            call()
        assert type(caught.value) is kind
        assert f"HTTP {status}" in str(caught.value)
        assert caught.value.code == str(status)
        assert caught.value.retryable is (kind is not OnlineStoreError)
        assert ("check the network" in str(caught.value)) is False
        assert SECRET not in str(caught.value)
    store.close()


# --- what the log says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_log_has_every_attempt_and_no_key_value_or_header(moto_endpoint, caplog, transport):
    with FaultProxy(moto_endpoint) as proxy:
        name = f"log-{uuid.uuid4().hex}"
        store = DynamoDBStore(name, region="eu-west-1", endpoint_url=proxy.url, timeout=20, transport=transport)
        store.create()
        item = Item(pk='plane["very-private"]', sk="legs@0", version=1, f='["quite-secret"]')
        with caplog.at_level(logging.DEBUG, logger="featurelayer"):
            proxy.script(Refuse("InternalServerError", 500), operation="PutItem")
            store.write([item])
            store.read([(item.pk, f"view{number}@0") for number in range(5)], deadline=time.monotonic() + 60)
            store.read([item.key, ("a", "b@0")], deadline=time.monotonic() + 60)
        store.close()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("featurelayer.online")]
    puts = [line for line in lines if line.startswith(f"PutItem {name} items=1 sent=")]
    if transport == "http":
        assert ["status=500 attempt=1 " in puts[0], "status=200 attempt=2 " in puts[1]] == [True, True]
    else:  # boto3 tells of its attempts together
        assert "status=200 attempt=2 " in puts[0]
    assert [line.split()[:3] for line in lines if "PutItem" not in line] == [
        ["BatchGetItem", name, "items=1"], ["Query", name, "items=0"], ["BatchGetItem", name, "items=2"]]  # fmt: skip
    assert all(" received=" in line and " ms=" in line for line in lines)
    for private in ("very-private", "quite-secret", SECRET, "testing", "authorization"):
        assert private not in " ".join(lines).lower()


# --- deadlines and patience ------------------------------------------------------------------------------------------


def lasted(call: Callable[[], object], kind: type[Exception]) -> float:
    began = time.monotonic()
    with pytest.raises(kind):
        call()
    return time.monotonic() - began


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_no_call_outlives_its_deadline_where_nothing_answers(transport):
    with socket.create_server(("127.0.0.1", 0), backlog=50) as deaf:  # accepts, and never answers
        endpoint = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        store = DynamoDBStore("features", region="eu-west-1", endpoint_url=endpoint, timeout=30, transport=transport)
        store.prepare()
        soon = lambda: time.monotonic() + 0.5  # noqa: E731
        for call in (
            lambda: store.read([ITEM.key], deadline=soon()),
            lambda: store.read([(f"a[{number}]", "v@0") for number in range(250)], deadline=soon()),
            lambda: store.write([ITEM], deadline=soon()),
            lambda: store.write([ITEM] * 60, rewrite=True, deadline=soon()),
            lambda: store.names("a", deadline=soon()),
            lambda: store.remove([ITEM.key], deadline=soon()),
            lambda: store.warm_up(deadline=soon()),
        ):
            assert lasted(call, (DeadlineExceeded, StoreUnavailable)) < 25
        if transport == "http":
            store.close()


def test_a_name_that_does_not_resolve_in_time_is_left_behind(monkeypatch):
    asked: list[str] = []
    go_on = threading.Event()

    def hang(host: str, *_: Any, **__: Any) -> Any:
        asked.append(host)
        go_on.wait(30)
        raise socket.gaierror("no such name")

    store = DynamoDBStore("features", region="eu-west-1")
    store.prepare()
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    for _ in range(3):
        assert lasted(lambda: store.read([ITEM.key], deadline=time.monotonic() + 0.3), OnlineStoreError) < 25
    assert len([host for host in asked if host.endswith("amazonaws.com")]) == 1  # one thread hangs, however many wait
    go_on.set()
    store.close()


@pytest.mark.parametrize("phase", ["handshake", "proxy"])
def test_a_handshake_that_hangs_does_not_outlast_the_deadline(monkeypatch, proxy_of, phase):
    with socket.create_server(("127.0.0.1", 0), backlog=50) as deaf:
        endpoint = f"https://127.0.0.1:{deaf.getsockname()[1]}"
        if phase == "proxy":
            monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy_of(hang=True).address}")
        store = DynamoDBStore("features", region="eu-west-1", endpoint_url=endpoint, timeout=30)
        assert lasted(lambda: store.read([ITEM.key], deadline=time.monotonic() + 0.5), DeadlineExceeded) < 25
        store.close()


@pytest.mark.parametrize(("fault", "kind"), [
    (Refuse("ThrottlingException"), StoreThrottled), (Refuse("InternalServerError", 500), StoreUnavailable),
    (FailStatements("ThrottlingError"), StoreThrottled), (Wait(30), StoreUnavailable),
])  # fmt: skip
def test_patience_ends_when_it_says(dynamodb_local_endpoint: str, fault: Fault, kind: type[OnlineStoreError]) -> None:
    with FaultProxy(dynamodb_local_endpoint) as proxy:
        where = {"region": "eu-west-1", "endpoint_url": proxy.url}
        patient = DynamoDBStore(f"p{uuid.uuid4().hex}", **where)
        store = DynamoDBStore(patient.table, patience=2, **where)
        patient.create()
        items = [Item(pk=f"a[{number}]", sk="v@0", version=1) for number in range(60)]
        patient.write(items[:1], rewrite=True)
        assert patient.write_path == "PartiQL"
        patient.close()
        store._no_partiql = ""  # as it would have found out
        proxy.always(fault)
        took = lasted(lambda: store.write(items[1:], rewrite=True, new=True), kind)
        assert took < 6  # it took five times as long as patience
        store.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_control_calls_and_reads_of_exports_may_be_slow(moto_endpoint, transport):
    with FaultProxy(moto_endpoint) as proxy:
        store = DynamoDBStore(f"p{uuid.uuid4().hex}", region="eu-west-1", endpoint_url=proxy.url, transport=transport)
        store.create()
        store.write([ITEM])
        proxy.always(Wait(1.2))  # three times what a service waits
        store.check()
        assert store.describe()["state"] == "ACTIVE"
        assert store.read([ITEM.key], consistent=True) == {ITEM.key: ITEM}
        assert store.names(ITEM.pk) == [ITEM.sk]
        store.close()


def test_a_control_call_that_no_patience_helps_names_the_settings(moto_endpoint):
    with FaultProxy(moto_endpoint) as proxy:
        store = DynamoDBStore("features", region="eu-west-1", endpoint_url=proxy.url, patience=1)
        proxy.always(Wait(30))
        with pytest.raises(StoreUnavailable, match=r"timeout=SECONDS(.|\n)*patience=SECONDS"):
            store.check()
        store.close()


# --- the first call --------------------------------------------------------------------------------------------------


def test_connecting_finds_everything_and_sends_nothing(moto_endpoint):
    with FaultProxy(moto_endpoint) as proxy:
        store = open_store(f"dynamodb://features?region=eu-west-1&endpoint_url={proxy.url}")
        assert store._clients._place.is_built
        assert proxy.calls == []
        store.close()
        assert store._clients._place.is_built  # it comes back without being found again


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_child_finds_nothing_again(moto_endpoint, transport):
    store = open_store(
        f"dynamodb://{table_at(moto_endpoint)}?region=eu-west-1&endpoint_url={moto_endpoint}&timeout=20&transport={transport}"
    )
    store.warm_up(deadline=time.monotonic() + 60)
    place = store._clients._place
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            found = store.read([ITEM.key], deadline=time.monotonic() + 60)
            os.write(write, json.dumps([place.is_built, len(found)]).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    assert json.loads(os.read(read, 100)) == [transport == "http", 1]
    os.close(read)
    assert len(store.read([ITEM.key], deadline=time.monotonic() + 60)) == 1
    store.close()


def test_warming_up_opens_a_connection_and_says_if_there_is_no_table(moto_endpoint):
    with FaultProxy(moto_endpoint) as proxy:
        store = DynamoDBStore(table_at(moto_endpoint), region="eu-west-1", endpoint_url=proxy.url, timeout=20)
        store.warm_up(deadline=time.monotonic() + 60)
        assert [call.operation for call in proxy.calls] == ["BatchGetItem"]
        assert len(store._clients._place().connections._idle) == 1
        store.close()
        other = DynamoDBStore("no-such-table", region="eu-west-1", endpoint_url=proxy.url, timeout=20)
        with pytest.raises(StoreNotFound, match="no-such-table"):
            other.warm_up(deadline=time.monotonic() + 60)
        other.close()
