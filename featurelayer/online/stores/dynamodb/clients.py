"""boto3 at arm's length: what it knows of this machine's AWS settings, turned into transports with explicit settings.

Imported only by the DynamoDB store, so that no other store pays for boto3.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import RLock
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
import botocore.handlers
import botocore.session
import msgspec
from botocore.awsrequest import AWSPreparedRequest
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from featurelayer.errors import ConfigError, Problem
from featurelayer.online.fork_safety import register_for_fork
from featurelayer.online.once import Once
from featurelayer.online.stores.dynamodb.boto3_transport import Boto3Transport
from featurelayer.online.stores.dynamodb.connections import ConnectionPool, Proxy, Response
from featurelayer.online.stores.dynamodb.errors import credentials_error, map_aws_errors
from featurelayer.online.stores.dynamodb.http_transport import CredentialCache, HttpTransport
from featurelayer.online.stores.dynamodb.signing import can_sign, host_header
from featurelayer.online.stores.dynamodb.transport import Transport

T = TypeVar("T")

_EXPORT_TIMEOUT = 10.0
_SERVING_ATTEMPTS, _EXPORT_ATTEMPTS = 2, 8
_SERVING_PATIENCE = 60.0


class Endpoint(msgspec.Struct, frozen=True):
    """Where DynamoDB is and how to get there, as botocore finds it: all that is costly to find and good for long."""

    host: str
    region: str
    keys: CredentialCache
    connections: ConnectionPool
    mock: Callable[[str, dict[str, str], bytes], Response | None]


class Clients:
    """The transports and threads of one process: one transport tuned to serve, one to export.

    Where DynamoDB is and the credentials are found once, by `prepare` or the first call, and outlive a fork.
    """

    def __init__(
        self,
        table: str,
        *,
        region: str | None,
        endpoint_url: str | None,
        timeout: float,
        threads: int,
        patience: float,
        transport: str,
    ) -> None:
        self._table, self._region, self._endpoint_url = table, region, endpoint_url
        self._timeout, self._threads, self._patience, self._plain = timeout, threads, patience, transport == "boto3"
        self._session = Once(self._new_session)
        self._place = Once(self._new_endpoint)
        self._transports = {exporting: Once(partial(self._new_transport, exporting)) for exporting in (False, True)}
        self._pool = Once(self._new_pool)
        self.reset_after_fork()
        register_for_fork(self)

    def reset_after_fork(self) -> None:
        """Start without threads, and without boto3's sockets."""
        self._building = RLock()
        self._pool.clear()
        if self._plain:
            self._session.clear()
            for transport in self._transports.values():
                transport.clear()

    def prepare(self) -> None:
        """Find DynamoDB and the credentials, so that no call has to.

        Raises:
            ConfigError: the endpoint or the proxy is of no kind that can be used.
            OnlineStoreError: no region or credentials are configured.
        """
        self._transports[False]()

    def transport(self, *, exporting: bool = False) -> Transport:
        """Return the transport: two attempts and short timeouts for serving, more and longer ones for exports."""
        return self._transports[exporting]()

    def s3(self, endpoint_url: str | None) -> Any:
        """Return a client of S3 for the files of an import. Its endpoint is configured separately from DynamoDB's."""
        config = Config(
            retries={"mode": "standard", "total_max_attempts": _EXPORT_ATTEMPTS},
            connect_timeout=10.0,
            read_timeout=60.0,
            s3={"addressing_style": "path"} if endpoint_url else None,
            ignore_configured_endpoint_urls=True,
        )
        with map_aws_errors(self._table), self._building:
            return self._session()[0].client("s3", endpoint_url=endpoint_url, config=config)

    @property
    def pool(self) -> ThreadPoolExecutor:
        return self._pool()

    def close(self) -> None:
        """Close connections and stop the threads; they come back when they are used."""
        for pool in self._pool.clear():
            pool.shutdown(wait=True, cancel_futures=True)
        for transport in self._transports.values():
            for each in transport.clear():
                each.close()

    def _new_pool(self) -> ThreadPoolExecutor:
        # Callers that can't wait leave their calls behind here, so there are more threads than connections.
        return ThreadPoolExecutor(4 * self._threads, thread_name_prefix="featurelayer-dynamodb")

    def _new_transport(self, exporting: bool) -> Transport:
        if self._plain:
            client = self._new_client(exporting)
            patience = self._patience if exporting else _SERVING_PATIENCE
            return Boto3Transport(client, self._table, threads=4 * self._threads, patience=patience)
        place = self._place()
        return HttpTransport(
            self._table,
            host=place.host,
            region=place.region,
            keys=place.keys,
            connections=place.connections,
            mock=place.mock,
            timeout=max(self._timeout, _EXPORT_TIMEOUT) if exporting else self._timeout,
            attempts=_EXPORT_ATTEMPTS if exporting else _SERVING_ATTEMPTS,
            patience=self._patience if exporting else _SERVING_PATIENCE,
        )

    def _new_session(self) -> tuple[Any, Any]:
        """Return one session for all clients, boto3's and botocore's: it keeps the description of the service."""
        core = botocore.session.get_session()
        return boto3.session.Session(region_name=self._region, botocore_session=core), core

    def _new_client(self, exporting: bool) -> Any:
        timeout = max(self._timeout, _EXPORT_TIMEOUT) if exporting else self._timeout
        config = Config(
            retries={"mode": "standard", "total_max_attempts": _EXPORT_ATTEMPTS if exporting else _SERVING_ATTEMPTS},
            connect_timeout=timeout,
            read_timeout=timeout,
            max_pool_connections=max(self._threads, 10),
            tcp_keepalive=True,
            parameter_validation=False,
            # Only the store's own address names another server: a forgotten AWS_ENDPOINT_URL must not get the features.
            ignore_configured_endpoint_urls=True,
        )
        with map_aws_errors(self._table), self._building:  # making clients of one session is not thread-safe in boto3
            return self._session()[0].client("dynamodb", endpoint_url=self._endpoint_url, config=config)

    def _new_endpoint(self) -> Endpoint:
        client = self._new_client(exporting=False)
        url, core = client.meta.endpoint_url, self._session()[1]
        proxy = self._find_proxy(url, client.meta.config)
        keys = CredentialCache(self._find_credentials)
        parts, secure = urlsplit(url), url.startswith("https:")
        tls = None
        if secure:
            bundle = core.get_config_variable("ca_bundle")
            try:
                tls = ssl.create_default_context(cafile=bundle or get_cert_path(True))  # 20 ms: once
            except OSError as error:
                what = f"the file of AWS_CA_BUNDLE, '{bundle}', has no certificates that can be read: {error}"
                raise ConfigError([Problem(what=what, fix="name a PEM file in AWS_CA_BUNDLE, or unset it")]) from error
        port = parts.port or (443 if secure else 80)
        connections = ConnectionPool(parts.hostname or "", port, tls=tls, idle=2 * self._threads, proxy=proxy)
        return Endpoint(
            host_header(url), client.meta.region_name, keys, connections, _MockResponder(client.meta.events, url)
        )

    def _find_credentials(self) -> Any:
        with map_aws_errors(self._table), self._building:
            credentials = self._session()[0].get_credentials()
        if credentials is None:
            raise credentials_error(self._table)
        return credentials

    def _find_proxy(self, url: str, config: Any) -> Proxy | None:
        """Return the proxy of the endpoint; reject proxies that only boto3 supports."""
        problems = []
        fix = "add transport=boto3 to the store's address, which leaves the way there to boto3"
        if not can_sign(url):
            problems.append(Problem(what="the endpoint has a path or a query", where=url, fix=fix))
        if getattr(config, "account_id_endpoint_mode", None) == "required":
            problems.append(Problem(what="account_id_endpoint_mode=required needs boto3's own endpoints", fix=fix))
        named = get_environ_proxies(url).get(urlsplit(url).scheme)
        proxy = None
        if named:
            try:
                proxy = Proxy.parse(named)
            except ValueError as error:
                problems.append(Problem(what=str(error), where="HTTPS_PROXY or HTTP_PROXY", fix=fix))
        if problems:
            raise ConfigError(problems)
        return proxy


