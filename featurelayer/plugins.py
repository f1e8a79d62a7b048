"""Plug-ins: objects that other packages declare under an entry point group, found without importing them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurelayer.errors import ConfigError, Problem
from featurelayer.terminal_text import first_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def find_plugins(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, sorted."""
    # Importing importlib.metadata takes a third of the time of `featurelayer --help`, and most often there is none.
    if not _is_declared(group):
        return {}
    from importlib.metadata import entry_points

    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def load_plugin(point: EntryPoint) -> Any:
    """Return the object of an entry point.

    Raises:
        ConfigError: importing it failed; the message names the package to update.
    """
    try:
        return point.load()
    except Exception as error:
        package = package_name(point)
        what = f"the plug-in '{point.name}' of {package} can't be imported: {type(error).__name__}: {first_line(error)}"
        where = f"entry point {point.group}: {point.name} = {point.value}"
        raise ConfigError([Problem(what=what, where=where, fix=f"update or uninstall {package}")]) from error


def package_name(point: EntryPoint) -> str:
    """Return the distribution that declares an entry point."""
    return point.dist.name if point.dist is not None else point.module


def _is_declared(group: str) -> bool:
    section = f"[{group}]"
    places = [Path(entry or ".") for entry in sys.path]
    files = (file for place in places for file in place.glob("*-info/entry_points.txt"))
    # An archive on the path may hold packages, too.
    return any(place.is_file() for place in places) or any(
        section in file.read_text(encoding="utf-8", errors="replace") for file in files
    )
