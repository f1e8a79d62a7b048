"""The shape of the dbt package: its version, its files, and documentation that matches the code."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml

from tests.integration.conftest import REPOSITORY

PACKAGE = REPOSITORY / "macros"
PROJECT = yaml.safe_load((PACKAGE / "dbt_project.yml").read_text())
SQL = sorted(PACKAGE.rglob("*.sql"))
DEFINITION = re.compile(r"\{% (?:macro|test) (\w+)\(([^)]*)\) %\}")


def test_the_package_has_the_version_of_the_distribution() -> None:
    pyproject = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert PROJECT["version"] == pyproject["project"]["version"]
    assert PROJECT["name"] == "featurelayer"
    assert PROJECT["require-dbt-version"] == [">=1.10.0", "<3.0.0"]


def test_only_macros_and_every_folder_of_them_is_listed() -> None:
    assert PROJECT["macro-paths"] == sorted({path.parent.name for path in SQL})
    empty = ("model-paths", "seed-paths", "test-paths", "snapshot-paths", "analysis-paths")
    assert [PROJECT[name] for name in empty] == [[]] * len(empty)


@pytest.mark.parametrize("path", SQL, ids=lambda path: path.stem)
def test_a_file_holds_one_macro_of_its_name_with_an_example(path) -> None:
    text = path.read_text()
    names = [name for name, _ in DEFINITION.findall(text)]
    assert names[0] == path.stem
    dispatched = re.compile(rf"[a-z]+__(test_)?{re.escape(path.stem)}")
    assert [name for name in names[1:] if not dispatched.fullmatch(name)] == []
    comment = re.match(r"\{#\n(.*?)#\}\n", text, re.DOTALL)
    assert comment is not None
    assert re.search(r"^ {4,}\S", comment[1], re.MULTILINE), "the comment lacks an example"


@pytest.mark.parametrize("path", [path for path in SQL if not path.stem.startswith("_")], ids=lambda path: path.stem)
def test_the_documented_arguments_are_those_of_the_code(path) -> None:
    documents = [yaml.safe_load(document.read_text()) for document in path.parent.glob("*.yml")]
    documented = {macro["name"]: macro for document in documents for macro in document["macros"]}
    _, arguments = DEFINITION.findall(path.read_text())[0]
    name = path.stem if path.parent.name == "rolling" else f"test_{path.stem}"
    declared = [argument.partition("=")[0].strip() for argument in arguments.split(",")]
    assert sorted(argument["name"] for argument in documented[name]["arguments"]) == sorted(declared)
    assert all(argument["description"] and argument["type"] for argument in documented[name]["arguments"])


def test_the_readme_names_every_macro_and_aggregate() -> None:
    readme = (PACKAGE / "README.md").read_text()
    public = {path.stem for path in SQL if not path.stem.startswith("_")}
    aggregates = re.search(r"set aggs = \[(.*?)\]", (PACKAGE / "rolling/_rolling_feature_problems.sql").read_text())
    assert aggregates is not None
    words = public | set(re.findall(r"'(\w+)'", aggregates[1]))
    assert {word for word in words if f"`{word}" not in readme} == set()
