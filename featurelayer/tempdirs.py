"""Temporary folders that outlive no crash: the next process removes what a killed one left.

The process that uses a folder holds a lock on a file in it. The system releases the lock when the process ends, however
it ends; so a folder whose lock is free is an orphan.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
import uuid
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_LOCK = ".in-use"
# Of a folder that another host made the lock may be invisible here, so it has to be old, too.
_OLD_SECONDS = 86_400


class TempDir:
    """A temporary folder of this process: in the system's folder for them, or hidden next to `target`.

    A context manager that yields the path; or call `remove()`.
    """

    def __init__(self, *, target: Path | None = None) -> None:
        place, prefix, suffix = (
            (Path(tempfile.gettempdir()), "featurelayer-", "")
            if target is None
            else (target.parent, f".{target.name}.", ".partial")
        )
        _sweep_orphans(place, prefix, suffix)
        while True:
            self.path = place.absolute() / f"{prefix}{uuid.uuid4().hex}{suffix}"
            held: list[int] = []
            # Before there is anything to remove: the keyboard may stop this between any two lines.
            self._remove = weakref.finalize(self, _remove_folder, self.path, held)
            self.path.mkdir(mode=0o700)
            held.append(os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600))
            os.write(held[0], platform.node().encode())
            _lock_file(held[0])
            if os.fstat(held[0]).st_nlink or os.name != "posix":
                break
            self.remove()  # another process took it for an orphan before it was locked

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Delete the folder and its content."""
        self._remove()


def _remove_folder(folder: Path, held: Sequence[int]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for lock in held:
        os.close(lock)
    if folder.exists():  # where an open file can't be deleted
        shutil.rmtree(folder, ignore_errors=True)


def _sweep_orphans(place: Path, prefix: str, suffix: str) -> None:
    """Delete the folders of processes that have ended."""
    with suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and entry.name.endswith(suffix) and entry.is_dir(follow_symlinks=False):
                with suppress(OSError):
                    _remove_orphan(Path(entry.path))


def _remove_orphan(folder: Path) -> None:
    """Remove a folder of ours whose lock is free; one without a lock was made by something else."""
    lock = folder / _LOCK
    held = os.open(lock, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    try:
        mine = not hasattr(os, "getuid") or os.fstat(held).st_uid == os.getuid()
        here = os.read(held, 1024) == platform.node().encode()
        old = time.time() - os.fstat(held).st_mtime > _OLD_SECONDS
        if mine and (here or old) and _lock_file(held, wait=False):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(held)


def _lock_file(held: int, *, wait: bool = True) -> bool:
    """Lock an open file; return whether that worked, since a file system may lack locks."""
    try:
        import fcntl

        fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (ImportError, OSError):
        return False
    return True


def is_process_alive(process: int) -> bool:
    """Return whether a process of this host is alive; unknown counts as alive."""
    if os.name != "posix":
        return True  # there, signal 0 would not ask but kill
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
