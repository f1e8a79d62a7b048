"""What carries a read to DynamoDB and its answer back; there are two: on boto3 (`boto`) and on sockets (`lean`)."""

from __future__ import annotations

from typing import Protocol

from featurelayer.online.base import ReadBudget, Usage

TRANSPORTS = ("boto3", "lean")


class Transport(Protocol):
    """Sends the JSON of a request as it is and returns the JSON of the answer. Safe to share between threads."""

    longest: float
    """With at least so many seconds left a call ends in time. With fewer, it runs where it can be left behind."""

    def call(self, operation: str, body: bytes, budget: ReadBudget, usage: Usage) -> bytes:
        """Return the body of the answer to `operation`, after retries; `usage` is told of each call.

        Raises:
            OnlineStoreError: with the type and message of `featurelayer.online.aws.store_error`.
            DeadlineExceeded: the budget is spent.
        """

    def close(self) -> None:
        """Release what only this transport uses."""
