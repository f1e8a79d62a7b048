"""boto3 at arm's length: clients with every setting explicit, bodies written and read once, errors of ours.

Imported only by the DynamoDB store, so that nobody else pays for boto3.
"""

from __future__ import annotations

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
from featurelayer.online.base import ReadBudget, Usage
from featurelayer.online.forks import renew_after_fork
from featurelayer.online.transport import Transport

# The reads whose bodies we write and read ourselves, with what botocore is given to find the endpoint by.
_STAND_INS: dict[str, dict[str, Any]] = {"BatchGetItem": {"RequestItems": {}}, "Query": {}}
_json = msgspec.json.Encoder().encode

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
    """The boto3 clients, transports and threads of one process: one client tuned to serve, one to export.

    `transport` says how a serving process reads: `boto3`, or `lean` (see `featurelayer.online.lean`).
    """

    def __init__(
        self,
        table: str,
        *,
        region: str | None,
        endpoint_url: str | None,
        timeout: float,
        threads: int,
        transport: str = "boto3",
    ) -> None:
        self._table, self._region, self._endpoint_url = table, region, endpoint_url
        self._timeout, self._threads, self._lean = timeout, threads, transport == "lean"
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Start with nothing."""
        self._lock = Lock()
        self._clients: dict[bool, Any] = {}
        self._transports: dict[bool, Transport] = {}
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

    def transport(self, *, exporting: bool = False) -> Transport:
        """Return what reads go through."""
        known = self._transports.get(exporting)
        if known is None:
            client = self._client(exporting=exporting)
            with self._lock:
                known = self._transports.setdefault(exporting, self._new_transport(client, exporting=exporting))
        return known

    @property
    def pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                # Callers that can't wait leave their calls behind here, so there are more threads than connections.
                self._pool = ThreadPoolExecutor(4 * self._threads, thread_name_prefix="featurelayer-dynamodb")
            return self._pool

    def close(self) -> None:
        """Close connections and stop the threads; they come back when they are used."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=True, cancel_futures=True)
            for transport in self._transports.values():
                transport.close()
            for client in self._clients.values():
                client.close()
            self._pool, self._transports, self._clients = None, {}, {}

    def _client(self, *, exporting: bool) -> Any:
        known = self._clients.get(exporting)
        if known is None:
            with self._lock:  # making a client is not thread-safe in boto3
                known = self._clients.get(exporting)
                if known is None:
                    known = self._clients[exporting] = self._new_client(exporting=exporting)
        return known

    def _new_transport(self, client: Any, *, exporting: bool) -> Transport:
        if exporting or not self._lean:
            return BotoTransport(client, self._table)
        from featurelayer.online.lean import LeanTransport

        with aws_errors(self._table):
            return LeanTransport(
                self._table,
                endpoint_url=client.meta.endpoint_url,
                region=client.meta.region_name,
                credentials=self._session.get_credentials(),
                timeout=self._timeout,
                idle=self._threads,
            )

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
        for operation in _STAND_INS:
            client.meta.events.register(f"provide-client-params.dynamodb.{operation}", _take_body)
            client.meta.events.register(f"before-call.dynamodb.{operation}", _give_body)
            client.meta.events.register(f"before-parse.dynamodb.{operation}", _keep_body)
        return client


def _take_body(params: dict[str, Any], context: dict[str, Any], **_: Any) -> dict[str, Any] | None:
    """Put a body that is ready aside, so that botocore has nothing to write."""
    if "FeatureLayerBody" not in params:
        return None
    context["FeatureLayerBody"] = params["FeatureLayerBody"]
    return {name: value for name, value in params.items() if name != "FeatureLayerBody"}


