"""Write the site to its folder at once, and never over other files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from featurelayer.errors import ConfigError, Problem
from featurelayer.tempdirs import TempDir

_MARK = ".featurelayer-catalog"
_NOTE = "This folder is written by `featurelayer catalog build`, which replaces all of it.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltSite:
    """A written site: its folder, number of files, and size in bytes."""

    folder: Path
    files: int
    bytes: int


def check_folder(folder: Path) -> None:
    """Raise ConfigError for a folder with other files than a catalog.

    Raises:
        ConfigError: it is a file, or a folder with other files.
    """
    if folder.is_dir() and ((folder / _MARK).exists() or not any(folder.iterdir())):
        return
    if folder.exists() or folder.is_symlink():
        what = "is not a catalog, and building would replace its contents" if folder.is_dir() else "is a file"
        fix = "pass a new or empty folder with --output"
        raise ConfigError([Problem(what=f"{folder} {what}", where="--output", fix=fix)])


def write_site(folder: Path, files: Iterable[tuple[str, bytes]]) -> BuiltSite:
    """Write the files to a temporary folder, and rename it to `folder` when they are complete.

    Raises:
        ConfigError: the folder holds something else, or can't be written.
    """
    check_folder(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TempDir(target=folder) as scratch:
            new = scratch / "new"
            count, size = _write_files(new, files)
            if folder.exists():
                folder.rename(scratch / "old")
            new.rename(folder)
    except OSError as error:
        problem = Problem(what=f"the catalog can't be written: {error}", where=str(folder), fix="check the folder")
        raise ConfigError([problem]) from error
    return BuiltSite(folder=folder, files=count, bytes=size)


def _write_files(folder: Path, files: Iterable[tuple[str, bytes]]) -> tuple[int, int]:
    folders: set[Path] = set()
    count = size = 0
    for path, data in [(_MARK, _NOTE.encode()), *files]:
        target = folder / path
        if target.parent not in folders:
            target.parent.mkdir(parents=True, exist_ok=True)
            folders.add(target.parent)
        target.write_bytes(data)
        count, size = count + 1, size + len(data)
    return count, size


def read_logo(path: Path) -> tuple[str, bytes]:
    """Read a logo; return its name in the site, such as `logo.svg`, and its bytes.

    Raises:
        ConfigError: the file does not exist, or is not an image that browsers show.
    """
    suffix = path.suffix.lower()
    if suffix not in (".svg", ".png", ".jpg", ".jpeg", ".webp", ".gif", ".ico"):
        what, fix = f"{path.name} is not an image that browsers show", "use SVG, PNG, JPEG or WebP"
        raise ConfigError([Problem(what=what, where="--logo", fix=fix)])
    try:
        return f"logo{suffix}", path.read_bytes()
    except OSError as error:
        what = f"the logo {path} can't be read: {error.strerror}"
        raise ConfigError([Problem(what=what, where="--logo", fix="pass an existing file")]) from error
