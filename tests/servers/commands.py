"""The commands `dbt` and `featurelayer` without the seconds that importing them takes.

A server, a process of its own with no threads, has imported both. A call is a script that hands its arguments,
environment, folder and open files over a socket; the server forks, and the script ends with the exit code of the fork.
The real scripts are tested by tests/integration/test_wheel.py and by README's own steps.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import pkgutil
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("dbt", "featurelayer")
_SCRIPT = """#!{python} -SE
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"."], [0, 1, 2])
    server.sendall(json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode() + b"\\n")
    code = int(server.makefile().readline() or 1)
sys.exit(code if code >= 0 else 128 - code)
"""


@cache
def folder() -> Path:
    """Return the folder of the two scripts, for the PATH; starts this process's server when it is called first."""
    made = Path(tempfile.mkdtemp(prefix="fl-commands-", dir="/tmp"))  # a socket's path is short
    address = made / "socket"
    for name in COMMANDS:
        (made / name).write_text(_SCRIPT.format(python=sys.executable, address=str(address)))
        (made / name).chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.servers.commands", str(address)], cwd=ROOT, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    atexit.register(server.wait)
    atexit.register(server.stdin.close)
    return made


def main(address: Path) -> Callable[[], Any]:
    """Serve until standard input closes; return in each fork what it has to run."""
    entries = load_commands()
    gc.freeze()  # a collection in a fork would copy every page that it looks at
    parent = os.getpid()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        os.write(1, b"ready\n")
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            ready, _, _ = select.select([listener, 0], [], [])
            if 0 in ready:
                break
            client, _ = listener.accept()
            with client:
                if os.fork() == 0:
                    listener.close()
                    entry = answer(client, entries)
                    assert os.getpid() != parent
                    return entry
    shutil.rmtree(address.parent)
    return lambda: 0


def load_commands() -> dict[str, Callable[[], Any]]:
    """Import what the commands import when they run, and return their entry points."""
    from dbt.cli.main import cli

    import featurelayer.cli
    import featurelayer.layer
    from featurelayer.__main__ import main as featurelayer_main

    for module in pkgutil.iter_modules(featurelayer.cli.__path__, "featurelayer.cli."):
        __import__(module.name)
    return {"dbt": cli, "featurelayer": featurelayer_main}


def answer(client: socket.socket, entries: dict[str, Callable[[], Any]]) -> Callable[[], Any]:
    """Fork once more: the child becomes the command, and this process waits for it and passes its exit code on."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, files, _, _ = socket.recv_fds(client, 1, 3)
    arguments, where, environment = json.loads(client.makefile().readline())
    command = os.fork()
    if command:
        ended = os.pidfd_open(command)
        if client in select.select([client, ended], [], [])[0]:  # the script was killed
            os.kill(command, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
        client.sendall(f"{code}\n".encode())
        os._exit(0)
    client.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(where)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = arguments
    return entries[Path(arguments[0]).name]


def finish(run: Callable[[], Any]) -> None:
    """Run a command and end as Python does, but for taking every imported module apart."""
    try:
        code = run()
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 (as Python itself prints it)
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    finish(main(Path(sys.argv[1])))
