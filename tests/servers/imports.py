"""ImportTable as moto runs it, brought nearer to AWS."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from featurelayer.online.stores.dynamodb import s3_import as imports
from tests.servers.faults import FaultProxy


def as_aws_imports(monkeypatch: pytest.MonkeyPatch, proxy: FaultProxy) -> threading.Event:
    """Have moto read a quote inside a text, which its own parser can't, and end no import before it was asked for.

    The event is set when a file has been imported. Polling is quick.
    """
    ended = threading.Event()

    class JsonLines:
        @staticmethod
        def parse(original: str) -> Iterator[dict[str, Any]]:
            until = time.monotonic() + 30
            while time.monotonic() < until and not any(call.operation == "DescribeImport" for call in proxy.calls):
                time.sleep(0.005)
            yield from (json.loads(line) for line in original.split("\n") if line)
            ended.set()

    monkeypatch.setattr("py_partiql_parser.JsonParser", JsonLines)
    monkeypatch.setattr(imports, "_POLL_SECONDS", 0.01)
    return ended
