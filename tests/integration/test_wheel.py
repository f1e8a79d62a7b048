"""What people install: the wheels and the source distribution, and the demo and the client from the installed wheels.

Nothing is downloaded. The environments see the packages of the one that runs the tests, through a .pth file: all of
them, or only those that the wheel's own metadata asks for.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.integration.conftest import REPOSITORY

pytestmark = pytest.mark.slow

LEFT_BY_DBT = re.compile(
    r"(^|/)(target|logs|dbt_packages|\.featurelayer|__pycache__)/|\.duckdb|package-lock\.yml|\.user\.yml"
)
ROUTED = ("DBT_", "FEATURELAYER_", "PYTHON", "VIRTUAL_ENV")


def run(*command: str | Path, cwd: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a command as a person would, without this checkout or the tests' settings in its environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ROUTED)}
    arguments = [str(part) for part in command]
    return subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `make build` makes: a source distribution, the wheel built from it, and that of the data."""
    folder = tmp_path_factory.mktemp("dist")
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", folder)
    for command in ((*build, REPOSITORY), (*build, "--wheel", REPOSITORY / "dbt_project/data")):
        result = run(*command, cwd=folder)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return next(built.glob("dbt_featurelayer-*.whl"))


def environment_with(wheel: Path, folder: Path, packages: Path) -> Path:
    """Make an environment that has the wheel, and what is in the folder `packages`; return where its commands are."""
    venv.create(folder, with_pip=False, symlinks=True)
    commands = folder / "bin"
    pip_install(commands, "--no-deps", wheel)
    (site,) = (folder / "lib").glob("python*/site-packages")
    (site / "borrowed.pth").write_text(f"{packages}\n")
    return commands


def pip_install(commands: Path, *arguments: str | Path) -> None:
    pip = (sys.executable, "-m", "pip", "--python", commands / "python", "install", "--no-index", *arguments)
    result = run(*pip, cwd=commands)
    assert result.returncode == 0, result.stderr


def tracked(*folders: str) -> set[str]:
    listed = subprocess.run(["git", "ls-files", *folders], cwd=REPOSITORY, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: nothing says which files are the project's")
    return {name for name in listed.stdout.splitlines() if (REPOSITORY / name).exists()}


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_carries_the_code_the_dbt_package_and_the_demo_without_its_data(wheel: Path) -> None:
    names = names_in(wheel)
    expected = {name if name.startswith("featurelayer/") else f"featurelayer/_bundled/{name}"
                for name in tracked("featurelayer", "macros", "dbt_project") - tracked("dbt_project/data")}  # fmt: skip
    assert expected <= names
    assert [name for name in names if LEFT_BY_DBT.search(name)] == []
    assert {name.partition("/")[0] for name in names} == {
        "featurelayer",
        wheel.name.replace("-py3-none-any.whl", ".dist-info"),
    }
    assert [name for name in names if name.endswith(".parquet")] == []
    assert wheel.stat().st_size < 1_500_000


def test_the_data_has_a_wheel_of_its_own(built: Path) -> None:
    wheel = next(built.glob("dbt_featurelayer_demo_data-*.whl"))
    files = {Path(name).name for name in tracked("dbt_project/data")} - {"pyproject.toml"}
    assert {name for name in names_in(wheel) if "dist-info" not in name} == {
        f"featurelayer_demo_data/{name}" for name in files
    }


def test_the_source_distribution_has_what_tests_need_and_nothing_left_by_a_run(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert tracked("featurelayer", "macros", "dbt_project", "tests") <= names
    assert {"Makefile", "LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml"} <= names
    assert [name for name in names if LEFT_BY_DBT.search(name)] == []


def test_the_demo_runs_from_the_installed_wheels(built: Path, wheel: Path, tmp_path: Path) -> None:
    commands = environment_with(wheel, tmp_path / "venv", Path(sysconfig.get_path("purelib")))
    where = run(commands / "python", "-c", "import featurelayer; print(featurelayer.__file__)", cwd=tmp_path)
    assert where.stdout.startswith(str(tmp_path / "venv")), where.stderr

    result = run(commands / "featurelayer", "demo", "--dir", "demo", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert "dbt-featurelayer-demo-data is not installed" in result.stderr
    assert "pip install 'dbt-featurelayer[demo]'" in result.stderr

    pip_install(commands, "--find-links", built, "dbt-featurelayer[demo]")
    result = run(commands / "featurelayer", "demo", "--dir", "demo", cwd=tmp_path, timeout=550)

    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "ERROR=0" in result.stdout
    assert "327,346 flights in train.parquet" in result.stdout
    assert (tmp_path / "demo/train.parquet").is_file()
    assert (tmp_path / "demo/train.lock.json").is_file()
    served, trained = re.search(r"(\d+) of (\d+) values of the \d+ flights", result.stdout).groups()
    assert served == trained
    assert len(re.findall(r" present  ", result.stdout)) >= 12
    leaky, timetable, honest = (
        scores(result.stdout, name) for name in ("same-day means, leaky", "timetable alone", "point-in-time")
    )
    assert leaky[0] > honest[0]
    assert leaky[1] < timetable[1] < honest[1]
    assert {path.name for path in tmp_path.iterdir()} == {"venv", "demo"}

    again = run(commands / "featurelayer", "demo", "--dir", tmp_path, cwd=tmp_path)
    assert again.returncode == 1
    assert "pass another folder with --dir" in again.stderr


def scores(text: str, name: str) -> tuple[float, float]:
    offline, live = re.search(rf"^{re.escape(name)}.*?  +(0\.\d+) +(0\.\d+)$", text, re.MULTILINE).groups()
    return float(offline), float(live)


def test_without_extras_it_serves_and_says_what_the_command_needs(wheel: Path, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    borrow(packages, required_by(wheel))
    commands = environment_with(wheel, tmp_path / "venv", packages)
    code = "import boto3, sys; from featurelayer.online import FeatureClient, MemoryStore; FeatureClient(MemoryStore())"
    result = run(commands / "python", "-c", code, cwd=tmp_path)
    assert result.returncode == 0, result.stderr

    result = run(commands / "featurelayer", "--help", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert "pip install 'dbt-featurelayer[cli]'" in result.stderr
    assert "Traceback" not in result.stderr


def required_by(wheel: Path) -> list[str]:
    """The wheel's requirements without extras, as its metadata has them."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = importlib.metadata.PathDistribution(zipfile.Path(archive, name.removesuffix("METADATA"))).requires
    return list(metadata or ())


def borrow(folder: Path, requirements: Iterable[str]) -> None:
    """Link the installed packages that fulfil the requirements, and theirs, into a folder."""
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        distribution = importlib.metadata.distribution(requirement.name)
        for name in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            link = folder / name
            if not link.exists():
                link.symlink_to(Path(str(distribution.locate_file(name))))
        borrow(folder, distribution.requires or ())
