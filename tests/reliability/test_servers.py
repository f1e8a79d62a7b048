"""Real web servers from a cold start, 32 requests at once: FastAPI on uvicorn, and gunicorn that preloads and forks."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from threading import Barrier

import pytest

from featurelayer.export import publish_services
from featurelayer.online import open_store
from featurelayer.online.base import find_provisioner
from tests.exporting import export_view
from tests.online_cases import PLANE_LEGS, legs_batch, service_of

pytestmark = pytest.mark.slow

REQUESTS, CONCURRENT, PLANES = 2_000, 32, 50
UVICORN = ("uvicorn", "--factory", "tests.servers.apps:make_api", "--no-access-log", "--port")
GUNICORN = ("gunicorn", "tests.servers.apps:make_wsgi()", "--config", "python:tests.servers.apps", "--preload",
            "--workers", "3", "--threads", "8", "--bind")  # fmt: skip


@pytest.fixture(params=["sqlite", "moto_endpoint", "dynamodb_local_endpoint"])
def store_url(request, tmp_path) -> str:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/online.db"
    else:
        endpoint = request.getfixturevalue(request.param)
        url = f"dynamodb://features-{uuid.uuid4().hex}?region=eu-west-1&endpoint_url={endpoint}&timeout=20"
    now = datetime.now(UTC)
    with closing(open_store(url)) as store:
        find_provisioner(store, ()).create()
        publish_services(store, [service_of(PLANE_LEGS)], {"plane_legs": PLANE_LEGS}, 1)
        legs = [(f"N{number}", now - timedelta(minutes=1), float(number), 1) for number in range(PLANES)]
        export_view(store, PLANE_LEGS, [legs_batch(legs)], as_of=now)
    return url


@contextmanager
def running(command: tuple[str, ...], store_url: str, start: str, log):
    """Yield the port of a server that has answered nothing yet."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = str(port) if command[0] == "uvicorn" else f"127.0.0.1:{port}"
    env = os.environ | {"FEATURELAYER_TEST_STORE": store_url, "FEATURELAYER_TEST_START": start}
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", *command, place], env=env, stdout=output, stderr=output, start_new_session=True
        )
        try:
            wait_for(port, server, log)
            yield port
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait(20)


def wait_for(port: int, server: subprocess.Popen, log) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"nobody listens: {log.read_text()}")


def ask_all(port: int) -> Counter:
    """Send all requests, 32 at a time, the first ones at the same moment; return what became of them."""
    start = Barrier(CONCURRENT)

    def ask(number: int) -> object:
        if number < CONCURRENT:
            start.wait(60)
        plane = number % PLANES
        connection = HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            connection.request("GET", f"/lookup?tailnum=N{plane}")
            answer = connection.getresponse()
            body = json.loads(answer.read())
        finally:
            connection.close()
        return "right" if (answer.status, body) == (200, {"delay": float(plane)}) else (answer.status, str(body)[:300])

    with ThreadPoolExecutor(CONCURRENT) as pool:
        return Counter(pool.map(ask, range(REQUESTS)))


@pytest.mark.parametrize(("command", "start"), [
    pytest.param(UVICORN, "cold", id="fastapi-cold"), pytest.param(UVICORN, "warm", id="fastapi-warm"),
    pytest.param(GUNICORN, "cold", id="gunicorn-cold"), pytest.param(GUNICORN, "warm", id="gunicorn-warm"),
    pytest.param(GUNICORN, "used", id="gunicorn-used-before-the-fork"),
])  # fmt: skip
def test_a_server_answers_everything_from_its_first_request_on(command, start, store_url, tmp_path):
    log = tmp_path / "server.log"
    with running(command, store_url, start, log) as port:
        assert ask_all(port) == {"right": REQUESTS}
    assert "Traceback" not in log.read_text()
