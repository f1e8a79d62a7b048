"""DynamoDB without boto3's client in between: requests signed here, sent over sockets kept here.

Credentials, region and endpoint are botocore's own, so whatever renews them there does so here. What boto3 would do is
done as well: two attempts for a lookup and eight for an export, with jitter; throttles and server errors retried;
timeouts; a clock that is wrong corrected by the server's. Opt-in (`?transport=lean`), because it is younger than boto3,
goes through no proxy and knows POST to `/` alone.
"""

from __future__ import annotations

import math
import random
import ssl
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit
from zlib import crc32

import msgspec
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from featurelayer.errors import ConfigError, OnlineStoreError, Problem
from featurelayer.online.aws import aws_errors, no_credentials, store_error, unreachable
from featurelayer.online.base import ReadBudget, Usage, deadline_exceeded
from featurelayer.online.http import ConnectionPool, HttpError, Response
from featurelayer.online.sigv4 import can_sign, host_header, signed_headers

_ATTEMPTS = 2
_LONGEST_WAIT, _LONGEST_OF_ALL = 0.05, 5.0
_WRONG_CLOCK = frozenset(
    {"InvalidSignatureException", "RequestTimeTooSkewed", "RequestExpired", "SignatureDoesNotMatch"}
)
_TOLERATED = timedelta(seconds=30)


class LeanTransport:
    """A `Transport` on sockets of its own. A call ends within its budget; only resolving a name may take longer."""

    longest = 0.0

    def __init__(
        self,
        table: str,
        *,
        endpoint_url: str,
        region: str,
        credentials: Any,
        timeout: float,
        idle: int,
        ca_bundle: str | None = None,
        attempts: int = _ATTEMPTS,
    ) -> None:
        if credentials is None:
            raise no_credentials(table)
        url = urlsplit(endpoint_url)
        problems = _problems(endpoint_url)
        if problems:
            raise ConfigError(problems)
        self._table, self._region, self._credentials, self._timeout = table, region, credentials, timeout
        self._attempts = attempts
        secure = url.scheme == "https"
        self._host = host_header(endpoint_url)
        tls = ssl.create_default_context(cafile=ca_bundle or get_cert_path(True)) if secure else None  # 20 ms: once
        self._connections = ConnectionPool(url.hostname or "", url.port or (443 if secure else 80), tls=tls, idle=idle)
        self._behind = timedelta(0)  # how much this machine's clock is behind the server's

    def call(self, operation: str, body: bytes, budget: ReadBudget, usage: Usage) -> bytes:
        """Return the body of the answer, after as many attempts as there may be."""
        size = retries = resent = 0
        corrected = False
        try:
            while True:
                budget.left()
                try:
                    answer = self._attempt(operation, body, budget)
                    size, resent = len(answer.body), resent + answer.resent
                    if answer.status == 200:
                        _check_sum(answer)
                        return answer.body
                    error = _error(answer, self._table)
                    if not corrected and error.code in _WRONG_CLOCK and self._set_clock(answer):
                        corrected = True
                        continue
                except (OSError, HttpError) as failure:
                    budget.left()
                    error = unreachable(self._table, str(failure) or type(failure).__name__)
                    error.__cause__ = failure
                if not error.retryable or retries + 1 >= self._attempts:
                    raise error
                retries += 1
                self._wait(budget, retries)
        finally:
            usage.add(bytes=size, retries=retries + resent + corrected)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._connections.close()

    def _attempt(self, operation: str, body: bytes, budget: ReadBudget) -> Response:
        with aws_errors(self._table):
            keys = self._credentials.get_frozen_credentials()
        headers = signed_headers(
            host=self._host,
            region=self._region,
            target=f"DynamoDB_20120810.{operation}",
            body=body,
            at=datetime.now(UTC) + self._behind,
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            token=keys.token,
        )
        return self._connections.post(
            headers, body, timeout=self._timeout, until=math.inf if budget.until is None else budget.until
        )

    def _set_clock(self, answer: Response) -> bool:
        """Take over the server's time; False if the clock is not what is wrong."""
        try:
            server = parsedate_to_datetime(answer.headers.get("date", ""))
        except ValueError:
            return False
        behind = server - datetime.now(UTC)
        if abs(behind - self._behind) <= _TOLERATED:
            return False
        self._behind = behind
        return True

    def _wait(self, budget: ReadBudget, retries: int) -> None:
        longest = min(_LONGEST_WAIT * 2 ** (retries - 1), _LONGEST_OF_ALL)
        wait = random.uniform(0, longest)  # noqa: S311 (jitter, no secret)
        left = budget.left()
        if left is not None and left <= wait:
            raise deadline_exceeded()
        time.sleep(wait)


def _problems(endpoint_url: str) -> list[Problem]:
    problems = []
    if not can_sign(endpoint_url):
        what = "the lean transport needs an endpoint_url like https://host:port, without a path"
        problems.append(Problem(what=what, where=endpoint_url, fix="leave transport=lean out"))
    if get_environ_proxies(endpoint_url):
        what = "the lean transport goes through no proxy, but the environment names one for this endpoint"
        fix = "leave transport=lean out, or add the host to NO_PROXY if it can be reached without"
        problems.append(Problem(what=what, where=endpoint_url, fix=fix))
    return problems


def _check_sum(answer: Response) -> None:
    told = answer.headers.get("x-amz-crc32")
    if told is not None and told != str(crc32(answer.body)):
        raise HttpError("the answer's checksum is wrong")


def _error(answer: Response, table: str) -> OnlineStoreError:
    try:
        content = msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        content = None
    if not isinstance(content, dict):
        content = {}
    code = str(content.get("__type") or content.get("code") or answer.status).rpartition("#")[2]
    message = str(content.get("message") or content.get("Message") or "")
    return store_error(code, message, answer.status, table)
