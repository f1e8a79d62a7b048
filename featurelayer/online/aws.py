"""boto3 at arm's length: clients with every setting explicit, and errors of ours.

Imported only by the DynamoDB store, so that nobody else pays for boto3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import RLock
from typing import Any, TypeVar

import boto3
import botocore.session
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
from featurelayer.online.forks import renew_after_fork
from featurelayer.online.once import Once
from featurelayer.online.transport import Transport

T = TypeVar("T")

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

    `transport` says how items are read and exports written: `boto3`, or `lean` (see `featurelayer.online.lean`).
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
        self._session = Once(self._new_session)
        self._clients = _for_both(self._new_client)
        self._transports = _for_both(self._new_transport)
        self._pool = Once(self._new_pool)
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Start with nothing."""
        self._building = RLock()
        everything: list[Once[Any]] = [self._session, self._pool, *self._clients.values(), *self._transports.values()]
        for shared in everything:
            shared.clear()

    @property
    def serving(self) -> Any:
        """Two attempts and short timeouts: a slow answer is as bad as none."""
        return self._clients[False]()

    @property
    def exporting(self) -> Any:
        """Patient: throttling is normal while an on-demand table grows."""
        return self._clients[True]()

    def transport(self, *, exporting: bool = False) -> Transport:
        """Return what goes the short way: reads, and the writes of exports."""
        return self._transports[exporting]()

    def s3(self, endpoint_url: str | None) -> Any:
        """Return a client of S3 for the files of an import. Its endpoint is said for itself, as DynamoDB's is."""
        config = Config(
            retries={"mode": "standard", "total_max_attempts": 8},
            connect_timeout=10.0,
            read_timeout=60.0,
            s3={"addressing_style": "path"} if endpoint_url else None,
            ignore_configured_endpoint_urls=True,
        )
        with aws_errors(self._table), self._building:
            return self._session()[0].client("s3", endpoint_url=endpoint_url, config=config)

    @property
    def pool(self) -> ThreadPoolExecutor:
        return self._pool()

    def close(self) -> None:
        """Close connections and stop the threads; they come back when they are used."""
        for pool in self._pool.clear():
            pool.shutdown(wait=True, cancel_futures=True)
        users: list[Once[Any]] = [*self._transports.values(), *self._clients.values()]
        for shared in users:
            for each in shared.clear():
                each.close()

    def _new_pool(self) -> ThreadPoolExecutor:
        # Callers that can't wait leave their calls behind here, so there are more threads than connections.
        return ThreadPoolExecutor(4 * self._threads, thread_name_prefix="featurelayer-dynamodb")

    def _new_transport(self, exporting: bool) -> Transport:
        from featurelayer.online.boto import BotoTransport
        from featurelayer.online.lean import LeanTransport

        client = self._clients[exporting]()
        session, core = self._session()
        if not self._lean:
            return BotoTransport(client, self._table, session.get_credentials())

        with aws_errors(self._table):
            return LeanTransport(
                self._table,
                endpoint_url=client.meta.endpoint_url,
                region=client.meta.region_name,
                credentials=session.get_credentials(),
                ca_bundle=core.get_config_variable("ca_bundle"),
                timeout=client.meta.config.read_timeout,
                idle=self._threads,
                attempts=client.meta.config.retries["total_max_attempts"],
            )

    def _new_session(self) -> tuple[Any, Any]:
        """Return one session for all clients, boto3's and botocore's: it keeps the description of the service."""
        core = botocore.session.get_session()
        return boto3.session.Session(region_name=self._region, botocore_session=core), core

    def _new_client(self, exporting: bool) -> Any:
        timeout = max(self._timeout, 10.0) if exporting else self._timeout
        config = Config(
            retries={"mode": "standard", "total_max_attempts": 8 if exporting else 2},
            connect_timeout=timeout,
            read_timeout=timeout,
            max_pool_connections=max(self._threads, 10),
            tcp_keepalive=True,
            parameter_validation=False,
            # botocore's own takes a tenth of a lookup to put together, anew for each.
            user_agent=f"featurelayer Boto3/{boto3.__version__} Botocore/{botocore.__version__}",
            # Only the store's own address names another server: a forgotten AWS_ENDPOINT_URL must not get the features.
            ignore_configured_endpoint_urls=True,
        )
        with aws_errors(self._table), self._building:  # making clients of one session is not thread-safe in boto3
            return self._session()[0].client("dynamodb", endpoint_url=self._endpoint_url, config=config)


def _for_both(build: Callable[[bool], T]) -> dict[bool, Once[T]]:
    """Return what is built for serving (False) and for exporting (True)."""
    return {exporting: Once(partial(build, exporting)) for exporting in (False, True)}


@contextmanager
def aws_errors(table: str) -> Iterator[None]:
    """Raise our errors for botocore's, with the original as the cause."""
    try:
        yield
    except ClientError as error:
        # AWS repeats the signed request, its session token included, when a signature is wrong.
        raise _client_error(error, table) from (None if "Signature" in error_code(error) else error)
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
    """Return our error for DynamoDB's code, message and HTTP status.

    Of the message only the first line is kept: the rest may repeat what was signed, a session token included.
    """
    message = message.partition("\n")[0]
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
