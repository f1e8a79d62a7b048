"""Public names stay: what the README and docs/ import or call, the plug-in points, commands and their options."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FROZEN = json.loads((ROOT / "tests" / "fixtures" / "public_names.json").read_text(encoding="utf-8"))


def resolve(name: str) -> Any:
    """The object of a dotted name, the longest importable module first."""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        for part in parts[size:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("name", FROZEN["names"])
def test_a_public_name_is_importable(name: str) -> None:
    assert resolve(name) is not None


@pytest.mark.parametrize("owner", FROZEN["attributes"])
def test_what_pages_call_is_there(owner: str) -> None:
    found = resolve(owner)
    fields = {*dir(found), *getattr(found, "__dataclass_fields__", ()), *getattr(found, "__struct_fields__", ())}
    assert set(FROZEN["attributes"][owner]) - fields == set()


def test_pages_import_nothing_else() -> None:
    """A name that a page starts to import joins the list."""
    pattern = re.compile(r"from (featurelayer[\w.]*) import (?:\(([^)]*)\)|([^\n]*))")
    imported = {
        f"{module}.{name.strip().split(' as ')[0]}"
        for page in PAGES
        for module, inner, rest in pattern.findall(page.read_text(encoding="utf-8"))
        for name in re.sub(r"#[^\n]*", "", inner or rest).split(",")
        if name.strip()
    }
    assert imported - set(FROZEN["names"]) == set()


def test_plug_in_points_keep_their_groups() -> None:
    """A package that declares one of these groups today is still found tomorrow."""
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "featurelayer").rglob("*.py"))
    for group in FROZEN["entry_point_groups"]:
        assert f'"{group}"' in source, group


@pytest.mark.parametrize("command", FROZEN["commands"])
def test_commands_keep_their_options(command: str) -> None:
    assert set(FROZEN["commands"][command]) - set(options_by_command()[command]) == set()


def options_by_command() -> dict[str, list[str]]:
    """Every command and its options and arguments, `online status` as one name."""
    import click

    from featurelayer.cli.app import cli

    found: dict[str, list[str]] = {}

    def visit(command: click.Command, name: str) -> None:
        parameters = [option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)]
        found[name] = sorted(parameters)
        if isinstance(command, click.Group):
            context = click.Context(command)
            for child in command.list_commands(context):
                inner = command.get_command(context, child)
                assert inner is not None
                visit(inner, f"{name} {child}".strip())

    visit(cli, "")
    return found


def test_every_command_shows_an_example_that_it_accepts() -> None:
    import click

    from featurelayer.cli.app import cli
    from featurelayer.cli.options import Command

    for name in options_by_command():
        command: click.Command = cli
        for part in name.split():
            assert isinstance(command, click.Group)
            found = command.get_command(click.Context(command), part)
            assert found is not None
            command = found
        if isinstance(command, click.Group):
            continue
        assert isinstance(command, Command), name
        words = command.example.partition(" > ")[0].split()
        assert words[: len(name.split()) + 1] == ["featurelayer", *name.split()]
        command.make_context(name, words[len(name.split()) + 1 :])
