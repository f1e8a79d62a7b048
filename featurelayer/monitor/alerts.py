"""Send alerts when monitors warn or fail: JSON to a webhook or a program. A failed delivery is only a warning."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPException, InvalidURL
from typing import Any

from featurelayer.callbacks import Notify
from featurelayer.monitor.result import MonitorReport
from featurelayer.monitor_records import MonitorStatus

_LEVELS = {"warn": (MonitorStatus.WARN, MonitorStatus.ERROR), "error": (MonitorStatus.ERROR,)}


def send_alerts(report: MonitorReport, alerts: Mapping[str, Any], project: str, notify: Notify) -> None:
    """Send the results at or above the level of `alerts`, if there are any."""
    wanted = _LEVELS[alerts.get("level", "error")]
    results = [result.to_dict() for result in report.results if result.status in wanted]
    if not results:
        return
    message = {**report.to_dict(), "project": project, "text": _summary_text(report, project), "results": results}
    body = json.dumps(message, ensure_ascii=False).encode()
    timeout = float(alerts.get("timeout", 10))
    if alerts.get("webhook"):
        _post_webhook(alerts["webhook"], body, timeout, notify)
    if alerts.get("command"):
        _run_command(alerts["command"], body, timeout, notify)


def _summary_text(report: MonitorReport, project: str) -> str:
    counts = report.counts
    views = sorted({result.view for result in report.results if result.status in _LEVELS["warn"]})
    return f"featurelayer monitor of {project}: {counts['error']} failed, {counts['warn']} warned: {', '.join(views)}"


def _post_webhook(url: str, body: bytes, timeout: float, notify: Notify) -> None:
    """Send JSON by one POST; warn about any answer but a 2xx, without the address, which may be a secret."""
    headers = {"Content-Type": "application/json", "User-Agent": "featurelayer"}
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 (the contract takes http(s) only)
    try:
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=timeout):
            return
    except urllib.error.HTTPError as error:
        error.close()
        reason = f"the webhook answered {_format_status(error.code)}"
        if 300 <= error.code < 400:
            reason += "; redirects are not followed, set monitors.alerts.webhook to the final address"
    except TimeoutError:
        reason = _timeout_reason(timeout)
    except urllib.error.URLError as error:
        slow = isinstance(error.reason, TimeoutError)
        reason = _timeout_reason(timeout) if slow else f"the webhook can't be reached: {error.reason}"
    except OSError as error:
        reason = f"the webhook closed the connection: {error.strerror or type(error).__name__}"
    except HTTPException as error:  # its text may quote the address
        what = "its address is not valid" if isinstance(error, InvalidURL) else "its answer is not HTTP"
        reason = f"the webhook can't be used: {what}"
    except ValueError:
        reason = "the webhook can't be used: its address is not valid"
    notify(f"the alert was not delivered: {reason}")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer: following it would send a GET to an address that was not configured."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


def _format_status(code: int) -> str:
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def _timeout_reason(timeout: float) -> str:
    return f"the webhook did not answer within {timeout:g} seconds"


def _run_command(command: list[str], body: bytes, timeout: float, notify: Notify) -> None:
    try:
        done = subprocess.run(command, input=body, timeout=timeout, capture_output=True, check=False)  # noqa: S603 (the project's own)
    except subprocess.TimeoutExpired:
        notify(f"the alert's command {command[0]} took longer than {timeout:g} seconds and was stopped")
    except OSError as error:
        notify(f"the alert's command {command[0]} can't be run: {error.strerror}")
    else:
        if done.returncode:
            errors = done.stderr.decode(errors="replace").strip().splitlines()
            notify(
                f"the alert's command {command[0]} ended with {done.returncode}" + (f": {errors[-1]}" if errors else "")
            )
