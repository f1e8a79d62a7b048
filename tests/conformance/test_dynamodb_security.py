"""No credentials where they don't belong, TLS unless told otherwise, and no server but the one that was named."""

import datetime as dt
import io
import ipaddress
import logging
import os
import ssl
import subprocess
import sys
import threading
import traceback
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from featurelayer.errors import ConfigError, FeatureLayerError, OnlineStoreError
from featurelayer.online import Item, open_store
from featurelayer.online.stores.dynamodb.store import DynamoDBStore
from featurelayer.online.stores.dynamodb.transport import TRANSPORTS
from tests.servers.faults import FaultProxy, Refuse
from tests.unit import dbt_projects as made
from tests.unit.warehouses import layer

REPOSITORY = Path(__file__).parents[2]
SECRET, TOKEN = "wJalrXUtnFEMIbPxRfiCYEXAMPLEKEY", "IQoJb3JpZ2luX2VjEXAMPLETOKEN"
# What AWS answers to a wrong signature, as it documents it: the signed request, token and all.
MISMATCH = Refuse(
    "InvalidSignatureException", 400,
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key.\n"
    f"\nThe Canonical String for this request should have been\n'POST\n/\n\nx-amz-security-token:{TOKEN}\n'",
)  # fmt: skip
ITEM = Item(pk='plane["N1"]', sk="legs@0", version=1)


@pytest.fixture
def proxy(moto_endpoint: str) -> Iterator[FaultProxy]:
    with FaultProxy(moto_endpoint) as running:
        yield running


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch, aws_credentials: None) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)


# --- credentials -----------------------------------------------------------------------------------------------------


def test_no_command_prints_or_writes_credentials(tmp_path: Path, proxy: FaultProxy, aws_credentials: None) -> None:
    project = tmp_path / "project"
    layer(project, made.model(online=True, ttl="1 day"))
    entry = {"type": "dynamodb", "table": f"secret-{uuid.uuid4().hex}", "region": "eu-west-1", "timeout": 20}
    store = {"online_store": {"dev": {**entry, "endpoint_url": "{{ env_var('DYNAMODB_ENDPOINT') }}"}}}
    (project / "featurelayer.yml").write_text(yaml.safe_dump({"entities": made.ENTITIES, **store}))
    said = ""

    def run(*command: str, code: int = 0, endpoint: str = proxy.url) -> None:
        nonlocal said
        environment = {**os.environ, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN,
                       "HOME": str(tmp_path),
                       "TMPDIR": str(tmp_path),
                       "PYTHONPATH": str(REPOSITORY), "DYNAMODB_ENDPOINT": endpoint}  # fmt: skip
        here = ["--project-dir", str(project), "--profiles-dir", str(project)]
        done = subprocess.run(
            [sys.executable, "-m", "featurelayer", *command, *here], env=environment, capture_output=True, text=True
        )
        said += done.stdout + done.stderr
        assert done.returncode == code, done.stderr

    run("export", code=1)
    run("online", "create")
    run("export", "--format", "json", "--as-of", "2024-01-01T13:00:00")
    run("lookup", "--service", "late", "--key", "tailnum=N1")
    run("online", "status", "--format", "json")
    proxy.always(MISMATCH)
    run("online", "status", code=1)
    run("export", "--log-format", "json", code=1)
    run("online", "create", code=1, endpoint="http://127.0.0.1:9")
    run("online", "create", code=1, endpoint=f"http://me:{SECRET}@127.0.0.1:9")
    assert "does not match the signature" in said
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert project / "db.duckdb" in found
    for secret in (SECRET, TOKEN):
        assert secret not in said
        assert [path for path in found if secret.encode() in path.read_bytes()] == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_neither_an_error_nor_its_traceback_nor_our_log_has_credentials(secrets, proxy, transport):
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    ours = logging.getLogger("featurelayer")
    ours.addHandler(handler)
    ours.setLevel(logging.DEBUG)
    store = DynamoDBStore("secret", region="eu-west-1", endpoint_url=proxy.url, timeout=5, transport=transport)
    text = repr(store)
    for fault in (MISMATCH, Refuse("UnrecognizedClientException"), Refuse("InternalServerError", 500)):
        proxy.always(fault)
        for use in (lambda: store.read([ITEM.key]), lambda: store.write([ITEM]), store.check):
            with pytest.raises(OnlineStoreError) as caught:
                use()
            text += "".join(traceback.format_exception(caught.value))
    store.close()
    ours.removeHandler(handler)
    assert "does not match the signature" in text
    for secret in (SECRET, TOKEN):
        assert secret not in text + log.getvalue()


