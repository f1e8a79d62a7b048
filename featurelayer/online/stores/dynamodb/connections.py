"""HTTP/1.1 as far as one kind of request needs it: POST to `/` over connections that are kept, within a time.

Every wait is bounded by the time of the whole exchange, so an answer that drips does not outlast it: names are resolved
in a thread that can be left behind, and connecting, the proxy, the TLS handshake, sending and each piece that is read
have the time that is left. The sizes of head and body are bounded, too. Nothing is retried here but one thing: a kept
connection that turns out to be closed before it answered a byte is replaced by a new one. That may send a request
twice, which a read does not mind and a write is told.

Answers are parsed here: `http.client` reads their headers as those of a letter, which is a quarter of a small lookup.
"""

from __future__ import annotations

import io
import math
import select
import socket
import ssl
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from time import monotonic
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from featurelayer.online.fork_safety import register_for_fork
from featurelayer.online.single_flight import SingleFlight

_CHUNK = 64 * 1024
_HEAD_LIMIT = 64 * 1024
# DynamoDB answers with 16 MB of items at most; JSON and escapes make that more.
BODY_LIMIT = 128 * 1024 * 1024
# Load balancers forget connections after a minute or so, some without a word.
_IDLE_SECONDS = 50.0


class HttpError(Exception):
    """The peer sent something other than an answer, or closed the connection."""


class ProxyRefused(Exception):
    """The proxy does not lead to the host; `status` is its answer."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"the proxy answered HTTP {status}")


class Response(msgspec.Struct, frozen=True):
    """An answer. `resent`: the request may have arrived twice."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    resent: bool = False


class Proxy(msgspec.Struct, frozen=True):
    """An HTTP proxy; `authorization` is the value of `Proxy-Authorization`, or nothing."""

    host: str
    port: int
    authorization: str = ""

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """Return the proxy at an address such as `http://user:password@proxy:3128`; `http://` may be missing.

        Raises:
            ValueError: it is none, or is to be reached by TLS. The message repeats no part of the address.
        """
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError("the address of the proxy is not http://host:port")
        user = b":".join(unquote(part or "").encode() for part in (parts.username, parts.password))
        authorization = f"Basic {b64encode(user).decode()}" if parts.username else ""
        return cls(parts.hostname, parts.port or 80, authorization)


