"""Serve a built site to a browser on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from featurelayer.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteServer:
    """A listening server; `run` answers requests until it is interrupted."""

    url: str
    _server: ThreadingHTTPServer

    def run(self) -> None:
        """Answer requests until ctrl-c, which is the normal end."""
        try:
            self._server.serve_forever()
        except KeyboardInterrupt:
            return

    def stop(self) -> None:
        """Make `run` return, from another thread."""
        self._server.shutdown()


class _Handler(SimpleHTTPRequestHandler):
    """Serves files of the folder without listings, and without caching: the next build may differ."""

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def list_directory(self, path: str) -> None:  # type: ignore[override]  # noqa: ARG002 (as the library has it)
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Do not log requests."""


@contextmanager
def open_server(folder: Path, host: str, port: int) -> Iterator[SiteServer]:
    """Listen until the context ends.

    Raises:
        ConfigError: the port is in use or not allowed.
    """
    try:
        listening = ThreadingHTTPServer((host, port), partial(_Handler, directory=str(folder)))
    except OSError as error:
        what = f"can't listen on {host}:{port}: {error.strerror or error}"
        raise ConfigError(
            [Problem(what=what, where="--port", fix="pass another --port (0 picks a free one)")]
        ) from error
    with listening:
        yield SiteServer(url=f"http://{host}:{listening.server_address[1]}/", _server=listening)
