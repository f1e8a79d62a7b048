"""Temporary folders: gone afterwards, and taken away by the next process where one was killed."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from featurelayer import tempdirs as temporary
from featurelayer.tempdirs import TempDir

HOLDER = """
import sys
from pathlib import Path
from featurelayer.tempdirs import TempDir
folder = TempDir(target=Path(sys.argv[1]) if sys.argv[1:] else None)
(folder.path / "rows").write_text("half")
print(folder.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's place for temporary files, of this test alone."""
    found = tmp_path / "tmp"
    found.mkdir()
    monkeypatch.setenv("TMPDIR", str(found))
    monkeypatch.setattr(tempfile, "tempdir", str(found))
    return found


def holder(*arguments: str) -> tuple[subprocess.Popen[str], Path]:
    """A process that has a folder until it is told to end, and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=20)


def test_it_is_there_inside_and_gone_afterwards(place: Path) -> None:
    with TempDir() as folder:
        (folder / "rows").write_text("x")
        assert folder.parent == place
    assert list(place.iterdir()) == []
    kept = TempDir()
    assert len(list(place.iterdir())) == 1
    del kept
    gc.collect()
    assert list(place.iterdir()) == []


def test_the_keyboard_may_stop_it_at_any_line(place: Path) -> None:
    def stopped_at(line: int) -> bool:
        """Whether making a folder had that many lines, the last of which the keyboard stopped."""
        lines = itertools.count()

        def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
            if frame.f_code.co_filename != temporary.__file__:
                return None
            if event == "line" and next(lines) == line:
                raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            made = TempDir()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        made.remove()
        return False

    tried = 0
    while stopped_at(tried):
        gc.collect()
        assert list(place.iterdir()) == [], f"stopped at line {tried} of what makes it"
        tried += 1
    assert tried > 20
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("beside", [False, True])
def test_what_a_killed_process_left_goes_with_the_next_folder(tmp_path: Path, place: Path, beside: bool) -> None:
    output = tmp_path / "out" / "train.parquet"
    output.parent.mkdir()
    process, left = holder(*([str(output)] if beside else []))
    assert left.parent == (output.parent if beside else place)
    process.kill()
    end(process)
    assert (left / "rows").read_text() == "half"
    with TempDir(target=output.with_name("other.parquet")):
        assert left.exists(), "another file's"
    with TempDir(target=output if beside else None):
        assert not left.exists()


def test_what_a_living_process_has_stays(place: Path) -> None:
    process, there = holder()
    with TempDir(), TempDir():
        assert len(list(place.iterdir())) == 3
    assert (there / "rows").read_text() == "half"
    end(process)
    assert list(place.iterdir()) == []


def test_what_is_not_known_to_be_ours_stays(place: Path) -> None:
    (place / "featurelayer-notes").mkdir()
    (place / "featurelayer-linked").symlink_to(place / "featurelayer-notes")
    other = place / "featurelayer-of-another-host"
    other.mkdir()
    (other / ".in-use").write_text("another host")
    with TempDir():
        assert len(list(place.iterdir())) == 4
    long_ago = time.time() - 2 * 86_400
    os.utime(other / ".in-use", (long_ago, long_ago))
    with TempDir():
        assert not other.exists()
    assert sorted(path.name for path in place.iterdir()) == ["featurelayer-linked", "featurelayer-notes"]
