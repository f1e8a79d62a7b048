"""Find the commands: the modules of this package, and those that other packages declare as entry points.

A built-in command is a module here that defines `command`, a click command; `build_training_set.py` is
`build-training-set`. An entry point of the group `featurelayer.commands` names a click command of another package. The
first line of a module's docstring is its help in the list, read without importing it.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

from featurelayer.errors import ConfigError, MissingDependency, Problem
from featurelayer.plugins import find_plugins, load_plugin, package_name

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    import click

GROUP = "featurelayer.commands"
_DOCSTRING = re.compile(r'\A"""(.+?)(?:"""|$)', re.MULTILINE)
_IS_COMMAND = re.compile(r"^def command\(", re.MULTILINE)


def command_summaries() -> dict[str, str]:
    """Return the help of every command in one line, by name; built-in ones come before others of the same name."""
    others = {name: _plugin_summary(point) for name, point in _plugins().items()}
    return dict(sorted({**others, **_built_in_summaries()}.items()))


def load_command(name: str) -> click.Command | None:
    """Import a command; None if there is none of this name.

    Raises:
        MissingDependency: the extra `cli` is not installed.
        ConfigError: another package's command can't be imported, or is not one.
    """
    if name not in _built_in_summaries():
        return _load_plugin_command(name)
    try:
        module = importlib.import_module(f"{__package__}.{name.replace('-', '_')}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("featurelayer"):
            raise
        raise MissingDependency(error.name, "cli") from error
    command: click.Command = module.command
    command.name = name
    return command


@functools.cache
def _built_in_summaries() -> dict[str, str]:
    summaries = {}
    for path in Path(__file__).parent.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        if _IS_COMMAND.search(source):
            summaries[path.stem.replace("_", "-")] = _first_line(source)
    return summaries


@functools.cache
def _plugins() -> dict[str, EntryPoint]:
    return find_plugins(GROUP)


def _load_plugin_command(name: str) -> click.Command | None:
    import click

    point = _plugins().get(name)
    if point is None:
        return None
    command = load_plugin(point)
    if not isinstance(command, click.Command):
        source = package_name(point)
        what = f"'{point.value}' of {source} is not a click command"
        problem = Problem(what=what, where=f"entry point {GROUP}: {name}", fix=f"update or uninstall {source}")
        raise ConfigError([problem])
    command.name = name
    return command


def _plugin_summary(point: EntryPoint) -> str:
    """Return the first line of the module's docstring; if it can't be found, the package that the command is from."""
    try:
        spec = importlib.util.find_spec(point.module)
        source = Path(spec.origin).read_text(encoding="utf-8") if spec is not None and spec.origin else ""
    except (ImportError, OSError, ValueError):
        source = ""
    return _first_line(source) or f"Command of {package_name(point)}."


def _first_line(source: str) -> str:
    match = _DOCSTRING.match(source)
    return match[1].strip() if match else ""