def _give_body(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    if "FeatureLayerBody" in context:
        params["body"] = context["FeatureLayerBody"]


def _keep_body(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Keep botocore from parsing a good answer, which takes most of a lookup's time; errors it parses as ever."""
    if response_dict["status_code"] == 200:
        customized_response_dict["FeatureLayerBody"] = response_dict["body"]
        response_dict["body"] = b"{}"


class BotoTransport:
    """A `Transport` on a boto3 client: its credentials, retries, proxies, mocks and errors all work."""

    # Its timeouts are for each piece that arrives, so an answer that drips may take any time.
    holds_deadlines = False

    def __init__(self, client: Any, table: str) -> None:
        self._table = table
        self._operations = {"BatchGetItem": client.batch_get_item, "Query": client.query}

    def call(self, operation: str, body: bytes, budget: ReadBudget, usage: Usage) -> bytes:
        """Return the body of the answer; `budget` only stops a call that has not begun."""
        budget.left()
        retries = 0
        answer = b""
        try:
            with aws_errors(self._table):
                response = self._operations[operation](FeatureLayerBody=body, **_STAND_INS[operation])
            retries = response.pop("ResponseMetadata", {}).get("RetryAttempts", 0)
            # Without the hook (a botocore that has no such event) the parsed answer has the same shape.
            answer = response["FeatureLayerBody"] if "FeatureLayerBody" in response else _json(response)
        except OnlineStoreError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError):
                retries = cause.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
            raise
        finally:
            usage.add(bytes=len(answer), retries=retries)
        return answer

    def close(self) -> None:
        """Leave the client to its owner."""


@contextmanager
def aws_errors(table: str) -> Iterator[None]:
    """Raise our errors for botocore's, with the original as the cause."""
    try:
        yield
    except ClientError as error:
        raise _client_error(error, table) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise no_credentials(table) from error
    except NoRegionError as error:
        fix = "add ?region=... to the store's address, or set AWS_REGION"
        raise OnlineStoreError(f"no AWS region is set\n  fix  {fix}") from error
    except (HTTPClientError, ConnectionError) as error:
        raise unreachable(table, error) from error
    except (BotoCoreError, ValueError) as error:
        raise OnlineStoreError(f"DynamoDB can't be used for table '{table}': {error}") from error


def error_code(error: ClientError) -> str:
    """Return DynamoDB's own code of an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _client_error(error: ClientError, table: str) -> OnlineStoreError:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return store_error(error_code(error), str(error.response.get("Error", {}).get("Message", "")), status, table)


def store_error(code: str, message: str, status: int, table: str) -> OnlineStoreError:
    """Return our error for DynamoDB's code, message and HTTP status."""
    if code == "ValidationException":
        # Names and sizes are checked before anything is sent; what is left to be invalid is the table's own key.
        return StoreNotFound(
            f"the table '{table}' is not a featurelayer store: {message}\n"
            "  fix  its key must be pk (text, partition) and sk (text, sort); `featurelayer online create` makes one",
            code=code,
        )
    if code.isdigit() or not code:
        # The error's own name could not be read; its body may hold values, so it is not repeated.
        return unreadable(table, status)
    kind, fix = _CODES.get(code, (StoreUnavailable, "try again") if status >= 500 else (OnlineStoreError, ""))
    what = f"there is no table '{table}'" if kind is StoreNotFound else f"DynamoDB, table '{table}': {message}"
    return kind(f"{what} ({code})" + (f"\n  fix  {fix}" if fix else ""), code=code)


def unreadable(table: str, status: int = 200) -> StoreUnavailable:
    """Return the error for an answer that makes no sense, as when a connection breaks in the middle of it."""
    return StoreUnavailable(f"DynamoDB's answer for table '{table}' can't be read (HTTP {status})\n  fix  try again")


def unreachable(table: str, why: object) -> StoreUnavailable:
    """Return the error for a network that fails."""
    fix = "check the network, and the region or endpoint_url of the store's address"
    return StoreUnavailable(f"DynamoDB could not be reached for table '{table}': {why}\n  fix  {fix}")


def no_credentials(table: str) -> OnlineStoreError:
    """Return the error for a process that has no credentials."""
    return OnlineStoreError(f"no AWS credentials for table '{table}'\n  fix  log in, or set AWS_PROFILE")
