"""Suggested commands: complete them with the project and target of this call."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from typing import Any

import click

from featurelayer.cli.commands import load_command
from featurelayer.errors import ConfigError, MissingDependency

_COMMAND = re.compile(r"`((?:featurelayer|dbt) [^`\n]+)`")
# dbt takes these for every command that a message names.
_OF_DBT = frozenset({"--project-dir", "--profiles-dir", "--profile", "--target", "--target-path", "--vars"})
_SHORT = {"--target": "-t"}


def complete_commands(text: str, given: Mapping[str, str]) -> str:
    """Return a message whose commands in backticks keep the options that are `given`, where they take them.

    `given` has the text of each option, empty for a flag. A command that has an option already keeps its own.
    """
    if not given or "`" not in text:
        return text
    return _COMMAND.sub(lambda found: f"`{_complete_command(found[1], given)}`", text)


def complete_fixes(value: Any, given: Mapping[str, str]) -> Any:
    """Complete the commands in every text under the key `fix` of JSON values."""
    if not given:
        return value
    if isinstance(value, Mapping):
        return {
            key: complete_commands(item, given)
            if key == "fix" and isinstance(item, str)
            else complete_fixes(item, given)
            for key, item in value.items()
        }
    return [complete_fixes(item, given) for item in value] if isinstance(value, (list, tuple)) else value


def _complete_command(command: str, given: Mapping[str, str]) -> str:
    words = command.split()
    taken = _command_options(words)
    has = {word.partition("=")[0] for word in words}
    return " ".join([
        command,
        *(
            f"{_SHORT.get(name, name)} {shlex.quote(value)}" if value else name
            for name, value in given.items()
            if name in taken and not has & {name, _SHORT.get(name)}
        ),
    ])  # fmt: skip


def _command_options(words: list[str]) -> Collection[str]:
    """Return the options that a command takes; none for an unknown command."""
    if words[0] == "dbt":
        return _OF_DBT
    try:
        command = load_command(words[1]) if len(words) > 1 else None
    except (ConfigError, MissingDependency):
        return ()
    for word in words[2:]:
        if not isinstance(command, click.Group) or word.startswith("-"):
            break
        command = command.get_command(click.Context(command), word)
    if command is None or isinstance(command, click.Group):
        return ()
    return {name for parameter in command.params for name in parameter.opts}
