"""Options shared by all commands, named as in dbt, and the context that a command gets from them."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from featurelayer.cli.console import Console

if TYPE_CHECKING:
    from featurelayer.dbt.project import Project
    from featurelayer.model import FeatureView
    from featurelayer.registry import Registry

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(kw_only=True)
class Context:
    """The project of a call. The project and its registry are read on first use."""

    console: Console = field(default_factory=Console)
    project_dir: Path | None = None
    profiles_dir: Path | None = None
    profile: str | None = None
    target: str | None = None
    target_path: Path | None = None
    variables: str | None = None
    assume_target: bool = False

    @cached_property
    def project(self) -> Project:
        """The dbt project, or ConfigError."""
        from featurelayer.dbt.project import load_project

        return load_project(
            self.project_dir,
            profiles_dir=self.profiles_dir,
            profile=self.profile,
            target=self.target,
            target_path=self.target_path,
            vars=self.variables,
            assume_target=self.assume_target,
        )

    @cached_property
    def registry(self) -> Registry:
        """The project's registry, with every target's online store validated; warnings go to the console."""
        from featurelayer.dbt import load_registry
        from featurelayer.dbt.project import CONFIG_FILE
        from featurelayer.errors import MetadataError
        from featurelayer.online.settings import validate_stores

        registry = load_registry(self.project, warn=self.console.warn)
        if problems := validate_stores(self.project.config.document.get("online_store"), CONFIG_FILE):
            raise MetadataError(problems)
        return registry


def warn_of_missing_columns(context: Context, views: Sequence[FeatureView]) -> None:
    """Warn about declared columns that a view's model does not produce, as far as dbt's files show."""
    from featurelayer.dbt.artifacts import read_raw
    from featurelayer.dbt.inventory import Inventory

    raw, path, _ = read_raw(context.project.target_path)
    inventory, adapter = Inventory(raw, path), context.registry.adapter
    models = (inventory.model(view.unique_id) for view in views)
    if not path.with_name("catalog.json").is_file() and not any(model and model.compiled_sql for model in models):
        return
    from featurelayer.dbt.lineage import find_missing_columns, trace

    lineage = trace(inventory, adapter=adapter, unique_ids=[view.unique_id for view in views])
    for view_id, missing in find_missing_columns(inventory, lineage, views, adapter=adapter).items():
        for each in missing:
            context.console.warn(f"{view_id}: {each}")


def _set_quiet(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        console_of(ctx).quiet = True


def console_of(ctx: click.Context) -> Console:
    """Return the console of this run of the command line."""
    return ctx.ensure_object(Console)


_CONSOLE_OPTIONS = (
    click.option(
        "-q",
        "--quiet",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_set_quiet,
        help="Only print errors.",
    ),
    click.option(
        "--log-format",
        type=click.Choice(["text", "json", "default", "debug"]),
        expose_value=False,
        metavar="[text|json]",
        help="Log format on stderr.",
    ),
)
_PATH = click.Path(path_type=Path)
_OPTIONS = (
    click.option("--project-dir", type=_PATH, help="Folder of dbt_project.yml [default: this one or a parent]."),
    click.option("--profiles-dir", type=_PATH, help="Folder of profiles.yml [default: dbt's]."),
    click.option("--profile", help="Profile to use [default: the one in dbt_project.yml]."),
    click.option("-t", "--target", help="Target of the profile [default: the profile's]."),
    click.option("--target-path", type=_PATH, help="Folder of manifest.json [default: target]."),
    click.option(
        "--vars", "variables", metavar="YAML", help="Variables for var() in featurelayer.yml and profiles.yml."
    ),
    click.option("--assume-target", is_flag=True, help="Assume that manifest.json was built for the target."),
)
_NAMES = ("project_dir", "profiles_dir", "profile", "target", "target_path", "variables", "assume_target")
_COMMON = (*_NAMES, "quiet", "log_format", "help")


class Command(click.Command):
    """A command whose help shows an example, and the options that all commands share in a group of their own."""

    def __init__(self, *args: Any, example: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_help_text(ctx, formatter)
        with formatter.section("Example"):
            formatter.write_text(self.example)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own: list[tuple[str, str]] = []
        common: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                (common if parameter.name in _COMMON else own).append(record)
        for title, records in (("Options", own), ("Common options", common)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class CommandGroup(click.Group):
    """A command of several commands."""

    command_class = Command


def project_options(function: Callable[Concatenate[Context, _P], _T]) -> Callable[_P, _T]:
    """Give a command the options shared with dbt; it gets their `Context` as its first argument."""

    @functools.wraps(function)
    def with_context(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        shared: dict[str, Any] = {name: kwargs.pop(name) for name in _NAMES}
        context = Context(console=console_of(click.get_current_context()), **shared)
        context.console.given = _format_options(shared)
        return function(context, *args, **kwargs)

    command: Callable[_P, _T] = with_context
    command = console_options(command)
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _format_options(shared: Mapping[str, Any]) -> dict[str, str]:
    """Return the shared options as written on a command line; a flag has no text."""
    options = {name: "--vars" if name == "variables" else f"--{name.replace('_', '-')}" for name in shared}
    return {
        options[name]: "" if value is True else str(value)
        for name, value in shared.items()
        if value not in (None, False)
    }


def console_options(function: _Function) -> _Function:
    """Give a command or group `--quiet` and `--log-format`; they set up the console and are not passed on."""
    for option in reversed(_CONSOLE_OPTIONS):
        function = option(function)
    return function


def parse_names(values: Sequence[str]) -> list[str]:
    """Return the distinct names of `-s`; `-` reads names from stdin, separated by white space."""
    names: list[str] = []
    for value in values:
        names += sys.stdin.read().split() if value == "-" else [value]
    return list(dict.fromkeys(names))


def parse_pairs(form: str, values: Sequence[str]) -> dict[str, str]:
    """Parse the values of an option that takes `name=value`; `form` is the option as in its help.

    Raises:
        click.UsageError: a value has no name or no `=`, or a name is repeated.
    """
    option, _, shape = form.partition(" ")
    pairs: dict[str, str] = {}
    for value in values:
        name, separator, rest = value.partition("=")
        if not separator or not name:
            raise click.UsageError(f"{option} takes {shape}, not '{value}'.")
        if name in pairs:
            raise click.UsageError(f"{option} names '{name}' twice.")
        pairs[name] = rest
    return pairs


def split_names(values: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a repeatable option that takes several names, separated by commas."""
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())


def parse_share(option: str, text: str | None) -> float | None:
    """Parse a share between 0 and 1, written as 0.9 or 90%.

    Raises:
        click.UsageError: the text is not a share.
    """
    if text is None:
        return None
    number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise click.UsageError(f"{option} takes a share such as 0.9 or 90%, not '{text}'.")
    return share


def parse_timestamp(option: str, text: str | None) -> datetime | None:
    """Parse a time in ISO 8601.

    Raises:
        click.UsageError: the text is not a time.
    """
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"{option} takes a time such as 2013-12-01T06:00:00, not '{text}'.") from None
