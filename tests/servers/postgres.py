"""A PostgreSQL server of the test run's own: made in a temporary folder, on loopback, gone at the end.

Its programs are Debian's `postgresql` package or any on the PATH. They refuse to run as root, so root runs them as
another user of the machine. The database sorts text as people do in a language and not by bytes, and asks for a
password: neither may matter to what we do.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PATIENCE_SECONDS = 60
_USERS = ("postgres", "nobody")
USER = "tester"

# Stops the server when its standard input closes: even a test run that is killed leaves nothing behind.
_SUPERVISED = """
"$@" </dev/null & server=$!
while kill -0 $server 2>/dev/null; do read -r -t 1 _; [ $? -gt 128 ] || break; done
kill -QUIT $server 2>/dev/null; wait $server 2>/dev/null
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where the server listens and what it takes to get in."""

    port: int
    password: str

    def target(self, schema: str = "public", **more: Any) -> dict[str, Any]:
        """Return a dbt-postgres target of profiles.yml."""
        said = {"type": "postgres", "host": "127.0.0.1", "port": self.port, "user": USER, "password": self.password}
        return {**said, "dbname": "postgres", "schema": schema, "threads": 2, **more}


def why_not() -> str:
    """Return why there can be no server here, or an empty string."""
    if _programs() is None:
        return "PostgreSQL's tests need its server: there is no initdb on the PATH or in /usr/lib/postgresql"
    if os.geteuid() == 0 and _user() is None:
        return "PostgreSQL does not run as root, and this machine has no other user for it"
    return ""


@contextmanager
def running(*settings: str) -> Iterator[Server]:
    """Yield a server of its own, empty, that stops at the end; `settings` are `name=value`."""
    programs, user = _programs(), _user() if os.geteuid() == 0 else None
    assert programs is not None, why_not()
    switched: dict[str, Any] = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    folder = Path(tempfile.mkdtemp(prefix="fl-pg-", dir="/tmp"))  # a socket's path is short
    try:
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        server = Server(port=_free_port(), password=secrets.token_urlsafe(12) + "' \\")
        _make(programs, folder, server, switched)
        # Nothing of it is to outlive the run, so nothing has to reach the disk.
        asked = ("listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", "fsync=off",
                 "synchronous_commit=off", "full_page_writes=off", "max_connections=40", *settings)  # fmt: skip
        command = [str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(server.port)]
        for setting in asked:
            command += ["-c", setting]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                ["bash", "-c", _SUPERVISED, "bash", *command], stdin=subprocess.PIPE, stdout=log, stderr=log,
                cwd=folder, **switched,
            )  # fmt: skip
        assert process.stdin is not None
        try:
            _wait(process, programs, folder, server)
            yield server
        finally:
            process.stdin.close()
            process.wait(timeout=30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make(programs: Path, folder: Path, server: Server, switched: dict[str, Any]) -> None:
    secret = folder / "password"
    secret.write_text(server.password)
    if switched:
        os.chown(secret, switched["user"], switched["group"])
    command = [
        str(programs / "initdb"), "-D", str(folder / "data"), "-U", USER, f"--pwfile={secret}", "-A", "scram-sha-256",
        "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions",
    ]  # fmt: skip
    languages = (["--locale-provider=icu", "--icu-locale=en-US"], [])  # the first since 15, where it was built in
    for language in languages:
        done = subprocess.run([*command, *language], cwd=folder, capture_output=True, text=True, **switched)
        if done.returncode == 0:
            return
        shutil.rmtree(folder / "data", ignore_errors=True)
    raise RuntimeError(f"initdb failed:\n{done.stderr[-2000:]}")


def _programs() -> Path | None:
    """The folder of the server's programs, the newest version first."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return folders[-1].parent if folders else None


def _user() -> pwd.struct_passwd | None:
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next((known[name] for name in _USERS if name in known), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], programs: Path, folder: Path, server: Server) -> None:
    ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(server.port)]
    until = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < until and process.poll() is None:
        if subprocess.run(ready, cwd=folder).returncode == 0:
            return
        time.sleep(0.1)
    raise RuntimeError(f"PostgreSQL did not start:\n{(folder / 'log').read_text(errors='replace')[-2000:]}")
