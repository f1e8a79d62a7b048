"""DynamoDB over sockets kept here, with requests signed here: what boto3 does for a call, in a quarter of its time.

Credentials, region, endpoint, authorities and proxies are those that botocore finds. What boto3 would do is done as
well: two attempts for a lookup and eight for an export, with jitter; throttles and server errors retried; timeouts; a
clock that is wrong corrected by the server's; and a mock that answers in place of AWS, as moto's do, is asked first.
"""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from zlib import crc32

import msgspec
from botocore.credentials import RefreshableCredentials

from featurelayer.errors import DeadlineExceeded, OnlineStoreError
from featurelayer.online.budget import ReadBudget, Usage, deadline_exceeded
from featurelayer.online.fork_safety import register_for_fork
from featurelayer.online.single_flight import SingleFlight
from featurelayer.online.stores.dynamodb.connections import ConnectionPool, HttpError, ProxyRefused, Response
from featurelayer.online.stores.dynamodb.errors import (
    ConditionRefused,
    is_from_dynamodb,
    map_aws_errors,
    status_error,
    store_error,
    tls_error,
    unreachable_error,
    unreadable_error,
)
from featurelayer.online.stores.dynamodb.signing import sign_headers
from featurelayer.online.stores.dynamodb.transport import is_logging, log_attempt, request_table
from featurelayer.retry import Backoff

_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_WRONG_CLOCK = frozenset(
    {"InvalidSignatureException", "RequestTimeTooSkewed", "RequestExpired", "SignatureDoesNotMatch"}
)
_TOLERATED = timedelta(seconds=30)
_MUST_RENEW_SECONDS = 600

Mock = Callable[[str, dict[str, str], bytes], Response | None]
"""Returns the answer to an operation, its headers and body, where something stands in for AWS."""


