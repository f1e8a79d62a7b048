"""Errors of ours for those of DynamoDB, of botocore and of the way there: typed, retryable only where that may help.

No error repeats what may hold a secret: of DynamoDB's messages the first line is kept, of a proxy its host.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import botocore.exceptions as boto

from featurelayer.errors import OnlineStoreError, StoreNotFound, StoreThrottled, StoreUnavailable

# The store's error code -> our error class and its fix.
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


# Calls with an item's key: if DynamoDB rejects the key, the table has another key schema.
_BY_KEY = frozenset({"BatchGetItem", "Query", "BatchExecuteStatement", "PutItem", "DeleteItem", "Scan"})


class ConditionRefused(OnlineStoreError):
    """A conditional write was refused by `item`, where DynamoDB names it; `retried` if it may have been written."""

    def __init__(self, message: str, *, item: Mapping[str, Any] | None, retried: bool) -> None:
        self.item, self.retried = item, retried
        super().__init__(message, code="ConditionalCheckFailedException")


@contextmanager
def map_aws_errors(table: str, operation: str = "") -> Iterator[None]:
    """Raise our errors for botocore's, with the original as the cause."""
    try:
        yield
    except boto.ClientError as error:
        detail, facts = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
        code, status = str(detail.get("Code", "")), facts.get("HTTPStatusCode", 0)
        if code.isdigit() and is_from_dynamodb(facts.get("HTTPHeaders", {})):
            raise unreadable_error(table) from error
        # AWS repeats the signed request, its session token included, when a signature is wrong.
        cause = None if "Signature" in code else error
        raise store_error(code, str(detail.get("Message", "")), status, table, operation) from cause
    except (boto.NoCredentialsError, boto.PartialCredentialsError) as error:
        raise credentials_error(table) from error
    except boto.NoRegionError as error:
        fix = "add ?region=... to the store's address, or set AWS_REGION"
        raise OnlineStoreError(f"no AWS region is set\n  fix  {fix}") from error
    except boto.SSLError as error:
        raise tls_error(table, error) from error
    except (boto.HTTPClientError, boto.ConnectionError) as error:
        raise unreachable_error(table, error) from error
    except (boto.BotoCoreError, ValueError) as error:
        raise OnlineStoreError(f"DynamoDB can't be used for table '{table}': {error}") from error


def store_error(
    code: str, message: str, status: int, table: str, operation: str = "", *, sent: int | None = None
) -> OnlineStoreError:
    """Return our error for DynamoDB's code, message and HTTP status; `sent` is the request's size in bytes.

    Of the message only the first line is kept: the rest may repeat what was signed, a session token included.
    """
    message = message.partition("\n")[0]
    if code == "ValidationException" and operation in _BY_KEY:
        # Names and sizes are checked before anything is sent; what is left to be invalid is the table's own key.
        return StoreNotFound(
            f"the table '{table}' is not a featurelayer store: {message}\n"
            "  fix  its key must be pk (text, partition) and sk (text, sort); `featurelayer online create` makes one",
            code=code,
        )
    if code.isdigit() or not code or status == 413:
        # The error's own name could not be read; its body may hold values, so it is not repeated.
        return status_error(table, status, sent)
    kind, fix = _CODES.get(code, (StoreUnavailable, "try again") if status >= 500 else (OnlineStoreError, ""))
    what = f"there is no table '{table}'" if kind is StoreNotFound else f"DynamoDB, table '{table}': {message}"
    return kind(f"{what} ({code})" + (f"\n  fix  {fix}" if fix else ""), code=code)


def status_error(table: str, status: int, sent: int | None = None) -> OnlineStoreError:
    """Return the error for an HTTP status without a DynamoDB error."""
    if status == 200:
        return unreadable_error(table)
    kind: type[OnlineStoreError] = OnlineStoreError
    what, fix = "was refused", "check the endpoint_url, the region, and what filters requests on the way"
    if status >= 500 or status == 408:
        kind, what, fix = StoreUnavailable, "failed", "try again"
    elif status == 429:
        kind, what, fix = StoreThrottled, "was throttled", "slow down"
    elif status == 413:
        what = "is too large" + (f": {sent:,} bytes" if sent is not None else "")
        fix = "make items smaller, or send fewer at once; a proxy on the way may take less than DynamoDB does"
    elif 300 <= status < 400:
        what, fix = "was redirected", "check the endpoint_url and the proxy: DynamoDB itself never redirects"
    elif status == 407:
        what, fix = "was refused by the proxy", "put user and password into HTTPS_PROXY, or the host into NO_PROXY"
    return kind(f"the request to DynamoDB, table '{table}', {what} (HTTP {status})\n  fix  {fix}", code=str(status))


def is_from_dynamodb(headers: Mapping[str, str]) -> bool:
    """Return whether an answer is DynamoDB's own: one that can't be read was damaged on the way."""
    return headers.get("x-amzn-requestid") is not None or headers.get("x-amz-crc32") is not None


def unreadable_error(table: str) -> StoreUnavailable:
    """Return the error for an answer that makes no sense, as when a connection breaks in the middle of it."""
    return StoreUnavailable(f"DynamoDB's answer for table '{table}' can't be read\n  fix  try again")


def unreachable_error(table: str, why: object) -> StoreUnavailable:
    """Return the error for a network that fails."""
    fix = (
        "check the network, and the region or endpoint_url of the store's address; "
        "timeout=SECONDS there allows each attempt more time, patience=SECONDS allows an export more attempts"
    )
    return StoreUnavailable(f"DynamoDB could not be reached for table '{table}': {why}\n  fix  {fix}")


def tls_error(table: str, why: object) -> OnlineStoreError:
    """Return the error for a failed TLS connection, which a retry does not fix."""
    fix = (
        "set AWS_CA_BUNDLE, or ca_bundle in ~/.aws/config, to a file with the certificates of the authority that signs "
        "for this server, or for the proxy that stands in its place; check the endpoint_url"
    )
    return OnlineStoreError(f"no trusted TLS connection to DynamoDB for table '{table}': {why}\n  fix  {fix}")


def credentials_error(table: str) -> OnlineStoreError:
    """Return the error for a process that has no credentials."""
    return OnlineStoreError(f"no AWS credentials for table '{table}'\n  fix  log in, or set AWS_PROFILE")
