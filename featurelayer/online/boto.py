"""boto3 without its detours: bodies are written and read by us, by events that botocore has for its users.

`provide-client-params` and `before-call` put our body in place of the one that botocore would build, key by key;
`choose-signer` and `before-sign` sign it with the same signature in a tenth of the time; `before-parse` takes the
answer before botocore turns it into dictionaries, which is most of what a lookup costs there. Credentials, connections,
retries, errors, proxies and mocks stay botocore's.
"""

from __future__ import annotations

import math
import threading
from datetime import UTC, datetime
from typing import Any

import msgspec
from botocore import UNSIGNED
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from urllib3 import HTTPResponse
from urllib3.exceptions import ProtocolError
from urllib3.exceptions import ReadTimeoutError as Urllib3ReadTimeoutError

from featurelayer.errors import OnlineStoreError
from featurelayer.online.aws import aws_errors
from featurelayer.online.base import ReadBudget, Usage
from featurelayer.online.sigv4 import can_sign, host_header, signed_headers

# The calls whose bodies are ours, with what botocore is given to find the endpoint by.
_STAND_INS: dict[str, dict[str, Any]] = {
    "BatchGetItem": {"RequestItems": {}}, "Query": {}, "BatchExecuteStatement": {"Statements": []},
}  # fmt: skip
_BODY, _SCOPE = "FeatureLayerBody", "FeatureLayerScope"
_PIECE = 1 << 20

_json = msgspec.json.Encoder().encode


class BotoTransport:
    """A `Transport` on a boto3 client of DynamoDB, which goes on to be of use for everything else.

    Without `credentials` botocore signs, or says that there are none.
    """

    def __init__(self, client: Any, table: str, credentials: Any = None) -> None:
        self._table = table
        self._local = threading.local()
        self._operations = {
            "BatchGetItem": client.batch_get_item,
            "Query": client.query,
            "BatchExecuteStatement": client.batch_execute_statement,
        }
        signer = _Signer(credentials) if credentials is not None and can_sign(client.meta.endpoint_url) else None
        for operation in _STAND_INS:
            if signer is not None:
                client.meta.events.register(f"choose-signer.dynamodb.{operation}", signer.choose)
                client.meta.events.register(f"before-sign.dynamodb.{operation}", signer.sign)
            client.meta.events.register(f"provide-client-params.dynamodb.{operation}", _take_body)
            client.meta.events.register(f"before-call.dynamodb.{operation}", _give_body)
            client.meta.events.register(f"before-parse.dynamodb.{operation}", keep_body)
        config = client.meta.config
        endpoint: Any = getattr(client, "_endpoint", None)
        session = getattr(endpoint, "http_session", None)
        if session is None or not hasattr(HTTPResponse, "read1"):
            self.longest = math.inf  # an older urllib3 or another botocore: it can't be told when to stop reading
            return
        endpoint.http_session = _Bounded(session, self._local)
        # Each attempt connects and waits for an answer, and the wait between two is at most a second.
        self.longest = config.retries["total_max_attempts"] * (config.connect_timeout + config.read_timeout) + 1.0

    def call(self, operation: str, body: bytes, budget: ReadBudget, usage: Usage) -> bytes:
        """Return the body of the answer."""
        budget.left()
        self._local.budget = budget
        retries = 0
        answer = b""
        try:
            with aws_errors(self._table):
                response = self._operations[operation](**{_BODY: body}, **_STAND_INS[operation])
            retries = response.pop("ResponseMetadata", {}).get("RetryAttempts", 0)
            # Without the hook (a botocore that has no such event) the parsed answer has the same shape.
            answer = response[_BODY] if _BODY in response else _json(response)
        except OnlineStoreError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError):
                retries = cause.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
            raise
        finally:
            self._local.budget = None
            usage.add(bytes=len(answer), retries=retries)
        return answer

    def close(self) -> None:
        """Leave the client to its owner."""


def _take_body(params: dict[str, Any], context: dict[str, Any], **_: Any) -> dict[str, Any] | None:
    """Put a body that is ready aside, so that botocore has nothing to write."""
    if _BODY not in params:
        return None
    context[_BODY] = params[_BODY]
    return {name: value for name, value in params.items() if name != _BODY}


def _give_body(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    if _BODY in context:
        params["body"] = context[_BODY]


def keep_body(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Keep botocore from parsing a good answer; errors it parses as ever."""
    if response_dict["status_code"] == 200:
        customized_response_dict[_BODY] = response_dict["body"]
        response_dict["body"] = b"{}"


class _Signer:
    """Signs the requests whose bodies are ours, where botocore would do so with version 4."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials

    def choose(
        self, signing_name: str, region_name: str, signature_version: Any, context: dict[str, Any], **_: Any
    ) -> Any:
        if _BODY not in context or signature_version != "v4":
            return None
        context[_SCOPE] = region_name, signing_name
        return UNSIGNED

    def sign(self, request: Any, **_: Any) -> None:
        scope = request.context.get(_SCOPE)
        if scope is None:
            return
        keys = self._credentials.get_frozen_credentials()
        headers = signed_headers(
            host=host_header(request.url),
            region=scope[0],
            service=scope[1],
            target=request.headers["X-Amz-Target"],
            body=request.body,
            at=datetime.now(UTC),
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            token=keys.token,
        )
        for name, value in headers.items():
            if name not in request.headers:  # setting one that is there would send it twice
                request.headers[name] = value


class _Bounded:
    """botocore's HTTP session, but the body of an answer is read piece by piece and no longer than the budget lasts.

    botocore's own timeout is for each piece that arrives, so an answer that drips could take any time.
    """

    def __init__(self, session: Any, local: threading.local) -> None:
        self._session, self._local = session, local

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def send(self, request: Any) -> Any:
        budget: ReadBudget | None = getattr(self._local, "budget", None)
        if budget is None or budget.until is None:
            return self._session.send(request)
        request.stream_output = True  # leave the body unread
        response = self._session.send(request)
        if response._content is not None:
            return response
        try:
            response._content = _read(response.raw, budget)
        except ProtocolError as error:
            raise ConnectionClosedError(error=error, request=request, endpoint_url=request.url) from error
        except Urllib3ReadTimeoutError as error:
            raise ReadTimeoutError(endpoint_url=request.url, error=error) from error
        return response


def _read(raw: Any, budget: ReadBudget) -> bytes:
    pieces = []
    try:
        while piece := raw.read1(_PIECE):
            pieces.append(piece)
            budget.left()
    except BaseException:
        raw.close()  # the rest is still under way, so nobody may use this connection again
        raise
    raw.release_conn()
    return b"".join(pieces)
