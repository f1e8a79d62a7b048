"""An online store of another package: docs/stores.md is installed as it is written, and every command uses it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from featurelayer import FeatureLayer
from featurelayer.cli import main
from featurelayer.errors import ConfigError
from featurelayer.online.settings import store_name, store_url, validate_entry
from featurelayer.online.stores import store_types
from tests.docs.pages import REPOSITORY, blocks
from tests.plugins import install_modules, pip_install
from tests.unit import dbt_projects as made
from tests.unit.warehouses import layer

PAGE = REPOSITORY / "docs" / "stores.md"


def files() -> dict[str, str]:
    """The files that the page shows."""
    return {block.value: block.text for block in blocks(PAGE) if block.order == "file"}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's package, installed into a folder."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in ("jsonfile_store.py", "pyproject.toml"):
        (source / name).write_text(files()[name], encoding="utf-8")
    return pip_install(source, target)


@pytest.fixture
def installed(package: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package is where Python looks for packages."""
    monkeypatch.syspath_prepend(str(package))
    return package


@pytest.fixture
def project(installed: Path, tmp_path: Path) -> FeatureLayer:
    """A project whose features go to the page's store."""
    layer(tmp_path, made.model(online=True))
    with (tmp_path / "featurelayer.yml").open("a") as config:
        config.write(files()["featurelayer.yml"])
    return FeatureLayer(tmp_path, profiles_dir=tmp_path)


def run(project: FeatureLayer, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    here = str(project.project.root)
    code = main([*arguments, "--project-dir", here, "--profiles-dir", here])
    return code, capsys.readouterr().out


def test_every_command_uses_the_store(project: FeatureLayer, capsys: pytest.CaptureFixture[str]) -> None:
    path = project.project.root / ".featurelayer" / "features.json"
    assert run(project, capsys, "online", "create") == (0, f"created: jsonfile:///{path}\n")
    code, report = run(project, capsys, "export")
    assert code == 0
    assert path.exists()

    code, vector = run(project, capsys, "lookup", "--service", "late", "--key", "tailnum=N2", "--format", "json")
    assert (code, json.loads(vector)["legs__arr_delay"]["value"]) == (0, -3.5)
    began = time.monotonic()
    code, report = run(project, capsys, "verify", "--read-units", "1")
    assert code == 0, report
    assert time.monotonic() - began < 30  # its reads are not paced: at one unit a second they would take minutes

    code, status = run(project, capsys, "online", "status", "--format", "json")
    assert (code, json.loads(status)["store"]["type"]) == (0, "jsonfile")
    assert [(view["view"], view["rows"]) for view in json.loads(status)["views"]] == [("legs", 3)]
    code, erased = run(project, capsys, "online", "forget", "--key", "tailnum=N2", "--format", "json")
    assert (code, json.loads(erased)["views"][0]["items"]) == (0, 1)
    with project.client() as client:
        assert client.lookup("late", {"tailnum": "N2"})["legs__arr_delay"] is None


def test_an_export_to_it_costs_nothing(project: FeatureLayer) -> None:
    plan = project.plan_export()
    assert (plan.cost.usd, plan.prices.source) == (0.0, "this store costs nothing")


def test_what_it_can_not_do_is_said(project: FeatureLayer, tmp_path: Path) -> None:
    project.export()
    with pytest.raises(Exception, match="only a store of type dynamodb can be loaded by an import"):
        project.export(bulk=True)
    with pytest.raises(Exception, match="is of type jsonfile, not a file"):
        project.backup_store(tmp_path / "copy")


def test_its_entry_becomes_its_address(installed: Path, tmp_path: Path) -> None:
    assert "jsonfile" in store_types()
    entry = {"type": "jsonfile", "path": "a b.json", "keep": 3, "colour": "red"}
    assert validate_entry(entry, "featurelayer.yml") == []
    assert store_url(entry, tmp_path) == f"jsonfile:///{tmp_path}/a%20b.json?colour=red"
    assert store_name(entry) == "jsonfile:a b.json"
    assert store_url({"type": "jsonfile"}, tmp_path) == f"jsonfile:///{tmp_path}/.featurelayer/online.json"


def test_a_package_that_can_not_be_imported_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_modules(tmp_path, "broken", {}, {"featurelayer.online_stores": {"broken": "no_such_module"}})
    monkeypatch.syspath_prepend(str(tmp_path))
    (problem,) = validate_entry({"type": "broken", "path": "x"}, "featurelayer.yml")
    assert problem.what.startswith("the online store 'broken' can't be imported from no_such_module")
    with pytest.raises(ConfigError, match="can't be imported"):
        store_url({"type": "broken", "path": "x"}, tmp_path)
