"""The demo project, built once for the whole run, and a way to call dbt as a user does."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import commands

REPOSITORY = Path(__file__).parents[2]
DbtCall = Callable[..., subprocess.CompletedProcess[str]]


def run_dbt(
    project: Path, *arguments: str, cwd: Path | None = None, check: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run dbt on a project, from `cwd`; raise with dbt's output when it fails and `check` is set."""
    folders = ["--project-dir", str(project), "--profiles-dir", str(project)]
    command = [str(commands.folder() / "dbt"), *arguments, *folders]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DBT_", "FEATURELAYER_"))}
    result = subprocess.run(
        command,
        cwd=cwd or project,
        env={**inherited, "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=900,
    )
    if check and result.returncode != 0:
        output = f"{result.stdout[-6000:]}\n{result.stderr[-2000:]}"
        pytest.fail(f"dbt {' '.join(arguments)} ended with {result.returncode}\n{output}")
    return result


def write_project(folder: Path, files: dict[str, str], *, settings: str = "") -> Path:
    """Write a dbt project on DuckDB with the package installed; models become tables in its `db.duckdb`."""
    files = {
        "dbt_project.yml": f"""
            name: small
            version: "1.0"
            profile: small
            flags: {{send_anonymous_usage_stats: false}}
            models: {{small: {{+materialized: table}}}}
            {settings}
        """,
        "packages.yml": f"packages: [{{local: {REPOSITORY / 'macros'}}}]",
        "profiles.yml": f"""
            small:
              target: dev
              outputs:
                dev: {{type: duckdb, path: "{folder / "db.duckdb"}", threads: 2, settings: {{TimeZone: UTC}}}}
        """,
        **files,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text) + "\n")
    run_dbt(folder, "deps")
    return folder


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
    left_by_dbt = shutil.ignore_patterns(
        "target", "logs", "dbt_packages", "package-lock.yml", ".user.yml", "*.duckdb", "*.duckdb.wal", ".featurelayer"
    )
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("macros", "dbt_project"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=left_by_dbt)
    project = folder / "dbt_project"
    run_dbt(project, "deps")
    run_dbt(project, "build")
    return project
