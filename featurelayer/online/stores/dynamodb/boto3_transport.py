"""DynamoDB by plain boto3: nothing of its own, and as slow as boto3 is. For in-process mocks and unusual setups."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from botocore import xform_name
from botocore.exceptions import ClientError

from featurelayer.online.budget import ReadBudget, Usage
from featurelayer.online.stores.dynamodb.errors import ConditionRefused, map_aws_errors, unreachable_error
from featurelayer.online.stores.dynamodb.transport import is_logging, log_attempt, request_table

_json = msgspec.json.Encoder().encode


class Boto3Transport:
    """A `Transport` on a boto3 client of DynamoDB; a call that must end in time runs where it can be left behind."""

    def __init__(self, client: Any, table: str, *, threads: int, patience: float) -> None:
        self._client, self._table, self._patience = client, table, patience
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="featurelayer-boto3")

    def call(self, operation: str, body: bytes, budget: ReadBudget, usage: Usage) -> bytes:
        """Return the answer, written as JSON again."""
        left = budget.remaining()
        future = self._threads.submit(self._call, operation, body, usage)
        try:
            return future.result(self._patience if left is None else min(left, self._patience))
        except TimeoutError:
            future.cancel()
            budget.remaining()
            raise unreachable_error(self._table, f"no answer within {self._patience:g} seconds") from None

    def close(self) -> None:
        """Close the client and stop the threads, but for those that were left behind."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _call(self, operation: str, body: bytes, usage: Usage) -> bytes:
        size: int | None = None
        retries, outcome, began = 0, 0, time.monotonic()
        try:
            request = msgspec.json.decode(body)
            with map_aws_errors(request_table(request, self._table), operation):
                response = getattr(self._client, xform_name(operation))(**request)
            facts = response.pop("ResponseMetadata", {})
            retries, outcome = facts.get("RetryAttempts", 0), facts.get("HTTPStatusCode", 0)
            answer = _json(response)
            size = len(answer)
            return answer
        except Exception as error:
            refusal = error.__cause__ if isinstance(error.__cause__, ClientError) else None
            if refusal is not None:
                facts = refusal.response.get("ResponseMetadata", {})
                retries, outcome = facts.get("RetryAttempts", 0), facts.get("HTTPStatusCode", 0)
                if refusal.response["Error"].get("Code") == "ConditionalCheckFailedException":
                    item = refusal.response.get("Item")
                    raise ConditionRefused(str(error), item=item, retried=retries > 0) from refusal
            raise
        finally:
            usage.add(bytes=size or 0, retries=retries)
            if is_logging():
                log_attempt(operation, body, answered=size, outcome=outcome or "none", attempt=retries + 1,
                            seconds=time.monotonic() - began)  # fmt: skip