class ConnectionPool:
    """Connections to one host, kept for the next request; at most `idle` of them. Safe to share between threads.

    With a proxy, a TLS connection is a tunnel through it, and any other request goes to the proxy itself.
    """

    def __init__(
        self, host: str, port: int, *, tls: ssl.SSLContext | None, idle: int, proxy: Proxy | None = None
    ) -> None:
        self._host, self._port, self._tls, self._most, self._proxy = host, port, tls, idle, proxy
        self._idle: deque[_Connection] = deque()
        name = f"[{host}]" if ":" in host else host
        if proxy is None or tls is not None:
            self._start = "POST / HTTP/1.1\r\n"
        else:
            self._start = f"POST http://{name}:{port}/ HTTP/1.1\r\n{_authorization(proxy)}"
        self._tunnel = (
            f"CONNECT {name}:{port} HTTP/1.1\r\nhost: {name}:{port}\r\n{_authorization(proxy)}\r\n".encode("latin-1")
            if proxy is not None and tls is not None else b""
        )  # fmt: skip
        first, second = (host, port) if proxy is None else (proxy.host, proxy.port)
        self._addresses = SingleFlight(lambda: socket.getaddrinfo(first, second, type=socket.SOCK_STREAM))
        register_for_fork(self)

    def post(self, headers: Mapping[str, str], body: bytes, *, timeout: float, until: float = math.inf) -> Response:
        """Send a request and return the answer. Connecting and answering may each take `timeout` seconds.

        `until` is a reading of `time.monotonic()` at which all is over.

        Raises:
            TimeoutError: one of them took longer.
            HttpError: the answer is none.
            ProxyRefused: the proxy does not lead there.
            OSError: the host can't be reached, or the connection broke; ssl.SSLError: the host can't be trusted.
        """
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        request = f"{self._start}{lines}content-length: {len(body)}\r\n\r\n".encode("latin-1") + body
        kept = self._take_idle()
        if kept is not None:
            try:
                return self._exchange(kept, request, min(until, monotonic() + timeout))
            except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError, HttpError):
                if kept.answering:
                    raise
                self.close()  # whatever closed this one most likely closed the others, too
        fresh = self._open(min(until, monotonic() + timeout))
        response = self._exchange(fresh, request, min(until, monotonic() + timeout))
        return response if kept is None else msgspec.structs.replace(response, resent=True)

    def close(self) -> None:
        """Close the pooled connections."""
        while self._idle:
            self._idle.pop().close()

    def reset_after_fork(self) -> None:
        """Leave the parent's connections to it; closing them here ends only this process's hold on them."""
        self.close()

    def _take_idle(self) -> _Connection | None:
        """Return the connection that was used last and is still good."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.is_usable():
                return connection
            connection.close()

    def _open(self, until: float) -> _Connection:
        sock = self._connect(until)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._tunnel:
                self._pass_proxy(sock, until)
            if self._tls is not None:
                sock.settimeout(_remaining(until))
                sock = self._tls.wrap_socket(sock, server_hostname=self._host)
            return _Connection(sock)
        except BaseException:
            sock.close()
            raise

    def _connect(self, until: float) -> socket.socket:
        found = self._addresses(_remaining(until))
        for position, (family, kind, protocol, _, address) in enumerate(found):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(
                    _remaining(until) / (len(found) - position)
                )  # an address that is deaf leaves time for the next
                sock.connect(address)
            except OSError:
                sock.close()
                if position + 1 == len(found):
                    raise
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise OSError("the name has no address")

    def _pass_proxy(self, sock: socket.socket, until: float) -> None:
        """Have the proxy connect this socket with the host."""
        status, _, _ = _Connection(sock).ask(self._tunnel, until)
        if status != 200:
            raise ProxyRefused(status)

    def _exchange(self, connection: _Connection, request: bytes, until: float) -> Response:
        try:
            response = connection.exchange(request, until)
        except BaseException:
            connection.close()  # half an answer may still be under way
            raise
        if not connection.keep or len(self._idle) >= self._most:
            connection.close()
        else:
            self._idle.append(connection)
        return response


class _Connection:
    __slots__ = ("_piecewise", "_reader", "_used_at", "keep", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.keep, self._used_at = sock, False, monotonic()
        self._piecewise = _DeadlineReader(sock)
        self._reader = io.BufferedReader(self._piecewise, _CHUNK)

    @property
    def answering(self) -> bool:
        """True once a byte of the answer has arrived."""
        return self._piecewise.size > 0

    def is_usable(self) -> bool:
        """Return whether it may be used again. Data before a request was sent means that the peer is closing it."""
        return monotonic() - self._used_at < _IDLE_SECONDS and not _is_readable(self.sock)

    def exchange(self, request: bytes, until: float) -> Response:
        """Send a request and read the whole answer; `until` is a reading of `time.monotonic()`."""
        status, headers, is_modern = self.ask(request, until)
        self._piecewise.limit = self._piecewise.size + BODY_LIMIT
        body = self._body(headers)
        self._piecewise.limit = 0
        self.keep = is_modern and headers.get("connection", "").lower() != "close" and not self._reader.peek()
        self._used_at = monotonic()
        return Response(status, headers, body)

    def ask(self, request: bytes, until: float) -> tuple[int, dict[str, str], bool]:
        """Send a request; return the answer's status, its headers, and whether the peer speaks HTTP/1.1."""
        self._piecewise.start(until, _HEAD_LIMIT + _CHUNK)
        unsent = memoryview(request)
        while unsent:
            self.sock.settimeout(_remaining(until))
            unsent = unsent[self.sock.send(unsent) :]
        status = 0
        while status < 200:  # 1xx: the answer is still to come
            version, _, rest = self._line().partition(" ")
            if version not in ("HTTP/1.1", "HTTP/1.0") or not (rest[:3].isascii() and rest[:3].isdigit()):
                raise HttpError("the answer is not HTTP")
            status, headers = int(rest[:3]), {}
            while line := self._line():
                name, colon, value = line.partition(":")
                if not colon:
                    raise HttpError("the answer has a line that is not a header")
                headers[name.lower()] = value.strip()
        return status, headers, version == "HTTP/1.1"

    def _line(self) -> str:
        line = self._reader.readline(_HEAD_LIMIT)
        if not line.endswith(b"\n"):
            if not self.answering:
                raise ConnectionResetError("the connection was closed without an answer")
            raise HttpError("the answer is not complete, or its head is too long")
        return line.rstrip(b"\r\n").decode("latin-1")

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunks()
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()):
            raise HttpError("the answer has no length")
        return self._exactly(int(length))

    def _exactly(self, length: int) -> bytes:
        if length > BODY_LIMIT:
            raise HttpError(f"an answer of {length:,} bytes is more than is read")
        found = self._reader.read(length)
        if len(found) < length:
            raise HttpError("the answer is not complete")
        return found

    def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            size = self._line().partition(";")[0].strip()
            if not size or not all(digit in "0123456789abcdefABCDEF" for digit in size):
                raise HttpError("the answer has a chunk without a size")
            length = int(size, 16)
            if len(body) + length > BODY_LIMIT:
                raise HttpError("the answer is too long")
            if length == 0:
                while self._line():  # trailers
                    pass
                return bytes(body)
            body += self._exactly(length)
            if self._line():
                raise HttpError("a chunk is longer than its size")

    def close(self) -> None:
        self.sock.close()


class _DeadlineReader(io.RawIOBase):
    """Reads a socket piece by piece, each within the time and size that are left; nothing if `limit` is 0."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._until = sock, math.inf
        self.size = self.limit = 0

    def start(self, until: float, limit: int) -> None:
        self._until, self.size, self.limit = until, 0, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if not self.limit:
            return None
        if self.size >= self.limit:
            raise HttpError("the answer is too long")
        self._sock.settimeout(_remaining(self._until))
        size = self._sock.recv_into(buffer)
        self.size += size
        return size


def _authorization(proxy: Proxy | None) -> str:
    return f"proxy-authorization: {proxy.authorization}\r\n" if proxy is not None and proxy.authorization else ""


def _remaining(until: float) -> float:
    seconds = until - monotonic()
    if seconds <= 0:
        raise TimeoutError
    return min(seconds, 86_400.0)


def _is_readable(sock: socket.socket) -> bool:
    if isinstance(sock, ssl.SSLSocket) and sock.pending():
        return True
    if hasattr(select, "poll"):  # no limit on the number of the descriptor, as select has
        poll = select.poll()
        poll.register(sock, select.POLLIN | select.POLLHUP | select.POLLERR)
        return bool(poll.poll(0))
    return bool(select.select([sock], [], [], 0)[0])
