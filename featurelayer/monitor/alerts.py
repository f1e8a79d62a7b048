"""Tells others when monitors warn or fail: JSON to a webhook or to a program. Not being able to is only a warning."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from featurelayer.monitor.result import MonitorReport
from featurelayer.observed import Status

_LEVELS = {"warn": (Status.WARN, Status.ERROR), "error": (Status.ERROR,)}


def send_alerts(report: MonitorReport, alerts: Mapping[str, Any], project: str, tell: Callable[[str], None]) -> None:
    """Send what is at or above the level of `alerts`, if anything is."""
    wanted = _LEVELS[alerts.get("level", "error")]
    found = [result.to_dict() for result in report.results if result.status in wanted]
    if not found:
        return
    message = {**report.to_dict(), "project": project, "text": _text(report, project), "results": found}
    body = json.dumps(message, ensure_ascii=False).encode()
    timeout = float(alerts.get("timeout", 10))
    if alerts.get("webhook"):
        _post(alerts["webhook"], body, timeout, tell)
    if alerts.get("command"):
        _run(alerts["command"], body, timeout, tell)


def _text(report: MonitorReport, project: str) -> str:
    counts = report.counts
    views = sorted({result.view for result in report.results if result.status in _LEVELS["warn"]})
    return f"featurelayer monitor of {project}: {counts['error']} failed, {counts['warn']} warned: {', '.join(views)}"


def _post(url: str, body: bytes, timeout: float, tell: Callable[[str], None]) -> None:
    headers = {"Content-Type": "application/json", "User-Agent": "featurelayer"}
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 (the contract takes http(s) only)
    try:
        with urllib.request.urlopen(request, timeout=timeout):  # noqa: S310 (as above)
            pass
    except urllib.error.HTTPError as error:
        tell(f"the alert's webhook answered {error.code} {error.reason}")
        error.close()
    except (OSError, ValueError) as error:
        # Its address may hold a secret, so it is not said.
        tell(f"the alert's webhook can't be reached: {getattr(error, 'reason', error)}")


def _run(command: list[str], body: bytes, timeout: float, tell: Callable[[str], None]) -> None:
    try:
        done = subprocess.run(command, input=body, timeout=timeout, capture_output=True, check=False)  # noqa: S603 (the project's own)
    except subprocess.TimeoutExpired:
        tell(f"the alert's command {command[0]} took longer than {timeout:g} seconds and was stopped")
    except OSError as error:
        tell(f"the alert's command {command[0]} can't be run: {error.strerror}")
    else:
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            tell(f"the alert's command {command[0]} ended with {done.returncode}" + (f": {said[-1]}" if said else ""))
