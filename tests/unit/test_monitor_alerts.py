"""A webhook of alerts, against servers that answer anything but what was hoped for."""

from __future__ import annotations

import socket
import threading

import pytest

from featurelayer.monitor import MonitorReport
from featurelayer.monitor.alerts import send_alerts
from featurelayer.monitor_records import MonitorResult, MonitorStatus
from tests.unit.test_monitor import AT, listening

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("status", [204, 301, 302, 303, 307, 308, 304, 400, 404, 429, 500, 503, 599])
def test_only_a_2xx_answer_counts_as_delivered(status: int) -> None:
    with listening(200) as (elsewhere, followed), listening(status, location=elsewhere) as (url, got):
        told: list[str] = []
        send_alerts(failing_report(), {"webhook": url}, "shop", told.append)
    assert len(got) == 1
    assert followed == []
    if status == 204:
        assert told == []
        return
    (line,) = told
    assert line.startswith(f"the alert was not delivered: the webhook answered {status}")
    assert ("redirects are not followed" in line) == (300 <= status < 400)
    assert "secret" not in line


@pytest.mark.parametrize("answer", [b"no HTTP at all\r\n\r\n", b"", b"HTTP/1.1 2"], ids=["noise", "nothing", "part"])
def test_a_webhook_that_breaks_off_is_reported(answer: bytes) -> None:
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_once() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=answer_once)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/hook/secret"
        send_alerts(failing_report(), {"webhook": url}, "shop", told.append)
        thread.join()
    (line,) = told
    assert line.startswith("the alert was not delivered: the webhook ")
    assert "secret" not in line


def failing_report() -> MonitorReport:
    result = MonitorResult(
        monitor="null_rate", view="legs", feature="gust", metric="share of NULL", value=1.0,
        status=MonitorStatus.ERROR, meaning="100.0% of 720 rows",
    )  # fmt: skip
    return MonitorReport(run="1", at=AT, results=(result,), profiles=(), contexts=())
