"""HTTP/1.1 as far as one kind of request needs it: POST to `/` over connections that are kept, within a time.

Every wait is bounded by the time of the whole exchange, so a body that drips does not outlast it. Headers and body are
bounded, too. Nothing is retried here but one thing: a kept connection that turns out to be closed before it answered a
byte is replaced by a new one. That may send a request twice, which a read does not mind and a write is told.
"""

from __future__ import annotations

import math
import select
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from time import monotonic

import msgspec

_HEAD_LIMIT = 64 * 1024
# DynamoDB answers with 16 MB of items at most; JSON and escapes make that more.
BODY_LIMIT = 128 * 1024 * 1024
_CHUNK = 64 * 1024
# Load balancers forget connections after a minute or so, some without a word.
_IDLE_SECONDS = 50.0


class HttpError(Exception):
    """The peer sent something that is no answer, or closed the connection."""


class Response(msgspec.Struct, frozen=True):
    """An answer; the names of headers are in lower case. `resent` says that the request may have arrived twice."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    resent: bool = False


class ConnectionPool:
    """Connections to one host, kept for the next request; at most `idle` of them. Safe to share between threads."""

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None, idle: int) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._idle: deque[_Connection] = deque(maxlen=idle)

    def post(self, headers: Mapping[str, str], body: bytes, *, timeout: float, until: float = math.inf) -> Response:
        """Send a request and return the answer. Connecting and answering may each take `timeout` seconds.

        `until` is a reading of `time.monotonic()` at which all is over.

        Raises:
            TimeoutError: one of them took longer.
            HttpError: the answer is none.
            OSError: the host can't be reached, or the connection broke.
        """
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"POST / HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n".encode("latin-1") + body
        kept = self._kept()
        if kept is not None:
            try:
                return self._exchange(kept, request, min(until, monotonic() + timeout))
            except (ConnectionError, ssl.SSLEOFError, HttpError):
                if kept.answering:
                    raise
        left = min(timeout, until - monotonic())
        if left <= 0:
            raise TimeoutError
        fresh = _Connection(self._host, self._port, self._tls, left)
        response = self._exchange(fresh, request, min(until, monotonic() + timeout))
        return response if kept is None else msgspec.structs.replace(response, resent=True)

    def close(self) -> None:
        """Close what is kept."""
        while self._idle:
            self._idle.pop().close()

    def _kept(self) -> _Connection | None:
        """Return the connection that was used last and is still good."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.is_usable():
                return connection
            connection.close()

    def _exchange(self, connection: _Connection, request: bytes, until: float) -> Response:
        try:
            response = connection.exchange(request, until)
        except BaseException:
            connection.close()  # half an answer may still be under way
            raise
        if not connection.keep or len(self._idle) == self._idle.maxlen:
            connection.close()
        else:
            self._idle.append(connection)
        return response


class _Connection:
    __slots__ = ("_unread", "_until", "_used_at", "answering", "keep", "sock")

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, timeout: float) -> None:
        sock = socket.create_connection((host, port), timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self.sock = sock if tls is None else tls.wrap_socket(sock, server_hostname=host)
        except BaseException:
            sock.close()
            raise
        self.keep = self.answering = False
        self._unread = bytearray()
        self._used_at = self._until = monotonic()

    def is_usable(self) -> bool:
        """Whether it may be used again. Something to read before anything was asked is the peer's goodbye."""
        return monotonic() - self._used_at < _IDLE_SECONDS and not _is_readable(self.sock)

    def exchange(self, request: bytes, until: float) -> Response:
        """Send a request and read the whole answer; `until` is a reading of `time.monotonic()`."""
        self.answering, self._until = False, until
        self._allow()
        self.sock.sendall(request)
        status = 0
        while status < 200:  # 1xx: the answer is still to come
            status, headers, is_modern = _parse_head(self._head())
        keep, body = self._body(headers)
        self.keep = keep and is_modern and not self._unread and headers.get("connection", "").lower() != "close"
        self._used_at = monotonic()
        return Response(status, headers, body)

    def close(self) -> None:
        self.sock.close()

    def _allow(self) -> None:
        left = self._until - monotonic()
        if left <= 0:
            raise TimeoutError
        self.sock.settimeout(left)

    def _receive(self) -> None:
        self._allow()
        more = self.sock.recv(_CHUNK)
        if not more:
            raise HttpError("the connection was closed before the answer was complete")
        self.answering = True
        self._unread += more

    def _through(self, mark: bytes, limit: int) -> bytes:
        """Return what comes up to a mark, which is dropped."""
        start = 0
        while (end := self._unread.find(mark, start)) < 0:
            start = max(0, len(self._unread) - len(mark) + 1)
            if start > limit:
                raise HttpError("the head of the answer is too long")
            self._receive()
        found = bytes(self._unread[:end])
        del self._unread[: end + len(mark)]
        return found

    def _head(self) -> bytes:
        return self._through(b"\r\n\r\n", _HEAD_LIMIT)

    def _exactly(self, length: int) -> bytes:
        if length > BODY_LIMIT:
            raise HttpError(f"an answer of {length:,} bytes is more than is read")
        while len(self._unread) < length:
            self._receive()
        found = bytes(self._unread[:length])
        del self._unread[:length]
        return found

    def _body(self, headers: Mapping[str, str]) -> tuple[bool, bytes]:
        """Return the body, and whether the connection is fit for more."""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return True, self._chunks()
        length = headers.get("content-length")
        if length is not None:
            if not (length.isascii() and length.isdigit()):
                raise HttpError(f"content-length: {length[:20]!r}")
            return True, self._exactly(int(length))
        raise HttpError("the answer does not say how long it is")

    def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            size = self._through(b"\r\n", _HEAD_LIMIT).partition(b";")[0].strip()
            try:
                length = int(size, 16)
            except ValueError:
                raise HttpError(f"a chunk of size {size[:20]!r}") from None
            if length < 0 or len(body) + length > BODY_LIMIT:
                raise HttpError("the chunks of the answer are too long")
            if length == 0:
                while self._through(b"\r\n", _HEAD_LIMIT):  # trailers
                    pass
                return bytes(body)
            body += self._exactly(length)
            if self._exactly(2) != b"\r\n":
                raise HttpError("a chunk does not end where it says")


def _parse_head(head: bytes) -> tuple[int, dict[str, str], bool]:
    """Return status, headers in lower case, and whether the peer speaks HTTP/1.1."""
    lines = head.decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    status = rest[:3]
    if not (version in ("HTTP/1.1", "HTTP/1.0") and status.isascii() and status.isdigit() and len(status) == 3):
        raise HttpError(f"no HTTP answer: {lines[0][:40]!r}")
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise HttpError(f"no HTTP header: {name[:40]!r}")
        headers[name.lower()] = value.strip()
    return int(status), headers, version == "HTTP/1.1"


def _is_readable(sock: socket.socket) -> bool:
    if isinstance(sock, ssl.SSLSocket) and sock.pending():
        return True
    if hasattr(select, "poll"):  # no limit on the number of the descriptor, as select has
        poll = select.poll()
        poll.register(sock, select.POLLIN | select.POLLHUP | select.POLLERR)
        return bool(poll.poll(0))
    return bool(select.select([sock], [], [], 0)[0])
