"""The demo project, built once for the whole run, and a way to call dbt as a user does."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DbtCall = Callable[..., subprocess.CompletedProcess[str]]


def run_dbt(project: Path, *arguments: str, cwd: Path | None = None, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run dbt's console script on a project, from `cwd`; raise with dbt's output when it fails and `check` is set."""
    command = [str(Path(sys.executable).with_name("dbt")), *arguments, "--project-dir", str(project), "--profiles-dir", str(project)]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DBT_", "FEATURELAYER_"))}
    result = subprocess.run(
        command, cwd=cwd or project, env={**inherited, "NO_COLOR": "1", **environment}, capture_output=True, text=True, timeout=300
    )
    if check and result.returncode != 0:
        pytest.fail(f"{' '.join(arguments)} ended with {result.returncode}\n{result.stdout[-6000:]}\n{result.stderr[-2000:]}")
    return result


@pytest.fixture(scope="session")
def dbt() -> DbtCall:
    """`dbt(project, "build", ...)`."""
    return run_dbt


@pytest.fixture(scope="session")
def demo_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a built copy of the demo project, with the dbt package beside it; this process may write to it.

    Under pytest-xdist one worker builds and every worker gets a copy: DuckDB lets one process at a time write.
    """
    own = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return _build(own / "demo")
    with (own.parent / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shared = own.parent / "demo"
        if not (shared / "built").exists():
            _build(shared)
            (shared / "built").touch()
    shutil.copytree(shared, own / "demo", symlinks=True)
    return own / "demo" / "dbt_project"


def _build(folder: Path) -> Path:
    left_by_dbt = shutil.ignore_patterns("target", "logs", "dbt_packages", "*.duckdb", "*.duckdb.wal", ".featurelayer", ".user.yml", "package-lock.yml")
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("macros", "dbt_project"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=left_by_dbt)
    project = folder / "dbt_project"
    run_dbt(project, "deps")
    run_dbt(project, "build")
    return project
