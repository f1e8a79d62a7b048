"""Shows a built site to a browser on this machine."""

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
    """A server that listens; `run` answers until the keyboard stops it."""

    url: str
    _server: ThreadingHTTPServer

    def run(self) -> None:
        """Answer until the keyboard interrupts, which is how it is meant to end."""
        try:
            self._server.serve_forever()
        except KeyboardInterrupt:
            return

    def stop(self) -> None:
        """Have `run` return, from another thread."""
        self._server.shutdown()


class _Handler(SimpleHTTPRequestHandler):
    """Files of the folder and no lists of them, never kept by the browser: the next build may differ."""

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def list_directory(self, path: str) -> None:  # type: ignore[override]  # noqa: ARG002 (as the library has it)
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: what is asked for is the reader's own business."""


@contextmanager
def open_server(folder: Path, host: str, port: int) -> Iterator[SiteServer]:
    """Listen for as long as the context lasts.

    Raises:
        ConfigError: the address can't be listened at, most often because something else does.
    """
    try:
        listening = ThreadingHTTPServer((host, port), partial(_Handler, directory=str(folder)))
    except OSError as error:
        what = f"can't listen at {host}:{port}: {error.strerror or error}"
        raise ConfigError([Problem(what=what, where="--port", fix="choose another with --port, 0 for any")]) from error
    with listening:
        yield SiteServer(url=f"http://{host}:{listening.server_address[1]}/", _server=listening)
