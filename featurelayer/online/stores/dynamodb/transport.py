"""The protocol that carries a call to DynamoDB and its answer back, and the log of attempts."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from featurelayer.online.budget import ReadBudget, Usage

TRANSPORTS = ("http", "boto3")
"""The default first."""
ALIASES = {"lean": "http"}
"""What older addresses call them."""

_log = logging.getLogger("featurelayer.online.dynamodb")
_TABLE = re.compile(r'^(?:UPDATE|INSERT INTO) "([^"]+)"')


class Transport(Protocol):
    """Sends the JSON of a request as it is and returns the JSON of the answer. Safe to share between threads."""

    def call(self, operation: str, body: bytes, budget: ReadBudget, usage: Usage) -> bytes:
        """Return the body of the answer to `operation`, after retries; `usage` is told of each call.

        Raises:
            OnlineStoreError: with the type and message of `featurelayer.online.stores.dynamodb.errors.store_error`.
            ConditionRefused: the condition of a write did not hold.
            DeadlineExceeded: the budget is spent. A call never outlasts it.
        """

    def close(self) -> None:
        """Release the resources of this transport."""


def log_attempt(
    operation: str, body: bytes, *, answered: int | None, outcome: object, attempt: int, seconds: float
) -> None:
    """Log one attempt at DEBUG: operation and tables, but never a header, key or value."""
    if not _log.isEnabledFor(logging.DEBUG):
        return
    tables, items = _tables_and_items(msgspec.json.decode(body))
    _log.debug(
        "%s %s items=%d sent=%d received=%s status=%s attempt=%d ms=%.1f",
        operation, ",".join(sorted(tables)) or "-", items, len(body), "-" if answered is None else answered, outcome,
        attempt, seconds * 1000,
    )  # fmt: skip


def request_table(request: Mapping[str, Any], table: str) -> str:
    """Return the table that a request is about, if it is one, else `table`, which may be a template for several."""
    return str(request.get("TableName") or request.get("TableCreationParameters", {}).get("TableName") or table)


def is_logging() -> bool:
    """Return whether the log of attempts is on."""
    return _log.isEnabledFor(logging.DEBUG)


def _tables_and_items(request: dict[str, Any]) -> tuple[set[str], int]:
    if "RequestItems" in request:
        asked = request["RequestItems"]
        return set(asked), sum(len(each["Keys"]) for each in asked.values())
    if "Statements" in request:
        found = (_TABLE.match(each["Statement"]) for each in request["Statements"])
        return {match[1] for match in found if match}, len(request["Statements"])
    return {request["TableName"]} if "TableName" in request else set(), int("Item" in request or "Key" in request)
