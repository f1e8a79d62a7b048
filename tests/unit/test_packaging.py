"""What is promised to a fresh clone and to someone who installs: checked in the files, without building anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import featurelayer

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())

# A finder that hides every package but those of the base installation and what these bring.
ONLY_THE_BASE = """
import importlib.abc, sys
HIDDEN = set("click duckdb jinja2 pyarrow pydantic yaml rich sqlglot dbt sklearn pandas polars numpy".split())
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
"""


def run_in_base(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", ONLY_THE_BASE + code], capture_output=True, text=True, timeout=60)


def test_one_version_everywhere() -> None:
    version = PROJECT["project"]["version"]
    assert featurelayer.__version__ == version
    for name in ("macros", "dbt_project"):
        assert yaml.safe_load((REPOSITORY / name / "dbt_project.yml").read_text())["version"] == version


def test_a_serving_process_installs_boto3_and_a_json_library() -> None:
    assert [re.match(r"[\w-]+", line)[0] for line in PROJECT["project"]["dependencies"]] == ["boto3", "msgspec"]


def test_dbt_is_pinned_to_the_line_that_was_tested() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert "dbt-core>=1.11,<1.12" in extras["dbt"]
    assert any(line.startswith("dbt-duckdb") for line in extras["dbt"])
    assert not [line for line in extras["cli"] if line.startswith("dbt")]


def test_the_data_of_the_demo_is_a_distribution_that_only_the_extra_names() -> None:
    data = tomllib.loads((REPOSITORY / "dbt_project/data/pyproject.toml").read_text())["project"]
    requirement = Requirement(
        next(line for line in PROJECT["project"]["optional-dependencies"]["demo"] if "data" in line)
    )
    assert requirement.name == data["name"]
    assert requirement.specifier.contains(data["version"])
    # A checkout has the files, and pip would look for the distribution on PyPI.
    own = next(line for line in PROJECT["dependency-groups"]["dev"] if line.startswith("dbt-featurelayer"))
    assert "demo" not in Requirement(own).extras


def test_the_client_works_without_any_extra() -> None:
    code = "from featurelayer.online import FeatureClient; print(FeatureClient.connect('memory://').__class__.__name__)"
    result = run_in_base(code)
    assert (result.returncode, result.stdout) == (0, "FeatureClient\n"), result.stderr


def test_the_command_without_its_extra_says_what_to_install() -> None:
    result = run_in_base(
        "from featurelayer.__main__ import main; sys.argv = ['featurelayer', 'list']; sys.exit(main())"
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert "pip install 'dbt-featurelayer[cli]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_python_surface_without_its_extra_says_what_to_install() -> None:
    result = run_in_base("import featurelayer; featurelayer.FeatureLayer")
    assert "MissingDependency" in result.stderr
    assert "pip install 'dbt-featurelayer[cli]'" in result.stderr


def test_ci_runs_every_test() -> None:
    script = REPOSITORY / ".ci/run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    text = script.read_text()
    for needed in ("set -euo pipefail", "CI=true", "FEATURELAYER_DYNAMODB_LOCAL=1", "for part in test test-all"):
        assert needed in text


@pytest.mark.parametrize("target", ["demo", "test", "test-all", "check", "bench"])
def test_make_sets_itself_up(target: str, tmp_path: Path) -> None:
    """In a fresh clone every target first makes the environment; with one that is newer it does not."""
    (tmp_path / "Makefile").write_bytes((REPOSITORY / "Makefile").read_bytes())
    (tmp_path / "pyproject.toml").touch()
    assert "--group dev" in dry_run(tmp_path, target)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/.ready").touch()
    ready = (tmp_path / "pyproject.toml").stat().st_mtime + 1
    os.utime(tmp_path / ".venv/.ready", (ready, ready))
    assert "--group dev" not in dry_run(tmp_path, target)


def dry_run(folder: Path, target: str) -> str:
    command = ["make", "--dry-run", "--no-print-directory", target, f"PYTHON={sys.executable}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, env=environment).stdout


def test_the_map_of_the_folders_is_that_of_the_tree() -> None:
    page = (REPOSITORY / "CONTRIBUTING.md").read_text()
    written = page.partition("<!-- written by `make map` -->\n")[2].partition("<!-- end of what")[0]
    code = "from tools.map import ROOT, render_map; print(render_map(ROOT), end='')"
    made = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert written == made.stdout, "run make map"
    folders = {path.name for path in REPOSITORY.iterdir() if path.is_dir() and list(path.glob("*.[a-z]*"))}
    shown = {folder for folder in folders if not folder.startswith(".") and folder not in ("dist", "build")}
    assert {folder for folder in shown if f"`{folder}/" not in page} == set()


def test_the_make_targets_are_described() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    described = set(re.findall(r"^make ([a-z-]+)  ", (REPOSITORY / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    assert described == targets - {"help", "install", "clean", "vendor"}


def test_the_licence_is_whole() -> None:
    text = (REPOSITORY / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"


def test_every_top_level_module_has_a_layer() -> None:
    contract = next(c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    assert contract["exhaustive"]
    layers = [name.strip() for line in contract["layers"] for name in line.split("|")]
    package = REPOSITORY / "featurelayer"
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    packages = {path.parent.name for path in package.glob("*/__init__.py")}
    assert sorted(layers) == sorted(modules | packages)


def test_a_checkout_in_which_dbt_has_run_still_packs_the_macros() -> None:
    """`dbt deps` links dbt_packages/featurelayer to macros/; hatchling must not go there first."""
    assert PROJECT["tool"]["hatch"]["build"]["skip-excluded-dirs"] is True