class CredentialCache:
    """The credentials of a process, as botocore finds and renews them; renewing never outlasts a caller's budget."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find
        self._credentials: Any = find()
        self._known: Any = None
        self._renewing = False
        self._renewal = SingleFlight(self._renew)
        register_for_fork(self)

    def __call__(self, budget: ReadBudget) -> Any:
        """Return the access key, secret key and token that are good for now."""
        credentials = self._credentials
        if credentials is not None:
            if not isinstance(credentials, RefreshableCredentials) or not credentials.refresh_needed():
                self._known = known = credentials.get_frozen_credentials()
                return known
            if self._known is not None and not credentials.refresh_needed(_MUST_RENEW_SECONDS):
                self._renewal.start()  # goes on behind: what is known is good for minutes
                return self._known
        try:
            return self._renewal(budget.remaining())
        except TimeoutError:
            budget.remaining()
            raise

    def reset_after_fork(self) -> None:
        """Find the credentials again if a thread that does not exist here was renewing them: it holds their lock."""
        if self._renewing:
            self._credentials, self._renewing = None, False

    def _renew(self) -> Any:
        if self._credentials is None:
            self._credentials = self._find()
        self._renewing = True
        self._known = known = self._credentials.get_frozen_credentials()
        self._renewing = False
        return known


class HttpTransport:
    """A `Transport` on connections of its own. `patience` is how many seconds a call may take with all its attempts."""

    def __init__(
        self,
        table: str,
        *,
        host: str,
        region: str,
        keys: Callable[[ReadBudget], Any],
        connections: ConnectionPool,
        timeout: float,
        attempts: int,
        patience: float = math.inf,
        mock: Mock | None = None,
    ) -> None:
        self._table, self._host, self._region, self._keys = table, host, region, keys
        self._connections, self._timeout, self._attempts = connections, timeout, attempts
        self._patience, self._mock = patience, mock
        self._behind = timedelta(0)  # how much this machine's clock is behind the server's

    def call(self, operation: str, body: bytes, budget: ReadBudget, usage: Usage) -> bytes:
        """Return the body of the answer, after as many attempts as there may be."""
        size = retries = resent = 0
        backoff = Backoff(_PAUSE, _LONGEST_PAUSE)
        corrected = False
        error: OnlineStoreError | None = None
        patient_until = time.monotonic() + self._patience
        until = patient_until if budget.until is None else min(budget.until, patient_until)
        try:
            while True:
                _validate_deadline(budget, error)
                answer: Response | None = None
                began = time.monotonic()
                try:
                    answer = self._attempt(operation, body, budget, until)
                    size, resent = len(answer.body), resent + answer.resent
                    _validate_checksum(answer)
                    if answer.status == 200:
                        return answer.body
                    error = self._error(operation, answer, body, bool(retries or resent))
                    if not corrected and error.code in _WRONG_CLOCK and self._set_clock(answer):
                        corrected = True
                        continue
                except (OSError, HttpError, ProxyRefused) as failure:
                    _validate_deadline(budget, error)
                    if isinstance(failure, TimeoutError) and error is not None and time.monotonic() >= patient_until:
                        raise error from None  # patience cut this attempt short: the earlier failure is the reason
                    error = self._failure(failure)
                    error.__cause__ = failure
                finally:
                    if is_logging():
                        outcome = answer.status if answer is not None else "none"
                        log_attempt(operation, body, answered=size if answer is not None else None, outcome=outcome,
                                    attempt=retries + 1, seconds=time.monotonic() - began)  # fmt: skip
                if not error.retryable or retries + 1 >= self._attempts:
                    raise error
                wait = backoff.next_pause()
                if budget.until is not None and budget.until - time.monotonic() <= wait:
                    raise deadline_exceeded(budget.done) from error
                if patient_until - time.monotonic() <= wait:
                    raise error
                retries += 1
                time.sleep(wait)
        finally:
            usage.add(bytes=size, retries=retries + resent + corrected)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._connections.close()

    def _attempt(self, operation: str, body: bytes, budget: ReadBudget, until: float) -> Response:
        with map_aws_errors(self._table):
            keys = self._keys(budget)
        headers = sign_headers(
            host=self._host,
            region=self._region,
            target=f"DynamoDB_20120810.{operation}",
            body=body,
            at=datetime.now(UTC) + self._behind,
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            token=keys.token,
        )
        if self._mock is not None and (answer := self._mock(operation, headers, body)) is not None:
            return answer
        return self._connections.post(headers, body, timeout=self._timeout, until=until)

    def _error(self, operation: str, answer: Response, body: bytes, retried: bool) -> OnlineStoreError:
        try:
            content = msgspec.json.decode(answer.body)
        except msgspec.DecodeError:
            if is_from_dynamodb(answer.headers):
                return unreadable_error(self._table)
            content = None
        if not isinstance(content, dict):
            content = {}
        table = request_table(msgspec.json.decode(body), self._table)
        code = str(content.get("__type") or content.get("code") or "").rpartition("#")[2]
        message = str(content.get("message") or content.get("Message") or "")
        if code == "ConditionalCheckFailedException":
            return ConditionRefused(message, item=content.get("Item"), retried=retried)
        return store_error(code, message, answer.status, table, operation, sent=len(body))

    def _failure(self, failure: Exception) -> OnlineStoreError:
        if isinstance(failure, ProxyRefused):
            return status_error(self._table, failure.status)
        if isinstance(failure, ssl.SSLError) and not isinstance(failure, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            return tls_error(self._table, failure)
        if isinstance(failure, TimeoutError):
            return unreachable_error(self._table, f"no answer within {min(self._timeout, self._patience):g} seconds")
        return unreachable_error(self._table, str(failure) or type(failure).__name__)

    def _set_clock(self, answer: Response) -> bool:
        """Adopt the server's time; return False if the clock is not the problem."""
        try:
            server = parsedate_to_datetime(answer.headers.get("date", ""))
        except ValueError:
            return False
        behind = server - datetime.now(UTC)
        if abs(behind - self._behind) <= _TOLERATED:
            return False
        self._behind = behind
        return True


def _validate_deadline(budget: ReadBudget, last: OnlineStoreError | None) -> None:
    """Raise DeadlineExceeded, with the last attempt's error as its cause, if no time is left."""
    try:
        budget.remaining()
    except DeadlineExceeded as late:
        raise late from last


def _validate_checksum(answer: Response) -> None:
    told = answer.headers.get("x-amz-crc32")
    if told is not None and told != str(crc32(answer.body)):
        raise HttpError("the answer's checksum is wrong")
