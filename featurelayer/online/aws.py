"""boto3 at arm's length: clients with every setting explicit, bodies read once, errors of ours.

Imported only by the DynamoDB store, so that nobody else pays for boto3.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import Any

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)

from featurelayer.errors import OnlineStoreError, StoreNotFound, StoreThrottled, StoreUnavailable

_parse = msgspec.json.Decoder().decode

# The store's own code -> what we raise, and what to do about it.
_CODES: dict[str, tuple[type[OnlineStoreError], str]] = {
    "ProvisionedThroughputExceededException": (StoreThrottled, "slow down, or give the table more throughput"),
    "ThrottlingException": (StoreThrottled, "slow down; an on-demand table needs minutes to grow"),
    "RequestLimitExceeded": (StoreThrottled, "slow down, or ask for a higher account limit"),
    "LimitExceededException": (StoreThrottled, "too many table operations at once; wait a minute"),
    "InternalServerError": (StoreUnavailable, "try again"),
    "InternalFailure": (StoreUnavailable, "try again"),
    "ServiceUnavailable": (StoreUnavailable, "try again"),
    "ServiceUnavailableException": (StoreUnavailable, "try again"),
    "RequestTimeout": (StoreUnavailable, "try again"),
    "ResourceNotFoundException": (
        StoreNotFound, "create it with `featurelayer online create`, or check the table's name, region and account",
    ),
    "AccessDeniedException": (OnlineStoreError, "give the role access to the table"),
    "UnrecognizedClientException": (OnlineStoreError, "check the AWS credentials"),
    "InvalidSignatureException": (OnlineStoreError, "check the AWS credentials and this machine's clock"),
    "ExpiredTokenException": (OnlineStoreError, "renew the AWS credentials"),
}  # fmt: skip


class Clients:
    """The boto3 clients and threads of one process: one client tuned to serve, one to export."""

    def __init__(
        self, table: str, *, region: str | None, endpoint_url: str | None, timeout: float, threads: int
    ) -> None:
        self._table, self._region, self._endpoint_url = table, region, endpoint_url
        self._timeout, self._threads = timeout, threads
        self._pid, self._lock = 0, Lock()
        self._clients: dict[bool, Any] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._session: Any = None

    @property
    def serving(self) -> Any:
        """Two attempts and short timeouts: a slow answer is as bad as none."""
        return self._client(exporting=False)

    @property
    def exporting(self) -> Any:
        """Patient: throttling is normal while an on-demand table grows."""
        return self._client(exporting=True)

    @property
    def pool(self) -> ThreadPoolExecutor:
        with self._lock:
            self._forget_parent()
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="featurelayer-dynamodb")
            return self._pool

    def close(self) -> None:
        """Close connections and stop the threads; they come back when they are used."""
        with self._lock:
            self._forget_parent()
            if self._pool is not None:
                self._pool.shutdown(wait=True, cancel_futures=True)
            for client in self._clients.values():
                client.close()
            self._pool, self._clients = None, {}

    def _client(self, *, exporting: bool) -> Any:
        with self._lock:  # making a client is not thread-safe in boto3
            self._forget_parent()
            if exporting not in self._clients:
                self._clients[exporting] = self._new_client(exporting=exporting)
            return self._clients[exporting]

    def _forget_parent(self) -> None:
        # Sockets and threads of a parent process are of no use after a fork.
        if self._pid != os.getpid():
            self._pid, self._clients, self._pool, self._session = os.getpid(), {}, None, None

    def _new_client(self, *, exporting: bool) -> Any:
        timeout = max(self._timeout, 10.0) if exporting else self._timeout
        config = Config(
            retries={"mode": "standard", "total_max_attempts": 8 if exporting else 2},
            connect_timeout=timeout,
            read_timeout=timeout,
            max_pool_connections=max(self._threads, 10),
            tcp_keepalive=True,
            parameter_validation=False,
        )
        with aws_errors(self._table):
            # One session for both clients: it keeps the description of the service, which is slow to load.
            self._session = self._session or boto3.session.Session(region_name=self._region)
            client = self._session.client("dynamodb", endpoint_url=self._endpoint_url, config=config)
        client.meta.events.register("before-parse.dynamodb.BatchGetItem", _keep_body)
        return client


def _keep_body(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Keep botocore from parsing a good answer, which takes most of a lookup's time; errors it parses as ever."""
    if response_dict["status_code"] == 200:
        customized_response_dict["FeatureLayerBody"] = response_dict["body"]
        response_dict["body"] = b"{}"


def batch_get(client: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Return DynamoDB's own JSON for a BatchGetItem, read by msgspec."""
    response: dict[str, Any] = client.batch_get_item(RequestItems=request)
    body = response.get("FeatureLayerBody")
    # Without the hook (a botocore that has no such event) the parsed answer has the same shape.
    answer: dict[str, Any] = response if body is None else _parse(body)
    return answer


@contextmanager
def aws_errors(table: str) -> Iterator[None]:
    """Raise our errors for botocore's, with the original as the cause."""
    try:
        yield
    except ClientError as error:
        raise _client_error(error, table) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise OnlineStoreError(f"no AWS credentials for table '{table}'\n  fix  log in, or set AWS_PROFILE") from error
    except NoRegionError as error:
        fix = "add ?region=... to the store's address, or set AWS_REGION"
        raise OnlineStoreError(f"no AWS region is set\n  fix  {fix}") from error
    except (HTTPClientError, ConnectionError) as error:
        fix = "check the network, and the region or endpoint_url of the store's address"
        raise StoreUnavailable(f"DynamoDB could not be reached for table '{table}': {error}\n  fix  {fix}") from error
    except (BotoCoreError, ValueError) as error:
        raise OnlineStoreError(f"DynamoDB can't be used for table '{table}': {error}") from error


def error_code(error: ClientError) -> str:
    """Return DynamoDB's own code of an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _client_error(error: ClientError, table: str) -> OnlineStoreError:
    code = error_code(error)
    message = str(error.response.get("Error", {}).get("Message", ""))
    if code == "ValidationException":
        # Names and sizes are checked before anything is sent; what is left to be invalid is the table's own key.
        return StoreNotFound(
            f"the table '{table}' is not a featurelayer store: {message}\n"
            "  fix  its key must be pk (text, partition) and sk (text, sort); `featurelayer online create` makes one",
            code=code,
        )
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind, fix = _CODES.get(code, (StoreUnavailable, "try again") if status >= 500 else (OnlineStoreError, ""))
    what = f"there is no table '{table}'" if kind is StoreNotFound else f"DynamoDB, table '{table}': {message}"
    return kind(f"{what} ({code})" + (f"\n  fix  {fix}" if fix else ""), code=code)
