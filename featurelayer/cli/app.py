"""The command line: finds one command per file, and turns every failure into a message and an exit code.

A command is a module here that defines `command`, a click command; `build_training_set.py` is `build-training-set`.
The first line of its docstring is its help in the list, read without importing it.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from featurelayer._version import __version__
from featurelayer.cli.console import Console
from featurelayer.cli.hints import register_root
from featurelayer.cli.options import console_options
from featurelayer.errors import FeatureLayerError, MissingDependency, did_you_mean

_HELP = re.compile(r'\A"""(.+?)(?:"""|$)', re.MULTILINE)
_IS_COMMAND = re.compile(r"^def command\(", re.MULTILINE)


class Commands(click.Group):
    """The commands of this folder, imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return sorted(_summaries())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (as above)
        if cmd_name not in _summaries():
            return None
        try:
            module = importlib.import_module(f"{__package__}.{cmd_name.replace('-', '_')}")
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("featurelayer"):
                raise
            raise MissingDependency(error.name, "cli") from error
        command: click.Command = module.command
        command.name = cmd_name
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in _summaries():
            suggestion = did_you_mean(args[0], _summaries())
            raise click.UsageError(f"There is no command '{args[0]}'{suggestion}.", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (as above)
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_summaries().items()))


@functools.cache
def _summaries() -> dict[str, str]:
    """Return each command's name and the first line of its module, without importing it."""
    found = {}
    for path in Path(__file__).parent.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        if _IS_COMMAND.search(source):
            summary = _HELP.match(source)
            found[path.stem.replace("_", "-")] = summary[1].strip() if summary else ""
    return found


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 a failure that the message explains, 2 usage.",
)
@console_options
@click.version_option(__version__, prog_name="featurelayer", message="%(prog)s %(version)s")
def cli() -> None:
    """A feature layer on the warehouse: dbt models are the only definition of a feature."""


register_root(cli)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line with these arguments and return its exit code: 0, 1 or 2."""
    arguments = list(sys.argv[1:] if args is None else args)
    console = Console.from_arguments(arguments)
    try:
        result = cli.main(arguments, prog_name="featurelayer", standalone_mode=False, obj=console)
        sys.stdout.flush()
    except FeatureLayerError as error:
        console.failure(error)
        return 1
    except click.UsageError as error:
        console.usage(error)
        return 2
    except click.ClickException as error:
        console.error(error.format_message())
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        console.error("interrupted")
        return 1
    except BrokenPipeError:
        # The reader has gone; without this Python would complain once more while it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 (whatever it is, it is our bug and the person gets one line)
        console.error(_write_bug_report(error, arguments))
        return 2
    return result if isinstance(result, int) else 0


def _write_bug_report(error: Exception, arguments: Sequence[str]) -> str:
    """Return the line that admits a bug, after writing the traceback to a file."""
    summary = f"this is a bug in featurelayer, please report it: {type(error).__name__}: {error}".splitlines()[0]
    # Only the command's name: its options may hold keys and values of the person's data.
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    text = f"featurelayer {__version__}, Python {sys.version.split()[0]}, command {command}\n{traceback.format_exc()}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="featurelayer-", suffix=".log", delete=False, encoding="utf-8"
        ) as log:
            log.write(text)
    except OSError:
        return summary
    return f"{summary} (traceback: {log.name})"
