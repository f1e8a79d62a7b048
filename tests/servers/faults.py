"""A proxy in front of moto or DynamoDB Local that makes DynamoDB misbehave, by a script or at random from a seed.

    with FaultProxy(moto_endpoint) as proxy:
        proxy.script(Refuse("ThrottlingException"), None, Drop(applied=True), operation="PutItem")
        ... a client of proxy.url: its first PutItem is throttled, its third is written and never answered ...

None is no fault. What is not scripted goes through untouched. Every call is kept in `proxy.calls`.
"""

from __future__ import annotations

import json
import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Refuse:
    """An error instead of an answer; the call is not passed on."""

    code: str
    status: int = 400
    message: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Latency before the call is passed on."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection is closed without an answer, before or after the call was carried out."""

    applied: bool


@dataclass(frozen=True, slots=True)
class Partial:
    """Only the first `keep` keys or writes of a batch are carried out; the rest comes back as unprocessed."""

    keep: int = 1


@dataclass(frozen=True, slots=True)
class FailStatements:
    """Every other statement of a BatchExecuteStatement fails, in an answer that says 200."""

    code: str = "ThrottlingError"


@dataclass(frozen=True, slots=True)
class Dribble:
    """The answer comes in pieces with a pause before each."""

    pieces: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Truncate:
    """The connection closes in the middle of the answer's body."""


@dataclass(frozen=True, slots=True)
class Garble:
    """The body arrives whole with a byte changed, under the checksum of the right one."""


@dataclass(frozen=True, slots=True)
class Hollow:
    """The answer says 200 and `{}`, as something between us and DynamoDB might."""