@pytest.mark.parametrize("address", [
    f"dynamodb://features?aws_secret_access_key={SECRET}", f"dynamodb://AKIA:{SECRET}@features",
    f"dynamodb://features?endpoint_url=https://me:{SECRET}@host", f"dynamo://features?password={SECRET}",
    f"dynamodb://features?transport=none&token={SECRET}", f"sqlite:///a.db?key={SECRET}",
    f"dynamodb:features?k={SECRET}",
    f"dynamodb://features?region=eu-west-1&endpoint_url=host?{SECRET}",
    f"dynamo://me:{SECRET}@features", f"sqlite://me:{SECRET}@host/a.db?mode=ro",
])  # fmt: skip
def test_a_secret_in_an_address_is_refused_and_not_repeated(address):
    with pytest.raises(FeatureLayerError) as caught:
        open_store(address)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def endpoint_of(store: DynamoDBStore) -> str:
    """Return where the store's calls go."""
    if store._clients._plain:
        transport = store._clients.transport()
        return str(transport._client.meta.endpoint_url)
    connections = store._clients._place().connections
    return f"{'https' if connections._tls else 'http'}://{connections._host}" + (
        "" if connections._port == 443 else f":{connections._port}"
    )


# --- where it connects -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_only_the_address_names_another_server_and_aws_is_reached_by_tls(
    secrets, proxy, tmp_path, monkeypatch, transport
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", proxy.url)
    (tmp_path / "config").write_text(f"[default]\nendpoint_url = {proxy.url}\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    store = DynamoDBStore("features", transport=transport, timeout=0.05)
    assert endpoint_of(store) == "https://dynamodb.eu-west-1.amazonaws.com"
    store.close()
    named = DynamoDBStore("features", endpoint_url=proxy.url, transport=transport)
    assert endpoint_of(named) == proxy.url
    named.close()
    assert proxy.calls == []


@pytest.mark.parametrize(
    "address", ["ftp://host", "host:8000", "http://", "https://host/?x=1", "https://host/#x", "//host"]
)
def test_an_endpoint_that_is_no_server_is_refused(address):
    with pytest.raises(ConfigError, match="endpoint_url"):
        DynamoDBStore("features", endpoint_url=address)


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[str]:
    """A TLS server whose certificate nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = tmp_path / "stranger.pem"
    form = serialization.PrivateFormat.PKCS8
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.path)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()
    assert seen == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_that_nobody_vouches_for_gets_no_request(secrets, stranger, transport):
    store = DynamoDBStore("features", region="eu-west-1", endpoint_url=stranger, timeout=5, transport=transport)
    with pytest.raises(OnlineStoreError, match=r"(?i)certificate(.|\n)*AWS_CA_BUNDLE") as caught:
        store.read([ITEM.key])
    assert not caught.value.retryable
    store.close()


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["moto_endpoint", "dynamodb_local_endpoint"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_key_that_no_item_can_have_is_missing_and_spoils_nothing(request, server, transport):
    """A caller of a service may send any text; one that is too long must not fail the others of its batch."""
    endpoint = request.getfixturevalue(server)
    store = DynamoDBStore(
        f"keys-{uuid.uuid4().hex}", region="eu-west-1", endpoint_url=endpoint, timeout=20, transport=transport
    )
    store.create()
    longest = Item(pk="é" * 1024, sk="s" * 1024, version=1)
    store.write([ITEM, longest])
    too_long = [("é" * 1025, "legs@0"), ("x" * 2049, "legs@0"), (ITEM.pk, "s" * 1025)]
    assert store.read([*too_long, ITEM.key, longest.key]) == {ITEM.key: ITEM, longest.key: longest}
    assert store.read(too_long) == {}
    for pk, sk in too_long:
        with pytest.raises(FeatureLayerError, match="2048"):
            store.write([Item(pk=pk, sk=sk, version=1)])
    store.close()