class _MockResponder:
    """What answers in place of AWS: the handlers of botocore's `before-send`, among them moto's `mock_aws`.

    botocore asks them before it sends a request, so code under a mock must not reach AWS by this way either. A mock
    that is imported after the client was made is found, too.
    """

    def __init__(self, events: Any, url: str) -> None:
        self._events, self._url = events, url if url.endswith("/") else f"{url}/"
        builtin = botocore.handlers.BUILTIN_HANDLERS
        self._known, self._any = len(builtin), any(_is_before_send(event) for event, *_ in builtin)

    def __call__(self, operation: str, headers: dict[str, str], body: bytes) -> Response | None:
        if len(botocore.handlers.BUILTIN_HANDLERS) != self._known:
            self._register_new()
        if not self._any:
            return None
        name = f"before-send.dynamodb.{operation}"
        sent = HTTPHeaders()
        for header, value in headers.items():
            sent[header] = value
        request = AWSPreparedRequest("POST", self._url, sent, body, False)
        _, answer = self._events.emit_until_response(name, request=request)
        if answer is None:
            return None
        return Response(
            answer.status_code, {name.lower(): str(value) for name, value in answer.headers.items()}, answer.content
        )

    def _register_new(self) -> None:
        handlers = botocore.handlers.BUILTIN_HANDLERS
        for event, handler, *_ in handlers[self._known :]:
            if _is_before_send(event):
                self._events.register(event, handler)
                self._any = True
        self._known = len(handlers)


def _is_before_send(event: str) -> bool:
    return event.startswith("before-send")
