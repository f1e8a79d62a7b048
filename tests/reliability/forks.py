"""A process that has everything imported and forks: each child is one `featurelayer` command, to be killed or frozen.

Commands come as JSON lines on standard input: `["run", arguments, file for its output]` is answered by the child's pid,
`["wait", pid]` by its exit code or minus the signal that ended it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from featurelayer.__main__ import main
from featurelayer.cli import export as _export  # noqa: F401 (imported once for all children)


def serve() -> None:
    for line in sys.stdin:
        match json.loads(line):
            case ["run", arguments, output]:
                print(_child(arguments, output), flush=True)
            case ["wait", pid]:
                print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _child(arguments: list[str], output: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        with Path(output).open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            sys.argv = ["featurelayer", *arguments]
            try:
                code = main() or 0
            except SystemExit as done:
                code = int(done.code or 0)
            sys.stdout.flush()
            sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve()
