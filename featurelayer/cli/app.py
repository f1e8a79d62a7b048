"""The command line: run a command, and turn every failure into a message and an exit code."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence

import click

from featurelayer._version import __version__
from featurelayer.cli.commands import command_summaries, load_command
from featurelayer.cli.console import Console
from featurelayer.cli.options import console_options
from featurelayer.errors import FeatureLayerError, did_you_mean


class Commands(click.Group):
    """The built-in commands and those of other packages, imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(command_summaries())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (as above)
        return load_command(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise click.UsageError(f"No such command '{args[0]}'{did_you_mean(args[0], command_summaries())}.", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (as above)
        with formatter.section("Commands"):
            formatter.write_dl(list(command_summaries().items()))


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 a failure that the message explains, 2 usage.",
)
@console_options
@click.version_option(__version__, prog_name="featurelayer", message="%(prog)s %(version)s")
def cli() -> None:
    """A feature layer on the warehouse: dbt models are the only definition of a feature."""


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
        # The reader closed the pipe; without this Python would print an error while it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 (any other exception is a bug of ours, reported in one line)
        console.error(_write_bug_report(error, arguments))
        return 2
    return result if isinstance(result, int) else 0


def _write_bug_report(error: Exception, arguments: Sequence[str]) -> str:
    """Write the traceback to a file, and return the line that reports the bug."""
    summary = f"this is a bug in featurelayer, please report it: {type(error).__name__}: {error}".splitlines()[0]
    # Only the command's name: its options may hold keys and values of personal data.
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