Fault = Refuse | Wait | Drop | Partial | FailStatements | Dribble | Truncate | Garble | Hollow
THROTTLES = (Refuse("ProvisionedThroughputExceededException"), Refuse("ThrottlingException"))
TRANSIENT: tuple[Fault, ...] = (
    *THROTTLES, Refuse("InternalServerError", 500), Refuse("ServiceUnavailable", 503), Drop(applied=False),
    Drop(applied=True), Truncate(), Garble(), Dribble(5, 0.01), Wait(0.02),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """A call that reached the proxy, and what became of it."""

    operation: str
    request: dict[str, Any]
    fault: Fault | None


class FaultProxy:
    """An HTTP server on loopback that passes calls on to `upstream`, but for the faults of its plan."""

    def __init__(self, upstream: str) -> None:
        self.calls: list[Call] = []
        self.plan: Callable[[str], Fault | None] = lambda _operation: None
        self.closing = threading.Event()
        self._upstream = urlsplit(upstream).netloc
        self._lock = threading.Lock()
        self._port = 0
        self._listen()
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()  # releases whoever waits
        self._hang_up()

    def _listen(self) -> None:
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        self._http.daemon_threads = True
        self._port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def _hang_up(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def cut(self) -> None:
        """Be gone: nobody listens, and whoever is connected gets no more answers, though a call may be carried out."""
        self.always(Drop(applied=True))
        self._hang_up()

    def mend(self) -> None:
        """Be back after `cut`, at the same address."""
        self._listen()
        self.plan = lambda _operation: None

    def script(self, *faults: Fault | None, operation: str = "") -> None:
        """Give each of the next calls (of that operation) the next of these faults; then none."""
        left = deque(faults)
        self.plan = lambda name: left.popleft() if left and operation in ("", name) else None

    def always(self, fault: Fault, operation: str = "") -> None:
        """Give every call (of that operation) this fault."""
        self.plan = lambda name: fault if operation in ("", name) else None

    def at_random(self, seed: int, rate: float, faults: Sequence[Fault]) -> None:
        """Give calls one of the faults at this rate, the same for the same seed and order of calls."""
        chance = random.Random(seed)
        self.plan = lambda _name: chance.choice(faults) if chance.random() < rate else None

    def pass_all(self) -> None:
        """Stop misbehaving, and forget the calls so far."""
        self.plan = lambda _operation: None
        self.calls.clear()

    def take(self, operation: str, request: dict[str, Any]) -> Fault | None:
        """Return what is to happen to a call."""
        with self._lock:
            fault = self.plan(operation)
            self.calls.append(Call(operation, request, fault))
        return fault

    def forward(self, headers: dict[str, str], request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        """Return the server's own answer."""
        connection = HTTPConnection(self._upstream, timeout=60)
        try:
            connection.request("POST", "/", body=json.dumps(request), headers=headers)
            answer = connection.getresponse()
            kept = {name: text for name, text in answer.getheaders() if name.lower().startswith(("x-amz", "content-t"))}
            return answer.status, kept, answer.read()
        finally:
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: FaultProxy

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation = self.headers["X-Amz-Target"].rpartition(".")[2]
        fault = self.proxy.take(operation, request)
        try:
            self._answer(operation, request, fault)
        except OSError:
            self.close_connection = True  # the client has given up, which is what some tests are about

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, operation: str, request: dict[str, Any], fault: Fault | None) -> None:
        match fault:
            case Refuse(code, status, message):
                body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message or f"it says {code}"}
                return self._send(status, {}, json.dumps(body).encode())
            case Drop(applied):
                if applied:
                    self._forward(request)
                self.close_connection = True
                return None
            case Partial(keep):
                return self._send(200, {}, json.dumps(self._partial(operation, request, keep)).encode())
            case FailStatements(code):
                return self._send(200, {}, json.dumps(self._statements(request, code)).encode())
            case Hollow():
                return self._send(200, {}, b"{}")
            case Wait(seconds):
                self.proxy.closing.wait(seconds)
        status, headers, body = self._forward(request)
        if isinstance(fault, Garble):
            body = body[:-1] + b"]"
        if isinstance(fault, Truncate):
            self._send(status, headers, body[: len(body) // 2], length=len(body))
            self.close_connection = True
        elif isinstance(fault, Dribble):
            self._send(status, headers, body, pieces=fault.pieces, pause=fault.seconds)
        else:
            self._send(status, headers, body)
        return None

    def _forward(self, request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        # The length is that of the request as it is passed on; connections are closed after each.
        headers = {name: text for name, text in self.headers.items() if name.lower() not in ("content-length",)}
        return self.proxy.forward(headers, request)

    def _send(
        self, status: int, headers: dict[str, str], body: bytes, *, length: int = 0, pieces: int = 1, pause: float = 0
    ) -> None:
        self.send_response(status)
        for name, text in ({"Content-Type": "application/x-amz-json-1.0"} | headers).items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        size = max(1, -(-len(body) // pieces))
        for start in range(0, len(body), size):
            if pause:
                self.proxy.closing.wait(pause)
            self.wfile.write(body[start : start + size])

    def _partial(self, operation: str, request: dict[str, Any], keep: int) -> dict[str, Any]:
        """Carry a batch out in part, over all its tables in their order."""
        kept: dict[str, Any] = {}
        left: dict[str, Any] = {}
        for table, asked in request["RequestItems"].items():
            entries = asked["Keys"] if operation == "BatchGetItem" else asked
            for part, chosen in ((kept, entries[:keep]), (left, entries[keep:])):
                if chosen:
                    part[table] = {**asked, "Keys": chosen} if operation == "BatchGetItem" else chosen
            keep = max(0, keep - len(entries))
        answer: dict[str, Any] = {"Responses": {}} if operation == "BatchGetItem" else {}
        if kept:
            answer |= json.loads(self._forward({**request, "RequestItems": kept})[2])
        return answer | {"UnprocessedKeys" if operation == "BatchGetItem" else "UnprocessedItems": left}

    def _statements(self, request: dict[str, Any], code: str) -> dict[str, Any]:
        statements = request["Statements"]
        answers = iter(json.loads(self._forward({**request, "Statements": statements[1::2]})[2])["Responses"]
                       if statements[1:] else ())  # fmt: skip
        failed = {"Error": {"Code": code, "Message": f"it says {code}"}}
        return {"Responses": [next(answers) if index % 2 else failed for index in range(len(statements))]}
