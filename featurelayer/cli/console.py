"""Messages on stderr: text for people, or one JSON object per message."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import click

from featurelayer.cli.hints import complete_commands
from featurelayer.errors import FeatureLayerError, Problem, did_you_mean
from featurelayer.terminal_text import printable


@dataclass(slots=True)
class Console:
    """Messages to stderr; stdout is for the result alone.

    `given` are the options of the project and its target in this call: commands that a message suggests keep them.
    """

    as_json: bool = False
    quiet: bool = False
    given: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> Console:
        """Return the console for the arguments and the environment, before click has parsed them.

        So a wrong option is reported in the right format, too.
        """
        asked = os.environ.get("DBT_ENGINE_LOG_FORMAT") or os.environ.get("DBT_LOG_FORMAT")
        for argument, following in itertools.pairwise([*arguments, ""]):
            if argument == "--":
                break
            if argument == "--log-format":
                asked = following
            elif argument.startswith("--log-format="):
                asked = argument.partition("=")[2]
        return cls(as_json=asked == "json")

    def note(self, message: str) -> None:
        """Write an information; silent with --quiet."""
        if not self.quiet:
            self._write("info", message)

    def warn(self, message: str) -> None:
        """Write a warning; silent with --quiet."""
        if not self.quiet:
            self._write("warning", message)

    def error(self, message: str) -> None:
        """Write an error."""
        self._write("error", message)

    def failure(self, error: FeatureLayerError) -> None:
        """Write every problem of a handled failure."""
        if self.as_json:
            for problem in error.problems:
                self._write_problem(problem)
        else:
            self.error(error.message)

    def usage(self, error: click.UsageError) -> None:
        """Write a usage error with the usage of its command."""
        message = error.format_message()
        if message.startswith("Usage:"):  # no command at all: click's message is the whole help
            sys.stderr.write(f"{printable(message)}\n")
            return
        if isinstance(error, click.NoSuchOption) and error.possibilities is None and error.ctx is not None:
            known = [name for parameter in error.ctx.command.params for name in parameter.opts]
            message += did_you_mean(error.option_name, known)
        if self.as_json:
            self.error(message)
            return
        if error.ctx is not None:
            sys.stderr.write(f"{error.ctx.get_usage()}\n")
            sys.stderr.write(f"Try '{error.ctx.command_path} --help'.\n\n")
        self.error(message)

    def _write(self, level: str, message: str) -> None:
        message = complete_commands(message, self.given)
        if self.as_json:
            self._write_json({"level": level, "message": message})
            return
        prefix = {"error": "Error: ", "warning": "Warning: "}.get(level, "")
        if prefix and sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
            prefix = click.style(prefix, fg="red" if level == "error" else "yellow", bold=True)
        sys.stderr.write(f"{prefix}{printable(message)}\n")

    def _write_problem(self, problem: Problem) -> None:
        fix = complete_commands(problem.fix, self.given)
        parts = {"message": problem.what, "where": problem.where, "fix": fix, "code": problem.code}
        self._write_json({"level": "error", **{key: text for key, text in parts.items() if text}})

    def _write_json(self, message: dict[str, str]) -> None:
        stamped = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **message}
        sys.stderr.write(printable(json.dumps(stamped, ensure_ascii=False)) + "\n")
